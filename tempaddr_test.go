package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"eni0/testbed/ec2"
	"eni0/testbed/kinds"

	"golang.org/x/sys/unix"
)

// The attributes are those of `strace -e trace=sendmsg -e write=all ip ...` in `unshare -Urn` with iproute2
// 6.1.0, in another order; IFA_PROTO is newer than that.
func TestLoanBytes(t *testing.T) {
	littleEndian(t)
	l := lease{addr: parseIP("10.0.1.10"), router: parseIP("10.0.1.1"), life: tempLifetime}
	near := lease{addr: parseIP("10.0.1.10"), life: tempLifetime}
	imds := parseIP("169.254.169.254")
	for _, c := range []struct {
		command   string
		got       []byte
		wantBytes string
	}{
		{"ip addr add 10.0.1.10/32 dev eth0 valid_lft 120 preferred_lft 120", tempAddressRequest(7, l, tempProtoDown), `
			02 20 00 00 07 00 00 00                                     # ifaddrmsg: AF_INET, 32, flags, RT_SCOPE_UNIVERSE, index
			08 00 02 00 0a 00 01 0a                                     # IFA_LOCAL 10.0.1.10
			08 00 01 00 0a 00 01 0a                                     # IFA_ADDRESS 10.0.1.10
			14 00 06 00 78 00 00 00 78 00 00 00 00 00 00 00 00 00 00 00 # IFA_CACHEINFO 120, 120, cstamp, tstamp
			05 00 0b 00 e1 00 00 00                                     # IFA_PROTO 0xe1, pad`},
		{"ip route add 169.254.169.254/32 via 10.0.1.1 dev eth0 onlink src 10.0.1.10 proto 224 metric 7", tempRouteRequest(7, l, imds, tempProto), `
			02 20 00 00 fe e0 00 01 04 00 00 00 # rtmsg: AF_INET, 32, 0, tos, main, proto, RT_SCOPE_UNIVERSE, RTN_UNICAST, RTNH_F_ONLINK
			08 00 05 00 0a 00 01 01             # RTA_GATEWAY 10.0.1.1
			08 00 01 00 a9 fe a9 fe             # RTA_DST 169.254.169.254
			08 00 07 00 0a 00 01 0a             # RTA_PREFSRC 10.0.1.10
			08 00 06 00 07 00 00 00             # RTA_PRIORITY 7
			08 00 04 00 07 00 00 00             # RTA_OIF 7`},
		{"ip route add 169.254.169.254/32 dev eth0 src 10.0.1.10 proto 224 metric 7", tempRouteRequest(7, near, imds, tempProto), `
			02 20 00 00 fe e0 fd 01 00 00 00 00 # rtmsg: RT_SCOPE_LINK
			08 00 01 00 a9 fe a9 fe             # RTA_DST
			08 00 07 00 0a 00 01 0a             # RTA_PREFSRC
			08 00 06 00 07 00 00 00             # RTA_PRIORITY
			08 00 04 00 07 00 00 00             # RTA_OIF`},
	} {
		if want := golden(t, c.wantBytes); !bytes.Equal(c.got, want) {
			t.Errorf("%s: % x, want % x", c.command, c.got, want)
		}
	}
}

func TestLoanGone(t *testing.T) {
	for _, c := range []struct {
		world string
		err   error
		want  bool
	}{
		{"the link was pulled out", kernelError{op: "RTM_SETLINK", errno: unix.ENODEV}, true},
		{"the address was taken back", kernelError{op: "RTM_SETLINK", errno: unix.EADDRNOTAVAIL}, true},
		{"and the route with it", kernelError{op: "RTM_SETLINK", errno: unix.ESRCH}, true},
		{"not allowed", kernelError{op: "RTM_SETLINK", errno: unix.EPERM}, false},
		{"a socket's own", os.NewSyscallError("sendto", unix.ENODEV), false},
		{"a socket that fails", os.NewSyscallError("recvfrom", unix.ENOBUFS), false},
	} {
		if got := isAlreadyGone(c.err); got != c.want {
			t.Errorf("%s: gone(%v) = %v, want %v", c.world, c.err, got, c.want)
		}
	}
}

// borrowing is a lab where nothing is configured, and all is well. Most of the time is spent waiting: two
// tests at once take half of that.
func borrowing(t *testing.T, order ...int) *lab {
	t.Helper()
	t.Parallel()
	l := launch(t, order...)
	if l != nil {
		if state := strings.Join(l.state(), "\n"); strings.Contains(state, "address 10.") {
			l.Fatalf("there are addresses: %s", state)
		}
	}
	return l
}

// heal ends all that was arranged to go wrong.
func (l *lab) heal(devices int) {
	l.Helper()
	for d := range devices {
		s := l.DHCP(d)
		s.Give(l.Lease(d))
		s.Silent(0)
		s.Refuse(0)
		s.Delay(0)
		s.Garbage(false)
		s.Damage(false)
	}
	l.Metadata().Busy(0)
	l.Metadata().Refuse(0)
	l.must(l.Serve(l.Metadata()))
}

