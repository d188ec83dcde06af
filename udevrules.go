package main

// This file applies udev(7) rules to an ENI, as udev does when the kernel adds it, as far as they
// decide its name. The functions named are those of systemd's src/udev/udev-rules.c. It runs no
// program and changes no device.

import (
	"slices"
	"strings"
)

// A udevToken is a KEY{attr}=="value" of a rule.
type udevToken struct {
	key, attr  string // ATTR, address
	op         string // ==, !=, =, +=, -=, :=
	value      string
	ignoreCase bool // i"value"
}

// isMatch reports whether the token is a condition, and not an assignment. PROGRAM and IMPORT are
// conditions with any operator. It is not inlined, as it is called in many places.
//
//go:noinline
func (t *udevToken) isMatch() bool {
	return t.op == "==" || t.op == "!=" || t.key == "PROGRAM" || t.key == "IMPORT"
}

// anyValue reports whether the condition treats alike all values that are not empty: "?*", "*", "".
func (t *udevToken) anyValue() bool { return strings.Trim(t.value, "*?|") == "" }

// match reports whether the condition is met where its key has the value s: token_match_string.
func (t *udevToken) match(s string) bool {
	value := t.value
	if t.ignoreCase {
		value, s = lowerASCII(value), lowerASCII(s)
	}
	met := false
	for pattern := range strings.SplitSeq(value, "|") {
		met = met || fnmatch(pattern, s)
	}
	return met == (t.op == "==")
}

// A udevLine is a rule that can decide a name: it assigns NAME= or ENV{}, or it has a GOTO or a
// LABEL.
type udevLine struct {
	filePlace
	tokens []udevToken
	label  string
	target int // the index of the line that its GOTO leads to; 0 for none
}

const (
	udevLineSize  = 16384 // bytes: UDEV_LINE_SIZE
	setupLinkFile = "80-net-setup-link.rules"
	// setupLinkRule is the rule in that file of systemd's. By it the name of a .link file counts
	// where no rule before has assigned one. An empty file of that name masks it.
	setupLinkRule = `NAME=="", ENV{ID_NET_NAME}!="", NAME="$env{ID_NET_NAME}"`
)

// parseUdevRules reads the effective files in the order of their names. 80-net-setup-link.rules may
// be where eni0 can't see it: where it is not among the files it counts as present.
func parseUdevRules(files []configFile) [][]udevLine {
	effective := effectiveFiles(files)
	setsUpLinks := func(f configFile) bool { return strings.HasSuffix(f.path, "/"+setupLinkFile) }
	if !slices.ContainsFunc(effective, setsUpLinks) {
		setup := configFile{"/usr/lib/udev/rules.d/" + setupLinkFile, []byte(setupLinkRule)}
		effective = effectiveFiles(append(effective, setup))
	}
	var out [][]udevLine
	for i := range effective {
		out = append(out, parseUdevFile(&effective[i]))
	}
	return out
}

// parseUdevFile reads the lines that may decide a name. It leaves out the lines that udev ignores:
// those with an unknown key, or an operator that the key does not take.
func parseUdevFile(f *configFile) []udevLine {
	var lines []udevLine
	labels := map[string][]int{} // label -> the indexes of its lines
	for _, joined := range joinLines(f.text, &udevSyntax) {
		tokens, ok := parseUdevLine(joined.text)
		if !ok || len(joined.text) >= udevLineSize {
			continue
		}
		l := udevLine{filePlace{f.path, joined.number, "NAME="}, tokens, "", 0}
		relevant := false
		for _, t := range tokens {
			switch {
			case t.key == "LABEL":
				l.label, relevant = t.value, true
				labels[t.value] = append(labels[t.value], len(lines))
			case t.key == "GOTO", !t.isMatch() && (t.key == "NAME" || t.key == "ENV"):
				relevant = true
			}
		}
		if relevant {
			lines = append(lines, l)
		}
	}
	resolveGotos(lines, labels)
	return lines
}

// resolveGotos finds for each GOTO the next line with its label: rule_resolve_goto. A GOTO without
// such a line is ignored.
func resolveGotos(lines []udevLine, labels map[string][]int) {
	for i := range lines {
		l := &lines[i]
		for _, t := range l.tokens {
			if t.key != "GOTO" || l.target > 0 {
				continue
			}
			targets := labels[t.value]
			if n, _ := slices.BinarySearch(targets, i+1); n < len(targets) {
				l.target = targets[n]
			}
		}
	}
}

