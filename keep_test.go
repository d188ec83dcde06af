package main

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// itemParsers are those of keep.go, by the first word of the names in testdata/kernel.txt.
var itemParsers = map[string]func([]byte) (netObject, error){
	"route": routeObject, "route6": routeObject, "nexthop": nextHopObject,
	"address6": addressObject, "neighbour": neighbourObject, "neighbour6": neighbourObject,
}

// itemOf is the item that a message of testdata/kernel.txt makes, with bytes of it changed.
func itemOf(t *testing.T, name string, changes map[int]byte) netObject {
	t.Helper()
	body := kernelSent(t)[name]
	for at, b := range changes {
		body[at] = b
	}
	first, _, _ := strings.Cut(name, "-")
	i, err := itemParsers[first](body)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return i
}

// itemRequests make things again; the commands that made them are in testdata/kernel.txt. They
// begin with the type and the flags of the message.
var itemRequests = map[string]string{
	"address6": `
			14 00 05 06 # RTM_NEWADDR, EXCL|CREATE
			0a 40 00 00 06 00 00 00                                     # ifaddrmsg: no flags
			14 00 01 00 fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 10 # IFA_ADDRESS
			14 00 06 00 ff ff ff ff ff ff ff ff 9b 39 04 00 9b 39 04 00 # IFA_CACHEINFO
			08 00 08 00 02 00 00 00                                     # IFA_FLAGS: NODAD`,
	"address6-lifetime": `
			14 00 05 06
			0a 80 00 00 06 00 00 00
			14 00 01 00 fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 11
			14 00 06 00 2c 01 00 00 58 02 00 00 a2 39 04 00 a2 39 04 00 # preferred for 300 s, valid for 600 s
			08 00 08 00 02 02 00 00                                     # IFA_FLAGS: NODAD|NOPREFIXROUTE`,
	"address6-peer": `
			14 00 05 06
			0a 80 00 00 06 00 00 00
			14 00 02 00 fd 00 00 02 00 00 00 00 00 00 00 00 00 00 00 01 # IFA_LOCAL
			14 00 01 00 fd 00 00 02 00 00 00 00 00 00 00 00 00 00 00 02 # IFA_ADDRESS: the peer's
			14 00 06 00 ff ff ff ff ff ff ff ff a3 39 04 00 a3 39 04 00
			08 00 08 00 00 00 00 00                                     # IFA_FLAGS: none, as it is being tested`,
	"neighbour": `
			1c 00 05 05 # RTM_NEWNEIGH, REPLACE|CREATE
			02 00 00 00 06 00 00 00 80 00 00 01 # ndmsg: index 6, NUD_PERMANENT
			08 00 01 00 0a 00 01 4d             # NDA_DST
			0a 00 02 00 02 00 00 00 00 77 00 00 # NDA_LLADDR`,
	"neighbour6": `
			1c 00 05 05
			0a 00 00 00 06 00 00 00 80 00 80 01 # ndmsg: NTF_ROUTER
			14 00 01 00 fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 77
			0a 00 02 00 02 00 00 00 00 77 00 00
			05 00 0c 00 04 00 00 00             # NDA_PROTOCOL: static`,
	"neighbour-proxy": `
			1c 00 05 05
			02 00 00 00 06 00 00 00 00 00 08 01 # ndmsg: NTF_PROXY
			08 00 01 00 0a 00 01 4f`,
	"nexthop-single": `
			68 00 05 05 # RTM_NEWNEXTHOP, REPLACE|CREATE
			02 00 00 00 00 00 00 00 # nhmsg: scope 0, where the kernel says link
			08 00 01 00 07 00 00 00 # NHA_ID
			08 00 05 00 06 00 00 00 # NHA_OIF
			08 00 06 00 0a 00 01 01 # NHA_GATEWAY`,
	"nexthop-onlink": `
			68 00 05 05
			02 00 00 00 04 00 00 00 # nhmsg: ONLINK
			08 00 01 00 08 00 00 00
			08 00 05 00 05 00 00 00
			08 00 06 00 0a 00 02 01`,
	"nexthop-group": `
			68 00 05 05
			00 00 00 00 00 00 00 00
			08 00 01 00 09 00 00 00
			06 00 03 00 00 00 00 00                                     # NHA_GROUP_TYPE
			14 00 02 00 07 00 00 00 00 00 00 00 08 00 00 00 02 00 00 00 # NHA_GROUP, and no NHA_OP_FLAGS`,
	"route-onlink": `
			18 00 05 0c # RTM_NEWROUTE, APPEND|CREATE
			02 00 00 00 fe 03 00 01 04 00 00 00 # rtmsg: ONLINK stays
			08 00 0f 00 fe 00 00 00             # RTA_TABLE
			08 00 06 00 01 02 00 00             # RTA_PRIORITY
			0c 00 08 00 08 00 02 00 78 05 00 00 # RTA_METRICS: mtu 1400
			08 00 05 00 cb 00 71 01             # RTA_GATEWAY
			08 00 04 00 06 00 00 00             # RTA_OIF`,
	"route-table": `
			18 00 05 0c
			02 00 00 00 fc 03 00 01 00 00 00 00
			08 00 0f 00 2c 01 00 00 # RTA_TABLE: 300
			08 00 05 00 0a 00 01 01
			08 00 04 00 06 00 00 00`,
	"route-multipath-dead": `
			18 00 05 0c
			02 00 00 00 fe 03 00 01 00 00 00 00
			08 00 0f 00 fe 00 00 00
			08 00 06 00 1e 00 00 00
			24 00 09 00 # RTA_MULTIPATH
			10 00 00 00 06 00 00 00 08 00 05 00 0a 00 01 01 # rtnexthop, RTA_GATEWAY
			10 00 00 01 05 00 00 00 08 00 05 00 0a 00 02 01 # rtnexthop: neither DEAD nor LINKDOWN, weight 2`,
	"route-nhid": `
			18 00 05 0c
			02 00 00 00 fe 03 00 01 00 00 00 00
			08 00 0f 00 fe 00 00 00
			08 00 06 00 32 00 00 00
			08 00 1e 00 07 00 00 00 # RTA_NH_ID, and neither RTA_GATEWAY nor RTA_OIF`,
	"route-nhid-group": `
			18 00 05 0c
			02 00 00 00 fe 03 00 01 00 00 00 00
			08 00 0f 00 fe 00 00 00
			08 00 06 00 33 00 00 00
			08 00 1e 00 09 00 00 00 # RTA_NH_ID, and no RTA_MULTIPATH`,
	"route6-nhid": `
			18 00 05 0c
			0a 00 00 00 fe 03 00 01 00 00 00 00
			08 00 0f 00 fe 00 00 00
			08 00 06 00 3c 00 00 00
			08 00 1e 00 0c 00 00 00
			05 00 14 00 00 00 00 00 # RTA_PREF`,
	"route6-expires": `
			18 00 05 0c
			0a 00 00 00 fe 09 00 01 00 00 00 00
			08 00 0f 00 fe 00 00 00
			08 00 06 00 00 04 00 00
			14 00 05 00 fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 01
			08 00 04 00 06 00 00 00
			05 00 14 00 00 00 00 00
			08 00 17 00 08 07 00 00 # RTA_EXPIRES: 1800 s, from RTA_CACHEINFO, which is left out`,
}

