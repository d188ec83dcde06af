package ec2

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// State returns every link, address, route, permanent neighbour, policy rule and next-hop object of
// the calling thread's namespace, in all tables and both families, one line each, sorted. Links are
// named by index and address, never by name; a rule's iif and oif are names and stay so. What
// changes by itself is left out: lifetimes, carrier, duplicate address detection, multicast, the
// link-local addresses that the kernel makes; and so
// are labels of IPv4 addresses, which the kernel rewrites when a link is renamed.
func State() ([]string, error) {
	w, err := lookAtLinks()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, part := range []struct {
		get  int // what to ask for
		line func(header []byte, a map[uint16][]byte) string
		size int // of the header
	}{
		{unix.RTM_GETLINK, w.state, unix.SizeofIfInfomsg},
		{unix.RTM_GETADDR, w.address, unix.SizeofIfAddrmsg},
		{unix.RTM_GETROUTE, w.route, unix.SizeofRtMsg},
		{unix.RTM_GETNEIGH, w.neighbour, unix.SizeofNdMsg},
		{unix.RTM_GETRULE, w.rule, unix.SizeofRtMsg}, // struct fib_rule_hdr is as long
		{unix.RTM_GETNEXTHOP, w.nextHop, len(nhmsg(0))},
	} {
		err := each(part.get, part.size, func(header []byte, a map[uint16][]byte) {
			if line := part.line(header, a); line != "" {
				lines = append(lines, line)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// each hands every object of one kind to fn, its header of that size and its attributes.
func each(get, size int, fn func(header []byte, a map[uint16][]byte)) error {
	msgs, err := table(get)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if int(m.Header.Type) != get-2 { // RTM_GETx is RTM_NEWx + 2
			continue // the end of the dump
		}
		if len(m.Data) < size {
			return errShort
		}
		a, err := attrs(m.Data[size:])
		if err != nil {
			return err
		}
		fn(m.Data[:size], a)
	}
	return nil
}

// table returns every object of one kind, of both families.
func table(get int) ([]syscall.NetlinkMessage, error) {
	if get == unix.RTM_GETNEXTHOP { // wants its whole header, which NetlinkRIB does not send
		msgs, err := dump(unix.RTM_GETNEXTHOP, make([]byte, len(nhmsg(0))))
		if unknownFamily(err) {
			return nil, nil // Linux before 5.3 has no next-hop objects
		}
		return msgs, about(err, "next hops")
	}
	b, err := syscall.NetlinkRIB(get, unix.AF_UNSPEC)
	if err != nil {
		return nil, about(err, "rtnetlink dump %d", get)
	}
	return syscall.ParseNetlinkMessage(b)
}

// A world is what the lines of a State are written with: the address of each link by index.
type world map[int]net.HardwareAddr

// lookAtLinks returns the world of the calling thread's namespace.
func lookAtLinks() (world, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	w := make(world, len(links))
	for _, l := range links {
		w[l.Index] = l.HardwareAddr
	}
	return w, nil
}

// link names a link: "3/0a:ff:00:00:00:01".
func (w world) link(index uint64) string {
	return fmt.Sprintf("%d/%s", index, w[int(index)])
}

// state is the line of a struct ifinfomsg: family, a pad, type, index, flags, change.
func (w world) state(h []byte, a map[uint16][]byte) string {
	const byUser = unix.IFF_PROMISC | unix.IFF_ALLMULTI | unix.IFF_NOARP
	state := "down"
	if number(h[8:12])&unix.IFF_UP != 0 {
		state = "up"
	}
	return fmt.Sprintf("link %s %s flags %x mtu %d", w.link(number(h[4:8])), state,
		number(h[8:12])&byUser, number(a[unix.IFLA_MTU]))
}

// address is the line of a struct ifaddrmsg: family, prefix length, flags, scope, index. It is ""
// for the link-local address of IPv6 that the kernel makes of a link's own.
func (w world) address(h []byte, a map[uint16][]byte) string {
	const bySelf = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_OPTIMISTIC
	local := a[unix.IFA_LOCAL]
	if local == nil {
		local = a[unix.IFA_ADDRESS] // IPv6 names the address so, unless it has a peer
	}
	if string(local) == string(linkLocalOf(w[int(number(h[4:8]))])) {
		return ""
	}
	line := fmt.Sprintf("address %s/%d dev %s scope %d", ip(local), h[1], w.link(number(h[4:8])), h[3])
	return line + words(a, func(typ uint16, b []byte) string {
		switch typ {
		case unix.IFA_LOCAL, unix.IFA_LABEL, unix.IFA_CACHEINFO:
			return ""
		case unix.IFA_ADDRESS:
			if string(b) == string(local) {
				return ""
			}
			return "peer " + ip(b)
		case unix.IFA_BROADCAST:
			return "broadcast " + ip(b)
		case unix.IFA_FLAGS:
			return fmt.Sprintf("flags %x", number(b)&^bySelf)
		}
		return unknown(typ, b)
	})
}

// linkLocalOf is the link-local IPv6 address that goes with an Ethernet address: RFC 4291, appendix A.
func linkLocalOf(mac net.HardwareAddr) []byte {
	if len(mac) != 6 {
		return nil
	}
	return slices.Concat([]byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2}, mac[1:3], []byte{0xff, 0xfe}, mac[3:])
}

// route is the line of a struct rtmsg: family, lengths of destination and source, tos, table,
// protocol, scope, type, flags. It is "" for those that the kernel makes and takes as it likes.
func (w world) route(h []byte, a map[uint16][]byte) string {
	flags := number(h[8:12])
	if flags&unix.RTM_F_CLONED != 0 || h[7] == unix.RTN_MULTICAST || h[7] == unix.RTN_ANYCAST {
		return ""
	}
	if h[0] == unix.AF_INET6 && number(a[unix.RTA_TABLE]) == unix.RT_TABLE_LOCAL {
		return "" // comes a moment after its address
	}
	if h[0] == unix.AF_INET6 && h[1] == 64 && h[5] == unix.RTPROT_KERNEL && strings.HasPrefix(ip(a[unix.RTA_DST]), "fe80:") {
		return "" // comes and goes with the link-local address
	}
	const byUser = unix.RTNH_F_DEAD | unix.RTNH_F_PERVASIVE | unix.RTNH_F_ONLINK
	dst := fmt.Sprintf("%s/%d", ip(a[unix.RTA_DST]), h[1])
	if a[unix.RTA_DST] == nil {
		dst = fmt.Sprintf("default/%d", h[0])
	}
	return fmt.Sprintf("route table %d %s tos %d proto %d scope %d type %d flags %x",
		number(a[unix.RTA_TABLE]), dst, h[3], h[5], h[6], h[7], flags&byUser) + words(a, w.routeWord)
}

// routeWord is one attribute of a route, in words.
func (w world) routeWord(typ uint16, b []byte) string {
	switch typ {
	case unix.RTA_DST, unix.RTA_TABLE, unix.RTA_CACHEINFO, unix.RTA_EXPIRES:
		return ""
	case unix.RTA_OIF:
		return "dev " + w.link(number(b))
	case unix.RTA_GATEWAY:
		return "via " + ip(b)
	case unix.RTA_PRIORITY:
		return fmt.Sprintf("metric %d", number(b))
	case unix.RTA_PREFSRC:
		return "src " + ip(b)
	case unix.RTA_MULTIPATH:
		return w.hops(b)
	case rtaNHID:
		return fmt.Sprintf("nexthop %d", number(b))
	}
	return unknown(typ, b)
}

// hops is a run of struct rtnexthop (length, flags, weight less one, index, attributes), in words.
func (w world) hops(b []byte) string {
	var s []string
	for len(b) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return "hops cut short"
		}
		a, err := attrs(b[unix.SizeofRtNexthop:n])
		if err != nil {
			return "hops cut short"
		}
		s = append(s, fmt.Sprintf("{dev %s weight %d flags %x%s}", w.link(number(b[4:8])), b[3]+1,
			b[2]&(unix.RTNH_F_DEAD|unix.RTNH_F_ONLINK), words(a, w.routeWord)))
		b = b[min(len(b), align(n)):]
	}
	return "hops " + strings.Join(s, " ")
}

// neighbour is the line of a struct ndmsg: family, 3 pads, index, state, flags, type. It is "" for
// one that the kernel has learned by asking.
func (w world) neighbour(h []byte, a map[uint16][]byte) string {
	if number(h[8:10])&unix.NUD_PERMANENT == 0 {
		return ""
	}
	return fmt.Sprintf("neighbour %s dev %s is %s flags %x", ip(a[unix.NDA_DST]), w.link(number(h[4:8])),
		net.HardwareAddr(a[unix.NDA_LLADDR]), h[10])
}

// rule is the line of a struct fib_rule_hdr: family, lengths of destination and source, tos, table,
// 2 reserved, action, flags.
func (w world) rule(h []byte, a map[uint16][]byte) string {
	line := fmt.Sprintf("rule family %d priority %d table %d action %d flags %x tos %d", h[0],
		number(a[unix.FRA_PRIORITY]), number(a[unix.FRA_TABLE]), h[7], number(h[8:12]), h[3])
	return line + words(a, func(typ uint16, b []byte) string {
		switch typ {
		case unix.FRA_PRIORITY, unix.FRA_TABLE, unix.FRA_SUPPRESS_PREFIXLEN:
			return ""
		case unix.FRA_DST:
			return fmt.Sprintf("to %s/%d", ip(b), h[1])
		case unix.FRA_SRC:
			return fmt.Sprintf("from %s/%d", ip(b), h[2])
		case unix.FRA_IIFNAME:
			return fmt.Sprintf("iif %q", unix.ByteSliceToString(b))
		case unix.FRA_OIFNAME:
			return fmt.Sprintf("oif %q", unix.ByteSliceToString(b))
		}
		return unknown(typ, b)
	})
}

// nextHop is the line of a struct nhmsg: family, scope, protocol, a pad, flags.
func (w world) nextHop(h []byte, a map[uint16][]byte) string {
	const byUser = unix.RTNH_F_DEAD | unix.RTNH_F_ONLINK
	line := fmt.Sprintf("nexthop %d family %d scope %d proto %d flags %x", number(a[unix.NHA_ID]), h[0], h[1],
		h[2], number(h[4:8])&byUser)
	return line + words(a, func(typ uint16, b []byte) string {
		switch typ {
		case unix.NHA_ID:
			return ""
		case unix.NHA_OIF:
			return "dev " + w.link(number(b))
		case unix.NHA_GATEWAY:
			return "via " + ip(b)
		}
		return unknown(typ, b)
	})
}

// words joins what word makes of the attributes, by rising type.
func words(a map[uint16][]byte, word func(typ uint16, b []byte) string) string {
	var line string
	for _, typ := range slices.Sorted(maps.Keys(a)) {
		if s := word(typ, a[typ]); s != "" {
			line += " " + s
		}
	}
	return line
}

// unknown keeps what there are no words for, so that a change in it shows.
func unknown(typ uint16, b []byte) string {
	return fmt.Sprintf("#%d=%x", typ, b)
}

// ip is an address of an attribute.
func ip(b []byte) string {
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}
