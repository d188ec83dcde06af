package main

import (
	"encoding/binary"
	"testing"
	"time"

	"eni0/testbed/vm/guestreport"
)

func TestCount(t *testing.T) {
	start := time.Now()
	at := func(ticks ...int) (times []time.Time) {
		for _, n := range ticks {
			times = append(times, start.Add(time.Duration(n)*pingEvery))
		}
		return times
	}
	for _, c := range []struct {
		world          string
		sent, answered []time.Time
		want           guestreport.Pings
	}{
		{"nothing was sent", nil, nil, guestreport.Pings{}},
		{"all were answered", at(0, 1, 2), at(0, 1, 2), guestreport.Pings{Sent: 3, Gap: 20}},
		{"none was", at(0, 1, 2), nil, guestreport.Pings{Sent: 3, Lost: 3, Gap: 40}},
		{"out of order, two lost", at(0, 1, 2, 3, 4), at(4, 0, 1), guestreport.Pings{Sent: 5, Lost: 2, Gap: 60}},
		{"the last are lost", at(0, 1, 2, 3), at(0), guestreport.Pings{Sent: 4, Lost: 3, Gap: 60}},
	} {
		if got := count(c.sent, c.answered); got != c.want {
			t.Errorf("%s: count() = %+v, want %+v", c.world, got, c.want)
		}
	}
}

// RFC 1071: the sum over all, the checksum with it, is all ones.
func TestEcho(t *testing.T) {
	for _, seq := range []uint16{0, 1, 0x1234, 0xffff} {
		b := echo(seq)
		sum := uint32(0)
		for at := 0; at < len(b); at += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[at:]))
		}
		if got := sum>>16 + sum&0xffff; got != 0xffff || b[0] != 8 || binary.BigEndian.Uint16(b[6:]) != seq {
			t.Errorf("echo(%d) = % x, whose sum is %#x", seq, b, got)
		}
	}
}
