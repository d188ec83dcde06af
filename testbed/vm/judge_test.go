package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"eni0/testbed/vm/guestreport"
)

// links is a state with ENIs by these names, by device index; up ones have an address.
func links(up bool, names ...string) *guestreport.State {
	s := new(guestreport.State)
	for device, name := range names {
		l := guestreport.Link{Index: device + 2, Name: name, MAC: mac(device), Up: up}
		if up {
			l.Addrs = []string{address(device) + "/24"}
		}
		s.Links = append(s.Links, l)
	}
	return s
}

// leaving is a state with a default route by a link.
func leaving(s *guestreport.State, dev string) *guestreport.State {
	s.Routes = append(s.Routes, guestreport.Route{Dev: dev, To: netip.MustParsePrefix("0.0.0.0/0")})
	return s
}

// rename is the kernel's line about one.
func rename(at time.Duration, text string) entry { return entry{at, "kernel", false, text} }

// ms is a time since the kernel started.
func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// fixed is an observation that came out right: names were wrong, and the early unit put them right.
func fixed() *observation {
	s := &observation{outcome: new(outcome), manager: networkd}
	s.Report = guestreport.Report{
		Args:     []string{"/usr/lib/systemd/systemd"},
		Before:   links(false, "eth0", "eth1"),
		Settled:  leaving(links(true, "eth0", "eth1"), "eth0"),
		Commands: map[string]string{"failed": "", "changed": "/var/lib/systemd/random-seed\n"},
	}
	s.managed = map[string]string{"eth0": "configured", "eth1": "configured"}
	s.units = map[string]unit{
		"eni0.service":             {"active", ms(1000), ms(2000), ms(1001), ms(1999), ms(300)},
		"systemd-networkd.service": {"active", ms(3000), ms(4000), ms(3001), 0, 0},
	}
	s.journal = []entry{
		{ms(1000), "eni0.service", true, "Starting eni0.service..."},
		rename(ms(1500), "virtio_net virtio0 eni0-eth1: renamed from eth0"),
		rename(ms(1501), "virtio_net virtio1 eth0: renamed from eth1"),
		rename(ms(1502), "virtio_net virtio0 eth1: renamed from eni0-eth1"),
		{ms(1900), "eni0.service", false, "eth0 is the primary ENI"},
		{ms(2000), "eni0.service", true, "Finished eni0.service."},
	}
	return s
}

// right is an observation in which there was nothing to do.
func right() *observation {
	s := fixed()
	s.journal = slices.DeleteFunc(s.journal, func(e entry) bool { return e.unit == "kernel" })
	return s
}

// leased is right, and the journal says when eth0 got its address.
func leased() *observation {
	s := right()
	s.journal = append(s.journal, entry{ms(5678), "systemd-networkd.service", false,
		"eth0: DHCPv4 address 10.0.1.10/24, gateway 10.0.1.1 acquired from 10.0.1.1"})
	return s
}

func TestJudgeStart(t *testing.T) {
	v := judgeStart([]*observation{leased()})
	if len(v.faults) > 0 || !slices.Contains(v.notes, "eth0 had its address 5678 ms after the kernel started") {
		t.Errorf("faults %q, notes %q", v.faults, v.notes)
	}
}

// initrd is an observation in which the names were put right in the initramfs.
func initrd() *observation {
	s := fixed()
	s.units["eni0.service"] = unit{state: "inactive"}
	for at := range s.journal {
		s.journal[at].unit = strings.Replace(s.journal[at].unit, "eni0.service", "eni0-initrd.service", 1)
	}
	s.journal = append(s.journal, entry{ms(2100), "init.scope", false, "Switching root."})
	return s
}

// fromTools is an observation in which the names were put right in an initramfs of initramfs-tools.
func fromTools() *observation {
	s := fixed()
	s.journal = append(s.journal, entry{ms(2600), "systemd", false, "systemd 252 running in system mode"},
		entry{ms(1502), "eni0", false, "0a:ff:00:00:00:01 (index 3): eth1 -> eth0"})
	return s
}

// inFrontOf is an observation in which the names were put right between initramfs and systemd.
func inFrontOf() *observation {
	s := fixed()
	s.journal = append(s.journal, entry{ms(1100), "init.scope", false, "Switching root."}, entry{ms(1502), "eni0", false, "0a:ff:00:00:00:01 (index 3): eth1 -> eth0"})
	return s
}