func TestItemRequests(t *testing.T) {
	littleEndian(t)
	for name, want := range itemRequests {
		m := itemOf(t, name, nil).requests[0]
		m.flags |= unix.NLM_F_REQUEST | unix.NLM_F_ACK // as send does
		got := append(appendMessage(nil, nlMessage{typ: m.typ, flags: m.flags})[4:8], m.body...)
		if want := golden(t, want); !bytes.Equal(got, want) {
			t.Errorf("%s: request\n% x, want\n% x", name, got, want)
		}
	}
}

// An address is used at once, and has the flags it had after.
func TestItemAddressAfter(t *testing.T) {
	littleEndian(t)
	i := itemOf(t, "address6", nil)
	first := i.requests[0].body
	want := append(slices.Clone(first[:len(first)-4]), 0, 0, 0, 0)
	if n := i.requests; len(n) != 2 || n[1].typ != unix.RTM_NEWADDR || n[1].flags != unix.NLM_F_CREATE|unix.NLM_F_REPLACE || !bytes.Equal(n[1].body, want) {
		t.Errorf("requests = %+v, want at the end the same address without NODAD", n)
	}
	if i := itemOf(t, "address6-lifetime", nil); len(i.requests) != 1 {
		t.Errorf("requests = %+v of an address that was made with nodad, want one", i.requests)
	}
}

