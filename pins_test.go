package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A pinCase is files beside a primary ENI called eth1 and a secondary called eth0, at the PCI addresses
// 0000:00:05.0 and 0000:00:06.0, which are to be eth0 and eth1. A third, ens7, is left alone.
type pinCase struct {
	world string
	files string // "== PATH", then its text; MAC1, MAC2, MAC3 are the ENIs', MACX is another machine's
	want  string // "PATH:LINE the name that it gives to index", one a line
}

// pinLinks are the links of a pinCase.
func pinLinks() []link {
	links := enis("eth1 eth0 ens7")
	for i := range links {
		links[i].perm = links[i].addr
		links[i].path = fmt.Sprintf("pci-0000:00:0%d.0", i+5)
	}
	return append(links, link{index: 9, name: "eth1.10", kind: "vlan", addr: eniAddr(2), lower: 2, ethernet: true})
}

// pinNames are the names of a pinCase.
func pinNames() map[int32]string { return map[int32]string{2: "eth0", 3: "eth1"} }

// pinFiles are files as a pinCase has them.
func pinFiles(text string) []configFile {
	for name, with := range map[string]string{
		"MAC1": eniAddr(2).String(), "MAC2": eniAddr(3).String(), "MAC3": eniAddr(4).String(), "MACX": "06:00:00:00:00:99",
	} {
		text = strings.ReplaceAll(text, name, with)
	}
	var files []configFile
	for _, part := range strings.Split("\n"+text, "\n== ")[1:] {
		path, body, _ := strings.Cut(part, "\n")
		if body != "" {
			body += "\n"
		}
		files = append(files, configFile{path, []byte(body)})
	}
	return files
}

// pinTexts are pins as a pinCase has them.
func pinTexts(pins []pin) string {
	var out []string
	for _, p := range pins {
		text := fmt.Sprintf("%s:%d %s to %d", p.file, p.line, p.name, p.link.index)
		if p.match == answerMaybe {
			text += " maybe"
		}
		out = append(out, text)
	}
	return strings.Join(out, "\n")
}

func TestFindPins(t *testing.T) {
	for _, table := range [][]pinCase{networkPins, linkPins, rulePins, profilePinCases} {
		for _, row := range table {
			t.Run(row.world, func(t *testing.T) {
				got := pinTexts(findPins(pinFiles(row.files), pinLinks(), pinNames()))
				if want := strings.TrimSpace(row.want); got != want {
					t.Errorf("findPins() =\n%s, want\n%s", got, want)
				}
			})
		}
	}
}

// Without a path, of a virtio device or before Linux 5.14, a file by path may be for any ENI.
func TestFindPinsWithoutPath(t *testing.T) {
	links := pinLinks()
	for i := range links {
		links[i].path = ""
	}
	files := pinFiles(`
== /etc/systemd/network/a.network
[Match]
Path=pci-0000:00:05.0
Name=eth0
== /etc/udev/rules.d/70-a.rules
SUBSYSTEM=="net", KERNELS=="0000:00:05.0", NAME="eth0"`)
	want := "/etc/systemd/network/a.network:3 eth0 to 3 maybe\n/etc/udev/rules.d/70-a.rules:1 eth0 to 3 maybe"
	if got := pinTexts(findPins(files, links, pinNames())); got != want {
		t.Errorf("findPins() =\n%s, want\n%s", got, want)
	}
}

// A bond gives its ports one address: files by the present address are for both, files by the
// permanent one for one.
func TestFindPinsOfBondPorts(t *testing.T) {
	links := pinLinks()
	links[0].addr = links[1].addr
	files := pinFiles(`
== /etc/systemd/network/a.network
[Match]
PermanentMACAddress=MAC1
Name=eth1
== /etc/systemd/network/b.network
[Match]
MACAddress=MAC1
Name=eth1`)
	want := "/etc/systemd/network/a.network:3 eth1 to 2"
	if got := pinTexts(findPins(files, links, pinNames())); got != want {
		t.Errorf("findPins() =\n%s, want\n%s", got, want)
	}
}

func TestPinString(t *testing.T) {
	p := pin{filePlace{"/run/systemd/network/10-netplan-eth1.network", 3, "Name= in [Match]"}, pinLinks()[0], "eth1", "eth0", answerYes}
	want := "/run/systemd/network/10-netplan-eth1.network, line 3, ties the ENI 0a:ff:00:00:00:02 to the name eth1, " +
		"and it is to be called eth0: change Name= in [Match] there (by set-name in the YAML file that netplan makes it from)"
	if p.String() != want {
		t.Errorf("String() = %q, want %q", p, want)
	}
	p.match, p.name, p.file = answerMaybe, "e\x1bth1", "/etc/a\n.network"
	if s := p.String(); !strings.Contains(s, `"/etc/a\n.network", line 3, may tie the ENI 0a:ff:00:00:00:02 to the name "e\x1bth1"`) {
		t.Errorf("String() = %q", s)
	}
}

