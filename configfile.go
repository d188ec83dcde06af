package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A configFile is one file that may give a name to a device.
type configFile struct {
	path string // /etc/systemd/network/10-eth1.network
	text []byte // empty for one that hides others of its name, as a link to /dev/null does
}

// A filePlace is where a file says something.
type filePlace struct {
	file string // /etc/systemd/network/10-eth1.network
	line int    // counted from 1
	key  string // Name= in [Match]
}

// configFolders are the folders of the files, those that hide others first: systemd's and udev's by
// CONF_PATHS of systemd's src/basic/constants.h, and /lib, which may be another than /usr/lib.
var configFolders = []string{
	"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network",
	"/usr/lib/systemd/network", "/lib/systemd/network",
	"/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d",
	"/usr/lib/udev/rules.d", "/lib/udev/rules.d",
	// NetworkManager's: NMSKeyfileStorageType of nms-keyfile-storage.h.
	"/run/NetworkManager/system-connections", "/etc/NetworkManager/system-connections",
	"/usr/lib/NetworkManager/system-connections",
	"/etc/sysconfig/network-scripts",
}

// folderRank is the lower the more the folder of f hides others.
func folderRank(f *configFile) int {
	in := func(folder string) bool { return strings.HasPrefix(f.path, folder+"/") }
	return slices.IndexFunc(configFolders, in)
}

// unhidden are the files that no other of their name hides, sorted by name, as conf_files_list_strv
// of systemd's src/basic/conf-files.c has them.
func unhidden(files []configFile) (out []*configFile) {
	last := ""
	for _, i := range sortBy(len(files), func(i int) string {
		_, name := splitPath(files[i].path)
		return name + "\x00" + string(rune('a'+folderRank(&files[i])))
	}) {
		if _, name := splitPath(files[i].path); name != last {
			out = append(out, &files[i])
			last = name
		}
	}
	return out
}

// splitPath cuts a path at its last slash.
func splitPath(p string) (folder, name string) {
	i := strings.LastIndexByte(p, '/')
	return p[:max(i, 0)], p[i+1:]
}

// dropInFolder reports whether folder has drop-ins of a .network or .link file.
func dropInFolder(folder string) bool {
	return strings.HasSuffix(folder, ".network.d") || strings.HasSuffix(folder, ".link.d")
}

// A fileKind is what reads a file.
type fileKind int

const (
	kindNone    fileKind = iota
	kindNetwork          // systemd.network(5)
	kindLink             // systemd.link(5)
	kindDropIn           // of either: NAME.network.d/*.conf
	kindRules            // udev(7)
	kindKeyfile          // nm-settings-keyfile(5)
	kindIfcfg            // nm-settings-ifcfg-rh(5)
	kindsEnd
)

// A pin is a file that ties an ENI to a name.
type pin struct {
	filePlace
	link link
	name string      // what the file calls the ENI, or the pattern: eth1
	want string      // the name that the ENI is to have: eth0
	sure matchAnswer // answerMaybe where a condition of the file can't be tested here
}

// String says for people which file it is, what it says, and what to change in which line.
func (p pin) String() string {
	ties := "ties"
	if p.sure != answerYes {
		ties = "may tie"
	}
	s := fmt.Sprintf("%s, line %d, %s the ENI %s to the name %s, and it is to be called %s: "+
		"change %s there", visible(p.file), p.line, ties, p.link.id(), visible(p.name),
		visible(p.want), p.key)
	if strings.Contains(p.file, "-netplan-") {
		s += " (by set-name in the YAML file that netplan makes it from)"
	}
	return s
}

// A matchAnswer is whether a condition is met. Maybe is for what can't be known from the links: a
// driver, the kernel's command line, a program's result. As a rename must never cost a machine its
// network, maybe counts where it would pin, and never where it would hide or replace a pin.
type matchAnswer int

const (
	answerNo matchAnswer = iota
	answerMaybe
	answerYes
)

// answerOf is the answer where it is known.
func answerOf(met bool) matchAnswer {
	if met {
		return answerYes
	}
	return answerNo
}

// A givenName is a name that a file gives to an ENI.
type givenName struct {
	filePlace
	name string // eth1, or a text with substitutions
	tied bool   // the file asks for certain devices
	sure matchAnswer
}

// A linkProfile is a file that configures the links it fits: a .network, a keyfile, an ifcfg file.
type linkProfile struct {
	filePlace                                 // of the name, or of the file where it has none
	name      string                          // as it is written: eth1, or eth[12]
	device    func(l *link) matchAnswer       // does it fit the device? Nil: it names none
	named     func(l *link, name string) bool // does it fit that name? Nil: it has none
	rest      func(l *link) matchAnswer       // are its other conditions met?
	addressed bool                            // its device is known by an address
	blocks    bool                            // it has the manager leave the link alone
	idle      bool                            // it takes effect only on demand
}

// fits reports whether p is for l under that name.
func (p *linkProfile) fits(l *link, name string) matchAnswer {
	if p.named != nil && !p.named(l, name) {
		return answerNo
	}
	return p.fitsBut(l)
}

// fitsBut reports whether p is for l, whatever its name.
func (p *linkProfile) fitsBut(l *link) matchAnswer {
	fits := p.rest(l)
	if p.device != nil {
		fits = min(fits, p.device(l))
	}
	return fits
}

