package main

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCalls(t *testing.T) {
	argv := self(t, "nothing")
	got, err := calls(argv[0], argv[1:]...)
	if errors.Is(err, unix.EPERM) {
		t.Skip("ptrace is not allowed here")
	}
	// It writes a line, so one counts; the mmap of Go's runtime does not.
	if err != nil || got.counted < 1 || got.all <= got.counted {
		t.Errorf("calls() = %+v, %v, want at least 1 that counts, and more in all", got, err)
	}
	argv = self(t, "fail")
	if _, err := calls(argv[0], argv[1:]...); err == nil {
		t.Error("calls(exits with 3) = nil, want an error")
	}
}
