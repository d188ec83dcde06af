package main

// This file writes what was seen and done: as a table, as JSON, and a plan as ip(8) commands. It is
// pure but for the io.Writer it is given.

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// schema is the version of the JSON object. It stays the same when fields are added.
const schema = 1

// A report is what check and fix print on stdout.
type report struct {
	verb    string // check, fix
	code    int
	reason  string       // a word for what came out, of jsonReasons
	note    string       // the verdict in words
	err     string       // why there is no verdict, or why fix could not do it
	world   world        // of the last look
	plan    []step       // the renames that fix would do, in their order
	renamed []step       // what fix did: the former and the present name of each link
	lost    []*netObject // what the links had before, and fix could not put back
}

// write prints the report as JSON on one line, or as a table.
func (r report) write(w io.Writer, asJSON bool) error {
	text := r.table()
	if asJSON {
		text = r.json()
	}
	_, err := io.WriteString(w, text)
	return err
}

// A view is a world with what is said of each link, worked out once: there may be thousands.
type view struct {
	world
	egress egress
	enis   map[int32]bool // indexes
	routed map[int32]bool // indexes of the links that default routes leave by
}

// view works out what is said of the links.
func (w world) view() view {
	v := view{w, w.decidingEgress(), map[int32]bool{}, map[int32]bool{}}
	for _, l := range allENIs(w.links) {
		v.enis[l.index] = true
	}
	for _, r := range w.routes {
		for _, h := range r.hops {
			v.routed[h.index] = true
		}
	}
	return v
}

// shownLinks lists the links that are shown: ENIs, and those of default routes.
func (v view) shownLinks() []link {
	return filter(v.links, func(l link) bool { return v.enis[l.index] || v.routed[l.index] })
}

// table returns the report as a table of the links, and the verdict.
func (r report) table() string {
	var b strings.Builder
	// A name has at most 15 bytes. A strings.Builder returns no errors.
	const row = "%-15s  %-5v  %-17v  %-5s  %-13s  %s\n"
	fmt.Fprintf(&b, row, "LINK", "INDEX", "ADDRESS", "STATE", "ROLE", "DEFAULT ROUTES")
	v := r.world.view()
	for _, l := range v.shownLinks() {
		state := "down"
		if l.up {
			state = "up"
		}
		fmt.Fprintf(&b, row,
			visible(l.name), l.index, l.id(), state, v.role(l), v.routesBy(l))
	}
	if r.note != "" {
		fmt.Fprintf(&b, "\n%s.\n", r.note)
	}
	return b.String()
}

// role returns what a link is. Without an answer of IMDS no ENI is the primary.
func (v view) role(l link) string {
	switch {
	case !v.enis[l.index]:
		return l.kind
	case v.primary == hwaddr{}:
		return "ENI"
	case v.primary == l.id():
		return "primary ENI"
	}
	return "secondary ENI"
}

// routesBy lists the default routes by a link, with a mark where default traffic leaves by it; "-"
// where there are none.
func (v view) routesBy(l link) string {
	if !v.routed[l.index] {
		return "-"
	}
	var out []string
	for _, r := range v.routes {
		for _, h := range r.hops {
			if h.index != l.index {
				continue // of another link
			}
			s := fmt.Sprintf("metric %d", r.metric)
			if h.via.IsValid() {
				s = fmt.Sprintf("via %v %s", h.via, s)
			}
			if h.dead {
				s += " dead"
			}
			out = append(out, s)
		}
	}
	s := strings.Join(out, ", ")
	if slices.Contains(v.egress.links, l.index) {
		s += "  <- default traffic"
	}
	return s
}

// json returns the report as one JSON object on a line; docs/fleet.md has its fields.
func (r report) json() string {
	v := r.world.view()
	primary := ""
	if r.world.primary != (hwaddr{}) {
		primary = r.world.primary.String()
	}
	return jsonObject(
		"schema", jsonNumber(schema),
		"verb", jsonString(r.verb),
		"code", jsonNumber(r.code),
		"reason", jsonString(r.reason),
		"note", jsonString(r.note),
		"error", jsonString(r.err),
		"primary", jsonString(primary),
		"links", jsonArray(v.shownLinks(), v.linkJSON),
		"routes", jsonArray(r.world.routes, r.world.routeJSON),
		"egress", jsonObject(
			"inet", r.world.egressJSON(r.world.egress(false)),
			"inet6", r.world.egressJSON(r.world.egress(true)),
		),
		"plan", jsonArray(r.plan, step.json),
		"renamed", jsonArray(r.renamed, step.json),
		"lost", jsonArray(r.lost, func(o *netObject) string { return jsonString(o.description) }),
	) + "\n"
}

