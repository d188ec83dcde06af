package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// golden is the bytes of a text in hex, with comments from # to the end of a line.
func golden(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(code), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kernelSent is the bodies of the messages in testdata/kernel.txt, by their names.
func kernelSent(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/kernel.txt")
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string][]byte{}
	for _, section := range strings.Split(string(text), "\n[")[1:] {
		name, hex, _ := strings.Cut(section, "]\n")
		bodies[name] = golden(t, hex)
	}
	return bodies
}

// littleEndian skips the tests whose golden bytes are an x86's.
func littleEndian(t testing.TB) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden bytes are little endian")
	}
}

// errTap is what a read from a tap comes to.
var errTap = errors.New("nobody answers here")

// A tap catches what an rtnl sends. The kernel lets a datagram to any address into a
// SOCK_SEQPACKET pair: unix_seqpacket_sendmsg of net/unix/af_unix.c.
type tap struct {
	syscall.RawConn
	near, far int
}

func (p tap) Write(f func(uintptr) bool) error { f(uintptr(p.near)); return nil }
func (p tap) Read(func(uintptr) bool) error    { return errTap }

// sent is the first datagram that do sends.
func sent(t *testing.T, do func(*rtnl) error) []byte {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	c := &rtnl{raw: tap{near: pair[0], far: pair[1]}, seq: 0x0fff}
	if err := do(c); !errors.Is(err, errTap) {
		t.Fatalf("a request nobody answers: %v, want %v", err, errTap)
	}
	b := make([]byte, 1<<16)
	n, err := unix.Read(pair[1], b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// The headers and attributes are those of `strace -e trace=sendmsg -e write=all ip link set ...` in
// `unshare -Urn` with iproute2 6.1.0, whose RTM_NEWLINK (10 00) is an RTM_SETLINK (13 00) here, and
// whose sequence numbers are the time.
func TestSetLinkBytes(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		command string
		request nlMessage
		want    string
	}{
		{"ip link set eth1 name eth7", setLink(3, "eth7", 0, 0), `
			2c 00 00 00 13 00 05 00 00 10 00 00 00 00 00 00 # nlmsghdr: 44, RTM_SETLINK, REQUEST|ACK, seq, port
			00 00 00 00 03 00 00 00 00 00 00 00 00 00 00 00 # ifinfomsg: AF_UNSPEC, pad, type, index, flags, change
			09 00 03 00 65 74 68 37 00 00 00 00             # IFLA_IFNAME "eth7", pad`},
		{"ip link set eth7 up", setLink(3, "", unix.IFF_UP, unix.IFF_UP), `
			20 00 00 00 13 00 05 00 00 10 00 00 00 00 00 00 # nlmsghdr: 32
			00 00 00 00 03 00 00 00 01 00 00 00 01 00 00 00 # ifinfomsg: flags IFF_UP, change IFF_UP`},
		{"ip link set eth7 down", setLink(3, "", 0, unix.IFF_UP), `
			20 00 00 00 13 00 05 00 00 10 00 00 00 00 00 00 # nlmsghdr
			00 00 00 00 03 00 00 00 00 00 00 00 01 00 00 00 # ifinfomsg: flags 0, change IFF_UP`},
		{"ip link set eth7 name eth1 up", setLink(3, "eth1", unix.IFF_UP, unix.IFF_UP), `
			2c 00 00 00 13 00 05 00 00 10 00 00 00 00 00 00 # nlmsghdr
			00 00 00 00 03 00 00 00 01 00 00 00 01 00 00 00 # ifinfomsg
			09 00 03 00 65 74 68 31 00 00 00 00             # IFLA_IFNAME "eth1", pad`},
		{"ip link set eth1 name fifteen-bytes-x", setLink(0x01020304, "fifteen-bytes-x", 0, 0), `
			34 00 00 00 13 00 05 00 00 10 00 00 00 00 00 00 # nlmsghdr: 52
			00 00 00 00 04 03 02 01 00 00 00 00 00 00 00 00 # ifinfomsg
			14 00 03 00 66 69 66 74 65 65 6e 2d 62 79 74 65 73 2d 78 00 # IFLA_IFNAME, no pad`},
	} {
		got := sent(t, func(nl *rtnl) error { return nl.execute([]nlMessage{c.request}) })
		if want := golden(t, c.want); !bytes.Equal(got, want) {
			t.Errorf("%s: sent\n% x, want\n% x", c.command, got, want)
		}
	}
}

// swapSteps exchange eth0 (index 5) and eth1 (index 6).
var swapSteps = []step{{index: 5, from: "eth0", to: "eni0-eth1"}, {index: 6, from: "eth1", to: "eth0"}, {index: 5, from: "eni0-eth1", to: "eth1"}}

// ip link set eth0 name eni0-eth1; ip link set eth1 name eth0; ip link set eni0-eth1 name eth1: as above.
func TestRenamesBytes(t *testing.T) {
	littleEndian(t)
	got := sent(t, func(nl *rtnl) error { return nl.execute(renameRequests(swapSteps)) })
	want := golden(t, `
		30 00 00 00 13 00 05 00 00 10 00 00 00 00 00 00 # nlmsghdr: 48, RTM_SETLINK, REQUEST|ACK, seq, port
		00 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 # ifinfomsg: index 5
		0e 00 03 00 65 6e 69 30 2d 65 74 68 31 00 00 00 # IFLA_IFNAME "eni0-eth1", pad
		2c 00 00 00 13 00 05 00 01 10 00 00 00 00 00 00 # nlmsghdr: 44, the next seq
		00 00 00 00 06 00 00 00 00 00 00 00 00 00 00 00 # ifinfomsg: index 6
		09 00 03 00 65 74 68 30 00 00 00 00             # IFLA_IFNAME "eth0", pad
		2c 00 00 00 13 00 05 00 02 10 00 00 00 00 00 00 # nlmsghdr
		00 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 # ifinfomsg: index 5
		09 00 03 00 65 74 68 31 00 00 00 00             # IFLA_IFNAME "eth1", pad`)
	if !bytes.Equal(got, want) {
		t.Errorf("renames() sent\n% x, want\n% x", got, want)
	}
}

// ip link set eth0 down; ... name eni0-eth1; ip link set eth1 down; ... name eth0; ... up; ... name eth1; ... up
func TestBouncesBytes(t *testing.T) {
	littleEndian(t)
	got := sent(t, func(nl *rtnl) error {
		return nl.execute(downUpRequests(nil, swapSteps, map[int32]bool{5: true, 6: true}, nil))
	})
	want := golden(t, `
		20 00 00 00 13 00 05 00 00 10 00 00 00 00 00 00 # nlmsghdr: 32, RTM_SETLINK, REQUEST|ACK, seq, port
		00 00 00 00 05 00 00 00 00 00 00 00 01 00 00 00 # ifinfomsg: index 5, flags 0, change IFF_UP
		30 00 00 00 13 00 05 00 01 10 00 00 00 00 00 00 # nlmsghdr
		00 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 # ifinfomsg: index 5, stays down
		0e 00 03 00 65 6e 69 30 2d 65 74 68 31 00 00 00 # IFLA_IFNAME "eni0-eth1", pad
		20 00 00 00 13 00 05 00 02 10 00 00 00 00 00 00 # nlmsghdr
		00 00 00 00 06 00 00 00 00 00 00 00 01 00 00 00 # ifinfomsg: index 6, flags 0, change IFF_UP
		2c 00 00 00 13 00 05 00 03 10 00 00 00 00 00 00 # nlmsghdr
		00 00 00 00 06 00 00 00 00 00 00 00 00 00 00 00 # ifinfomsg: index 6
		09 00 03 00 65 74 68 30 00 00 00 00             # IFLA_IFNAME "eth0", pad
		20 00 00 00 13 00 05 00 04 10 00 00 00 00 00 00 # nlmsghdr
		00 00 00 00 06 00 00 00 01 00 00 00 01 00 00 00 # ifinfomsg: index 6, up
		2c 00 00 00 13 00 05 00 05 10 00 00 00 00 00 00 # nlmsghdr
		00 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 # ifinfomsg: index 5
		09 00 03 00 65 74 68 31 00 00 00 00             # IFLA_IFNAME "eth1", pad
		20 00 00 00 13 00 05 00 06 10 00 00 00 00 00 00 # nlmsghdr
		00 00 00 00 05 00 00 00 01 00 00 00 01 00 00 00 # ifinfomsg: index 5, up`)
	if !bytes.Equal(got, want) {
		t.Errorf("downUpRequests() sent\n% x, want\n% x", got, want)
	}
}

// What a link has lost comes when it is up again, and what several have lost when all are.
func TestDownUpRequests(t *testing.T) {
	links := []link{{index: 5, name: "eth0", up: true}, {index: 6, name: "eth1", up: true}, {index: 7, name: "eth0.1", kind: "vlan", lower: 5, up: true},
		{index: 8, name: "eth0.2", kind: "vlan", lower: 5}, {index: 9, name: "eth2", up: true}}
	object := func(typ uint16, on ...int32) *netObject {
		return &netObject{requests: []nlMessage{{typ: typ}}, links: on}
	}
	of5, of6, ofVLAN, ofBoth, group := object(105, 5), object(106, 6), object(107, 7), object(156, 5, 6), object(200, anyLink)
	of6.requests = append(of6.requests, nlMessage{typ: 1106})
	all := []*netObject{of5, of6, ofVLAN, ofBoth, group}
	down := func(index int32) nlMessage { return setLink(index, "", 0, unix.IFF_UP) }
	up := func(index int32) nlMessage { return setLink(index, "", unix.IFF_UP, unix.IFF_UP) }
	name := func(index int32, name string) nlMessage { return setLink(index, name, 0, 0) }
	for _, c := range []struct {
		world string
		up    map[int32]bool
		want  []nlMessage
	}{
		{"both down", nil, renameRequests(swapSteps)},
		{"eth1 up, eth0 down", map[int32]bool{6: true}, []nlMessage{name(5, "eni0-eth1"),
			down(6), name(6, "eth0"), up(6), of5.requests[0], of6.requests[0], of6.requests[1], ofVLAN.requests[0], ofBoth.requests[0], group.requests[0], name(5, "eth1")}},
		{"eth0 up, eth1 down", map[int32]bool{5: true}, []nlMessage{down(5), name(5, "eni0-eth1"), name(6, "eth0"),
			name(5, "eth1"), up(5), down(8), of5.requests[0], of6.requests[0], of6.requests[1], ofVLAN.requests[0], ofBoth.requests[0], group.requests[0]}},
		{"both up", map[int32]bool{5: true, 6: true}, []nlMessage{down(5), name(5, "eni0-eth1"),
			down(6), name(6, "eth0"), up(6), of6.requests[0], of6.requests[1], name(5, "eth1"), up(5), down(8), of5.requests[0], ofVLAN.requests[0], ofBoth.requests[0], group.requests[0]}},
		{"another link up", map[int32]bool{7: true}, renameRequests(swapSteps)},
	} {
		if got := downUpRequests(links, swapSteps, c.up, all); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: downUpRequests() = %v, want %v", c.world, got, c.want)
		}
	}
}

