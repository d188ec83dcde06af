// Package kinds makes by ip(8) one object of each kind that a link can have, and shows what there
// is, in a form in which two dumps can be compared.
package kinds

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ofEach are the arguments of ip(8) that make on a link one object of each kind. NAME is the link's
// name, and # its number, from 1 to 9. The link has an address in 10.0.#.0/24.
var ofEach = []string{
	"address add 10.0.#.77/24 dev NAME",
	"address add 10.17.#.1/24 dev NAME",
	"address add 10.18.#.1/24 dev NAME",
	"address add 10.19.#.1/24 dev NAME metric 77",
	"address add 10.5.#.1 peer 10.5.#.2 dev NAME",
	"address add 2001:db8:#::77/64 dev NAME",
	"address add 2001:db8:#::78/64 dev NAME nodad",
	"address add 2001:db8:#::79/128 dev NAME valid_lft 6000 preferred_lft 3000",
	"address add 2001:db8:#::80/64 dev NAME noprefixroute mngtmpaddr",
	"address add 2001:db8:#0:: peer 2001:db8:#0::1 dev NAME",
	"address add 2001:db8:#07::1/64 dev NAME",
	"address add 2001:db8:#08::1/64 dev NAME",
	"address add 2001:db8:#09::1/64 dev NAME",
	"address add 2001:db8:#09::2/64 dev NAME",
	"address add 2001:db8:#0a::1/64 dev NAME",
	"address add fe80::5#/64 dev NAME",
	"route add 198.51.100.1#/32 via 10.0.#.2 dev NAME",
	"route add 198.51.100.2#/32 via 10.0.#.2 dev NAME proto static metric 50 src 10.0.#.77",
	"route add 198.51.100.3#/32 via 10.0.#.2 dev NAME proto kernel",
	"route add 198.51.100.4#/32 via 10.0.#.2 dev NAME proto dhcp mtu 1400 advmss 1300 initcwnd 20",
	"route add 198.51.100.5#/32 via 192.0.2.# dev NAME onlink",
	"route add 198.51.100.6#/32 dev NAME scope link tos 0x10",
	"route add 198.51.100.7#/32 via inet6 fe80::1:# dev NAME",
	"route add 172.2#.0.0/16 dev NAME proto 99",
	"route add local 10.66.#.0/24 dev NAME",
	"route add multicast 224.1.#.0/24 dev NAME",
	"route add broadcast 10.0.#.200/32 dev NAME",
	"route add default via 10.0.#.2 dev NAME table 7#",
	"route append 198.18.0.0/15 via 10.0.#.2 dev NAME",
	"route add 198.51.100.8#/32 via 10.17.#.2 dev NAME",
	"route delete 10.17.#.0/24 dev NAME",
	"route delete 10.18.#.0/24 dev NAME",
	"route add 10.18.#.0/24 dev NAME proto kernel scope link src 10.18.#.1 mtu 1300",
	"-6 route add 2001:db8:#06::/64 via 2001:db8:#07::2 dev NAME",
	"-6 route delete 2001:db8:#07::/64 dev NAME",
	"-6 route delete 2001:db8:#08::/64 dev NAME",
	"-6 route add 2001:db8:#08::/64 dev NAME proto kernel metric 256 mtu 1300",
	"-6 route delete 2001:db8:#09::/64 dev NAME",
	"-6 route add 2001:db8:#09::/64 via fe80::77 dev NAME proto kernel metric 256",
	"-6 route replace 2001:db8:#0a::/64 dev NAME proto kernel metric 256 expires 6000 mtu 1300",
	"-6 route add local 2001:db8:77#::/64 dev NAME",
	"-6 route add 2001:db8:#00::/64 via 2001:db8:#::2 dev NAME",
	"-6 route add 2001:db8:#02::/64 via fe80::99 dev NAME pref high mtu lock 1400",
	"-6 route add 2001:db8:#03::/64 dev NAME proto kernel",
	"-6 route add 2001:db8:#04::/64 dev NAME expires 6000",
	"-6 route add default via fe80::99 dev NAME metric 200#",
	"-6 route append 2001:db8:ff::/64 via fe80::1:# dev NAME metric 9",
	"-6 route add default via 2001:db8:#::2 dev NAME table 7#",
	"rule add from 10.0.#.77 lookup 7# priority 100#",
	"-6 rule add from 2001:db8:#::/64 lookup 7# priority 100#",
	"neighbour add 10.0.#.99 lladdr 02:00:00:00:00:0# dev NAME nud permanent",
	"neighbour add 10.0.#.98 lladdr 02:00:00:00:01:0# dev NAME nud noarp",
	"neighbour add 10.0.#.97 lladdr 02:00:00:00:02:0# dev NAME nud reachable extern_learn",
	"neighbour add 10.0.#.96 dev NAME managed",
	"neighbour add 2001:db8:#::99 lladdr 02:00:00:00:03:0# dev NAME nud permanent router",
	"neighbour add proxy 10.0.#.95 dev NAME",
	"-6 neighbour add proxy 2001:db8:#::95 dev NAME",
	"nexthop add id 7# via 10.0.#.2 dev NAME",
	"nexthop add id 6# group 7#",
	"nexthop add id 8# via fe80::99 dev NAME",
	"route add 203.0.113.#/32 nhid 7#",
	"route add 203.0.113.1#/32 nhid 6#",
	"-6 route add 2001:db8:#05::/64 nhid 8#",
}

