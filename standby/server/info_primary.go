package server

import (
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// figures are what only a running master knows of all chunks and disks.
type figures struct {
	Space
	chunks, copies, regular uint32 // regular: not on disks that are to be emptied
}

// Lengths of MATOCL_INFO.
const (
	infoSize3 = 149 // since 3.0.74
	infoSize4 = 205 // 4.59.2
)

// askPrimary asks the primary for its figures.
func (s *Server) askPrimary() (figures, bool) {
	return figuresOf(s.ask(wire.InfoMaster, nil))
}

// figuresOf reads the primary's answer. What begins it is the same in all
// releases; numbers of copies are at other places, and counted otherwise, in 4.x.
func figuresOf(payload []byte) (f figures, ok bool) {
	if len(payload) < infoSize3 {
		return f, false
	}
	d := wire.NewDecoder(payload)
	release := wire.Release(d.U32())
	for range 3 {
		d.U64() // memory and processor time
	}
	f.Total, f.Avail, f.Free = d.U64(), d.U64(), d.U64()
	d.U64()
	d.U32()
	d.U64()
	for range 4 {
		d.U32()
	}
	f.chunks = d.U32()
	switch {
	case release < wire.NewRelease(4, 0, 0):
		f.copies, f.regular = d.U32(), d.U32()
	case len(payload) == infoSize4:
		d = wire.NewDecoder(payload[infoSize4-44:])
		f.copies = uint32(d.U64())
		f.regular = f.copies
	}
	return f, d.Err() == nil
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
