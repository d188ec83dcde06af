package guestreport

import (
	"slices"
	"strings"
	"testing"
)

// What ip(8) prints, shortened. The two links change their names.
var (
	printed = Dump{
		"-d -j address": `[{"ifindex":1,"ifname":"lo","addr_info":[{}]},
			{"ifindex":2,"ifname":"eth0","addr_info":[{"family":"inet","local":"10.0.2.77","prefixlen":24,"label":"eth0","valid_life_time":10}]},
			{"ifindex":3,"ifname":"eth1","addr_info":[]}]`,
		"-d -j -4 route show table all": `[{"dst":"default","dev":"eth1","protocol":"dhcp"},{"dst":"10.0.2.0/24","dev":"eth0","protocol":"kernel"},
			{"dst":"198.51.100.1","dev":"eth1","protocol":"boot","flags":["linkdown"]}]`,
		"-d -j nexthop": "[]\n", "-d -j -6 rule": "",
	}
	renamed = Dump{"-d -j address": strings.NewReplacer("eth0", "eth1", "eth1", "eth0", ":10}", ":9}").Replace(printed["-d -j address"]),
		"-d -j -4 route show table all": strings.ReplaceAll(printed["-d -j -4 route show table all"], "eth1", "eth0")}
)

func TestEntries(t *testing.T) {
	want := []Entry{
		{"address", 2, `{"family":"inet","local":"10.0.2.77","prefixlen":24}`},
		{"route", 3, `{"dst":"198.51.100.1","protocol":"boot"}`},
	}
	got, err := printed.Entries()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Entries() = %v, %v, want %v", got, err, want)
	}
	if got, err = renamed.Entries(); err != nil || !slices.Equal(got, want) {
		t.Errorf("Entries() with other names = %v, %v, want the same", got, err)
	}
	if got := Without(want, want[:1]); !slices.Equal(got, want[1:]) {
		t.Errorf("Without() = %v, want %v", got, want[1:])
	}
	printed[Asked[2]] = `[{"dst":"default","gateway":"fe80::2","dev":"eth0","protocol":"ra"},{"dst":"fd00::/64","dev":"eth0","protocol":"ra"}]`
	want = []Entry{{"route", 2, `{"dst":"default","gateway":"fe80::2","protocol":"ra"}`}}
	if got, err := printed.Advertised(); err != nil || !slices.Equal(got, want) {
		t.Errorf("Advertised() = %v, %v, want %v", got, err, want)
	}
	for _, asked := range []string{"-d -j address", "-d -j -4 rule"} {
		if _, err := (Dump{asked: "Object \"rule\" is unknown"}).Entries(); err == nil {
			t.Errorf("%s: no error", asked)
		}
	}
}
