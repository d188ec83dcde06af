package ec2

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client is a DHCP client at eth0 that sends what it is told to, and believes only what is right.
type client struct {
	*testing.T
	*os.File
	mac  [6]byte
	xid  uint32
	kind dhcpType // of what it sent last
	not  [][]byte // frames that came and were not to be believed
}

// newClient takes eth0 up and waits there.
func newClient(t *testing.T) *client {
	t.Helper()
	must(t, SetUp("eth0", true))
	link, err := net.InterfaceByName("eth0")
	must(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	ip := uint16(unix.ETH_P_IP>>8 | unix.ETH_P_IP&0xff<<8) // packet(7): in network order
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: ip}))
	c := &client{T: t, File: os.NewFile(uintptr(fd), "client"), mac: [6]byte(link.HardwareAddr), xid: 0x3903f325}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a message with a new xid: its options are given, and what change makes of the rest.
func (c *client) ask(kind dhcpType, change func(message []byte), options ...[]byte) {
	c.Helper()
	c.xid++
	c.kind = kind
	r := reply{op: bootRequest, xid: c.xid, chaddr: c.mac, options: option(nil, optType, []byte{byte(kind)})}
	r.options = append(r.options, bytes.Join(options, nil)...)
	b := r.encode()
	if change != nil {
		change(b)
	}
	everybody := [6]byte{255, 255, 255, 255, 255, 255}
	f := frame{c.mac, everybody, netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255}), 68, 67, b}
	_, err := c.Write(f.encode())
	must(c.T, err)
}

// request asks for an address of a server.
func (c *client) request(address, server netip.Addr) {
	c.Helper()
	c.ask(dhcpRequest, nil, option(nil, optRequested, address.AsSlice()), option(nil, optServer, server.AsSlice()))
}

// A got is a reply as a client has it.
type got struct {
	dst     [6]byte
	to      netip.Addr
	yiaddr  netip.Addr
	options map[byte][]byte
}

// kind is the reply's type.
func (g got) kind() dhcpType {
	if b := g.options[optType]; len(b) == 1 {
		return dhcpType(b[0])
	}
	return 0
}

