package main

// This file owns the rtnetlink(7) sockets: dumps that are complete or an error, requests in one
// datagram, and waiting for events. It knows nothing of what the requests are for. Links are
// addressed by index, never by name.

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bufferSize     = 1 << 15          // bytes; only what has no end may be larger (netlink_dump)
	bufferMax      = 1 << 22          // bytes
	smallDatagram  = 1 << 12          // bytes; 208 KiB have room for it and its replies
	maxInterrupted = 20               // how often an interrupted dump is asked for again
	replyTimeout   = 10 * time.Second // for a reply of the kernel
)

// An rtnl is a NETLINK_ROUTE socket. It returns an *os.SyscallError where the socket failed, and a
// kernelError where the kernel refused a request.
type rtnl struct {
	file   *os.File
	raw    syscall.RawConn
	events bool // it listens to groups and does not block
	seq    uint32
	buf    []byte
}

// dialRtnl opens a socket that listens to the multicast groups given (RTNLGRP_LINK, ...).
func dialRtnl(groups ...int) (*rtnl, error) {
	kind := unix.SOCK_RAW | unix.SOCK_CLOEXEC
	if len(groups) > 0 {
		kind |= unix.SOCK_NONBLOCK // for the deadline of os.File
	}
	fd, err := unix.Socket(unix.AF_NETLINK, kind, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("netlink: socket", err)
	}
	c := &rtnl{file: os.NewFile(uintptr(fd), "rtnetlink"), events: len(groups) > 0}
	c.buf = make([]byte, bufferSize)
	c.raw, _ = c.file.SyscallConn() // it fails for a nil file only
	// The kernel has replied when write returns, or replies when we read. The timeout is for a
	// kernel that does neither.
	timeout := unix.NsecToTimeval(int64(replyTimeout))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	err = os.NewSyscallError("netlink: timeout", err)
	// A connected socket takes messages of the kernel alone, which has port ID 0, though a process
	// of root may send to it: netlink_getsockbyportid of net/netlink/af_netlink.c.
	kernel := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	err = errors.Join(err, os.NewSyscallError("netlink: connect", unix.Connect(fd, kernel)))
	// Replies are shorter with these (Linux 4.3 and 4.20), and errors have a message (4.12). It
	// works without them too.
	options := []int{unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK}
	for _, opt := range options {
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1)
	}
	for _, g := range groups {
		joinErr := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		err = errors.Join(err, os.NewSyscallError("netlink: join group", joinErr))
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close frees the socket.
func (c *rtnl) close() { _ = c.file.Close() }

// dump returns all objects of a kind, or an error. A dump that a change interrupted
// (NLM_F_DUMP_INTR), or that had no room in the socket's buffer, is asked for again from the start.
func (c *rtnl) dump(typ uint16, body []byte) ([]nlMessage, error) {
	for range maxInterrupted {
		objects, whole, err := c.dumpOnce(typ, body)
		if err != nil {
			return nil, err
		}
		if whole {
			return objects, nil
		}
	}
	return nil, errorf("%s: dump interrupted %d times", requestName(typ), maxInterrupted)
}

// dumpOnce is a dump that may not be whole: with NLM_F_DUMP_INTR (netlink(7)) objects were changed
// meanwhile, and some may be left out. It reads to the end even then, because before that the
// socket takes no other dump (EBUSY, __netlink_dump_start of net/netlink/af_netlink.c).
func (c *rtnl) dumpOnce(typ uint16, body []byte) (objects []nlMessage, whole bool, err error) {
	c.seq++
	const flags = unix.NLM_F_REQUEST | unix.NLM_F_DUMP
	request := nlMessage{typ: typ, flags: flags, seq: c.seq, body: body}
	if err := c.write(appendMessage(nil, request)); err != nil {
		return nil, false, ignoreError(err, unix.ENOBUFS)
	}
	whole = true
	for lost := 0; ; {
		batch, err := c.receive()
		if errors.Is(err, unix.ENOBUFS) && lost < maxInterrupted {
			whole = false
			lost++
			continue
		}
		if err != nil {
			return nil, false, err
		}
		for _, m := range batch {
			if m.seq != c.seq {
				continue // reply to another request
			}
			// The last message may have it too: netlink_dump_done of net/netlink/af_netlink.c.
			whole = whole && m.flags&unix.NLM_F_DUMP_INTR == 0
			switch m.typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return objects, whole, parseAck(m, requestName(typ))
			}
			objects = append(objects, m)
		}
	}
}

