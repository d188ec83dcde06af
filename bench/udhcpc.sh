#!/bin/sh
# What udhcpc runs with its lease: an address, and a way to IMDS.
if [ "$1" = bound ]; then
	ip addr add "$ip/32" dev "$interface"
	ip route add 169.254.169.254 via "$router" dev "$interface" src "$ip" onlink
fi
