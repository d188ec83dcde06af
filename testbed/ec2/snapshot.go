package ec2

import (
	"net"
	"net/netip"
)

// A Snapshot is the instance as the kernel has it.
type Snapshot struct {
	Names  map[string]string // of the links, by address: "0a:ff:00:00:00:01": "eth1"
	Leaves netip.Addr        // the address that default traffic leaves by, zero for none
	State  []string          // everything else
}

// Look takes a snapshot. A manager must not be in the middle of something.
func Look() (Snapshot, error) {
	names, err := Names()
	if err != nil {
		return Snapshot{}, err
	}
	state, err := State()
	return Snapshot{names, leaves(), state}, err
}

// Names are those of the links, by address.
func Names() (map[string]string, error) {
	links, err := net.Interfaces()
	names := make(map[string]string, len(links))
	for _, l := range links {
		names[l.HardwareAddr.String()] = l.Name
	}
	return names, err
}

// leaves has the kernel itself choose the way to the rest of the world, and says by which address
// that begins, the zero Addr where there is none. A connected UDP socket has a way, and sends nothing.
func leaves() netip.Addr {
	conn, err := net.Dial("udp4", "192.0.2.1:9") // RFC 5737: an address that is nobody's
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
}
