package httpdoor

import "time"

// Limits bound what callers and upstreams can take. A zero field means its default.
type Limits struct {
	Handshake      time.Duration // TLS handshake: 10 s
	Header         time.Duration // from the first byte of a head to its end: 10 s
	Idle           time.Duration // between requests of a connection: 120 s
	BodyIdle       time.Duration // between two pieces of a body, and until BodyRate is asked for: 30 s
	BodyRate       int64         // bytes a second that a body must make on average: 64
	Unread         time.Duration // for what is left of a body when its request was refused: 2 s
	MaxBody        int64         // bytes of a body that goes to an upstream: 64 MiB
	WriteIdle      time.Duration // for a peer that takes nothing of its answer: 60 s
	UpstreamHeader time.Duration // until an upstream's answer begins: 60 s
	UpstreamDial   time.Duration // 10 s
	Connections    int           // open ones in total: 10,000
	PerSource      int           // open ones of one IPv4 address or IPv6 /64, trusted proxies excepted: 8,000
}

func (l Limits) orDefault() Limits {
	set(&l.Handshake, 10*time.Second)
	set(&l.Header, 10*time.Second)
	set(&l.Idle, 120*time.Second)
	set(&l.BodyIdle, 30*time.Second)
	set(&l.BodyRate, 64)
	set(&l.Unread, 2*time.Second)
	set(&l.MaxBody, 64<<20)
	set(&l.WriteIdle, 60*time.Second)
	set(&l.UpstreamHeader, 60*time.Second)
	set(&l.UpstreamDial, 10*time.Second)
	set(&l.Connections, 10_000)
	set(&l.PerSource, 8_000)
	return l
}

func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}
