package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// A limit is the end of a run, or of a part of it: a time, or a signal. It is what context.Context
// would be for, less the 100 kB that come with that type: it can print its deadline as a date.
type limit struct {
	done  chan struct{} // closed at the end
	mu    sync.Mutex
	cause error           // of the end; to be read after done
	calls map[*int]func() // what is to be called at the end
	// A deadline that no timer watches yet: the first who waits starts that.
	deadline time.Time
	late     error // the cause, once the deadline has passed
	timer    *time.Timer
	heeding  bool // signals end it
}

// newLimit is a limit that ends only when somebody ends it.
func newLimit() *limit {
	return &limit{done: make(chan struct{}), calls: map[*int]func(){}}
}

// end ends l, once.
func (l *limit) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return
	default:
	}
	l.cause = cause
	close(l.done)
	for _, f := range l.calls {
		f()
	}
}

// over reports whether l has ended.
func (l *limit) over() bool {
	select {
	case <-l.done:
		return true
	default:
	}
	if l.late == nil || time.Now().Before(l.deadline) {
		return false
	}
	l.end(l.late)
	return true
}

// expired is the cause of l's end; nil as long as there is time.
func (l *limit) expired() error {
	if l.over() {
		return l.cause
	}
	return nil
}

// then calls f at the end of l, unless the function it returns is called before. When that has
// returned, f has either been carried out or never will be. f must not come back to l.
func (l *limit) then(f func()) (stop func()) {
	if l.over() {
		f()
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done: // meanwhile
		f()
		return func() {}
	default:
	}
	if l.late != nil && l.timer == nil {
		l.timer = time.AfterFunc(time.Until(l.deadline), func() { l.end(l.late) })
	}
	key := new(int)
	l.calls[key] = f
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, key)
	}
}

// inner is a limit that ends with l, or when the function beside it is called, which must be at
// some time.
func (l *limit) inner() (*limit, func()) {
	inner := newLimit()
	stop := l.then(func() { inner.end(l.cause) })
	return inner, func() {
		stop()
		inner.end(nil)
	}
}

// within is an inner limit that also ends after d, for that cause.
func (l *limit) within(d time.Duration, cause error) (*limit, func()) {
	inner, end := l.inner()
	timer := time.AfterFunc(d, func() { inner.end(cause) })
	return inner, func() {
		timer.Stop()
		end()
	}
}

// sleep waits for d and reports whether l has time left.
func (l *limit) sleep(d time.Duration) bool {
	nap, end := l.within(d, nil)
	defer end()
	<-nap.done
	return !l.over()
}

// expire makes f's reads and writes end with l.
func (l *limit) expire(f *os.File) (stop func()) {
	return l.then(func() { _ = f.SetDeadline(time.Unix(1, 0)) })
}

// errInterrupted is the cause of a limit that a signal has ended.
var errInterrupted = errors.New("interrupted")

// wholeRun is the one deadline of a run; none if d is 0. Its timer is started by the first who waits: the
// runtime's timers bring a thread and an epoll along, which a swap would pay for and not use.
func wholeRun(d time.Duration) *limit {
	l := newLimit()
	if d > 0 {
		l.deadline, l.late = time.Now().Add(d), fmt.Errorf("no time left of %v", d)
	}
	return l
}

// heed makes SIGTERM, SIGINT, SIGHUP and SIGQUIT end l instead of the process: what waits stops waiting, and what
// is being changed is made whole. Before the first change nobody needs that, and it costs a tenth of a
// run that has nothing to do.
func (l *limit) heed() {
	if l.heeding {
		return
	}
	l.heeding = true
	caught := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) { // nohup(1)
			signal.Notify(caught, s)
		}
	}
	go func() { l.end(fmt.Errorf("%w: %v", errInterrupted, <-caught)) }()
}

// deaf lets those signals pass unheard for the rest of the run: for one that waits for nothing.
func deaf() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
}
