package main

// This file goes through udev(7) rules as udev does when it finds an ENI, as far as they bear on
// NAME=. The rules are those of src/udev/udev-rules.c in systemd.
import (
	"slices"
	"strings"
)

// A ruleToken is one KEY{attr}=="value" of a rule.
type ruleToken struct {
	key, attr string // ATTR, address
	op        string // ==, !=, =, +=, :=
	value     string
	folded    bool // i"value": upper and lower case are the same
}

// matches reports whether the token is a condition. PROGRAM and IMPORT are, with any operator.
func (t *ruleToken) matches() bool {
	return t.op == "==" || t.op == "!=" || t.key == "PROGRAM" || t.key == "IMPORT"
}

// specific reports whether the token asks for a certain value, not just for any.
func (t *ruleToken) specific() bool { return strings.Trim(t.value, "*?|") != "" }

// A ruleLine is a rule that names, jumps, is jumped to, or sets what a later one may ask for.
type ruleLine struct {
	filePlace
	tokens []ruleToken
	label  string
	target int // of its GOTO: the line to go on with; 0 for none
}

const (
	ruleLineMax = 16384 // bytes: UDEV_LINE_SIZE
	setupRules  = "80-net-setup-link.rules"
	// setupRule is what that file of systemd's has: the name that a .link file gives counts where
	// no rule before has given one. An empty file of that name has .link files give none.
	setupRule = `NAME=="", ENV{ID_NET_NAME}!="", NAME="$env{ID_NET_NAME}"`
)

// parseRules reads the rules that no other file hides, in the order of the files' names. Where
// there is no 80-net-setup-link.rules, because it can't be seen from here, it is as if it were
// there.
func parseRules(files []configFile) [][]ruleLine {
	var out [][]ruleLine
	shown := unhidden(files)
	named := func(f *configFile) bool { return strings.HasSuffix(f.path, "/"+setupRules) }
	if !slices.ContainsFunc(shown, named) {
		setup := configFile{"/usr/lib/udev/rules.d/" + setupRules, []byte(setupRule)}
		shown = unhidden(append(files[:len(files):len(files)], setup))
	}
	for _, f := range shown {
		out = append(out, parseRuleFile(f))
	}
	return out
}

// parseRuleFile reads the lines that bear on names. One that udev drops whole, for an unknown key
// or an operator that the key does not take, is left out.
func parseRuleFile(f *configFile) []ruleLine {
	var lines []ruleLine
	labels := map[string][]int{}
	for _, joined := range joinLines(f.text, &udevLines) {
		tokens, ok := parseUdevRule(joined.text)
		if !ok || len(joined.text) >= ruleLineMax {
			continue
		}
		l := ruleLine{filePlace: filePlace{f.path, joined.number, "NAME="}}
		bears := false
		for _, t := range tokens {
			switch {
			case t.key == "LABEL":
				l.label = t.value
				labels[t.value] = append(labels[t.value], len(lines))
			case t.key != "GOTO" && (t.matches() || t.key != "NAME" && t.key != "ENV"):
				continue
			}
			bears = true
		}
		if l.tokens = tokens; bears {
			lines = append(lines, l)
		}
	}
	resolveJumps(lines, labels)
	return lines
}

// resolveJumps finds for each GOTO the next line with its label: rule_resolve_goto. Where there is
// none, the GOTO is ignored.
func resolveJumps(lines []ruleLine, labels map[string][]int) {
	for i, l := range lines {
		for _, t := range l.tokens {
			if t.key != "GOTO" || lines[i].target > 0 {
				continue
			}
			targets := labels[t.value]
			if n, _ := slices.BinarySearch(targets, i+1); n < len(targets) {
				lines[i].target = targets[n]
			}
		}
	}
}

// parseUdevRule cuts a rule into tokens: parse_line and udev_rule_parse_value. Not ok: udev drops
// it.
func parseUdevRule(line string) (tokens []ruleToken, ok bool) {
	for {
		line = strings.TrimLeft(line, " \t\n\v\f,")
		if line == "" {
			return tokens, true
		}
		t, rest, ok := parseRuleToken(line)
		if !ok || !validToken(&t) {
			return nil, false
		}
		tokens, line = append(tokens, t), rest
	}
}

// parseRuleToken reads a token from the start of line, and returns what comes after it.
func parseRuleToken(line string) (t ruleToken, rest string, ok bool) {
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
			t.value, t.folded, rest, ok = parseRuleValue(strings.TrimLeft(after, " \t"))
			return t, rest, ok
		}
	}
	return t, "", false
}

