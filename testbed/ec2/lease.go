package ec2

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// A Lease is what DHCP gives an ENI.
type Lease struct {
	Addr     netip.Prefix // 10.0.1.10/24
	Server   netip.Addr   // 10.0.1.1: the server identifier
	Router   netip.Addr   // 10.0.1.1; with the zero Addr there is no router option
	Routes   []Route      // option 121, of each its Dst and Via; 0.0.0.0 is a Via too
	DNS      netip.Addr   // 10.0.0.2
	Seconds  uint32       // 3600
	Overload bool         // most options are in the fields for file and server name: option 52
}

// The wires' other address, which serves the link-local leases.
var linkLocalServer = netip.AddrFrom4([4]byte{169, 254, 0, 1})

// linkLocal is an ENI's address in a subnet without IPv4.
func linkLocal(device int) netip.Addr {
	return netip.AddrFrom4([4]byte{169, 254, byte(device + 1), 10})
}

// Lease is what EC2 gives an ENI: server and router are the subnet's first address, DNS is the
// VPC's second.
func (i *Instance) Lease(device int) Lease {
	return Lease{
		Addr:    netip.PrefixFrom(i.Addr(device), 24),
		Server:  i.Router(device),
		Router:  i.Router(device),
		DNS:     netip.AddrFrom4([4]byte{10, 0, 0, 2}),
		Seconds: 3600,
	}
}

// LinkLocalLease is what EC2 gives an ENI in a subnet without IPv4, for the sake of IMDS:
// 169.254.1.10/32 for device 0, and the way to IMDS as a classless route by the server.
func (i *Instance) LinkLocalLease(device int) Lease {
	return Lease{
		Addr:    netip.PrefixFrom(linkLocal(device), 32),
		Server:  linkLocalServer,
		Routes:  []Route{{Dst: netip.PrefixFrom(netip.MustParseAddr(imds), 32), Via: linkLocalServer}},
		DNS:     netip.AddrFrom4([4]byte{169, 254, 169, 253}),
		Seconds: 3600,
	}
}

// The options in use: RFC 2132, and RFC 3442 for the classless routes.
const (
	optMask          = 1
	optRouter        = 3
	optDNS           = 6
	optHostName      = 12
	optDomain        = 15
	optMTU           = 26
	optBroadcast     = 28
	optRequested     = 50
	optLeaseTime     = 51
	optOverload      = 52
	optType          = 53
	optServer        = 54
	optClasslessWays = 121
	optEnd           = 255
)

// fill puts l into a reply: the address, and the options where they belong.
func (l Lease) fill(r *reply) {
	r.yiaddr = l.Addr.Addr()
	r.options = option(r.options, optLeaseTime, binary.BigEndian.AppendUint32(nil, l.Seconds))
	net, rest := l.network(), l.names()
	if !l.Overload {
		r.options = append(append(r.options, net...), rest...)
		return
	}
	const both = 3 // RFC 2132, 9.3: file and sname
	r.options = option(r.options, optOverload, []byte{both})
	r.file, r.sname = append(net, optEnd), append(rest, optEnd)
}

// network is the options that say how to use the address.
func (l Lease) network() []byte {
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-l.Addr.Bits()))
	b := option(nil, optMask, mask)
	b = option(b, optBroadcast, l.broadcast(mask))
	if l.Router.IsValid() {
		b = option(b, optRouter, l.Router.AsSlice())
	}
	if len(l.Routes) == 0 {
		return b
	}
	var ways []byte
	for _, r := range l.Routes {
		ways = append(ways, byte(r.Dst.Bits()))
		ways = append(ways, r.Dst.Addr().AsSlice()[:(r.Dst.Bits()+7)/8]...) // RFC 3442: significant octets only
		ways = append(ways, r.Via.AsSlice()...)
	}
	return option(b, optClasslessWays, ways)
}

// broadcast is the last address of the subnet.
func (l Lease) broadcast(mask []byte) []byte {
	b := l.Addr.Addr().AsSlice()
	for i := range b {
		b[i] |= ^mask[i]
	}
	return b
}

// names is the options that a client of ours has no use for.
func (l Lease) names() []byte {
	const mtu = 9001 // jumbo frames, as in any VPC
	host := "ip-" + strings.ReplaceAll(l.Addr.Addr().String(), ".", "-")
	b := option(nil, optDNS, l.DNS.AsSlice())
	b = option(b, optHostName, []byte(host))
	b = option(b, optDomain, []byte("ec2.internal"))
	return option(b, optMTU, binary.BigEndian.AppendUint16(nil, mtu))
}

// option appends one option: its code, its length and its value.
func option(b []byte, code byte, value []byte) []byte {
	if len(value) > 255 {
		panic(fmt.Sprintf("option %d: %d bytes", code, len(value))) // a test that asks for too much
	}
	return append(append(b, code, byte(len(value))), value...)
}