// late are those that need an IPv6 address which has been tested (RFC 4862, 5.4).
var late = []string{
	"-6 route add 2001:db8:#01::/64 via 2001:db8:#::2 dev NAME src 2001:db8:#::77 metric 7",
}

// tested is how long IPv6 addresses are tested for at most.
const tested = 3 * time.Second

// ofAll are those that make one object of several links: of the first two.
var ofAll = []string{
	"route add 100.64.0.0/10 nexthop via 10.0.#.2 dev NAME weight 3 nexthop via 10.0.@.2 dev OTHER",
	"nexthop add id 1 group 7#,3/7@,5",
	"nexthop add id 2 group 7#/7@ type resilient buckets 8 idle_timer 60 unbalanced_timer 120",
	"route add 100.127.0.0/16 nhid 1",
	"route add 100.128.0.0/16 nhid 2",
}

// A Link is one to make objects of: its name, and its number from 1 to 9.
type Link struct {
	Name   string
	Number int
}

// Make makes one object of each kind on each link, but for those kinds that skip returns true for.
func Make(links []Link, skip func(args string) bool) error {
	wanted := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(args string) bool { return skip != nil && skip(args) })
	}
	for _, l := range links {
		if err := os.WriteFile(ipv6MTU(l.Name), []byte("1400"), 0); err != nil {
			return err
		}
	}
	for _, list := range [][]string{ofEach, late} {
		if err := MakeThese(wanted(list), links); err != nil {
			return err
		}
		time.Sleep(tested)
	}
	other := strings.NewReplacer("OTHER", links[1].Name, "@", strconv.Itoa(links[1].Number))
	var both []string
	for _, args := range wanted(ofAll) {
		both = append(both, other.Replace(args))
	}
	return MakeThese(both, links[:1])
}

// ipv6MTU is the file of a link's net.ipv6.conf.NAME.mtu.
func ipv6MTU(name string) string { return "/proc/sys/net/ipv6/conf/" + name + "/mtu" }

// MakeThese carries out ip(8) on each link with each of the arguments, in which NAME is the link's
// name and # its number.
func MakeThese(list []string, links []Link) error {
	for _, l := range links {
		words := strings.NewReplacer("NAME", l.Name, "#", strconv.Itoa(l.Number))
		for _, args := range list {
			args = words.Replace(args)
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", args, err, out)
			}
		}
	}
	return nil
}

// asked are the arguments of ip(8) for the dumps.
var asked = []string{
	"-d -o -4 addr", "-d -o -6 addr", "-d -4 route show table all", "-d -6 route show table all",
	"-d neigh show nud all", "-4 neigh show proxy", "-6 neigh show proxy", "-d nexthop", "rule", "-6 rule",
}

// What changes by itself, or with the kernel's own time: lifetimes, the state of duplicate address
// detection and of neighbours, and which link a packet socket has seen.
var volatile = regexp.MustCompile(` (tentative|dead|linkdown|expires [0-9]+sec|(valid|preferred)_lft [0-9]+sec|unbalanced_time [0-9.]+)|\\ .*`)

