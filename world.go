package main

// This file holds the nouns: links, routes, addresses, and renames. It imports nothing that can
// touch the machine, and decides nothing: what is right is in judge.go, which renames in rename.go.

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

const (
	primaryName = "eth0"  // what the primary ENI is to be called
	tempPrefix  = "eni0-" // a temporary name is this and the name that the link is to have
	nameMax     = 15      // bytes; IFNAMSIZ of linux/if.h less the NUL
)

// A taggedError is an error that errors.Is another one, which its text does not mention.
type taggedError struct {
	error
	is error
}

// Unwrap is for errors.Is.
func (e taggedError) Unwrap() []error { return []error{e.error, e.is} }

// errorf is fmt.Errorf, which the compiler would copy into each place that calls it.
func errorf(format string, a ...any) error { return fmt.Errorf(format, a...) }

// A hwaddr is an Ethernet address: a value, compared with ==.
type hwaddr [6]byte

// String is the form that ip(8) and IMDS have: 0a:ff:00:00:00:01.
func (a hwaddr) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}

// A link is a network interface, as far as decisions need to know it.
type link struct {
	index    int32
	name     string   // eth0
	altnames []string // share one name space with the names
	kind     string   // IFLA_INFO_KIND: bridge, vlan, veth; "" for a device of its own
	addr     hwaddr   // the address in use, which root may change
	perm     hwaddr   // the permanent address; zero where the kernel reports none (veth)
	lower    int32    // index of the link this one is stacked on (a VLAN's parent); 0 for none
	master   int32    // index of the bridge or bond this one is a port of; 0 for none
	ethernet bool     // ARPHRD_ETHER
	up       bool     // IFF_UP
	carrier  bool     // IFF_LOWER_UP: it carries frames
	// In bytes, where IPv6 has another than the link, and not from a router advertisement; else 0.
	ipv6MTU   uint32
	ipv6Ready bool   // IF_READY: IPv6 is at work on it
	path      string // udev's ID_PATH: pci-0000:00:05.0; "" where it is unknown
}

// mayBeENI reports whether l is Ethernet, and a device of its own or a veth end: see isENI.
func (l link) mayBeENI() bool {
	return l.ethernet && (l.kind == "" || l.kind == "veth")
}

// id is the address that IMDS knows an ENI by. It is not inlined, as it is called in many places.
//
//go:noinline
func (l link) id() hwaddr {
	if l.perm != (hwaddr{}) {
		return l.perm
	}
	return l.addr
}

// String is the name, the address and the index, for messages.
func (l link) String() string {
	return fmt.Sprintf("%s (%s, index %d)", visible(l.name), l.id(), l.index)
}

// A hop is one next hop of a default route.
type hop struct {
	index int32
	via   netip.Addr // 10.0.1.1; zero where the route has no gateway
	dead  bool       // RTNH_F_DEAD: the kernel does not use it
}

// A route is a default route of the main table.
type route struct {
	ipv6    bool
	metric  uint32
	pref    int    // of IPv6, where the metric is the same: higher is better; 0 is medium
	rejects string // blackhole, unreachable, prohibit, throw: no traffic leaves; "" for unicast
	hops    []hop
}

// liveLinks lists the indexes of the links that traffic by r leaves by, each once; nil if all hops
// are dead. It is not inlined, as it is called in many places.
//
//go:noinline
func (r route) liveLinks() []int32 {
	var out []int32
	for _, h := range r.hops {
		if !h.dead && !slices.Contains(out, h.index) {
			out = append(out, h.index)
		}
	}
	return out
}

// A world is what judge decides by.
type world struct {
	links   []link
	routes  []route // the default routes, in the kernel's order
	primary hwaddr  // the address of the primary ENI, from IMDS; zero where that is unknown
}

// liveRoutes lists the default routes of one family that the kernel can use, the best first: by
// metric, by router preference (rt6_score_route of net/ipv6/route.c), and then in the kernel's
// order.
func (w world) liveRoutes(ipv6 bool) []route {
	live := filter(w.routes, func(r route) bool {
		return r.ipv6 == ipv6 && (r.rejects != "" || r.liveLinks() != nil)
	})
	var sorted []route
	for _, i := range sortedIndexes(len(live), func(i int) string {
		return fmt.Sprintf("%010d %d %06d", live[i].metric, 1-live[i].pref, i)
	}) {
		sorted = append(sorted, live[i])
	}
	return sorted
}

// An egress is what default traffic of one family leaves by.
type egress struct {
	ipv6    bool
	exists  bool      // there is a default route
	rejects string    // it is a blackhole, ...
	links   []int32   // the links of the route that counts; nil where there is none by an ENI
	enis    [][]int32 // the ENIs below each of these links
	passed  []int32   // links that better routes leave by, which are on no ENI
}

