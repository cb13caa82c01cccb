package changelog

import "mfsstandby/changelog/meta"

// Create makes a node of any type but symlink, in a directory. Since 2.0:
//
//	CREATE(parent:u32,name:NAME,type:u8,mode:u16,umask:u16,uid:u32,gid:u32,rdev:u32):inode:u32
//
// Mode is what was asked for, before Umask or a default ACL; UID and GID are
// final. 1.6 wrote a letter and no umask, which it had applied already:
//
//	CREATE(parent,name,letter,mode,uid,gid,rdev):inode
type Create struct {
	Parent   meta.Inode
	Base     []byte    // its name in Parent
	Type     meta.Type // below 16
	Mode     uint16
	Umask    uint16 // 0 with Letter
	UID, GID uint32
	Rdev     uint32
	Inode    meta.Inode // result: the new node
	Letter   bool       // 1.6: Type written as one of "fdlqbcs"
}

// typeLetters are the letters of 1.6 for types 1 to 7.
const typeLetters = "fdlqbcs"

// Name is "CREATE".
func (*Create) Name() string { return "CREATE" }

func (op *Create) parse(l *lexer) {
	op.Parent = l.inode('(')
	op.Base = l.name(',')
	op.parseType(l)
	op.Mode = l.u16(',')
	if !op.Letter {
		op.Umask = l.u16(',')
	}
	op.UID = l.u32(',')
	op.GID = l.u32(',')
	op.Rdev = l.u32(',')
	l.eat(')')
	op.Inode = l.inode(':')
}

func (op *Create) parseType(l *lexer) {
	l.eat(',')
	if c := l.peek(); c >= '0' && c <= '9' {
		op.Type = meta.Type(l.number(15))
		return
	}
	for i := range len(typeLetters) {
		if typeLetters[i] == l.peek() {
			l.pos++
			op.Type, op.Letter = meta.Type(i+1), true
			return
		}
	}
	l.fail(l.pos, "type of node expected")
}

// AppendArgs appends the arguments and the result.
func (op *Create) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Parent))
	b = appendText(b, ',', op.Base)
	if op.Letter {
		b = append(b, ',', typeLetters[op.Type-1])
	} else {
		b = appendNum(b, ',', uint64(op.Type))
	}
	b = appendNum(b, ',', uint64(op.Mode))
	if !op.Letter {
		b = appendNum(b, ',', uint64(op.Umask))
	}
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.GID))
	b = appendNum(b, ',', uint64(op.Rdev))
	return appendNum(append(b, ')'), ':', uint64(op.Inode))
}

// Attr sets mode, owner and times of a node. Since 3.0.94:
//
//	ATTR(inode:u32,mode:u16,uid:u32,gid:u32,atime:u32,mtime:u32,winattr:u8,aclmode:u16)
//
// 3.0.92 wrote no winattr, older releases neither winattr nor aclmode; then
// Winattr is 0 and ACLMode equals Mode.
type Attr struct {
	Inode        meta.Inode
	Mode         uint16
	UID, GID     uint32
	Atime, Mtime meta.Time
	Winattr      uint8
	ACLMode      uint16 // for the access ACL; bit 010000 tells that its mask is valid
	OldArgs      uint8  // 0, or the number of arguments of an old release: 6 or 7
}

// Name is "ATTR".
func (*Attr) Name() string { return "ATTR" }

func (op *Attr) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Mode = l.u16(',')
	op.UID = l.u32(',')
	op.GID = l.u32(',')
	op.Atime = l.time(',')
	op.Mtime = l.time(',')
	op.OldArgs, op.ACLMode = 6, op.Mode
	if l.peek() == ',' {
		seventh := l.pos + 1
		op.OldArgs, op.ACLMode = 7, l.u16(',')
		if l.peek() == ',' {
			if op.ACLMode > 255 {
				l.fail(seventh, "number too big")
			}
			op.OldArgs, op.Winattr = 0, uint8(op.ACLMode)
			op.ACLMode = l.u16(',')
		}
	}
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *Attr) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Mode))
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.GID))
	b = appendNum(b, ',', uint64(op.Atime))
	b = appendNum(b, ',', uint64(op.Mtime))
	if op.OldArgs == 0 {
		b = appendNum(b, ',', uint64(op.Winattr))
	}
	if op.OldArgs != 6 {
		b = appendNum(b, ',', uint64(op.ACLMode))
	}
	return append(b, ')')
}

// AMTime sets the three times of a node to what a client reported. Since
// 3.0.74:
//
//	AMTIME(inode:u32,atime:u32,mtime:u32,ctime:u32)
type AMTime struct {
	Inode               meta.Inode
	Atime, Mtime, Ctime meta.Time
}

// Name is "AMTIME".
func (*AMTime) Name() string { return "AMTIME" }

func (op *AMTime) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Atime = l.time(',')
	op.Mtime = l.time(',')
	op.Ctime = l.time(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *AMTime) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Atime))
	b = appendNum(b, ',', uint64(op.Mtime))
	return append(appendNum(b, ',', uint64(op.Ctime)), ')')
}

// Access sets the access time of a node. All releases write
//
//	ACCESS(inode:u32)
type Access struct {
	Inode meta.Inode
}

// Name is "ACCESS".
func (*Access) Name() string { return "ACCESS" }

func (op *Access) parse(l *lexer) {
	op.Inode = l.inode('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *Access) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Inode)), ')')
}