// parseUdevLine cuts a rule into tokens: parse_line and udev_rule_parse_value. Where ok is false
// udev ignores the rule.
func parseUdevLine(line string) (tokens []udevToken, ok bool) {
	for {
		line = strings.TrimLeft(line, " \t\n\v\f,")
		if line == "" {
			return tokens, true
		}
		t, rest, ok := parseUdevToken(line)
		if !ok || !validUdevToken(&t) {
			return nil, false
		}
		tokens, line = append(tokens, t), rest
	}
}

// parseUdevToken reads the token that line starts with, and returns what comes after it.
func parseUdevToken(line string) (t udevToken, rest string, ok bool) {
	n := strings.IndexAny(line, " \t{=+-!:")
	if n <= 0 {
		return t, "", false
	}
	t.key, rest = line[:n], line[n:]
	if rest[0] == '{' {
		if t.attr, rest, ok = strings.Cut(rest[1:], "}"); !ok {
			return t, "", false
		}
	}
	rest = strings.TrimLeft(rest, " \t")
	for _, op := range []string{"==", "!=", "+=", "-=", ":=", "="} {
		if after, found := strings.CutPrefix(rest, op); found {
			t.op = op
			t.value, t.ignoreCase, rest, ok = parseUdevValue(strings.TrimLeft(after, " \t"))
			return t, rest, ok
		}
	}
	return t, "", false
}

// parseUdevValue reads a value in double quotes. In a plain value \" stands for a quote. e"..." has
// the escapes of C, of which this function removes the backslash. i"..." ignores case.
func parseUdevValue(s string) (value string, ignoreCase bool, rest string, ok bool) {
	escaped := false
	for s != "" && (s[0] == 'e' || s[0] == 'i') {
		escaped, ignoreCase = escaped || s[0] == 'e', ignoreCase || s[0] == 'i'
		s = s[1:]
	}
	if s == "" || s[0] != '"' {
		return "", false, "", false
	}
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return out.String(), ignoreCase, s[i+1:], true
		case s[i] == '\\' && i+1 < len(s) && (escaped || s[i+1] == '"'):
			i++
		}
		out.WriteByte(s[i])
	}
	return "", false, "", false
}

// validUdevToken reports whether udev accepts the token: parse_token.
func validUdevToken(t *udevToken) bool {
	switch t.key {
	case "ACTION", "DEVPATH", "KERNEL", "SUBSYSTEM", "DRIVER", "KERNELS", "SUBSYSTEMS", "DRIVERS",
		"TAGS", "TEST", "RESULT", "ATTRS", "CONST":
		return t.isMatch()
	case "GOTO", "LABEL":
		return t.op == "="
	case "NAME":
		return t.op != "-=" && (t.isMatch() || t.value != "%k" && t.value != "")
	case "OPTIONS", "OWNER", "GROUP", "MODE", "SECLABEL", "RUN":
		return !t.isMatch()
	case "SYMLINK", "ENV", "TAG", "ATTR", "SYSCTL", "PROGRAM", "IMPORT":
		return true
	}
	return false
}

// A udevProperty is an ENV{} that a rule has set.
type udevProperty struct {
	value          string
	known          bool // false where the value, or whether it was set, is not known
	deviceSpecific bool // the rule is for one device or a few
}

// A udevEvent is the state of udev while it applies the rules to an ENI.
type udevEvent struct {
	link       *link
	want       string                  // the name that the ENI is to have
	linkNames  []nameAssignment        // by .link files
	properties map[string]udevProperty // ENV{}
	names      []nameAssignment        // each of these may be the name at this point
	finalNames []nameAssignment        // each of these may be the name by NAME:=
	final      bool                    // a NAME:= took effect for certain
}

// udevNames are the names that udev may give to l. Of the rules that match the last NAME= counts,
// and of the .link files the first that matches, where a rule takes its name.
func udevNames(linkFiles []systemdFile, rules [][]udevLine, l *link, want string) []nameAssignment {
	e := udevEvent{link: l, want: want, properties: map[string]udevProperty{}}
	e.linkNames = linkFileNames(linkFiles, l, want)
	for _, lines := range rules {
		e.apply(lines)
	}
	return append(e.finalNames, e.names...)
}

// apply applies the lines of one file. Where the condition of a GOTO has the answer maybe, so have
// the lines that it skips. Where a GOTO skips lines for some devices only, these lines are specific
// to the other devices.
func (e *udevEvent) apply(lines []udevLine) {
	maybeUntil, specificUntil := 0, 0 // the targets of these two kinds of GOTO
	for i := 0; i < len(lines); i++ {
		l := &lines[i]
		met := e.match(l.tokens)
		if i < maybeUntil {
			met = min(met, answerMaybe)
		}
		specific := i < specificUntil || e.deviceSpecific(l.tokens)
		if met != answerYes && specific {
			specificUntil = max(specificUntil, l.target)
		}
		if met != answerNo {
			e.assign(l, met, specific)
		}
		switch {
		case l.target > 0 && met == answerYes:
			i = l.target - 1
		case met == answerMaybe:
			maybeUntil = max(maybeUntil, l.target)
		}
	}
}

