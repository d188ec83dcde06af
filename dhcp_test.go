package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// dhcpFrames is the frames in testdata/dhcp.txt, by their names.
func dhcpFrames(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/dhcp.txt")
	if err != nil {
		t.Fatal(err)
	}
	whole := regexp.MustCompile(`00\*\d+`).ReplaceAllStringFunc(string(text), func(s string) string {
		n, _ := strconv.Atoi(s[len("00*"):])
		return strings.Repeat("00", n)
	})
	frames := map[string][]byte{}
	for _, section := range strings.Split(whole, "\n[")[1:] {
		name, hex, _ := strings.Cut(section, "]\n")
		frames[name] = golden(t, hex)
	}
	return frames
}

// asked is the query that the frames in testdata/dhcp.txt answer.
func asked(kind byte) dhcpQuery {
	return dhcpQuery{kind: kind, client: hwaddr{0x0a, 0xff, 0, 0, 0, 2}, xid: 0x3903f326}
}

// parseIP is 10.0.1.10; 0.0.0.0 is the zero Addr, as in a lease.
func parseIP(s string) netip.Addr {
	if a := netip.MustParseAddr(s); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

// via is a classless route: 0.0.0.0/0 via 10.0.1.1.
func via(to, router string) dhcpRoute {
	return dhcpRoute{netip.MustParsePrefix(to), parseIP(router)}
}

// fourBytes is an address on the wire; the zero Addr is 0.0.0.0.
func fourBytes(a netip.Addr) []byte {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	return a.AsSlice()
}

func TestDHCPFrame(t *testing.T) {
	frames := dhcpFrames(t)
	if got := asked(dhcpDiscover).frame(); !bytes.Equal(got, frames["discover"]) {
		t.Errorf("DISCOVER = % x, want % x", got, frames["discover"])
	}
	q := asked(dhcpRequest)
	q.offer = lease{addr: parseIP("10.0.1.10"), server: parseIP("10.0.1.1")}
	if got := q.frame(); !bytes.Equal(got, frames["request"]) {
		t.Errorf("REQUEST = % x, want % x", got, frames["request"])
	}
}

// A UDP checksum that comes to 0 is sent as all ones, because 0 says that there is none: RFC 768.
func TestDHCPFrameChecksum(t *testing.T) {
	q := asked(dhcpDiscover)
	q.seconds = binary.BigEndian.Uint16(q.frame()[atUDP+6:]) // what is missing from a sum of ffff
	if got := binary.BigEndian.Uint16(q.frame()[atUDP+6:]); got != 0xffff {
		t.Errorf("checksum %#x, want 0xffff", got)
	}
}

func TestParseFrame(t *testing.T) {
	frames := dhcpFrames(t)
	dnsmasq := lease{addr: parseIP("10.0.1.14"), server: parseIP("10.0.1.1"), bits: 24, router: parseIP("10.0.1.1"),
		life: time.Hour, routes: []dhcpRoute{via("0.0.0.0/0", "10.0.1.1"), via("169.254.169.254/32", "10.0.1.1")}}
	udhcpd := lease{addr: parseIP("10.0.1.20"), server: parseIP("10.0.1.1"), bits: 24, router: parseIP("10.0.1.1"), life: time.Hour}
	is := func(kind byte, l lease) lease { l.kind = kind; return l }
	for _, c := range []struct {
		frame string
		want  lease
	}{
		{"dnsmasq-offer", is(dhcpOffer, dnsmasq)},
		{"dnsmasq-ack", is(dhcpACK, dnsmasq)},
		{"dnsmasq-nak", lease{kind: dhcpNAK, server: parseIP("10.0.1.1")}},
		{"udhcpd-offer", is(dhcpOffer, udhcpd)},
		{"udhcpd-ack", is(dhcpACK, udhcpd)},
		{"udhcpd-nak", lease{kind: dhcpNAK, server: parseIP("10.0.1.1")}},
		{"ec2-ack", lease{kind: dhcpACK, addr: parseIP("10.0.2.10"), server: parseIP("10.0.2.1"), bits: 24,
			router: parseIP("10.0.2.1"), life: time.Hour}},
		{"ipv6-only-ack", lease{kind: dhcpACK, addr: parseIP("169.254.241.161"), server: parseIP("169.254.0.1"), bits: 32,
			life: time.Hour, routes: []dhcpRoute{via("169.254.169.254/32", "169.254.0.1")}}},
	} {
		got, err := asked(dhcpDiscover).parseFrame(frames[c.frame])
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.frame, got, err, c.want)
		}
	}
	for _, own := range []string{"discover", "request"} {
		if got, err := asked(dhcpDiscover).parseFrame(frames[own]); err == nil {
			t.Errorf("our own %s: %+v, want an error", own, got)
		}
	}
}

// Where the parts of a frame begin.
const (
	atIP      = 14
	atUDP     = atIP + 20
	atMessage = atUDP + 8
	atOptions = atMessage + 240
)

// put16 writes a number of two bytes at a place.
func put16(at int, n uint16) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint16(b[at:], n); return b }
}

// flip changes one bit of a byte.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}

// resum makes the checksum of the IP header right again, where there is one.
func resum(b []byte) []byte {
	if len(b) < atIP+20 {
		return b
	}
	header := b[atIP:min(atIP+max(int(b[atIP]&15)*4, 20), len(b))]
	binary.BigEndian.PutUint16(header[10:], 0)
	binary.BigEndian.PutUint16(header[10:], checksum(header))
	return b
}

// resize makes all lengths right for a frame that ends elsewhere than it did.
func resize(b []byte) []byte {
	binary.BigEndian.PutUint16(b[atIP+2:], uint16(len(b)-atIP))
	binary.BigEndian.PutUint16(b[atUDP+4:], uint16(len(b)-atUDP))
	return resum(unsummed(b))
}

// unsummed is a frame with no UDP checksum, which is allowed (RFC 768), so that what else is wrong with
// it has to be found.
func unsummed(b []byte) []byte { return put16(atUDP+6, 0)(b) }

