package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// An netObject is one thing that a link may lose.
type netObject struct {
	request     nlMessage  // that makes it again
	key         string     // equal for the same thing, whatever its counters
	keyAnyLink  string     // equal for the same thing on any link, with any metric
	links       []int32    // where it is
	description string     // for people
	proto       byte       // of a route: who made it (RTPROT_DHCP, ...)
	followUp    *nlMessage // to be sent when request has worked
	// It comes and goes with a lease, a router advertisement or the link itself, or is a default
	// route of the main table, which is the manager's to decide.
	transient bool
}

// isManaged reports whether i is a route that a network manager makes: one that follows from
// its configuration, which it will apply again when it is restarted.
func (i netObject) isManaged() bool {
	if i.request.typ != unix.RTM_NEWROUTE {
		return false
	}
	return slices.Contains([]byte{unix.RTPROT_KERNEL, unix.RTPROT_STATIC, unix.RTPROT_DHCP, unix.RTPROT_RA}, i.proto)
}

// anyLink stands for links that the object does not tell: next hops are named by an id, and policy
// rules belong to no link.
const anyLink = -1

// missingObjects lists the items of before that are not there now, in their order.
func missingObjects(before, now []netObject) []netObject {
	there := map[string]bool{}
	for _, i := range now {
		there[i.key] = true
	}
	return slices.DeleteFunc(slices.Clone(before), func(i netObject) bool { return there[i.key] })
}

// lostObjects lists the items of before that are nowhere any more: not where they were, and not
// on another link either, because a manager's own address or route follows the name. What has come
// since accounts for one item each. What comes and goes by itself is left to whoever makes it.
func lostObjects(before, now []netObject) []netObject {
	followed := map[string]int{}
	for _, i := range missingObjects(now, before) {
		followed[i.keyAnyLink]++
	}
	return slices.DeleteFunc(missingObjects(before, now), func(i netObject) bool {
		if !i.transient && followed[i.keyAnyLink] > 0 {
			followed[i.keyAnyLink]--
			return true
		}
		return i.transient
	})
}

// addressItem reads an RTM_NEWADDR.
func addressItem(body []byte) (netObject, error) {
	a, err := parseAddress(body)
	if err != nil {
		return netObject{}, err
	}
	// struct ifaddrmsg, linux/if_addr.h: family, prefixlen, flags, scope, index.
	made := slices.Clone(body[:unix.SizeofIfAddrmsg])
	made[2] = 0
	key := slices.Clone(made)
	i := netObject{links: []int32{a.index}, description: fmt.Sprintf("address %v (index %d)", a.ip, a.index)}
	err = eachAttr(body[unix.SizeofIfAddrmsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.IFA_ADDRESS, unix.IFA_LOCAL:
			key = appendAttr(key, typ, value)
			made = appendAttr(made, typ, value)
		case unix.IFA_CACHEINFO, unix.IFA_RT_PRIORITY, unix.IFA_BROADCAST, ifaProto:
			made = appendAttr(made, typ, value) // of the lifetimes the kernel takes what is left
		}
		return nil
	})
	if a.flags&unix.IFA_F_DADFAILED != 0 {
		return netObject{}, err // somebody else has it
	}
	i.key, i.keyAnyLink = "address "+string(key), "address "+string(clearIndex(key, 4))
	// A lifetime is of a lease or a router advertisement (IFA_F_PERMANENT is its absence).
	i.transient = a.flags&unix.IFA_F_PERMANENT == 0 || a.isAutomatic()
	flags := a.flags & (unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN)
	if !a.ipv6 {
		i.request = createRequest(unix.RTM_NEWADDR, unix.NLM_F_EXCL, appendUint32(made, unix.IFA_FLAGS, flags))
		return i, err
	}
	// It was ours a moment ago: without DAD routes and sockets can use it at once. The flag is
	// taken off again after.
	i.request = createRequest(unix.RTM_NEWADDR, unix.NLM_F_EXCL, appendUint32(slices.Clone(made), unix.IFA_FLAGS, flags|unix.IFA_F_NODAD))
	if flags&unix.IFA_F_NODAD == 0 {
		m := createRequest(unix.RTM_NEWADDR, unix.NLM_F_REPLACE, appendUint32(slices.Clone(made), unix.IFA_FLAGS, flags))
		i.followUp = &m
	}
	return i, err
}

