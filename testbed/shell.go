package main

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// shell leaves the user on an instance, with eni0 on the PATH. What the shell ends with is not
// judged.
func shell(ctx context.Context, order, stage string) int {
	dropInterrupts()
	return onInstance(order, stage, os.Stdout, func(t *trial) (bool, error) {
		before, err := ec2.Look()
		if err != nil {
			return false, err
		}
		world := "no network is configured yet"
		if stage == configured {
			world = fmt.Sprintf("default traffic leaves by %s", before.Leaves)
		}
		fmt.Printf("You are root on an EC2 instance: its primary ENI, %s, is called %s, and %s.\n"+
			"Try: eni0 check, eni0 fix, eni0 check, eni0 help. The end of this shell is the end of the instance.\n",
			t.Hex(0), t.nameOf(before, 0), world)
		cmd := command(ctx, cmp.Or(os.Getenv("SHELL"), "sh"))
		cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGHUP) } // bash(1): SIGTERM is ignored
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		err = cmd.Run()
		if _, ended := exitCode(err); ended {
			return true, nil
		}
		return false, err
	})
}
