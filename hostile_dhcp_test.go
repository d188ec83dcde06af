package main

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// hostileFrames are what a server may send in place of an OFFER or ACK: none of them is one.
func hostileFrames() map[string]func(frame []byte) [][]byte {
	// Where things are in a frame: behind Ethernet, IP and UDP, and then in the message (RFC 2131, figure 1).
	const ip, udp, bootp = 14, 14 + 20, 14 + 20 + 8
	const options = bootp + 240
	one := func(change func(b []byte) []byte) func([]byte) [][]byte {
		return func(b []byte) [][]byte { return [][]byte{resized(change(b))} }
	}
	set := func(at int, values ...byte) func([]byte) [][]byte {
		return one(func(b []byte) []byte { copy(b[at:], values); return b })
	}
	raw := func(change func(b []byte) []byte) func([]byte) [][]byte {
		return func(b []byte) [][]byte { return [][]byte{change(b)} }
	}
	ending := func(more ...byte) func([]byte) [][]byte { // in place of the end
		return one(func(b []byte) []byte {
			return append(bytes.TrimRight(bytes.TrimRight(b, "\x00"), "\xff"), more...)
		})
	}
	all := map[string]func([]byte) [][]byte{
		"nothing":                            func([]byte) [][]byte { return nil },
		"an empty frame":                     func([]byte) [][]byte { return [][]byte{make([]byte, 14)} },
		"an echo of nothing but zeros":       raw(func(b []byte) []byte { clear(b[ip:]); return b }),
		"a thousand frames of garbage":       func(b []byte) [][]byte { clear(b[bootp:]); return slices.Repeat([][]byte{b}, 1000) },
		"a frame of 9001 bytes":              one(func(b []byte) []byte { return append(b[:bootp], make([]byte, 9001-bootp)...) }),
		"ARP":                                raw(func(b []byte) []byte { b[13] = 6; return b }),
		"IPv6":                               raw(func(b []byte) []byte { b[12], b[13] = 0x86, 0xdd; return b }),
		"IP version 6 in IPv4":               set(ip, 0x65),
		"an IP header of 8 bytes":            set(ip, 0x42),
		"an IP header longer than the frame": set(ip, 0x4f),
		"an IP length of 0":                  raw(func(b []byte) []byte { b[ip+2], b[ip+3] = 0, 0; return summed(b) }),
		"an IP length beyond the frame":      raw(func(b []byte) []byte { b[ip+2], b[ip+3] = 0xff, 0xff; return summed(b) }),
		"a fragment":                         raw(func(b []byte) []byte { b[ip+6] = 0x20; return summed(b) }),
		"a wrong IP checksum":                raw(func(b []byte) []byte { b[ip+10] ^= 1; return b }),
		"TCP":                                raw(func(b []byte) []byte { b[ip+9] = 6; return summed(b) }),
		"another source port":                set(udp, 0, 68),
		"another port":                       set(udp+2, 0, 69),
		"a UDP length of 0":                  raw(func(b []byte) []byte { b[udp+4], b[udp+5] = 0, 0; return b }),
		"a wrong UDP checksum":               raw(func(b []byte) []byte { b[udp+6] ^= 1; return b }),
		"a request":                          set(bootp, 1),
		"another hardware type":              set(bootp+1, 6),
		"an address of 16 bytes":             set(bootp+2, 16),
		"another exchange":                   set(bootp+4, 9, 9, 9, 9),
		"no address":                         set(bootp+16, 0, 0, 0, 0),
		"a multicast address":                set(bootp+16, 224, 0, 0, 1),
		"the broadcast address":              set(bootp+16, 255, 255, 255, 255),
		"a loopback address":                 set(bootp+16, 127, 0, 0, 1),
		"the address of IMDS":                set(bootp+16, 169, 254, 169, 254),
		"another client":                     set(bootp+28, 2, 2, 2, 2, 2, 2),
		"no cookie":                          set(bootp+236, 0, 0, 0, 0),
		"no options":                         one(func(b []byte) []byte { return b[:options] }),
		"no end":                             one(func(b []byte) []byte { return b[:options+4] }),
		"a type of 0":                        set(options+2, 0),
		"a type of 255":                      set(options+2, 255),
		"a NAK":                              set(options+2, dhcpNAK),
		"an INFORM":                          set(options+2, 8),
		"a type of two bytes":                set(options+1, 2),
		"an option that never ends":          ending(254, 255),
		"a second server":                    ending(54, 4, 10, 0, 0, 9, 255),
		"overload 7":                         ending(52, 1, 7, 255),
		"a lease time of 5 bytes":            ending(51, 1, 9, 255),
		"half a route":                       ending(121, 3, 24, 10, 0, 255),
		"a route of 33 bits":                 ending(121, 9, 33, 1, 2, 3, 4, 5, 6, 7, 8, 255),
		"pads to the end":                    one(func(b []byte) []byte { return append(b[:options+3], make([]byte, 8000)...) }),
	}
	for _, n := range []int{1, 13, 15, 33, 35, 41, 43, 100, 281} {
		all["cut after "+string(rune('0'+n/100))+string(rune('0'+n/10%10))+string(rune('0'+n%10))+" bytes"] = raw(func(b []byte) []byte { return b[:n] })
	}
	return all
}

// resized has the lengths and checksums of IP and UDP fit the frame. The checksum of UDP is left out, which is allowed.
func resized(b []byte) []byte {
	if len(b) > 14+20+8 {
		binary.BigEndian.PutUint16(b[14+2:], uint16(len(b)-14))
		binary.BigEndian.PutUint16(b[14+20+4:], uint16(len(b)-14-20))
		b[14+20+6], b[14+20+7] = 0, 0
	}
	return summed(b)
}

// summed has the checksum of IP fit.
func summed(b []byte) []byte {
	b[14+10], b[14+11] = 0, 0
	binary.BigEndian.PutUint16(b[14+10:], checksum(b[14:14+20]))
	return b
}

// Whatever a DHCP server sends: the run ends in its budget with code 1, in 16 MiB, and nothing is changed or left.
func TestKernelHostileDHCP(t *testing.T) {
	l := borrowing(t, 0)
	if l == nil {
		return
	}
	program := l.built()
	const budget = 280 * time.Millisecond
	all := hostileFrames()
	for world, rewrite := range all {
		l.DHCP(0).Rewrite(rewrite)
		l.unchanged(func() {
			cmd := exec.Command(program, "fix", "-names", "-timeout", budget.String())
			cmd.Env = []string{"PATH="}
			l.hostile(cmd, budget, world)
		})
	}
	l.DHCP(0).Rewrite(nil)
	l.unchanged(func() { l.run(codeRight, "fix", "-names", "-timeout", "10s") }) // the server alone was to blame
	if t.Logf("%d kinds", len(all)); len(all) < 50 {
		t.Errorf("only %d kinds", len(all))
	}
}
