package main

// This file decides and touches nothing: what is right (judge), which renames make it so
// (plan), and which names put it back (undo). layers_test.go holds its imports to these.
import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Exit codes, the same for every verb. flags.go has their table.
const (
	codeRight  = 0  // eth0 is the primary ENI, and no default route leaves by another ENI
	codeDoubt  = 1  // could not tell or could not do it; the world is as it was
	codeUsage  = 2  // the command line is wrong
	codeNames  = 10 // the names are wrong; fix would rename
	codeRoute  = 11 // the names are right, but default traffic leaves by another link
	codeBroken = 12 // a rename broke off and could not be put back
)

const (
	primaryName = "eth0"  // what the primary ENI is to be called
	tempPrefix  = "eni0-" // and the final name: where a link with a temporary name was going
	nameMax     = 15      // bytes; IFNAMSIZ of linux/if.h less the NUL
)

// A hwaddr is an Ethernet address: a value, compared with ==.
type hwaddr [6]byte

// String is the form that ip(8) and IMDS have: 0a:ff:00:00:00:01.
func (a hwaddr) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}

// A link is as much of a network interface as a decision needs to know.
type link struct {
	index    int32
	name     string   // eth0
	altnames []string // share one name space with the names
	kind     string   // IFLA_INFO_KIND: bridge, vlan, veth; "" for a device of its own
	addr     hwaddr   // the address in use, which root may change
	perm     hwaddr   // the address it was made with; zero where the kernel reports none (veth)
	lower    int32    // index of the link this one is stacked on (a VLAN's parent); 0 for none
	master   int32    // index of the bridge or bond this one is a port of; 0 for none
	ethernet bool     // ARPHRD_ETHER
	up       bool     // IFF_UP
	carrier  bool     // IFF_LOWER_UP: it carries frames
	path     string   // udev's ID_PATH: pci-0000:00:05.0; "" where it can't be told
}

// eni reports whether l can be an ENI: Ethernet, and a device of its own. A veth end is what
// plays an ENI in a network namespace.
func (l link) eni() bool {
	return l.ethernet && (l.kind == "" || l.kind == "veth")
}

// id is the address that IMDS knows an ENI by.
func (l link) id() hwaddr {
	if l.perm != (hwaddr{}) {
		return l.perm
	}
	return l.addr
}

// String names a link for people, by all that it is known by.
func (l link) String() string {
	return fmt.Sprintf("%s (%s, index %d)", visible(l.name), l.id(), l.index)
}

// A hop is one next hop of a default route.
type hop struct {
	index int32
	via   netip.Addr // 10.0.1.1; zero where the route has no gateway
	dead  bool       // RTNH_F_DEAD: the kernel does not use it
}

// A route is a unicast default route of the main table.
type route struct {
	ipv6   bool
	metric uint32
	hops   []hop
}

// live lists the indexes of the links that r's traffic leaves by, each once. Nil: all hops are dead.
func (r route) live() []int32 {
	var out []int32
	for _, h := range r.hops {
		if !h.dead && !slices.Contains(out, h.index) {
			out = append(out, h.index)
		}
	}
	return out
}

// A world is what there is to judge.
type world struct {
	links   []link
	routes  []route // the default routes, in the kernel's order
	primary hwaddr  // what IMDS says
}

// carriers lists the links that default traffic leaves by: those of the IPv4 default route
// with the lowest metric, the first in the kernel's order among equals; only where there is
// none, those of the IPv6 one. Nil: there is no default route.
func (w world) carriers() []int32 {
	r, _ := w.defaultRoute()
	return r.live()
}

// defaultRoute is the default route that decides, and whether there is one.
func (w world) defaultRoute() (route, bool) {
	for _, ipv6 := range []bool{false, true} {
		if r, ok := w.bestOf(ipv6); ok {
			return r, true
		}
	}
	return route{}, false
}

// bestOf is the default route of one family that traffic takes, and whether there is one.
func (w world) bestOf(ipv6 bool) (best route, found bool) {
	for _, r := range w.routes {
		if r.ipv6 != ipv6 || r.live() == nil {
			continue // the other family, or all its hops are dead
		}
		if !found || r.metric < best.metric {
			best, found = r, true
		}
	}
	return best, found
}

// An address is an address of a link.
type address struct {
	ipv6  bool
	index int32
	ip    netip.Prefix // 10.0.1.10/24
	scope byte         // RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, ...
	flags uint32       // IFA_F_TEMPORARY, ...
	proto byte         // IFA_PROTO: who made it (Linux 5.18)
	body  []byte       // of the RTM_NEWADDR
}