// always serves nothing but that status.
func always(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

// later serves as h does, but later.
func later(by time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(by)
		h.ServeHTTP(w, r)
	})
}

// after serves n requests as first does, and then as h does.
func after(n int, first, h http.Handler) http.Handler {
	var requests atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if int(requests.Add(1)) > n {
			h.ServeHTTP(w, r)
			return
		}
		first.ServeHTTP(w, r)
	})
}

// A loanWorld is what fix may meet while it borrows.
type loanWorld struct {
	world   string
	arrange func()
	says    string // what the log has in it
}

// Links, addresses and routes are as they were, and a second run finds nothing to rename.
func TestKernelBorrow(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	both := func(do func(*ec2.DHCP)) { do(l.DHCP(0)); do(l.DHCP(1)) }
	overload := func(d int) { o := l.LinkLocalLease(d); o.Overload = true; l.DHCP(d).Give(o) }
	for _, c := range []loanWorld{
		{"all is well", func() {}, ", and a route to 169.254.169.254"},
		{"IMDS is busy, then has no use for its own tokens", func() { l.Metadata().Busy(3); l.Metadata().Refuse(1) }, ""},
		{"the first DISCOVER is lost", func() { both(func(d *ec2.DHCP) { d.Silent(1) }) }, ""},
		{"a NAK", func() { both(func(d *ec2.DHCP) { d.Refuse(1) }) }, ""},
		{"DHCP is slow", func() { both(func(d *ec2.DHCP) { d.Delay(100 * time.Millisecond) }) }, ""},
		{"garbage before each answer", func() { both(func(d *ec2.DHCP) { d.Garbage(true) }) }, "borrowed 10.0."},
		{"subnets without IPv4", func() { l.DHCP(0).Give(l.LinkLocalLease(0)); l.DHCP(1).Give(l.LinkLocalLease(1)) }, "of 169.254.0.1, and a route to 169.254.169.254"},
		{"options in the fields for names", func() { overload(0); overload(1) }, "of 169.254.0.1, and a route to 169.254.169.254"},
		{"frames with a wrong checksum before each answer", func() { both(func(d *ec2.DHCP) { d.Damage(true) }) }, "borrowed 10.0."},
	} {
		c.arrange()
		for _, says := range []string{c.says, "gave back"} { // the names are right then: it begins with the other ENI
			l.unchanged(func() { l.says(l.run(codeRight, "fix", "-timeout", "10s").stderr, says) })
			if l.wantNames("eth0", "eth1"); t.Failed() {
				t.Fatal(c.world)
			}
		}
		l.heal(2)
		l.run(codeRight, "swap", "eth0", "eth1")
	}
}

// However it fails, links, addresses and routes are as they were.
func TestKernelBorrowInVain(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	both := func(do func(*ec2.DHCP)) { do(l.DHCP(0)); do(l.DHCP(1)) }
	for _, c := range []loanWorld{
		{"no IMDS", func() { l.must(l.Serve(nil)) }, "connection refused"},
		{"IMDS is switched off", func() { l.must(l.Serve(always(403))) }, "IMDS is switched off"},
		{"no DHCP", func() { both(func(d *ec2.DHCP) { d.Silent(1000) }) }, "dhcp: discover: no answer"},
		{"NAKs", func() { both(func(d *ec2.DHCP) { d.Refuse(1000) }) }, "refused by 10.0.2.1 (1 try in "},
	} {
		c.arrange()
		for range 2 {
			l.unchanged(func() { l.says(l.run(codeDoubt, "fix", "-timeout", "2s").stderr, c.says) })
		}
		if l.wantNames("eth1", "eth0"); t.Failed() {
			t.Fatal(c.world)
		}
		l.heal(2)
	}
}

// Nothing is renamed where nothing is wrong, and a link that was up stays up.
func TestKernelBorrowLinksUp(t *testing.T) {
	l := borrowing(t, 0, 1, 2)
	if l == nil {
		return
	}
	for _, up := range [][]string{{}, {"eth0"}, {"eth1"}, {"eth0", "eth1", "eth2"}} {
		for _, name := range up {
			l.must(ec2.SetUp(name, true))
		}
		for range 2 {
			l.unchanged(func() {
				if r := l.run(codeRight, "fix"); strings.Contains(r.stderr, "->") {
					t.Errorf("renames: %s", r.stderr)
				}
			})
		}
		l.must(l.Serve(nil))
		l.unchanged(func() { l.run(codeDoubt, "fix", "-timeout", "300ms") })
		l.must(l.Serve(l.Metadata()))
		for _, name := range up {
			l.must(ec2.SetUp(name, false))
		}
	}
}

// A link that was down may have IPv6 addresses, which the kernel would forget when it goes down again: better
// it stays up.
func TestKernelBorrowIPv6Before(t *testing.T) {
	l := borrowing(t, 0, 1)
	if l == nil {
		return
	}
	if !ec2.HasIPv6() {
		t.Skip("no IPv6")
	}
	l.must(ec2.AddAddr("eth0", netip.MustParsePrefix("fd00:1::10/64")))
	notAddress := func(line string) bool { return !strings.HasPrefix(line, "address ") }
	l.unchanged(func() { l.run(codeRight, "fix") }, notAddress)
}

