package authority

import (
	"context"
	"log/slog"
	"time"

	"cardea/internal/credential"
	"cardea/internal/keyring"
)

// RotateMaster gives the installation a new master key: the keystore holds both, all data keys are sealed again under the new one in
// one change, and the keystore drops the old one. Killed at any moment it leaves every data key open to exactly
// one of the masters that the keystore holds, and goes on when it is called again or when [Bootstrap] runs (K16).
func RotateMaster(ctx context.Context, s Store, ks *keyring.Keystore, now func() time.Time, log *slog.Logger) error {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return s.Exclusive(ctx, bootstrapLock, func(ctx context.Context) error {
		return rotateMaster(ctx, s, ks, now().UTC().Round(0).Truncate(time.Microsecond), log)
	})
}

func rotateMaster(ctx context.Context, s Store, ks *keyring.Keystore, at time.Time, log *slog.Logger) error {
	if err := ks.AddMaster(); err != nil { // does nothing if there are two already
		return err
	}
	keys, err := s.Keys(ctx)
	if err != nil {
		return err
	}
	ch := &change{caller: system(), at: at}
	for _, k := range keys {
		if k.Purpose != purposeData {
			continue
		}
		wrapped, err := ks.Rewrap(k)
		if err != nil {
			return err
		}
		if wrapped.Wrapper == k.Wrapper {
			continue
		}
		d := details{}
		d.set("wrapper", k.Wrapper, wrapped.Wrapper)
		ch.do(credential.PutKey{Key: wrapped}, "key.rotate", credential.Subject{Kind: "key", ID: k.ID, Name: k.Purpose}, d)
	}
	if len(ch.events) > 0 {
		if _, err := s.Commit(ctx, credential.Change{Ops: ch.ops, Events: ch.events}); err != nil {
			return err
		}
	}
	if err := ks.DropOld(); err != nil {
		return err
	}
	log.Info("the master key was replaced", "master", ks.Masters()[0], "data_keys", len(ch.events))
	return nil
}
