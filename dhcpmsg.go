package main

// This file converts between DHCPv4 messages in Ethernet frames and leases. It is pure: dhcp.go
// sends and receives the frames. Everybody on the link can send to this client: each length is
// checked, and a frame that is wrong in any way is ignored.

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// The message types, option 53: RFC 2132, 9.6.
const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpACK      = 5
	dhcpNAK      = 6
)

// The options that matter here: RFC 2132, and 3442 for the last.
const (
	optPad         = 0
	optMask        = 1
	optRouter      = 3
	optRequestedIP = 50
	optLeaseTime   = 51
	optOverload    = 52
	optMessageType = 53
	optServer      = 54
	optParameters  = 55 // the options that the client asks for
	optRoutes      = 121
	optEnd         = 255
)

const (
	dhcpCookie = 0x63825363 // RFC 2132, 2
	bootpMin   = 300        // bytes; relays may drop less: RFC 1542, 2.1
	bootpFixed = 236        // bytes before the cookie
)

// A lease is a message of a server.
type lease struct {
	kind   byte          // dhcpOffer, dhcpACK or dhcpNAK
	addr   netip.Addr    // 10.0.1.10
	server netip.Addr    // 10.0.1.1
	bits   int           // 24, the length of the subnet mask; 0 without option 1
	router netip.Addr    // 10.0.1.1, the first one; zero for none
	life   time.Duration // in seconds on the wire; 0 without option 51
	routes []dhcpRoute   // option 121; with it the router does not count
}

// A dhcpRoute is a classless static route: RFC 3442.
type dhcpRoute struct {
	to  netip.Prefix // 10.0.0.0/16
	via netip.Addr   // 10.0.1.1; zero where it is on the link
}

// gateway returns the router by which an address is reached with the lease; the zero Addr where the
// address is on the link.
func (l lease) gateway(to netip.Addr) netip.Addr {
	routes := l.routes
	if routes == nil { // else RFC 3442: "the DHCP client MUST ignore the Router option"
		routes = []dhcpRoute{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), l.router}}
	}
	if l.bits > 0 {
		routes = append([]dhcpRoute{{to: netip.PrefixFrom(l.addr, l.bits)}}, routes...)
	}
	var via netip.Addr
	best := -1
	for _, r := range routes {
		if r.to.Contains(to) && r.to.Bits() > best {
			via, best = r.via, r.to.Bits()
		}
	}
	return via
}

// hostAddress reads an address of 4 bytes. For 0.0.0.0, which means none, it returns the zero Addr.
func hostAddress(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// canBeHost reports whether a can be the address of a host: not 0.0.0.0/8, 127.0.0.0/8, multicast
// or above (RFC 1122, 3.2.1.3).
func canBeHost(a netip.Addr) bool {
	return a.Is4() && a.As4()[0] != 0 && a.As4()[0] != 127 && a.As4()[0] < 224
}

// A dhcpQuery is a message of the client.
type dhcpQuery struct {
	kind    byte // dhcpDiscover or dhcpRequest
	client  hwaddr
	xid     uint32
	began   time.Time // of the first DISCOVER
	seconds uint16    // from then to the last DISCOVER
	offer   lease     // the offer that a dhcpRequest accepts

	failed netip.Addr // a server whose offer came to nothing before
	passed int        // the number of replies that are to us but no answers
	why    error      // of the last one of them
}

// frame lays out q as an Ethernet broadcast frame.
func (q dhcpQuery) frame() []byte {
	payload := q.message()
	udp := binary.BigEndian.AppendUint16(nil, 68)
	udp = binary.BigEndian.AppendUint16(udp, 67)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(payload)))
	udp = append(append(udp, 0, 0), payload...)
	// RFC 791, 3.1: version and header length, TOS, length, id, fragment, TTL, protocol, checksum,
	// source, destination.
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0,
		0, 0, 0, 0, 255, 255, 255, 255}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(udp)))
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))

	sum := checksum(append(pseudoHeader(ip, udp), udp...))
	if sum == 0 {
		sum = 0xffff // RFC 768: 0 means none
	}
	binary.BigEndian.PutUint16(udp[6:], sum)

	frame := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	frame = append(frame, q.client[:]...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IP)
	return append(append(frame, ip...), udp...)
}

