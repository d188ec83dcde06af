package main

import (
	"fmt"
	"strings"
	"time"

	"eni0/bench/kit"
)

// Measures of the picture, in pixels.
const (
	barLeft, barWidth = 110, 420
	barHeight, step   = 20, 30
)

// draw is a picture of the time from the start of each remedy until the primary is called eth0, for
// two situations: a bar is a median.
func (t *table) draw() string {
	var b strings.Builder
	y := 10
	for _, s := range []string{situations[0].name, earlyName} {
		y = t.chart(&b, y, s)
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="640" height="%d" viewBox="0 0 640 %[1]d" `+
		`font-family="sans-serif" font-size="14">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, y, b.String())
}

// chart draws one situation from y on, and returns where it ends.
func (t *table) chart(b *strings.Builder, y int, situation string) int {
	fmt.Fprintf(b, `<text x="10" y="%d" font-weight="bold">%s: milliseconds until the primary is eth0</text>`+"\n", y+15, situation)
	y += step
	var longest time.Duration
	for _, r := range remedies {
		longest = max(longest, kit.Median(t.times[[2]string{situation, r.name}]))
	}
	for _, r := range remedies {
		took := kit.Median(t.times[[2]string{situation, r.name}])
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", barLeft-10, y+15, r.name)
		end, words := barLeft, "never"
		if took > 0 {
			end += int(barWidth * took / longest)
			words = fmt.Sprintf("%.1f", float64(took)/float64(time.Millisecond))
			fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#2a6f97"/>`+"\n", barLeft, y, max(end-barLeft, 1), barHeight)
		}
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", end+8, y+15, words)
		y += step
	}
	return y + 10
}
