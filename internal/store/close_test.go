package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/store"
)

// D12: after a clean stop the file is the whole database, also if the writer had to give its connection up.
func TestAfterAStopOneFileHoldsAll(t *testing.T) {
	dir := t.TempDir()
	s := open(t, store.Config{URL: "sqlite:" + filepath.Join(dir, "cardea.db")})
	for i := range 20 {
		p := device(i)
		commit(t, s, credential.CreatePrincipal{Principal: p}, credential.CreateCredential{Credential: token(i, p)})
	}
	s.LoseConnection()
	if _, err := s.Credential(t.Context(), token(1, device(1)).ID); err != nil { // a reader is open
		t.Fatal(err)
	}
	noErr(t, s.Close())
	whole, err := os.ReadFile(filepath.Join(dir, "cardea.db"))
	noErr(t, err)
	alone := filepath.Join(t.TempDir(), "cardea.db")
	noErr(t, os.WriteFile(alone, whole, 0o600))
	again := open(t, store.Config{URL: "sqlite:" + alone})
	if got := len(verified(t, again)); got != 40 {
		t.Errorf("%d events", got)
	}
	if _, err := again.Credential(t.Context(), token(19, device(19)).ID); err != nil {
		t.Error(err)
	}
}

// N06: many who wait for a lock leave its holder the connections that it needs.
func TestWaitersDoNotStarveTheHolder(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := open(t, store.Config{URL: url})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var group sync.WaitGroup
		for i := range 40 {
			group.Go(func() {
				err := s.Exclusive(ctx, "x", func(ctx context.Context) error {
					if _, err := s.Setting(ctx, "a"); err != nil {
						return err
					}
					_, err := s.Commit(ctx, change(credential.PutSetting{Name: "a", Value: fmt.Sprint(i)}))
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}
