package main

// This file turns the objects of the kernel's dumps into the requests that create them again, and
// tells which of them are missing. It is pure: keep.go takes the dumps and sends the requests. What
// the kernel dumps it also accepts, once counters and state are cleared: `ip route save` and `ip
// route restore` rely on the same.

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A netObject is an address, a neighbour, a route, a next hop or a policy rule.
type netObject struct {
	requests    []nlMessage // create it again, in their order; EEXIST of one is no error
	rank        int         // it may need objects of a lower rank
	key         string      // identifies it; without counters and state
	keyAnyLink  string      // identifies it without link and metric
	twins       string      // of an IPv4 route: identifies all between which the order decides
	links       []int32     // the indexes of its links, or anyLink
	description string      // route 10.9.0.0/16 table 100 (index 3)
	// It comes and goes with a lease, a router advertisement or the link, or it is a default route
	// of the main table, about which the network manager decides.
	transient bool
	// The kernel makes it when the link is up again, by itself or by a router advertisement. To
	// create such a route would make one ECMP route of it and its twin of another link, which the
	// next advertisement can't change (seen on Linux 6.1).
	automatic bool
	renewed   bool // automatic, but the kernel makes another in its place
	partial   bool // hops of the route can't be created again
	// The route that the kernel makes with an address when the link comes up: of an RTM_DELROUTE.
	prefixRoute []byte
}

// isOf reports whether one of the object's links is in a set. It is not inlined, as it is called in
// many places.
//
//go:noinline
func (o *netObject) isOf(set map[int32]bool) bool {
	return slices.ContainsFunc(o.links, func(index int32) bool { return set[index] })
}

// isAutomatic reports whether the kernel makes an object again by itself.
func isAutomatic(o *netObject) bool { return o.automatic }

// isLostWhenDown reports whether the kernel removes o when its link goes down: not addresses of
// IPv4 and policy rules.
func (o *netObject) isLostWhenDown() bool {
	return o.rank != rankRule && (o.rank != rankAddress || o.requests[0].body[0] != unix.AF_INET)
}

// The ranks.
const (
	rankAddress = iota
	rankNeighbour
	rankNextHop
	rankNextHopGroup
	rankRoute   // without a gateway
	rankGateway // a route with a gateway, which a route without one leads to
	rankRule
	ranks
)

// anyLink is in place of an index where the object has no link, as policy rules, or has a next
// hop's id instead.
const anyLink = -1

// missingObjects lists the objects of before that are not there now, in their order.
func missingObjects(before, now []*netObject) []*netObject {
	there := map[string]bool{}
	for _, o := range now {
		there[o.key] = true
	}
	return filter(before, func(o *netObject) bool { return !there[o.key] })
}

// lostObjects lists the objects of before that are gone for good: they are not where they were, and
// have not moved to another link either, as those of a manager's configuration move with the name.
// Each new object of now stands for one that has moved. Transient objects are left out: what makes
// them makes them again.
func lostObjects(before, now []*netObject) []*netObject {
	followed := map[string]int{}
	for _, o := range missingObjects(now, before) {
		followed[o.keyAnyLink]++
	}
	return filter(missingObjects(before, now), func(o *netObject) bool {
		if !o.transient && followed[o.keyAnyLink] > 0 {
			followed[o.keyAnyLink]--
			return false
		}
		return !o.transient
	})
}

// addressFlags are the flags of an address that its maker sets; the others are state.
const addressFlags = unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS | unix.IFA_F_MANAGETEMPADDR |
	unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN

