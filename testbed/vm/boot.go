package main

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"eni0/testbed/vm/guestreport"
)

// A boot is one start of a virtual machine: what it starts with, and what the world around it does.
type boot struct {
	Arch   string // of the machine, as Go calls it; "" for amd64
	Kernel string // the file
	Initrd string // the file
	Disk   string // the file with the root, "" for none
	Keep   bool   // what is written on the disk is for the next boot
	Append string // the kernel's command line
	Order  []int  // the device index of each NIC, in the order in which the kernel finds them
	Late   bool   // the last of them is plugged in some time after IMDS has named the primary
	IMDS   string // how it answers: atOnce, late, later, never
	Amazon bool   // the BIOS says that it is an instance of EC2
	IPv6   bool   // there are IPv6 routers too
	Long   bool   // it takes up to four times as long as another
	Dir    string // where the logs go
}

// How IMDS answers.
const (
	atOnce       = "at once"
	refusesFirst = "late"  // for some time nothing listens; then tokens are refused, then it answers
	later        = "later" // the same, for a longer time
	never        = "never" // nobody has its address
)

// An outcome is what came of a boot, seen from outside and from inside.
type outcome struct {
	Requests []request // to IMDS, in the order in which they came
	Plugged  bool      // the late NIC, some time after the others
	Asked    int       // how often the machine turned to IMDS before that listened
	Report   guestreport.Report
}

// A request is one to IMDS, and the status it was answered with.
type request struct {
	Method, Path string
	Status       int
}

// The files in a boot's folder: the first serial line, the second, and the socket of QEMU's
// monitor.
func (b *boot) console() string { return filepath.Join(b.Dir, "console") }
func (b *boot) report() string  { return filepath.Join(b.Dir, "report") }
func (b *boot) control() string { return filepath.Join(b.Dir, "qmp") }

// capture is the file with all that goes through a NIC.
func (b *boot) capture(device int) string {
	return filepath.Join(b.Dir, fmt.Sprintf("nic%d.pcap", device))
}

// mac is the address of the NIC with a device index, as package ec2 has it.
func mac(device int) string {
	return net.HardwareAddr{0x0a, 0xff, 0, 0, 0, byte(device + 1)}.String()
}

// address is the one that a NIC gets by DHCP, which is the metadata's.
func address(device int) string { return fmt.Sprintf("10.0.%d.10", device+1) }

// A machine is a kind of computer that QEMU knows.
type machine struct {
	program string
	options string
	append  string // the kernel's: its name of the first serial line, and what the emulation needs
	report  string // the device that is the second serial line
}

// machines are by architecture. A virtual arm64 has one serial line, so that the second is on a
// card. There pointers are signed in an easier way than the processor's own, which would take half
// of the time. An amd64 kernel would count the ticks of its timer in a busy loop and panic ("IO-APIC +
// timer doesn't work!") where this machine is too busy to deliver them: no_timer_check of the
// kernel's admin-guide/kernel-parameters.rst.
var machines = map[string]machine{
	"": {"qemu-system-x86_64", "-cpu max", "console=ttyS0 no_timer_check", "isa-serial,index=1"},
	"arm64": {"qemu-system-aarch64", "-M virt -cpu max,pauth-impdef=on", "console=ttyAMA0",
		"pci-serial"},
}

// qemu is the command line of the machine. It is emulated, not virtualized: /dev/kvm is there in
// few places that run checks, and does not always work where it is. QEMU's user network answers
// DHCP and is the router, x.2. The kernel finds the NICs in the order in which they stand here.
func (b *boot) qemu() []string {
	m := machines[b.Arch]
	args := append([]string{m.program}, strings.Fields(m.options)...)
	args = append(args, strings.Fields("-accel tcg,thread=multi -smp 1 -m 768 -nodefaults -no-user-config -display none -no-reboot")...)
	args = append(args, "-kernel", b.Kernel, "-initrd", b.Initrd, "-append", m.append+" "+b.Append,
		"-serial", "file:"+b.console(), "-chardev", "file,id=report,path="+b.report(), "-device", m.report+",chardev=report",
		"-qmp", "unix:"+b.control()+",server=on,wait=off")
	if b.Amazon {
		// cloud-init's ds-identify looks for the maker, and for a serial number that begins with
		// ec2.
		const serial = "ec2e1916-9099-7caf-fd21-012345abcdef"
		args = append(args, "-smbios", "type=1,manufacturer=Amazon EC2,product=m5.large,uuid="+serial+",serial="+serial)
	}
	if b.Disk != "" {
		snapshot := map[bool]string{true: "off", false: "on"}[b.Keep]
		args = append(args, "-drive", "if=virtio,format=raw,cache=unsafe,snapshot="+snapshot+",file="+b.Disk)
	}
	for at, device := range b.Order {
		args = append(args, "-netdev", b.network(device), "-object", fmt.Sprintf("filter-dump,id=dump%d,netdev=net%d,file=%s", device, device, b.capture(device)))
		if b.Late && at == len(b.Order)-1 {
			continue
		}
		var nic []string
		for _, o := range nicOptions(device) {
			nic = append(nic, o[0]+"="+o[1])
		}
		args = append(args, "-device", "virtio-net-pci,"+strings.Join(nic, ","))
	}
	return args
}

// network is QEMU's option for the network of a NIC: with DHCP, and with router advertisements or
// without.
func (b *boot) network(device int) string {
	v6 := "ipv6=off"
	if b.IPv6 {
		v6 = fmt.Sprintf("ipv6-net=fd00:0:0:%d::/64", device+1)
	}
	return fmt.Sprintf("user,id=net%d,net=10.0.%d.0/24,dhcpstart=%s,%s", device, device+1, address(device), v6)
}

// nicOptions are those of one NIC: without a boot ROM, for nothing is booted from it.
func nicOptions(device int) [][2]string {
	at := strconv.Itoa(device)
	return [][2]string{{"id", "nic" + at}, {"netdev", "net" + at}, {"mac", mac(device)}, {"romfile", ""}}
}

// plug is the command that plugs in the late NIC, in the words of QEMU's machine protocol.
func (b *boot) plug() string {
	arguments := map[string]string{"driver": "virtio-net-pci"}
	for _, o := range nicOptions(b.Order[len(b.Order)-1]) {
		arguments[o[0]] = o[1]
	}
	command, _ := json.Marshal(map[string]any{"execute": "device_add", "arguments": arguments}) // strings only
	return string(command)
}
