package main

// This file is about network managers: whichever configured the links has to apply its
// configuration by the new names. It uses their own commands, systemctl(1) and nmcli(1), and
// changes no link itself.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The units whose restart is known to help, and the default of -restart.
const (
	networkdUnit       = "systemd-networkd.service"
	networkManagerUnit = "NetworkManager.service"
	ifupdownUnit       = "networking.service"
	defaultUnits       = networkdUnit + "," + networkManagerUnit + "," + ifupdownUnit
)

const (
	jobTimeout        = 70 * time.Second       // for a restart, and the activation of profiles
	activationTimeout = 20 * time.Second       // for NetworkManager to activate one profile
	retryPause        = 500 * time.Millisecond // before NetworkManager is asked again for a profile
)

// parseUnits reads a comma-separated list of systemd units. "" is an empty list.
func parseUnits(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	units := strings.Split(s, ",")
	for i, u := range units {
		odd := strings.ContainsFunc(u, func(c rune) bool {
			return c <= ' ' || c == 0x7f || c == '/'
		})
		if u == "" || u[0] == '-' || odd {
			return nil, errorf("%q: not a unit's name", u)
		}
		if !strings.Contains(u, ".") { // as for systemctl(1)
			units[i] = u + ".service"
		}
	}
	return units, nil
}

// managers are the network managers that run, and what they have to do after a rename.
type managers struct {
	log          logger
	units        []string  // those to be restarted
	unitsUnknown bool      // systemd did not say which of units run
	boundUnits   []string  // ifup@eth0.service: systemd stops it when its link is renamed
	profiles     []profile // active profiles of NetworkManager that are for the name of a link
}

// A profile is a connection profile of NetworkManager that is active on the link with its name.
type profile struct {
	uuid string
	name string // eth0: connection.interface-name
}

// findManagers asks which of the units run, and which units and profiles go with the links of those
// names. Without systemd (sd_booted(3)), or without units, it asks nothing.
func findManagers(ctx context.Context, units, names []string, log logger) managers {
	m := managers{log: log}
	if len(units) == 0 || !systemdBooted() {
		return m
	}
	m.units, m.unitsUnknown = m.activeUnits(ctx, units)
	if len(m.units) == 0 && !m.unitsUnknown {
		log.info("of %s none runs: nothing is restarted", strings.Join(units, ", "))
	}
	var bound []string
	for _, name := range names {
		bound = append(bound, m.unitsBoundTo(ctx, name)...)
	}
	if len(bound) > 0 {
		m.boundUnits, _ = m.activeUnits(ctx, bound)
	}
	if slices.Contains(m.units, networkManagerUnit) {
		m.profiles = m.activeProfiles(ctx, names)
	}
	return m
}

// restartVerb is the command for a second restart: "restart", because a manager may have failed to
// start, but "try-restart" where a unit in the list may not have run before.
func (m managers) restartVerb() string {
	if m.unitsUnknown {
		return "try-restart"
	}
	return "restart"
}

// activeUnits lists those of the units that run or are being started. unknown is true where systemd
// can't be asked; where it does not answer in time all of them are listed, because try-restart does
// nothing to those that do not run.
func (m managers) activeUnits(ctx context.Context, units []string) (active []string, unknown bool) {
	if !systemdBooted() {
		return nil, false
	}
	// It prints the state of each on a line. The exit code is 0 if one of them runs, 3 if none
	// does.
	out, err := runQuery(ctx, "systemctl", append([]string{"is-active", "--"}, units...)...)
	states := strings.Fields(out)
	if len(states) == len(units) {
		for i, u := range units {
			if slices.Contains([]string{"active", "activating", "reloading"}, states[i]) {
				active = append(active, u)
			}
		}
		return active, false
	}
	if err == nil {
		err = errors.New("systemctl is-active: not the answer that was asked for")
	}
	m.log.warn("which network manager runs can't be told: %v", err)
	if errors.Is(err, errKilled) {
		return units, true
	}
	return nil, true
}

// unitsBoundTo lists the units that systemd stops when the link of that name is renamed: the
// .device of the old name goes away (device_remove_old_on_move of src/core/device.c), and with it
// the units that have BindsTo= on it.
func (m managers) unitsBoundTo(ctx context.Context, name string) []string {
	device := "sys-subsystem-net-devices-" + escapeUnit(name) + ".device"
	out, err := runQuery(ctx, "systemctl", "show", "--property=BoundBy", "--value", "--", device)
	if err != nil {
		m.log.warn("which units go with %s can't be told: %v", name, err)
	}
	return strings.Fields(out)
}

