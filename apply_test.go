package main

import (
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"eni0/testbed/ec2"
	"eni0/testbed/kinds"

	"golang.org/x/sys/unix"
)

// furnish gives eth0 and eth1 some of everything that a link loses by going down.
func (l *lab) furnish() {
	l.Helper()
	for n, dev := range []string{"eth0", "eth1"} {
		device := 1 - n // of {1, 0}
		router, prefix := l.Router(device), netip.MustParsePrefix
		id := uint32(10 * (n + 1))
		l.must(
			ec2.AddRoute(ec2.Route{Dev: dev, Dst: prefix("172.16.0.0/16"), Via: router, Metric: uint32(100 + n)}),
			ec2.AddRoute(ec2.Route{Dev: dev, Dst: prefix("172.17.0.0/16"), Proto: unix.RTPROT_BOOT, Metric: uint32(100 + n)}),
			ec2.AddRoute(ec2.Route{Dev: dev, Via: router, Table: uint32(1000 + n)}),
			ec2.AddRoute(ec2.Route{Dev: dev, Dst: prefix("192.0.2.0/24"), Via: netip.MustParseAddr("198.51.100.1"), Onlink: true, Metric: uint32(7 + n)}),
			ec2.AddNeighbour(dev, router.Next().Next(), [6]byte{2, 0, 0, 0, 1, byte(n)}),
			ec2.AddNextHop(id, dev, router), ec2.AddNextHopGroup(id+1, id),
			ec2.AddRoute(ec2.Route{Dst: prefix("203.0.113.0/24"), NextHop: id + 1, Metric: uint32(10 + n)}),
			ec2.AddRule(ec2.Rule{From: prefix("10.0.9.9/32"), Table: uint32(1000 + n), Priority: uint32(500 + n)}))
	}
	l.multicast("eth0")
	l.must(ec2.AddRoute(ec2.Route{Dst: netip.MustParsePrefix("100.64.0.0/10"),
		Multipath: []ec2.Hop{{Dev: "eth0", Via: l.Router(1)}, {Dev: "eth1", Via: l.Router(0)}}}))
}

// multicast adds what `ip route add multicast 224.1.0.0/16 dev DEV` does.
func (l *lab) multicast(dev string) {
	l.Helper()
	i, err := net.InterfaceByName(dev)
	l.must(err)
	nl := l.dial()
	defer nl.close()
	// struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
	body := []byte{unix.AF_INET, 16, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_LINK, unix.RTN_MULTICAST, 0, 0, 0, 0}
	body = appendAttr(body, unix.RTA_DST, []byte{224, 1, 0, 0})
	l.must(nl.execute([]nlMessage{createRequest(unix.RTM_NEWROUTE, 0, appendUint32(body, unix.RTA_OIF, uint32(i.Index)))}))
}

// furnishIPv6 adds what is IPv6.
func (l *lab) furnishIPv6() {
	l.Helper()
	for n, dev := range []string{"eth0", "eth1"} {
		net6 := netip.MustParsePrefix([]string{"fd00:a::/64", "fd00:b::/64"}[n])
		host, router := net6.Addr().Next(), net6.Addr().Next().Next()
		l.must(
			ec2.AddAddr(dev, netip.PrefixFrom(host, 64)),
			ec2.AddAddr(dev, netip.PrefixFrom(router.Next(), 128)),
			ec2.AddRoute(ec2.Route{Dev: dev, Dst: netip.MustParsePrefix("::/0"), Via: router, Metric: uint32(1024 + n)}),
			ec2.AddRoute(ec2.Route{Dev: dev, Dst: netip.MustParsePrefix("2001:db8::/32"), Via: router, Table: uint32(1000 + n)}),
			ec2.AddNeighbour(dev, router, [6]byte{2, 0, 0, 0, 2, byte(n)}))
	}
}

