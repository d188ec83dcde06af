package main

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"eni0/testbed/ec2"
)

// What comes out, the worst last.
const (
	right = "right"
	wrong = "wrong"
	harm  = "**harm**"
)

var outcomes = []string{"", right, wrong, harm}

// A snapshot is the instance as the kernel has it.
type snapshot struct {
	names  map[string]string // of the links, by address
	leaves netip.Addr        // the address that default traffic leaves by, zero for none
	state  []string          // everything else
}

// look takes a snapshot.
func look() (snapshot, error) {
	n, err := names()
	if err != nil {
		return snapshot{}, err
	}
	state, err := ec2.State()
	return snapshot{n, ec2.Leaves(), state}, err
}

// names are those of the links, by address.
func names() (map[string]string, error) {
	links, err := net.Interfaces()
	all := make(map[string]string, len(links))
	for _, l := range links {
		all[l.HardwareAddr.String()] = l.Name
	}
	return all, err
}

// hex is the address of an ENI.
func (w *world) hex(device int) string {
	mac := w.MAC(device)
	return net.HardwareAddr(mac[:]).String()
}

// index is the index of an ENI.
func (w *world) index(device int) (int, error) {
	links, err := net.Interfaces()
	for _, l := range links {
		if l.HardwareAddr.String() == w.hex(device) {
			return l.Index, err
		}
	}
	return 0, fmt.Errorf("ENI %d is not there", device)
}

// judge says what came out of a run with that exit code.
func (s situation) judge(w *world, before, after snapshot, code int) result {
	if lost := s.lost(w, before, after); len(lost) > 0 {
		return result{Outcome: harm, Why: lost[0]}
	}
	if why := s.amiss(w, before, after, code); why != "" {
		return result{Outcome: wrong, Why: why}
	}
	return result{Outcome: right}
}

// lost is what was there before and is not any more.
func (s situation) lost(w *world, before, after snapshot) (lost []string) {
	for mac, name := range before.names {
		now := after.names[mac]
		if s.same && now != name {
			lost = append(lost, fmt.Sprintf("%s is called %s now", name, now))
		}
	}
	was := slices.Collect(maps.Values(before.names))
	for _, name := range after.names {
		if !strings.HasPrefix(name, "eth") && !slices.Contains(was, name) {
			lost = append(lost, "a link is left as "+name)
		}
	}
	if before.leaves.IsValid() && !after.leaves.IsValid() {
		lost = append(lost, "there is no default route")
	}
	for _, line := range before.state {
		owned := w.manager != nil && w.manager.Owns(line)
		if !slices.Contains(after.state, line) && !owned && !strings.HasPrefix(line, "link ") {
			lost = append(lost, "gone: "+kind(line))
		}
	}
	slices.Sort(lost)
	return slices.Compact(lost)
}

// kind is the first word of a line of State: "route".
func kind(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return map[string]string{"address": "an address", "route": "a route", "rule": "a rule", "neighbour": "a neighbour"}[word]
}

// amiss is what is not as it should be though nothing is lost, "" for nothing.
func (s situation) amiss(w *world, before, after snapshot, code int) string {
	primary := after.names[w.hex(0)]
	switch {
	case s.same && !slices.Equal(before.state, after.state):
		return "something has changed"
	case s.same && s.code0 && code != 0:
		return fmt.Sprintf("exits with %d", code)
	case s.same && !s.code0 && code == 0:
		return "exits with 0"
	case s.same:
		return ""
	case primary != "eth0" && code == 0:
		return fmt.Sprintf("exits with 0, and the primary is %s", primary)
	case primary != "eth0":
		return fmt.Sprintf("exits with %d, and the primary is %s", code, primary)
	case !s.early && after.leaves != w.Addr(0):
		return fmt.Sprintf("exits with %d, names are right, default traffic is not", code)
	case code != 0:
		return fmt.Sprintf("all is right, and it exits with %d", code)
	}
	return ""
}