// After a route was created again, those that were behind it come behind it again.
func TestTwinRequests(t *testing.T) {
	route := func(twins string, n byte) *netObject {
		return &netObject{twins: twins, requests: []nlMessage{{typ: unix.RTM_NEWROUTE, flags: unix.NLM_F_CREATE, body: []byte{n}}}}
	}
	a1, b1, a2, none, a3, b2 := route("a", 1), route("b", 2), route("a", 3), route("", 4), route("a", 5), route("b", 6)
	deadHop := route("a", 7)
	deadHop.partial = true // the kernel would remove it, and not create all of it again
	all := []*netObject{a1, b1, a2, deadHop, none, a3, b2, none}
	remove := func(o *netObject) nlMessage { return nlMessage{typ: unix.RTM_DELROUTE, body: o.requests[0].body} }
	for _, c := range []struct {
		world string
		lost  []*netObject
		want  []nlMessage
	}{
		{"nothing is lost", nil, nil},
		{"one without a twin", []*netObject{none}, nil},
		{"the first of three", []*netObject{a1}, []nlMessage{remove(a2), a2.requests[0], remove(a3), a3.requests[0]}},
		{"the last of two", []*netObject{b2}, []nlMessage{remove(b2), b2.requests[0]}},
	} {
		if got := twinRequests(all, c.lost); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: twinRequests() = %v, want %v", c.world, got, c.want)
		}
	}
}

