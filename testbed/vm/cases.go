package main

import "slices"

// A testCase is one world, and what eni0 has to make of it.
type testCase struct {
	name  string // "a"
	words string // what the world is
	on    []platform
	setup *setup
	start string // the kind of initramfs
	boots []boot // one after the other
	judge func([]*observation) *verdict
}

// What is added to the kernel's command line.
const (
	noUnit  = " systemd.mask=eni0.service"
	liveFix = noUnit + " vm.fix"
	byHand  = liveFix + " vm.hand" // with some state made by hand before
	// What stands after "--" are the arguments of the first process; systemd in an initramfs hands
	// them on to init=. A second "--" ends them: parse_args() of kernel/params.c. So COMMAND stands
	// without.
	inFront = noUnit + " init=/usr/sbin/eni0 -- fix -names -timeout 10s /usr/lib/systemd/systemd"
	first   = " rdinit=/init -- fix -names -timeout 10s /usr/sbin/vm-guest"
	nowhere = " rdinit=/init -- fix -names -timeout 10s /nowhere"
	cut     = " rdinit=/init -- fix -names -timeout 10s -- /usr/sbin/vm-guest"
)

// The orders in which the kernel finds the NICs: device indices.
var (
	rightOrder = []int{0, 1}
	wrongOrder = []int{1, 0}
)

// noneUp are those whose kernel renames no link that is up.
var noneUp = []platform{{plain, "6.1"}, {bullseye, "5.10"}}

// cases are those that are tried unless -case names others.
func cases() []*testCase {
	return slices.Concat(plainCases(), managerCases(), pinnedCases(), imageCases(), armCases())
}

// wrongly are one boot in the wrong order.
func wrongly(b boot) []boot { b.Order = wrongOrder; return []boot{b} }

// plainCases are those of one system, in all the places where eni0 can run.
func plainCases() []*testCase {
	twice := []boot{{Order: []int{1, 2, 0}, Keep: true}, {Order: []int{0, 1, 2}, Keep: true}}
	all := []*testCase{
		{name: "a", words: "right order, early unit", start: ready,
			boots: []boot{{Order: rightOrder}}, judge: judgeRight},
		{name: "b", words: "wrong order, early unit", judge: judgeEarly},
		{name: "c", words: "wrong order, dracut image", start: dracut,
			boots: wrongly(boot{Append: noUnit}), judge: judgeInitrd},
		{name: "c2", words: "wrong order, image of initramfs-tools", on: on(bookworm, trixie), start: tools,
			boots: wrongly(boot{Append: noUnit}), judge: judgeTools},
		{name: "d", words: "wrong order, in front of PID 1", start: without,
			boots: wrongly(boot{Append: inFront}), judge: judgeInFront},
		{name: "d2", words: "the first process of all", start: alone,
			boots: wrongly(boot{Append: first}), judge: judgeFirst},
		{name: "d3", words: "the same, COMMAND does not exist", start: alone,
			boots: wrongly(boot{Append: nowhere}), judge: judgeNowhere},
		{name: "d4", words: "the same, the kernel drops COMMAND", start: alone,
			boots: wrongly(boot{Append: cut}), judge: judgeNowhere},
		{name: "d5", words: "the first process, and no IMDS", start: alone,
			boots: wrongly(boot{Append: first, IMDS: never}), judge: judgeFirstInVain},
		{name: "e", words: "wrong order, fixed live", boots: wrongly(boot{Append: byHand}),
			judge: judgeLive},
		{name: "f", words: "the primary is plugged in late", boots: wrongly(boot{Late: true}),
			judge: judgeLate},
		{name: "g", words: "no IMDS at all", boots: wrongly(boot{IMDS: never}), judge: judgeNoIMDS},
		{name: "h", words: "IMDS refuses, then 401s", boots: wrongly(boot{IMDS: refusesFirst}),
			judge: judgeSlowIMDS},
		{name: "q", words: "default traffic by stacked links", boots: []boot{{Order: rightOrder, Append: " vm.stack"}},
			judge: judgeStacks},
		{name: "r", words: "an object of each kind, names swapped and killed", on: noneUp[:1], // r-all has all
			boots: wrongly(boot{Append: noUnit + " vm.kinds20", IPv6: true}), judge: judgeKinds},
		{name: "s", words: "the commands of docs/, after a wrong order", on: on(trixie),
			boots: wrongly(boot{Append: " vm.docs"}), judge: judgeDocs},
		{name: "i", words: "wrong order, then right", boots: twice, judge: judgeTwice},
	}
	return usual(all)
}

