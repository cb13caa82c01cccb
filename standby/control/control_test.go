package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/verify"
)

// serve runs a server on dir until the test ends.
func serve(t *testing.T, s *Server) *Client {
	t.Helper()
	s.Logger = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	client := NewClient(s.Dir)
	for {
		select {
		case err := <-done:
			done <- nil
			t.Fatalf("it does not serve: %v", err)
		default:
		}
		if _, err := client.Status(t.Context()); err == nil {
			return client
		} else if !errors.Is(err, ErrNotRunning) {
			t.Fatal(err)
		}
	}
}

func TestSocketIsForItsOwnerAndMayBeFarDown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(dir).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a server: %v", err)
	}
	// What a dead process left does not matter.
	if err := os.WriteFile(filepath.Join(dir, socketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	client := serve(t, &Server{Dir: dir, Status: func() Status { return Status{Role: "tap", PID: 7} }})
	st, err := client.Status(t.Context())
	if err != nil || st.Role != "tap" || st.PID != 7 {
		t.Errorf("status %+v, %v", st, err)
	}
	info, err := os.Stat(filepath.Join(dir, socketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v, %v; want 0600", info.Mode(), err)
	}
	_, err = client.Export(t.Context(), func(meta.Version, io.Reader) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "it is a tap only") {
		t.Errorf("export from a tap: %v", err)
	}
	_, err = client.Verify(t.Context(), VerifyRequest{File: "x"}, verify.Config{})
	if err == nil || !strings.Contains(err.Error(), "it is a tap only") {
		t.Errorf("verify with a tap: %v", err)
	}
}

func TestViewThatFailsIsTold(t *testing.T) {
	broken := errors.New("the disk is gone")
	client := serve(t, &Server{
		Dir: t.TempDir(), Status: func() Status { return Status{} },
		View: func() (*image.View, error) { return nil, broken },
	})
	_, err := client.Export(t.Context(), func(meta.Version, io.Reader) error { return nil })
	if err == nil || !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("export: %v", err)
	}
}

// answers makes a client whose requests a function answers.
func answers(t *testing.T, f http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	target := strings.TrimPrefix(s.URL, "http://")
	return &Client{dir: "test", http: &http.Client{Transport: rewrite{target}}}
}

type rewrite struct{ host string }

func (r rewrite) RoundTrip(req *http.Request) (*http.Response, error) {
	req.URL.Host = r.host
	return http.DefaultTransport.RoundTrip(req)
}

func TestExportThatBreaksOffIsAnError(t *testing.T) {
	for _, tc := range []struct {
		name, version, trailer, value, want string
	}{
		{"error in the end", "12", errorTrailer, "reading the image: bad block", "bad block"},
		{"process died", "12", "", "", "broke the export off"},
		{"no version", "x", crcTrailer, "00", "has no version"},
		{"bad checksums", "12", crcTrailer, "zz", "invalid byte"},
		{"whole", "12", crcTrailer, "abcd", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := answers(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(versionHeader, tc.version)
				w.Header().Set("Trailer", crcTrailer+", "+errorTrailer)
				io.WriteString(w, "MFSM 2.0")
				w.Header().Set(tc.trailer, tc.value)
			})
			_, err := client.Export(t.Context(), func(v meta.Version, r io.Reader) error {
				if v != 12 {
					t.Errorf("version %d", v)
				}
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestVerifyLines(t *testing.T) {
	for _, tc := range []struct {
		name, text, want string
		stages, found    int
	}{
		{"result", `{"stage":{"what":"a"}}{"stage":{"what":"a","done":5}}{"stage":{"what":"b"}}{"difference":{"Table":"NODE"}}{"result":{"version":3}}`, "", 2, 1},
		{"error", `{"stage":{"what":"a"}}{"error":"no such file"}`, "no such file", 1, 0},
		{"died", `{"stage":{"what":"a"}}`, "broke the comparison off", 1, 0},
		{"nonsense", `{"stage":`, "broke the comparison off", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := answers(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, tc.text) })
			stages, found := 0, 0
			_, err := client.Verify(t.Context(), VerifyRequest{File: "f"}, verify.Config{
				Stage:  func(string, int64) func(int64) { stages++; return func(int64) {} },
				Report: func(metafile.Difference) { found++ },
			})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
			if stages != tc.stages || found != tc.found {
				t.Errorf("%d stages and %d differences, want %d and %d", stages, found, tc.stages, tc.found)
			}
		})
	}
}

func TestLockKeepsOthersOut(t *testing.T) {
	dir := t.TempDir()
	if _, err := Acquire(filepath.Join(dir, "none"), "run"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("lock of a directory that is not there: %v", err)
	}
	lock, err := Acquire(dir, "run")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(dir, "import")
	var busy *BusyError
	if !errors.As(err, &busy) || !errors.Is(err, ErrBusy) || !strings.Contains(busy.Who, "mfsstandby run, process") {
		t.Errorf("second lock: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if lock, err = Acquire(dir, "x"); err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}
