#!/bin/sh
# Is the primary ENI called eth0? What `eni0 fix` is measured against where no network is configured: the
# least that a script has to do to ask IMDS there, and to leave everything as it was.
imds=http://169.254.169.254/latest

ip link set eth0 up
busybox udhcpc -n -q -i eth0 -s "${0%/*}/udhcpc.sh" 2>/dev/null
token=$(curl -s -X PUT "$imds/api/token" -H "X-aws-ec2-metadata-token-ttl-seconds: 60")
mac=$(curl -s -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/mac")
ip addr flush dev eth0
ip link set eth0 down

if [ "$mac" = "$(cat /sys/class/net/eth0/address)" ]; then
	echo right
else
	echo wrong
fi
