package main

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

// This file is how IMDS is asked before the network is configured: each ENI borrows a network. The link
// goes up, DHCP says what address it has, one route leads to IMDS; and when that has answered, or never
// will, everything is given back, last change first. Where SIGKILL keeps it from that, the kernel takes the
// address and its route back after two minutes; the next fix does so at once, and has the link down again.
// Only a link that has no address then, yet or any more, stays up.

const (
	loanLife    = 2 * time.Minute        // of a borrowed address; the kernel takes it back then, with its route
	othersAfter = 250 * time.Millisecond // eth0 is asked by first, and the others after that
	retryAfter  = time.Second            // a loan that came to nothing

	// What marks addresses (IFA_PROTO, Linux 5.18) and routes as borrowed: a /32 with it is taken for
	// ours. The second says that the link was down.
	loanProto     = 0xe0
	loanProtoDown = 0xe1
)

// A borrower asks IMDS over borrowed networks.
type borrower struct {
	imds endpoint
	q    question
	log  logger
}

// join has every ENI join r over a network of its own, those too that are probed meanwhile, until r
// is over. What is borrowed is given back by then: r waits for that.
func (b borrower) join(r *race, nl *rtnl) error {
	r.lend()
	start := time.Now()
	begun := map[int32]bool{}
	err := await(r.ctx, func() (bool, error) {
		links, err := nl.links()
		enis := askable(links)
		_, hasFirst := byName(enis, primaryName)
		for _, e := range enis {
			if begun[e.index] {
				continue
			}
			begun[e.index] = true
			delay := othersAfter - time.Since(start)
			if e.name == primaryName || !hasFirst {
				delay = 0
			}
			r.run(e.name, func() ([]byte, error) { return b.askBy(r.ctx, e.index, delay) })
		}
		return false, err
	})
	if len(begun) == 0 {
		return errors.Join(errors.New("imds: there is no ENI to borrow a network by"), err)
	}
	return err
}

// errGone means that a link is not there any more.
var errGone = errors.New("link is gone")

// askBy asks by one ENI, after a delay, until there is an answer, an error that is final, or no such ENI;
// and until ctx ends.
func (b borrower) askBy(ctx context.Context, index int32, delay time.Duration) ([]byte, error) {
	if ctx.Err() != nil || delay > 0 && !sleep(ctx, delay) {
		return nil, errors.New("imds: no answer yet")
	}
	for {
		body, err := b.once(ctx, index)
		if err == nil || final(err) || errors.Is(err, errGone) || !sleep(ctx, retryAfter) {
			return body, err
		}
		b.log.warn("%v; trying again", err)
	}
}

// once borrows a network, asks over it while it lasts, and gives it back.
func (b borrower) once(ctx context.Context, index int32) ([]byte, error) {
	nl, err := dialRtnl()
	if err != nil {
		return nil, err
	}
	defer nl.close()
	n := &loan{nl: nl, log: b.log, on: fmt.Sprintf("index %d", index)}
	defer n.giveBack()
	defer n.closing.Wait()
	e, err := n.takeUp(ctx, index)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.on, refused(err))
	}
	got, err := n.obtain(ctx, e, b.imds.addr.Addr())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e, refused(err))
	}
	if err := n.install(e, got, b.imds.addr.Addr()); err != nil {
		return nil, fmt.Errorf("%s: %w", e, refused(err))
	}
	ctx, cancel := withTimeout(ctx, got.life-got.life/8)
	defer cancel()
	return b.imds.persist(ctx, e.name, b.q, func() {})
}

// refused makes the kernel's EPERM final, and says what people can do about it.
func refused(err error) error {
	if errors.Is(err, unix.EPERM) {
		return finalError{fmt.Errorf("%w: borrowing a network takes root, or CAP_NET_ADMIN and CAP_NET_RAW", err)}
	}
	return err
}

// A loan is what was changed to have a network by one link, and how that is undone.
type loan struct {
	nl   *rtnl
	log  logger
	on   string    // eth0 (0a:ff:00:00:00:02, index 2)
	undo []message // in the order of the changes
	down bool      // the link was down
	had  []address // its addresses when it was found
	// A packet socket takes milliseconds to close, for an RCU grace period (packet_release of
	// net/packet/af_packet.c): IMDS is asked meanwhile.
	closing sync.WaitGroup
}

