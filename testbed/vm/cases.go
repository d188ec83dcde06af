package main

// A testCase is one world, and what eni0 has to make of it.
type testCase struct {
	name  string // "a"
	words string // what the world is
	start string // the kind of initramfs
	boots []boot // one after the other
	judge func([]*scene) *verdict
}

// What is added to the kernel's command line.
const (
	noUnit  = " systemd.mask=eni0.service"
	liveFix = noUnit + " vm.fix"
	byHand  = noUnit + " vm.hand"
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

// cases are all of them.
func cases() []*testCase {
	wrong := func(b boot) []boot { b.Order = wrongOrder; return []boot{b} }
	twice := []boot{{Order: []int{1, 2, 0}, Keep: true}, {Order: []int{0, 1, 2}, Keep: true}}
	return []*testCase{
		{"a", "right order, early unit", ready, []boot{{Order: rightOrder}}, judgeRight},
		{"b", "wrong order, early unit", small, wrong(boot{}), judgeEarly},
		{"c", "wrong order, dracut image", dracut, wrong(boot{Append: noUnit}), judgeInitrd},
		{"d", "wrong order, in front of PID 1", without, wrong(boot{Append: inFront}), judgeInFront},
		{"d2", "the first process of all", alone, wrong(boot{Append: first}), judgeFirst},
		{"d3", "the same, COMMAND does not exist", alone, wrong(boot{Append: nowhere}), judgeNowhere},
		{"d4", "the same, the kernel drops COMMAND", alone, wrong(boot{Append: cut}), judgeNowhere},
		{"d5", "the first process, and no IMDS", alone, wrong(boot{Append: first, IMDS: never}), judgeFirstInVain},
		{"e", "wrong order, fixed live", small, wrong(boot{Append: liveFix}), judgeLive},
		{"e-hand", "the same swap by hand", small, wrong(boot{Append: byHand}), judgeHand},
		{"f", "the primary is plugged in late", small, wrong(boot{Late: true}), judgeLate},
		{"g", "no IMDS at all", small, wrong(boot{IMDS: never}), judgeNoIMDS},
		{"h", "IMDS refuses, then 401s", small, wrong(boot{IMDS: late}), judgeSlowIMDS},
		{"i", "wrong order, then right", small, twice, judgeTwice},
	}
}
