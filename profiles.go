package main

// This file reads the profiles of NetworkManager, nm-settings-keyfile(5) and
// nm-settings-ifcfg-rh(5), as far as they say which link they are for. The initscripts read ifcfg
// files as well.
import (
	"slices"
	"strings"
)

// tombstoneSuffix ends the name of a file that hides the profiles of one UUID, when it is empty:
// NM_KEYFILE_PATH_SUFFIX_NMMETA.
const tombstoneSuffix = ".nmmeta"

// ignoredKeyfile reports whether NetworkManager passes over a file:
// nm_keyfile_utils_ignore_filename of src/libnm-core-impl/nm-keyfile.c. Only in /etc a name needs
// no .nmconnection.
func ignoredKeyfile(folder, name string) bool {
	if strings.HasPrefix(name, ".") {
		return true
	}
	if !strings.HasPrefix(folder, "/etc/") {
		return !strings.HasSuffix(name, ".nmconnection")
	}
	if hasSuffix(lowerASCII(name), []string{"~", ".pem", ".der"}) {
		return true
	}
	// What g_file_set_contents leaves: a dot and six letters or digits.
	end := name[strings.LastIndexByte(name, '.')+1:]
	return len(end) == 6 && len(end) < len(name) && strings.IndexFunc(end, notAlphanumeric) < 0
}

// hasSuffix reports whether s ends with one of suffixes.
func hasSuffix(s string, suffixes []string) bool {
	return slices.ContainsFunc(suffixes, func(end string) bool { return strings.HasSuffix(s, end) })
}

// notAlphanumeric reports whether c is no letter or digit of ASCII.
func notAlphanumeric(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9')
}

// An etherKeyfile is a profile for Ethernet.
type etherKeyfile struct {
	uuid     string
	device   hwaddr // mac-address
	denied   []hwaddr
	name     string // interface-name
	names    []string
	paths    []string
	at       filePlace
	unknown  bool // it has conditions that can't be tested here
	idle     bool // autoconnect=false
	ethernet bool // type=ethernet
	folder   int  // folderRank
}

// keyfileProfiles are the profiles that no other of their UUID hides: those in /run hide those in
// /etc, and these those in /usr/lib (nms-keyfile-plugin.c, "shadow").
func keyfileProfiles(files []configFile) (out []linkProfile) {
	var read []etherKeyfile
	shownIn := map[string]int{} // UUID -> folder
	for i := range files {
		k, ok := parseKeyfile(&files[i])
		if !ok {
			continue
		}
		if folder, seen := shownIn[k.uuid]; k.uuid != "" && (!seen || k.folder < folder) {
			shownIn[k.uuid] = k.folder
		}
		read = append(read, k)
	}
	for i := range read {
		k := &read[i]
		if folder, hidden := shownIn[k.uuid]; k.ethernet && !(hidden && folder < k.folder) {
			out = append(out, k.profile())
		}
	}
	return out
}

// parseKeyfile reads a keyfile, or one that only hides others. Not ok: NetworkManager refuses it.
func parseKeyfile(f *configFile) (k etherKeyfile, ok bool) {
	k = etherKeyfile{at: filePlace{file: f.path}, folder: folderRank(f)}
	_, name := splitPath(f.path)
	if uuid, is := strings.CutSuffix(name, tombstoneSuffix); is {
		k.uuid = uuid
		return k, len(f.text) == 0
	}
	assignments, ok := parseGroups(f)
	for i := range assignments {
		k.add(&assignments[i])
	}
	return k, ok
}

// add takes an assignment.
func (k *etherKeyfile) add(a *assignment) {
	key := a.key
	a.key += "= in [" + a.section + "]"
	if a.section == "802-3-ethernet" {
		a.section = "ethernet" // its older name
	}
	switch a.section + "." + key {
	case "connection.type":
		k.ethernet = a.value == "ethernet" || a.value == "802-3-ethernet"
	case "connection.uuid":
		k.uuid = a.value
	case "connection.interface-name":
		k.name, k.at = a.value, a.filePlace
	case "connection.autoconnect":
		k.idle = a.value == "false" || a.value == "0"
	case "ethernet.mac-address":
		k.device, _ = readAddress(a.value)
	case "ethernet.mac-address-blacklist", "ethernet.mac-address-denylist":
		list := strings.ReplaceAll(strings.ReplaceAll(a.value, ",", " "), ";", " ")
		k.denied = addAddresses(nil, list)
	case "match.interface-name":
		k.names = keyfileList(a.value)
		if k.name == "" {
			k.at = a.filePlace
		}
	case "match.path":
		k.paths = keyfileList(a.value)
	case "match.driver", "match.kernel-command-line":
		k.unknown = k.unknown || a.value != ""
	}
}

// keyfileList is the values of a list: g_key_file_get_string_list.
func keyfileList(value string) []string {
	return strings.FieldsFunc(value, func(c rune) bool { return c == ';' })
}