// chain is an observation with nothing but eni0 and a reporter.
func chain(teller string) *observation {
	return &observation{outcome: &outcome{Report: guestreport.Report{Teller: teller, Bare: true, Settled: links(false, "eth0", "eth1")}}}
}

// chainInVain is an observation with nothing but eni0, which has learnt nothing, and a reporter.
func chainInVain() *observation {
	s := chain(guestPath)
	s.Report.Settled = links(false, "eth1", "eth0")
	return s
}

// live is an observation with a fix on a running system.
func live() *observation {
	s := fixed()
	s.Report.Settled = leaving(links(true, "eth1", "eth0"), "eth0")
	s.Report.After = leaving(links(true, "eth0", "eth1"), "eth0")
	s.Report.Fix = &guestreport.Fix{Code: 0, Took: 2000, Traffic: 1500}
	s.Report.Dumps = []guestreport.Dump{dump(0, 2, 3), dump(madeOnEach, 2, 3), dump(madeOnEach, 2, 3)}
	return s
}

// dump is what ip(8) says where that many things were made by hand on each of the links with these indices.
func dump(made int, indices ...int) guestreport.Dump {
	var links, routes []string
	for _, index := range indices {
		links = append(links, fmt.Sprintf(`{"ifindex":%d,"ifname":"link%d"}`, index, index))
		routes = append(routes, fmt.Sprintf(`{"dst":"10.0.%d.0/24","dev":"link%d","protocol":"kernel"}`, index, index))
		for n := range made {
			routes = append(routes, fmt.Sprintf(`{"dst":"198.51.%d.%d","dev":"link%d","protocol":"boot"}`, index, n, index))
		}
	}
	return guestreport.Dump{guestreport.Asked[0]: "[" + strings.Join(links, ",") + "]", guestreport.Asked[1]: "[" + strings.Join(routes, ",") + "]"}
}

// held is an observation with the early unit in which a file held the names.
func held(p pinned) *observation {
	s := noIMDS()
	s.Report.Settled = leaving(links(true, "eth1", "eth0"), p.leaves)
	s.journal = append(s.journal, entry{ms(1900), "eni0.service", false, "names are pinned: " + p.file + "1.link"})
	return s
}

// heldLive is an observation with a fix on a running system in which a file held the names.
func heldLive(p pinned) *observation {
	s := right()
	s.Report.Settled = leaving(links(true, "eth1", "eth0"), p.leaves)
	s.Report.After = leaving(links(true, "eth1", "eth0"), p.leaves)
	s.Report.Fix = &guestreport.Fix{Code: p.code, Output: "names are pinned: " + p.file + "1.link", Took: 2000, Traffic: -1}
	s.Report.Dumps = []guestreport.Dump{dump(0, 2, 3), dump(0, 2, 3), dump(0, 2, 3)}
	return s
}

// under is an observation as another manager's.
func under(m *manager, s *observation) *observation {
	if s.managed == nil {
		return s
	}
	s.manager, s.units[m.unit] = m, s.units[s.manager.unit]
	for name := range s.managed {
		s.managed[name] = m.good
	}
	return s
}

// stacked is an observation in which eni0 judged what carried default traffic for a while.
func stacked() *observation {
	s := right()
	s.Report.Stacks = map[string]*guestreport.Fix{}
	for on, want := range byStack {
		s.Report.Stacks[on] = &guestreport.Fix{Code: want[0], Output: fmt.Sprintf("LINK\n0a:ff:00:00:00:%02x\n", want[1])}
	}
	return s
}

// documented is an observation in which the commands of docs/ did what stands there.
func documented() *observation {
	s := fixed()
	s.Report.Docs = []guestreport.Doc{{Line: `journalctl -u eni0.service -o cat | grep '"renamed":'`, Output: `{"renamed":[{"to":"eth0"}]}` + "\n"},
		{Line: "eni0 check -json", Code: 10}}
	for range 8 {
		s.Report.Docs = append(s.Report.Docs, guestreport.Doc{Line: "eni0 fix"})
	}
	return s
}