func TestParseFrameOfOthers(t *testing.T) {
	whole := unsummed(dhcpFrames(t)["ec2-ack"])
	length := uint16(len(whole) - atIP)
	for _, c := range []struct {
		world  string
		change func([]byte) []byte
	}{
		{"ARP", put16(12, unix.ETH_P_ARP)},
		{"a VLAN's", func(b []byte) []byte { return slices.Insert(b, 12, 0x81, 0, 0, 7) }},
		{"another host's Ethernet address", flip(5)},
		{"a multicast Ethernet address", flip(0)},
		{"IP of version 6", func(b []byte) []byte { b[atIP] = 0x65; return b }},
		{"an IP header of 16 bytes", func(b []byte) []byte { b[atIP] = 0x44; return b }},
		{"an IP header longer than its packet", func(b []byte) []byte { b[atIP] = 0x4f; return put16(atIP+2, 60)(b) }},
		{"an IP packet longer than the frame", put16(atIP+2, length+1)},
		{"an IP packet that ends in the UDP header", put16(atIP+2, 27)},
		{"an IP packet of no length", put16(atIP+2, 0)},
		{"the first fragment", put16(atIP+6, 0x2000)},
		{"another fragment", put16(atIP+6, 1)},
		{"TCP", func(b []byte) []byte { b[atIP+9] = unix.IPPROTO_TCP; return b }},
		{"from another port", put16(atUDP, 68)},
		{"to a server", put16(atUDP+2, 67)},
		{"UDP of 7 bytes", put16(atUDP+4, 7)},
		{"UDP longer than the packet", put16(atUDP+4, length-20+1)},
		{"UDP of nothing", put16(atUDP+4, 8)},
		{"UDP that ends in the cookie", put16(atUDP+4, 8+239)},
		{"a client's", func(b []byte) []byte { b[atMessage] = 1; return b }},
		{"IEEE 802 hardware", func(b []byte) []byte { b[atMessage+1] = 6; return b }},
		{"hardware addresses of 8 bytes", func(b []byte) []byte { b[atMessage+2] = 8; return b }},
		{"another exchange", flip(atMessage + 7)},
		{"another client", flip(atMessage + 28 + 5)},
		{"BOOTP's, which has no cookie", flip(atMessage + 236)},
	} {
		if got, err := asked(dhcpDiscover).parseFrame(resum(c.change(bytes.Clone(whole)))); err == nil {
			t.Errorf("%s: %+v, want an error", c.world, got)
		}
	}
	if got, err := asked(dhcpDiscover).parseFrame(flip(atIP + 8)(bytes.Clone(whole))); err == nil {
		t.Errorf("a TTL that the header's checksum denies: %+v, want an error", got)
	}
}

// RFC 1122, 4.1.3.4: a datagram whose checksum is wrong MUST be passed over. One that comes from the same
// host has that of its pseudo header alone, as dnsmasq's in testdata/dhcp.txt.
func TestParseFrameDamaged(t *testing.T) {
	for _, name := range []string{"ec2-ack", "dnsmasq-ack"} {
		for _, at := range []int{atUDP + 6, atMessage + 19, atMessage + 300} {
			got, err := asked(dhcpDiscover).parseFrame(flip(at)(dhcpFrames(t)[name]))
			if partial := name == "dnsmasq-ack" && at != atUDP+6; err == nil && !partial {
				t.Errorf("%s with a bit wrong at %d: %+v, want an error", name, at, got)
			}
		}
	}
}

// What is around a message may look different without meaning another.
func TestParseFrameDressedUp(t *testing.T) {
	whole := unsummed(dhcpFrames(t)["ec2-ack"])
	want, err := asked(dhcpDiscover).parseFrame(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		world  string
		change func([]byte) []byte
	}{
		{"Ethernet's padding behind the packet", func(b []byte) []byte { return append(b, 1, 2, 3, 4, 5, 6, 7) }},
		{"bytes behind the datagram in the packet", func(b []byte) []byte {
			return put16(atIP+2, uint16(len(b)-atIP+2))(append(b, 1, 2))
		}},
		{"to everybody", func(b []byte) []byte { copy(b, "\xff\xff\xff\xff\xff\xff"); return b }},
		{"IP options", func(b []byte) []byte { // RFC 2113, router alert
			b[atIP] = 0x46
			return put16(atIP+2, uint16(len(b)-atIP+4))(slices.Insert(b, atUDP, 0x94, 4, 0, 0))
		}},
		{"don't fragment", put16(atIP+6, 0x4000)},
		{"by a relay", func(b []byte) []byte { b[atMessage+3], b[atMessage+24] = 1, 10; return b }},
		{"asked for broadcast", put16(atMessage+10, 0x8000)},
		{"no end option", func(b []byte) []byte { return resize(b[:len(b)-1]) }},
		{"rubbish behind the end option", func(b []byte) []byte { return resize(append(b, 53, 99, 53)) }},
		{"rubbish in the fields for names", func(b []byte) []byte { copy(b[atMessage+44:], "\x35\xff\x01router"); return b }},
	} {
		got, err := asked(dhcpDiscover).parseFrame(resum(c.change(bytes.Clone(whole))))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", c.world, got, err, want)
		}
	}
}

// A frame that is cut short is none; a message cut short with all lengths right has what came whole.
func TestParseFrameCutShort(t *testing.T) {
	for name, whole := range dhcpFrames(t) {
		want, err := asked(dhcpDiscover).parseFrame(whole)
		if err != nil {
			continue // our own
		}
		for n := range whole {
			if got, err := asked(dhcpDiscover).parseFrame(whole[:n:n]); err == nil {
				t.Errorf("%s: %d of %d bytes: %+v, want an error", name, n, len(whole), got)
			}
		}
		for n := atMessage; n < len(whole); n++ {
			got, err := asked(dhcpDiscover).parseFrame(resize(bytes.Clone(whole[:n])))
			if err == nil && !partOf(got, want) {
				t.Errorf("%s: cut to %d bytes: %+v, want an error or a part of %+v", name, n, got, want)
			}
		}
	}
}

// partOf reports whether each field of a is as in b, or zero.
func partOf(a, b lease) bool {
	got, want := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range got.NumField() {
		if !got.Field(i).IsZero() && fmt.Sprint(got.Field(i)) != fmt.Sprint(want.Field(i)) {
			return false
		}
	}
	return true
}

// A dhcpAnswer is a server's message in the making.
type dhcpAnswer struct {
	lease
	xid         uint32
	client      hwaddr
	more        []byte // options
	file, sname []byte
}

