package main

import (
	"errors"
	"os"
	"path/filepath"
)

// sdkFile is where the program of bench/sdk is, if it could be built.
func (w *world) sdkFile() string { return filepath.Join(w.dir, "sdk") }

// noSDK says why nothing can be compared with the program of bench/sdk, nil if it is there.
func (w *world) noSDK() error {
	if _, err := os.Stat(w.sdkFile()); err != nil {
		return errors.New("bench/sdk was not built")
	}
	return nil
}

func (w *world) sdkCheck() side {
	argv := []string{w.sdkFile(), "check"}
	return side{name: "sdk check", commands: func(names) [][]string { return [][]string{argv} },
		says: "right\n", cannot: w.noSDK()}
}

func (w *world) sdkFix() side {
	argv := []string{w.sdkFile(), "fix"}
	return side{name: "sdk fix", commands: func(names) [][]string { return [][]string{argv} },
		wrong: true, swaps: true, cannot: w.noSDK()}
}

// fixes is what it costs to ask IMDS and to rename, with no manager to restart. The default route
// stays with the other ENI, which eni0 says (11), and the program of bench/sdk does not look for.
func (w *world) fixes() comparison {
	w.manager.Hold()
	fix := side{name: "fix, wrong world", commands: same("eni0 fix -restart="), code: 11,
		wrong: true, swaps: true}
	return comparison{[]side{fix, w.sdkFix()}, []pair{{fix.name, "sdk fix", lessThan(1)}}}
}
