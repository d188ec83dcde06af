package main

// This file converts between the messages of rtnetlink(7) and the nouns of world.go. Each length is
// checked here, once. It opens no socket: that is in rtnl.go.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Constants that x/sys lacks.
const (
	rtextFilterSkipStats = 1 << 3  // RTEXT_FILTER_SKIP_STATS, linux/rtnetlink.h
	ipv6Ready            = 1 << 31 // IF_READY, net/if_inet6.h
	rtaNHID              = 30      // RTA_NH_ID, linux/rtnetlink.h
	ifaProto             = 11      // IFA_PROTO, linux/if_addr.h: who made the address (Linux 5.18)
	ifaProtoRA           = 2       // IFAPROT_KERNEL_RA, linux/if_addr.h
	ndaProtocol          = 12      // NDA_PROTOCOL, linux/neighbour.h
	ndaFlagsExt          = 15      // NDA_FLAGS_EXT, linux/neighbour.h
	neighbourManaged     = 1 << 0  // NTF_EXT_MANAGED, linux/neighbour.h
	nhaFDB               = 11      // NHA_FDB, linux/nexthop.h
	nhaResGroup          = 12      // NHA_RES_GROUP, linux/nexthop.h

	// NUD_VALID of include/net/neighbour.h, without NUD_PERMANENT and NUD_NOARP: the address of the
	// link layer is known.
	neighbourValid = unix.NUD_REACHABLE | unix.NUD_PROBE | unix.NUD_STALE | unix.NUD_DELAY
)

var errShort = errors.New("netlink: message cut short")

// An nlMessage is a netlink message: struct nlmsghdr of linux/netlink.h without length and port,
// and the bytes after it.
type nlMessage struct {
	typ, flags uint16
	seq        uint32
	body       []byte
}

// A kernelError is the kernel's refusal of a request: NLMSG_ERROR of netlink(7). A failure of the
// socket is an *os.SyscallError.
type kernelError struct {
	op      string // RTM_SETLINK
	errno   unix.Errno
	message string // NLMSGERR_ATTR_MSG, as "Nexthop has invalid gateway."; "" where there is none
}

// Error has all three.
func (e kernelError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("%s: %v", e.op, e.errno)
	}
	return fmt.Sprintf("%s: %v (%s)", e.op, e.errno, strings.TrimSuffix(e.message, "."))
}

// errRefused means that the kernel has refused a request.
var errRefused = errors.New("refused")

// Unwrap makes errors.Is work with unix.EBUSY and errRefused.
func (e kernelError) Unwrap() []error { return []error{e.errno, errRefused} }

// requestName returns the kernel's name of a request, for messages.
func requestName(typ uint16) string {
	for _, known := range []struct {
		typ  uint16
		name string
	}{
		{unix.RTM_SETLINK, "RTM_SETLINK"}, {unix.RTM_GETLINK, "RTM_GETLINK"},
		{unix.RTM_NEWADDR, "RTM_NEWADDR"}, {unix.RTM_DELADDR, "RTM_DELADDR"},
		{unix.RTM_GETADDR, "RTM_GETADDR"}, {unix.RTM_NEWROUTE, "RTM_NEWROUTE"},
		{unix.RTM_DELROUTE, "RTM_DELROUTE"}, {unix.RTM_GETROUTE, "RTM_GETROUTE"},
		{unix.RTM_NEWNEIGH, "RTM_NEWNEIGH"}, {unix.RTM_GETNEIGH, "RTM_GETNEIGH"},
		{unix.RTM_NEWNEXTHOP, "RTM_NEWNEXTHOP"}, {unix.RTM_GETNEXTHOP, "RTM_GETNEXTHOP"},
		{unix.RTM_NEWRULE, "RTM_NEWRULE"}, {unix.RTM_GETRULE, "RTM_GETRULE"},
	} {
		if known.typ == typ {
			return known.name
		}
	}
	return fmt.Sprintf("rtnetlink request %d", typ)
}

// appendMessage lays out m in the kernel's form, padded to 4 bytes.
func appendMessage(b []byte, m nlMessage) []byte {
	// struct nlmsghdr, linux/netlink.h: length, type, flags, sequence number, port (0: the
	// kernel's).
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+len(m.body)))
	b = binary.NativeEndian.AppendUint16(b, m.typ)
	b = binary.NativeEndian.AppendUint16(b, m.flags)
	b = binary.NativeEndian.AppendUint32(b, m.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return padAligned(append(b, m.body...))
}

// appendAttr lays out an attribute: struct rtattr of linux/rtnetlink.h, padded to 4 bytes.
func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	return padAligned(append(b, value...))
}

