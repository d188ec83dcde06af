package main

// This file reads systemd.network(5) and systemd.link(5): the conditions on the link, and the name.
// It knows nothing of the order in which udev takes rules and .link files.

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// A systemdFile is a .network or .link file with its drop-ins.
type systemdFile struct {
	kind           fileKind
	macAddrs       []hwaddr  // MACAddress=
	permanentAddrs []hwaddr  // PermanentMACAddress=
	paths          wordList  // Path=
	types, kinds   wordList  // Type=, Kind=
	names          wordList  // Name= of a .network file, OriginalName= of a .link file
	wireless       wordList  // conditions that no Ethernet link meets
	untestable     []string  // the keys of conditions on what the links do not tell
	deviceSpecific bool      // it names one device or a few, by address or path
	unmanaged      bool      // Unmanaged=yes: networkd leaves the link alone
	name           string    // Name= of a .link file: the name that it gives
	namePlace      filePlace // the place of that name
}

// parseSystemdFiles reads the effective files in the order of their names. It leaves out the files
// that systemd does not load: empty ones, those with a broken section header or no condition.
func parseSystemdFiles(files, dropIns []configFile, enis []*link) []systemdFile {
	var out []systemdFile
	for _, f := range effectiveFiles(files) {
		assignments, ok := parseSections(&f)
		if len(f.text) == 0 || !ok {
			continue
		}
		for _, d := range effectiveFiles(dropInsOf(&f, dropIns)) {
			more, valid := parseSections(&d)
			assignments, ok = append(assignments, more...), ok && valid
		}
		s := systemdFile{kind: kindOf(f.path)}
		for i := range assignments {
			s.assign(&assignments[i])
		}
		s.deviceSpecific = s.byAddress() ||
			len(s.paths.words) > 0 && !matchesEach(enis, s.matchPaths)
		if ok && s.hasConditions() {
			out = append(out, s)
		}
	}
	return out
}

// dropInsOf are the drop-ins of f, from all directories.
func dropInsOf(f *configFile, dropIns []configFile) []configFile {
	_, name := splitPath(f.path)
	var out []configFile
	for _, d := range dropIns {
		if dir, _ := splitPath(d.path); strings.HasSuffix(dir, "/"+name+".d") {
			out = append(out, d)
		}
	}
	return out
}

// parseSections reads the assignments of a file as config_parse of systemd's
// src/shared/conf-parser.c does. Where ok is false systemd refuses the whole file.
func parseSections(f *configFile) (out []assignment, ok bool) {
	section := ""
	for _, line := range joinLines(bytes.TrimPrefix(f.text, []byte("\ufeff")), &systemdSyntax) {
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
			place := filePlace{f.path, line.number, strings.TrimSpace(key)}
			out = append(out, assignment{place, section, strings.TrimSpace(value)})
		}
	}
	return out, true
}

// assign carries out an assignment.
func (s *systemdFile) assign(a *assignment) {
	switch {
	case a.section == "[Match]":
		s.assignMatch(a)
	case a.section != "[Link]":
		return
	case s.kind == kindNetwork && a.key == "Unmanaged":
		yes := []string{"1", "yes", "y", "true", "t", "on"} // parse_boolean
		s.unmanaged = slices.Contains(yes, lowerASCII(a.value))
	case s.kind == kindLink && a.key == "Name" && (a.value == "" || validIfname(a.value)):
		s.name, s.namePlace = a.value, filePlace{a.file, a.line, "Name= in [Link]"}
	}
}

// assignMatch carries out an assignment in [Match]: Match.* of systemd's
// src/network/networkd-network-gperf.gperf and src/udev/net/link-config-gperf.gperf. systemd
// ignores other keys too.
func (s *systemdFile) assignMatch(a *assignment) {
	anyWord := func(string) bool { return true }
	key := a.key
	a.key += "= in [Match]"
	switch key {
	case "MACAddress":
		s.macAddrs = appendHwaddrs(s.macAddrs, a.value)
	case "PermanentMACAddress":
		s.permanentAddrs = appendHwaddrs(s.permanentAddrs, a.value)
	case "Path":
		s.paths.add(a, anyWord)
	case "Type":
		s.types.add(a, anyWord)
	case "Kind":
		s.kinds.add(a, anyWord)
	case "Name", "OriginalName":
		if (key == "Name") == (s.kind == kindNetwork) {
			s.names.add(a, validNamePattern)
		}
	case "WLANInterfaceType", "SSID", "BSSID":
		s.wireless.add(a, anyWord)
	case "Driver", "Property", "Host", "Virtualization", "KernelCommandLine", "KernelVersion",
		"Credential", "Architecture", "Firmware":
		s.untestable = slices.DeleteFunc(s.untestable, func(k string) bool { return k == key })
		if a.value != "" {
			s.untestable = append(s.untestable, key)
		}
	}
}

