package httpdoor

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// newTransport returns what reaches the upstreams. Answers come through as they
// are: nothing is decompressed (H17), no redirect is followed (H15), and no proxy of
// the environment gets to see the identity headers.
func newTransport(t *http.Transport, l Limits) *http.Transport {
	if t == nil {
		dialer := &net.Dialer{Timeout: l.UpstreamDial, KeepAlive: 30 * time.Second}
		t = &http.Transport{
			DialContext:           dialer.DialContext,
			MaxIdleConnsPerHost:   1024, // the default of 2 would close nearly every connection after use
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   l.UpstreamDial,
			ExpectContinueTimeout: time.Second,
			ResponseHeaderTimeout: l.UpstreamHeader,
		}
	}
	t = t.Clone()
	t.Proxy = nil
	t.DisableCompression = true
	return t
}

const copySize = 32 << 10

// buffers lends the memory through which answers are copied.
type buffers struct{ pool sync.Pool }

// Get lends a buffer.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[copySize]byte); ok {
		return p[:]
	}
	return make([]byte, copySize)
}

// Put takes it back. The pool holds pointers to arrays: a slice would be allocated anew to be put there.
func (b *buffers) Put(p []byte) {
	if len(p) == copySize {
		b.pool.Put((*[copySize]byte)(p))
	}
}
