package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardea/internal/testkit"
)

// K12: a database that holds keys gets no new keystore, also if it does not say any more which one it had.
func TestNoNewKeystoreForOldKeys(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.CardeaConfig{})
	if code := k.Stop(); code != 0 {
		t.Fatal(k.Log())
	}
	forget(t, databasePath(k.Data))
	keystore := filepath.Join(k.Data, keystoreName)
	if err := os.Remove(keystore); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(); err == nil || !strings.Contains(err.Error(), keystoreName) {
		t.Errorf("without its keystore: %v", err)
	}
	if exists(keystore) {
		t.Error("a new one was made")
	}
}

// forget takes from a database that nobody uses what it knows of its keystore.
func forget(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := db.Exec("DELETE FROM settings WHERE name IN ('keystore.id', 'keystore.check')")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.RowsAffected(); n != 2 || err != nil {
		t.Fatalf("%d settings were there, %v", n, err)
	}
}
