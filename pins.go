package main

// This file decides which files tie an ENI to another name than the one that it is to have. The
// files before it say what each kind of file means, and readconfig.go reads them. It opens no file.
//
// What is looked for in a file is in three places: configDirs of configfile.go, the folders; the
// parsers of systemdfiles.go, udevrules.go and profiles.go, which set deviceSpecific where a file
// selects a device and not only a name; and here, which of these count.

import (
	"fmt"
	"strings"
)

// A pin is a file that ties an ENI to a name.
type pin struct {
	filePlace
	link  link
	name  string      // the name in the file, or the pattern: eth1
	want  string      // the name that the ENI is to have: eth0
	match matchAnswer // answerMaybe where the links do not decide a condition of the file
}

// String tells people which file it is, what it says, and what to change in which line.
func (p pin) String() string {
	ties := "ties"
	if p.match != answerYes {
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

// pinsMax is more pins than a person reads.
const pinsMax = 100

// findPins lists the files that tie an ENI of names (index -> the name that it is to have) to
// another name, in the order of their paths.
func findPins(files []configFile, links []link, names map[int32]string) []pin {
	var enis []*link
	for i := range links {
		if isENI(links, links[i]) {
			enis = append(enis, &links[i])
		}
	}
	kinds := filesByKind(files)
	linkFiles := parseSystemdFiles(kinds[kindLink], kinds[kindDropIn], enis)
	rules := parseUdevRules(kinds[kindRules])
	profileLists := [][]linkProfile{
		networkProfiles(kinds[kindNetwork], kinds[kindDropIn], enis),
		keyfileProfiles(kinds[kindKeyfile], enis),
		ifcfgProfiles(kinds[kindIfcfg]),
	}
	var pins []pin
	for _, l := range enis {
		want, ok := names[l.index]
		if !ok {
			continue // it keeps its name
		}
		for _, profiles := range profileLists {
			pins = appendProfilePins(pins, profiles, l, want)
		}
		pins = appendUdevPins(pins, udevNames(linkFiles, rules, l, want), l, want)
	}
	var out []pin
	for _, i := range sortedIndexes(len(pins), func(i int) string {
		p := &pins[i]
		return fmt.Sprintf("%s\x00%9d%9d%s", p.file, p.line, p.link.index, p.name)
	}) {
		out = append(out, pins[i])
	}
	return out
}

// filesByKind sorts the files of each kind by the priority of their directories, and then by name.
// Of two files with the same path it keeps one.
func filesByKind(files []configFile) (kinds [kindCount][]configFile) {
	last := ""
	for _, i := range sortedIndexes(len(files), func(i int) string {
		f := &files[i]
		return string(rune('a'+dirIndex(f.path))) + f.path + "\x00" + string(f.text)
	}) {
		f := files[i]
		if f.path == last {
			continue
		}
		last = f.path
		kind := kindOf(f.path)
		kinds[kind] = append(kinds[kind], f)
	}
	return kinds
}

// appendProfilePins appends the profiles of one manager that want both the device l and another
// name than want. Where another profile configures l under the new name there are none.
func appendProfilePins(pins []pin, profiles []linkProfile, l *link, want string) []pin {
	if configuredAs(profiles, l, want) {
		return pins
	}
	for i := range profiles {
		p := &profiles[i]
		if !p.deviceSpecific || p.matchName(l, want) {
			continue
		}
		if match := p.matchLink(l); match != answerNo && len(pins) < pinsMax {
			pins = append(pins, pin{p.filePlace, *l, p.name, want, match})
		}
	}
	return pins
}

// configuredAs reports whether the manager of profiles is certain to configure l under that name.
func configuredAs(profiles []linkProfile, l *link, name string) bool {
	for i := range profiles {
		p := &profiles[i]
		if !p.matchName(l, name) {
			continue
		}
		switch match := p.matchLink(l); {
		case match != answerNo && p.unmanaged:
			return false
		case match == answerYes && !p.noAutoconnect:
			return true
		}
	}
	return false
}

// appendUdevPins appends the .link files and udev rules that give l another name than want.
func appendUdevPins(pins []pin, assigned []nameAssignment, l *link, want string) []pin {
	for _, a := range assigned {
		if a.deviceSpecific && a.name != "" && a.name != want && len(pins) < pinsMax {
			pins = append(pins, pin{a.filePlace, *l, a.name, want, a.match})
		}
	}
	return pins
}
