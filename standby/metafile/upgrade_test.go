package metafile

import (
	"bytes"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// What 4.59.2 stored after it had loaded a file of 3.0.117 is what comes of the
// State of 3.0.117 when 4.59.2 follows it. The one entry between is IDLE.
func TestUpgradeTo4(t *testing.T) {
	st, _ := mustRead(t, fixture(t, "before.mfs"))
	if err := changelog.SetRelease(st, meta.Latest, 0); err != nil {
		t.Fatal(err)
	}
	upgraded := captured(t, "3.0.117-a", "upgraded.mfs.gz")
	_, h := mustRead(t, upgraded)
	n, err := Compare(bytes.NewReader(upgraded), st, CompareOptions{Version: h.Version}, func(d Difference) { t.Log(d) })
	if n != 0 || err != nil {
		t.Errorf("%d differences, %v", n, err)
	}
	var buf bytes.Buffer
	if err := Write(&buf, st, h, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if buf.Len() != len(upgraded) {
		t.Errorf("wrote %d bytes, 4.59.2 %d", buf.Len(), len(upgraded))
	}
}
