package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// This file is about the end of a run: the one context that has the deadline of -timeout and that a
// signal cancels, and how waiting ends with it.

// errInterrupted is the cause of a context that a signal has canceled.
var errInterrupted = errors.New("interrupted")

// runContext returns the context of a whole run, which ends after d; 0 is no deadline. notifySignals
// makes SIGTERM, SIGINT, SIGHUP and SIGQUIT cancel it instead of ending the process; a second call
// does nothing. It is to be called when the first change is near: until then a signal may end the
// process, as there is nothing to put back. Notification is never stopped, so no signal is lost.
func runContext(d time.Duration) (ctx context.Context, cancel, notifySignals func()) {
	ctx, cancelCause := context.WithCancelCause(context.Background())
	notifySignals = sync.OnceFunc(func() { cancelOnSignal(cancelCause) })
	stop := func() { cancelCause(nil) }
	if d == 0 {
		return ctx, stop, notifySignals
	}
	timer := time.AfterFunc(d, func() { cancelCause(fmt.Errorf("no time left of %v", d)) })
	return ctx, func() { timer.Stop(); stop() }, notifySignals
}

// withTimeout is ctx, but it ends after d at the latest. context.WithTimeout has a String method that
// prints a date, and with it come the calendar and the time zones.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(d, func() { cancel(fmt.Errorf("not within %v", d)) })
	return ctx, func() { timer.Stop(); cancel(nil) }
}

// cancelOnSignal calls cancel when the first of those signals comes. One that was ignored when the
// process began stays ignored: nohup(1) relies on that.
func cancelOnSignal(cancel context.CancelCauseFunc) {
	received := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(received, s)
		}
	}
	go func() { cancel(fmt.Errorf("%w: %v", errInterrupted, <-received)) }()
}

// ignoreSignals ignores those signals for the rest of the run, where nothing waits that they could end.
func ignoreSignals() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
}

// within is a context that ends after d, whatever the deadline of the run is and whatever signals come.
func within(d time.Duration) (context.Context, context.CancelFunc) {
	return withTimeout(context.Background(), d)
}

// sleep waits for d and reports whether ctx has time left.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// interruptAtEnd makes f's reads and writes fail with os.ErrDeadlineExceeded from the end of ctx on,
// unless stop is called before. f may be closed by then: SetDeadline of a closed file does nothing.
func interruptAtEnd(ctx context.Context, f *os.File) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) }) // in the past
}
