package main

// This file holds what the readers of all configuration files share: where the files are and what
// kinds there are, how a text is cut into lines, and how a condition is answered. It opens no file.

import (
	"bytes"
	"slices"
	"strings"
)

// A configFile is a file that may give a name to a device.
type configFile struct {
	path string // /etc/systemd/network/10-eth1.network
	text []byte // empty for a link to /dev/null, which masks the files of the same name
}

// A filePlace is a setting's place in a file.
type filePlace struct {
	file string // /etc/systemd/network/10-eth1.network
	line int    // counted from 1
	key  string // Name= in [Match]
}

// An assignment is a KEY=VALUE in a section of a file.
type assignment struct {
	filePlace
	section, value string
}

// configDirs are the directories of the files. Of two for the same files the one of higher priority
// is first: CONF_PATHS of systemd's src/basic/constants.h, for systemd and udev. /lib is here
// because it is not a link to /usr/lib everywhere.
var configDirs = []string{
	"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network",
	"/usr/lib/systemd/network", "/lib/systemd/network",
	"/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d",
	"/usr/lib/udev/rules.d", "/lib/udev/rules.d",
	// NMSKeyfileStorageType of NetworkManager's nms-keyfile-storage.h
	"/run/NetworkManager/system-connections", "/etc/NetworkManager/system-connections",
	"/usr/lib/NetworkManager/system-connections",
	"/etc/sysconfig/network-scripts",
}

// dirIndex is the index in configDirs of the directory that path is in. It is not inlined, as it is
// called in many places.
//
//go:noinline
func dirIndex(path string) int {
	return slices.IndexFunc(configDirs, func(dir string) bool {
		return strings.HasPrefix(path, dir+"/")
	})
}

// A fileKind is the format of a file.
type fileKind int

const (
	kindNone    fileKind = iota // no program reads it
	kindNetwork                 // systemd.network(5)
	kindLink                    // systemd.link(5)
	kindDropIn                  // of one of these: NAME.network.d/*.conf
	kindRules                   // udev(7)
	kindKeyfile                 // nm-settings-keyfile(5)
	kindIfcfg                   // nm-settings-ifcfg-rh(5)
	kindCount
)

// kindOf tells the kind of a file by its path.
func kindOf(path string) fileKind {
	dir, name := splitPath(path)
	parent, base := splitPath(dir)
	suffix := name[max(strings.LastIndexByte(name, '.'), 0):]
	switch {
	case slices.Contains(configDirs, parent) && isDropInDir(dir) && suffix == ".conf":
		return kindDropIn
	case !slices.Contains(configDirs, dir):
		return kindNone
	case base == "network" && suffix == ".network":
		return kindNetwork
	case base == "network" && suffix == ".link":
		return kindLink
	case base == "rules.d" && suffix == ".rules":
		return kindRules
	case base == "system-connections" && isKeyfile(dir, name):
		return kindKeyfile
	case base == "network-scripts" && isIfcfg(name):
		return kindIfcfg
	}
	return kindNone
}

