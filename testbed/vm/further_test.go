package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eni0/testbed/vm/witness"
)

// stages is a scene with two fixes where nobody manages the network.
func stages() *scene {
	s := &scene{outcome: new(outcome)}
	s.Report.Settled = leaving(links(true, "eth1", "eth0"), "eth0")
	s.Report.After = leaving(links(true, "eth0", "eth1"), "eth1")
	for at, renames := range []int{0, 3, 3} {
		stage := &witness.Stage{Whole: []string{"link 2", "link 3", "route"}, Renames: renames}
		if at > 0 {
			stage.Fix = &witness.Fix{Code: 11, Took: 300}
		}
		s.Report.Stages = append(s.Report.Stages, stage)
	}
	return s
}

func TestJudgeStages(t *testing.T) {
	if v := judgeStages([]*scene{stages()}); len(v.faults) > 0 || len(v.notes) != 2 {
		t.Errorf("faults %q, notes %q, want none and two", v.faults, v.notes)
	}
	for _, c := range []struct {
		world string
		spoil func(*witness.Report)
		want  string // in a fault
	}{
		{"it started right", func(r *witness.Report) { r.Settled = r.After }, "did not start wrong"},
		{"nothing was done", func(r *witness.Report) { r.After = r.Settled }, "the primary is eth1"},
		{"one fix only", func(r *witness.Report) { r.Stages = r.Stages[:2] }, "2 stages"},
		{"another code", func(r *witness.Report) { r.Stages[1].Fix.Code = 0 }, "fix 1: code 0"},
		{"a route was lost", func(r *witness.Report) { r.Stages[1].Whole = r.Stages[1].Whole[:2] }, "after fix 1: - route"},
		{"a route more", func(r *witness.Report) { r.Stages[2].Whole = append(r.Stages[2].Whole, "default") }, "after fix 2: + default"},
		{"the second renamed", func(r *witness.Report) { r.Stages[2].Renames = 6 }, "the second fix renamed"},
		{"none renamed", func(r *witness.Report) { r.Stages[1].Renames = 0 }, "nothing was renamed"},
	} {
		s := stages()
		c.spoil(&s.Report)
		if got := fmt.Sprint(judgeStages([]*scene{s}).faults); !strings.Contains(got, c.want) {
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

// rules are what `ip -4 rule` prints where amazon-ec2-net-utils has been.
const rules = "0:\tfrom all lookup local\n10001:\tfrom 10.0.2.10 lookup 10001 proto static\n32766:\tfrom all lookup main\n"

// policed is a scene of an early start with amazon-ec2-net-utils.
func policed() *scene {
	s := fixed()
	s.Report.Commands["rules"] = rules
	return s
}

// policedLive is one of a fix of names, where traffic has left by the primary before.
func policedLive() *scene {
	s := live()
	s.Report.Settled = leaving(links(true, "eth1", "eth0"), "eth1")
	s.Report.Commands["rules"] = rules
	return s
}

// policedLate is one of an early start where IMDS is late.
func policedLate() *scene {
	s := slowIMDS()
	s.Report.Commands["rules"] = rules
	return s
}

// cloud are scenes of two boots with cloud-init.
func cloud() []*scene {
	scenes := []*scene{fixed(), right()}
	for _, s := range scenes {
		s.manager = cloudInit
		s.units[cloudInitUnit] = unit{"active", ms(2500), ms(2900), ms(2501), ms(2899), 0}
		s.Report.Commands["datasource"] = "{\n \"v1\": {\n  \"datasource\": \"DataSourceEc2Local\",\n  \"errors\": []\n }\n}\n"
	}
	return scenes
}

func TestJudgeImages(t *testing.T) {
	for _, c := range []struct {
		world  string
		judge  func([]*scene) *verdict
		scenes []*scene
		spoil  func([]*scene)
		want   string // in a fault, "" for none
	}{
		{"j1", judgePolicy, []*scene{policed()}, func([]*scene) {}, ""},
		{"j2", judgePolicyLive, []*scene{policedLive()}, func([]*scene) {}, ""},
		{"j3", judgePolicyLate, []*scene{policedLate()}, func([]*scene) {}, ""},
		{"k1", judgeCloud, cloud(), func([]*scene) {}, ""},
		{"no rule", judgePolicy, []*scene{fixed()}, func([]*scene) {}, "the rules are"},
		{"a rule for the primary", judgePolicy, []*scene{policed()}, func(s []*scene) {
			s[0].Report.Commands["rules"] += "10000:\tfrom 10.0.1.10 lookup 10000\n"
		}, "the rules are"},
		{"two equal default routes", judgePolicy, []*scene{policed()}, func(s []*scene) {
			leaving(s[0].Report.Settled, "eth1")
		}, "2 default routes"},
		{"live: nothing was fixed", judgePolicyLive, []*scene{policedLive()}, func(s []*scene) {
			s[0].Report.After = s[0].Report.Settled
		}, "the primary is eth1"},
		{"live: the rule was lost", judgePolicyLive, []*scene{policedLive()}, func(s []*scene) {
			s[0].Report.Commands["rules"] = ""
		}, "the rules are"},
		{"live: an address was lost", judgePolicyLive, []*scene{policedLive()}, func(s []*scene) {
			s[0].Report.After.Links[0].Addrs = nil
		}, "want 10.0.1.10/24"},
		{"late: IMDS was there", judgePolicyLate, []*scene{policedLate()}, func(s []*scene) { s[0].Asked = 0 }, "asked 0 times"},
		{"cloud-init had errors", judgeCloud, cloud(), func(s []*scene) {
			s[1].Report.Commands["datasource"] = `{"v1": {"datasource": "DataSourceEc2Local", "errors": ["x"]}}`
		}, "boot 2: cloud-init"},
		{"another data source", judgeCloud, cloud(), func(s []*scene) {
			s[0].Report.Commands["datasource"] = `{"v1": {"datasource": "DataSourceNone", "errors": []}}`
		}, "boot 1: cloud-init"},
		{"the second boot renamed", judgeCloud, cloud(), func(s []*scene) { s[1].journal = fixed().journal }, "boot 2: renamed"},
		{"the first did not", judgeCloud, cloud(), func(s []*scene) { s[0].journal = nil }, "boot 1: nothing was renamed"},
		{"renamed after cloud-init", judgeCloud, cloud(), func(s []*scene) { s[0].journal[1].at = ms(2600) }, "renamed at 2600 ms"},
	} {
		c.spoil(c.scenes)
		got := fmt.Sprint(c.judge(c.scenes).faults)
		if c.want == "" && got != "[]" || !strings.Contains(got, c.want) {
			t.Errorf("%s: faults %s, want %q", c.world, got, c.want)
		}
	}
}

// What the setups change has to be changed somewhere.
func TestChanges(t *testing.T) {
	tr := &tree{dir: t.TempDir()}
	c := change{"/etc/x", "Driver=ena", "Driver=virtio_net ena"}
	if err := tr.change(c); err == nil {
		t.Error("change of what is not there: no error")
	}
	if err := tr.write(c.path, []byte("[Match]\nDriver=ena vif\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := tr.change(c); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(tr.dir, c.path))
	if want := "[Match]\nDriver=virtio_net ena vif\n"; err != nil || string(b) != want {
		t.Errorf("changed = %q, %v, want %q", b, err, want)
	}
	if err := tr.change(change{"/etc/x", "no such", ""}); err == nil {
		t.Error("change of words that are not there: no error")
	}
	for layer := range changes {
		if _, err := overlay.ReadDir("root/" + layer); err != nil {
			t.Errorf("changes of no layer: %v", err)
		}
	}
}