// SIGTERM at any moment: all is as it was, or the names are right.
func TestKernelBorrowTerminated(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	l.must(l.Serve(later(15*time.Millisecond, l.Metadata())))
	l.DHCP(1).Delay(10 * time.Millisecond)
	before, start := l.state(), time.Now()
	l.run(codeRight, "fix")
	whole := time.Since(start)
	l.run(codeRight, "swap", "eth0", "eth1")
	const moments = 30
	for n := range moments {
		cmd := l.command("fix")
		l.must(cmd.Start())
		time.Sleep(whole * time.Duration(n) / moments)
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()                          // the state tells
		if l.sameState(before); t.Failed() {
			t.Fatalf("SIGTERM after %v of %v", whole*time.Duration(n)/moments, whole)
		}
		switch names := fmt.Sprint(l.names(2)); names {
		case "[eth0 eth1]":
			l.run(codeRight, "swap", "eth0", "eth1")
		case "[eth1 eth0]": // as they were
		default:
			t.Fatalf("SIGTERM after %v of %v: the ENIs are called %s", whole*time.Duration(n)/moments, whole, names)
		}
	}
}

// meanwhile runs fix, and does something while that asks IMDS over a borrowed network.
func (l *lab) meanwhile(do func(fix *os.Process)) result {
	l.Helper()
	asked, goOn := make(chan bool, 1000), make(chan bool)
	l.must(l.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-goOn
		l.Metadata().ServeHTTP(w, r)
	})))
	cmd := l.command("fix")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	l.must(cmd.Start())
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		l.Error("IMDS was not asked")
	}
	do(cmd.Process)
	close(goOn)
	_ = cmd.Wait() // the code tells
	l.must(l.Serve(l.Metadata()))
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// borrowed lists the addresses that are marked as borrowed.
func (l *lab) borrowed() []address {
	l.Helper()
	nl := l.dial()
	defer nl.close()
	all, err := nl.addresses()
	l.must(err)
	return slices.DeleteFunc(all, func(a address) bool { return a.proto != tempProto && a.proto != tempProtoDown })
}

// validFor is how many seconds the kernel gives an address to live.
func validFor(a address) (seconds uint32) {
	_ = eachAttr(a.body[unix.SizeofIfAddrmsg:], func(typ uint16, value []byte) error {
		if typ == unix.IFA_CACHEINFO { // struct ifa_cacheinfo, linux/if_addr.h: preferred, valid, ...
			seconds = uint32Of(value[4:])
		}
		return nil
	})
	return seconds
}

// What a killed eni0 leaves, the kernel takes back in two minutes, and the next fix at once.
func TestKernelBorrowKilled(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	foreign := l.foreignAddresses()
	for _, up := range []bool{false, true} {
		l.must(ec2.SetUp("eth0", up))
		before := l.state()
		l.meanwhile(func(fix *os.Process) { l.must(fix.Kill()) })
		left := slices.DeleteFunc(l.borrowed(), func(a address) bool { return slices.Contains(foreign, a.ip.Addr().String()) })
		if len(left) != 1 || left[0].ip.String() != "10.0.2.10/32" || validFor(left[0]) == 0 || validFor(left[0]) > 120 {
			t.Fatalf("left are %+v, want 10.0.2.10/32 for two minutes at most", left)
		}
		l.says(l.run(codeRight, "fix").stderr, "an eni0 that was killed has left the address 10.0.2.10")
		l.sameState(before)
		l.wantNames("eth0", "eth1")
		l.unchanged(func() { l.run(codeRight, "fix") })
		l.run(codeRight, "swap", "eth0", "eth1")
	}
}

// A link that was down is found as it was left, with what it had and would lose by going down again: after a run
// that ended well, and after one that was killed.
func TestKernelBorrowGivesBackAll(t *testing.T) {
	l := borrowing(t, 0, 1)
	if l == nil {
		return
	}
	for _, args := range []string{
		"neighbour add 10.0.1.99 lladdr 02:00:00:00:00:01 dev eth0 nud permanent", "neighbour add 10.0.1.98 lladdr 02:00:00:00:00:02 dev eth0 nud noarp",
		"neighbour add proxy 10.0.1.97 dev eth0", "-6 neighbour add proxy fd00:1::97 dev eth0", "neighbour add fd00:1::99 lladdr 02:00:00:00:00:03 dev eth0 nud permanent",
		"address add fd00:1::5/64 dev eth0", "address add fd00:1::6/64 dev eth0 nodad", "address add 10.7.7.7/24 dev eth0",
	} {
		l.must(exec.Command("ip", strings.Fields(args)...).Run())
	}
	before, err := kinds.Dump()
	l.must(err)
	if len(before) < 8 {
		l.Fatalf("there are only %q", before)
	}
	same := func() {
		l.Helper()
		after, err := kinds.Dump()
		l.must(err)
		for _, d := range kinds.Differences(before, after) {
			l.Error(d)
		}
	}
	l.unchanged(func() { l.run(codeRight, "fix", "-timeout", "10s") })
	same()
	l.must(exec.Command("ip", "address", "del", "10.7.7.7/24", "dev", "eth0").Run()) // nobody can tell whose it is after a SIGKILL
	l.must(exec.Command("ip", "address", "del", "fd00:1::5/64", "dev", "eth0").Run())
	l.must(exec.Command("ip", "address", "del", "fd00:1::6/64", "dev", "eth0").Run())
	before, err = kinds.Dump()
	l.must(err)
	l.unchanged(func() {
		l.meanwhile(func(fix *os.Process) { l.must(fix.Kill()) })
		l.says(l.run(codeRight, "fix", "-timeout", "10s").stderr, "an eni0 that was killed has left the address 10.0.1.10")
	})
	same()
}