// order lists the IPv6 addresses in the kernel's order, link by link.
func (l *lab) order(nl *rtnl) (out []string) {
	l.Helper()
	links, err := nl.links()
	l.must(err)
	for _, link := range links {
		items, err := snapshotOf(nl, links, map[int32]bool{link.index: true})
		l.must(err)
		for _, i := range items {
			if i.requests[0].typ == unix.RTM_NEWADDR {
				out = append(out, i.description)
			}
		}
	}
	return out
}

// Links that go down for their rename have everything afterwards that they had before.
func TestKernelBounce(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.furnish()
	if ec2.HasIPv6() {
		l.furnishIPv6()
	}
	nl := l.dial()
	defer nl.close()
	var log strings.Builder
	for _, want := range [][]string{{"eth0", "eth1"}, {"eth1", "eth0"}} {
		order := l.order(nl)
		l.unchanged(func() {
			before, err := nl.links()
			l.must(err)
			targets, err := swapTargets(before, "eth0", "eth1")
			l.must(err)
			r := &renaming{nl: nl, log: logger{to: &log}, before: before}
			l.must(r.renameWhileDown(targets), r.verifyRenamed(targets))
		})
		l.wantNames(want...)
		if now := l.order(nl); !slices.Equal(now, order) {
			t.Errorf("the kernel's order is %q, want %q: it prefers the first as a source address", now, order)
		}
	}
	if strings.Contains(log.String(), "not put back") {
		t.Error(log.String())
	}
}

// What links lose by going down is put back by the same datagram, whatever happens to eni0 after it: of every kind, and
// in the order it had.
func TestKernelDownUp(t *testing.T) {
	l, m := managed(t, 1, 0, 2)
	if l == nil {
		return
	}
	m.Hold()
	l.must(kinds.Make([]kinds.Link{{Name: "eth0", Number: 2}, {Name: "eth1", Number: 1}, {Name: "eth2", Number: 3}}, nil))
	nl := l.dial()
	defer nl.close()
	for _, want := range [][]string{{"eth0", "eth1", "eth2"}, {"eth1", "eth0", "eth2"}} {
		before, err := kinds.Dump()
		l.must(err)
		links, err := nl.links()
		l.must(err)
		targets, err := swapTargets(links, "eth0", "eth1")
		l.must(err)
		var log strings.Builder
		r := &renaming{nl: nl, log: logger{to: &log}, before: links}
		l.must(r.renameWhileDown(targets))
		after, err := kinds.Dump()
		l.must(err, r.verifyRenamed(targets))
		for _, d := range kinds.Differences(kinds.WithoutSysctls(before), kinds.WithoutSysctls(after)) {
			t.Error(d)
		}
		r.awaitRestored()
		after, err = kinds.Dump()
		l.must(err)
		for _, d := range kinds.Differences(before, after) {
			t.Error(d)
		}
		if strings.Count(log.String(), "goes down for its rename") != 2 {
			t.Errorf("the links have not been down: %s", log.String())
		}
		l.wantNames(want...)
	}
}