// frame lays a out as a server sends it.
func (a dhcpAnswer) frame() []byte {
	b := make([]byte, atMessage+236)
	copy(b, a.client[:])
	copy(b[12:], []byte{8, 0, 0x45})
	copy(b[atIP+8:], []byte{64, unix.IPPROTO_UDP})
	copy(b[atUDP:], []byte{0, 67, 0, 68})
	m := b[atMessage:]
	copy(m, []byte{2, 1, 6})
	binary.BigEndian.PutUint32(m[4:], a.xid)
	copy(m[16:], fourBytes(a.addr))
	copy(m[28:], a.client[:])
	copy(m[44:108], a.sname)
	copy(m[108:], a.file)
	b = append(b, 0x63, 0x82, 0x53, 0x63, optMessageType, 1, a.kind, optServer, 4)
	b = append(append(append(b, fourBytes(a.server)...), a.options()...), a.more...)
	return resize(append(b, optEnd))
}

// options is what a's lease says about itself.
func (a dhcpAnswer) options() (b []byte) {
	if a.bits != 0 {
		b = binary.BigEndian.AppendUint32(append(b, optMask, 4), ^uint32(0)<<(32-a.bits))
	}
	if a.router.IsValid() {
		b = append(append(b, optRouter, 4), a.router.AsSlice()...)
	}
	if a.life != 0 {
		b = binary.BigEndian.AppendUint32(append(b, optLeaseTime, 4), uint32(a.life/time.Second))
	}
	var routes []byte
	for _, r := range a.routes {
		routes = append(append(routes, byte(r.to.Bits())), r.to.Addr().AsSlice()[:(r.to.Bits()+7)/8]...)
		routes = append(routes, fourBytes(r.via)...)
	}
	for len(routes) > 0 { // RFC 3396: an option of more than 255 bytes comes in pieces
		n := min(len(routes), 255)
		b, routes = append(append(b, optRoutes, byte(n)), routes[:n]...), routes[n:]
	}
	return b
}

// answerTo is the answer to a query: an ACK of 10.0.2.10 for an hour, less what is said otherwise.
func answerTo(q dhcpQuery) dhcpAnswer {
	l := lease{kind: dhcpACK, addr: parseIP("10.0.2.10"), server: parseIP("10.0.2.1"), life: time.Hour}
	return dhcpAnswer{lease: l, xid: q.xid, client: q.client}
}

// An optionsWorld is a server's message with options in up to three places.
type optionsWorld struct {
	world             string
	more, file, sname []byte
	want              string // the router and the mask, or error
}

var routerOption, maskOption = []byte{optRouter, 4, 10, 0, 2, 1}, []byte{optMask, 4, 255, 255, 255, 0}

func (w optionsWorld) test(t *testing.T) {
	t.Helper()
	a := answerTo(asked(dhcpDiscover))
	a.more, a.file, a.sname = w.more, w.file, w.sname
	got, err := asked(dhcpDiscover).parseFrame(a.frame())
	say := fmt.Sprint(netip.AddrFrom4([4]byte(fourBytes(got.router))), "/", got.bits)
	if err != nil {
		say = "error"
	}
	if say != w.want {
		t.Errorf("%s: %s, %v, want %s", w.world, say, err, w.want)
	}
}

func TestParseOptions(t *testing.T) {
	router, mask := routerOption, maskOption
	for _, w := range []optionsWorld{
		{world: "none", want: "0.0.0.0/0"},
		{world: "both", more: slices.Concat(router, mask), want: "10.0.2.1/24"},
		{world: "pads between", more: slices.Concat([]byte{0, 0}, router, []byte{0}, mask), want: "10.0.2.1/24"},
		{world: "options nobody knows, one with nothing in it", more: slices.Concat([]byte{254, 0, 7, 1, 9}, router), want: "10.0.2.1/0"},
		{world: "three routers", more: []byte{optRouter, 12, 10, 0, 2, 1, 10, 0, 2, 2, 10, 0, 2, 3}, want: "10.0.2.1/0"},
		{world: "a router in two pieces", more: []byte{optRouter, 1, 10, optRouter, 3, 0, 2, 1}, want: "10.0.2.1/0"},
		{world: "one piece is empty", more: slices.Concat([]byte{optRouter, 0}, router), want: "10.0.2.1/0"},
		{world: "behind an end", more: slices.Concat([]byte{optEnd}, router), want: "0.0.0.0/0"},

		{world: "an empty router", more: []byte{optRouter, 0}, want: "error"},
		{world: "half a router", more: []byte{optRouter, 2, 10, 0}, want: "error"},
		{world: "a router and a half", more: []byte{optRouter, 6, 10, 0, 2, 1, 10, 0}, want: "error"},
		{world: "an empty mask", more: []byte{optMask, 0}, want: "error"},
		{world: "a mask too long", more: []byte{optMask, 5, 255, 255, 255, 0, 0}, want: "error"},
		{world: "a second type", more: []byte{optMessageType, 1, dhcpACK}, want: "error"},
		{world: "a second server", more: []byte{optServer, 4, 10, 0, 2, 1}, want: "error"},
		{world: "a second lease time", more: []byte{optLeaseTime, 4, 0, 0, 0, 9}, want: "error"},
		{world: "an option longer than the message", more: []byte{254, 9, 1}, want: "error"},
	} {
		w.test(t)
	}
}

