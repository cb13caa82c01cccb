package image

import (
	"path/filepath"
	"testing"

	"mfsstandby/changelog/meta/metatest"
)

// What a new image holds, goes into tables at once, while the writer changes the
// same pages further.
func TestFirstFlush(t *testing.T) {
	for seed := range uint64(8) {
		dir := filepath.Join(t.TempDir(), "image")
		img, model := openTest(t, dir), metatest.New()
		p := grow(t, img, model, setUp(t, img, model, seed), 3000)
		if err := img.Commit(seed%2 == 0); err != nil {
			t.Fatal(err)
		}
		p = grow(t, img, model, p, 3000)
		if err := img.Commit(true); err != nil {
			t.Fatal(err)
		}
		if len(img.db.Tables()) == 0 {
			t.Error("nothing is in tables")
		}
		sameState(t, img.core.st, model)
		_, sum, _ := img.Digest()
		if err := img.Close(); err != nil {
			t.Fatal(err)
		}
		img = openTest(t, dir)
		sameState(t, img.core.st, model)
		if _, again, _ := img.Digest(); again != sum {
			t.Fatalf("digest %v after coming back, want %v", again, sum)
		}
		grow(t, img, model, p, 500)
		sameState(t, img.core.st, model)
		if err := img.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An image that was never committed is empty, whatever was written of it.
func TestFirstFlushCutShort(t *testing.T) {
	for _, flushes := range []int{0, 1, 2} {
		dir := filepath.Join(t.TempDir(), "image")
		img := openTest(t, dir)
		lost := metatest.New()
		p := setUp(t, img, lost, 1)
		for range flushes {
			p = grow(t, img, lost, p, 1000)
			img.flushForScan() // like a spill: in the store, but not committed
			sameState(t, img.core.st, lost)
		}
		img.core.txn.Discard()
		if img.bulk != nil {
			img.bulk.cancel()
		}
		if err := img.db.Close(); err != nil { // a crash: nothing more is committed
			t.Fatal(err)
		}
		img = openTest(t, dir)
		if v := img.Position().Version; v != 0 {
			t.Fatalf("%d flushes: at version %d after coming back", flushes, v)
		}
		model := metatest.New()
		*model.Scalars = *img.core.st.Scalars
		sameState(t, img.core.st, model)
		p = grow(t, img, model, setUp(t, img, model, 2), 1000)
		if err := img.Commit(true); err != nil {
			t.Fatal(err)
		}
		grow(t, img, model, p, 500)
		sameState(t, img.core.st, model)
		if err := img.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