// The kernel makes with each address the route that prefixRoute says, and no other.
func TestKernelPrefixRoute(t *testing.T) {
	l, m := managed(t, 0, 1)
	if l == nil {
		return
	}
	m.Hold()
	addresses := []string{"10.7.1.1/24", "10.7.1.2/24", "10.7.1.3/25", "10.8.1.1/32", "10.8.3.3/31", "10.8.4.5/30", "10.9.1.1/24 metric 77",
		"10.9.2.1/24 noprefixroute", "10.5.1.1 peer 10.5.1.2", "10.5.2.1 peer 10.5.3.2/24", "172.16.0.1/9"}
	if ec2.HasIPv6() {
		addresses = append(addresses, "2001:db8:1::1/64", "2001:db8:1::2/64", "2001:db8:2::1/128", "2001:db8:3::1/64 metric 77",
			"2001:db8:4::1/64 noprefixroute", "2001:db8:5::1 peer 2001:db8:6::1/64", "2001:db8:7::1/61 nodad")
	}
	for i, a := range addresses {
		addresses[i] = "address add " + a + " dev NAME"
	}
	l.must(kinds.MakeThese(addresses, []kinds.Link{{Name: "eth1", Number: 1}}))
	nl, links := l.links()
	eth1, _ := linkByName(links, "eth1")
	objects, err := snapshotOf(nl, links, map[int32]bool{eth1.index: true})
	l.must(err)
	said, made := map[string]string{}, map[string]string{}
	for _, o := range objects {
		body := o.requests[0].body
		if o.prefixRoute != nil {
			said[prefixID(o.prefixRoute)] = o.description
		}
		// Beside an IPv6 address with a peer is a route to that alone, of the same metric.
		peer := o.rank == rankRoute && body[0] == unix.AF_INET6 && body[1] == 128 && strings.Contains(o.description, "2001:db8:6::1")
		linkLocal := strings.Contains(o.description, "fe80::") || strings.Contains(o.description, "ff00::")
		if o.rank == rankRoute && body[5] == unix.RTPROT_KERNEL && !peer && !linkLocal {
			made[prefixID(body)] = o.description
		}
	}
	for id, what := range said {
		if _, ok := made[id]; !ok && !strings.Contains(what, "fe80::") {
			t.Errorf("prefixRoute() has a route for %s that the kernel has not made", what)
		}
	}
	for id, what := range made {
		if _, ok := said[id]; !ok {
			t.Errorf("the kernel made %s, which no prefixRoute() has", what)
		}
	}
	if len(made) < 9 {
		t.Errorf("the kernel made %d routes, want more: %q", len(made), made)
	}
	if requests := prefixRequests(objects, map[int32]bool{eth1.index: true}); len(requests) > 0 {
		t.Errorf("prefixRequests() = %v, want none: all routes are there", requests)
	}
}

// A prefix route stays where it was not there because the link was down, or where nothing is made in its place.
func TestKernelPrefixRouteStays(t *testing.T) {
	t.Parallel() // it waits for restoreTimeout
	l, m := managed(t, 0, 1)
	if l == nil {
		return
	}
	m.Hold()
	on := func(name string, args ...string) {
		t.Helper()
		l.must(kinds.MakeThese(args, []kinds.Link{{Name: name, Number: 1}}))
	}
	expect := func(to string) {
		t.Helper()
		if now := strings.Join(l.state(), "\n"); !strings.Contains(now, to) {
			t.Errorf("there is no route to%sany more:\n%s", to, now)
		}
	}
	on("eth1", "address add 10.17.1.1/24 dev NAME", "link set NAME down")
	nl, links := l.links()
	r := &renaming{nl: nl, before: links}
	eth1, _ := linkByName(links, "eth1")
	l.must(r.takeSnapshot(links, map[int32]bool{eth1.index: true}))
	on("eth1", "link set NAME up")
	l.swapDown(r)
	expect(" 10.17.1.0/24 ")
	if !ec2.HasIPv6() {
		return
	}
	on("eth0", "address add 2001:db8:1::1/64 dev NAME",
		"-6 route replace 2001:db8:1::/64 dev NAME proto kernel metric 256 expires 6000 mtu 1300")
	nl, links = l.links()
	l.swapDown(&renaming{nl: nl, before: links})
	expect(" 2001:db8:1::/64 ")
}