// RFC 2132, 9.3: the fields for the names of a file and of a server may hold options.
func TestParseOptionsOverload(t *testing.T) {
	router, mask := routerOption, maskOption
	overload := func(n ...byte) []byte { return append([]byte{optOverload, byte(len(n))}, n...) }
	for _, w := range []optionsWorld{
		{world: "not overloaded", file: router, sname: mask, want: "0.0.0.0/0"},
		{world: "in the file's field", more: overload(1), file: router, sname: mask, want: "10.0.2.1/0"},
		{world: "in the server name's", more: overload(2), file: router, sname: mask, want: "0.0.0.0/24"},
		{world: "in both", more: overload(3), file: router, sname: mask, want: "10.0.2.1/24"},
		{world: "in pieces over all three", more: slices.Concat(overload(3), []byte{optRouter, 1, 10}), file: []byte{optRouter, 2, 0, 2},
			sname: slices.Concat([]byte{optRouter, 1, 1}, mask), want: "10.0.2.1/24"},
		{world: "an end in the file's", more: overload(3), file: slices.Concat([]byte{optEnd}, router), sname: mask, want: "0.0.0.0/24"},
		{world: "the file's field is full", more: overload(1), file: slices.Concat(router, []byte{254, 120}, make([]byte, 120)), want: "10.0.2.1/0"},
		{world: "overload in an overloaded field", more: overload(1), file: overload(2), sname: router, want: "0.0.0.0/0"},
		{world: "an option that goes on behind the file's field", more: overload(1), file: slices.Concat([]byte{254, 121}, make([]byte, 121), router[:5]), want: "error"},
		{world: "overload 0", more: overload(0), want: "error"},
		{world: "overload 4", more: overload(4), want: "error"},
		{world: "overload of nothing", more: overload(), want: "error"},
		{world: "overload twice", more: overload(1, 1), want: "error"},
	} {
		w.test(t)
	}
}

// RFC 2131, table 3: type and server are in each of a server's messages.
func TestParseOptionsMissing(t *testing.T) {
	whole := answerTo(asked(dhcpDiscover)).frame()
	for name, cut := range map[string][2]int{"type": {0, 3}, "server": {3, 9}} {
		b := slices.Delete(bytes.Clone(whole), atOptions+cut[0], atOptions+cut[1])
		if got, err := asked(dhcpDiscover).parseFrame(resize(b)); err == nil {
			t.Errorf("no %s: %+v, want an error", name, got)
		}
	}
}

func TestParseRoutes(t *testing.T) {
	for _, c := range []struct {
		world string
		bytes []byte
		want  []dhcpRoute // nil: an error
	}{
		{"a default route", []byte{0, 10, 0, 1, 1}, []dhcpRoute{via("0.0.0.0/0", "10.0.1.1")}},
		{"half of all", []byte{1, 0x80, 10, 0, 1, 1}, []dhcpRoute{via("128.0.0.0/1", "10.0.1.1")}},
		{"8 bits, one byte", []byte{8, 10, 10, 0, 1, 1}, []dhcpRoute{via("10.0.0.0/8", "10.0.1.1")}},
		{"9 bits, two", []byte{9, 10, 0x80, 10, 0, 1, 1}, []dhcpRoute{via("10.128.0.0/9", "10.0.1.1")}},
		{"25 bits, four", []byte{25, 10, 0, 1, 0x80, 10, 0, 1, 1}, []dhcpRoute{via("10.0.1.128/25", "10.0.1.1")}},
		{"a host, on the link", []byte{32, 169, 254, 169, 254, 0, 0, 0, 0}, []dhcpRoute{via("169.254.169.254/32", "0.0.0.0")}},
		{"two", []byte{0, 10, 0, 1, 1, 16, 10, 9, 10, 0, 1, 2}, []dhcpRoute{via("0.0.0.0/0", "10.0.1.1"), via("10.9.0.0/16", "10.0.1.2")}},
		{"33 bits", []byte{33, 10, 0, 1, 2, 0x80, 10, 0, 1, 1}, nil},
		{"255 bits", append([]byte{255}, make([]byte, 40)...), nil},
		{"nothing", []byte{}, nil},
		{"no router", []byte{0}, nil},
		{"half a router", []byte{24, 10, 0, 1, 10, 0}, nil},
		{"one and a half", []byte{0, 10, 0, 1, 1, 16, 10}, nil},
	} {
		got, err := parseRoutes(c.bytes)
		if (err != nil) != (c.want == nil) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.world, got, err, c.want)
		}
	}
}

func TestLeaseGateway(t *testing.T) {
	vpc := lease{addr: parseIP("10.0.1.10"), bits: 24, router: parseIP("10.0.1.1")}
	host := lease{addr: parseIP("169.254.1.10"), bits: 32, router: parseIP("169.254.0.1")}
	linkLocal := lease{addr: parseIP("169.254.1.10"), bits: 16, router: parseIP("169.254.0.1")}
	none := lease{addr: parseIP("10.0.1.10")}
	with := func(l lease, routes ...dhcpRoute) lease { l.routes = routes; return l }
	for _, c := range []struct {
		world string
		lease lease
		want  string
	}{
		{"a subnet with a router", vpc, "10.0.1.1"},
		{"a host's mask", host, "169.254.0.1"},
		{"IMDS is in the subnet", linkLocal, "0.0.0.0"},
		{"neither mask nor router", none, "0.0.0.0"},
		{"a default route in place of the router", with(vpc, via("0.0.0.0/0", "10.0.1.2")), "10.0.1.2"},
		{"routes that lead elsewhere: the router does not count", with(vpc, via("10.9.0.0/16", "10.0.1.2")), "0.0.0.0"},
		{"the longest prefix, in front", with(vpc, via("169.254.169.254/32", "10.0.1.3"), via("0.0.0.0/0", "10.0.1.2")), "10.0.1.3"},
		{"the longest prefix, behind", with(vpc, via("0.0.0.0/0", "10.0.1.2"), via("169.254.0.0/16", "10.0.1.4"), via("169.254.169.254/32", "10.0.1.3")), "10.0.1.3"},
		{"one bit beside", with(vpc, via("0.0.0.0/0", "10.0.1.2"), via("169.254.169.255/32", "10.0.1.3")), "10.0.1.2"},
		{"the first of two", with(vpc, via("0.0.0.0/0", "10.0.1.2"), via("0.0.0.0/0", "10.0.1.3")), "10.0.1.2"},
		{"bits behind the prefix", with(vpc, via("169.254.169.1/17", "10.0.1.3")), "10.0.1.3"},
		{"a host's mask, and on the link", with(host, via("169.254.169.254/32", "0.0.0.0")), "0.0.0.0"},
		{"on the link by the longer prefix", with(vpc, via("0.0.0.0/0", "10.0.1.2"), via("169.254.169.254/32", "0.0.0.0")), "0.0.0.0"},
		// The subnet is a route too, and longer than the default one.
		{"IMDS is in the subnet, and there is a default route", with(linkLocal, via("0.0.0.0/0", "169.254.0.1")), "0.0.0.0"},
		{"IMDS is in the subnet, and there is a way to it", with(linkLocal, via("169.254.169.254/32", "169.254.0.1")), "169.254.0.1"},
	} {
		if got := c.lease.gateway(parseIP("169.254.169.254")); got != parseIP(c.want) {
			t.Errorf("%s: %v, want %s", c.world, got, c.want)
		}
	}
}

