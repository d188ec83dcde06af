package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A pinCase is files beside a primary ENI called eth1 and a secondary called eth0, at the PCI addresses
// 0000:00:05.0 and 0000:00:06.0, which are to be eth0 and eth1. A third, ens7, is left alone.
type pinCase struct {
	world string
	files string // "== PATH", then its text; MAC1, MAC2, MAC3 are the ENIs', MACX is another machine's
	want  string // "PATH:LINE the name that it gives to index", one a line
}

// pinLinks are the links of a pinCase.
func pinLinks() []link {
	links := enis("eth1 eth0 ens7")
	for i := range links {
		links[i].perm = links[i].addr
		links[i].path = fmt.Sprintf("pci-0000:00:0%d.0", i+5)
	}
	return append(links, link{index: 9, name: "eth1.10", kind: "vlan", addr: eniAddr(2), lower: 2, ethernet: true})
}

// pinNames are the names of a pinCase.
func pinNames() map[int32]string { return map[int32]string{2: "eth0", 3: "eth1"} }

// pinFiles are files as a pinCase has them.
func pinFiles(text string) []configFile {
	for name, with := range map[string]string{
		"MAC1": eniAddr(2).String(), "MAC2": eniAddr(3).String(), "MAC3": eniAddr(4).String(), "MACX": "06:00:00:00:00:99",
	} {
		text = strings.ReplaceAll(text, name, with)
	}
	var files []configFile
	for _, part := range strings.Split("\n"+text, "\n== ")[1:] {
		path, body, _ := strings.Cut(part, "\n")
		if body != "" {
			body += "\n"
		}
		files = append(files, configFile{path, []byte(body)})
	}
	return files
}

// pinTexts are pins as a pinCase has them.
func pinTexts(pins []pin) string {
	var out []string
	for _, p := range pins {
		text := fmt.Sprintf("%s:%d %s to %d", p.file, p.line, p.name, p.link.index)
		if p.sure == answerMaybe {
			text += " maybe"
		}
		out = append(out, text)
	}
	return strings.Join(out, "\n")
}

