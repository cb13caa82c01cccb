package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// Names in the directory. Those of the stock master are as it has them.
const (
	metadataName = "metadata.mfs.back"
	metadataTemp = "metadata.mfs.back.tmp"
	crcName      = "metadata.crc"
	markName     = ".mfsstandby-position"
	asideName    = "superseded" // directory for files of a history that does not count any more
)

func changelogName(n int) string { return fmt.Sprintf("changelog.%d.mfs", n) }

// journal is the changelog files of a directory, changelog.0.mfs the newest. They
// are derived from the stream: what is on the disk for sure is written down now
// and then (mark), and after a crash everything behind that is compared with the
// stream, and taken from it where it differs or lacks.
type journal struct {
	dir  string
	keep int // files beside changelog.0.mfs

	// crash, in tests, is called before each step that changes the disk.
	crash func(step string) error

	mu     sync.Mutex // held while files change or are opened; guards what follows
	file   *os.File   // changelog.0.mfs; nil: there is none
	size   int64      // bytes of it that are entries of the stream
	beyond int64      // bytes behind those, of an earlier process: not compared yet
	pos    stream.Position
	marked mark
	buf    []byte
}

// mark says which part of the files is durable.
type mark struct {
	MetaID   uint64          `json:"metaid"`
	Position stream.Position `json:"position"`
	Offset   int64           `json:"offset"` // of Position in changelog.0.mfs; 0 if there is no such file
}

// Why the files of a directory cannot be continued.
var (
	errNoFiles = errors.New("there are no files yet")
	// ErrForeignFiles: the directory is somebody else's.
	ErrForeignFiles = errors.New("the directory has metadata or changelog files of somebody else: give another")
	errUnfit        = errors.New("the files are not as they were left")
)

// openJournal continues the files of a directory. The error is errNoFiles,
// ErrForeignFiles, or wraps errUnfit, if that cannot be; then begin is possible
// but for ErrForeignFiles.
func openJournal(dir string, metaid uint64, keep int) (*journal, error) {
	j := &journal{dir: dir, keep: keep}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return j, err
	}
	text, err := os.ReadFile(j.path(markName))
	if errors.Is(err, fs.ErrNotExist) {
		own, err := j.stockFiles()
		if err == nil && len(own) > 0 {
			return j, fmt.Errorf("%s: %w", dir, ErrForeignFiles)
		}
		return j, errors.Join(err, errNoFiles)
	}
	if err != nil {
		return j, err
	}
	if err := json.Unmarshal(text, &j.marked); err != nil {
		return j, fmt.Errorf("%w: %s: %w", errUnfit, markName, err)
	}
	if j.marked.MetaID != metaid {
		return j, fmt.Errorf("%w: they are of cluster %016X", errUnfit, j.marked.MetaID)
	}
	return j, j.resume()
}

// resume opens changelog.0.mfs where the mark says.
func (j *journal) resume() error {
	m := &j.marked
	j.pos, j.size = m.Position, m.Offset
	f, err := os.OpenFile(j.path(changelogName(0)), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		j.size = 0 // the process died in the midst of a rotation, which begins with a mark
		return nil
	}
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil && st.Size() < m.Offset {
		err = fmt.Errorf("%w: %s has %d bytes of %d", errUnfit, changelogName(0), st.Size(), m.Offset)
	}
	if err == nil && m.Offset > 0 {
		err = endsWith(f, m.Offset, m.Position.Version-1)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.beyond = f, st.Size()-m.Offset
	return nil
}

// longestLine is more than the longest line of a changelog has.
const longestLine = 210_000

// endsWith tells whether the line that ends at an offset is that of an entry.
func endsWith(f *os.File, offset int64, last meta.Version) error {
	line := make([]byte, min(offset, longestLine))
	if _, err := f.ReadAt(line, offset-int64(len(line))); err != nil {
		return err
	}
	line, ok := bytes.CutSuffix(line, []byte("\n"))
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	if !ok || !bytes.HasPrefix(line, []byte(strconv.FormatUint(uint64(last), 10)+": ")) {
		return fmt.Errorf("%w: entry %d does not end at byte %d of %s", errUnfit, last, offset, filepath.Base(f.Name()))
	}
	return nil
}

func (j *journal) path(name string) string { return filepath.Join(j.dir, name) }

// do changes something on the disk.
func (j *journal) do(what string, change func() error) error {
	if j.crash != nil {
		if err := j.crash(what); err != nil {
			return err
		}
	}
	return change()
}

// stockFiles lists what a stock mfsmaster might load.
func (j *journal) stockFiles() ([]string, error) {
	entries, err := os.ReadDir(j.dir)
	var names []string
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, "metadata") || strings.HasPrefix(n, "changelog") {
			names = append(names, n)
		}
	}
	return names, err
}

// begin starts anew at a position. What is there is put aside: a stock master
// would take it for the same history.
func (j *journal) begin(metaid uint64, pos stream.Position) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.closeFile(); err != nil {
		return err
	}
	names, err := j.stockFiles()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		aside := j.path(asideName)
		if err := errors.Join(os.RemoveAll(aside), os.Mkdir(aside, 0o755)); err != nil {
			return err
		}
		for _, n := range names {
			if err := j.do("put aside", func() error { return os.Rename(j.path(n), filepath.Join(aside, n)) }); err != nil {
				return err
			}
		}
	}
	j.size, j.beyond, j.pos = 0, 0, pos
	return j.mark(metaid)
}