// answer waits for a reply that is right, and keeps what is not.
func (c *client) answer() got {
	c.Helper()
	must(c.T, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	b := make([]byte, 2048)
	for {
		n, err := c.Read(b)
		must(c.T, err)
		if msg, ok := c.open(b[:n]); ok {
			g := got{[6]byte(b), netip.AddrFrom4([4]byte(b[14+16:])), netip.AddrFrom4([4]byte(msg[atYiaddr:])), options(msg)}
			if c.answers(g) {
				return g
			}
		}
		c.not = append(c.not, slices.Clone(b[:n]))
	}
}

// open returns the DHCP message of a frame if all that is around it is right.
func (c *client) open(b []byte) (msg []byte, ok bool) {
	if len(b) < 14+20+8+atOptions {
		return nil, false
	}
	ip, udp, msg := b[14:34], b[34:], b[42:]
	pseudo := slices.Concat(ip[12:20], []byte{0, ip[9]}, udp[4:6], udp)
	return msg, checksum(ip) == 0 && checksum(pseudo) == 0 &&
		int(binary.BigEndian.Uint16(ip[2:])) == len(b)-14 && int(binary.BigEndian.Uint16(udp[4:])) == len(udp) &&
		binary.BigEndian.Uint16(udp[2:]) == 68 && msg[0] == bootReply &&
		binary.BigEndian.Uint32(msg[4:]) == c.xid && [6]byte(msg[atChaddr:]) == c.mac
}

// options are a message's options, nil if they are not well formed.
func options(msg []byte) map[byte][]byte {
	m := make(map[byte][]byte)
	fields := [][]byte{msg[atOptions:]}
	for n := 0; n < len(fields); n++ {
		b := fields[n]
		for len(b) > 1 && b[0] != optEnd {
			if len(b) < 2+int(b[1]) {
				return nil
			}
			m[b[0]], b = b[2:2+int(b[1])], b[2+int(b[1]):]
		}
		if n == 0 && slices.Equal(m[optOverload], []byte{3}) {
			fields = append(fields, msg[atFile:atCookie], msg[atSname:atFile])
		}
	}
	return m
}

// answers tells whether g is a reply to what was sent last, by a server that it was sent to.
func (c *client) answers(g got) bool {
	server, ok := netip.AddrFromSlice(g.options[optServer])
	if !ok || server == netip.AddrFrom4([4]byte{192, 0, 2, 1}) {
		return false
	}
	if c.kind == dhcpDiscover {
		return g.kind() == dhcpOffer
	}
	return g.kind() == dhcpAck || g.kind() == dhcpNak
}

// A lesson is a lease, and the options that a client must get with it.
type lesson struct {
	world string
	lease Lease
	want  map[byte][]byte // nil: the option is not there
}

// lessons are the leases that tests ask for, of device 1.
func lessons(i *Instance) []lesson {
	plain, noIPv4 := i.Lease(1), i.LinkLocalLease(1)
	odd, noRouter, byRouter, overload := plain, plain, noIPv4, noIPv4
	odd.Routes = []Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: odd.Router},
		{Dst: netip.MustParsePrefix("169.254.160.0/20"), Via: netip.IPv4Unspecified()}}
	noRouter.Router = netip.Addr{}
	byRouter.Routes, byRouter.Router = nil, linkLocalServer
	overload.Overload, overload.Router = true, linkLocalServer
	mask24, mask32, byServer := []byte{255, 255, 255, 0}, []byte{255, 255, 255, 255}, []byte{32, 169, 254, 169, 254, 169, 254, 0, 1}
	return []lesson{
		{"a subnet with IPv4", plain, map[byte][]byte{optMask: mask24, optBroadcast: {10, 0, 2, 255}, optRouter: {10, 0, 2, 1},
			optServer: {10, 0, 2, 1}, optLeaseTime: {0, 0, 14, 16}, optDNS: {10, 0, 0, 2}, optMTU: {35, 41},
			optHostName: []byte("ip-10-0-2-10"), optDomain: []byte("ec2.internal"), optClasslessWays: nil, optOverload: nil}},
		{"classless routes", odd, map[byte][]byte{optRouter: {10, 0, 2, 1},
			optClasslessWays: {0, 10, 0, 2, 1, 20, 169, 254, 160, 0, 0, 0, 0}}},
		{"no router", noRouter, map[byte][]byte{optMask: mask24, optRouter: nil}},
		{"a subnet without IPv4", noIPv4, map[byte][]byte{optMask: mask32, optBroadcast: {169, 254, 2, 10}, optRouter: nil,
			optServer: {169, 254, 0, 1}, optClasslessWays: byServer, optDNS: {169, 254, 169, 253}}},
		{"the same with a router", byRouter, map[byte][]byte{optMask: mask32, optRouter: {169, 254, 0, 1}, optClasslessWays: nil}},
		{"options in file and sname", overload, map[byte][]byte{optOverload: {3}, optMask: mask32, optRouter: {169, 254, 0, 1},
			optClasslessWays: byServer, optHostName: []byte("ip-169-254-2-10")}},
	}
}

func TestDHCPExchange(t *testing.T) {
	i := launch(t, 1, 0) // eth0 is device 1
	if i == nil {
		return // it ran inside
	}
	c := newClient(t)
	for _, l := range lessons(i) {
		i.DHCP(1).Give(l.lease)
		c.ask(dhcpDiscover, nil)
		l.learned(t, dhcpOffer, c.answer())
		c.request(l.lease.Addr.Addr(), l.lease.Server)
		l.learned(t, dhcpAck, c.answer())
	}
	if len(c.not) > 0 {
		t.Errorf("these came too: %x", c.not)
	}
	if got := i.DHCP(0).Messages(); got != nil {
		t.Errorf("device 0 saw %q, want nothing", got)
	}
}

// learned wants what g says to be the lesson.
func (l lesson) learned(t *testing.T, kind dhcpType, g got) {
	t.Helper()
	if g.kind() != kind || g.yiaddr != l.lease.Addr.Addr() {
		t.Errorf("%s: %s of %s, want %s of %s", l.world, g.kind(), g.yiaddr, kind, l.lease.Addr)
	}
	for code, want := range l.want {
		if got := g.options[code]; !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %s: option %d = %v, want %v", l.world, kind, code, got, want)
		}
	}
}

