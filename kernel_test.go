package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// These tests run against the real kernel: each starts itself again in namespaces of its own,
// with a pocket EC2 in them. What they test is this test's binary, which TestMain turns
// into eni0 where ENI0_MAIN is set, and into systemctl where that is its name.

func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "systemctl":
		os.Exit(systemctlStandIn(os.Args[1:]))
	case "nmcli":
		os.Exit(nmcliStandIn(os.Args[1:]))
	}
	switch os.Getenv("ENI0_HOLDS_LOCK") {
	case "1":
		_, _, err := acquireLock(context.Background(), time.Hour, logger{to: io.Discard})
		fmt.Println(err)
		time.Sleep(time.Hour) // until it is killed
	case "accept":
		f, err := bindLock()
		for fmt.Println(err); err == nil; { // until it is killed
			var fd int
			if fd, _, err = unix.Accept(int(f.Fd())); err == nil {
				err = unix.Close(fd)
			}
		}
	}
	if os.Getenv("ENI0_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// A lab is a world to test in.
type lab struct {
	*testing.T
	*ec2.Instance
	env []string
}

// launch runs the calling test again in namespaces of its own, and returns nil, or there a lab
// with those ENIs: ec2.Launch. PATH is empty, so that no systemctl of the host can be met. $GORACE is for
// the race detector.
func launch(t *testing.T, order ...int) *lab {
	t.Helper()
	if os.Getenv("ENI0_INSIDE") == "" {
		runInside(t)
		return nil
	}
	i, err := ec2.Launch(order)
	if why := ec2.Refused(err); why != "" {
		t.Skip(why)
	}
	l := &lab{t, i, []string{"ENI0_MAIN=1", "PATH=", "GORACE=" + os.Getenv("GORACE")}}
	l.must(err)
	t.Cleanup(func() { l.must(i.Close()) })
	return l
}

func runInside(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), "ENI0_INSIDE=1")
	ec2.Isolate(cmd)
	if os.Geteuid() == 0 {
		// A user of the system's and an ordinary one.
		cmd.SysProcAttr.UidMappings = append(cmd.SysProcAttr.UidMappings, syscall.SysProcIDMap{ContainerID: 999, HostID: 65533, Size: 2})
	}
	out, err := cmd.CombinedOutput()
	if why := ec2.Refused(err); why != "" {
		t.Skip(why)
	}
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("\n--- SKIP")) {
		t.Skip("skipped inside")
	}
}

// managed is a lab with the network up and a manager that follows links, and is systemd's.
func managed(t *testing.T, order ...int) (*lab, *ec2.Manager) {
	t.Helper()
	l := launch(t, order...)
	if l == nil {
		return nil, nil
	}
	return l, l.manage()
}

// manage brings the network up, with a manager that is a unit of systemd's.
func (l *lab) manage() *ec2.Manager {
	l.Helper()
	m, err := l.Manage()
	l.must(err, m.Systemd())
	l.Cleanup(func() { l.must(m.Close()) })
	l.env = append(l.env, "PATH="+l.programs("systemctl"))
	return m
}

// programs makes a folder with programs of those names, which this test's binary plays.
func (l *lab) programs(names ...string) string {
	l.Helper()
	dir := l.TempDir()
	self, err := os.Executable()
	l.must(err)
	for _, name := range names {
		l.must(os.Symlink(self, filepath.Join(dir, name)))
	}
	return dir
}

func (l *lab) must(errs ...error) {
	l.Helper()
	if err := errors.Join(errs...); err != nil {
		l.Fatal(err)
	}
}

// A result is what a run of eni0 came to.
type result struct {
	code           int
	stdout, stderr string
}

func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = l.env
	return cmd
}

