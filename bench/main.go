// Bench shows the figures that eni0 promises: what it costs, beside what it replaces.
//
//	go run ./bench [-rounds N]
//
// It builds eni0 as it is shipped (static, stripped), launches a pocket EC2 (eni0/testbed/ec2) with two
// ENIs, once with a network manager and once with none, and prints a line for each figure: ours, the
// other side's, the ratio, what is wanted, and whether that is met. It changes nothing outside of its
// own namespaces, and asks nobody outside for anything but Go modules (of bench/sdk).
//
//	binary       the size for linux/amd64 and linux/arm64, and whether Go's net is among its packages
//	check, fix   with nothing to do, against check.sh: curl twice, ip, grep, head, cut, cat
//	memory       the peak of the process itself as it is about to exit (VmHWM of proc_pid_status(5)),
//	             the largest of 20 runs
//	sdk          a Go program on vishvananda/netlink and the AWS SDK's imds package (bench/sdk),
//	             built as eni0 is: its bytes; time and memory of its check, and of its fix in a wrong
//	             world; and the system calls of its check, the median of 21 runs: without most of
//	             what Go's runtime does for itself (trace.Counts), and all of them
//	fix, wrong world
//	             against the fix of that program: names are made wrong before each run, and there is
//	             no unit to restart; eni0 also looks for files that give names, and for where
//	             default traffic leaves
//	swap         of eth0 and eth1, which are up, against `ifrename -t` and three `ip link set`; once with
//	             no unit to restart, and once as typed: then `false` is there in the place of systemctl
//	fix, borrowed network
//	             with nothing to do, no network configured and DHCP at the wires, against borrow.sh: busybox
//	             udhcpc, curl twice, ip
//	late         how long after IMDS is ready such a fix has its answer, where IMDS was not ready for the
//	             first so many milliseconds: connections refused, or every fresh token (401), or everything (503)
//	boot         how long systemd/eni0.service holds a boot in the right order, on two kernels: that is case a
//	             of testbed/vm, which says by itself what it lacks
//
// A time is that of whole processes, from before the fork until they have been waited for. The sides of
// a comparison take turns, N of them each (200), in another order each time; what is shown is the median,
// and the ratio of medians. So what else the machine does is the same for both sides; all the same a busy
// machine is a poor judge, and the first line tells its load. Every run is verified: check, fix,
// the scripts and sdk must have found all right, after a swap or a fix in a wrong world the kernel
// must have the names exchanged, and after a borrowed network every link, address and route must be
// as before. Before that, check, fix, the scripts and sdk must have told a wrong world from a right
// one.
//
// It needs Linux 6.2 (before that neither ifrename nor ip can rename a link that is up), and the packages
// busybox, curl, iproute2 and ifrename: lines that can't be measured say so.
//
// The exit code is 0 whatever the figures are, 1 if one could not be measured, and 2 for usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	code := run(ctx, os.Args)
	stop()
	os.Exit(code)
}

// inside is the name under which this program starts itself in namespaces of its own.
const inside = "bench-inside"

// run does what the program was started for, by the name it was started under.
func run(ctx context.Context, args []string) int {
	if filepath.Base(args[0]) == inside {
		return exitCode(measure(args[1], args[2]))
	}
	rounds, err := parse(args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	return exitCode(host(ctx, rounds))
}

// parse reads the command line, and says by itself what is wrong with it.
func parse(args []string) (rounds int, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&rounds, "rounds", 200, "have the sides of a comparison take `N` turns each")
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	if rounds < 1 || f.NArg() > 0 {
		err = errors.New("want -rounds of at least 1, and nothing else")
		log.Print(err)
	}
	return rounds, err
}

// exitCode logs why something could not be measured.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	err = ec2.Explain(err)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || !exit.Exited() { // else it has said why
		log.Print(err)
	}
	return 1
}

// host is the program as it was typed: it measures the binary, and has the rest measured inside.
func host(ctx context.Context, rounds int) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%s, %s %s/%s, %s, %d rounds\n\n", machine(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		time.Now().Format(time.DateTime), rounds)
	heading()
	if err := binaries(ctx, dir); err != nil {
		return err
	}
	if err := installPrograms(dir); err != nil {
		return err
	}
	err = enter(ctx, dir, strconv.Itoa(rounds))
	boot(ctx)
	fmt.Println("\n1,000 launches are another program's: go run ./testbed -launches 1000")
	return err
}

// enter runs this program in namespaces of its own, with what is in dir in front of all other programs.
func enter(ctx context.Context, dir, rounds string) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", dir, rounds)
	cmd.Args[0] = inside
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")} // and no proxies
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	ec2.Isolate(cmd)
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNS // for a /sys that shows the links inside
	return cmd.Run()
}

// boot has testbed/vm show what the early unit costs.
func boot(ctx context.Context) {
	fmt.Println("\nboot, in virtual machines that are emulated:")
	cmd := exec.CommandContext(ctx, "go", "run", "eni0/testbed/vm", "-case", "a")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	_ = cmd.Run() // it has said why
}

// machine is the running kernel, and what it runs on: "Linux 6.18.44, 2 CPUs, load 0.1".
func machine() string {
	var u unix.Utsname
	var i unix.Sysinfo_t
	if err := errors.Join(unix.Uname(&u), unix.Sysinfo(&i)); err != nil {
		return err.Error()
	}
	load := float64(i.Loads[0]) / (1 << unix.SI_LOAD_SHIFT)
	return fmt.Sprintf("Linux %s, %d CPUs, load %.1f", unix.ByteSliceToString(u.Release[:]), runtime.NumCPU(), load)
}