func TestDHCPWayBack(t *testing.T) {
	i := launch(t, 0)
	if i == nil {
		return // it ran inside
	}
	c := newClient(t)
	everybody, mine := [6]byte{255, 255, 255, 255, 255, 255}, i.Addr(0)
	broadcast := func(b []byte) { b[atFlags] = 0x80 }
	renew := func(b []byte) { copy(b[atCiaddr:], mine.AsSlice()) }
	wrong := option(nil, optRequested, []byte{10, 9, 9, 9})
	for _, test := range []struct {
		world   string
		kind    dhcpType
		change  func([]byte)
		options []byte
		want    dhcpType
		dst     [6]byte
		to      netip.Addr
	}{
		{"a client that takes unicast", dhcpDiscover, nil, nil, dhcpOffer, c.mac, mine},
		{"a client that wants broadcast", dhcpDiscover, broadcast, nil, dhcpOffer, everybody, netip.MustParseAddr("255.255.255.255")},
		{"a client with an address", dhcpRequest, renew, nil, dhcpAck, c.mac, mine},
		{"the address of another", dhcpRequest, nil, wrong, dhcpNak, everybody, netip.MustParseAddr("255.255.255.255")},
	} {
		c.ask(test.kind, test.change, test.options)
		if g := c.answer(); g.kind() != test.want || g.dst != test.dst || g.to != test.to {
			t.Errorf("%s: %s to %x, %s, want %s to %x, %s", test.world, g.kind(), g.dst, g.to, test.want, test.dst, test.to)
		}
	}
}

func TestDHCPFaults(t *testing.T) {
	i := launch(t, 0)
	if i == nil {
		return // it ran inside
	}
	c, d := newClient(t), i.DHCP(0)
	server := option(nil, optServer, i.Router(0).AsSlice())
	mine := option(nil, optRequested, i.Addr(0).AsSlice())

	d.Silent(2)
	c.ask(dhcpDiscover, nil)
	c.ask(dhcpDiscover, nil)
	c.ask(dhcpDiscover, func(b []byte) { b[atChaddr]++ })                                       // not its ENI
	c.ask(dhcpDiscover, func(b []byte) { b[atCookie]++ })                                       // BOOTP
	c.ask(dhcpRequest, nil, mine, option(nil, optServer, []byte{10, 0, 1, 2}))                  // another server
	c.ask(dhcpRequest, nil, server)                                                             // for no address
	c.ask(dhcpRequest, func(b []byte) { copy(b[atCiaddr:], "\x0a\x00\x01\x0a") }, mine, server) // has it already
	c.ask(dhcpRelease, nil, server)
	d.Refuse(1)
	c.request(i.Addr(0), i.Router(0))
	if g := c.answer(); g.kind() != dhcpNak || !g.yiaddr.IsUnspecified() {
		t.Errorf("Refuse: %s of %s, want NAK of none", g.kind(), g.yiaddr)
	}
	d.Delay(50 * time.Millisecond)
	c.request(i.Addr(0), i.Router(0))
	if g := c.answer(); g.kind() != dhcpAck {
		t.Errorf("after Refuse: %s, want ACK", g.kind())
	}
	want := []string{"DISCOVER 3903f326", "DISCOVER 3903f327", "DISCOVER 3903f328", "NOTHING 00000000", "REQUEST 3903f32a",
		"REQUEST 3903f32b", "REQUEST 3903f32c", "RELEASE 3903f32d", "REQUEST 3903f32e", "REQUEST 3903f32f"}
	if got := d.Messages(); !slices.Equal(got, want) {
		t.Errorf("Messages() = %q, want %q", got, want)
	}
	must(t, d.Serve(false)) // whose answer was on its way here before it was noted
	for n, m := range d.Seen() {
		if took := m.Answered.Sub(m.At); m.Answered.IsZero() != (n < 8) || n == 9 && took < 50*time.Millisecond {
			t.Errorf("%s: answered after %v, want the last two only, the last after 50ms", m, took)
		}
	}
}