// The headers are those of strace on iproute2's dumps, but for ip's habit to say the table in an
// RTA_TABLE and to send 120 bytes of nothing after.
func TestDumpRequestBytes(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		command string
		ask     func(*rtnl) error
		want    string
	}{
		{"ip link show", func(nl *rtnl) error { _, err := nl.links(); return err }, `
			28 00 00 00 12 00 01 03 00 10 00 00 00 00 00 00 # nlmsghdr: 40, RTM_GETLINK, REQUEST|DUMP, seq, port
			00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 # ifinfomsg
			08 00 1d 00 08 00 00 00                         # IFLA_EXT_MASK RTEXT_FILTER_SKIP_STATS`},
		{"ip route show", func(nl *rtnl) error { _, err := nl.defaultRoutes(); return err }, `
			1c 00 00 00 1a 00 01 03 00 10 00 00 00 00 00 00 # nlmsghdr: 28, RTM_GETROUTE
			02 00 00 00 fe 00 00 00 00 00 00 00             # rtmsg: AF_INET, dst_len, src_len, tos, RT_TABLE_MAIN`},
		{"ip nexthop show", func(nl *rtnl) error { _, err := nl.nextHop(7); return err }, `
			18 00 00 00 6a 00 01 03 00 10 00 00 00 00 00 00 # nlmsghdr: 24, RTM_GETNEXTHOP
			00 00 00 00 00 00 00 00                         # nhmsg`},
		{"ip addr show", func(nl *rtnl) error { _, err := nl.addresses(); return err }, `
			18 00 00 00 16 00 01 03 00 10 00 00 00 00 00 00 # nlmsghdr: 24, RTM_GETADDR
			00 00 00 00 00 00 00 00                         # ifaddrmsg: AF_UNSPEC`},
		{"ip -4 addr show", func(nl *rtnl) error { _, err := snapshotOf(nl, nil, nil); return err }, `
			18 00 00 00 16 00 01 03 00 10 00 00 00 00 00 00 # nlmsghdr: 24, RTM_GETADDR
			02 00 00 00 00 00 00 00                         # ifaddrmsg: AF_INET`},
		{"ip neigh show proxy", func(nl *rtnl) error { _, err := nl.dump(unix.RTM_GETNEIGH, proxyRequest()); return err }, `
			1c 00 00 00 1e 00 01 03 00 10 00 00 00 00 00 00 # nlmsghdr: 28, RTM_GETNEIGH
			00 00 00 00 00 00 00 00 00 00 08 00             # ndmsg: NTF_PROXY`},
		{"ip rule show", func(nl *rtnl) error { _, err := nl.rules(); return err }, `
			1c 00 00 00 22 00 01 03 00 10 00 00 00 00 00 00 # nlmsghdr: 28, RTM_GETRULE
			00 00 00 00 00 00 00 00 00 00 00 00             # fib_rule_hdr: AF_UNSPEC`},
	} {
		if got, want := sent(t, c.ask), golden(t, c.want); !bytes.Equal(got, want) {
			t.Errorf("%s: sent\n% x, want\n% x", c.command, got, want)
		}
	}
}

// twoMessages is a datagram: the end of a dump (empty), and an acknowledgement without its padding.
const twoMessages = `
	14 00 00 00 03 00 02 00 01 00 00 00 00 00 00 00 # nlmsghdr: 20, NLMSG_DONE, MULTI, seq 1, port
	00 00 00 00                                     # errno 0
	15 00 00 00 02 00 00 01 23 00 00 00 00 00 00 00 # nlmsghdr: 21, NLMSG_ERROR, CAPPED, seq 35, port
	00 00 00 00 ff                                  # errno 0, a byte too many`

func TestParseMessages(t *testing.T) {
	littleEndian(t)
	b := golden(t, twoMessages)
	got, err := parseMessages(b)
	want := []nlMessage{
		{unix.NLMSG_DONE, unix.NLM_F_MULTI, 1, []byte{0, 0, 0, 0}},
		{unix.NLMSG_ERROR, unix.NLM_F_CAPPED, 35, []byte{0, 0, 0, 0, 0xff}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseMessages() = %v, %v, want %v", got, err, want)
	}
	for n := range b {
		got, err := parseMessages(b[:n])
		if whole := n == 0 || n == 20; whole != (err == nil) || len(got) > 1 {
			t.Errorf("parseMessages(the first %d bytes) = %v, %v", n, got, err)
		}
	}
	for _, short := range []byte{0, 1, 15} { // a header that says it is shorter than a header
		b[0] = short
		if got, err := parseMessages(b); !errors.Is(err, errShort) {
			t.Errorf("parseMessages(length %d) = %v, %v, want %v", short, got, err, errShort)
		}
	}
}

func TestEachAttr(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		world, text string
		want        string // type=value of each
		err         error
	}{
		{"nothing", ``, "", nil},
		{"an empty value", `04 00 07 00`, "7=", nil},
		{"padding between two", `05 00 01 00 aa 00 00 00 04 00 02 00`, "1=aa 2=", nil},
		{"no padding after the last", `05 00 01 00 aa`, "1=aa", nil},
		{"flags in the type", `04 00 01 80 04 00 02 40 04 00 03 c0`, "1= 2= 3=", nil},
		{"three bytes", `04 00 01`, "", errShort},
		{"longer than what there is", `06 00 01 00 aa`, "", errShort},
		{"shorter than its header", `03 00 01 00`, "", errShort},
		{"a length of nothing, which would go on for ever", `00 00 01 00`, "", errShort},
		{"the second is cut short", `04 00 01 00 08 00 02 00 aa`, "1=", errShort},
	} {
		var got []string
		err := eachAttr(golden(t, c.text), func(typ uint16, value []byte) error {
			got = append(got, fmt.Sprintf("%d=%x", typ, value))
			return nil
		})
		if s := strings.Join(got, " "); s != c.want || err != c.err {
			t.Errorf("%s: eachAttr() = %q, %v, want %q, %v", c.world, s, err, c.want, c.err)
		}
	}
	stop := errors.New("enough")
	if err := eachAttr(golden(t, `04 00 01 00 00`), func(uint16, []byte) error { return stop }); err != stop {
		t.Errorf("eachAttr() = %v, want %v", err, stop)
	}
}

