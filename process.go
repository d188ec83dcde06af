package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file is about the end of a run: the one context that has the deadline of -timeout and that a
// signal cancels, and how waiting ends with it.

// lastInit is what the kernel looks for first where nothing is said: init/main.c, kernel_init.
const defaultInit = "/sbin/init"

// isKernelInit reports whether we are the kernel's first process: process 1, beside which process 2
// is kthreadd, in process group 0 (init/main.c, rest_init). In another PID namespace that is
// nobody, a thread of ours, or a process of a group inside: to start an init there would be to
// start it on the host's files.
func isKernelInit() bool {
	group, err := unix.Getpgid(2)
	return os.Getpid() == 1 && err == nil && group == 0 && unix.Tgkill(1, 2, 0) == unix.ESRCH
}

// execCommand becomes command. It comes back only with an error.
func execCommand(command []string) error {
	path, err := lookPath(command[0])
	if err != nil {
		return err
	}
	// Exec passes on what is ignored, and resets what is caught; Reset does not undo Ignore.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, command, os.Environ()))
}

// lookPath finds a program on $PATH; a name with a slash is taken as it is.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range strings.Split(os.Getenv("PATH"), ":") {
		path := dir + "/" + name
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && strings.HasPrefix(dir, "/") {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not on $PATH", name)
}

// systemdBooted is sd_booted(3).
func systemdBooted() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

const (
	queryTimeout = 10 * time.Second // for systemd or NetworkManager to answer a question
	maxOutput    = 64 << 10         // bytes of a command's output that are read
)

// How a command ended that was run: by a signal, or not with 0.
var (
	errKilled   = errors.New("killed")
	errExitCode = errors.New("exit code")
)

// runQuery runs a command that only tells something.
func runQuery(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := withTimeout(ctx, queryTimeout)
	defer cancel()
	return runCommand(ctx, name, args...)
}

// runCommand runs a command with nothing to read, kills it when ctx ends, and returns the first 64
// KiB of what it printed. Its error names the command.
func runCommand(ctx context.Context, name string, args ...string) (string, error) {
	path, err := lookPath(name)
	if err != nil {
		return "", err
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer null.Close()
	out, in, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer out.Close()
	attr := &os.ProcAttr{Files: []*os.File{null, in, null}}
	p, err := os.StartProcess(path, append([]string{name}, args...), attr)
	_ = in.Close() // or the end of the output would never come
	if err != nil {
		return "", err
	}
	printed := make(chan string, 1)
	go func() {
		// What was read before an error is what there is.
		text, _ := io.ReadAll(io.LimitReader(out, maxOutput))
		_, _ = io.Copy(io.Discard, out)
		printed <- string(text)
	}()
	// After Wait, Kill signals nobody: os.Process knows that the process has ended.
	defer context.AfterFunc(ctx, func() { _ = p.Kill() })()
	state, err := p.Wait()
	// A process that it left behind may keep the pipe open.
	_ = out.SetReadDeadline(time.Now().Add(time.Second))
	text := <-printed
	return text, commandError(state, err, name+" "+strings.Join(args, " "))
}

// commandError is the error of a command that has ended, or nil.
func commandError(state *os.ProcessState, err error, command string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	switch code := state.ExitCode(); {
	case code < 0:
		return fmt.Errorf("%s: %w: %v", command, errKilled, state)
	case code > 0:
		return fmt.Errorf("%s: %w %d", command, errExitCode, code)
	}
	return nil
}

// ignoreError is err, or nil where that is the one expected: for what is worth another try.
func ignoreError(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// errInterrupted is the cause of a context that a signal has canceled.
var errInterrupted = errors.New("interrupted")

// runContext returns the context of a whole run, which ends after d; 0 is no deadline.
// notifySignals makes SIGTERM, SIGINT, SIGHUP and SIGQUIT cancel it instead of ending the process;
// a second call does nothing. It is to be called when the first change is near: until then a signal
// may end the process, as there is nothing to put back. Notification is never stopped, so no signal
// is lost.
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

// withTimeout is ctx, but it ends after d at the latest. context.WithTimeout has a String method
// that prints a date, and with it come the calendar and the time zones.
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

// ignoreSignals ignores those signals for the rest of the run, where nothing waits that they could
// end.
func ignoreSignals() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
}

// detachedTimeout is a context that ends after d, whatever the deadline of the run is and whatever
// signals come.
func detachedTimeout(d time.Duration) (context.Context, context.CancelFunc) {
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

// interruptAtEnd makes f's reads and writes fail with os.ErrDeadlineExceeded from the end of ctx
// on, unless stop is called before. f may be closed by then: SetDeadline of a closed file does
// nothing.
func interruptAtEnd(ctx context.Context, f *os.File) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) }) // in the past
}
