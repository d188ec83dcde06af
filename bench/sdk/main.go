// Sdk is what a Go program does for the work of eni0 that is written on the usual libraries: the AWS SDK
// asks IMDS for the primary's address, and vishvananda/netlink renames. Bench compares it with eni0.
//
//	sdk check        print right or wrong
//	sdk fix UNIT     swap names by a temporary one if the primary is not eth0, and restart the UNIT
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/vishvananda/netlink"
)

func main() {
	log.SetFlags(0)
	primary, err := primaryLink(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	right := primary.Attrs().Name == "eth0"
	switch {
	case len(os.Args) == 2 && os.Args[1] == "check" && right:
		fmt.Println("right")
	case len(os.Args) == 2 && os.Args[1] == "check":
		fmt.Println("wrong")
	case len(os.Args) == 3 && os.Args[1] == "fix" && right:
	case len(os.Args) == 3 && os.Args[1] == "fix":
		if err := fix(primary, os.Args[2]); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatal("want check, or fix and a unit")
	}
}

// primaryLink is the link whose address IMDS gives.
func primaryLink(ctx context.Context) (netlink.Link, error) {
	out, err := imds.New(imds.Options{}).GetMetadata(ctx, &imds.GetMetadataInput{Path: "mac"})
	if err != nil {
		return nil, err
	}
	defer out.Content.Close()
	mac, err := io.ReadAll(out.Content)
	if err != nil {
		return nil, err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if l.Attrs().HardwareAddr.String() == strings.TrimSpace(string(mac)) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no link has the address %s", mac)
}

// fix makes the primary eth0, and gives the link that was eth0 the primary's name.
func fix(primary netlink.Link, unit string) error {
	if other, err := netlink.LinkByName("eth0"); err == nil {
		if err := netlink.LinkSetName(other, "swapping"); err != nil {
			return err
		}
		if err := netlink.LinkSetName(primary, "eth0"); err != nil {
			return err
		}
		if err := netlink.LinkSetName(other, primary.Attrs().Name); err != nil {
			return err
		}
	} else if err := netlink.LinkSetName(primary, "eth0"); err != nil {
		return err
	}
	return exec.Command("systemctl", "restart", unit).Run()
}
