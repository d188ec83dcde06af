package main

// This file asks IMDS before the network is configured. Each ENI gets a temporary address: the link
// goes up, DHCP has an address for it, and one route leads to IMDS. After the answer everything is
// undone, the last change first, and a link that goes down again has what it had before. After
// SIGKILL the kernel removes the address and its route in two minutes; the next fix does so at
// once, and sets the link down again. A link without an address stays up then.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tempLifetime   = 2 * time.Minute        // then the kernel removes the address and its route
	secondaryDelay = 250 * time.Millisecond // how much later the other ENIs begin than eth0
	retryDelay     = time.Second            // between two tries of one ENI

	// The protocol of a temporary route, and the IFA_PROTO (Linux 5.18) of its address. A /32 with
	// one of them is taken for ours. The second says that the link was down.
	tempProto     = 0xe0
	tempProtoDown = 0xe1
)

// A tempAsker asks IMDS by one ENI over a temporary address.
type tempAsker struct {
	path imdsPath
	log  logger
	had  []address // all addresses when it was decided to borrow
}

// errMayNotBorrow is EPERM, with what a person can do about it.
var errMayNotBorrow = errors.New("borrowing a network takes root, " +
	"or CAP_NET_ADMIN and CAP_NET_RAW")

// errNetworkCame means that another program has configured the network, and nothing is to be
// borrowed any more: a temporary route to IMDS would take over the traffic of others.
var errNetworkCame = errors.New("the network has been configured meanwhile")

// ask asks until an error is final, the link is gone, or ctx ends, and tells of each attempt. A
// temporary address is removed before it expires; then there is another one.
func (b tempAsker) ask(ctx context.Context, index int32, tell func(attempt)) {
	for logged := ""; ; {
		asked, err := b.askOnce(ctx, index, tell)
		if !asked {
			err = permissionError(err)
			tell(attempt{err: err})
		}
		if text := err.Error(); !asked && text != logged && ctx.Err() == nil {
			b.log.warn("%s: %v", b.path.device, err)
			logged = text
		}
		isGone := !asked && errors.Is(err, errLinkGone)
		if isGone || isFinal(err) || errors.Is(err, errMayNotBorrow) || !sleep(ctx, retryDelay) {
			return
		}
	}
}

// askOnce sets up a temporary address, asks over it until shortly before it expires, and removes
// it. The error is why it has ended; asked tells whether it came to asking.
func (b tempAsker) askOnce(ctx context.Context, index int32, tell func(attempt)) (
	asked bool, err error) {
	nl, err := dialRtnl()
	if err != nil {
		return false, err
	}
	defer nl.close()
	n := &tempAddress{nl: nl, log: b.log, on: fmt.Sprintf("index %d", index)}
	defer n.tearDown()
	defer n.closing.Wait()
	to := b.path.addr
	if err := n.checkNoNetwork(b.had); err != nil {
		return false, err
	}
	e, err := n.setUp(ctx, index)
	if err != nil {
		return false, err
	}
	got, err := n.getLease(ctx, e, to)
	if err == nil {
		err = n.checkNoNetwork(b.had)
	}
	if err != nil {
		return false, err
	}
	if err := n.addAddressAndRoute(e, got, to); err != nil {
		return false, err
	}
	ctx, cancel := withTimeout(ctx, got.life-got.life/8)
	defer cancel()
	b.path.device = e
	return true, b.path.ask(ctx, func(a attempt) {
		if !errors.Is(a.err, errLinkGone) { // it may have another name: the next setUp tells
			tell(a)
		}
	})
}

// permissionError makes EPERM errMayNotBorrow too.
func permissionError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return errorf("%w: %w", err, errMayNotBorrow)
	}
	return err
}

// A tempAddress is the temporary address of one link: what was changed for it, and how to undo
// that.
type tempAddress struct {
	nl   *rtnl
	log  logger
	on   string      // eth0 (0a:ff:00:00:00:02, index 2)
	undo []nlMessage // in the order of the changes
	down bool        // the link was down
	had  []address   // all addresses before
	// The objects of a link that was down: neighbours, addresses.
	objects []*netObject
	// To close a packet socket takes milliseconds, for an RCU grace period (packet_release of
	// net/packet/af_packet.c). IMDS is asked in the meantime.
	closing sync.WaitGroup
}