// A network is a world with its addresses.
type network struct {
	world
	addresses []address
}

// scopeLink is RT_SCOPE_LINK of linux/rtnetlink.h: valid on the link only.
const scopeLink = 253

// stackedOn adds to a set of links those that are stacked on them: bridges and bonds that they are
// ports of, VLANs, macvlans. What IFLA_LINK says of a veth end is its peer, often by an index of
// another namespace.
func stackedOn(links []link, set map[int32]bool) map[int32]bool {
	for before := 0; before < len(set); {
		before = len(set)
		for _, l := range links {
			if l.kind != "veth" && set[l.lower] {
				set[l.index] = true
			}
			if l.master != 0 && set[l.index] {
				set[l.master] = true
			}
		}
	}
	return set
}

// addressOn reports whether l, or a link that is stacked on it, has an address of a family by which
// others can be reached.
func (n network) addressOn(l link, ipv6 bool) bool {
	on := stackedOn(n.links, map[int32]bool{l.index: true})
	return slices.ContainsFunc(n.addresses, func(a address) bool {
		return a.ipv6 == ipv6 && a.scope < scopeLink && on[a.index]
	})
}

// networkLost says what a machine has lost that had the network was and has now: the default route of
// the family that decided, or the primary's address of that family. It has lost that too if it never
// was there, but a link that has been renamed carried default traffic: that was to follow. Nil is
// nothing that counts; a primary that was pulled out is not lost by a rename.
func networkLost(was, now network) error {
	p, err := now.primaryLink()
	if err != nil {
		return nil
	}
	r, routed := was.defaultRoute()
	family := "IPv4"
	if r.ipv6 {
		family = "IPv6"
	}
	if _, ok := now.bestOf(r.ipv6); routed && !ok {
		return fmt.Errorf("there is no %s default route", family)
	}
	old, err := was.primaryLink()
	addressed := err == nil && was.addressOn(old, r.ipv6)
	follows := slices.ContainsFunc(renamed(was.links, now.links), func(s step) bool { return slices.Contains(r.live(), s.index) })
	if (addressed || follows) && !now.addressOn(p, r.ipv6) {
		return fmt.Errorf("%s has no %s address", p, family)
	}
	return nil
}

// byName returns the link called name, and whether there is one. Altnames do not count.
func byName(links []link, name string) (link, bool) {
	i := slices.IndexFunc(links, func(l link) bool { return l.name == name })
	if i < 0 {
		return link{}, false
	}
	return links[i], true
}

// byIndex returns the link with that index, and whether there is one.
func byIndex(links []link, index int32) (link, bool) {
	i := slices.IndexFunc(links, func(l link) bool { return l.index == index })
	if i < 0 {
		return link{}, false
	}
	return links[i], true
}

// errLate means that the ENI which IMDS names has not been probed yet.
var errLate = errors.New("no link has the primary ENI's address (yet)")

