//go:build !amd64

package main

import (
	"errors"

	"eni0/testbed/vm/guestreport"
)

// swapKinds needs package trace, which is for amd64.
func swapKinds(*guestreport.Report, int) error { return errors.New("not on this architecture") }