// linkJSON is an element of "links".
func (v view) linkJSON(l link) string {
	return jsonObject(
		"index", jsonNumber(l.index),
		"name", jsonString(l.name),
		"address", jsonString(l.id().String()),
		"altnames", jsonArray(l.altnames, jsonString),
		"kind", jsonString(l.kind),
		"up", jsonBool(l.up),
		"eni", jsonBool(v.enis[l.index]),
		"primary", jsonBool(v.role(l) == "primary ENI"),
		"carries", jsonBool(v.egress.carries(l.index)),
	)
}

// routeJSON is an element of "routes".
func (w world) routeJSON(r route) string {
	family := "inet"
	if r.ipv6 {
		family = "inet6"
	}
	return jsonObject(
		"family", jsonString(family),
		"metric", jsonNumber(r.metric),
		"rejects", jsonString(r.rejects),
		"hops", jsonArray(r.hops, func(h hop) string {
			l, _ := linkByIndex(w.links, h.index)
			via := ""
			if h.via.IsValid() {
				via = h.via.String()
			}
			return jsonObject(
				"index", jsonNumber(h.index),
				"link", jsonString(l.name),
				"via", jsonString(via),
				"dead", jsonBool(h.dead),
			)
		}),
	)
}

// egressJSON lists the names of the ENIs that default traffic of a family leaves by.
func (w world) egressJSON(e egress) string {
	return jsonArray(e.allENIs(), func(index int32) string {
		l, _ := linkByIndex(w.links, index)
		return jsonString(l.name)
	})
}

// json is an element of "plan" or "renamed".
func (s step) json() string {
	return jsonObject(
		"index", jsonNumber(s.index),
		"address", jsonString(s.addr.String()),
		"from", jsonString(s.from),
		"to", jsonString(s.to),
	)
}

// jsonObject encodes an object. Its arguments are keys and encoded values in turn.
func jsonObject(fields ...string) string {
	var out []string
	for i := 0; i < len(fields); i += 2 {
		out = append(out, jsonString(fields[i])+":"+fields[i+1])
	}
	return "{" + strings.Join(out, ",") + "}"
}

// jsonArray encodes an array; an empty one is [], and not null.
func jsonArray[T any](items []T, encode func(T) string) string {
	var out []string
	for _, i := range items {
		out = append(out, encode(i))
	}
	return "[" + strings.Join(out, ",") + "]"
}

// jsonNumber encodes a number.
func jsonNumber[T int | int32 | uint32](n T) string { return strconv.FormatInt(int64(n), 10) }

// jsonBool encodes a boolean.
func jsonBool(b bool) string { return strconv.FormatBool(b) }

// jsonString encodes a string (RFC 8259, 7). Bytes that are not UTF-8 become U+FFFD.
func jsonString(s string) string {
	b := []byte{'"'}
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return string(append(b, '"'))
}

// ipLines returns a plan as the ip(8) commands that do the same on Linux 6.2 and newer, with
// comments on what else fix does.
func ipLines(links []link, steps []step, units []string) string {
	var b strings.Builder
	var up []string
	for _, s := range steps {
		if l, _ := linkByIndex(links, s.index); l.up && l.name == s.from {
			up = append(up, l.name)
		}
	}
	if len(up) > 0 {
		fmt.Fprintf(&b, "# before Linux 6.2 these go down for it, come up again, "+
			"and get back what that costs: %s\n", strings.Join(up, " "))
	}
	for _, s := range steps {
		fmt.Fprintf(&b, "ip link set dev %s name %s\n", shellQuote(s.from), shellQuote(s.to))
	}
	if len(steps) > 0 && len(units) > 0 {
		fmt.Fprintf(&b, "# and then these are restarted if they run: %s\n",
			strings.Join(units, " "))
	}
	return b.String()
}

// shellQuote quotes a name for sh(1) where that is needed.
func shellQuote(name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-"
	if strings.Trim(name, plain) == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