// change sends requests in one datagram, and notes for each how to undo it unless the kernel
// refused: if the socket fails, it may have been carried out. What was there already is not ours,
// and is not undone. It returns the first refusal.
func (n *tempAddress) change(do, undo []nlMessage) error {
	results, err := n.nl.send(do)
	if err != nil {
		n.undo = append(n.undo, undo...)
	}
	for i, refusal := range results {
		if refusal == nil {
			n.undo = append(n.undo, undo[i])
		} else if err == nil {
			err = ignoreError(refusal, unix.EEXIST)
		}
	}
	return err
}

// checkNoNetwork returns errNetworkCame where an ENI that is up, or a link stacked on one, has an
// IPv4 address that it did not have before and that is not ours.
func (n *tempAddress) checkNoNetwork(had []address) error {
	now, err := n.nl.observeAddresses()
	on := networkLinks(now.links)
	if slices.ContainsFunc(now.addresses, func(a address) bool {
		// One of a single IP may be ours: before Linux 5.18 it does not tell.
		return on[a.index] && !a.ipv6 && !a.ip.IsSingleIP() && !isAmong(had, a)
	}) {
		return errNetworkCame
	}
	return err
}

// isAmong reports whether that link has that address among those. It is not inlined, as it is
// called in many places.
//
//go:noinline
func isAmong(those []address, a address) bool {
	return slices.ContainsFunc(those, func(b address) bool {
		return a.index == b.index && a.ip == b.ip
	})
}

// setUp sets the link up, if it is down, and waits for its carrier.
func (n *tempAddress) setUp(ctx context.Context, index int32) (link, error) {
	e, err := n.currentLink(index)
	if err != nil {
		return e, err
	}
	n.on, n.down = e.String(), !e.up
	if n.had, err = n.nl.addresses(); err != nil {
		return e, err
	}
	if n.down {
		if n.objects, err = n.objectsOf(e); err != nil {
			return e, err
		}
		up, down := setLink(index, "", unix.IFF_UP, unix.IFF_UP), setLink(index, "", 0, unix.IFF_UP)
		if err = n.change([]nlMessage{up}, []nlMessage{down}); err != nil {
			return e, err
		}
		n.log.info("%s: up, to ask IMDS by", n.on)
		e, err = n.currentLink(index)
	}
	if err != nil || e.carrier {
		return e, err
	}
	over := await(ctx, func() (bool, error) {
		e, err = n.currentLink(index)
		return e.carrier, err
	})
	if over != nil {
		err = errorf("no carrier: %w", over)
	}
	return e, err
}

// objectsOf lists what a link loses when it goes down.
func (n *tempAddress) objectsOf(e link) ([]*netObject, error) {
	all, err := snapshotOf(n.nl, nil, map[int32]bool{e.index: true})
	return filter(all, func(o *netObject) bool {
		return slices.Contains(o.links, e.index) && o.isLostWhenDown()
	}), err
}

// currentLink returns a link as it is now.
func (n *tempAddress) currentLink(index int32) (link, error) {
	links, err := n.nl.links()
	if err != nil {
		return link{}, err
	}
	e, ok := linkByIndex(links, index)
	if !ok {
		return link{}, errLinkGone
	}
	return e, nil
}

// getLease gets a lease for the link.
func (n *tempAddress) getLease(ctx context.Context, e link, imds netip.Addr) (lease, error) {
	socket, err := dialPacket(e.index)
	if err != nil {
		return lease{}, err
	}
	got, err := obtainLease(ctx, socket, e.addr)
	n.closing.Go(socket.close)
	got.life = min(got.life, tempLifetime)
	if err == nil && got.addr == imds { // with it no ENI would reach IMDS any more
		err = errorf("dhcp: %v gives us the address of IMDS", got.server)
	}
	return got, err
}

