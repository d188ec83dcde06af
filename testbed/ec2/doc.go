// Package ec2 makes a pocket EC2 out of namespaces: an instance with several ENIs, the wires and
// routers behind them, instance metadata at 169.254.169.254, DHCP at each wire, and a stand-in for
// the instance's network manager. It needs no root where user namespaces are allowed, and no
// programs.
//
//	cmd := exec.Command("/proc/self/exe", "inside")
//	ec2.Isolate(cmd)                     // ... and in the process that this starts:
//	i, err := ec2.Launch([]int{1, 0})    // the kernel named the primary ENI eth1
//	m, err := i.Manage()                 // addresses, and a default route by eth0: the wrong one
//
// Before Manage the instance is as the kernel finds it: its links are down, and nobody has asked
// DHCP for anything. Unplug and Plug make ENIs come late; Silent, Refuse and their like make
// servers misbehave.
//
// It reads and writes the kernel by itself, so that it can testify about a program that does the
// same.
package ec2