// What the kernel said to these requests, with and without NETLINK_CAP_ACK on the socket.
var verdicts = []struct {
	command, text, want string
}{
	{"ip link set eth1 down", `
		24 00 00 00 02 00 00 01 23 00 00 00 00 00 00 00 # nlmsghdr: 36, NLMSG_ERROR, CAPPED, seq, port
		00 00 00 00                                     # errno 0
		20 00 00 00 13 00 05 00 23 00 00 00 00 00 00 00 # nlmsghdr of the request`, ""},
	{"ip link set index 99 name eth9", `
		24 00 00 00 02 00 00 01 24 00 00 00 00 00 00 00 # nlmsghdr: 36, NLMSG_ERROR, CAPPED, seq, port
		ed ff ff ff                                     # errno -ENODEV
		2c 00 00 00 13 00 05 00 24 00 00 00 00 00 00 00 # nlmsghdr of the request`, "no such device"},
	{"ip route add default via 198.51.100.1 dev eth1", `
		44 00 00 00 02 00 00 03 22 00 00 00 00 00 00 00 # nlmsghdr: 68, NLMSG_ERROR, CAPPED|ACK_TLVS, seq, port
		9b ff ff ff                                     # errno -ENETUNREACH
		2c 00 00 00 18 00 05 04 22 00 00 00 00 00 00 00 # nlmsghdr of the request
		20 00 01 00 4e 65 78 74 68 6f 70 20 68 61 73 20 # NLMSGERR_ATTR_MSG
		69 6e 76 61 6c 69 64 20 67 61 74 65 77 61 79 00`, "network is unreachable (Nexthop has invalid gateway)"},
	{"the same, not capped", `
		60 00 00 00 02 00 00 02 01 00 00 00 00 00 00 00 # nlmsghdr: 96, NLMSG_ERROR, ACK_TLVS, seq, port
		9b ff ff ff                                     # errno -ENETUNREACH
		2c 00 00 00 18 00 05 04 01 00 00 00 00 00 00 00 # nlmsghdr of the request: 44
		02 00 00 00 fe 04 00 01 00 00 00 00             # rtmsg
		08 00 05 00 c6 33 64 01                         # RTA_GATEWAY
		08 00 04 00 06 00 00 00                         # RTA_OIF
		20 00 01 00 4e 65 78 74 68 6f 70 20 68 61 73 20 # NLMSGERR_ATTR_MSG
		69 6e 76 61 6c 69 64 20 67 61 74 65 77 61 79 00`, "network is unreachable (Nexthop has invalid gateway)"},
	{"a dump of table 99, which does not exist", `
		38 00 00 00 03 00 22 02 03 00 00 00 00 00 00 00 # nlmsghdr: 56, NLMSG_DONE, MULTI|DUMP_FILTERED|ACK_TLVS
		fe ff ff ff                                     # errno -ENOENT
		23 00 01 00 69 70 76 34 3a 20 46 49 42 20 74 61 # NLMSGERR_ATTR_MSG
		62 6c 65 20 64 6f 65 73 20 6e 6f 74 20 65 78 69
		73 74 00 00`, "no such file or directory (ipv4: FIB table does not exist)"},
	{"a dump", `
		14 00 00 00 03 00 02 00 01 00 00 00 00 00 00 00 # nlmsghdr: 20, NLMSG_DONE, MULTI, seq, port
		00 00 00 00                                     # errno 0`, ""},
	{"a dump by a kernel that puts no errno into NLMSG_DONE", `
		10 00 00 00 03 00 02 00 01 00 00 00 00 00 00 00 # nlmsghdr: 16, NLMSG_DONE, MULTI, seq, port`, ""},
	{"an NLMSG_ERROR with no errno", `
		12 00 00 00 02 00 00 00 01 00 00 00 00 00 00 00 # nlmsghdr: 18, NLMSG_ERROR
		00 00                                           # half of it`, "netlink: message cut short"},
}

func TestParseAck(t *testing.T) {
	littleEndian(t)
	for _, c := range verdicts {
		all, err := parseMessages(golden(t, c.text))
		if err != nil || len(all) != 1 {
			t.Fatal(c.command, all, err)
		}
		got := ""
		if err := parseAck(all[0], "RTM_NEWROUTE"); err != nil {
			got = err.Error()
		}
		want := c.want
		if want != "" && want != errShort.Error() {
			want = "RTM_NEWROUTE: " + want
		}
		if got != want {
			t.Errorf("%s: parseAck() = %q, want %q", c.command, got, want)
		}
		for n := range all[0].body { // whatever is cut off, an errno that is there counts
			m := all[0]
			m.body = m.body[:n]
			if err := parseAck(m, "RTM_SETLINK"); n >= 4 && (err == nil) != (c.want == "") {
				t.Errorf("%s: parseAck(%d bytes) = %v, want %s", c.command, n, err, c.want)
			}
		}
	}
}

// A kernel's verdict is to be told from a failure of the socket, and asked for its errno.
func TestKernelErrorIs(t *testing.T) {
	err := fmt.Errorf("rename: %w", kernelError{"RTM_SETLINK", unix.EBUSY, "device is up"})
	if !errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM) {
		t.Errorf("errors.Is(%v, EBUSY) = false, want true", err)
	}
	if _, ok := errors.AsType[*os.SyscallError](err); ok {
		t.Errorf("%v is a failure of the socket, want the kernel's verdict", err)
	}
}

func TestParseLink(t *testing.T) {
	littleEndian(t)
	bodies := kernelSent(t)
	for name, want := range map[string]link{
		"link-virtio": {index: 4, ipv6Ready: true, name: "eth0", addr: hwaddr{2, 0xfc, 0, 0, 0, 1}, perm: hwaddr{2, 0xfc, 0, 0, 0, 1}, ethernet: true, up: true, carrier: true},
		"link-veth": {index: 6, ipv6Ready: true, name: "eth1", addr: hwaddr{10, 0xff, 0, 0, 0, 1}, kind: "veth", lower: 3,
			altnames: []string{"enp0s5", "primary-eni"}, ethernet: true, up: true, carrier: true},
		"link-macvlan": {index: 9, name: "mv0", addr: hwaddr{10, 0xff, 0, 0, 0, 9}, kind: "macvlan", lower: 5, ethernet: true},
		// Its IFLA_LINK is an index of another network namespace.
		"link-macvlan-netns": {index: 21, name: "mv1", addr: hwaddr{2, 0, 0, 0, 0, 10}, kind: "macvlan", ethernet: true},
		"link-lo":            {index: 1, ipv6Ready: true, name: "lo", up: true, carrier: true},
	} {
		if got, err := parseLink(bodies[name]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parseLink(%s) = %+v, %v, want %+v", name, got, err, want)
		}
	}
}