// run runs eni0 and expects a code.
func (l *lab) run(code int, args ...string) result {
	l.Helper()
	r := l.finish(l.command(args...))
	if r.code != code {
		l.Fatalf("eni0 %s: code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

func (l *lab) finish(cmd *exec.Cmd) result {
	l.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the code tells
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// says fails the test unless text has want in it.
func (l *lab) says(text, want string) {
	l.Helper()
	if !strings.Contains(text, want) {
		l.Errorf("says %q, want %q in it", text, want)
	}
}

// device tells the names of the ENIs, by device index.
func (l *lab) names(devices int) (names []string) {
	l.Helper()
	for d := range devices {
		all, err := net.Interfaces()
		l.must(err)
		name := "none"
		for _, i := range all {
			if mac := l.MAC(d); bytes.Equal(i.HardwareAddr, mac[:]) {
				name = i.Name
			}
		}
		names = append(names, name)
	}
	return names
}

func (l *lab) wantNames(want ...string) {
	l.Helper()
	if got := l.names(len(want)); !slices.Equal(got, want) {
		l.Errorf("the ENIs are called %v, want %v", got, want)
	}
}

func (l *lab) state() []string {
	l.Helper()
	s, err := ec2.State()
	l.must(err)
	return s
}

// unchanged runs do and fails the test if it changed a name, address, route, neighbour, rule
// or next hop, but for lines that are mine to change.
func (l *lab) unchanged(do func(), mine ...func(string) bool) {
	l.Helper()
	before := l.state()
	do()
	l.sameState(before, mine...)
}

func (l *lab) sameState(before []string, mine ...func(string) bool) {
	l.Helper()
	after := l.state()
	for _, d := range []struct {
		what      string
		from, not []string
	}{{"lost", before, after}, {"new", after, before}} {
		for _, line := range d.from {
			if !slices.Contains(d.not, line) && !slices.ContainsFunc(mine, func(f func(string) bool) bool { return f(line) }) {
				l.Errorf("%s: %s", d.what, line)
			}
		}
	}
}

// rename gives a link another name, and whatever that costs it back.
func (l *lab) rename(from, to string) {
	l.Helper()
	i, err := net.InterfaceByName(from)
	l.must(err)
	nl := l.dial()
	defer nl.close()
	before, err := nl.links()
	l.must(err)
	r := &renaming{nl: nl, log: logger{to: io.Discard}, before: before}
	l.must(r.rename(map[int32]string{int32(i.Index): to}))
	r.restoreAfterDown()
}

func (l *lab) dial() *rtnl {
	l.Helper()
	nl, err := dialRtnl()
	l.must(err)
	return nl
}

// links opens a socket, which the end of the test closes, and lists the links.
func (l *lab) links() (*rtnl, []link) {
	l.Helper()
	nl := l.dial()
	l.Cleanup(nl.close)
	links, err := nl.links()
	l.must(err)
	return nl, links
}

func TestKernelFix(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	l.says(l.run(codeNames, "check").stdout, "the primary ENI is called eth1, not eth0, and default traffic leaves by another ENI, eth0")
	before := l.state()
	r := l.run(codeRight, "fix")
	l.says(r.stderr, "eni0: 0a:ff:00:00:00:01 (index ")
	l.says(r.stderr, "): eth1 -> eth0\n")
	if strings.Contains(r.stderr, "does not leave") {
		t.Errorf("the manager moved the default route, and fix did not see it: %s", r.stderr)
	}
	l.wantNames("eth0", "eth1")
	l.must(m.Apply()) // it adds the one route before it deletes the other
	l.sameState(before, m.Owns)
	l.says(l.run(codeRight, "check").stdout, "eth0 is the primary ENI, and default traffic leaves by it.")
	l.unchanged(func() { l.run(codeRight, "fix") })
	l.says(l.run(codeRight, "route").stdout, "0a:ff:00:00:00:01\n")
}

func TestKernelFixManyENIs(t *testing.T) {
	l, m := managed(t, 4, 2, 3, 1, 14, 6, 7, 8, 9, 10, 11, 12, 13, 5, 0)
	if l == nil {
		return
	}
	before := l.state()
	l.run(codeRight, "fix")
	l.must(m.Apply())
	l.sameState(before, m.Owns)
	l.wantNames("eth0", "eth3", "eth1", "eth2", "eth14", "eth13")
	l.unchanged(func() { l.run(codeRight, "fix") })
}

func TestKernelFixJSON(t *testing.T) {
	l, _ := managed(t, 2, 0, 1)
	if l == nil {
		return
	}
	var got struct {
		Code    int
		Primary string
		Plan    []struct{ From, To string }
		Renamed []struct{ From, To string }
	}
	l.must(json.Unmarshal([]byte(l.run(codeNames, "fix", "-n", "-json").stdout), &got))
	if len(got.Plan) != 3 || len(got.Renamed) != 0 || got.Code != codeNames {
		t.Errorf("fix -n -json = %+v, want a plan of 3 and nothing renamed", got)
	}
	l.must(json.Unmarshal([]byte(l.run(codeRight, "fix", "-json").stdout), &got))
	if len(got.Renamed) != 2 || got.Primary != "0a:ff:00:00:00:01" || got.Code != codeRight {
		t.Errorf("fix -json = %+v, want two links renamed", got)
	}
	l.wantNames("eth0", "eth2", "eth1")
}

func TestKernelDryRun(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	l.unchanged(func() {
		want := "ip link set dev eth0 name eni0-eth1\nip link set dev eth1 name eth0\nip link set dev eni0-eth1 name eth1\n"
		l.says(l.run(codeNames, "fix", "-n").stdout, want+"# and then these are restarted if they run: "+strings.ReplaceAll(defaultUnits, ",", " ")+"\n")
		l.says(l.run(codeRight, "swap", "-n", "eth0", "eth1").stdout, want)
	})
	l.wantNames("eth1", "eth0")
}

func TestKernelRightWorld(t *testing.T) {
	l, _ := managed(t, 0, 1, 2)
	if l == nil {
		return
	}
	l.unchanged(func() {
		l.run(codeRight)
		l.run(codeRight, "fix")
		l.run(codeRight, "fix", "-names")
	})
	l.wantNames("eth0", "eth1", "eth2")
}

// The kernel finishes a name change that a killed eni0 has begun, and a later run does what is left.
func TestKernelKilled(t *testing.T) {
	l, m := managed(t, 1, 2, 0)
	if l == nil {
		return
	}
	before := l.state()
	for round := range 40 {
		cmd := l.command("fix", "-restart", "")
		l.must(cmd.Start())
		time.Sleep(time.Duration(round) * 150 * time.Microsecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		for _, name := range l.names(3) {
			if isTemporary(name) {
				t.Fatalf("round %d: a link is called %s: a datagram was cut short", round, name)
			}
		}
		l.fixNames()
		l.wantNames("eth0")
		l.run(codeRight, "swap", "-restart", "", "eth0", "eth1")
		l.must(m.Apply())
	}
	l.run(codeRight, "fix")
	l.must(m.Apply())
	l.sameState(before, m.Owns)
}

// fixNames runs fix where nobody is told of the new names, and whether traffic follows is no matter.
func (l *lab) fixNames() {
	l.Helper()
	r := l.finish(l.command("fix", "-restart", ""))
	if r.code != codeRight && r.code != codeRoute {
		l.Fatalf("fix: code %d\n%s", r.code, r.stderr)
	}
}

func TestKernelFinishesTemporaryNames(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	for _, from := range []struct {
		world   string
		renames [][2]string // from primary eth1, secondary eth0
	}{
		{"nothing but the first step", [][2]string{{"eth0", "eni0-eth1"}}},
		{"all but the last step", [][2]string{{"eth0", "eni0-eth1"}, {"eth1", "eth0"}}},
		{"the primary stepped aside", [][2]string{{"eth1", "eni0-eth0"}}},
		{"both did", [][2]string{{"eth0", "eni0-eth1"}, {"eth1", "eni0-eth0"}}},
		{"the secondary is to be eth0, of a swap by hand", [][2]string{{"eth0", "eni0-eth0"}}},
	} {
		for _, r := range from.renames {
			l.rename(r[0], r[1])
		}
		l.run(codeNames, "check")
		l.fixNames()
		if l.wantNames("eth0", "eth1"); t.Failed() {
			t.Fatal(from.world)
		}
		l.must(m.Apply())
		l.unchanged(func() { l.run(codeRight, "fix") })
		l.run(codeRight, "swap", "-restart", "", "eth0", "eth1")
	}
}

func TestKernelSwap(t *testing.T) {
	l, _ := managed(t, 0, 1)
	if l == nil {
		return
	}
	l.must(ec2.AddBridge("a-very-long-nam", [6]byte{2, 0, 0, 0, 0, 9}))
	for range 2 {
		l.says(l.run(codeRight, "swap", "eth1", "a-very-long-nam").stderr, ": eth1 -> a-very-long-nam\n")
		l.wantNames("eth0", "a-very-long-nam")
		l.run(codeRight, "swap", "a-very-long-nam", "eth1")
		l.wantNames("eth0", "eth1")
	}
	l.unchanged(func() {
		l.says(l.run(codeDoubt, "swap", "eth0", "eth9").stderr, "eth9: no such link")
		l.says(l.run(codeUsage, "swap", "eth0", "eth/1").stderr, `"eth/1": a link's name can't have the byte '/'`)
		l.run(codeUsage, "swap", "eth0", "eth0")
	})
	l.wantNames("eth0", "eth1")
	l.rename("eth0", "eni0-eth1x")
	l.rename("eth1", "eth0")
	l.run(codeRight, "swap", "eth1x", "eth0")
	l.wantNames("eth1x", "eth0")
}

func TestKernelRefusals(t *testing.T) {
	l, _ := managed(t, 1, 2, 0)
	if l == nil {
		return
	}
	l.unchanged(func() {
		l.must(ec2.AddVeth("eth9", l.MAC(0), "far", -1))
		l.says(l.run(codeDoubt, "fix").stderr, "two ENIs have the primary's address")
		l.must(ec2.Delete("eth9"))

		l.rename("eth0", "eth7")
		l.must(ec2.AddAltname("eth1", "eth0"))
		l.says(l.run(codeDoubt, "fix").stderr, "`ip link property del dev eth1 altname eth0` clears it")
		l.wantNames("eth2", "eth7", "eth1")
	})
}

// A link with so many altnames is a datagram of 40 kB.
func TestKernelManyAltnames(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	var altnames []string
	for n := range 300 {
		altnames = append(altnames, fmt.Sprintf("%0127d", n))
	}
	l.must(ec2.AddAltname("eth1", altnames...))
	l.run(codeNames, "check")
	r := l.run(codeRoute, "fix", "-restart", "") // the manager of the testbed can't read such a link
	l.says(r.stderr, "(index 3): eth1 -> eth0")
	l.run(codeRoute, "check")
}

func TestKernelBridgeHoldsTheName(t *testing.T) {
	l := launch(t, 1, 0)
	if l == nil {
		return
	}
	l.rename("eth0", "eth5")
	l.must(ec2.AddBridge("eth0", [6]byte{2, 0, 0, 0, 0, 9}))
	m, err := l.Manage()
	l.must(err)
	defer m.Close()
	l.unchanged(func() { l.says(l.run(codeDoubt, "fix").stderr, `is no ENI (kind "bridge"): left alone`) })
	l.wantNames("eth1", "eth5")
}

func TestKernelNoCapability(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	l.powerless("eni0: rename: RTM_SETLINK: operation not permitted: run as root or with CAP_NET_ADMIN\n")
	l.wantNames("eth1", "eth0")
}

// powerless runs fix as somebody without a capability in this network namespace: it changes nothing, and says
// why.
func (l *lab) powerless(why string) {
	l.Helper()
	l.unchanged(func() {
		cmd := l.command("fix")
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
		r := l.finish(cmd)
		if r.code != codeDoubt {
			l.Errorf("fix without CAP_NET_ADMIN: code %d, want %d", r.code, codeDoubt)
		}
		l.says(r.stderr, why)
	})
}

func TestKernelIMDS(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	l.says(l.run(codeRight, "imds", "mac").stdout, "0a:ff:00:00:00:01\n")
	l.says(l.run(codeRight, "imds", "/latest/meta-data/mac").stdout, "0a:ff:00:00:00:01\n")
	l.says(l.run(codeDoubt, "imds", "nothing-there").stderr, "/latest/meta-data/nothing-there: status 404")
	l.Metadata().Refuse(3)
	l.Metadata().Busy(2)
	l.run(codeNames, "check")
	l.must(l.Serve(nil))
	l.unchanged(func() {
		r := l.run(codeDoubt, "check", "-timeout", "300ms")
		l.says(r.stdout, "eth0")
		l.says(r.stderr, "imds: token: connect 169.254.169.254: connection refused (")
		l.run(codeDoubt, "fix", "-timeout", "300ms")
	})
	l.wantNames("eth1", "eth0")
}

// The routing table leads nowhere: the ENIs are asked by too.
func TestKernelIMDSByAnotherENI(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.must(ec2.DelRoute(ec2.Route{Dev: "eth0", Via: l.Router(1), Metric: 512, Proto: 16}),
		ec2.AddNeighbour("eth0", netip.MustParseAddr("10.0.2.77"), [6]byte{2, 0, 0, 0, 0, 7}),
		ec2.AddRoute(ec2.Route{Dev: "eth0", Via: netip.MustParseAddr("10.0.2.77"), Metric: 512}))
	l.unchanged(func() { l.run(codeNames, "check") })
}

// Only sockets with the mark of systemd-imdsd are led to IMDS from an address that it answers.
func TestKernelIMDSMark(t *testing.T) {
	l, m := managed(t, 0, 1)
	if l == nil {
		return
	}
	m.Hold()
	own := l.Addr(0).Next()
	l.must(l.Serve(ec2.ByAddress(own, l.Metadata(), always(503))),
		ec2.AddAddr("eth0", netip.PrefixFrom(own, 32)),
		ec2.AddRoute(ec2.Route{Dev: "eth0", Via: l.Router(0), Src: own, Table: 100}),
		ec2.AddRule(ec2.Rule{Mark: imdsMark, Table: 100, Priority: 100}))
	l.unchanged(func() { l.run(codeRight, "imds", "-timeout", "10s", "mac") })
}

// The default route leads to somebody who answers in IMDS's place; the primary ENI's own IMDS tells the truth.
func TestKernelIMDSOfAForeigner(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	foreign := ec2.NewMetadata(1)
	foreign.Set("mac", "0e:00:00:00:00:99")
	for world, h := range map[string]http.Handler{
		"another machine's metadata": foreign, "400": always(400), "403": always(403), "404": always(404), "405": always(405), "503": always(503),
	} {
		l.must(l.Serve(ec2.ByAddress(l.Addr(0), l.Metadata(), h)))
		l.unchanged(func() {
			if r := l.finish(l.command("check", "-timeout", "10s")); r.code != codeNames {
				t.Errorf("%s: code %d, want %d: %s", world, r.code, codeNames, r.stderr)
			}
			if r := l.finish(l.command("imds", "-timeout", "10s", "mac")); r.code != codeRight || r.stdout != hwaddr(l.MAC(0)).String()+"\n" {
				t.Errorf("%s: imds mac: %+v", world, r)
			}
		})
	}
	l.must(l.Serve(foreign))
	l.unchanged(func() {
		l.says(l.run(codeDoubt, "imds", "-timeout", "2s", "mac").stderr, "imds: by eth1: 0e:00:00:00:00:99: no link has the primary ENI's address (yet) (")
		l.says(l.run(codeDoubt, "check", "-timeout", "2s").stderr, "imds: by eth1: 0e:00:00:00:00:99: no link has the primary ENI's address (yet) (")
	})
}

// IMDS that takes longer for each request than the first try waits is heard.
func TestKernelIMDSSlow(t *testing.T) {
	l, _ := managed(t, 0, 1)
	if l == nil {
		return
	}
	l.must(l.Serve(later(requestTimeout+500*time.Millisecond, l.Metadata())))
	l.unchanged(func() { l.run(codeRight, "check", "-timeout", "1m") })
}

// IMDS has too many requests: eight ENIs ask less and less often, in turn.
func TestKernelIMDSThrottled(t *testing.T) {
	l, _ := managed(t, 0, 1, 2, 3, 4, 5, 6, 7)
	if l == nil {
		return
	}
	var requests atomic.Int32
	l.must(l.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(429)
	})))
	const seconds = 3
	l.unchanged(func() {
		l.says(l.run(codeDoubt, "check", "-timeout", fmt.Sprintf("%ds", seconds)).stderr, "imds: token: status 429 (")
	})
	if n := requests.Load(); n > 40*seconds {
		t.Errorf("%d requests in %d seconds, want at most 40 a second", n, seconds)
	} else {
		t.Logf("%d requests in %d seconds", n, seconds)
	}
}

// Where IMDS is switched off, nobody waits.
func TestKernelIMDSOff(t *testing.T) {
	l, _ := managed(t, 0, 1)
	if l == nil {
		return
	}
	l.must(l.Serve(always(403)))
	for _, args := range [][]string{{"check"}, {"fix"}, {"imds", "mac"}} {
		l.unchanged(func() {
			r := l.run(codeDoubt, slices.Insert(args, 1, "-timeout", "1h")...)
			l.says(r.stderr, "imds: by eth1: token: status 403: IMDS is switched off, or a proxy or firewall answers in its place\n")
		})
	}
}

func TestKernelLateENI(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	l.must(ec2.Delete("eth1"))
	l.unchanged(func() {
		l.says(l.run(codeDoubt, "fix", "-timeout", "500ms").stderr, "imds: 0a:ff:00:00:00:01: no link has the primary ENI's address (yet) (")
	})
	cmd := l.command("fix", "-restart", "")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	l.must(cmd.Start())
	err := ec2.AddVeth("eth1", l.MAC(0), "far", -1)
	if !errors.Is(err, unix.ENODEV) { // it may have been renamed before AddVeth was done with it
		l.must(err)
	}
	_ = cmd.Wait() // names are what is looked at: the manager has no way by this ENI
	l.wantNames("eth0", "eth1")
	l.says(stderr.String(), ": eth1 -> eth0\n")
}

// A driver that registers while a datagram is carried through takes the first name that is free. It
// has no right to it: the rename goes on, and the newcomer moves.
func TestKernelNewcomer(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	nl := l.dial()
	defer nl.close()
	for n := range 20 {
		before, err := nl.links()
		l.must(err)
		targets, err := swapTargets(before, "eth0", "eth1")
		l.must(err)
		events, err := dialRtnl(unix.RTNLGRP_LINK)
		l.must(err)
		came := make(chan error)
		go func() {
			_, err := events.receive() // the first rename
			made := ec2.AddVeth("eth%d", [6]byte{2, 0, 0, 0, 2, byte(n)}, "far%d", -1)
			came <- errors.Join(err, ignoreError(made, unix.ENODEV)) // it has another name when AddVeth comes back to it
		}()
		r := &renaming{nl: nl, log: logger{to: io.Discard}, before: before}
		err = r.rename(targets)
		l.must(<-came, err)
		events.close()
		l.wantNames([]string{"eth0", "eth1"}[n%2], []string{"eth1", "eth0"}[n%2])
	}
}

// A link that is detached between the look and the datagram: it is judged and planned again.
func TestKernelDetachedMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name  string // of the link that is detached
		names []string
		code  int // of the error; codeRight for none
	}{
		{"eth0", []string{"eth0", "none", "eth2"}, codeRight}, // who held the name
		{"eth1", []string{"none", "eth0", "eth2"}, codeDoubt}, // the primary
		{"eth2", []string{"eth0", "eth1", "none"}, codeRight}, // a third
	} {
		t.Run(c.name, func(t *testing.T) {
			l := launch(t, 1, 0, 2)
			if l == nil {
				return
			}
			nl := l.dial()
			defer nl.close()
			look := func() ([]link, map[int32]string, error) {
				w, err := nl.observe()
				l.must(err)
				w.primary = l.MAC(0)
				v, err := judge(w, true)
				return w.links, v.targets, err
			}
			before, targets, err := look()
			l.must(err, ec2.Delete(c.name))
			r := &renaming{nl: nl, log: logger{to: io.Discard}, before: before, judgeAgain: look}
			if err := r.rename(targets); err == nil && c.code != codeRight || err != nil && codeOf(err) != c.code {
				t.Errorf("rename() = %v, want code %d", err, c.code)
			}
			l.wantNames(c.names...)
		})
	}
}