// addressObject reads an RTM_NEWADDR.
func addressObject(body []byte) (netObject, error) {
	a, err := parseAddress(body)
	if err != nil {
		return netObject{}, err
	}
	// struct ifaddrmsg, linux/if_addr.h: family, prefixlen, flags, scope, index.
	made := slices.Clone(body[:unix.SizeofIfAddrmsg])
	made[2] = 0
	key := slices.Clone(made)
	o := netObject{rank: rankAddress, links: []int32{a.index}}
	o.description = fmt.Sprintf("address %v (index %d)", a.ip, a.index)
	err = eachAttr(body[unix.SizeofIfAddrmsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.IFA_ADDRESS, unix.IFA_LOCAL:
			key = appendAttr(key, typ, value)
			made = appendAttr(made, typ, value)
		case unix.IFA_CACHEINFO, unix.IFA_RT_PRIORITY, unix.IFA_BROADCAST, ifaProto:
			made = appendAttr(made, typ, value) // the dumped lifetimes are what is left of them
		}
		return nil
	})
	if a.flags&unix.IFA_F_DADFAILED != 0 {
		return netObject{}, err // another host has it
	}
	o.key, o.keyAnyLink = "address "+string(key), "address "+string(clearIndex(key, 4))
	// Without IFA_F_PERMANENT it has a lifetime, from a lease or a router advertisement.
	o.transient = a.flags&unix.IFA_F_PERMANENT == 0 || a.isAutomatic()
	o.renewed = a.ipv6 && a.flags&unix.IFA_F_TEMPORARY != 0
	o.automatic = o.renewed || a.isAdvertised() || a.flags&unix.IFA_F_STABLE_PRIVACY != 0
	if !o.automatic {
		o.prefixRoute = prefixRoute(body, a)
	}
	o.requests = addressRequests(made, a)
	return o, err
}

// addressRequests are the requests that create an address again.
func addressRequests(made []byte, a address) []nlMessage {
	withFlags := func(how uint16, flags uint32) nlMessage {
		body := appendUint32(slices.Clone(made), unix.IFA_FLAGS, flags)
		return createRequest(unix.RTM_NEWADDR, how, body)
	}
	flags := a.flags & addressFlags
	if !a.ipv6 || a.flags&(unix.IFA_F_NODAD|unix.IFA_F_TENTATIVE) != 0 {
		return []nlMessage{withFlags(unix.NLM_F_EXCL, flags)} // what is being tested is tested again
	}
	// The link had this address a moment ago. Without DAD routes and sockets can use it at once.
	// The second request clears the flag again.
	return []nlMessage{withFlags(unix.NLM_F_EXCL, flags|unix.IFA_F_NODAD),
		withFlags(unix.NLM_F_REPLACE, flags)}
}

// prefixRoute returns the route to the other hosts on the link that the kernel makes with an
// address: fib_add_ifaddr of net/ipv4/fib_frontend.c, inet6_addr_add of net/ipv6/addrconf.c. It
// returns nil where the kernel makes none.
func prefixRoute(body []byte, a address) []byte {
	attrs := body[unix.SizeofIfAddrmsg:]
	to, scope, metric := a.ip.Addr(), byte(0), uint32(256) // IP6_RT_PRIO_ADDRCONF
	if !a.ipv6 {
		scope, metric = unix.RT_SCOPE_LINK, 0
		// The other end of a point-to-point link, or the address.
		if ip, ok := netip.AddrFromSlice(attrIn(attrs, unix.IFA_ADDRESS)); ok {
			to = ip
		}
	}
	if own := attrIn(attrs, unix.IFA_RT_PRIORITY); own != nil {
		metric = uint32Of(own)
	}
	alone := !a.ipv6 && a.ip.IsSingleIP() && to == a.ip.Addr()
	// With IFA_F_SECONDARY, which is IFA_F_TEMPORARY of IPv6, another address has the route.
	if a.flags&(unix.IFA_F_NOPREFIXROUTE|unix.IFA_F_SECONDARY) != 0 || alone {
		return nil
	}
	dst := to.AsSlice()
	for i := range dst {
		dst[i] &^= 0xff >> min(max(a.ip.Bits()-8*i, 0), 8)
	}
	made := []byte{body[0], body[1], 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_KERNEL, scope,
		unix.RTN_UNICAST, 0, 0, 0, 0}
	made = appendAttr(made, unix.RTA_DST, dst)
	made = appendUint32(made, unix.RTA_OIF, uint32(a.index))
	if !a.ipv6 {
		made = appendAttr(made, unix.RTA_PREFSRC, a.ip.Addr().AsSlice())
	}
	if metric != 0 {
		made = appendUint32(made, unix.RTA_PRIORITY, metric)
	}
	return made
}

