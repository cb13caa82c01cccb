package changelog

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// MismatchError tells that an entry's own result differs from what it gave on
// this state: the state is not the one in which the primary wrote the entry.
type MismatchError struct {
	What string // what was compared: "inode", "chunk", "changed inodes"
	Want any    // the primary's value, from the entry
	Got  any    // the value here
}

// Error gives what was compared and both values.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is %v, primary had %v", e.What, e.Got, e.Want)
}

// ApplyError tells which entry could not be applied, and why. The State is
// void after it; what was there before the entry has to be taken from storage.
type ApplyError struct {
	Version meta.Version // of the entry
	Text    string       // the entry, without its version
	Err     error        // a *MismatchError, an error that wraps a meta.Status, or one of storage
}

// Error gives version, text and cause.
func (e *ApplyError) Error() string {
	return fmt.Sprintf("entry %d: %s: %v", e.Version, e.Text, e.Err)
}

// Unwrap gives the cause.
func (e *ApplyError) Unwrap() error { return e.Err }

// ApplyEntry changes st, which must be at e.Version, into the state after e.
// The caller keeps count of versions. The error is an *ApplyError.
func ApplyEntry(st *meta.State, e Entry) error {
	err := refuseNewer(st, e.Op)
	if err == nil {
		err = e.Op.Apply(st, e.Time)
	}
	if stored := st.Err(); stored != nil {
		err = stored // what storage lost may have led to any other error
	}
	if err == nil {
		return nil
	}
	return &ApplyError{Version: e.Version, Text: string(Append(nil, e.Time, e.Op)), Err: err}
}

// Originate is ApplyEntry for an entry that comes into being here: op's results
// are not compared but written. They are part of the entry from then on.
func Originate(st *meta.State, e Entry) error {
	st.Originate = true
	defer func() { st.Originate = false }()
	return ApplyEntry(st, e)
}

// settle compares a result of an entry with what it gave here, or writes it if
// the entry comes into being.
func settle[T comparable](st *meta.State, what string, result *T, got T) error {
	if st.Originate {
		*result = got
		return nil
	}
	return match(what, *result, got)
}

// match compares a result of an entry with what it gave here.
func match[T comparable](what string, want, got T) error {
	if want == got {
		return nil
	}
	return &MismatchError{What: what, Want: want, Got: got}
}

// inodeError tells what is wrong with a node.
func inodeError(ino meta.Inode, status meta.Status) error {
	return fmt.Errorf("inode %d: %w", ino, status)
}

// nameError tells what is wrong with a name in a directory.
func nameError(parent meta.Inode, name []byte, status meta.Status) error {
	return fmt.Errorf("name %q in inode %d: %w", name, parent, status)
}

// chunkError tells what is wrong with a chunk.
func chunkError(id meta.ChunkID, status meta.Status) error {
	return fmt.Errorf("chunk %d: %w", id, status)
}

// slotError tells what is wrong with a place in a file's chunk table.
func slotError(ino meta.Inode, index uint32, status meta.Status) error {
	return fmt.Errorf("chunk index %d of inode %d: %w", index, ino, status)
}

// editNode returns a node to change.
func editNode(st *meta.State, ino meta.Inode) (*meta.Node, error) {
	n, ok := st.Nodes.Edit(ino)
	if !ok {
		return nil, inodeError(ino, meta.ENOENT)
	}
	return n, nil
}

// editDir returns the node of a directory to change; of another type it is an
// error with the given status.
func editDir(st *meta.State, ino meta.Inode, otherwise meta.Status) (*meta.Node, error) {
	n, err := editNode(st, ino)
	if err == nil && n.Type != meta.TypeDir {
		return nil, inodeError(ino, otherwise)
	}
	return n, err
}

// editFile returns the node of a file (in trash or sustained too) to change;
// of another type it is an error with the given status.
func editFile(st *meta.State, ino meta.Inode, otherwise meta.Status) (*meta.Node, error) {
	n, err := editNode(st, ino)
	if err == nil && !n.Type.IsFile() {
		return nil, inodeError(ino, otherwise)
	}
	return n, err
}

// checkName tells whether a directory may hold a name.
func checkName(parent meta.Inode, name []byte) error {
	valid := len(name) > 0 && len(name) <= meta.MaxName && string(name) != "." && string(name) != ".."
	for _, c := range name {
		valid = valid && c != 0 && c != '/'
	}
	if !valid {
		return nameError(parent, name, meta.EINVAL)
	}
	return nil
}