// send puts requests into one datagram. The kernel carries all of it out in order, even if this
// process is killed: netlink_rcv_skb of net/netlink/af_netlink.c goes on after an error, and looks
// at no signals. It returns nil or a kernelError for each request; err is a failure of the socket,
// after which results say nothing.
func (c *rtnl) send(requests []nlMessage) (results []error, err error) {
	firstSeq := c.seq + 1
	var datagram []byte
	for _, r := range requests {
		c.seq++
		r.seq, r.flags = c.seq, r.flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK
		datagram = appendMessage(datagram, r)
	}
	if err := c.write(datagram); err != nil {
		return nil, err
	}
	results = make([]error, len(requests))
	for left := len(requests); left > 0; {
		batch, err := c.receive()
		if err != nil {
			return nil, err
		}
		for _, m := range batch {
			i := m.seq - firstSeq
			if m.typ != unix.NLMSG_ERROR || i >= uint32(len(requests)) {
				continue // reply to another request
			}
			results[i] = parseAck(m, requestName(requests[i].typ))
			left--
		}
	}
	return results, nil
}

// execute sends requests as one datagram and returns the first refusal. Later ones say nothing new:
// in a plan they follow from the first.
func (c *rtnl) execute(requests []nlMessage) error {
	return c.executeBut(requests, func(nlMessage, error) bool { return false })
}

// executeBut is execute for requests of which some may be refused: those are not counted for which
// harmless returns true.
func (c *rtnl) executeBut(requests []nlMessage, harmless func(nlMessage, error) bool) error {
	if len(requests) == 0 {
		return nil
	}
	results, err := c.send(requests)
	for i, refusal := range results {
		if refusal != nil && !harmless(requests[i], refusal) {
			return refusal
		}
	}
	return err
}

// write sends a datagram to the kernel, which has carried it out when this returns. Where the
// buffers of the socket are too small the kernel refuses it (EMSGSIZE) or drops replies (ENOBUFS),
// so for a large one they are made larger, if that is allowed: a request has 32 bytes or more, and
// its reply takes less than 1 KiB.
func (c *rtnl) write(datagram []byte) error {
	var err error
	if rawErr := c.raw.Write(func(fd uintptr) bool {
		if n := len(datagram); n > smallDatagram {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n)
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32*n)
		}
		for err = unix.EINTR; err == unix.EINTR; {
			_, err = unix.Write(int(fd), datagram)
		}
		return true
	}); rawErr != nil {
		return rawErr
	}
	return os.NewSyscallError("netlink: write", err)
}

// receive reads one datagram from the kernel and cuts it into messages. A datagram that does not
// fit into the buffer is lost (ENOBUFS), as if the socket had had no room for it: the next has
// twice the room. That is a link with hundreds of altnames.
func (c *rtnl) receive() ([]nlMessage, error) {
	var (
		n   int
		err error
	)
	if rawErr := c.raw.Read(func(fd uintptr) bool {
		for err = unix.EINTR; err == unix.EINTR; {
			n, err = unix.Read(int(fd), c.buf)
		}
		return err != unix.EAGAIN || !c.events
	}); rawErr != nil {
		return nil, rawErr
	}
	if n == len(c.buf) && n < bufferMax {
		c.buf = make([]byte, 2*n)
		err = unix.ENOBUFS
	}
	if err != nil {
		return nil, os.NewSyscallError("netlink: read", err)
	}
	return parseMessages(append([]byte(nil), c.buf[:n]...))
}

// links lists all links of the network namespace, in the order of their indexes.
func (c *rtnl) links() ([]link, error) {
	request := make([]byte, unix.SizeofIfInfomsg)
	request = appendUint32(request, unix.IFLA_EXT_MASK, rtextFilterSkipStats)
	objects, err := c.dump(unix.RTM_GETLINK, request)
	if err != nil {
		return nil, err
	}
	return parseAll(objects, parseLink)
}