// escapeUnit escapes a name: systemd.unit(5), "String Escaping for Inclusion in Unit Names".
func escapeUnit(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		plain := letter || c == ':' || c == '_' || c == '.' && i > 0
		switch {
		case plain:
			b.WriteByte(c)
		case c == '/':
			b.WriteByte('-')
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// activeProfiles lists the active profiles that are for one of the names, which are sorted: eth0
// first, because default traffic waits for it.
func (m managers) activeProfiles(ctx context.Context, names []string) (profiles []profile) {
	var found []profile
	out, err := runQuery(ctx, "nmcli", "-g", "UUID", "connection", "show", "--active")
	for _, uuid := range strings.Fields(out) {
		var name string
		name, err = runQuery(ctx, "nmcli",
			"-g", "connection.interface-name", "connection", "show", uuid)
		if err != nil {
			break
		}
		found = append(found, profile{uuid, strings.TrimSpace(name)})
	}
	if err != nil {
		m.log.warn("NetworkManager's profiles can't be told, so none is activated again: %v", err)
		return nil
	}
	for _, name := range names {
		for _, p := range found {
			if p.name == name {
				profiles = append(profiles, p)
			}
		}
	}
	return profiles
}

// restart restarts the managers and returns when they have applied their configuration by the new
// names. command is "try-restart" or "restart". It reports whether there was a manager. Without the
// restart there may be no network, so only jobTimeout ends it, neither a signal nor the deadline of
// the run.
func (m managers) restart(command string, changes []step) (told bool) {
	ctx, cancel := detachedTimeout(jobTimeout)
	defer cancel()
	// systemd-networkd up to 257 can lose a link whose name was swapped. A restart cures that, a
	// reload does not (systemd#20203, #42517). NetworkManager up to 1.52 can lose a device from its
	// list: device_ip_iface_changed of src/core/nm-manager.c removes the one that had the new name
	// before.
	told = len(m.units) > 0 && m.runJob(ctx, "restarting", command, m.units)
	if told {
		// After its restart NetworkManager leaves links as they are: "connected (externally)".
		activated := true
		for _, p := range m.profiles {
			activated = m.activateProfile(ctx, p) && activated
		}
		for _, s := range changes {
			if activated && m.hasProfile(s.from) && !m.hasProfile(s.to) && s.to != primaryName {
				m.disconnectLink(ctx, s.to)
			}
		}
	}
	return len(m.boundUnits) > 0 && m.runJob(ctx, "starting", "start", m.boundUnits) || told
}

// runJob calls systemctl with command and units, and waits for the end of the job. If a signal
// kills systemctl it calls it again: `systemctl stop` of the unit that eni0 runs in, or ^C, signals
// all processes, and systemctl may not have reached systemd yet. It reports whether systemctl could
// be run: a job that fails has changed something, too.
func (m managers) runJob(ctx context.Context, doing, command string, units []string) bool {
	m.log.info("%s %s", doing, strings.Join(units, " "))
	args := append([]string{command, "--"}, units...)
	_, err := runCommand(ctx, "systemctl", args...)
	for errors.Is(err, errKilled) && sleep(ctx, retryPause) {
		_, err = runCommand(ctx, "systemctl", args...)
	}
	if err != nil {
		m.log.warn("%v", err)
	}
	return err == nil || errors.Is(err, errKilled) || errors.Is(err, errExitCode)
}

// activateProfile tells NetworkManager to activate a profile on the link that has its name now, and
// reports whether it did. It tries again, because NetworkManager may not know the link yet after a
// restart.
func (m managers) activateProfile(ctx context.Context, p profile) bool {
	ctx, cancel := withTimeout(ctx, activationTimeout)
	defer cancel()
	m.log.info("activating NetworkManager's profile of %s", p.name)
	for {
		_, err := runCommand(ctx, "nmcli", "connection", "up", "uuid", p.uuid)
		if err == nil {
			return true
		}
		if !sleep(ctx, retryPause) {
			m.log.warn("%v", err)
			return false
		}
	}
}

// hasProfile reports whether one of the profiles is for the link of that name.
func (m managers) hasProfile(name string) bool {
	return slices.ContainsFunc(m.profiles, func(p profile) bool { return p.name == name })
}

// disconnectLink tells NetworkManager to remove from a link what the profile of its former name has
// configured. That profile is active on another link now, and this one has none.
func (m managers) disconnectLink(ctx context.Context, name string) {
	m.log.info("NetworkManager has no profile for %s any more: disconnecting it", name)
	if _, err := runCommand(ctx, "nmcli", "device", "disconnect", name); err != nil {
		m.log.warn("%v", err)
	}
}

// statusCommand returns the command that shows what a manager has done to a link.
func (m managers) statusCommand(l link) string {
	switch {
	case slices.Contains(m.units, networkdUnit):
		return "`networkctl status " + l.name + "`"
	case slices.Contains(m.units, networkManagerUnit):
		return "`nmcli device show " + l.name + "`"
	case slices.Contains(m.units, ifupdownUnit):
		return "`ifquery " + l.name + "` and `journalctl -b -u " + ifupdownUnit + "`"
	}
	return "`journalctl -b -u " + strings.Join(m.units, " -u ") + "`"
}