// validNamePattern reports whether systemd accepts word in a list of names, with * and ?.
func validNamePattern(word string) bool {
	return len(word) < 128 && !strings.ContainsAny(word, "/:%")
}

// hasConditions reports whether the file has any condition: net_match_is_empty.
func (s *systemdFile) hasConditions() bool {
	words := len(s.untestable)
	for _, list := range []wordList{s.paths, s.types, s.kinds, s.names, s.wireless} {
		words += len(list.words)
	}
	return s.byAddress() || words > 0
}

// byAddress reports whether the file has a condition on the address.
func (s *systemdFile) byAddress() bool { return len(s.macAddrs)+len(s.permanentAddrs) > 0 }

// matchLink answers all conditions but the one on the name. It compares PermanentMACAddress= with
// the address that IMDS knows the ENI by: ethtool, which systemd asks, reports a permanent address
// also where rtnetlink does not yet.
func (s *systemdFile) matchLink(l *link) matchAnswer {
	switch {
	case len(s.macAddrs) > 0 && !slices.Contains(s.macAddrs, l.addr),
		len(s.permanentAddrs) > 0 && !slices.Contains(s.permanentAddrs, l.id()),
		!s.types.match("ether"), !s.kinds.match(l.kind), !s.wireless.match(""):
		return answerNo
	case len(s.untestable) > 0:
		return min(answerMaybe, s.matchPaths(l))
	}
	return s.matchPaths(l)
}

// matchPaths answers the condition Path=.
func (s *systemdFile) matchPaths(l *link) matchAnswer {
	if len(s.paths.words) == 0 {
		return answerYes
	}
	return matchPath(l, s.paths.match)
}

// A wordList is the value of a key that takes a list of words.
type wordList struct {
	filePlace          // of the last of them
	words     []string // eth0, !eth*
}

// add appends the words of an assignment. An empty value resets the list. A "!" before the first
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
			continue // systemd warns of it, and ignores it
		}
		if negated {
			word = "!" + word
		}
		w.words, w.filePlace = append(w.words, word), a.filePlace
	}
}

// match reports whether s matches the list: net_condition_test_strv. An empty list matches
// everything.
func (w *wordList) match(s string) bool {
	met, positive := false, false
	for _, word := range w.words {
		pattern, negated := strings.CutPrefix(word, "!")
		positive = positive || !negated
		if s == "" || !fnmatch(pattern, s) {
			continue
		}
		if negated {
			return false
		}
		met = true
	}
	return met || !positive
}

// matchName reports whether l matches the list under that name, or by one of its altnames:
// net_condition_test_ifname.
func (w *wordList) matchName(l *link, name string) bool {
	return w.match(name) || slices.ContainsFunc(l.altnames, w.match)
}

// networkProfiles are the .network files in the order in which networkd tries them. It takes the
// first that matches: link_get_network of src/network/networkd-link.c.
func networkProfiles(files, dropIns []configFile, enis []*link) []linkProfile {
	var out []linkProfile
	for _, s := range parseSystemdFiles(files, dropIns, enis) {
		out = append(out, linkProfile{
			filePlace: s.names.filePlace, name: strings.Join(s.names.words, " "),
			matchName: s.names.matchName, matchLink: s.matchLink,
			deviceSpecific: s.deviceSpecific, unmanaged: s.unmanaged,
		})
	}
	return out
}

// A nameAssignment is a name that a .link file or a udev rule gives to an ENI.
type nameAssignment struct {
	filePlace
	name           string // eth1, or a value with substitutions; "" where it gives none
	deviceSpecific bool   // the file or rule is for one device or a few
	match          matchAnswer
}

// linkFileNames are the names that .link files may give to l. udev takes the first file that
// matches (link_get_config of src/udev/net/link-config.c): the list ends with it, and before it has
// those that may match. NamePolicy= does not count: udev ignores it with net.ifnames=0, and it
// never gives a name ethN (link_generate_new_name of the same source).
func linkFileNames(linkFiles []systemdFile, l *link, want string) []nameAssignment {
	var out []nameAssignment
	for i := range linkFiles {
		s := &linkFiles[i]
		match := min(matchOriginalName(l, want, s.names.match), s.matchLink(l))
		if match == answerNo {
			continue
		}
		out = append(out, nameAssignment{s.namePlace, s.name, s.deviceSpecific, match})
		if match == answerYes {
			break
		}
	}
	return out
}
