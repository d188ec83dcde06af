package main

import (
	"fmt"
	"maps"
	"net"
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

// index is the index of an ENI.
func (w *world) index(device int) (int, error) {
	links, err := net.Interfaces()
	for _, l := range links {
		if l.HardwareAddr.String() == w.Hex(device) {
			return l.Index, err
		}
	}
	return 0, fmt.Errorf("ENI %d is not there", device)
}

// judge says what came out of a run with that exit code.
func (s situation) judge(w *world, before, after ec2.Snapshot, code int) result {
	if lost := s.lost(w, before, after); len(lost) > 0 {
		return result{Outcome: harm, Why: lost[0]}
	}
	if why := s.amiss(w, before, after, code); why != "" {
		return result{Outcome: wrong, Why: why}
	}
	return result{Outcome: right}
}

// lost is what was there before and is not any more.
func (s situation) lost(w *world, before, after ec2.Snapshot) (lost []string) {
	for mac, name := range before.Names {
		now := after.Names[mac]
		if s.same && now != name {
			lost = append(lost, fmt.Sprintf("%s is called %s now", name, now))
		}
	}
	was := slices.Collect(maps.Values(before.Names))
	for _, name := range after.Names {
		if !strings.HasPrefix(name, "eth") && !slices.Contains(was, name) {
			lost = append(lost, "a link is left as "+name)
		}
	}
	if before.Leaves.IsValid() && !after.Leaves.IsValid() {
		lost = append(lost, "there is no default route")
	}
	for _, line := range before.State {
		owned := w.manager != nil && w.manager.Owns(line)
		if !slices.Contains(after.State, line) && !owned && !strings.HasPrefix(line, "link ") {
			lost = append(lost, "gone: "+kind(line))
		}
	}
	slices.Sort(lost)
	return slices.Compact(lost)
}

// kind is what a line of State is: "a route".
func kind(line string) string {
	word, _, _ := strings.Cut(line, " ")
	if word == "address" {
		return "an address"
	}
	return "a " + word
}

// amiss is what is not as it should be though nothing is lost, "" for nothing.
func (s situation) amiss(w *world, before, after ec2.Snapshot, code int) string {
	primary := after.Names[w.Hex(0)]
	switch {
	case s.same && !slices.Equal(before.State, after.State):
		return "something has changed"
	case s.same && s.code0 && code != 0:
		return fmt.Sprintf("exits with %d", code)
	case s.same && !s.code0 && code == 0:
		return "exits with 0"
	case s.same:
		return ""
	case primary != "eth0":
		return fmt.Sprintf("exits with %d, and the primary is %s", code, primary)
	case !s.early && after.Leaves != w.Addr(0):
		return fmt.Sprintf("exits with %d, names are right, default traffic is not", code)
	case code != 0:
		return fmt.Sprintf("all is right, and it exits with %d", code)
	}
	return ""
}
