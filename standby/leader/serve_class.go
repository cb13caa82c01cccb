package leader

import (
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// classDef reads a storage class of a packet.
func classDef(c *wire.Class) changelog.ClassDef {
	at := 0
	labels := func(count uint8) []meta.LabelMasks {
		list := make([]meta.LabelMasks, count)
		for i := range list {
			for j := range list[i] {
				list[i][j] = c.Labels.At(at)
				at++
			}
		}
		return list
	}
	return changelog.ClassDef{AdminOnly: c.AdminOnly, Mode: c.Mode, ArchDelay: c.ArchDelay,
		Create: labels(c.Create), Keep: labels(c.Keep), Arch: labels(c.Archive)}
}

// classOf puts a storage class into the form of packets.
func classOf(c *meta.Class) wire.Class {
	p := wire.Class{AdminOnly: c.AdminOnly, Mode: c.Mode, ArchDelay: c.ArchDelay,
		Create: uint8(len(c.Create)), Keep: uint8(len(c.Keep)), Archive: uint8(len(c.Arch))}
	var masks []uint32
	for _, labels := range [...][]meta.LabelMasks{c.Create, c.Keep, c.Arch} {
		for i := range labels {
			masks = append(masks, labels[i][:]...)
		}
	}
	p.Labels = wire.PackNumbers(masks...)
	return p
}

// notAdmin answers a request that only administrators may make, without a look
// at more than its number, as mfsmaster does.
func (s *serving) notAdmin(number wire.Type) (refused bool, err error) {
	if s.Params.Flags&changelog.SessionAdmin != 0 {
		return false, nil
	}
	id := s.d.U32()
	if err := s.d.Err(); err != nil {
		return true, err
	}
	return true, s.status(number, id, meta.ENOTADMIN)
}

func (s *serving) createClass(number wire.Type) error {
	if refused, err := s.notAdmin(number); refused {
		return err
	}
	var p wire.CreateClass
	if err := p.Decode(s.d); err != nil {
		return err
	}
	if p.Form != 0 {
		return s.status(number, p.MsgID, meta.EINVAL)
	}
	return s.statusOnly(number, p.MsgID, s.callerOf(0, nil), &changelog.ClassCreateRequest{Name: p.Name, Def: classDef(&p.Class)})
}

func (s *serving) changeClass(number wire.Type) error {
	var p wire.ChangeClass
	if err := p.Decode(s.d); err != nil {
		return err
	}
	if p.Form != 0 {
		return s.status(number, p.MsgID, meta.EINVAL)
	}
	c := s.callerOf(0, nil)
	_, status := s.Do(&c, &changelog.ClassChangeRequest{Name: p.Name, Mask: p.Changes, Def: classDef(&p.Class)})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	for _, class := range s.st.Classes.Scan(0) {
		if class.Name == string(p.Name) {
			reply := wire.ClassReply{MsgID: p.MsgID, Class: classOf(&class)}
			reply.Append(s.out)
			return nil
		}
	}
	return s.status(number, p.MsgID, meta.ENOSUCHCLASS)
}

// classNames carries out a request with names of storage classes.
func (s *serving) classNames(number wire.Type, request func(p *wire.ClassNames) changelog.Request) error {
	if refused, err := s.notAdmin(number); refused {
		return err
	}
	var p wire.ClassNames
	if err := p.Decode(s.d, number); err != nil {
		return err
	}
	return s.statusOnly(number, p.MsgID, s.callerOf(0, nil), request(&p))
}

func (s *serving) deleteClass(number wire.Type) error {
	return s.classNames(number, func(p *wire.ClassNames) changelog.Request {
		return &changelog.ClassDeleteRequest{Name: p.From}
	})
}

func (s *serving) copyClass(number wire.Type) error {
	return s.classNames(number, func(p *wire.ClassNames) changelog.Request {
		return &changelog.ClassCopyRequest{Src: p.From, Dst: p.To}
	})
}

func (s *serving) renameClass(number wire.Type) error {
	return s.classNames(number, func(p *wire.ClassNames) changelog.Request {
		return &changelog.ClassRenameRequest{Old: p.From, New: p.To}
	})
}
