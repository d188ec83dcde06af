package main

// A testCase is one world, and what eni0 has to make of it.
type testCase struct {
	name  string // "a"
	words string // what the world is
	on    []platform
	setup *setup
	start string // the kind of initramfs
	boots []boot // one after the other
	judge func([]*scene) *verdict
}

// What is added to the kernel's command line.
const (
	noUnit  = " systemd.mask=eni0.service"
	liveFix = noUnit + " vm.fix"
	// What stands after "--" are the arguments of the first process; systemd in an initramfs hands them on
	// to init=. A second "--" ends them: parse_args() of kernel/params.c. So COMMAND stands without.
	inFront = noUnit + " init=/usr/sbin/eni0 -- fix -names -timeout 10s /usr/lib/systemd/systemd"
	first   = " rdinit=/init -- fix -names -timeout 10s /usr/sbin/vm-guest"
	nowhere = " rdinit=/init -- fix -names -timeout 10s /nowhere"
	cut     = " rdinit=/init -- fix -names -timeout 10s -- /usr/sbin/vm-guest"
)

// The orders in which the kernel finds the NICs: device indices.
var (
	rightOrder = []int{0, 1}
	wrongOrder = []int{1, 0}
)

// cases are those that are tried unless -case names others.
func cases() []*testCase {
	wrong := inWrongOrder
	twice := []boot{{Order: []int{1, 2, 0}, Keep: true}, {Order: []int{0, 1, 2}, Keep: true}}
	return append([]*testCase{
		{"a", "right order, early unit", on(plain), byName, ready, []boot{{Order: rightOrder}}, judgeRight},
		{"b", "wrong order, early unit", on(plain), byName, small, wrong(boot{}), judgeEarly},
		{"c", "wrong order, dracut image", on(plain), byName, dracut, wrong(boot{Append: noUnit}), judgeInitrd},
		{"d", "wrong order, in front of PID 1", on(plain), byName, without, wrong(boot{Append: inFront}), judgeInFront},
		{"d2", "the first process of all", on(plain), byName, alone, wrong(boot{Append: first}), judgeFirst},
		{"d3", "the same, COMMAND does not exist", on(plain), byName, alone, wrong(boot{Append: nowhere}), judgeNowhere},
		{"d4", "the same, the kernel drops COMMAND", on(plain), byName, alone, wrong(boot{Append: cut}), judgeNowhere},
		{"d5", "the first process, and no IMDS", on(plain), byName, alone, wrong(boot{Append: first, IMDS: never}), judgeFirstInVain},
		{"e", "wrong order, fixed live", on(plain), byName, small, wrong(boot{Append: liveFix}), judgeLive},
		{"f", "the primary is plugged in late", on(plain), byName, small, wrong(boot{Late: true}), judgeLate},
		{"g", "no IMDS at all", on(plain), byName, small, wrong(boot{IMDS: never}), judgeNoIMDS},
		{"h", "IMDS refuses, then 401s", on(plain), byName, small, wrong(boot{IMDS: late}), judgeSlowIMDS},
		{"i", "wrong order, then right", on(plain), byName, small, twice, judgeTwice},
		{"o", "newer systemd, early unit", on(trixie, forky), byName, small, wrong(boot{}), judgeEarly},
		{"o-live", "newer systemd, fixed live", on(trixie, forky), byName, small, wrong(boot{Append: liveFix}), judgeLive},
	}, further()...)
}
