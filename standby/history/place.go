package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// Point is a place in a history as a person gives it: a version, or a time, or
// neither, which is now. A time stands for the version behind the last entry that
// is not later, by the primary's clock.
type Point struct {
	Version meta.Version
	Time    time.Time
	Epoch   stream.Epoch // not 0: as the history was then, before a later rebase gave up some of it
}

func (p Point) String() string {
	switch {
	case p.Version != 0:
		return fmt.Sprintf("version %d", p.Version)
	case !p.Time.IsZero():
		return p.Time.Format(time.RFC3339)
	}
	return "now"
}

// Exact is the point as ParsePoint reads it anywhere; its Epoch is not told.
func (p Point) Exact() string {
	switch {
	case p.Version != 0:
		return strconv.FormatUint(uint64(p.Version), 10)
	case !p.Time.IsZero():
		return p.Time.Format(time.RFC3339)
	}
	return "now"
}

// IsZero tells whether it is now.
func (p Point) IsZero() bool { return p.Version == 0 && p.Time.IsZero() }

// layouts are the forms of a local time; what is left out is 0, without a date it
// is today.
var layouts = []string{
	"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
	"15:04:05", "15:04",
}

// ParsePoint reads a version ("1200000"), Unix seconds ("@1700000000"), a time
// with its zone (RFC 3339) or a local one ("2006-01-02 15:04:05", also without
// seconds, time or date), or "now".
func ParsePoint(text string, now time.Time) (Point, error) {
	if text == "now" {
		return Point{}, nil
	}
	if v, err := strconv.ParseUint(text, 10, 64); err == nil && v > 0 {
		return Point{Version: meta.Version(v)}, nil
	}
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		if s, err := strconv.ParseInt(seconds, 10, 64); err == nil && s >= 0 {
			return Point{Time: time.Unix(s, 0)}, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return Point{Time: t}, nil
	}
	for _, layout := range layouts {
		t, err := time.ParseInLocation(layout, text, now.Location())
		if err != nil {
			continue
		}
		if !strings.HasPrefix(layout, "2006") {
			y, m, d := now.Date()
			t = time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, now.Location())
		}
		return Point{Time: t}, nil
	}
	return Point{}, fmt.Errorf("%q is neither a version nor a time: write 1200000, @1700000000, 2006-01-02T15:04:05Z, or 2006-01-02 15:04:05 for local time", text)
}

// Place is where a point is: behind a base image, by entries.
type Place struct {
	Base    stream.Base
	Version meta.Version
}

// Locate finds a point. The entries of the place need not all be there; Build
// finds out. tell, which may be nil, is told how many entries were read.
func Locate(ctx context.Context, src Source, p Point, tell func(entries int64)) (Place, error) {
	bases, err := src.Bases(ctx)
	if err != nil {
		return Place{}, err
	}
	for p.Epoch != 0 && len(bases) > 0 && bases[len(bases)-1].Epoch > p.Epoch {
		bases = bases[:len(bases)-1]
	}
	if len(bases) == 0 {
		return Place{}, errors.New("there is no base image to start from")
	}
	end, err := src.End(ctx)
	if err != nil {
		return Place{}, err
	}
	if p.Epoch == 0 && p.Version > end.Version {
		return Place{}, fmt.Errorf("version %d is not there yet: the history ends at %d", p.Version, end.Version)
	}
	switch {
	case !p.Time.IsZero():
		return locateTime(ctx, src, bases, end, p, tell)
	case p.Version == 0:
		p.Version = end.Version
	}
	for i := len(bases) - 1; i >= 0; i-- {
		if bases[i].Version <= p.Version {
			return Place{bases[i], p.Version}, nil
		}
	}
	return Place{}, fmt.Errorf("version %d is no longer there: the oldest base image is of version %d", p.Version, bases[0].Version)
}

// locateTime looks from the newest base image back, because clocks may go back,
// too: the last entry that is not later decides.
func locateTime(ctx context.Context, src Source, bases []stream.Base, end stream.Position, p Point, tell func(int64)) (Place, error) {
	limit := meta.Time(min(max(p.Time.Unix(), 0), int64(^meta.Time(0))))
	to, read := end.Version, int64(0)
	if p.Epoch != 0 {
		to = ^meta.Version(0)
	}
	var oldest meta.Time
	for i := len(bases) - 1; i >= 0; i-- {
		var found meta.Version
		err := eachEntry(ctx, src, bases[i].Position(), to, func(e meta.RawEntry) {
			t := e.Time()
			if t <= limit {
				found = e.Version + 1
			}
			if e.Version == bases[i].Version {
				oldest = t
			}
			if read++; tell != nil {
				tell(read)
			}
		})
		if err != nil {
			return Place{}, err
		}
		if found != 0 {
			return Place{bases[i], found}, nil
		}
		to = bases[i].Version
	}
	if oldest == 0 {
		return Place{}, fmt.Errorf("there are no entries, only the base image of version %d", bases[0].Version)
	}
	return Place{}, fmt.Errorf("%v is too long ago: the first entry behind the oldest base image, of version %d, is of %v",
		p, bases[0].Version, time.Unix(int64(oldest), 0).Format(time.RFC3339))
}

// eachEntry calls do for the entries from a position up to a version, as far as
// they are there.
func eachEntry(ctx context.Context, src Source, pos stream.Position, to meta.Version, do func(meta.RawEntry)) error {
	if pos.Version >= to {
		return nil
	}
	r := src.Reader(pos)
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) || broken(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range b.Entries {
			if e.Version >= to {
				return nil
			}
			do(e)
		}
	}
}