// The route stays where it is with no manager to move it: renaming alone is not the cure.
func TestKernelNoManager(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.unchanged(func() {
		l.run(codeRoute, "fix", "-restart", "")
	})
	l.wantNames("eth0", "eth1")
	l.run(codeRoute, "check")
	l.unchanged(func() { l.run(codeRoute, "fix") })
}

func TestKernelTrafficByThePrimary(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.must(ec2.AddRoute(ec2.Route{Dev: "eth1", Via: l.Router(0), Metric: 100}))
	l.unchanged(func() {
		l.says(l.run(codeRight, "check").stdout, "a rename would disturb it")
		l.run(codeRight, "fix")
		l.run(codeNames, "check", "-names")
	})
	l.wantNames("eth1", "eth0")
	l.unchanged(func() { l.run(codeRight, "fix", "-names", "-restart", "") })
	l.wantNames("eth0", "eth1")
}

func TestKernelRoutes(t *testing.T) {
	l, m := managed(t, 0, 1, 2)
	if l == nil {
		return
	}
	m.Hold()
	out := func(want string) { l.Helper(); l.says(l.run(codeRight, "route").stdout, want) }
	out("0a:ff:00:00:00:01\n")
	l.must(ec2.AddNextHop(7, "eth2", l.Router(2)), ec2.AddNextHop(8, "eth1", l.Router(1)), ec2.AddNextHopGroup(9, 7, 8),
		ec2.AddRoute(ec2.Route{NextHop: 7, Metric: 50}))
	out("0a:ff:00:00:00:03\n")
	l.must(os.WriteFile("/proc/sys/net/ipv4/nexthop_compat_mode", []byte("0"), 0))
	out("0a:ff:00:00:00:03\n")
	l.must(ec2.AddRoute(ec2.Route{NextHop: 9, Metric: 40}))
	l.says(l.run(codeDoubt, "route").stderr, "default traffic leaves by 2 ENIs, eth2 and eth1, which has no one answer")
	l.must(ec2.AddRoute(ec2.Route{Metric: 30, Multipath: []ec2.Hop{{Dev: "eth0", Via: l.Router(0)}, {Dev: "eth1", Via: l.Router(1)}}}))
	l.says(l.run(codeRoute, "check").stdout, "another ENI, eth1")
	l.must(ec2.SetUp("eth1", false)) // its hop is dead now: all live ones are the primary's
	out("0a:ff:00:00:00:01\n")
	l.run(codeRight, "check")
}

