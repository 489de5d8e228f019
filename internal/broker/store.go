package broker

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// store is the log on disk. A nil store keeps nothing.
//
// A record is appended by whoever holds the lock of what it is about, and
// written by the store's own goroutine: at once when somebody waits for it, together
// with everything that was appended until then, otherwise a little later. The place behind a record is its lsn; what is acknowledged waits
// until that place is on disk.
//
// When a write fails, what was not on disk is lost, and said to be lost to those who wait. From then on nothing is taken until
// everything that is in memory has been written to a new segment, which is tried again and again.
type store struct {
	b    *Broker
	disk disk
	mark uint32

	// written is held while a segment is written to or changed.
	written  sync.Mutex
	segment  *segment
	refusing atomic.Bool
	onDisk   atomic.Uint64 // lsn up to which everything is on disk, unless it is lost
	lost     atomic.Pointer[[]span]

	mu          sync.Mutex
	buf, spare  []byte // records that are not written yet, behind room for a recSynced
	lsn         uint64
	lastMessage uint64
	number      uint64 // of the segment that new records are for
	waiters     []waiter
	failed      bool // the same as refusing
	recovering  bool // but what is appended counts

	wake    chan struct{} // somebody waits
	lazily  chan struct{} // there is something to write
	compact chan struct{}
	broke   chan struct{}
	quit    chan struct{}
	clerks  sync.WaitGroup

	backlog                atomic.Int64 // bytes of records that are not written yet
	garbage                int64
	retryFailed, retryFull time.Duration
	sizes                  atomic.Int64 // of all segments
	live                   atomic.Int64 // of what is needed of them, about
	old                    []uint64     // segments before the present one; of the clerk that compacts
	saidFail               atomic.Int64
}

// span is a part of the log that was never written: from < lsn <= to.
type span struct{ from, to uint64 }

// never is an lsn that is lost.
const never = ^uint64(0) - 1

// waiter is told when more is on disk, or lost.
type waiter interface{ stored() }

const (
	lazy       = 200 * time.Millisecond // after which is written what nobody waits for
	syncedRoom = frameSize + 1 + 10
	largeBuf   = 1 << 20
	maxBacklog = 16 << 20
	garbage    = 8 << 20 // bytes that are not needed and always left
)

var errLost = errors.New("broker: the disk did not take what was to be kept")

func newStore(b *Broker, d disk) *store {
	st := &store{
		garbage: garbage, retryFailed: retryFailed, retryFull: retryFull, b: b, disk: d, mark: rand.Uint32() | 1, wake: make(chan struct{}, 1), lazily: make(chan struct{}, 1), compact: make(chan struct{}, 1),
		broke: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	st.buf, st.spare = make([]byte, syncedRoom), make([]byte, syncedRoom)
	return st
}

// run starts the store's goroutines.
func (st *store) run() {
	st.clerks.Go(st.write)
	st.clerks.Go(st.compactions)
}

// append appends a record, whose body encode appends to what it is given, and returns its lsn. The caller holds the lock of what it is about.
func (st *store) append(encode func([]byte) []byte) uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.appendLocked(encode)
}

func (st *store) appendLocked(encode func([]byte) []byte) uint64 {
	if st.failed && !st.recovering {
		return never
	}
	at := len(st.buf)
	var frame [frameSize]byte
	st.buf = encode(append(st.buf, frame[:]...))
	frameRecord(st.buf[at:], st.mark)
	st.lsn += uint64(len(st.buf) - at)
	poke(st.lazily)
	st.backlog.Store(int64(len(st.buf)))
	if len(st.buf) > largeBuf {
		poke(st.wake)
	}
	return st.lsn
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// The outcomes of what was appended.
const (
	onItsWay = iota
	stored
	gone
)

// outcome says what has become of a record.
func (st *store) outcome(lsn uint64) int {
	if st == nil || lsn == 0 {
		return stored
	}
	if lsn == never {
		return gone
	}
	on := st.onDisk.Load()
	if lost := st.lost.Load(); lost != nil {
		for _, s := range *lost {
			if s.from < lsn && lsn <= s.to {
				return gone
			}
		}
	}
	if lsn <= on {
		return stored
	}
	return onItsWay
}

// has reports whether a record has been appended and is not lost. st.mu is held.
func (st *store) has(lsn uint64) bool {
	return lsn != 0 && lsn != pending && st.outcome(lsn) != gone
}

// tell has w told when something has become of more. It asks for that to be soon.
func (st *store) tell(w waiter) {
	st.mu.Lock()
	st.waiters = append(st.waiters, w)
	st.mu.Unlock()
	poke(st.wake)
}

// newest returns the lsn of the newest record, never if there are things in memory that are not on their way to the disk.
func (st *store) newest() uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.failed {
		return never
	}
	return st.lsn
}

