package main

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

const defaultData = "/var/lib/mfsstandby"

// size is a flag that takes bytes: 1073741824, 1024M, 1GiB.
type size int64

var sizeUnits = []struct {
	suffix string
	shift  uint
}{{"T", 40}, {"G", 30}, {"M", 20}, {"K", 10}, {"", 0}}

func (s *size) String() string { return formatSize(int64(*s)) }
func (s *size) Type() string   { return "size" }

func (s *size) Set(text string) error {
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(text), "B"), "I")
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(number, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64>>u.shift {
			return fmt.Errorf("%q is no size: write a number of bytes, or one with K, M, G or T", text)
		}
		*s = size(n << u.shift)
		return nil
	}
	return nil // not reached: the last suffix fits all
}

// formatSize writes bytes with a binary unit; exact multiples without a fraction.
func formatSize(n int64) string {
	for _, u := range sizeUnits[:len(sizeUnits)-1] {
		if n < 1<<u.shift {
			continue
		}
		if n&(1<<u.shift-1) == 0 {
			return fmt.Sprintf("%d%siB", n>>u.shift, u.suffix)
		}
		return fmt.Sprintf("%.1f%siB", float64(n)/float64(int64(1)<<u.shift), u.suffix)
	}
	return fmt.Sprintf("%dB", n)
}

func sizeFlag(f *pflag.FlagSet, name string, value int64, about string) *size {
	s := size(value)
	f.Var(&s, name, about)
	return &s
}

// metaID is a flag that takes a cluster's id in hexadecimal, as status shows it.
type metaID uint64

func (m *metaID) String() string {
	if *m == 0 {
		return ""
	}
	return fmt.Sprintf("%016X", uint64(*m))
}
func (m *metaID) Type() string { return "hex" }

func (m *metaID) Set(text string) error {
	if text == "" {
		*m = 0
		return nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(text), "0x"), 16, 64)
	if err != nil {
		return fmt.Errorf("%q is no cluster id: it has up to 16 hexadecimal digits", text)
	}
	*m = metaID(n)
	return nil
}

func metaidFlag(f *pflag.FlagSet) *metaID {
	var id metaID
	f.Var(&id, "metaid", "id of the cluster to follow (default: the one there is)")
	return &id
}

// list is a flag for words between commas. Unlike pflag's own, it is what was
// set last, so that it can be set back to its default.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }
func (l *list) Type() string   { return "list" }

func (l *list) Set(text string) error {
	*l = nil
	if strings.TrimSpace(text) == "" {
		return nil
	}
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			return fmt.Errorf("%q has an empty place", text)
		}
		*l = append(*l, word)
	}
	return nil
}

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	words []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.words, "|") }

func (c *choice) Set(text string) error {
	for _, w := range c.words {
		if w == text {
			c.value = w
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(c.words, ", "))
}

func choiceFlag(f *pflag.FlagSet, name, about string, words ...string) *choice {
	c := &choice{words[0], words}
	f.Var(c, name, about)
	return c
}

// level is a flag that takes a log level. It may change while the program runs.
type level struct{ slog.LevelVar }

func (l *level) String() string { return strings.ToLower(l.Level().String()) }
func (l *level) Type() string   { return "debug|info|warn|error" }

func (l *level) Set(text string) error {
	var v slog.Level
	if err := v.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("%q is none of debug, info, warn, error", text)
	}
	l.LevelVar.Set(v)
	return nil
}

func dataFlag(f *pflag.FlagSet) *string {
	return f.String("data", defaultData, "data directory")
}

// logFlags are the flags about the log of a daemon.
type logFlags struct {
	level  level
	format *choice
}

func addLogFlags(f *pflag.FlagSet) *logFlags {
	l := &logFlags{format: choiceFlag(f, "log-format", "how the log is written to stderr", "text", "json")}
	f.Var(&l.level, "log-level", "least level that is logged")
	return l
}

func (l *logFlags) logger(c *console) *slog.Logger {
	opt := &slog.HandlerOptions{Level: &l.level}
	if l.format.value == "json" {
		return slog.New(slog.NewJSONHandler(c.err, opt))
	}
	return slog.New(slog.NewTextHandler(c.err, opt))
}

func hexID(id uint64) string { return fmt.Sprintf("%016X", id) }
