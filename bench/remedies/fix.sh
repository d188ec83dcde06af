#!/bin/sh
# The three scripts in one: ask IMDS for the primary's address, compare it with that of the link that has the
# default route, and where they differ stop the network, swap the two names, and start it.
imds=http://169.254.169.254/latest

token=$(curl -s -X PUT "$imds/api/token" -H "X-aws-ec2-metadata-token-ttl-seconds: 60")
mac=$(curl -s -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/mac")
dev=$(ip route | grep default | head -n1 | cut -d' ' -f5)
if [ "$mac" = "$(cat "/sys/class/net/$dev/address")" ]; then
	exit 0
fi
primary=$(basename "$(dirname "$(grep -l "$mac" /sys/class/net/*/address)")")
ip link set dev "$dev" down
ip link set dev "$primary" down
ip link set dev "$dev" name swapping
ip link set dev "$primary" name "$dev"
ip link set dev swapping name "$primary"
ip link set dev "$dev" up
ip link set dev "$primary" up
systemctl restart systemd-networkd.service