// Before Linux 5.18 an address does not tell who made it; its route does. Here the address is there without the mark.
func TestKernelBorrowKilledOnAnOldKernel(t *testing.T) {
	l := borrowing(t, 0, 1)
	if l == nil {
		return
	}
	before := l.state()
	nl := l.dial()
	defer nl.close()
	eth0, err := net.InterfaceByName("eth0")
	index := int32(eth0.Index)
	got := lease{addr: parseIP("10.0.1.10"), router: parseIP("10.0.1.1"), life: tempLifetime}
	l.must(err, nl.execute([]nlMessage{setLink(index, "", unix.IFF_UP, unix.IFF_UP),
		createRequest(unix.RTM_NEWADDR, 0, tempAddressRequest(index, got, 0)),
		createRequest(unix.RTM_NEWROUTE, 0, tempRouteRequest(index, got, parseIP("169.254.169.254"), tempProtoDown))}))
	l.says(l.run(codeRight, "fix", "-timeout", "10s").stderr, "an eni0 that was killed has left the address 10.0.1.10")
	l.sameState(before)
}

// foreignAddresses gives lo addresses that are marked in part as borrowed ones are.
func (l *lab) foreignAddresses() (all []string) {
	l.Helper()
	nl := l.dial()
	defer nl.close()
	for n, change := range []func(body []byte){
		func(b []byte) { b[len(b)-4] = 0 },                 // made by nobody in particular
		func(b []byte) { b[len(b)-4] = tempProtoDown + 1 }, // by another program
		func(b []byte) { b[1] = 24 },                       // for a subnet
	} {
		ip := netip.AddrFrom4([4]byte{10, 9, byte(n), 1})
		body := tempAddressRequest(1, lease{addr: ip, life: time.Hour}, tempProto)
		change(body)
		l.must(nl.execute([]nlMessage{createRequest(unix.RTM_NEWADDR, unix.NLM_F_EXCL, body)}))
		all = append(all, ip.String())
	}
	return all
}

