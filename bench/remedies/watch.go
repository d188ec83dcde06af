package main

import (
	"os"
	"os/exec"
	"sync"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// A watch notes when links get other names, by what the kernel says of links: rtnetlink(7).
type watch struct {
	w      *world
	events *os.File
	first  chan struct{} // closed when something has another name

	mu    sync.Mutex
	right time.Time // when the primary got the name eth0
}

// watchNames begins to watch.
func watchNames(w *world) (*watch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	v := &watch{w: w, events: os.NewFile(uintptr(fd), "events"), first: make(chan struct{})}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		v.events.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	before, err := ec2.Names()
	if err != nil {
		v.events.Close()
		return nil, err
	}
	go v.follow(before)
	return v, nil
}

// follow looks at the names at each event, until close.
func (v *watch) follow(before map[string]string) {
	changed := sync.OnceFunc(func() { close(v.first) })
	primary := v.w.Hex(0)
	buffer := make([]byte, 64<<10)
	for {
		if _, err := v.events.Read(buffer); err != nil {
			return
		}
		now, err := ec2.Names()
		if err != nil {
			return
		}
		for mac, name := range now {
			if before[mac] != "" && before[mac] != name {
				changed()
			}
		}
		v.mu.Lock()
		if now[primary] == "eth0" && v.right.IsZero() && before[primary] != "eth0" {
			v.right = time.Now()
		}
		v.mu.Unlock()
	}
}

// took is how long after begin the primary got its name, 0 for never.
func (v *watch) took(begin time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.right.IsZero() {
		return 0
	}
	return v.right.Sub(begin)
}

// killAtFirst runs a command, and kills it and what it has started when something gets another name.
func (v *watch) killAtFirst(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, or it has failed: the second run tells
		close(ended)
	}()
	select {
	case <-v.first:
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // it may have ended
	case <-ended:
	}
	<-ended
	return nil
}

func (v *watch) close() { v.events.Close() }
