package main

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
