#!/bin/sh
# Is the primary ENI the one that default traffic leaves by? What `eni0 check` is measured against: the
# comparison as people have it in a shell script.
imds=http://169.254.169.254/latest

token=$(curl -s -X PUT "$imds/api/token" -H "X-aws-ec2-metadata-token-ttl-seconds: 60")
mac=$(curl -s -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/mac")
dev=$(ip route | grep default | head -n1 | cut -d' ' -f5)
devmac=$(cat "/sys/class/net/$dev/address")

if [ "$mac" = "$devmac" ]; then
	echo right
else
	echo wrong
fi
