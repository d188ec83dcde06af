package main

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	errFirst  = errors.New("the first cause")
	errSecond = errors.New("the second cause")
)

// ended waits for the end of l and returns its cause.
func ended(t *testing.T, l *limit) error {
	t.Helper()
	select {
	case <-l.done:
		return l.cause
	case <-time.After(10 * time.Second):
		t.Fatal("the limit does not end")
		return nil
	}
}

func TestLimitEndsOnce(t *testing.T) {
	l := newLimit()
	if l.over() || l.expired() != nil {
		t.Errorf("over() = %v, expired() = %v of a new limit, want false, nil", l.over(), l.expired())
	}
	l.end(errFirst)
	l.end(errSecond)
	if err := ended(t, l); err != errFirst || !l.over() || l.expired() != errFirst {
		t.Errorf("cause = %v, over() = %v, expired() = %v, want the first cause", err, l.over(), l.expired())
	}
}

func TestLimitWithin(t *testing.T) {
	outer := newLimit()
	soon, endSoon := outer.within(time.Millisecond, errFirst)
	if err := ended(t, soon); err != errFirst {
		t.Errorf("its time has come: cause = %v, want %v", err, errFirst)
	}
	endSoon()
	early, endEarly := outer.within(time.Hour, errFirst)
	endEarly()
	if err := ended(t, early); err != nil {
		t.Errorf("it was ended: cause = %v, want nil", err)
	}
	if outer.over() {
		t.Error("the outer limit is over, want not")
	}
	with, endWith := outer.within(time.Hour, errFirst)
	outer.end(errSecond)
	if err := ended(t, with); err != errSecond {
		t.Errorf("the outer limit has ended: cause = %v, want %v", err, errSecond)
	}
	endWith()
}

func TestLimitInsideOneThatHasEnded(t *testing.T) {
	outer := newLimit()
	outer.end(errFirst)
	middle, endMiddle := outer.inner()
	defer endMiddle()
	l, end := middle.within(time.Hour, errSecond)
	defer end()
	if err := ended(t, l); err != errFirst {
		t.Errorf("cause = %v, want %v", err, errFirst)
	}
}

func TestLimitSleep(t *testing.T) {
	l := newLimit()
	start := time.Now()
	if awake := l.sleep(10 * time.Millisecond); !awake || time.Since(start) < 10*time.Millisecond {
		t.Errorf("sleep(10ms) = %v after %v, want true, and not sooner", awake, time.Since(start))
	}
	time.AfterFunc(10*time.Millisecond, func() { l.end(errFirst) })
	if l.sleep(time.Hour) {
		t.Error("sleep(1h) = true at the end of its limit, want false")
	}
	if l.sleep(time.Hour) {
		t.Error("sleep(1h) = true after the end of its limit, want false")
	}
}

// Who has stopped waiting for the end of a limit is not called then.
func TestLimitThen(t *testing.T) {
	var calls atomic.Int32
	count := func() { calls.Add(1) }
	before := runtime.NumGoroutine()
	for range 1000 {
		l := newLimit()
		stop := l.then(count)
		stop()
		l.end(errFirst)
	}
	waitForGoroutines(t, before)
	if n := calls.Load(); n != 0 {
		t.Errorf("then() called %d times at the end of 1000 limits, all of them after stop(), want 0", n)
	}
	calls.Store(0)
	for range 1000 {
		l := newLimit()
		stop := l.then(count)
		defer stop()
		l.end(errFirst)
	}
	waitForGoroutines(t, before)
	if n := calls.Load(); n != 1000 {
		t.Errorf("then() called %d times at the end of 1000 limits, want 1000", n)
	}
}

// A limit that is over interrupts reads that wait, and those that begin.
func TestLimitExpire(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer near.Close()
	defer far.Close()
	read := func() error { _, err := near.Read(make([]byte, 1)); return err }

	l := newLimit()
	stop := l.expire(near)
	if _, err := far.Write([]byte("x")); err != nil || read() != nil {
		t.Errorf("Read() before the end: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { l.end(errFirst) })
	for range 2 {
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read() = %v, want %v", err, os.ErrDeadlineExceeded)
		}
	}
	stop()
}

// Limits that were ended leave nobody behind, nor a timer.
func TestLimitLeavesNobodyBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	outer := newLimit()
	for range 100 {
		l, end := outer.within(time.Hour, errFirst)
		l.sleep(time.Microsecond)
		stop := l.then(func() {})
		stop()
		end()
	}
	waitForGoroutines(t, before)
}

func TestWholeRun(t *testing.T) {
	l := wholeRun(10 * time.Millisecond)
	defer l.then(func() {})() // the first who waits starts the clock
	if err := ended(t, l); err == nil || err.Error() != "no time left of 10ms" {
		t.Errorf("cause = %v, want no time left of 10ms", err)
	}
	if wholeRun(0).over() {
		t.Error("over() = true of a run without a budget, want false")
	}
}

// forgetSignals undoes what heed, deaf and signal.Ignore have done.
func forgetSignals() {
	// Reset alone leaves a signal ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	signal.Reset()
}

func TestLimitHeed(t *testing.T) {
	forgetSignals() // nohup(1), or a shell's &, may have had some ignored
	t.Cleanup(forgetSignals)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		l := newLimit()
		l.heed()
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if err := ended(t, l); !errors.Is(err, errInterrupted) || err.Error() != "interrupted: "+s.String() {
			t.Errorf("cause = %v, want interrupted: %v", err, s)
		}
	}
}

// nohup(1) has SIGHUP ignored, and it stays so.
func TestLimitHeedUnderNohup(t *testing.T) {
	t.Cleanup(forgetSignals)
	signal.Ignore(syscall.SIGHUP)
	l := newLimit()
	if l.heed(); !signal.Ignored(syscall.SIGHUP) || l.over() {
		t.Errorf("SIGHUP ignored: %v, want true", signal.Ignored(syscall.SIGHUP))
	}
}

func TestDeaf(t *testing.T) {
	t.Cleanup(forgetSignals)
	deaf()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if err := syscall.Kill(os.Getpid(), s); err != nil || !signal.Ignored(s) {
			t.Errorf("%v is heard by the deaf (%v)", s, err)
		}
	}
}
