package changelog

const upperHex = "0123456789ABCDEF"

// plain marks the bytes that stand for themselves in escaped text. mfsmaster
// (changelog_escape_name) escapes all others.
var plain = func() (t [256]bool) {
	for c := ' '; c < 127; c++ {
		t[c] = c != ',' && c != '%' && c != '(' && c != ')'
	}
	return t
}()

// hexDigit maps '0'..'9' and 'A'..'F' to their value, everything else to 255.
// Lowercase digits are not valid in a changelog.
var hexDigit = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range len(upperHex) {
		t[upperHex[i]] = byte(i)
	}
	return t
}()

// AppendEscaped appends raw as names, paths and binary data are written in a
// changelog: bytes below 32 and above 126 and the four bytes ",%()" as '%' and
// two uppercase hexadecimal digits, others as they are.
func AppendEscaped(b, raw []byte) []byte {
	done := 0
	for i, c := range raw {
		if plain[c] {
			continue
		}
		b = append(b, raw[done:i]...)
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		done = i + 1
	}
	return append(b, raw[done:]...)
}
