package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file is the chain: `fix ... -- COMMAND` always ends in COMMAND, and the kernel's first process never
// just ends: there would be nobody to start anything else, and the kernel panics.

// lastInit is what the kernel looks for first where nothing is said: init/main.c, kernel_init.
const lastInit = "/sbin/init"

// first reports whether we are the kernel's first process: process 1, beside which process 2 is kthreadd, in
// process group 0 (init/main.c, rest_init). In another PID namespace that is nobody, a thread of
// ours, or a process of a group inside: to start an init there would be to start it on the host's files.
func first() bool {
	group, err := unix.Getpgid(2)
	return os.Getpid() == 1 && err == nil && group == 0 && unix.Tgkill(1, 2, 0) == unix.ESRCH
}

// chain takes a command line apart: what is eni0's, and the commands of which the first that can be is
// executed afterwards. On the kernel's command line a COMMAND begins with / and has no -- before it: the
// kernel cuts that line at a second one (kernel/params.c, parse_args: "Stop at --").
func chain(args []string, first bool) (own []string, next [][]string) {
	if _, _, err := pick(args); first && err != nil {
		// What the kernel does not know it puts before: init/main.c, unknown_bootoption.
		args = args[max(0, slices.Index(args, "fix")):]
	}
	own = args
	i := slices.IndexFunc(args, func(a string) bool { return a == "--" || first && strings.HasPrefix(a, "/") })
	if i >= 0 && args[0] == "fix" {
		var command []string
		own, command = args[:i], args[i:]
		if command[0] == "--" {
			command = command[1:]
		}
		if len(command) > 0 {
			next = append(next, command)
		}
	}
	if first && os.Args[0] != lastInit { // or it would go round and round
		next = append(next, []string{lastInit})
	}
	return own, next
}

// execute becomes command. It comes back only with an error.
func execute(command []string) error {
	path, err := lookPath(command[0])
	if err != nil {
		return err
	}
	// Exec passes on what is ignored, and resets what is caught; Reset does not undo Ignore.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, command, os.Environ()))
}