// neighbourItem reads an RTM_NEWNEIGH: permanent entries and proxies are kept.
func neighbourItem(body []byte) (netObject, error) {
	if len(body) < unix.SizeofNdMsg {
		return netObject{}, errShort
	}
	// struct ndmsg, linux/neighbour.h: family, 3 bytes, index, state (16 bits), flags, type.
	permanent := binary.NativeEndian.Uint16(body[8:])&unix.NUD_PERMANENT != 0
	if proxy := body[10]&unix.NTF_PROXY != 0; !permanent && !proxy || body[0] == unix.AF_BRIDGE {
		return netObject{}, nil // learned, and will be again
	}
	index := int32(binary.NativeEndian.Uint32(body[4:]))
	made := slices.Clone(body[:unix.SizeofNdMsg])
	i := netObject{links: []int32{index}, description: fmt.Sprintf("neighbour (index %d)", index)}
	err := eachAttr(body[unix.SizeofNdMsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.NDA_DST:
			if ip, ok := netip.AddrFromSlice(value); ok {
				i.description = fmt.Sprintf("neighbour %v (index %d)", ip, index)
			}
			made = appendAttr(made, typ, value)
		case unix.NDA_LLADDR, ndaProtocol:
			made = appendAttr(made, typ, value)
		}
		return nil
	})
	i.key, i.keyAnyLink = "neighbour "+string(made), "neighbour "+string(clearIndex(made, 4))
	i.request = createRequest(unix.RTM_NEWNEIGH, unix.NLM_F_REPLACE, made)
	return i, err
}

// routeFlags are those of a route or hop that are said by its maker; the rest are the kernel's
// verdicts.
const routeFlags = unix.RTNH_F_ONLINK | unix.RTNH_F_PERVASIVE