// change does something, and notes the undo unless the kernel's verdict is that it was not done: where the
// socket fails, who knows. What is there already is not ours.
func (n *loan) change(do, undo message) error {
	err := n.nl.carryOut([]message{do})
	if _, verdict := errors.AsType[kernelError](err); !verdict {
		n.undo = append(n.undo, undo)
	}
	return unless(err, unix.EEXIST)
}

// takeUp takes the link up, if it is down, and waits until it carries frames.
func (n *loan) takeUp(ctx context.Context, index int32) (link, error) {
	e, err := n.link(index)
	if err != nil {
		return e, err
	}
	n.on, n.down = e.String(), !e.up
	if n.had, err = n.nl.addresses(); err != nil {
		return e, err
	}
	if n.down {
		err = n.change(setLink(index, "", unix.IFF_UP, unix.IFF_UP), setLink(index, "", 0, unix.IFF_UP))
		if err != nil {
			return e, err
		}
		n.log.info("%s: up, to ask IMDS by", n.on)
		e, err = n.link(index)
	}
	if err != nil || e.carrier {
		return e, err
	}
	over := await(ctx, func() (bool, error) {
		e, err = n.link(index)
		return e.carrier, err
	})
	if over != nil {
		err = fmt.Errorf("no carrier: %w", over)
	}
	return e, err
}

// link looks at a link again.
func (n *loan) link(index int32) (link, error) {
	links, err := n.nl.links()
	if err != nil {
		return link{}, err
	}
	e, ok := byIndex(links, index)
	if !ok {
		return link{}, errGone
	}
	return e, nil
}

// obtain gets a lease for the link.
func (n *loan) obtain(ctx context.Context, e link, imds netip.Addr) (lease, error) {
	socket, err := dialPacket(e.index)
	if err != nil {
		return lease{}, err
	}
	got, err := obtain(ctx, socket, e.addr)
	n.closing.Go(socket.close)
	got.life = min(got.life, loanLife)
	if err == nil && got.addr == imds {
		err = fmt.Errorf("dhcp: %v gives us the address of IMDS", got.server) // which would cut off every ENI
	}
	return got, err
}

// install gives the link its address and the route to IMDS.
func (n *loan) install(e link, got lease, imds netip.Addr) error {
	proto := byte(loanProto)
	if n.down {
		proto = loanProtoDown
	}
	a := loanAddress(e.index, got, proto)
	if err := n.change(create(unix.RTM_NEWADDR, unix.NLM_F_EXCL, a), message{typ: unix.RTM_DELADDR, body: a}); err != nil {
		return fmt.Errorf("address %v: %w", got.addr, err)
	}
	r := loanRoute(e.index, got, imds)
	if err := n.change(create(unix.RTM_NEWROUTE, unix.NLM_F_EXCL, r), message{typ: unix.RTM_DELROUTE, body: r}); err != nil {
		return fmt.Errorf("route to %v: %w", imds, err)
	}
	n.log.info("%s: borrowed %v of %v, and a route to %v", n.on, got.addr, got.server, imds)
	return nil
}

// loanAddress is the body of an RTM_NEWADDR: the address as /32, which brings no other route along, with
// a lifetime.
func loanAddress(index int32, got lease, proto byte) []byte {
	seconds := uint32(got.life / time.Second)
	// struct ifaddrmsg, linux/if_addr.h: family, prefixlen, flags, scope, index.
	b := binary.NativeEndian.AppendUint32([]byte{unix.AF_INET, 32, 0, unix.RT_SCOPE_UNIVERSE}, uint32(index))
	b = appendAttr(b, unix.IFA_LOCAL, got.addr.AsSlice())
	b = appendAttr(b, unix.IFA_ADDRESS, got.addr.AsSlice())
	// struct ifa_cacheinfo, linux/if_addr.h: preferred and valid seconds, and two times of the kernel's.
	life := binary.NativeEndian.AppendUint32(nil, seconds)
	life = append(binary.NativeEndian.AppendUint32(life, seconds), make([]byte, 8)...)
	b = appendAttr(b, unix.IFA_CACHEINFO, life)
	return appendAttr(b, ifaProto, []byte{proto})
}