// primaryLink finds the primary ENI among the links. Only ENIs count: a VLAN, bridge or macvlan on
// the primary has the same address.
func (w world) primaryLink() (link, error) {
	var found []link
	for _, l := range w.links {
		if l.eni() && l.id() == w.primary {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 0:
		return link{}, fmt.Errorf("%s: %w", w.primary, errLate)
	case 1:
		return found[0], nil
	}
	return link{}, fmt.Errorf("%s: two ENIs have the primary's address, %s and %s", w.primary, found[0].name, found[1].name)
}

// A verdict is what judge found.
type verdict struct {
	code   int
	wishes map[int32]string // index -> name; empty where nothing is to be renamed
	note   string           // the verdict in words, for people
	pinned bool             // with codeRoute: a file ties an ENI to another name than it has
}

// judge is the whole decision: the table of the README. With names, a default route that
// already leaves by the primary does not excuse a wrong name. Its errors are errLate, and doubts
// that only a person can settle: two ENIs with one address, eth0 in foreign hands.
func judge(w world, names bool) (verdict, error) {
	p, err := w.primaryLink()
	if err != nil {
		return verdict{}, err
	}
	traffic := w.traffic(p)
	if !kernelName(p.name) && !temporary(p.name) {
		return w.routeOnly(p), nil // an image with predictable names: nothing to do here
	}
	if traffic == byPrimary && !names && !unfinished(w.links, p) {
		return w.undisturbed(p), nil
	}
	wishes, err := wishesFor(w.links, p)
	if err != nil {
		return verdict{}, err
	}
	if len(wishes) == 0 {
		return w.routeOnly(p), nil
	}
	return verdict{code: codeNames, wishes: wishes, note: wrongNames(p, traffic)}, nil
}

// undisturbed is the verdict where default traffic leaves by the primary: that and the holder of eth0
// keep their names. What else has a temporary name gets its own.
func (w world) undisturbed(p link) verdict {
	wishes := claims(w.links, p)
	grant(w.links, wishes, p)
	switch {
	case len(wishes) > 0:
		return verdict{code: codeNames, wishes: wishes, note: "default traffic leaves by the primary ENI, but an earlier rename of another was not finished"}
	case p.name == primaryName:
		return w.routeOnly(p)
	}
	note := fmt.Sprintf("default traffic leaves by the primary ENI, though that is called %s; a rename would disturb it", p.name)
	return verdict{code: codeRight, note: note}
}

// unfinished reports whether a rename of the primary's broke off: it has a temporary name, or another
// ENI was on its way to eth0 or to the primary's own name.
func unfinished(links []link, primary link) bool {
	return slices.ContainsFunc(links, func(l link) bool {
		final, _ := finalName(l.name)
		return l.index == primary.index && temporary(l.name) || l.eni() && (final == primaryName || final == primary.name)
	})
}

// A traffic is what default traffic leaves by, as judge sees it.
type traffic int

const (
	byNothing traffic = iota // there is no default route
	byPrimary                // all live hops of the default route are the primary ENI's
	byOther                  // at least one is not
)

// traffic tells what default traffic leaves by.
func (w world) traffic(primary link) traffic {
	carriers := w.carriers()
	switch {
	case carriers == nil:
		return byNothing
	case slices.Equal(carriers, []int32{primary.index}):
		return byPrimary
	}
	return byOther
}

// routeOnly is the verdict where no name is to be changed.
func (w world) routeOnly(p link) verdict {
	who := primaryName + " is the primary ENI"
	if p.name != primaryName {
		who = fmt.Sprintf("the primary ENI is called %s, which is not a kernel name: names are left alone", p.name)
	}
	switch w.traffic(p) {
	case byNothing:
		return verdict{code: codeRight, note: who + "; there is no default route"}
	case byPrimary:
		return verdict{code: codeRight, note: who + ", and default traffic leaves by it"}
	}
	var names []string
	for _, index := range w.carriers() {
		l, _ := byIndex(w.links, index)
		names = append(names, visible(l.name))
	}
	note := fmt.Sprintf("%s, but default traffic leaves by another link, %s; a rename can't cure that", who, strings.Join(names, " and "))
	return verdict{code: codeRoute, note: note}
}

// wrongNames says what is wrong with the names.
func wrongNames(p link, t traffic) string {
	if p.name == primaryName {
		return primaryName + " is the primary ENI, but an earlier rename was not finished"
	}
	who := fmt.Sprintf("the primary ENI is called %s, not %s", p.name, primaryName)
	switch t {
	case byNothing:
		return who + "; there is no default route"
	case byPrimary:
		return who + ", though default traffic leaves by it"
	}
	return who + ", and default traffic leaves by another link"
}

// wishesFor says which ENIs are to be called what: the primary eth0; what a temporary name
// stands for, finished; whoever holds eth0 now, the name that the primary leaves. All others keep
// theirs: nobody but the primary has a right to a certain name.
func wishesFor(links []link, primary link) (map[int32]string, error) {
	holder, held := byName(links, primaryName)
	if held && !holder.eni() {
		return nil, fmt.Errorf("%s is no ENI (kind %q): left alone", holder, holder.kind)
	}
	wishes := claims(links, primary)
	if primary.name != primaryName {
		wishes[primary.index] = primaryName
	}
	if held && holder.index != primary.index {
		wishes[holder.index] = primary.name
	}
	grant(links, wishes, primary)
	return wishes, nil
}

// claims are the names that temporary ones stand for, of all ENIs but the primary.
func claims(links []link, primary link) map[int32]string {
	wishes := map[int32]string{}
	for _, l := range links {
		if final, ok := finalName(l.name); ok && l.eni() && l.index != primary.index {
			wishes[l.index] = final
		}
	}
	return wishes
}

// grant replaces wishes for a name that can't be had, because somebody else has it by now, by the
// lowest free ethN. eth0 is the primary's.
func grant(links []link, wishes map[int32]string, primary link) {
	taken := takenNames(links, wishes)
	taken[primaryName] = true
	for _, holder := range []bool{false, true} { // a temporary name is the older claim
		for _, l := range links {
			if wishes[l.index] == "" || l.index == primary.index || (l.name == primaryName) != holder {
				continue // no wish, or the primary's, or not its turn
			}
			wishes[l.index] = settle(wishes[l.index], taken)
		}
	}
}

// takenNames are the names of links without a wish, and all altnames.
func takenNames(links []link, wishes map[int32]string) map[string]bool {
	taken := map[string]bool{}
	for _, l := range links {
		if wishes[l.index] == "" {
			taken[l.name] = true
		}
		for _, a := range l.altnames {
			taken[a] = true
		}
	}
	return taken
}

// settle takes want, or the lowest free ethN where want is taken or itself temporary.
func settle(want string, taken map[string]bool) string {
	for n := 0; taken[want] || temporary(want); n++ {
		want = fmt.Sprintf("eth%d", n)
	}
	taken[want] = true
	return want
}

// kernelName reports whether name is one that the kernel gives: eth0, eth1, ...
func kernelName(name string) bool {
	n, ok := strings.CutPrefix(name, "eth")
	return ok && n != "" && strings.Trim(n, "0123456789") == "" && (n == "0" || n[0] != '0')
}

// temporary reports whether name is one of our temporary ones.
func temporary(name string) bool {
	return strings.HasPrefix(name, tempPrefix)
}

// finalName returns the name that a link with one of our temporary names was going to.
func finalName(name string) (string, bool) {
	final, ok := strings.CutPrefix(name, tempPrefix)
	if !ok || validName(final) != nil || final[0] == '#' || temporary(final) {
		return "", false
	}
	return final, true
}

// validName says why the kernel would not take name, by dev_valid_name of net/core/dev.c;
// '%' is refused because there it means a template, "all" and "default" because
// they are directories of /proc/sys/net/ipv4/conf (addrconf_sysctl_register).
func validName(name string) error {
	switch {
	case name == "":
		return errors.New("a link's name can't be empty")
	case len(name) > nameMax:
		return fmt.Errorf("%q: a link's name has at most %d bytes", name, nameMax)
	case name == "." || name == ".." || name == "all" || name == "default":
		return fmt.Errorf("%q: can't be a link's name", name)
	}
	for i := range len(name) {
		// isspace() in the kernel is Latin-1: 0xa0, the no-break space, is one too (lib/ctype.c).
		if c := name[i]; c <= ' ' || c == 0x7f || c == 0xa0 || strings.IndexByte("/:%", c) >= 0 {
			return fmt.Errorf("%q: a link's name can't have the byte %q", name, c)
		}
	}
	return nil
}

// A step is one rename. Who it is for is the index; the rest is for people.
type step struct {
	index    int32
	addr     hwaddr
	from, to string
}

// String is the log line of a change: the link, what it was called, what it is called.
func (s step) String() string {
	return fmt.Sprintf("%s (index %d): %s -> %s", s.addr, s.index, visible(s.from), visible(s.to))
}

// visible is a name as it can be shown on a terminal: the kernel lets a name have control characters.
func visible(name string) string {
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// plan turns wishes (index -> name) into renames that can be carried out one after the other,
// as no two links may share a name: k for a chain of k links, k+1 for a cycle of k. It refuses
// what the kernel would: invalid names, names in use by links or as altnames, unknown links.
func plan(links []link, wishes map[int32]string) ([]step, error) {
	if err := possible(links, wishes); err != nil {
		return nil, err
	}
	held := takenNames(links, nil)
	var pending []link
	for _, l := range links {
		if want, ok := wishes[l.index]; ok && want != l.name {
			pending = append(pending, l)
		}
	}
	var steps []step
	for len(pending) > 0 {
		i := slices.IndexFunc(pending, func(l link) bool { return !held[wishes[l.index]] })
		to := ""
		if i >= 0 {
			to = wishes[pending[i].index]
		} else if i, to = aside(pending, wishes, held); i < 0 { // only cycles are left
			return nil, errors.New("no temporary name is free")
		}
		l := &pending[i]
		steps = append(steps, step{l.index, l.id(), l.name, to})
		delete(held, l.name)
		held[to], l.name = true, to
		pending = slices.DeleteFunc(pending, func(l link) bool { return l.name == wishes[l.index] })
	}
	return steps, nil
}

// aside picks the link of a cycle that takes a temporary name, and that name: the first link
// whose temporary name can say where it goes; where no final name is short enough (10 bytes),
// the first link as "eni0-#7" (its index, in hex), which nobody takes for a final name. -1: none is free.
func aside(pending []link, wishes map[int32]string, held map[string]bool) (int, string) {
	for i, l := range pending {
		if temp := tempPrefix + wishes[l.index]; validName(temp) == nil && !held[temp] {
			return i, temp
		}
	}
	for i, l := range pending {
		if temp := fmt.Sprintf("%s#%x", tempPrefix, l.index); validName(temp) == nil && !held[temp] {
			return i, temp
		}
	}
	return -1, ""
}

// possible refuses wishes that no order of renames can grant.
func possible(links []link, wishes map[int32]string) error {
	asked := map[string]bool{}
	known := 0
	for _, l := range links {
		want, ok := wishes[l.index]
		if ok {
			known++
		}
		if !ok || want == l.name {
			continue // stays as it is
		}
		if err := validName(want); err != nil {
			return err
		}
		if asked[want] {
			return fmt.Errorf("%s: two links can't both have that name", want)
		}
		asked[want] = true
	}
	if known < len(wishes) {
		return errors.New("no such link any more")
	}
	return inUse(links, wishes, asked)
}

// inUse refuses names that a link keeps, as its name or as an altname.
func inUse(links []link, wishes map[int32]string, asked map[string]bool) error {
	for _, l := range links {
		want, ok := wishes[l.index]
		if asked[l.name] && (!ok || want == l.name) {
			return fmt.Errorf("%s is in use: %s is to keep it", l.name, l)
		}
		for _, a := range l.altnames {
			if asked[a] {
				return fmt.Errorf("%s is an altname of %s: `ip link property del dev %s altname %s` clears it", a, l, l.name, a)
			}
		}
	}
	return nil
}

// namesOf lists the names that links have or are to have by the wishes, each once; of all ENIs where there
// are no wishes.
func namesOf(links []link, wishes map[int32]string) []string {
	var names []string
	if len(wishes) == 0 {
		for _, e := range allENIs(links) {
			names = append(names, e.name)
		}
	}
	for _, l := range links {
		if wishes[l.index] != "" {
			names = append(names, l.name, wishes[l.index])
		}
	}
	var sorted []string
	for _, i := range sortBy(len(names), func(i int) string { return names[i] }) {
		sorted = append(sorted, names[i])
	}
	return sorted
}

// undo lists the wishes that give every link still there the name it had before.
func undo(before, now []link) map[int32]string {
	wishes := map[int32]string{}
	for _, l := range now {
		if old, ok := byIndex(before, l.index); ok && old.name != l.name {
			wishes[l.index] = old.name
		}
	}
	return wishes
}

// renamed lists each link's change of name.
func renamed(before, now []link) []step {
	var out []step
	for _, l := range now {
		if old, ok := byIndex(before, l.index); ok && old.name != l.name {
			out = append(out, step{l.index, l.id(), old.name, l.name})
		}
	}
	return out
}

// stillDown lists the links of the set that are down.
func stillDown(links []link, set map[int32]bool) []link {
	return slices.DeleteFunc(slices.Clone(links), func(l link) bool { return l.up || !set[l.index] })
}

// makeWay adds to wishes that a newcomer, an ENI that was not there before and took a wished name,
// gets the lowest free ethN: it has no right to a certain one.
func makeWay(before, now []link, wishes map[int32]string) map[int32]string {
	wanted := map[string]bool{}
	for _, name := range wishes {
		wanted[name] = true
	}
	out := map[int32]string{}
	for index, name := range wishes {
		out[index] = name
	}
	taken := takenNames(now, nil)
	for name := range wanted {
		taken[name] = true
	}
	for _, l := range now {
		if _, old := byIndex(before, l.index); !old && l.eni() && kernelName(l.name) && wanted[l.name] && wishes[l.index] == "" {
			out[l.index] = settle(l.name, taken)
		}
	}
	return out
}

// exchange says who is to be called what after `swap a b`. Where a temporary name shows that a
// swap of the two broke off, it asks for the rest of it.
func exchange(links []link, a, b string) (map[int32]string, error) {
	la, okA := byName(links, a)
	lb, okB := byName(links, b)
	if okA && okB {
		return map[int32]string{la.index: b, lb.index: a}, nil
	}
	for _, l := range links {
		final, _ := finalName(l.name)
		switch {
		case final == a && okA:
			return map[int32]string{l.index: a, la.index: b}, nil
		case final == b && okB:
			return map[int32]string{l.index: b, lb.index: a}, nil
		case final == a || final == b:
			return map[int32]string{l.index: final}, nil
		}
	}
	if okA {
		a = b
	}
	if i := slices.IndexFunc(links, func(l link) bool { return strings.HasPrefix(l.name, tempPrefix+"#") }); i >= 0 {
		return nil, fmt.Errorf("%s: no such link; but a rename of %s broke off, and `ip link set dev %s name %s` may be what is left of it", a, links[i], links[i].name, a)
	}
	return nil, fmt.Errorf("%s: no such link", a)
}
