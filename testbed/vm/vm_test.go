package main

import (
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// What the tools print, from a machine.
const (
	journalText = `{"__MONOTONIC_TIMESTAMP":"16720001","MESSAGE":"Starting eni0.service...","UNIT":"eni0.service","_PID":"1","_SYSTEMD_UNIT":"init.scope","_TRANSPORT":"journal"}
{"__MONOTONIC_TIMESTAMP":"16730000","MESSAGE":"eth0 is the primary ENI","_PID":"201","_SYSTEMD_UNIT":"eni0.service","_TRANSPORT":"stdout"}
{"__MONOTONIC_TIMESTAMP":"16740000","_SOURCE_MONOTONIC_TIMESTAMP":"16669000","MESSAGE":"virtio_net virtio1 eth0: renamed from eth1","SYSLOG_IDENTIFIER":"kernel","_TRANSPORT":"kernel"}
{"__MONOTONIC_TIMESTAMP":"16750000","MESSAGE":[27,91,48],"_PID":"9","_SYSTEMD_UNIT":"dbus.service","_TRANSPORT":"stdout"}
`
	unitsText = `ExecMainStartTimestampMonotonic=9763432
ExecMainExitTimestampMonotonic=13961903
Id=eni0.service
ActiveState=active
CPUUsageNSec=1500000000
InactiveExitTimestampMonotonic=9764759
ActiveEnterTimestampMonotonic=13969564

Id=systemd-networkd.service
ActiveState=active
InactiveExitTimestampMonotonic=21205308
ActiveEnterTimestampMonotonic=22000000
ExecMainExitTimestampMonotonic=0
`
	managedText = `  1 lo   loopback carrier  unmanaged
  2 eth1 ether    routable configured
  3 eth0 ether    routable configuring
`
	nmText = `eth1:ethernet:connected
eth0:ethernet:connected (externally)
lo:loopback:unmanaged
`
	depText = `kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/net/xen-netfront.ko.xz:
`
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args    string
		kernels string
		cases   int
		err     string // part of the one line, "" for none
	}{
		{"", "5.10 6.1 6.12 7", len(cases()), ""},
		{"-kernel 6.12 -case a,d2", "6.12", 2, ""},
		{"-v --case=i", "5.10 6.1 6.12 7", 1, ""},
		{"-kernel 4.19", "", 0, "want one of 5.10, 6.1, 6.12, 7"},
		{"-case a,z", "", 0, `no case "z": want some of a,b,c`},
		{"-case a b", "", 0, `unexpected argument "b"`},
		{"-x", "", 0, "not defined: -x"},
	} {
		o, err := parse(strings.Fields(c.args))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "\n") {
				t.Errorf("parse(%q) = %v, want one line with %q", c.args, err, c.err)
			}
			continue
		}
		if err != nil || strings.Join(o.kernels, " ") != c.kernels || len(o.cases) != c.cases {
			t.Errorf("parse(%q) = %+v, %v, want kernels %s, %d cases", c.args, o, err, c.kernels, c.cases)
		}
	}
}

func TestLacking(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	const want = "to boot virtual machines: apt-get install coreutils e2fsprogs kmod mmdebstrap qemu-system-arm qemu-system-x86 util-linux"
	if err := lacking(); err == nil || err.Error() != want {
		t.Errorf("lacking() = %v, want %q", err, want)
	}
}

