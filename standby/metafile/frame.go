package metafile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"mfsstandby/changelog/meta"
)

// The file is a signature (8 bytes), a header (16), sections (each with a
// header of 16 bytes) and the end marker (16).
const (
	signature     = "MFSM 2.0"
	signatureNew  = "MFSM NEW"
	endMarker     = "[MFS EOF MARKER]"
	headerSize    = 16
	headEnd       = int64(len(signature) + headerSize)
	unknownLength = ^uint64(0) // a section whose writer could not seek back
	formatOldest  = 0x15       // of release 1.5 and 1.6; older ones are not read
	formatMarked  = 0x16       // first format with section headers, which ends in the end marker
	formatCurrent = 0x20       // first format with a metaid
)

// Header is what a metadata file says about itself.
type Header struct {
	Format  uint8        // of the frame: 0x20 is "2.0"; 0 is a "MFSM NEW" file
	Version meta.Version // number of the next changelog entry
	MetaID  uint64       // identity of the cluster, 0 if it has none yet

	// What only files before format 2.0 have in their header.
	MaxInode    meta.Inode
	NextSession meta.SessionID
}

// FormatError tells where a metadata file cannot be accepted, and why.
type FormatError struct {
	Name    string // of the file
	Section string // "NODE 1.4"; empty between sections
	Offset  int64  // of the record, in bytes from the start of the file
	Record  uint64 // number of the record in its section, from 1; 0 is not in a record
	Err     error
}

// Error gives file, section, offset, record and problem.
func (e *FormatError) Error() string {
	where := fmt.Sprintf("at byte %d", e.Offset)
	if e.Record > 0 {
		where = fmt.Sprintf("record %d at byte %d", e.Record, e.Offset)
	}
	if e.Section != "" {
		where = "section " + e.Section + ", " + where
	}
	return fmt.Sprintf("%s: %s: %v", e.Name, where, e.Err)
}

// Unwrap returns the problem without its place.
func (e *FormatError) Unwrap() error { return e.Err }

// ErrNew is the problem of a "MFSM NEW" file: it holds nothing yet. Its root
// directory gets its times when a master starts on it.
var ErrNew = errors.New("is the mark for an empty new file system (MFSM NEW): start mfsmaster on it once, then use the file it stores")

// section is one kind of section: its name, the oldest version that is read,
// the ones that 3.0.117 and 4.59.2 write (0 is none), and what can be done with
// it. While a body is read, input.version tells which one it is.
type section struct {
	name    string
	oldest  uint8
	version uint8
	modern  uint8
	load    func(*loader) error
	write   func(*output, *meta.State) error
	dump    func(*dumper) error
	compare func(*comparer) error
}

// sections are in the order in which a master writes them, which satisfies
// what they need of each other.
var sections = [...]section{
	{"SESS", 0x10, 0x15, 0x16, (*loader).sessions, writeSessions, dumpSessions, compareSessions},
	{"SCLA", 0x10, 0x16, 0x1C, (*loader).classes, writeClasses, dumpClasses, compareClasses},
	{"PATT", 0x10, 0, 0x11, (*loader).patterns, writePatterns, dumpPatterns, comparePatterns},
	{"NODE", 0x10, 0x14, 0x14, (*loader).nodes, writeNodes, dumpNodes, compareNodes},
	{"EDGE", 0x10, 0x11, 0x11, (*loader).edges, writeEdges, dumpEdges, compareEdges},
	{"FREE", 0x10, 0x10, 0x10, (*loader).free, writeFree, dumpFree, compareFree},
	{"QUOT", 0x10, 0x11, 0x11, (*loader).quotas, writeQuotas, dumpQuotas, compareQuotas},
	{"XATR", 0x10, 0x10, 0x10, (*loader).xattrs, writeXattrs, dumpXattrs, compareXattrs},
	{"PACL", 0x10, 0x11, 0x11, (*loader).acls, writeACLs, dumpACLs, compareACLs},
	{"OPEN", 0x10, 0x10, 0x10, (*loader).open, writeOpen, dumpOpen, compareOpen},
	{"FLCK", 0x10, 0x10, 0x10, (*loader).flocks, writeFlocks, dumpFlocks, compareFlocks},
	{"PLCK", 0x10, 0x10, 0x10, (*loader).plocks, writePlocks, dumpPlocks, comparePlocks},
	{"CSDB", 0x10, 0x13, 0x13, (*loader).servers, writeServers, dumpServers, compareServers},
	{"CHNK", 0x10, 0x11, 0x12, (*loader).chunks, writeChunks, dumpChunks, compareChunks},
}

// written returns the version that a release writes, 0 if it has no such
// section.
func (s *section) written(r meta.Release) uint8 {
	if r.Since(meta.Release4) {
		return s.modern
	}
	return s.version
}

// modernVersion tells whether only 4.x writes this version of the section.
func (s *section) modernVersion(version uint8) bool { return version > s.version }