func TestDHCPGood(t *testing.T) {
	good := answerTo(asked(dhcpDiscover)).lease
	for _, c := range []struct {
		world  string
		change func(*lease)
		want   string // which of DISCOVER and REQUEST it answers
	}{
		{"an offer", func(l *lease) { l.kind = dhcpOffer }, "DISCOVER"},
		{"an offer without a lease time", func(l *lease) { l.kind, l.life = dhcpOffer, 0 }, "DISCOVER"},
		{"an offer of no address", func(l *lease) { l.kind, l.addr = dhcpOffer, netip.IPv4Unspecified() }, ""},
		{"an offer of a loopback address", func(l *lease) { l.kind, l.addr = dhcpOffer, parseIP("127.0.0.1") }, ""},
		{"an offer of a group", func(l *lease) { l.kind, l.addr = dhcpOffer, parseIP("224.0.0.1") }, ""},
		{"an offer by nobody", func(l *lease) { l.kind, l.server = dhcpOffer, netip.IPv4Unspecified() }, ""},
		{"an ACK", func(l *lease) {}, "REQUEST"},
		{"an ACK for ever", func(l *lease) { l.life = 0xffffffff * time.Second }, "REQUEST"},
		{"an ACK without a lease time", func(l *lease) { l.life = 0 }, ""},
		{"an ACK of no address", func(l *lease) { l.addr = netip.IPv4Unspecified() }, ""},
		{"an ACK of everybody's address", func(l *lease) { l.addr = parseIP("255.255.255.255") }, ""},
		{"an ACK by another server", func(l *lease) { l.server = parseIP("10.0.2.2") }, ""},
		{"a NAK", func(l *lease) { *l = lease{kind: dhcpNAK, server: l.server} }, "REQUEST"},
		{"a NAK by another server", func(l *lease) { *l = lease{kind: dhcpNAK, server: parseIP("10.0.2.2")} }, ""},
		{"a DECLINE", func(l *lease) { l.kind = 4 }, ""},
		{"an INFORM", func(l *lease) { l.kind = 8 }, ""},
	} {
		l := good
		c.change(&l)
		discover, request := asked(dhcpDiscover), asked(dhcpRequest)
		request.offer = good
		var got []string
		if discover.checkAnswer(l) == nil {
			got = append(got, "DISCOVER")
		}
		if request.checkAnswer(l) == nil {
			got = append(got, "REQUEST")
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: answers %q, want %q", c.world, got, c.want)
		}
	}
}

// FuzzParseFrame: no frame is too strange to be read, and what is good has all that a loan takes.
func FuzzParseFrame(f *testing.F) {
	for _, frame := range dhcpFrames(f) {
		f.Add(frame)
	}
	a := answerTo(asked(dhcpDiscover))
	a.more, a.file, a.sname = []byte{optOverload, 1, 3}, []byte{optRouter, 4, 10, 0, 2, 1}, []byte{optMask, 4, 255, 255, 255, 0}
	f.Add(a.frame())
	f.Fuzz(func(t *testing.T, b []byte) {
		discover, request := asked(dhcpDiscover), asked(dhcpRequest)
		b = resum(bytes.Clone(b))
		if len(b) >= atMessage && b[atIP] == 0x45 {
			unsummed(b)
		}
		got, err := discover.parseFrame(b)
		if err != nil {
			return
		}
		if again, err := discover.parseFrame(dhcpAnswer{lease: got, xid: discover.xid, client: discover.client}.frame()); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("the same again: %+v, %v, want %+v", again, err, got)
		}
		if discover.checkAnswer(got) == nil && (got.kind != dhcpOffer || !canBeHost(got.addr) || got.server.IsUnspecified()) {
			t.Errorf("%+v is good to be requested", got)
		}
		request.offer.server = got.server
		if request.checkAnswer(got) == nil && got.kind != dhcpNAK && (got.kind != dhcpACK || !canBeHost(got.addr) || got.life < time.Second) {
			t.Errorf("%+v is good to be borrowed", got)
		}
		got.gateway(parseIP("169.254.169.254"))
	})
}

// A sentQuery is a query as a server has it, and when it came.
type sentQuery struct {
	dhcpQuery // with the address and the server of the offer, if it is a request
	at        time.Duration
}

// readQuery takes a query of ours apart.
func readQuery(b []byte) dhcpQuery {
	m := b[atMessage:]
	q := dhcpQuery{xid: binary.BigEndian.Uint32(m[4:]), seconds: binary.BigEndian.Uint16(m[8:]), client: hwaddr(m[28:34]), kind: m[242]}
	if q.kind == dhcpRequest {
		q.offer = lease{addr: hostAddress(m[245:249]), server: hostAddress(m[251:255])}
	}
	return q
}

// A dhcpScript is what a server does: it is given all queries so far and returns the answers to the last.
type dhcpScript func(sent []sentQuery) [][]byte

// history is the types of queries, with an = before each that is of the same exchange as the one before.
func history(sent []sentQuery) string {
	var s []string
	for i, q := range sent {
		word := map[byte]string{dhcpDiscover: "DISCOVER", dhcpRequest: "REQUEST"}[q.kind]
		if i > 0 && sent[i-1].xid == q.xid {
			word = "=" + word
		}
		s = append(s, word)
	}
	return strings.Join(s, " ")
}

// A scriptedWire leads to a server that follows a script, in a world where time passes only while
// everybody waits: testing/synctest.
type scriptedWire struct {
	script   dhcpScript
	start    time.Time
	sent     []sentQuery
	come     chan []byte
	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // closed when the deadline is another
}

func (w *scriptedWire) Write(b []byte) (int, error) {
	w.sent = append(w.sent, sentQuery{readQuery(b), time.Since(w.start)})
	for _, frame := range w.script(w.sent) {
		w.come <- frame
	}
	return len(b), nil
}

