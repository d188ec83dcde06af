// Next is what a chain leads to in a test: it says who it is, and ends with 7.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	fmt.Println(strings.Join(os.Args, " "), "is process", os.Getpid())
	os.Exit(7)
}
