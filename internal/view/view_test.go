package view_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cardea/internal/credential"
	"cardea/internal/view"
)

func TestDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1095d": 1095 * 24 * time.Hour, "1h": time.Hour, "90m": 90 * time.Minute, "0d": 0, "0s": 0, "0": 0,
		"1d12h": 36 * time.Hour, "1h30m5s": time.Hour + 30*time.Minute + 5*time.Second, "250ms": 250 * time.Millisecond,
	} {
		got, err := view.ParseDuration(s)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "d", "-1d", "-1h", "+1h", "1", "1.5d", "1d1d", "1 d", "1D", "12", "1d-1h", "1d+1h", "1hd", "١d",
		"106752d", "106751d23h59m", "4294967296d", "99999999999999999999d", "h", "1y", "1w", "1d ", strings.Repeat("9", 100),
	} {
		if got, err := view.ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v; want an error", s, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", 24 * time.Hour: "1d", 1095 * 24 * time.Hour: "1095d",
		36 * time.Hour: "1d12h", 10 * time.Second: "10s", 10 * time.Minute: "10m", 20 * time.Hour: "20h",
	} {
		if got := view.FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%v) = %q; want %q", d, got, want)
		}
	}
}

func TestDurationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Min(0).Draw(t, "d"))
		got, err := view.ParseDuration(view.FormatDuration(d))
		if err != nil || got != d {
			t.Fatalf("%v: %q: got %v, %v", d, view.FormatDuration(d), got, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"1095d", "1d12h", "90m", "-1h", "106751d23h47m16s", "1e3d", "d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := view.ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("ParseDuration(%q) = %v, which is negative", s, d)
		}
		if again, err := view.ParseDuration(view.FormatDuration(d)); err != nil || again != d {
			t.Fatalf("ParseDuration(%q) = %v; after formatting %v, %v", s, d, again, err)
		}
	})
}

