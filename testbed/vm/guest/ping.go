package main

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"eni0/testbed/vm/guestreport"
)

// This file measures what an application loses while names change: one that is connected by the
// primary's address, so that nothing but that address and the routes decide by which link it goes.
// A socket that is bound to the link as well would find its way when they are gone.

const primaryMAC = "0a:ff:00:00:00:01"

const pingEvery = 20 * time.Millisecond

// A pinger asks an address for an echo again and again.
type pinger struct {
	c    *net.IPConn
	stop chan struct{}
	ends sync.WaitGroup

	mu       sync.Mutex
	sent     []time.Time // by sequence number
	answered []time.Time // when it had been sent; in the order of the answers
}

// pingPrimary starts to ask the router of the primary.
func pingPrimary(now *guestreport.State) (*pinger, error) {
	for _, l := range now.Links {
		for _, addr := range l.Addrs {
			p, err := netip.ParsePrefix(addr)
			if err != nil || l.MAC != primaryMAC || !p.Addr().Is4() {
				continue
			}
			router := p.Masked().Addr().As4()
			router[3] = 2
			return ping(p.Addr(), netip.AddrFrom4(router))
		}
	}
	return nil, errors.New("the primary has no address to ping from")
}

// ping starts to ask router, from an address.
func ping(own, router netip.Addr) (*pinger, error) {
	from, to := net.IPAddr{IP: own.AsSlice()}, net.IPAddr{IP: router.AsSlice()}
	c, err := net.ListenIP("ip4:icmp", &from)
	if err != nil {
		return nil, err
	}
	p := &pinger{c: c, stop: make(chan struct{})}
	p.ends.Go(p.receive)
	p.ends.Go(func() { p.send(&to) })
	return p, nil
}

// send sends one echo request after the other. One that can't be sent is lost like those that are
// not answered.
func (p *pinger) send(to *net.IPAddr) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		p.mu.Lock()
		seq := uint16(len(p.sent))
		p.sent = append(p.sent, time.Now())
		p.mu.Unlock()
		p.c.WriteToIP(echo(seq), to)
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
	}
}

// receive takes note of the answers, until the socket is closed.
func (p *pinger) receive() {
	b := make([]byte, 1500)
	for {
		n, _, err := p.c.ReadFromIP(b)
		if err != nil {
			return
		}
		const reply, head = 0, 8
		if n < head || b[0] != reply || binary.BigEndian.Uint16(b[4:]) != echoID() {
			continue // the kernel shows each raw socket all of it
		}
		seq := int(binary.BigEndian.Uint16(b[6:]))
		p.mu.Lock()
		if seq < len(p.sent) {
			p.answered = append(p.answered, p.sent[seq])
		}
		p.mu.Unlock()
	}
}

// end stops, gives the last answers a moment, and tells what was lost.
func (p *pinger) end() guestreport.Pings {
	close(p.stop)
	time.Sleep(500 * time.Millisecond)
	p.c.Close()
	p.ends.Wait()
	return count(p.sent, p.answered)
}

// count tells what was lost of what was sent. The longest gap is between two requests that were
// answered with none between them that was; what is before the first answer or after the last
// counts too.
func count(sent, answered []time.Time) guestreport.Pings {
	w := guestreport.Pings{Sent: len(sent), Lost: len(sent) - len(answered)}
	if len(sent) == 0 {
		return w
	}
	heard := append(slices.Clone(answered), sent[0], sent[len(sent)-1])
	slices.SortFunc(heard, time.Time.Compare)
	for at := range heard[1:] {
		w.Gap = max(w.Gap, heard[at+1].Sub(heard[at]).Milliseconds())
	}
	return w
}

// echo is an ICMP echo request without data: RFC 792.
func echo(seq uint16) []byte {
	const request = 8
	b := []byte{request, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, echoID())
	b = binary.BigEndian.AppendUint16(b, seq)
	sum := uint32(0)
	for pair := range slices.Chunk(b, 2) {
		sum += uint32(binary.BigEndian.Uint16(pair))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
	return b
}

// echoID is what tells our echoes from those of others.
func echoID() uint16 { return uint16(os.Getpid()) }