// What IPv6 says of a link, as of the kernel's link-virtio.
func TestParseLinkIPv6(t *testing.T) {
	littleEndian(t)
	body := kernelSent(t)["link-virtio"]
	mtu := appendUint32(nil, unix.IFLA_MTU, 1400)
	at := bytes.Index(body, mtu)
	if at < 0 {
		t.Fatal("link-virtio has no IFLA_MTU of 1400")
	}
	jumbo := slices.Concat(body[:at], appendUint32(nil, unix.IFLA_MTU, 9001), body[at+len(mtu):])
	without := slices.Concat(body[:unix.SizeofIfInfomsg], mtu)
	array := binary.NativeEndian.AppendUint32(make([]byte, 8), 1400)
	conf := appendAttr(nil, unix.IFLA_INET6_CONF, append(array, make([]byte, 8)...))
	byRouter := appendUint32(conf, unix.IFLA_INET6_RA_MTU, 1400)
	advertised := slices.Concat(body[:unix.SizeofIfInfomsg], appendUint32(nil, unix.IFLA_MTU, 9001),
		appendAttr(nil, unix.IFLA_AF_SPEC, appendAttr(nil, unix.AF_INET6, byRouter)))
	for _, c := range []struct {
		body []byte
		mtu  uint32
		up   bool
	}{{body, 0, true}, {jumbo, 1400, true}, {without, 0, false}, {advertised, 0, false}} {
		if l, err := parseLink(c.body); err != nil || l.ipv6MTU != c.mtu || l.ipv6Ready != c.up {
			t.Errorf("parseLink() = IPv6 MTU %d, ready %v, %v, want %d, %v", l.ipv6MTU, l.ipv6Ready, err, c.mtu, c.up)
		}
	}
}

// The attributes have the form of those of link-virtio in testdata/kernel.txt.
func TestParseLinkPath(t *testing.T) {
	littleEndian(t)
	const head = `00 00 01 00 02 00 00 00 43 10 01 00 00 00 00 00 # ifinfomsg: ARPHRD_ETHER, index 2
		09 00 03 00 65 74 68 30 00 00 00 00 # IFLA_IFNAME "eth0"
		`
	for _, c := range []struct{ text, want string }{
		{`11 00 38 00 30 30 30 30 3a 30 30 3a 30 35 2e 30 00 00 00 00 # IFLA_PARENT_DEV_NAME "0000:00:05.0"
		08 00 39 00 70 63 69 00 # IFLA_PARENT_DEV_BUS_NAME "pci"`, "pci-0000:00:05.0"},
		{`08 00 39 00 78 65 6e 00 # "xen", before the name
		0a 00 38 00 76 69 66 2d 30 00 00 00 # "vif-0"`, "xen-vif-0"},
		{`0c 00 38 00 76 69 72 74 69 6f 32 00 # "virtio2"
		0b 00 39 00 76 69 72 74 69 6f 00 00 # "virtio"`, ""},
		{`08 00 39 00 70 63 69 00 # no name`, ""},
		{`11 00 38 00 30 30 30 30 3a 30 30 3a 30 35 2e 30 00 00 00 00 # no bus`, ""},
		{``, ""},
	} {
		if l, err := parseLink(golden(t, head+c.text)); err != nil || l.path != c.want || l.name != "eth0" {
			t.Errorf("parseLink(%s) = %+v, %v, want the path %q", c.text, l, err, c.want)
		}
	}
}

func TestParseRoute(t *testing.T) {
	littleEndian(t)
	bodies := kernelSent(t)
	single := func(metric uint32, h hop) route { return route{metric: metric, hops: []hop{h}} }
	eth1 := hop{index: 6, via: netip.MustParseAddr("10.0.1.1")}
	for name, want := range map[string]routeEntry{
		"route-single":         {route: single(512, hop{index: 5, via: netip.MustParseAddr("10.0.2.1")}), isDefault: true},
		"route-onlink":         {route: single(513, hop{index: 6, via: netip.MustParseAddr("203.0.113.1")}), isDefault: true},
		"route-via-inet6":      {route: single(90, hop{index: 6, via: netip.MustParseAddr("fe80::1")}), isDefault: true},
		"route-table":          {route: single(0, eth1), table: 300},
		"route-net":            {route: single(7, eth1)},
		"route-unreachable":    {route: route{metric: 4278198272, rejects: "unreachable"}, isDefault: true},
		"route-connected":      {route: single(0, hop{index: 6})},
		"route-cloned":         {route: single(0, hop{index: 5, via: netip.MustParseAddr("10.0.2.1")})},
		"route-nhid":           {route: single(50, eth1), isDefault: true, nextHop: 7},
		"route-nhid-group":     {route: route{metric: 51, hops: []hop{eth1, {index: 5, via: netip.MustParseAddr("10.0.2.1")}}}, isDefault: true, nextHop: 9},
		"route-nhid-alone":     {route: route{metric: 50}, isDefault: true, nextHop: 7},
		"route-multipath-dead": {route: route{metric: 30, hops: []hop{eth1, {index: 5, via: netip.MustParseAddr("10.0.2.1"), dead: true}}}, isDefault: true},
		"route-blackhole":      {route: route{metric: 9, rejects: "blackhole"}, isDefault: true},
		"route6-prohibit":      {route: route{ipv6: true, metric: 99, rejects: "prohibit"}, isDefault: true},
		"route6-pref":          {route: route{ipv6: true, metric: 77, pref: 1, hops: []hop{{index: 6}}}, isDefault: true},
		"route6-expires":       {route: route{ipv6: true, metric: 1024, hops: []hop{{index: 6, via: netip.MustParseAddr("fd00:1::1")}}}, isDefault: true},
		"route6-net":           {route: route{ipv6: true, metric: 5, hops: []hop{{index: 6, via: netip.MustParseAddr("fd00:1::1")}}}},
		"route6-nhid":          {route: route{ipv6: true, metric: 60, hops: []hop{{index: 6, via: netip.MustParseAddr("fd00:1::1")}}}, isDefault: true, nextHop: 12},
		"route6-multipath":     {route: route{ipv6: true, metric: 8, hops: []hop{{index: 6, via: netip.MustParseAddr("fd00:1::1")}, {index: 6, via: netip.MustParseAddr("fd00:1::2")}}}},
	} {
		if want.table == 0 {
			want.table = unix.RT_TABLE_MAIN
		}
		if got, err := parseRoute(bodies[name]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parseRoute(%s) = %+v, %v, want %+v", name, got, err, want)
		}
	}
}

