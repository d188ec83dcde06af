package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// In these tables a world is the names of its ENIs: "eth1 eth0" is a primary ENI called eth1
// and a secondary called eth0. The first is always the primary. Their indexes are 2, 3, ...

// enis makes ENIs called names.
func enis(names string) []link {
	var out []link
	for i, name := range strings.Fields(names) {
		out = append(out, link{index: int32(i + 2), name: name, addr: eniAddr(i + 2), ethernet: true})
	}
	return out
}

// eniAddr is the address of the ENI with that index.
func eniAddr(index int) hwaddr { return hwaddr{0x0a, 0xff, 4: byte(index >> 8), 5: byte(index)} }

// altname gives the link with that index an altname.
func altname(links []link, index int32, name string) []link {
	l := &links[index-2]
	l.altnames = append(l.altnames, name)
	return links
}

// v4 and v6 are default routes by links with those indexes; a negative one is a dead hop.
func v4(metric uint32, indexes ...int32) route { return route{metric: metric, hops: hops(indexes)} }
func v6(metric uint32, indexes ...int32) route {
	return route{ipv6: true, metric: metric, hops: hops(indexes)}
}

// preferred is an IPv6 route of a router with that preference.
func preferred(pref int, r route) route {
	r.pref = pref
	return r
}

// on is a link of that kind on another, or a port of one.
func on(kind string, index, lower, master int32) link {
	return link{index: index, name: fmt.Sprintf("%s%d", kind, index), kind: kind, lower: lower, master: master, addr: hwaddr{2, byte(index)}, ethernet: true}
}

// port makes links ports of another.
func port(links []link, master int32, indexes ...int32) []link {
	for _, index := range indexes {
		links[index-2].master = master
	}
	return links
}

func hops(indexes []int32) []hop {
	var out []hop
	for _, i := range indexes {
		out = append(out, hop{index: max(i, -i), dead: i < 0})
	}
	return out
}

// names is what the links are called, as enis takes it.
func names(links []link) string {
	var out []string
	for _, l := range links {
		out = append(out, l.name)
	}
	return strings.Join(out, " ")
}

// granted is the links with their targets come true.
func granted(links []link, targets map[int32]string) []link {
	out := slices.Clone(links)
	for i, l := range out {
		if want, ok := targets[l.index]; ok {
			out[i].name = want
		}
	}
	return out
}

// wishing asks for what links are to be called, in their order; "-" is no wish.
func wishing(links []link, after string) map[int32]string {
	targets := map[int32]string{}
	for i, name := range strings.Fields(after) {
		if name != "-" {
			targets[links[i].index] = name
		}
	}
	return targets
}

// onPaper carries out a rename as the kernel would, which refuses a name that any link has,
// as its name or as an altname (netdev_name_in_use of net/core/dev.c).
func onPaper(links []link, s step) ([]link, error) {
	var refusal error
	for _, l := range links {
		if l.name == s.to || slices.Contains(l.altnames, s.to) {
			refusal = fmt.Errorf("%s: in use by %s", s, l)
		}
	}
	i := slices.IndexFunc(links, func(l link) bool { return l.index == s.index })
	switch {
	case refusal != nil:
		return links, refusal
	case i < 0:
		return links, fmt.Errorf("%s: no such link", s)
	case len(s.to) > 15 || s.to == "":
		return links, fmt.Errorf("%s: invalid name", s)
	}
	out := slices.Clone(links)
	out[i].name = s.to
	return out, nil
}

// allOnPaper carries out a plan. The steps must say of each link what is so at that time.
func allOnPaper(links []link, steps []step) ([]link, error) {
	for _, s := range steps {
		if l, _ := linkByIndex(links, s.index); l.name != s.from || l.id() != s.addr {
			return nil, fmt.Errorf("%s: but it is %s", s, l)
		}
		var err error
		if links, err = onPaper(links, s); err != nil {
			return nil, err
		}
	}
	return links, nil
}

// What judge says of a world, without and with -names.
type judgement struct {
	world       string
	links       []link
	routes      []route
	code, named int    // the code without and with -names
	after       string // the names that are wished where the code is 10
}

// The table of DESIGN.md, "What is right, and what fix does".
var judgements = []judgement{
	{"eth0 is the primary, no route yet", enis("eth0 eth1"), nil, 0, 0, ""},
	{"eth0 is the primary, traffic leaves by it", enis("eth0 eth1"), []route{v4(0, 2)}, 0, 0, ""},
	{"eth0 is the primary, traffic leaves by another", enis("eth0 eth1"), []route{v4(0, 3)}, 11, 11, ""},
	{"secondary holds eth0, no route yet", enis("eth1 eth0"), nil, 10, 10, "eth0 eth1"},
	{"secondary holds eth0, traffic leaves by it", enis("eth1 eth0"), []route{v4(0, 3)}, 10, 10, "eth0 eth1"},
	{"secondary holds eth0, traffic leaves by the primary", enis("eth1 eth0"), []route{v4(0, 2)}, 0, 10, "eth0 eth1"},
}

// Who is called what.
var nameJudgements = []judgement{
	{"a lone ENI is the primary and eth0", enis("eth0"), nil, 0, 0, ""},
	{"a lone ENI is the primary and eth1", enis("eth1"), nil, 10, 10, "eth0"},
	{"nobody holds eth0", enis("eth1 eth2"), []route{v4(0, 3)}, 10, 10, "eth0 eth2"},
	{"nobody holds eth0, traffic leaves by the primary", enis("eth1 eth2"), []route{v4(0, 2)}, 0, 10, "eth0 eth2"},
	{"a third ENI carries traffic", enis("eth1 eth0 eth2"), []route{v4(0, 4)}, 10, 10, "eth0 eth1 eth2"},
	{"the others are in no order, which is not our business", enis("eth2 eth3 eth0 eth1"), nil, 10, 10, "eth0 eth3 eth2 eth1"},
	{"secondaries with names of their own keep them", enis("eth1 eth0 ens7 lan0"), nil, 10, 10, "eth0 eth1 ens7 lan0"},
	{"eth0 is a secondary with another kind of name before", enis("eth12 eth0 eth1"), nil, 10, 10, "eth0 eth12 eth1"},

	{"predictable names, no route", enis("ens5 ens6"), nil, 0, 0, ""},
	{"predictable names, traffic leaves by the primary", enis("ens5 ens6"), []route{v4(0, 2)}, 0, 0, ""},
	{"predictable names, traffic leaves by another", enis("ens5 ens6"), []route{v4(0, 3)}, 11, 11, ""},
	{"the primary has a predictable name, a temporary one is left", enis("ens5 eni0-eth1"), nil, 0, 0, ""},
	{"eth01 is not a name that the kernel gives", enis("eth01 eth1"), nil, 0, 0, ""},
}

