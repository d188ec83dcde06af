package main

// This file reads the profiles of NetworkManager, nm-settings-keyfile(5) and
// nm-settings-ifcfg-rh(5): the conditions on the link, and the name. The initscripts read ifcfg
// files as well.

import (
	"slices"
	"strings"
)

// An nmKeyfile is a keyfile, or a tombstone, which has only the UUID.
type nmKeyfile struct {
	uuid          string
	ethernet      bool      // type=ethernet
	macAddr       hwaddr    // mac-address
	denylist      []hwaddr  // mac-address-denylist
	interfaceName string    // interface-name in [connection]
	namePatterns  []string  // interface-name in [match]
	namePlace     filePlace // of the name, or of the patterns where it has none
	pathPatterns  []string  // path in [match]
	untestable    bool      // it has conditions on what the links do not tell
	noAutoconnect bool      // autoconnect=false
}

// keyfileProfiles are the Ethernet profiles of NetworkManager. A file hides those with the same
// UUID in directories of lower priority (nms-keyfile-plugin.c, "shadow").
func keyfileProfiles(files []configFile, enis []*link) []linkProfile {
	var out []linkProfile
	shownIn := map[string]int{} // UUID -> dirIndex
	for i := range files {
		f := &files[i]
		k, ok := parseKeyfile(f)
		if !ok {
			continue
		}
		if _, found := shownIn[k.uuid]; !found {
			shownIn[k.uuid] = dirIndex(f.path)
		}
		if k.ethernet && (k.uuid == "" || shownIn[k.uuid] == dirIndex(f.path)) {
			out = append(out, k.profile(enis))
		}
	}
	return out
}

// parseKeyfile reads a keyfile or a tombstone. Where ok is false NetworkManager refuses it.
func parseKeyfile(f *configFile) (k nmKeyfile, ok bool) {
	k.namePlace = filePlace{file: f.path}
	_, name := splitPath(f.path)
	if uuid, found := strings.CutSuffix(name, tombstoneSuffix); found {
		k.uuid = uuid
		return k, len(f.text) == 0
	}
	assignments, ok := parseGroups(f)
	for i := range assignments {
		k.assign(&assignments[i])
	}
	return k, ok
}