// What is no default route of the main table, one field away from one that is.
func TestParseRouteIsDefault(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		world  string
		at     int
		value  byte
		want   bool
		reason string
	}{
		{"as the kernel sent it", 0, unix.AF_INET, true, ""},
		{"IPv6", 0, unix.AF_INET6, true, ""},
		{"a destination", 1, 8, false, ""},
		{"a source", 2, 8, false, ""},
		{"a type of service", 3, 0x10, false, ""},
		{"another protocol", 5, unix.RTPROT_STATIC, true, ""},
		{"link scope", 6, unix.RT_SCOPE_LINK, true, ""},
		{"blackhole", 7, unix.RTN_BLACKHOLE, true, ""},
		{"unreachable", 7, unix.RTN_UNREACHABLE, true, ""},
		{"prohibit", 7, unix.RTN_PROHIBIT, true, ""},
		{"throw", 7, unix.RTN_THROW, true, ""},
		{"local", 7, unix.RTN_LOCAL, false, ""},
		{"a dead gateway", 8, unix.RTNH_F_DEAD, true, ""},
		{"cloned", 9, unix.RTM_F_CLONED >> 8, false, ""},
		{"RTA_TABLE is another", 16, 100, false, ""},
	} {
		body := kernelSent(t)["route-single"]
		body[c.at] = c.value
		if got, err := parseRoute(body); err != nil || got.isDefault != c.want {
			t.Errorf("%s: parseRoute() = %+v, %v, want isDefault %v", c.world, got, err, c.want)
		}
	}
	short := kernelSent(t)["route-single"][:12] // before RTA_TABLE: Linux 2.6.18
	if got, err := parseRoute(short); err != nil || !got.isDefault {
		t.Errorf("parseRoute(no attributes) = %+v, %v, want a default route", got, err)
	}
}

func TestParseRouteDead(t *testing.T) {
	littleEndian(t)
	body := kernelSent(t)["route-single"]
	body[8] = unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN
	got, err := parseRoute(body)
	if err != nil || !got.hops[0].dead || got.liveLinks() != nil {
		t.Errorf("parseRoute(dead) = %+v, %v, want no live hop", got, err)
	}
}

func TestParseHopsErrors(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct{ world, text string }{
		{"seven bytes", `08 00 00 00 06 00 00`},
		{"longer than what there is", `10 00 00 00 06 00 00 00 08 00 05 00`},
		{"shorter than its header", `07 00 00 00 06 00 00 00`},
		{"no length, which would go on for ever", `00 00 00 00 06 00 00 00`},
		{"an attribute cut short", `0c 00 00 00 06 00 00 00 08 00 05 00`},
	} {
		if got, err := parseHops(golden(t, c.text)); err != errShort {
			t.Errorf("%s: parseHops() = %v, %v, want %v", c.world, got, err, errShort)
		}
	}
}

func TestParseNextHop(t *testing.T) {
	littleEndian(t)
	bodies := kernelSent(t)
	for name, want := range map[string]nextHop{
		"nexthop-single":    {id: 7, hop: hop{index: 6, via: netip.MustParseAddr("10.0.1.1")}},
		"nexthop-onlink":    {id: 8, hop: hop{index: 5, via: netip.MustParseAddr("10.0.2.1")}},
		"nexthop-group":     {id: 9, group: []uint32{7, 8}},
		"nexthop-blackhole": {id: 10},
		"nexthop-ipv6":      {id: 12, hop: hop{index: 6, via: netip.MustParseAddr("fd00:1::1")}},
	} {
		if got, err := parseNextHop(bodies[name]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parseNextHop(%s) = %+v, %v, want %+v", name, got, err, want)
		}
	}
}

// parsers are those of what the kernel sends, by the first word of the names in testdata/kernel.txt.
var parsers = map[string][]func([]byte) error{
	"link":      {dropping(parseLink)},
	"route":     {dropping(parseRoute), dropping(routeObject)},
	"route6":    {dropping(parseRoute), dropping(routeObject)},
	"nexthop":   {dropping(parseNextHop), dropping(nextHopObject)},
	"address6":  {dropping(addressObject)},
	"neighbour": {dropping(neighbourObject)}, "neighbour6": {dropping(neighbourObject)},
	"rule": {dropping(parseRule)}, "rule6": {dropping(parseRule)},
}

func dropping[T any](parse func([]byte) (T, error)) func([]byte) error {
	return func(b []byte) error { _, err := parse(b); return err }
}

// Cut anywhere a message is an error or a shorter message, and each of its bytes may be anything.
func TestParseTruncated(t *testing.T) {
	for name, body := range kernelSent(t) {
		first, _, _ := strings.Cut(name, "-")
		if len(parsers[first]) == 0 {
			t.Errorf("%s: nobody parses it", name)
		}
		for _, parse := range parsers[first] {
			if err := parse(body); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for n := range len(body) {
				if err := parse(slices.Clip(body[:n])); err != nil && err != errShort {
					t.Errorf("%s, the first %d bytes: %v, want %v", name, n, err, errShort)
				}
				for _, b := range []byte{0, 1, 3, 0x7f, 0xff} {
					changed := slices.Clone(body)
					changed[n] = b
					_ = parse(changed) // has only not to panic
				}
			}
		}
	}
}

func TestParseNothing(t *testing.T) {
	for first, all := range parsers {
		for _, parse := range all {
			if err := parse(nil); err != errShort {
				t.Errorf("%s: parse(nil) = %v, want %v", first, err, errShort)
			}
		}
	}
}

