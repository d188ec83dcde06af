package main

import (
	"fmt"
	"os/exec"

	"eni0/testbed/trace"
)

// countCalls shows how many system calls a check makes: those of files, sockets and processes, and not
// what Go's runtime does for itself (trace.Counts).
func (w *world) countCalls() error {
	ours, err := calls("eni0", "check")
	if err != nil {
		return err
	}
	theirs, err := calls("sdk", "check")
	if err != nil {
		return err
	}
	figure{what: "system calls, check", ours: fmt.Sprint(ours), other: fmt.Sprintf("%-18s%10d", "sdk check", theirs),
		ratio: fmt.Sprintf("%.2f", float64(ours)/float64(theirs))}.print()
	return nil
}

// calls counts the system calls of a command, which must succeed.
func calls(name string, args ...string) (n int, err error) {
	cmd := exec.Command(name, args...)
	status, err := trace.Run(cmd, func(c trace.Call) trace.Action {
		if trace.Counts(c) {
			n++
		}
		return trace.Action{}
	})
	if err == nil && !(status.Exited() && status.ExitStatus() == 0) {
		err = fmt.Errorf("%s: exit code %d (signal %d), want 0", cmd, status.ExitStatus(), status.Signal())
	}
	return n, err
}
