package main

import (
	"net"

	"eni0/testbed/kinds"
	"eni0/testbed/vm/guestreport"
)

// byHand are the arguments of ip(8) that make on a link one thing of each kind that nobody but its
// maker knows of. NAME is the link's name, and # its number.
var byHand = []string{
	"address add 10.0.#.77/24 dev NAME",
	"address add 2001:db8:#::77/64 dev NAME nodad",
	"route add 198.51.100.1#/32 via 10.0.#.2 dev NAME",
	"route add 198.51.100.2#/32 via 10.0.#.2 dev NAME proto static metric 50",
	"route add 2001:db8:#00::/64 via 2001:db8:#::2 dev NAME",
	"route add default via 10.0.#.2 dev NAME table 7#",
	"rule add from 10.0.#.77 lookup 7# priority 100#",
	"neighbour add 10.0.#.99 lladdr 02:00:00:00:00:0# dev NAME nud permanent",
	"nexthop add id 7# via 10.0.#.2 dev NAME",
	"route add 203.0.113.#/32 nhid 7#",
}

// makeByHand makes all that on every link.
func makeByHand(s *guestreport.State) error {
	links, err := numbered(s)
	if err != nil {
		return err
	}
	return kinds.MakeThese(byHand, links)
}

// numbered are the links with their numbers: the last of each address.
func numbered(s *guestreport.State) (links []kinds.Link, err error) {
	for _, l := range s.Links {
		mac, err := net.ParseMAC(l.MAC)
		if err != nil {
			return nil, err
		}
		links = append(links, kinds.Link{Name: l.Name, Number: int(mac[len(mac)-1])})
	}
	return links, nil
}

// dump asks ip(8) for all there is.
func dump() guestreport.Dump {
	d := make(guestreport.Dump)
	for _, args := range guestreport.Asked {
		d[args] = output("ip " + args)
	}
	return d
}