// neighbourObject reads an RTM_NEWNEIGH. Those are kept that a program has made: permanent entries,
// proxies, NOARP (the kernel has such for broadcast and multicast), and learned or managed ones.
func neighbourObject(body []byte) (netObject, error) {
	if len(body) < unix.SizeofNdMsg {
		return netObject{}, errShort
	}
	// struct ndmsg, linux/neighbour.h: family, 3 bytes, index, state (16 bits), flags, type.
	state := binary.NativeEndian.Uint16(body[8:])
	index := int32(binary.NativeEndian.Uint32(body[4:]))
	made := slices.Clone(body[:unix.SizeofNdMsg])
	o := netObject{rank: rankNeighbour, links: []int32{index}}
	o.description = fmt.Sprintf("neighbour (index %d)", index)
	kept := state&unix.NUD_PERMANENT != 0 || body[10]&unix.NTF_PROXY != 0 ||
		body[10]&unix.NTF_EXT_LEARNED != 0 && state&neighbourValid != 0
	err := eachAttr(body[unix.SizeofNdMsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.NDA_DST:
			if ip, ok := netip.AddrFromSlice(value); ok {
				o.description = fmt.Sprintf("neighbour %v (index %d)", ip, index)
			}
			made = appendAttr(made, typ, value)
		case unix.NDA_LLADDR:
			kept = kept || state&unix.NUD_NOARP != 0 && len(value) > 0 && value[0]&1 == 0
			made = appendAttr(made, typ, value)
		case ndaProtocol:
			made = appendAttr(made, typ, value)
		case ndaFlagsExt:
			if uint32Of(value)&neighbourManaged != 0 {
				kept, state = true, 0 // the kernel resolves it
			}
			made = appendAttr(made, typ, value)
		}
		return nil
	})
	if !kept || body[0] == unix.AF_BRIDGE {
		return netObject{}, err // learned, and the kernel will learn it again
	}
	binary.NativeEndian.PutUint16(made[8:], state&(unix.NUD_PERMANENT|unix.NUD_NOARP))
	o.key, o.keyAnyLink = "neighbour "+string(made), "neighbour "+string(clearIndex(made, 4))
	made = slices.Clone(made)
	binary.NativeEndian.PutUint16(made[8:], state)
	o.requests = []nlMessage{createRequest(unix.RTM_NEWNEIGH, unix.NLM_F_REPLACE, made)}
	return o, err
}

// routeFlags are the flags of a route or hop that its maker sets; the others are state.
const routeFlags = unix.RTNH_F_ONLINK | unix.RTNH_F_PERVASIVE