// message lays out q: RFC 2131, 2. The broadcast flag stays off, because a packet socket also
// receives frames to an address that the link does not have yet.
func (q dhcpQuery) message() []byte {
	b := make([]byte, bootpFixed, bootpMin)
	b[0], b[1], b[2] = 1, 1, 6 // BOOTREQUEST, Ethernet, 6 bytes
	binary.BigEndian.PutUint32(b[4:], q.xid)
	binary.BigEndian.PutUint16(b[8:], q.seconds)
	copy(b[28:], q.client[:])
	b = binary.BigEndian.AppendUint32(b, dhcpCookie)
	b = append(b, optMessageType, 1, q.kind)
	if q.kind == dhcpRequest { // RFC 2131, 4.3.2, SELECTING: with both options, and without ciaddr
		b = append(append(b, optRequestedIP, 4), q.offer.addr.AsSlice()...)
		b = append(append(b, optServer, 4), q.offer.server.AsSlice()...)
	}
	// RFC 3442: the option for routes before that for routers.
	b = append(b, optParameters, 3, optMask, optRoutes, optRouter, optEnd)
	return append(b, make([]byte, bootpMin-len(b))...)
}

// pseudoHeader is for the checksum of UDP: addresses, 0, protocol, length (RFC 768).
func pseudoHeader(ip, udp []byte) []byte {
	return append(append([]byte(nil), ip[12:20]...), 0, unix.IPPROTO_UDP, udp[4], udp[5])
}

// checksum is the Internet checksum: RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Why a frame is ignored.
var (
	errNotDHCP  = errors.New("dhcp: not a server's frame")
	errNotOurs  = errors.New("dhcp: for another client or exchange")
	errBadFrame = errors.New("malformed")
)

// parseFrame reads the answer of a server to q from an Ethernet frame.
func (q dhcpQuery) parseFrame(b []byte) (lease, error) {
	if len(b) < 14+20 || binary.BigEndian.Uint16(b[12:]) != unix.ETH_P_IP {
		return lease{}, errNotDHCP
	}
	if to := hwaddr(b[:6]); to != q.client && to != (hwaddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) {
		return lease{}, errNotOurs
	}
	ip := b[14:]
	header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || header < 20 || total < header+8 || total > len(ip) ||
		checksum(ip[:header]) != 0 {
		return lease{}, errBadFrame
	}
	fragment := binary.BigEndian.Uint16(ip[6:]) & 0x3fff // the flag MF, or an offset
	udp := ip[header:total]                              // the rest can be padding of Ethernet
	length := int(binary.BigEndian.Uint16(udp[4:]))
	fromTo := binary.BigEndian.Uint32(udp)
	if ip[9] != unix.IPPROTO_UDP || fragment != 0 || fromTo != 67<<16|68 {
		return lease{}, errNotDHCP
	}
	if length < 8 || length > len(udp) || !isChecksumRight(ip, udp[:length]) {
		return lease{}, errBadFrame
	}
	return q.parse(udp[8:length])
}

// isChecksumRight reports whether the checksum of UDP is right, or there is none. A frame from the
// same host by a virtual link has only that of its pseudo header (packet(7),
// TP_STATUS_CSUMNOTREADY).
func isChecksumRight(ip, udp []byte) bool {
	sum, pseudo := binary.BigEndian.Uint16(udp[6:]), pseudoHeader(ip, udp)
	return sum == 0 || sum == ^checksum(pseudo) || checksum(append(pseudo, udp...)) == 0
}

// parse reads the answer of a server to q.
func (q dhcpQuery) parse(b []byte) (lease, error) {
	if len(b) < bootpFixed+4 || b[0] != 2 || binary.BigEndian.Uint32(b[bootpFixed:]) != dhcpCookie {
		return lease{}, errNotDHCP
	}
	if b[1] != 1 || b[2] != 6 || binary.BigEndian.Uint32(b[4:]) != q.xid ||
		hwaddr(b[28:34]) != q.client {
		return lease{}, errNotOurs
	}
	options, err := parseOptions(b[bootpFixed+4:], b[108:bootpFixed], b[44:108])
	if err != nil {
		return lease{}, err
	}
	out, err := leaseOf(options)
	if err != nil {
		return lease{}, err
	}
	out.addr = hostAddress(b[16:20]) // yiaddr
	return out, nil
}

