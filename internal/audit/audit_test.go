package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardea/internal/audit"
	"cardea/internal/credential"
)

var day = time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)

// logOf makes a good log of n events.
func logOf(n int) []credential.Event {
	var out []credential.Event
	prev := audit.Zero()
	for i := range n {
		e := credential.Event{
			Seq: int64(i + 1), ID: fmt.Sprint("e", i), At: day.Add(time.Duration(i) * time.Second), Org: "default", Type: "credential.create",
			Subject: credential.Subject{Kind: "credential", ID: fmt.Sprint("c", i), Name: "pump-1"},
			Actor:   credential.Actor{Principal: "alice", Credential: "k", Source: "10.0.0.1", Door: "api", Request: "r"},
			Reason:  "because", Detail: map[string]string{"b": "2", "a": "1"}, Prev: prev,
		}
		e.Hash = audit.Hash(prev, &e)
		prev = e.Hash
		out = append(out, e)
	}
	return out
}

func verify(events []credential.Event) (*audit.Verifier, *audit.Fault) {
	v := new(audit.Verifier)
	for i := range events {
		if err := v.Add(&events[i]); err != nil {
			return v, err.(*audit.Fault)
		}
	}
	return v, nil
}

// The hash is the one that the package comment describes, written down here once more by hand.
func TestHashIsAsDocumented(t *testing.T) {
	e := credential.Event{
		Seq: 258, ID: "id", At: time.Date(1970, 1, 1, 1, 0, 0, 1999, time.FixedZone("", 3600)), Org: "o", Type: "t",
		Subject: credential.Subject{Kind: "sk", ID: "si", Name: "sn"},
		Actor:   credential.Actor{Principal: "ap", Credential: "ac", Source: "as", Door: "ad", Request: "ar"},
		Reason:  "⛽", Detail: map[string]string{"b": "2", "a": "", "aa": "1"},
		Prev: []byte("not looked at"), Hash: []byte("not looked at"),
	}
	num := func(s string) string { return strings.Repeat("\x00", 8-len(s)) + s }
	text := func(s string) string { return num(string([]byte{byte(len(s))})) + s }
	prev := strings.Repeat("p", 32)
	want := text("cardea event 1") + text(prev) + num("\x01\x02") + text("id") + num("\x01") + text("o") + text("t") +
		text("sk") + text("si") + text("sn") + text("ap") + text("ac") + text("as") + text("ad") + text("ar") + text("⛽") +
		num("\x03") + text("a") + text("") + text("aa") + text("1") + text("b") + text("2")
	sum := sha256.Sum256([]byte(want))
	if got := audit.Hash([]byte(prev), &e); hex.EncodeToString(got) != hex.EncodeToString(sum[:]) {
		t.Errorf("got %x, want %x", got, sum)
	}
}

// A06: whatever is done to one event, the first bad one is found. Every field is tried.
func TestVerifierFindsEveryAlteration(t *testing.T) {
	good := logOf(5)
	v, fault := verify(good)
	if fault != nil || v.Count() != 5 {
		t.Fatal(fault)
	}
	alter := func(change func(*credential.Event)) []credential.Event {
		out := slices.Clone(good)
		e := out[2]
		e.Detail = map[string]string{"b": "2", "a": "1"}
		change(&e)
		out[2] = e
		return out
	}
	rehash := func(e *credential.Event) { e.Hash = audit.Hash(e.Prev, e) }
	type list = []credential.Event
	for name, c := range map[string]struct {
		log list
		at  int64
	}{
		"id":                   {alter(func(e *credential.Event) { e.ID += "x" }), 3},
		"time":                 {alter(func(e *credential.Event) { e.At = e.At.Add(time.Microsecond) }), 3},
		"org":                  {alter(func(e *credential.Event) { e.Org = "" }), 3},
		"type":                 {alter(func(e *credential.Event) { e.Type = "x" }), 3},
		"subject kind":         {alter(func(e *credential.Event) { e.Subject.Kind = "x" }), 3},
		"subject id":           {alter(func(e *credential.Event) { e.Subject.ID = "x" }), 3},
		"subject name":         {alter(func(e *credential.Event) { e.Subject.Name = "x" }), 3},
		"actor":                {alter(func(e *credential.Event) { e.Actor.Principal = "mallory" }), 3},
		"actor's credential":   {alter(func(e *credential.Event) { e.Actor.Credential = "x" }), 3},
		"source":               {alter(func(e *credential.Event) { e.Actor.Source = "x" }), 3},
		"door":                 {alter(func(e *credential.Event) { e.Actor.Door = "x" }), 3},
		"request":              {alter(func(e *credential.Event) { e.Actor.Request = "x" }), 3},
		"reason":               {alter(func(e *credential.Event) { e.Reason = "" }), 3},
		"detail value":         {alter(func(e *credential.Event) { e.Detail["a"] = "3" }), 3},
		"detail removed":       {alter(func(e *credential.Event) { delete(e.Detail, "a") }), 3},
		"detail moved":         {alter(func(e *credential.Event) { e.Detail["a"], e.Detail["b"] = "2", "1" }), 3},
		"text moved":           {alter(func(e *credential.Event) { e.Org, e.Type = e.Org+e.Type[:1], e.Type[1:] }), 3},
		"hash":                 {alter(func(e *credential.Event) { e.Hash = good[0].Hash }), 3},
		"hash cut":             {alter(func(e *credential.Event) { e.Hash = e.Hash[:31] }), 3},
		"prev":                 {alter(func(e *credential.Event) { e.Prev = good[0].Hash }), 3},
		"altered and rehashed": {alter(func(e *credential.Event) { e.Reason = "x"; rehash(e) }), 4},
		"first missing":        {good[1:], 1},
		"one missing":          {slices.Concat(good[:2], good[3:]), 3},
		"two missing":          {slices.Concat(good[:2], good[4:]), 3},
		"swapped":              {list{good[0], good[2], good[1], good[3]}, 2},
		"repeated":             {list{good[0], good[1], good[1], good[2]}, 2},
		"number changed":       {alter(func(e *credential.Event) { e.Seq = 9 }), 3},
		"one put between":      {slices.Concat(good[:2], alter(func(e *credential.Event) { e.Reason = "x"; rehash(e) })[2:3], good[2:]), 3},
	} {
		t.Run(name, func(t *testing.T) {
			v, fault := verify(c.log)
			if fault == nil || fault.Seq != c.at {
				t.Fatalf("got %v, want event %d", fault, c.at)
			}
			if again := v.Add(&good[4]); !errors.Is(again, fault) {
				t.Errorf("afterwards: %v", again)
			}
		})
	}
}