// By which link default traffic leaves.
var routeJudgements = []judgement{
	{"the lower metric is the primary's", enis("eth0 eth1"), []route{v4(200, 3), v4(100, 2)}, 0, 0, ""},
	{"the lower metric is another's", enis("eth0 eth1"), []route{v4(200, 2), v4(100, 3)}, 11, 11, ""},
	{"equal metrics, the primary's comes first", enis("eth0 eth1"), []route{v4(100, 2), v4(100, 3)}, 0, 0, ""},
	{"equal metrics, the primary's comes second", enis("eth0 eth1"), []route{v4(100, 3), v4(100, 2)}, 11, 11, ""},
	{"multipath by both", enis("eth0 eth1"), []route{v4(0, 2, 3)}, 11, 11, ""},
	{"multipath, two gateways on the primary", enis("eth0 eth1"), []route{v4(0, 2, 2)}, 0, 0, ""},
	{"multipath, the other's hop is dead", enis("eth0 eth1"), []route{v4(0, -3, 2)}, 0, 0, ""},
	{"multipath, the primary's hop is dead", enis("eth0 eth1"), []route{v4(0, -2, 3)}, 11, 11, ""},
	{"multipath by both, names wrong", enis("eth1 eth0"), []route{v4(0, 2, 3)}, 10, 10, "eth0 eth1"},
	{"the best route is dead", enis("eth0 eth1"), []route{v4(0, -3), v4(100, 2)}, 0, 0, ""},
	{"the only route is dead", enis("eth0 eth1"), []route{v4(0, -3)}, 0, 0, ""},
	{"a route without a link", enis("eth0 eth1"), []route{v4(0)}, 0, 0, ""},
	{"IPv6 only, by the primary", enis("eth1 eth0"), []route{v6(1024, 2)}, 0, 10, "eth0 eth1"},
	{"IPv6 only, by another", enis("eth0 eth1"), []route{v6(1024, 3)}, 11, 11, ""},
	{"IPv4 decides over IPv6", enis("eth0 eth1"), []route{v6(1, 3), v4(1024, 2)}, 0, 0, ""},
	{"IPv6 counts where IPv4 is dead", enis("eth0 eth1"), []route{v4(0, -2), v6(1024, 3)}, 11, 11, ""},
	{"by a VLAN on the primary", append(enis("eth0 eth1"), link{index: 9, name: "eth0.10", kind: "vlan", addr: eniAddr(2), lower: 2, ethernet: true}),
		[]route{v4(0, 9)}, 0, 0, ""},
	{"by a VLAN on another", append(enis("eth0 eth1"), on("vlan", 9, 3, 0)), []route{v4(0, 9)}, 11, 11, ""},
	{"by a macvlan on the primary", append(enis("eth0 eth1"), on("macvlan", 9, 2, 0)), []route{v4(0, 9)}, 0, 0, ""},
	{"by an ipvlan on the primary, names wrong", append(enis("eth1 eth0"), on("ipvlan", 9, 2, 0)), []route{v4(0, 9)}, 0, 10, "eth0 eth1 ipvlan9"},
	{"by a bridge of the primary", append(port(enis("eth0 eth1"), 9, 2), on("bridge", 9, 0, 0)), []route{v4(0, 9)}, 0, 0, ""},
	{"by a bridge of another", append(port(enis("eth0 eth1"), 9, 3), on("bridge", 9, 0, 0)), []route{v4(0, 9)}, 11, 11, ""},
	{"by a bond of both", append(port(enis("eth0 eth1"), 9, 2, 3), on("bond", 9, 0, 0)), []route{v4(0, 9)}, 0, 0, ""},
	{"by a VLAN of a bond of two others", append(port(enis("eth0 eth1 eth2"), 9, 3, 4), on("bond", 9, 0, 0), on("vlan", 10, 9, 0)), []route{v4(0, 10)}, 11, 11, ""},
	{"by a bridge of nobody", append(enis("eth0 eth1"), on("bridge", 9, 0, 0)), []route{v4(0, 9)}, 0, 0, ""},
	{"by a veth, which is a pod's", append(enis("eth0 eth1"), on("veth", 9, 3, 0)), []route{v4(0, 9)}, 0, 0, ""},
	{"by a tunnel, then by the primary", append(enis("eth0 eth1"), link{index: 9, name: "tun0", kind: "tun"}), []route{v4(0, 9), v4(1, 2)}, 0, 0, ""},
	{"by a tunnel, then by another", append(enis("eth0 eth1"), link{index: 9, name: "tun0", kind: "tun"}), []route{v4(0, 9), v4(1, 3)}, 11, 11, ""},
	{"by a tunnel alone", append(enis("eth0 eth1"), link{index: 9, name: "tun0", kind: "tun"}), []route{v4(0, 9)}, 0, 0, ""},
	{"by a tunnel, which IPv6 by another carries", append(enis("eth0 eth1"), link{index: 9, name: "tun0", kind: "tun"}), []route{v4(0, 9), v6(1, 3)}, 11, 11, ""},
	{"by a tunnel, which IPv6 by the primary carries", append(enis("eth1 eth0"), link{index: 9, name: "tun0", kind: "tun"}), []route{v4(0, 9), v6(1, 2)}, 0, 10, "eth0 eth1 tun0"},
	{"by a tunnel, and a blackhole of IPv6", append(enis("eth0 eth1"), link{index: 9, name: "tun0", kind: "tun"}), []route{v4(0, 9), {ipv6: true, rejects: "unreachable"}}, 0, 0, ""},
	{"by Open vSwitch's bridge of another", append(port(enis("eth0 eth1"), 9, 3), on("openvswitch", 9, 0, 0), on("openvswitch", 10, 0, 0)), []route{v4(0, 10)}, 11, 11, ""},
	{"by Open vSwitch's bridge of the primary", append(port(enis("eth1 eth0"), 9, 2), on("openvswitch", 9, 0, 0), on("openvswitch", 10, 0, 0)), []route{v4(0, 10)}, 0, 10, "eth0 eth1 openvswitch9 openvswitch10"},
	{"by a tunnel that begins at another", append(enis("eth0 eth1"), on("gre", 9, 3, 0)), []route{v4(0, 9), v4(1, 2)}, 0, 0, ""},
	{"multipath by a tunnel and the primary", append(enis("eth0 eth1"), link{index: 9, name: "wg0", kind: "wireguard"}), []route{v4(0, 9, 2)}, 0, 0, ""},
	{"a blackhole is better", enis("eth0 eth1"), []route{{rejects: "blackhole"}, v4(1, 3)}, 0, 0, ""},
	{"a blackhole is worse", enis("eth0 eth1"), []route{{rejects: "blackhole", metric: 5}, v4(1, 3)}, 11, 11, ""},
	{"a blackhole of IPv4 decides over IPv6", enis("eth0 eth1"), []route{{rejects: "prohibit"}, v6(1, 3)}, 0, 0, ""},
	{"a blackhole of IPv6", enis("eth1 eth0"), []route{v6(1024, 3), {ipv6: true, rejects: "unreachable"}}, 10, 10, "eth0 eth1"},
	{"the other's router is preferred", enis("eth0 eth1"), []route{v6(1024, 2), preferred(1, v6(1024, 3))}, 11, 11, ""},
	{"the primary's router is preferred", enis("eth0 eth1"), []route{v6(1024, 3), preferred(1, v6(1024, 2))}, 0, 0, ""},
	{"the other's router is the last resort", enis("eth0 eth1"), []route{preferred(-1, v6(1024, 3)), v6(1024, 2)}, 0, 0, ""},
	{"a metric counts more than a preference", enis("eth0 eth1"), []route{v6(100, 2), preferred(1, v6(1024, 3))}, 0, 0, ""},
}

// Who is an ENI, and which.
var addressJudgements = []judgement{
	{"VLAN, bridge and macvlan with the primary's address", append(enis("eth1 eth0"),
		link{index: 7, name: "eth1.10", kind: "vlan", addr: eniAddr(2), lower: 2, ethernet: true},
		link{index: 8, name: "br0", kind: "bridge", addr: eniAddr(2), ethernet: true},
		link{index: 9, name: "mv0", kind: "macvlan", addr: eniAddr(2), lower: 2, ethernet: true},
	), nil, 10, 10, "eth0 eth1 eth1.10 br0 mv0"},
	{"a tunnel with the primary's address, not Ethernet", append(enis("eth1 eth0"),
		link{index: 9, name: "tun0", addr: eniAddr(2)}), nil, 10, 10, "eth0 eth1 tun0"},
	{"veth ends, as in a namespace", []link{
		{index: 2, name: "eth1", kind: "veth", addr: eniAddr(2), ethernet: true},
		{index: 3, name: "eth0", kind: "veth", addr: eniAddr(3), ethernet: true},
	}, nil, 10, 10, "eth0 eth1"},
	{"a bond has given both ENIs the secondary's address", []link{
		{index: 2, name: "eth1", addr: eniAddr(3), perm: eniAddr(2), ethernet: true},
		{index: 3, name: "eth0", addr: eniAddr(3), perm: eniAddr(3), ethernet: true},
		{index: 4, name: "bond0", kind: "bond", addr: eniAddr(3), ethernet: true},
	}, nil, 10, 10, "eth0 eth1 bond0"},
	{"the secondary poses as the primary", []link{
		{index: 2, name: "eth0", addr: eniAddr(2), perm: eniAddr(2), ethernet: true},
		{index: 3, name: "eth1", addr: eniAddr(2), perm: eniAddr(3), ethernet: true},
	}, nil, 0, 0, ""},
}