var networkPins = []pinCase{
	{"no files", "", ""},
	{"files by name", `
== /etc/systemd/network/eth0.network
[Match]
Name=eth0
== /etc/systemd/network/eth1.network
[Match]
Name=eth1`, ""},
	{"files by address", `
== /etc/systemd/network/a.network
[Match]
MACAddress=MAC1
== /etc/systemd/network/b.network
[Match]
MACAddress=MAC2`, ""},
	{"cloud-init has both, of a boot with wrong names", `
== /etc/systemd/network/10-cloud-init-eth0.network
[Match]
MACAddress=MAC2
Name=eth0

[Network]
DHCP=ipv4
== /etc/systemd/network/10-cloud-init-eth1.network
[Match]
MACAddress=MAC1
Name=eth1`, `
/etc/systemd/network/10-cloud-init-eth0.network:3 eth0 to 3
/etc/systemd/network/10-cloud-init-eth1.network:3 eth1 to 2`},
	{"the same, of a boot with right names", `
== /etc/systemd/network/10-cloud-init-eth0.network
[Match]
MACAddress=MAC1
Name=eth0
== /etc/systemd/network/10-cloud-init-eth1.network
[Match]
MACAddress=MAC2
Name=eth1`, ""},
	{"the same, of the machine that this one was cloned from", `
== /etc/systemd/network/10-cloud-init-eth0.network
[Match]
MACAddress=MACX
Name=eth1`, ""},
	{"netplan, of a boot with wrong names", `
== /run/systemd/network/10-netplan-eth0.link
[Match]
PermanentMACAddress=MAC2

[Link]
Name=eth0
WakeOnLan=off
== /run/systemd/network/10-netplan-eth0.network
[Match]
PermanentMACAddress=MAC2
Name=eth0
== /run/systemd/network/10-netplan-eth1.link
[Match]
PermanentMACAddress=MAC1

[Link]
Name=eth1
WakeOnLan=off
== /run/systemd/network/10-netplan-eth1.network
[Match]
PermanentMACAddress=MAC1
Name=eth1`, `
/run/systemd/network/10-netplan-eth0.link:5 eth0 to 3
/run/systemd/network/10-netplan-eth0.network:3 eth0 to 3
/run/systemd/network/10-netplan-eth1.link:5 eth1 to 2
/run/systemd/network/10-netplan-eth1.network:3 eth1 to 2`},
	{"an ENI that is not to be renamed", `
== /etc/systemd/network/c.network
[Match]
MACAddress=MAC3
Name=eth7`, ""},
	{"by path", `
== /etc/systemd/network/a.network
[Match]
Path=pci-0000:00:05.*
Name=eth1`, "/etc/systemd/network/a.network:3 eth1 to 2"},
	{"a path that any ENI has is none", `
== /etc/systemd/network/a.network
[Match]
Path=pci-*
Name=eth7`, ""},
	{"two addresses, two names", `
== /etc/systemd/network/a.network
[Match]
MACAddress=MAC1 MAC2
Name=eth0 eth1`, ""},
	{"two keys are one list, an empty one starts anew", `
== /etc/systemd/network/a.network
[Match]
MACAddress=MACX
MACAddress=MAC1
Name=eth0
Name=
Name=eth1`, "/etc/systemd/network/a.network:6 eth1 to 2"},
	{"a name that is not to be", `
== /etc/systemd/network/a.network
[Match]
MACAddress=MAC1
Name=!eth0 lo`, "/etc/systemd/network/a.network:3 !eth0 !lo to 2"},
	{"! negates the whole list", `
== /etc/systemd/network/a.network
[Match]
MACAddress=MAC1
Name=!lo eth1`, ""},
	{"globs", `
== /etc/systemd/network/a.network
[Match]
MACAddress=MAC1
Name=eth[1-9] en*
== /etc/systemd/network/b.network
[Match]
MACAddress=MAC2
Name=eth?`, "/etc/systemd/network/a.network:3 eth[1-9] en* to 2"},
	{"another file is for the new name", `
== /etc/systemd/network/10-a.network
[Match]
MACAddress=MAC1
Name=eth1
== /etc/systemd/network/99-all.network
[Match]
Name=eth*`, ""},
	{"another file may be for the new name", `
== /etc/systemd/network/10-a.network
[Match]
MACAddress=MAC1
Name=eth1
== /etc/systemd/network/99-all.network
[Match]
Name=eth*
Driver=ena`, "/etc/systemd/network/10-a.network:3 eth1 to 2"},
	{"another file leaves links of the new name alone", `
== /etc/systemd/network/10-a.network
[Match]
MACAddress=MAC1
Name=eth1
== /etc/systemd/network/20-eth0.network
[Match]
Name=eth0
[Link]
Unmanaged=yes
== /etc/systemd/network/99-all.network
[Match]
Name=*`, "/etc/systemd/network/10-a.network:3 eth1 to 2"},
	{"a condition that can't be tested", `
== /etc/systemd/network/a.network
[Match]
MACAddress=MAC1
Host=web*
Name=eth1`, "/etc/systemd/network/a.network:4 eth1 to 2 maybe"},
	{"a condition that no ENI meets", `
== /etc/systemd/network/a.network
[Match]
MACAddress=MAC1
Type=wlan
Name=eth1
== /etc/systemd/network/b.network
[Match]
MACAddress=MAC1
Kind=vlan
Name=eth1
== /etc/systemd/network/c.network
[Match]
MACAddress=MAC1
SSID=home
Name=eth1`, ""},
	{"/etc hides /run", `
== /run/systemd/network/a.network
[Match]
MACAddress=MAC1
Name=eth1
== /etc/systemd/network/a.network
[Match]
MACAddress=MAC1`, ""},
	{"an empty file masks", `
== /usr/lib/systemd/network/a.network
[Match]
MACAddress=MAC1
Name=eth1
== /etc/systemd/network/a.network`, ""},
	{"a masked file rescues nobody", `
== /etc/systemd/network/10-a.network
[Match]
MACAddress=MAC1
Name=eth1
== /usr/lib/systemd/network/99-all.network
[Match]
Name=*
== /run/systemd/network/99-all.network`, "/etc/systemd/network/10-a.network:3 eth1 to 2"},
	{"a drop-in gives the device", `
== /run/systemd/network/70-eth1.network
[Match]
Name=eth1
== /run/systemd/network/70-eth1.network.d/eni.conf
[Match]
MACAddress=MAC1
== /etc/systemd/network/70-eth2.network.d/eni.conf
[Match]
Name=eth2`, "/run/systemd/network/70-eth1.network:2 eth1 to 2"},
	{"a drop-in in /etc takes the name back", `
== /usr/lib/systemd/network/a.network
[Match]
MACAddress=MAC1
Name=eth1
== /run/systemd/network/a.network.d/x.conf
[Match]
Name=eth1
== /etc/systemd/network/a.network.d/x.conf
[Match]
Name=`, ""},
	{"comments, continuations, blanks", `
== /etc/systemd/network/a.network
# made by hand
[Match]
 MACAddress = \
; between
  MAC1
#Name=eth0
Name = eth1 \

[Network]
Name=eth0`, "/etc/systemd/network/a.network:8 eth1 to 2"},
	{"addresses with dashes, dots and capitals", `
== /etc/systemd/network/a.network
[Match]
MACAddress=nonsense 0A-FF-00-00-00-02
Name=eth1
== /etc/systemd/network/b.network
[Match]
PermanentMACAddress=0AFF.0000.0003
Name=eth0`, `
/etc/systemd/network/a.network:3 eth1 to 2
/etc/systemd/network/b.network:3 eth0 to 3`},
	{"an address that is none is no condition", `
== /etc/systemd/network/a.network
[Match]
MACAddress=nonsense
Name=eth1`, ""},
	{"no section, a broken header, other folders, other suffixes", `
== /etc/systemd/network/a.network
MACAddress=MAC1
Name=eth1
== /etc/systemd/network/b.network
[Match
MACAddress=MAC1
Name=eth1
== /etc/systemd/network/c.network~
[Match]
MACAddress=MAC1
Name=eth1
== /etc/systemd/c.network
[Match]
MACAddress=MAC1
Name=eth1
== /etc/systemd/network/b.network.d/c.network
[Match]
MACAddress=MAC1
Name=eth1
== /etc/network/interfaces
auto eth1
iface eth1 inet dhcp
    hwaddress MAC1`, ""},
}