// The zero Addr prints as "invalid IP", which is not for people: what the kernel has of an object whose
// address is missing, or of no length that an address has, is described without.
func TestNoInvalidIP(t *testing.T) {
	for _, n := range []int{-1, 0, 3, 5, 15, 17} {
		attr := func(body []byte, types ...uint16) []byte {
			for _, typ := range types {
				if n >= 0 {
					body = appendAttr(body, typ, make([]byte, n))
				}
			}
			return body
		}
		var said []string
		for parse, body := range map[*func([]byte) (netObject, error)][]byte{
			ptr(addressObject):   attr([]byte{unix.AF_INET, 24, 0, 0, 2, 0, 0, 0}, unix.IFA_LOCAL, unix.IFA_ADDRESS),
			ptr(neighbourObject): attr([]byte{unix.AF_INET, 0, 0, 0, 2, 0, 0, 0, unix.NUD_PERMANENT, 0, 0, 0}, unix.NDA_DST),
			ptr(routeObject):     attr([]byte{unix.AF_INET, 24, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, 0, unix.RTN_UNICAST, 0, 0, 0, 0}, unix.RTA_DST, unix.RTA_GATEWAY),
			ptr(nextHopObject):   attr([]byte{unix.AF_INET, 0, 0, 0, 0, 0, 0, 0}, unix.NHA_GATEWAY),
		} {
			i, err := (*parse)(body)
			if err != nil || i.description == "" {
				t.Errorf("%d bytes: %+v, %v, want an item with words", n, i, err)
			}
			said = append(said, i.description)
		}
		r, err := parseRoute(attr(appendUint32([]byte{unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_UNICAST, 0, 0, 0, 0}, unix.RTA_OIF, 2), unix.RTA_GATEWAY))
		if err != nil {
			t.Error(err)
		}
		w := world{links: []link{{index: 2, name: "eth0", ethernet: true}}, routes: []route{r.route}}
		said = append(said, report{world: w}.table(), report{world: w}.json())
		if all := strings.Join(said, "\n"); strings.Contains(all, "invalid") || !strings.Contains(all, "metric 0") {
			t.Errorf("%d bytes: %s\nwant no invalid address in it", n, all)
		}
	}
}

// ptr makes a key of a map of what can't be one.
func ptr[T any](v T) *T { return &v }

// inNamespace runs the calling test again in a network namespace of its own that has nothing but
// lo, and reports whether this is there.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("ENI0_INSIDE") == "" {
		runInside(t)
		return false
	}
	return true
}

func dial(t *testing.T) *rtnl {
	t.Helper()
	nl, err := dialRtnl()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nl.close)
	return nl
}

// In the first moments of an initramfs lo is down, and IPv4 has no table yet.
func TestRtnlNothingConfigured(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	nl := dial(t)
	links, err := nl.links()
	if want := []link{{index: 1, name: "lo"}}; err != nil || !reflect.DeepEqual(links, want) {
		t.Errorf("links() = %v, %v, want %v", links, err, want)
	}
	if routes, err := nl.defaultRoutes(); err != nil || len(routes) != 0 {
		t.Errorf("defaultRoutes() = %v, %v, want none", routes, err)
	}
	if addresses, err := nl.addresses(); err != nil || len(addresses) != 0 {
		t.Errorf("addresses() = %v, %v, want none", addresses, err)
	}
	if items, err := snapshotOf(nl, links, map[int32]bool{1: true}); err != nil || len(items) != 0 {
		t.Errorf("belongings() = %v, %v, want none", items, err)
	}
	if _, err := nl.rules(); err != nil {
		t.Errorf("rules() = %v, want no error", err)
	}
}

// The errno is inside NLMSG_DONE, and the kernel's words too.
func TestRtnlDumpError(t *testing.T) {
	nl := dial(t)
	request := familyRequest(unix.SizeofRtMsg, unix.AF_INET)
	request[4] = 99
	got, err := nl.dump(unix.RTM_GETROUTE, request)
	if len(got) > 0 {
		t.Skip("before Linux 4.20 the table is not looked at; or there is one")
	}
	if !errors.Is(err, unix.ENOENT) || got != nil {
		t.Fatalf("dump(table 99) = %d objects, %v, want %v", len(got), err, unix.ENOENT)
	}
	if want := "RTM_GETROUTE: no such file or directory (ipv4: FIB table does not exist)"; err.Error() != want {
		t.Errorf("dump(table 99) = %v, want %s", err, want)
	}
	if _, err := nl.links(); err != nil {
		t.Errorf("links() after that: %v", err)
	}
}

// A datagram that is larger than the buffer is asked for again, with more room.
func TestRtnlDatagramTruncated(t *testing.T) {
	nl := dial(t)
	want, err := nl.links()
	if err != nil {
		t.Fatal(err)
	}
	nl.buf = make([]byte, 100)
	links, err := nl.links()
	if err != nil || fmt.Sprint(links) != fmt.Sprint(want) || len(nl.buf) <= 100 {
		t.Errorf("links() = %v, %v with a buffer of now %d bytes, want %v", links, err, len(nl.buf), want)
	}
}

