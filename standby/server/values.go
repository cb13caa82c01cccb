package server

import (
	"bytes"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// valueHandlers are extended attributes, ACLs, quotas, storage classes, and
// what a master tells of itself to anybody.
func valueHandlers() map[wire.Type]handler {
	return map[wire.Type]handler{
		wire.FuseGetXattr:     {states: mounted, serve: (*conn).getXattr},
		wire.FuseGetACL:       {states: mounted, serve: (*conn).getACL},
		wire.FuseQuotaControl: {states: registered, serve: (*conn).quotaControl},
		wire.ClassList:        {states: registered, serve: (*conn).classList},
		wire.GetVersion:       {states: anyState, offline: true, serve: (*conn).getVersion},
		wire.GetConfig:        {states: anyState, offline: true, serve: (*conn).getConfig},
	}
}

// trustedPrefix begins the names of attributes that only root reads.
var trustedPrefix = []byte("trusted.")

func (c *conn) getXattr() error {
	var p wire.GetXattr
	if err := p.Decode(&c.d, c.release); err != nil {
		return err
	}
	who := c.as(&p.Identity)
	ino, n, ok := who.Find(c.st, p.Inode, p.Opened != 0)
	status := meta.OK
	switch {
	case p.Mode > wire.XattrLength:
		status = meta.EINVAL
	case !ok:
		status = meta.ENOENT
	case who.UID != 0 && bytes.HasPrefix(p.Name, trustedPrefix):
		status = meta.EPERM
	case p.Opened == 0 && !who.May(c.st, ino, &n, changelog.MayRead):
		status = meta.EACCES
	case bytes.IndexByte(p.Name, 0) >= 0:
		status = meta.EINVAL
	}
	if status != meta.OK {
		return c.status(wire.FuseGetXattr, p.MsgID, status)
	}
	answer := wire.XattrReply{MsgID: p.MsgID}
	if len(p.Name) == 0 {
		c.scratch = c.scratch[:0]
		if n.Flags&meta.HasXattr != 0 {
			for _, name := range c.st.Xattrs.Names(ino) {
				c.scratch = append(append(c.scratch, name...), 0)
			}
		}
		answer.Value = c.scratch
	} else {
		var found bool
		if n.Flags&meta.HasXattr != 0 {
			answer.Value, found = c.st.Xattrs.Get(ino, p.Name)
		}
		if !found {
			return c.status(wire.FuseGetXattr, p.MsgID, meta.ENOATTR)
		}
	}
	answer.Length = uint32(len(answer.Value))
	if p.Mode == wire.XattrLength {
		answer.Value = nil
	}
	answer.Append(&c.out)
	return nil
}

func (c *conn) getACL() error {
	var p wire.GetACL
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	ino, n, ok := c.asNobody(0, 0).Find(c.st, p.Inode, false)
	if !ok {
		return c.status(wire.FuseGetACL, p.MsgID, meta.ENOENT)
	}
	has := p.Type == meta.ACLAccess && n.Flags&meta.HasAccessACL != 0 ||
		p.Type == meta.ACLDefault && n.Flags&meta.HasDefaultACL != 0
	acl, ok := meta.ACL{}, false
	if has {
		acl, ok = c.st.ACLs.Get(meta.ACLKey{Inode: ino, Type: p.Type})
	}
	if !ok {
		return c.status(wire.FuseGetACL, p.MsgID, meta.ENOATTR)
	}
	answer := wire.ACLReply{MsgID: p.MsgID, ACL: wire.ACL{
		User: acl.User, Group: acl.Group, Other: acl.Other, Mask: acl.Mask,
		Users: uint16(len(acl.Users)), Groups: uint16(len(acl.Groups)), Entries: c.scratch[:0],
	}}
	for _, list := range [][]meta.ACLEntry{acl.Users, acl.Groups} {
		for _, e := range list {
			answer.AddEntry(e.ID, e.Perm)
		}
	}
	c.scratch = answer.Entries
	answer.Append(&c.out)
	return nil
}

// quotaControl reads a quota; to set or remove one is a change.
func (c *conn) quotaControl() error {
	var p wire.QuotaControl
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	who := c.asNobody(0, 0)
	ino, n, ok := who.Find(c.st, p.Inode, false)
	status := meta.OK
	switch {
	case p.Flags != 0 && who.RootMapped:
		status = meta.EACCES
	case p.Flags != 0:
		status = meta.EROFS
	case who.Root == 0:
		status = meta.EPERM
	case !ok:
		status = meta.ENOENT
	case n.Type != meta.TypeDir:
		status = meta.EPERM
	}
	if status != meta.OK {
		return c.status(wire.FuseQuotaControl, p.MsgID, status)
	}
	d, _ := c.st.Dirs.Get(ino)
	answer := wire.QuotaReply{MsgID: p.MsgID, Used: wire.Limits{
		Inodes: d.Stats.Inodes, Length: d.Stats.Length, Size: d.Stats.Size, RealSize: d.Stats.RealSize,
	}}
	if q, ok := c.st.Quotas.Get(ino); ok {
		answer.Flags, answer.Grace = q.Flags, q.Grace
		if modern(c.st) && q.Grace == 0 {
			answer.Default, answer.Grace = 1, defaultGrace
		}
		answer.Soft = limits(q.Flags, q.SoftInodes, q.SoftLength, q.SoftSize, q.SoftReal)
		answer.Hard = limits(q.Flags>>4, q.HardInodes, q.HardLength, q.HardSize, q.HardReal)
	}
	answer.Append(&c.out, c.release)
	return nil
}

// defaultGrace is how many seconds a soft limit may be exceeded where neither a
// quota nor the master's configuration says it, since 4.x.
const defaultGrace = 7 * 86400

// limits returns those limits that are set.
func limits(flags uint8, inodes uint32, length, size, real uint64) (l wire.Limits) {
	if flags&1 != 0 {
		l.Inodes = inodes
	}
	if flags&2 != 0 {
		l.Length = length
	}
	if flags&4 != 0 {
		l.Size = size
	}
	if flags&8 != 0 {
		l.RealSize = real
	}
	return l
}

// classList serves CLTOMA_SCLASS_LIST:
//
//	msgid:32 form:8 -> msgid:32 N*[name:NAME [admin:8 mode:8 delay:16 3*count:8 labels]]
//
// What is in brackets is there with an odd form, or as a 4.x primary with form
// 1; that answers others as wire.ModernClass tells, and FF with id:8 name:NAME.
func (c *conn) classList() error {
	id, form := c.d.U32(), c.d.U8()
	if err := c.d.End(); err != nil {
		return err
	}
	c.out.Begin(wire.ClassList.Reply())
	defer c.out.End()
	c.out.U32(id)
	for number, class := range c.st.Classes.Scan(1) {
		if modern(c.st) {
			c.modernClass(number, &class, form)
			continue
		}
		c.out.Name([]byte(class.Name))
		if form&1 != 0 {
			c.classLabels(&class)
		}
	}
	return nil
}

// modernClass appends a class of a 4.x primary. The oldest form has no place for
// all that it may be: then its name is told as asterisks.
func (c *conn) modernClass(number uint8, class *meta.Class, form uint8) {
	switch {
	case form == 0:
		c.out.Name([]byte(class.Name))
	case form == 1:
		old, exact := classBefore4(class)
		name := []byte(class.Name)
		if !exact {
			name = bytes.Repeat([]byte{'*'}, len(name))
		}
		c.out.Name(name)
		c.classLabels(&old)
	case form <= wire.NewestClassForm:
		m := wire.ModernClass{ID: number, Class: class}
		m.Append(&c.out, form)
	default:
		c.out.U8(number)
		c.out.Name([]byte(class.Name))
	}
}

func (c *conn) classLabels(class *meta.Class) {
	c.out.U8(class.AdminOnly)
	c.out.U8(class.Mode)
	c.out.U16(class.ArchDelay)
	lists := [][]meta.LabelMasks{class.Create, class.Keep, class.Arch}
	for _, list := range lists {
		c.out.U8(uint8(len(list)))
	}
	for _, list := range lists {
		for _, masks := range list {
			for _, m := range masks {
				c.out.U32(m)
			}
		}
	}
}

// getVersion serves ANTOAN_GET_VERSION: [msgid:32] -> [msgid:32] release:32 text.
func (c *conn) getVersion() error {
	hasID := c.d.Len() > 0
	id := uint32(0)
	if hasID {
		id = c.d.U32()
	}
	if err := c.d.End(); err != nil {
		return err
	}
	c.out.Begin(wire.VersionReply)
	if hasID {
		c.out.U32(id)
	}
	r := newestPlain
	if c.st != nil {
		r = announced(c.st)
	}
	c.out.U32(uint32(r))
	c.out.Bytes([]byte(r.String()))
	c.out.End()
	return nil
}

// getConfig answers with the value of a setting. What this process has a setting
// for, too, it tells of itself; the rest is the primary's.
func (c *conn) getConfig() error {
	var p wire.ConfigRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	answer := wire.Config{MsgID: p.MsgID}
	value, ok := c.srv.cfg.Settings[string(p.Name)]
	if ok || c.srv.cfg.Asker == nil || !isSetting(p.Name) {
		answer.Value = []byte(value[:min(len(value), 255)])
		answer.Append(&c.out)
		return nil
	}
	var ask wire.Encoder
	(&wire.ConfigRequest{Name: p.Name}).Append(&ask)
	return c.beside(func(r *reply) error {
		var said wire.Config
		if said.Decode(wire.NewDecoder(c.srv.ask(wire.GetConfig, ask.Buf[wire.HeaderSize:]))) == nil {
			answer.Value = said.Value
		}
		answer.Append(&r.Encoder)
		return r.charge()
	})
}

// isSetting tells whether a master may have a setting of a name.
func isSetting(name []byte) bool {
	return len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
}
