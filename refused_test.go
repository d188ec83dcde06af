//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"eni0/testbed/ec2"
	"eni0/testbed/trace"

	"golang.org/x/sys/unix"
)

// A traced is a run of eni0 whose system calls are looked at, and changed.
type traced struct {
	*lab
	refuse func(typ uint16, body []byte) bool // the kernel refuses this message, of those that change something
	fail   func(c trace.Call) unix.Errno      // what a system call returns in place of its result; 0 is that
	signal func(c trace.Call) bool            // it gets SIGTERM before this system call
}

// run runs eni0, and expects a code.
func (r traced) run(code int, args ...string) result {
	r.Helper()
	var stdout, stderr bytes.Buffer
	cmd := r.command(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	status, err := trace.Run(cmd, func(c trace.Call) trace.Action {
		for _, at := range trace.Messages(c) {
			head, err := c.Read(at, unix.SizeofNlMsghdr)
			r.must(err)
			m, err := c.Read(at, int(binary.NativeEndian.Uint32(head)))
			r.must(err)
			if r.refuse != nil && r.refuse(binary.NativeEndian.Uint16(head[4:]), m[unix.SizeofNlMsghdr:]) {
				r.must(c.Write(at+4, []byte{0xff, 0x0f})) // a type that the kernel does not know: EOPNOTSUPP
			}
		}
		if r.signal != nil && r.signal(c) {
			r.must(cmd.Process.Signal(unix.SIGTERM))
		}
		if r.fail == nil {
			return trace.Action{}
		}
		return trace.Action{Errno: r.fail(c)}
	})
	r.must(err)
	if status.ExitStatus() != code {
		r.Fatalf("eni0 %q: code %d, want %d\n%s%s", args, status.ExitStatus(), code, &stdout, &stderr)
	}
	return result{code, stdout.String(), stderr.String()}
}

// The kernel refuses the rename of the primary as often as it is asked for, and the first message that puts names
// back. The next one works.
func TestKernelUndoIsTriedAgain(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	nl := l.dial()
	defer nl.close()
	links, err := nl.links()
	l.must(err)
	secondary, _ := linkByName(links, "eth0")
	renames, undos := 0, 0
	r := traced{lab: l, refuse: func(typ uint16, body []byte) bool {
		toEth0 := typ == unix.RTM_SETLINK && bytes.HasSuffix(bytes.TrimRight(body, "\x00"), []byte("eth0")) &&
			!bytes.Contains(body, []byte(tempPrefix))
		switch {
		case !toEth0:
			return false
		case int32(binary.NativeEndian.Uint32(body[4:])) != secondary.index:
			renames++
			return true
		}
		undos++
		return undos == 1
	}}
	l.unchanged(func() { r.run(codeDoubt, "fix", "-restart=") })
	l.wantNames("eth1", "eth0")
	if renames < maxAttempts || undos != 2 {
		t.Errorf("%d renames were refused, and names were put back %d times, want %d or more, and 2", renames, undos, maxAttempts)
	}
}

// Another program renames a link as soon as eni0 has done so, before that looks: it is done again.
func TestKernelRenamedAtOnce(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	sent, foreign := false, false
	r := traced{lab: l, fail: func(c trace.Call) unix.Errno {
		switch renames := len(trace.Messages(c)) > 0; {
		case renames:
			sent = true
		case sent && !foreign && c.Number == unix.SYS_WRITE: // the request for the links
			foreign = true
			i, err := net.InterfaceByName("eth0")
			l.must(err, ec2.Rename(i.Index, "eth7"))
		}
		return 0
	}}
	l.unchanged(func() { r.run(codeRoute, "fix", "-restart=") })
	l.wantNames("eth0", "eth1")
	if !foreign {
		t.Error("no other program has renamed")
	}
}

// The kernel refuses once what gives a temporary address back, or the link down.
func TestKernelTearDownIsTriedAgain(t *testing.T) {
	l := launch(t, 1, 0)
	if l == nil {
		return
	}
	for _, refused := range []uint16{unix.RTM_DELADDR, unix.RTM_SETLINK} {
		undos := 0
		r := traced{lab: l, refuse: func(typ uint16, body []byte) bool {
			isUndo := typ == refused && (typ == unix.RTM_DELADDR || // struct ifinfomsg: flags, change
				binary.NativeEndian.Uint32(body[8:]) == 0 && binary.NativeEndian.Uint32(body[12:]) == unix.IFF_UP)
			if isUndo {
				undos++
			}
			return isUndo && undos == 1
		}}
		l.unchanged(func() { r.run(codeRight, "fix") })
		if undos < 2 {
			t.Errorf("%s was asked for %d times, want 2 or more", requestName(refused), undos)
		}
		l.run(codeRight, "swap", "eth0", "eth1")
	}
}

// The socket fails after the kernel has made the temporary address: nobody knows that it is there, and it is removed.
func TestKernelUndoOfWhatMayHaveBeenDone(t *testing.T) {
	l := launch(t, 1, 0)
	if l == nil {
		return
	}
	socket, failed := int64(-1), 0
	r := traced{lab: l, fail: func(c trace.Call) unix.Errno {
		if c.Number == unix.SYS_READ && c.Args[0] == socket && failed == 0 {
			failed++
			return unix.EIO
		}
		for _, at := range trace.Messages(c) {
			head, err := c.Read(at, unix.SizeofNlMsghdr)
			l.must(err)
			if binary.NativeEndian.Uint16(head[4:]) == unix.RTM_NEWADDR && failed == 0 {
				socket = c.Args[0]
			}
		}
		return 0
	}}
	l.unchanged(func() { r.run(codeRight, "fix") })
	if failed != 1 {
		t.Error("no socket has failed")
	}
}

// SIGTERM comes while what a killed eni0 has left is removed: that is done to its end, on old kernels too, where only
// the route tells who made the address.
func TestKernelReclaimSignal(t *testing.T) {
	l := launch(t, 0, 1)
	if l == nil {
		return
	}
	nl := l.dial()
	defer nl.close()
	i, err := net.InterfaceByName("eth0")
	l.must(err)
	index := int32(i.Index)
	got := lease{addr: l.Addr(0), router: l.Router(0), life: tempLifetime}
	for _, proto := range []byte{tempProtoDown, 0} {
		l.unchanged(func() {
			l.must(nl.execute([]nlMessage{setLink(index, "", unix.IFF_UP, unix.IFF_UP),
				createRequest(unix.RTM_NEWADDR, 0, tempAddressRequest(index, got, proto)),
				createRequest(unix.RTM_NEWROUTE, 0, tempRouteRequest(index, got, parseIP("169.254.169.254"), tempProtoDown))}))
			sent := 0
			r := traced{lab: l, signal: func(c trace.Call) bool {
				if len(trace.Messages(c)) == 0 {
					return false
				}
				sent++
				return sent == 1
			}}
			l.says(r.run(codeDoubt, "fix").stderr, "interrupted")
		})
	}
}

// SIGTERM comes while eni0 looks for the last time before it renames: nothing is changed.
func TestKernelSignalBeforeTheFirstChange(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	// isDump tells a request for a dump: links, addresses and routes of both families are four of them.
	isDump := func(c trace.Call) bool {
		if c.Number != unix.SYS_WRITE || c.Args[2] < unix.SizeofNlMsghdr {
			return false
		}
		head, err := c.Read(c.Args[1], unix.SizeofNlMsghdr)
		l.must(err)
		typ := binary.NativeEndian.Uint16(head[4:])
		return typ == unix.RTM_GETLINK || typ == unix.RTM_GETADDR || typ == unix.RTM_GETROUTE
	}
	dumps, before := 0, 0
	count := traced{lab: l, signal: func(c trace.Call) bool {
		if isDump(c) {
			dumps++
		}
		if len(trace.Messages(c)) > 0 && before == 0 {
			before = dumps
		}
		return false
	}}
	count.run(codeRoute, "fix", "-restart=")
	l.run(codeRight, "swap", "-restart=", "eth0", "eth1")
	if before < 8 {
		t.Fatalf("%d dumps before the rename, want 8 or more", before)
	}
	dumps = 0
	r := traced{lab: l, signal: func(c trace.Call) bool {
		due := isDump(c) && dumps == before-4
		if isDump(c) {
			dumps++
		}
		if dumps >= before-3 {
			time.Sleep(20 * time.Millisecond) // for the goroutine that gets the signal
		}
		return due
	}}
	l.unchanged(func() { l.says(r.run(codeDoubt, "fix", "-restart=").stderr, "interrupted") })
	l.wantNames("eth1", "eth0")
}