// What is odd or large pins nothing, and takes no time to speak of.
func TestFindPinsOddTexts(t *testing.T) {
	const size = 1 << 18
	var properties strings.Builder
	for i := 0; properties.Len() < size; i++ {
		fmt.Fprintf(&properties, "PROGRAM=\"a\", ENV{a%d}=\"b\", NAME:=\"$env{a%d}\"\nNAME=\"eth0\"\n", i, i)
	}
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)) }
	match := "[Match]\nMACAddress=" + eniAddr(2).String() + "\nName="
	rule := `ATTR{address}=="` + eniAddr(2).String() + `", KERNELS=="`
	paths := []string{"/etc/systemd/network/a.network", "/etc/systemd/network/a.network.d/a.conf", "/etc/systemd/network/a.link",
		"/etc/udev/rules.d/a.rules", "/etc/NetworkManager/system-connections/a", "/etc/sysconfig/network-scripts/ifcfg-a"}
	for _, text := range []string{
		"", properties.String(), "\x00", repeat("\x00"), repeat("\n"), repeat("\\\n"), repeat("["), repeat("[]\n"), repeat("a=b\n"), repeat("= \\\n"),
		repeat(`GOTO="a"` + "\n"), repeat(`GOTO="a", LABEL="b"`+"\n") + `LABEL="a"`, repeat(`LABEL="a"` + "\n"), repeat(`"`), repeat(`a="`),
		repeat(`ENV{a}="$env{b}", NAME="$env{a}"` + "\n"), repeat(`PROGRAM="a", NAME="eth0"` + "\n"),
		repeat("\xff\xfe"), repeat("#"), repeat("'"), repeat(`DEVICE="`), repeat("mac-address=" + eniAddr(2).String()),
		match + repeat("*a") + "b", match + "*" + repeat("["), match + "[" + repeat("[:"), match + repeat("eth? "),
		rule + repeat("*a") + `b", NAME="eth1"`, rule + repeat("|"), "[Match]\nMACAddress=" + repeat("0:"), "[Match]\n" + repeat("Host=\n"),
		"[connection]\ntype=ethernet\n[match]\npath=" + repeat("*a;"),
	} {
		var files []configFile
		for _, path := range paths {
			files = append(files, configFile{path, []byte(text)})
		}
		pins := findPins(files, pinLinks(), pinNames()) // which ends: matching that is exponential would not
		if len(pins) > 0 && !strings.HasPrefix(text, match) {
			t.Errorf("findPins(%.40q...) = %.200v, want none", text, pins)
		}
	}
}

// Whatever the files say: they are found in any order, and files that are not for an ENI here add
// nothing.
func FuzzFindPins(f *testing.F) {
	for _, table := range [][]pinCase{networkPins, linkPins, rulePins, profilePinCases} {
		for _, row := range table {
			files := pinFiles(row.files)
			for len(files) < 3 {
				files = append(files, configFile{path: "/etc/none"})
			}
			f.Add(files[0].path, files[0].text, files[1].path, files[1].text, files[2].path, files[2].text)
		}
	}
	others := pinFiles(`
== /etc/systemd/network/zz-other.network
[Match]
MACAddress=MACX
Name=eth0
== /etc/systemd/network/zz-empty.network
== /etc/systemd/network/zz-other.link
[Match]
MACAddress=MACX
[Link]
Name=eth0
== /etc/udev/rules.d/zz-other.rules
SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="MACX", NAME="eth0"
== /etc/udev/rules.d/zz-empty.rules
== /etc/sysconfig/network-scripts/ifcfg-zz-other
DEVICE=eth0
HWADDR=MACX
== /etc/NetworkManager/system-connections/zz-other
[connection]
type=ethernet
interface-name=eth0
[ethernet]
mac-address=MACX`)
	f.Fuzz(func(t *testing.T, path1 string, text1 []byte, path2 string, text2 []byte, path3 string, text3 []byte) {
		files := []configFile{{path1, text1}, {path2, text2}, {path3, text3}}
		pins := findPins(files, pinLinks(), pinNames())
		got := pinTexts(pins)
		for _, p := range pins {
			if p.want != pinNames()[p.link.index] || p.name == p.want || p.match == answerNo || p.line == 0 {
				t.Errorf("a pin %+v", p)
			}
			if !slices.ContainsFunc(files, func(f configFile) bool { return f.path == p.file }) {
				t.Errorf("a pin by a file that was not given: %s", p)
			}
		}
		reversed := slices.Clone(files)
		slices.Reverse(reversed)
		if again := pinTexts(findPins(reversed, pinLinks(), pinNames())); again != got {
			t.Errorf("in another order:\n%s, want\n%s", again, got)
		}
		if more := pinTexts(findPins(append(others, files...), pinLinks(), pinNames())); more != got {
			t.Errorf("with files for others:\n%s, want\n%s", more, got)
		}
		if none := findPins(files, pinLinks(), nil); len(none) > 0 {
			t.Errorf("no ENI is renamed: %v, want none", none)
		}
	})
}