// deviceSpecific reports whether one of the conditions is met by one device or a few.
func (e *udevEvent) deviceSpecific(tokens []udevToken) bool {
	for i := range tokens {
		if t := &tokens[i]; t.isMatch() && !t.anyValue() && e.identifiesDevice(t) {
			return true
		}
	}
	return false
}

// identifiesDevice reports whether the key of a condition has another value for each device.
func (e *udevEvent) identifiesDevice(t *udevToken) bool {
	switch t.key {
	case "KERNELS":
		return true
	case "ATTR", "ATTRS":
		return t.attr == "address"
	case "DEVPATH":
		return strings.Contains(t.value, ":") // a PCI address
	case "ENV":
		return e.properties[t.attr].deviceSpecific || strings.HasPrefix(t.attr, "ID_PATH") ||
			strings.HasPrefix(t.attr, "ID_NET_NAME_") // made from the address or the path
	}
	return false
}

// assign carries out ENV{}= and then NAME= of a line, as sort_tokens orders them.
func (e *udevEvent) assign(l *udevLine, met matchAnswer, specific bool) {
	for i := range l.tokens {
		t := &l.tokens[i]
		if t.key == "ENV" && !t.isMatch() {
			value, known := e.substitute(t.value)
			known = known && met == answerYes && t.op != "+="
			specific := specific || e.properties[t.attr].deviceSpecific
			e.properties[t.attr] = udevProperty{value, known, specific}
		}
	}
	for i := range l.tokens {
		t := &l.tokens[i]
		if t.key == "NAME" && !t.isMatch() && !e.final {
			e.assignName(l.filePlace, t, met, specific)
		}
	}
}

// assignName carries out NAME=. A name that is assigned for certain replaces those before.
func (e *udevEvent) assignName(place filePlace, t *udevToken, met matchAnswer, specific bool) {
	if met == answerYes {
		e.final = t.op == ":="
		e.names = nil
	}
	if t.value == "$env{ID_NET_NAME}" || t.value == "%E{ID_NET_NAME}" {
		for _, a := range e.linkNames {
			a.match = min(a.match, met)
			e.names = append(e.names, a)
		}
		return
	}
	name, known := e.substitute(t.value)
	if name = replaceIfname(name); known && !validIfname(name) {
		name = "" // rename_netif of src/udev/udev-event.c does not rename the link then
	}
	_, property, _ := strings.Cut(t.value, "{")
	property, _, _ = strings.Cut(property, "}")
	specific = specific || e.properties[property].deviceSpecific
	names := &e.names
	if t.op == ":=" {
		names = &e.finalNames
	}
	*names = append(*names, nameAssignment{place, name, specific, met})
}

// replaceIfname is name with "_" for each byte that no name can have: udev_replace_ifname.
func replaceIfname(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(":/%", c) >= 0 {
			b[i] = '_'
		}
	}
	return string(b)
}

// substitute carries out the substitutions in a value: udev_event_apply_format of
// src/udev/udev-event.c. For the name that the kernel gave it returns "". Where known is false it
// returns the value as it is.
func (e *udevEvent) substitute(value string) (result string, known bool) {
	if !strings.ContainsAny(value, "%$") {
		return value, true
	}
	if key, ok := strings.CutPrefix(value, "$env{"); ok && strings.HasSuffix(key, "}") {
		if p := e.properties[strings.TrimSuffix(key, "}")]; p.known {
			return p.value, true
		}
	}
	switch value {
	case "%k", "$kernel", "eth%n", "eth$number", "$name", "$env{INTERFACE}", "%E{INTERFACE}":
		return "", true
	}
	return value, false
}

// match answers all conditions of a line: udev_rule_apply_line_to_event.
func (e *udevEvent) match(tokens []udevToken) matchAnswer {
	met := e.matchParentKeys(tokens)
	for i := range tokens {
		if t := &tokens[i]; met != answerNo && t.isMatch() && !slices.Contains(parentKeys, t.key) {
			met = min(met, e.matchDevice(t))
		}
	}
	return met
}

// parentKeys are for conditions on the device or one of its parents.
var parentKeys = []string{"KERNELS", "SUBSYSTEMS", "DRIVERS", "ATTRS", "TAGS"}

