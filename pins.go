package main

// This file decides which files tie an ENI to another name than it is to have. It opens nothing:
// process.go reads the files. What each kind of file says is in netfiles.go (systemd's),
// udevrules.go, and profiles.go (NetworkManager's and ifcfg).
import (
	"fmt"
	"slices"
	"strings"
)

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

// profilePins are the profiles of one kind, in the order of their manager, that want both l and
// another name, where no other is for l under the new one.
func profilePins(profiles []linkProfile, enis []*link, l *link, want string) []pin {
	if hasConfiguration(profiles, l, want) {
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

// hasConfiguration reports whether l surely has a configuration under that name.
func hasConfiguration(profiles []linkProfile, l *link, name string) bool {
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

// kindIf is kind where is is true.
func kindIf(is bool, kind fileKind) fileKind {
	if is {
		return kind
	}
	return kindNone
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
