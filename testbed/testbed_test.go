package main

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eni0/testbed/ec2"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		want options
		err  string // part of the one line, "" for none
	}{
		{"", options{order: []int{1, 0}}, ""},
		{"-enis 4", options{enis: 4, order: []int{1, 2, 3, 0}}, ""},
		{"--order 2,0,1 -sh", options{order: []int{2, 0, 1}, shell: true}, ""},
		{"-enis 2 -order 0,1", options{enis: 2, order: []int{0, 1}}, ""},
		{"-launches 9 -seed 3", options{order: []int{1, 0}, launches: 9, seed: 3}, ""},
		{"-beside 9", options{order: []int{1, 0}, launches: 9, beside: true}, ""},
		{"-beside 0", options{}, "at least 1"},
		{"-beside 2 -launches 2", options{}, "one of them"},
		{"-beside 2 -boot", options{}, "go with none of"},
		{"-enis 1", options{}, "want 2 to 15"},
		{"-enis 16", options{}, "want 2 to 15"},
		{"-enis 0", options{}, "want 2 to 15"},
		{"-order 0", options{}, "want 2 to 15"},
		{"-order 0,0", options{}, "each of 0 to 1 once"},
		{"-order 1,2", options{}, "each of 0 to 1 once"},
		{"-order 1,eth0", options{}, `"eth0" is no device index`},
		{"-order 1,0 -enis 3", options{}, "-order names 2 ENIs, but -enis 3"},
		{"-launches 0", options{}, "at least 1"},
		{"-boot", options{order: []int{1, 0}, boot: true}, ""},
		{"-launches 2 -sh", options{}, "go with none of"},
		{"-launches 2 -order 1,0", options{}, "go with none of"},
		{"-launches 2 -boot", options{}, "go with none of"},
		{"-seed 1", options{}, "goes with -launches"},
		{"-x", options{}, "not defined: -x"},
		{"eth0", options{}, `unexpected argument "eth0"`},
	} {
		got, err := parse(strings.Fields(c.args))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "\n") {
				t.Errorf("parse(%q) = %v, want one line with %q", c.args, err, c.err)
			}
			continue
		}
		if c.want.seed == 0 {
			got.seed = 0 // any
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("parse(%q) = %+v, %v, want %+v", c.args, got, err, c.want)
		}
	}
}

func TestDraw(t *testing.T) {
	stages := make(map[string]int)
	for seed := range uint64(100) {
		order, stage, _ := draw(seed, 0)
		again, stageAgain, _ := draw(seed, 0)
		if _, err := parseOrder(formatOrder(order)); err != nil || !slices.Equal(order, again) || stage != stageAgain {
			t.Errorf("draw(%d, 0) = %v, %s, then %v, %s, %v", seed, order, stage, again, stageAgain, err)
		}
		stages[stage]++
	}
	if stages[early] < 25 || stages[configured] < 25 {
		t.Errorf("of 100 launches %v, want about half of each", stages)
	}
}

// seen is an instance as the kernel could have it.
func seen(names map[string]string, leaves netip.Addr, state []string) ec2.Snapshot {
	return ec2.Snapshot{Names: names, Leaves: leaves, State: state}
}

func TestJudge(t *testing.T) {
	const (
		mac0, mac1, mac2 = "0a:ff:00:00:00:01", "0a:ff:00:00:00:02", "0a:ff:00:00:00:03"
		wrong            = "route table 254 default/2 tos 0 proto 16 scope 0 type 1 flags 0 dev 2/" + mac1 + " via 10.0.2.1 metric 512"
		right            = "route table 254 default/2 tos 0 proto 16 scope 0 type 1 flags 0 dev 4/" + mac0 + " via 10.0.1.1 metric 512"
		other            = "route table 254 default/2 tos 0 proto 4 scope 0 type 1 flags 0 dev 2/" + mac1 + " via 10.0.2.1 metric 600"
	)
	tr := &trial{Instance: new(ec2.Instance), manager: new(ec2.Manager), order: []int{1, 2, 0}}
	names := func(eth0, eth1, eth2 string) map[string]string {
		return map[string]string{"": "lo", eth0: "eth0", eth1: "eth1", eth2: "eth2"}
	}
	address := netip.MustParseAddr
	before := seen(names(mac1, mac2, mac0), address("10.0.2.10"), []string{"rule", wrong, other})
	for _, c := range []struct {
		world string
		after ec2.Snapshot
		want  int // faults
	}{
		{"as it should be", seen(names(mac0, mac2, mac1), address("10.0.1.10"), []string{"rule", right, other}), 0},
		{"nothing done", before, 3},
		{"rotated: eth1 too", seen(names(mac0, mac1, mac2), address("10.0.1.10"), []string{"rule", right, other}), 2},
		{"traffic by another", seen(names(mac0, mac2, mac1), address("10.0.2.10"), []string{"rule", right, other}), 1},
		{"no traffic", seen(names(mac0, mac2, mac1), netip.Addr{}, []string{"rule", other}), 1},
		{"a rule lost", seen(names(mac0, mac2, mac1), address("10.0.1.10"), []string{right, other}), 1},
		{"a rule twice", seen(names(mac0, mac2, mac1), address("10.0.1.10"), []string{"rule", "rule", right, other}), 1},
		{"another's default route gone", seen(names(mac0, mac2, mac1), address("10.0.1.10"), []string{"rule", right}), 1},
	} {
		if got := tr.judge(before, c.after); len(got) != c.want {
			t.Errorf("%s: judge() = %q, want %d faults", c.world, got, c.want)
		}
	}
}

func TestJudgeEarly(t *testing.T) {
	const mac0, mac1 = "0a:ff:00:00:00:01", "0a:ff:00:00:00:02"
	tr := &trial{Instance: new(ec2.Instance), order: []int{1, 0}}
	names := func(eth0, eth1 string) map[string]string {
		return map[string]string{"": "lo", eth0: "eth0", eth1: "eth1"}
	}
	before := ec2.Snapshot{Names: names(mac1, mac0), State: []string{"link 2/" + mac1 + " down", "rule"}}
	borrowed := netip.MustParseAddr("10.0.1.10")
	for _, c := range []struct {
		world string
		after ec2.Snapshot
		want  int // faults
	}{
		{"as it should be", seen(names(mac0, mac1), netip.Addr{}, before.State), 0},
		{"nothing done", before, 2},
		{"a link left up", seen(names(mac0, mac1), netip.Addr{}, []string{"link 2/" + mac1 + " up", "rule"}), 2},
		{"a network left behind", seen(names(mac0, mac1), borrowed, append([]string{"route default"}, before.State...)), 2},
	} {
		if got := tr.judge(before, c.after); len(got) != c.want {
			t.Errorf("%s: judge() = %q, want %d faults", c.world, got, c.want)
		}
	}
}

func TestReleased(t *testing.T) {
	for _, c := range []struct {
		world  string
		served [][]string
		want   int // faults
	}{
		{"one was asked", [][]string{{"DISCOVER", "DISCOVER", "REQUEST"}, nil}, 0},
		{"nobody was", [][]string{nil, nil}, 1},
		{"no answer was taken", [][]string{{"DISCOVER"}, {"DISCOVER"}}, 1},
		{"an address was released", [][]string{nil, {"DISCOVER", "REQUEST", "RELEASE"}}, 1},
		{"not DHCP at all", [][]string{{"NOTHING", "DISCOVER", "REQUEST"}}, 1},
	} {
		if got := released(c.served); len(got) != c.want {
			t.Errorf("%s: released() = %q, want %d faults", c.world, got, c.want)
		}
	}
}