var linkPins = []pinCase{
	{"a .link by address", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
[Link]
Name=eth1`, "/etc/systemd/network/10-a.link:4 eth1 to 2"},
	{"a .link with the right name", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
[Link]
Name=eth0`, ""},
	{"a .link without a name is the first", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
[Link]
WakeOnLan=off
== /etc/systemd/network/20-a.link
[Match]
MACAddress=MAC1
[Link]
Name=eth1`, ""},
	{"a .link that may fit is the first", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
Driver=ena
[Link]
MTUBytes=9001
== /etc/systemd/network/20-a.link
[Match]
MACAddress=MAC1
[Link]
Name=eth1`, "/etc/systemd/network/20-a.link:4 eth1 to 2"},
	{"any link, by its first name, is not for a device", `
== /etc/systemd/network/10-a.link
[Match]
OriginalName=eth1
[Link]
Name=lan0`, ""},
	{"the default of systemd comes after", `
== /usr/lib/systemd/network/99-default.link
[Match]
OriginalName=*
[Link]
NamePolicy=keep kernel database onboard slot path
AlternativeNamesPolicy=database onboard slot path
MACAddressPolicy=persistent
== /etc/systemd/network/99-z.link
[Match]
MACAddress=MAC1
[Link]
Name=eth1`, ""},
	{"a .link by path, with a policy", `
== /etc/systemd/network/10-a.link
[Match]
Path=pci-0000:00:06.0
[Link]
NamePolicy=keep
Name=eth0`, "/etc/systemd/network/10-a.link:5 eth0 to 3"},
	{"a name that no link can have", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
[Link]
Name=a/b`, ""},
	{"a rule before has given the right name", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
[Link]
Name=eth1
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="eth0"`, ""},
	{"a rule after gives the right name", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
[Link]
Name=eth1
== /run/udev/rules.d/99-a.rules
SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="MAC1", NAME="eth0"`, ""},
	{"the rule for .link files is masked", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
[Link]
Name=eth1
== /etc/udev/rules.d/80-net-setup-link.rules`, ""},
	{"the rule for .link files as systemd has it", `
== /etc/systemd/network/10-a.link
[Match]
MACAddress=MAC1
[Link]
Name=eth1
== /usr/lib/udev/rules.d/80-net-setup-link.rules
SUBSYSTEM!="net", GOTO="net_setup_link_end"
IMPORT{builtin}="path_id"
ACTION=="remove", GOTO="net_setup_link_end"
IMPORT{builtin}="net_setup_link"
NAME=="", ENV{ID_NET_NAME}!="", NAME="$env{ID_NET_NAME}"
LABEL="net_setup_link_end"`, "/etc/systemd/network/10-a.link:4 eth1 to 2"},
}