// addresses lists the addresses of all links.
func (c *rtnl) addresses() ([]address, error) {
	objects, err := c.dump(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	return parseAll(objects, parseAddress)
}

// defaultRoutes lists the default routes of the main table, both families, in the kernel's order.
func (c *rtnl) defaultRoutes() ([]route, error) {
	var routes []route
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		// struct rtmsg, linux/rtnetlink.h: the table is a filter where strict checking is on.
		request := make([]byte, unix.SizeofRtMsg)
		request[0], request[4] = family, unix.RT_TABLE_MAIN
		objects, err := c.dump(unix.RTM_GETROUTE, request)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // there is no main table yet
		}
		if err != nil {
			return nil, err
		}
		entries, err := parseAll(objects, parseRoute)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.isDefault || e.ipv6 != (family == unix.AF_INET6) {
				continue // a kernel without IPv6 answers with its IPv4 routes
			}
			if e.nextHop != 0 && e.hops == nil { // sysctl net.ipv4.nexthop_compat_mode=0
				if e.hops, err = c.nextHop(e.nextHop); err != nil {
					return nil, err
				}
			}
			routes = append(routes, e.route)
		}
	}
	return routes, nil
}

// nextHop returns the hops of a next-hop object, which may be a group.
func (c *rtnl) nextHop(id uint32) ([]hop, error) {
	objects, err := c.dump(unix.RTM_GETNEXTHOP, make([]byte, unix.SizeofNhmsg))
	if err != nil {
		return nil, err
	}
	all, err := parseAll(objects, parseNextHop)
	if err != nil {
		return nil, err
	}
	members := []uint32{id}
	for _, n := range all {
		if n.id == id && n.group != nil {
			members = n.group
		}
	}
	var hops []hop
	for _, m := range members {
		for _, n := range all {
			if n.id == m && n.hop.index != 0 {
				hops = append(hops, n.hop)
			}
		}
	}
	return hops, nil
}

// rules lists the policy rules of all families that there are: fib_nl_dumprule of
// net/core/fib_rules.c takes AF_UNSPEC for that.
func (c *rtnl) rules() ([]policyRule, error) {
	// struct fib_rule_hdr of linux/fib_rules.h is as long as struct rtmsg.
	objects, err := c.dump(unix.RTM_GETRULE, familyRequest(unix.SizeofRtMsg, unix.AF_UNSPEC))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // a kernel without policy rules
	}
	if err != nil {
		return nil, err
	}
	return parseAll(objects, parseRule)
}

// observe returns the links and default routes as they are now, with no primary.
func (c *rtnl) observe() (w world, err error) {
	// The routes first: each link that one leaves by is among the links, or gone since.
	if w.routes, err = c.defaultRoutes(); err != nil {
		return w, err
	}
	w.links, err = c.links()
	return w, err
}

// observeNetwork returns links, default routes and addresses as they are now, with that primary.
func (c *rtnl) observeNetwork(primary hwaddr) (n network, err error) {
	if n.world, err = c.observe(); err != nil {
		return n, err
	}
	n.primary = primary
	n.addresses, err = c.addresses()
	return n, err
}

// observeAddresses returns links and addresses as they are now, without routes.
func (c *rtnl) observeAddresses() (n network, err error) {
	if n.links, err = c.links(); err == nil {
		n.addresses, err = c.addresses()
	}
	return n, err
}

// observeLinks returns a network with nothing but the links in it.
func (c *rtnl) observeLinks() (n network, err error) {
	n.links, err = c.links()
	return n, err
}

// dialEvents opens a socket that gets each change of links, addresses and routes.
func dialEvents() (*rtnl, error) {
	return dialRtnl(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
}

// watchChanges returns a channel that gets nil after links, addresses or routes have changed, once
// for all changes that nobody has received, or the error of the socket. stop ends it.
func watchChanges() (changes <-chan error, stop func(), err error) {
	events, err := dialEvents()
	if err != nil {
		return nil, nil, err
	}
	c := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		for err := error(nil); err == nil; {
			// ENOBUFS means that changes were lost, which is a change too.
			_, err = events.receive()
			err = ignoreError(err, unix.ENOBUFS)
			select {
			case c <- err:
			default: // there is one already
			}
		}
	})
	return c, func() { events.close(); reading.Wait() }, nil
}

// await calls done now and after each change of links, addresses or routes, until done returns true
// or an error, or ctx ends. It returns that error, or the cause of ctx.
func await(ctx context.Context, done func() (bool, error)) error {
	changes, stop, err := watchChanges()
	if err != nil {
		return err
	}
	defer stop()
	for err == nil {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case err = <-changes:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return err
}

// awaitQuiet returns when no link, address or route has changed for d, or when ctx ends, then with
// the cause. It calls look now, and after each change.
func awaitQuiet(ctx context.Context, d time.Duration, look func()) error {
	changes, stop, err := watchChanges()
	if err != nil {
		return err
	}
	defer stop()
	for err == nil {
		look()
		select {
		case err = <-changes:
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return err
}
