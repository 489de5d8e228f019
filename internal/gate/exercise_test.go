package gate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

func get(path string) *policy.Access {
	return &policy.Access{Proto: policy.HTTP, Verb: "GET", Resource: path, Source: here}
}

func (h *house) does(id *Identity, a *policy.Access) {
	h.Helper()
	if d := h.gate.Authorize(id, a); !d.Allowed() {
		h.Errorf("%s %s: %s", a.Verb, a.Resource, d.Reason)
	}
}

// exercised returns the scopes that a credential has made use of, with the time.
func (h *house) exercised(id string) map[string]string {
	h.Helper()
	h.flushed()
	all, err := h.store.Exercised(h.Context(), id)
	if err != nil {
		h.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range all {
		found[e.Scope] = e.LastAt.Format(time.TimeOnly)
	}
	return found
}

func wantExercised(t *testing.T, got, want map[string]string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("exercised: %v, want %v", got, want)
	}
}

// counted counts what is written of each sort.
func (h *house) counted() (exercised, sighted *atomic.Int64) {
	exercised, sighted = new(atomic.Int64), new(atomic.Int64)
	h.store.set(func(f *faulty) {
		f.recorded = func(r credential.Records) {
			exercised.Add(int64(len(r.Exercised)))
			sighted.Add(int64(len(r.Sighted)))
		}
	})
	return exercised, sighted
}

// The scopes whose rules have allowed something are known, with the hour of the last time, by one write an hour for each.
func TestExercised(t *testing.T) {
	h := newHouse(t, quiet)
	h.scope("read", allow("http:GET", "/db/**"), allow("http:HEAD", "/db/**"))
	h.scope("write", allow("http:POST", "/db/**"))
	h.scope("listen", allow("mqtt:subscribe", "db/#"))
	h.role("clerk", "read", "write", "listen")
	token, c := h.token(h.device("pump-1", "clerk"))
	writes, _ := h.counted()
	id := h.accepted(token)
	for range 100 {
		h.does(id, get("/db/a"))
		h.does(id, &policy.Access{Proto: policy.HTTP, Verb: "HEAD", Resource: "/db/a", Source: here})
		h.gate.Authorize(id, get("/elsewhere"))
		h.flushed()
	}
	wantExercised(t, h.exercised(c.ID), map[string]string{"read": "03:04:05"})
	if n := writes.Load(); n != 1 {
		t.Errorf("%d writes within the hour, want 1", n)
	}
	h.pass(30 * time.Minute)
	h.flushed()
	h.does(id, get("/db/b"))
	h.does(id, post)
	wantExercised(t, h.exercised(c.ID), map[string]string{"read": "03:04:05", "write": "03:34:05"})
	h.pass(time.Hour)
	h.flushed() // it sees that the hour is another one
	h.does(id, get("/db/b"))
	wantExercised(t, h.exercised(c.ID), map[string]string{"read": "04:34:05", "write": "03:34:05"})
	if n := writes.Load(); n != 3 {
		t.Errorf("%d writes, want 3", n)
	}
}

// Each hour is one of its own: what was noted in the one before is noted again, for each scope.
func TestExercisedEachHour(t *testing.T) {
	h := newHouse(t, quiet)
	h.scope("read", allow("http:GET", "/db/**"))
	h.scope("write", allow("http:POST", "/db/**"))
	h.role("clerk", "read", "write")
	token, c := h.token(h.device("pump-1", "clerk"))
	id := h.accepted(token)
	for range 8 {
		h.does(id, get("/db/a"))
		h.does(id, post)
		now := h.hands.now().Format(time.TimeOnly)
		wantExercised(t, h.exercised(c.ID), map[string]string{"read": now, "write": now})
		h.pass(time.Hour)
		h.flushed()
	}
}

// What a bit stands for follows the rights: after a change of the policy another scope at the same place is noted within the hour.
func TestExercisedFollowsRights(t *testing.T) {
	h := newHouse(t, quiet)
	h.scope("a", allow("http:GET", "/a"))
	h.scope("b", allow("http:GET", "/b"))
	h.role("clerk", "a", "b")
	token, c := h.token(h.device("pump-1", "clerk"))
	id := h.accepted(token)
	h.does(id, get("/a"))
	h.does(id, get("/b"))
	h.scope("a", allow("http:GET", "/x"))
	h.scope("b", allow("http:GET", "/b"), allow("http:GET", "/a"))
	h.pass(time.Minute)
	h.does(id, get("/a"))
	wantExercised(t, h.exercised(c.ID), map[string]string{"a": "03:04:05", "b": "03:05:05"})
}

