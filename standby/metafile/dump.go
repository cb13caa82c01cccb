package metafile

import (
	"errors"
	"fmt"
	"io"

	"mfsstandby/changelog/meta"
)

// DumpOptions are optional.
type DumpOptions struct {
	Name     string           // of the file, for error messages
	Size     int64            // of the file in bytes, 0 if not known
	Progress func(done int64) // called now and then with the bytes read so far

	// Misread prints some things as mfsmetadump does, which takes the high half
	// of the owner of a file lock for the session and the rest for the owner,
	// class, retention and attributes of a pattern from the wrong bytes, and for
	// a class without description that of the last one that had one. Otherwise
	// they are printed right.
	Misread bool
}

// dumper prints a file.
type dumper struct {
	in  *input
	w   io.Writer
	opt DumpOptions
	t   text

	description string // the last that a class had
}

// Dump prints the metadata file r in the layout of mfsmetadump, line for line
// but for what that misreads. It checks the form of the file only, not that
// its records fit together.
func Dump(w io.Writer, r io.Reader, opt DumpOptions) error {
	d := &dumper{in: newInput(r, opt.Name, opt.Size, opt.Progress), w: w, opt: opt}
	h, err := d.in.readHead()
	if err != nil {
		return err
	}
	major, minor := '0'+h.Format>>4, '0'+h.Format&0xF
	d.t = fmt.Appendf(d.t, "# header: MFSM %c.%c (4D46534D20%02X2E%02X)\n", major, minor, major, minor)
	if h.Format < formatCurrent {
		d.t = fmt.Appendf(d.t, "# maxnodeid: %d ; version: %d ; nextsessionid: %d\n", h.MaxInode, h.Version, h.NextSession)
	} else {
		d.t = fmt.Appendf(d.t, "# version: %d ; fileid: 0x%X\n", h.Version, h.MetaID)
	}
	err = d.in.eachSection(func(s *section, head []byte, length uint64) error {
		d.rule()
		if h.Format < formatMarked {
			return s.dump(d)
		}
		d.t = fmt.Appendf(d.t, "# section header: %s (%X) ; length: %d\n", head[:8], head[:8], length)
		d.t = fmt.Appendf(d.t, "# section type: %s ; version: 0x%02X\n", head[:4], d.in.version)
		return s.dump(d)
	})
	if err != nil {
		return errors.Join(err, d.flush())
	}
	if h.Format < formatMarked {
		return d.flush()
	}
	d.rule()
	d.t.str("# MFS END OF FILE MARKER\n", "")
	d.rule()
	return d.flush()
}

// DumpState prints st as Dump would print the file that Write makes of it.
func DumpState(w io.Writer, st *meta.State, h Header, opt DumpOptions) error {
	return throughPipe(st, h, func(r io.Reader) error { return Dump(w, r, opt) })
}

// throughPipe hands the file that Write makes of st to read, which runs beside
// it and does not touch st.
func throughPipe(st *meta.State, h Header, read func(io.Reader) error) error {
	pr, pw := io.Pipe()
	done := make(chan error)
	go func() {
		err := read(pr)
		pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		done <- err
	}()
	writeErr := Write(pw, st, h, WriteOptions{})
	pw.CloseWithError(writeErr) // nil is the end of the file
	readErr := <-done
	if readErr != nil {
		return readErr // has writeErr in it if that came first
	}
	return writeErr
}

func (d *dumper) rule() {
	d.t.str("# -------------------------------------------------------------------\n", "")
}

// endLine ends a line. It returns false if printing must stop.
func (d *dumper) endLine() bool {
	d.t = append(d.t, '\n')
	if len(d.t) >= flushSize {
		d.keep(d.flush())
	}
	return d.in.err == nil
}

// keep makes an error of the writer stop the reading.
func (d *dumper) keep(err error) {
	if d.in.err == nil {
		d.in.err = err
	}
}

func (d *dumper) flush() error {
	_, err := d.w.Write(d.t)
	d.t = d.t[:0]
	return err
}