// A06: a cut end is found by whoever knows where the log ends.
func TestVerifierKnowsTheEnd(t *testing.T) {
	good := logOf(3)
	for n, at := range map[int]int64{0: 1, 2: 3, 3: 0} {
		v, _ := verify(good[:n])
		var f *audit.Fault
		if err := v.Ends(3, good[2].Hash); errors.As(err, &f) != (at != 0) || at != 0 && f.Seq != at {
			t.Errorf("of %d events: %v", n, err)
		}
	}
	v, _ := verify(good)
	if err := v.Ends(2, good[1].Hash); err == nil {
		t.Error("a longer log passes")
	}
	v, _ = verify(good)
	if err := v.Ends(3, good[1].Hash); err == nil {
		t.Error("another end passes")
	}
	empty := new(audit.Verifier)
	if err := empty.Ends(0, audit.Zero()); err != nil {
		t.Errorf("an empty log: %v", err)
	}
	later := audit.After(1, good[0].Hash)
	if err := later.Add(&good[1]); err != nil {
		t.Errorf("from the middle: %v", err)
	}
	if seq, hash := later.Last(); seq != 2 || !bytes.Equal(hash, good[1].Hash) {
		t.Errorf("last is %d %x", seq, hash)
	}
}

func all(events []credential.Event) iter.Seq2[credential.Event, error] {
	return func(yield func(credential.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func export(t testing.TB, events []credential.Event) string {
	t.Helper()
	var b bytes.Buffer
	if err := audit.Export(&b, all(events)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A06, A09: whatever texts events have, an export is one line an event, is free of control characters, and verifies.
func TestExportReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a\r\nb", "\x1b[31m", "\u009b2J", "\u202egnp.exe", "</script>", "\u2028", `"\`, "\x7f"}))
		var events []credential.Event
		prev := audit.Zero()
		for i := range rapid.IntRange(0, 4).Draw(t, "n") {
			e := credential.Event{
				Seq: int64(i + 1), ID: text.Draw(t, "id"), At: time.UnixMicro(rapid.Int64Range(-1e15, 4e15).Draw(t, "at")).UTC(), Org: text.Draw(t, "org"), Type: text.Draw(t, "type"),
				Subject: credential.Subject{Kind: "k", ID: text.Draw(t, "subject"), Name: text.Draw(t, "name")},
				Actor:   credential.Actor{Principal: text.Draw(t, "actor"), Source: text.Draw(t, "source"), Request: text.Draw(t, "request")},
				Reason:  text.Draw(t, "reason"), Prev: prev,
			}
			if d := rapid.MapOf(text, text).Draw(t, "detail"); len(d) > 0 {
				e.Detail = d
			}
			e.Hash = audit.Hash(prev, &e)
			prev = e.Hash
			events = append(events, e)
		}
		var b bytes.Buffer
		if err := audit.Export(&b, all(events)); err != nil {
			t.Fatal(err)
		}
		out := b.String()
		if strings.Count(out, "\n") != len(events) {
			t.Fatalf("%d lines of %d events", strings.Count(out, "\n"), len(events))
		}
		for _, r := range out {
			if r != '\n' && (r < ' ' || r >= 0x7f && r <= 0x9f || r == 0x202e) {
				t.Fatalf("%q is not escaped", r)
			}
		}
		var back []credential.Event
		for e, err := range audit.ReadExport(strings.NewReader(out)) {
			if err != nil {
				t.Fatal(err)
			}
			back = append(back, e)
		}
		if d := cmp.Diff(events, back); d != "" {
			t.Fatal(d)
		}
		if v, err := audit.VerifyExport(strings.NewReader(out)); err != nil || v.Count() != int64(len(events)) {
			t.Fatal(err)
		}
	})
}

// A06: a file that was cut off by a crash is told from one that was altered.
func TestVerifyExport(t *testing.T) {
	good := export(t, logOf(3))
	lines := strings.SplitAfter(good, "\n")
	for name, c := range map[string]struct {
		text string
		torn bool
		at   int64
	}{
		"cut within the last line": {good[:len(good)-10], true, 0},
		"cut before the line feed": {good[:len(good)-1], true, 0},
		"line removed":             {lines[0] + lines[2], false, 2},
		"lines swapped":            {lines[1] + lines[0] + lines[2], false, 1},
		"line altered":             {strings.Replace(good, `"c1"`, `"c9"`, 1), false, 2},
		"line torn in the middle":  {lines[0] + lines[1][:20] + "\n" + lines[2], false, 2},
		"field added":              {strings.Replace(good, `"org"`, `"x":1,"org"`, 1), false, 1},
		"two on a line":            {strings.Replace(good, "}\n", "} {}\n", 1), false, 1},
		"empty line":               {lines[0] + "\n" + lines[1], false, 2},
		"hash not hexadecimal":     {strings.Replace(good, `"hash":"`, `"hash":"zz`, 1), false, 1},
		"time with another zone":   {strings.Replace(good, `Z"`, `+01:00"`, 1), false, 1},
		"endless line":             {lines[0] + strings.Repeat("x", 2<<20), false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := audit.VerifyExport(strings.NewReader(c.text))
			var f *audit.Fault
			if errors.Is(err, audit.ErrTorn) != c.torn || errors.As(err, &f) == c.torn || !c.torn && f.Seq != c.at {
				t.Errorf("got %v", err)
			}
		})
	}
	want := errors.New("no")
	if err := audit.Export(new(bytes.Buffer), func(yield func(credential.Event, error) bool) { yield(credential.Event{}, want) }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

// A07: no secret gets into the log.
func TestLooksSecret(t *testing.T) {
	const id, secret = "0123456789ab", "0123456789abcdefghijklmnopqrstuvABCDEF"
	for s, want := range map[string]bool{
		"":                          false,
		"cardea":                    false,
		"cardea_dev_":               false,
		"cardea_dev_" + id:          false,
		"cardea_dev_" + id + "…":    false,
		"cardea_dev_" + id + secret: true,
		"was cardea_pat_" + id + secret + " once":               true,
		"cardea_api_" + id + secret[:1]:                         true,
		"cardea_app_" + id + secret:                             true,
		"cardea_sec_" + id + secret:                             true,
		"cardea_ses_" + id + secret:                             true,
		"cardea_xyz_" + id + secret:                             false,
		"cardea_cardea_dev_" + id + "cardea_dev_" + id + secret: true,
		"cardea_data_folder_of_the_main_server":                 false,
	} {
		if got := audit.LooksSecret(s); got != want {
			t.Errorf("LooksSecret(%q) = %v", s, got)
		}
	}
}

func TestCheck(t *testing.T) {
	const token = "cardea_dev_0123456789ab0123456789abcdefghijklmnopqrstuvABCDEF"
	for name, c := range map[string]struct {
		e    credential.Event
		kind credential.ErrorKind
	}{
		"secret in a reason":   {credential.Event{Reason: token}, credential.Invalid},
		"NUL in a reason":      {credential.Event{Reason: "\x00"}, credential.Invalid},
		"secret in a detail":   {credential.Event{Detail: map[string]string{"a": token}}, credential.Internal},
		"secret as a key":      {credential.Event{Detail: map[string]string{token: ""}}, credential.Internal},
		"detail not UTF-8":     {credential.Event{Detail: map[string]string{"a": "\xff"}}, credential.Internal},
		"secret as request id": {credential.Event{Actor: credential.Actor{Request: token}}, credential.Internal},
		"subject not UTF-8":    {credential.Event{Subject: credential.Subject{Name: "\xc3"}}, credential.Internal},
	} {
		err := audit.Check(&c.e)
		if err == nil || credential.KindOf(err) != c.kind || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := logOf(1)[0]
	if err := audit.Check(&good); err != nil {
		t.Error(err)
	}
}

func FuzzReadExport(f *testing.F) {
	f.Add(export(f, logOf(2)))
	f.Add("{}\n")
	f.Fuzz(func(t *testing.T, text string) {
		for e, err := range audit.ReadExport(strings.NewReader(text)) {
			if err != nil {
				return
			}
			line, err := audit.Line(&e) // what is read can be written, and means the same
			if err != nil {
				t.Fatal(err)
			}
			for again, err := range audit.ReadExport(bytes.NewReader(line)) {
				if err != nil || !bytes.Equal(audit.Hash(nil, &e), audit.Hash(nil, &again)) {
					t.Fatalf("%v: %q", err, line)
				}
			}
		}
	})
}
