// Package guestreport is what a guest reports: its links and routes as the kernel has them, read
// without any help of the program under test, and the output of the system's own tools.
package guestreport

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// A Report is all that a guest says, one JSON object on one line.
type Report struct {
	Teller   string          // the path by which the reporter was started: "/usr/sbin/vm-guest"
	Args     []string        // that PID 1 was started with
	Bare     bool            // /proc was not mounted when the reporter started
	Before   *State          // just before the network was configured
	Settled  *State          // when the network was configured, and nothing was left to start
	Down     Pings           // while the primary went down and up, before the fix
	Fix      *Fix            // what the live fix came to, where there was one
	After    *State          // after it
	Stages   []*Stage        // before the first and after each fix, where there was more than one
	Stacks   map[string]*Fix // eni0 check, and route, by what carried default traffic: "vlan eth0"
	Docs     []Doc           // what the commands of the documents came to
	Kinds    *Kinds          // what became of objects of each kind
	Dumps    []Dump          // before anything was made by hand, after that, and after the fix
	Wrong    string          // why there is no more
	Commands map[string]string
}

// A Doc is a command of a document, as it stands there.
type Doc struct {
	Line, Output string
	Code         int
}

// A Fix is one run of eni0 on a running system.
type Fix struct {
	Code    int
	Output  string
	Took    int64 // milliseconds, with systemd-run
	Traffic int64 // milliseconds until default traffic left by another link than before; -1 for never
	Pings   Pings
}

// Pings are echoes asked of the primary's router every 20 ms, from its own address, while that was
// done.
type Pings struct {
	Sent, Lost int
	Gap        int64 // milliseconds: the longest time without an answer
}

// Kinds is what became of objects of each kind while names were swapped, on a system without a
// network manager.
type Kinds struct {
	Made    int      // lines of ip(8), of which
	Routers int      // are by router advertisements
	Swaps   int      // runs that nothing happened to
	Calls   int      // system calls of a run from the datagram on
	Kills   int      // runs that were killed at one of them
	Routes  int      // of a state that is too large for a small datagram
	Wrong   []string // what was not as before after one of them
	Log     string   // of the first swap
}

// A Stage is what there is at one time.
type Stage struct {
	Fix     *Fix     // what has just been run, nil for nothing
	Whole   []string // links, addresses, routes, rules and neighbours, as package ec2 has them
	Renames int      // by the kernel's log, since it started
}

// A State is the links and the IPv4 routes of the main table.
type State struct {
	Links  []Link
	Routes []Route
}

// A Link is one that is not the loopback.
type Link struct {
	Index int
	Name  string
	MAC   string
	Up    bool
	Addrs []string
}

// A Route is one line of /proc/net/route.
type Route struct {
	Dev    string
	To     netip.Prefix
	Via    netip.Addr // 0.0.0.0 for none
	Metric int
}

// Look reads the links and routes of this machine: the links over rtnetlink as package net does it,
// the routes from /proc.
func Look() (*State, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	s := new(State)
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		l := Link{Index: i.Index, Name: i.Name, MAC: i.HardwareAddr.String(), Up: i.Flags&net.FlagUp != 0}
		for _, a := range addrs {
			l.Addrs = append(l.Addrs, a.String())
		}
		s.Links = append(s.Links, l)
	}
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, err
	}
	s.Routes, err = ParseRoutes(string(table))
	return s, err
}

// Leaves returns the name of the link that default traffic leaves by, "" where there is none: that
// of the default route with the lowest metric, the first among equals.
func (s *State) Leaves() string {
	best := Route{Metric: -1}
	for _, r := range s.Routes {
		if r.To.Bits() == 0 && (best.Metric < 0 || r.Metric < best.Metric) {
			best = r
		}
	}
	return best.Dev
}

// MAC returns the address of the link of that name, "" where there is none.
func (s *State) MAC(name string) string {
	for _, l := range s.Links {
		if l.Name == name {
			return l.MAC
		}
	}
	return ""
}

var errRoute = errors.New("not a line of /proc/net/route")

// ParseRoutes reads /proc/net/route: a heading, then Iface Destination Gateway Flags RefCnt Use
// Metric Mask and more, addresses as the kernel has them in memory.
func ParseRoutes(table string) ([]Route, error) {
	var routes []Route
	lines := bufio.NewScanner(strings.NewReader(table))
	lines.Scan() // the heading
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			return nil, fmt.Errorf("%q: %w", lines.Text(), errRoute)
		}
		to, err1 := address(f[1])
		via, err2 := address(f[2])
		metric, err3 := strconv.Atoi(f[6])
		mask, err4 := address(f[7])
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), errRoute)
		}
		bits, _ := net.IPMask(mask.AsSlice()).Size()
		routes = append(routes, Route{f[0], netip.PrefixFrom(to, bits), via, metric})
	}
	return routes, nil
}

// address reads one address of /proc/net/route: "0201000A" is 10.0.1.2 on a little-endian machine.
func address(s string) (netip.Addr, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return netip.Addr{}, errRoute
	}
	var a [4]byte
	binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(b))
	return netip.AddrFrom4(a), nil
}
