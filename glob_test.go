package main

import "testing"

func TestFnmatch(t *testing.T) {
	for _, row := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "eth0", true}, {"?", "", false},
		{"eth?", "eth0", true}, {"eth?", "eth10", false}, {"eth*", "eth10", true}, {"*th*0", "eth10", true},
		{"e[a-z]h[0-9]", "eth7", true}, {"eth[!0-4]", "eth7", true}, {"eth[^0-4]", "eth3", false},
		{"eth[]0]", "eth]", true}, {"eth[0", "eth[0", true}, {"eth[0", "eth0", false}, {"eth[0-", "eth0", false},
		{"eth[[:digit:]]", "eth7", true}, {"eth[[:digit:]]", "ethx", false}, {"[[:what:]]", "w]", true},
		{`eth\*`, "eth*", true}, {`eth\*`, "eth0", false}, {`eth\`, `eth\`, true}, {`[\]]`, "]", true},
		{"pci-*:05.0", "pci-0000:00:05.0", true}, {"*a*b", "aabab", true}, {"*a*b", "aaba", false},
	} {
		if got := fnmatch(row.pattern, row.s); got != row.want {
			t.Errorf("fnmatch(%q, %q) = %v, want %v", row.pattern, row.s, got, row.want)
		}
	}
}