// routeObject reads an RTM_NEWROUTE. All are kept but those of the local table that the kernel
// makes with the addresses.
func routeObject(body []byte) (netObject, error) {
	r, err := parseRoute(body)
	if err != nil {
		return netObject{}, err
	}
	proto, flags := body[5], binary.NativeEndian.Uint32(body[8:])
	if proto == unix.RTPROT_KERNEL && isLocal(body, r) || body[7] > unix.RTN_THROW ||
		flags&unix.RTM_F_CLONED != 0 {
		return netObject{}, nil
	}
	byID := attrsOf(body, rtaNHID) != ""
	made, expires, err := routeBody(body, byID)
	if err != nil || expires < 0 {
		return netObject{}, err // it has expired
	}
	o := netObject{rank: rankRoute, key: "route " + string(made), keyAnyLink: routeKeyAnyLink(made)}
	o.description = describeRoute(body, r)
	if !r.ipv6 {
		o.twins = routeTwins(made)
	}
	for _, h := range r.hops {
		o.links = append(o.links, h.index)
		if h.via.IsValid() {
			o.rank = rankGateway
		}
	}
	if byID || body[7] > unix.RTN_MULTICAST { // RTN_BLACKHOLE and above have no link
		o.links = append(o.links, anyLink)
		o.rank = rankGateway
	}
	// A route of the kernel without a gateway comes with an address.
	o.transient = r.isDefault || expires > 0 || proto == unix.RTPROT_DHCP ||
		proto == unix.RTPROT_RA || proto == unix.RTPROT_KERNEL && o.rank == rankRoute
	o.automatic = proto == unix.RTPROT_RA || r.ipv6 && proto == unix.RTPROT_KERNEL && expires > 0
	if o.automatic {
		o.key = automaticRouteKey(made)
	}
	if expires > 0 {
		made = appendUint32(made, unix.RTA_EXPIRES, uint32(max(1, expires/100))) // seconds
	}
	// Appended, so that those with the same destination keep their order.
	o.requests = []nlMessage{createRequest(unix.RTM_NEWROUTE, unix.NLM_F_APPEND, made)}
	if r.ipv6 && len(r.hops) > 1 && !byID {
		o.requests = hopRequests(made)
	}
	return o, nil
}

// isLocal reports whether a route is for the addresses of this machine. VRFs have such in their own
// tables.
func isLocal(body []byte, r routeEntry) bool {
	return r.table == unix.RT_TABLE_LOCAL ||
		body[7] > unix.RTN_UNICAST && body[7] < unix.RTN_MULTICAST
}

// automaticRouteKey is the key of a route that router advertisements bring. Whether it has an MTU
// depends on net.ipv6.conf.DEV.mtu at the time: ndisc_router_discovery of net/ipv6/ndisc.c.
func automaticRouteKey(made []byte) string {
	return "route " + string(made[:unix.SizeofRtMsg]) + attrsOf(made, unix.RTA_DST,
		unix.RTA_TABLE, unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_MULTIPATH, unix.RTA_PRIORITY)
}

// leaveOutDown leaves out what can't be had by links that are down. The kernel makes no route with
// their addresses, so that it is not there does not say that somebody has deleted it. And it keeps
// hops by them in a multipath route, but refuses a new one (fib_check_nh of
// net/ipv4/fib_semantics.c). Its RTNH_F_DEAD does not tell: with ignore_routes_with_linkdown a link
// without carrier has that too, and is not refused.
func (o *netObject) leaveOutDown(links []link) {
	if o.prefixRoute != nil {
		if l, _ := linkByIndex(links, o.links[0]); !l.up {
			o.prefixRoute = nil
		}
	}
	if o.rank != rankRoute && o.rank != rankGateway {
		return
	}
	var kept []nlMessage
	for _, m := range o.requests {
		var hops []byte
		eachHop(hopsOf(m.body), func(b []byte) {
			// struct rtnexthop, linux/rtnetlink.h: length, flags, weight-1, index.
			l, ok := linkByIndex(links, int32(binary.NativeEndian.Uint32(b[4:])))
			if ok && !l.up {
				o.partial = true
				return
			}
			hops = append(hops, b...)
		})
		if hops != nil {
			m.body = withHops(m.body, hops)
			kept = append(kept, m)
		}
	}
	if o.partial && kept != nil {
		o.requests = kept
	}
}

// withHops returns a route with other hops.
func withHops(made, hops []byte) []byte {
	old := string(appendAttr(nil, unix.RTA_MULTIPATH, hopsOf(made)))
	before, after, _ := strings.Cut(string(made), old)
	return append(appendAttr([]byte(before), unix.RTA_MULTIPATH, hops), after...)
}

// hopRequests are the requests that append the hops of an IPv6 route one by one: of several in one
// request the kernel takes none where one is there already (ip6_route_multipath_add of
// net/ipv6/route.c).
func hopRequests(made []byte) (requests []nlMessage) {
	eachHop(hopsOf(made), func(b []byte) {
		requests = append(requests,
			createRequest(unix.RTM_NEWROUTE, unix.NLM_F_APPEND, withHops(made, b)))
	})
	return requests
}