// After SIGKILL at any moment the next fix works, and no address or route is left. A link that had no
// address yet stays up: nobody can tell that it was down.
func TestKernelBorrowKilledAtAnyMoment(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	before := l.state()
	isLink := func(line string) bool { return strings.HasPrefix(line, "link ") }
	for n := range 15 {
		cmd := l.command("fix")
		l.must(cmd.Start())
		time.Sleep(time.Duration(n) * 2 * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		l.run(codeRight, "fix")
		l.wantNames("eth0", "eth1")
		if l.sameState(before, isLink); t.Failed() {
			t.Fatalf("killed after %dms", n*2)
		}
		l.run(codeRight, "swap", "eth0", "eth1")
	}
}

// Between the death and the next fix somebody else may have configured the link.
func TestKernelBorrowKilledThenManaged(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	l.meanwhile(func(fix *os.Process) { l.must(fix.Kill()) })
	l.manage()
	l.says(l.run(codeRight, "fix").stderr, "stays up: somebody else has come to use it")
	l.wantNames("eth0", "eth1")
	if left := l.borrowed(); len(left) > 0 {
		t.Errorf("left are %+v, want none", left)
	}
	l.run(codeRight, "check")
}

// Who only looks borrows nothing, and neither does swap, which need not know.
func TestKernelNeverBorrows(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	l.unchanged(func() {
		for _, args := range [][]string{{"check"}, {"fix", "-n"}, {"fix", "-n", "-json"}, {"imds", "mac"}} {
			l.says(l.run(codeDoubt, slices.Insert(args, 1, "-timeout", "100ms")...).stderr, "network is unreachable")
		}
		l.run(codeDoubt, "route")
		l.run(codeRight, "swap", "eth0", "eth1")
		l.run(codeRight, "swap", "-n", "eth0", "eth1")
	})
	l.sawNoDHCP(2)
}

// sawNoDHCP fails the test if a DHCP server was asked.
func (l *lab) sawNoDHCP(devices int) {
	l.Helper()
	for d := range devices {
		if saw := l.DHCP(d).Messages(); len(saw) > 0 {
			l.Errorf("DHCP at device %d was asked: %v", d, saw)
		}
	}
}

// One ENI is as good as another: the answer comes by the second one where the first leads nowhere.
func TestKernelBorrowByTheOther(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	wire := func(up bool) { l.must(l.Do(func() error { return ec2.SetUp("wire1", up) })) }
	for _, c := range []struct {
		world         string
		arrange, undo func()
	}{
		{"no carrier", func() { wire(false) }, func() { wire(true) }},
		{"no DHCP", func() { l.DHCP(1).Silent(1000) }, func() {}},
		{"NAKs", func() { l.DHCP(1).Refuse(1000) }, func() {}},
		{"DHCP gives it IMDS's own address", func() { l.DHCP(1).Give(l.liar(1)) }, func() {}},
		{"IMDS is not ready by the first", func() { l.must(l.Serve(ec2.ByAddress(l.Addr(0), l.Metadata(), always(503)))) }, func() {}},
	} {
		c.arrange()
		l.unchanged(func() {
			if r := l.finish(l.command("fix", "-timeout", "3s")); r.code != codeRight {
				t.Errorf("%s: code %d, want %d: %s", c.world, r.code, codeRight, r.stderr)
			}
		})
		c.undo()
		l.heal(2)
		if slices.Equal(l.names(2), []string{"eth0", "eth1"}) {
			l.run(codeRight, "swap", "eth0", "eth1")
		}
	}
}

// Who answers by one ENI may be nobody to believe. The routing table leads there too, by the borrowed route:
// that is nobody else who says so. Whether fix hears it twice is a matter of moments.
func TestKernelBorrowOfALiar(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	for range 5 {
		l.must(l.Serve(ec2.ByAddress(l.Addr(0), l.Metadata(), after(6, always(503), always(403)))))
		l.unchanged(func() { l.run(codeRight, "fix", "-timeout", "10s") })
		l.run(codeRight, "swap", "eth0", "eth1")
	}
}

// The ENIs are probed while fix waits: none is there at first, or the primary is not.
func TestKernelBorrowLate(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	plug := func(device int, name string) {
		if err := l.Plug(device, name); !errors.Is(err, unix.ENODEV) { // it may have been renamed before Plug was done with it
			l.must(err)
		}
	}
	l.must(l.Unplug(0), l.Unplug(1))
	l.says(l.run(codeDoubt, "fix", "-timeout", "100ms").stderr, "there is no Ethernet device here: is its driver loaded?")
	for _, c := range []struct {
		world string
		come  func() // what comes while fix runs
	}{
		{"none at first", func() { time.Sleep(20 * time.Millisecond); plug(1, "eth0"); plug(0, "eth1") }},
		{"the primary comes when the other has told its address", func() { plug(1, "eth0"); l.answered(1); plug(0, "eth1") }},
		{"the primary comes alone, and has the right name", func() { time.Sleep(20 * time.Millisecond); plug(0, "eth0"); l.answered(0); plug(1, "eth1") }},
	} {
		asked := l.Metadata().Requests()
		cmd := l.command("fix", "-timeout", "20s")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		l.must(cmd.Start())
		c.come()
		_ = cmd.Wait() // the code tells
		if code := cmd.ProcessState.ExitCode(); code != codeRight || l.Metadata().Requests() == asked {
			t.Errorf("%s: code %d, want %d: %s", c.world, code, codeRight, stderr.String())
		}
		l.wantNames("eth0", "eth1")
		for _, line := range l.state() {
			if strings.Contains(line, "/0a:ff:") && !strings.Contains(line, " down ") {
				t.Errorf("%s: %s, want the ENIs to be down and nothing else", c.world, line)
			}
		}
		l.must(l.Unplug(0), l.Unplug(1))
	}
}

// answered waits until the DHCP server of a device has answered twice and IMDS can have been asked.
func (l *lab) answered(device int) {
	l.Helper()
	already := l.Metadata().Requests()
	for end := time.Now().Add(20 * time.Second); l.Metadata().Requests() < already+2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.Fatalf("nobody asks IMDS; DHCP at device %d has seen %v", device, l.DHCP(device).Messages())
		}
	}
}

// Where there is a way to IMDS nothing is borrowed.
func TestKernelBorrowsNothing(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	l.must(err)
	go http.Serve(listener, l.Metadata())
	l.unchanged(func() { l.run(codeRight, "fix", "-imds", "http://"+listener.Addr().String()) })
	l.must(listener.Close())
	l.wantNames("eth0", "eth1")
	l.run(codeRight, "swap", "eth0", "eth1")

	l.must(ec2.AddBridge("br0", [6]byte{2, 0, 0, 0, 0, 9}), l.enslave("eth0", "br0"))
	for _, name := range []string{"eth0", "br0"} {
		l.must(ec2.SetUp(name, true))
	}
	l.must(ec2.AddAddr("br0", netip.PrefixFrom(l.Addr(1), 24)),
		ec2.AddRoute(ec2.Route{Dev: "br0", Dst: netip.MustParsePrefix("169.254.169.254/32"), Via: l.Router(1)}))
	l.unchanged(func() { l.run(codeRight, "fix") })
	l.wantNames("eth0", "eth1")
	l.sawNoDHCP(2)
}