// profile is what k is to profilePins.
func (k *etherKeyfile) profile() linkProfile {
	p := linkProfile{filePlace: k.at, name: k.name, rest: k.rest, idle: k.idle}
	p.addressed = k.device != (hwaddr{})
	if p.addressed || len(k.paths) > 0 {
		p.device = k.fitsDevice
	}
	if k.name != "" || len(k.names) > 0 {
		p.named = k.fitsName
	}
	if p.name == "" {
		p.name = strings.Join(k.names, ";")
	}
	return p
}

// fitsDevice compares the permanent address, as check_connection_compatible of
// src/core/devices/nm-device-ethernet.c does, and the path.
func (k *etherKeyfile) fitsDevice(l *link) matchAnswer {
	if k.device != (hwaddr{}) && k.device != l.id() {
		return answerNo
	}
	if len(k.paths) == 0 {
		return answerYes
	}
	return pathFits(l, func(s string) bool { return wildcardsFit(k.paths, s) })
}

// fitsName compares the name.
func (k *etherKeyfile) fitsName(_ *link, name string) bool {
	return (k.name == "" || k.name == name) && (len(k.names) == 0 || wildcardsFit(k.names, name))
}

// rest tests the other conditions.
func (k *etherKeyfile) rest(l *link) matchAnswer {
	switch {
	case slices.Contains(k.denied, l.id()):
		return answerNo
	case k.unknown:
		return answerMaybe
	}
	return answerYes
}

// wildcardsFit reports whether a list of [match] is for s: nm_wildcard_match_check of
// src/core/nm-core-utils.c. "&" is for a pattern that must fit, "|" for one of several, "!" for one
// that must not.
func wildcardsFit(patterns []string, s string) bool {
	optional, met := false, false
	for _, pattern := range patterns {
		pattern, must := strings.CutPrefix(pattern, "&")
		pattern, may := strings.CutPrefix(pattern, "|")
		pattern, negated := strings.CutPrefix(pattern, "!")
		must = must || negated && !may
		fits := globFits(strings.TrimPrefix(pattern, `\`), s) != negated
		if must && !fits {
			return false
		}
		optional, met = optional || !must, met || !must && fits
	}
	return met || !optional
}

// parseGroups reads a file as GLib's g_key_file_load_from_file does, which refuses one that has
// anything but groups, assignments and comments.
func parseGroups(f *configFile) (out []assignment, ok bool) {
	group := ""
	for _, l := range joinLines(f.text, &profileLines) {
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
		at := filePlace{f.path, l.number, strings.TrimSpace(key)}
		out = append(out, assignment{at, group, strings.TrimSpace(value)})
	}
	return out, true
}

// ignoredIfcfg reports whether a file of network-scripts is passed over: utils_should_ignore_file
// of NetworkManager's ifcfg-rh plugin; /etc/init.d/network of the initscripts leaves out more.
func ignoredIfcfg(name string) bool {
	name = lowerASCII(name)
	if !strings.HasPrefix(name, "ifcfg-") || name == "ifcfg-lo" || strings.ContainsAny(name, ":;") {
		return true
	}
	return hasSuffix(name, []string{"~", ".bak", ".orig", ".rej", ".rpmnew", ".rpmsave", ".rpmorig",
		".augnew", ".augtmp"})
}

// ifcfgProfiles are the ifcfg files.
func ifcfgProfiles(files []configFile) []linkProfile {
	var out []linkProfile
	for i := range files {
		if p, ok := parseIfcfg(&files[i]); ok {
			out = append(out, p)
		}
	}
	return out
}

// parseIfcfg reads an ifcfg file: variables of the shell, the last assignment of each counts. Not
// ok: it is for no Ethernet link.
func parseIfcfg(f *configFile) (linkProfile, bool) {
	p := linkProfile{filePlace: filePlace{file: f.path}}
	p.rest = func(*link) matchAnswer { return answerYes }
	var device hwaddr
	kind := ""
	for _, l := range joinLines(f.text, &profileLines) {
		key, value, found := strings.Cut(strings.TrimSpace(l.text), "=")
		if !found {
			continue
		}
		switch value = shellValue(value); strings.TrimPrefix(key, "export ") {
		case "DEVICE":
			p.name, p.filePlace = value, filePlace{f.path, l.number, "DEVICE="}
		case "HWADDR":
			device, _ = readAddress(value)
		case "TYPE":
			kind = lowerASCII(value)
		case "ONBOOT":
			p.idle = lowerASCII(value) == "no"
		}
	}
	if device != (hwaddr{}) {
		p.addressed = true
		p.device = func(l *link) matchAnswer { return answerOf(l.id() == device) }
	}
	if name := p.name; name != "" {
		p.named = func(_ *link, n string) bool { return n == name }
	}
	return p, kind == "" || kind == "ethernet"
}

// shellValue is the value of an assignment in the shell, "" where that would take a shell to say:
// svUnescape of src/core/settings/plugins/ifcfg-rh/shvar.c.
func shellValue(s string) string {
	var out strings.Builder
	quoted := byte(0)
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
