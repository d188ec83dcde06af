package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// This file says what was seen and done: the report on stdout, as a table or as JSON.

// schema is the version of the JSON object: fields may be added under the same number.
const schema = 1

// A report is what check and fix say on stdout, as a table or as JSON.
type report struct {
	verb    string // check, fix
	code    int
	note    string // the verdict in words
	err     string // why there is none, or why it could not be done
	world   world  // as the verb saw it last
	plan    []step // the renames that fix would do, in their order
	renamed []step // what fix did: the former and the present name of each link
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

// shownLinks lists the links worth showing: ENIs, and what default routes leave by.
func (w world) shownLinks() []link {
	return slices.DeleteFunc(slices.Clone(w.links), func(l link) bool {
		routed := slices.ContainsFunc(w.routes, func(r route) bool {
			return slices.ContainsFunc(r.hops, func(h hop) bool { return h.index == l.index })
		})
		return !l.eni() && !routed
	})
}

// table is the report for people: the links, where default traffic leaves, the verdict.
func (r report) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LINK\tINDEX\tADDRESS\tSTATE\tROLE\tDEFAULT ROUTES") // strings.Builder never fails
	for _, l := range r.world.shownLinks() {
		state := "down"
		if l.up {
			state = "up"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", visible(l.name), l.index, l.id(), state, r.world.role(l), r.world.routesBy(l))
	}
	_ = w.Flush()
	if r.note != "" {
		fmt.Fprintf(&b, "\n%s.\n", r.note)
	}
	return b.String()
}

// role says what a link is; what IMDS did not tell it does not guess.
func (w world) role(l link) string {
	switch {
	case !l.eni():
		return l.kind
	case w.primary == hwaddr{}:
		return "ENI"
	case w.primary == l.id():
		return "primary ENI"
	}
	return "secondary ENI"
}

// routesBy lists the default routes by a link, with a mark where default traffic takes one; "-" is
// none.
func (w world) routesBy(l link) string {
	var out []string
	for _, r := range w.routes {
		for _, h := range r.hops {
			if h.index != l.index {
				continue // another link's
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
	if out == nil {
		return "-"
	}
	s := strings.Join(out, ", ")
	if slices.Contains(w.egressLinks(), l.index) {
		s += "  <- default traffic"
	}
	return s
}

// json is the report as one JSON object on a line; the README documents it. By hand, because
// encoding/json is an eighth of the binary.
func (r report) json() string {
	primary := ""
	if r.world.primary != (hwaddr{}) {
		primary = r.world.primary.String()
	}
	return jsonObject(
		"schema", jsonNumber(schema),
		"verb", jsonString(r.verb),
		"code", jsonNumber(r.code),
		"note", jsonString(r.note),
		"error", jsonString(r.err),
		"primary", jsonString(primary),
		"links", jsonArray(r.world.shownLinks(), r.world.linkJSON),
		"routes", jsonArray(r.world.routes, r.world.routeJSON),
		"plan", jsonArray(r.plan, step.json),
		"renamed", jsonArray(r.renamed, step.json),
	) + "\n"
}

// linkJSON is one of "links".
func (w world) linkJSON(l link) string {
	return jsonObject(
		"index", jsonNumber(l.index),
		"name", jsonString(l.name),
		"address", jsonString(l.id().String()),
		"altnames", jsonArray(l.altnames, jsonString),
		"kind", jsonString(l.kind),
		"up", jsonBool(l.up),
		"eni", jsonBool(l.eni()),
		"primary", jsonBool(w.role(l) == "primary ENI"),
		"carries", jsonBool(slices.Contains(w.egressLinks(), l.index)),
	)
}

// routeJSON is one of "routes".
func (w world) routeJSON(r route) string {
	family := "inet"
	if r.ipv6 {
		family = "inet6"
	}
	return jsonObject(
		"family", jsonString(family),
		"metric", jsonNumber(r.metric),
		"hops", jsonArray(r.hops, func(h hop) string {
			l, _ := linkByIndex(w.links, h.index)
			via := ""
			if h.via.IsValid() {
				via = h.via.String()
			}
			return jsonObject("index", jsonNumber(h.index), "link", jsonString(l.name), "via", jsonString(via), "dead", jsonBool(h.dead))
		}),
	)
}

// json is one of "plan" or "renamed".
func (s step) json() string {
	return jsonObject("index", jsonNumber(s.index), "address", jsonString(s.addr.String()), "from", jsonString(s.from), "to", jsonString(s.to))
}

// jsonObject is a JSON object of keys and encoded values in turn.
func jsonObject(fields ...string) string {
	var out []string
	for i := 0; i < len(fields); i += 2 {
		out = append(out, jsonString(fields[i])+":"+fields[i+1])
	}
	return "{" + strings.Join(out, ",") + "}"
}

// jsonArray is a JSON array; an empty one is [], never null.
func jsonArray[T any](items []T, encode func(T) string) string {
	var out []string
	for _, i := range items {
		out = append(out, encode(i))
	}
	return "[" + strings.Join(out, ",") + "]"
}

// jsonNumber and boolean are JSON's.
func jsonNumber[T int | int32 | uint32](n T) string { return strconv.FormatInt(int64(n), 10) }

func jsonBool(b bool) string { return strconv.FormatBool(b) }

// jsonString is a JSON string (RFC 8259, 7). What is not UTF-8 becomes U+FFFD.
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

// ipLines is a plan as the ip(8) commands that would do the same, on Linux 6.2 and newer, and in
// comments what comes with it.
func ipLines(links []link, steps []step, units []string) string {
	var b strings.Builder
	var up []string
	for _, s := range steps {
		if l, _ := linkByIndex(links, s.index); l.up && l.name == s.from {
			up = append(up, l.name)
		}
	}
	if len(up) > 0 {
		fmt.Fprintf(&b, "# before Linux 6.2 these go down for it, come up again, and get back what that costs: %s\n", strings.Join(up, " "))
	}
	for _, s := range steps {
		fmt.Fprintf(&b, "ip link set dev %s name %s\n", shellQuote(s.from), shellQuote(s.to))
	}
	if len(steps) > 0 && len(units) > 0 {
		fmt.Fprintf(&b, "# and then these are restarted if they run: %s\n", strings.Join(units, " "))
	}
	return b.String()
}

// shellQuote quotes a name for sh(1), where that is needed.
func shellQuote(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-") == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