// forAny reports whether a device that is known by its path is any of several ENIs, which is none.
func forAny(device func(*link) matchAnswer, addressed bool, enis []*link) bool {
	other := func(l *link) bool { return device(l) != answerYes }
	return !addressed && len(enis) > 1 && !slices.ContainsFunc(enis, other)
}

// pathFits reports whether fits says yes to the path of l, which may be unknown (link.path).
func pathFits(l *link, fits func(s string) bool) matchAnswer {
	if l.path == "" {
		return answerMaybe
	}
	return answerOf(fits(l.path))
}

// nameAtProbe is the answer to a condition on the name that the kernel gives when it finds the
// device, before anybody renames it. Which of these that will be is not known.
func nameAtProbe(l *link, want string, fits func(name string) bool) matchAnswer {
	met, all := false, true
	names := []string{l.name, want, "eth0", "eth1", "eth2", "eth3", "eth4", "eth9", "eth10"}
	for _, name := range names {
		yes := fits(name)
		met, all = met || yes, all && yes
	}
	if met && !all {
		return answerMaybe
	}
	return answerOf(met)
}

// acceptedName reports whether systemd takes name for a link's: as the kernel does, and no number
// (ifname_valid_full of its src/basic/socket-util.c or parse-util.c).
func acceptedName(name string) bool {
	return validName(name) == nil && strings.Trim(name, "0123456789") != ""
}

// readAddress reads an Ethernet address with colons, dashes, or dots between each two bytes. Of
// another length, as InfiniBand's, it is the zero address, which no ENI has.
func readAddress(word string) (hwaddr, bool) {
	var a hwaddr
	separator, digits := ":", 2
	switch {
	case strings.Contains(word, "-"):
		separator = "-"
	case strings.Contains(word, "."):
		separator, digits = ".", 4
	}
	groups := strings.Split(word, separator)
	var b []byte
	for _, g := range groups {
		if g == "" || len(g) > digits || strings.Trim(g, hexDigits) != "" || len(b) > 20 {
			return a, false
		}
		g = strings.Repeat("0", digits-len(g)) + g
		for ; g != ""; g = g[2:] {
			b = append(b, hexDigit(g[0])<<4|hexDigit(g[1]))
		}
	}
	if len(groups) < 2 {
		return a, false
	}
	if len(b) == len(a) {
		copy(a[:], b)
	}
	return a, true
}

// hexDigit is the value of a hexadecimal digit.
func hexDigit(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// An assignment is one KEY=VALUE of a file with sections.
type assignment struct {
	filePlace
	section, value string
}

// addAddresses appends the addresses in value: config_parse_hw_addrs of src/shared/conf-parser.c.
// An empty value resets the list, and words that are no address are ignored.
func addAddresses(list []hwaddr, value string) []hwaddr {
	if value == "" {
		return nil
	}
	for _, word := range strings.Fields(value) {
		if a, ok := readAddress(word); ok {
			list = append(list, a)
		}
	}
	return list
}

// A joinedLine is a line with those that continue it.
type joinedLine struct {
	number int // of the last of them
	text   string
}

// A lineStyle is what one program takes for a line.
type lineStyle struct {
	comments  string // what starts one
	continued bool   // by a backslash at the end
	indented  bool   // blanks at the start are of no account
	joint     string // what stands for the backslash
}

// config_parse of systemd's src/shared/conf-parser.c, udev_rules_parse_file of its
// src/udev/udev-rules.c, and the readers of NetworkManager's profiles.
var (
	systemdLines = lineStyle{comments: "#;", continued: true, joint: " "}
	udevLines    = lineStyle{comments: "#", continued: true, indented: true}
	profileLines = lineStyle{comments: "#", indented: true}
)

// joinLines cuts a text into lines, and puts together those that end with a backslash. Empty lines
// are left out, and comments, even between a line and its continuation.
func joinLines(text []byte, style *lineStyle) (out []joinedLine) {
	var whole []byte
	for lineNumber := 1; len(text) > 0 || len(whole) > 0; lineNumber++ {
		line := text
		text = nil
		if end := bytes.IndexFunc(line, endsLine); end >= 0 {
			line, text = line[:end], bytes.TrimPrefix(line[end:], []byte("\r"))
			text = text[min(1, len(text)):]
		}
		start := bytes.TrimLeft(line, " \t\v\f")
		if len(start) > 0 && strings.IndexByte(style.comments, start[0]) >= 0 {
			continue
		}
		if style.indented {
			line = start
		}
		trailing := len(line) - len(bytes.TrimRight(line, `\`))
		if style.continued && trailing%2 == 1 {
			whole = append(append(whole, line[:len(line)-1]...), style.joint...)
			if len(text) > 0 {
				continue
			}
			line = nil
		}
		if whole = append(whole, line...); len(whole) > 0 {
			out = append(out, joinedLine{lineNumber, string(whole)})
		}
		whole = nil
	}
	return out
}

// endsLine reports whether c ends a line: read_line of systemd's src/basic/fileio.c.
func endsLine(c rune) bool { return c == '\n' || c == '\r' || c == 0 }

// lowerASCII is s without capitals.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// pinsMax is more pins than people read.
const pinsMax = 100
