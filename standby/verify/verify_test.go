package verify

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/bench"
	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
)

// newImage makes an image of a fresh file system and changes it.
func newImage(t *testing.T, change func(*meta.State)) *image.Image {
	t.Helper()
	var fresh bytes.Buffer
	if err := bench.FreshMetadata(&fresh, bench.DefaultBase); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := standby.Load(dir, &fresh, standby.LoadOptions{Cache: 16 << 20, Name: "fresh"}); err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	})
	err = img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
		change(st)
		return pos, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// export writes the image's metadata file.
func export(t *testing.T, img *image.Image) string {
	t.Helper()
	v, err := img.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	path := filepath.Join(t.TempDir(), "metadata.mfs")
	if err := standby.WriteView(v, path, "", nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// addSession adds a session that has the root open.
func addSession(st *meta.State, id meta.SessionID, disconnected meta.Time) {
	st.Sessions.Insert(id, meta.Session{Root: meta.Root, Disconnected: disconnected, Open: 1, Info: []byte("/mnt")})
	st.Open.Add(id, meta.Root)
	st.NextSession = max(st.NextSession, 10)
}

func TestSessionsThatTheMasterForgot(t *testing.T) {
	for _, tc := range []struct {
		name         string
		disconnected meta.Time
		differences  int
	}{
		{"closed by its client", 1_700_000_000, 0}, // stored no more, the entry that tells so comes later
		{"connected", 0, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			master := newImage(t, func(st *meta.State) { addSession(st, 3, 0) })
			ours := newImage(t, func(st *meta.State) {
				addSession(st, 3, 0)
				addSession(st, 4, tc.disconnected)
			})
			v, err := ours.View()
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			var found []string
			cfg := Config{
				Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
				Report: func(d metafile.Difference) { found = append(found, d.String()) },
				Stage:  func(string, int64) func(int64) { return func(int64) {} },
			}
			for what, compare := range map[string]func() (Result, error){
				"file":  func() (Result, error) { return File(t.Context(), v, export(t, master), nil, cfg) },
				"state": func() (Result, error) { return states(master, v, cfg) },
			} {
				found = nil
				res, err := compare()
				if err != nil {
					t.Fatal(err)
				}
				if res.Differences != tc.differences || len(found) != tc.differences || res.Version != 2 {
					t.Errorf("%s: %+v, want %d differences; reported:\n%s", what, res, tc.differences, strings.Join(found, "\n"))
				}
			}
		})
	}
}

func TestOtherClusterIsRefused(t *testing.T) {
	img := newImage(t, func(st *meta.State) { st.MetaID++ })
	other := newImage(t, func(*meta.State) {})
	v, err := img.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	_, err = File(context.Background(), v, export(t, other), nil, Config{})
	if err == nil || !strings.Contains(err.Error(), "is of cluster") {
		t.Errorf("file of another cluster: %v", err)
	}
}
