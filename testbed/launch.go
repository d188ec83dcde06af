package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"eni0/testbed/ec2"
)

// tryLaunch is one launch of many: cluttered at random, fixed, and verified. It says something only
// if that did not come out right, and returns the exit code of the program.
func tryLaunch(ctx context.Context, seed, enis string) int {
	order, stage, dice, err := drawAgain(seed, enis)
	if err != nil {
		log.Print(err)
		return 1
	}
	var out bytes.Buffer
	return onInstance(formatOrder(order), stage, &out, func(t *trial) (bool, error) {
		t.mishaps = drawMishaps(dice, stage)
		err := errors.Join(t.clutter(dice), t.strike(dice))
		if err != nil {
			return false, err
		}
		// What a fix has left that was killed, the next one removes: before is without that.
		before, err := ec2.Look()
		if err == nil {
			err = t.begin(ctx, dice)
		}
		if err == nil && t.mishaps.late { // it is another link now
			before, err = ec2.Look()
		}
		if err == nil && t.mishaps.late {
			err = t.settleOrder()
		}
		if err != nil {
			return false, err
		}
		_, faults, err := t.carryOut(ctx, before)
		if err != nil || len(faults) > 0 {
			fmt.Printf("%s\n%s\n", out.String(), strings.Join(faults, "\n"))
		}
		fmt.Println(t.took.Microseconds(), t.mishaps) // for the tally
		return len(faults) == 0, err
	})
}

// drawAgain is draw for the arguments that launch passes to this program in a namespace.
func drawAgain(seed, enis string) (order []int, stage string, dice *rand.Rand, err error) {
	s, err := strconv.ParseUint(seed, 10, 64)
	n, err2 := strconv.Atoi(enis)
	order, stage, dice = draw(s, n)
	return order, stage, dice, errors.Join(err, err2)
}

// draw picks the order of a launch's ENIs, and how far it has got, and returns the dice for what is
// on its links. enis 0 is any number of them.
func draw(seed uint64, enis int) (order []int, stage string, dice *rand.Rand) {
	dice = rand.New(rand.NewPCG(seed, 0))
	if enis == 0 {
		enis = fewest + dice.IntN(most-fewest+1)
	}
	order, stage = dice.Perm(enis), configured
	if dice.IntN(2) == 0 {
		stage = early
	}
	return order, stage, dice
}

// clutter puts on each link some of what people put on links or, early in a boot, makes some of the
// trouble that there is then.
func (t *trial) clutter(dice *rand.Rand) error {
	choose := t.things
	if t.early() {
		choose = t.troubles
		t.Metadata().Refuse(dice.IntN(3))
	}
	for at, device := range t.order {
		for _, thing := range choose(fmt.Sprintf("eth%d", at), device) {
			if dice.IntN(2) == 0 {
				continue // not on this one
			}
			if err := thing(); err != nil {
				return err
			}
		}
	}
	return nil
}

// things are what there may be on a link: each of them makes one.
func (t *trial) things(name string, device int) []func() error {
	var (
		d      = byte(device + 1)
		own    = netip.PrefixFrom(t.Addr(device), 32)
		router = t.Router(device)
		table  = 10000 + uint32(device) // as amazon-ec2-net-utils numbers them
		shared = []ec2.Hop{{Dev: name, Via: router}, {Dev: "eth0", Via: t.Router(t.order[0]), Weight: 3}}
		net4   = func(a byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, a, d}), 24) }
		net6   = func(a byte) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, a, d, 15: 1}), 64)
		}
	)
	things := []func() error{
		func() error { return ec2.AddAltname(name, fmt.Sprintf("eni-%017x", d)) },
		func() error { return ec2.AddAddr(name, netip.PrefixFrom(own.Addr().Next(), 32)) },
		func() error { return ec2.AddRoute(ec2.Route{Dev: name, Dst: net4(100), Via: router}) },
		func() error { return ec2.AddRoute(ec2.Route{Dst: net4(101), Multipath: shared}) },
		func() error {
			return errors.Join(ec2.AddRoute(ec2.Route{Dev: name, Via: router, Table: table}),
				ec2.AddRule(ec2.Rule{From: own, Table: table, Priority: table}))
		},
		func() error {
			return errors.Join(ec2.AddNextHop(uint32(d), name, router),
				ec2.AddRoute(ec2.Route{Dst: net4(102), NextHop: uint32(d)}))
		},
		func() error { return ec2.AddNeighbour(name, router.Next(), [6]byte{0x0a, 1, 1, 1, 1, d}) },
	}
	if !ec2.HasIPv6() {
		return things
	}
	return append(things, func() error {
		return errors.Join(ec2.AddAddr(name, net6(0)),
			ec2.AddRoute(ec2.Route{Dev: name, Dst: net6(1).Masked(), Via: net6(0).Addr().Next()}),
			ec2.AddNeighbour(name, net6(0).Addr().Next(), [6]byte{0x0a, 1, 1, 1, 1, d}))
	})
}

// troubles are what there may be early in a boot: each of them makes one.
func (t *trial) troubles(name string, device int) []func() error {
	server := t.DHCP(device)
	own := netip.PrefixFrom(t.Addr(device), 32)
	do := func(f func()) func() error { return func() error { f(); return nil } }
	return []func() error{
		func() error { return ec2.AddAltname(name, fmt.Sprintf("eni-%017x", device+1)) },
		func() error { return ec2.SetUp(name, true) },
		func() error { return ec2.AddRule(ec2.Rule{From: own, Table: 10000, Priority: 10000 + uint32(device)}) },
		do(func() { server.Give(t.LinkLocalLease(device)) }), // a subnet without IPv4
		do(func() { server.Garbage(true) }),
		do(func() { server.Silent(1) }),
		do(func() { server.Refuse(1) }),
	}
}
