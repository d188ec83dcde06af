package ec2

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const rtaNHID = 30 // RTA_NH_ID, linux/rtnetlink.h

// A Route is a route for AddRoute and DelRoute; what is zero is left to the kernel.
type Route struct {
	Dev       string       // "eth0"
	Dst       netip.Prefix // 10.9.0.0/16; the zero Prefix is 0.0.0.0/0
	Via       netip.Addr   // 10.0.1.1
	Src       netip.Addr   // 10.0.1.10: what is sent by it is from there; the zero Addr is any
	Metric    uint32       // 512
	Table     uint32       // 0 is the main table
	Proto     uint8        // 0 is RTPROT_STATIC
	NextHop   uint32       // a next-hop object in place of Dev and Via
	Multipath []Hop        // ways to share in place of Dev and Via
	Onlink    bool         // Via is a neighbour, whatever the addresses say
	Type      byte         // RTN_BLACKHOLE, ...: no traffic leaves; 0 is RTN_UNICAST
	Pref      byte         // RTA_PREF of an IPv6 route: 1 is high

	index int // in place of Dev, for a link whose name may change
}

// A Hop is one way of a Route that shares several.
type Hop struct {
	Dev    string     // "eth1"
	Via    netip.Addr // 10.0.2.1
	Weight uint8      // 0 is 1
}

// AddRoute adds a route, in front of those of the same destination and metric.
func AddRoute(r Route) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	return about(request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE, b), "route %+v", r)
}

// DelRoute deletes the first route that is like r.
func DelRoute(r Route) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	b[6] = unix.RT_SCOPE_NOWHERE // any
	return about(request(unix.RTM_DELROUTE, 0, b), "route %+v: delete", r)
}

// encode lays r out as struct rtmsg (family, lengths of destination and source, tos, table, proto,
// scope, type, flags) with its attributes.
func (r Route) encode() ([]byte, error) {
	if !r.Dst.IsValid() {
		r.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	b := []byte{family(r.Dst.Addr()), byte(r.Dst.Bits()), 0, 0, unix.RT_TABLE_UNSPEC, r.proto(), r.scope(), cmp.Or(r.Type, unix.RTN_UNICAST)}
	b = append(b, u32(r.flags())...)
	if r.Table == 0 {
		r.Table = unix.RT_TABLE_MAIN
	}
	b = attr(b, unix.RTA_TABLE, u32(r.Table))
	b = attr(b, unix.RTA_DST, r.Dst.Addr().AsSlice())
	if r.Metric != 0 {
		b = attr(b, unix.RTA_PRIORITY, u32(r.Metric))
	}
	if r.Src.IsValid() {
		b = attr(b, unix.RTA_PREFSRC, r.Src.AsSlice())
	}
	if r.Pref != 0 {
		b = attr(b, unix.RTA_PREF, []byte{r.Pref})
	}
	if r.Type != 0 {
		return b, nil
	}
	return r.ways(b)
}

// ways appends where r leads.
func (r Route) ways(b []byte) ([]byte, error) {
	if r.NextHop != 0 {
		return attr(b, rtaNHID, u32(r.NextHop)), nil
	}
	if r.Multipath != nil {
		hops, err := encodeHops(r.Multipath)
		return attr(b, unix.RTA_MULTIPATH, hops), err
	}
	if r.Via.IsValid() {
		b = attr(b, unix.RTA_GATEWAY, r.Via.AsSlice())
	}
	if r.index != 0 {
		return attr(b, unix.RTA_OIF, u32(uint32(r.index))), nil
	}
	index, err := indexOf(r.Dev)
	return attr(b, unix.RTA_OIF, u32(uint32(index))), err
}

// encodeHops lays hops out as struct rtnexthop (length, flags, weight less one, index), each with
// its gateway.
func encodeHops(hops []Hop) ([]byte, error) {
	var b []byte
	for _, h := range hops {
		index, err := indexOf(h.Dev)
		if err != nil {
			return nil, err
		}
		var via []byte
		if h.Via.IsValid() {
			via = attr(nil, unix.RTA_GATEWAY, h.Via.AsSlice())
		}
		b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtNexthop+len(via)))
		b = append(b, 0, max(h.Weight, 1)-1)
		b = append(append(b, u32(uint32(index))...), via...)
	}
	return b, nil
}

