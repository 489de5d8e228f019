package authority

import (
	"context"
	"crypto"
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cardea/internal/ca"
	"cardea/internal/credential"
	"cardea/internal/jwt"
	"cardea/internal/keyring"
	"cardea/internal/secret"
)

// Settings that say to which keystore a database belongs and how the installation is called.
const (
	settingKeystoreID    = "keystore.id"
	settingKeystoreCheck = "keystore.check"
	settingInstance      = "instance" // lower-case base62; part of the names of root and issuing certificate
)

// Purposes of keys; see [credential.Key].
const (
	purposeData     = "data"
	purposeIdentity = "identity"
	purposeRoot     = "ca-root"
	purposeIssuing  = "ca-issuing"
	purposeFake     = "scram-fake" // for the salts of users that do not exist
)

// bootstrapLock is the lock under which keys and built-in things are made, and master keys replaced.
const bootstrapLock = "bootstrap"

// Bootstrap makes, under a lock, what a database must hold before anything else can run: the keystore's mark,
// data key, identity key, the secrets for fake salts and for nonces, the first key of access tokens, root and issuing certificate, the organisation "default", built-in scopes and roles, and the chain of the
// listener "default". What is there already stays. All that
// is missing comes in one change, with one event for each thing, so that a process that is
// killed leaves all or nothing, and of several nodes one makes it and the others find it. A rotation of the master key
// that was interrupted is ended. Errors: Invalid if the database belongs to another keystore (K14).
func Bootstrap(ctx context.Context, s Store, ks *keyring.Keystore, now func() time.Time, log *slog.Logger) (*keyring.Ring, *ca.CA, error) {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &bootstrap{store: s, ks: ks, at: now().UTC().Round(0).Truncate(time.Microsecond), log: log}
	err := s.Exclusive(ctx, bootstrapLock, func(ctx context.Context) error {
		b.ch = &change{caller: system(), at: b.at}
		if err := b.run(ctx); err != nil {
			return err
		}
		if len(ks.Masters()) > 1 {
			log.Info("a rotation of the master key was interrupted and goes on")
			return rotateMaster(ctx, s, ks, b.at, log)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return b.ring, b.ca, nil
}

type bootstrap struct {
	store Store
	ks    *keyring.Keystore
	at    time.Time
	log   *slog.Logger
	ch    *change
	keys  []credential.Key

	ring *keyring.Ring
	ca   *ca.CA
}

func (b *bootstrap) run(ctx context.Context) error {
	var err error
	if b.keys, err = b.store.Keys(ctx); err != nil {
		return err
	}
	if err := b.markKeystore(ctx); err != nil {
		return err
	}
	if err := b.dataKey(); err != nil {
		return err
	}
	if _, err := b.signer(purposeIdentity, nil); err != nil {
		return err
	}
	for _, purpose := range []string{purposeFake, purposeNonce} {
		if err := b.secret(purpose); err != nil {
			return err
		}
	}
	if err := b.accessTokens(); err != nil {
		return err
	}
	if err := b.certificates(ctx); err != nil {
		return err
	}
	if err := b.policy(ctx); err != nil {
		return err
	}
	if err := seedChain(ctx, b.store, b.ch, defaultListener, defaultChain()); err != nil {
		return err
	}
	if len(b.ch.events) == 0 {
		return nil
	}
	_, err = b.store.Commit(ctx, credential.Change{Ops: b.ch.ops, Events: b.ch.events})
	if err == nil {
		b.log.Info("what a database needs from the start was made", "things", len(b.ch.events))
	}
	return err
}

// markKeystore notes to which keystore the database belongs, or compares.
func (b *bootstrap) markKeystore(ctx context.Context) error {
	check, err := b.store.Setting(ctx, settingKeystoreCheck)
	if err != nil {
		return err
	}
	id, err := b.store.Setting(ctx, settingKeystoreID)
	if err != nil {
		return err
	}
	switch {
	case check == b.ks.Check():
		return nil
	case check != "" || len(b.keys) > 0:
		return credential.Errorf(credential.Invalid,
			"the keystore %s in the data folder does not belong to this database, whose keystore is %s: put back the right one", b.ks.ID(), id)
	}
	b.ch.also(credential.PutSetting{Name: settingKeystoreCheck, Value: b.ks.Check()})
	b.ch.do(credential.PutSetting{Name: settingKeystoreID, Value: b.ks.ID()},
		"system.create", credential.Subject{Kind: "system", ID: settingKeystoreID}, details{"keystore": b.ks.ID()})
	return nil
}

func (b *bootstrap) dataKey() error {
	if _, found := current(b.keys, purposeData); !found {
		key, err := b.ks.NewDataKey(b.at)
		if err != nil {
			return err
		}
		b.add(key)
	}
	var err error
	b.ring, err = keyring.New(b.ks, b.keys)
	return err
}

func (b *bootstrap) add(key credential.Key) {
	b.keys = append(b.keys, key)
	about := credential.Subject{Kind: "key", ID: key.ID, Name: key.Purpose}
	b.ch.do(credential.PutKey{Key: key}, "key.create", about, details{"purpose": key.Purpose, "alg": key.Alg})
}

// current returns the newest key of a purpose that is not retired.
func current(keys []credential.Key, purpose string) (credential.Key, bool) {
	var best credential.Key
	for _, k := range keys {
		if k.Purpose == purpose && k.RetiredAt.IsZero() && (best.ID == "" || k.CreatedAt.After(best.CreatedAt)) {
			best = k
		}
	}
	return best, best.ID != ""
}

// signer returns the signer of a purpose. If there is none it makes one; certify, if not nil, gives its certificate.
func (b *bootstrap) signer(purpose string, certify func(crypto.Signer) ([]byte, error)) (signing, error) {
	key, found := current(b.keys, purpose)
	if found {
		s, err := b.ring.Signer(key)
		return signing{s, key.Public}, err
	}
	key, err := b.ring.NewSigner(purpose, "ES256", b.at)
	if err != nil {
		return signing{}, err
	}
	s, err := b.ring.Signer(key)
	if err != nil {
		return signing{}, err
	}
	if certify != nil {
		if key.Public, err = certify(s); err != nil {
			return signing{}, err
		}
	}
	b.add(key)
	return signing{s, key.Public}, nil
}

// secret makes the secret of a purpose if there is none.
func (b *bootstrap) secret(purpose string) error {
	if _, found := current(b.keys, purpose); found {
		return nil
	}
	key, err := b.ring.NewSecret(purpose, b.at)
	if err != nil {
		return err
	}
	b.add(key)
	return nil
}

// accessTokens makes the first key of access tokens. The others are made when they are due; see [Authority.KeepSigningKeys].
func (b *bootstrap) accessTokens() error {
	if slices.ContainsFunc(b.keys, func(k credential.Key) bool { return k.Purpose == purposeOAuth }) {
		return nil
	}
	key, err := b.ring.NewSigner(purposeOAuth, credential.DefaultSigning, b.at)
	if err != nil {
		return err
	}
	b.add(key)
	return nil
}

// signing is a key with its public part: a certificate for those of the CA.
type signing struct {
	crypto.Signer
	public []byte
}

// certificates opens the CA, or makes a root and an issuing certificate under it.
func (b *bootstrap) certificates(ctx context.Context) error {
	instance, err := b.instance(ctx)
	if err != nil {
		return err
	}
	root, err := b.signer(purposeRoot, func(s crypto.Signer) ([]byte, error) { return ca.NewRoot(s, instance, b.at) })
	if err != nil {
		return err
	}
	issuing, err := b.signer(purposeIssuing, func(s crypto.Signer) ([]byte, error) {
		cert, err := x509.ParseCertificate(root.public)
		if err != nil {
			return nil, err
		}
		return ca.NewIssuing(s.Public(), cert, root.Signer, instance, b.at)
	})
	if err != nil {
		return err
	}
	b.ca, err = ca.New(root.public, issuing.public, issuing.Signer)
	return err
}

func (b *bootstrap) instance(ctx context.Context) (string, error) {
	name, err := b.store.Setting(ctx, settingInstance)
	if err != nil || name != "" {
		return name, err
	}
	if name, err = secret.NewID(8); err != nil {
		return "", err
	}
	name = strings.ToLower(name)
	b.ch.do(credential.PutSetting{Name: settingInstance, Value: name},
		"system.create", credential.Subject{Kind: "system", ID: settingInstance}, details{"instance": name})
	return name, nil
}

// policy adds the organisation that is there from the start, and to each one the built-in scopes and roles that it lacks: those
// that are new in this version, say.
func (b *bootstrap) policy(ctx context.Context) error {
	has, err := b.store.Policy(ctx)
	if err != nil {
		return err
	}
	if _, there := has.Org(credential.DefaultOrg); !there {
		org := credential.Org{Name: credential.DefaultOrg, Description: "Runs the installation; is not held to any resources.", CreatedAt: b.at}
		b.ch.do(credential.PutOrg{Org: org}, "org.create", aboutOrg(org.Name), details{"description": org.Description})
		has.Orgs = append(slices.Clone(has.Orgs), org)
	}
	for _, o := range has.Orgs {
		furnish(b.ch, o.Name, &has)
	}
	return nil
}

// IdentitySigner returns what signs the identity header: the newest identity key among keys, which [Bootstrap] has made.
func IdentitySigner(ring *keyring.Ring, keys []credential.Key) (*jwt.Signer, error) {
	s, err := IdentityKey(ring, keys)
	if err != nil {
		return nil, err
	}
	return jwt.NewSigner(s)
}

// IdentityKey is the key of [IdentitySigner].
func IdentityKey(ring *keyring.Ring, keys []credential.Key) (crypto.Signer, error) {
	key, found := current(keys, purposeIdentity)
	if !found {
		return nil, credential.Errorf(credential.Down, "the database holds no identity key: restore it from a backup")
	}
	return ring.Signer(key)
}

// IdentityPublics returns the public parts of all identity keys, retired ones included, for the JWK set.
func IdentityPublics(keys []credential.Key) ([]crypto.PublicKey, error) {
	var all []crypto.PublicKey
	for _, k := range keys {
		if k.Purpose != purposeIdentity {
			continue
		}
		pub, err := x509.ParsePKIXPublicKey(k.Public)
		if err != nil {
			return nil, &credential.Error{Kind: credential.Internal, Err: err}
		}
		all = append(all, pub)
	}
	return all, nil
}

// FakeSaltKey returns the secret that the salts of users that do not exist are made of (S01), from among keys, which [Bootstrap] has made.
// It is the same on every node, after a restart, a rotation of the master key and a restore (S02).
func FakeSaltKey(ring *keyring.Ring, keys []credential.Key) ([]byte, error) {
	key, found := current(keys, purposeFake)
	if !found {
		return nil, credential.Errorf(credential.Down, "the database holds no secret for fake salts: restart this node, which makes one")
	}
	return ring.Secret(key)
}
