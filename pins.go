package main

// This file decides which files tie an ENI to another name than it is to have. It opens nothing:
// process.go reads the files. What each kind of file says is in netfiles.go (systemd's),
// udevrules.go, and profiles.go (NetworkManager's and ifcfg).
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

// kindOf tells what reads the file at p, which is in a folder of configFolders or in one of
// drop-ins below. None: nobody does.
func kindOf(p string) fileKind {
	folder, name := splitPath(p)
	above, _ := splitPath(folder)
	switch {
	case dropInFolder(folder) && slices.Contains(configFolders, above):
		return kindIf(strings.HasSuffix(name, ".conf"), kindDropIn)
	case !slices.Contains(configFolders, folder):
		return kindNone
	case strings.HasSuffix(folder, "/systemd/network"):
		if strings.HasSuffix(name, ".link") {
			return kindLink
		}
		return kindIf(strings.HasSuffix(name, ".network"), kindNetwork)
	case strings.HasSuffix(folder, "/rules.d"):
		return kindIf(strings.HasSuffix(name, ".rules"), kindRules)
	case strings.HasSuffix(folder, "/network-scripts"):
		return kindIf(!ignoredIfcfg(name), kindIfcfg)
	}
	read := !ignoredKeyfile(folder, name) || strings.HasSuffix(name, tombstoneSuffix)
	return kindIf(read, kindKeyfile)
}

// splitPath cuts a path at its last slash.
func splitPath(p string) (folder, name string) {
	i := strings.LastIndexByte(p, '/')
	return p[:max(i, 0)], p[i+1:]
}

// kindIf is kind where is is true.
func kindIf(is bool, kind fileKind) fileKind {
	if is {
		return kind
	}
	return kindNone
}

// dropInFolder reports whether folder has drop-ins of a .network or .link file.
func dropInFolder(folder string) bool {
	return strings.HasSuffix(folder, ".network.d") || strings.HasSuffix(folder, ".link.d")
}

// pinsMax is more pins than people read.
const pinsMax = 100

// findPins lists what ties ENIs of names (index -> the name that the ENI is to have) to other
// names, in the order of the files' paths.
func findPins(files []configFile, links []link, names map[int32]string) []pin {
	kinds := sortedKinds(files)
	networks := networkProfiles(kinds[kindNetwork], kinds[kindDropIn])
	namers := linkFiles(kinds[kindLink], kinds[kindDropIn])
	rules := parseRules(kinds[kindRules])
	keyfiles := keyfileProfiles(kinds[kindKeyfile])
	ifcfgs := ifcfgProfiles(kinds[kindIfcfg])
	var enis []*link
	for _, l := range links {
		if l.eni() {
			enis = append(enis, &l)
		}
	}
	var pins []pin
	for _, l := range enis {
		want, ok := names[l.index]
		if !ok || len(pins) > pinsMax {
			continue // it keeps its name
		}
		for _, profiles := range [][]linkProfile{networks, keyfiles, ifcfgs} {
			pins = append(pins, profilePins(profiles, enis, l, want)...)
		}
		pins = append(pins, namerPins(namers, rules, enis, l, want)...)
	}
	var out []pin
	for _, i := range sortBy(min(len(pins), pinsMax), func(i int) string {
		p := &pins[i]
		return fmt.Sprintf("%s\x00%9d%9d%s", p.file, p.line, p.link.index, p.name)
	}) {
		out = append(out, pins[i])
	}
	return out
}

// sortBy sorts n items by their keys, and returns their indexes. Of two with one key the first
// counts. There are not many: it takes time in proportion to the square of their number.
func sortBy(n int, key func(i int) string) (indexes []int) {
	var keys []string
	for i := range n {
		k := key(i)
		at, found := slices.BinarySearch(keys, k)
		if found {
			continue
		}
		keys, indexes = append(keys, ""), append(indexes, 0)
		copy(keys[at+1:], keys[at:])
		copy(indexes[at+1:], indexes[at:])
		keys[at], indexes[at] = k, i
	}
	return indexes
}