// parseRuleValue reads a value in double quotes. In a plain one \" is a quote; e"..." has C's
// escapes, of which here only the backslash goes; i"..." is for upper and lower case.
func parseRuleValue(s string) (value string, folded bool, rest string, ok bool) {
	escaped := false
	for s != "" && (s[0] == 'e' || s[0] == 'i') {
		escaped, folded = escaped || s[0] == 'e', folded || s[0] == 'i'
		s = s[1:]
	}
	if s == "" || s[0] != '"' {
		return "", false, "", false
	}
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return out.String(), folded, s[i+1:], true
		case s[i] == '\\' && i+1 < len(s) && (escaped || s[i+1] == '"'):
			i++
		}
		out.WriteByte(s[i])
	}
	return "", false, "", false
}

// validToken reports whether udev takes the token: parse_token.
func validToken(t *ruleToken) bool {
	assigns := !t.matches()
	switch t.key {
	case "ACTION", "DEVPATH", "KERNEL", "SUBSYSTEM", "DRIVER", "KERNELS", "SUBSYSTEMS", "DRIVERS",
		"TAGS", "TEST", "RESULT", "ATTRS", "CONST":
		return !assigns
	case "GOTO", "LABEL":
		return t.op == "="
	case "NAME":
		return t.op != "-=" && !(assigns && (t.value == "%k" || t.value == ""))
	case "OPTIONS", "OWNER", "GROUP", "MODE", "SECLABEL", "RUN":
		return assigns
	case "SYMLINK", "ENV", "TAG", "ATTR", "SYSCTL", "PROGRAM", "IMPORT":
		return true
	}
	return false
}

// A ruleProperty is an ENV{} that a rule has set.
type ruleProperty struct {
	value string
	known bool
	tied  bool // the rule asks for certain devices
}

// A ruleEvent is what udev knows while it goes through the rules for one ENI.
type ruleEvent struct {
	link       *link
	want       string
	linkNames  []givenName // what .link files give
	properties map[string]ruleProperty
	names      []givenName // what it may be called so far
	finals     []givenName // what it may be called by a NAME:=
	closed     bool        // a NAME:= has been carried out for certain
}

// namerPins are the .link files and udev rules that give l another name than want: of the rules the
// last NAME= that fits counts, of the .link files the first that fits, where the rules let it.
func namerPins(namers []netFile, rules [][]ruleLine, enis []*link, l *link, want string) []pin {
	e := ruleEvent{link: l, want: want, properties: map[string]ruleProperty{}}
	e.linkNames = linkNamings(namers, enis, l, want)
	for _, lines := range rules {
		e.apply(lines)
	}
	var pins []pin
	for _, n := range append(e.finals, e.names...) {
		if n.tied && n.name != "" && n.name != want && len(pins) < pinsMax {
			pins = append(pins, pin{n.filePlace, *l, n.name, want, n.sure})
		}
	}
	return pins
}

// apply goes through the lines of one file. Where a jump is only maybe, so are the lines it passes.
func (e *ruleEvent) apply(lines []ruleLine) {
	doubtful := 0 // a jump may have passed the lines up to this one
	guarded := 0  // a jump of other devices has passed the lines up to this one
	for i := 0; i < len(lines); i++ {
		l := &lines[i]
		met := e.meets(l.tokens)
		if i < doubtful {
			met = min(met, answerMaybe)
		}
		tied := i < guarded || e.ties(l.tokens)
		if l.target > 0 && met != answerYes && tied {
			guarded = max(guarded, l.target)
		}
		if met != answerNo {
			e.assign(l, met, tied)
		}
		switch {
		case l.target > 0 && met == answerYes:
			i = l.target - 1
		case l.target > 0 && met == answerMaybe:
			doubtful = max(doubtful, l.target)
		}
	}
}

// ties reports whether one of the conditions asks for certain devices.
func (e *ruleEvent) ties(tokens []ruleToken) bool {
	for i := range tokens {
		if t := &tokens[i]; t.matches() && t.specific() && e.tiesBy(t) {
			return true
		}
	}
	return false
}