// routeItem reads an RTM_NEWROUTE. All are kept but those of the local table, which follow from
// addresses.
func routeItem(body []byte) (netObject, error) {
	r, err := parseRoute(body)
	if err != nil {
		return netObject{}, err
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	if r.table == unix.RT_TABLE_LOCAL || body[7] > unix.RTN_THROW || flags&unix.RTM_F_CLONED != 0 {
		return netObject{}, nil
	}
	made, expires, err := routeBody(body, r.nextHop != 0)
	if err != nil || expires < 0 {
		return netObject{}, err // it is over, and will be collected
	}
	i := netObject{key: "route " + string(made), keyAnyLink: routeKeyAnyLink(made), proto: body[5], description: describeRoute(body, r)}
	i.transient = r.isDefault || expires > 0 || slices.Contains([]byte{unix.RTPROT_KERNEL, unix.RTPROT_DHCP, unix.RTPROT_RA}, i.proto)
	for _, h := range r.hops {
		i.links = append(i.links, h.index)
	}
	if r.nextHop != 0 || body[7] > unix.RTN_MULTICAST { // a blackhole and its like have no link to lose
		i.links = append(i.links, anyLink)
	}
	if expires > 0 {
		made = appendUint32(made, unix.RTA_EXPIRES, uint32(max(1, expires/100))) // seconds
	}
	i.request = createRequest(unix.RTM_NEWROUTE, unix.NLM_F_APPEND, made) // in the order they had
	return i, nil
}

// routeBody is a route's body without the kernel's verdicts and counters; expires is in 1/100 s
// from now, 0 for never. A route by a next-hop object is told by its id alone: rtm_to_fib_config of
// net/ipv4/fib_frontend.c.
func routeBody(body []byte, byID bool) (made []byte, expires int32, err error) {
	made = slices.Clone(body[:unix.SizeofRtMsg])
	binary.NativeEndian.PutUint32(made[8:], binary.NativeEndian.Uint32(body[8:])&routeFlags)
	err = eachAttr(body[unix.SizeofRtMsg:], func(typ uint16, value []byte) error {
		switch typ {
		case unix.RTA_CACHEINFO: // struct rta_cacheinfo, linux/rtnetlink.h: clntref, lastuse, expires
			if len(value) >= 12 {
				expires = int32(binary.NativeEndian.Uint32(value[8:]))
			}
			return nil
		case unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH, unix.RTA_ENCAP, unix.RTA_ENCAP_TYPE:
			if byID {
				return nil
			}
		}
		if typ == unix.RTA_MULTIPATH {
			value = clearHops(value)
		}
		made = appendAttr(made, typ, value)
		return nil
	})
	return made, expires, err
}

// clearHops clears the kernel's verdicts in an RTA_MULTIPATH that parseRoute has checked.
func clearHops(value []byte) []byte {
	out := slices.Clone(value)
	for b := out; len(b) >= unix.SizeofRtNexthop; b = skipAligned(b, int(binary.NativeEndian.Uint16(b))) {
		b[2] &= routeFlags
	}
	return out
}

// describeRoute names a route: "route 10.9.0.0/16 table 100 (index 3)".
func describeRoute(body []byte, r routeEntry) string {
	to := "default"
	_ = eachAttr(body[unix.SizeofRtMsg:], func(typ uint16, value []byte) error {
		if ip, ok := netip.AddrFromSlice(value); ok && typ == unix.RTA_DST {
			to = fmt.Sprintf("%v/%d", ip, body[1])
		}
		return nil
	})
	where := ""
	for _, h := range r.hops {
		where += fmt.Sprintf(" (index %d)", h.index)
	}
	return fmt.Sprintf("route %s table %d%s", to, r.table, where)
}

// routeKeyAnyLink is what a route is known by on any link: where it leads, by which gateways, in
// which table. A manager that makes its routes again may give them other metrics: NetworkManager's
// follow from the order in which links are activated.
func routeKeyAnyLink(made []byte) string {
	same := slices.Clone(made[:unix.SizeofRtMsg])
	_ = eachAttr(made[unix.SizeofRtMsg:], func(typ uint16, value []byte) error { // parsed once already
		switch typ {
		case unix.RTA_DST, unix.RTA_SRC, unix.RTA_TABLE, unix.RTA_GATEWAY, unix.RTA_VIA, rtaNHID:
			same = appendAttr(same, typ, value)
		case unix.RTA_MULTIPATH:
			for b := slices.Clone(value); len(b) >= unix.SizeofRtNexthop; b = skipAligned(b, int(binary.NativeEndian.Uint16(b))) {
				same = append(same, clearIndex(b[:binary.NativeEndian.Uint16(b)], 4)...)
			}
		}
		return nil
	})
	return "route " + string(same)
}

// nextHopItem reads an RTM_NEWNEXTHOP.
func nextHopItem(body []byte) (netObject, error) {
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
			unix.NHA_GATEWAY, unix.NHA_ENCAP_TYPE:
			made = appendAttr(made, typ, value)
		case unix.NHA_ENCAP: // this policy is strict: rtm_nh_policy_new of net/ipv4/nexthop.c
			made = appendAttr(made, typ|unix.NLA_F_NESTED, value)
		}
		return nil
	})
	links := []int32{n.hop.index}
	if n.group != nil {
		links = []int32{anyLink}
	}
	return netObject{
		request:     createRequest(unix.RTM_NEWNEXTHOP, unix.NLM_F_REPLACE, made),
		key:         "next hop " + string(made),
		keyAnyLink:  fmt.Sprintf("next hop %d", n.id), // an id is one next hop's
		links:       links,
		description: fmt.Sprintf("next hop %d", n.id),
	}, err
}

// ruleFlags are those of a policy rule that are said by its maker: linux/fib_rules.h.
const ruleFlags = unix.FIB_RULE_PERMANENT | unix.FIB_RULE_INVERT

// ruleItem reads an RTM_NEWRULE. The kernel loses none, but a network manager removes those that it
// did not make, the kernel's own excepted. Names of links in it stay as they are.
func ruleItem(body []byte) (netObject, error) {
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
		request:     createRequest(unix.RTM_NEWRULE, unix.NLM_F_EXCL, made),
		key:         key,
		keyAnyLink:  key,
		links:       []int32{anyLink},
		description: r.String(),
	}, nil
}

// clearIndex is b with the index of a link at that offset cleared.
func clearIndex(b []byte, at int) []byte {
	out := slices.Clone(b)
	clear(out[at : at+4])
	return out
}