// A session that says the same thing over and over is answered from a memo, and each hour is noted all the same.
func TestExercisedByMemo(t *testing.T) {
	h := newHouse(t, quiet)
	h.scope("telemetry", allow("mqtt:publish", "plant/#"))
	h.role("sensor", "telemetry")
	token, c := h.token(h.device("pump-1", "sensor"))
	id, m := h.accepted(token), new(Memo)
	a := &policy.Access{Proto: policy.MQTT, Verb: "publish", Resource: "plant/a", Source: here}
	for range 3 {
		if d := h.gate.Recall(m, id, a); !d.Allowed() || d.Index() != 0 {
			t.Fatalf("%v, rule %d", d.Reason, d.Index())
		}
	}
	wantExercised(t, h.exercised(c.ID), map[string]string{"telemetry": "03:04:05"})
	h.pass(time.Hour)
	h.flushed()
	h.gate.Recall(m, id, a)
	wantExercised(t, h.exercised(c.ID), map[string]string{"telemetry": "04:04:05"})
}

// A credential with scopes of its own exercises those, not the principal's that allow the same.
func TestExercisedIsTheNarrower(t *testing.T) {
	h := newHouse(t, quiet)
	h.writer()
	h.scope("own", allow("http:POST", "/db/write/**"))
	token, c := h.token(h.device("pump-1", "writer"), func(c *credential.Credential) { c.Scopes = []string{"own"} })
	h.does(h.accepted(token), post)
	wantExercised(t, h.exercised(c.ID), map[string]string{"own": "03:04:05"})
}

// More scopes than there are bits for are known too, and not written at each use.
func TestExercisedOfManyScopes(t *testing.T) {
	h := newHouse(t, quiet)
	var names []string
	want := map[string]string{}
	for i := range didBits + 10 {
		name := fmt.Sprintf("s%02d", i)
		h.scope(name, allow("http:GET", "/"+name))
		names, want[name] = append(names, name), "03:04:05"
	}
	h.role("all", names...)
	token, c := h.token(h.device("pump-1", "all"))
	writes, _ := h.counted()
	id := h.accepted(token)
	for range 3 {
		for _, name := range names {
			h.does(id, get("/"+name))
		}
		h.flushed()
	}
	wantExercised(t, h.exercised(c.ID), want)
	if n := writes.Load(); n != int64(len(names)) {
		t.Errorf("%d writes, want %d", n, len(names))
	}
	if n := testing.AllocsPerRun(100, func() { h.does(id, get("/"+names[didBits+1])) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// Whoever asks for rights itself, as the API does, says what it has allowed.
func TestExercisedFromOutside(t *testing.T) {
	h := newHouse(t, quiet)
	h.writer()
	token, c := h.token(h.device("pump-1", "writer"))
	id := h.accepted(token)
	h.gate.Exercised(id, "db:write")
	h.gate.Exercised(id, "another")
	h.gate.Exercised(nil, "db:write")
	wantExercised(t, h.exercised(c.ID), map[string]string{"db:write": "03:04:05"})
}

// A failing store loses nothing, and the uses of many at once are all there.
func TestExercisedSurvives(t *testing.T) {
	h := newHouse(t, quiet)
	var names []string
	want := map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("s%02d", i)
		h.scope(name, allow("http:GET", "/"+name))
		names, want[name] = append(names, name), "03:04:05"
	}
	h.role("all", names...)
	token, c := h.token(h.device("pump-1", "all"))
	id := h.accepted(token)
	h.store.set(func(f *faulty) { f.record = func() error { return down } })
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range names {
				h.does(id, get("/"+names[(i+w)%len(names)]))
				_ = h.gate.flush(context.Background())
			}
		})
	}
	wg.Wait()
	h.store.set(func(f *faulty) { f.record = nil })
	wantExercised(t, h.exercised(c.ID), want)
	if !slices.IsSorted(names) {
		t.Fatal("the test has made other names")
	}
}
