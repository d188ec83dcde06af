package main

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
