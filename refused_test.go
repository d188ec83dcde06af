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

// trace runs eni0, calls at before each of its system calls, and expects a code.
func (l *lab) trace(code int, at func(trace.Call) trace.Action, args ...string) result {
	l.Helper()
	var stdout, stderr bytes.Buffer
	cmd := l.command(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	status, err := trace.Run(cmd, at)
	l.must(err)
	if status.ExitStatus() != code {
		l.Fatalf("eni0 %q: code %d, want %d\n%s%s", args, status.ExitStatus(), code, &stdout, &stderr)
	}
	return result{code, stdout.String(), stderr.String()}
}

// refusing has the kernel refuse those messages, of those that change something, for which refused returns true.
func (l *lab) refusing(refused func(m trace.Message) bool) func(trace.Call) trace.Action {
	return func(c trace.Call) trace.Action {
		for _, m := range trace.Changes(c) {
			if refused(m) {
				l.must(m.Refuse())
			}
		}
		return trace.Action{}
	}
}

// The kernel refuses the rename of the primary as often as it is asked for, and the first message that puts names
// back. The next one works.
func TestKernelUndoIsTriedAgain(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	_, links := l.links()
	secondary, _ := linkByName(links, "eth0")
	renames, undos := 0, 0
	refused := l.refusing(func(m trace.Message) bool {
		toEth0 := m.Type == unix.RTM_SETLINK && bytes.HasSuffix(bytes.TrimRight(m.Body, "\x00"), []byte("eth0")) &&
			!bytes.Contains(m.Body, []byte(tempPrefix))
		switch {
		case !toEth0:
			return false
		case int32(binary.NativeEndian.Uint32(m.Body[4:])) != secondary.index:
			renames++
			return true
		}
		undos++
		return undos == 1
	})
	l.unchanged(func() { l.trace(codeDoubt, refused, "fix", "-restart=") })
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
	renameToo := func(c trace.Call) trace.Action {
		switch renames := len(trace.Changes(c)) > 0; {
		case renames:
			sent = true
		case sent && !foreign && c.Number == unix.SYS_WRITE: // the request for the links
			foreign = true
			i, err := net.InterfaceByName("eth0")
			l.must(err, ec2.Rename(i.Index, "eth7"))
		}
		return trace.Action{}
	}
	l.unchanged(func() { l.trace(codeRoute, renameToo, "fix", "-restart=") })
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
	for _, typ := range []uint16{unix.RTM_DELADDR, unix.RTM_SETLINK} {
		undos := 0
		refused := l.refusing(func(m trace.Message) bool {
			isUndo := m.Type == typ && (typ == unix.RTM_DELADDR || // struct ifinfomsg: flags, change
				binary.NativeEndian.Uint32(m.Body[8:]) == 0 && binary.NativeEndian.Uint32(m.Body[12:]) == unix.IFF_UP)
			if isUndo {
				undos++
			}
			return isUndo && undos == 1
		})
		l.unchanged(func() { l.trace(codeRight, refused, "fix") })
		if undos < 2 {
			t.Errorf("%s was asked for %d times, want 2 or more", requestName(typ), undos)
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
	failOnce := func(c trace.Call) trace.Action {
		if c.Number == unix.SYS_READ && c.Args[0] == socket && failed == 0 {
			failed++
			return trace.Action{Errno: unix.EIO}
		}
		for _, m := range trace.Changes(c) {
			if m.Type == unix.RTM_NEWADDR && failed == 0 {
				socket = c.Args[0]
			}
		}
		return trace.Action{}
	}
	l.unchanged(func() { l.trace(codeRight, failOnce, "fix") })
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
			sent := false
			terminate := func(c trace.Call) trace.Action {
				if sent || len(trace.Changes(c)) == 0 {
					return trace.Action{}
				}
				sent = true
				return trace.Action{Signal: unix.SIGTERM}
			}
			l.says(l.trace(codeDoubt, terminate, "fix").stderr, "interrupted")
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
	// Links, addresses and routes of both families are four dumps, and the last before the rename.
	isDump := func(c trace.Call) bool { return len(trace.Messages(c)) > len(trace.Changes(c)) }
	dumps, before := 0, 0
	count := func(c trace.Call) trace.Action {
		if isDump(c) {
			dumps++
		}
		if len(trace.Changes(c)) > 0 && before == 0 {
			before = dumps
		}
		return trace.Action{}
	}
	l.trace(codeRoute, count, "fix", "-restart=")
	l.run(codeRight, "swap", "-restart=", "eth0", "eth1")
	if before < 8 {
		t.Fatalf("%d dumps before the rename, want 8 or more", before)
	}
	dumps = 0
	terminate := func(c trace.Call) (a trace.Action) {
		if isDump(c) {
			if dumps++; dumps == before-3 {
				a.Signal = unix.SIGTERM
			}
		}
		if dumps >= before-3 {
			time.Sleep(20 * time.Millisecond) // for the goroutine that gets the signal
		}
		return a
	}
	l.unchanged(func() { l.says(l.trace(codeDoubt, terminate, "fix", "-restart=").stderr, "interrupted") })
	l.wantNames("eth1", "eth0")
}
