package main

import "slices"

// A setup is what makes of a root the system of a case: files, and what of the root runs.
type setup struct {
	name    string
	layers  []string // folders of the overlay beside "every"
	units   []string // that run, of those that may
	manager *manager // who configures the network
}

// A manager configures the network.
type manager struct {
	unit string                               // "systemd-networkd.service"
	read func(*observation) map[string]string // link to what the manager's own tool says of it
	good string                               // what that has to be: "configured"
}

// The units of the managers.
const (
	networkdUnit  = "systemd-networkd.service"
	nmUnit        = "NetworkManager.service"
	ifupdownUnit  = "networking.service"
	cloudInitUnit = "cloud-init-local.service"
)

var (
	networkd = &manager{networkdUnit, readNetworkd, "configured"}
	nm       = &manager{nmUnit, readNM, "connected"}
	ifupdown = &manager{ifupdownUnit, readIfupdown, "up"}
)

// mayRun are units that run where a setup wants them, and are masked in all others.
var mayRun = []string{networkdUnit, "systemd-networkd.socket", "systemd-networkd-wait-online.service",
	nmUnit, "NetworkManager-wait-online.service", ifupdownUnit,
	cloudInitUnit, "cloud-init.service", "cloud-config.service", "cloud-final.service",
	"cloud-init-hotplugd.socket"}

// The setups. The first has its files by name, as on EC2: whatever is called eth0 gets the default
// route.
var (
	byName     = &setup{"by-name", []string{"networkd"}, []string{networkdUnit}, networkd}
	nmByName   = &setup{"nm", []string{"nm"}, []string{nmUnit}, nm}
	autoByName = &setup{"ifupdown-auto", []string{"ifupdown-auto"}, []string{ifupdownUnit}, ifupdown}
	plugByName = &setup{"ifupdown-hotplug",
		[]string{"ifupdown-allow-hotplug"}, []string{ifupdownUnit}, ifupdown}
)

// Setups whose files want the address and the name of a link: what the kernel called it at a boot
// with the wrong order, or in the last one what it should be called.
var (
	pinnedByNetplan = &setup{"pinned-netplan", []string{"pinned-netplan"}, []string{networkdUnit}, networkd}
	pinnedByUdev    = &setup{"pinned-udev", []string{"pinned-udev"}, []string{ifupdownUnit}, ifupdown}
	pinnedByYAML    = &setup{"pinned-yaml", []string{"netplan"}, []string{networkdUnit}, networkd}
	pinnedByNM      = &setup{"pinned-nm", []string{"nm", "pinned-nm"}, []string{nmUnit}, nm}
	pinnedRightly   = &setup{"pinned-rightly", []string{"pinned-rightly"}, []string{networkdUnit}, networkd}
)

// idle are the units that may run and do not.
func (s *setup) idle() []string {
	runs := func(unit string) bool { return slices.Contains(s.units, unit) }
	return slices.DeleteFunc(slices.Clone(mayRun), runs)
}

// A platform is what a case runs on: a root, and one of its kernels.
type platform struct {
	*root
	kernel string // "6.1"
}

// on returns the platforms of several roots, with all their kernels.
func on(roots ...*root) []platform {
	var all []platform
	for _, r := range roots {
		for _, k := range r.kernels {
			all = append(all, platform{r, k})
		}
	}
	return all
}
