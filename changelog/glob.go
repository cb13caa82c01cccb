package changelog

import "strings"

// A glob is a sequence of elements and stars. An element stands for one byte:
// "?" for any, "[...]" for one of a set, with "!" in front for one not in it,
// everything else for itself, and after a backslash in any case. A "[" without
// "]" stands for itself. A star stands for any number of bytes.

// globElem is one element.
type globElem struct {
	kind byte   // '?', '[' or 0 for one byte
	b    byte   // that byte
	set  string // what is between the brackets
}

// globNext reads the element at glob[i], which is no star, and returns where
// the next one is.
func globNext(glob string, i int) (globElem, int) {
	switch c := glob[i]; {
	case c == '?':
		return globElem{kind: '?'}, i + 1
	case c == '[':
		if n := strings.IndexByte(glob[i+1:], ']'); n >= 0 {
			return globElem{kind: '[', set: glob[i+1 : i+1+n]}, i + n + 2
		}
	case c == '\\' && i+1 < len(glob):
		return globElem{b: glob[i+1]}, i + 2
	}
	return globElem{b: glob[i]}, i + 1
}

func (e *globElem) matches(c byte) bool {
	switch e.kind {
	case '?':
		return true
	case '[':
		return setMatches(e.set, c)
	}
	return e.b == c
}

// setMatches tells whether a set, "a-z0" or "!a-z0", has a byte.
func setMatches(set string, c byte) bool {
	negated := strings.HasPrefix(set, "!")
	if negated {
		set = set[1:]
	}
	found := false
	for len(set) > 0 {
		if len(set) > 2 && set[1] == '-' {
			found = found || set[0] <= c && c <= set[2]
			set = set[3:]
		} else {
			found = found || set[0] == c
			set = set[1:]
		}
	}
	return found != negated
}

// globPart is what is between two stars; size is the number of its elements.
type globPart struct {
	text string
	size int
}

// globCut takes the first part off a glob; star tells whether a star ended it.
func globCut(glob string) (part globPart, rest string, star bool) {
	for i := 0; i < len(glob); {
		if glob[i] == '*' {
			return globPart{glob[:i], part.size}, strings.TrimLeft(glob[i:], "*"), true
		}
		_, i = globNext(glob, i)
		part.size++
	}
	return globPart{glob, part.size}, "", false
}

// globLeast is the length of the shortest name that can fit.
func globLeast(glob string) (n int) {
	for star := true; star; {
		var part globPart
		part, glob, star = globCut(glob)
		n += part.size
	}
	return n
}

// startOf tells whether a name begins with the part.
func (p globPart) startOf(name []byte) bool {
	if p.size > len(name) {
		return false
	}
	for i, at := 0, 0; i < len(p.text); at++ {
		var e globElem
		if e, i = globNext(p.text, i); !e.matches(name[at]) {
			return false
		}
	}
	return true
}

// find returns where in a name the part is first, or -1.
func (p globPart) find(name []byte) int {
	for at := 0; at+p.size <= len(name); at++ {
		if p.startOf(name[at:]) {
			return at
		}
	}
	return -1
}

// GlobMatches tells whether mfsmaster takes a name as fitting a glob. Between
// the first star and the last it has a fault: behind a part that it found it
// goes on by the length of the first part, not of that one. Where that leads
// beyond the name, what it sees there cannot be known; here nothing fits then.
func GlobMatches(glob string, name []byte) bool {
	if len(name) < globLeast(glob) {
		return false
	}
	first, rest, star := globCut(glob)
	if !star {
		return first.size > 0 && first.size == len(name) && first.startOf(name)
	}
	if first.size > 0 {
		if !first.startOf(name) {
			return false
		}
		name = name[first.size:]
	}
	anchored := first.size > 0
	for {
		part, more, star := globCut(rest)
		switch {
		case part.size == 0: // the glob ends in a star
			return true
		case !star: // the last part: at the end of the name
			return len(name) >= part.size && part.startOf(name[len(name)-part.size:])
		}
		at := part.find(name)
		if at < 0 {
			return false
		}
		if more == "" {
			return true
		}
		if !anchored {
			first, anchored = part, true
		}
		if at += first.size; at > len(name) {
			return false
		}
		name, rest = name[at:], more
	}
}