// What an earlier rename left, and who came in between.
var unfinishedJudgements = []judgement{
	{"udev has left the primary, and nobody is eth0", enis("rename2 eth1"), nil, 10, 10, "eth0 eth1"},
	{"udev has left the primary, which carries traffic", enis("rename2 eth1"), []route{v4(0, 2)}, 10, 10, "eth0 eth1"},
	{"udev has left the primary, and a secondary is eth0", enis("rename2 eth0"), []route{v4(0, 3)}, 10, 10, "eth0 eth1"},
	{"cloud-init has left the primary", enis("cirename0 eth0 eth1"), nil, 10, 10, "eth0 eth2 eth1"},
	{"udev has left a secondary", enis("eth0 rename3"), []route{v4(0, 2)}, 10, 10, "eth0 eth1"},
	{"names that only begin alike", enis("eth0 rename renamed cirename cirename0x xrename1"), nil, 0, 0, ""},
	{"the primary is eth0, the other not yet eth1", enis("eth0 eni0-eth1"), []route{v4(0, 2)}, 10, 10, "eth0 eth1"},
	{"the same, traffic leaves by the other", enis("eth0 eni0-eth1"), []route{v4(0, 3)}, 10, 10, "eth0 eth1"},
	{"the holder of eth0 was put aside, the primary carries traffic", enis("eth1 eni0-eth1"), []route{v4(0, 2)}, 10, 10, "eth0 eth1"},
	{"the primary was put aside", enis("eni0-eth0 eth0"), []route{v4(0, 2)}, 10, 10, "eth0 eth1"},
	{"the primary was put aside, the other has moved", enis("eni0-eth0 eth1"), nil, 10, 10, "eth0 eth1"},
	{"putting back broke off", enis("eth1 eni0-eth0"), nil, 10, 10, "eth0 eth1"},
	{"the primary has the other's temporary name", enis("eni0-eth1 eth0"), nil, 10, 10, "eth0 eth1"},
	{"a swap of two secondaries broke off", enis("eth0 eth1 eni0-eth2"), nil, 10, 10, "eth0 eth1 eth2"},
	{"a swap of lan0 and lan1 broke off", enis("eth0 lan0 eni0-lan1"), nil, 10, 10, "eth0 lan0 lan1"},
	{"a temporary name that does not tell", enis("eth0 eth1 eni0-#4"), nil, 10, 10, "eth0 eth1 eth2"},
	{"the name that it was to have was taken in the middle", enis("eth0 eni0-#3"), []route{v4(0, 3)}, 10, 10, "eth0 eth1"},
	{"the temporary name of a bridge is no reason to disturb traffic", append(enis("eth1 eth0"), link{index: 9, name: "eni0-br0", kind: "bridge", ethernet: true}),
		[]route{v4(0, 2)}, 0, 10, "eth0 eth1 eni0-br0"},
	{"the primary's temporary name does not tell", enis("eni0-#2 eth0"), []route{v4(0, 2)}, 10, 10, "eth0 eth1"},

	{"a new ENI took eth1 meanwhile", enis("eth0 eni0-eth1 eth1"), nil, 10, 10, "eth0 eth2 eth1"},
	{"a new ENI took eth0 meanwhile", enis("eni0-eth0 eth1 eth0"), nil, 10, 10, "eth0 eth1 eth2"},
	{"a new ENI took eth0 before the primary could", enis("eth1 eni0-eth1 eth0"), nil, 10, 10, "eth0 eth1 eth2"},
	{"a new ENI took eth1, and eth0 is free", enis("eni0-eth0 eni0-eth1 eth1"), nil, 10, 10, "eth0 eth2 eth1"},
	{"a bridge took eth1 meanwhile", append(enis("eth0 eni0-eth1"), link{index: 9, name: "eth1", kind: "bridge", ethernet: true}),
		nil, 10, 10, "eth0 eth2 eth1"},
	{"a bridge has a temporary name, which is no ENI's", append(enis("eth0 eth1"), link{index: 9, name: "eni0-br0", kind: "bridge", ethernet: true}),
		nil, 0, 0, ""},

	{"eth1 is an altname of the secondary itself", altname(enis("eth0 eni0-eth1"), 3, "eth1"), nil, 10, 10, "eth0 eth2"},
	{"eth1 is an altname of a third", altname(enis("eni0-eth0 eth0 ens7"), 4, "eth1"), nil, 10, 10, "eth0 eth2 ens7"},
	{"other altnames don't matter", altname(altname(enis("eth1 eth0"), 2, "ens5"), 3, "ens6"), nil, 10, 10, "eth0 eth1"},
}

func TestJudge(t *testing.T) {
	for _, table := range [][]judgement{judgements, nameJudgements, routeJudgements, addressJudgements, unfinishedJudgements} {
		for _, row := range table {
			w := world{row.links, row.routes, eniAddr(2)}
			t.Run(row.world, func(t *testing.T) { testJudge(t, w, false, row.code, row.after) })
			t.Run(row.world+", -names", func(t *testing.T) { testJudge(t, w, true, row.named, row.after) })
		}
	}
}

func testJudge(t *testing.T, w world, named bool, code int, after string) {
	t.Helper()
	v, err := judge(w, named)
	if err != nil {
		t.Fatal(err)
	}
	if v.code != code {
		t.Fatalf("judge() = %d (%s), want %d", v.code, v.note, code)
	}
	if code != codeNames {
		after = names(w.links)
	}
	if got := names(granted(w.links, v.targets)); got != after {
		t.Errorf("judge() targets %q, want %q", got, after)
	}
	if (code == codeNames) != (len(v.targets) > 0) {
		t.Errorf("judge() = %d with targets %v", code, v.targets)
	}
	if after, err := settledWorld(w, v); err != nil || code == codeNames && !strings.HasPrefix(names(after), "eth0") {
		t.Errorf("the plan gives %q (%v)", names(after), err)
	}
}

// settledWorld carries out what judge wished.
func settledWorld(w world, v verdict) ([]link, error) {
	steps, err := plan(w.links, v.targets)
	if err != nil {
		return nil, err
	}
	return allOnPaper(w.links, steps)
}

func TestJudgeRefuses(t *testing.T) {
	for _, row := range []struct {
		world string
		links []link
		late  bool
		want  string
	}{
		{"no link at all", nil, true, "0a:ff:00:00:00:02"},
		{"the primary is late", enis("eth0 eth1")[1:], true, "0a:ff:00:00:00:02"},
		{"only a VLAN has the primary's address", []link{{index: 9, name: "eth0.10", kind: "vlan", addr: eniAddr(2), ethernet: true}}, true, "yet"},
		{"only a poser has the primary's address", []link{{index: 2, name: "eth0", addr: eniAddr(2), perm: eniAddr(3), ethernet: true}}, true, "yet"},
		{"two ENIs have the primary's address", append(enis("eth0 eth1"), link{index: 9, name: "eth2", addr: eniAddr(2), ethernet: true}), false, "two ENIs have the primary's address, eth0 and eth2"},
		{"a bridge is called eth0", append(enis("eth1"), link{index: 9, name: "eth0", kind: "bridge", ethernet: true}), false, `kind "bridge"`},
		{"the primary has a name of its own, a secondary is eth0", enis("ens5 eth0"), false,
			"the primary ENI is ens5 (0a:ff:00:00:00:02, index 2), which is not a kernel name, and yet eth0 (0a:ff:00:00:00:03, index 3) is a secondary ENI"},
		{"eth01 is not a name that the kernel gives", enis("eth01 eth0"), false, "which is not a kernel name"},
		{"a VLAN is called eth0", append(enis("eth1"), link{index: 9, name: "eth0", kind: "vlan", ethernet: true}), false, `kind "vlan"`},
	} {
		for _, named := range []bool{false, true} {
			v, err := judge(world{links: row.links, primary: eniAddr(2)}, named)
			if err == nil || errors.Is(err, errNotProbed) != row.late || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s: judge() = %v, %v, want %q (late: %v)", row.world, v, err, row.want, row.late)
			}
			if len(v.targets) > 0 {
				t.Errorf("%s: judge() targets %v with an error", row.world, v.targets)
			}
		}
	}
}

// Whoever is called eth0, traffic that leaves by the primary is not disturbed, unless names decide.
func TestJudgeLeavesTrafficBeBesideBridge(t *testing.T) {
	links := append(enis("eth1"), link{index: 9, name: "eth0", kind: "bridge", ethernet: true})
	w := world{links, []route{v4(0, 2)}, eniAddr(2)}
	if v, err := judge(w, false); err != nil || v.code != codeRight || len(v.targets) > 0 {
		t.Errorf("judge() = %v, %v, want 0", v, err)
	}
	if v, err := judge(w, true); err == nil {
		t.Errorf("judge() = %v with -names, want a refusal", v)
	}
}