// routeTwins identifies the IPv4 routes that are the same but for what they lead to: the first of
// them is taken, fib_table_lookup of net/ipv4/fib_trie.c.
func routeTwins(made []byte) string {
	// struct rtmsg, linux/rtnetlink.h: family, dst_len, src_len, tos, table.
	return string(made[:5]) + attrsOf(made, unix.RTA_DST, unix.RTA_TABLE, unix.RTA_PRIORITY)
}

// attrsOf returns those attributes of a route.
func attrsOf(made []byte, types ...uint16) string {
	var some []byte
	_ = eachAttr(made[unix.SizeofRtMsg:], func(typ uint16, value []byte) error {
		if slices.Contains(types, typ) {
			some = appendAttr(some, typ, value)
		}
		return nil
	})
	return string(some)
}

// routeBody returns a route's body without state and counters; expires is in 1/100 s from now, 0
// for never. With byID, the id of the next-hop object stands for the hops: rtm_to_fib_config of
// net/ipv4/fib_frontend.c refuses both.
func routeBody(body []byte, byID bool) (made []byte, expires int32, err error) {
	made = slices.Clone(body[:unix.SizeofRtMsg])
	binary.NativeEndian.PutUint32(made[8:], binary.NativeEndian.Uint32(body[8:])&routeFlags)
	err = eachAttr(body[unix.SizeofRtMsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.RTA_CACHEINFO:
			// struct rta_cacheinfo, linux/rtnetlink.h: clntref, lastuse, expires.
			if len(value) >= 12 {
				expires = int32(binary.NativeEndian.Uint32(value[8:]))
			}
			return nil
		case unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH, unix.RTA_ENCAP,
			unix.RTA_ENCAP_TYPE:
			if byID {
				return nil
			}
		}
		if typ == unix.RTA_MULTIPATH {
			value = eachHop(value, func(b []byte) { b[2] &= routeFlags })
		}
		made = appendAttr(made, typ, value)
		return nil
	})
	return made, expires, err
}

// eachHop returns a copy of an RTA_MULTIPATH that parseRoute has checked, after a call of fn with
// each struct rtnexthop in it, which fn may change.
func eachHop(value []byte, fn func(b []byte)) []byte {
	out := slices.Clone(value)
	for b := out; len(b) >= unix.SizeofRtNexthop; {
		n := int(binary.NativeEndian.Uint16(b))
		fn(b[:n])
		b = skipAligned(b, n)
	}
	return out
}

// describeRoute returns "route 10.9.0.0/16 table 100 (index 3)".
func describeRoute(body []byte, r routeEntry) string {
	to := "default"
	if ip, ok := netip.AddrFromSlice(attrIn(body[unix.SizeofRtMsg:], unix.RTA_DST)); ok {
		to = fmt.Sprintf("%v/%d", ip, body[1])
	}
	where := ""
	for _, h := range r.hops {
		where += fmt.Sprintf(" (index %d)", h.index)
	}
	return fmt.Sprintf("route %s table %d%s", to, r.table, where)
}

// routeKeyAnyLink is the key of a route without link and metric: destination, gateways and table.
// The metrics of a manager's routes may change with its restart: NetworkManager counts them up in
// the order in which it activates links.
func routeKeyAnyLink(made []byte) string {
	key := "route " + string(made[:unix.SizeofRtMsg]) + attrsOf(made, unix.RTA_DST, unix.RTA_SRC,
		unix.RTA_TABLE, unix.RTA_GATEWAY, unix.RTA_VIA, rtaNHID)
	eachHop(hopsOf(made), func(b []byte) { key += string(clearIndex(b, 4)) })
	return key
}

