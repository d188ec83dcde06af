package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file is about the network manager: it has to apply its configuration by the new names, and what
// we wait for is that it does.

// defaultUnits is the network manager of the images this program is for.
const defaultUnits = "systemd-networkd.service"

const (
	followTime  = 5 * time.Second // for a manager that follows link events by itself
	systemdTime = 3 * time.Second // for systemd to answer, or to take an order
)

// parseUnits reads a comma-separated list of systemd units; "" is none.
func parseUnits(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	units := strings.Split(s, ",")
	for _, u := range units {
		if u == "" || u[0] == '-' || strings.ContainsFunc(u, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '/' }) {
			return nil, fmt.Errorf("%q: not a unit's name", u)
		}
	}
	return units, nil
}

// activeUnits lists those of the units that run: none where systemd does not (sd_booted(3)). One that
// systemd does not tell of in time counts as running: to restart what does not run does nothing.
func activeUnits(l *limit, units []string) []string {
	if unix.Access("/run/systemd/system", unix.F_OK) != nil {
		return nil
	}
	var active []string
	for _, u := range units {
		soon, end := l.within(systemdTime, nil)
		if err := systemctl(soon, "is-active", "--quiet", "--", u); err == nil || errors.Is(err, errKilled) {
			active = append(active, u)
		}
		end()
	}
	return active
}

// restartUnits has systemd restart the units. The job goes on whatever becomes of us.
// systemd-networkd up to 257 can lose track of a link whose name was swapped under it; a
// restart cures that, a reload does not (systemd#20203, #42517). Once names have changed there is no
// network without it, so it has a limit of its own and is tried again where a signal killed it:
// `systemctl stop` of the unit we run in, or ^C, means all of our processes.
func restartUnits(units []string) (err error) {
	l, end := newLimit().within(systemdTime, nil)
	defer end()
	for err = errKilled; errors.Is(err, errKilled) && !l.over(); {
		err = systemctl(l, append([]string{"--no-block", "try-restart", "--"}, units...)...)
	}
	return err
}

// errKilled means that a signal ended systemctl.
var errKilled = errors.New("killed")

// systemctl runs it, with nothing to read and nowhere to write, and kills it when l ends. By
// syscall, because os.StartProcess brings 100 kB along for a directory that we don't change.
func systemctl(l *limit, args ...string) error {
	path, err := lookPath("systemctl")
	if err != nil {
		return err
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	files := []uintptr{uintptr(null), uintptr(null), uintptr(null)}
	pid, err := syscall.ForkExec(path, append([]string{"systemctl"}, args...), &syscall.ProcAttr{Env: os.Environ(), Files: files})
	if err != nil {
		return err
	}
	defer l.then(func() { _ = unix.Kill(pid, unix.SIGKILL) })()
	var status unix.WaitStatus
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Wait4(pid, &status, 0, nil)
	}
	switch {
	case err != nil:
		return err
	case status.Signaled():
		return fmt.Errorf("systemctl %s: %w: %v", strings.Join(args, " "), errKilled, status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("systemctl %s: exit code %d", strings.Join(args, " "), status.ExitStatus())
	}
	return nil
}

// lookPath finds a program on $PATH; a name with a slash is taken as it is.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range strings.Split(os.Getenv("PATH"), ":") {
		path := dir + "/" + name
		if unix.Access(path, unix.X_OK) == nil && strings.HasPrefix(dir, "/") {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not on $PATH", name)
}

// await calls done now and after each change of links or default routes, until it says so, fails,
// or l ends; then it returns why.
func await(l *limit, done func() (bool, error)) error {
	events, err := dialRtnl(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return err
	}
	defer events.close()
	defer l.expire(events.file)()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if l.over() {
			return l.expired()
		}
		_, err := events.receive()
		if err != nil && !l.over() && !errors.Is(err, unix.ENOBUFS) { // ENOBUFS: more changes than fit, so look
			return err
		}
	}
}