// egress returns what default traffic of one family leaves by: the best default route by an ENI.
// Better ones that leave by links which are on no ENI (tun, WireGuard, dummy) are passed over: what
// they carry leaves by the route of an ENI in the end.
func (w world) egress(ipv6 bool) egress {
	e := egress{ipv6: ipv6}
	for _, r := range w.liveRoutes(ipv6) {
		e.exists = true
		if r.rejects != "" {
			e.rejects = r.rejects
			return e
		}
		for _, index := range r.liveLinks() {
			if enis := enisBelow(w.links, index); len(enis) > 0 {
				e.links, e.enis = append(e.links, index), append(e.enis, enis)
			} else {
				e.passed = append(e.passed, index)
			}
		}
		if e.links != nil {
			return e
		}
	}
	return e
}

// decidingEgress is that of IPv4; that of IPv6 where IPv6 alone has a default route, or that of
// IPv4 is only by links which are on no ENI: what they carry may leave by IPv6.
func (w world) decidingEgress() egress {
	v4, v6 := w.egress(false), w.egress(true)
	byNoENI := v4.links == nil && v4.rejects == ""
	if v6.exists && !v4.exists || byNoENI && v6.links != nil {
		v6.passed = append(v4.passed, v6.passed...)
		return v6
	}
	return v4
}

// allENIs lists the ENIs that default traffic leaves by, each once. It is not inlined, as it is
// called in many places.
//
//go:noinline
func (e egress) allENIs() []int32 {
	var all []int32
	for _, enis := range e.enis {
		for _, index := range enis {
			if !slices.Contains(all, index) {
				all = append(all, index)
			}
		}
	}
	return all
}

// carries reports whether default traffic leaves by the link: it is an ENI, or stacked on one.
func (e egress) carries(index int32) bool {
	return slices.Contains(e.links, index) || slices.Contains(e.allENIs(), index)
}

// errTwoENIs means that only a person can decide which is the primary ENI.
var errTwoENIs = errors.New("two ENIs have the primary's address")

// errNotProbed means that the kernel has not found the ENI which IMDS names yet.
var errNotProbed = errors.New("no link has the primary ENI's address (yet)")

// primaryLink finds the primary ENI among the links. Links that are no ENIs are left out: a VLAN,
// bridge or macvlan on the primary has the same address.
func (w world) primaryLink() (link, error) {
	found := filter(allENIs(w.links), func(l link) bool { return l.id() == w.primary })
	switch len(found) {
	case 0:
		return link{}, errorf("%s: %w", w.primary, errNotProbed)
	case 1:
		return found[0], nil
	}
	return link{}, errorf("%s: %w, %s and %s",
		w.primary, errTwoENIs, found[0].name, found[1].name)
}

// An address is an IP address of a link.
type address struct {
	ipv6  bool
	index int32
	ip    netip.Prefix // 10.0.1.10/24
	scope byte         // RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, ...
	flags uint32       // IFA_F_TEMPORARY, ...
	proto byte         // IFA_PROTO: who made it (Linux 5.18)
	body  []byte       // of the RTM_NEWADDR
}

// A network is a world with the addresses of its links.
type network struct {
	world
	addresses []address
}

// scopeLink is RT_SCOPE_LINK of linux/rtnetlink.h: valid on the link only.
const scopeLink = 253

// hasAddress reports whether l, or a link that is stacked on it, has an address of a family that is
// valid beyond the link.
func (n network) hasAddress(l link, ipv6 bool) bool {
	on := stackedOn(n.links, map[int32]bool{l.index: true}, true)
	return slices.ContainsFunc(n.addresses, func(a address) bool {
		return a.ipv6 == ipv6 && a.scope < scopeLink && on[a.index]
	})
}

// linkByName returns the link called name, and whether there is one. Altnames do not count. It is
// not inlined, as it is called in many places.
//
//go:noinline
func linkByName(links []link, name string) (link, bool) {
	i := slices.IndexFunc(links, func(l link) bool { return l.name == name })
	if i < 0 {
		return link{}, false
	}
	return links[i], true
}

// linkByIndex returns the link with that index, and whether there is one. It is not inlined, as it
// is called in many places.
//
//go:noinline
func linkByIndex(links []link, index int32) (link, bool) {
	i := slices.IndexFunc(links, func(l link) bool { return l.index == index })
	if i < 0 {
		return link{}, false
	}
	return links[i], true
}

// allENIs lists the ENIs. A veth end counts only where no Ethernet link is a device of its own: on
// a host with containers it leads to one, and must not answer in place of IMDS.
func allENIs(links []link) []link {
	own := slices.ContainsFunc(links, func(l link) bool { return l.mayBeENI() && l.kind == "" })
	return filter(links, func(l link) bool { return l.mayBeENI() && (l.kind == "") == own })
}

// isENI reports whether l is one of allENIs.
func isENI(links []link, l link) bool {
	own := func(o link) bool { return o.mayBeENI() && o.kind == "" }
	return own(l) || l.mayBeENI() && !slices.ContainsFunc(links, own)
}

