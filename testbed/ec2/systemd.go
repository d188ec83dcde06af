package ec2

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// The unit that a Manager is, the socket at which it takes orders, and what shows that systemd
// runs.
const (
	managerUnit = "systemd-networkd.service"
	orders      = "/run/manager"
	booted      = "/run/systemd/system"
)

// Systemd makes m the unit systemd-networkd.service of a systemd that is not there: from now on
// sd_booted(3) says so in this process's mount namespace, which Isolate made, and Systemctl
// answers.
func (m *Manager) Systemd() error {
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		return about(err, "mount /run")
	}
	if err := os.MkdirAll(booted, 0o755); err != nil {
		return err
	}
	l, err := net.Listen("unix", orders)
	if err != nil {
		return err
	}
	m.orders = l
	go m.obey(l)
	return nil
}

// obey applies the configuration each time that somebody connects, and hangs up when that is done.
func (m *Manager) obey(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if err := m.Apply(); err != nil {
			fmt.Fprint(c, err)
		}
		c.Close()
	}
}

// Systemctl stands in for systemctl(1) as eni0 calls it, and what is compared with eni0, and returns the exit code. Of all units
// only the one that a Manager is can run.
func Systemctl(args []string, stdout io.Writer) int {
	units := args[slices.Index(args, "--")+1:]
	switch {
	case len(args) == 0:
		return 1
	case args[0] == "is-active":
		return isActive(units, stdout)
	case args[0] == "show":
		return 0 // no unit goes with a link
	case (args[0] == "restart" || args[0] == "try-restart") && slices.Contains(units, managerUnit):
		return restart()
	}
	return 1
}

// isActive prints the states of units, and returns 3 where none is active, as systemctl(1) does.
func isActive(units []string, stdout io.Writer) int {
	code := 3
	for _, u := range units {
		state := "inactive"
		if _, err := os.Stat(orders); u == managerUnit && err == nil {
			state, code = "active", 0
		}
		fmt.Fprintln(stdout, state)
	}
	return code
}

// restart has the Manager apply its configuration, and returns when it has.
func restart() int {
	c, err := net.Dial("unix", orders)
	if err != nil {
		return 1
	}
	defer c.Close()
	if wrong, err := io.ReadAll(c); err != nil || len(wrong) > 0 {
		return 1
	}
	return 0
}
