package main

import (
	"maps"
	"net/netip"
	"testing"

	"eni0/testbed/ec2"
)

// seen is an instance as the kernel could have it.
func seen(names map[string]string, leaves netip.Addr, state []string) ec2.Snapshot {
	return ec2.Snapshot{Names: names, Leaves: leaves, State: state}
}

// What came out is judged by what is there, not by the exit code alone.
func TestJudge(t *testing.T) {
	const primary, other = "0a:ff:00:00:00:01", "0a:ff:00:00:00:02"
	wrongly := map[string]string{primary: "eth1", other: "eth0"}
	rightly := map[string]string{primary: "eth0", other: "eth1"}
	w := &world{Instance: new(ec2.Instance)}
	state := []string{"address 1", "route 1"}
	by := netip.MustParseAddr("10.0.1.10")
	before := seen(wrongly, netip.MustParseAddr("10.0.2.10"), state)
	for _, c := range []struct {
		what  string
		s     situation
		after ec2.Snapshot
		code  int
		want  string
	}{
		{"all is right", situation{}, seen(rightly, by, state), 0, right},
		{"and it says that it is not", situation{}, seen(rightly, by, state), 1, wrong},
		{"nothing is done", situation{}, before, 0, wrong},
		{"nothing is done, as wanted", situation{same: true, code0: true}, before, 0, right},
		{"nothing is done, as wanted, and it says so", situation{same: true}, before, 1, right},
		{"and it says that all is well", situation{same: true}, before, 0, wrong},
		{"renamed against a file", situation{same: true}, seen(rightly, by, state), 0, harm},
		{"default traffic did not follow", situation{}, seen(rightly, before.Leaves, state), 0, wrong},
		{"the default route is gone", situation{}, seen(rightly, netip.Addr{}, state), 0, harm},
		{"a route is gone", situation{}, seen(rightly, by, state[:1]), 0, harm},
		{"a temporary name is left", situation{}, seen(map[string]string{primary: "eth0", other: "swapping"}, by, state), 0, harm},
	} {
		from := before
		from.Names = maps.Clone(before.Names)
		if got := c.s.judge(w, from, c.after, c.code); got.Outcome != c.want {
			t.Errorf("%s: judge() = %v, want %s", c.what, got, c.want)
		}
	}
}