// busyFor serves nothing but 503 for a while after the first request, and then as h does.
func busyFor(d time.Duration, h http.Handler) http.Handler {
	start := sync.OnceValue(time.Now)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if time.Since(start()) < d {
			w.WriteHeader(503)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// The network is a bridge's, over two ENIs. IMDS is late: no ENI can be asked by, and the third one's loan would
// take the bridge's way to IMDS.
func TestKernelBorrowsNothingBesideABridge(t *testing.T) {
	l := borrowing(t, 0, 1, 2)
	if l == nil {
		return
	}
	l.must(ec2.AddBridge("br0", [6]byte{2, 0, 0, 0, 0, 9}), l.enslave("eth0", "br0"), l.enslave("eth1", "br0"))
	for _, name := range []string{"eth0", "eth1", "br0"} {
		l.must(ec2.SetUp(name, true))
	}
	l.must(ec2.AddAddr("br0", netip.PrefixFrom(l.Addr(1), 24)),
		ec2.AddRoute(ec2.Route{Dev: "br0", Dst: netip.MustParsePrefix("169.254.169.254/32"), Via: l.Router(1)}))
	l.must(l.Serve(busyFor(4*time.Second, l.Metadata())))
	for _, says := range []string{"asking on by the routing table alone", ""} { // the second time IMDS is ready
		l.unchanged(func() {
			r := l.run(codeRight, "fix", "-timeout", "20s")
			if l.says(r.stderr, says); strings.Contains(r.stderr, "to ask IMDS by") {
				t.Errorf("a link was taken up: %s", r.stderr)
			}
		})
	}
	l.sawNoDHCP(3)
}

// No ENI leads to a loopback address.
func TestKernelBorrowsNothingForLoopback(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	for range 2 {
		l.unchanged(func() {
			r := l.run(codeDoubt, "fix", "-timeout", "1300ms", "-imds", "http://"+refusing(t).host)
			l.says(r.stderr, "asking on by the routing table alone")
			if l.says(r.stderr, "connection refused ("); strings.Contains(r.stderr, "to ask IMDS by") {
				t.Errorf("a link was taken up: %s", r.stderr)
			}
		})
	}
	l.sawNoDHCP(2)
}

// Nobody lends anything, but while that is tried somebody configures the links: the routing table's way has a
// route then, and IMDS answers by that.
func TestKernelBorrowOvertaken(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	l.must(l.DHCP(0).Serve(false), l.DHCP(1).Serve(false))
	cmd := l.command("fix", "-names", "-timeout", "20s")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	l.must(cmd.Start())
	time.Sleep(2 * time.Second)
	for name, device := range map[string]int{"eth0": 1, "eth1": 0} {
		l.must(ec2.SetUp(name, true), ec2.AddAddr(name, netip.PrefixFrom(l.Addr(device), 24)))
	}
	l.must(ec2.AddRoute(ec2.Route{Dev: "eth1", Via: l.Router(0)}))
	_ = cmd.Wait() // the code tells
	if code := cmd.ProcessState.ExitCode(); code != codeRight || strings.Contains(stderr.String(), "borrowed 10.") {
		t.Errorf("code %d, want %d and nothing borrowed: %s", code, codeRight, stderr.String())
	}
	l.wantNames("eth0", "eth1")
	for range 2 {
		l.unchanged(func() { l.run(codeRight, "fix", "-names") })
	}
}

// A lease that comes when the network has been configured already is not used: its route to IMDS would take over what
// others ask.
func TestKernelBorrowTooLate(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	for device := range 2 {
		l.DHCP(device).Delay(time.Second) // and so a lease takes 2 s
	}
	l.must(l.Serve(busyFor(4*time.Second, l.Metadata())))
	cmd := l.command("fix", "-names", "-timeout", "20s")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	l.must(cmd.Start())
	time.Sleep(500 * time.Millisecond)
	l.must(ec2.SetUp("eth1", true), ec2.AddAddr("eth1", netip.PrefixFrom(l.Addr(0), 24)), ec2.AddRoute(ec2.Route{Dev: "eth1", Via: l.Router(0)}))
	_ = cmd.Wait() // the code tells
	l.says(stderr.String(), "the network has been configured meanwhile")
	if code := cmd.ProcessState.ExitCode(); code != codeRight || strings.Contains(stderr.String(), "borrowed 10.") {
		t.Errorf("code %d, want %d and nothing borrowed: %s", code, codeRight, stderr.String())
	}
	l.wantNames("eth0", "eth1")
}

// enslave makes a link a port of a bridge.
func (l *lab) enslave(port, bridge string) error {
	nl := l.dial()
	defer nl.close()
	p, err := net.InterfaceByName(port)
	l.must(err)
	b, err := net.InterfaceByName(bridge)
	l.must(err)
	m := setLink(int32(p.Index), "", 0, 0)
	m.body = appendUint32(m.body, unix.IFLA_MASTER, uint32(b.Index))
	return nl.execute([]nlMessage{m})
}

func TestKernelBorrowTwoAtOnce(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	l.unchanged(func() {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if r := l.finish(l.command("fix")); r.code != codeRight {
					t.Errorf("one of 3 at once: %+v", r)
				}
			})
		}
		all.Wait()
	})
	l.wantNames("eth0", "eth1")
}