// ofKinds is an observation in which objects of each kind were as before.
func ofKinds() *observation {
	s := right()
	s.Report.Kinds = &guestreport.Kinds{Made: 170, Routers: 2, Swaps: 2, Calls: 20, Kills: 20, Routes: 3000}
	return s
}

// lateNIC is an observation in which the primary was plugged in late.
func lateNIC() *observation {
	s := fixed()
	s.Plugged = true
	return s
}

// noIMDS is an observation in which nobody answered.
func noIMDS() *observation {
	s := right()
	s.Report.Before = links(false, "eth1", "eth0")
	s.Report.Settled = leaving(links(true, "eth1", "eth0"), "eth0")
	s.Report.Commands["failed"] = "eni0.service loaded failed failed Give the primary ENI the name eth0\n"
	s.units["eni0.service"] = unit{state: "failed", execed: ms(1000), exited: ms(31000)}
	return s
}

// slowIMDS is an observation in which IMDS took its time.
func slowIMDS() *observation {
	s := fixed()
	s.Asked = 7
	for _, status := range []int{200, 401, 200, 401, 200, 401, 200, 200} {
		s.Requests = append(s.Requests, request{"GET", "/latest", status})
	}
	return s
}

// What holds names in the tests.
var (
	byFile  = pinned{"/etc/systemd/network/10-netplan-eth", "eth0", 1}
	byRules = pinned{"/etc/udev/rules.d/70-persistent-net.rules", "eth1", 0}
	byYAML  = pinned{"/run/systemd/network/10-netplan-eth", "eth0", 1}
	byKeys  = pinned{"/etc/NetworkManager/system-connections/eth", "eth0", 1}
)

func TestJudgeRightWorlds(t *testing.T) {
	scenes := map[string]func() []*observation{
		"i":  func() []*observation { return []*observation{fixed(), right()} },
		"k1": cloud, "k2": func() []*observation { return append(cloud(), cloud()[0]) },
	}
	for names, s := range map[string]func() *observation{
		"a": right, "b m n n2 o l4": fixed, "c": initrd, "c2": fromTools, "d": inFrontOf, "d2 p1": func() *observation { return chain(guestPath) },
		"d3 d4": func() *observation { return chain("/sbin/init") }, "d5": chainInVain,
		"e m-live n-live n2-live o-live": live, "f": lateNIC, "q": stacked, "s": documented, "r": ofKinds, "g": noIMDS, "h": slowIMDS,
		"j1": policed, "j2": policedLive, "j3": policedLate, "p2": stages,
		"l1": func() *observation { return held(byFile) }, "l1-live": func() *observation { return heldLive(byFile) },
		"l2": func() *observation { return held(byRules) }, "l2-live": func() *observation { return heldLive(byRules) },
		"l5": func() *observation { return held(byYAML) }, "l5-live": func() *observation { return heldLive(byYAML) },
		"l3": func() *observation { return held(byKeys) }, "l3-live": func() *observation { return heldLive(byKeys) },
	} {
		for name := range strings.FieldsSeq(names) {
			scenes[name] = func() []*observation { return []*observation{s()} }
		}
	}
	for _, c := range cases() {
		if scenes[c.name] == nil {
			t.Errorf("case %s: there is no scene", c.name)
			continue
		}
		all := scenes[c.name]()
		for _, s := range all {
			under(c.setup.manager, s)
		}
		if v := c.judge(all); len(v.faults) > 0 || len(v.notes) == 0 {
			t.Errorf("case %s: faults %q, notes %q, want none and some", c.name, v.faults, v.notes)
		}
	}
}