func TestQEMU(t *testing.T) {
	b := &boot{Kernel: "/k", Initrd: "/i", Disk: "/d", Append: "quiet", Order: []int{1, 0}, Dir: "/logs"}
	nic := func(device string) string {
		return "virtio-net-pci,id=nic" + device + ",netdev=net" + device + ",mac=0a:ff:00:00:00:0" + map[string]string{"0": "1", "1": "2"}[device] + ",romfile="
	}
	got := strings.Join(b.qemu(), " ")
	for _, want := range []string{"qemu-system-x86_64 -cpu max", "-append console=ttyS0 no_timer_check quiet", "snapshot=on,file=/d", "user,id=net1,net=10.0.2.0/24,dhcpstart=10.0.2.10,ipv6=off", nic("1"), nic("0")} {
		if !strings.Contains(got, want) {
			t.Errorf("qemu() = %s, want %s in it", got, want)
		}
	}
	if strings.Index(got, nic("1")) > strings.Index(got, nic("0")) {
		t.Errorf("qemu() = %s, want the secondary first", got)
	}
	b.Late, b.Keep, b.IPv6 = true, true, true
	got = strings.Join(b.qemu(), " ")
	if strings.Contains(got, nic("0")) || !strings.Contains(got, "id=net0") || !strings.Contains(got, "snapshot=off") ||
		!strings.Contains(got, "ipv6-net=fd00:0:0:1::/64") {
		t.Errorf("qemu() = %s, want the network of the primary without its NIC, the disk kept, and IPv6", got)
	}
	const plug = `{"arguments":{"driver":"virtio-net-pci","id":"nic0","mac":"0a:ff:00:00:00:01","netdev":"net0","romfile":""},"execute":"device_add"}`
	if b.plug() != plug {
		t.Errorf("plug() = %s, want %s", b.plug(), plug)
	}
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		world, messages string
		right           bool
	}{
		{"the greeting", `{"QMP": {"version": {}}}`, true},
		{"done, after an event", `{"event": "RTC_CHANGE"} {"return": {}}`, true},
		{"refused", `{"error": {"desc": "no such bus"}}`, false},
		{"QEMU ended", ``, false},
	} {
		if err := answer(json.NewDecoder(strings.NewReader(c.messages))); (err == nil) != c.right {
			t.Errorf("%s: answer() = %v", c.world, err)
		}
	}
}

func TestInsmodOrder(t *testing.T) {
	const net, core, virtio = "kernel/drivers/net/", "kernel/net/core/", "kernel/drivers/virtio/"
	for _, c := range []struct {
		world   string
		builtin string
		names   []string
		want    []string
	}{
		{"all are modules", "", []string{"virtio", "virtio_net"},
			[]string{virtio + "virtio.ko", virtio + "virtio_ring.ko", core + "failover.ko", net + "net_failover.ko", net + "virtio_net.ko"}},
		{"one is built in", virtio + "virtio_pci.ko\n", []string{"virtio_pci", "xen_netfront"}, []string{net + "xen-netfront.ko.xz"}},
		{"one is unknown", "", []string{"ena"}, nil},
	} {
		got, err := insmodOrder(depText, c.builtin, c.names)
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%s: insmodOrder() = %q, %v, want %q", c.world, got, err, c.want)
		}
	}
}

func TestArchive(t *testing.T) {
	var a archive
	a.add("sbin", fs.ModeDir|0o755, nil)
	a.add("sbin/x", 0o755, []byte("12345"))
	a.add("init", fs.ModeSymlink|0o777, []byte("/sbin/x"))
	// cpio(5): ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
	want := "070701 00000001 000041ed 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000005 00000000" +
		"sbin\x00\x00" +
		"070701 00000002 000081ed 00000000 00000000 00000001 00000000 00000005 00000000 00000000 00000000 00000000 00000007 00000000" +
		"sbin/x\x00\x00\x00\x00" + "12345\x00\x00\x00" +
		"070701 00000003 0000a1ff 00000000 00000000 00000001 00000000 00000007 00000000 00000000 00000000 00000000 00000005 00000000" +
		"init\x00\x00" + "/sbin/x\x00" +
		"070701 00000004 00008000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 0000000b 00000000" +
		"TRAILER!!!\x00\x00\x00\x00"
	want = strings.ReplaceAll(want, " ", "")
	if got := string(a.bytes()); got != want {
		t.Errorf("archive =\n%q, want\n%q", got, want)
	}
}