func TestRtnlRefused(t *testing.T) {
	nl := dial(t)
	verdicts, err := nl.send([]nlMessage{setLink(0x7ffffff0, "eth0", 0, 0), setLink(0x7ffffff1, "eth1", 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range verdicts { // EPERM without the capability
		if !errors.Is(v, unix.ENODEV) && !errors.Is(v, unix.EPERM) {
			t.Errorf("send(links that are not there) = %v of request %d, want %v", v, i, unix.ENODEV)
		}
	}
	if len(verdicts) != 2 {
		t.Errorf("send(2 requests) = %d verdicts, want 2", len(verdicts))
	}
}

// Something happens between the reads of this one.
type meddled struct {
	syscall.RawConn
	reads int
	do    func(read int)
}

func (m *meddled) Read(f func(uintptr) bool) error {
	m.reads++
	m.do(m.reads)
	return m.RawConn.Read(f)
}

// manyBridges makes so many links that the first dump of a socket takes several reads.
func manyBridges(t *testing.T) (names []string) {
	t.Helper()
	for n := range 24 {
		names = append(names, fmt.Sprintf("br%d", n))
		if err := ec2.AddBridge(names[n], [6]byte{2, 0, 0, 0, 0, byte(n)}); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func TestRtnlDumpInterrupted(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	names := manyBridges(t)
	testDumpInterruptedOnce(t, names)
	testDumpInterruptedForEver(t)
	testDumpWantOfMemory(t)
}

func testDumpInterruptedOnce(t *testing.T, names []string) {
	nl := dial(t)
	conn := &meddled{RawConn: nl.raw, do: func(read int) {
		if read == 1 { // the kernel has prepared what this reads, and no more
			if err := ec2.AddBridge("late", [6]byte{2, 1}); err != nil {
				t.Fatal(err)
			}
		}
	}}
	nl.raw = conn
	links, err := nl.links()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range links {
		got = append(got, l.name)
	}
	want := append([]string{"lo"}, append(names, "late")...)
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("links() = %v, want %v", got, want)
	}
	if nl.seq != 2 {
		t.Errorf("links() took %d dumps (%d reads), want 2: the first was interrupted", nl.seq, conn.reads)
	}
}

func testDumpInterruptedForEver(t *testing.T) {
	nl := dial(t)
	nl.buf = nl.buf[:8192] // or the next dump would come in one piece
	changed := uint32(0)   // the last dump in which
	nl.raw = &meddled{RawConn: nl.raw, do: func(int) {
		if changed == nl.seq {
			return
		}
		changed = nl.seq
		if err := ec2.AddBridge(fmt.Sprintf("more%d", changed), [6]byte{2, 1, byte(changed)}); err != nil {
			t.Fatal(err)
		}
	}}
	links, err := nl.links()
	if want := "RTM_GETLINK: dump interrupted 20 times"; err == nil || err.Error() != want {
		t.Errorf("links() = %d links, %v, want %s", len(links), err, want)
	}
}

// starved has no memory for the first of its reads.
type starved struct {
	syscall.RawConn
	reads int
}

func (s *starved) Read(f func(uintptr) bool) error {
	if s.reads++; s.reads == 1 {
		return os.NewSyscallError("recvfrom", unix.ENOBUFS)
	}
	return s.RawConn.Read(f)
}

// The kernel has begun a dump, which is still to be read when the next one is asked for.
func testDumpWantOfMemory(t *testing.T) {
	want, err := dial(t).links()
	if err != nil {
		t.Fatal(err)
	}
	nl := dial(t)
	nl.raw = &starved{RawConn: nl.raw}
	if got, err := nl.links(); err != nil || len(got) != len(want) {
		t.Errorf("links() = %d links, %v, want %d", len(got), err, len(want))
	}
}

// Root can send to any netlink socket, in the kernel's manner but not in its name.
func TestRtnlForged(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	nl := dial(t)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var to unix.Sockaddr
	if err := nl.raw.Control(func(fd uintptr) { to, _ = unix.Getsockname(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	for seq := range uint32(4) {
		forged := appendMessage(nil, nlMessage{typ: unix.NLMSG_ERROR, seq: seq, body: make([]byte, 20)})
		// The kernel refuses it: the socket is connected to the kernel.
		if err := unix.Sendto(fd, forged, 0, to); err != unix.ECONNREFUSED {
			t.Fatalf("sent to it: %v, want %v", err, unix.ECONNREFUSED)
		}
	}
	if links, err := nl.links(); err != nil || len(links) != 1 {
		t.Errorf("links() = %v, %v, want lo: a stranger's end of the dump counts for nothing", links, err)
	}
	verdicts, err := nl.send([]nlMessage{setLink(99, "eth9", 0, 0)})
	if err != nil || !errors.Is(verdicts[0], unix.ENODEV) {
		t.Errorf("send() = %v, %v, want %v", verdicts, err, unix.ENODEV)
	}
}

// Replies that were left over from before do not get mixed up with those to this request.
func TestRtnlStaleReplies(t *testing.T) {
	nl := dial(t)
	leave := func() {
		stale := setLink(0x7ffffff0, "eth0", 0, 0)
		stale.flags, stale.seq = unix.NLM_F_REQUEST|unix.NLM_F_ACK, 77
		if err := nl.write(appendMessage(nil, stale)); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	if links, err := nl.links(); err != nil || len(links) == 0 {
		t.Errorf("links() = %v, %v, want some", links, err)
	}
	leave()
	verdicts, err := nl.send([]nlMessage{{typ: unix.RTM_GETLINK, body: []byte("short")}})
	if err != nil || len(verdicts) != 1 || !errors.Is(verdicts[0], unix.EINVAL) {
		t.Errorf("send(a short request) = %v, %v, want %v", verdicts, err, unix.EINVAL)
	}
}

func FuzzParseMessages(f *testing.F) {
	f.Add(golden(f, twoMessages))
	for _, v := range verdicts {
		f.Add(golden(f, v.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parseMessages(b)
		if err != nil {
			return
		}
		var again []byte
		for _, m := range all {
			again = appendMessage(again, m)
			_ = parseAck(m, "RTM_SETLINK")
		}
		if got, err := parseMessages(again); err != nil || !reflect.DeepEqual(got, all) {
			t.Errorf("parseMessages(appendMessage()) = %v, %v, want %v", got, err, all)
		}
	})
}

// fuzzWith seeds f with what the kernel sent.
func fuzzWith(f *testing.F, prefixes ...string) {
	bodies := kernelSent(f)
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			f.Add(bodies[name])
		}
	}
}

func FuzzParseLink(f *testing.F) {
	fuzzWith(f, "link")
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLink(b)
		if err == nil && strings.Contains(l.name+l.kind+strings.Join(l.altnames, ""), "\x00") {
			t.Errorf("parseLink() = %q, want names without NUL", l)
		}
	})
}

func FuzzParseRoute(f *testing.F) {
	fuzzWith(f, "route")
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRoute(b)
		if err == nil && len(r.hops) > len(b)/unix.SizeofRtNexthop+1 {
			t.Errorf("parseRoute(%d bytes) = %d hops", len(b), len(r.hops))
		}
	})
}

func FuzzParseNextHop(f *testing.F) {
	fuzzWith(f, "nexthop")
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseNextHop(b)
		if err == nil && len(n.group) > len(b)/8 {
			t.Errorf("parseNextHop(%d bytes) = %d members", len(b), len(n.group))
		}
	})
}
