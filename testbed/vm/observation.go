package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"eni0/testbed/vm/guestreport"
)

// This file understands what the tools of the guest printed.

// An observation is one boot as it is judged: what came of it, with the words of the system's tools
// understood.
type observation struct {
	*outcome
	journal []entry
	units   map[string]unit
	manager *manager
	managed map[string]string // link to what the manager says of it: "eth0": "configured"
}

// An entry is one line of the journal.
type entry struct {
	at     time.Duration // since the kernel started
	unit   string        // by which it was said or of which PID 1 says it; else the program: "kernel"
	manage bool          // PID 1 says it of the unit
	text   string
}

// A unit is one of systemd's, with the times at which things happened, since the kernel started.
type unit struct {
	state             string // "active"
	starting, started time.Duration
	execed, exited    time.Duration // its program
	cpu               time.Duration // used
}

// took is how long the unit's program ran.
func (u unit) took() time.Duration { return u.exited - u.execed }

// held is how long whatever comes after the unit waited for it.
func (u unit) held() time.Duration { return u.started - u.starting }

// understand reads what the guest's tools printed. A bare guest has none.
func understand(o *outcome, m *manager) (*observation, error) {
	s := &observation{outcome: o, manager: m}
	if o.Report.Wrong != "" {
		return nil, fmt.Errorf("in the machine: %s", o.Report.Wrong)
	}
	if o.Report.Commands == nil {
		return s, nil
	}
	var err error
	if s.journal, err = parseJournal(o.Report.Commands["journal"]); err != nil {
		return nil, err
	}
	s.units = parseUnits(o.Report.Commands["units"])
	s.managed = m.read(s)
	return s, nil
}

// parseJournal reads what `journalctl -o json` prints, one object a line:
// systemd.journal-fields(7).
func parseJournal(text string) ([]entry, error) {
	var entries []entry
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "{") {
			continue // "No journal files were found."
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		field := func(name string) string {
			value, _ := fields[name].(string) // what is no text comes as numbers, and says nothing here
			return value
		}
		e := entry{at: micros(field("__MONOTONIC_TIMESTAMP")), unit: field("UNIT"), text: field("MESSAGE")}
		e.manage = field("_PID") == "1" && e.unit != ""
		if e.unit == "" {
			e.unit = cmp.Or(field("_SYSTEMD_UNIT"), field("SYSLOG_IDENTIFIER"))
		}
		if field("_TRANSPORT") == "kernel" { // journald may read it long after it was said
			e.at = micros(field("_SOURCE_MONOTONIC_TIMESTAMP"))
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// parseUnits reads what `systemctl show` prints: NAME=VALUE lines, an empty one between two units.
func parseUnits(text string) map[string]unit {
	units := make(map[string]unit)
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		value := make(map[string]string)
		for line := range strings.Lines(block) {
			name, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			value[name] = v
		}
		units[value["Id"]] = unit{
			state:    value["ActiveState"],
			starting: micros(value["InactiveExitTimestampMonotonic"]),
			started:  micros(value["ActiveEnterTimestampMonotonic"]),
			execed:   micros(value["ExecMainStartTimestampMonotonic"]),
			exited:   micros(value["ExecMainExitTimestampMonotonic"]),
			cpu:      micros(value["CPUUsageNSec"]) / 1000,
		}
	}
	return units
}

// parseManaged reads what `networkctl list` prints: "  2 eth0 ether routable configured".
func parseManaged(text string) map[string]string {
	managed := make(map[string]string)
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 5 && f[2] == "ether" {
			managed[f[1]] = f[4]
		}
	}
	return managed
}

// What the managers' own tools say of links.
func readNetworkd(s *observation) map[string]string {
	return parseManaged(s.Report.Commands["networkd"])
}
func readNM(s *observation) map[string]string { return parseNM(s.Report.Commands["nm"]) }
func readIfupdown(s *observation) map[string]string {
	return parseIfupdown(s.Report.Commands["ifupdown"])
}

// parseNM reads what `nmcli -t -f DEVICE,TYPE,STATE device` prints: "eth0:ethernet:connected
// (externally)".
func parseNM(text string) map[string]string {
	managed := make(map[string]string)
	for line := range strings.Lines(text) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 3 && f[1] == "ethernet" {
			managed[f[0]] = f[2]
		}
	}
	return managed
}

// parseIfupdown reads what `ifquery --state` prints: "eth0=eth0", of what is up.
func parseIfupdown(text string) map[string]string {
	managed := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, _, found := strings.Cut(strings.TrimSpace(line), "="); found && name != "lo" {
			managed[name] = "up"
		}
	}
	return managed
}

// micros reads a time that systemd writes in microseconds; 0 where there is none.
func micros(s string) time.Duration {
	n, _ := strconv.ParseInt(s, 10, 64)
	return time.Duration(n) * time.Microsecond
}

// said returns the first line with a word in it that a unit's program said, or PID 1 of the unit.
func (s *observation) said(unit, word string) (entry, bool) {
	for _, e := range s.journal {
		if e.unit == unit && strings.Contains(e.text, word) {
			return e, true
		}
	}
	return entry{}, false
}

// first is the first line that a unit's program wrote. Before it systemd makes the sandbox.
func (s *observation) first(unit string) entry {
	for _, e := range s.journal {
		if e.unit == unit && !e.manage {
			return e
		}
	}
	return entry{}
}

// last is the last line that a unit's program wrote, "" if it wrote none.
func (s *observation) last(unit string) string {
	text := ""
	for _, e := range s.journal {
		if e.unit == unit && !e.manage {
			text = e.text
		}
	}
	return text
}

// renames are the kernel's lines about names: "virtio_net virtio1 eth0: renamed from eth1". They
// come from dev_change_name() of net/core/dev.c, whoever asked for it.
func (s *observation) renames() []entry {
	var renames []entry
	for _, e := range s.journal {
		if e.unit == "kernel" && strings.Contains(e.text, ": renamed from ") {
			renames = append(renames, e)
		}
	}
	return renames
}

// primary is the name of the primary ENI, "" where it is not there.
func primary(s *guestreport.State) string {
	for _, l := range s.Links {
		if l.MAC == mac(0) {
			return l.Name
		}
	}
	return ""
}
