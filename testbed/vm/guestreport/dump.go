package guestreport

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Dump is what ip(8) prints of everything that a link can have, by what it was asked for.
type Dump map[string]string

// Asked are the arguments of ip(8) that make a dump.
var Asked = []string{
	"-d -j address",
	"-d -j -4 route show table all",
	"-d -j -6 route show table all",
	"-d -j -4 rule",
	"-d -j -6 rule",
	"-d -j nexthop",
	"-j neighbour show nud permanent",
}

// An Entry is one address, route, rule, neighbour or next hop, without the name of its link.
type Entry struct {
	Kind  string // "route"
	Index int    // of the link, 0 where it has none
	Text  string // the rest, as JSON
}

// ignored are fields that say how old something is, how the kernel takes it, or a name: also in
// what a route repeats of its next hop.
var ignored = []string{"label", "valid_life_time", "preferred_life_time", "dynamic", "secondary",
	"tentative", "noprefixroute", "nodad", "expires", "age", "flags", "nh_info"}

// theirs are the protocols of routes that the kernel makes, or a network manager by what it was
// told.
var theirs = []string{"kernel", "ra", "dhcp"}

// Entries are those of a dump, but for addresses and routes that come by themselves.
func (d Dump) Entries() ([]Entry, error) {
	return d.entries(func(kind string, fields map[string]any) bool {
		protocol, _ := fields["protocol"].(string)
		return fields["dynamic"] == nil && (kind != "route" || !slices.Contains(theirs, protocol))
	})
}

// Advertised are the default routes that the kernel has made of what IPv6 routers said.
func (d Dump) Advertised() ([]Entry, error) {
	return d.entries(func(kind string, fields map[string]any) bool {
		return kind == "route" && fields["dst"] == "default" && fields["protocol"] == "ra"
	})
}

// entries are those of a dump that are wanted.
func (d Dump) entries(wanted func(kind string, fields map[string]any) bool) ([]Entry, error) {
	var links []map[string]any
	if err := parse(d[Asked[0]], &links); err != nil {
		return nil, err
	}
	index := make(map[string]int)
	var entries []Entry
	add := func(kind string, fields map[string]any) {
		if wanted(kind, fields) {
			entries = append(entries, entry(kind, fields, index))
		}
	}
	for _, l := range links {
		name, _ := l["ifname"].(string)
		number, _ := l["ifindex"].(float64)
		index[name] = int(number)
		infos, _ := l["addr_info"].([]any)
		for _, info := range infos {
			if fields, ok := info.(map[string]any); ok && len(fields) > 0 {
				fields["dev"] = name
				add("address", fields)
			}
		}
	}
	for _, asked := range Asked[1:] {
		var objects []map[string]any
		if err := parse(d[asked], &objects); err != nil {
			return nil, fmt.Errorf("ip %s: %w", asked, err)
		}
		for _, fields := range objects {
			add(kindOf(asked), fields)
		}
	}
	return entries, nil
}

// kindOf returns what ip(8) was asked for: "route" for "-d -j -4 route show table all".
func kindOf(asked string) string {
	words := strings.Fields(asked)
	return words[slices.IndexFunc(words, func(w string) bool { return !strings.HasPrefix(w, "-") })]
}

// entry makes an entry of an object.
func entry(kind string, fields map[string]any, index map[string]int) Entry {
	name, _ := fields["dev"].(string)
	delete(fields, "dev")
	for _, field := range ignored {
		delete(fields, field)
	}
	text, _ := json.Marshal(fields) // of what was parsed; sorted by key
	return Entry{kind, index[name], string(text)}
}

// parse reads the JSON of one command, which prints nothing at all where there is nothing.
func parse(text string, objects *[]map[string]any) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), objects); err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	return nil
}

// Without returns the entries that others have not.
func Without(entries, others []Entry) []Entry {
	known := func(e Entry) bool { return slices.Contains(others, e) }
	return slices.DeleteFunc(slices.Clone(entries), known)
}
