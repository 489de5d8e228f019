package authority

import (
	"crypto/sha256"
	"encoding/json"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/scram"
	"cardea/internal/secret"
)

// Bounds of what a SCRAM credential is made of, in bytes.
const (
	maxUsername = 256
	minPassword = 8
	maxPassword = 256
	newPassword = 24 // base62 characters of one that Cardea makes: 142 random bits
)

// material is what the keys of a SCRAM credential shall come from: nothing, so that Cardea makes a password, or a
// password, or keys that were made elsewhere. Its fields are those of [NewCredential] and [Rotation].
type material struct {
	password   secret.Text
	salt       []byte
	storedKey  []byte
	serverKey  []byte
	iterations int
}

func (n *NewCredential) material() material {
	return material{n.Password, n.Salt, n.StoredKey, n.ServerKey, n.Iterations}
}

func (r *Rotation) material() material {
	return material{r.Password, r.Salt, r.StoredKey, r.ServerKey, r.Iterations}
}

// imports reports whether keys were given.
func (m *material) imports() bool { return len(m.salt)+len(m.storedKey)+len(m.serverKey) > 0 }

// keys are those that were given.
func (m *material) keys() credential.ScramKeys {
	return credential.ScramKeys{Salt: m.salt, StoredKey: m.storedKey, ServerKey: m.serverKey, Iterations: m.iterations}
}

// fingerprint is what an idempotency key remembers of the secret part: nil if there is none. Whoever has it can try
// passwords, so it is kept sealed only.
func (m *material) fingerprint() []byte {
	if m.password.IsZero() && !m.imports() {
		return nil
	}
	text, err := json.Marshal([][]byte{[]byte(m.password.Reveal()), m.salt, m.storedKey, m.serverKey})
	if err != nil {
		panic("authority: " + err.Error()) // bytes can always be encoded
	}
	defer clear(text)
	sum := sha256.Sum256(text)
	return sum[:]
}

// refuse names what is given of it, for kinds that are made of something else.
func (m *material) refuse(p *credential.Problems) {
	for _, f := range []struct {
		field string
		given bool
	}{
		{"password", !m.password.IsZero()},
		{"iterations", m.iterations != 0},
		{"stored_key", len(m.storedKey) > 0},
		{"server_key", len(m.serverKey) > 0},
		{"salt", len(m.salt) > 0},
	} {
		if f.given {
			p.Add(f.field, "is for scram only")
		}
	}
}

// check checks it for an algorithm and a user name. Whether iterations may be given without keys is for the caller.
func (m *material) check(p *credential.Problems, h scram.Hash, username string) {
	if m.imports() {
		if !m.password.IsZero() {
			p.Add("password", "is given together with stored_key, server_key and salt: give one of them")
		}
		k := m.keys()
		scram.CheckKeys(h, &k, p)
		return
	}
	if !m.password.IsZero() {
		checkPassword(p, m.password.Reveal(), username)
	}
	if m.iterations != 0 && (m.iterations < credential.MinIterations || m.iterations > credential.MaxIterations) { // S08
		p.Add("iterations", "must be from %d to %d, not %d", credential.MinIterations, credential.MaxIterations, m.iterations)
	}
}

// checkPassword refuses passwords that cannot be used, and those that are no secret. What it says holds nothing of them (K03).
func checkPassword(p *credential.Problems, password, username string) {
	if len(password) > maxPassword {
		p.Add("password", "is longer than %d bytes", maxPassword)
		return
	}
	prepared, err := scram.PrepareStored(password)
	switch {
	case err != nil:
		p.Add("password", "%s", err)
	case len(prepared) < minPassword:
		p.Add("password", "is shorter than %d bytes", minPassword)
	case secret.Looks(password):
		p.Add("password", "contains a token: take something that is no other credential")
	case strings.EqualFold(prepared, username):
		p.Add("password", "is the user name")
	}
}

// checkUsername returns the form in which a user name is kept: the one that SASLprep makes of it (RFC 5802, 5.1).
func checkUsername(p *credential.Problems, name string) string {
	if len(name) > maxUsername {
		p.Add("username", "is longer than %d bytes", maxUsername)
		return ""
	}
	prepared, err := scram.PrepareStored(name)
	if err != nil {
		p.Add("username", "%s", err)
		return ""
	}
	if again, err := scram.Prepare(prepared); err != nil || again != prepared {
		p.Add("username", "does not stay the same when it is normalised by SASLprep: choose another one")
		return ""
	}
	checkText(p, "username", prepared, maxUsername)
	return prepared
}

// checkLogin checks what a wish says of user name, algorithm and keys, and puts the first two into the draft.
func (n *NewCredential) checkLogin(p *credential.Problems, d *draft) {
	m := n.material()
	if n.Kind != credential.SCRAM {
		if n.Username != "" {
			p.Add("username", "is for scram only")
		}
		if n.Algorithm != "" {
			p.Add("algorithm", "is for scram only")
		}
		m.refuse(p)
		return
	}
	switch {
	case n.Username != "":
		d.Username = checkUsername(p, n.Username)
	case d.principal != "":
		d.Username = d.principal // its form was checked when it was made
	}
	d.Algorithm = n.Algorithm
	if d.Algorithm == "" {
		d.Algorithm = credential.SHA256
	}
	h, known := scram.HashOf(d.Algorithm)
	if !known {
		p.Add("algorithm", "is neither %s nor %s", credential.SHA256, credential.SHA512)
		return
	}
	m.check(p, h, d.Username)
}

// checkLogins checks what the SCRAM credentials of one request are together: no user name twice, and no more work than
// one of them may be. field says how a field of the i-th is called.
func checkLogins(p *credential.Problems, all []NewCredential, drafts []draft, field func(i int, name string) string) {
	first := map[string]int{}
	work := 0
	for i := range drafts {
		if drafts[i].Kind != credential.SCRAM || drafts[i].Username == "" {
			continue
		}
		if j, there := first[drafts[i].Username]; there {
			p.Add(field(i, "username"), "repeats %s", field(j, "username"))
		} else {
			first[drafts[i].Username] = i
		}
		if m := all[i].material(); !m.imports() {
			work += max(m.iterations, credential.MinIterations)
		}
	}
	if len(drafts) > 1 && work > credential.MaxIterations {
		p.Add("credentials", "would take %d iterations together: %d are possible in one request", work, credential.MaxIterations)
	}
}
