package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// A world is an instance in a situation.
type world struct {
	*ec2.Instance
	manager *ec2.Manager // nil before there is a network
}

// A situation is what people have, and what has to come of it.
type situation struct {
	name    string
	order   []int                // the device index of eth0, eth1, ...
	prepare func(w *world) error // what makes it more than wrong names, or nil
	early   bool                 // before anybody has configured a network
	kill    bool                 // the remedy is killed at the first rename, and started again
	same    bool                 // nothing may change
	code0   bool                 // where nothing may change, that is no failure
}

// situations are rows of the table: by field reports and by how EC2 and Linux are known to behave.
var situations = []situation{
	{name: "wrong order", order: wrongOrder},
	{name: "right order", order: []int{0, 1}, same: true, code0: true},
	{name: "three ENIs, the primary is eth2", order: []int{1, 2, 0}},
	{name: "udev left the primary as `rename2`, and no eth0", order: wrongOrder, prepare: leftByUdev},
	{name: "IMDS says 503 at first", order: wrongOrder, prepare: func(w *world) error { w.Metadata().Busy(8); return nil }},
	{name: "IMDS refuses fresh tokens at first", order: wrongOrder, prepare: func(w *world) error { w.Metadata().Refuse(3); return nil }},
	{name: "the default gateway answers in IMDS's place", order: wrongOrder, prepare: stranger},
	{name: "routes, an address, a rule made by hand", order: wrongOrder, prepare: byHand},
	{name: "right, and a VPN has the best default route", order: []int{0, 1}, prepare: vpn, same: true, code0: true},
	{name: "a .link file gives the primary its wrong name", order: wrongOrder, prepare: pinned, same: true},
	{name: "killed at the first rename, and started again", order: wrongOrder, kill: true},
	{name: earlyName, order: wrongOrder, early: true},
}

const earlyName = "before there is a network"

var wrongOrder = []int{1, 0}

// A remedy is a column of the table.
type remedy struct {
	name  string
	usual string // the command
	early string // the command before there is a network, where it is another
}

var remedies = []remedy{
	{"eni0", "eni0 fix -timeout 10s", "eni0 fix -names -timeout 10s -restart="},
	{"scripts", "fix.sh", ""},
	{"ifrename", "ifrename.sh", ""},
	{"SDK", "sdk fix systemd-networkd.service", ""},
}

// find returns what is called so.
func find[T any](all []T, name string, nameOf func(T) string) (T, error) {
	at := slices.IndexFunc(all, func(v T) bool { return nameOf(v) == name })
	if at < 0 {
		var none T
		return none, fmt.Errorf("there is no %q", name)
	}
	return all[at], nil
}

// tryInside makes a situation in this process's namespaces, has the remedy tried, and prints the result.
func tryInside(situationName, remedyName string) error {
	s, err := find(situations, situationName, func(s situation) string { return s.name })
	if err != nil {
		return err
	}
	r, err := find(remedies, remedyName, func(r remedy) string { return r.name })
	if err != nil {
		return err
	}
	w, err := s.make()
	if err != nil {
		return err
	}
	before, err := ec2.Look()
	if err != nil {
		return err
	}
	took, code, err := r.run(w, s)
	if err != nil {
		return err
	}
	if w.manager != nil {
		w.manager.Hold() // it is not in the middle of something then
	}
	after, err := ec2.Look()
	if err != nil {
		return err
	}
	got := s.judge(w, before, after, code)
	got.Took = took
	return errors.Join(json.NewEncoder(os.Stdout).Encode(got), w.Close())
}

// make launches the instance and makes it what it is to be.
func (s situation) make() (*world, error) {
	i, err := ec2.Launch(s.order)
	if err != nil {
		return nil, err
	}
	w := &world{Instance: i}
	if err := ec2.MountSys(); err != nil {
		return nil, err
	}
	if s.early {
		return w, nil
	}
	if w.manager, err = i.Manage(); err != nil {
		return nil, err
	}
	if err := w.manager.Systemd(); err != nil {
		return nil, err
	}
	w.manager.Hold() // as systemd-networkd, which has to be restarted to see a name
	if s.prepare == nil {
		return w, nil
	}
	return w, s.prepare(w)
}

// leftByUdev gives the primary the name that udev gives while a name is taken, and the other one a
// name that is free, so that nothing is called eth0.
func leftByUdev(w *world) error {
	for _, l := range []struct {
		device int
		name   string
	}{{0, "rename2"}, {1, "eth1"}} {
		index, err := w.index(l.device)
		if err != nil {
			return err
		}
		if err := ec2.Rename(index, l.name); err != nil {
			return err
		}
	}
	return nil
}

// stranger has the gateway of the other ENI answer with metadata of its own.
func stranger(w *world) error {
	other := ec2.NewMetadata(1)
	other.Set("mac", "0e:00:00:00:00:99")
	return w.Serve(ec2.ByAddress(w.Addr(0), w.Metadata(), other))
}

// byHand makes what no network manager knows of, on both links.
func byHand(w *world) error {
	return errors.Join(
		ec2.AddAddr("eth1", netip.MustParsePrefix("10.0.1.77/24")),
		ec2.AddRoute(ec2.Route{Dev: "eth1", Dst: netip.MustParsePrefix("10.91.0.0/16"), Via: w.Router(0)}),
		ec2.AddRoute(ec2.Route{Dev: "eth0", Dst: netip.MustParsePrefix("10.92.0.0/16"), Via: w.Router(1)}),
		ec2.AddRoute(ec2.Route{Dev: "eth1", Via: w.Router(0), Table: 77}),
		ec2.AddRule(ec2.Rule{From: netip.MustParsePrefix("10.0.1.77/32"), Table: 77, Priority: 1000}),
	)
}

// vpn gives a link that is no ENI a default route better than all others.
func vpn(w *world) error {
	return errors.Join(
		ec2.AddBridge("vpn0", [6]byte{0x02, 0, 0, 0, 0, 0x99}),
		ec2.SetUp("vpn0", true),
		ec2.AddAddr("vpn0", netip.MustParsePrefix("10.200.0.2/24")),
		ec2.AddRoute(ec2.Route{Dev: "vpn0", Via: netip.MustParseAddr("10.200.0.1"), Metric: 50}),
		// IMDS is reached by the primary all the same, as the route to it is not the VPN's.
		ec2.AddRoute(ec2.Route{Dev: "eth0", Dst: netip.MustParsePrefix("169.254.169.254/32"), Via: w.Router(0)}),
	)
}

// pinned ties the primary to the name that it has, by a file in a /run of this process's.
func pinned(w *world) error { return w.Pin(0, "eth1") }

// run has the remedy at work. It returns how long it took until the primary was called eth0, 0 for
// never, and the exit code.
func (r remedy) run(w *world, s situation) (time.Duration, int, error) {
	words := strings.Fields(r.usual)
	if s.early && r.early != "" {
		words = strings.Fields(r.early)
	}
	watch, err := watchNames(w)
	if err != nil {
		return 0, 0, err
	}
	defer watch.close()
	begin := time.Now()
	if s.kill {
		if err := watch.killAtFirst(command(words)); err != nil {
			return 0, 0, err
		}
		begin = time.Now()
	}
	cmd := command(words)
	err = cmd.Run()
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case err != nil && !failed:
		return 0, 0, err
	case failed:
		return watch.took(begin), exit.ExitCode(), nil
	}
	return watch.took(begin), 0, nil
}

// command is one that says nothing, and is the leader of a process group.
func command(words []string) *exec.Cmd {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	return cmd
}