// matchParentKeys answers the conditions of a line with such a key. One device has to meet all of
// them, the ENI or one of its parents: udev_rule_apply_parent_token_to_event. Of the parents only
// the nearest is tested, which is known where it is a PCI device.
func (e *udevEvent) matchParentKeys(tokens []udevToken) matchAnswer {
	device, parent := answerYes, answerYes
	for i := range tokens {
		if t := &tokens[i]; t.isMatch() && slices.Contains(parentKeys, t.key) {
			device, parent = min(device, e.matchDevice(t)), min(parent, e.matchParent(t))
		}
	}
	return max(device, parent)
}

// matchDevice answers a condition on the ENI itself. answerMaybe is for PROGRAM, RESULT, IMPORT,
// TEST, CONST, TAG, TAGS, SYSCTL and SYMLINK.
func (e *udevEvent) matchDevice(t *udevToken) matchAnswer {
	switch t.key {
	case "ACTION":
		return answerOf(t.match("add"))
	case "SUBSYSTEM", "SUBSYSTEMS":
		return answerOf(t.match("net"))
	case "DRIVER", "DRIVERS":
		return answerOf(t.match("")) // only its parent has a driver
	case "KERNEL", "KERNELS":
		return matchOriginalName(e.link, e.want, t.match)
	case "DEVPATH":
		return e.matchDevpath(t)
	case "ATTR", "ATTRS":
		return e.matchAttr(t)
	case "ENV":
		return e.matchEnv(t)
	case "NAME":
		return e.matchName(t)
	}
	return answerMaybe
}

// matchParent answers a condition on the parent of the ENI.
func (e *udevEvent) matchParent(t *udevToken) matchAnswer {
	bus, name, known := strings.Cut(e.link.path, "-")
	switch {
	case t.key == "KERNELS" && known:
		return answerOf(t.match(name))
	case t.key == "SUBSYSTEMS" && known:
		return answerOf(t.match(bus))
	case t.key == "DRIVERS" && t.anyValue():
		return answerOf(t.match("ena")) // or any other driver
	case t.key == "ATTRS" && t.attr == "address":
		return answerNo // only a link has an address
	}
	return answerMaybe
}

// matchName compares the name that rules have assigned so far.
func (e *udevEvent) matchName(t *udevToken) matchAnswer {
	names := append(e.finalNames, e.names...)
	if len(names) == 0 {
		return answerOf(t.match(""))
	}
	assigned := names[0]
	if len(names) > 1 || assigned.match != answerYes {
		return answerMaybe
	}
	if assigned.name == "" {
		assigned.name = e.want // the kernel's name, whatever it is
	}
	return answerOf(t.match(assigned.name))
}

// matchDevpath looks for the PCI address in the path below /sys, of which the rest is not known.
func (e *udevEvent) matchDevpath(t *udevToken) matchAnswer {
	_, pciAddress, ok := strings.Cut(e.link.path, "-")
	if ok && strings.Contains(t.value, ":") &&
		strings.Contains(t.value, pciAddress) != (t.op == "==") {
		return answerNo
	}
	return answerMaybe
}

// matchAttr compares a file that an ENI has in /sys/class/net.
func (e *udevEvent) matchAttr(t *udevToken) matchAnswer {
	switch t.attr {
	case "address":
		return answerOf(t.match(e.link.addr.String()))
	case "type":
		return answerOf(t.match("1")) // ARPHRD_ETHER
	case "dev_id":
		return answerOf(t.match("0x0"))
	case "addr_len":
		return answerOf(t.match("6"))
	}
	return answerMaybe
}

// matchEnv compares a property: one that a rule has set, or one that udev has set before.
func (e *udevEvent) matchEnv(t *udevToken) matchAnswer {
	if p, ok := e.properties[t.attr]; ok {
		if !p.known {
			return answerMaybe
		}
		return answerOf(t.match(p.value))
	}
	switch t.attr {
	case "ACTION":
		return answerOf(t.match("add"))
	case "SUBSYSTEM":
		return answerOf(t.match("net"))
	case "DEVTYPE":
		return answerOf(t.match("")) // Ethernet devices have none
	case "INTERFACE":
		return matchOriginalName(e.link, e.want, t.match)
	case "ID_PATH":
		return matchPath(e.link, t.match)
	case "ID_NET_NAME":
		if len(e.linkNames) == 0 {
			return answerOf(t.match(""))
		}
		if t.anyValue() {
			return answerOf(t.match("eth0")) // or any other name
		}
	}
	return answerMaybe
}