// What somebody else does to a link while it is borrowed stays done.
func TestKernelBorrowMeanwhile(t *testing.T) {
	l := borrowing(t, 0, 1)
	if l == nil {
		return
	}
	for _, c := range []struct {
		world string
		do    func()
		undo  func()
		want  string // a line of the state, in part
	}{
		{"another address", func() { l.must(ec2.AddAddr("eth0", netip.MustParsePrefix("10.7.7.7/24"))) },
			func() { l.deleteAddr("eth0", netip.MustParsePrefix("10.7.7.7/24")) }, "address 10.7.7.7/24 dev "},
		{"a link-local IPv4 address", func() { l.addLinkLocal("eth0", netip.MustParsePrefix("169.254.7.7/16")) },
			func() { l.deleteAddr("eth0", netip.MustParsePrefix("169.254.7.7/16")) }, "address 169.254.7.7/16 dev "},
		{"the same address, with its subnet", func() { l.must(ec2.AddAddr("eth0", netip.MustParsePrefix("10.0.1.10/24"))) },
			func() { l.deleteAddr("eth0", netip.MustParsePrefix("10.0.1.10/24")) }, "address 10.0.1.10/24 dev "},
		{"an IPv6 address", func() { l.must(ec2.AddAddr("eth0", netip.MustParsePrefix("fd00:7::7/64"))) }, func() {}, "address fd00:7::7/64 dev "},
		{"it becomes a bridge's port", func() { l.must(ec2.AddBridge("br0", l.MAC(0)), l.enslave("eth0", "br0")) }, func() { l.must(ec2.Delete("br0")) }, "/0a:ff:00:00:00:01 up "},
	} {
		if strings.Contains(c.want, "::") && !ec2.HasIPv6() {
			continue
		}
		if r := l.meanwhile(func(*os.Process) { c.do() }); r.code != codeRight {
			t.Errorf("%s: code %d, want %d: %s", c.world, r.code, codeRight, r.stderr)
		}
		state := strings.Join(l.state(), "\n")
		if !strings.Contains(state, c.want) || !strings.Contains(state, "/0a:ff:00:00:00:01 up ") {
			t.Errorf("%s: the state is\n%s\nwant the link up, and %s", c.world, state, c.want)
		}
		if left := l.borrowed(); len(left) > 0 {
			t.Errorf("%s: left are %+v, want none", c.world, left)
		}
		c.undo()
		l.must(ec2.SetUp("eth0", false))
	}
}

// anAddress is the body of a request about an address of a link.
func (l *lab) anAddress(name string, p netip.Prefix, scope byte) []byte {
	l.Helper()
	i, err := net.InterfaceByName(name)
	l.must(err)
	body := tempAddressRequest(int32(i.Index), lease{addr: p.Addr(), life: time.Hour}, 0)
	body[1], body[3] = byte(p.Bits()), scope
	return body
}

// addLinkLocal gives a link an address as network managers give link-local ones: of the link's scope.
func (l *lab) addLinkLocal(name string, p netip.Prefix) {
	l.Helper()
	nl := l.dial()
	defer nl.close()
	l.must(nl.execute([]nlMessage{createRequest(unix.RTM_NEWADDR, unix.NLM_F_EXCL, l.anAddress(name, p, unix.RT_SCOPE_LINK))}))
}

// deleteAddr takes an address from a link.
func (l *lab) deleteAddr(name string, p netip.Prefix) {
	l.Helper()
	nl := l.dial()
	defer nl.close()
	l.must(nl.execute([]nlMessage{{typ: unix.RTM_DELADDR, body: l.anAddress(name, p, 0)}}))
}

// liar is a lease that would make an ENI IMDS for all of us.
func (l *lab) liar(device int) ec2.Lease {
	lease := l.Lease(device)
	lease.Addr = netip.MustParsePrefix("169.254.169.254/24")
	return lease
}

// A route that leads to no IMDS is no reason not to borrow.
func TestKernelBorrowBesideARoute(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	l.must(ec2.AddBridge("br0", [6]byte{2, 0, 0, 0, 0, 9}), ec2.SetUp("br0", true), ec2.AddAddr("br0", netip.MustParsePrefix("169.254.0.1/16")))
	l.unchanged(func() { l.run(codeRight, "fix", "-names", "-timeout", "10s") })
	l.wantNames("eth0", "eth1")
}

// A link that gets another name meanwhile is asked by that, and not by who has its former one.
func TestKernelBorrowRenamed(t *testing.T) {
	l := borrowing(t, 0, 1)
	if l == nil {
		return
	}
	l.DHCP(1).Serve(false)
	eth0, err := net.InterfaceByName("eth0")
	l.must(err)
	r := l.meanwhile(func(*os.Process) { l.must(l.dial().execute([]nlMessage{setLink(int32(eth0.Index), "ens5", 0, 0)})) })
	if r.code != codeRight {
		t.Errorf("code %d, want %d: %s", r.code, codeRight, r.stderr)
	}
	if left := l.borrowed(); len(left) > 0 {
		t.Errorf("left are %+v, want none", left)
	}
}

