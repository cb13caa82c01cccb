package metafile

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// TestWriteOldFixtures: what real masters of 1.6.27 and 2.0.91 stored is written
// again with the same records, as those releases write it.
func TestWriteOldFixtures(t *testing.T) {
	for _, release := range []string{"1.6.27-a", "2.0.91-a"} {
		for _, name := range []string{"before.mfs", "after.mfs.gz"} {
			file := oldFixture(t, release, name)
			st, h := mustRead(t, file)
			out := mustWrite(t, st, h, WriteOptions{})
			if len(out) != len(file) || !bytes.Equal(out[:24], file[:24]) {
				t.Errorf("%s %s: %d bytes beginning %q, want %d beginning %q", release, name, len(out), out[:24], len(file), file[:24])
			}
			again, _ := mustRead(t, out)
			wantEqual(t, normalised(again), normalised(st))
			if got, want := sortedLines(mustDump(t, out, DumpOptions{})), sortedLines(mustDump(t, file, DumpOptions{})); strings.Join(got, "\n") != strings.Join(want, "\n") {
				wantSameLines(t, got, want)
			}
		}
	}
}

// TestWriteForLater: a later release gets what the earlier one stores, which it
// converts when it loads it.
func TestWriteForLater(t *testing.T) {
	for _, release := range []string{"1.6.27-a", "2.0.91-a"} {
		file := oldFixture(t, release, "after.mfs.gz")
		st, h := mustRead(t, file)
		own := mustWrite(t, st, h, WriteOptions{})
		for _, r := range []meta.Release{meta.Reproduced, meta.Latest} {
			if out := mustWrite(t, st, h, WriteOptions{Release: r}); !bytes.Equal(out, own) {
				t.Errorf("%s for %s is not what that release stores itself", release, r)
			}
		}
	}
}

// TestWriteForEarlier: a file of 3.0.117 without anything new can be written for
// 2.0.91 and 1.6.27, and is read as the same tree.
func TestWriteForEarlier(t *testing.T) {
	st := metatest.New()
	h, err := Empty(st, 1000, meta.Reproduced)
	if err != nil {
		t.Fatal(err)
	}
	st.MetaID = 77
	for _, r := range []meta.Release{meta.Reproduced2, meta.Reproduced16} {
		out := mustWrite(t, st, h, WriteOptions{Release: r})
		got, gotHead := mustRead(t, out)
		root, _ := got.Nodes.Get(meta.Root)
		if got.Release != r || gotHead.Version != h.Version || root.Trash() != 86400 || root.Class != 2 || root.Mode != 0o777 {
			t.Errorf("for %s: release %s, version %d, root %+v", r, got.Release, gotHead.Version, root)
		}
	}
}

// TestCannotHold: the error lists everything that an earlier release cannot hold.
func TestCannotHold(t *testing.T) {
	st, h, err := readRaw(sample().bytes())
	if err != nil {
		t.Fatal(err)
	}
	n, _ := st.Nodes.Edit(6)
	n.Winattr, n.Eattr = 1, meta.EattrImmutable
	for _, tc := range []struct {
		release meta.Release
		want    []string
	}{
		{meta.Reproduced2, []string{
			"2 storage classes that are no plain goals (the first is of class 10, \"ten\")",
			"3 nodes with a storage class that is no plain goal (the first is of inode 2)",
			"1 nodes with extra attributes of 3.0", "1 nodes with Windows attributes (the first is of inode 6)",
			"1 chunks in the archive (the first is of chunk 0000000000000002)",
			"1 quotas with a grace period", "2 sessions with a umask", "1 files with locks (flock)", "1 files with locks of ranges", "1 chunkservers in maintenance for a time",
		}},
		{meta.Reproduced16, []string{"1 files with locks (flock)", "1 inodes with extended attributes", "2 ACLs", "1 quotas (", "2 sessions, which", "2 known chunkservers"}},
	} {
		err := Write(&bytes.Buffer{}, st, h, WriteOptions{Release: tc.release})
		var hold *HoldError
		if !errors.As(err, &hold) || hold.Release != tc.release {
			t.Fatalf("for %s: error %v, want a *HoldError", tc.release, err)
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("for %s: error %q lacks %q", tc.release, err, want)
			}
		}
	}
	st.Release = meta.Latest
	if err := Write(&bytes.Buffer{}, st, h, WriteOptions{Release: meta.Reproduced}); err == nil || !strings.Contains(err.Error(), "metadata of MooseFS 4.x") {
		t.Errorf("4.59.2 for 3.0.117: %v", err)
	}
}

// TestBaseOf16: in a base image of its own, that of 1.6 keeps the attributes that
// 1.6.27 would not store.
func TestBaseOf16(t *testing.T) {
	st, h := mustRead(t, oldFixture(t, "1.6.27-a", "after.mfs.gz"))
	n, _ := st.Nodes.Edit(2)
	n.Flags |= meta.HasXattr
	st.Xattrs.Append(2, []byte("user.a"), []byte("v"))
	again, _ := mustRead(t, mustWrite(t, st, h, WriteOptions{}))
	wantEqual(t, normalised(again), normalised(st))
	if err := Write(&bytes.Buffer{}, st, h, WriteOptions{Release: meta.Reproduced}); err == nil || !strings.Contains(err.Error(), "extended attributes") {
		t.Errorf("for 3.0.117: %v", err)
	}
}
