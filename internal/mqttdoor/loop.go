package mqttdoor

import (
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// loop waits for the sockets of many links on one thread, and carries what
// comes of them. Two goroutines for each link would each be woken for every
// message, and a connection that is idle would hold both their stacks; with a loop a message costs
// a read and a write on each way, and an idle connection what the kernel and the session hold.
type loop struct {
	log  *slog.Logger
	epfd int
	evfd int // wakes the thread for what was posted

	mu     sync.Mutex
	posted []func()
	closed bool

	// Of the goroutine that works.
	ends   map[int32]*end // by descriptor
	events [256]unix.EpollEvent
	buf    [64 << 10]byte // what is being carried

	file *os.File // epfd, for Go's poller
	done chan struct{}
}

func newLoop(log *slog.Logger) (*loop, error) {
	l := &loop{log: log, ends: map[int32]*end{}, done: make(chan struct{})}
	var err error
	if l.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.evfd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(l.epfd)
		return nil, err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.evfd)}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, l.evfd, &ev); err != nil {
		unix.Close(l.evfd)
		unix.Close(l.epfd)
		return nil, err
	}
	if err := unix.SetNonblock(l.epfd, true); err != nil {
		unix.Close(l.evfd)
		unix.Close(l.epfd)
		return nil, err
	}
	l.file = os.NewFile(uintptr(l.epfd), "epoll")
	go l.run()
	return l, nil
}

// post lets f run on the loop's thread, soon. After close nothing runs.
func (l *loop) post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.posted = append(l.posted, f)
	if len(l.posted) == 1 {
		l.wake()
	}
}

// wake makes the thread look at what was posted.
func (l *loop) wake() {
	some := [8]byte{1}                 // whatever number that is here
	_, _ = unix.Write(l.evfd, some[:]) // it only fails if it is awake already
}

// close ends the thread. No link may be left.
func (l *loop) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake()
	<-l.done
}

// run waits in Go's own poller until the kernel has something for the loop: so it
// costs no thread of its own, and the scheduler is not told of a system call that blocks.
func (l *loop) run() {
	defer close(l.done)
	defer unix.Close(l.evfd)
	defer l.file.Close()
	raw, err := l.file.SyscallConn()
	if err != nil {
		l.log.Error("the MQTT door cannot wait for its sockets", "error", err)
		return
	}
	err = raw.Read(func(uintptr) bool { return l.work() })
	if err != nil {
		l.log.Error("the MQTT door cannot wait for its sockets", "error", err)
	}
}

// work does what there is to do, and reports whether the loop is closed.
func (l *loop) work() bool {
	for {
		n, err := unix.EpollWait(l.epfd, l.events[:], 0)
		if err == unix.EINTR { //nolint:errorlint // an errno as it is
			continue
		}
		if n <= 0 {
			return false
		}
		for i := range n {
			ev := &l.events[i]
			if int(ev.Fd) == l.evfd {
				var b [8]byte
				_, _ = unix.Read(l.evfd, b[:])
				if l.runPosted() {
					return true
				}
				continue
			}
			if e := l.ends[ev.Fd]; e != nil {
				e.ready(ev.Events)
			}
		}
	}
}

// runPosted runs what was posted and reports whether the loop is closed.
func (l *loop) runPosted() bool {
	l.mu.Lock()
	fs := l.posted
	l.posted = nil
	closed := l.closed
	l.mu.Unlock()
	for _, f := range fs {
		f()
	}
	return closed
}

// loops are as many as there are processors, made when the first link comes.
type loops struct {
	log  *slog.Logger
	once sync.Once
	all  []*loop
	err  error
	next atomic.Uint32
}

// get returns the one whose turn it is.
func (ls *loops) get() (*loop, error) {
	ls.once.Do(func() {
		for range runtime.GOMAXPROCS(0) {
			l, err := newLoop(ls.log)
			if err != nil {
				ls.err = err
				return
			}
			ls.all = append(ls.all, l)
		}
	})
	if len(ls.all) == 0 {
		return nil, ls.err
	}
	return ls.all[int(ls.next.Add(1))%len(ls.all)], nil
}

// close ends them all.
func (ls *loops) close() {
	ls.once.Do(func() {})
	for _, l := range ls.all {
		l.close()
	}
}
