// Remedies has what people use against wrong names, and eni0, each put a pocket EC2 (eni0/testbed/ec2)
// right, in situations that people have. It prints a table of what came out, and draws a picture of the
// time from the start of each until the names are right.
//
//	go run ./bench/remedies [-rounds N] [-picture FILE]
//
//	-rounds N      the picture has the medians of N runs (5); the table has the worst that came out
//	-picture FILE  write the picture, an SVG, to FILE
//
// What is compared:
//
//	eni0        eni0 fix, and before there is a network the command of its unit
//	scripts     fix.sh: curl, ip, grep, with ip in place of the udev rule, which renames nothing on newer
//	            kernels
//	ifrename    ifrename.sh: a map made of what IMDS says, by curl
//	SDK         ../sdk: Go, vishvananda/netlink and the AWS SDK's imds package
//
// What came out of a run is one of
//
//	right    all is as it should be, and the exit code says so
//	wrong    names or default traffic are not as they should be, or the exit code says what is not so; nothing
//	         is lost
//	harm     something is lost that was there before: an address, a route, the network; or names or default
//	         traffic were right, and are not
//
// It wants the packages curl, ifrename and iproute2. It changes nothing outside of its own namespaces, and
// asks nobody outside for anything but Go modules.
//
// The exit code is 0 whatever came out, 1 if something could not be tried, and 2 for usage.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"eni0/bench/kit"
	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// inside is the name under which this program starts itself in namespaces of its own.
const inside = "remedies-inside"

func main() {
	log.SetFlags(0)
	log.SetPrefix("remedies: ")
	switch filepath.Base(os.Args[0]) {
	case "systemctl":
		os.Exit(ec2.Systemctl(os.Args[1:], os.Stdout))
	case inside:
		check(tryInside(os.Args[1], os.Args[2]))
		return
	}
	rounds := flag.Int("rounds", 5, "the medians of `N` runs")
	picture := flag.String("picture", "", "write the picture, an SVG, to `FILE`")
	flag.Parse()
	if *rounds < 1 || flag.NArg() > 0 {
		log.Print("want -rounds of at least 1, -picture, and nothing else")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	check(host(ctx, *rounds, *picture))
}

// check ends the program if there is an error.
func check(err error) {
	if err != nil {
		log.Fatal(ec2.Explain(err))
	}
}

// scripts are the other sides that are shell scripts.
//
//go:embed *.sh
var scripts embed.FS

// host is the program as it was typed.
func host(ctx context.Context, rounds int, picture string) error {
	for _, program := range []string{"curl", "ifrename", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: apt-get install curl ifrename iproute2", err)
		}
	}
	dir, err := os.MkdirTemp("", "remedies-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := install(ctx, dir); err != nil {
		return err
	}
	t := newTable()
	for _, s := range situations {
		for range rounds {
			for _, r := range remedies {
				if err := t.try(ctx, s, r); err != nil {
					return err
				}
			}
		}
		t.print(s)
	}
	if picture == "" {
		return nil
	}
	return os.WriteFile(picture, []byte(t.draw()), 0o644)
}

// install puts what is compared into dir, and dir on the PATH in front.
func install(ctx context.Context, dir string) error {
	if err := ec2.Furnish(ctx, dir); err != nil {
		return err
	}
	if err := kit.Scripts(scripts, dir); err != nil {
		return err
	}
	return kit.SDK(ctx, filepath.Join(dir, "sdk"))
}

// A result is what came of one run.
type result struct {
	Outcome string        // right, wrong, harm
	Why     string        // what is not as it should be
	Took    time.Duration // from the start until the primary was called eth0, 0 for never
}

// A table has the worst result of each remedy in each situation, and the times.
type table struct {
	worst map[[2]string]result
	times map[[2]string][]time.Duration
}

func newTable() *table {
	return &table{map[[2]string]result{}, map[[2]string][]time.Duration{}}
}

// try has a remedy tried in a situation, in namespaces that are made for this.
func (t *table) try(ctx context.Context, s situation, r remedy) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", s.name, r.name)
	cmd.Args[0] = inside
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // and no proxies
	cmd.Stderr = os.Stderr
	ec2.Isolate(cmd)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s, %s: %w", s.name, r.name, err)
	}
	var got result
	if err := json.Unmarshal(out, &got); err != nil {
		return err
	}
	key := [2]string{s.name, r.name}
	if slices.Index(outcomes, got.Outcome) > slices.Index(outcomes, t.worst[key].Outcome) {
		t.worst[key] = got
	}
	if got.Outcome == right && got.Took > 0 {
		t.times[key] = append(t.times[key], got.Took)
	}
	return nil
}

// print prints the row of a situation, as Markdown, with what was not right. The first has the head.
func (t *table) print(s situation) {
	if s.name == situations[0].name {
		head, line := "| situation |", "|---|"
		for _, r := range remedies {
			head += " " + r.name + " |"
			line += "---|"
		}
		fmt.Println(head + "\n" + line)
	}
	row := "| " + s.name + " |"
	for _, r := range remedies {
		got := t.worst[[2]string{s.name, r.name}]
		row += " " + got.Outcome
		if got.Why != "" {
			row += ": " + got.Why
		}
		row += " |"
	}
	fmt.Println(row)
}