// appendUint32 lays out an attribute of type NLA_U32.
func appendUint32(b []byte, typ uint16, value uint32) []byte {
	return appendAttr(b, typ, binary.NativeEndian.AppendUint32(nil, value))
}

// padAligned pads b to a multiple of 4 bytes, which is the alignment of messages and attributes. It
// is not inlined, as it is called in many places.
//
//go:noinline
func padAligned(b []byte) []byte {
	for len(b)%unix.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

// skipAligned returns b without n bytes and their padding. After the last item there may be none.
func skipAligned(b []byte, n int) []byte {
	return b[min((n+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
}

// parseMessages cuts a datagram into messages, which share its memory.
func parseMessages(b []byte) ([]nlMessage, error) {
	var out []nlMessage
	for len(b) > 0 {
		if len(b) < unix.SizeofNlMsghdr {
			return nil, errShort
		}
		n := binary.NativeEndian.Uint32(b)
		if n < unix.SizeofNlMsghdr || uint64(n) > uint64(len(b)) {
			return nil, errShort
		}
		out = append(out, nlMessage{
			typ:   binary.NativeEndian.Uint16(b[4:]),
			flags: binary.NativeEndian.Uint16(b[6:]),
			seq:   binary.NativeEndian.Uint32(b[8:]),
			body:  b[unix.SizeofNlMsghdr:n:n],
		})
		b = skipAligned(b, int(n))
	}
	return out, nil
}

// parseAck returns the kernelError of an NLMSG_ERROR that answers op, or of an NLMSG_DONE, which
// may have an errno too. Nil is success.
func parseAck(m nlMessage, op string) error {
	if len(m.body) < 4 {
		if m.typ == unix.NLMSG_DONE {
			return nil // older kernels end a dump with no errno at all
		}
		return errShort
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
	if errno == 0 {
		return nil
	}
	e := kernelError{op: op, errno: errno}
	attrs := m.body[4:]
	if m.typ == unix.NLMSG_ERROR {
		// struct nlmsgerr: the errno, then the request, or its header if capped.
		echo := unix.SizeofNlMsghdr
		if m.flags&unix.NLM_F_CAPPED == 0 {
			echo = int(uint32Of(attrs))
		}
		attrs = skipAligned(attrs, echo)
	}
	if m.flags&unix.NLM_F_ACK_TLVS != 0 {
		// The errno counts, even where the message can't be read.
		_ = eachAttr(attrs, func(typ uint16, value []byte) error {
			if typ == unix.NLMSGERR_ATTR_MSG {
				e.message = cString(value)
			}
			return nil
		})
	}
	return e
}

// eachAttr calls fn for each attribute in b, with the type without its flags (NLA_F_NESTED, ...).
func eachAttr(b []byte, fn func(typ uint16, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < unix.SizeofRtAttr {
			return errShort
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return errShort
		}
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := fn(typ, b[unix.SizeofRtAttr:n:n]); err != nil {
			return err
		}
		b = skipAligned(b, n)
	}
	return nil
}

// attrIn returns the value of the attribute in b with the last of those types, in the one with the
// type before, and so on. It returns nil where there is none.
func attrIn(b []byte, types ...uint16) (value []byte) {
	for _, want := range types {
		value = nil
		_ = eachAttr(b, func(typ uint16, v []byte) error {
			if typ == want {
				value = v
			}
			return nil
		})
		b = value
	}
	return value
}

// eachName calls fn with the text of each attribute of type want in b.
func eachName(b []byte, want uint16, fn func(name string)) error {
	return eachAttr(b, func(typ uint16, value []byte) error {
		if typ == want {
			fn(cString(value))
		}
		return nil
	})
}

// parseAll parses the bodies of a dump's objects.
func parseAll[T any](objects []nlMessage, parse func([]byte) (T, error)) ([]T, error) {
	out := make([]T, 0, len(objects))
	for _, m := range objects {
		v, err := parse(m.body)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// uint32Of returns the number at the start of value; 0 if value is shorter than that.
func uint32Of(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// cString returns value up to its NUL.
func cString(value []byte) string {
	s, _, _ := strings.Cut(string(value), "\x00")
	return s
}

// setLink is an RTM_SETLINK: a new name unless that is "", and of the flags those in change.
func setLink(index int32, name string, flags, change uint32) nlMessage {
	// struct ifinfomsg, linux/rtnetlink.h: family, pad, type, index, flags, change.
	b := make([]byte, 4, unix.SizeofIfInfomsg+24)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	b = binary.NativeEndian.AppendUint32(b, change)
	if name != "" {
		b = appendAttr(b, unix.IFLA_IFNAME, append([]byte(name), 0))
	}
	return nlMessage{typ: unix.RTM_SETLINK, body: b}
}

// renameRequests are the requests of a plan for links that are down, or for Linux 6.2 and newer,
// which also renames links that are up (commit bd039b5ea2a9).
func renameRequests(steps []step) []nlMessage {
	var out []nlMessage
	for _, s := range steps {
		out = append(out, setLink(s.index, s.to, 0, 0))
	}
	return out
}

// createRequest is the request that creates an object from the body of its dump.
func createRequest(typ uint16, flags uint16, body []byte) nlMessage {
	return nlMessage{typ: typ, flags: unix.NLM_F_CREATE | flags, body: body}
}

// familyRequest is the body of a dump request for one address family; size is that of its header.
func familyRequest(size int, family byte) []byte {
	b := make([]byte, size)
	b[0] = family
	return b
}

// proxyRequest is the body of a dump request for proxy entries: struct ndmsg of linux/neighbour.h,
// where byte 10 has the flags.
func proxyRequest() []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[10] = unix.NTF_PROXY
	return b
}

// indexOf returns the index in a request about a link or an address.
func indexOf(m nlMessage) int32 { return int32(binary.NativeEndian.Uint32(m.body[4:])) }

// parseLink reads an RTM_NEWLINK.
func parseLink(body []byte) (link, error) {
	if len(body) < unix.SizeofIfInfomsg {
		return link{}, errShort
	}
	// struct ifinfomsg, linux/rtnetlink.h
	l := link{
		ethernet: binary.NativeEndian.Uint16(body[2:]) == unix.ARPHRD_ETHER,
		index:    int32(binary.NativeEndian.Uint32(body[4:])),
		up:       binary.NativeEndian.Uint32(body[8:])&unix.IFF_UP != 0,
		carrier:  binary.NativeEndian.Uint32(body[8:])&unix.IFF_LOWER_UP != 0,
	}
	var bus, device string
	var mtu uint32
	var ipv6 []byte
	abroad := false // IFLA_LINK is an index of another network namespace
	err := eachAttr(body[unix.SizeofIfInfomsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.IFLA_PARENT_DEV_BUS_NAME: // Linux 5.14
			bus = cString(value)
		case unix.IFLA_PARENT_DEV_NAME: // Linux 5.14
			device = cString(value)
		case unix.IFLA_IFNAME:
			l.name = cString(value)
		case unix.IFLA_ADDRESS:
			copy(l.addr[:], value)
		case unix.IFLA_PERM_ADDRESS: // Linux 5.6
			copy(l.perm[:], value)
		case unix.IFLA_MTU:
			mtu = uint32Of(value)
		case unix.IFLA_AF_SPEC:
			ipv6 = attrIn(value, unix.AF_INET6)
		case unix.IFLA_LINK:
			l.lower = int32(uint32Of(value))
		case unix.IFLA_LINK_NETNSID:
			abroad = true
		case unix.IFLA_MASTER:
			l.master = int32(uint32Of(value))
		case unix.IFLA_LINKINFO:
			return eachName(value, unix.IFLA_INFO_KIND, func(name string) { l.kind = name })
		case unix.IFLA_PROP_LIST: // Linux 5.5
			return eachName(value, unix.IFLA_ALT_IFNAME, func(name string) {
				l.altnames = append(l.altnames, name)
			})
		}
		return nil
	})
	l.path = idPath(bus, device)
	l.ipv6MTU, l.ipv6Ready = parseIPv6(ipv6, mtu)
	if abroad {
		l.lower = 0
	}
	return l, err
}

// parseIPv6 reads the part of IFLA_AF_SPEC that IPv6 has: ipv6MTU and ipv6Ready of a link, which has
// that MTU.
func parseIPv6(attrs []byte, mtu uint32) (own uint32, ready bool) {
	// An array of numbers: DEVCONF_MTU6 of linux/ipv6.h is the third.
	if conf := attrIn(attrs, unix.IFLA_INET6_CONF); len(conf) >= 3*4 {
		own = uint32Of(conf[2*4:])
	}
	advertised := uint32Of(attrIn(attrs, unix.IFLA_INET6_RA_MTU)) // Linux 5.15
	if own == mtu || own == advertised {
		own = 0
	}
	return own, uint32Of(attrIn(attrs, unix.IFLA_INET6_FLAGS))&ipv6Ready != 0
}

// idPath returns udev's ID_PATH of a link with that parent device: builtin_path_id of systemd's
// src/udev/udev-builtin-path_id.c. It is "" for a virtio device: udev takes the path of the PCI
// device above that, and rtnetlink does not have it.
func idPath(bus, device string) string {
	if (bus == "pci" || bus == "xen") && device != "" {
		return bus + "-" + device
	}
	return ""
}

// parseAddress reads an RTM_NEWADDR.
func parseAddress(body []byte) (address, error) {
	if len(body) < unix.SizeofIfAddrmsg {
		return address{}, errShort
	}
	// struct ifaddrmsg, linux/if_addr.h: family, prefixlen, flags, scope, index.
	a := address{ipv6: body[0] == unix.AF_INET6, flags: uint32(body[2]), scope: body[3], body: body}
	ip := netip.IPv4Unspecified() // the kernel leaves out an address that is 0.0.0.0
	if a.ipv6 {
		ip = netip.IPv6Unspecified()
	}
	a.index = int32(binary.NativeEndian.Uint32(body[4:]))
	err := eachAttr(body[unix.SizeofIfAddrmsg:], func(typ uint16, value []byte) error {
		switch {
		case typ == unix.IFA_LOCAL, typ == unix.IFA_ADDRESS && ip.IsUnspecified():
			// With both, IFA_ADDRESS is the other end of a point-to-point link.
			if own, ok := netip.AddrFromSlice(value); ok {
				ip = own
			}
		case typ == unix.IFA_FLAGS:
			a.flags = uint32Of(value)
		case typ == ifaProto && len(value) == 1:
			a.proto = value[0]
		}
		return nil
	})
	a.ip = netip.PrefixFrom(ip, int(body[1]))
	return a, err
}

// isAutomatic reports whether the kernel makes a by itself when the link goes up: link-local and
// temporary addresses of IPv6, and those of router advertisements (RFC 4862, 8981).
func (a address) isAutomatic() bool {
	const automatic = unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_TEMPORARY
	return a.ipv6 && (a.scope == unix.RT_SCOPE_LINK || a.flags&automatic != 0)
}

// isAdvertised reports whether a router advertisement has brought a (RFC 4862). Before Linux 5.18
// an address does not tell, but those have a lifetime, and may have temporary ones beside them.
func (a address) isAdvertised() bool {
	return a.ipv6 && a.flags&unix.IFA_F_PERMANENT == 0 &&
		(a.proto == ifaProtoRA || a.flags&unix.IFA_F_MANAGETEMPADDR != 0)
}

// A routeEntry is any route of a dump.
type routeEntry struct {
	route
	isDefault bool   // a default route of the main table
	table     uint32 // RT_TABLE_MAIN, RT_TABLE_LOCAL, ...
	nextHop   uint32 // the id of a next-hop object; 0 for none
}

// rejectTypes are the types of route by which no traffic leaves, linux/rtnetlink.h. After throw the
// kernel looks at another table, in which there usually is no default route.
var rejectTypes = map[byte]string{
	unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable",
	unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw",
}

// preferences are the router preferences of RFC 4191, 2.1, as numbers to compare: 1 is high, 3 is
// low, and 0 medium.
var preferences = map[byte]int{1: 1, 3: -1}

// parseRoute reads an RTM_NEWROUTE.
func parseRoute(body []byte) (routeEntry, error) {
	if len(body) < unix.SizeofRtMsg {
		return routeEntry{}, errShort
	}
	// struct rtmsg, linux/rtnetlink.h: family, dst_len, src_len, tos, table, protocol, scope, type,
	// flags.
	flags := binary.NativeEndian.Uint32(body[8:])
	single := hop{dead: flags&unix.RTNH_F_DEAD != 0}
	r := routeEntry{table: uint32(body[4])}
	r.ipv6 = body[0] == unix.AF_INET6
	r.rejects = rejectTypes[body[7]]
	err := eachAttr(body[unix.SizeofRtMsg:], func(typ uint16, value []byte) (err error) {
		switch typ {
		case unix.RTA_TABLE:
			r.table = uint32Of(value)
		case unix.RTA_PRIORITY:
			r.metric = uint32Of(value)
		case unix.RTA_OIF:
			single.index = int32(uint32Of(value))
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			single.via = gateway(typ, value)
		case unix.RTA_CACHEINFO: // struct rta_cacheinfo, linux/rtnetlink.h: clntref, lastuse, expires
			single.dead = single.dead || len(value) >= 12 && int32(uint32Of(value[8:12])) < 0
		case unix.RTA_PREF: // RFC 4191
			if len(value) == 1 {
				r.pref = preferences[value[0]]
			}
		case rtaNHID:
			r.nextHop = uint32Of(value)
		case unix.RTA_MULTIPATH:
			r.hops, err = parseHops(value)
		}
		return err
	})
	if r.rejects != "" {
		r.hops, r.nextHop = nil, 0 // IPv6 has the loopback here
	} else if single.index != 0 && r.hops == nil {
		r.hops = []hop{single}
	}
	everywhere := body[1] == 0 && body[2] == 0 && body[3] == 0
	r.isDefault = everywhere && (body[7] == unix.RTN_UNICAST || r.rejects != "") &&
		r.table == unix.RT_TABLE_MAIN && flags&unix.RTM_F_CLONED == 0
	return r, err
}

// parseHops reads an RTA_MULTIPATH.
func parseHops(b []byte) ([]hop, error) {
	var hops []hop
	for len(b) > 0 {
		if len(b) < unix.SizeofRtNexthop {
			return nil, errShort
		}
		// struct rtnexthop, linux/rtnetlink.h: length, flags, weight-1, index.
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return nil, errShort
		}
		h := hop{index: int32(binary.NativeEndian.Uint32(b[4:])), dead: b[2]&unix.RTNH_F_DEAD != 0}
		err := eachAttr(b[unix.SizeofRtNexthop:n], func(typ uint16, value []byte) error {
			if typ == unix.RTA_GATEWAY || typ == unix.RTA_VIA {
				h.via = gateway(typ, value)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		hops = append(hops, h)
		b = skipAligned(b, n)
	}
	return hops, nil
}

// gateway reads an RTA_GATEWAY or NHA_GATEWAY, or an RTA_VIA (struct rtvia: the family, then the
// address). It returns the zero Addr where that is no IP address.
func gateway(typ uint16, value []byte) netip.Addr {
	if typ == unix.RTA_VIA {
		value = value[min(2, len(value)):]
	}
	via, _ := netip.AddrFromSlice(value)
	return via
}

// A nextHop is a next-hop object (Linux 5.3): one hop, or the members of a group.
type nextHop struct {
	id    uint32
	hop   hop
	group []uint32
}

// parseNextHop reads an RTM_NEWNEXTHOP.
func parseNextHop(body []byte) (nextHop, error) {
	if len(body) < unix.SizeofNhmsg {
		return nextHop{}, errShort
	}
	// struct nhmsg, linux/nexthop.h: family, scope, protocol, reserved, flags.
	n := nextHop{hop: hop{dead: binary.NativeEndian.Uint32(body[4:])&unix.RTNH_F_DEAD != 0}}
	err := eachAttr(body[unix.SizeofNhmsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.NHA_ID:
			n.id = uint32Of(value)
		case unix.NHA_OIF:
			n.hop.index = int32(uint32Of(value))
		case unix.NHA_GATEWAY:
			n.hop.via = gateway(typ, value)
		case unix.NHA_GROUP:
			// struct nexthop_grp, linux/nexthop.h: id, weight-1, and three bytes.
			for ; len(value) >= 8; value = value[8:] {
				n.group = append(n.group, uint32Of(value))
			}
		}
		return nil
	})
	return n, err
}

// A policyRule is a routing policy rule, as far as it selects by the name of a link.
type policyRule struct {
	ipv6     bool
	priority uint32
	iif, oif string
	proto    byte // who made it: RTPROT_KERNEL, ... (Linux 4.17)
}

// parseRule reads an RTM_NEWRULE: struct fib_rule_hdr of linux/fib_rules.h, laid out as struct
// rtmsg.
func parseRule(body []byte) (policyRule, error) {
	if len(body) < unix.SizeofRtMsg {
		return policyRule{}, errShort
	}
	r := policyRule{ipv6: body[0] == unix.AF_INET6}
	err := eachAttr(body[unix.SizeofRtMsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.FRA_PRIORITY:
			r.priority = uint32Of(value)
		case unix.FRA_IIFNAME:
			r.iif = cString(value)
		case unix.FRA_OIFNAME:
			r.oif = cString(value)
		case unix.FRA_PROTOCOL:
			if len(value) == 1 {
				r.proto = value[0]
			}
		}
		return nil
	})
	return r, err
}

// String is the rule in the words of ip(8): "rule 1000 iif eth1".
func (r policyRule) String() string {
	s := fmt.Sprintf("rule %d", r.priority)
	if r.ipv6 {
		s = "IPv6 " + s
	}
	if r.iif != "" {
		s += " iif " + r.iif
	}
	if r.oif != "" {
		s += " oif " + r.oif
	}
	return s
}
