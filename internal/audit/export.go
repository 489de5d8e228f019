package audit

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
	"unicode/utf8"

	"cardea/internal/credential"
)

// ErrTorn says that an export ends in the middle of a line, as one does whose
// writer was stopped. What was read before it is whole.
var ErrTorn = errors.New("the last line is torn: the file was cut off while it was written")

// maxLine bounds a line of an export, in bytes.
const maxLine = 1 << 20

// line is an event as a line of an export. The order of the fields is the
// order in the file; names are those of the hash's description.
type line struct {
	Seq     int64             `json:"seq"`
	ID      string            `json:"id"`
	At      string            `json:"at"`
	Org     string            `json:"org"`
	Type    string            `json:"type"`
	Subject subject           `json:"subject"`
	Actor   actor             `json:"actor"`
	Reason  string            `json:"reason,omitempty"`
	Detail  map[string]string `json:"detail,omitempty"`
	Prev    string            `json:"prev"`
	Hash    string            `json:"hash"`
}

type subject struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

type actor struct {
	Principal  string `json:"principal"`
	Credential string `json:"credential,omitempty"`
	Source     string `json:"source,omitempty"`
	Door       string `json:"door,omitempty"`
	Request    string `json:"request,omitempty"`
}

const layout = "2006-01-02T15:04:05.000000Z"

// Export writes events as NDJSON: one JSON object a line, hashes in
// hexadecimal, times in UTC with microseconds. Control characters within
// values, those of terminals included, stand escaped, so that no value can look like another line.
func Export(w io.Writer, events iter.Seq2[credential.Event, error]) error {
	out := bufio.NewWriter(w)
	for e, err := range events {
		if err != nil {
			return err
		}
		b, err := Line(&e)
		if err != nil {
			return err
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	return out.Flush()
}

// Line returns one event as a line of an export, with its line feed.
func Line(e *credential.Event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(line{
		Seq: e.Seq, ID: e.ID, At: e.At.UTC().Format(layout), Org: e.Org, Type: e.Type,
		Subject: subject(e.Subject), Actor: actor(e.Actor), Reason: e.Reason, Detail: e.Detail,
		Prev: hex.EncodeToString(e.Prev), Hash: hex.EncodeToString(e.Hash),
	})
	if err != nil {
		return nil, err
	}
	return escape(b.Bytes()), nil
}

// escape writes as \uXXXX what encoding/json leaves as it is and a terminal
// obeys: DEL, the C1 controls, and the marks that turn the direction of writing.
// In JSON such characters stand only within strings.
func escape(b []byte) []byte {
	if bytes.IndexFunc(b, obeyed) < 0 {
		return b
	}
	out := make([]byte, 0, len(b)+32)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if obeyed(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out
}

func obeyed(r rune) bool {
	return r >= 0x7f && r <= 0x9f || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// ReadExport reads what [Export] wrote. It stops at the first line that is not
// an event; the error is [ErrTorn] if that is an unfinished last line, and else a [*Fault]
// or the reader's error. It does not check the chain: give the events to a [Verifier].
func ReadExport(r io.Reader) iter.Seq2[credential.Event, error] {
	return func(yield func(credential.Event, error) bool) {
		in := bufio.NewReaderSize(r, maxLine)
		var last int64
		for {
			raw, err := in.ReadSlice('\n')
			if err == io.EOF && len(raw) == 0 {
				return
			}
			e, err := parse(raw, last, err)
			if !yield(e, err) || err != nil {
				return
			}
			last = e.Seq
		}
	}
}

// parse reads one line; last is the sequence number of the one before, and
// err what reading the line gave.
func parse(raw []byte, last int64, err error) (credential.Event, error) {
	switch {
	case err == io.EOF:
		return credential.Event{}, ErrTorn
	case errors.Is(err, bufio.ErrBufferFull):
		return credential.Event{}, &Fault{last + 1, fmt.Sprintf("its line is longer than %d bytes", maxLine)}
	case err != nil:
		return credential.Event{}, err
	}
	var l line
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return credential.Event{}, &Fault{last + 1, "its line is not an event: " + err.Error()}
	}
	if rest, _ := io.ReadAll(dec.Buffered()); len(bytes.TrimSpace(rest)) > 0 {
		return credential.Event{}, &Fault{l.Seq, "something follows it on its line"}
	}
	e, err := l.event()
	if err != nil {
		return credential.Event{}, &Fault{l.Seq, err.Error()}
	}
	return e, nil
}

func (l *line) event() (credential.Event, error) {
	at, err := time.Parse(layout, l.At)
	if err != nil {
		return credential.Event{}, errors.New("its time is not one")
	}
	prev, err1 := hex.DecodeString(l.Prev)
	hash, err2 := hex.DecodeString(l.Hash)
	if err1 != nil || err2 != nil {
		return credential.Event{}, errors.New("its hashes are not hexadecimal")
	}
	return credential.Event{
		Seq: l.Seq, ID: l.ID, At: at, Org: l.Org, Type: l.Type,
		Subject: credential.Subject(l.Subject), Actor: credential.Actor(l.Actor),
		Reason: l.Reason, Detail: l.Detail, Prev: prev, Hash: hash,
	}, nil
}

// VerifyExport reads an export that begins with the first event and checks its
// chain. It returns the Verifier, which knows how far the log is good, and the first fault.
func VerifyExport(r io.Reader) (*Verifier, error) {
	v := new(Verifier)
	for e, err := range ReadExport(r) {
		if err != nil {
			return v, err
		}
		if err := v.Add(&e); err != nil {
			return v, err
		}
	}
	return v, nil
}