func (w *scriptedWire) Read(b []byte) (int, error) {
	for {
		w.mu.Lock()
		deadline, moved := w.deadline, w.moved
		w.mu.Unlock()
		select {
		case frame := <-w.come:
			if frame == nil {
				return 0, io.EOF
			}
			return copy(b, frame), nil
		case <-time.After(time.Until(deadline)):
			return 0, os.ErrDeadlineExceeded
		case <-moved:
		}
	}
}

func (w *scriptedWire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.moved)
	w.deadline, w.moved = t, make(chan struct{})
	return nil
}

// obtainBy is obtain by a scripted wire. It tells when it was over, too.
func obtainBy(d time.Duration, script dhcpScript) (lease, *scriptedWire, time.Duration, error) {
	w := &scriptedWire{script: script, start: time.Now(), come: make(chan []byte, 100), moved: make(chan struct{})}
	ctx, cancel := detachedTimeout(d)
	defer cancel()
	got, err := obtainLease(ctx, w, hwaddr{0x0a, 0xff, 0, 0, 0, 2})
	took := time.Since(w.start)
	return got, w, took, err
}

// says is what a server answers to q; 10.0.2.1 is the one.
func (q sentQuery) says(kind byte, server string) []byte {
	a := answerTo(q.dhcpQuery)
	a.kind, a.server = kind, parseIP(server)
	if kind == dhcpNAK {
		a.lease = lease{kind: kind, server: a.server}
	}
	return a.frame()
}

// obliging is a server that answers everything that it is to answer.
func obliging(sent []sentQuery) [][]byte {
	q := sent[len(sent)-1]
	if q.kind == dhcpDiscover {
		return [][]byte{q.says(dhcpOffer, "10.0.2.1")}
	}
	return [][]byte{q.says(dhcpACK, q.offer.server.String())}
}

// butFor is a script that is obliging but for the query of that number, counted from 1.
func butFor(n int, instead func(q sentQuery) [][]byte) dhcpScript {
	return func(sent []sentQuery) [][]byte {
		if len(sent) == n {
			return instead(sent[n-1])
		}
		return obliging(sent)
	}
}

// without is a script that is obliging but for the queries of those numbers, which are lost.
func without(lost ...int) dhcpScript {
	return func(sent []sentQuery) [][]byte {
		if slices.Contains(lost, len(sent)) {
			return nil
		}
		return obliging(sent)
	}
}

// A saying is a type of message, and the server that says so.
type saying struct {
	kind   byte
	server string
}

// says answers with those, one after the other.
func says(all ...saying) func(q sentQuery) [][]byte {
	return func(q sentQuery) (frames [][]byte) {
		for _, s := range all {
			frames = append(frames, q.says(s.kind, s.server))
		}
		return frames
	}
}

// garbage is what a query must not take for an answer, and then one.
func garbage(kind byte) func(q sentQuery) [][]byte {
	return func(q sentQuery) [][]byte {
		good := q.says(kind, "10.0.2.1")
		liar := q
		liar.client[5]++
		return [][]byte{good[:20], good[:len(good)-1], flip(atMessage + 4)(bytes.Clone(good)), flip(atIP + 10)(bytes.Clone(good)),
			liar.says(kind, "10.0.2.9"), q.says(kind, "0.0.0.0"), q.says(7, "10.0.2.1"), q.frame(), good}
	}
}

func TestObtain(t *testing.T) {
	for _, c := range []struct {
		world   string
		script  dhcpScript
		history string
	}{
		{"a server", obliging, "DISCOVER =REQUEST"},
		{"the first DISCOVER is lost", without(1), "DISCOVER =DISCOVER =REQUEST"},
		{"the REQUEST is lost", without(2), "DISCOVER =REQUEST =REQUEST"},
		{"garbage before the OFFER", butFor(1, garbage(dhcpOffer)), "DISCOVER =REQUEST"},
		{"garbage before the ACK", butFor(2, garbage(dhcpACK)), "DISCOVER =REQUEST"},
		{"an ACK that nobody asked for", butFor(1, says(saying{dhcpACK, "10.0.2.1"})), "DISCOVER =DISCOVER =REQUEST"},
		{"two servers: the first is taken", butFor(1, says(saying{dhcpOffer, "10.0.2.1"}, saying{dhcpOffer, "10.0.2.2"})), "DISCOVER =REQUEST"},
		{"a NAK and an ACK by another server", butFor(2, says(saying{dhcpNAK, "10.0.2.2"}, saying{dhcpACK, "10.0.2.2"}, saying{dhcpACK, "10.0.2.1"})), "DISCOVER =REQUEST"},
		{"an ACK without a lease time", butFor(2, func(q sentQuery) [][]byte {
			a := answerTo(q.dhcpQuery)
			a.life = 0
			return [][]byte{a.frame()}
		}), "DISCOVER =REQUEST =REQUEST"},
		{"a NAK", butFor(2, says(saying{dhcpNAK, "10.0.2.1"})), "DISCOVER =REQUEST DISCOVER =REQUEST"},
		{"a NAK, and an OFFER of that exchange after it", butFor(2, says(saying{dhcpNAK, "10.0.2.1"}, saying{dhcpOffer, "10.0.2.9"})), "DISCOVER =REQUEST DISCOVER =REQUEST"},
		{"silent after its OFFER", without(2, 3, 4, 5), "DISCOVER =REQUEST =REQUEST =REQUEST =REQUEST DISCOVER =REQUEST"},
	} {
		synctest.Test(t, func(t *testing.T) {
			got, w, _, err := obtainBy(time.Minute, c.script)
			if err != nil || got.kind != dhcpACK || got.addr != parseIP("10.0.2.10") || got.server != parseIP("10.0.2.1") {
				t.Errorf("%s: %+v, %v, want 10.0.2.10 of 10.0.2.1", c.world, got, err)
			}
			if last := w.sent[len(w.sent)-1]; last.at > 2*time.Second && last.seconds == 0 {
				t.Errorf("%s: REQUEST with 0 seconds after %v", c.world, last.at)
			}
			if got := history(w.sent); got != c.history {
				t.Errorf("%s: sent %s, want %s", c.world, got, c.history)
			}
			for i, q := range w.sent {
				if err := q.check(w.sent[:i]); err != nil {
					t.Errorf("%s: %v", c.world, err)
				}
			}
		})
	}
}

