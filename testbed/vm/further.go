package main

// This file has the cases of other machines, other images, and those that are for comparison only.

// byHand has the names put right as it is done without eni0.
const byHand = noUnit + " vm.hand"

// further are those of other machines and other images.
func further() []*testCase {
	return nil
}

// onRequest are cases that are tried only where -case names them.
func onRequest() []*testCase {
	return []*testCase{
		{"e-hand", "the same swap by hand", on(plain), byName, small, inWrongOrder(boot{Append: byHand}), judgeHand},
	}
}

// inWrongOrder is one boot where the kernel finds the secondary first.
func inWrongOrder(b boot) []boot {
	b.Order = wrongOrder
	return []boot{b}
}
