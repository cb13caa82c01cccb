package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// Archive is the history that a directory holds, as it was when it was opened.
type Archive struct {
	d     disk
	files []Info // in the order of the history; of one version base images first
	bad   []Problem
}

// Problem is a file that is no good, or that is missing.
type Problem struct {
	File string `json:"file,omitempty"`
	Text string `json:"problem"`
}

func (p Problem) String() string {
	if p.File == "" {
		return p.Text
	}
	return p.File + ": " + p.Text
}

// Open looks what is in the directory. Files that are damaged are left out; Check
// tells which.
func Open(dir string) (*Archive, error) {
	a := &Archive{d: disk{dir: dir}}
	return a, a.load()
}

// indexFile is index.json.
type indexFile struct {
	Format int    `json:"format"`
	Files  []Info `json:"files"`
}

// index reads what was known of the files. A bad index is none.
func (a *Archive) index() map[string]Info {
	known := map[string]Info{}
	var x indexFile
	b, err := os.ReadFile(a.d.path(indexName))
	if err != nil || json.Unmarshal(b, &x) != nil || x.Format != format {
		return known
	}
	for _, info := range x.Files {
		if info.validate() == nil {
			known[info.name()] = info
		}
	}
	return known
}

func (a *Archive) load() error {
	names, err := a.d.list()
	if err != nil {
		return err
	}
	known := a.index()
	a.files, a.bad = nil, nil
	for name, size := range names {
		if !validName(name) {
			continue
		}
		info, ok := known[name]
		if !ok || size <= info.Stored || size > info.Stored+headSize+maxInfo+tailSize {
			if info, err = a.look(name, size); errors.Is(err, os.ErrNotExist) {
				continue // removed meanwhile
			} else if err != nil {
				a.bad = append(a.bad, Problem{name, err.Error()})
				continue
			}
		}
		a.files = append(a.files, info)
	}
	a.sort()
	slices.SortFunc(a.bad, func(p, q Problem) int { return cmp.Compare(p.File, q.File) })
	for _, info := range a.files {
		if info.MetaID != a.files[0].MetaID {
			return fmt.Errorf("%s holds files of clusters %016X and %016X: give each cluster a directory of its own", a.d.dir, a.files[0].MetaID, info.MetaID)
		}
	}
	return nil
}

func (a *Archive) sort() {
	slices.SortFunc(a.files, func(x, y Info) int {
		return cmp.Or(cmp.Compare(x.Epoch, y.Epoch), cmp.Compare(x.First, y.First), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Next, y.Next))
	})
}

// look reads the end of a file.
func (a *Archive) look(name string, size int64) (Info, error) {
	f, err := os.Open(a.d.path(name))
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	info, err := readEnd(f, size)
	if err == nil && info.name() != name {
		err = fmt.Errorf("%w: it says that it is %s", ErrDamaged, info.name())
	}
	return info, err
}

// MetaID is the cluster's, 0 of an empty archive.
func (a *Archive) MetaID() uint64 {
	if len(a.files) == 0 {
		return 0
	}
	return a.files[0].MetaID
}

// Bases gives the base images, oldest first in the order of the history.
func (a *Archive) Bases(context.Context) ([]stream.Base, error) {
	var bases []stream.Base
	for i := range a.files {
		if a.files[i].Kind == BaseImage {
			bases = append(bases, a.files[i].base())
		}
	}
	return bases, nil
}

// GetBase writes a base image to w. What was written is good only if there is no
// error.
func (a *Archive) GetBase(_ context.Context, b stream.Base, w io.Writer) error {
	for i := range a.files {
		if f := &a.files[i]; f.Kind == BaseImage && f.Epoch == b.Epoch && f.First == b.Version {
			return a.d.get(f, w)
		}
	}
	return fmt.Errorf("base image %d of epoch %d: %w", b.Version, b.Epoch, stream.ErrNoBase)
}

// End gives the position behind the newest entry or base image.
func (a *Archive) End(context.Context) (stream.Position, error) {
	if len(a.files) == 0 {
		return stream.Position{}, nil
	}
	last := &a.files[len(a.files)-1]
	for i := range a.files { // a base image may lie within the entries of a file
		if f := &a.files[i]; f.Epoch == last.Epoch && f.Next > last.Next {
			last = f
		}
	}
	return stream.Position{Version: last.Next, Epoch: last.Epoch, Chain: last.After}, nil
}

// Size is what the files take on the disk, about, in bytes.
func (a *Archive) Size() (n int64) {
	for i := range a.files {
		n += a.files[i].Stored
	}
	return n
}

// find gives the file that holds the entry at a position, nil if there is none:
// of the lowest epoch, not below the position's, whose entries continue there.
func (a *Archive) find(pos stream.Position) *Info {
	for i := range a.files {
		f := &a.files[i]
		if f.Kind != Entries || f.Epoch < pos.Epoch || pos.Version < f.First || pos.Version >= f.Next {
			continue
		}
		if pos.Version == f.First && !pos.Chain.IsZero() && f.Before != pos.Chain {
			continue // of another history, after a rebase
		}
		if pos.Version > f.First && f.Epoch != pos.Epoch {
			continue // it began before the position did
		}
		return f
	}
	return nil
}

// after gives the first version that there are entries or an image of behind a
// position, 0 if it is the end.
func (a *Archive) after(pos stream.Position) meta.Version {
	for i := range a.files {
		if f := &a.files[i]; f.Epoch > pos.Epoch || f.Epoch == pos.Epoch && f.First > pos.Version {
			return f.First
		}
	}
	return 0
}