// The same thing has the same key, whatever the kernel's counters and verdicts.
func TestItemKeySame(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		name, world string
		changes     map[int]byte
	}{
		{"route-single", "dead", map[int]byte{8: unix.RTNH_F_DEAD}},
		{"route-single", "its link has no carrier, and the hardware has it", map[int]byte{8: unix.RTNH_F_LINKDOWN | unix.RTNH_F_OFFLOAD, 9: 0x40}},
		{"route-multipath-dead", "alive", map[int]byte{50: 0}},
		{"route6-expires", "two seconds have passed", map[int]byte{69: 0xbe}},
		{"route6-net", "used", map[int]byte{80: 1}},
		{"nexthop-single", "dead", map[int]byte{4: unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN}},
		{"address6", "tentative", map[int]byte{2: unix.IFA_F_TENTATIVE, 52: unix.IFA_F_TENTATIVE}},
		{"address6", "made again", map[int]byte{40: 1, 44: 1}},
		{"address6-lifetime", "a second has passed", map[int]byte{32: 0x2b, 36: 0x57}},
		{"neighbour", "used", map[int]byte{36: 1, 44: 1}},
	} {
		was, is := itemOf(t, c.name, nil), itemOf(t, c.name, c.changes)
		if was.key == "" || was.key != is.key {
			t.Errorf("%s, %s: key %q, want %q", c.name, c.world, is.key, was.key)
		}
		for at, b := range c.changes {
			if kernelSent(t)[c.name][at] == b {
				t.Errorf("%s, %s: byte %d is %d already", c.name, c.world, at, b)
			}
		}
	}
}

// Other things have other keys.
func TestItemKeyOther(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		name, world string
		changes     map[int]byte
	}{
		{"route-single", "another table", map[int]byte{4: 100, 16: 100}},
		{"route-single", "another protocol", map[int]byte{5: unix.RTPROT_STATIC}},
		{"route-single", "another scope", map[int]byte{6: unix.RT_SCOPE_LINK}},
		{"route-single", "another metric", map[int]byte{24: 1}},
		{"route-single", "another gateway", map[int]byte{35: 9}},
		{"route-single", "another link", map[int]byte{40: 9}},
		{"route-onlink", "not on link", map[int]byte{8: 0}},
		{"route-net", "another prefix length", map[int]byte{1: 17}},
		{"route-net", "another destination", map[int]byte{25: 8}},
		{"route-nhid", "another next hop", map[int]byte{32: 8}},
		{"route-multipath-dead", "another weight", map[int]byte{51: 9}},
		{"nexthop-single", "another id", map[int]byte{12: 9}},
		{"nexthop-single", "another link", map[int]byte{20: 9}},
		{"nexthop-group", "another weight", map[int]byte{40: 9}},
		{"address6", "another prefix length", map[int]byte{1: 65}},
		{"address6", "another address", map[int]byte{27: 0x11}},
		{"address6", "another link", map[int]byte{4: 9}},
		{"neighbour", "another link", map[int]byte{4: 9}},
		{"neighbour", "another address", map[int]byte{19: 9}},
		{"neighbour", "another MAC", map[int]byte{24: 9}},
	} {
		was, is := itemOf(t, c.name, nil), itemOf(t, c.name, c.changes)
		if is.key == "" || was.key == is.key {
			t.Errorf("%s, %s: key %q, want another than %q", c.name, c.world, is.key, was.key)
		}
	}
}

