package main

import "strings"

// globFits reports whether pattern is for s, as fnmatch(3) without flags. It takes time in
// proportion to the product of their lengths at most: after a failure only the last star takes one
// byte more.
func globFits(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // where the pattern goes on after the last star, and what that star ends at
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, from = p, i
			continue
		}
		if n, ok := globOne(pattern[p:], s[i]); ok {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		from++
		p, i = star, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// globOne reports whether the start of pattern is for the byte c, and its length. It is no star.
func globOne(pattern string, c byte) (int, bool) {
	switch {
	case pattern == "":
		return 0, false
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	case pattern[0] == '[':
		if n, ok := globSet(pattern, c); n > 0 {
			return n, ok
		}
	}
	return 1, pattern[0] == c
}

// globSet reports whether the set that pattern starts with has c: [a-z], [!0-9], [[:digit:]].
// Length 0: there is no end to it, so that the bracket stands for itself.
func globSet(pattern string, c byte) (int, bool) {
	p := 1
	negated := p < len(pattern) && (pattern[p] == '!' || pattern[p] == '^')
	if negated {
		p++
	}
	has := false
	for start := p; p < len(pattern); {
		if pattern[p] == ']' && p > start {
			return p + 1, has != negated
		}
		if n, ok := globClass(pattern[p:], c); n > 0 {
			p, has = p+n, has || ok
			continue
		}
		low, n := globByte(pattern[p:])
		high := low
		p += n
		if p+1 < len(pattern) && pattern[p] == '-' && pattern[p+1] != ']' {
			high, n = globByte(pattern[p+1:])
			p += n + 1
		}
		has = has || low <= c && c <= high
	}
	return 0, false
}

// globByte is a byte of a set, and its length with the backslash before it.
func globByte(pattern string) (byte, int) {
	if pattern[0] == '\\' && len(pattern) > 1 {
		return pattern[1], 2
	}
	return pattern[0], 1
}

// globClass reports whether c is of the class that pattern starts with. Length 0: it is none.
func globClass(pattern string, c byte) (int, bool) {
	if !strings.HasPrefix(pattern, "[:") {
		return 0, false
	}
	class, _, _ := strings.Cut(pattern[2:min(len(pattern), 10)], ":]")
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	var is bool
	switch class {
	case "alnum":
		is = lower || upper || digit
	case "alpha":
		is = lower || upper
	case "digit":
		is = digit
	case "lower":
		is = lower
	case "upper":
		is = upper
	case "xdigit":
		is = strings.IndexByte(hexDigits, c) >= 0
	default:
		return 0, false
	}
	return len(class) + 4, is
}

const hexDigits = "0123456789abcdefABCDEF"