// A server that makes offers and no leases does not keep the other from being heard; what is passed over is said.
func TestObtainPassesOver(t *testing.T) {
	const bad, good = "10.0.2.9", "10.0.2.1"
	twoServers := func(sent []sentQuery) [][]byte { // the quicker one gives nothing
		q := sent[len(sent)-1]
		switch {
		case q.kind == dhcpDiscover:
			return [][]byte{q.says(dhcpOffer, bad), q.says(dhcpOffer, good)}
		case q.offer.server.String() == good:
			return [][]byte{q.says(dhcpACK, good)}
		}
		return nil
	}
	malformed := func(q sentQuery) []byte {
		a := answerTo(q.dhcpQuery)
		a.more = []byte{optRoutes, 2, 24, 10}
		return a.frame()
	}
	for _, c := range []struct {
		world   string
		script  dhcpScript
		server  string // "" for no lease
		history string
		want    string // of the error
	}{
		{"two servers, the quicker one never ACKs", twoServers, good, "DISCOVER =REQUEST =REQUEST =REQUEST =REQUEST DISCOVER =REQUEST", ""},
		{"one that never ACKs", func(sent []sentQuery) [][]byte {
			if q := sent[len(sent)-1]; q.kind == dhcpDiscover {
				return [][]byte{q.says(dhcpOffer, bad)}
			}
			return nil
		}, "", "", "dhcp: request 10.0.2.10: no answer"},
		{"option 121 is malformed", func(sent []sentQuery) [][]byte {
			return [][]byte{malformed(sent[len(sent)-1])}
		}, "", "", "dhcp: discover: no answer (passed over 4 replies; the last is malformed option 121) in 3s"},
		{"an ACK without a lease time", func(sent []sentQuery) [][]byte {
			q := sent[len(sent)-1]
			if q.kind == dhcpDiscover {
				return obliging(sent)
			}
			a := answerTo(q.dhcpQuery)
			a.life = 0
			return [][]byte{a.frame()}
		}, "", "", "dhcp: request 10.0.2.10: no answer (passed over 4 replies; the last is an ACK without a lease time)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			budget := time.Minute
			if c.server == "" {
				budget = 3 * time.Second
			}
			got, w, _, err := obtainBy(budget, c.script)
			if c.server != "" && (err != nil || got.server.String() != c.server || history(w.sent) != c.history) {
				t.Errorf("%s: %+v, %v after %s, want a lease of %s after %s", c.world, got, err, history(w.sent), c.server, c.history)
			}
			if c.server == "" && (err == nil || err.Error() != c.want) {
				t.Errorf("%s: %v, want %s", c.world, err, c.want)
			}
		})
	}
}

// check says what is wrong with a query. RFC 2131, 4.4.1: a request has the seconds of its discover, and
// names server and address.
func (q sentQuery) check(before []sentQuery) error {
	switch {
	case q.kind == dhcpDiscover && q.seconds > uint16(q.at/time.Second):
		return fmt.Errorf("DISCOVER with %d seconds, want %v at most", q.seconds, q.at)
	case q.kind == dhcpDiscover:
		return nil
	case q.seconds != before[len(before)-1].seconds:
		return fmt.Errorf("REQUEST with %d seconds, want the DISCOVER's %d", q.seconds, before[len(before)-1].seconds)
	case q.offer.addr != parseIP("10.0.2.10") || q.offer.server != parseIP("10.0.2.1"):
		return fmt.Errorf("REQUEST of %v by %v, want 10.0.2.10 by 10.0.2.1", q.offer.addr, q.offer.server)
	}
	return nil
}

// What is not answered is sent again, more and more seldom: RFC 2131, 4.1, though not as slowly.
func TestObtainTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, w, _, _ := obtainBy(17*time.Second, func([]sentQuery) [][]byte { return nil })
		want := []time.Duration{250, 500, 1000, 2000, 4000, 4000, 4000}
		if len(w.sent) != len(want)+1 {
			t.Fatalf("%d DISCOVERs in 17s, want %d", len(w.sent), len(want)+1)
		}
		for i, milliseconds := range want {
			wait := w.sent[i+1].at - w.sent[i].at
			if off := wait - milliseconds*time.Millisecond; off.Abs() > milliseconds*time.Millisecond/10 {
				t.Errorf("DISCOVER %d after %v, want %dms give or take a tenth", i+2, wait, milliseconds)
			}
			if w.sent[i+1].xid != w.sent[0].xid {
				t.Errorf("DISCOVER %d is of another exchange", i+2)
			}
		}
	})
}

func TestObtainEnds(t *testing.T) {
	gone := func(sentQuery) [][]byte { return [][]byte{nil} }
	for _, c := range []struct {
		world  string
		script dhcpScript
		want   string
		took   time.Duration
	}{
		{"silence", func([]sentQuery) [][]byte { return nil }, "dhcp: discover: no answer in 2s", 2 * time.Second},
		{"silence after the OFFER", func(sent []sentQuery) [][]byte { return obliging(sent[:1]) }, "dhcp: request 10.0.2.10: no answer", 2 * time.Second},
		{"NAKs", func(sent []sentQuery) [][]byte {
			if q := sent[len(sent)-1]; q.kind == dhcpRequest {
				return [][]byte{q.says(dhcpNAK, "10.0.2.1")}
			}
			return obliging(sent)
		}, "dhcp: request 10.0.2.10: refused by 10.0.2.1", 2 * time.Second},
		{"the wire goes away", butFor(1, gone), "dhcp: discover: EOF in 0s", 0},
		{"the wire goes away after the OFFER", butFor(2, gone), "dhcp: request 10.0.2.10: EOF", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			got, _, took, err := obtainBy(2*time.Second, c.script)
			if err == nil || err.Error() != c.want || took != c.took {
				t.Errorf("%s: %+v, %v after %v, want %s after %v", c.world, got, err, took, c.want, c.took)
			}
		})
	}
}