// usual fills in what most cases have in common.
func usual(all []*testCase) []*testCase {
	for _, c := range all {
		if c.on == nil {
			c.on = on(plain)
		}
		if c.setup == nil {
			c.setup = byName
		}
		if c.start == "" {
			c.start = small
		}
		if c.boots == nil {
			c.boots = wrongly(boot{})
		}
	}
	return all
}

// managerCases are those of other network managers, and of newer systemds.
func managerCases() []*testCase {
	var all []*testCase
	for _, c := range []testCase{
		{name: "m", words: "NetworkManager", on: on(bookworm, trixie), setup: nmByName},
		// ifupdown leaves IPv6 to the kernel, which takes its default routes from routers.
		{name: "n", words: "ifupdown, auto", on: on(bookworm), setup: autoByName,
			boots: wrongly(boot{IPv6: true})},
		{name: "n2", words: "ifupdown, allow-hotplug", on: on(bookworm), setup: plugByName,
			boots: wrongly(boot{IPv6: true})},
		{name: "o", words: "newer systemd", on: on(trixie, forky)},
	} {
		early, live := c, c
		early.words += ", early unit"
		early.judge = judgeEarly
		live.name += "-live"
		live.words += ", fixed live"
		live.boots = wrongly(boot{Append: byHand, IPv6: c.boots != nil && c.boots[0].IPv6})
		live.judge = judgeLive
		all = append(all, &early, &live)
	}
	return usual(all)
}

// pinnedCases are those in which files tie links to names.
func pinnedCases() []*testCase {
	var all []*testCase
	for _, c := range []struct {
		testCase
		pinned
	}{
		{testCase{name: "l1", words: "pinned as by netplan", on: on(trixie),
			setup: pinnedByNetplan},
			pinned{file: "/etc/systemd/network/10-netplan-eth", leaves: "eth0", code: 1}},
		{testCase{name: "l2", words: "pinned by udev rules", on: on(bookworm), setup: pinnedByUdev},
			pinned{file: "/etc/udev/rules.d/70-persistent-net.rules", leaves: "eth1", code: 0}},
		{testCase{name: "l3", words: "pinned by keyfiles", on: on(bookworm, trixie),
			setup: pinnedByNM},
			pinned{file: "/etc/NetworkManager/system-connections/eth", leaves: "eth0", code: 1}},
		{testCase{name: "l5", words: "pinned by netplan's generator", on: on(bookworm),
			setup: pinnedByYAML},
			pinned{file: "netplan-eth", leaves: "eth0", code: 1}}, // in /run, of .link, .network and udev rules
	} {
		early, live := c.testCase, c.testCase
		early.words += ", early unit"
		early.judge = c.judgeEarly
		live.name += "-live"
		live.words += ", fixed live"
		live.boots = wrongly(boot{Append: liveFix})
		live.judge = c.judgeLive
		all = append(all, &early, &live)
	}
	// l4 is last: there is nothing to hold.
	rightly := []platform{{plain, "6.1"}, {trixie, "6.12"}}
	all = append(all, &testCase{name: "l4", words: "pinned rightly, early unit", on: rightly,
		setup: pinnedRightly, judge: judgeEnforced})
	return usual(all)
}