var rulePins = []pinCase{
	{"ifupdown and cloud-init, of a boot with wrong names", `
== /etc/udev/rules.d/70-persistent-net.rules
# This file was automatically generated
SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="MAC1", NAME="eth1"
SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="MAC2", NAME="eth0"
== /etc/network/interfaces
auto eth0
iface eth0 inet dhcp
    metric 200`, `
/etc/udev/rules.d/70-persistent-net.rules:2 eth1 to 2
/etc/udev/rules.d/70-persistent-net.rules:3 eth0 to 3`},
	{"the same, of a boot with right names", `
== /etc/udev/rules.d/70-persistent-net.rules
SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="MAC1", NAME="eth0"
SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="MAC2", NAME="eth1"`, ""},
	{"of the machine that this one was cloned from", `
== /etc/udev/rules.d/70-persistent-net.rules
SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="MACX", ATTR{dev_id}=="0x0", ATTR{type}=="1", KERNEL=="eth*", NAME="eth1"`, ""},
	{"the classic form, with a continuation", `
== /etc/udev/rules.d/70-persistent-net.rules
# PCI device 0x1d0f:0xec20 (ena)
SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", \
	ATTR{address}=="MAC1", ATTR{dev_id}=="0x0", \
	ATTR{type}=="1", KERNEL=="eth*", NAME="eth1"`, "/etc/udev/rules.d/70-persistent-net.rules:4 eth1 to 2"},
	{"other keys that tie", `
== /etc/udev/rules.d/70-a.rules
ACTION=="add", SUBSYSTEM=="net", KERNELS=="0000:00:05.0", SUBSYSTEMS=="pci", NAME="eth1"
ACTION=="add", SUBSYSTEM=="net", ENV{ID_PATH}=="pci-0000:00:06.*", NAME:="eth0"
ACTION=="add", SUBSYSTEM=="net", NAME="eth1"`, `
/etc/udev/rules.d/70-a.rules:2 eth0 to 3`},
	{"by what the device or its parents have", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTRS{address}=="MAC1", NAME="eth1"
SUBSYSTEM=="net", ATTRS{address}=="MAC2", DRIVERS=="ena", NAME="eth0"
SUBSYSTEM=="net", DRIVERS=="ena|ixgbevf", ATTR{address}=="MAC2", NAME="eth5"`, `
/etc/udev/rules.d/70-a.rules:1 eth1 to 2
/etc/udev/rules.d/70-a.rules:3 eth5 to 3 maybe`},
	{"all conditions for parents have to be met by one", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", KERNELS=="0000:00:05.0", SUBSYSTEMS=="net", NAME="eth1"`, ""},
	{"a path in sysfs", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", DEVPATH=="/devices/pci*/0000:00:05.0/net/*", NAME="eth1"`, "/etc/udev/rules.d/70-a.rules:1 eth1 to 2 maybe"},
	{"the last counts", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="eth1"
== /run/udev/rules.d/75-b.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="eth0"`, ""},
	{"the last may not count", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="eth1"
== /run/udev/rules.d/75-b.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", PROGRAM="/bin/decide", NAME="eth0"`, "/etc/udev/rules.d/70-a.rules:1 eth1 to 2"},
	{"the last may count", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="eth0"
== /run/udev/rules.d/75-b.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", TEST=="/etc/here", NAME="eth1"`, "/run/udev/rules.d/75-b.rules:1 eth1 to 2 maybe"},
	{"a final one counts", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME:="eth1"
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="eth0"`, "/etc/udev/rules.d/70-a.rules:1 eth1 to 2"},
	{"names that are none", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="%k"
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="eth%n"
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME=""
SUBSYSTEM=="net", ATTR{address}=="MAC2", NAME="12345"`, ""},
	{"a name with what no name can have", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME="net/card"`, "/etc/udev/rules.d/70-a.rules:1 net_card to 2"},
	{"a name that a rule has noted before", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}=="MAC1", ENV{MY_NAME}="eth1"
SUBSYSTEM=="net", ENV{MY_NAME}=="?*", NAME="$env{MY_NAME}"`, "/etc/udev/rules.d/70-a.rules:2 eth1 to 2"},
	{"jumps", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM!="net", GOTO="end"
ACTION!="add", GOTO="end"
ATTR{address}!="MAC1", GOTO="next"
NAME="eth1"
LABEL="next"
ATTR{address}=="MAC2", GOTO="end"
ATTR{address}=="MAC2", NAME="eth0"
LABEL="end"
ATTR{address}=="MAC2", GOTO="nowhere", NAME="eth1"`, "/etc/udev/rules.d/70-a.rules:4 eth1 to 2"},
	{"a jump that may be", `
== /etc/udev/rules.d/70-a.rules
IMPORT{cmdline}="pin", GOTO="end"
ATTR{address}=="MAC1", NAME="eth1"
LABEL="end"`, "/etc/udev/rules.d/70-a.rules:2 eth1 to 2 maybe"},
	{"other devices, other events", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="block", ATTR{address}=="MAC1", NAME="eth1"
SUBSYSTEM=="net", ACTION=="remove|move", ATTR{address}=="MAC1", NAME="eth1"
SUBSYSTEM=="net", ATTR{type}=="32", ATTR{address}=="MAC1", NAME="eth1"
SUBSYSTEM=="net", KERNEL=="wlan*", ATTR{address}=="MAC1", NAME="eth1"
SUBSYSTEM=="net", ENV{DEVTYPE}=="vlan", ATTR{address}=="MAC1", NAME="eth1"`, ""},
	{"rules for no certain device", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", KERNEL=="eth0", NAME="lan0"
SUBSYSTEM=="net", KERNELS=="?*", NAME="lan%n"`, ""},
	{"rules that udev does not take", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", SYSFS{address}=="MAC1", NAME="eth1"
SUBSYSTEM=="net", ATTR{address}=="MAC1", NAME=eth1
SUBSYSTEM="net", ATTR{address}=="MAC1", NAME="eth1"
SUBSYSTEM=="net", ATTR{address}=="MAC1, NAME="eth1"
SUBSYSTEM=="net", ATTR{address}=="0A:FF:00:00:00:02", NAME="eth1"`, ""},
	{"upper and lower case are the same", `
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", ATTR{address}==i"0A:FF:00:00:00:02", NAME="eth1"`, "/etc/udev/rules.d/70-a.rules:1 eth1 to 2"},
	{"/etc hides /usr/lib and /lib", `
== /usr/lib/udev/rules.d/70-a.rules
ATTR{address}=="MAC1", NAME="eth1"
== /lib/udev/rules.d/70-a.rules
ATTR{address}=="MAC1", NAME="eth1"
== /etc/udev/rules.d/70-a.rules`, ""},
}

var profilePinCases = []pinCase{
	{"a keyfile with both", `
== /etc/NetworkManager/system-connections/eth1.nmconnection
[connection]
id=eth1
type=ethernet
interface-name=eth1
[ethernet]
mac-address=0A:FF:00:00:00:02`, "/etc/NetworkManager/system-connections/eth1.nmconnection:4 eth1 to 2"},
	{"a keyfile by name, one by address", `
== /etc/NetworkManager/system-connections/eth1.nmconnection
[connection]
type=ethernet
interface-name=eth1
== /etc/NetworkManager/system-connections/a
[connection]
type=802-3-ethernet
[802-3-ethernet]
mac-address=MAC2`, ""},
	{"the older names, and a name by pattern", `
== /etc/NetworkManager/system-connections/eth1
[connection]
type=802-3-ethernet
[802-3-ethernet]
mac-address=MAC1
[match]
interface-name=eth[1-9];en*;`, "/etc/NetworkManager/system-connections/eth1:6 eth[1-9];en* to 2"},
	{"by path", `
== /etc/NetworkManager/system-connections/eth1
[connection]
type=ethernet
interface-name=eth1
[match]
path=pci-0000:00:05.0;`, "/etc/NetworkManager/system-connections/eth1:3 eth1 to 2"},
	{"another keyfile is for the new name", `
== /etc/NetworkManager/system-connections/a.nmconnection
[connection]
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
== /run/NetworkManager/system-connections/b.nmconnection
[connection]
type=ethernet
interface-name=eth0`, ""},
	{"another keyfile is for the new name, on demand", `
== /etc/NetworkManager/system-connections/a.nmconnection
[connection]
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
== /run/NetworkManager/system-connections/b.nmconnection
[connection]
type=ethernet
autoconnect=false
interface-name=eth0`, "/etc/NetworkManager/system-connections/a.nmconnection:3 eth1 to 2"},
	{"a keyfile in /run hides one of its UUID", `
== /etc/NetworkManager/system-connections/a.nmconnection
[connection]
uuid=11111111-1111-1111-1111-111111111111
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
== /run/NetworkManager/system-connections/b.nmconnection
[connection]
uuid=11111111-1111-1111-1111-111111111111
type=ethernet
[ethernet]
mac-address=MAC1`, ""},
	{"a tombstone hides a keyfile", `
== /usr/lib/NetworkManager/system-connections/a.nmconnection
[connection]
uuid=11111111-1111-1111-1111-111111111111
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
== /etc/NetworkManager/system-connections/11111111-1111-1111-1111-111111111111.nmmeta`, ""},
	{"files that NetworkManager passes over, and other types", `
== /etc/NetworkManager/system-connections/.a.nmconnection
[connection]
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
== /etc/NetworkManager/system-connections/a.nmconnection~
[connection]
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
== /etc/NetworkManager/system-connections/a.nmconnection.AB12cd
[connection]
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
== /run/NetworkManager/system-connections/a
[connection]
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
== /etc/NetworkManager/system-connections/b
[connection]
type=bridge
interface-name=eth1
[ethernet]
mac-address=MAC1
== /etc/NetworkManager/system-connections/c
[connection]
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1
mac-address-denylist=MAC1
== /etc/NetworkManager/system-connections/d
what is this
[connection]
type=ethernet
interface-name=eth1
[ethernet]
mac-address=MAC1`, ""},
	{"an ifcfg file with both", `
== /etc/sysconfig/network-scripts/ifcfg-eth1
# made by anaconda
DEVICE="eth1" # the second
HWADDR='0A:FF:00:00:00:02'
ONBOOT=yes`, "/etc/sysconfig/network-scripts/ifcfg-eth1:2 eth1 to 2"},
	{"ifcfg files that agree, or have one", `
== /etc/sysconfig/network-scripts/ifcfg-eth0
DEVICE=eth0
HWADDR=MAC1
== /etc/sysconfig/network-scripts/ifcfg-eth1
DEVICE=eth1
== /etc/sysconfig/network-scripts/ifcfg-a
HWADDR=MAC2`, ""},
	{"ifcfg files that are passed over", `
== /etc/sysconfig/network-scripts/ifcfg-eth1.bak
DEVICE=eth1
HWADDR=MAC1
== /etc/sysconfig/network-scripts/ifcfg-eth1.rpmsave
DEVICE=eth1
HWADDR=MAC1
== /etc/sysconfig/network-scripts/ifcfg-eth1:0
DEVICE=eth1
HWADDR=MAC1
== /etc/sysconfig/network-scripts/ifcfg-br1
DEVICE=eth1
TYPE=Bridge
HWADDR=MAC1
== /etc/sysconfig/network-scripts/ifcfg-x
DEVICE=$X
HWADDR=MAC1`, ""},
}

func TestFindPins(t *testing.T) {
	for _, table := range [][]pinCase{networkPins, linkPins, rulePins, profilePinCases} {
		for _, row := range table {
			t.Run(row.world, func(t *testing.T) {
				got := pinTexts(findPins(pinFiles(row.files), pinLinks(), pinNames()))
				if want := strings.TrimSpace(row.want); got != want {
					t.Errorf("findPins() =\n%s, want\n%s", got, want)
				}
			})
		}
	}
}

// Without a path, of a virtio device or before Linux 5.14, a file by path may be for any ENI.
func TestFindPinsWithoutPath(t *testing.T) {
	links := pinLinks()
	for i := range links {
		links[i].path = ""
	}
	files := pinFiles(`
== /etc/systemd/network/a.network
[Match]
Path=pci-0000:00:05.0
Name=eth0
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", KERNELS=="0000:00:05.0", NAME="eth0"`)
	want := "/etc/systemd/network/a.network:3 eth0 to 3 maybe\n/etc/udev/rules.d/70-a.rules:1 eth0 to 3 maybe"
	if got := pinTexts(findPins(files, links, pinNames())); got != want {
		t.Errorf("findPins() =\n%s, want\n%s", got, want)
	}
}

// A bond gives its ports one address: files by the present address are for both, files by the
// permanent one for one.
func TestFindPinsOfBondPorts(t *testing.T) {
	links := pinLinks()
	links[0].addr = links[1].addr
	files := pinFiles(`
== /etc/systemd/network/a.network
[Match]
PermanentMACAddress=MAC1
Name=eth1
== /etc/systemd/network/b.network
[Match]
MACAddress=MAC1
Name=eth1`)
	want := "/etc/systemd/network/a.network:3 eth1 to 2"
	if got := pinTexts(findPins(files, links, pinNames())); got != want {
		t.Errorf("findPins() =\n%s, want\n%s", got, want)
	}
}

func TestPinString(t *testing.T) {
	p := pin{filePlace{"/run/systemd/network/10-netplan-eth1.network", 3, "Name= in [Match]"}, pinLinks()[0], "eth1", "eth0", answerYes}
	want := "/run/systemd/network/10-netplan-eth1.network, line 3, ties the ENI 0a:ff:00:00:00:02 to the name eth1, " +
		"and it is to be called eth0: change Name= in [Match] there (by set-name in the YAML file that netplan makes it from)"
	if p.String() != want {
		t.Errorf("String() = %q, want %q", p, want)
	}
	p.sure, p.name, p.file = answerMaybe, "e\x1bth1", "/etc/a\n.network"
	if s := p.String(); !strings.Contains(s, `"/etc/a\n.network", line 3, may tie the ENI 0a:ff:00:00:00:02 to the name "e\x1bth1"`) {
		t.Errorf("String() = %q", s)
	}
}

func TestGlobFits(t *testing.T) {
	for _, row := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "eth0", true}, {"?", "", false},
		{"eth?", "eth0", true}, {"eth?", "eth10", false}, {"eth*", "eth10", true}, {"*th*0", "eth10", true},
		{"e[a-z]h[0-9]", "eth7", true}, {"eth[!0-4]", "eth7", true}, {"eth[^0-4]", "eth3", false},
		{"eth[]0]", "eth]", true}, {"eth[0", "eth[0", true}, {"eth[0", "eth0", false}, {"eth[0-", "eth0", false},
		{"eth[[:digit:]]", "eth7", true}, {"eth[[:digit:]]", "ethx", false}, {"[[:what:]]", "w]", true},
		{`eth\*`, "eth*", true}, {`eth\*`, "eth0", false}, {`eth\`, `eth\`, true}, {`[\]]`, "]", true},
		{"pci-*:05.0", "pci-0000:00:05.0", true}, {"*a*b", "aabab", true}, {"*a*b", "aaba", false},
	} {
		if got := globFits(row.pattern, row.s); got != row.want {
			t.Errorf("globFits(%q, %q) = %v, want %v", row.pattern, row.s, got, row.want)
		}
	}
}

// What is odd or large pins nothing, and takes no time to speak of.
func TestFindPinsOddTexts(t *testing.T) {
	const size = 1 << 18
	var properties strings.Builder
	for i := 0; properties.Len() < size; i++ {
		fmt.Fprintf(&properties, "PROGRAM=\"a\", ENV{a%d}=\"b\", NAME:=\"$env{a%d}\"\nNAME=\"eth0\"\n", i, i)
	}
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)) }
	match := "[Match]\nMACAddress=" + eniAddr(2).String() + "\nName="
	rule := `ATTR{address}=="` + eniAddr(2).String() + `", KERNELS=="`
	paths := []string{"/etc/systemd/network/a.network", "/etc/systemd/network/a.network.d/a.conf", "/etc/systemd/network/a.link",
		"/etc/udev/rules.d/a.rules", "/etc/NetworkManager/system-connections/a", "/etc/sysconfig/network-scripts/ifcfg-a"}
	for _, text := range []string{
		"", properties.String(), "\x00", repeat("\x00"), repeat("\n"), repeat("\\\n"), repeat("["), repeat("[]\n"), repeat("a=b\n"), repeat("= \\\n"),
		repeat(`GOTO="a"` + "\n"), repeat(`GOTO="a", LABEL="b"`+"\n") + `LABEL="a"`, repeat(`LABEL="a"` + "\n"), repeat(`"`), repeat(`a="`),
		repeat(`ENV{a}="$env{b}", NAME="$env{a}"` + "\n"), repeat(`PROGRAM="a", NAME="eth0"` + "\n"),
		repeat("\xff\xfe"), repeat("#"), repeat("'"), repeat(`DEVICE="`), repeat("mac-address=" + eniAddr(2).String()),
		match + repeat("*a") + "b", match + "*" + repeat("["), match + "[" + repeat("[:"), match + repeat("eth? "),
		rule + repeat("*a") + `b", NAME="eth1"`, rule + repeat("|"), "[Match]\nMACAddress=" + repeat("0:"), "[Match]\n" + repeat("Host=\n"),
		"[connection]\ntype=ethernet\n[match]\npath=" + repeat("*a;"),
	} {
		var files []configFile
		for _, path := range paths {
			files = append(files, configFile{path, []byte(text)})
		}
		pins := findPins(files, pinLinks(), pinNames()) // which ends: matching that is exponential would not
		if len(pins) > 0 && !strings.HasPrefix(text, match) {
			t.Errorf("findPins(%.40q...) = %.200v, want none", text, pins)
		}
	}
}

// Whatever the files say: they are found in any order, and files that are not for an ENI here add
// nothing.
func FuzzFindPins(f *testing.F) {
	for _, table := range [][]pinCase{networkPins, linkPins, rulePins, profilePinCases} {
		for _, row := range table {
			files := pinFiles(row.files)
			for len(files) < 3 {
				files = append(files, configFile{path: "/etc/none"})
			}
			f.Add(files[0].path, files[0].text, files[1].path, files[1].text, files[2].path, files[2].text)
		}
	}
	others := pinFiles(`
== /etc/systemd/network/zz-other.network
[Match]
MACAddress=MACX
Name=eth0
== /etc/systemd/network/zz-empty.network
== /etc/systemd/network/zz-other.link
[Match]
MACAddress=MACX
[Link]
Name=eth0
== /etc/udev/rules.d/zz-other.rules
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="MACX", NAME="eth0"
== /etc/udev/rules.d/zz-empty.rules
== /etc/sysconfig/network-scripts/ifcfg-zz-other
DEVICE=eth0
HWADDR=MACX
== /etc/NetworkManager/system-connections/zz-other
[connection]
type=ethernet
interface-name=eth0
[ethernet]
mac-address=MACX`)
	f.Fuzz(func(t *testing.T, path1 string, text1 []byte, path2 string, text2 []byte, path3 string, text3 []byte) {
		files := []configFile{{path1, text1}, {path2, text2}, {path3, text3}}
		pins := findPins(files, pinLinks(), pinNames())
		got := pinTexts(pins)
		for _, p := range pins {
			if p.want != pinNames()[p.link.index] || p.name == p.want || p.sure == answerNo || p.line == 0 {
				t.Errorf("a pin %+v", p)
			}
			if !slices.ContainsFunc(files, func(f configFile) bool { return f.path == p.file }) {
				t.Errorf("a pin by a file that was not given: %s", p)
			}
		}
		reversed := slices.Clone(files)
		slices.Reverse(reversed)
		if again := pinTexts(findPins(reversed, pinLinks(), pinNames())); again != got {
			t.Errorf("in another order:\n%s, want\n%s", again, got)
		}
		if more := pinTexts(findPins(append(others, files...), pinLinks(), pinNames())); more != got {
			t.Errorf("with files for others:\n%s, want\n%s", more, got)
		}
		if none := findPins(files, pinLinks(), nil); len(none) > 0 {
			t.Errorf("no ENI is renamed: %v, want none", none)
		}
	})
}
