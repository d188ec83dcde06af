package main

// This file is about this process and those it starts: the context of a run, which ends with
// -timeout or a signal, waiting that ends with it, the kernel's first process, and commands that
// are run or executed.

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// defaultInit is the program that the kernel starts first without init= : kernel_init of
// init/main.c.
const defaultInit = "/sbin/init"

// isKernelInit reports whether this is the kernel's first process: it is process 1, and process 2
// is kthreadd, in process group 0 (rest_init of init/main.c). In another PID namespace process 2 is
// not there, a thread of this process, or in another group. There an init must not be started: it
// could change the host.
func isKernelInit() bool {
	group, err := unix.Getpgid(2)
	return os.Getpid() == 1 && err == nil && group == 0 && unix.Tgkill(1, 2, 0) == unix.ESRCH
}

// checkFiles returns an error where hardly any file descriptors are left: Go's poller needs an
// epoll and an eventfd, and would end the process with 2 (netpollinit of runtime/netpoll_epoll.go).
func checkFiles() error {
	for range 2 {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("epoll_create1", err)
		}
		defer unix.Close(fd)
	}
	return nil
}

// execCommand executes command in place of this program. It finds it as execvp(3) does: what can't
// be executed is passed over for the next of that name. It returns only with an error.
func execCommand(command []string) error {
	// execve(2) keeps ignored signals ignored and resets the others. signal.Reset does not undo
	// signal.Ignore, but signal.Notify does.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	notThere := []error{unix.ENOENT, unix.ENOTDIR, unix.ESTALE, unix.ENODEV, unix.ETIMEDOUT}
	last := errorf("%s: %w", command[0], errNotOnPath)
	for _, path := range pathsOf(command[0]) {
		err := syscall.Exec(path, command, os.Environ())
		isThere := !slices.Contains(notThere, err)
		if isThere || strings.Contains(command[0], "/") {
			last = errorf("%s: %w", path, err)
		}
		if isThere && err != unix.EACCES {
			break
		}
	}
	return last
}

// errNotOnPath means that there is no such program.
var errNotOnPath = errors.New("not on $PATH")

// pathsOf lists the files that the name of a program can mean, by $PATH. A name with a slash is a
// path. Directories of $PATH that are not absolute do not count: root is to execute nothing of the
// directory that it happens to be in.
func pathsOf(name string) (paths []string) {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	dirs, ok := os.LookupEnv("PATH")
	if !ok {
		dirs = "/bin:/usr/bin" // execvp(3); the kernel gives its first process none
	}
	for _, dir := range strings.Split(dirs, ":") {
		if strings.HasPrefix(dir, "/") && name != "" {
			paths = append(paths, dir+"/"+name)
		}
	}
	return paths
}

// lookPath returns the first of pathsOf that is a file to be executed.
func lookPath(name string) (string, error) {
	for _, path := range pathsOf(name) {
		var s unix.Stat_t
		executable := unix.Stat(path, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFREG &&
			s.Mode&0o111 != 0
		if executable {
			return path, nil
		}
	}
	return "", errorf("%s: %w", name, errNotOnPath)
}

// systemdBooted is sd_booted(3).
func systemdBooted() bool {
	var s unix.Stat_t
	return unix.Stat("/run/systemd/system", &s) == nil
}

const (
	queryTimeout = 10 * time.Second // for a command that only prints something
	maxOutput    = 64 << 10         // bytes that are kept of the output of a command
)

// How a command ended: by a signal, or with another exit code than 0.
var (
	errKilled   = errors.New("killed")
	errExitCode = errors.New("exit code")
)

// runQuery is runCommand for a command that only prints something.
func runQuery(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := withTimeout(ctx, queryTimeout)
	defer cancel()
	return runCommand(ctx, name, args...)
}

// runCommand runs a command with no input, kills it when ctx ends, and returns the first maxOutput
// bytes of its output. The error names the command.
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
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), in.Fd(), null.Fd()}}
	pid, err := syscall.ForkExec(path, append([]string{name}, args...), attr)
	_ = in.Close() // else the output would have no end
	if err != nil {
		return "", errorf("%s: %w", path, err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return "", err
	}
	printed := make(chan string, 1)
	go func() {
		// What was read before an error counts.
		text, _ := io.ReadAll(io.LimitReader(out, maxOutput))
		_, _ = io.Copy(io.Discard, out)
		printed <- string(text)
	}()
	// Kill may come late. After Wait it does nothing, even if the pid is in use again.
	defer context.AfterFunc(ctx, func() { _ = p.Kill() })()
	state, err := p.Wait()
	// A process that it has started may keep the pipe open.
	_ = out.SetReadDeadline(time.Now().Add(time.Second))
	text := <-printed
	return text, commandError(state, err, name+" "+strings.Join(args, " "))
}

