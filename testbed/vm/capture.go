package main

import (
	"encoding/binary"
	"net/netip"
	"os"
)

// This file reads what went over the wire.

// asked returns how many connections to IMDS the machine has begun, by what QEMU captures of its
// NICs. Those that were refused are among them, of which no server knows.
func (b *boot) asked() int {
	n := 0
	for _, device := range b.Order {
		text, err := os.ReadFile(b.capture(device))
		if err == nil { // not there before QEMU has made it
			n += countSyns(text, imdsAddr)
		}
	}
	return n
}

// countSyns counts the TCP connections that were begun with an address, in a file as
// pcap-savefile(5) describes it: a head of 24 bytes, then packets with a head of 16 bytes each, the
// third word of which is the length. The file may still grow: an incomplete packet is the last.
func countSyns(pcap []byte, to netip.Addr) int {
	const fileHead, packetHead = 24, 16
	n := 0
	for at := fileHead; at+packetHead <= len(pcap); {
		length := int(binary.NativeEndian.Uint32(pcap[at+8:]))
		at += packetHead
		if length > len(pcap)-at {
			break
		}
		if beginsTCP(pcap[at:at+length], to) {
			n++
		}
		at += length
	}
	return n
}

// beginsTCP tells whether a frame has the first segment of a connection with an address: SYN, not
// ACK.
func beginsTCP(frame []byte, to netip.Addr) bool {
	const ethernet, ipv4, tcp, syn, ack = 14, 20, 20, 0x02, 0x10
	if len(frame) < ethernet+ipv4+tcp || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[ethernet+9] != 6 {
		return false
	}
	ip := frame[ethernet:]
	head := int(ip[0]&0x0f) * 4
	if head+tcp > len(ip) {
		return false
	}
	return netip.AddrFrom4([4]byte(ip[16:20])) == to && ip[head+13]&(syn|ack) == syn
}