// What is left of somebody else's rename is finished, and no reason to disturb traffic.
func TestJudgeFinishesOthersUndisturbed(t *testing.T) {
	for _, row := range []struct {
		links         []link
		after, named  string
		code, whenAll int
	}{
		{enis("eth1 eth0 eni0-lan1"), "eth1 eth0 lan1", "eth0 eth1 lan1", codeNames, codeNames},
		{enis("eth0 eth1 eni0-lan1"), "eth0 eth1 lan1", "eth0 eth1 lan1", codeNames, codeNames},
		{enis("eth1 eni0-eth1"), "eth0 eth1", "eth0 eth1", codeNames, codeNames}, // this one was the primary's
		{enis("eth1 eth0"), "eth1 eth0", "eth0 eth1", codeRight, codeNames},
		{enis("eth1 eth0 cirename0"), "eth1 eth0 eth2", "eth0 eth1 eth2", codeNames, codeNames},
		{enis("eth1 eth0 eni0-#4"), "eth1 eth0 eth2", "eth0 eth1 eth2", codeNames, codeNames},
		{enis("eth1 eth0 rename4"), "eth1 eth0 eth2", "eth0 eth1 eth2", codeNames, codeNames},
	} {
		for named, want := range map[bool]string{false: row.after, true: row.named} {
			w := world{row.links, []route{v4(0, 2)}, eniAddr(2)}
			v, err := judge(w, named)
			if got := names(granted(w.links, v.targets)); err != nil || got != want {
				t.Errorf("judge(%s, %v) targets %q (%v), want %q", names(row.links), named, got, err, want)
			}
			if code := map[bool]int{false: row.code, true: row.whenAll}[named]; v.code != code {
				t.Errorf("judge(%s, %v) = %d, want %d", names(row.links), named, v.code, code)
			}
		}
	}
}

// The verdict in words has to tell the rows of the table apart.
func TestJudgeNotes(t *testing.T) {
	tun := link{index: 9, name: "tun0", kind: "tun"}
	for _, row := range []struct {
		links []link
		route []route
		want  string
	}{
		{enis("eth0 eth1"), nil, "eth0 is the primary ENI; there is no default route"},
		{enis("eth0 eth1"), []route{v4(0, 2)}, "eth0 is the primary ENI, and default traffic leaves by it"},
		{enis("eth0 eth1"), []route{v4(0, 3)}, "eth0 is the primary ENI, and is down, but default traffic leaves by another ENI, eth1; a rename can't cure that"},
		{enis("eth1 eth0"), nil, "the primary ENI is called eth1, not eth0; there is no default route"},
		{enis("eth1 eth0"), []route{v4(0, 3)}, "the primary ENI is called eth1, not eth0, and default traffic leaves by another ENI, eth0"},
		{enis("eth1 eth0"), []route{v4(0, 2)}, "default traffic leaves by the primary ENI, though that is called eth1"},
		{enis("ens5 ens6"), []route{v4(0, 3)}, "the primary ENI is called ens5, which is not a kernel name"},
		{enis("eth0 eni0-eth1"), nil, "an earlier rename was not finished"},
		{enis("eth0 eth1"), []route{{rejects: "blackhole"}, v4(1, 3)}, "eth0 is the primary ENI; the default route is of the type blackhole"},
		{append(enis("eth0 eth1"), tun), []route{v4(0, 9)}, "eth0 is the primary ENI; no default route leaves by an ENI; the default route by tun0 is passed over, because that is on no ENI"},
		{append(enis("eth0 eth1"), tun), []route{v4(0, 9), v4(1, 2)}, "eth0 is the primary ENI, and default traffic leaves by it; the default route by tun0 is passed over, because that is on no ENI"},
		{enis("eth0 eth1"), []route{v4(0, 2), v6(0, 3)}, "and default traffic leaves by it; IPv6 default traffic leaves by another ENI, eth1"},
		{enis("eth1 eth0"), []route{v4(0, 2), v6(0, 3)}, "a rename would disturb it; IPv6 default traffic leaves by another ENI, eth0"},
		{append(port(enis("eth0 eth1"), 9, 2, 3), on("bond", 9, 0, 0)), []route{v4(0, 9)}, "and default traffic leaves by it; bond9 has more ENIs than the primary: eth0 and eth1"},
		{append(enis("eth0 eth1"), on("vlan", 9, 3, 0)), []route{v4(0, 9)}, "but default traffic leaves by another ENI, eth1; a rename can't cure that"},
	} {
		v, err := judge(world{row.links, row.route, eniAddr(2)}, false)
		if err != nil || !strings.HasPrefix(v.note, row.want) && !strings.HasSuffix(v.note, row.want) {
			t.Errorf("judge(%s, %v) = %q, %v, want %q", names(row.links), row.route, v.note, err, row.want)
		}
	}
}

// A datagram of renames can stop at any step (the sender's kernel died), and the kernel can
// refuse any of its steps and carry out others. So can the datagram that puts names back. From
// all that can be left judge and plan find the way.
func TestEveryBrokenSwap(t *testing.T) {
	start := enis("eth1 eth0 eth2")
	for _, links := range [][]link{start, {start[1], start[0], start[2]}} { // whom plan puts aside goes by the order
		states := brokenStates(t, links)
		if len(states) < 6 {
			t.Errorf("%q: %d states are too few: %v", names(links), len(states), slices.Collect(maps.Keys(states)))
		}
		for state, links := range states {
			for _, carrier := range []int32{2, 3, 4} {
				testFinish(t, state, world{links, []route{v4(0, carrier)}, eniAddr(2)})
			}
		}
	}
}

// testFinish expects a broken swap to be finished, or excused as the table says.
func testFinish(t *testing.T, state string, w world) {
	t.Helper()
	v, err := judge(w, false)
	if err != nil {
		t.Errorf("%q: %v", state, err)
		return
	}
	if v.code == codeRight && !strings.Contains(state, tempPrefix) && w.decidingEgress().enis[0][0] == 2 {
		return // no name is a temporary one, and traffic leaves by the primary
	}
	links, err := settledWorld(w, v)
	slices.SortFunc(links, func(a, b link) int { return int(a.index - b.index) })
	if err != nil || names(links) != "eth0 eth1 eth2" {
		t.Errorf("%q, traffic by %d: comes to %q (%v)", state, w.decidingEgress().enis[0][0], names(links), err)
	}
}

// brokenStates lists what can be left of a world by broken renames and broken undoings, by its names.
func brokenStates(t *testing.T, before []link) map[string][]link {
	t.Helper()
	states := map[string][]link{}
	for todo := [][]link{before}; len(todo) > 0; todo = todo[1:] {
		links := todo[0]
		if states[names(links)] != nil {
			continue // been there
		}
		states[names(links)] = links
		v, err := judge(world{links: links, primary: eniAddr(2)}, true)
		if err != nil {
			t.Fatalf("%q: %v", names(links), err)
		}
		for _, targets := range []map[int32]string{v.targets, undoTargets(before, links)} {
			steps, err := plan(links, targets)
			if err != nil {
				t.Fatalf("%q: %v", names(links), err)
			}
			for refused := range 1 << len(steps) {
				todo = append(todo, datagram(links, steps, func(i int) bool { return refused>>i&1 == 1 }))
			}
		}
	}
	return states
}

// datagram carries out steps as the kernel does those of a datagram: it goes on after a refusal.
func datagram(links []link, steps []step, refused func(i int) bool) []link {
	for i, s := range steps {
		if !refused(i) {
			links, _ = onPaper(links, s) // a name in use is a refusal as well
		}
	}
	return links
}

