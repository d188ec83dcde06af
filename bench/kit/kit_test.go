package kit

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		times []time.Duration
		want  time.Duration
	}{
		{nil, 0},
		{[]time.Duration{5}, 5},
		{[]time.Duration{9, 1, 5}, 5},
		{[]time.Duration{9, 1, 2}, 2},
		{[]time.Duration{9, 1, 2, 4}, 3},
	} {
		if got := Median(test.times); got != test.want {
			t.Errorf("Median(%v) = %v, want %v", test.times, got, test.want)
		}
	}
}