// The same over real sockets, with their deadlines. A pair of SOCK_SEQPACKET keeps frames apart.
func TestObtainSocket(t *testing.T) {
	for _, c := range []struct {
		world  string
		script dhcpScript
		limit  time.Duration
		want   string // the error; "": the lease
	}{
		{"a server", obliging, 10 * time.Second, ""},
		{"the first DISCOVER and the first REQUEST are lost", without(1, 3), 10 * time.Second, ""},
		{"the other end closes", butFor(2, func(sentQuery) [][]byte { return [][]byte{nil} }), 10 * time.Second, "dhcp: request 10.0.2.10: EOF"},
		{"silence", func([]sentQuery) [][]byte { return nil }, time.Second, "dhcp: discover: no answer in "},
	} {
		near, sent := scriptedSocket(t, c.script)
		ctx, cancel := detachedTimeout(c.limit)
		got, err := obtainLease(ctx, near, hwaddr{0x0a, 0xff, 0, 0, 0, 2})
		cancel()
		near.close()
		history := history(<-sent)
		switch {
		case c.want == "" && (err != nil || got.addr != parseIP("10.0.2.10")):
			t.Errorf("%s: %+v, %v, want 10.0.2.10 (sent %s)", c.world, got, err, history)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%s: %+v, %v, want %s", c.world, got, err, c.want)
		case c.world == "silence" && !strings.HasPrefix(history, "DISCOVER =DISCOVER"):
			t.Errorf("%s: sent %s in a second, want the DISCOVER again", c.world, history)
		}
	}
}

// A frame with the tag of a VLAN is not for this link, nor is one for another host.
func TestKernelPacketFilter(t *testing.T) {
	l := launch(t, 0)
	if l == nil {
		return
	}
	l.must(ec2.SetUp("eth0", true), l.Settle())
	eth0, err := net.InterfaceByName("eth0")
	l.must(err)
	near, err := dialPacket(int32(eth0.Index))
	l.must(err)
	defer near.close()
	ours := answerTo(dhcpQuery{kind: dhcpDiscover, client: l.MAC(0)}).frame()
	tagged := slices.Concat(ours[:12], []byte{0x81, 0, 0, 5}, ours[12:])
	others := bytes.Clone(ours)
	others[5] ^= 1
	send := func() error {
		wire, err := net.InterfaceByName("wire0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for n, frame := range [][]byte{tagged, others, ours} {
			frame[len(frame)-1] = byte(n)
			err = errors.Join(err, unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: wire.Index}))
		}
		return err
	}
	l.must(l.Do(send))
	got := make([]byte, 2048)
	for {
		l.must(near.SetReadDeadline(time.Now().Add(200 * time.Millisecond)))
		n, err := near.Read(got)
		if errors.Is(err, os.ErrDeadlineExceeded) { // what is sent in the first moments may be lost
			l.must(l.Do(send))
			continue
		}
		l.must(err)
		if bytes.Equal(got[:n-1], ours[:len(ours)-1]) {
			if got[n-1] != 2 {
				t.Errorf("frame %d was taken, want the last one alone", got[n-1])
			}
			return
		}
		if bytes.Contains(got[:n], ours[28:60]) {
			t.Errorf("% x was taken", got[:n])
		}
	}
}

// scriptedSocket is a socket with a server behind it. When the socket is closed the queries that have
// come are sent.
func scriptedSocket(t *testing.T, script dhcpScript) (packetSocket, chan []sentQuery) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	far, all := os.NewFile(uintptr(pair[1]), "far"), make(chan []sentQuery, 1)
	go func() {
		var sent []sentQuery
		defer func() { far.Close(); all <- sent }()
		b := make([]byte, 2048)
		for n, err := far.Read(b); err == nil; n, err = far.Read(b) {
			sent = append(sent, sentQuery{dhcpQuery: readQuery(bytes.Clone(b[:n]))})
			for _, frame := range script(sent) {
				if frame == nil {
					return
				}
				_, _ = far.Write(frame)
			}
		}
	}()
	return packetSocket{os.NewFile(uintptr(pair[0]), "near")}, all
}

// dnsmasq starts a real DHCP server at an ENI's wire, and returns the lines of its log.
func (l *lab) dnsmasq(device int) chan string {
	l.Helper()
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/dnsmasq") // not on everybody's $PATH
	}
	if err != nil {
		l.Skip("dnsmasq is not installed: its package is called dnsmasq-base")
	}
	l.must(l.DHCP(device).Serve(false))
	addr, router := l.Addr(device).String(), l.Router(device).String()
	cmd := exec.Command(path, "--no-daemon", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--no-ping", "--dhcp-authoritative",
		"--dhcp-leasefile="+filepath.Join(l.TempDir(), "leases"), fmt.Sprintf("--interface=wire%d", device),
		"--dhcp-range="+addr+","+addr+",255.255.255.0,3600", "--dhcp-option=3,"+router)
	log, err := cmd.StderrPipe()
	l.must(err, l.Start(cmd))
	lines := linesOf(log)
	l.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for line := range lines {
		if strings.Contains(line, "bound exclusively") {
			return lines
		}
	}
	l.Fatal("dnsmasq ended")
	return nil
}

// linesOf is what comes, line by line.
func linesOf(from io.Reader) chan string {
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for r := bufio.NewReader(from); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	return lines
}

// A real server agrees that these are the four messages, and there is no RELEASE.
func TestKernelDnsmasq(t *testing.T) {
	l := launch(t, 1, 0)
	if l == nil {
		return
	}
	log := l.dnsmasq(1) // at eth0
	l.must(l.DHCP(0).Serve(false))
	// A message may have been sent twice, where the machine is busy.
	want := regexp.MustCompile(`^(DHCPDISCOVER DHCPOFFER )+(DHCPREQUEST DHCPACK )+$`)
	for range 2 {
		l.unchanged(func() { l.run(codeRight, "fix") })
		l.wantNames("eth0", "eth1")
		if said := dhcpWords(log); !want.MatchString(said) {
			t.Errorf("dnsmasq has logged %q, want %v", said, want)
		}
	}
}

// dhcpWords is what has happened by a log, until nothing more comes: "DHCPDISCOVER DHCPOFFER ".
func dhcpWords(log chan string) (said string) {
	word := regexp.MustCompile(`\bDHCP[A-Z]+`)
	for {
		select {
		case line := <-log:
			if w := word.FindString(line); w != "" {
				said += w + " "
			}
		case <-time.After(200 * time.Millisecond):
			return said
		}
	}
}
