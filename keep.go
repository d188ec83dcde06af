package main

// This file takes a snapshot of what links have, before they lose it, and creates again what is
// missing after. Two things cost a link what it has. When it goes down, the kernel keeps no IPv6
// addresses, no routes other than connected IPv4 ones, no neighbours even if permanent, and no
// next-hop objects (fib_disable_ip of net/ipv4/fib_frontend.c, addrconf_ifdown of
// net/ipv6/addrconf.c, neigh_ifdown, nh_netdev_event). And a network manager that is restarted
// removes what it did not make.

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// snapshotOf lists the policy rules and the objects of those links and of the links stacked on
// them, as VLANs go down and up with their parent, in an order in which they can be created again.
// With an IPv4 route come its twins on other links.
func snapshotOf(nl *rtnl, links []link, of map[int32]bool) ([]*netObject, error) {
	of = stackedOn(links, of, false)
	of[anyLink] = true
	var all []*netObject
	for _, kind := range []struct {
		typ     uint16
		request []byte
		parse   func([]byte) (netObject, error)
	}{
		{unix.RTM_GETADDR, familyRequest(unix.SizeofIfAddrmsg, unix.AF_INET), addressObject},
		{unix.RTM_GETADDR, familyRequest(unix.SizeofIfAddrmsg, unix.AF_INET6), addressObject},
		{unix.RTM_GETNEIGH, make([]byte, unix.SizeofNdMsg), neighbourObject},
		{unix.RTM_GETNEIGH, proxyRequest(), neighbourObject},
		{unix.RTM_GETNEXTHOP, make([]byte, unix.SizeofNhmsg), nextHopObject},
		{unix.RTM_GETROUTE, familyRequest(unix.SizeofRtMsg, unix.AF_INET), routeObject},
		{unix.RTM_GETROUTE, familyRequest(unix.SizeofRtMsg, unix.AF_INET6), routeObject},
		{unix.RTM_GETRULE, familyRequest(unix.SizeofRtMsg, unix.AF_UNSPEC), ruleObject},
	} {
		objects, err := nl.dump(kind.typ, kind.request)
		if errors.Is(err, unix.EOPNOTSUPP) {
			continue // no next-hop objects before Linux 5.3; a kernel without IPv6 or policy rules
		}
		if err != nil {
			return nil, err
		}
		if kind.typ == unix.RTM_GETADDR && kind.request[0] == unix.AF_INET6 {
			// The kernel lists the newest first (ipv6_link_dev_addr of net/ipv6/addrconf.c), and
			// prefers it as a source. So the last has to be created first.
			slices.Reverse(objects)
		}
		found, err := parseAll(objects, kind.parse)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].leaveOutDown(links)
			all = append(all, &found[i])
		}
	}
	return pickObjects(all, of), nil
}

// pickObjects lists the objects of those links, with the twins of IPv4 routes, by rank.
func pickObjects(all []*netObject, of map[int32]bool) (ordered []*netObject) {
	twins := map[string]bool{}
	for _, o := range all {
		twins[o.twins] = twins[o.twins] || o.twins != "" && o.isOf(of)
	}
	for rank := range ranks {
		ordered = append(ordered, filter(all, func(o *netObject) bool {
			return o.rank == rank && (twins[o.twins] || o.key != "" && o.isOf(of))
		})...)
	}
	return ordered
}

// recreateAll creates objects again, and returns those it created and those that the kernel refused.
// One may need another (a route that of its gateway, a group its next hops), so a refused one is
// tried again as long as another has worked. The error has the kernel's reason for each.
func recreateAll(nl *rtnl, objects []*netObject) (made, refused []*netObject, err error) {
	for {
		refused = nil
		var reasons []error
		for _, o := range objects {
			missing, err := recreate(nl, o)
			switch {
			case err != nil:
				refused = append(refused, o)
				reasons = append(reasons, errorf("%s: not put back: %w", o.description, err))
			case missing:
				made = append(made, o)
			}
		}
		if len(refused) == 0 || len(refused) == len(objects) {
			return made, refused, errors.Join(reasons...)
		}
		objects = refused
	}
}

// recreate creates one object again, and reports whether it was missing. EEXIST is success: the
// kernel or another program was faster.
func recreate(nl *rtnl, o *netObject) (missing bool, err error) {
	missing = true
	err = nl.executeBut(o.requests, func(m nlMessage, refusal error) bool {
		there := isThereAlready(m, refusal)
		missing = missing && !there
		return there
	})
	return missing, err
}

// isThereAlready reports whether the kernel refused to create what there is already.
func isThereAlready(_ nlMessage, refusal error) bool { return errors.Is(refusal, unix.EEXIST) }
