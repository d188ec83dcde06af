package main

import (
	"strings"

	"eni0/testbed/vm/guestreport"
)

// This file has the cases of the images that people have on EC2.

// The setups of other images. amazon-ec2-net-utils is in the roots of others too, and idle there.
var (
	ec2net = &setup{"ec2net", []string{"ec2net"}, []string{networkdUnit}, networkd}

	cloudUnits = []string{networkdUnit, "systemd-networkd-wait-online.service",
		cloudInitUnit, "cloud-init.service", "cloud-config.service", "cloud-final.service"}
	cloudInit    = &manager{cloudInitUnit, readNetworkd, "configured"}
	cloudRender  = &setup{"cloud-networkd", cloudLayers("networkd"), cloudUnits, cloudInit}
	cloudNetplan = &setup{"cloud-netplan", cloudLayers("netplan"), cloudUnits, cloudInit}
)

// cloudLayers are those of cloud-init with a renderer, the one who writes the manager's files.
func cloudLayers(renderer string) []string { return []string{"cloud-init", "cloud-" + renderer} }

// A change is one of a file that a package brings.
type change struct {
	path     string
	from, to string
}

// changes are those that a layer makes: amazon-ec2-net-utils is for the drivers of EC2's NICs.
var changes = map[string][]change{"ec2net": {
	{"/usr/lib/udev/rules.d/99-vpc-policy-routes.rules", `"vif|ena`, `"virtio_net|vif|ena`},
	{"/usr/lib/systemd/network/80-ec2.network", "Driver=ena", "Driver=virtio_net ena"},
}}

// imageCases are those of other images.
func imageCases() []*testCase {
	const policy = " vm.policy" // what is waited for
	there := boot{Order: wrongOrder, Keep: true, Amazon: true}
	back := boot{Order: rightOrder, Keep: true, Amazon: true}
	return usual([]*testCase{
		{name: "j1", words: "amazon-ec2-net-utils, early unit", on: on(bookworm, trixie), setup: ec2net,
			boots: wrongly(boot{Append: policy}), judge: judgePolicy},
		{name: "j2", words: "amazon-ec2-net-utils, fixed live", on: on(bookworm), setup: ec2net,
			boots: wrongly(boot{Append: noUnit + policy + " vm.names"}), judge: judgePolicyLive},
		{name: "j3", words: "amazon-ec2-net-utils, IMDS is late", on: on(bookworm), setup: ec2net,
			boots: wrongly(boot{Append: policy, IMDS: later}), judge: judgePolicyLate},
		{name: "k1", words: "cloud-init, two boots", on: on(bookworm), setup: cloudRender,
			boots: []boot{there, back}, judge: judgeCloud},
		{name: "k2", words: "cloud-init and netplan, three", on: on(bookworm), setup: cloudNetplan,
			boots: []boot{there, back, there}, judge: judgeCloud},
	})
}

// judgePolicy judges a start with amazon-ec2-net-utils and the early unit.
func judgePolicy(s []*observation) *verdict {
	v := judgeEarly(s)
	v.policy(s[0], s[0].Report.Settled)
	return v
}

// judgePolicyLate judges the same where IMDS is late.
func judgePolicyLate(s []*observation) *verdict {
	v := judgeSlowIMDS(s)
	v.policy(s[0], s[0].Report.Settled)
	return v
}

// judgePolicyLive judges a fix of names on a system with amazon-ec2-net-utils, where default
// traffic has left by the primary before, whatever that was called.
func judgePolicyLive(s []*observation) *verdict {
	v := new(verdict)
	r := s[0].Report
	v.started(r.Settled, "eth1")
	v.want(r.Fix.Code == 0, "code %d: %s", r.Fix.Code, strings.TrimSpace(r.Fix.Output))
	v.managing(s[0])
	v.state(r.After)
	v.addresses(r.After)
	v.policy(s[0], r.After)
	v.note("code %d in %d ms with systemd-run", r.Fix.Code, r.Fix.Took)
	v.pings(r.Fix)
	return v
}

// policy wants what amazon-ec2-net-utils makes: a rule for the secondary's address and none for the
// primary's, and one default route in the main table that is better than all others.
func (v *verdict) policy(s *observation, now *guestreport.State) {
	rules := s.Report.Commands["rules"]
	own, others := "from "+address(1)+" lookup 10001", "from "+address(0)+" "
	v.want(strings.Count(rules, own) == 1 && !strings.Contains(rules, others),
		"the rules are %q, want one %q", rules, own)
	best, equal := -1, 0
	for _, r := range now.Routes {
		switch {
		case r.To.Bits() != 0:
		case best < 0 || r.Metric < best:
			best, equal = r.Metric, 1
		case r.Metric == best:
			equal++
		}
	}
	v.want(equal == 1, "%d default routes have metric %d", equal, best)
	v.note("its rule is there, default traffic has metric %d", best)
}

// judgeCloud judges boots of one disk with cloud-init, in the wrong order and in the right one, in
// turns. At the first it writes files, by which the names stay as they are then.
func judgeCloud(s []*observation) *verdict {
	v := new(verdict)
	for at, boot := range s {
		one := new(verdict)
		one.healthy(boot)
		if at%2 == 0 {
			one.renamedInTime(boot, boot.units["eni0.service"].starting)
		} else {
			one.untouched(boot)
			one.note("nothing renamed")
		}
		source := strings.Join(strings.Fields(boot.Report.Commands["datasource"]), "")
		const done = `{"v1":{"datasource":"DataSourceEc2Local","errors":[]}}`
		one.want(source == done, "cloud-init: %s, want %s", source, done)
		v.note("boot %d: %s", at+1, strings.Join(one.notes, ", "))
		for _, f := range one.faults {
			v.want(false, "boot %d: %s", at+1, f)
		}
	}
	return v
}
