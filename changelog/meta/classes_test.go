package meta

import "testing"

func TestMasksOf(t *testing.T) {
	const a, b, z = 1 << 0, 1 << 1, 1 << 25
	for _, m := range []LabelMasks{{}, {a}, {a | b}, {a, b}, {a | b | z, z, b}, {a, b, z, a | z}} {
		if got, ok := MasksOf(m.Expr()); !ok || got != m {
			t.Errorf("%v became %q, and that %v, %v", m, m.Expr(), got, ok)
		}
	}
	for _, expr := range []string{
		"\x01",                     // not
		"\xC0\x80",                 // one label for an "and" of two
		"\xC0\xC1",                 // two labels and nothing that joins them
		"\xFF",                     // any
		"\xC0\xC1\xC2\xC3\xC4\x43", // five in an "or"
		"\xC0\xC1\x40\xC2\x80",     // an "or" in an "and"
	} {
		if m, ok := MasksOf(expr); ok {
			t.Errorf("%q became %v", expr, m)
		}
	}
}
