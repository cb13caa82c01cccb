package metafile

import (
	"fmt"
	"strconv"
)

// ipText writes an address with leading zeros, as mfsmetadump does.
func ipText(ip uint32) string {
	return fmt.Sprintf("%03d.%03d.%03d.%03d", ip>>24, ip>>16&0xFF, ip>>8&0xFF, ip&0xFF)
}

// text builds lines of a dump; each method appends a label and a value.
type text []byte

func (t *text) str(label, s string)        { *t = append(append(*t, label...), s...) }
func (t *text) raw(label string, b []byte) { *t = append(append(*t, label...), b...) }

// num appends v, filled up with blanks on the left.
func (t *text) num(label string, v uint64, width int) { t.fill(label, v, 10, width, ' ') }

// hex appends v in capitals, filled up with zeros.
func (t *text) hex(label string, v uint64, width int) { t.fill(label, v, 16, width, '0') }

// oct appends v filled up with zeros.
func (t *text) oct(label string, v uint64, width int) { t.fill(label, v, 8, width, '0') }

func (t *text) fill(label string, v uint64, base, width int, pad byte) {
	var digits [24]byte
	s := strconv.AppendUint(digits[:0], v, base)
	b := append(*t, label...)
	for range width - len(s) {
		b = append(b, pad)
	}
	for _, c := range s {
		if c >= 'a' {
			c -= 'a' - 'A'
		}
		b = append(b, c)
	}
	*t = b
}

// letter appends yes or no.
func (t *text) letter(label string, is bool, yes, no byte) {
	if !is {
		yes = no
	}
	*t = append(append(*t, label...), yes)
}
