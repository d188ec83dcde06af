package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// This file is a DHCPv4 client (RFC 2131) for a link that has no address: frames in and out of a
// packet socket, because the kernel's UDP neither sends nor takes without one. It obtains a lease,
// by DISCOVER, OFFER, REQUEST and ACK, and keeps nothing: no renewal, and no RELEASE, because the
// network manager will ask for an address seconds later, and EC2 has one for each ENI. Frames are
// made and read by pure functions; what comes is a stranger's, and whatever is wrong with it, it is
// passed over.

const (
	// RFC 2131, 4.1, has 4 s doubling to 64 s. EC2 answers within milliseconds, and a boot is
	// waiting.
	firstWait    = 250 * time.Millisecond
	maxWait      = 4 * time.Second
	requestTries = 4 // then the server that made the offer has gone: start over
)

// A wire takes Ethernet frames to and from a link, a whole one with each Write and Read.
type wire interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error // as of os.File
}

// A packetSocket is a wire: packet(7), for the IPv4 frames of one link.
type packetSocket struct{ *os.File }

// close frees the socket.
func (s packetSocket) close() { _ = s.Close() }

// dialPacket opens a packet socket on a link. It has no filter: nothing else is on a link that is
// up for milliseconds.
func dialPacket(index int32) (packetSocket, error) {
	// No protocol before bind, or frames of every link come in between: packet(7).
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return packetSocket{}, os.NewSyscallError("dhcp: socket", err)
	}
	networkOrder := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)) // htons(3)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder, Ifindex: int(index)}); err != nil {
		_ = unix.Close(fd)
		return packetSocket{}, os.NewSyscallError("dhcp: bind", err)
	}
	return packetSocket{os.NewFile(uintptr(fd), "dhcp")}, nil
}

// Write sends a frame. One that meets a link which goes down, or a full queue, is lost, as any may
// be.
func (s packetSocket) Write(b []byte) (int, error) {
	n, err := s.File.Write(b)
	if errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENOBUFS) {
		return len(b), nil
	}
	return n, err
}

// errNoAnswer means that a message was sent as often as it was worth.
var errNoAnswer = errors.New("no answer")

// obtainLease gets a lease: the four messages, again and again until ctx ends. A NAK, or a server
// that falls silent after its offer, starts over. RFC 2131, 4.4.1, would have it ask by ARP whether
// the address is free: for a /32 of two minutes, on links where EC2 answers for all addresses, that
// is not worth the wait.
func obtainLease(ctx context.Context, conn wire, client hwaddr) (lease, error) {
	began := time.Now()
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		q := dhcpQuery{kind: dhcpDiscover, client: client, xid: rand.Uint32(), began: began}
		offer, err := q.sendUntilAnswered(ctx, conn, 0)
		if err != nil {
			return lease{}, fmt.Errorf("dhcp: discover: %w in %v", err, time.Since(began).Round(time.Millisecond))
		}
		q.kind, q.offer = dhcpRequest, offer
		ack, err := q.sendUntilAnswered(ctx, conn, requestTries)
		if err == nil && ack.kind == dhcpACK {
			return ack, nil
		}
		broken := err != nil && !errors.Is(err, errNoAnswer)
		if err == nil {
			err = fmt.Errorf("refused by %v", ack.server)
		}
		if broken || !sleep(ctx, addJitter(wait)) {
			return lease{}, fmt.Errorf("dhcp: request %v: %w", offer.addr, err)
		}
	}
}

// sendUntilAnswered sends q until a good answer comes: at most so many times, unless that is 0, and
// until ctx ends.
func (q *dhcpQuery) sendUntilAnswered(ctx context.Context, conn wire, tries int) (lease, error) {
	for n, wait := 1, firstWait; ; n, wait = n+1, min(2*wait, maxWait) {
		if q.kind == dhcpDiscover { // RFC 2131, 4.4.1: a request has the xid and the seconds of its discover
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
			return lease{}, errNoAnswer
		}
	}
}

// awaitReply waits for a good answer to q.
func (q dhcpQuery) awaitReply(ctx context.Context, conn wire, wait time.Duration) (lease, error) {
	deadline := time.Now().Add(wait)
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })() // in the past
	_ = conn.SetReadDeadline(deadline)
	if ctx.Err() != nil {
		return lease{}, os.ErrDeadlineExceeded
	}
	frame := make([]byte, 1<<14) // more than EC2's MTU of 9001
	for {
		n, err := conn.Read(frame)
		if err != nil {
			return lease{}, err
		}
		if answer, err := q.parseFrame(frame[:n]); err == nil && q.isAnswer(answer) {
			return answer, nil
		}
	}
}

// addJitter is d, give or take a tenth: RFC 2131, 4.1, has clients not march in step.
func addJitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5) }
