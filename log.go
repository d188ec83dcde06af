package main

// This file is the log on stderr, or as the kernel's first process in the kernel's log: one line
// for each change. Writing a line never waits: what can't be written at once is kept and tried
// again.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is the time between two looks.
const pollInterval = 50 * time.Millisecond

// countOf is "1 try", "2 tries".
func countOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// A logger writes a line for each change and each problem.
type logger struct {
	to       io.Writer
	priority bool // with the prefixes of sd-daemon(3): <3> error, <4> warning, <6> information
}

// newLogger returns a logger to stderr, or to /dev/kmsg if that can be opened: as the kernel's first
// process, and where stderr is that.
func newLogger() logger {
	if isKernelInit() || isKmsg(2) {
		if _, err := (kmsgWriter{}).Write(nil); err == nil {
			return logger{to: kmsgWriter{}, priority: true} // printk has the same prefixes
		}
	}
	return logger{to: &lineQueue{fd: 2}, priority: stderrIsJournal(os.Getenv("JOURNAL_STREAM"))}
}

// isKmsg reports whether fd is /dev/kmsg, of which poll(2) never says that it can be written
// (devkmsg_poll of kernel/printk/printk.c).
func isKmsg(fd int) bool {
	var is unix.Stat_t
	err := unix.Fstat(fd, &is)
	// Documentation/admin-guide/devices.txt of the kernel
	return err == nil && is.Mode&unix.S_IFMT == unix.S_IFCHR && is.Rdev == unix.Mkdev(1, 11)
}

// A kmsgWriter writes to the kernel's log. It opens /dev/kmsg for each line, because until systemd
// changes that the kernel takes ten lines from one open file and drops the rest (devkmsg_write of
// kernel/printk/printk.c).
type kmsgWriter struct{}

// Write writes one record. With an empty line it only tests whether it could.
func (kmsgWriter) Write(line []byte) (int, error) {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if len(line) == 0 {
		return 0, nil
	}
	return f.Write(line)
}

// stderrIsJournal reports whether stderr goes to the journal: $JOURNAL_STREAM has the device and
// inode of that, systemd.exec(5).
func stderrIsJournal(stream string) bool {
	var is unix.Stat_t
	return stream != "" && unix.Fstat(2, &is) == nil &&
		stream == fmt.Sprintf("%d:%d", is.Dev, is.Ino)
}

// err, warn and info write a message of the priority LOG_ERR, LOG_WARNING or LOG_INFO of syslog(3).
// They are not inlined, as they are called in many places.
//
//go:noinline
func (l logger) err(format string, args ...any) { l.write(3, format, args...) }

//go:noinline
func (l logger) warn(format string, args ...any) { l.write(4, format, args...) }

//go:noinline
func (l logger) info(format string, args ...any) { l.write(6, format, args...) }

// write writes each line of the message in one write(2), because /dev/kmsg makes a record of each.
func (l logger) write(priority int, format string, args ...any) {
	for _, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		prefix := "eni0: "
		if l.priority {
			prefix = fmt.Sprintf("<%d>eni0: ", priority)
		}
		_, _ = io.WriteString(l.to, prefix+line+"\n") // an error could only be logged
	}
}

// text writes lines as they are.
func (l logger) text(lines string) {
	for line := range strings.Lines(lines) {
		_, _ = io.WriteString(l.to, line) // an error could only be logged
	}
}

// An outputWriter writes to a file descriptor until ctx ends, and for flushTimeout in any case.
type outputWriter struct {
	ctx context.Context
	fd  int
}

// Write returns an error where it can't write all of b in that time.
func (w outputWriter) Write(b []byte) (written int, err error) {
	end := time.Now().Add(flushTimeout)
	for written < len(b) {
		n, err := writeReady(w.fd, b[written:], pollInterval)
		switch {
		case err != nil:
			return written, os.NewSyscallError("stdout: write", err)
		case n == 0 && w.ctx.Err() != nil && time.Now().After(end):
			return written, errors.New("stdout: it can't be written, because nobody reads it")
		}
		written += n
	}
	return written, nil
}

// writeReady waits until fd can be written, for at most d, and writes some of b. It returns 0 where
// it can't be written.
func writeReady(fd int, b []byte, d time.Duration) (int, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, int(max(0, d.Milliseconds())))
	if err == nil && (n > 0 || isKmsg(fd)) {
		n, err = unix.Write(fd, b[:min(len(b), pipeBuf)])
	}
	if err == unix.EINTR || err == unix.EAGAIN {
		return 0, nil
	}
	return max(n, 0), err
}

// A lineQueue writes lines to a file descriptor without waiting. What can't be written at once is
// kept, and tried again with the next line and at the end.
type lineQueue struct {
	fd      int
	mu      sync.Mutex
	pending []byte // not written yet
	dropped int    // the number of lines for which there was no room
}

const (
	maxPending   = 64 << 10    // bytes that are kept
	pipeBuf      = 4096        // bytes that fit when poll(2) returns: PIPE_BUF of pipe(7)
	flushTimeout = time.Second // for what is pending at the end
)

// Write takes a line. It never returns an error.
func (q *lineQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending)+len(line) > maxPending {
		q.dropped++
	} else {
		q.pending = append(q.pending, line...)
	}
	q.send(time.Now())
	return len(line), nil
}

// send writes what is pending until a deadline. Where the other end is closed it is dropped.
func (q *lineQueue) send(deadline time.Time) {
	for len(q.pending) > 0 {
		n, err := writeReady(q.fd, q.pending, time.Until(deadline))
		if err != nil {
			n = len(q.pending)
		}
		if q.pending = q.pending[n:]; n == 0 && !time.Now().Before(deadline) {
			return // it can't be written now
		}
	}
}

// flush writes what is pending, for at most flushTimeout, and then how many lines were dropped.
func (l logger) flush() {
	q, ok := l.to.(*lineQueue)
	if !ok {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.send(time.Now().Add(flushTimeout))
	if q.dropped += strings.Count(string(q.pending), "\n"); q.dropped > 0 {
		lines := countOf(q.dropped, "line", "lines")
		q.pending = fmt.Appendf(nil, "eni0: %s of this log could not be written\n", lines)
		q.send(time.Now())
	}
}