func TestKernelIPv6Route(t *testing.T) {
	l := launch(t, 1, 0)
	if l == nil {
		return
	}
	if !ec2.HasIPv6() {
		t.Skip("no IPv6")
	}
	l.must(ec2.SetUp("eth0", true), ec2.AddAddr("eth0", netip.MustParsePrefix("fd00:1::10/64")))
	l.says(l.run(codeDoubt, "route").stderr, "there is no default route")
	l.must(ec2.AddRoute(ec2.Route{Dev: "eth0", Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00:1::1"), Metric: 1024}))
	l.says(l.run(codeRight, "route").stdout, "0a:ff:00:00:00:02\n")
}

// Default traffic by what is on an ENI, or on none: check, and the ENI that route tells.
func TestKernelEgress(t *testing.T) {
	l, m := managed(t, 0, 1)
	if l == nil {
		return
	}
	m.Hold()
	primary, other := fmt.Sprintf("%s\n", hwaddr(l.MAC(0))), fmt.Sprintf("%s\n", hwaddr(l.MAC(1)))
	delDefault := func(name string, device int) error {
		return ec2.DelRoute(ec2.Route{Dev: name, Via: l.Router(device), Metric: 512, Proto: 16})
	}
	stack := func(kind, lower string) error {
		err := errors.Join(ec2.AddStacked("top0", kind, lower, [6]byte{2, 0, 0, 0, 0, 9}), ec2.SetUp("top0", true))
		return errors.Join(err, ec2.AddAddr("top0", netip.MustParsePrefix("10.9.0.2/24")),
			ec2.AddRoute(ec2.Route{Dev: "top0", Via: netip.MustParseAddr("10.9.0.1")}))
	}
	unstack := func() error { return ec2.Delete("top0") }
	def6 := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	router6 := func(name string, pref byte) ec2.Route {
		// With gateways the kernel would make one route of two hops of them.
		return ec2.Route{Dev: name, Dst: def6, Metric: 1024, Pref: pref}
	}
	for _, c := range []struct {
		world   string
		arrange func() error
		undo    func() error
		code    int
		says    string // check
		route   string // what route prints; "" for an error
	}{
		{"as it is", func() error { return nil }, func() error { return nil }, codeRight, "and default traffic leaves by it.", primary},
		{"a bridge of nobody has the best default route", func() error { return stack("bridge", "") }, unstack, codeRight,
			"and default traffic leaves by it; the default route by top0 is passed over, because that is on no ENI.", primary},
		{"a macvlan on the primary", func() error { return stack("macvlan", "eth0") }, unstack, codeRight, "and default traffic leaves by it.", primary},
		{"a macvlan on another", func() error { return stack("macvlan", "eth1") }, unstack, codeRoute, "default traffic leaves by another ENI, eth1;", other},
		{"a bridge of another", func() error { return errors.Join(stack("bridge", ""), l.enslave("eth1", "top0")) }, unstack, codeRoute,
			"default traffic leaves by another ENI, eth1;", other},
		{"a blackhole is best", func() error { return ec2.AddRoute(ec2.Route{Type: unix.RTN_BLACKHOLE, Metric: 1}) },
			func() error { return ec2.DelRoute(ec2.Route{Type: unix.RTN_BLACKHOLE, Metric: 1}) }, codeRight, "the default route is of the type blackhole.", ""},
		{"IPv6 leaves by another", func() error { return ec2.AddRoute(router6("eth1", 0)) }, func() error { return ec2.DelRoute(router6("eth1", 0)) }, codeRight,
			"and default traffic leaves by it; IPv6 default traffic leaves by another ENI, eth1.", primary},
		{"IPv6 alone, the other's router is preferred", func() error {
			return errors.Join(delDefault("eth0", 0), ec2.AddRoute(router6("eth0", 0)), ec2.AddRoute(router6("eth1", 1)))
		}, func() error { return ec2.DelRoute(router6("eth1", 1)) }, codeRoute, "default traffic leaves by another ENI, eth1;", other},
		{"IPv6 alone, the primary's router", func() error { return nil }, func() error { return ec2.DelRoute(router6("eth0", 0)) }, codeRight, "default traffic leaves by it", primary},
		{"a bridge of nobody alone", func() error { return stack("bridge", "") }, unstack, codeRight, "no default route leaves by an ENI; the default route by top0 is passed over", ""},
		{"nothing", func() error { return nil }, func() error { return nil }, codeRight, "there is no default route.", ""},
	} {
		if strings.Contains(c.world, "IPv6") && !ec2.HasIPv6() {
			continue
		}
		if err := c.arrange(); errors.Is(err, unix.EOPNOTSUPP) {
			t.Logf("%s: %v", c.world, err)
			continue
		} else if err != nil {
			t.Fatalf("%s: %v", c.world, err)
		}
		l.unchanged(func() {
			r := l.finish(l.command("check"))
			if r.code != c.code || !strings.Contains(r.stdout, c.says) {
				t.Errorf("%s: code %d, want %d and %q\n%s%s", c.world, r.code, c.code, c.says, r.stdout, r.stderr)
			}
			want := codeRight
			if c.route == "" {
				want = codeDoubt
			}
			if r := l.finish(l.command("route")); r.code != want || r.stdout != c.route {
				t.Errorf("%s: route: %+v, want %q", c.world, r, c.route)
			}
		})
		l.must(c.undo())
	}
}

// An instance in a subnet of IPv6 alone: IMDS is asked at its IPv6 address, and where that is not served, people
// are told what is missing.
func TestKernelIMDSByIPv6(t *testing.T) {
	l := launch(t, 0, 1)
	if l == nil {
		return
	}
	if !ec2.HasIPv6() {
		t.Skip("no IPv6")
	}
	imds := netip.MustParsePrefix("fd00:ec2::254/128")
	for device, name := range []string{"eth0", "eth1"} {
		subnet := func(host string) netip.Prefix {
			return netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::%s/64", device, host))
		}
		l.must(ec2.SetUp(name, true), ec2.AddAddr(name, subnet("10")), l.Do(func() error { return ec2.AddAddr(fmt.Sprintf("wire%d", device), subnet("1")) }))
		l.must(ec2.AddRoute(ec2.Route{Dev: name, Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Via: subnet("1").Addr(), Metric: uint32(1024 + device)}))
	}
	l.unchanged(func() {
		r := l.run(codeDoubt, "check", "-timeout", "4s")
		l.says(r.stderr, "imds: no ENI that is up has an IPv4 address to ask by: `eni0 fix` gets a temporary one\n")
		l.says(r.stderr, "imds: by IPv6: by eth1: ")
	})
	var listener net.Listener
	l.must(l.Do(func() (err error) {
		if err := ec2.AddAddr("lo", imds); err != nil {
			return err
		}
		listener, err = net.Listen("tcp6", "[fd00:ec2::254]:80")
		return err
	}))
	go http.Serve(listener, l.Metadata()) // until it is closed
	defer listener.Close()
	l.unchanged(func() {
		l.says(l.run(codeRight, "check", "-timeout", "20s").stdout, "eth0 is the primary ENI, and default traffic leaves by it.")
		l.says(l.run(codeRight, "imds", "-timeout", "20s", "-imds", "http://[fd00:ec2::254]", "mac").stdout, "0a:ff:00:00:00:01\n")
		l.run(codeRight, "fix", "-timeout", "20s", "-imds", "http://[fd00:ec2::254]:80/")
	})
	l.sawNoDHCP(2)
}

func TestKernelRuleWarning(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	l.must(ec2.AddRule(ec2.Rule{IIF: "eth1", Table: 100, Priority: 1000}), ec2.AddRule(ec2.Rule{OIF: "eth8", Table: 100, Priority: 1001}))
	if ec2.HasIPv6() {
		l.must(ec2.AddRule(ec2.Rule{OIF: "eth0", Table: 100, Priority: 1002, V6: true}))
	}
	r := l.run(codeRight, "fix")
	if ec2.HasIPv6() {
		l.says(r.stderr, "IPv6 rule 1002 oif eth0 goes by name")
	}
	l.says(r.stderr, "rule 1000 iif eth1 goes by name, which by this rename means another link")
	if strings.Contains(r.stderr, "eth8") {
		t.Errorf("warns of a rule for a link that was not renamed: %s", r.stderr)
	}
}

// An abstract socket knows no permissions, so root must not wait long for one that another user holds. It goes
// on without the lock then, and borrows nothing.
func TestKernelLockOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can have a second user in its namespace")
	}
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	for _, uid := range []uint32{999, 1000} {
		release := l.locked(uid, "1")
		l.says(l.run(codeRight, "fix", "-timeout", "10s").stderr, fmt.Sprintf("(uid %d) for 2.5s: going on without it", uid))
		release()
		l.wantNames("eth0", "eth1")
		l.run(codeRight, "swap", "eth0", "eth1")
	}
	// One that ends each connection at once is not asked again and again without a pause.
	defer l.locked(1000, "accept")()
	cmd := l.command("fix", "-timeout", "10s")
	if r := l.finish(cmd); r.code != codeRight {
		t.Errorf("beside one that ends connections: %+v", r)
	}
	if used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); used > time.Second {
		t.Errorf("%v of a CPU used in 2.5 s of waiting", used)
	}
}

