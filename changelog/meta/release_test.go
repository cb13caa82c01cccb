package meta

import "testing"

func TestParseRelease(t *testing.T) {
	for text, want := range map[string]Release{
		"4.59.2": Latest, "3.0.117-1": Reproduced, "3.0.117": Reproduced, "4.59.2 Pro": Latest, "2.0.91": NewRelease(2, 0, 91),
		"1.6.27": NewRelease(1, 6, 27), "": 0, "4.59": 0, "4.59.x": 0, "4.59.256": 0, "4.59.2.1": 0, "-1": 0, "-1.0.0": 0,
	} {
		if got := ParseRelease(text); got != want {
			t.Errorf("%q: got %#x, want %#x", text, uint32(got), uint32(want))
		}
	}
}

func TestReleaseOrder(t *testing.T) {
	order := []Release{NewRelease(1, 6, 27), NewRelease(2, 0, 91), Reproduced, Release4, Latest}
	for i, r := range order {
		for j, x := range order {
			if got := r.Since(x); got != (i >= j) {
				t.Errorf("%v since %v: got %v", r, x, got)
			}
		}
	}
	if unknown := Release(0); !unknown.Since(Reproduced) || unknown.Since(Release4) || unknown.String() != "" {
		t.Error("a release not known does not count as 3.0.117")
	}
	if got := Latest.String(); got != "4.59.2" {
		t.Errorf("got %s", got)
	}
}