// parseGroups reads the assignments of a file as GLib's g_key_file_load_from_file does. Where ok is
// false GLib refuses it: it has a line that is no group, assignment or comment.
func parseGroups(f *configFile) (out []assignment, ok bool) {
	group := ""
	for _, l := range joinLines(f.text, &profileSyntax) {
		line := strings.TrimSpace(l.text)
		if line == "" {
			continue
		}
		if line[0] == '[' && strings.HasSuffix(line, "]") {
			group = line[1 : len(line)-1]
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found || group == "" {
			return nil, false
		}
		place := filePlace{f.path, l.number, strings.TrimSpace(key)}
		out = append(out, assignment{place, group, strings.TrimSpace(value)})
	}
	return out, true
}

// assign carries out an assignment.
func (k *nmKeyfile) assign(a *assignment) {
	key := a.key
	a.key += "= in [" + a.section + "]"
	if a.section == "802-3-ethernet" {
		a.section = "ethernet" // 802-3-ethernet is its older name
	}
	switch a.section + "." + key {
	case "connection.type":
		k.ethernet = a.value == "ethernet" || a.value == "802-3-ethernet"
	case "connection.uuid":
		k.uuid = a.value
	case "connection.interface-name":
		k.interfaceName, k.namePlace = a.value, a.filePlace
	case "connection.autoconnect":
		k.noAutoconnect = a.value == "false" || a.value == "0"
	case "ethernet.mac-address":
		k.macAddr, _ = parseHwaddr(a.value)
	case "ethernet.mac-address-blacklist", "ethernet.mac-address-denylist":
		list := strings.ReplaceAll(strings.ReplaceAll(a.value, ",", " "), ";", " ")
		k.denylist = appendHwaddrs(nil, list)
	case "match.interface-name":
		k.namePatterns = splitKeyfileList(a.value)
		if k.interfaceName == "" {
			k.namePlace = a.filePlace
		}
	case "match.path":
		k.pathPatterns = splitKeyfileList(a.value)
	case "match.driver", "match.kernel-command-line":
		k.untestable = k.untestable || a.value != ""
	}
}

// splitKeyfileList cuts the value of a key that takes a list: g_key_file_get_string_list.
func splitKeyfileList(value string) []string {
	return strings.FieldsFunc(value, func(c rune) bool { return c == ';' })
}

// profile is the keyfile as a linkProfile.
func (k *nmKeyfile) profile(enis []*link) linkProfile {
	p := linkProfile{filePlace: k.namePlace, name: k.interfaceName, matchName: k.matchName,
		matchLink: k.matchLink, noAutoconnect: k.noAutoconnect}
	if p.name == "" {
		p.name = strings.Join(k.namePatterns, ";")
	}
	p.deviceSpecific = k.macAddr != hwaddr{} ||
		len(k.pathPatterns) > 0 && !matchesEach(enis, k.matchPaths)
	return p
}

// matchName reports whether l matches the conditions on the name under that name.
func (k *nmKeyfile) matchName(_ *link, name string) bool {
	return (k.interfaceName == "" || k.interfaceName == name) &&
		(len(k.namePatterns) == 0 || wildcardMatch(k.namePatterns, name))
}

// matchLink answers all other conditions. It compares the permanent address, as
// check_connection_compatible of src/core/devices/nm-device-ethernet.c does.
func (k *nmKeyfile) matchLink(l *link) matchAnswer {
	switch {
	case k.macAddr != hwaddr{} && k.macAddr != l.id(), slices.Contains(k.denylist, l.id()):
		return answerNo
	case k.untestable:
		return min(answerMaybe, k.matchPaths(l))
	}
	return k.matchPaths(l)
}

// matchPaths answers the condition on the path.
func (k *nmKeyfile) matchPaths(l *link) matchAnswer {
	if len(k.pathPatterns) == 0 {
		return answerYes
	}
	return matchPath(l, func(path string) bool { return wildcardMatch(k.pathPatterns, path) })
}

// wildcardMatch reports whether s matches a list in [match]: nm_wildcard_match_check of
// src/core/nm-core-utils.c. s has to match each pattern with "&", one of those with "|", and none
// of those with "!". A pattern without a mark has "|".
func wildcardMatch(patterns []string, s string) bool {
	optional, met := false, false
	for _, pattern := range patterns {
		pattern, mandatory := strings.CutPrefix(pattern, "&")
		pattern, alternative := strings.CutPrefix(pattern, "|")
		pattern, negated := strings.CutPrefix(pattern, "!")
		mandatory = mandatory || negated && !alternative
		matched := fnmatch(strings.TrimPrefix(pattern, `\`), s) != negated
		if mandatory && !matched {
			return false
		}
		optional, met = optional || !mandatory, met || !mandatory && matched
	}
	return met || !optional
}

// ifcfgProfiles are the ifcfg files for Ethernet.
func ifcfgProfiles(files []configFile) []linkProfile {
	var out []linkProfile
	for i := range files {
		if p, ok := parseIfcfg(&files[i]); ok {
			out = append(out, p)
		}
	}
	return out
}

// parseIfcfg reads an ifcfg file, which assigns variables of the shell. The last assignment of each
// counts. Where ok is false it is not for Ethernet.
func parseIfcfg(f *configFile) (p linkProfile, ok bool) {
	var macAddr hwaddr
	kind := ""
	p.file = f.path
	for _, l := range joinLines(f.text, &profileSyntax) {
		key, value, found := strings.Cut(strings.TrimSpace(l.text), "=")
		if !found {
			continue
		}
		switch value = shellValue(value); strings.TrimPrefix(key, "export ") {
		case "DEVICE":
			p.name, p.filePlace = value, filePlace{f.path, l.number, "DEVICE="}
		case "HWADDR":
			macAddr, _ = parseHwaddr(value)
		case "TYPE":
			kind = lowerASCII(value)
		case "ONBOOT":
			p.noAutoconnect = lowerASCII(value) == "no"
		}
	}
	device := p.name
	p.deviceSpecific = macAddr != hwaddr{}
	p.matchName = func(_ *link, name string) bool { return device == "" || device == name }
	p.matchLink = func(l *link) matchAnswer {
		return answerOf(macAddr == hwaddr{} || macAddr == l.id())
	}
	return p, kind == "" || kind == "ethernet"
}

// shellValue is the value of an assignment in the shell, and "" where only a shell could tell it:
// svUnescape of src/core/settings/plugins/ifcfg-rh/shvar.c.
func shellValue(s string) string {
	var out strings.Builder
	quoted := byte(0) // the quote that is open; 0 for none
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted == '\'':
			out.WriteByte(c)
		case c == '$' || c == '`':
			return ""
		case c == '\\' && i+1 < len(s):
			i++
			out.WriteByte(s[i])
		case quoted == 0 && (c == '"' || c == '\''):
			quoted = c
		case quoted == 0 && strings.IndexByte(" \t;", c) >= 0:
			return out.String()
		default:
			out.WriteByte(c)
		}
	}
	if quoted != 0 {
		return ""
	}
	return out.String()
}