// The same after IMDS has said by it that it is not ready.
func TestKernelBorrowRenamedWhileBusy(t *testing.T) {
	l := borrowing(t, 0)
	if l == nil {
		return
	}
	eth0, err := net.InterfaceByName("eth0")
	l.must(err)
	rename := sync.OnceFunc(func() { l.must(l.dial().execute([]nlMessage{setLink(int32(eth0.Index), "ens5", 0, 0)})) })
	l.must(l.Serve(after(1, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		rename()
		w.WriteHeader(503)
	}), l.Metadata())))
	l.run(codeRight, "fix", "-timeout", "20s")
	if left := l.borrowed(); len(left) > 0 {
		t.Errorf("left are %+v, want none", left)
	}
}

// Nobody can be asked by an ENI that is down, even if it has an address.
func TestKernelBorrowBesideAnAddressThatIsDown(t *testing.T) {
	l := borrowing(t, 0, 1)
	if l == nil {
		return
	}
	l.must(ec2.AddAddr("eth1", netip.MustParsePrefix("10.9.9.9/32")))
	l.unchanged(func() { l.run(codeRight, "fix", "-timeout", "10s") })
	l.DHCP(0).Serve(false) // now it is eth1 that has to be taken up
	l.unchanged(func() { l.run(codeRight, "fix", "-timeout", "10s") })
}

// An ENI that is pulled out takes its loan along; the answer comes by another.
func TestKernelBorrowUnplugged(t *testing.T) {
	l := borrowing(t, 0, 1)
	if l == nil {
		return
	}
	r := l.meanwhile(func(*os.Process) { l.must(l.Unplug(1), l.Unplug(0), l.Plug(0, "eth0")) })
	if r.code != codeRight || strings.Contains(r.stderr, "not given back") {
		t.Errorf("code %d, want %d: %s", r.code, codeRight, r.stderr)
	}
	if left := l.borrowed(); len(left) > 0 {
		t.Errorf("left are %+v, want none", left)
	}
}

// A lease that runs out is not used any longer: the next one is asked for.
func TestKernelBorrowRunsOut(t *testing.T) {
	l := borrowing(t, 0)
	if l == nil {
		return
	}
	short := l.Lease(0)
	short.Seconds = 1
	l.DHCP(0).Give(short)
	l.must(l.Serve(busyFor(1200*time.Millisecond, l.Metadata())))
	l.unchanged(func() {
		if r := l.run(codeRight, "fix"); strings.Count(r.stderr, "borrowed 10.0.1.10 of") < 2 {
			t.Errorf("says %q, want the address borrowed twice", r.stderr)
		}
	})
	if saw := l.DHCP(0).Messages(); len(saw) < 4 {
		t.Errorf("DHCP has seen %v, want two exchanges", saw)
	}
}

// Without the right to, nothing is borrowed, and people are told.
func TestKernelBorrowNotAllowed(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	l.powerless("borrowing a network takes root, or CAP_NET_ADMIN and CAP_NET_RAW")
}

// However asking ends, nobody is left at work.
func TestKernelBorrowLeavesNobody(t *testing.T) {
	l := borrowing(t, 1, 0)
	if l == nil {
		return
	}
	imds, err := parseEndpoint(defaultIMDS)
	l.must(err)
	nl := l.dial()
	defer nl.close()
	for _, c := range []struct {
		world   string
		arrange func()
	}{
		{"an answer by the first", func() {}},
		{"an answer by the second", func() { l.DHCP(1).Silent(1000) }},
		{"IMDS is switched off", func() { l.must(l.Serve(always(403))) }},
		{"IMDS does not answer", func() { l.must(l.Serve(later(time.Second, l.Metadata()))) }},
		{"no DHCP", func() { l.DHCP(0).Silent(1000); l.DHCP(1).Silent(1000) }},
		{"NAKs", func() { l.DHCP(0).Refuse(1000); l.DHCP(1).Refuse(1000) }},
	} {
		c.arrange()
		l.unchanged(func() {
			ctx, cancel := detachedTimeout(400 * time.Millisecond)
			defer cancel()
			_, _ = imdsAsker{nl: nl, log: logger{to: io.Discard}, query: macQuery(), endpoint: imds, widen: widenAfter,
				believe: believeMAC, mayBorrow: func() {}}.fetch(ctx)
		})
		if who := atWork(); who != "" {
			t.Errorf("%s: still at work:\n%s", c.world, who)
		}
		l.heal(2)
	}
}

// atWork is the stack of a goroutine that asks or borrows, "" if there is none. One that has said that it is
// done may take a moment to end; one that closes a socket has not.
func atWork() (who string) {
	for range 100 {
		b := make([]byte, 1<<20)
		who = ""
		for g := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
			if strings.Contains(g, "eni0.packetSocket") {
				return g
			}
			if strings.Contains(g, "eni0.tempAsker") || strings.Contains(g, "eni0.(*tempAddress)") || strings.Contains(g, "eni0.(*race)") || strings.Contains(g, "eni0.(*imdsPath)") {
				who = g
			}
		}
		if who == "" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return who
}
