package control

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/verify"
)

// ErrNotRunning says that nobody answers for a data directory.
var ErrNotRunning = errors.New("no standby is running on this data directory")

// Client asks the process that runs on a data directory.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient returns a client for a data directory; it connects when asked.
func NewClient(dir string) *Client {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dir) },
	}
	return &Client{dir: dir, http: &http.Client{Transport: transport}}
}

// do sends a request. Any answer but 200 is an error.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://standby"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, ErrNotRunning) {
		return nil, fmt.Errorf("%s: %w", c.dir, ErrNotRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the standby on %s: %w", c.dir, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return nil, errors.Join(errors.New(strings.TrimSpace(string(text))), err)
}

// Status asks how things stand.
func (c *Client) Status(ctx context.Context) (Status, error) {
	resp, err := c.do(ctx, http.MethodGet, "/status", nil)
	if err != nil {
		return Status{}, err
	}
	defer resp.Body.Close()
	var st Status
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		return st, fmt.Errorf("answer of the standby on %s: %w", c.dir, err)
	}
	return st, nil
}

// Export hands the metadata file of the present version to read, which must
// read it to its end, and returns the content of its metadata.crc.
func (c *Client) Export(ctx context.Context, read func(meta.Version, io.Reader) error) (crc []byte, err error) {
	return c.ExportFor(ctx, 0, read)
}

// ExportFor is Export of a file for a release; 0 is that of the image.
func (c *Client) ExportFor(ctx context.Context, r meta.Release, read func(meta.Version, io.Reader) error) (crc []byte, err error) {
	resp, err := c.do(ctx, http.MethodGet, "/export?"+url.Values{releaseQuery: {r.String()}}.Encode(), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	version, err := strconv.ParseUint(resp.Header.Get(versionHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("answer of the standby on %s has no version: %w", c.dir, err)
	}
	if err := read(meta.Version(version), &whole{resp: resp}); err != nil {
		return nil, err
	}
	return hex.DecodeString(resp.Trailer.Get(crcTrailer))
}

// whole is the body of an answer. Its end is an error unless the other side
// said that it was the end.
type whole struct{ resp *http.Response }

func (w *whole) Read(b []byte) (int, error) {
	n, err := w.resp.Body.Read(b)
	if errors.Is(err, io.EOF) && w.resp.Trailer.Get(crcTrailer) == "" {
		err = fmt.Errorf("the standby broke the export off: %s", w.resp.Trailer.Get(errorTrailer))
	}
	return n, err
}

// Verify lets the standby compare its image. Paths are made absolute. Report
// and Stage of cfg are told as in package verify.
func (c *Client) Verify(ctx context.Context, req VerifyRequest, cfg verify.Config) (verify.Result, error) {
	if err := req.absolute(); err != nil {
		return verify.Result{}, err
	}
	body, err := json.Marshal(req)
	if err != nil {
		return verify.Result{}, err
	}
	resp, err := c.do(ctx, http.MethodPost, "/verify", bytes.NewReader(body))
	if err != nil {
		return verify.Result{}, err
	}
	defer resp.Body.Close()
	return readVerify(json.NewDecoder(resp.Body), cfg)
}

func (r *VerifyRequest) absolute() (err error) {
	if r.File != "" {
		if r.File, err = filepath.Abs(r.File); err != nil {
			return err
		}
	}
	for i, path := range r.Changes {
		if r.Changes[i], err = filepath.Abs(path); err != nil {
			return err
		}
	}
	return nil
}

// readVerify passes on the lines of an answer up to its result.
func readVerify(dec *json.Decoder, cfg verify.Config) (verify.Result, error) {
	var at string
	show := func(int64) {}
	for {
		var line VerifyLine
		if err := dec.Decode(&line); err != nil {
			return verify.Result{}, fmt.Errorf("the standby broke the comparison off: %w", err)
		}
		switch {
		case line.Error != "":
			return verify.Result{}, errors.New(line.Error)
		case line.Result != nil:
			return *line.Result, nil
		case line.Difference != nil:
			cfg.Report(metafile.Difference(*line.Difference))
		case line.Stage != nil:
			if line.Stage.What != at {
				at, show = line.Stage.What, cfg.Stage(line.Stage.What, line.Stage.Total)
			}
			show(line.Stage.Done)
		}
	}
}
