package ec2

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// This file is what the metadata service knows of an instance: the keys that every instance has,
// and all that amazon-ec2-net-utils and cloud-init ask for. What few instances have is not there,
// as on most of them: no public addresses, no IPv6, no prefixes, no second network card, no role.

const (
	ami          = "ami-0123456789abcdef0"
	instanceID   = "i-0123456789abcdef0"
	instanceType = "c7i.24xlarge" // with one network card: there is no key network-card
	account      = "123456789012"
	region       = "us-east-1"
	zone         = region + "a"
	group        = "default"
	publicKey    = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// versions are those that EC2 lists at "/". Each of them is the beginning of the same paths.
var versions = []string{"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15",
	"2008-02-01", "2008-09-01", "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25",
	"2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17",
	"2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03", "2021-03-23", "2021-07-15", "2022-09-24",
	"2024-04-11", "latest"}

// newest is the path with "latest" in the place of another version.
func newest(path string) string {
	version, _, _ := strings.Cut(path, "/")
	if slices.Contains(versions, version) {
		return "latest" + path[len(version):]
	}
	return path
}

// describe adds what is known of the instance but for its ENIs. A key that ends in a slash is what
// a folder answers with, where EC2 does not list what is in it.
func (m *Metadata) describe() {
	m.keys[""] = strings.Join(versions, "\n")
	m.keys["latest/"] = "dynamic\nmeta-data\nuser-data"
	m.keys["latest/user-data"] = "#!/bin/true\n"
	m.keys["latest/dynamic/instance-identity/document"] = document()
	for path, body := range map[string]string{
		"ami-id":                         ami,
		"ami-launch-index":               "0",
		"ami-manifest-path":              "(unknown)",
		"block-device-mapping/ami":       "/dev/xvda",
		"block-device-mapping/root":      "/dev/xvda",
		"events/maintenance/history":     "[]",
		"events/maintenance/scheduled":   "[]",
		"hostname":                       hostname(0),
		"instance-action":                "none",
		"instance-id":                    instanceID,
		"instance-life-cycle":            "on-demand",
		"instance-type":                  instanceType,
		"local-hostname":                 hostname(0),
		"local-ipv4":                     address(0).String(),
		"mac":                            hex(0),
		"placement/availability-zone":    zone,
		"placement/availability-zone-id": "use1-az1",
		"placement/region":               region,
		"profile":                        "default-hvm",
		"public-keys/":                   "0=key",
		"public-keys/0/openssh-key":      "ssh-ed25519 " + publicKey + " key\n",
		"reservation-id":                 "r-0123456789abcdef0",
		"security-groups":                group,
		"services/domain":                "amazonaws.com",
		"services/partition":             "aws",
		"system":                         "nitro",
	} {
		m.Set(path, body)
	}
}

// describeENI adds what is known of one ENI.
func (m *Metadata) describeENI(device int) {
	const vpcID, vpcBlock = "vpc-0123456789abcdef0", "10.0.0.0/16"
	for key, body := range map[string]string{
		"device-number":          strconv.Itoa(device),
		"interface-id":           fmt.Sprintf("eni-%017x", device+1),
		"local-hostname":         hostname(device),
		"local-ipv4s":            address(device).String(),
		"mac":                    hex(device),
		"owner-id":               account,
		"security-group-ids":     "sg-0123456789abcdef0",
		"security-groups":        group,
		"subnet-id":              fmt.Sprintf("subnet-%017x", device+1),
		"subnet-ipv4-cidr-block": subnet(device).Masked().String(),
		"vpc-id":                 vpcID,
		"vpc-ipv4-cidr-block":    vpcBlock,
		"vpc-ipv4-cidr-blocks":   vpcBlock,
	} {
		m.Set("network/interfaces/macs/"+hex(device)+"/"+key, body)
	}
}

// hostname is the private one of an ENI's address: "ip-10-0-1-10.ec2.internal".
func hostname(device int) string {
	return "ip-" + strings.ReplaceAll(address(device).String(), ".", "-") + ".ec2.internal"
}

// document is the instance identity document.
func document() string {
	b, _ := json.MarshalIndent(map[string]any{ // of these it always does
		"accountId":               account,
		"architecture":            "x86_64",
		"availabilityZone":        zone,
		"billingProducts":         nil,
		"devpayProductCodes":      nil,
		"imageId":                 ami,
		"instanceId":              instanceID,
		"instanceType":            instanceType,
		"kernelId":                nil,
		"marketplaceProductCodes": nil,
		"pendingTime":             "2024-01-01T00:00:00Z",
		"privateIp":               address(0).String(),
		"ramdiskId":               nil,
		"region":                  region,
		"version":                 "2017-09-30",
	}, "", "  ")
	return string(b)
}