// sortedKinds sorts files by kind, and those of a kind by path. Of two with one path one counts.
func sortedKinds(files []configFile) (kinds [kindsEnd][]configFile) {
	last := ""
	for _, i := range sortBy(len(files), func(i int) string {
		return files[i].path + "\x00" + string(files[i].text)
	}) {
		f := files[i]
		if kind := kindOf(f.path); f.path != last {
			kinds[kind] = append(kinds[kind], f)
		}
		last = f.path
	}
	return kinds
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

// folderRank is the lower the more the folder of f hides others.
func folderRank(f *configFile) int {
	in := func(folder string) bool { return strings.HasPrefix(f.path, folder+"/") }
	return slices.IndexFunc(configFolders, in)
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

// profilePins are the profiles of one kind, in the order of their manager, that want both l and
// another name, where no other is for l under the new one.
func profilePins(profiles []linkProfile, enis []*link, l *link, want string) []pin {
	if configured(profiles, l, want) {
		return nil
	}
	var pins []pin
	for i := range profiles {
		p := &profiles[i]
		if p.device == nil || p.named == nil || p.named(l, want) ||
			forAny(p.device, p.addressed, enis) {
			continue // a device without a name, a name without a device, or the right name
		}
		if sure := p.fitsBut(l); sure != answerNo && len(pins) < pinsMax {
			pins = append(pins, pin{p.filePlace, *l, p.name, want, sure})
		}
	}
	return pins
}

// configured reports whether l surely has a configuration under that name.
func configured(profiles []linkProfile, l *link, name string) bool {
	for i := range profiles {
		p := &profiles[i]
		switch fits := p.fits(l, name); {
		case fits == answerYes && !p.idle && !p.blocks:
			return true
		case fits != answerNo && p.blocks:
			return false
		}
	}
	return false
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

const hexDigits = "0123456789abcdefABCDEF"

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

// globFits reports whether pattern is for s, as fnmatch(3) without flags. It takes time in
// proportion to the product of their lengths at most: after a failure only the last star takes one
// byte more.
func globFits(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // where the pattern goes on after the last star, and what that star ends at
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, from = p, i
			continue
		}
		if n, ok := globOne(pattern[p:], s[i]); ok {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		from++
		p, i = star, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// globOne reports whether the start of pattern is for the byte c, and its length. It is no star.
func globOne(pattern string, c byte) (int, bool) {
	switch {
	case pattern == "":
		return 0, false
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	case pattern[0] == '[':
		if n, ok := globSet(pattern, c); n > 0 {
			return n, ok
		}
	}
	return 1, pattern[0] == c
}

// globSet reports whether the set that pattern starts with has c: [a-z], [!0-9], [[:digit:]].
// Length 0: there is no end to it, so that the bracket stands for itself.
func globSet(pattern string, c byte) (int, bool) {
	p := 1
	negated := p < len(pattern) && (pattern[p] == '!' || pattern[p] == '^')
	if negated {
		p++
	}
	has := false
	for start := p; p < len(pattern); {
		if pattern[p] == ']' && p > start {
			return p + 1, has != negated
		}
		if n, ok := globClass(pattern[p:], c); n > 0 {
			p, has = p+n, has || ok
			continue
		}
		low, n := globByte(pattern[p:])
		high := low
		p += n
		if p+1 < len(pattern) && pattern[p] == '-' && pattern[p+1] != ']' {
			high, n = globByte(pattern[p+1:])
			p += n + 1
		}
		has = has || low <= c && c <= high
	}
	return 0, false
}

// globByte is a byte of a set, and its length with the backslash before it.
func globByte(pattern string) (byte, int) {
	if pattern[0] == '\\' && len(pattern) > 1 {
		return pattern[1], 2
	}
	return pattern[0], 1
}

// globClass reports whether c is of the class that pattern starts with. Length 0: it is none.
func globClass(pattern string, c byte) (int, bool) {
	if !strings.HasPrefix(pattern, "[:") {
		return 0, false
	}
	class, _, _ := strings.Cut(pattern[2:min(len(pattern), 10)], ":]")
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	var is bool
	switch class {
	case "alnum":
		is = lower || upper || digit
	case "alpha":
		is = lower || upper
	case "digit":
		is = digit
	case "lower":
		is = lower
	case "upper":
		is = upper
	case "xdigit":
		is = strings.IndexByte(hexDigits, c) >= 0
	default:
		return 0, false
	}
	return len(class) + 4, is
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
