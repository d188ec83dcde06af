package ec2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The default route of a Manager.
const (
	dhcpMetric = 512
	dhcpProto  = 16 // RTPROT_DHCP, linux/rtnetlink.h
)

// A Manager is a stand-in for the instance's network manager, as systemd-networkd is one. It sets
// each ethN up once and gives it its ENI's address, by MAC, as DHCP would; and it gives the default
// route to the link that is called eth0, whichever ENI that is, by that ENI's router. When another
// link is called eth0 the default route follows. It touches nothing but its own addresses and
// routes, and of these only what differs.
type Manager struct {
	i      *Instance
	events *os.File
	ended  chan struct{} // closed when follow has returned
	orders net.Listener  // nil unless it is a unit of systemd

	mu    sync.Mutex // for one apply at a time, and for what is below
	held  bool       // no apply at an event
	known []int      // indexes of the links that it has set up
	err   error      // what the last event came to
}

// Manage starts a manager, and returns when everything is configured and every ENI carries frames.
// From then on the manager follows the names until Hold or Close.
func (i *Instance) Manage() (*Manager, error) {
	events, err := subscribe(unix.RTNLGRP_LINK)
	if err != nil {
		return nil, err
	}
	m := &Manager{i: i, events: events, ended: make(chan struct{})}
	if err := errors.Join(m.Apply(), i.Settle()); err != nil {
		events.Close()
		return nil, err
	}
	go m.follow()
	return m, nil
}

// Close stops the following and leaves everything configured. It returns what went wrong while the
// last event was followed.
func (m *Manager) Close() error {
	if m.orders != nil {
		m.orders.Close()
	}
	err := m.events.Close()
	<-m.ended
	return errors.Join(err, m.err)
}

// Hold makes the manager act no more by itself, only when Apply tells it to: like one that has to
// be restarted to see that a link has another name. What it was doing is done when Hold returns.
func (m *Manager) Hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = true
}

// Apply configures what is not as it should be.
func (m *Manager) Apply() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.apply()
}

// follow applies the configuration at each link event, until Close.
func (m *Manager) follow() {
	defer close(m.ended)
	b := make([]byte, 64<<10)
	for {
		// ENOBUFS: events were lost, so there were some.
		if _, err := m.events.Read(b); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		m.mu.Lock()
		if !m.held {
			m.err = m.apply()
		}
		m.mu.Unlock()
	}
}

// apply configures each link that is called ethN and is an ENI.
func (m *Manager) apply() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		digits, isEth := strings.CutPrefix(l.Name, "eth")
		_, err := strconv.Atoi(digits)
		device := m.i.device(l)
		if !isEth || err != nil || device < 0 {
			continue // not ours to configure
		}
		if err := m.configure(l, device); !passing(err) {
			return about(err, "manager: %s", l.Name)
		}
	}
	return nil
}

// passing tells whether err is nothing, or means that the link is just being taken down or away:
// another event will tell how that ended.
func passing(err error) bool {
	return err == nil || errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) ||
		errors.Is(err, unix.ENETUNREACH)
}

// configure configures one link, which it knows by index from here on: it may have another name by
// now.
func (m *Manager) configure(l net.Interface, device int) error {
	if !slices.Contains(m.known, l.Index) {
		if err := setFlags(l.Index, unix.IFF_UP, unix.IFF_UP); err != nil {
			return err
		}
		m.known = append(m.known, l.Index)
	}
	if err := m.address(l, device); err != nil || l.Name != "eth0" {
		return err
	}
	return m.route(l.Index, m.i.Router(device))
}

// address gives a link its ENI's address, unless it has it.
func (m *Manager) address(l net.Interface, device int) error {
	want := netip.PrefixFrom(m.i.Addr(device), 24)
	have, err := l.Addrs()
	if err != nil || slices.ContainsFunc(have, func(a net.Addr) bool { return a.String() == want.String() }) {
		return err
	}
	if err := addAddr(l.Index, want); !errors.Is(err, unix.EEXIST) { // somebody was quicker
		return err
	}
	return nil
}

// route gives a link the default route: the new one comes before the old one goes, so that there is
// one all the time.
func (m *Manager) route(index int, router netip.Addr) error {
	have, err := m.defaults()
	if err != nil {
		return err
	}
	want := Route{index: index, Via: router, Metric: dhcpMetric, Proto: dhcpProto}
	if !slices.Contains(have, index) {
		if err := AddRoute(want); err != nil && !errors.Is(err, unix.EEXIST) { // somebody was quicker
			return err
		}
	}
	for _, old := range have {
		if old == index {
			continue
		}
		want := Route{index: old, Metric: dhcpMetric, Proto: dhcpProto}
		if err := DelRoute(want); err != nil && !errors.Is(err, unix.ESRCH) { // went with its link
			return err
		}
	}
	return nil
}

// defaults returns the links that have a default route of the manager's.
func (m *Manager) defaults() ([]int, error) {
	var links []int
	err := each(unix.RTM_GETROUTE, unix.SizeofRtMsg, func(h []byte, a map[uint16][]byte) {
		if h[0] == unix.AF_INET && h[1] == 0 && h[5] == dhcpProto &&
			number(a[unix.RTA_TABLE]) == unix.RT_TABLE_MAIN && number(a[unix.RTA_PRIORITY]) == dhcpMetric {
			links = append(links, int(number(a[unix.RTA_OIF])))
		}
	})
	return links, err
}

// Owns tells whether a line of State is the manager's default route, which moves as names do.
func (m *Manager) Owns(line string) bool {
	return strings.HasPrefix(line, "route table 254 default/2 ") &&
		strings.Contains(line, fmt.Sprintf(" proto %d ", dhcpProto)) &&
		strings.HasSuffix(line, fmt.Sprintf(" metric %d", dhcpMetric))
}
