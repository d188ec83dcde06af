package ec2

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

const create = unix.NLM_F_CREATE | unix.NLM_F_EXCL // what is there already is an error

// AddVeth makes a pair of links in the calling thread's namespace, down. The peer gets an address
// of the kernel's choice, and goes to the namespace of peerNetnsFd unless that is negative.
func AddVeth(name string, mac [6]byte, peer string, peerNetnsFd int) error {
	end := attr(ifinfomsg(0, 0, 0), unix.IFLA_IFNAME, cstring(peer))
	if peerNetnsFd >= 0 {
		end = attr(end, unix.IFLA_NET_NS_FD, u32(uint32(peerNetnsFd)))
	}
	const vethInfoPeer = 1 // VETH_INFO_PEER, linux/veth.h
	return addLink(name, mac, "veth", attr(nil, vethInfoPeer, end))
}

// AddBridge makes a bridge, down.
func AddBridge(name string, mac [6]byte) error {
	return addLink(name, mac, "bridge", nil)
}

// AddStacked makes a link of a kind on another, down: a macvlan. With "" for the lower one it stands alone,
// as a dummy does.
func AddStacked(name, kind, lower string, mac [6]byte) error {
	if lower == "" {
		return addLink(name, mac, kind, nil)
	}
	index, err := indexOf(lower)
	if err != nil {
		return err
	}
	return addLink(name, mac, kind, nil, attr(nil, unix.IFLA_LINK, u32(uint32(index)))...)
}

// addLink makes a link of a kind, with data for that kind and more attributes.
func addLink(name string, mac [6]byte, kind string, data []byte, more ...byte) error {
	info := attr(nil, unix.IFLA_INFO_KIND, cstring(kind))
	if data != nil {
		info = attr(info, unix.IFLA_INFO_DATA, data)
	}
	b := attr(ifinfomsg(0, 0, 0), unix.IFLA_IFNAME, cstring(name))
	b = attr(b, unix.IFLA_ADDRESS, mac[:])
	b = append(attr(b, unix.IFLA_LINKINFO, info), more...)
	return about(request(unix.RTM_NEWLINK, create, b), "%s %s", kind, name)
}

// SetUp takes a link up or down.
func SetUp(name string, up bool) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	if up {
		return about(setFlags(index, unix.IFF_UP, unix.IFF_UP), "%s up", name)
	}
	return about(setFlags(index, 0, unix.IFF_UP), "%s down", name)
}

// setFlags sets those flags of a link that are in change.
func setFlags(index int, flags, change uint32) error {
	return request(unix.RTM_SETLINK, 0, ifinfomsg(index, flags, change))
}

// Rename gives the link with that index another name.
func Rename(index int, name string) error {
	b := attr(ifinfomsg(index, 0, 0), unix.IFLA_IFNAME, cstring(name))
	return about(request(unix.RTM_SETLINK, 0, b), "index %d: name %s", index, name)
}

// Delete deletes a link; of a veth pair the other end goes too.
func Delete(name string) error {
	return about(setLink(unix.RTM_DELLINK, 0, name, nil), "%s: delete", name)
}

// AddAltname gives a link other names to be found by.
func AddAltname(name string, altnames ...string) error {
	var list []byte
	for _, a := range altnames {
		list = attr(list, unix.IFLA_ALT_IFNAME, cstring(a))
	}
	list = attr(nil, unix.IFLA_PROP_LIST|unix.NLA_F_NESTED, list)
	err := setLink(unix.RTM_NEWLINKPROP, create|unix.NLM_F_APPEND, name, list)
	return about(err, "%s: altnames %s", name, strings.Join(altnames, " "))
}

// setLink sends a request about a link that is there.
func setLink(typ, nlflags uint16, name string, attrs []byte) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	return request(typ, nlflags, append(ifinfomsg(index, 0, 0), attrs...))
}

// ifinfomsg is struct ifinfomsg: ifi_family, a pad, ifi_type, ifi_index, ifi_flags, ifi_change.
func ifinfomsg(index int, flags, change uint32) []byte {
	b := append(make([]byte, 4), u32(uint32(index))...)
	return append(append(b, u32(flags)...), u32(change)...)
}

// indexOf returns the index of the link of that name in the calling thread's namespace.
func indexOf(name string) (int, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return 0, about(unix.ENODEV, "link %q", name)
	}
	return link.Index, nil
}

// AddAddr gives a link an address and, for more than a host, the route to its network. An IPv6
// address is good at once: nobody is asked whether it is a duplicate.
func AddAddr(name string, p netip.Prefix) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	return about(addAddr(index, p), "%s: address %s", name, p)
}

// addAddr does what AddAddr says for a link whose name may change.
func addAddr(index int, p netip.Prefix) error {
	a := p.Addr()
	// struct ifaddrmsg: family, prefix length, flags, scope, index.
	b := []byte{family(a), byte(p.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	if a.Is6() {
		b[2] = unix.IFA_F_NODAD
	}
	b = append(b, u32(uint32(index))...)
	b = attr(b, unix.IFA_LOCAL, a.AsSlice())
	b = attr(b, unix.IFA_ADDRESS, a.AsSlice())
	return request(unix.RTM_NEWADDR, create, b)
}

// AddNeighbour tells a link for good who has an address.
func AddNeighbour(name string, ip netip.Addr, mac [6]byte) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	// struct ndmsg: family, 3 pads, index, state, flags, type.
	b := append([]byte{family(ip), 0, 0, 0}, u32(uint32(index))...)
	b = append(b, u32(0)...)
	binary.NativeEndian.PutUint16(b[8:], unix.NUD_PERMANENT)
	b = attr(b, unix.NDA_DST, ip.AsSlice())
	b = attr(b, unix.NDA_LLADDR, mac[:])
	return about(request(unix.RTM_NEWNEIGH, create, b), "%s: neighbour %s", name, ip)
}

// HasIPv6 tells whether this kernel has IPv6.
func HasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