// dhcpOptions has the value of each option by its code, and nil where there is none.
type dhcpOptions [256][]byte

// parseOptions collects the options of a message. With overload (RFC 2132, 9.3) the fields file and
// sname have some too.
func parseOptions(field, file, sname []byte) (*dhcpOptions, error) {
	options := new(dhcpOptions)
	if err := options.collect(field); err != nil {
		return nil, err
	}
	overload := options[optOverload]
	if overload == nil {
		return options, nil
	}
	if len(overload) != 1 || overload[0] < 1 || overload[0] > 3 {
		return nil, errBadFrame
	}
	var err error
	if overload[0]&1 != 0 {
		err = options.collect(file)
	}
	if err == nil && overload[0]&2 != 0 {
		err = options.collect(sname)
	}
	return options, err
}

// collect reads code, length and value up to the end option, or to the end of the field. It joins
// an option that is split into several: RFC 3396, 7.
func (o *dhcpOptions) collect(b []byte) error {
	for len(b) > 0 && b[0] != optEnd {
		if b[0] == optPad {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return errBadFrame
		}
		n := 2 + int(b[1])
		o[b[0]] = append(o[b[0]], b[2:n]...)
		if o[b[0]] == nil {
			o[b[0]] = []byte{} // not nil: it is there and empty
		}
		b = b[n:]
	}
	return nil
}

// leaseOf reads the options that this client uses. The server identifier must be there: RFC 2131,
// table 3.
func leaseOf(options *dhcpOptions) (l lease, err error) {
	kind, server := options[optMessageType], options[optServer]
	mask, routers := options[optMask], options[optRouter]
	life, routes := options[optLeaseTime], options[optRoutes]
	switch {
	case len(kind) != 1, len(server) != 4,
		mask != nil && len(mask) != 4,
		routers != nil && (len(routers) == 0 || len(routers)%4 != 0),
		life != nil && len(life) != 4:
		return lease{}, errBadFrame
	}
	l.kind, l.server = kind[0], hostAddress(server)
	if mask != nil {
		l.bits = bits.LeadingZeros32(^binary.BigEndian.Uint32(mask))
	}
	if routers != nil {
		l.router = hostAddress(routers[:4]) // the first
	}
	if life != nil {
		l.life = time.Duration(binary.BigEndian.Uint32(life)) * time.Second
	}
	if routes != nil {
		if l.routes, err = parseRoutes(routes); err != nil {
			err = errorf("%w option 121", err)
		}
	}
	return l, err
}

// parseRoutes reads option 121 (RFC 3442): for each route the length of the prefix in bits, the
// bytes of the prefix that are not all padding, and the router.
func parseRoutes(b []byte) ([]dhcpRoute, error) {
	if len(b) == 0 {
		return nil, errBadFrame
	}
	var out []dhcpRoute
	for len(b) > 0 {
		width := int(b[0])
		n := (width + 7) / 8
		if width > 32 || len(b) < 1+n+4 {
			return nil, errBadFrame
		}
		var to [4]byte
		copy(to[:], b[1:1+n])
		prefix := netip.PrefixFrom(netip.AddrFrom4(to), width)
		out = append(out, dhcpRoute{prefix, hostAddress(b[1+n : 1+n+4])})
		b = b[1+n+4:]
	}
	return out, nil
}

// checkAnswer returns why l does not answer q: an answer is an offer that can be accepted, or an
// ACK or NAK of the server whose offer was accepted.
func (q dhcpQuery) checkAnswer(l lease) error {
	hasAddress := canBeHost(l.addr) && canBeHost(l.server)
	switch {
	case q.kind == dhcpDiscover && l.kind != dhcpOffer:
		return errNotOurs // late, after a NAK or a timeout
	case q.kind == dhcpDiscover && !hasAddress:
		return errors.New("an offer without an address")
	case q.kind == dhcpDiscover:
		return nil
	case l.server != q.offer.server, l.kind != dhcpNAK && l.kind != dhcpACK:
		return errNotOurs
	case l.kind == dhcpACK && !hasAddress:
		return errors.New("an ACK without an address")
	case l.kind == dhcpACK && l.life == 0:
		return errors.New("an ACK without a lease time")
	}
	return nil
}
