package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"

	"eni0/testbed/trace"
)

// A tally is how many system calls a command makes.
type tally struct {
	counted int // those of files, sockets and processes: trace.Counts
	all     int // with those of Go's runtime for memory, threads, signals and waiting
}

// countCalls shows how many system calls a check makes: the medians of several runs.
func (w *world) countCalls() error {
	if w.noSDK() != nil {
		return nil // the line of its time says so
	}
	if err := w.become(false); err != nil {
		return err
	}
	ours, err := tallies("eni0", "check")
	theirs, err2 := tallies(w.sdkFile(), "check")
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	showCalls("system calls, check", ours.counted, theirs.counted)
	showCalls("the same, all of them", ours.all, theirs.all)
	return nil
}

// showCalls prints one line of countCalls.
func showCalls(what string, ours, theirs int) {
	figure{what: what, ours: fmt.Sprint(ours), other: fmt.Sprintf("%-18s%10d", "sdk check", theirs),
		ratio: fmt.Sprintf("%.2f", float64(ours)/float64(theirs))}.print()
}

// tallies is the median, of each number by itself, of 21 runs of a command.
func tallies(name string, args ...string) (tally, error) {
	var counted, all []int
	for range 21 { // how often Go's runtime sleeps and wakes threads is another number each time
		t, err := calls(name, args...)
		if err != nil {
			return tally{}, err
		}
		counted, all = append(counted, t.counted), append(all, t.all)
	}
	slices.Sort(counted)
	slices.Sort(all)
	return tally{counted[len(counted)/2], all[len(all)/2]}, nil
}

// calls counts the system calls of a command, which must succeed.
func calls(name string, args ...string) (t tally, err error) {
	cmd := exec.Command(name, args...)
	status, err := trace.RunAll(cmd, func(c trace.Call) trace.Action {
		t.all++
		if trace.Counts(c) {
			t.counted++
		}
		return trace.Action{}
	})
	if err == nil && !(status.Exited() && status.ExitStatus() == 0) {
		err = fmt.Errorf("%s: exit code %d (signal %d), want 0", cmd, status.ExitStatus(), status.Signal())
	}
	return t, err
}
