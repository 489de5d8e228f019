package keyring

import (
	"testing"

	"cardea/internal/credential"
)

// Whatever stands in keystore.json, reading it ends in a document within bounds or an error that names the file.
func FuzzDocument(f *testing.F) {
	d := document{Version: 1, ID: newID(), KDF: argon()}
	raw, err := d.fill([]byte("pw"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"masters":[{},{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := parseDocument("keystore.json", raw)
		if err != nil {
			refuses(t, err, credential.Invalid, "keystore.json")
			return
		}
		if !validID(d.ID) || !d.KDF.valid() || len(d.Masters) == 0 {
			t.Errorf("accepted: %+v", d)
		}
	})
}

// Open of arbitrary bytes never panics and never gives anything.
func FuzzSealed(f *testing.F) {
	r := &Ring{keys: map[string][]byte{"aaaaaaaaaaaa": make([]byte, keyLen)}, current: "aaaaaaaaaaaa"}
	good, err := r.Seal("idempotency/1", []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{1, 255})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := r.Open("idempotency/2", sealed); err == nil {
			t.Error("it opens")
		}
	})
}