// frame is an Ethernet frame with the head of a TCP segment.
func frame(flags byte, to string) []byte {
	f := make([]byte, 54)
	f[12], f[13], f[14], f[23], f[47] = 0x08, 0x00, 0x45, 6, flags
	copy(f[30:], netip.MustParseAddr(to).AsSlice())
	return f
}

// packet is a frame as it stands in a file.
func packet(frame []byte) []byte {
	head := make([]byte, 16)
	binary.NativeEndian.PutUint32(head[8:], uint32(len(frame)))
	return append(head, frame...)
}

func TestCountSyns(t *testing.T) {
	syn := packet(frame(0x02, "169.254.169.254"))
	long := frame(0x02, "169.254.169.254")
	long[14] = 0x4f // a head of 60 bytes, of which there are 40
	for _, c := range []struct {
		world   string
		packets [][]byte
		want    int
	}{
		{"nothing yet", nil, 0},
		{"two connections", [][]byte{syn, syn}, 2},
		{"the second is not written whole", [][]byte{syn, syn[:30]}, 1},
		{"an answer", [][]byte{packet(frame(0x12, "169.254.169.254"))}, 0},
		{"to somebody else", [][]byte{packet(frame(0x02, "10.0.1.2")), syn}, 1},
		{"no TCP", [][]byte{packet(make([]byte, 60)), packet(make([]byte, 20))}, 0},
		{"a head longer than the packet", [][]byte{packet(long)}, 0},
	} {
		file := slices.Concat(append([][]byte{make([]byte, 24)}, c.packets...)...)
		if got := countSyns(file, imdsAddr); got != c.want {
			t.Errorf("%s: countSyns() = %d, want %d", c.world, got, c.want)
		}
	}
}

func FuzzCountSyns(f *testing.F) {
	f.Add(slices.Concat(make([]byte, 24), packet(frame(0x02, "169.254.169.254"))))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		if n := countSyns(file, imdsAddr); n*(16+54) > len(file) {
			t.Errorf("countSyns() = %d in %d bytes", n, len(file))
		}
	})
}

func TestParseJournal(t *testing.T) {
	got, err := parseJournal("No entries\n" + journalText)
	want := []entry{
		{16720001 * time.Microsecond, "eni0.service", true, "Starting eni0.service..."},
		{16730 * time.Millisecond, "eni0.service", false, "eth0 is the primary ENI"},
		{16669 * time.Millisecond, "kernel", false, "virtio_net virtio1 eth0: renamed from eth1"},
		{16750 * time.Millisecond, "dbus.service", false, ""},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("parseJournal() = %v, %v, want %v", got, err, want)
	}
	if _, err := parseJournal(`{"MESSAGE`); err == nil {
		t.Error("parseJournal of half a line: no error")
	}
	s := &observation{journal: got}
	if r := s.renames(); len(r) != 1 || r[0] != want[2] {
		t.Errorf("renames() = %v, want %v", r, want[2])
	}
	if last := s.last("eni0.service"); last != want[1].text {
		t.Errorf("last() = %q, want %q", last, want[1].text)
	}
}

func TestParseUnits(t *testing.T) {
	want := map[string]unit{
		"eni0.service":             {"active", 9764759 * time.Microsecond, 13969564 * time.Microsecond, 9763432 * time.Microsecond, 13961903 * time.Microsecond, 1500 * time.Millisecond},
		"systemd-networkd.service": {"active", 21205308 * time.Microsecond, 22 * time.Second, 0, 0, 0},
	}
	if got := parseUnits(unitsText); !reflect.DeepEqual(got, want) {
		t.Errorf("parseUnits() = %v, want %v", got, want)
	}
}

