package ec2

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A DHCP is the DHCP server that an ENI meets at its wire. It answers in the words of EC2's, to
// that ENI alone. What goes wrong between clients and servers it can be told to do.
type DHCP struct {
	i      *Instance
	device int
	port   *dhcpPort // nil while it does not serve

	mu      sync.Mutex // for what is below
	lease   Lease
	silent  int           // how many messages are still to be ignored
	refuse  int           // how many REQUESTs are still to be answered with NAK
	delay   time.Duration // before each answer
	garbage bool          // comes before each answer
	damaged bool          // frames too
	rewrite func([]byte) [][]byte
	seen    []DHCPMessage
}

// A DHCPMessage is one that came from a client.
type DHCPMessage struct {
	Type     string // DISCOVER
	XID      uint32
	At       time.Time
	Answered time.Time // zero for one that was not answered
}

// String is the type and the xid, "DISCOVER 3903f326".
func (m DHCPMessage) String() string { return fmt.Sprintf("%s %08x", m.Type, m.XID) }

// DHCP is the server at the wire of an ENI, whether that is plugged in or not.
func (i *Instance) DHCP(device int) *DHCP { return i.dhcp[device] }

// Give makes l what all answers have from now on. The address must be one that the VPC knows the
// way back to: that of Lease or of LinkLocalLease.
func (d *DHCP) Give(l Lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lease = l
}

// Silent makes the next n messages get no answer.
func (d *DHCP) Silent(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = n
}

// Refuse makes the next n REQUESTs be answered with NAK.
func (d *DHCP) Refuse(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = n
}

// Delay makes each answer come that much later. What is asked in the meantime is answered as well.
func (d *DHCP) Delay(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = by
}

// Garbage says whether frames that no client may believe come before each answer: cut short, or for
// another client, of another exchange or by another server. Those that have an address have
// 192.0.2.66.
func (d *DHCP) Garbage(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.garbage = on
}

// Damage says whether frames with a wrong UDP checksum come before each answer, with that address
// too.
func (d *DHCP) Damage(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.damaged = on
}

// Rewrite has fn make of each answer's frame what is sent in its place; nil ends that. fn may change
// the frame.
func (d *DHCP) Rewrite(fn func(frame []byte) [][]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rewrite = fn
}

// Seen returns the messages that have come so far, in that order.
func (d *DHCP) Seen() []DHCPMessage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.seen)
}

// Messages is the same as strings: "DISCOVER 3903f326", "REQUEST 3903f326". What is no DHCP message
// at all is "NOTHING" and what was read of an xid.
func (d *DHCP) Messages() []string {
	var s []string
	for _, m := range d.Seen() {
		s = append(s, m.String())
	}
	return s
}

// take notes a message that came from the wire, and sends what there is to say to it.
func (d *DHCP) take(b []byte, p *dhcpPort) {
	q, err := parseQuery(b)
	d.mu.Lock()
	at := len(d.seen)
	d.seen = append(d.seen, DHCPMessage{Type: q.kind.String(), XID: q.xid, At: time.Now()})
	var frames [][]byte
	if err == nil {
		frames = d.answer(q, p.mac)
	}
	delay := d.delay
	d.mu.Unlock()
	if frames == nil {
		return
	}
	sent := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.seen[at].Answered = time.Now()
	}
	if delay == 0 {
		p.send(frames, sent)
		return
	}
	time.AfterFunc(delay, func() { p.send(frames, sent) })
}

// answer returns the frames that answer q from the router's MAC address, none if nothing does. d.mu
// is held.
func (d *DHCP) answer(q query, src [6]byte) [][]byte {
	if d.silent > 0 {
		d.silent--
		return nil
	}
	if q.chaddr != mac(d.device) {
		return nil // EC2 knows who is at the wire
	}
	kind, ok := d.decide(q)
	if !ok {
		return nil
	}
	r := d.reply(q, kind)
	f := d.frame(q, r, src)
	var frames [][]byte
	if d.garbage {
		frames = wrongFrames(q, r, f)
	}
	if d.damaged {
		frames = append(frames, damaged(r, f)...)
	}
	if d.rewrite != nil {
		return append(frames, d.rewrite(f.encode())...)
	}
	return append(frames, f.encode())
}

// decide says what q is answered with: RFC 2131, 4.3. It is stateless, for an ENI's address is its
// own.
func (d *DHCP) decide(q query) (kind dhcpType, ok bool) {
	switch {
	case q.kind == dhcpDiscover:
		return dhcpOffer, true
	case q.kind != dhcpRequest:
		return 0, false // INFORM is nothing that EC2 is known to answer, the others never are
	case q.server.IsValid() && q.server != d.lease.Server:
		return 0, false // 4.3.2: the client has chosen another server
	case q.server.IsValid() && (!q.requested.IsValid() || !q.ciaddr.IsUnspecified()):
		return 0, false // 4.3.2: who answers an OFFER fills in the one and leaves the other
	}
	if !q.requested.IsValid() {
		q.requested = q.ciaddr // 4.3.2: to renew
	}
	if d.refuse > 0 || q.requested != d.lease.Addr.Addr() {
		d.refuse = max(d.refuse-1, 0)
		return dhcpNak, true
	}
	return dhcpAck, true
}

// reply is an answer to q of that type.
func (d *DHCP) reply(q query, kind dhcpType) reply {
	r := reply{op: bootReply, xid: q.xid, broadcast: q.broadcast, chaddr: q.chaddr}
	r.options = option(r.options, optType, []byte{byte(kind)})
	r.options = option(r.options, optServer, d.lease.Server.AsSlice())
	if kind != dhcpNak { // RFC 2131, table 3: which has no address and hardly an option
		d.lease.fill(&r)
	}
	return r
}

// frame is r on its way. RFC 2131, 4.1: to the client's own address if it has one that it can be
// reached by; else to everybody if it has asked for that, or to the address that it is only about
// to get; and a NAK always to everybody.
func (d *DHCP) frame(q query, r reply, src [6]byte) frame {
	f := frame{src: src, dst: q.chaddr, from: d.lease.Server, to: r.yiaddr, fromPort: 67, toPort: 68, payload: r.encode()}
	everybody := frame{dst: [6]byte{255, 255, 255, 255, 255, 255}, to: netip.AddrFrom4([4]byte{255, 255, 255, 255})}
	switch {
	case !r.yiaddr.IsValid(), q.ciaddr.IsUnspecified() && q.broadcast:
		f.dst, f.to = everybody.dst, everybody.to
	case !q.ciaddr.IsUnspecified():
		f.to = q.ciaddr
	}
	return f
}