// loanRoute is the body of an RTM_NEWROUTE: to IMDS alone, from the borrowed address, with which it goes.
// The metric tells the ENIs' routes apart.
func loanRoute(index int32, got lease, to netip.Addr) []byte {
	// struct rtmsg, linux/rtnetlink.h: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
	b := []byte{unix.AF_INET, 32, 0, 0, unix.RT_TABLE_MAIN, loanProto, unix.RT_SCOPE_LINK, unix.RTN_UNICAST}
	via := got.gateway(to)
	if via.IsValid() {
		b[6] = unix.RT_SCOPE_UNIVERSE
		b = binary.NativeEndian.AppendUint32(b, unix.RTNH_F_ONLINK) // beyond a /32 no router is
		b = appendAttr(b, unix.RTA_GATEWAY, via.AsSlice())
	} else {
		b = binary.NativeEndian.AppendUint32(b, 0)
	}
	b = appendAttr(b, unix.RTA_DST, to.AsSlice())
	b = appendAttr(b, unix.RTA_PREFSRC, got.addr.AsSlice())
	b = appendUint32(b, unix.RTA_PRIORITY, uint32(index))
	return appendUint32(b, unix.RTA_OIF, uint32(index))
}

// giveBack undoes what was changed, last first.
func (n *loan) giveBack() {
	if len(n.undo) == 0 {
		return
	}
	var errs []error
	for _, undo := range slices.Backward(n.undo) {
		err := n.takeBack(undo)
		for tries := 1; err != nil && err != errInUse && tries < attempts; tries++ {
			err = n.takeBack(undo)
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

// errInUse means that a link is not ours any more.
var errInUse = errors.New("stays up: somebody else has come to use it")

// takeBack undoes one change. What has gone by itself needs no undoing.
func (n *loan) takeBack(undo message) error {
	if undo.typ == unix.RTM_SETLINK {
		if err := n.unused(indexOf(undo)); err != nil {
			return unless(err, errGone)
		}
	}
	err := n.nl.carryOut([]message{undo})
	if gone(err) {
		return nil
	}
	return err
}

// gone reports whether err is the kernel's word that there is nothing to undo: the link was pulled out, the
// address taken back, and the route with it.
func gone(err error) bool {
	_, verdict := errors.AsType[kernelError](err)
	return verdict && (errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ESRCH))
}

// unused is errInUse where somebody else has come to use the link: it is a port of another, or has an address
// that it had not when it was found, and that is neither ours nor one of those which IPv6 gives by itself.
func (n *loan) unused(index int32) error {
	e, err := n.link(index)
	if err != nil {
		return err
	}
	addresses, err := n.nl.addresses()
	if err != nil {
		return err
	}
	isNew := func(a address) bool {
		// Not one of IPv6, though it was there: it would be lost with the link.
		old := !a.ipv6 && slices.ContainsFunc(n.had, func(b address) bool { return a.index == b.index && a.ip == b.ip })
		return a.index == index && !old && !a.automatic() && !a.borrowed()
	}
	if e.master != 0 || slices.ContainsFunc(addresses, isNew) {
		return errInUse
	}
	return nil
}

// borrowed reports whether an eni0 has made a.
func (a address) borrowed() bool {
	return !a.ipv6 && a.ip.IsSingleIP() && (a.proto == loanProto || a.proto == loanProtoDown)
}

// reclaim gives back what an eni0 that was killed had borrowed.
func (c *rtnl) reclaim(log logger, notifySignals func()) error {
	addresses, err := c.addresses()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if !a.borrowed() {
			continue // somebody else's
		}
		notifySignals() // all of it, or none
		n := &loan{nl: c, log: log, on: fmt.Sprintf("index %d", a.index)}
		if a.proto == loanProtoDown {
			n.undo = append(n.undo, setLink(a.index, "", 0, unix.IFF_UP))
		}
		n.undo = append(n.undo, message{typ: unix.RTM_DELADDR, body: a.body})
		log.warn("%s: an eni0 that was killed has left the address %v", n.on, a.ip.Addr())
		n.giveBack()
	}
	return nil
}
