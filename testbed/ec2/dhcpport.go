package ec2

import (
	"encoding/binary"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A dhcpPort is where a DHCP server is reached: a wire.
type dhcpPort struct {
	index int      // of the wire
	mac   [6]byte  // and its address
	in    *os.File // UDP port 67: the kernel verifies what comes, checksums too
	out   int      // for whole frames, because a client that has no address yet answers no ARP; it is the VPC's
	ended chan struct{}

	mu     sync.Mutex // one send at a time
	kernel int        // to ask about the wire: rtnetlink; -1 once the port is closed
}

// Serve begins to answer, or ends it: then another server may listen at the wire. A server serves
// from the moment in which its ENI is plugged in.
func (d *DHCP) Serve(on bool) error {
	if d.port != nil {
		d.port.close()
		d.port = nil
	}
	if !on {
		return nil
	}
	p := &dhcpPort{out: d.i.vpc.out, ended: make(chan struct{})}
	if err := d.i.Do(func() error { return p.open(wire(d.device)) }); err != nil {
		return about(err, "DHCP at %s", wire(d.device))
	}
	d.port = p
	go p.serve(d)
	return nil
}

// serve hands on what comes, until the port is closed.
func (p *dhcpPort) serve(d *DHCP) {
	defer close(p.ended)
	b := make([]byte, 64<<10)
	for {
		n, err := p.in.Read(b)
		if err != nil {
			return
		}
		d.take(b[:n], p)
	}
}

// close ends serve.
func (p *dhcpPort) close() {
	p.in.Close()
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.kernel)
	p.kernel = -1
}

// open opens the port, in the calling thread's namespace.
func (p *dhcpPort) open(wire string) error {
	link, err := net.InterfaceByName(wire)
	if err != nil {
		return err
	}
	p.index, p.mac = link.Index, [6]byte(link.HardwareAddr)
	if p.kernel, err = rtnetlink(); err != nil {
		return err
	}
	if p.in, err = listenUDP(wire); err != nil {
		unix.Close(p.kernel)
	}
	return err
}

// send sends frames, unless the port is closed, and calls sent then. A wire drops what it is given
// until the kernel has seen that the ENI at its other end is up, so that comes first.
func (p *dhcpPort) send(frames [][]byte, sent func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kernel < 0 {
		return
	}
	// Not for long: the ENI may be down again.
	for begin := time.Now(); !p.carries() && time.Since(begin) < time.Second/10; {
		time.Sleep(100 * time.Microsecond)
	}
	for _, f := range frames {
		// A wire that can't take it loses it.
		unix.Sendto(p.out, f, 0, &unix.SockaddrLinklayer{Ifindex: p.index})
	}
	sent()
}

// carries tells whether the wire carries frames.
func (p *dhcpPort) carries() bool {
	if err := send(p.kernel, unix.RTM_GETLINK, 0, ifinfomsg(p.index, 0, 0)); err != nil {
		return false
	}
	msgs, err := receive(p.kernel)
	if err != nil || len(msgs[0].Data) < unix.SizeofIfInfomsg {
		return false
	}
	return binary.NativeEndian.Uint32(msgs[0].Data[8:])&unix.IFF_RUNNING != 0 // ifi_flags
}

// listenUDP opens the DHCP server's port on one link. It may be open on others.
func listenUDP(link string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "dhcp")
	for _, set := range []func() error{
		// Servers in the same namespace, of ours or not, bind first and name their link then.
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) },
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) },
		func() error { return unix.BindToDevice(fd, link) },
		func() error { return unix.Bind(fd, &unix.SockaddrInet4{Port: 67}) },
	} {
		if err := set(); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}