func TestDHCPGarbage(t *testing.T) {
	i := launch(t, 0)
	if i == nil {
		return // it ran inside
	}
	c, d := newClient(t), i.DHCP(0)
	d.Garbage(true)
	d.Damage(true)
	for _, test := range []struct {
		kind    dhcpType
		send    func()
		garbage int
	}{
		{dhcpOffer, func() { c.ask(dhcpDiscover, nil) }, 18},
		{dhcpAck, func() { c.request(i.Addr(0), i.Router(0)) }, 20},
	} {
		c.not = nil
		test.send()
		if g := c.answer(); g.kind() != test.kind || g.yiaddr != i.Addr(0) || len(c.not) != test.garbage {
			t.Errorf("%s of %s behind %d garbage, want %s of %s behind %d",
				g.kind(), g.yiaddr, len(c.not), test.kind, i.Addr(0), test.garbage)
		}
		for n, frame := range c.not {
			if at := 14 + 20 + 8 + atYiaddr; len(frame) > at+4 && [4]byte(frame[at:]) != nobody.As4() {
				t.Errorf("garbage %d has the address %v, want %s", n, frame[at:at+4], nobody)
			}
			if slices.ContainsFunc(c.not[:n], func(f []byte) bool { return bytes.Equal(f, frame) }) {
				t.Errorf("garbage %d has been there before", n)
			}
		}
	}
}

func TestDHCPServe(t *testing.T) {
	i := launch(t, 0)
	if i == nil {
		return // it ran inside
	}
	c, d := newClient(t), i.DHCP(0)
	listen := func() error {
		other, err := net.ListenPacket("udp4", ":67") // without SO_REUSEADDR, to find ours
		if err == nil {
			err = other.Close()
		}
		return err
	}
	if err := i.Do(listen); err == nil {
		t.Error("the port of a server that serves is free")
	}
	must(t, d.Serve(false), i.Do(listen), d.Serve(true), d.Serve(true))
	c.ask(dhcpDiscover, nil)
	c.answer()
	if got := d.Messages(); len(got) != 1 {
		t.Errorf("Messages() = %q, want one DISCOVER", got)
	}
}

func TestPlug(t *testing.T) {
	i := launch(t, 1, 0)
	if i == nil {
		return // it ran inside
	}
	must(t, AddAddr("eth1", netip.MustParsePrefix("10.0.1.10/24")))
	before, err := net.InterfaceByName("eth1")
	must(t, err, i.Unplug(0), i.Unplug(1))
	if got := state(t); strings.Contains(got, "/0a:ff:") {
		t.Errorf("with no ENI there is\n%s", got)
	}
	if err := i.Unplug(0); err == nil {
		t.Error("Unplug of what is not there = nil, want an error")
	}
	must(t, i.Plug(0, "eth0"))
	after, err := net.InterfaceByName("eth0")
	must(t, err)
	if i.device(*after) != 0 || after.Index <= before.Index || after.Flags&net.FlagUp != 0 {
		t.Errorf("plugged in: %+v, want device 0, an index above %d, down", after, before.Index)
	}
	c := newClient(t)
	c.ask(dhcpDiscover, nil)
	if g := c.answer(); g.yiaddr != i.Addr(0) {
		t.Errorf("offered %s, want %s", g.yiaddr, i.Addr(0))
	}
	must(t, AddAddr("eth0", netip.PrefixFrom(linkLocal(0), 32)), AddRoute(Route{Dev: "eth0", Via: linkLocalServer, Onlink: true}))
	if got := ask("/latest/meta-data/mac"); got != hex(0) {
		t.Errorf("mac = %q, want %q", got, hex(0))
	}
}

func TestStart(t *testing.T) {
	i := launch(t, 0)
	if i == nil {
		return // it ran inside
	}
	cmd := exec.Command("sleep", "600")
	must(t, i.Start(cmd))
	defer cmd.Wait()
	defer cmd.Process.Kill()
	its, err := os.Stat("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/net")
	must(t, err)
	vpcs, err := i.vpc.netns.Stat()
	must(t, err)
	if !os.SameFile(its, vpcs) {
		t.Errorf("the command is in %v, want %v, the VPC", its.Sys(), vpcs.Sys())
	}
}