func TestItemsAllDiffer(t *testing.T) {
	keys := map[string]string{}
	for name := range kernelSent(t) {
		first, _, _ := strings.Cut(name, "-")
		if itemParsers[first] == nil {
			continue // links and rules are no items
		}
		i := itemOf(t, name, nil)
		if other := keys[i.key]; other != "" && i.key != "" && name != "route-nhid-alone" && other != "route-nhid-alone" {
			t.Errorf("%s and %s have the same key", name, other)
		}
		keys[i.key] = name
	}
	// In one of these the kernel tells what is behind the id.
	if a, b := itemOf(t, "route-nhid", nil), itemOf(t, "route-nhid-alone", nil); a.key != b.key {
		t.Errorf("route-nhid-alone: key %q, want %q", b.key, a.key)
	}
}

// What is not kept: it is not made by anybody, or will be learned again.
func TestItemNotKept(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		name, world string
		changes     map[int]byte
	}{
		{"route-cloned", "a cache entry", nil},
		{"route-net", "the kernel's, of the local table", map[int]byte{4: unix.RT_TABLE_LOCAL, 5: unix.RTPROT_KERNEL, 16: unix.RT_TABLE_LOCAL}},
		{"neighbour-learned", "stale", nil},
		{"neighbour", "reachable", map[int]byte{8: unix.NUD_REACHABLE}},
		{"neighbour", "of a bridge", map[int]byte{0: unix.AF_BRIDGE}},
		{"address6", "somebody else has it", map[int]byte{52: unix.IFA_F_DADFAILED | unix.IFA_F_PERMANENT}},
	} {
		if i := itemOf(t, c.name, c.changes); i.key != "" {
			t.Errorf("%s, %s: kept as %q", c.name, c.world, i.description)
		}
	}
}

// A route that is about to end does not come back for good, one that has ended does not come back.
func TestItemRouteExpires(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		world string
		ticks int32 // of 1/100 s: rt6_fill_node of net/ipv6/route.c, which counts on below 0
		kept  bool
		want  uint32 // RTA_EXPIRES
	}{
		{"never", 0, true, 0},
		{"in half an hour", 180000, true, 1800},
		{"in half a second", 50, true, 1},
		{"half a second ago", -50, false, 0},
		{"ten seconds ago, before the next collection of garbage", -1000, false, 0},
	} {
		b := appendUint32(nil, 0, uint32(c.ticks))[4:]
		i := itemOf(t, "route6-expires", map[int]byte{68: b[0], 69: b[1], 70: b[2], 71: b[3]})
		got := uint32(0)
		if i.key != "" {
			_ = eachAttr(i.requests[0].body[unix.SizeofRtMsg:], func(typ uint16, value []byte) error {
				if typ == unix.RTA_EXPIRES {
					got = uint32Of(value)
				}
				return nil
			})
		}
		if kept := i.key != ""; kept != c.kept || kept && got != c.want {
			t.Errorf("it expires %s: kept %v, RTA_EXPIRES %d, want %v, %d", c.world, kept, got, c.kept, c.want)
		}
	}
}

// By a route that has expired no traffic leaves, though the kernel dumps it until it collects garbage.
func TestParseRouteExpired(t *testing.T) {
	littleEndian(t)
	for ticks, dead := range map[int32]bool{0: false, 100: false, -1: true, -1000: true} {
		body := kernelSent(t)["route6-expires"]
		copy(body[68:], appendUint32(nil, 0, uint32(ticks))[4:])
		r, err := parseRoute(body)
		if err != nil || len(r.hops) != 1 || r.hops[0].dead != dead {
			t.Errorf("a route that expires in %d/100 s: %+v, %v, want a hop, dead: %v", ticks, r.hops, err, dead)
		}
	}
}

func TestItemLinks(t *testing.T) {
	for name, want := range map[string][]int32{
		"route-single":         {5},
		"route-multipath-dead": {6, 5},
		"route-nhid-alone":     {anyLink},
		"route-nhid":           {6, anyLink},
		"nexthop-single":       {6},
		"nexthop-group":        {anyLink},
		"address6":             {6},
		"neighbour":            {6},
	} {
		if got := itemOf(t, name, nil).links; !slices.Equal(got, want) {
			t.Errorf("%s: links %v, want %v", name, got, want)
		}
	}
}

