// Sdk is a Go program for the work of eni0 that is written on the usual libraries: the AWS SDK asks
// IMDS for the primary's address, and vishvananda/netlink renames. Bench compares it with eni0.
//
//	sdk check         print right or wrong
//	sdk fix [UNIT]    swap names by a temporary one if the primary is not eth0, and restart the UNIT
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"syscall"

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
	case len(os.Args) >= 2 && len(os.Args) <= 3 && os.Args[1] == "fix":
		if right {
			return
		}
		if err := fix(primary, os.Args[2:]); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatal("want check, or fix and perhaps a unit")
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

// fix makes the primary eth0, gives the link that was eth0 its name, and restarts the units.
func fix(primary netlink.Link, units []string) error {
	other, err := netlink.LinkByName("eth0")
	if err == nil {
		err = swap(primary, other)
	} else {
		err = rename(primary, "eth0") // nothing is called so
	}
	if err != nil || len(units) == 0 {
		return err
	}
	return exec.Command("systemctl", append([]string{"restart"}, units...)...).Run()
}

// swap exchanges the names of the primary and of the link that is called eth0.
func swap(primary, other netlink.Link) error {
	if err := rename(other, "swapping"); err != nil {
		return err
	}
	if err := rename(primary, "eth0"); err != nil {
		return err
	}
	return rename(other, primary.Attrs().Name)
}

// rename renames a link. Linux before 6.2 refuses that while it is up: then it goes down for it.
func rename(l netlink.Link, name string) error {
	err := netlink.LinkSetName(l, name)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	if err := netlink.LinkSetDown(l); err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetName(l, name), netlink.LinkSetUp(l))
}