// stackedKinds are the kinds of link that send by the link of their IFLA_LINK. That of a tunnel is
// only where it may begin.
var stackedKinds = []string{"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"}

// anySwitch stands for the bridges of Open vSwitch: all of their ports have one master, ovs-system,
// and the kernel does not tell which bridge a port is of.
const anySwitch = -1

// enisBelow lists the ENIs that traffic by a link leaves by: the link itself, the one that it is
// stacked on, the ports of a bridge or bond.
func enisBelow(links []link, index int32) []int32 {
	below := map[int32]bool{index: true}
	for before := 0; before < len(below); {
		before = len(below)
		for _, l := range links {
			if below[l.index] && slices.Contains(stackedKinds, l.kind) {
				below[l.lower] = true
			}
			if below[l.index] && l.kind == "openvswitch" {
				below[anySwitch] = true
			}
			m, _ := linkByIndex(links, l.master)
			if l.master != 0 && (below[l.master] || below[anySwitch] && m.kind == "openvswitch") {
				below[l.index] = true
			}
		}
	}
	var enis []int32
	for _, l := range allENIs(links) {
		if below[l.index] {
			enis = append(enis, l.index)
		}
	}
	return enis
}

// stackedOn returns the set with the links that are stacked on its links added: those of any kind,
// or with masters those that send by them (stackedKinds), and the bridges and bonds that they are
// ports of. The IFLA_LINK of a veth end does not count: it is its peer, often with an index of
// another namespace.
func stackedOn(links []link, set map[int32]bool, masters bool) map[int32]bool {
	out := map[int32]bool{}
	maps.Copy(out, set)
	for before := 0; before < len(out); {
		before = len(out)
		for _, l := range links {
			sends := !masters || slices.Contains(stackedKinds, l.kind)
			if l.kind != "veth" && out[l.lower] && sends {
				out[l.index] = true
			}
			if masters && l.master != 0 && out[l.index] {
				out[l.master] = true
			}
		}
	}
	return out
}

// networkLinks returns the indexes of the ENIs that are up, and of the links stacked on them.
func networkLinks(links []link) map[int32]bool {
	on := map[int32]bool{}
	for _, e := range allENIs(links) {
		if e.up {
			on[e.index] = true
		}
	}
	on = stackedOn(links, on, true)
	for _, l := range links {
		if !l.up {
			delete(on, l.index)
		}
	}
	return on
}

// A step is one rename. The link is addressed by its index; the rest is for messages.
type step struct {
	index    int32
	addr     hwaddr
	from, to string
}

// String is the log line of a rename.
func (s step) String() string {
	return fmt.Sprintf("%s (index %d): %s -> %s", s.addr, s.index, visible(s.from), visible(s.to))
}

// isKernelName reports whether name is one that the kernel gives: eth0, eth1, ...
func isKernelName(name string) bool {
	n, ok := strings.CutPrefix(name, "eth")
	return ok && n != "" && strings.Trim(n, "0123456789") == "" && (n == "0" || n[0] != '0')
}

// validName is the error of a name that the kernel would not take: dev_valid_name of
// net/core/dev.c. '%' is refused because it means a template there, "all" and "default" because
// they are directories of /proc/sys/net/ipv4/conf (addrconf_sysctl_register).
func validName(name string) error {
	switch {
	case name == "":
		return errors.New("a link's name can't be empty")
	case len(name) > nameMax:
		return errorf("%q: a link's name has at most %d bytes", name, nameMax)
	case name == "." || name == ".." || name == "all" || name == "default":
		return errorf("%q: can't be a link's name", name)
	}
	for i := range len(name) {
		// isspace() in the kernel is Latin-1: 0xa0, the no-break space, is one too (lib/ctype.c).
		if c := name[i]; c <= ' ' || c == 0x7f || c == 0xa0 || strings.IndexByte("/:%", c) >= 0 {
			return errorf("%q: a link's name can't have the byte %q", name, c)
		}
	}
	return nil
}

// visible returns a name in a form that is safe on a terminal: the kernel allows control characters
// in names.
func visible(name string) string {
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// filter returns the items for which keep returns true. It is not inlined, as it is called in many
// places.
//
//go:noinline
func filter[T any](items []T, keep func(T) bool) []T {
	var out []T
	for _, item := range items {
		if keep(item) {
			out = append(out, item)
		}
	}
	return out
}

// sortedIndexes returns the indexes of n items in the order of their keys. Of items with the same
// key only the first counts.
func sortedIndexes(n int, key func(i int) string) (indexes []int) {
	order := func(i int, k string) int { return strings.Compare(key(i), k) }
	for i := range n {
		if at, found := slices.BinarySearchFunc(indexes, key(i), order); !found {
			indexes = append(indexes, i)
			copy(indexes[at+1:], indexes[at:])
			indexes[at] = i
		}
	}
	return indexes
}
