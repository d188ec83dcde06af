package main

import (
	"fmt"
	"strings"
	"testing"

	"eni0/testbed/vm/guestreport"
)

// stages is an observation with two fixes where nobody manages the network.
func stages() *observation {
	s := &observation{outcome: new(outcome)}
	s.Report.Settled = leaving(links(true, "eth1", "eth0"), "eth0")
	s.Report.After = leaving(links(true, "eth0", "eth1"), "eth1")
	for at, renames := range []int{0, 3, 3} {
		stage := &guestreport.Stage{Whole: []string{"link 2", "link 3", "route"}, Renames: renames}
		if at > 0 {
			stage.Fix = &guestreport.Fix{Code: 11, Took: 300}
		}
		s.Report.Stages = append(s.Report.Stages, stage)
	}
	return s
}

func TestJudgeStages(t *testing.T) {
	if v := judgeStages([]*observation{stages()}); len(v.faults) > 0 || len(v.notes) != 2 {
		t.Errorf("faults %q, notes %q, want none and two", v.faults, v.notes)
	}
	for _, c := range []struct {
		world string
		spoil func(*guestreport.Report)
		want  string // in a fault
	}{
		{"it started right", func(r *guestreport.Report) { r.Settled = r.After }, "did not start wrong"},
		{"nothing was done", func(r *guestreport.Report) { r.After = r.Settled }, "the primary is eth1"},
		{"one fix only", func(r *guestreport.Report) { r.Stages = r.Stages[:2] }, "2 stages"},
		{"another code", func(r *guestreport.Report) { r.Stages[1].Fix.Code = 0 }, "fix 1: code 0"},
		{"a route was lost", func(r *guestreport.Report) { r.Stages[1].Whole = r.Stages[1].Whole[:2] }, "after fix 1: - route"},
		{"a route more", func(r *guestreport.Report) { r.Stages[2].Whole = append(r.Stages[2].Whole, "default") }, "after fix 2: + default"},
		{"the second renamed", func(r *guestreport.Report) { r.Stages[2].Renames = 6 }, "the second fix renamed"},
		{"none renamed", func(r *guestreport.Report) { r.Stages[1].Renames = 0 }, "nothing was renamed"},
	} {
		s := stages()
		c.spoil(&s.Report)
		if got := fmt.Sprint(judgeStages([]*observation{s}).faults); !strings.Contains(got, c.want) {
			t.Errorf("%s: faults %s, want %q", c.world, got, c.want)
		}
	}
}

func TestQEMUArm64(t *testing.T) {
	b := &boot{Arch: "arm64", Append: "quiet", Order: []int{1, 0}, Dir: "/logs"}
	got := strings.Join(b.qemu(), " ")
	for _, want := range []string{"qemu-system-aarch64 -M virt", "console=ttyAMA0 quiet", "path=/logs/report -device pci-serial"} {
		if !strings.Contains(got, want) {
			t.Errorf("qemu() = %s, want %s in it", got, want)
		}
	}
}