var plans = []struct {
	world string
	links []link
	after string // the names wished; "-" is no wish
	steps string
}{
	{"nothing is wished", enis("eth0 eth1"), "- -", ""},
	{"it is so already", enis("eth0 eth1"), "eth0 eth1", ""},
	{"a name that is free", enis("eth1 eth2"), "eth0 -", "eth1 -> eth0"},
	{"a chain", enis("eth0 eth1 eth2"), "eth1 eth2 eth3", "eth2 -> eth3, eth1 -> eth2, eth0 -> eth1"},
	{"a swap", enis("eth1 eth0"), "eth0 eth1", "eth1 -> eni0-eth0, eth0 -> eth1, eni0-eth0 -> eth0"},
	{"a swap beside a third", enis("eth1 eth0 eth2"), "eth0 eth1 -", "eth1 -> eni0-eth0, eth0 -> eth1, eni0-eth0 -> eth0"},
	{"a cycle of three", enis("eth0 eth1 eth2"), "eth1 eth2 eth0", "eth0 -> eni0-eth1, eth2 -> eth0, eth1 -> eth2, eni0-eth1 -> eth1"},
	{"a swap that broke off", enis("eth0 eni0-eth1"), "- eth1", "eni0-eth1 -> eth1"},
	{"two swaps", enis("a b c d"), "b a d c", "a -> eni0-b, b -> a, eni0-b -> b, c -> eni0-d, d -> c, eni0-d -> d"},
	{"a swap and a chain", enis("a b c d"), "b a d e", "d -> e, c -> d, a -> eni0-b, b -> a, eni0-b -> b"},

	{"the temporary name is in use", enis("eth1 eth0 eni0-eth0"), "eth0 eth1 -", "eth0 -> eni0-eth1, eth1 -> eth0, eni0-eth1 -> eth1"},
	{"the temporary name is an altname", altname(enis("eth1 eth0 eth2"), 4, "eni0-eth0"), "eth0 eth1 -", "eth0 -> eni0-eth1, eth1 -> eth0, eni0-eth1 -> eth1"},
	{"both temporary names are in use", enis("eth1 eth0 eni0-eth0 eni0-eth1"), "eth0 eth1 - -", "eth1 -> eni0-#2, eth0 -> eth1, eni0-#2 -> eth0"},
	{"even the index is in use", enis("eth1 eth0 eni0-eth0 eni0-eth1 eni0-#2"), "eth0 eth1 - - -", "eth0 -> eni0-#3, eth1 -> eth0, eni0-#3 -> eth1"},

	{"10 bytes leave room for the prefix", enis("ten-bytes- ten-bytes+"), "ten-bytes+ ten-bytes-",
		"ten-bytes- -> eni0-ten-bytes+, ten-bytes+ -> ten-bytes-, eni0-ten-bytes+ -> ten-bytes+"},
	{"11 bytes do not", enis("elevenbytes elevenbyte+"), "elevenbyte+ elevenbytes",
		"elevenbytes -> eni0-#2, elevenbyte+ -> elevenbytes, eni0-#2 -> elevenbyte+"},
	{"15 bytes", enis("fifteen-bytes-- fifteen-bytes++"), "fifteen-bytes++ fifteen-bytes--",
		"fifteen-bytes-- -> eni0-#2, fifteen-bytes++ -> fifteen-bytes--, eni0-#2 -> fifteen-bytes++"},
	{"one of them short enough to tell", enis("eth0 elevenbytes"), "elevenbytes eth0",
		"elevenbytes -> eni0-eth0, eth0 -> elevenbytes, eni0-eth0 -> eth0"},
	{"the index helps in a cycle, too", enis("elevenbytes elevenbyte+ elevenbyte-"), "elevenbyte+ elevenbyte- elevenbytes",
		"elevenbytes -> eni0-#2, elevenbyte- -> elevenbytes, elevenbyte+ -> elevenbyte-, eni0-#2 -> elevenbyte+"},
}

func TestPlan(t *testing.T) {
	for _, row := range plans {
		steps, err := plan(row.links, wishing(row.links, row.after))
		if err != nil {
			t.Errorf("%s: %v", row.world, err)
			continue
		}
		var got []string
		for _, s := range steps {
			got = append(got, s.from+" -> "+s.to)
		}
		if strings.Join(got, ", ") != row.steps {
			t.Errorf("%s: plan() = %s, want %s", row.world, strings.Join(got, ", "), row.steps)
		}
		if err := checkPlan(row.links, wishing(row.links, row.after)); err != nil {
			t.Errorf("%s: %v", row.world, err)
		}
	}
}