func TestItemWords(t *testing.T) {
	for name, want := range map[string]string{
		"route-single":         "route default table 254 (index 5)",
		"route-net":            "route 10.9.0.0/16 table 254 (index 6)",
		"route-table":          "route default table 300 (index 6)",
		"route-multipath-dead": "route default table 254 (index 6) (index 5)",
		"route6-net":           "route fd00:9::/48 table 254 (index 6)",
		"nexthop-single":       "next hop 7",
		"address6":             "address fd00:1::10/64 (index 6)",
		"neighbour":            "neighbour 10.0.1.77 (index 6)",
		"neighbour-proxy":      "neighbour 10.0.1.79 (index 6)",
	} {
		if got := itemOf(t, name, nil).description; got != want {
			t.Errorf("%s: words %q, want %q", name, got, want)
		}
	}
}

func TestMissing(t *testing.T) {
	named := func(keys string) (items []*netObject) {
		for _, k := range strings.Fields(keys) {
			items = append(items, &netObject{key: k})
		}
		return items
	}
	for _, c := range []struct{ world, before, now, want string }{
		{"nothing was there", "", "a", ""},
		{"nothing is lost", "a b", "b c a", ""},
		{"all is lost", "a b", "", "a b"},
		{"some is lost, in the order it had", "d a c b", "a e", "d c b"},
		{"one of two that are alike is there", "a a", "a", ""},
	} {
		before := named(c.before)
		if got := missingObjects(before, named(c.now)); !reflect.DeepEqual(got, named(c.want)) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: missing() = %v, want %v", c.world, got, c.want)
		}
		if !reflect.DeepEqual(before, named(c.before)) {
			t.Errorf("%s: missing() changed what it was given to %v", c.world, before)
		}
	}
}

func TestStackedOn(t *testing.T) {
	links := []link{
		{index: 7, name: "eth0.10.20", kind: "vlan", lower: 4},
		{index: 2, name: "eth0"}, {index: 3, name: "eth1"},
		{index: 4, name: "eth0.10", kind: "vlan", lower: 2},
		{index: 5, name: "eth1.10", kind: "vlan", lower: 3},
		{index: 6, name: "mv0", kind: "macvlan", lower: 2},
		{index: 8, name: "br0.5", kind: "vlan", lower: 10},
		{index: 9, name: "eth2", master: 10}, {index: 10, name: "br0", kind: "bridge"},
		{index: 11, name: "veth0", kind: "veth", lower: 2},
		{index: 12, name: "gre1", kind: "gre", lower: 3},
	}
	for _, c := range []struct {
		world     string
		masters   bool
		set, want []int32
	}{
		{"none", true, nil, nil},
		{"eth0: its VLAN, the VLAN in that, its macvlan, but no veth end", false, []int32{2}, []int32{2, 4, 6, 7}},
		{"eth1", false, []int32{3}, []int32{3, 5, 12}},
		{"eth1, without a tunnel that begins there", true, []int32{3}, []int32{3, 5}},
		{"a VLAN alone", false, []int32{4}, []int32{4, 7}},
		{"both", true, []int32{2, 3}, []int32{2, 3, 4, 5, 6, 7}},
		{"one that is no more", true, []int32{13}, []int32{13}},
		{"a bridge's port: the bridge, and the VLAN on that", true, []int32{9}, []int32{8, 9, 10}},
		{"a bridge's port, without masters", false, []int32{9}, []int32{9}},
	} {
		set := map[int32]bool{}
		for _, i := range c.set {
			set[i] = true
		}
		var got []int32
		for index, in := range stackedOn(links, set, c.masters) {
			if in {
				got = append(got, index)
			}
		}
		if slices.Sort(got); !slices.Equal(got, c.want) || len(set) != len(c.set) {
			t.Errorf("%s: stackedOn() = %v, want %v", c.world, got, c.want)
		}
	}
}

