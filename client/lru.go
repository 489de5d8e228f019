package client

import (
	linked "container/list"
	"sync"
	"time"
)

// lru remembers at most a number of values, each until its end. The one that was not used for longest goes first.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	limit int
	byKey map[K]*linked.Element
	order *linked.List // the last used one in front
}

type remembered[K comparable, V any] struct {
	key   K
	value V
	until time.Time
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, byKey: map[K]*linked.Element{}, order: linked.New()}
}

func (l *lru[K, V]) get(key K, now time.Time) (V, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var none V
	e, ok := l.byKey[key]
	if !ok {
		return none, false
	}
	r := e.Value.(*remembered[K, V])
	if !now.Before(r.until) {
		l.drop(e)
		return none, false
	}
	l.order.MoveToFront(e)
	return r.value, true
}

func (l *lru[K, V]) put(key K, value V, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.byKey[key]; ok {
		l.drop(e)
	}
	for len(l.byKey) >= l.limit {
		l.drop(l.order.Back())
	}
	l.byKey[key] = l.order.PushFront(&remembered[K, V]{key, value, until})
}

func (l *lru[K, V]) drop(e *linked.Element) {
	delete(l.byKey, e.Value.(*remembered[K, V]).key)
	l.order.Remove(e)
}