// H12: networks are parsed strictly, garbage is a problem, and every problem is named.
func TestNetworksH12(t *testing.T) {
	var p credential.Problems
	nets := view.ParseNetworks("allowed_ips", []string{"10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "::1"}, &p)
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	want := []string{"10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32", "::1/128"}
	if diff := cmp.Diff(want, view.FormatNetworks(nets)); diff != "" {
		t.Error(diff)
	}
	bad := []string{
		"10.0.0.*", "10.0.0.0/33", "10.0.0.1/8", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "010.0.0.1", "10.0.0.1,", "",
		"fe80::1%eth0", "10.0.0.0/8 ", "any", "0x0a.0.0.1", "10.0.0.0/08",
	}
	p = nil
	if nets := view.ParseNetworks("allowed_ips", bad, &p); len(nets) > 0 {
		t.Errorf("accepted %v", nets)
	}
	if len(p) != len(bad) {
		t.Fatalf("%d problems for %d bad networks: %v", len(p), len(bad), p)
	}
	for i, f := range p {
		if f.Field != fmt.Sprintf("allowed_ips[%d]", i) {
			t.Errorf("problem %d names %s", i, f.Field)
		}
	}
}

func TestTTL(t *testing.T) {
	var p credential.Problems
	view.ParseTTL("ttl", "", &p)
	view.ParseTTL("a", "0d", &p)
	view.ParseTTL("b", "soon", &p)
	view.ParseOverlap("c", "0s", &p)
	want := credential.Problems{
		{Field: "a", Message: "must be longer than zero"},
		{Field: "b", Message: `"soon" is not a length of time such as 90m, 12h or 1095d`},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

// K03: a secret goes to JSON and to no printer.
func TestSecretIsNotPrinted(t *testing.T) {
	v := view.Issued{Secret: "cardea_dev_abc", PrivateKey: "-----BEGIN"}
	for _, s := range []string{fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s", v, v, v, v.Secret), fmt.Sprintf("%q", v.Secret)} {
		if strings.Contains(s, "cardea_dev_abc") || strings.Contains(s, "BEGIN") {
			t.Errorf("printed: %s", s)
		}
	}
	b, err := json.Marshal(v)
	if err != nil || !strings.Contains(string(b), `"secret":"cardea_dev_abc"`) {
		t.Errorf("JSON is %s, %v", b, err)
	}
}

func TestCredentialStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, c := range map[string]credential.Credential{
		"active":        {State: credential.StateActive, ExpiresAt: now.Add(1)},
		"expired":       {State: credential.StateActive, ExpiresAt: now},
		"not_yet_valid": {State: credential.StateActive, NotBefore: now.Add(1)},
		"quarantined":   {State: credential.StateQuarantined, ExpiresAt: now.Add(1)},
		"revoked":       {State: credential.StateRevoked, ExpiresAt: now.Add(-1)},
	} {
		if got := view.StatusOf(&c, now); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := view.StatusOf(&credential.Credential{State: credential.StateDeleted}, now); got != "revoked" {
		t.Errorf("a deleted one is %s", got)
	}
}

// K02: the JSON of a credential has neither its secret nor a token's hash; a
// certificate's fingerprint is public. Lists are never null, times are UTC,
// absent ones are left out.
func TestCredentialJSON(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	c := credential.Credential{
		ID: "7Gq0bXv2LmNp", Org: "default", Kind: credential.DeviceToken, Principal: "P3kT9qLmZ0aB", State: credential.StateActive,
		CreatedAt: now, Version: 3, Proofs: []credential.Proof{{N: 1, Hash: []byte{1, 2, 3}, CreatedAt: now}},
	}
	got, err := json.Marshal(view.FromCredential(c, "pump-1", credential.Device, now))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"7Gq0bXv2LmNp","org":"default","kind":"device_token","principal":"pump-1","principal_id":"P3kT9qLmZ0aB",` +
		`"principal_kind":"device","name":"","scopes":[],"allowed_ips":[],"tags":[],"status":"active","created_at":"2026-01-02T02:04:05Z",` +
		`"versions":[{"n":1,"created_at":"2026-01-02T02:04:05Z","uses":0}],"version":3}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	v := view.FromProof(credential.Certificate, credential.Proof{N: 2, Hash: []byte{0xab, 1}, Serial: "0f"}, time.Time{},
		credential.Usage{Count: 7, LastAt: now, LastSource: netip.MustParseAddr("10.1.2.3")})
	if v.Fingerprint != "ab01" || v.Serial != "0f" || v.Uses != 7 || v.LastUsedFrom != "10.1.2.3" || v.LastUsedAt.Location() != time.UTC {
		t.Errorf("got %+v", v)
	}
}

func TestRulesNameBadNetworks(t *testing.T) {
	var p credential.Problems
	rules := view.Rules("rules", []view.Rule{
		{Permission: "allow", Action: "http:GET", Resource: "*", Networks: []string{"10.0.0.0/8"}},
		{Permission: "deny", Action: "mqtt:*", Resource: "#", Networks: []string{"10.0.0.0/8", "x"}},
	}, &p)
	if len(p) != 1 || p[0].Field != "rules[1].networks[1]" {
		t.Errorf("problems: %v", p)
	}
	if got := view.FromRule(rules[0]); !cmp.Equal(got.Networks, []string{"10.0.0.0/8"}) {
		t.Errorf("back again: %+v", got)
	}
}

func TestPageIsNeverNull(t *testing.T) {
	b, _ := json.Marshal(view.NewPage(nil, "", view.FromPrincipal))
	if string(b) != `{"items":[]}` {
		t.Errorf("got %s", b)
	}
}

// K03: a token that somebody has put into a path is not in the list of sessions.
func TestSessionsShowNoToken(t *testing.T) {
	const token = "cardea_dev_7Gq0bXv2LmNp0123456789abcdefghijABCDEFGHIJKL000000"
	for about, want := range map[string]string{
		"GET /db/" + token + "/x":         "GET /db/cardea_dev_***/x",
		"GET /" + token[:26]:              "GET /cardea_dev_***",
		"GET /" + token + "." + token:     "GET /cardea_dev_***.cardea_dev_***",
		"GET /db/cardea_dev_7Gq0bXv2LmNp": "GET /db/cardea_dev_7Gq0bXv2LmNp", // an id is public
		"GET /cardea_development/x":       "GET /cardea_development/x",
	} {
		if got := view.FromSession(credential.Session{About: about}).About; got != want {
			t.Errorf("%q is shown as %q, want %q", about, got, want)
		}
	}
}

// What is no hex is refused by its field, and not repeated (K03).
func TestParseHex(t *testing.T) {
	var p credential.Problems
	for in, want := range map[string]string{"": "", "00ff": "\x00\xff", "aBcD": "\xab\xcd"} {
		if got := view.ParseHex("salt", in, &p); string(got) != want || len(p) != 0 {
			t.Errorf("%q is %x, %v", in, got, p)
		}
	}
	for _, in := range []string{"a", "abc", "0x00", "zz", "00 ", " 00", "0g", "00\n", "é0", "-1"} {
		p = nil
		if got := view.ParseHex("salt", in, &p); got != nil || len(p) != 1 || p[0].Field != "salt" || strings.Contains(p[0].Message, in) && len(in) > 1 {
			t.Errorf("%q is %x, %v", in, got, p)
		}
	}
}

// H12: only what is blank is anywhere; whatever else a whitelist is, it is networks, or it is refused.
func FuzzWhitelist(f *testing.F) {
	for _, s := range []string{`""`, `" "`, `[]`, `"10.0.0.0/8, ::1"`, `["10.0.0.1"]`, `","`, `"10.0.0.1,"`, `[""]`, `null`, `"*"`, `7`, `{}`, `"10.0.0.1-10.0.0.9"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l view.Whitelist
		if json.Unmarshal([]byte(text), &l) != nil {
			return
		}
		var p credential.Problems
		nets := l.Parse("ip_whitelist", &p)
		if len(p) > 0 || len(nets) > 0 {
			return
		}
		var list []string
		var one string
		if json.Unmarshal([]byte(text), &list) == nil && len(list) == 0 || json.Unmarshal([]byte(text), &one) == nil && strings.TrimSpace(one) == "" {
			return
		}
		t.Errorf("%q is anywhere", text)
	})
}

func TestWhitelist(t *testing.T) {
	for text, want := range map[string]string{
		`""`: "", `"  "`: "", `[]`: "", `"10.1.0.0/16, 192.0.2.7"`: "10.1.0.0/16 192.0.2.7/32", `["10.1.0.0/16", " ::1 "]`: "10.1.0.0/16 ::1/128",
		`","`: "w[0] w[1]", `"10.0.0.1,"`: "w[1]", `"x,10.0.0.1,10.0.0.1/8"`: "w[0] w[2]", `[""]`: "w[0]", `7`: "error", `{"a":1}`: "error", `[7]`: "error",
	} {
		var l view.Whitelist
		var p credential.Problems
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			if want != "error" {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		got := strings.Join(view.FormatNetworks(l.Parse("w", &p)), " ")
		if len(p) > 0 {
			var at []string
			for _, f := range p {
				at = append(at, f.Field)
			}
			got = strings.Join(at, " ")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
