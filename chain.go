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

// This file is the chain: `fix ... -- COMMAND` always ends in COMMAND. In front of process 1 there is
// nobody to start anything else: the kernel panics where that ends.

// lastInit is what the kernel starts where nothing is said: init/main.c, kernel_init.
const lastInit = "/sbin/init"

// chain takes a command line apart: what is eni0's, and the commands of which the first that can be is
// executed afterwards. On the kernel's command line a COMMAND begins with / and has no -- before it: the
// kernel cuts that line at a second one (kernel/params.c, parse_args: "Stop at --").
func chain(args []string, first bool) (own []string, next [][]string) {
	if first {
		// What the kernel does not know it puts before: init/main.c, unknown_bootoption.
		args = args[max(0, slices.Index(args, "fix")):]
	}
	own = args
	isFix := len(args) > 0 && args[0] == "fix"
	i := slices.IndexFunc(args, func(a string) bool { return a == "--" || first && strings.HasPrefix(a, "/") })
	if isFix && i >= 0 {
		var command []string
		own, command = args[:i], args[i:]
		if command[0] == "--" {
			command = command[1:]
		}
		if len(command) > 0 {
			next = append(next, command)
		}
	}
	_, _, err := pick(own)
	if first && (isFix || err != nil) && os.Args[0] != lastInit && unix.Access(lastInit, unix.X_OK) == nil {
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
	signal.Reset(syscall.SIGPIPE) // which exec would pass on as ignored
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, command, os.Environ()))
}