// ReadHeader makes the quick check by which a master chooses among metadata
// files: signature, header and the end marker. It reads 40 bytes.
func ReadHeader(r io.ReaderAt, size int64) (Header, error) {
	var b [8 + headerSize]byte
	n, err := r.ReadAt(b[:min(int64(len(b)), max(size, 0))], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Header{}, fmt.Errorf("reading the header: %w", err)
	}
	if n >= len(signatureNew) && string(b[:8]) == signatureNew {
		return Header{Version: 1}, nil
	}
	if n < len(b) {
		return Header{}, fmt.Errorf("not a metadata file: %d bytes, the header alone has %d: %w", n, len(b), io.ErrUnexpectedEOF)
	}
	format, err := parseSignature(b[:8])
	if err != nil {
		return Header{}, err
	}
	h := parseHeader(format, b[8:])
	var end, want [headerSize]byte
	if format >= formatMarked {
		copy(want[:], endMarker)
	}
	if _, err := r.ReadAt(end[:], size-headerSize); err != nil && !errors.Is(err, io.EOF) {
		return Header{}, fmt.Errorf("reading the end marker: %w", err)
	}
	if end != want {
		return Header{}, fmt.Errorf("wrong ending %q instead of %q: the file is cut short or something was appended", end[:], want[:])
	}
	return h, nil
}

// ReadHeaderFile is ReadHeader of a named file.
func ReadHeaderFile(path string) (Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return Header{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Header{}, err
	}
	h, err := ReadHeader(f, info.Size())
	if err != nil {
		return Header{}, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// parseSignature returns the frame's format from "MFSM x.y".
func parseSignature(b []byte) (uint8, error) {
	if !bytes.Equal(b[:5], []byte("MFSM ")) || b[5] < '1' || b[5] > '9' || b[6] != '.' || b[7] < '0' || b[7] > '9' {
		return 0, fmt.Errorf("wrong signature %q: not a metadata file of MooseFS", b)
	}
	return (b[5]-'0')<<4 + b[7] - '0', nil
}

func parseHeader(format uint8, b []byte) Header {
	if format < formatCurrent {
		return parseOldHeader(format, b)
	}
	return Header{Format: format, Version: meta.Version(binary.BigEndian.Uint64(b)), MetaID: binary.BigEndian.Uint64(b[8:])}
}

// readHead reads signature and header from the start of a file.
func (in *input) readHead() (Header, error) {
	b := in.next(len(signature))
	if b == nil {
		return Header{}, in.err
	}
	if string(b) == signatureNew {
		return Header{Version: 1}, in.problem(ErrNew)
	}
	format, err := parseSignature(b)
	if err != nil {
		return Header{}, in.problem(err)
	}
	if format < formatOldest {
		return Header{}, in.failf("format %d.%d is not supported (written by a release before 1.5)", format>>4, format&0xF)
	}
	if b = in.next(headerSize); b == nil {
		return Header{}, in.err
	}
	in.format = format
	return parseHeader(format, b), nil
}

// eachSection reads section headers up to the end marker and the end of the
// file, and calls visit to consume each body.
func (in *input) eachSection(visit func(s *section, head []byte, length uint64) error) error {
	if in.format != 0 && in.format < formatMarked {
		return in.eachBareSection(visit)
	}
	var seen [len(sections)]bool
	for {
		in.enter("")
		b := in.next(headerSize)
		if b == nil {
			return in.err
		}
		if string(b) == endMarker {
			return in.expectEnd()
		}
		head := bytes.Clone(b)
		length := binary.BigEndian.Uint64(head[8:])
		i, version, err := in.findSection(head)
		if err != nil {
			return err
		}
		if i >= 0 && seen[i] {
			return in.failf("section %.8s comes twice", head)
		}
		in.enter(string(head[:8]))
		in.version = version
		if err := in.limitTo(length); err != nil {
			return err
		}
		if i < 0 {
			if err := in.skipSection(length); err != nil {
				return err
			}
			continue
		}
		seen[i] = true
		if err := visit(&sections[i], head, length); err != nil {
			return err
		}
		if err := in.unlimit(length); err != nil {
			return err
		}
	}
}

// findSection returns the index and the version of the section that a header
// announces, or -1 if it is to be passed over. Only the digits of the version
// are looked at, as mfsmaster does.
func (in *input) findSection(head []byte) (index int, version uint8, err error) {
	version = (head[5]-'0')&0xF<<4 + (head[7]-'0')&0xF
	name := string(head[:4])
	switch name {
	case "LABS": // what SCLA was called before 3.0.75
		name = "SCLA"
	case "LOCK": // of 1.7; all later releases before 3.0 pass over it too
		if version == 0x10 && in.format < formatCurrent {
			return -1, version, nil
		}
	}
	for i := range sections {
		s := &sections[i]
		if name != s.name {
			continue
		}
		if version >= s.oldest && version <= s.modern {
			return i, version, nil
		}
		by := "a release after 4.59.2"
		if version < s.oldest {
			by = "no release that is known"
		}
		return 0, 0, in.failf("section %q is not supported (written by %s)", head[:8], by)
	}
	return 0, 0, in.failf("unknown section %q", head[:8])
}