func TestKernelLockOfAnotherUserBeforeTheNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can have a second user in its namespace")
	}
	l := launch(t, 1, 0)
	if l == nil {
		return
	}
	release := l.locked(1000, "1")
	l.unchanged(func() {
		l.says(l.run(codeDoubt, "fix", "-timeout", "1s").stderr, "network is unreachable")
	})
	l.sawNoDHCP(2)
	release()
	l.run(codeRight, "fix")
}

// locked has the lock held by a process of that user's until release is called.
func (l *lab) locked(uid uint32, how string) (release func()) {
	l.Helper()
	holder := exec.Command("/proc/self/exe")
	holder.Env = append(l.env, "ENI0_HOLDS_LOCK="+how)
	holder.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, NoSetGroups: true}}
	out, err := holder.StdoutPipe()
	l.must(err, holder.Start())
	b := make([]byte, 100)
	if n, err := out.Read(b); err != nil || string(b[:n]) != "<nil>\n" {
		l.Fatalf("the lock of user %d: %q, %v", uid, b[:n], err)
	}
	return func() { _ = holder.Process.Kill(); _ = holder.Wait() }
}

// bound is a socket that has the name of the lock, and does not listen.
func (l *lab) bound() int {
	l.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	l.must(err, unix.Bind(fd, &unix.SockaddrUnix{Name: lockName}))
	return fd
}

