package ec2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// imds is where EC2 answers for itself.
const imds = "169.254.169.254"

// An Instance is an EC2 instance in a VPC. Each ENI is a veth pair: its near end, eth<i>, is in
// this process's namespace, down and unconfigured as the kernel finds it; its far end,
// wire<device>, is in the VPC with the router's address.
type Instance struct {
	enis     int          // their device indexes are 0 up to here
	dhcp     []*DHCP      // by device index
	vpc      *vpc         // nil when closed
	metadata *Metadata    // whether it is served or not
	server   *http.Server // nil while nothing listens
	listener net.Listener // the server's
}

// Launch makes an instance out of this process's network namespace, and the VPC beside it. order[i]
// is the device index of the ENI that the kernel named eth<i>: {1, 0} is the fault, the primary ENI
// (device 0) as eth1. Call it in a process that Isolate made.
func Launch(order []int) (*Instance, error) {
	if err := permutation(order); err != nil {
		return nil, err
	}
	if err := SetUp("lo", true); err != nil {
		return nil, err
	}
	v, err := newVPC()
	if err != nil {
		return nil, err
	}
	i := &Instance{enis: len(order), vpc: v, metadata: NewMetadata(len(order))}
	for device := range i.enis {
		i.dhcp = append(i.dhcp, &DHCP{i: i, device: device, lease: i.Lease(device)})
	}
	if err := errors.Join(i.Do(i.route), i.plug(order), i.Serve(i.metadata)); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// permutation says what is wrong with order, if anything.
func permutation(order []int) error {
	const most = 15 // ENIs that the largest instances take
	if len(order) == 0 || len(order) > most {
		return fmt.Errorf("%d ENIs: want 1 to %d", len(order), most)
	}
	for device := range order {
		if !slices.Contains(order, device) {
			return fmt.Errorf("order %v: no device %d", order, device)
		}
	}
	return nil
}

// plug plugs in the ENIs, in the order of their names.
func (i *Instance) plug(order []int) error {
	for at, device := range order {
		if err := i.Plug(device, fmt.Sprintf("eth%d", at)); err != nil {
			return err
		}
	}
	return nil
}

// route makes metadata's address. It is on lo: it is the same by every wire, and each router
// answers for it.
func (i *Instance) route() error {
	return errors.Join(AddAddr("lo", netip.PrefixFrom(netip.MustParseAddr(imds), 32)), SetUp("lo", true))
}

// Plug plugs an ENI in that is not there, for it was unplugged. The kernel gives it that name, and
// an index that no link has had.
func (i *Instance) Plug(device int, name string) error {
	if err := AddVeth(name, i.MAC(device), wire(device), int(i.vpc.netns.Fd())); err != nil {
		return err
	}
	err := i.Do(func() error { return i.wire(device) })
	return errors.Join(err, i.DHCP(device).Serve(true))
}

// wire makes the VPC's side of an ENI: the router, also for what has a link-local address, and the
// way back to that.
func (i *Instance) wire(device int) error {
	name := wire(device)
	return errors.Join(SetUp(name, true),
		AddAddr(name, netip.PrefixFrom(i.Router(device), 24)),
		AddAddr(name, netip.PrefixFrom(linkLocalServer, 32)),
		AddRoute(Route{Dev: name, Dst: netip.PrefixFrom(linkLocal(device), 32)}))
}

// Unplug pulls an ENI out. With it go its addresses and routes.
func (i *Instance) Unplug(device int) error {
	return errors.Join(i.DHCP(device).Serve(false), i.Do(func() error { return Delete(wire(device)) }))
}

// Take moves a link to the VPC's namespace, where it is down and has that name. Its addresses and
// routes go.
func (i *Instance) Take(index int, name string) error {
	return about(move(index, name, i.vpc.netns), "index %d: take away", index)
}

// Return moves a link back that was taken. It keeps its name.
func (i *Instance) Return(taken string) error {
	here, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer here.Close()
	return i.Do(func() error {
		index, err := indexOf(taken)
		if err != nil {
			return err
		}
		return about(move(index, taken, here), "%s: return", taken)
	})
}

// move moves a link from the calling thread's namespace to another. It has that name there.
func move(index int, name string, to *os.File) error {
	b := attr(ifinfomsg(index, 0, 0), unix.IFLA_NET_NS_FD, u32(uint32(to.Fd())))
	return request(unix.RTM_SETLINK, 0, attr(b, unix.IFLA_IFNAME, cstring(name)))
}

// Close ends what serves and takes the VPC away, and with it every ENI: at once, where the end of
// their namespace would do so at some time. A second Close does nothing.
func (i *Instance) Close() error {
	if i.vpc == nil {
		return nil
	}
	errs := []error{i.Serve(nil)}
	for device := range i.enis {
		if err := i.Unplug(device); !errors.Is(err, unix.ENODEV) { // it was out already
			errs = append(errs, err)
		}
	}
	errs = append(errs, i.vpc.close())
	i.vpc = nil
	return errors.Join(errs...)
}

// MAC is an ENI's address: 0a:ff:00:00:00:01 for device 0, the primary.
func (i *Instance) MAC(device int) [6]byte { return mac(device) }

// Pin writes a file that ties an ENI to a name: systemd.link(5). It is in /run, of which the caller
// has made one of its own.
func (i *Instance) Pin(device int, name string) error {
	const dir = "/run/systemd/network"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := fmt.Sprintf("[Match]\nMACAddress=%s\n[Link]\nName=%s\n", i.Hex(device), name)
	return os.WriteFile(dir+"/10-pinned.link", []byte(file), 0o644)
}

// Hex is MAC as text: "0a:ff:00:00:00:01" for device 0.
func (i *Instance) Hex(device int) string {
	mac := i.MAC(device)
	return net.HardwareAddr(mac[:]).String()
}

// Addr is the address that DHCP gives an ENI: 10.0.1.10 for device 0.
func (i *Instance) Addr(device int) netip.Addr { return address(device) }

// Router is the address of the router at an ENI's wire: 10.0.1.1 for device 0.
func (i *Instance) Router(device int) netip.Addr { return subnet(device).Masked().Addr().Next() }

// device is the device index of the ENI that l is, -1 if it is none.
func (i *Instance) device(l net.Interface) int {
	for device := range i.enis {
		if l.HardwareAddr.String() == hex(device) {
			return device
		}
	}
	return -1
}

// Metadata is what answers at 169.254.169.254 unless Serve says otherwise.
func (i *Instance) Metadata() *Metadata { return i.metadata }

// Do runs fn on a thread that is in the VPC, one at a time, and returns what it returned. In fn are
// no other goroutines, no t.Fatal, and no further Do.
func (i *Instance) Do(fn func() error) error { return i.vpc.do(fn) }

// Start starts a command in the VPC, behind all wires. Another DHCP server would be one: dnsmasq
// runs there with -d --no-ping --port=0 --bind-interfaces --interface=wire0, once the own one does
// not serve there.
func (i *Instance) Start(cmd *exec.Cmd) error { return i.Do(cmd.Start) }

// Serve makes h answer at http://169.254.169.254 in place of what did; with nil nothing listens
// there, and connections are refused.
func (i *Instance) Serve(h http.Handler) error {
	if i.server != nil {
		// The server may not have got to its listener yet, and would close it later.
		i.listener.Close()
		i.server.Close()
		i.server = nil
	}
	if h == nil {
		return nil
	}
	err := i.Do(func() (err error) {
		i.listener, err = net.Listen("tcp4", net.JoinHostPort(imds, "80"))
		return err
	})
	if err != nil {
		return err
	}
	i.server = &http.Server{
		Handler:  h,
		ErrorLog: log.New(io.Discard, "", 0), // a client that goes away, or a fault that a test makes, is nothing to log
		ConnContext: func(c context.Context, _ net.Conn) context.Context {
			return context.WithValue(c, accepted{}, time.Now())
		},
	}
	go i.server.Serve(i.listener) // until it is closed
	return nil
}

// ByAddress serves what comes from an ENI's address by h, and all else by other.
func ByAddress(from netip.Addr, h, other http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.RemoteAddr, from.String()+":") {
			h.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	})
}

