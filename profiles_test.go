package main

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
