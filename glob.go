package main

// This file is fnmatch(3) with no flags: patterns with *, ?, [...] and the backslash. It does
// nothing else.

import "strings"

// fnmatch reports whether s matches pattern. After a mismatch only the last star takes one byte
// more, so it takes time in proportion to the product of the two lengths at most.
func fnmatch(pattern, s string) bool {
	p, i := 0, 0
	afterStar, starEnd := -1, 0 // the pattern after the last star, and where in s that star ends
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			afterStar, starEnd = p, i
			continue
		}
		if n, ok := fnmatchOne(pattern[p:], s[i]); ok {
			p += n
			i++
			continue
		}
		if afterStar < 0 {
			return false
		}
		starEnd++
		p, i = afterStar, starEnd
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// fnmatchOne reports whether c matches the start of pattern, which is no star, and returns the
// length of that start.
func fnmatchOne(pattern string, c byte) (int, bool) {
	switch {
	case pattern == "":
		return 0, false
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	case pattern[0] == '[':
		if n, ok := fnmatchBracket(pattern, c); n > 0 {
			return n, ok
		}
	}
	return 1, pattern[0] == c
}

// fnmatchBracket reports whether c matches the bracket expression that pattern starts with, and
// returns its length: [a-z], [!0-9], [[:digit:]]. The length is 0 where nothing closes the bracket,
// which then stands for itself.
func fnmatchBracket(pattern string, c byte) (int, bool) {
	p := 1
	negated := p < len(pattern) && (pattern[p] == '!' || pattern[p] == '^')
	if negated {
		p++
	}
	found := false
	for start := p; p < len(pattern); {
		if pattern[p] == ']' && p > start {
			return p + 1, found != negated
		}
		if n, ok := bracketClass(pattern[p:], c); n > 0 {
			p, found = p+n, found || ok
			continue
		}
		low, n := bracketByte(pattern[p:])
		high := low
		p += n
		if p+1 < len(pattern) && pattern[p] == '-' && pattern[p+1] != ']' {
			high, n = bracketByte(pattern[p+1:])
			p += n + 1
		}
		found = found || low <= c && c <= high
	}
	return 0, false
}

// bracketByte returns the byte that pattern starts with, and its length with a backslash before it.
func bracketByte(pattern string) (byte, int) {
	if pattern[0] == '\\' && len(pattern) > 1 {
		return pattern[1], 2
	}
	return pattern[0], 1
}

// bracketClass reports whether c is of the class that pattern starts with, and returns the length
// of the class: [:digit:]. The length is 0 where pattern starts with no class.
func bracketClass(pattern string, c byte) (int, bool) {
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
		is = digit || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	default:
		return 0, false
	}
	return len(class) + 4, is
}
