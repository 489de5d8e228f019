package broker

import (
	"cmp"
	"log/slog"
	"time"
)

// Config is what a broker is made of.
type Config struct {
	Dir    string           // folder of its files, which no other process uses; "" keeps nothing
	Limits Limits           // zero fields have the defaults that are named there
	Log    *slog.Logger     // nil: silence
	Clock  func() time.Time // nil: time.Now
}

// Limits bound what clients can make the broker hold. A field that is 0 has its default.
type Limits struct {
	Packet        int    // bytes of the largest packet that is taken; 1 MiB. Announced to clients of version 5.
	Receive       int    // PUBLISH packets of one client that are not acknowledged yet (Receive Maximum); 1024
	Inflight      int    // the same towards a client, if it does not want fewer; 128
	Aliases       int    // topic aliases that a client may set; 64. Negative: none
	AliasesOut    int    // topic aliases set towards a client that allows them; 16. Negative: none
	Queue         int    // messages of QoS 1 and 2 waiting in one session; 10,000
	QueueBytes    int64  // their bytes; 64 MiB
	TotalBytes    int64  // bytes waiting in all sessions; 512 MiB. When they are reached only sessions in which nothing waits take more.
	Output        int    // bytes waiting to be written to one connection, beyond which QoS 0 is dropped; 256 KiB
	Filters       int    // subscriptions of one session; 10,000
	FilterBytes   int    // bytes of their filters; 1 MiB
	Levels        int    // levels of a topic; 128
	Retained      int    // retained messages; 1,000,000
	RetainedBytes int64  // their bytes; 256 MiB
	Sessions      int    // sessions that outlive their connections; 1,000,000
	SessionExpiry uint32 // seconds that a session may last after its connection; no limit
	// KeepAlive is the longest keep alive in seconds that clients may have, and makes the broker enforce theirs. 0
	// leaves it to the door; it needs connections that have read deadlines.
	KeepAlive uint16
}

func (l *Limits) defaults() {
	l.Packet = cmp.Or(l.Packet, 1<<20)
	l.Receive = min(cmp.Or(l.Receive, 1024), 65535)
	l.Inflight = min(cmp.Or(l.Inflight, 128), 65535)
	l.Aliases = max(cmp.Or(l.Aliases, 64), 0)
	l.AliasesOut = max(cmp.Or(l.AliasesOut, 16), 0)
	l.Queue = cmp.Or(l.Queue, 10_000)
	l.QueueBytes = cmp.Or(l.QueueBytes, 64<<20)
	l.TotalBytes = cmp.Or(l.TotalBytes, 512<<20)
	l.Output = cmp.Or(l.Output, 256<<10)
	l.Filters = cmp.Or(l.Filters, 10_000)
	l.FilterBytes = cmp.Or(l.FilterBytes, 1<<20)
	l.Levels = cmp.Or(l.Levels, 128)
	l.Retained = cmp.Or(l.Retained, 1_000_000)
	l.RetainedBytes = cmp.Or(l.RetainedBytes, 256<<20)
	l.Sessions = cmp.Or(l.Sessions, 1_000_000)
	l.SessionExpiry = cmp.Or(l.SessionExpiry, forever)
}

// forever is a session expiry that never comes (3.1.2.11.2).
const forever = 0xFFFFFFFF