// Nobody can tell who holds the name without listening, or has its queue full: that is not waited for long.
func TestKernelLockOfTheSilent(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	bound := l.bound()
	l.says(l.run(codeRight, "fix", "-timeout", "4s").stderr, "lock: held by somebody who can't be told for 1s: going on without it")
	l.wantNames("eth0", "eth1")

	l.must(unix.Listen(bound, 0))
	waiting, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	l.must(err, unix.Connect(waiting, &unix.SockaddrUnix{Name: lockName}))
	l.says(l.run(codeRight, "swap", "-timeout", "4s", "eth0", "eth1").stderr, "can't be told for 1s: going on without it")
	l.must(unix.Close(bound), unix.Close(waiting))
	l.run(codeRight, "fix")
}

// What a holder that can't be told has cost counts no more once an eni0 has been waited for: an eni0 that begins
// can't be told for a moment.
func TestKernelLockInTurn(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	bound := l.bound()
	type outcome struct {
		held bool
		err  error
	}
	done := make(chan outcome)
	go func() {
		_, held, err := acquireLock(patient(t), time.Second, logger{to: io.Discard})
		done <- outcome{held, err}
	}()
	time.Sleep(600 * time.Millisecond)
	l.must(unix.Listen(bound, 1))
	conn, _, err := unix.Accept(bound) // it waits for us now
	l.must(err, unix.Shutdown(bound, unix.SHUT_RD), unix.Close(conn))
	time.Sleep(600 * time.Millisecond)
	l.must(unix.Close(bound))
	if got := <-done; !got.held || got.err != nil {
		t.Errorf("acquireLock() = %+v, want the lock", got)
	}
}

func TestKernelLock(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	unlock, held, err := acquireLock(context.Background(), time.Hour, logger{to: io.Discard})
	if l.must(err); !held {
		l.Fatal("the lock is not held")
	}
	l.unchanged(func() {
		l.says(l.run(codeDoubt, "fix", "-timeout", "300ms").stderr, fmt.Sprintf("lock: another eni0 is at work: process %d (uid 0): no time left of 300ms", os.Getpid()))
		l.run(codeNames, "check") // needs no lock
		l.run(codeNames, "fix", "-n")
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r := l.finish(l.command("fix"))
			if r.code != codeRight || strings.Count(r.stderr, "waiting for process") > 1 {
				t.Errorf("one of 8 at once: %+v", r)
			}
		})
	}
	unlock()
	all.Wait()
	l.wantNames("eth0", "eth1")
}

// stuckPipe is a pipe that is full and that nobody reads.
func (l *lab) stuckPipe() *os.File {
	l.Helper()
	r, w, err := os.Pipe()
	l.must(err)
	l.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	l.must(w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)))
	for err == nil {
		_, err = w.Write(make([]byte, 4096))
	}
	return w
}