// splitPath cuts a path at its last slash. It is not inlined, as it is called in many places.
//
//go:noinline
func splitPath(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// isDropInDir reports whether dir has the drop-ins of a .network or .link file.
func isDropInDir(dir string) bool { return hasAnySuffix(dir, ".network.d", ".link.d") }

// tombstoneSuffix ends the name of an empty file that hides the keyfiles with one UUID:
// NM_KEYFILE_PATH_SUFFIX_NMMETA.
const tombstoneSuffix = ".nmmeta"

// isKeyfile reports whether NetworkManager reads a file as a keyfile or a tombstone:
// nm_keyfile_utils_ignore_filename of src/libnm-core-impl/nm-keyfile.c. Only in /etc the suffix
// .nmconnection is not needed.
func isKeyfile(dir, name string) bool {
	switch {
	case strings.HasSuffix(name, tombstoneSuffix):
		return true
	case strings.HasPrefix(name, "."):
		return false
	case dir != "/etc/NetworkManager/system-connections":
		return strings.HasSuffix(name, ".nmconnection")
	}
	name = lowerASCII(name)
	// g_file_set_contents leaves temporary files: their names end with a dot and six of these.
	end := name[strings.LastIndexByte(name, '.')+1:]
	leftover := len(end) == 6 && len(end) < len(name) &&
		strings.Trim(end, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
	return !leftover && !hasAnySuffix(name, "~", ".pem", ".der")
}

// isIfcfg reports whether a file of network-scripts is read: utils_should_ignore_file of
// NetworkManager's ifcfg-rh plugin. /etc/init.d/network of the initscripts ignores more files.
func isIfcfg(name string) bool {
	name = lowerASCII(name)
	return strings.HasPrefix(name, "ifcfg-") && name != "ifcfg-lo" &&
		!strings.ContainsAny(name, ":;") && !hasAnySuffix(name, "~", ".bak", ".orig", ".rej",
		".rpmnew", ".rpmsave", ".rpmorig", ".augnew", ".augtmp")
}

// hasAnySuffix reports whether s ends with one of suffixes.
func hasAnySuffix(s string, suffixes ...string) bool {
	return slices.ContainsFunc(suffixes, func(suffix string) bool {
		return strings.HasSuffix(s, suffix)
	})
}

// effectiveFiles are the files in the order of their names, as conf_files_list_strv of systemd's
// src/basic/conf-files.c has them: a file replaces those of the same name that come after it.
func effectiveFiles(files []configFile) []configFile {
	var out []configFile
	for _, i := range sortedIndexes(len(files), func(i int) string {
		_, name := splitPath(files[i].path)
		return name
	}) {
		out = append(out, files[i])
	}
	return out
}

// A lineSyntax is how a program reads lines.
type lineSyntax struct {
	comments  string // the characters that start a comment
	continued bool   // a backslash at the end continues the line
	joiner    string // replaces that backslash
	indented  bool   // blanks at the start are ignored
}

// config_parse of systemd's src/shared/conf-parser.c, udev_rules_parse_file of its
// src/udev/udev-rules.c, and the readers of NetworkManager's profiles.
var (
	systemdSyntax = lineSyntax{comments: "#;", continued: true, joiner: " "}
	udevSyntax    = lineSyntax{comments: "#", continued: true, indented: true}
	profileSyntax = lineSyntax{comments: "#", indented: true}
)

// A joinedLine is a line together with those that continue it.
type joinedLine struct {
	number int // of the last of them, counted from 1
	text   string
}

// joinLines cuts a text into lines, and joins each with those that continue it. It leaves out empty
// lines, and comments, which may also stand between a line and its continuation.
func joinLines(text []byte, syntax *lineSyntax) (out []joinedLine) {
	var line, joined []byte
	for lineNumber := 1; len(text) > 0 || len(joined) > 0; lineNumber++ {
		line, text = cutLine(text)
		start := bytes.TrimLeft(line, " \t\v\f")
		if len(start) > 0 && strings.IndexByte(syntax.comments, start[0]) >= 0 {
			continue
		}
		if syntax.indented {
			line = start
		}
		backslashes := len(line) - len(bytes.TrimRight(line, `\`))
		if syntax.continued && backslashes%2 == 1 {
			joined = append(append(joined, line[:len(line)-1]...), syntax.joiner...)
			if len(text) > 0 {
				continue
			}
			line = nil // nothing follows that could continue it
		}
		if joined = append(joined, line...); len(joined) > 0 {
			out = append(out, joinedLine{lineNumber, string(joined)})
		}
		joined = nil
	}
	return out
}

// cutLine cuts a text after its first line, which ends as in read_line of systemd's
// src/basic/fileio.c.
func cutLine(text []byte) (line, rest []byte) {
	end := bytes.IndexFunc(text, func(c rune) bool { return c == '\n' || c == '\r' || c == 0 })
	if end < 0 {
		return text, nil
	}
	rest = bytes.TrimPrefix(text[end:], []byte("\r"))
	return text[:end], rest[min(1, len(rest)):]
}

// A matchAnswer says whether a condition is met. answerMaybe is for a condition that the links do
// not decide: on a driver, the kernel's command line, the result of a program. A rename must never
// cost a machine its network: answerMaybe counts as met for a file that ties an ENI to a name, and
// as not met for a file that would replace that one or configure the ENI under its new name.
type matchAnswer int

const (
	answerNo matchAnswer = iota
	answerMaybe
	answerYes
)

// answerOf is the answer to a condition that the links decide.
func answerOf(met bool) matchAnswer {
	if met {
		return answerYes
	}
	return answerNo
}

// matchPath answers a condition on udev's ID_PATH of l, which may be unknown (link.path).
func matchPath(l *link, matches func(path string) bool) matchAnswer {
	if l.path == "" {
		return answerMaybe
	}
	return answerOf(matches(l.path))
}

// matchOriginalName answers a condition on the name that the kernel gave to l, before any program
// renamed it. That name is not known: the condition is tested with those that are likely.
func matchOriginalName(l *link, want string, matches func(name string) bool) matchAnswer {
	met, all := false, true
	names := []string{l.name, want, "eth0", "eth1", "eth2", "eth3", "eth4", "eth9", "eth10"}
	for _, name := range names {
		yes := matches(name)
		met, all = met || yes, all && yes
	}
	if met && !all {
		return answerMaybe
	}
	return answerOf(met)
}

// matchesEach reports whether each of several ENIs meets a condition, so that it does not tell them
// apart.
func matchesEach(enis []*link, match func(l *link) matchAnswer) bool {
	other := func(l *link) bool { return match(l) != answerYes }
	return len(enis) > 1 && !slices.ContainsFunc(enis, other)
}

// A linkProfile is a file by which a network manager configures the links that match it: a .network
// file, a keyfile, an ifcfg file.
type linkProfile struct {
	filePlace                                      // of the name; only the file where it has none
	name           string                          // as it is written: eth1, or eth[12]
	matchName      func(l *link, name string) bool // with a new name for l
	matchLink      func(l *link) matchAnswer       // all conditions but the one on the name
	deviceSpecific bool                            // it selects devices by address or path
	unmanaged      bool                            // the manager leaves the link alone
	noAutoconnect  bool                            // autoconnect=false, ONBOOT=no
}

// validIfname reports whether systemd accepts name for a link: the kernel does, and it is no number
// (ifname_valid_full of src/basic/socket-util.c or parse-util.c).
func validIfname(name string) bool {
	return validName(name) == nil && strings.Trim(name, "0123456789") != ""
}

// appendHwaddrs appends the addresses in value: config_parse_hw_addrs of src/shared/conf-parser.c.
// An empty value resets the list. A word that is no address is ignored.
func appendHwaddrs(list []hwaddr, value string) []hwaddr {
	if value == "" {
		return nil
	}
	for _, word := range strings.Fields(value) {
		if addr, ok := parseHwaddr(word); ok {
			list = append(list, addr)
		}
	}
	return list
}

// parseHwaddr reads a link-layer address with colons or dashes after each byte, or dots after each
// two. For an address that is longer or shorter than Ethernet's, as InfiniBand's, it returns the
// zero address, which no ENI has.
func parseHwaddr(word string) (addr hwaddr, ok bool) {
	const hexDigits = "0123456789abcdef"
	separator, digits := ":", 2
	switch {
	case strings.Contains(word, "-"):
		separator = "-"
	case strings.Contains(word, "."):
		separator, digits = ".", 4
	}
	groups := strings.Split(lowerASCII(word), separator)
	var b []byte
	for _, g := range groups {
		if g == "" || len(g) > digits || strings.Trim(g, hexDigits) != "" || len(b) > 20 {
			return addr, false
		}
		for g = strings.Repeat("0", digits-len(g)) + g; g != ""; g = g[2:] {
			high, low := strings.IndexByte(hexDigits, g[0]), strings.IndexByte(hexDigits, g[1])
			b = append(b, byte(high<<4|low))
		}
	}
	if len(b) == len(addr) {
		copy(addr[:], b)
	}
	return addr, len(groups) > 1
}

// lowerASCII is s with small letters for the capitals of ASCII. It is not inlined, as it is called
// in many places.
//
//go:noinline
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}