// proto is r's protocol, static where none is given.
func (r Route) proto() uint8 {
	if r.Proto == 0 {
		return unix.RTPROT_STATIC
	}
	return r.Proto
}

// scope is the link for a route straight to its destination, else the world.
func (r Route) scope() uint8 {
	if r.Via.IsValid() || r.NextHop != 0 || r.Multipath != nil {
		return unix.RT_SCOPE_UNIVERSE
	}
	return unix.RT_SCOPE_LINK
}

// flags is rtm_flags.
func (r Route) flags() uint32 {
	if r.Onlink {
		return unix.RTNH_F_ONLINK
	}
	return 0
}

// A Rule is a policy rule: what matches all that is given looks in Table.
type Rule struct {
	IIF, OIF string       // "eth0": by name, as the kernel keeps them
	From     netip.Prefix // 10.0.2.10/32
	Mark     uint32       // 0x1: of the socket; 0 is any
	Table    uint32       // 100
	Priority uint32       // 1000; 0 is in front of all that are there
	V6       bool         // an IPv6 rule; a From decides by itself
}

// AddRule adds a policy rule.
func AddRule(r Rule) error {
	fam := uint8(unix.AF_INET)
	if r.V6 || r.From.Addr().Is6() {
		fam = unix.AF_INET6
	}
	// struct fib_rule_hdr: family, lengths of destination and source, tos, table, 2 reserved,
	// action, flags.
	b := []byte{fam, 0, byte(max(r.From.Bits(), 0)), 0, 0, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0}
	b = attr(b, unix.FRA_TABLE, u32(r.Table))
	if r.Priority != 0 {
		b = attr(b, unix.FRA_PRIORITY, u32(r.Priority))
	}
	if r.Mark != 0 {
		b = attr(b, unix.FRA_FWMARK, u32(r.Mark))
	}
	if r.IIF != "" {
		b = attr(b, unix.FRA_IIFNAME, cstring(r.IIF))
	}
	if r.OIF != "" {
		b = attr(b, unix.FRA_OIFNAME, cstring(r.OIF))
	}
	if r.From.IsValid() {
		b = attr(b, unix.FRA_SRC, r.From.Addr().AsSlice())
	}
	return about(request(unix.RTM_NEWRULE, create, b), "rule %+v", r)
}

// AddNextHop makes a next-hop object: via, or for the zero Addr whatever IPv4 neighbour is meant.
func AddNextHop(id uint32, name string, via netip.Addr) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	b := attr(nhmsg(family(via)), unix.NHA_ID, u32(id))
	b = attr(b, unix.NHA_OIF, u32(uint32(index)))
	if via.IsValid() {
		b = attr(b, unix.NHA_GATEWAY, via.AsSlice())
	}
	return about(request(unix.RTM_NEWNEXTHOP, create, b), "next hop %d: %s on %s", id, via, name)
}

// AddNextHopGroup makes a next-hop object that shares others evenly.
func AddNextHopGroup(id uint32, ids ...uint32) error {
	var group []byte
	for _, member := range ids {
		group = append(append(group, u32(member)...), 0, 0, 0, 0) // struct nexthop_grp: id, weight less one, 3 reserved
	}
	b := attr(nhmsg(unix.AF_UNSPEC), unix.NHA_ID, u32(id))
	b = attr(b, unix.NHA_GROUP, group)
	return about(request(unix.RTM_NEWNEXTHOP, create, b), "next hop %d: group %d", id, ids)
}

// nhmsg is struct nhmsg: family, scope, proto, a pad, flags.
func nhmsg(family uint8) []byte {
	return []byte{family, 0, unix.RTPROT_STATIC, 0, 0, 0, 0, 0}
}
