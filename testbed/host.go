package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// host is the program as it was typed: it makes what the inside needs and starts itself there.
func host(ctx context.Context, args []string) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		log.Print(err)
		return 2
	}
	dir, err := os.MkdirTemp("", "testbed-")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := ec2.Furnish(ctx, dir); err != nil {
		log.Print(err)
		return 1
	}
	switch order := formatOrder(o.order); {
	case o.launches > 0:
		return launches(ctx, o)
	case o.shell:
		dropInterrupts()
		return enter(ctx, "shell", order, o.stage())
	default:
		return enter(ctx, "show", order, o.stage())
	}
}

// enter runs this program in namespaces of its own, and returns its exit code.
func enter(ctx context.Context, args ...string) int {
	cmd := isolated(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if code, ended := exitCode(err); ended {
		return code
	}
	complain(err)
	return 1
}

// isolated is the command that runs this program in namespaces of its own. When ctx ends it is
// asked to end too.
func isolated(ctx context.Context, args ...string) *exec.Cmd {
	cmd := command(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = inside
	ec2.Isolate(cmd)
	return cmd
}

// command is a command that gets SIGTERM when ctx ends, and time to put things back.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// exitCode is how a command ended, if it did so by itself.
func exitCode(err error) (code int, ended bool) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), exit.Exited()
	}
	return 0, err == nil
}

// complain logs an error, and what to do where there are no user namespaces.
func complain(err error) {
	log.Print(ec2.Explain(err))
}

// dropInterrupts leaves SIGINT to the shell. It is caught, not ignored: what is ignored here would
// be ignored by everything that is started from the shell.
func dropInterrupts() {
	signal.Reset(unix.SIGINT)
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT)
}