// pace makes those wait who append, until not too much is to be written.
func (st *store) pace() {
	if st == nil || st.backlog.Load() < maxBacklog {
		return
	}
	st.mu.Lock()
	lsn := st.lsn
	st.mu.Unlock()
	st.wait(lsn)
}

// wait returns when a record is on disk, or an error if it never will be.
func (st *store) wait(lsn uint64) error {
	for {
		switch st.outcome(lsn) {
		case stored:
			return nil
		case gone:
			return errLost
		}
		w := make(bell, 1)
		st.tell(w)
		<-w
	}
}

// bell is a waiter that is a channel.
type bell chan struct{}

func (c bell) stored() { poke(c) }

// write writes what is appended, until the store is closed.
func (st *store) write() {
	var timer <-chan time.Time
	for {
		select {
		case <-st.wake:
			st.commit()
		case <-st.lazily:
			if timer == nil {
				timer = time.After(lazy)
			}
		case <-timer:
			timer = nil
			st.commit()
		case <-st.quit:
			st.commit()
			return
		}
	}
}

// commit writes and syncs all that has been appended, and tells who waits.
func (st *store) commit() {
	st.written.Lock()
	err := st.commitLocked()
	st.written.Unlock()
	if err != nil {
		st.sayFailing(err)
	}
	st.mu.Lock()
	waiters := st.waiters
	st.waiters = nil
	st.mu.Unlock()
	for _, w := range waiters {
		w.stored()
	}
	if size, live := st.sizes.Load(), st.live.Load(); size-live > max(live, st.garbage) {
		poke(st.compact)
	}
}

func (st *store) commitLocked() error {
	st.mu.Lock()
	buf, to := st.buf, st.lsn
	if len(buf) == syncedRoom {
		st.mu.Unlock()
		return nil
	}
	st.buf, st.spare = st.spare, nil
	st.backlog.Store(0)
	st.mu.Unlock()
	before := st.segment.size
	err := st.segment.write(markSynced(buf, before, st.mark))
	if err != nil {
		st.lose(to)
	} else {
		st.sizes.Add(st.segment.size - before)
		st.onDisk.Store(to)
	}
	if cap(buf) > 4*largeBuf {
		buf = make([]byte, syncedRoom)
	}
	st.mu.Lock()
	st.spare = buf[:syncedRoom]
	st.mu.Unlock()
	return err
}

// markSynced puts a recSynced in front of records, and returns all of them.
func markSynced(buf []byte, size int64, mark uint32) []byte {
	var room [syncedRoom]byte
	rec := appendNumber(append(room[:frameSize], recSynced), uint64(size))
	frameRecord(rec, mark)
	at := syncedRoom - len(rec)
	copy(buf[at:], rec)
	return buf[at:]
}

// lose notes that what was appended up to an lsn and is not on disk never will be.
func (st *store) lose(to uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	to = max(to, st.lsn) // what came meanwhile is behind what is missing
	st.buf = st.buf[:syncedRoom]
	st.backlog.Store(0)
	var spans []span
	if old := st.lost.Load(); old != nil {
		spans = append(spans, (*old)[max(0, len(*old)-63):]...)
	}
	spans = append(spans, span{st.onDisk.Load(), to})
	st.lost.Store(&spans)
	st.failed, st.recovering = true, false
	st.refusing.Store(true)
	poke(st.broke)
}

// failing reports whether nothing is taken at the moment.
func (st *store) failing() bool { return st != nil && st.refusing.Load() }

// size is that of all segments, in bytes.
func (st *store) size() int64 {
	if st == nil {
		return 0
	}
	return st.sizes.Load()
}

// close writes what is left.
func (st *store) close() error {
	if st == nil {
		return nil
	}
	close(st.quit)
	st.clerks.Wait()
	if st.failing() {
		return errors.Join(errLost, st.segment.file.Close())
	}
	st.written.Lock()
	defer st.written.Unlock()
	// Says that all before it is on disk: what is not readable next time is damaged and not torn.
	buf := markSynced(make([]byte, syncedRoom), st.segment.size, st.mark)
	return errors.Join(st.segment.write(buf), st.segment.close())
}

// say says something about the files.
func (st *store) say(msg string, args ...any) { st.b.logger.Warn(msg, args...) }