// A log that nobody takes holds nobody up, whatever eni0 does: it ends in its budget, and gives back what it has
// borrowed.
func TestKernelStuckStderr(t *testing.T) {
	t.Parallel() // it waits most of the time
	l := launch(t, 1, 0)
	if l == nil {
		return
	}
	stuck := func(args ...string) int {
		cmd := l.command(args...)
		cmd.Stderr = l.stuckPipe()
		_ = cmd.Run() // the code tells
		return cmd.ProcessState.ExitCode()
	}
	l.must(l.Serve(nil))
	for _, args := range [][]string{{"fix"}, {"check"}, {"imds", "mac"}} {
		l.unchanged(func() {
			if code := stuck(slices.Insert(args, 1, "-timeout", "1s")...); code != codeDoubt {
				t.Errorf("%v: code %d, want %d", args, code, codeDoubt)
			}
		})
	}
	l.must(l.Serve(l.Metadata()))
	l.unchanged(func() {
		if code := stuck("fix"); code != codeRight {
			t.Errorf("fix: code %d, want %d", code, codeRight)
		}
	})
	l.wantNames("eth0", "eth1")
	if code := stuck("swap", "eth0", "eth1"); code != codeRight {
		t.Errorf("swap: code %d, want %d", code, codeRight)
	}
	if code := stuck("nonsense"); code != codeUsage {
		t.Errorf("nonsense: code %d, want %d", code, codeUsage)
	}
}

// Output that nobody takes, or that can't be written, is an error in the end; what was changed is changed, and COMMAND is
// executed.
func TestKernelStuckStdout(t *testing.T) {
	t.Parallel() // it waits most of the time
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	self, err := os.Executable()
	l.must(err)
	readOnly, err := os.Open("/dev/null")
	l.must(err)
	defer readOnly.Close()
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"check", "-timeout", "1s"}, codeDoubt},
		{[]string{"check", "-json", "-timeout", "1s"}, codeDoubt},
		{[]string{"imds", "-timeout", "1s", "mac"}, codeDoubt},
		{[]string{"route", "-timeout", "1s"}, codeDoubt},
		{[]string{"fix", "-n", "-timeout", "1s"}, codeDoubt},
		{[]string{"swap", "-n", "-timeout", "1s", "eth0", "eth1"}, codeDoubt},
		{[]string{"help"}, codeDoubt},
		{[]string{"fix", "-h"}, codeDoubt},
		{[]string{"fix", "-timeout", "3s", "--", self, "swap", "-restart", "", "eth0", "eth1"}, codeRight}, // and so they are as before
		{[]string{"fix", "-timeout", "3s"}, codeRight},
	} {
		cmd := l.command(c.args...)
		cmd.Stdout = l.stuckPipe()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run() // the code tells
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v: code %d, want %d: %s", c.args, code, c.code, stderr.String())
		}
		if c.args[0] == "fix" && c.code == codeRight {
			continue
		}
		cmd = l.command(c.args...)
		stderr.Reset()
		cmd.Stdout, cmd.Stderr = readOnly, &stderr
		_ = cmd.Run() // the code tells
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(stderr.String(), "stdout: write: bad file descriptor") {
			t.Errorf("%v with a stdout that can't be written: code %d, want %d: %s", c.args, code, c.code, stderr.String())
		}
		l.wantNames("eth1", "eth0")
	}
	l.wantNames("eth0", "eth1")
}

// However few file descriptors there are: 2 is for command lines that are wrong.
func TestKernelFewFileDescriptors(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	self, err := os.Executable()
	l.must(err)
	codes := map[int]bool{}
	for n := 4; n < 20; n++ { // the loader of this test needs one
		cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" check -timeout 1s`, n), self)
		cmd.Env = l.env
		r := l.finish(cmd)
		if codes[r.code] = true; r.code != codeDoubt && r.code != codeNames {
			t.Errorf("with %d file descriptors: %+v, want code %d or %d", n, r, codeDoubt, codeNames)
		}
	}
	if !codes[codeDoubt] || !codes[codeNames] {
		t.Errorf("codes %v, want both %d and %d", codes, codeDoubt, codeNames)
	}
}

// interrupt sends eni0 a signal while it waits for IMDS, which has nothing to say.
func (l *lab) interrupt(s os.Signal, args ...string) (*os.ProcessState, string) {
	l.Helper()
	asked := make(chan bool, 100)
	l.must(l.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		w.WriteHeader(503)
	})))
	cmd := l.command(args...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	l.must(cmd.Start())
	<-asked
	l.must(cmd.Process.Signal(s))
	_ = cmd.Wait() // the state tells
	return cmd.ProcessState, stdout.String()
}

// Before the first change a signal ends eni0; where there is a COMMAND, that is executed.
func TestKernelSignal(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	self, err := os.Executable()
	l.must(err)
	if state, _ := l.interrupt(syscall.SIGQUIT, "check"); state.ExitCode() != codeDoubt {
		t.Errorf("check: %v after SIGQUIT, want code %d", state, codeDoubt)
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(s) {
			continue // as under nohup(1): and so eni0 ignores it too
		}
		l.unchanged(func() {
			if state, _ := l.interrupt(s, "fix"); state.Sys().(syscall.WaitStatus).Signal() != s {
				t.Errorf("fix: %v, want %v", state, s)
			}
			if state, out := l.interrupt(s, "fix", "--", self, "version"); !state.Success() || !strings.Contains(out, "\neni0 ") {
				t.Errorf("fix -- eni0 version: %v, %q", state, out)
			}
		})
	}
	l.wantNames("eth1", "eth0")
}

