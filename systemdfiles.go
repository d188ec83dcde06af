package main

// This file reads systemd.network(5) and systemd.link(5), as far as they say which link they are
// for.
import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// A wordList is the value of a key that takes a list of words.
type wordList struct {
	filePlace
	words []string // eth0, !eth*
}

// add appends the words of an assignment. An empty one resets the list, and a "!" before the first
// word negates all words of this assignment: config_parse_match_strv of src/shared/net-condition.c.
func (w *wordList) add(a *assignment, valid func(word string) bool) {
	if a.value == "" {
		*w = wordList{}
		return
	}
	value, negated := strings.CutPrefix(a.value, "!")
	for _, word := range strings.Fields(value) {
		word = strings.Trim(word, `"'`)
		if !valid(word) {
			continue // as systemd does, with a warning
		}
		if negated {
			word = "!" + word
		}
		w.words, w.filePlace = append(w.words, word), a.filePlace
	}
}

// fit reports whether the list is for s: net_condition_test_strv. An empty list is for everything.
func (w *wordList) fit(s string) bool {
	met, positive := false, false
	for _, word := range w.words {
		pattern, negated := strings.CutPrefix(word, "!")
		positive = positive || !negated
		if s == "" || !globFits(pattern, s) {
			continue
		}
		if negated {
			return false
		}
		met = true
	}
	return met || !positive
}

// fitName reports whether the list is for a link with that name: net_condition_test_ifname.
func (w *wordList) fitName(l *link, name string) bool {
	return w.fit(name) || slices.ContainsFunc(l.altnames, w.fit)
}

// A netFile is a .network or .link file with its drop-ins.
type netFile struct {
	file                       string
	current, permanent         []hwaddr  // MACAddress=, PermanentMACAddress=
	paths, types, kinds, names wordList  // names: Name= of a .network, OriginalName= of a .link
	wireless                   wordList  // conditions that no Ethernet link meets
	unknown                    []string  // keys of conditions that can't be tested here
	unmanaged                  bool      // Unmanaged=yes: networkd leaves the link alone
	name                       string    // Name= of a .link: what the link is to be called
	namedAt                    filePlace // where it stands
}

// systemdFiles reads the files that no other hides, in the order of their names. A file that
// systemd does not load is left out: an empty one, one with a broken section header, one without
// any condition.
func systemdFiles(files, dropIns []configFile, kind fileKind) []netFile {
	var out []netFile
	for _, f := range unhidden(files) {
		assignments, ok := parseUnit(f)
		if len(f.text) == 0 || !ok {
			continue
		}
		for _, d := range unhidden(dropInsOf(f, dropIns)) {
			more, whole := parseUnit(d)
			assignments, ok = append(assignments, more...), ok && whole
		}
		n := netFile{file: f.path}
		for i := range assignments {
			n.add(&assignments[i], kind)
		}
		if ok && n.conditional() {
			out = append(out, n)
		}
	}
	return out
}

// dropInsOf are the drop-ins of f, from all folders.
func dropInsOf(f *configFile, dropIns []configFile) []configFile {
	_, name := splitPath(f.path)
	var out []configFile
	for _, d := range dropIns {
		if folder, _ := splitPath(d.path); strings.HasSuffix(folder, "/"+name+".d") {
			out = append(out, d)
		}
	}
	return out
}

// add takes an assignment.
func (n *netFile) add(a *assignment, kind fileKind) {
	switch a.section {
	case "[Match]":
		n.addMatch(a, kind)
	case "[Link]":
		switch {
		case kind == kindNetwork && a.key == "Unmanaged":
			yes := []string{"1", "yes", "y", "true", "t", "on"} // parse_boolean
			n.unmanaged = slices.Contains(yes, lowerASCII(a.value))
		case kind == kindLink && a.key == "Name" && (a.value == "" || acceptedName(a.value)):
			n.name, n.namedAt = a.value, filePlace{a.file, a.line, "Name= in [Link]"}
		}
	}
}

// addMatch takes an assignment of [Match]: Match.* of src/network/networkd-network-gperf.gperf and
// of src/udev/net/link-config-gperf.gperf. Other keys are ignored there too.
func (n *netFile) addMatch(a *assignment, kind fileKind) {
	anyWord := func(string) bool { return true }
	key := a.key
	a.key += "= in [Match]"
	switch key {
	case "MACAddress":
		n.current = addAddresses(n.current, a.value)
	case "PermanentMACAddress":
		n.permanent = addAddresses(n.permanent, a.value)
	case "Path":
		n.paths.add(a, anyWord)
	case "Type":
		n.types.add(a, anyWord)
	case "Kind":
		n.kinds.add(a, anyWord)
	case "Name", "OriginalName":
		if (key == "Name") == (kind == kindNetwork) {
			n.names.add(a, possibleName)
		}
	case "WLANInterfaceType", "SSID", "BSSID":
		n.wireless.add(a, anyWord)
	case "Driver", "Property", "Host", "Virtualization", "KernelCommandLine", "KernelVersion",
		"Credential", "Architecture", "Firmware":
		n.unknown = slices.DeleteFunc(n.unknown, func(k string) bool { return k == key })
		if a.value != "" {
			n.unknown = append(n.unknown, key)
		}
	}
}

