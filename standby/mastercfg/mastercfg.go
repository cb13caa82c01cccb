// Package mastercfg reads mfsmaster.cfg as mfsmaster 3.0.117 does: the options
// of the primary that a leader must have, too.
package mastercfg

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"mfsstandby/changelog"
)

// DefaultFile is where mfsmaster looks for its options.
const DefaultFile = "/etc/mfs/mfsmaster.cfg"

// Values are the options that a file sets.
type Values map[string]string

// Parse reads lines KEY = VALUE. A later line of a key counts; a line that is
// none is passed over with a warning.
func Parse(r io.Reader) (v Values, warnings []string, err error) {
	v = Values{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimRight(key, " \t")
		if !ok || key == "" || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c >= 127 }) {
			warnings = append(warnings, fmt.Sprintf("line %d: %q is not of the form KEY = VALUE", n, line))
			continue
		}
		v[key] = strings.TrimLeft(value, " \t")
	}
	return v, warnings, lines.Err()
}

// number is the value of a key: what of its beginning is a number, decimal, or
// in hexadecimal or octal digits as in C.
func (v Values) number(key string, otherwise uint32) uint32 {
	text, ok := v[key]
	if !ok {
		return otherwise
	}
	digits, base := text, 10
	switch lower := strings.ToLower(text); {
	case strings.HasPrefix(lower, "0x"):
		digits, base = lower[2:], 16
	case strings.HasPrefix(text, "0"):
		base = 8
	}
	end := 0
	for end < len(digits) {
		if _, err := strconv.ParseUint(digits[end:end+1], base, 8); err != nil {
			break
		}
		end++
	}
	n, _ := strconv.ParseUint(digits[:end], base, 64) // no digits are 0
	return uint32(n)
}

// Rules are the options that decide about requests and duties, within the
// bounds that mfsmaster has for them.
func (v Values) Rules() (r changelog.Rules, warnings []string) {
	r = changelog.DefaultRules
	within := func(to *uint32, key string, least, most uint32) {
		n := v.number(key, *to)
		*to = min(max(n, least), most)
		if *to != n {
			warnings = append(warnings, fmt.Sprintf("%s is %d: it must be from %d to %d, and %d is taken", key, n, least, most, *to))
		}
	}
	within(&r.MaxHardLinks, "MAX_ALLOWED_HARD_LINKS", 8, 65000)
	within(&r.InodeReuse, "INODE_REUSE_DELAY", 300, 3000000)
	within(&r.SessionSustain, "SESSION_SUSTAIN_TIME", 60, 7*86400)
	r.Atime = changelog.AtimeMode(v.number("ATIME_MODE", uint32(r.Atime)))
	if r.Atime > changelog.AtimeNever {
		warnings = append(warnings, fmt.Sprintf("ATIME_MODE is %d, which is none: %d is taken", r.Atime, changelog.AtimeAlways))
		r.Atime = changelog.AtimeAlways
	}
	return r, warnings
}

// File is the rules of a file as last read. Its methods are safe for concurrent
// use.
type File struct {
	path  string
	log   *slog.Logger
	rules atomic.Pointer[changelog.Rules]
}

// Open reads the file at path. Without a file the rules are mfsmaster's
// defaults.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log}
	f.rules.Store(&changelog.DefaultRules)
	return f, f.Reload()
}

// Rules returns what is in force.
func (f *File) Rules() *changelog.Rules { return f.rules.Load() }

// Reload reads the file again. After an error what was in force stays.
func (f *File) Reload() error {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.rules.Store(&changelog.DefaultRules)
		f.log.Info("a leader would have mfsmaster's default options: there is no file of the master's", "file", f.path)
		return nil
	}
	if err != nil {
		return fmt.Errorf("the master's options: %w", err)
	}
	defer file.Close()
	v, warnings, err := Parse(file)
	if err != nil {
		return fmt.Errorf("the master's options: %s: %w", f.path, err)
	}
	rules, more := v.Rules()
	for _, w := range append(warnings, more...) {
		f.log.Warn("the master's options", "file", f.path, "warning", w)
	}
	f.rules.Store(&rules)
	return nil
}
