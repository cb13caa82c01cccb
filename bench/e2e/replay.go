package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Replayed is what the stock master made of a metadata file and a changelog.
type Replayed struct {
	Metadata string        // path of the metadata.mfs that it stored at its end
	Extra    []string      // changelog lines that it wrote itself before
	Took     time.Duration // from its start until clients could connect
}

// Replay lets a stock mfsmaster -a replay changelog onto metadata, both paths,
// in dir, which is made. Its clock starts soon after the last entry, with a minute
// just begun, so that its timers, of which most wait for the next, find little to
// do. With masterBugs false the changelog is rewritten so that known defects of
// 3.0.117's replay have no effect.
func Replay(dir, metadata, changelog string, masterBugs bool) (Replayed, error) {
	text, err := os.ReadFile(changelog)
	if err != nil {
		return Replayed{}, fmt.Errorf("reading the changelog: %w", err)
	}
	last, ts, err := lastLine(text)
	if err != nil {
		return Replayed{}, fmt.Errorf("%s: %w", changelog, err)
	}
	c, err := prepare(Config{Dir: dir, Metadata: metadata, FakeTime: true})
	if err != nil {
		return Replayed{}, err
	}
	defer c.Close()
	if !masterBugs {
		text = avoidReplayBugs(text)
	}
	if err := os.WriteFile(filepath.Join(c.DataDir(), "changelog.0.mfs"), text, 0o644); err != nil {
		return Replayed{}, fmt.Errorf("writing the changelog to replay: %w", err)
	}
	if err := c.Jump(time.Until(time.Unix(ts-ts%60+61, 0))); err != nil {
		return Replayed{}, err
	}
	began := time.Now()
	if err := c.StartMaster(true); err != nil {
		return Replayed{}, err
	}
	r := Replayed{Metadata: filepath.Join(c.DataDir(), "metadata.mfs"), Took: time.Since(began)}
	if err := c.StopMaster(); err != nil {
		return r, err
	}
	r.Extra, err = linesAfter(c.DataDir(), last)
	return r, err
}

// lastLine returns the version and the time of the last line.
func lastLine(text []byte) (version uint64, ts int64, err error) {
	text = bytes.TrimSuffix(text, []byte("\n"))
	line := text[bytes.LastIndexByte(text, '\n')+1:]
	if _, err := fmt.Sscanf(string(line), "%d: %d|", &version, &ts); err != nil {
		return 0, 0, fmt.Errorf("last line %q: %w", line, err)
	}
	return version, ts, nil
}

func linesAfter(dir string, version uint64) ([]string, error) {
	files, err := changelogFiles(dir)
	if err != nil {
		return nil, err
	}
	var after []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a changelog: %w", err)
		}
		for line := range lines(text) {
			if v, err := versionOf(line); err == nil && v > version {
				after = append(after, string(line))
			}
		}
	}
	return after, nil
}

var (
	snapshotGroups = regexp.MustCompile(`\[([0-9,]+)\](,[0-9]+\):[0-9,]+)$`)
	repaired       = regexp.MustCompile(`^([0-9]+: [0-9]+\|)REPAIR\([0-9]+,[0-9]+\):[1-9]`)
)

// avoidReplayBugs gives each group of a SNAPSHOT a digit more in front, which the
// master's reader drops again. It leaves REPAIR with a version alone: see
// HasRepair.
func avoidReplayBugs(text []byte) []byte {
	var out []byte
	for line := range lines(text) {
		if opOf(line) == "SNAPSHOT" {
			line = snapshotGroups.ReplaceAllFunc(line, func(tail []byte) []byte {
				part := snapshotGroups.FindSubmatch(tail)
				groups := bytes.Split(part[1], []byte(","))
				for i := range groups {
					groups[i] = slices.Concat([]byte("1"), groups[i])
				}
				return slices.Concat([]byte("["), bytes.Join(groups, []byte(",")), []byte("]"), part[2])
			})
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

// HasRepair tells whether the changelog has a REPAIR to another version: the
// replay of 3.0.117 counts that line twice and stops.
func HasRepair(text []byte) bool {
	for line := range lines(text) {
		if repaired.Match(line) {
			return true
		}
	}
	return false
}

// DumpLines returns what mfsmetadump prints of a metadata file, sorted, without
// what no changelog tells: operation counters of sessions, when one that is back
// was away, and the kind of a lock that its owner converted.
func DumpLines(image string) ([]string, error) {
	dir, err := os.MkdirTemp("", "dump")
	if err != nil {
		return nil, fmt.Errorf("dumping: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "dump")
	if err := Dump(image, path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a dump: %w", err)
	}
	var out []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		for prefix, part := range untold {
			if strings.HasPrefix(line, prefix) {
				line = part.ReplaceAllString(line, "")
			}
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out, nil
}

var untold = map[string]*regexp.Regexp{
	"SESSION|": regexp.MustCompile(`[cl]:\[[^\]]*\]|\|d: *[0-9]+`),
	"FLOCK|":   regexp.MustCompile(`\|t:[RW]$`),
}

// Differences returns the lines that only one of two sorted lists has, with - for
// want and + for got in front.
func Differences(want, got []string) []string {
	var out []string
	for len(want) > 0 || len(got) > 0 {
		switch {
		case len(got) == 0 || len(want) > 0 && want[0] < got[0]:
			out = append(out, "-"+want[0])
			want = want[1:]
		case len(want) == 0 || got[0] < want[0]:
			out = append(out, "+"+got[0])
			got = got[1:]
		default:
			want, got = want[1:], got[1:]
		}
	}
	return out
}

func versionOf(line []byte) (uint64, error) {
	head, _, _ := bytes.Cut(line, []byte(":"))
	v, err := strconv.ParseUint(string(head), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("line %q has no version", line)
	}
	return v, nil
}
