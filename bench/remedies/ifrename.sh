#!/bin/sh
# ifrename by a map that is made of what IMDS says: the primary is eth0, the other ENIs follow by their
# device numbers.
imds=http://169.254.169.254/latest

token=$(curl -s -X PUT "$imds/api/token" -H "X-aws-ec2-metadata-token-ttl-seconds: 60")
get() { curl -s -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/$1"; }
map=$(mktemp)
for mac in $(get network/interfaces/macs/); do
	echo "eth$(get "network/interfaces/macs/${mac}device-number") mac ${mac%/}"
done >"$map"
if [ ! -s "$map" ]; then
	exit 1
fi
ifrename -t -c "$map" # its code is not 0 where there is nothing to rename
rm "$map"
systemctl restart systemd-networkd.service