// tiesBy reports whether the key of a condition tells devices apart.
func (e *ruleEvent) tiesBy(t *ruleToken) bool {
	switch t.key {
	case "KERNELS":
		return true
	case "ATTR", "ATTRS":
		return t.attr == "address"
	case "DEVPATH":
		return strings.Contains(t.value, ":")
	case "ENV":
		return e.properties[t.attr].tied || strings.HasPrefix(t.attr, "ID_PATH") ||
			strings.HasPrefix(t.attr, "ID_NET_NAME_") // of the address or the path
	}
	return false
}

// assign carries out ENV{}= and NAME= of a line.
func (e *ruleEvent) assign(l *ruleLine, met matchAnswer, tied bool) {
	for i := range l.tokens {
		t := &l.tokens[i]
		if t.key == "ENV" && !t.matches() {
			value, known := e.expand(t.value)
			known = known && met == answerYes && t.op != "+="
			e.properties[t.attr] = ruleProperty{value, known, tied || e.properties[t.attr].tied}
		}
	}
	for i := range l.tokens { // after ENV: sort_tokens
		t := &l.tokens[i]
		if t.key == "NAME" && !t.matches() {
			e.assignName(l.filePlace, t, met, tied)
		}
	}
}

// assignName carries out NAME=. After a NAME:= none counts. A name that is given for certain takes
// the place of those before.
func (e *ruleEvent) assignName(at filePlace, t *ruleToken, met matchAnswer, tied bool) {
	if e.closed {
		return
	}
	if met == answerYes {
		e.closed = t.op == ":="
		e.names = nil
	}
	if t.value == "$env{ID_NET_NAME}" || t.value == "%E{ID_NET_NAME}" {
		for _, n := range e.linkNames {
			n.sure = min(n.sure, met)
			e.names = append(e.names, n)
		}
		return
	}
	name, known := e.expand(t.value)
	if name = possibleIfname(name); known && !acceptedName(name) {
		name = "" // rename_netif of src/udev/udev-event.c leaves the link alone
	}
	_, key, _ := strings.Cut(t.value, "{")
	key, _, _ = strings.Cut(key, "}")
	tied = tied || e.properties[key].tied
	given := givenName{at, name, tied, met}
	if t.op == ":=" {
		e.finals = append(e.finals, given)
		return
	}
	e.names = append(e.names, given)
}

// possibleIfname is name with "_" for each byte that no name can have: udev_replace_ifname.
func possibleIfname(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(":/%", c) >= 0 {
			b[i] = '_'
		}
	}
	return string(b)
}

