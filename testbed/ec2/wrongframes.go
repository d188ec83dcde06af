package ec2

import (
	"net/netip"
	"slices"
)

// nobody is the address in all that must not be believed: RFC 5737.
var nobody = netip.AddrFrom4([4]byte{192, 0, 2, 66})

// wrongFrames are frames that a client may not take for r, the answer to q, though each is only one
// mistake away from it. f is r's own way.
func wrongFrames(q query, r reply, f frame) [][]byte {
	f.payload = lie(r, func(*reply) {})
	whole := f.encode()
	const udp, payload = 14 + 20, 14 + 20 + 8 // behind Ethernet and IP, and behind UDP
	frames := [][]byte{
		whole[:udp-8],               // ends in the IP header,
		whole[:udp+4],               // in the UDP header,
		whole[:payload+atCookie],    // before the cookie,
		whole[:payload+atOptions+4], // among the options
		flipped(whole, 14+10),       // IP checksum
	}
	short, elsewhere := f, f
	short.payload = f.payload[:atOptions-1] // and all lengths say so
	elsewhere.toPort = 69
	frames = append(frames, short.encode(), elsewhere.encode())
	for _, change := range lies(q) {
		f.payload = lie(r, change)
		frames = append(frames, f.encode())
	}
	return frames
}

// damaged is r as a bad wire might deliver it: the UDP checksum tells. f is r's own way.
func damaged(r reply, f frame) [][]byte {
	f.payload = lie(r, func(*reply) {})
	whole := f.encode()
	const udp, payload = 14 + 20, 14 + 20 + 8
	return [][]byte{flipped(whole, udp+6), flipped(whole, payload+atFile)}
}

// flipped is b with one bit wrong in the byte at a place.
func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// lie is r with the address of nobody and one change more.
func lie(r reply, change func(*reply)) []byte {
	r.options = slices.Clone(r.options)
	r.yiaddr = nobody
	change(&r)
	return r.encode()
}

// lies are the changes that each make a reply one to nobody, or to somebody else.
func lies(q query) []func(*reply) {
	lies := []func(*reply){
		func(r *reply) { r.xid++ },
		func(r *reply) { r.chaddr[5]++ },
		func(r *reply) { r.op = bootRequest },
		func(r *reply) { r.options = r.options[3:] },                                  // no type
		func(r *reply) { r.options = slices.Concat(r.options[:3], r.options[9:]) },    // no server
		func(r *reply) { r.options = append(r.options, optRouter, 200, 10, 0, 0, 1) }, // longer than the message
		func(r *reply) { r.options[2] = byte(dhcpDiscover) },
		func(r *reply) { r.options[2] = byte(dhcpNak + 100) },
	}
	if q.kind == dhcpDiscover {
		return append(lies, func(r *reply) { r.options[2] = byte(dhcpAck) }) // of what nobody has requested
	}
	other := func(r *reply) { copy(r.options[5:], []byte{192, 0, 2, 1}) } // a server that was not chosen
	return append(lies, other,
		func(r *reply) { other(r); r.options[2] = byte(dhcpNak) },
		func(r *reply) { r.options[2] = byte(dhcpOffer) })
}