// commandError returns the error of a command that has ended, or nil.
func commandError(state *os.ProcessState, err error, command string) error {
	if err != nil {
		return errorf("%s: %w", command, err)
	}
	switch code := state.ExitCode(); {
	case code < 0:
		return errorf("%s: %w: %v", command, errKilled, state)
	case code > 0:
		return errorf("%s: %w %d", command, errExitCode, code)
	}
	return nil
}

// ignoreError returns err, or nil where that is expected.
func ignoreError(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// errInterrupted is the cause of a context that a signal has canceled.
var errInterrupted = errors.New("interrupted")

// runContext returns the context of a whole run, which ends after d. SIGQUIT cancels it: Go would
// print all stacks and exit with 2. After a call of notifySignals, SIGTERM, SIGINT and SIGHUP do so
// too, and do not end the process. That is to be called before the first change: earlier a signal
// may end the process. Notification is never stopped, so no signal is lost.
func runContext(d time.Duration) (ctx context.Context, cancel, notifySignals func()) {
	ctx, cancelCause := context.WithCancelCause(context.Background())
	cancelOnSignal(cancelCause, syscall.SIGQUIT)
	notifySignals = sync.OnceFunc(func() { cancelOnSignal(cancelCause, endingSignals()...) })
	timer := time.AfterFunc(d, func() { cancelCause(errorf("no time left of %v", d)) })
	return ctx, func() { timer.Stop(); cancelCause(nil) }, notifySignals
}

// withTimeout returns a context that ends with ctx, or after d with that as its cause.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(d, func() { cancel(errorf("not within %v", d)) })
	return ctx, func() { timer.Stop(); cancel(nil) }
}

// endingSignals are the signals that end a run.
func endingSignals() []os.Signal {
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT}
}

// cancelOnSignal calls cancel at the first of these signals. A signal that was ignored when the
// process began stays ignored: nohup(1) relies on that.
func cancelOnSignal(cancel context.CancelCauseFunc, signals ...os.Signal) {
	received := make(chan os.Signal, 1)
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(received, s)
		}
	}
	go func() { cancel(errorf("%w: %v", errInterrupted, <-received)) }()
}

// ignoreSignals ignores the same signals for the rest of the run, when nothing is left that they
// could interrupt.
func ignoreSignals() {
	signal.Ignore(endingSignals()...)
}

// detachedTimeout returns a context that ends after d, and neither with the deadline of the run nor
// by a signal.
func detachedTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return withTimeout(context.Background(), d)
}

// sleep waits for d and reports whether ctx has time left.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timeout, cancel := withTimeout(ctx, d)
	defer cancel()
	<-timeout.Done()
	return ctx.Err() == nil
}

// interruptAtEnd makes reads and writes of f fail with os.ErrDeadlineExceeded from the end of ctx
// on, if stop is not called before. f may be closed by then: SetDeadline does nothing to a closed
// os.File. It is not inlined, as it is called in many places.
//
//go:noinline
func interruptAtEnd(ctx context.Context, f *os.File) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) }) // in the past
}

// describeTimeout says "no answer" where a deadline has passed, and of a *PathError only the errno.
func describeTimeout(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("no answer")
	}
	if path, ok := err.(*os.PathError); ok { // as os.File returns it
		return path.Err
	}
	return err
}
