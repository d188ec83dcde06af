package main

import "path/filepath"

// borrower is fix as it is run at boot, in a world that it finds right.
func (w *world) borrower() side {
	return side{name: "fix, borrowed network", commands: same("eni0 fix -names")}
}

// borrowScript is a script that does as much and no more.
func (w *world) borrowScript() side {
	argv := []string{filepath.Join(w.dir, "borrow.sh")}
	return side{name: "borrow.sh", commands: func(names) [][]string { return [][]string{argv} }, says: "right\n",
		needs: []string{"busybox", "curl", "ip"}, cannot: w.noSys}
}

// borrowers is what it costs to ask IMDS where no network is configured.
func (w *world) borrowers() comparison {
	return comparison{[]side{w.borrower(), w.borrowScript()}, []pair{
		{"fix, borrowed network", "borrow.sh", atMost(0.15, "")},
	}}
}

// putRight makes sure that the script and eni0 know a wrong world from a right one, and leaves it
// right.
func (w *world) putRight() error {
	script, fix := w.borrowScript(), w.borrower()
	script.says, fix.swaps = "wrong\n", true
	sides := []side{script, fix, w.borrowScript()}
	if script.lacks() != "" {
		sides = sides[1:2] // the line will say so
	}
	for _, s := range sides {
		if _, err := w.once(s); err != nil {
			return err
		}
	}
	return nil
}