func TestParseRule(t *testing.T) {
	for name, want := range map[string]policyRule{
		"rule-iif":  {priority: 1000, iif: "eth1"},
		"rule6-oif": {ipv6: true, priority: 1001, oif: "eth0"},
	} {
		if got, err := parseRule(kernelSent(t)[name]); err != nil || got != want {
			t.Errorf("parseRule(%s) = %+v, %v, want %+v", name, got, err, want)
		}
	}
	for want, r := range map[string]policyRule{
		"rule 1000 iif eth1":               {priority: 1000, iif: "eth1"},
		"IPv6 rule 1001 oif eth0":          {ipv6: true, priority: 1001, oif: "eth0"},
		"IPv6 rule 5 iif eth1 oif eth0":    {ipv6: true, priority: 5, iif: "eth1", oif: "eth0"},
		fmt.Sprintf("rule %d", ^uint32(0)): {priority: ^uint32(0)},
	} {
		if got := r.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
}

// The request that makes a thing again, read as if the kernel had sent it, is that thing.
func FuzzItems(f *testing.F) {
	kinds := slices.Sorted(maps.Keys(itemParsers))
	for name, body := range kernelSent(f) {
		first, _, _ := strings.Cut(name, "-")
		f.Add(byte(max(0, slices.Index(kinds, first))), body)
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		_ = dropping(parseRule)(body) // has only not to panic
		parse := itemParsers[kinds[int(kind)%len(kinds)]]
		i, err := parse(body)
		if err != nil || i.key == "" {
			return
		}
		again, err := parse(i.requests[0].body)
		if err != nil {
			t.Fatalf("%s: its request % x: %v", i.description, i.requests[0].body, err)
		}
		if i.requests[0].typ == unix.RTM_NEWROUTE && len(i.requests) > 1 { // one for each hop
			var links []int32
			for _, m := range i.requests {
				hop, err := parse(m.body)
				if links = append(links, hop.links...); err != nil {
					t.Fatalf("%s: the request for a hop % x: %v", i.description, m.body, err)
				}
			}
			if !slices.Equal(links, i.links) {
				t.Errorf("%s: requests for hops by %v, want %v", i.description, links, i.links)
			}
			return
		}
		// Of a route the kernel says when it expires in an RTA_CACHEINFO, which is not of the key.
		expires := strings.HasPrefix(again.key, i.key+"\x08\x00\x17\x00") && len(again.key) == len(i.key)+8
		if again.key != i.key && !expires {
			t.Errorf("%s: its request % x is another thing", i.description, i.requests[0].body)
		}
	})
}

// What a restarted manager has removed is what is nowhere any more.
func TestMissingForGood(t *testing.T) {
	address := func(name string) *netObject {
		return &netObject{key: name, keyAnyLink: strings.TrimRight(name, "0123456789")}
	}
	passing := func(name string) *netObject { i := address(name); i.transient = true; return i }
	for _, c := range []struct {
		world             string
		before, now, want []*netObject
	}{
		{"nothing is missing", []*netObject{address("a1")}, []*netObject{address("a1")}, nil},
		{"made by hand", []*netObject{address("a1")}, nil, []*netObject{address("a1")}},
		{"a manager's own, which followed the name", []*netObject{address("a1")}, []*netObject{address("a2")}, nil},
		{"one of two followed", []*netObject{address("a1"), address("a2")}, []*netObject{address("a3")}, []*netObject{address("a2")}},
		{"the twin was there before", []*netObject{address("a1"), address("a2")}, []*netObject{address("a2")}, []*netObject{address("a1")}},
		{"by a lease", []*netObject{passing("a1"), address("b1")}, nil, []*netObject{address("b1")}},
		{"by a lease, which followed", []*netObject{passing("a1"), address("a2")}, []*netObject{address("a3")}, nil},
		{"something new", nil, []*netObject{address("a1")}, nil},
	} {
		got := lostObjects(c.before, c.now)
		if !slices.EqualFunc(got, c.want, func(a, b *netObject) bool { return a.key == b.key }) {
			t.Errorf("%s: missingForGood() = %v, want %v", c.world, got, c.want)
		}
	}
}