// expand carries out the substitutions of a value: udev_event_apply_format of
// src/udev/udev-event.c. The name that the kernel gave is "". Not known: the value as it stands.
func (e *ruleEvent) expand(value string) (string, bool) {
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

// meets reports whether all conditions of a line are met: udev_rule_apply_line_to_event.
func (e *ruleEvent) meets(tokens []ruleToken) matchAnswer {
	met := e.meetsParents(tokens)
	for i := range tokens {
		t := &tokens[i]
		if met == answerNo {
			break
		}
		if t.matches() && !parentKey(t.key) {
			met = min(met, e.meetsOwn(t))
		}
	}
	return met
}

// meetsOwn reports whether the ENI itself meets a condition.
func (e *ruleEvent) meetsOwn(t *ruleToken) matchAnswer {
	fits := func(s string) bool { return t.fits(s) }
	switch t.key {
	case "ACTION":
		return answerOf(fits("add"))
	case "SUBSYSTEM":
		return answerOf(fits("net"))
	case "DRIVER":
		return answerOf(fits("")) // the driver is its parent's
	case "KERNEL":
		return nameAtProbe(e.link, e.want, fits)
	case "DEVPATH":
		return e.meetsDevpath(t)
	case "ATTR":
		return e.meetsAttr(t)
	case "ENV":
		return e.meetsEnv(t)
	case "NAME":
		return e.meetsName(t)
	}
	return answerMaybe // PROGRAM, RESULT, IMPORT, TEST, CONST, TAG, SYSCTL, SYMLINK
}

// meetsName compares the name that rules have given so far.
func (e *ruleEvent) meetsName(t *ruleToken) matchAnswer {
	switch {
	case len(e.finals) > 1 || len(e.finals) == 1 && !e.closed || len(e.names) > 1:
		return answerMaybe
	case len(e.finals)+len(e.names) == 0:
		return answerOf(t.fits(""))
	}
	given := append(e.finals, e.names...)[0]
	if given.sure != answerYes {
		return answerMaybe
	}
	if given.name == "" {
		given.name = e.want // whatever the kernel calls it
	}
	return answerOf(t.fits(given.name))
}

// meetsDevpath looks for the PCI address in the path below /sys.
func (e *ruleEvent) meetsDevpath(t *ruleToken) matchAnswer {
	if _, pciAddress, ok := strings.Cut(e.link.path, "-"); ok && strings.Contains(t.value, ":") {
		return min(answerMaybe, answerOf(strings.Contains(t.value, pciAddress) == (t.op == "==")))
	}
	return answerMaybe
}

// meetsAttr compares what /sys/class/net has of an ENI.
func (e *ruleEvent) meetsAttr(t *ruleToken) matchAnswer {
	switch t.attr {
	case "address":
		return answerOf(t.fits(e.link.addr.String()))
	case "type":
		return answerOf(t.fits("1")) // ARPHRD_ETHER
	case "dev_id":
		return answerOf(t.fits("0x0"))
	case "addr_len":
		return answerOf(t.fits("6"))
	}
	return answerMaybe
}

// meetsEnv compares a ruleProperty.
func (e *ruleEvent) meetsEnv(t *ruleToken) matchAnswer {
	if p, ok := e.properties[t.attr]; ok {
		if !p.known {
			return answerMaybe
		}
		return answerOf(t.fits(p.value))
	}
	switch t.attr {
	case "ACTION":
		return answerOf(t.fits("add"))
	case "SUBSYSTEM":
		return answerOf(t.fits("net"))
	case "DEVTYPE":
		return answerOf(t.fits("")) // Ethernet devices have none
	case "INTERFACE":
		return nameAtProbe(e.link, e.want, t.fits)
	case "ID_PATH":
		return pathFits(e.link, t.fits)
	case "ID_NET_NAME":
		if len(e.linkNames) == 0 {
			return answerOf(t.fits(""))
		}
		if !t.specific() { // it is there
			return answerOf(t.fits("eth0"))
		}
	}
	return answerMaybe
}

// parentKey reports whether key is a condition on the device or one of its parents.
func parentKey(key string) bool {
	switch key {
	case "KERNELS", "SUBSYSTEMS", "DRIVERS", "ATTRS", "TAGS":
		return true
	}
	return false
}

// meetsParents reports whether the ENI or one of its parents meets all the conditions for parents
// of a line: udev_rule_apply_parent_token_to_event. Of the parents the nearest is known, where it
// is a PCI device, and the ones above that are of no account.
func (e *ruleEvent) meetsParents(tokens []ruleToken) matchAnswer {
	own, parent := answerYes, answerYes
	for i := range tokens {
		t := &tokens[i]
		if t.matches() && parentKey(t.key) {
			own, parent = min(own, e.meetsSelf(t)), min(parent, e.meetsParent(t))
		}
	}
	return max(own, parent)
}

// meetsSelf reports whether the ENI itself meets a condition for parents.
func (e *ruleEvent) meetsSelf(t *ruleToken) matchAnswer {
	switch t.key {
	case "KERNELS":
		return nameAtProbe(e.link, e.want, t.fits)
	case "SUBSYSTEMS":
		return answerOf(t.fits("net"))
	case "DRIVERS":
		return answerOf(t.fits(""))
	case "ATTRS":
		return e.meetsAttr(t)
	}
	return answerMaybe
}

// meetsParent reports whether the device that the ENI is of meets a condition for parents.
func (e *ruleEvent) meetsParent(t *ruleToken) matchAnswer {
	bus, name, known := strings.Cut(e.link.path, "-")
	switch t.key {
	case "KERNELS":
		if known {
			return answerOf(t.fits(name))
		}
	case "SUBSYSTEMS":
		if known {
			return answerOf(t.fits(bus))
		}
	case "DRIVERS":
		if !t.specific() {
			return answerOf(t.fits("ena")) // it has one, whichever
		}
	case "ATTRS":
		if t.attr == "address" {
			return answerNo
		}
	}
	return answerMaybe
}

// fits reports whether the condition is met where its key has the value s: token_match_string.
func (t *ruleToken) fits(s string) bool {
	if t.value == "?*" { // "any value at all"
		return (s != "") == (t.op == "==")
	}
	value := t.value
	if t.folded {
		value, s = lowerASCII(value), lowerASCII(s)
	}
	met := false
	for _, pattern := range strings.Split(value, "|") {
		met = met || globFits(pattern, s)
	}
	return met == (t.op == "==")
}