// k renames for a chain of k links, k+1 for a cycle.
func TestPlanCounts(t *testing.T) {
	for k := range 16 {
		links := enis("eth0 eth1 eth2 eth3 eth4 eth5 eth6 eth7 eth8 eth9 eth10 eth11 eth12 eth13 eth14 eth15")[:k]
		chain, cycle := map[int32]string{}, map[int32]string{}
		for i, l := range links {
			chain[l.index] = fmt.Sprintf("eth%d", i+1)
			cycle[l.index] = fmt.Sprintf("eth%d", (i+1)%k)
		}
		if steps, err := plan(links, chain); err != nil || len(steps) != k {
			t.Errorf("plan(chain of %d) = %d steps, %v, want %d", k, len(steps), err, k)
		}
		want := k + 1
		if k < 2 {
			want = 0
		}
		if steps, err := plan(links, cycle); err != nil || len(steps) != want {
			t.Errorf("plan(cycle of %d) = %d steps, %v, want %d", k, len(steps), err, want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, row := range []struct {
		world   string
		links   []link
		targets map[int32]string
		want    string
	}{
		{"eth0 is an altname of the secondary", altname(enis("eth1 eth2"), 3, "eth0"), map[int32]string{2: "eth0"},
			"eth0 is an altname of eth2 (0a:ff:00:00:00:03, index 3): `ip link property del dev eth2 altname eth0` clears it"},
		{"eth0 is an altname of the primary itself", altname(enis("eth1 eth2"), 2, "eth0"), map[int32]string{2: "eth0"},
			"`ip link property del dev eth1 altname eth0` clears it"},
		{"a link keeps the name and has no wish", enis("eth1 eth0"), map[int32]string{2: "eth0"}, "eth0 (0a:ff:00:00:00:03, index 3) is to keep it"},
		{"a link targets the name that it has", enis("eth1 eth0"), map[int32]string{2: "eth0", 3: "eth0"}, "is to keep it"},
		{"two targets for one name", enis("eth1 eth2"), map[int32]string{2: "eth0", 3: "eth0"}, "eth0: two links can't both have that name"},
		{"an unknown link", enis("eth1 eth2"), map[int32]string{9: "eth0"}, "no such link"},
		{"one of them unknown", enis("eth1 eth2"), map[int32]string{2: "eth0", 9: "eth1"}, "no such link"},
		{"an empty name", enis("eth1"), map[int32]string{2: ""}, "empty"},
		{"16 bytes", enis("eth1"), map[int32]string{2: "sixteen-bytes-of"}, `"sixteen-bytes-of"`},
		{"a slash", enis("eth1"), map[int32]string{2: "eth/0"}, `"eth/0"`},
		{"a directory of /proc/sys", enis("eth1"), map[int32]string{2: "all"}, `"all"`},
		{"names too long to tell, and even the indexes in use", enis("elevenbytes elevenbyte+ eni0-#2 eni0-#3"),
			map[int32]string{2: "elevenbyte+", 3: "elevenbytes"}, "no temporary name is free"},
	} {
		steps, err := plan(row.links, row.targets)
		if err == nil || !strings.Contains(err.Error(), row.want) || steps != nil {
			t.Errorf("%s: plan() = %v, %v, want %q", row.world, steps, err, row.want)
		}
	}
}

// An altname in the way of eth0 is fix's to report and not to go around.
func TestAltnameOfEth0(t *testing.T) {
	for _, holder := range []int32{2, 3, 4} {
		links := altname(enis("eth1 eth2 eth3"), holder, "eth0")
		v, err := judge(world{links: links, primary: eniAddr(2)}, false)
		if err != nil || v.code != codeNames {
			t.Errorf("judge() = %v, %v, want %d", v, err, codeNames)
		}
		if steps, err := plan(links, v.targets); err == nil || !strings.Contains(err.Error(), "altname eth0` clears it") {
			t.Errorf("plan() = %v, %v, want to hear of the altname", steps, err)
		}
	}
}

func TestUndo(t *testing.T) {
	for _, row := range []struct {
		world       string
		before, now []link
		want        map[int32]string
	}{
		{"nothing has changed", enis("eth1 eth0"), enis("eth1 eth0"), map[int32]string{}},
		{"a swap", enis("eth1 eth0"), enis("eth0 eth1"), map[int32]string{2: "eth1", 3: "eth0"}},
		{"half a swap", enis("eth1 eth0"), enis("eni0-eth0 eth0"), map[int32]string{2: "eth1"}},
		{"a link has gone", enis("eth1 eth0 eth2"), enis("eth0 eth1"), map[int32]string{2: "eth1", 3: "eth0"}},
		{"a link has come", enis("eth1 eth0"), enis("eth0 eth1 eth2"), map[int32]string{2: "eth1", 3: "eth0"}},
		{"the order is another", enis("eth1 eth0"), []link{enis("- eth1")[1], enis("eth0")[0]}, map[int32]string{2: "eth1", 3: "eth0"}},
	} {
		if got := undoTargets(row.before, row.now); !maps.Equal(got, row.want) {
			t.Errorf("%s: undo() = %v, want %v", row.world, got, row.want)
		}
	}
}

func TestRenamed(t *testing.T) {
	for _, row := range []struct {
		world       string
		before, now []link
		want        []step
	}{
		{"nothing has changed", enis("eth1 eth0"), enis("eth1 eth0"), nil},
		{"a swap", enis("eth1 eth0"), enis("eth0 eth1"), []step{{2, eniAddr(2), "eth1", "eth0"}, {3, eniAddr(3), "eth0", "eth1"}}},
		{"a link has gone, another has come", enis("eth1 eth0")[:1], enis("eth0 eth1")[1:], nil},
	} {
		if got := nameChanges(row.before, row.now); !slices.Equal(got, row.want) {
			t.Errorf("%s: renamed() = %v, want %v", row.world, got, row.want)
		}
	}
}

func TestStillDown(t *testing.T) {
	links := enis("a b c")
	links[1].up = true
	for _, row := range []struct {
		world string
		set   map[int32]bool
		want  string
	}{
		{"nobody took one down", nil, ""},
		{"a has not come up, b has", map[int32]bool{2: true, 3: true}, "a"},
		{"b has, and one has gone", map[int32]bool{3: true, 9: true}, ""},
	} {
		if got := names(linksDown(links, row.set)); got != row.want {
			t.Errorf("%s: stillDown() = %q, want %q", row.world, got, row.want)
		}
	}
}

func TestExchange(t *testing.T) {
	for _, row := range []struct {
		world string
		links []link
		after string // of swap eth0 eth1; "" is a refusal
		want  string // of the refusal
	}{
		{"both are there", enis("eth0 eth1 eth2"), "eth1 eth0 eth2", ""},
		{"both are there, the other way round", enis("eth1 eth0 eth2"), "eth0 eth1 eth2", ""},
		{"eth1 was put aside as a temporary", enis("eth0 eni0-eth0"), "eth1 eth0", ""},
		{"eth0 was put aside as a temporary", enis("eni0-eth1 eth1"), "eth1 eth0", ""},
		{"all but the last step", enis("eni0-eth1 eth0"), "eth1 eth0", ""},
		{"all but the last step, the other way round", enis("eth1 eni0-eth0"), "eth1 eth0", ""},
		{"a temporary name of others is none of it", enis("eth0 eth1 eni0-eth2"), "eth1 eth0 eni0-eth2", ""},
		{"no eth1", enis("eth0 eth2"), "", "eth1: no such link"},
		{"no eth0", enis("eth1 eth2"), "", "eth0: no such link"},
		{"neither", enis("eth2 eth3"), "", "eth0: no such link"},
		{"an altname is no name", altname(enis("eth0 eth2"), 3, "eth1"), "", "eth1: no such link"},
	} {
		targets, err := swapTargets(row.links, "eth0", "eth1")
		if (err == nil) != (row.want == "") || err != nil && err.Error() != row.want {
			t.Errorf("%s: exchange() = %v, %v, want %q", row.world, targets, err, row.want)
		}
		if got := names(granted(row.links, targets)); err == nil && got != row.after {
			t.Errorf("%s: exchange() targets %q, want %q", row.world, got, row.after)
		}
	}
}

// Wherever a swap broke off, the same swap again finishes it, unless nothing was left to do.
func TestExchangeFinishes(t *testing.T) {
	for _, links := range [][]link{enis("eth1 eth0 eth2"), enis("eth0 eth1 eth2"), enis("lan0 eth0 eth1")} {
		a, b := links[0].name, links[1].name
		targets, _ := swapTargets(links, a, b)
		steps, err := plan(links, targets)
		if err != nil {
			t.Fatal(err)
		}
		want := names(granted(links, targets))
		for refused := range 1<<len(steps) - 1 {
			left := datagram(links, steps, func(i int) bool { return (refused+1)>>i&1 == 1 })
			if names(left) == want {
				continue // nothing left to do
			}
			again, err := swapTargets(left, a, b)
			if got := names(granted(left, again)); err != nil || got != want {
				t.Errorf("%q after a broken swap of %s and %s: exchange() targets %q, %v, want %q", names(left), a, b, got, err, want)
			}
		}
	}
}

func TestValidName(t *testing.T) {
	for _, row := range []struct {
		name string
		ok   bool
	}{
		{"eth0", true}, {"e", true}, {"fifteen-bytes--", true}, {"eni0-#7", true}, {"...", true}, {".x", true},
		{"All", true}, {"alle", true}, {"defaults", true}, {"é", true}, {"a@b", true}, {"eth0.10", true},
		{"", false}, {"sixteen-bytes---", false}, {".", false}, {"..", false}, {"all", false}, {"default", false},
		{"eth/0", false}, {"eth:0", false}, {"eth%d", false}, {"%", false}, {"/", false}, {":", false},
		{"à", false}, // U+00E0 is c3 a0, and a0 is white space to the kernel
	} {
		if err := validName(row.name); (err == nil) != row.ok {
			t.Errorf("validName(%q) = %v, want ok: %v", row.name, err, row.ok)
		}
	}
}

// Every byte that dev_valid_name of net/core/dev.c refuses is refused, wherever it stands, and
// of the others only '%' and the control characters.
func TestValidNameBytes(t *testing.T) {
	const isspace = "\t\n\v\f\r \xa0" // lib/ctype.c
	for c := range 256 {
		kernel := strings.IndexByte("/:"+isspace, byte(c)) >= 0
		ours := kernel || c == '%' || c < ' ' || c == 0x7f
		for _, name := range []string{"e" + string([]byte{byte(c)}), string([]byte{byte(c)}) + "e", "e" + string([]byte{byte(c)}) + "0"} {
			if err := validName(name); (err != nil) != ours {
				t.Errorf("validName(%q) = %v, want refused: %v", name, err, ours)
			}
		}
	}
}

func TestKernelName(t *testing.T) {
	for _, row := range []struct {
		name string
		want bool
	}{
		{"eth0", true}, {"eth1", true}, {"eth10", true}, {"eth4294967295", true},
		{"", false}, {"eth", false}, {"eth00", false}, {"eth01", false}, {"eth-1", false}, {"eth1x", false}, {"eth 1", false},
		{"ens5", false}, {"Eth0", false}, {"veth0", false}, {"eth0.10", false}, {"eni0-eth0", false}, {"eth٣", false},
	} {
		if got := isKernelName(row.name); got != row.want {
			t.Errorf("kernelName(%q) = %v, want %v", row.name, got, row.want)
		}
	}
}

func TestFinalName(t *testing.T) {
	for _, row := range []struct {
		name, want string
		temp       bool
	}{
		{"eni0-eth0", "eth0", true}, {"eni0-e", "e", true}, {"eni0-ten-bytes-", "ten-bytes-", true}, {"eni0--", "-", true},
		{"eni0-", "", true}, {"eni0-#7", "", true}, {"eni0-eni0-eth0", "", true}, {"eni0-all", "", true}, {"eni0-..", "", true}, {"eni0-a%d", "", true},
		{"eth0", "", false}, {"eni0", "", false}, {"eni1-eth0", "", false}, {"xeni0-eth0", "", false}, {"", "", false},
	} {
		if got, ok := finalName(row.name); got != row.want || ok != (row.want != "") {
			t.Errorf("finalName(%q) = %q, %v, want %q", row.name, got, ok, row.want)
		}
		if got := isTemporary(row.name); got != row.temp {
			t.Errorf("temporary(%q) = %v, want %v", row.name, got, row.temp)
		}
	}
}

// What is printed of a link, an address and a step is what the log is made of.
func TestRenameStrings(t *testing.T) {
	l := link{index: 3, name: "eth1", addr: hwaddr{1, 2, 3, 4, 5, 6}, perm: hwaddr{0x0a, 0xff, 0, 0x10, 0xab, 0xcd}, ethernet: true}
	if got, want := l.String(), "eth1 (0a:ff:00:10:ab:cd, index 3)"; got != want {
		t.Errorf("link.String() = %q, want %q", got, want)
	}
	if got, want := (step{3, l.id(), "eth1", "eth0"}).String(), "0a:ff:00:10:ab:cd (index 3): eth1 -> eth0"; got != want {
		t.Errorf("step.String() = %q, want %q", got, want)
	}
}

// A dice rolls a number below n.
type dice func(n int) int

// diceOf makes a dice of a fuzzer's bytes; at their end it rolls 0.
func diceOf(b []byte) dice {
	return func(n int) int {
		if len(b) == 0 {
			return 0
		}
		roll := int(b[0]) % n
		b = b[1:]
		return roll
	}
}

// anyName rolls a name that is not taken: short, long, or one of our temporary ones.
func anyName(roll dice, index int32, taken map[string]bool) string {
	name := fmt.Sprintf("eth%d", roll(20))
	switch roll(9) {
	case 0:
		name = fmt.Sprintf("ens%d", roll(20))
	case 1:
		name = strings.Repeat("long", 3)[:10+roll(3)] + "xyz"[:1+roll(3)] // 11 to 15 bytes
	case 2, 3:
		name = tempPrefix + name
	case 4:
		name = tempPrefix + fmt.Sprintf("ens%d", roll(4))
	case 5:
		name = []string{tempPrefix, tempPrefix + tempPrefix + "eth0", "eth01", tempPrefix + "all", fmt.Sprintf("%s#%d", tempPrefix, index)}[roll(5)]
	}
	for n := 20; taken[name]; n++ {
		name = fmt.Sprintf("eth%d", n)
	}
	taken[name] = true
	return name
}

// anyLinks rolls up to 16 links, most of them ENIs, in any order. The first ENI is the primary.
func anyLinks(roll dice) ([]link, map[string]bool) {
	taken := map[string]bool{"lo": true}
	links := []link{{index: 1, name: "lo"}}
	index := int32(1)
	for range 1 + roll(16) {
		index += int32(1 + roll(3))
		l := link{index: index, name: anyName(roll, index, taken), addr: eniAddr(int(index)), ethernet: true, up: roll(2) == 1}
		for roll(5) == 1 {
			l.altnames = append(l.altnames, anyName(roll, 0, taken))
		}
		if index > 4 && roll(6) == 1 {
			l.kind = []string{"vlan", "bridge", "bond", "veth"}[roll(4)]
		}
		links = append(links, l)
	}
	shuffle(roll, links)
	return links, taken
}

func shuffle[T any](roll dice, s []T) {
	for i := range s {
		j := i + roll(len(s)-i)
		s[i], s[j] = s[j], s[i]
	}
}

// anyWishes rolls a permutation of the names of some links, some of whom get new names instead.
func anyWishes(roll dice, links []link, taken map[string]bool) map[int32]string {
	var some []link
	for _, l := range links {
		if roll(4) > 0 {
			some = append(some, l)
		}
	}
	names := make([]string, len(some))
	for i, l := range some {
		if names[i] = l.name; roll(5) == 1 {
			names[i] = anyName(roll, l.index, taken)
		}
	}
	shuffle(roll, names)
	targets := map[int32]string{}
	for i, l := range some {
		if validName(names[i]) == nil {
			targets[l.index] = names[i]
		}
	}
	return targets
}

// spoil adds a wish that may well be impossible.
func spoil(roll dice, links []link, targets map[int32]string) {
	l := links[roll(len(links))]
	other := links[roll(len(links))]
	bad := []string{other.name, targets[other.index], "all", "eth9", "sixteen-bytes-of", "a b"}
	bad = append(bad, other.altnames...)
	targets[l.index+int32(roll(2))] = bad[roll(len(bad))]
}

// possibleWorld is what plan has to decide, said in another way: the names wished are the
// kernel's to give, and in the world to come no two links share one.
func possibleWorld(links []link, targets map[int32]string) bool {
	seen := map[string]bool{}
	for _, l := range granted(links, targets) {
		for _, name := range append([]string{l.name}, l.altnames...) {
			if seen[name] {
				return false
			}
			seen[name] = true
		}
		if now, _ := linkByIndex(links, l.index); now.name != l.name && validName(l.name) != nil {
			return false
		}
	}
	for index := range targets {
		if _, ok := linkByIndex(links, index); !ok {
			return false
		}
	}
	return true
}

// checkPlan says what is wrong with the plan for some targets.
func checkPlan(links []link, targets map[int32]string) error {
	steps, err := plan(links, targets)
	if possible := possibleWorld(links, targets); !possible || err != nil {
		if possible || err == nil {
			return fmt.Errorf("plan() = %v, %w, but the targets are possible: %v", steps, err, possible)
		}
		return nil
	}
	after, err := allOnPaper(links, steps)
	if err != nil {
		return err
	}
	if got, want := names(after), names(granted(links, targets)); got != want {
		return fmt.Errorf("plan() comes to %q, want %q", got, want)
	}
	if want := fewest(links, targets); len(steps) != want {
		return fmt.Errorf("plan() = %d steps, want %d", len(steps), want)
	}
	if again, err := plan(after, targets); err != nil || len(again) > 0 {
		return fmt.Errorf("plan() again = %v, %w, want nothing", again, err)
	}
	return checkUndo(links, steps)
}

// fewest counts the renames that are needed: one for each link that moves, and one more for
// each cycle of them.
func fewest(links []link, targets map[int32]string) int {
	next := map[string]string{} // from name to name
	for _, l := range links {
		if want, ok := targets[l.index]; ok && want != l.name {
			next[l.name] = want
		}
	}
	count := len(next)
	for start := range next {
		smallest := start
		name := next[start]
		for ; name != start && next[name] != ""; name = next[name] {
			smallest = min(smallest, name)
		}
		if name == start && smallest == start {
			count++ // each cycle once
		}
	}
	return count
}

// checkUndo breaks a plan off after each step and puts the names back.
func checkUndo(before []link, steps []step) error {
	for i := range len(steps) + 1 {
		links, err := allOnPaper(before, steps[:i])
		if err != nil {
			return err
		}
		back, err := plan(links, undoTargets(before, links))
		if err == nil {
			links, err = allOnPaper(links, back)
		}
		if err != nil || names(links) != names(before) {
			return fmt.Errorf("undo() after %d of %v comes to %q, %w", i, steps, names(links), err)
		}
	}
	return nil
}

func TestPlanOfAnyWorld(t *testing.T) {
	for seed := range uint64(4000) {
		roll := dice(rand.New(rand.NewPCG(seed, 1)).IntN)
		links, taken := anyLinks(roll)
		targets := anyWishes(roll, links, taken)
		if roll(4) == 1 {
			spoil(roll, links, targets)
		}
		if err := checkPlan(links, targets); err != nil {
			t.Fatalf("seed %d: %v\nlinks %v\nwishes %v", seed, err, links, targets)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte("any"))
	f.Fuzz(func(t *testing.T, b []byte) {
		roll := diceOf(b)
		links, taken := anyLinks(roll)
		targets := anyWishes(roll, links, taken)
		if roll(4) == 1 {
			spoil(roll, links, targets)
		}
		if err := checkPlan(links, targets); err != nil {
			t.Fatalf("%v\nlinks %v\nwishes %v", err, links, targets)
		}
	})
}

// anyWorld rolls links, the primary among them, and routes.
func anyWorld(roll dice) world {
	links, _ := anyLinks(roll)
	var primaries []link
	primaries = append(primaries, allENIs(links)...)
	w := world{links: links, primary: primaries[roll(len(primaries))].id()}
	for range roll(4) {
		r := route{ipv6: roll(2) == 1, metric: uint32(roll(3))}
		for range 1 + roll(2) {
			r.hops = append(r.hops, hop{index: links[roll(len(links))].index, dead: roll(5) == 1})
		}
		w.routes = append(w.routes, r)
	}
	return w
}

// checkJudge says what is wrong with judge's verdict on a world, and with what comes of it.
func checkJudge(w world, roll dice) error {
	v, err := judge(w, true)
	if holder, held := linkByName(w.links, primaryName); err != nil && held && (!isENI(w.links, holder) || errors.Is(err, errForeignName)) {
		return nil // eth0 is a bridge or the like, or the primary has another kind of name: refused
	}
	if err != nil {
		return err
	}
	if plain, err := judge(w, false); err != nil || !excused(w, plain) && (plain.code != v.code || !maps.Equal(plain.targets, v.targets)) {
		return fmt.Errorf("judge() = %v, %w, with -names %v", plain, err, v)
	}
	after, err := settledWorld(w, v)
	if err != nil && slices.ContainsFunc(w.links, func(l link) bool { return slices.Contains(l.altnames, primaryName) }) {
		return nil // eth0 is an altname: refused
	}
	if err != nil {
		return fmt.Errorf("targets %v: %w", v.targets, err)
	}
	if err := checkBystanders(w, v, after); err != nil {
		return err
	}
	if err := checkMended(world{after, w.routes, w.primary}); err != nil {
		return err
	}
	return checkBreaks(w, v, roll)
}

// excused reports whether v is the row of the table in which a rename would disturb: it targets
// nothing but what is left of renames of others.
func excused(w world, v verdict) bool {
	p, _ := w.primaryLink()
	for _, l := range w.links {
		if _, wished := v.targets[l.index]; wished && (l.index == p.index || !isTemporary(l.name)) {
			return false
		}
	}
	return w.decidingEgress().leavesBy(p) == egressPrimary && v.code == map[bool]int{true: codeNames, false: codeRight}[len(v.targets) > 0]
}

// checkBystanders expects links to keep their names that are neither the primary, nor the
// holder of eth0, nor left behind with a temporary name.
func checkBystanders(w world, v verdict, after []link) error {
	for _, l := range w.links {
		now, _ := linkByIndex(after, l.index)
		if now.name == l.name || l.id() == w.primary && isENI(w.links, l) {
			continue
		}
		if l.name != primaryName && !isTemporary(l.name) || !isENI(w.links, l) || v.code != codeNames {
			return fmt.Errorf("%s has become %s, and was none of our business", l, now.name)
		}
	}
	return nil
}

// checkMended expects a world in which nothing is left to be done.
func checkMended(w world) error {
	v, err := judge(w, true)
	if err != nil || v.code != codeRight && v.code != codeRoute || len(v.targets) > 0 {
		return fmt.Errorf("then judge(%q) = %v, %w, want no targets", names(w.links), v, err)
	}
	p, _ := w.primaryLink()
	if !isKernelName(p.name) {
		return nil // an image with predictable names
	}
	if p.name != primaryName {
		return fmt.Errorf("the primary is called %s", p.name)
	}
	for _, l := range w.links {
		if final, ok := finalName(l.name); ok && isENI(w.links, l) {
			return fmt.Errorf("%s still waits to become %s", l, final)
		}
	}
	return nil
}

// checkBreaks carries out what judge targets, breaks it off after each step and at steps that
// the kernel refuses, and expects a new run to mend it.
func checkBreaks(w world, v verdict, roll dice) error {
	steps, err := plan(w.links, v.targets)
	if err != nil {
		return err
	}
	for i := range 2*len(steps) + 1 {
		broken := w
		broken.links = datagram(w.links, steps, func(j int) bool { return i <= len(steps) && j >= i || i > len(steps) && roll(2) == 1 })
		v, err := judge(broken, true)
		if err == nil {
			broken.links, err = settledWorld(broken, v)
		}
		if err == nil {
			err = checkMended(broken)
		}
		if err != nil {
			return fmt.Errorf("broken off at %d of %v: %w", i, steps, err)
		}
	}
	return nil
}

func TestJudgeOfAnyWorld(t *testing.T) {
	for seed := range uint64(4000) {
		roll := dice(rand.New(rand.NewPCG(seed, 2)).IntN)
		w := anyWorld(roll)
		if err := checkJudge(w, roll); err != nil {
			t.Fatalf("seed %d: %v\nlinks %v\nroutes %v\nprimary %v", seed, err, w.links, w.routes, w.primary)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte("any"))
	f.Fuzz(func(t *testing.T, b []byte) {
		roll := diceOf(b)
		w := anyWorld(roll)
		if err := checkJudge(w, roll); err != nil {
			t.Fatalf("%v\nlinks %v\nroutes %v\nprimary %v", err, w.links, w.routes, w.primary)
		}
	})
}

// An ENI that came in between and took a wished name moves; everybody else who holds one stays.
func TestMakeWay(t *testing.T) {
	before := enis("eth1 eth0")
	swapped := map[int32]string{2: "eth0", 3: "eth1"}
	for _, row := range []struct {
		world string
		now   []link
		after string
	}{
		{"nobody came", enis("eth1 eth0"), "eth0 eth1"},
		{"one took eth0 while it was free", enis("eth1 eni0-eth1 eth0"), "eth0 eth1 eth2"},
		{"one took eth1, and another eth2", enis("eni0-eth0 eth0 eth1 eth2"), "eth0 eth1 eth3 eth2"},
		{"one took eth1 while eth0 was free", enis("eni0-eth0 eni0-eth1 eth1"), "eth0 eth1 eth2"},
		{"one came and took no wished name", enis("eth1 eth0 eth2"), "eth0 eth1 eth2"},
	} {
		way := displaceNewcomers(before, row.now, swapped)
		steps, err := plan(row.now, way)
		if err != nil {
			t.Errorf("%s: plan(makeWay()) = %v", row.world, err)
			continue
		}
		if after, err := allOnPaper(row.now, steps); err != nil || names(after) != row.after {
			t.Errorf("%s: makeWay() leads to %q (%v), want %q", row.world, names(after), err, row.after)
		}
	}
	if way := displaceNewcomers(enis("eth1 eth0 eth2"), enis("eth1 eni0-eth1 eth0"), swapped); way[4] != "" {
		t.Errorf("makeWay() moves an ENI that was there before to %q, want it left alone", way[4])
	}
	bridge := append(enis("eth1 eni0-eth1"), link{index: 9, name: "eth0", kind: "bridge", ethernet: true})
	if way := displaceNewcomers(before, bridge, swapped); way[9] != "" {
		t.Errorf("makeWay() moves a bridge to %q, want it left alone", way[9])
	}
}

func TestNetworkLost(t *testing.T) {
	primary, secondary := link{index: 2, name: "eth1", addr: hwaddr{1}, ethernet: true}, link{index: 3, name: "eth0", addr: hwaddr{2}, ethernet: true}
	bridge := link{index: 4, name: "br0", kind: "bridge", ethernet: true, addr: hwaddr{1}}
	port := primary
	port.master = bridge.index
	v4 := func(index int32) address { return address{index: index} }
	v6 := func(index int32, scope byte) address { return address{index: index, ipv6: true, scope: scope} }
	by := func(index int32, ipv6 bool) route { return route{ipv6: ipv6, hops: []hop{{index: index}}} }
	of := func(routes []route, addresses ...address) network {
		return network{world{links: []link{primary, secondary}, routes: routes, primary: primary.addr}, addresses}
	}
	bridged := of([]route{by(4, false)}, v4(4))
	bridged.links = []link{port, secondary, bridge}
	swapped := of([]route{by(3, false)}, v4(3))
	swapped.links = []link{{index: 2, name: "eth0", addr: hwaddr{1}, ethernet: true}, {index: 3, name: "eth1", addr: hwaddr{2}, ethernet: true}}
	bonded := of([]route{by(5, false)}, v4(5))
	bonded.links = []link{port, secondary, {index: 4, name: "bond0", kind: "bond", ethernet: true, master: 5}, {index: 5, name: "br0", kind: "bridge", ethernet: true}}
	podded := of([]route{by(3, false)}, v4(6))
	podded.links = append(podded.links, link{index: 6, name: "pod", kind: "veth", ethernet: true, lower: 2})
	gone := of([]route{by(3, false)})
	gone.links = []link{secondary}
	for _, c := range []struct {
		world    string
		was, now network
		want     string // "" for nothing
	}{
		{"all is there", of([]route{by(3, false)}, v4(2), v4(3)), of([]route{by(2, false)}, v4(2), v4(3)), ""},
		{"the default route still leaves by another ENI", of([]route{by(3, false)}, v4(2)), of([]route{by(3, false)}, v4(2)), ""},
		{"no default route", of([]route{by(3, false)}, v4(2)), of(nil, v4(2)), "there is no IPv4 default route"},
		{"one of the other family only", of([]route{by(3, false)}, v4(2)), of([]route{by(2, true)}, v4(2)), "there is no IPv4 default route"},
		{"the primary has no address", of([]route{by(3, false)}, v4(2)), of([]route{by(3, false)}, v4(3)), "eth1 (01:00:00:00:00:00, index 2) has no IPv4 address"},
		{"it had none before either, and traffic leaves by another that is not renamed", of([]route{by(3, false)}, v4(3)), of([]route{by(3, false)}, v4(3)), ""},
		{"it had none before either, but traffic was to leave by it", of([]route{by(3, false)}, v4(3)), swapped, "has no IPv4 address"},
		{"its bond's bridge has the address", bonded, bonded, ""},
		{"a pod's veth, whose peer has its index elsewhere", of([]route{by(3, false)}, v4(2)), podded, "has no IPv4 address"},
		{"IPv6 decided", of([]route{by(3, true)}, v6(2, 0)), of(nil, v6(2, 0)), "there is no IPv6 default route"},
		{"its IPv6 address is for the link only", of([]route{by(3, true)}, v6(2, 0)), of([]route{by(3, true)}, v6(2, scopeLink)), "has no IPv6 address"},
		{"there was no default route, nor address", of(nil), of(nil), ""},
		{"there was an address", of(nil, v4(2)), of(nil), "has no IPv4 address"},
		{"its bridge has the address", bridged, bridged, ""},
		{"its next hop is dead", of([]route{by(3, false)}, v4(2)), of([]route{{hops: []hop{{index: 2, dead: true}}}}, v4(2)), "there is no IPv4 default route"},
		{"the primary was pulled out", of([]route{by(3, false)}, v4(2)), gone, ""},
	} {
		got := ""
		if err := networkLost(c.was, c.now); err != nil {
			got = err.Error()
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: networkLost() = %q, want %q", c.world, got, c.want)
		}
	}
}
