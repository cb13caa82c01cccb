package tap

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"mfsstandby/changelog/meta"
)

// Base is a metadata file that can serve as a base image.
type Base struct {
	Path    string
	Version meta.Version // the first entry not in it
	MetaID  uint64       // 0: not assigned yet, or a release before 2.0
	Size    int64        // bytes
	Empty   bool         // "MFSM NEW": a file system without anything, at version 1

	// Release is the family of releases that stored the file: 1.6, 2.0, 3.0 or
	// 4.0; 0: not known.
	Release meta.Release
}

const (
	headSize  = 24 // signature and header of a metadata file
	endMarker = "[MFS EOF MARKER]"
)

// parseHead reads the first headSize bytes of a metadata file, or fewer if it
// has fewer. oldEnd says that the file ends with 16 zero bytes instead of the
// end marker, as those of 1.5 and 1.6 do.
func parseHead(head []byte) (base Base, oldEnd bool, err error) {
	if len(head) >= 8 && string(head[:8]) == "MFSM NEW" {
		return Base{Version: 1, Empty: true}, false, nil
	}
	if len(head) < headSize {
		return base, false, fmt.Errorf("metadata file of %d bytes is too short", len(head))
	}
	if string(head[:5]) != "MFSM " || head[5]-'1' > 8 || head[6] != '.' || head[7]-'0' > 9 {
		return base, false, fmt.Errorf("not a metadata file: it starts with %q", head[:8])
	}
	if major, minor := head[5]-'0', head[7]-'0'; major == 1 {
		base.Version = meta.Version(binary.BigEndian.Uint64(head[12:]))
		base.Release = meta.Release16
		oldEnd = minor < 6
	} else {
		base.Version = meta.Version(binary.BigEndian.Uint64(head[8:]))
		base.MetaID = binary.BigEndian.Uint64(head[16:])
	}
	if base.Version == 0 {
		return base, oldEnd, fmt.Errorf("metadata file has version 0")
	}
	return base, oldEnd, nil
}

// ReadBase checks the frame of the metadata file at path: signature, header
// and end marker. An error says what is wrong with it.
func ReadBase(path string) (Base, error) {
	f, err := os.Open(path)
	if err != nil {
		return Base{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Base{}, err
	}
	head := make([]byte, min(headSize, st.Size()))
	if _, err := io.ReadFull(f, head); err != nil {
		return Base{}, fmt.Errorf("reading %s: %w", path, err)
	}
	base, oldEnd, err := parseHead(head)
	if err != nil {
		return Base{}, fmt.Errorf("%s: %w", path, err)
	}
	base.Path, base.Size = path, st.Size()
	if base.Empty {
		return base, nil
	}
	want := endMarker
	if oldEnd {
		want = string(make([]byte, len(endMarker)))
	}
	end := make([]byte, len(want))
	if st.Size() < headSize+int64(len(want)) {
		return Base{}, fmt.Errorf("%s: metadata file of %d bytes is too short", path, st.Size())
	}
	if _, err := f.ReadAt(end, st.Size()-int64(len(end))); err != nil {
		return Base{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if base.Release == 0 {
		base.Release = familyOf(f)
	}
	if string(end) != want {
		return Base{}, fmt.Errorf("%s: metadata file is cut: it ends with %q, not %q", path, end, want)
	}
	return base, nil
}

// familyOf tells from the first sections of a metadata file since format 2.0
// which releases store such files, or 0.
func familyOf(f io.ReaderAt) meta.Release {
	at := int64(headSize)
	for range 2 {
		var head [16]byte
		if _, err := f.ReadAt(head[:], at); err != nil {
			return 0
		}
		switch name := string(head[:4]); {
		case name == "SESS" && head[7] > '5':
			return meta.Release4
		case name == "SESS" && head[7] > '2', name == "LABS", name == "SCLA":
			return meta.Release3
		case name == "NODE":
			return meta.Release2
		}
		length := binary.BigEndian.Uint64(head[8:])
		if length > 1<<50 {
			return 0
		}
		at += int64(len(head)) + int64(length)
	}
	return 0
}
