package web

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"mfsstandby/changelog/meta"
)

// Name is a file's name or path as JSON has it. Names are bytes; those that
// are not UTF-8 are shown with \xNN for each wrong byte, and given exactly in
// Base64.
type Name struct {
	Text   string `json:"name"`
	Base64 string `json:"name_base64,omitempty"` // standard alphabet; absent if Text is exact
}

func nameOf(b []byte) Name {
	text, exact := escape(b)
	if exact {
		return Name{Text: text}
	}
	return Name{text, base64.StdEncoding.EncodeToString(b)}
}

// Path is like Name.
type Path struct {
	Text   string     `json:"path"`
	Base64 string     `json:"path_base64,omitempty"`
	Parent meta.Inode `json:"parent,omitempty"` // the directory that the last name is in
}

func pathOf(b string) Path {
	n := nameOf([]byte(b))
	return Path{Text: n.Text, Base64: n.Base64}
}

// escape returns b as valid UTF-8, and whether that is b itself.
func escape(b []byte) (text string, exact bool) {
	if utf8.Valid(b) {
		return string(b), true
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&out, `\x%02x`, b[0])
		} else {
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.String(), false
}
