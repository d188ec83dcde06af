package main

import "slices"

// This file has the cases of another processor: EC2's Graviton.

// armCases are those of another processor.
func armCases() []*testCase {
	const unmanaged = " rdinit=/init -- live"
	return usual([]*testCase{
		{name: "p1", words: "arm64, the first process of all", on: on(graviton), start: alone,
			boots: wrongly(boot{Append: first}), judge: judgeFirst},
		{name: "p2", words: "arm64, fixed live", on: on(graviton), start: alone,
			boots: wrongly(boot{Append: unmanaged}), judge: judgeStages},
	})
}

// judgeStages judges two fixes on a running system without a network manager: nobody takes the
// default route to the primary, and nothing but the names has to change.
func judgeStages(s []*observation) *verdict {
	v := new(verdict)
	r := s[0].Report
	v.started(r.Settled, "eth0")
	v.want(primary(r.After) == "eth0", "the primary is %s", primary(r.After))
	if len(r.Stages) != 3 {
		v.want(false, "there are %d stages, want 3", len(r.Stages))
		return v
	}
	for at, stage := range r.Stages[1:] {
		v.want(stage.Fix.Code == 11, "fix %d: code %d: %s", at+1, stage.Fix.Code, stage.Fix.Output)
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