// What router advertisements bring is waited for after links have been down.
func TestKernelAwaitRestored(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	if !ec2.HasIPv6() {
		t.Skip("this kernel has no IPv6")
	}
	m.Hold()
	advertised := ec2.Route{Dev: "eth0", Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::1"), Proto: unix.RTPROT_RA, Metric: 1024}
	l.must(ec2.AddRoute(advertised))
	nl, links := l.links()
	r := &renaming{nl: nl, log: logger{to: io.Discard}, before: links, down: map[int32]bool{links[1].index: true}}
	for range 2 {
		l.unchanged(func() {
			l.must(r.takeSnapshot(links, r.down), ec2.DelRoute(advertised))
			back := make(chan error)
			go func() {
				time.Sleep(200 * time.Millisecond)
				back <- ec2.AddRoute(advertised)
			}()
			r.awaitRestored()
			now, err := snapshotOf(nl, links, r.down)
			l.must(err, <-back)
			for _, o := range missingObjects(r.snapshot, now) {
				t.Errorf("awaitRestored() did not wait for %s", o.description)
			}
		})
	}
}

// A route whose gateway another route leads to is created again, whichever of them comes first.
func TestKernelRecreateInAnyOrder(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.must(ec2.AddRoute(ec2.Route{Dev: "eth1", Dst: netip.MustParsePrefix("172.30.0.0/24")}),
		ec2.AddRoute(ec2.Route{Dev: "eth1", Dst: netip.MustParsePrefix("172.31.0.0/16"), Via: netip.MustParseAddr("172.30.0.1")}))
	nl := l.dial()
	defer nl.close()
	i, err := net.InterfaceByName("eth1")
	l.must(err)
	for range 2 {
		l.unchanged(func() {
			before, err := snapshotOf(nl, nil, map[int32]bool{int32(i.Index): true})
			l.must(err, ec2.SetUp("eth1", false), ec2.SetUp("eth1", true))
			now, err := snapshotOf(nl, nil, map[int32]bool{int32(i.Index): true})
			l.must(err)
			lost := missingObjects(before, now)
			slices.Reverse(lost)
			made, _, err := recreateAll(nl, lost)
			if l.must(err); len(made) != len(lost) || len(made) < 2 {
				t.Errorf("%d objects of %d were created again, want all, 2 or more", len(made), len(lost))
			}
			_, _, err = recreateAll(nl, lost)
			l.must(err) // what is there already is no failure
		})
	}
}

// swapDown swaps eth0 and eth1 as Linux before 6.2 needs it, and waits for what that costs them. It returns the log.
func (l *lab) swapDown(r *renaming) string {
	l.Helper()
	targets, err := swapTargets(r.before, "eth0", "eth1")
	l.must(err)
	var log strings.Builder
	r.log = logger{to: &log}
	l.must(r.renameWhileDown(targets), r.verifyRenamed(targets))
	r.awaitRestored()
	return log.String()
}

// What the kernel refuses for a while after a link has come up is put back as soon as it does not.
func TestKernelRestoresLater(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.must(ec2.AddNextHop(7, "eth0", l.Router(1)), ec2.AddRoute(ec2.Route{Dst: netip.MustParsePrefix("172.30.0.0/16"), NextHop: 7}))
	src := netip.MustParseAddr("fd00:a::2")
	if ec2.HasIPv6() {
		// With this the address survives, but is tested again, and may not be a source meanwhile.
		l.must(os.WriteFile("/proc/sys/net/ipv6/conf/eth0/keep_addr_on_down", []byte("1"), 0),
			ec2.AddAddr("eth0", netip.PrefixFrom(src, 64)),
			ec2.AddRoute(ec2.Route{Dev: "eth0", Dst: netip.MustParsePrefix("2001:db8::/48"), Via: src.Next(), Src: src}))
	}
	nl, links := l.links()
	l.unchanged(func() {
		r := &renaming{nl: nl, before: links}
		eth0, _ := linkByName(links, "eth0")
		l.must(r.takeSnapshot(links, map[int32]bool{eth0.index: true}))
		wire := func(up bool) error { return l.Do(func() error { return ec2.SetUp("wire1", up) }) }
		l.must(wire(false)) // like a card that takes a while to have a carrier
		plugged := make(chan error)
		go func() {
			time.Sleep(500 * time.Millisecond)
			plugged <- wire(true)
		}()
		if log := l.swapDown(r); strings.Contains(log, "not put back") {
			t.Error(log)
		}
		l.must(<-plugged)
	})
}

// A bridge may lose its carrier with that of its only port, and then the kernel removes its next hops. Here it does so
// whatever the carrier does.
func TestKernelBridgeAbove(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	via := netip.MustParseAddr("10.9.0.1")
	l.must(ec2.AddBridge("br0", [6]byte{2, 0, 0, 0, 0, 9}), ec2.SetUp("br0", true), l.enslave("eth0", "br0"),
		ec2.AddAddr("br0", netip.MustParsePrefix("10.9.0.2/24")))
	nl, links := l.links()
	l.must(await(t.Context(), func() (_ bool, err error) {
		links, err = nl.links()
		br0, _ := linkByName(links, "br0")
		return br0.carrier, err
	}))
	l.must(ec2.AddNextHop(7, "br0", via), ec2.AddRoute(ec2.Route{Dst: netip.MustParsePrefix("172.30.0.0/16"), NextHop: 7}))
	targets, err := swapTargets(links, "eth0", "eth1")
	l.must(err)
	r := &renaming{nl: nl, log: logger{to: io.Discard}, before: links}
	l.unchanged(func() {
		l.must(r.renameWhileDown(targets))
		remove := appendUint32(make([]byte, unix.SizeofNhmsg), unix.NHA_ID, 7)
		err := nl.execute([]nlMessage{{typ: unix.RTM_DELNEXTHOP, body: remove}})
		l.must(ignoreError(err, unix.ENOENT)) // the kernel has removed it
		r.awaitRestored()
	})
}

// multipath adds an IPv4 route behind those that are the same but for what they lead to.
func (l *lab) multipath(nl *rtnl, dst netip.Prefix, hops map[string]netip.Addr) {
	l.Helper()
	links, err := nl.links()
	l.must(err)
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(hops)) {
		link, _ := linkByName(links, name)
		// struct rtnexthop: length, flags, weight-1, index.
		hop := binary.NativeEndian.AppendUint16(nil, unix.SizeofRtNexthop+8)
		hop = binary.NativeEndian.AppendUint32(append(hop, 0, 0), uint32(link.index))
		all = append(all, appendAttr(hop, unix.RTA_GATEWAY, hops[name].AsSlice())...)
	}
	body := []byte{unix.AF_INET, byte(dst.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	body = appendAttr(appendAttr(body, unix.RTA_DST, dst.Addr().AsSlice()), unix.RTA_MULTIPATH, all)
	l.must(nl.execute([]nlMessage{createRequest(unix.RTM_NEWROUTE, unix.NLM_F_APPEND, body)}))
}

// awaitDeadHop waits until the kernel says of a hop by that link that it is dead.
func (l *lab) awaitDeadHop(nl *rtnl, index int32) {
	l.Helper()
	l.must(await(l.Context(), func() (said bool, err error) {
		dumped, err := nl.dump(unix.RTM_GETROUTE, familyRequest(unix.SizeofRtMsg, unix.AF_INET))
		for _, m := range dumped {
			r, parseErr := parseRoute(m.body)
			l.must(parseErr)
			said = said || slices.ContainsFunc(r.hops, func(h hop) bool { return h.index == index && h.dead })
		}
		return said, err
	}))
}

// A hop by a link that is down is refused: the others are put back, and where none is lost nothing is touched.
func TestKernelDeadHops(t *testing.T) {
	l, m := managed(t, 1, 0, 2, 3)
	if l == nil {
		return
	}
	m.Hold()
	shared, twin, weak := netip.MustParsePrefix("172.30.0.0/16"), netip.MustParsePrefix("172.31.0.0/16"), netip.MustParsePrefix("172.29.0.0/16")
	nl := l.dial()
	defer nl.close()
	l.multipath(nl, shared, map[string]netip.Addr{"eth0": l.Router(1), "eth1": l.Router(0), "eth2": l.Router(2)})
	l.must(ec2.AddRoute(ec2.Route{Dev: "eth0", Dst: twin, Via: l.Router(1)}))
	l.multipath(nl, twin, map[string]netip.Addr{"eth2": l.Router(2), "eth3": l.Router(3)})
	// A link without carrier is not one that is down, whatever the dump says of its hop.
	l.multipath(nl, weak, map[string]netip.Addr{"eth0": l.Router(1), "eth1": l.Router(0), "eth3": l.Router(3)})
	l.must(os.WriteFile("/proc/sys/net/ipv4/conf/eth3/ignore_routes_with_linkdown", []byte("1"), 0),
		l.Do(func() error { return ec2.SetUp("wire3", false) }), ec2.SetUp("eth2", false))
	links, err := nl.links()
	l.must(err)
	eth3, _ := linkByName(links, "eth3")
	l.awaitDeadHop(nl, eth3.index)
	routes := func(to netip.Prefix) (found []string) {
		for _, line := range l.state() {
			if strings.HasPrefix(line, "route ") && strings.Contains(line, to.String()) {
				found = append(found, line)
			}
		}
		return found
	}
	before, whole := routes(twin), routes(weak)
	log := l.swapDown(&renaming{nl: nl, before: links})
	if !strings.Contains(log, "its hops by links that are down are lost") || strings.Contains(log, "not put back") {
		t.Error(log)
	}
	if after := routes(twin); !slices.Equal(before, after) || len(after) != 2 {
		t.Errorf("the routes to %s were %q and are %q, want two, the same", twin, before, after)
	}
	if after := routes(weak); !slices.Equal(whole, after) || len(after) != 1 {
		t.Errorf("the routes to %s were %q and are %q, want one, the same", weak, whole, after)
	}
	if after := routes(shared); len(after) != 1 || strings.Count(after[0], l.Router(0).String()) != 1 || strings.Count(after[0], l.Router(1).String()) != 1 {
		t.Errorf("the routes to %s are %q, want one with the two hops that are up", shared, after)
	}
}

// A next hop that drops everything has no link, and so have routes by it.
func TestKernelBlackholeNextHop(t *testing.T) {
	l, m := managed(t, 0, 1)
	if l == nil {
		return
	}
	m.Hold()
	nl, links := l.links()
	made := appendAttr(appendUint32([]byte{unix.AF_INET, 0, unix.RTPROT_STATIC, 0, 0, 0, 0, 0}, unix.NHA_ID, 9), unix.NHA_BLACKHOLE, nil)
	l.must(nl.execute([]nlMessage{createRequest(unix.RTM_NEWNEXTHOP, 0, made)}),
		ec2.AddRoute(ec2.Route{Dst: netip.MustParsePrefix("172.30.0.0/16"), NextHop: 9}))
	l.unchanged(func() {
		before, err := snapshotOf(nl, links, nil)
		l.must(err, nl.execute([]nlMessage{{typ: unix.RTM_DELNEXTHOP, body: appendUint32(make([]byte, unix.SizeofNhmsg), unix.NHA_ID, 9)}})) // and the route with it
		now, err := snapshotOf(nl, links, nil)
		l.must(err)
		lost := lostObjects(before, now)
		back, _, err := recreateAll(nl, lost)
		if l.must(err); len(back) != 2 {
			t.Errorf("%d objects were created again, want 2: %v", len(back), lost)
		}
	})
}

// A link that is down after its rename is noticed, and the next attempt sets it up.
func TestKernelStaysDown(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	nl, links := l.links()
	targets, err := swapTargets(links, "eth0", "eth1")
	l.must(err)
	r := &renaming{nl: nl, log: logger{to: io.Discard}, before: links}
	l.must(r.renameWhileDown(targets), r.verifyRenamed(targets), ec2.SetUp("eth1", false))
	if err := r.verifyRenamed(targets); err == nil {
		t.Error("verifyRenamed() = nil, though eth1 is down")
	}
	l.must(r.bringUp(), r.verifyRenamed(targets))
}

// A rename that the kernel refuses in the middle is undone, whatever has been done by then.
func TestKernelPutsNamesBack(t *testing.T) {
	l, m := managed(t, 1, 2, 0)
	if l == nil {
		return
	}
	m.Hold()
	nl, links := l.links()
	a, _ := linkByName(links, "eth0")
	b, _ := linkByName(links, "eth1")
	for _, refused := range [][]step{
		{{a.index, a.addr, "eth0", "eni0-eth1"}, {b.index, b.addr, "eth1", "eth2"}},
		{{a.index, a.addr, "eth0", "eni0-eth1"}, {b.index, b.addr, "eth1", "eth0"}, {a.index, a.addr, "eni0-eth1", "eth2"}},
	} {
		for _, requests := range [][]nlMessage{renameRequests(refused), downUpRequests(links, refused, map[int32]bool{a.index: true, b.index: true}, nil)} {
			l.unchanged(func() {
				r := &renaming{nl: nl, log: logger{to: io.Discard}, before: links, toRename: links}
				r.down = map[int32]bool{a.index: true, b.index: true}
				l.must(r.takeSnapshot(links, r.down))
				why := nl.execute(requests)
				if !errors.Is(why, unix.EEXIST) && !errors.Is(why, unix.EBUSY) { // EBUSY: Linux before 6.2
					t.Fatalf("carryOut() = %v, want %v", why, unix.EEXIST)
				}
				if err := r.putNamesBack(renameError(why)); codeOf(err) != codeDoubt || !errors.Is(err, why) {
					t.Errorf("putNamesBack() = %v with code %d, want %v with code %d", err, codeOf(err), why, codeDoubt)
				}
			})
			l.wantNames("eth2", "eth0", "eth1")
		}
	}
}

// Where a name can't be put back, the message says where the link stands, and the code is 12.
func TestKernelCantPutNamesBack(t *testing.T) {
	l := launch(t, 1, 0)
	if l == nil {
		return
	}
	nl, links := l.links()
	l.rename("eth0", "eni0-eth1")
	l.must(ec2.AddBridge("eth0", [6]byte{2, 0, 0, 0, 0, 9}))
	r := &renaming{nl: nl, log: logger{to: io.Discard}, before: links, toRename: links}
	err := r.putNamesBack(unix.ENODEV)
	if codeOf(err) != codeBroken {
		t.Errorf("putNamesBack() = %v with code %d, want code %d", err, codeOf(err), codeBroken)
	}
	l.says(err.Error(), "was eth0 and is eni0-eth1")
}

// After a rename that worked, nothing that follows may look as if nothing had been changed.
func TestOutcome(t *testing.T) {
	routed, bare := world{links: enis("eth0"), routes: []route{v4(0, 2)}}, world{links: enis("eth0")}
	for _, row := range []struct {
		world    string
		was, now world
		found    int
		err      error
		want     int
	}{
		{"all is right", routed, routed, codeRight, nil, codeRight},
		{"traffic has not followed", routed, routed, codeRoute, nil, codeRoute},
		{"there never was a default route", bare, bare, codeRight, nil, codeRight},
		{"the default route has gone", routed, bare, codeRight, nil, codeRoute},
		{"the default route has gone, and IPv6 has one", routed, world{links: enis("eth0"), routes: []route{v6(0, 2)}}, codeRight, nil, codeRoute},
		{"it can't be looked at", routed, routed, codeRight, unix.ENOMEM, codeBroken},
		{"the primary was pulled out", routed, routed, codeRight, errNotProbed, codeBroken},
		{"somebody else has renamed since", routed, routed, codeNames, nil, codeBroken},
	} {
		v, err := verdictAfterRename(row.was, row.now, verdict{code: row.found}, row.err)
		got := v.code
		if err != nil {
			got = codeOf(err)
		}
		if got != row.want {
			t.Errorf("%s: outcome() = %d (%v), want %d", row.world, got, err, row.want)
		}
	}
}
