package main

import (
	"fmt"
	"os/exec"
	"strings"

	"eni0/testbed/vm/guestreport"
)

// stacks are links that carry default traffic for a while, by ip(8): those that a kernel without
// modules may lack. LOWER is the ENI below, which is down for a bond.
var stacks = map[string]string{
	"vlan":    "ip link add link LOWER top type vlan id 5",
	"macvlan": "ip link add link LOWER top type macvlan",
	"ipvlan":  "ip link add link LOWER top type ipvlan mode l2",
	"bond":    "ip link add top type bond mode active-backup; ip link set LOWER down; ip link set LOWER master top",
	"tun":     "ip tuntap add top mode tun",
}

// stackEach puts each of stacks on each ENI in turn, gives it the best default route, and asks eni0
// what it thinks of that. A bond is put on the secondary ENI alone, and last: IMDS is asked by the
// primary.
func stackEach(r *guestreport.Report) error {
	r.Stacks = map[string]*guestreport.Fix{}
	for _, on := range []string{"vlan eth0", "vlan eth1", "macvlan eth0", "macvlan eth1", "ipvlan eth0", "ipvlan eth1", "tun eth1", "bond eth1"} {
		kind, lower, _ := strings.Cut(on, " ")
		script := strings.ReplaceAll(stacks[kind], "LOWER", lower) + `
			ip link set top up
			ip address add 10.77.0.2/24 dev top
			ip route add default via 10.77.0.1 dev top metric 1`
		if out, err := exec.Command("/bin/sh", "-ec", script).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", on, err, out)
		}
		fix, err := carryOut(eni0, "check", "-timeout", "30s")
		if err != nil {
			return err
		}
		fix.Output += output(eni0 + " route")
		r.Stacks[on] = fix
		output("ip link delete top")
	}
	return nil
}
