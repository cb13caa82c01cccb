package server

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// figures are what only a running master knows of all chunks and disks.
type figures struct {
	Space
	chunks, copies, regular uint32 // regular: not on disks that are to be emptied
	modern                  wire.MasterChunks
}

// Lengths of MATOCL_INFO.
const (
	infoSize3 = 149 // since 3.0.74
	infoSize4 = 205 // since 4.26
)

// askPrimary asks the primary for its figures.
func (s *Server) askPrimary() (figures, bool) {
	return figuresOf(s.ask(wire.InfoMaster, nil))
}

// figuresOf reads the primary's answer.
func figuresOf(payload []byte) (f figures, ok bool) {
	if len(payload) < infoSize3 {
		return f, false
	}
	d := wire.NewDecoder(payload)
	var a wire.MasterInfo
	switch release := wire.Release(binary.BigEndian.Uint32(payload)); {
	case len(payload) == infoSize4, release < release4 && len(payload) == infoSize3:
		if a.Decode(d) != nil {
			return f, false
		}
	default:
		return f, false
	}
	f.Total, f.Avail, f.Free = a.Total, a.Avail, a.Free
	f.chunks, f.copies, f.regular, f.modern = a.Chunks, a.Copies, a.Marked, a.Modern
	if a.Release >= release4 {
		f.copies = uint32(a.Modern.Copies)
		f.regular = f.copies
	} else {
		f.modern = wire.MasterChunks{Ordinary: a.Chunks, Copies: uint64(a.Copies), Copied: uint64(a.Copies)}
	}
	return f, true
}

// readAtOnce is how many records are read under one lock of the image.
const readAtOnce = 200

// walk calls f for all records of a table, some at a time, so that neither the
// applier nor other clients wait long. f appends to e.
func walk[K comparable, V any](e *reply, seen meta.Version, table func(*meta.State) meta.Table[K, V], f func(*meta.State, K, *V)) error {
	var next K
	for more := true; more; {
		more = false
		n := 0
		err := e.srv.read(seen, func(st *meta.State, _ image.Position) error {
			for key, value := range table(st).Scan(next) {
				if n == readAtOnce {
					next, more = key, true
					return nil
				}
				f(st, key, &value)
				n++
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := e.charge(); err != nil {
			return err
		}
	}
	return nil
}