// mark writes down how far the files are durable; they must be.
func (j *journal) mark(metaid uint64) error {
	m := mark{MetaID: metaid, Position: j.pos, Offset: j.size}
	text, err := json.Marshal(&m)
	if err != nil {
		return err
	}
	tmp := j.path(markName + ".tmp")
	err = j.do("write the mark", func() error { return writeSynced(tmp, append(text, '\n')) })
	if err == nil {
		err = j.do("rename the mark", func() error { return os.Rename(tmp, j.path(markName)) })
	}
	if err != nil {
		return err
	}
	j.marked = m
	return syncDir(j.dir)
}

func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// position is where the files end.
func (j *journal) position() stream.Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pos
}

// append adds entries, which continue the files and end at a position. After an
// error it may be tried again.
func (j *journal) append(entries []meta.RawEntry, end stream.Position) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(entries) == 0 {
		j.pos = end // another epoch
		return nil
	}
	b := j.buf[:0]
	for _, e := range entries {
		b = strconv.AppendUint(b, uint64(e.Version), 10)
		b = append(b, ": "...)
		b = append(b, e.Text...)
		b = append(b, '\n')
	}
	j.buf = b
	if err := j.write(b); err != nil {
		return fmt.Errorf("writing entries %d to %d: %w", j.pos.Version, end.Version-1, err)
	}
	j.pos = end
	return nil
}

// write makes b what follows in changelog.0.mfs.
func (j *journal) write(b []byte) error {
	if j.file == nil {
		f, err := os.OpenFile(j.path(changelogName(0)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		j.file = f
	}
	if same, err := j.matches(b); err != nil || same {
		return err
	}
	if err := j.cut(); err != nil {
		return err
	}
	err := j.do("write", func() error {
		n, err := j.file.WriteAt(b, j.size)
		if err != nil {
			j.beyond = int64(n)
		}
		return err
	})
	if err != nil {
		return errors.Join(err, j.cut()) // whoever reads the file beside this sees whole lines
	}
	j.size += int64(len(b))
	return nil
}

// matches takes b as written if the file has it already.
func (j *journal) matches(b []byte) (bool, error) {
	if j.beyond < int64(len(b)) {
		return false, nil
	}
	have := make([]byte, len(b))
	if _, err := j.file.ReadAt(have, j.size); err != nil {
		return false, err
	}
	if !bytes.Equal(have, b) {
		return false, nil
	}
	j.size += int64(len(b))
	j.beyond -= int64(len(b))
	return true, nil
}

// cut takes away what is behind the entries of the stream.
func (j *journal) cut() error {
	if j.beyond == 0 {
		return nil
	}
	if err := j.do("cut", func() error { return j.file.Truncate(j.size) }); err != nil {
		return err
	}
	j.beyond = 0
	return nil
}

// settle takes away what the stream does not have, once its end was reached.
func (j *journal) settle() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cut()
}

// checkpoint makes the files durable.
func (j *journal) checkpoint() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.sync()
}

func (j *journal) sync() error {
	if j.pos == j.marked.Position && j.size == j.marked.Offset && j.beyond == 0 {
		return nil
	}
	if j.file != nil {
		if err := j.do("sync", j.file.Sync); err != nil {
			return err
		}
		if j.marked.Offset == 0 { // its name is new
			if err := syncDir(j.dir); err != nil {
				return err
			}
		}
	}
	return j.mark(j.marked.MetaID)
}

// rotate makes changelog.N.mfs of changelog.N-1.mfs. The next entry begins
// another changelog.0.mfs. It returns the version of that entry.
func (j *journal) rotate() (meta.Version, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.cut()
	if err == nil {
		err = j.sync()
	}
	if err == nil {
		err = j.closeFile()
	}
	if err != nil {
		return 0, err
	}
	if err := j.shift(); err != nil {
		return 0, errors.Join(err, j.resume()) // changelog.0.mfs, if it is still there
	}
	j.size = 0
	if err := syncDir(j.dir); err != nil {
		return 0, err
	}
	return j.pos.Version, j.mark(j.marked.MetaID)
}

// shift gives each file the next number. The last one goes first, so that a
// crash leaves a hole in the numbers and every file.
func (j *journal) shift() error {
	if j.keep == 0 {
		return present(j.do("remove", func() error { return os.Remove(j.path(changelogName(0))) }))
	}
	for n := j.keep; n > 0; n-- {
		err := present(j.do("rotate", func() error { return os.Rename(j.path(changelogName(n-1)), j.path(changelogName(n))) }))
		if err != nil {
			return err
		}
	}
	return nil
}

// present lets pass that a file is not there.
func present(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (j *journal) closeFile() error {
	if j.file == nil {
		return nil
	}
	f := j.file
	j.file, j.size, j.beyond = nil, 0, 0
	return f.Close()
}

// close makes the files durable and lets go of them.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.sync(), j.closeFile())
}

// firstVersion reads the version of the first entry of a changelog file, 0 if
// there is none.
func firstVersion(f *os.File, size int64) meta.Version {
	head := make([]byte, min(size, 32))
	if _, err := f.ReadAt(head, 0); err != nil {
		return 0
	}
	number, _, ok := bytes.Cut(head, []byte(":"))
	v, err := strconv.ParseUint(string(number), 10, 64)
	if !ok || err != nil {
		return 0
	}
	return meta.Version(v)
}
