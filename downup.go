package main

// This file makes the one datagram of a rename on Linux before 6.2: links down, renamed and up, and
// what that has cost them created again. It is pure: apply.go sends it.

import (
	"slices"

	"golang.org/x/sys/unix"
)

// downUpRequests are the requests of a plan for Linux before 6.2, which renames no link that is up:
// each goes down before its first rename and comes up with its last. Then those stacked on it go
// down that were down, as VLANs have come up with it (vlan_device_event of net/8021q/vlan.c). After
// that come the objects that it has lost, as soon as all links of an object are up again. In one
// datagram the kernel carries out all of it, even if this process is killed in the middle.
func downUpRequests(links []link, steps []step, up map[int32]bool, objects []*netObject) (
	requests []nlMessage) {
	last := map[int32]int{}
	for i, s := range steps {
		last[s.index] = i
	}
	down, began := map[int32]bool{}, map[int32]bool{}
	for index := range up {
		down[index] = true // it will be, and it is not over before it is up again
	}
	for i, s := range steps {
		if !began[s.index] && up[s.index] {
			requests = append(requests, setLink(s.index, "", 0, unix.IFF_UP))
		}
		began[s.index] = true
		requests = append(requests, setLink(s.index, s.to, 0, 0))
		if last[s.index] != i || !up[s.index] {
			continue
		}
		// A message of its own: the link comes up even if its new name is refused.
		requests = append(requests, setLink(s.index, "", unix.IFF_UP, unix.IFF_UP))
		delete(down, s.index)
		stacked := stackedOn(links, map[int32]bool{s.index: true}, false)
		for i := range links {
			if l := &links[i]; stacked[l.index] && l.index != s.index && !l.up {
				requests = append(requests, setLink(l.index, "", 0, unix.IFF_UP))
			}
		}
		var left []*netObject
		waiting := stackedOn(links, down, false)
		waiting[anyLink] = len(down) > 0
		for _, o := range objects {
			if o.isOf(waiting) {
				left = append(left, o)
				continue
			}
			requests = append(requests, o.requests...)
		}
		objects = left
	}
	return requests
}

// twinRequests are the requests that put those IPv4 routes in their order which are the same as one
// that was lost, but for what they lead to: each after the first of them is removed and appended.
// Traffic takes the first, and what was created again would be the last. One with a hop by a link
// that is down stays where it is: the kernel would not create all of it again.
func twinRequests(all, lost []*netObject) (requests []nlMessage) {
	disturbed, seen := map[string]bool{}, map[string]bool{}
	for _, o := range lost {
		disturbed[o.twins] = o.twins != ""
	}
	for _, o := range all {
		if disturbed[o.twins] && seen[o.twins] && !o.partial {
			requests = append(requests, // an IPv4 route has one request
				nlMessage{typ: unix.RTM_DELROUTE, body: o.requests[0].body}, o.requests[0])
		}
		seen[o.twins] = true
	}
	return requests
}

// prefixRequests are the requests that remove the routes which the kernel makes with the addresses
// of links that come up, where there was none: somebody has deleted it. If somebody has put another
// in its place, that is created again, because the kernel's may have kept it from that.
func prefixRequests(objects []*netObject, down map[int32]bool) (requests []nlMessage) {
	there := map[string]bool{}
	routes := filter(objects, func(o *netObject) bool { return o.rank == rankRoute })
	for _, o := range routes {
		there[prefixID(o.requests[0].body)] = true
	}
	for _, o := range objects {
		if o.prefixRoute == nil || !o.isOf(down) || there[prefixID(o.prefixRoute)] {
			continue
		}
		there[prefixID(o.prefixRoute)] = true // another address may have the same
		requests = append(requests, nlMessage{typ: unix.RTM_DELROUTE, body: o.prefixRoute})
		to := attrsOf(o.prefixRoute, unix.RTA_DST)
		for _, r := range routes {
			if slices.Contains(r.links, o.links[0]) &&
				attrsOf(r.requests[0].body, unix.RTA_DST) == to {
				requests = append(requests, r.requests...)
			}
		}
	}
	return requests
}

// prefixID identifies a route by what tells the kernel's prefix routes apart.
func prefixID(made []byte) (id string) {
	// struct rtmsg, linux/rtnetlink.h: family, dst_len, src_len, tos, table, proto, scope, type.
	id = string(made[:8])
	for _, typ := range []uint16{unix.RTA_DST, unix.RTA_OIF, unix.RTA_PREFSRC, unix.RTA_PRIORITY,
		unix.RTA_METRICS} {
		id += "/" + attrsOf(made, typ)
	}
	return id
}
