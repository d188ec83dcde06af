package main

import (
	"slices"
	"strings"
)

// This file has the cases of other machines, other images, and those that are for comparison only.

// byHand has the names put right as it is done without eni0.
const byHand = noUnit + " vm.hand"

// further are those of other machines and other images.
func further() []*testCase {
	const configured = " rdinit=/init -- live"
	return []*testCase{
		{"p1", "arm64, the first process of all", on(graviton), byName, alone, inWrongOrder(boot{Append: first}), judgeFirst},
		{"p2", "arm64, fixed live", on(graviton), byName, alone, inWrongOrder(boot{Append: configured}), judgeStages},
	}
}

// judgeStages judges two fixes on a running system without a network manager: nobody takes the default route
// to the primary, and nothing but the names has to change.
func judgeStages(s []*scene) *verdict {
	v := new(verdict)
	r := s[0].Report
	v.want(primary(r.Settled) == "eth1" && r.Settled.Leaves() == "eth0",
		"it did not start wrong: the primary is %s, traffic leaves by %s", primary(r.Settled), r.Settled.Leaves())
	v.want(primary(r.After) == "eth0", "the primary is %s", primary(r.After))
	if len(r.Stages) != 3 {
		v.want(false, "there are %d stages, want 3", len(r.Stages))
		return v
	}
	for at, stage := range r.Stages[1:] {
		v.want(stage.Fix.Code == 11, "fix %d: code %d: %s", at+1, stage.Fix.Code, strings.TrimSpace(stage.Fix.Output))
		for _, line := range differences(r.Stages[0].Whole, stage.Whole) {
			v.want(false, "after fix %d: %s", at+1, line)
		}
		v.note("fix %d: code %d in %d ms", at+1, stage.Fix.Code, stage.Fix.Took)
	}
	v.want(r.Stages[1].Renames > r.Stages[0].Renames, "nothing was renamed")
	v.want(r.Stages[2].Renames == r.Stages[1].Renames, "the second fix renamed")
	return v
}

// differences are the lines that only one of two lists has, each with a sign in front.
func differences(was, now []string) []string {
	var lines []string
	for sign, lists := range map[string][2][]string{"- ": {was, now}, "+ ": {now, was}} {
		for _, line := range lists[0] {
			if !slices.Contains(lists[1], line) {
				lines = append(lines, sign+line)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// onRequest are cases that are tried only where -case names them.
func onRequest() []*testCase {
	return []*testCase{
		{"e-hand", "the same swap by hand", on(plain), byName, small, inWrongOrder(boot{Append: byHand}), judgeHand},
	}
}

// inWrongOrder is one boot where the kernel finds the secondary first.
func inWrongOrder(b boot) []boot {
	b.Order = wrongOrder
	return []boot{b}
}