// state is the state of a neighbour that is not permanent.
var state = regexp.MustCompile(` (REACHABLE|STALE|DELAY|PROBE|FAILED|INCOMPLETE|NONE)\b`)

// label is the label of an IPv4 address, which the kernel makes anew of the link's name at each
// rename: inetdev_changename of net/ipv4/devinet.c.
var label = regexp.MustCompile(` #[0-9]+(:[0-9]+)?$`)

// byKernel are lines of what the kernel makes by itself, in its own time.
var byKernel = regexp.MustCompile(`^(local|anycast|multicast) .*:.* table local proto kernel|^(unicast )?fe80::/64 |^multicast ff00::/8 `)

// Dump shows what there is, a line for each object. Links are given by their index. What changes by
// itself is left out.
func Dump() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	indexes := map[string]string{}
	for _, l := range all {
		indexes[l.Name] = fmt.Sprintf("#%d", l.Index)
	}
	var lines []string
	for _, l := range all {
		mtu, err := os.ReadFile(ipv6MTU(l.Name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // without IPv6 there is none
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("%s#%d %s", ipv6MTULine, l.Index, strings.TrimSpace(string(mtu))))
	}
	for _, args := range asked {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		part := linesOf(args, string(out), indexes)
		if strings.Contains(args, "neigh") || strings.Contains(args, "-6 route") {
			slices.Sort(part) // in the order of a hash, or of when the kernel made its own
		}
		// Where those stand that router advertisements have brought depends on when they came.
		slices.SortStableFunc(part, func(a, b string) int { return cmp.Compare(advertised(a), advertised(b)) })
		for _, line := range part {
			lines = append(lines, args+": "+line)
		}
	}
	return lines, nil
}

// advertised returns the line of an address that a router advertisement has brought, "" for others.
func advertised(line string) string {
	if strings.Contains(line, " dynamic mngtmpaddr") {
		return line
	}
	return ""
}

// linesOf returns the lines of a dump without what changes by itself.
func linesOf(args, out string, indexes map[string]string) (lines []string) {
	names := slices.Sorted(maps.Keys(indexes))
	for _, line := range strings.Split(strings.TrimSpace(strings.ReplaceAll(out, "\n\t", " ")), "\n") {
		line = strings.Join(strings.Fields(volatile.ReplaceAllString(line, "")), " ")
		for _, name := range names {
			line = regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`).ReplaceAllString(line, indexes[name])
		}
		if strings.Contains(args, "addr") {
			_, line, _ = strings.Cut(line, ": ") // the number is the index
			line = label.ReplaceAllString(line, "")
		}
		if strings.Contains(args, "neigh show nud") {
			if kept := strings.Contains(line, "PERMANENT") || strings.Contains(line, "extern_learn") || strings.Contains(line, "managed") ||
				strings.Contains(line, " NOARP") && !strings.Contains(line, "lladdr 33:33:") && !strings.Contains(line, "lladdr 01:") && !strings.Contains(line, "lladdr ff:"); !kept {
				continue
			}
			line = state.ReplaceAllString(line, "")
			if strings.Contains(line, "managed") { // the kernel resolves it
				line = regexp.MustCompile(` lladdr [0-9a-f:]+`).ReplaceAllString(line, "")
			}
		}
		if line != "" && !byKernel.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// ipv6MTULine begins a line of Dump.
const ipv6MTULine = "ipv6 mtu: "

// WithoutSysctls returns a dump without what is set by sysctl alone: a datagram of rtnetlink can't
// put that back.
func WithoutSysctls(dump []string) []string {
	return slices.DeleteFunc(slices.Clone(dump), func(line string) bool { return strings.HasPrefix(line, ipv6MTULine) })
}

// Differences lists what is in one of two dumps alone, or in another order.
func Differences(before, after []string) (out []string) {
	for _, line := range before {
		if !slices.Contains(after, line) {
			out = append(out, "lost: "+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			out = append(out, "new: "+line)
		}
	}
	for i := 0; out == nil && i < len(before) && i < len(after); i++ {
		if before[i] != after[i] {
			out = append(out, fmt.Sprintf("in another order: %s, before %s", after[i], before[i]))
		}
	}
	return out
}