// addAddressAndRoute adds the address and the route to IMDS.
func (n *tempAddress) addAddressAndRoute(e link, got lease, imds netip.Addr) error {
	proto := byte(tempProto)
	if n.down {
		proto = tempProtoDown
	}
	a, r := tempAddressRequest(e.index, got, proto), tempRouteRequest(e.index, got, imds, proto)
	// In one datagram, so that a killed eni0 leaves no address without the mark of its route.
	err := n.change([]nlMessage{createRequest(unix.RTM_NEWADDR, unix.NLM_F_EXCL, a),
		createRequest(unix.RTM_NEWROUTE, unix.NLM_F_EXCL, r)},
		[]nlMessage{{typ: unix.RTM_DELADDR, body: a}, {typ: unix.RTM_DELROUTE, body: r}})
	if err != nil {
		return errorf("address %v, and a route to %v: %w", got.addr, imds, err)
	}
	n.log.info("%s: borrowed %v of %v, and a route to %v", n.on, got.addr, got.server, imds)
	return nil
}

// tempAddressRequest is the body of an RTM_NEWADDR: the address with a lifetime, as /32 so that the
// kernel adds no other route with it.
func tempAddressRequest(index int32, got lease, proto byte) []byte {
	seconds := uint32(got.life / time.Second)
	// struct ifaddrmsg, linux/if_addr.h: family, prefixlen, flags, scope, index.
	b := []byte{unix.AF_INET, 32, 0, unix.RT_SCOPE_UNIVERSE}
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = appendAttr(b, unix.IFA_LOCAL, got.addr.AsSlice())
	b = appendAttr(b, unix.IFA_ADDRESS, got.addr.AsSlice())
	// struct ifa_cacheinfo, linux/if_addr.h: preferred and valid seconds, and two times that the
	// kernel sets.
	life := binary.NativeEndian.AppendUint32(nil, seconds)
	life = append(binary.NativeEndian.AppendUint32(life, seconds), make([]byte, 8)...)
	b = appendAttr(b, unix.IFA_CACHEINFO, life)
	return appendAttr(b, ifaProto, []byte{proto})
}

// tempRouteRequest is the body of an RTM_NEWROUTE: to IMDS alone, from the temporary address, so
// that the kernel removes both together. The metric is different for each ENI.
func tempRouteRequest(index int32, got lease, to netip.Addr, proto byte) []byte {
	// struct rtmsg, linux/rtnetlink.h: family, dst_len, src_len, tos, table, protocol, scope, type,
	// flags.
	b := []byte{unix.AF_INET, 32, 0, 0,
		unix.RT_TABLE_MAIN, proto, unix.RT_SCOPE_LINK, unix.RTN_UNICAST}
	via := got.gateway(to)
	if via.IsValid() {
		b[6] = unix.RT_SCOPE_UNIVERSE
		b = binary.NativeEndian.AppendUint32(b, unix.RTNH_F_ONLINK) // no router is in a /32
		b = appendAttr(b, unix.RTA_GATEWAY, via.AsSlice())
	} else {
		b = binary.NativeEndian.AppendUint32(b, 0)
	}
	b = appendAttr(b, unix.RTA_DST, to.AsSlice())
	b = appendAttr(b, unix.RTA_PREFSRC, got.addr.AsSlice())
	b = appendUint32(b, unix.RTA_PRIORITY, uint32(index))
	return appendUint32(b, unix.RTA_OIF, uint32(index))
}

// tearDown undoes the changes, the last one first.
func (n *tempAddress) tearDown() {
	if len(n.undo) == 0 {
		return
	}
	var errs []error
	for i := len(n.undo) - 1; i >= 0; i-- {
		err := n.undoChange(n.undo[i])
		for tries := 1; err != nil && err != errInUse && tries < maxAttempts; tries++ {
			err = n.undoChange(n.undo[i])
		}
		errs = append(errs, err)
	}
	n.undo = nil
	if err := errors.Join(errs...); err != nil {
		n.log.err("%s: %v", n.on, err)
		return
	}
	n.log.info("%s: gave back what was borrowed", n.on)
}

// errInUse means that another program uses the link by now.
var errInUse = errors.New("stays up: somebody else has come to use it")

// undoChange undoes one change. It is no error if that is undone already.
func (n *tempAddress) undoChange(undo nlMessage) error {
	requests := []nlMessage{undo}
	if undo.typ == unix.RTM_SETLINK {
		if err := n.checkUnused(indexOf(undo)); err != nil {
			return ignoreError(err, errLinkGone)
		}
		for _, o := range n.objects {
			all := o.requests
			if o.rank == rankAddress {
				all = all[len(all)-1:] // as it was: it is tested when the link comes up
			}
			requests = append(requests, all...)
		}
	}
	return n.nl.executeBut(requests, func(m nlMessage, refusal error) bool {
		return isAlreadyGone(refusal) || isThereAlready(m, refusal)
	})
}

