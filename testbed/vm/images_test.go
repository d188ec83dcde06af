package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rules are what `ip -4 rule` prints where amazon-ec2-net-utils has been.
const rules = "0:\tfrom all lookup local\n10001:\tfrom 10.0.2.10 lookup 10001 proto static\n32766:\tfrom all lookup main\n"

// policed is an observation of an early start with amazon-ec2-net-utils.
func policed() *observation {
	s := fixed()
	s.Report.Commands["rules"] = rules
	return s
}

// policedLive is one of a fix of names, where traffic has left by the primary before.
func policedLive() *observation {
	s := live()
	s.Report.Settled = leaving(links(true, "eth1", "eth0"), "eth1")
	s.Report.Commands["rules"] = rules
	return s
}

// policedLate is one of an early start where IMDS is late.
func policedLate() *observation {
	s := slowIMDS()
	s.Report.Commands["rules"] = rules
	return s
}

// cloud are scenes of two boots with cloud-init.
func cloud() []*observation {
	scenes := []*observation{fixed(), right()}
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
		judge  func([]*observation) *verdict
		scenes []*observation
		spoil  func([]*observation)
		want   string // in a fault, "" for none
	}{
		{"j1", judgePolicy, []*observation{policed()}, func([]*observation) {}, ""},
		{"j2", judgePolicyLive, []*observation{policedLive()}, func([]*observation) {}, ""},
		{"j3", judgePolicyLate, []*observation{policedLate()}, func([]*observation) {}, ""},
		{"k1", judgeCloud, cloud(), func([]*observation) {}, ""},
		{"no rule", judgePolicy, []*observation{fixed()}, func([]*observation) {}, "the rules are"},
		{"a rule for the primary", judgePolicy, []*observation{policed()}, func(s []*observation) {
			s[0].Report.Commands["rules"] += "10000:\tfrom 10.0.1.10 lookup 10000\n"
		}, "the rules are"},
		{"two equal default routes", judgePolicy, []*observation{policed()}, func(s []*observation) {
			leaving(s[0].Report.Settled, "eth1")
		}, "2 default routes"},
		{"live: nothing was fixed", judgePolicyLive, []*observation{policedLive()}, func(s []*observation) {
			s[0].Report.After = s[0].Report.Settled
		}, "the primary is eth1"},
		{"live: the rule was lost", judgePolicyLive, []*observation{policedLive()}, func(s []*observation) {
			s[0].Report.Commands["rules"] = ""
		}, "the rules are"},
		{"live: an address was lost", judgePolicyLive, []*observation{policedLive()}, func(s []*observation) {
			s[0].Report.After.Links[0].Addrs = nil
		}, "want 10.0.1.10/24"},
		{"late: IMDS was there", judgePolicyLate, []*observation{policedLate()}, func(s []*observation) { s[0].Asked = 0 }, "asked 0 times"},
		{"cloud-init had errors", judgeCloud, cloud(), func(s []*observation) {
			s[1].Report.Commands["datasource"] = `{"v1": {"datasource": "DataSourceEc2Local", "errors": ["x"]}}`
		}, "boot 2: cloud-init"},
		{"another data source", judgeCloud, cloud(), func(s []*observation) {
			s[0].Report.Commands["datasource"] = `{"v1": {"datasource": "DataSourceNone", "errors": []}}`
		}, "boot 1: cloud-init"},
		{"the second boot renamed", judgeCloud, cloud(), func(s []*observation) { s[1].journal = fixed().journal }, "boot 2: renamed"},
		{"the first did not", judgeCloud, cloud(), func(s []*observation) { s[0].journal = nil }, "boot 1: nothing was renamed"},
		{"renamed after cloud-init", judgeCloud, cloud(), func(s []*observation) { s[0].journal[1].at = ms(2600) }, "renamed at 2600 ms"},
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
		if _, err := overlay.ReadDir("overlay/" + layer); err != nil {
			t.Errorf("changes of no layer: %v", err)
		}
	}
}
