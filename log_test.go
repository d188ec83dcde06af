package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe that nobody reads takes no line, and holds nobody up: what came in the meantime is there as soon
// as it is read, and what there was no room for is counted.
func TestLineQueue(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	reader := os.NewFile(uintptr(fds[0]), "reader")
	defer reader.Close()
	full := 0
	for n, err := 0, error(nil); err == nil; n, err = unix.Write(fds[1], make([]byte, 4096)) {
		full += n
	}
	if err := unix.SetNonblock(fds[1], false); err != nil {
		t.Fatal(err)
	}
	log := logger{to: &lineQueue{fd: fds[1]}}
	for range 3 {
		log.info("%s", strings.Repeat("x", maxPending/2))
	}
	log.info("short")
	if _, err := io.ReadFull(reader, make([]byte, full)); err != nil {
		t.Fatal(err)
	}
	log.flush()
	if err := unix.Close(fds[1]); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	lines := strings.SplitAfter(string(text), "\n")
	want := "eni0: 2 lines of this log could not be written\n"
	if err != nil || len(lines) != 4 || lines[1] != "eni0: short\n" || lines[2] != want {
		t.Errorf("%d lines, %v, want a long one, a short one and %q: %.60q", len(lines), err, want, lines)
	}
}

// Nobody reads any more: the lines are dropped.
func TestLineQueueBroken(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fds[0])
	defer unix.Close(fds[1])
	q := &lineQueue{fd: fds[1]}
	log := logger{to: q}
	log.info("lost")
	if log.flush(); len(q.pending) > 0 {
		t.Errorf("kept are %q, want nothing", q.pending)
	}
}

// poll(2) never says of /dev/kmsg that it can be written. Both stdout and stderr may be that: in an initramfs of
// initramfs-tools.
func TestKmsg(t *testing.T) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip(err) // only root can
	}
	defer unix.Close(fd)
	if _, err := unix.Seek(fd, 0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	q := &lineQueue{fd: fd}
	logger{to: q}.info("test of the log")
	if len(q.pending) > 0 {
		t.Errorf("kept are %q, want nothing", q.pending)
	}
	ctx, cancel := withTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := (outputWriter{ctx, fd}).Write([]byte("eni0: test of the output\n")); err != nil {
		t.Error(err)
	}
	var got strings.Builder
	b := make([]byte, 8192)
	for n, err := unix.Read(fd, b); n > 0 && err == nil; n, err = unix.Read(fd, b) {
		got.Write(b[:n])
	}
	for _, want := range []string{"eni0: test of the log\n", "eni0: test of the output\n"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("the kernel's log has %q, want %q in it", got.String(), want)
		}
	}
}