// isAlreadyGone reports whether the kernel refused because there is nothing to undo: the link was
// detached, or the address is gone and its route with it.
func isAlreadyGone(err error) bool {
	return errors.Is(err, errRefused) && (errors.Is(err, unix.ENODEV) ||
		errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ESRCH))
}

// checkUnused returns errInUse where another program uses the link: it is a port of another link,
// or has an address that was not there before and that neither we nor the kernel added.
func (n *tempAddress) checkUnused(index int32) error {
	now, err := n.nl.observeAddresses()
	if err != nil {
		return err
	}
	e, ok := linkByIndex(now.links, index)
	if !ok {
		return errLinkGone
	}
	isNew := func(a address) bool {
		return a.index == index && !isAmong(n.had, a) && !a.isAutomatic() && !a.isTempAddress()
	}
	if e.master != 0 || slices.ContainsFunc(now.addresses, isNew) {
		return errInUse
	}
	return nil
}

// isTempAddress reports whether a is a temporary address of this program.
func (a address) isTempAddress() bool {
	return !a.ipv6 && a.ip.IsSingleIP() && (a.proto == tempProto || a.proto == tempProtoDown)
}

// reclaim removes the temporary addresses and routes that a killed eni0 has left.
func reclaim(nl *rtnl, log logger, notifySignals func()) error {
	addresses, err := nl.addresses()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if a.isTempAddress() {
			notifySignals() // from here on something is changed
			n := &tempAddress{nl: nl, log: log, down: a.proto == tempProtoDown}
			err = errors.Join(err, n.giveBack(a.index, a.ip.Addr(),
				nlMessage{typ: unix.RTM_DELADDR, body: a.body}))
		}
	}
	// Before Linux 5.18 an address does not tell that it is temporary; the route does.
	request := familyRequest(unix.SizeofRtMsg, unix.AF_INET)
	request[4] = unix.RT_TABLE_MAIN
	routes, dumpErr := nl.dump(unix.RTM_GETROUTE, request)
	err = errors.Join(err, ignoreError(dumpErr, unix.ENOENT)) // there is no main table yet
	for _, m := range routes {
		if index, from := parseTempRoute(m.body); from.IsValid() {
			notifySignals()
			n := &tempAddress{nl: nl, log: log, down: m.body[5] == tempProtoDown}
			a := tempAddressRequest(index, lease{addr: from}, 0)
			err = errors.Join(err, n.giveBack(index, from, nlMessage{typ: unix.RTM_DELADDR, body: a},
				nlMessage{typ: unix.RTM_DELROUTE, body: m.body}))
		}
	}
	return err
}

// giveBack undoes what a killed eni0 has left on a link.
func (n *tempAddress) giveBack(index int32, ip netip.Addr, undo ...nlMessage) error {
	e, err := n.currentLink(index)
	if err == nil {
		n.objects, err = n.objectsOf(e)
	}
	if err != nil {
		return ignoreError(err, errLinkGone)
	}
	n.on = e.String()
	n.log.warn("%s: an eni0 that was killed has left the address %v", n.on, ip)
	// It is not known what the link had before, but this is not what the kernel makes.
	n.objects = filter(n.objects, func(o *netObject) bool { return !o.transient })
	if n.down {
		n.undo = append(n.undo, setLink(index, "", 0, unix.IFF_UP))
	}
	n.undo = append(n.undo, undo...)
	n.tearDown()
	return nil
}

// parseTempRoute returns the link of a temporary route and the address that it is from, or the zero
// Addr of any other route.
func parseTempRoute(body []byte) (index int32, from netip.Addr) {
	r, err := parseRoute(body)
	// struct rtmsg, linux/rtnetlink.h: family, dst_len, src_len, tos, table, protocol.
	if err != nil || body[1] != 32 || body[5] != tempProto && body[5] != tempProtoDown ||
		r.table != unix.RT_TABLE_MAIN || len(r.hops) != 1 {
		return 0, from
	}
	from, _ = netip.AddrFromSlice(attrIn(body[unix.SizeofRtMsg:], unix.RTA_PREFSRC))
	return r.hops[0].index, from
}
