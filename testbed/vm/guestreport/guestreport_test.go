package guestreport

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

// /proc/net/route of a machine with two default routes, on a little-endian one.
const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth1	00000000	0202000A	0003	0	0	2048	00000000	0	0	0
eth0	00000000	0201000A	0003	0	0	1024	00000000	0	0	0
eth0	0001000A	00000000	0001	0	0	1024	00FFFFFF	0	0	0
`

func TestParseRoutes(t *testing.T) {
	routes, err := ParseRoutes(table)
	want := Route{"eth0", netip.MustParsePrefix("10.0.1.0/24"), netip.MustParseAddr("0.0.0.0"), 1024}
	if err != nil || len(routes) != 3 || routes[2] != want {
		t.Fatalf("ParseRoutes() = %v, %v, want %v at the end", routes, err, want)
	}
	if via := netip.MustParseAddr("10.0.2.2"); routes[0].Via != via {
		t.Errorf("via %v, want %v", routes[0].Via, via)
	}
	s := State{Links: []Link{{Name: "eth0", MAC: "0a:ff:00:00:00:01"}}, Routes: routes}
	if s.Leaves() != "eth0" {
		t.Errorf("Leaves() = %q, want that with the lower metric", s.Leaves())
	}
	if s.MAC("eth0") != "0a:ff:00:00:00:01" || s.MAC("eth9") != "" {
		t.Errorf("MAC() = %q, %q", s.MAC("eth0"), s.MAC("eth9"))
	}
	if none := (&State{Routes: routes[2:]}).Leaves(); none != "" {
		t.Errorf("Leaves() = %q without a default route", none)
	}
	for _, bad := range []string{"eth0 00000000", strings.Replace(table, "0202000A", "02020", 1), strings.Replace(table, "2048", "x", 1)} {
		if _, err := ParseRoutes("\n" + bad); err == nil {
			t.Errorf("ParseRoutes(%q): no error", bad)
		}
	}
}

func TestLook(t *testing.T) {
	if _, err := os.Stat("/proc/net/route"); err != nil {
		t.Skip(err)
	}
	s, err := Look()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Links {
		if l.Name == "lo" || l.Index == 0 {
			t.Errorf("Look() has %v", l)
		}
	}
}
