package client

import (
	"context"
	"sync"
	"time"
)

// flights lets many who want the same thing wait for one call that gets it. The zero value is ready.
type flights[K comparable, T any] struct {
	mu    sync.Mutex
	under map[K]*flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// start joins the call that is under way for a key, or begins it. The call belongs to nobody who waits: it has a limit of its own,
// and goes on when they give up. It must look first whether what it is to get is there already, since another call may just have ended.
func (f *flights[K, T]) start(key K, limit time.Duration, call func(context.Context) (T, error)) *flight[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.under[key]; ok {
		return c
	}
	if f.under == nil {
		f.under = map[K]*flight[T]{}
	}
	c := &flight[T]{done: make(chan struct{})}
	f.under[key] = c
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		c.value, c.err = call(ctx)
		f.mu.Lock()
		delete(f.under, key)
		f.mu.Unlock()
		close(c.done)
	}()
	return c
}

func (c *flight[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