// wrongWorlds are scenes with one thing wrong each.
var wrongWorlds = []struct {
	world string
	judge func([]*observation) *verdict
	scene *observation
	spoil func(*observation)
	want  string // in a fault
}{
	{"a: a link was renamed and back", judgeRight, fixed(), nil, "renamed at 1500 ms"},
	{"a-unit: renamed", judgeStart, leased(), func(s *observation) { s.journal = append(s.journal, fixed().journal...) }, "renamed at 1500 ms"},
	{"a-none: no address", judgeStart, right(), nil, "does not say when eth0 got its address"},
	{"a: an address was left", judgeRight, right(), func(s *observation) { s.Report.Before.Links[1].Addrs = []string{"10.0.2.15/32"} }, "left behind on eth1"},
	{"a: a route was left", judgeRight, right(), func(s *observation) { leaving(s.Report.Before, "eth1") }, "left behind: routes"},
	{"a: a link was left up", judgeRight, right(), func(s *observation) { s.Report.Before.Links[0].Up = true }, "left behind on eth0"},
	{"a: the unit failed", judgeRight, right(), func(s *observation) { s.units["eni0.service"] = unit{state: "failed"} }, "eni0.service is failed"},
	{"s: a command failed", judgeDocs, documented(), func(s *observation) { s.Report.Docs[2].Code = 127 }, "eni0 fix: code 127"},
	{"s: no boot was put right", judgeDocs, documented(), func(s *observation) { s.Report.Docs[0].Output = "" }, "journalctl"},
	{"s: nothing was run", judgeDocs, documented(), func(s *observation) { s.Report.Docs = nil }, "0 commands"},
	{"r: an address was lost", judgeKinds, ofKinds(), func(s *observation) { s.Report.Kinds.Wrong = []string{"a swap: lost: fd00::1"} }, "a swap: lost: fd00::1"},
	{"r: nobody was killed", judgeKinds, ofKinds(), func(s *observation) { s.Report.Kinds.Kills = 0 }, "0 killed"},
	{"r: nothing was made", judgeKinds, ofKinds(), func(s *observation) { s.Report.Kinds.Made = 3 }, "only 3 objects"},
	{"r: no report", judgeKinds, right(), nil, "there is no report"},
	{"b: nothing was wrong", judgeEarly, right(), nil, "it did not start wrong"},
	{"b: nothing was fixed", judgeEarly, fixed(), func(s *observation) { s.Report.Settled = leaving(links(true, "eth1", "eth0"), "eth0") }, "the primary is eth1"},
	{"b: fixed after networkd started", judgeEarly, fixed(), func(s *observation) { s.journal[1].at = ms(3500) }, "renamed at 3500 ms"},
	{"b: not yet when networkd started", judgeEarly, fixed(), func(s *observation) { s.Report.Before = links(false, "eth1", "eth0") }, "before the network was configured"},
	{"b: nobody looked", judgeEarly, fixed(), func(s *observation) { s.Report.Before = nil }, "nobody looked"},
	{"b: traffic leaves by the secondary", judgeEarly, fixed(), func(s *observation) { s.Report.Settled.Routes[0].Dev = "eth1" }, `leaves by "eth1"`},
	{"b: no traffic", judgeEarly, fixed(), func(s *observation) { s.Report.Settled.Routes = nil }, `leaves by ""`},
	{"b: networkd lost a link", judgeEarly, fixed(), func(s *observation) { s.managed["eth1"] = "failed" }, "systemd-networkd.service: eth1 is failed"},
	{"b: networkd does not know a link", judgeEarly, fixed(), func(s *observation) { delete(s.managed, "eth1") }, "knows 1 links of 2"},
	{"b: a link has another's address", judgeEarly, fixed(), func(s *observation) { s.Report.Settled.Links[1].Addrs[0] = "10.0.1.10/24" }, "want 10.0.2.10/24"},
	{"b: a unit failed", judgeEarly, fixed(), func(s *observation) { s.Report.Commands["failed"] = "x.service loaded failed" }, "failed: x.service"},
	{"b: half a swap", judgeEarly, fixed(), func(s *observation) { s.Report.Settled.Links[1].Name = "eni0-eth1" }, "still called eni0-eth1"},
	{"c: renamed by the root's systemd", judgeInitrd, initrd(), func(s *observation) { s.journal[1].at = ms(2500) }, "after the root was switched"},
	{"c: the unit did not finish", judgeInitrd, initrd(), func(s *observation) { s.journal[5].text = "Failed" }, "did not finish"},
	{"c2: renamed by the root's systemd", judgeTools, fromTools(), func(s *observation) { s.journal[1].at = ms(2700) }, "after the root's systemd began"},
	{"c2: nothing in the kernel's log", judgeTools, fromTools(), func(s *observation) { s.journal[len(s.journal)-1].unit = "init" }, "kernel's log"},
	{"d: renamed in the initramfs", judgeInFront, inFrontOf(), func(s *observation) { s.journal[1].at = ms(900) }, "renamed at 900 ms"},
	{"d: eni0 stayed PID 1", judgeInFront, inFrontOf(), func(s *observation) { s.Report.Args[0] = eni0Path }, "PID 1 is"},
	{"d: nothing in the kernel's log", judgeInFront, inFrontOf(), func(s *observation) { s.journal[len(s.journal)-1].unit = "init" }, "kernel's log"},
	{"d2: another command", judgeFirst, chain("/sbin/init"), nil, "/sbin/init was executed"},
	{"d2: something was mounted", judgeFirst, chain(guestPath), func(s *observation) { s.Report.Bare = false }, "mounted"},
	{"d3: names are wrong", judgeNowhere, chain("/sbin/init"), func(s *observation) { s.Report.Settled = links(false, "eth1", "eth0") }, `the primary is "eth1"`},
	{"e: it started right", judgeLive, live(), func(s *observation) { s.Report.Settled = s.Report.After }, "did not start wrong"},
	{"e: code 11", judgeLive, live(), func(s *observation) { s.Report.Fix.Code = 11 }, "code 11"},
	{"e: traffic never followed", judgeLive, live(), func(s *observation) { s.Report.Fix.Traffic = -1 }, "took -1 ms"},
	{"e: it did not stay right", judgeLive, live(), func(s *observation) { s.Report.After.Routes[0].Dev = "eth1" }, `leaves by "eth1"`},
	{"e: something made by hand is gone", judgeLive, live(), func(s *observation) { s.Report.Dumps[2] = dump(madeOnEach-1, 2, 3) }, "gone: route on link 2: {\"dst\":\"198.51.2.9\""},
	{"e: it is on the other link", judgeLive, live(), func(s *observation) { s.Report.Dumps[2] = swapped(s.Report.Dumps[2]) }, "made by hand on link 2, and now on 3"},
	{"e: nothing was made by hand", judgeLive, live(), func(s *observation) { s.Report.Dumps[1] = dump(0, 2, 3) }, "0 things were made"},
	{"e: ip(8) did not say", judgeLive, live(), func(s *observation) { s.Report.Dumps[2][guestreport.Asked[1]] = "no such file" }, "no such file"},
	{"n: two routers became one route", judgeLive, live(), func(s *observation) { s.Report.Dumps[1][guestreport.Asked[2]] = advertised }, "before [{route 2 "},
	{"m: a device is lost", judgeLive, under(nm, live()), func(s *observation) { s.managed["eth1"] = "connected (externally)" }, "eth1 is connected (externally)"},
	{"n: renamed too late", judgeEarly, under(ifupdown, fixed()), func(s *observation) { s.journal[1].at = ms(3500) }, "renamed at 3500 ms"},
	{"l: renamed all the same", byFile.judgeEarly, held(byFile), func(s *observation) { s.journal = fixed().journal }, "renamed at"},
	{"l: the unit did not fail", byFile.judgeEarly, held(byFile), func(s *observation) { s.Report.Commands["failed"] = "" }, `failed: ""`},
	{"l: the file is not named", byFile.judgeEarly, held(byFile), func(s *observation) { s.journal = nil }, "do not name"},
	{"l: traffic is not as without eni0", byFile.judgeEarly, held(byFile), func(s *observation) { s.Report.Settled.Routes[0].Dev = "eth1" }, "as without eni0"},
	{"l: no network", byFile.judgeEarly, held(byFile), func(s *observation) { s.Report.Settled.Links[0].Addrs = nil }, "want 10.0.1.10/24"},
	{"q: a code is wrong", judgeStacks, stacked(), func(s *observation) { s.Report.Stacks["bond eth1"].Code = 0 }, "bond eth1: code 0, want 11"},
	{"q: the ENI is wrong", judgeStacks, stacked(), func(s *observation) { s.Report.Stacks["vlan eth0"].Output = "0a:ff:00:00:00:02\n" }, "vlan eth0: code 0, want 0 and 0a:ff:00:00:00:01"},
	{"q: one was not tried", judgeStacks, stacked(), func(s *observation) { delete(s.Report.Stacks, "tun eth1") }, "tun eth1 was not tried"},
	{"l: the manager has lost a link", byFile.judgeEarly, held(byFile), func(s *observation) { s.managed["eth0"] = "unmanaged" }, "eth0 is unmanaged"},
	{"l-live: code 11", byFile.judgeLive, heldLive(byFile), func(s *observation) { s.Report.Fix.Code = 11 }, "code 11, want 1"},
	{"l-live: the file is not named", byFile.judgeLive, heldLive(byFile), func(s *observation) { s.Report.Fix.Output = "" }, "does not name"},
	{"l-live: renamed", byFile.judgeLive, heldLive(byFile), func(s *observation) { s.Report.After = links(true, "eth0", "eth1") }, "it was"},
	{"l-live: a route is gone", byFile.judgeLive, heldLive(byFile), func(s *observation) { s.Report.Dumps[1] = dump(1, 2, 3) }, "gone: route"},
	{"l-live: a route is new", byFile.judgeLive, heldLive(byFile), func(s *observation) { s.Report.Dumps[2] = dump(1, 2, 3) }, "new: route"},
	{"l4: udev did not, and eni0 neither", judgeEnforced, right(), nil, "nothing was renamed"},
	{"l4: the unit failed", judgeEnforced, fixed(), func(s *observation) { s.units["eni0.service"] = unit{state: "failed"} }, "eni0.service is failed"},
	{"f: never plugged in", judgeLate, lateNIC(), func(s *observation) { s.Plugged = false }, "never plugged in"},
	{"g: an address was left", judgeNoIMDS, noIMDS(), func(s *observation) { s.Report.Before.Links[0].Addrs = []string{"10.0.1.15/32"} }, "left behind on eth1"},
	{"g: renamed all the same", judgeNoIMDS, noIMDS(), func(s *observation) { s.journal = fixed().journal }, "renamed at"},
	{"g: the unit did not fail", judgeNoIMDS, noIMDS(), func(s *observation) { s.Report.Commands["failed"] = "" }, `failed: ""`},
	{"g: another unit failed too", judgeNoIMDS, noIMDS(), func(s *observation) { s.Report.Commands["failed"] += "x.service\n" }, "x.service"},
	{"g: nothing in the journal", judgeNoIMDS, noIMDS(), func(s *observation) { s.journal = nil }, "nothing in the journal"},
	{"g: the network was not configured", judgeNoIMDS, noIMDS(), func(s *observation) { s.Report.Settled.Routes = nil }, "not configured"},
	{"h: not asked before it listened", judgeSlowIMDS, slowIMDS(), func(s *observation) { s.Asked = 0 }, "asked 0 times"},
	{"h: no token was refused", judgeSlowIMDS, slowIMDS(), func(s *observation) { s.Requests = nil }, "0 tokens were refused"},
}

