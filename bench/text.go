package bench

import "strconv"

func appendUint[T ~uint8 | ~uint16 | ~uint32 | ~uint64](b []byte, n T) []byte {
	return strconv.AppendUint(b, uint64(n), 10)
}

func appendList(b []byte, list []uint64) []byte {
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return b
}

const upperHex = "0123456789ABCDEF"

// appendEscaped writes a name or blob as the changelog has it: %XX for control
// bytes, bytes from 127 on and the four characters , % ( ).
func appendEscaped[T ~string | ~[]byte](b []byte, text T) []byte {
	for i := range len(text) {
		switch c := text[i]; {
		case c < 32, c >= 127, c == ',', c == '%', c == '(', c == ')':
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}
