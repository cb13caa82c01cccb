package bench_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mfsstandby/bench"
	"mfsstandby/bench/sample"
	"mfsstandby/standby/image"
)

func samplePrimary(dir string, rate int) (func(context.Context) error, error) {
	p, err := sample.New(sample.Config{Dir: dir, Rate: rate, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return p.Run, nil
}

func TestLagMeasuresWhatThePrimaryWrites(t *testing.T) {
	report, err := bench.Lag(t.Context(), bench.LagConfig{
		Rate: 1000, For: time.Second, Sync: "interval", Cache: image.MinCache, Dir: t.TempDir(), Sample: samplePrimary,
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Entries < 100 || report.Batches < 2 || report.Seconds < 1 {
		t.Errorf("%d entries in %d batches and %.2f s, want about 1000 in a second", report.Entries, report.Batches, report.Seconds)
	}
	l := report.Latency
	if l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
		t.Errorf("latency %+v", l)
	}
	if report.Lookups < 10 || report.Lookup.Max <= 0 {
		t.Errorf("%d lookups, %+v", report.Lookups, report.Lookup)
	}
	var out bytes.Buffer
	if err := report.WriteText(&out); err != nil || !strings.Contains(out.String(), "receipt -> readable") {
		t.Errorf("text %q, %v", out.String(), err)
	}
}

var errBroken = errors.New("it is broken")

// A primary that fails ends the measurement with its error.
func TestLagTellsWhatFailed(t *testing.T) {
	cfg := bench.LagConfig{Dir: t.TempDir(), For: time.Hour}
	cfg.Sample = func(string, int) (func(context.Context) error, error) { return nil, errBroken }
	if _, err := bench.Lag(t.Context(), cfg); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v", err, errBroken)
	}
	cfg.Sample = func(string, int) (func(context.Context) error, error) {
		return func(context.Context) error { return errBroken }, nil
	}
	if _, err := bench.Lag(t.Context(), cfg); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v", err, errBroken)
	}
}

func TestLagRefuses(t *testing.T) {
	for _, tc := range []struct {
		want string
		cfg  bench.LagConfig
	}{
		{"neither", bench.LagConfig{}},
		{"give one of", bench.LagConfig{Primary: "host", Rate: 5}},
		{"rate of -5", bench.LagConfig{Rate: -5, Sample: samplePrimary}},
		{"above 0", bench.LagConfig{For: -1, Sample: samplePrimary}},
		{`sync "never"`, bench.LagConfig{Sync: "never", Sample: samplePrimary}},
		{"too small", bench.LagConfig{Cache: 5, Sample: samplePrimary}},
	} {
		if _, err := bench.Lag(t.Context(), tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: got %v, want an error with %q", tc.cfg, err, tc.want)
		}
	}
}
