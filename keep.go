package main

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Two things cost a link what it has. Going down does: the kernel keeps no IPv6 addresses, no
// routes other than connected IPv4 ones, no neighbours even if permanent, and no next-hop objects
// (fib_disable_ip of net/ipv4/fib_frontend.c, addrconf_ifdown of net/ipv6/addrconf.c, neigh_ifdown,
// nh_netdev_event). And a network manager that is restarted removes what it did not make.
// This file lists all of it before, and puts back on the same link what is missing after. What the
// kernel dumps is, with its counters and verdicts cleared, what it takes: that is also how
// `ip route save` and `ip route restore` work.

// snapshotOf lists what those links have, and the links stacked on them (VLANs go down and up with
// their parent), and the policy rules, in an order in which it can be put back.
func snapshotOf(nl *rtnl, links []link, of map[int32]bool) ([]netObject, error) {
	of = stackedOn(links, of, false)
	of[anyLink] = true
	var all []netObject
	for _, kind := range []struct {
		typ     uint16
		request []byte
		parse   func([]byte) (netObject, error)
	}{
		{unix.RTM_GETADDR, familyRequest(unix.SizeofIfAddrmsg, unix.AF_INET), addressItem},
		{unix.RTM_GETADDR, familyRequest(unix.SizeofIfAddrmsg, unix.AF_INET6), addressItem},
		{unix.RTM_GETNEIGH, make([]byte, unix.SizeofNdMsg), neighbourItem},
		{unix.RTM_GETNEIGH, proxyRequest(), neighbourItem},
		{unix.RTM_GETROUTE, familyRequest(unix.SizeofRtMsg, unix.AF_INET), routeItem},
		{unix.RTM_GETROUTE, familyRequest(unix.SizeofRtMsg, unix.AF_INET6), routeItem},
		{unix.RTM_GETNEXTHOP, make([]byte, unix.SizeofNhmsg), nextHopItem},
		{unix.RTM_GETRULE, familyRequest(unix.SizeofRtMsg, unix.AF_UNSPEC), ruleItem},
	} {
		objects, err := nl.dump(kind.typ, kind.request)
		if errors.Is(err, unix.EOPNOTSUPP) {
			continue // next-hop objects before Linux 5.3; IPv6 or policy rules compiled out
		}
		if err != nil {
			return nil, err
		}
		if kind.typ == unix.RTM_GETADDR && kind.request[0] == unix.AF_INET6 {
			// The kernel puts the newest first (ipv6_link_dev_addr of net/ipv6/addrconf.c), and
			// prefers it as a source: they have to come back from the last to the first.
			slices.Reverse(objects)
		}
		items, err := parseAll(objects, kind.parse)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	return slices.DeleteFunc(all, func(i netObject) bool {
		return i.key == "" || !slices.ContainsFunc(i.links, func(index int32) bool { return of[index] })
	}), nil
}

// recreateAll makes items again, and returns those it made. One may need another (a route its
// gateway's route, a group its next hops), so what was refused is tried again as long as something
// else worked. Its error has the kernel's reasons for those that could not be made at all.
func recreateAll(nl *rtnl, items []netObject) (made []netObject, err error) {
	for {
		var refused []netObject
		var reasons []error
		for _, i := range items {
			if err := recreate(nl, i); err != nil {
				refused = append(refused, i)
				reasons = append(reasons, fmt.Errorf("%s: not put back: %w", i.description, err))
				continue
			}
			made = append(made, i)
		}
		if len(refused) == 0 || len(refused) == len(items) {
			return made, errors.Join(reasons...)
		}
		items = refused
	}
}

// recreate makes one item again. EEXIST is success: somebody else was faster, or the kernel.
func recreate(nl *rtnl, i netObject) error {
	err := nl.execute([]nlMessage{i.request})
	if err == nil && i.followUp != nil {
		err = nl.execute([]nlMessage{*i.followUp})
	}
	return ignoreError(err, unix.EEXIST)
}
