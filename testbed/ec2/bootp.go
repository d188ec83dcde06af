package ec2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
)

// Where things are in a DHCP message: RFC 2131, 2.
const (
	atFlags   = 10
	atCiaddr  = 12
	atYiaddr  = 16
	atChaddr  = 28
	atSname   = 44
	atFile    = 108
	atCookie  = 236
	atOptions = 240

	bootRequest = 1 // op of what clients send
	bootReply   = 2 // and servers
)

var cookie = []byte{99, 130, 83, 99} // RFC 2131, 3

// A dhcpType is option 53.
type dhcpType byte

// RFC 2132, 9.6.
const (
	dhcpDiscover dhcpType = iota + 1
	dhcpOffer
	dhcpRequest
	dhcpDecline
	dhcpAck
	dhcpNak
	dhcpRelease
	dhcpInform
)

// String is the type's name without the DHCP in front.
func (t dhcpType) String() string {
	names := [...]string{"NOTHING", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"}
	if int(t) < len(names) {
		return names[t]
	}
	return names[0]
}

// A query is what a client has sent.
type query struct {
	kind      dhcpType
	xid       uint32
	broadcast bool // the client can't take a unicast reply yet
	ciaddr    netip.Addr
	chaddr    [6]byte
	requested netip.Addr // option 50
	server    netip.Addr // option 54
}

// errNotDHCP is the error of a message that no server would answer.
var errNotDHCP = errors.New("not a DHCP query")

// parseQuery takes a client's message apart.
func parseQuery(b []byte) (query, error) {
	var q query
	const ethernet, hlen = 1, 6
	if len(b) < atOptions || !bytes.Equal(b[:3], []byte{bootRequest, ethernet, hlen}) || !bytes.Equal(b[atCookie:atOptions], cookie) {
		return q, errNotDHCP
	}
	q.xid = binary.BigEndian.Uint32(b[4:])
	q.broadcast = b[atFlags]&0x80 != 0
	q.ciaddr = netip.AddrFrom4([4]byte(b[atCiaddr:]))
	q.chaddr = [6]byte(b[atChaddr:])
	for b = b[atOptions:]; len(b) > 0 && b[0] != optEnd; {
		if b[0] == 0 { // pad
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return q, errNotDHCP
		}
		q.take(b[0], b[2:2+int(b[1])])
		b = b[2+int(b[1]):]
	}
	if len(b) == 0 || q.kind == 0 { // RFC 2131, 3: the last option is end, and 53 is in all messages
		return q, errNotDHCP
	}
	return q, nil
}

// take keeps an option that matters here.
func (q *query) take(code byte, value []byte) {
	switch {
	case code == optType && len(value) == 1:
		q.kind = dhcpType(value[0])
	case code == optRequested && len(value) == 4:
		q.requested = netip.AddrFrom4([4]byte(value))
	case code == optServer && len(value) == 4:
		q.server = netip.AddrFrom4([4]byte(value))
	}
}

// A reply is what a server sends.
type reply struct {
	op          byte
	xid         uint32
	broadcast   bool
	yiaddr      netip.Addr // zero is 0.0.0.0
	chaddr      [6]byte
	sname, file []byte // 64 and 128 bytes at most
	options     []byte // without the end
}

// encode lays r out as in RFC 2131, 2, with at least the 300 bytes of a BOOTP message (RFC 951, 3).
func (r reply) encode() []byte {
	b := make([]byte, atOptions, 576)
	b[0], b[1], b[2] = r.op, 1, 6 // Ethernet
	binary.BigEndian.PutUint32(b[4:], r.xid)
	if r.broadcast {
		b[atFlags] = 0x80
	}
	if r.yiaddr.IsValid() {
		copy(b[atYiaddr:], r.yiaddr.AsSlice())
	}
	copy(b[atChaddr:], r.chaddr[:])
	copy(b[atSname:atFile], r.sname)
	copy(b[atFile:atCookie], r.file)
	copy(b[atCookie:], cookie)
	b = append(append(b, r.options...), optEnd)
	return append(b, make([]byte, max(0, 300-len(b)))...)
}

// A frame is a datagram on its way from a server to a client.
type frame struct {
	src, dst         [6]byte
	from, to         netip.Addr
	fromPort, toPort uint16
	payload          []byte
}

// encode lays f out as Ethernet, IPv4 (RFC 791, 3.1) and UDP (RFC 768), with their checksums.
func (f frame) encode() []byte {
	const ipv4, udp, ttl = 0x0800, 17, 64
	length := 8 + len(f.payload)
	u := binary.BigEndian.AppendUint16(nil, f.fromPort)
	u = binary.BigEndian.AppendUint16(u, f.toPort)
	u = binary.BigEndian.AppendUint16(u, uint16(length))
	u = append(append(u, 0, 0), f.payload...)
	pseudo := append(append(f.from.AsSlice(), f.to.AsSlice()...), 0, udp, byte(length>>8), byte(length))
	sum := checksum(append(pseudo, u...))
	if sum == 0 {
		sum = 0xffff // for 0 would mean that there is none
	}
	binary.BigEndian.PutUint16(u[6:], sum)

	ip := []byte{4<<4 | 5, 0, byte((20 + length) >> 8), byte(20 + length), 0, 0, 0, 0, ttl, udp, 0, 0}
	ip = append(append(ip, f.from.AsSlice()...), f.to.AsSlice()...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))

	b := append(append([]byte(nil), f.dst[:]...), f.src[:]...)
	b = binary.BigEndian.AppendUint16(b, ipv4)
	return append(append(b, ip...), u...)
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for len(b) > 1 {
		sum += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