// hopsOf returns the value of the RTA_MULTIPATH, or nil. It is not inlined, as it is called in many
// places.
//
//go:noinline
func hopsOf(made []byte) []byte { return attrIn(made[unix.SizeofRtMsg:], unix.RTA_MULTIPATH) }

// nextHopObject reads an RTM_NEWNEXTHOP.
func nextHopObject(body []byte) (netObject, error) {
	n, err := parseNextHop(body)
	if err != nil {
		return netObject{}, err
	}
	// struct nhmsg, linux/nexthop.h: the scope must be 0 in requests, and of the flags only ONLINK.
	made := slices.Clone(body[:unix.SizeofNhmsg])
	made[1] = 0
	binary.NativeEndian.PutUint32(made[4:], binary.NativeEndian.Uint32(body[4:])&unix.RTNH_F_ONLINK)
	err = eachAttr(body[unix.SizeofNhmsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.NHA_ID, unix.NHA_GROUP, unix.NHA_GROUP_TYPE, unix.NHA_BLACKHOLE, unix.NHA_OIF,
			unix.NHA_GATEWAY, unix.NHA_ENCAP_TYPE, nhaFDB:
			made = appendAttr(made, typ, value)
		case unix.NHA_ENCAP: // this policy is strict: rtm_nh_policy_new of net/ipv4/nexthop.c
			made = appendAttr(made, typ|unix.NLA_F_NESTED, value)
		case nhaResGroup:
			made = appendAttr(made, typ|unix.NLA_F_NESTED, resilientGroup(value))
		}
		return nil
	})
	links, rank := []int32{cmp.Or(n.hop.index, anyLink)}, rankNextHop // a blackhole has no link
	if n.group != nil {
		rank = rankNextHopGroup
	}
	return netObject{
		rank:        rank,
		requests:    []nlMessage{createRequest(unix.RTM_NEWNEXTHOP, unix.NLM_F_REPLACE, made)},
		key:         "next hop " + string(made),
		keyAnyLink:  fmt.Sprintf("next hop %d", n.id), // an id belongs to one next hop
		links:       links,
		description: fmt.Sprintf("next hop %d", n.id),
	}, err
}

// resilientGroup returns an NHA_RES_GROUP without NHA_RES_GROUP_UNBALANCED_TIME, which is state:
// rtm_nh_res_policy_new of net/ipv4/nexthop.c.
func resilientGroup(value []byte) (made []byte) {
	_ = eachAttr(value, func(typ uint16, value []byte) error {
		if typ >= 1 && typ <= 3 { // the number of buckets, and two timers
			made = appendAttr(made, typ, value)
		}
		return nil
	})
	return made
}

// ruleFlags are the flags of a policy rule that its maker sets: linux/fib_rules.h.
const ruleFlags = unix.FIB_RULE_PERMANENT | unix.FIB_RULE_INVERT

// ruleObject reads an RTM_NEWRULE. The kernel loses none, but a network manager may remove those
// that neither it nor the kernel made. Names of links in a rule stay as they are.
func ruleObject(body []byte) (netObject, error) {
	r, err := parseRule(body)
	if err != nil || r.proto == unix.RTPROT_KERNEL {
		return netObject{}, err
	}
	// struct fib_rule_hdr, linux/fib_rules.h: family, dst_len, src_len, tos, table, 2 bytes,
	// action, flags.
	made := slices.Clone(body)
	binary.NativeEndian.PutUint32(made[8:], binary.NativeEndian.Uint32(body[8:])&ruleFlags)
	key := "rule " + string(made)
	return netObject{
		rank:        rankRule,
		requests:    []nlMessage{createRequest(unix.RTM_NEWRULE, unix.NLM_F_EXCL, made)},
		key:         key,
		keyAnyLink:  key,
		links:       []int32{anyLink},
		description: r.String(),
	}, nil
}

// clearIndex returns a copy of b with 0 for the index of a link at that offset.
func clearIndex(b []byte, at int) []byte {
	out := slices.Clone(b)
	clear(out[at : at+4])
	return out
}