// accepted is the key to when a request's connection was accepted.
type accepted struct{}

// Accepted is when a request to what Serve serves began to be work for the server.
func Accepted(r *http.Request) time.Time {
	at, _ := r.Context().Value(accepted{}).(time.Time)
	return at
}

// Settle waits until every ENI whose near end is up carries frames: for the other end of a veth
// pair the kernel sees to that a little later, and what is sent before is lost. A caller that sets
// links up by itself wants this before it counts on the network.
func (i *Instance) Settle() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	return i.Do(func() error {
		for _, l := range links {
			device := i.device(l)
			if device < 0 || l.Flags&net.FlagUp == 0 {
				continue // no ENI, or nobody will use its wire
			}
			if err := awaitCarrier(wire(device)); err != nil {
				return err
			}
		}
		return nil
	})
}

// awaitCarrier waits until a link carries frames, unless it is down. It listens before it looks, so
// that what happens in between is not missed.
func awaitCarrier(name string) error {
	events, err := subscribe(unix.RTNLGRP_LINK)
	if err != nil {
		return err
	}
	defer events.Close()
	b := make([]byte, 64<<10)
	for {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("link %q: %w", name, err)
		}
		if link.Flags&net.FlagRunning != 0 || link.Flags&net.FlagUp == 0 {
			return nil
		}
		if _, err := events.Read(b); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
}

// mac is an ENI's address, by its device index.
func mac(device int) [6]byte { return [6]byte{0x0a, 0xff, 0, 0, 0, byte(device + 1)} }

// hex is the same as a string: "0a:ff:00:00:00:01".
func hex(device int) string {
	m := mac(device)
	return net.HardwareAddr(m[:]).String()
}

// address is what DHCP gives an ENI, and subnet where that is.
func address(device int) netip.Addr  { return netip.AddrFrom4([4]byte{10, 0, byte(device + 1), 10}) }
func subnet(device int) netip.Prefix { return netip.PrefixFrom(address(device), 24) }

// wire is the name of an ENI's far end.
func wire(device int) string { return fmt.Sprintf("wire%d", device) }
