package testkit

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// Log is a log that is read while it is written. The zero value is empty and ready.
type Log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Logger returns a logger that writes lines of text to it, from the level INFO.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Count returns how often a text was written.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Await waits until a text was written; after 20 seconds the test fails.
func (l *Log) Await(t testing.TB, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); l.Count(text) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log never says %q: %s", text, l)
		}
	}
}
