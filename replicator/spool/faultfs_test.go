package spool

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
)

var (
	errInjected = errors.New("injected: no space left on device")
	errPower    = errors.New("injected: power is off")
)

// memFS is a directory in memory whose n-th change fails, and which can lose
// its power.
type memFS struct {
	mu     sync.Mutex
	files  map[string]*memData
	names  map[string]*memData // what a loss of power leaves of files
	locked bool

	calls  int  // changes so far: writes, truncates, syncs, creates, removes
	failAt int  // this call fails; 0: none
	power  bool // the failing call is a loss of power: nothing works afterwards
	off    bool
}

type memData struct{ now, synced []byte }

func newMemFS() *memFS {
	return &memFS{files: map[string]*memData{}, names: map[string]*memData{}}
}

// change counts a call that changes something.
func (m *memFS) change() error {
	if m.off {
		return errPower
	}
	if m.calls++; m.calls != m.failAt {
		return nil
	}
	if m.power {
		m.off = true
		return errPower
	}
	return errInjected
}

// afterPowerLoss is what a disk may hold then: of names and of contents that
// were not synced, any may be there or not, contents also in part or as zeros.
func (m *memFS) afterPowerLoss(rnd *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := newMemFS()
	for name := range union(m.files, m.names) {
		now, was := m.files[name], m.names[name]
		d := was
		if now != was && rnd.IntN(2) == 0 {
			d = now
		}
		if d == nil {
			continue
		}
		content := tear(d, rnd)
		after.files[name] = &memData{now: content, synced: slices.Clone(content)}
		after.names[name] = after.files[name]
	}
	return after
}

// tear makes up what is left of a file.
func tear(d *memData, rnd *rand.Rand) []byte {
	content := slices.Clone(d.synced)
	if len(d.now) < len(content) { // cut, and that was not synced
		if rnd.IntN(2) == 0 {
			content = content[:len(d.now)]
		}
		return content
	}
	more := slices.Clone(d.now[len(content):])
	switch rnd.IntN(5) {
	case 0:
		more = nil
	case 1:
		more = more[:rnd.IntN(len(more)+1)]
	case 2: // the size is there, some of the content is not
		if len(more) > 0 {
			at := rnd.IntN(len(more))
			clear(more[at:min(len(more), at+1+rnd.IntN(200))])
		}
	case 3:
		clear(more)
	}
	return append(content, more...)
}

func union(a, b map[string]*memData) map[string]bool {
	u := map[string]bool{}
	for k := range a {
		u[k] = true
	}
	for k := range b {
		u[k] = true
	}
	return u
}

func (m *memFS) Path(name string) string { return "mem/" + name }

func (m *memFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change(); err != nil {
		return nil, err
	}
	if m.files[name] != nil {
		return nil, fs.ErrExist
	}
	m.files[name] = &memData{}
	return &memFile{m: m, d: m.files[name]}, nil
}

func (m *memFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.files[name]; d != nil && !m.off {
		return &memFile{m: m, d: d}, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change(); err != nil {
		return err
	}
	delete(m.files, name)
	return nil
}

func (m *memFS) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		names = append(names, name)
	}
	return names, nil
}

func (m *memFS) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change(); err != nil {
		return err
	}
	clear(m.names)
	for name, d := range m.files {
		m.names[name] = d
	}
	return nil
}

func (m *memFS) Lock() (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return nil, errors.New("another process has the spool open")
	}
	m.locked = true
	return m, nil
}

func (m *memFS) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.locked = false
	return nil
}

type memFile struct {
	m *memFS
	d *memData
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if off >= int64(len(f.d.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.d.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.m.change()
	if err != nil {
		p = p[:len(p)/2] // half of it is written all the same
	}
	if need := int(off) + len(p); need > len(f.d.now) {
		f.d.now = append(f.d.now, make([]byte, need-len(f.d.now))...)
	}
	return copy(f.d.now[off:], p), err
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.change(); err != nil {
		return err
	}
	f.d.now = f.d.now[:size:size]
	return nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.change(); err != nil {
		return err
	}
	f.d.synced = slices.Clone(f.d.now)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.d.now)), nil
}

func (f *memFile) Close() error { return nil }
