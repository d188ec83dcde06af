package main

// This file is a DHCPv4 client (RFC 2131) for a link without an address: the messages of dhcpmsg.go
// over a packet socket, because the kernel's UDP needs an address. It gets a lease and keeps
// nothing: it renews no lease, and releases none, because the network manager asks for the same
// address seconds later, and EC2 has one for each ENI.

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// How long an answer is waited for. DHCP as a whole goes on until the end of -timeout: tempaddr.go
// begins it again after retryDelay.
const (
	// RFC 2131, 4.1, has 4 s doubling to 64 s. EC2 answers within milliseconds, and the boot waits.
	firstWait    = 250 * time.Millisecond
	maxWait      = 4 * time.Second
	requestTries = 4 // without an answer, then it starts again with a DISCOVER
)

// A wire sends and receives Ethernet frames, one with each Write and Read. Tests have one without a
// socket.
type wire interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error // as that of os.File
}

// A packetSocket is a wire: packet(7), for the IPv4 frames of one link.
type packetSocket struct{ *os.File }

// close frees the socket.
func (s packetSocket) close() { _ = s.Close() }

// notForOthers is a filter of bpf(2)'s older kind that drops frames of the types PACKET_OTHERHOST
// and PACKET_OUTGOING. The first are also those with the tag of a VLAN that there is no link for:
// the kernel takes the tag off (__netif_receive_skb_core of net/core/dev.c).
func notForOthers() *unix.SockFprog {
	const packetType = 0xfffff000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE of linux/filter.h
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: packetType},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: unix.PACKET_MULTICAST, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff}, // bytes of the frame
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
}

// dialPacket opens a packet socket on a link.
func dialPacket(index int32) (packetSocket, error) {
	// The protocol is set by bind. With one in socket it would get frames of all links before:
	// packet(7).
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return packetSocket{}, os.NewSyscallError("dhcp: socket", err)
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, notForOthers())
	if err != nil {
		_ = unix.Close(fd)
		return packetSocket{}, os.NewSyscallError("dhcp: filter", err)
	}
	htons := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons, Ifindex: int(index)})
	if err != nil {
		_ = unix.Close(fd)
		return packetSocket{}, os.NewSyscallError("dhcp: bind", err)
	}
	return packetSocket{os.NewFile(uintptr(fd), "dhcp")}, nil
}

// Write sends a frame. It is no error if the link is down or the queue is full: the frame is lost,
// as any frame can be.
func (s packetSocket) Write(b []byte) (int, error) {
	n, err := s.File.Write(b)
	if errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENOBUFS) {
		return len(b), nil
	}
	return n, err
}

// errNoAnswer means that a message was sent as often as it should be.
var errNoAnswer = errors.New("no answer")

// obtainLease gets a lease by DISCOVER, OFFER, REQUEST and ACK. It tries until ctx ends: after a
// NAK, or without an answer to the REQUEST, it starts again, and prefers the offer of another
// server. It does not ask by ARP whether the address is free (RFC 2131, 4.4.1): EC2 answers ARP for
// all addresses.
func obtainLease(ctx context.Context, conn wire, client hwaddr) (lease, error) {
	began := time.Now()
	var failed netip.Addr // the server whose offer came to nothing
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		q := dhcpQuery{kind: dhcpDiscover, client: client, xid: rand.Uint32(), began: began,
			failed: failed}
		offer, err := q.exchange(ctx, conn, 0) // DISCOVER, OFFER
		if err != nil {
			elapsed := time.Since(began).Round(time.Millisecond)
			return lease{}, errorf("dhcp: discover: %w in %v", err, elapsed)
		}
		q.kind, q.offer = dhcpRequest, offer
		ack, err := q.exchange(ctx, conn, requestTries) // REQUEST, ACK or NAK
		if err == nil && ack.kind == dhcpACK {
			return ack, nil
		}
		failed = offer.server
		broken := err != nil && !errors.Is(err, errNoAnswer)
		if err == nil {
			err = errorf("refused by %v", ack.server)
		}
		if broken || !sleep(ctx, addJitter(wait)) {
			return lease{}, errorf("dhcp: request %v: %w", offer.addr, err)
		}
	}
}

// exchange sends q until an answer to it comes, at most tries times unless that is 0, or until ctx
// ends.
func (q *dhcpQuery) exchange(ctx context.Context, conn wire, tries int) (lease, error) {
	for n, wait := 1, firstWait; ; n, wait = n+1, min(2*wait, maxWait) {
		if q.kind == dhcpDiscover { // a REQUEST has the secs of its DISCOVER: RFC 2131, 4.4.1
			q.seconds = uint16(min(time.Since(q.began)/time.Second, 0xffff))
		}
		if _, err := conn.Write(q.frame()); err != nil {
			return lease{}, describeTimeout(err)
		}
		answer, err := q.awaitReply(ctx, conn, addJitter(wait))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, describeTimeout(err)
		}
		if n == tries || ctx.Err() != nil {
			return lease{}, q.noAnswer()
		}
	}
}

// noAnswer is errNoAnswer, with what was passed over.
func (q *dhcpQuery) noAnswer() error {
	if q.passed == 0 {
		return errNoAnswer
	}
	return errorf("%w (passed over %s; the last is %w)", errNoAnswer,
		countOf(q.passed, "reply", "replies"), q.why)
}

// awaitReply waits for an answer to q. An offer of the server that has failed before counts only
// where no other comes.
func (q *dhcpQuery) awaitReply(ctx context.Context, conn wire, wait time.Duration) (lease, error) {
	past := time.Unix(1, 0)
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(past) })()
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	if ctx.Err() != nil { // checked only now: the line above may have undone the one before
		return lease{}, os.ErrDeadlineExceeded
	}
	frame := make([]byte, 1<<14) // bytes; the MTU of EC2 is 9001
	var second *lease
	for {
		n, err := conn.Read(frame)
		if errors.Is(err, os.ErrDeadlineExceeded) && second != nil {
			return *second, nil
		}
		if err != nil {
			return lease{}, err
		}
		answer, err := q.parseFrame(frame[:n])
		if err == nil {
			err = q.checkAnswer(answer)
		}
		switch {
		case errors.Is(err, errNotDHCP), errors.Is(err, errNotOurs):
		case err != nil:
			q.passed++
			q.why = err
		case q.kind == dhcpDiscover && answer.server == q.failed:
			second = &answer
		default:
			return answer, nil
		}
	}
}

// addJitter is d, more or less by up to a tenth at random: RFC 2131, 4.1, so that clients do not
// all send at the same time.
func addJitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5) }
