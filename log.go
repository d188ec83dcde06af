package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// This file is the log: one line on stderr for each change of the world. No line ever holds the
// program up, whoever reads them or does not.

// countOf is "1 try", "2 tries".
func countOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// A logger writes one line for each change of the world and each trouble.
type logger struct {
	to       io.Writer
	priority bool // sd-daemon(3) prefixes: <3> error, <4> warning, <6> information
}

// newLogger logs to stderr; as the kernel's first process to /dev/kmsg, if that can be opened.
func newLogger() logger {
	if isKernelInit() {
		if _, err := (kmsgWriter{}).Write(nil); err == nil {
			return logger{to: kmsgWriter{}, priority: true} // printk takes the same prefixes
		}
	}
	return logger{to: &lineQueue{fd: 2}, priority: stderrIsJournal(os.Getenv("JOURNAL_STREAM"))}
}

// kmsgWriter is the kernel's log. It is opened for each line: it takes ten from one opening and
// drops the rest, until systemd has it otherwise (kernel/printk/printk.c, devkmsg_write: a
// ratelimit for each open file).
type kmsgWriter struct{}

// Write writes one record; nothing only proves that it could.
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

// stderrIsJournal reports whether stderr is the journal's: systemd.exec(5) has $JOURNAL_STREAM be
// its device and inode, "so that services may detect" a redirection.
func stderrIsJournal(stream string) bool {
	var is unix.Stat_t
	return stream != "" && unix.Fstat(2, &is) == nil && stream == fmt.Sprintf("%d:%d", is.Dev, is.Ino)
}

// err, warn and info write a line of that priority: LOG_ERR, LOG_WARNING, LOG_INFO of syslog(3).
func (l logger) err(format string, args ...any) { l.write(3, format, args...) }

func (l logger) warn(format string, args ...any) { l.write(4, format, args...) }

func (l logger) info(format string, args ...any) { l.write(6, format, args...) }

// write writes one line for each of the message's, each in one write(2): /dev/kmsg takes a record
// so.
func (l logger) write(priority int, format string, args ...any) {
	for _, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		prefix := "eni0: "
		if l.priority {
			prefix = fmt.Sprintf("<%d>eni0: ", priority)
		}
		_, _ = io.WriteString(l.to, prefix+line+"\n") // there is nowhere left to complain
	}
}

// A lineQueue writes lines to a descriptor, and never waits for whoever reads there: what can't be
// written at once is kept, and tried again with the next line and at the end.
type lineQueue struct {
	fd      int
	mu      sync.Mutex
	pending []byte // not written yet
	dropped int    // lines for which there was no room
}

const (
	maxPending   = 64 << 10    // bytes that are kept
	pipeBuf      = 4096        // bytes that a pipe takes at once when poll(2) says so: pipe(7), PIPE_BUF
	flushTimeout = time.Second // for what is kept at the end
)

// Write takes a line. It never fails: there would be nowhere to complain.
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

// send writes what is kept, as far as the descriptor takes it until a deadline. Where there is
// nobody any more to read it, it is dropped.
func (q *lineQueue) send(deadline time.Time) {
	for len(q.pending) > 0 {
		fds := []unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline).Milliseconds())))
		if err == nil && n == 0 {
			return // not now
		}
		if err == nil {
			n, err = unix.Write(q.fd, q.pending[:min(len(q.pending), pipeBuf)])
		}
		switch err {
		case nil:
			q.pending = q.pending[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			return
		default:
			q.pending = nil
		}
	}
}

// flush writes what is kept, for at most flushTime, and then how many lines were lost.
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