// noteCall appends a line to $SYSTEMCTL_LOG.
func noteCall(line string) error {
	f, err := os.OpenFile(os.Getenv("SYSTEMCTL_LOG"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, line)
	return err
}

// nmcliStandIn notes how it was called. The profiles that are active are in $NMCLI_PROFILES: "uuid=eth0".
func nmcliStandIn(args []string) int {
	if noteCall(strings.Join(args, " ")) != nil {
		return 99
	}
	for _, profile := range strings.Fields(os.Getenv("NMCLI_PROFILES")) {
		uuid, name, _ := strings.Cut(profile, "=")
		switch strings.Join(args, " ") {
		case "-g UUID connection show --active":
			fmt.Println(uuid)
		case "-g connection.interface-name connection show " + uuid:
			fmt.Println(name)
		}
	}
	return 0
}

// systemctlStandIn is that of the lab's manager, unless there is $SYSTEMCTL_LOG: there it notes how it was
// called. Units run if $SYSTEMCTL_ACTIVE says so.
func systemctlStandIn(args []string) int {
	if os.Getenv("SYSTEMCTL_LOG") == "" {
		return ec2.Systemctl(args, os.Stdout)
	}
	if noteCall(strings.Join(args, " ")) != nil {
		return 99
	}
	if slices.Contains(args, "try-restart") && os.Getenv("SYSTEMCTL_DIES") != "" && unix.Mkdir(os.Getenv("SYSTEMCTL_DIES"), 0o700) == nil {
		_ = unix.Kill(os.Getpid(), unix.SIGTERM) // the first one
		time.Sleep(time.Hour)
	}
	if until := os.Getenv("SYSTEMCTL_UNTIL"); until != "" && args[0] == "try-restart" {
		_, _ = os.ReadFile(until) // a pipe: until the test has written to it
	}
	if args[0] == "is-active" {
		for _, unit := range args[2:] {
			active := slices.Contains(strings.Split(os.Getenv("SYSTEMCTL_ACTIVE"), ","), unit)
			fmt.Println(map[bool]string{true: "active", false: "inactive"}[active])
		}
	}
	if args[0] == os.Getenv("SYSTEMCTL_FAILS") {
		return 1
	}
	if bound := os.Getenv("SYSTEMCTL_BOUND"); args[0] == "show" && strings.HasSuffix(args[len(args)-1], "-eth0.device") {
		fmt.Println(bound)
	}
	return 0
}

// systemd puts the stand-in on eni0's PATH, with units that run, with commas between them, and
// returns what it is asked for, line by line.
func (l *lab) systemd(active string) chan string {
	l.Helper()
	dir := l.programs("systemctl", "nmcli")
	l.must(unix.Mkfifo(filepath.Join(dir, "log"), 0o600))
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR, 0)
	l.must(err)
	l.Cleanup(func() { log.Close() })
	l.env = append(l.env, "PATH="+dir, "SYSTEMCTL_LOG="+filepath.Join(dir, "log"), "SYSTEMCTL_ACTIVE="+active)
	lines := make(chan string, 100)
	go func() {
		b := make([]byte, 4096)
		for n, err := log.Read(b); err == nil; n, err = log.Read(b) {
			for line := range strings.Lines(string(b[:n])) {
				lines <- strings.TrimSpace(line)
			}
		}
	}()
	return lines
}

func TestKernelRestart(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold() // like systemd-networkd 252, it moves the route when it is restarted
	lines := l.systemd("b.service")
	var asked []string
	applied := make(chan error)
	go func() {
		for line := range lines {
			if asked = append(asked, line); strings.Contains(line, "try-restart") {
				applied <- m.Apply()
				return
			}
		}
	}()
	r := l.run(codeRight, "fix", "-restart", "a.service,b.service")
	l.must(<-applied)
	device := func(name string) string { return "sys-subsystem-net-devices-" + name + ".device" }
	want := []string{"is-active -- a.service b.service",
		"show --property=BoundBy --value -- " + device("eth0"), "show --property=BoundBy --value -- " + device("eth1"),
		"try-restart -- b.service"}
	if !slices.Equal(asked, want) {
		t.Errorf("systemctl was asked %q, want %q", asked, want)
	}
	l.says(r.stderr, "restarting b.service")
	l.wantNames("eth0", "eth1")
}

// A fix that has only restarted has changed something too: that its report can't be written does not change its code.
func TestKernelRestartOnly(t *testing.T) {
	l, m := managed(t, 0, 1)
	if l == nil {
		return
	}
	m.Hold()
	wrong := ec2.Route{Dev: "eth1", Via: l.Router(1), Metric: 1}
	l.must(ec2.AddRoute(wrong))
	l.run(codeRoute, "check")
	l.onRestart(l.systemd("b.service"), func() error { return ec2.DelRoute(wrong) })
	cmd := l.command("fix", "-restart", "b.service", "-timeout", "3s")
	cmd.Stdout = l.stuckPipe()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // the code tells
	if code := cmd.ProcessState.ExitCode(); code != codeRight {
		t.Errorf("code %d, want %d: %s", code, codeRight, stderr.String())
	}
	l.says(stderr.String(), "stdout: ")
}

// `systemctl stop` of the unit that eni0 runs in means its systemctl too: the restart is ordered again, and
// a signal does not end the wait for what comes of it.
func TestKernelRestartIsKilled(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	lines := l.systemd("systemd-networkd.service")
	l.env = append(l.env, "SYSTEMCTL_DIES="+filepath.Join(t.TempDir(), "died"))
	cmd := l.command("fix")
	l.must(cmd.Start())
	for restarts := 0; restarts < 2; {
		select {
		case line := <-lines:
			if strings.Contains(line, "try-restart") {
				restarts++
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%d restarts were ordered, want 2", restarts)
		}
	}
	l.must(cmd.Process.Signal(syscall.SIGTERM))
	l.must(m.Apply())
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != codeRight {
		t.Errorf("fix: %v, want code %d", cmd.ProcessState, codeRight)
	}
	l.wantNames("eth0", "eth1")
	l.run(codeRight, "check")
}

// A manager that does nothing when it is restarted: traffic leaves by the wrong ENI as before, and nothing
// is lost.
func TestKernelRestartInVain(t *testing.T) {
	t.Parallel() // it waits for settleTime
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.systemd("systemd-networkd.service")
	l.unchanged(func() { l.run(codeRoute, "fix", "-timeout", "3s") })
	l.wantNames("eth0", "eth1")
}

func TestKernelCommand(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	self, err := os.Executable()
	l.must(err)
	l.says(l.run(codeRight, "fix", "--", self, "version").stdout, "eni0 ")
	l.wantNames("eth0", "eth1")
	l.says(l.run(codeRight, "fix", "-no-such-flag", "--", self, "version").stdout, "eni0 ")
	l.says(l.run(codeDoubt, "fix", "--", "/no/such/program").stderr, "eni0: /no/such/program: no such file or directory")
	if r := l.finish(l.command("fix", "--", "/bin/sh", "-c", "kill -PIPE $$; echo not killed")); strings.Contains(r.stdout, "not killed") {
		t.Errorf("COMMAND has SIGPIPE ignored, which is our own affair: %s", r.stdout)
	}
}

// Dumps are complete while links come and go.
func TestKernelDumpWhileLinksChange(t *testing.T) {
	l := launch(t, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
	if l == nil {
		return
	}
	stop, done := make(chan bool), make(chan error)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			name := fmt.Sprintf("br%d", n)
			if err := errors.Join(ec2.AddBridge(name, [6]byte{2, 1, 0, 0, byte(n >> 8), byte(n)}), ec2.Delete(name)); err != nil {
				done <- err
				return
			}
		}
	}()
	nl := l.dial()
	defer nl.close()
	for range 300 {
		links, err := nl.links()
		l.must(err)
		for n := range 15 {
			if _, ok := linkByName(links, fmt.Sprintf("eth%d", n)); !ok {
				t.Fatalf("eth%d is not among %d links", n, len(links))
			}
		}
	}
	close(stop)
	l.must(<-done)
}