// possibleName reports whether word can be in a list of names or altnames, with * and ?.
func possibleName(word string) bool {
	return len(word) < 128 && !strings.ContainsAny(word, "/:%")
}

// conditional reports whether the file has a condition at all: net_match_is_empty.
func (n *netFile) conditional() bool {
	words := len(n.unknown)
	for _, list := range []wordList{n.paths, n.types, n.kinds, n.names, n.wireless} {
		words += len(list.words)
	}
	return n.addressed() || words > 0
}

// addressed reports whether the file asks for a device by its address.
func (n *netFile) addressed() bool { return len(n.current)+len(n.permanent) > 0 }

// tied reports whether the file asks for certain devices.
func (n *netFile) tied(enis []*link) bool {
	return n.addressed() || len(n.paths.words) > 0 && !forAny(n.device, false, enis)
}

// device reports whether the file is for the device of l. PermanentMACAddress= is compared with the
// address that IMDS knows it by, as ethtool has a permanent one where rtnetlink has none yet.
func (n *netFile) device(l *link) matchAnswer {
	if len(n.current) > 0 && !slices.Contains(n.current, l.addr) {
		return answerNo
	}
	if len(n.permanent) > 0 && !slices.Contains(n.permanent, l.id()) {
		return answerNo
	}
	if len(n.paths.words) == 0 {
		return answerYes
	}
	return pathFits(l, n.paths.fit)
}

// rest reports whether the other conditions are met, but for the name.
func (n *netFile) rest(l *link) matchAnswer {
	switch {
	case !n.types.fit("ether"), !n.kinds.fit(l.kind), !n.wireless.fit(""):
		return answerNo
	case len(n.unknown) > 0:
		return answerMaybe
	}
	return answerYes
}

// networkProfiles are the .network files in the order in which networkd takes the first that fits:
// link_get_network of src/network/networkd-link.c.
func networkProfiles(files, dropIns []configFile) []linkProfile {
	var out []linkProfile
	for _, n := range systemdFiles(files, dropIns, kindNetwork) {
		p := linkProfile{filePlace: n.names.filePlace, rest: n.rest, blocks: n.unmanaged}
		p.addressed = n.addressed()
		if n.addressed() || len(n.paths.words) > 0 {
			p.device = n.device
		}
		if len(n.names.words) > 0 {
			p.name, p.named = strings.Join(n.names.words, " "), n.names.fitName
		}
		out = append(out, p)
	}
	return out
}

// linkFiles are the .link files in the order in which udev takes the first that fits:
// link_get_config of src/udev/net/link-config.c.
func linkFiles(files, dropIns []configFile) []netFile {
	return systemdFiles(files, dropIns, kindLink)
}

// linkNamings are the names that .link files may give to l: those of files that may fit, to the
// first that does. The last has no name where that file gives none, or no file fits. NamePolicy=
// does not count: udev passes over it with net.ifnames=0, and elsewhere what it gives is no ethN
// (link_generate_new_name of src/udev/net/link-config.c).
func linkNamings(files []netFile, enis []*link, l *link, want string) []givenName {
	var out []givenName
	for _, n := range files {
		probed := nameAtProbe(l, want, n.names.fit)
		sure := min(probed, n.device(l), n.rest(l))
		if sure == answerNo {
			continue
		}
		out = append(out, givenName{n.namedAt, n.name, n.tied(enis), sure})
		if sure == answerYes {
			break
		}
	}
	return out
}

// parseUnit reads the assignments of a file as config_parse of systemd's src/shared/conf-parser.c
// does. Not ok: systemd refuses the whole file.
func parseUnit(f *configFile) (out []assignment, ok bool) {
	section := ""
	for _, line := range joinLines(bytes.TrimPrefix(f.text, []byte("\ufeff")), &systemdLines) {
		text := strings.TrimSpace(line.text)
		if !utf8.ValidString(text) {
			return nil, false
		}
		if strings.HasPrefix(text, "[") {
			if !strings.HasSuffix(text, "]") {
				return nil, false
			}
			section = text
			continue
		}
		if key, value, found := strings.Cut(text, "="); found && section != "" {
			at := filePlace{f.path, line.number, strings.TrimSpace(key)}
			out = append(out, assignment{at, section, strings.TrimSpace(value)})
		}
	}
	return out, true
}
