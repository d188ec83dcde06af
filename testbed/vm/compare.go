package main

import (
	"maps"
	"slices"
	"strings"
)

// This file has the cases that are tried only where they are named: for comparison, or as they take long.

// withoutEni0 has the names put right as it is done without eni0.
const withoutEni0 = noUnit + " vm.swap"

// onRequest are cases that are tried only where -case names them.
func onRequest() []*testCase {
	return usual([]*testCase{
		{name: "a-unit", words: "right order, early unit, to compare", on: on(plain), start: ready,
			boots: []boot{{Order: rightOrder}}, judge: judgeStart},
		{name: "a-none", words: "the same without eni0", on: on(plain), start: ready,
			boots: []boot{{Order: rightOrder, Append: noUnit}}, judge: judgeStart},
		{name: "r-all", words: "the same, killed at each system call", on: noneUp,
			boots: wrongly(boot{Append: noUnit + " vm.kinds", IPv6: true, Long: true}), judge: judgeKinds},
		{name: "e-fix", words: "fixed live, to compare", on: on(plain),
			boots: wrongly(boot{Append: liveFix + " vm.down"}), judge: judgeSwap},
		{name: "e-hand", words: "the same swap by hand", on: on(plain),
			boots: wrongly(boot{Append: withoutEni0}), judge: judgeSwap},
	})
}

// judgeStart judges a boot in the right order, with the early unit or without: only that all is right.
// When eth0 got its address is for comparison.
func judgeStart(s []*observation) *verdict {
	v := new(verdict)
	v.healthy(s[0])
	v.untouched(s[0])
	leased, found := s[0].said(s[0].manager.unit, "eth0: DHCPv4 address ")
	v.want(found, "the journal does not say when eth0 got its address")
	v.note("eth0 had its address %s after the kernel started", millis(leased.at))
	return v
}

// judgeSwap judges a live swap, by eni0 or by hand: only that it was one. What it came to is for
// comparison.
func judgeSwap(s []*observation) *verdict {
	v := new(verdict)
	r := s[0].Report
	v.started(r.Settled, "eth0")
	v.want(r.Fix.Code == 0, "code %d: %s", r.Fix.Code, strings.TrimSpace(r.Fix.Output))
	v.want(primary(r.After) == "eth0", "it was not swapped: the primary is %s", primary(r.After))
	if r.Fix.Traffic < 0 {
		v.note("default traffic never followed")
	} else {
		v.note("traffic by the primary after %d ms", r.Fix.Traffic)
	}
	if d := r.Down; d.Sent > 0 {
		v.note("%d of %d were lost by taking the primary down and up before", d.Lost, d.Sent)
	}
	v.pings(r.Fix)
	for _, name := range slices.Sorted(maps.Keys(s[0].managed)) {
		if s[0].managed[name] != s[0].manager.good {
			v.note("%s: %s is %s", s[0].manager.unit, name, s[0].managed[name])
		}
	}
	return v
}