func TestParseManaged(t *testing.T) {
	for _, c := range []struct {
		manager string
		parse   func(string) map[string]string
		text    string
		want    map[string]string
	}{
		{"networkd", parseManaged, managedText, map[string]string{"eth0": "configuring", "eth1": "configured"}},
		{"NetworkManager", parseNM, nmText, map[string]string{"eth0": "connected (externally)", "eth1": "connected"}},
		{"NetworkManager does not run", parseNM, "Error: NetworkManager is not running.\n", map[string]string{}},
		{"ifupdown", parseIfupdown, "lo=lo\neth0=eth0\n", map[string]string{"eth0": "up"}},
	} {
		if got := c.parse(c.text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.manager, got, c.want)
		}
	}
}

func TestConsole(t *testing.T) {
	const console = "SeaBIOS\r\n\x1b[2J\x1b[1;1H[\x1b[0;32m  OK  \x1b[0m] Started one.service.\r\n" +
		"\x1bM\r\x1b[K[\x1b[0;31m*\x1b[0m] Job two.service/start running (10s / 52s)\r\nlast\r\n"
	if got, want := clean(console), "[  OK  ] Started one.service.\nlast\n"; got != want {
		t.Errorf("clean() = %q, want %q", got, want)
	}
	if got := tail("a\nb\nc\n", 2); got != "b\nc" {
		t.Errorf("tail() = %q, want the last two lines", got)
	}
	if got := only("one\neni0 two\nthree\n", "eni0", "three"); got != "eni0 two\nthree\n" {
		t.Errorf("only() = %q, want the lines with a word", got)
	}
}

// A setup's layers have to be there, and what it masks may not be what it wants.
func TestSetups(t *testing.T) {
	disks := make(map[string]*setup)
	for _, c := range cases() {
		s := c.setup
		if was := disks[s.name]; was != nil && was != s {
			t.Errorf("two setups are called %s", s.name)
		}
		disks[s.name] = s
		for _, layer := range s.layers {
			if files, err := overlay.ReadDir("overlay/" + layer); err != nil || len(files) == 0 {
				t.Errorf("%s: layer %s: %v, %v", s.name, layer, files, err)
			}
		}
		for _, u := range s.units {
			if !slices.Contains(mayRun, u) || slices.Contains(s.idle(), u) || slices.Contains(masked, u) {
				t.Errorf("%s: %s is not among what may run, or does not", s.name, u)
			}
		}
		if !slices.Contains(s.units, s.manager.unit) {
			t.Errorf("%s: its manager %s does not run", s.name, s.manager.unit)
		}
	}
}

// The key of a root is its recipe: only what changes one may make it anew.
func TestRecipe(t *testing.T) {
	got := strings.Join(forky.recipe(), " ")
	for _, want := range []string{"mmdebstrap ", ",linux-image-cloud-amd64/trixie-backports ", "Valid-Until", " forky"} {
		if !strings.Contains(got, want) {
			t.Errorf("recipe() = %s, want %q in it", got, want)
		}
	}
	for _, p := range on(plain, trixie) {
		if systemds[p.suite] == "" || !slices.Contains(kernels, p.kernel) {
			t.Errorf("on() has %s with systemd %q and kernel %s", p.name, systemds[p.suite], p.kernel)
		}
	}
}

// What the root is made of has to be where the units say.
func TestOverlay(t *testing.T) {
	for path, from := range installed {
		if _, err := os.Stat(filepath.Join("../..", from)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	before := "ExecStartPre=+" + guestPath + " before\n"
	for name, want := range map[string]string{
		"vm-report.service":                      "ExecStart=" + guestPath + " report\n",
		"systemd-networkd.service.d/before.conf": before,
		"NetworkManager.service.d/before.conf":   before,
		"networking.service.d/before.conf":       before,
	} {
		unit, err := overlay.ReadFile("overlay/every/etc/systemd/system/" + name)
		if err != nil || !strings.Contains(string(unit), want) {
			t.Errorf("%s = %q, %v, want %q in it", name, unit, err, want)
		}
	}
}
