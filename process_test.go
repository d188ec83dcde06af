package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ended waits for the end of ctx and returns its cause.
func ended(t *testing.T, ctx context.Context) error {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(10 * time.Second):
		t.Fatal("the context does not end")
		return nil
	}
}

func TestRunContext(t *testing.T) {
	ctx, cancel, _ := runContext(10 * time.Millisecond)
	defer cancel()
	if err := ended(t, ctx); err == nil || err.Error() != "no time left of 10ms" {
		t.Errorf("cause = %v, want no time left of 10ms", err)
	}
	ctx, cancel, _ = runContext(time.Hour)
	cancel()
	if err := ended(t, ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cause = %v after cancel(), want %v", err, context.Canceled)
	}
}

// within knows neither the deadline of the run nor its signals.
func TestWithin(t *testing.T) {
	ctx, cancel := detachedTimeout(10 * time.Millisecond)
	defer cancel()
	if err := ended(t, ctx); err == nil || err.Error() != "not within 10ms" {
		t.Errorf("cause = %v, want not within 10ms", err)
	}
}

func TestSleep(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	start := time.Now()
	if left := sleep(ctx, 10*time.Millisecond); !left || time.Since(start) < 10*time.Millisecond {
		t.Errorf("sleep(10ms) = %v after %v, want true, and not sooner", left, time.Since(start))
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	if sleep(ctx, time.Hour) {
		t.Error("sleep(1h) = true at the end of its context, want false")
	}
	if sleep(ctx, time.Hour) {
		t.Error("sleep(1h) = true after the end of its context, want false")
	}
}

// A context that ends interrupts reads that wait, and those that begin. What is closed stays so.
func TestInterruptAtEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer far.Close()
	read := func() error { _, err := near.Read(make([]byte, 1)); return err }

	ctx, cancel := context.WithCancel(context.Background())
	interruptAtEnd(ctx, near)
	if _, err := far.Write([]byte("x")); err != nil || read() != nil {
		t.Errorf("Read() before the end: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	for range 2 {
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read() = %v, want %v", err, os.ErrDeadlineExceeded)
		}
	}

	ctx, cancel = context.WithCancel(context.Background())
	stop := interruptAtEnd(ctx, far)
	if !stop() {
		t.Error("stop() = false before the end, want true")
	}
	cancel()
	if err := far.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Errorf("SetReadDeadline() after stop() = %v, want nil", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	interruptAtEnd(ctx, near)
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	cancel()
	waitForGoroutines(t, before)
}

// forgetSignals undoes what notifySignals, ignoreSignals and signal.Ignore have done.
func forgetSignals() {
	// Reset alone leaves a signal ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	signal.Reset()
}

func TestNotifySignals(t *testing.T) {
	forgetSignals() // nohup(1), or a shell's &, may have had some ignored
	t.Cleanup(forgetSignals)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		ctx, cancel, notifySignals := runContext(time.Hour)
		notifySignals()
		notifySignals()
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if err := ended(t, ctx); !errors.Is(err, errInterrupted) || err.Error() != "interrupted: "+s.String() {
			t.Errorf("cause = %v, want interrupted: %v", err, s)
		}
		cancel()
	}
}

// nohup(1) has SIGHUP ignored, and it stays so.
func TestNotifySignalsUnderNohup(t *testing.T) {
	t.Cleanup(forgetSignals)
	signal.Ignore(syscall.SIGHUP)
	ctx, cancel, notifySignals := runContext(time.Hour)
	defer cancel()
	if notifySignals(); !signal.Ignored(syscall.SIGHUP) || ctx.Err() != nil {
		t.Errorf("SIGHUP ignored: %v, want true", signal.Ignored(syscall.SIGHUP))
	}
}

func TestIgnoreSignals(t *testing.T) {
	t.Cleanup(forgetSignals)
	ignoreSignals()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if err := syscall.Kill(os.Getpid(), s); err != nil || !signal.Ignored(s) {
			t.Errorf("%v is not ignored (%v)", s, err)
		}
	}
}

// COMMAND is found as execvp(3) finds it. What it says is a copy of this process's environment and output, so
// it is executed by a process of its own.
func TestExecCommand(t *testing.T) {
	if names := os.Getenv("ENI0_TEST_EXEC"); names != "" {
		fmt.Println(execCommand(strings.Split(names, " ")))
		return
	}
	dir := t.TempDir()
	for _, d := range []string{"folder/true", "file", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Skip(err)
	}
	for file, mode := range map[string]os.FileMode{"file/true": 0o644, "file/broken": 0o755} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("neither a program"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(echo, filepath.Join(dir, "empty/echo")); err != nil {
		t.Fatal(err)
	}
	d := func(names ...string) string {
		for i := range names {
			names[i] = filepath.Join(dir, names[i])
		}
		return strings.Join(names, ":")
	}
	for _, c := range []struct{ path, command, want string }{
		{d("empty"), "echo a b", "a b\n"},
		{d("nothing", "file/true", "empty"), "echo a", "a\n"},
		{d("folder", "empty"), "true", dir + "/folder/true: permission denied\n"},
		{d("file"), "true", dir + "/file/true: permission denied\n"},
		{d("file"), "broken", dir + "/file/broken: exec format error\n"},
		{d("empty"), "nowhere", "nowhere: not on $PATH\n"},
		{d("empty"), " ", ": not on $PATH\n"},
		{"empty:.:", "echo a", "echo: not on $PATH\n"},
		{"", "/no/such/program", "/no/such/program: no such file or directory\n"},
	} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestExecCommand$")
		cmd.Env = []string{"PATH=" + c.path, "ENI0_TEST_EXEC=" + c.command}
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput()
		if !strings.HasPrefix(string(out), c.want) {
			t.Errorf("PATH=%s, %q: %q, want %q", c.path, c.command, out, c.want)
		}
	}
	// A folder of that name, and then the program.
	if err := os.Mkdir(filepath.Join(dir, "folder/echo"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestExecCommand$")
	cmd.Env = []string{"PATH=" + d("folder", "empty"), "ENI0_TEST_EXEC=echo found"}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "found\n" {
		t.Errorf("behind a folder of that name: %q, %v, want it found", out, err)
	}
}