// advertised is what ip(8) says of a default route from a router.
const advertised = `[{"dst":"default","gateway":"fe80::2","dev":"link2","protocol":"ra"}]`

// swapped is a dump in which two links have each other's things.
func swapped(d guestreport.Dump) guestreport.Dump {
	routes := strings.NewReplacer("link2", "link3", "link3", "link2").Replace(d[guestreport.Asked[1]])
	return guestreport.Dump{guestreport.Asked[0]: d[guestreport.Asked[0]], guestreport.Asked[1]: routes}
}

func TestJudgeWrongWorlds(t *testing.T) {
	for _, c := range wrongWorlds {
		if c.spoil != nil {
			c.spoil(c.scene)
		}
		if got := fmt.Sprint(c.judge([]*observation{c.scene}).faults); !strings.Contains(got, c.want) {
			t.Errorf("%s: faults %s, want %q", c.world, got, c.want)
		}
	}
}

func TestJudgeTwice(t *testing.T) {
	if got := fmt.Sprint(judgeTwice([]*observation{fixed(), fixed()}).faults); !strings.Contains(got, "second boot: renamed") {
		t.Errorf("the second boot renames: faults %s", got)
	}
	left := fixed()
	left.Report.Commands["changed"] += "/etc/udev/rules.d/70-persistent-net.rules\n"
	if got := fmt.Sprint(judgeTwice([]*observation{left, right()}).faults); !strings.Contains(got, "70-persistent-net") {
		t.Errorf("a file was left: faults %s", got)
	}
}
