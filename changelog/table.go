package changelog

// row tells how to read one operation.
type row struct {
	name string
	slab func() slabber
}

// table has a row for each operation that the readers of MooseFS 3.0.117 and
// 4.59.2 understand, with the aliases of older releases.
var table = [...]row{
	{"ACCESS", newSlab[Access]},
	{"ADDATTR", newSlab[AddAttr]}, // 4.x
	{"ACQUIRE", newSlab[Acquire]},
	{"AQUIRE", newSlab[Acquire]}, // before 1.6
	{"AMTIME", newSlab[AMTime]},
	{"APPEND", newSlab[AppendChunks]},
	{"ARCHCHG", newSlab[ArchChg]},
	{"AUTOARCH", newSlab[AutoArch]}, // 4.x
	{"ATTR", newSlab[Attr]},
	{"CHUNKADD", newSlab[ChunkAdd]},
	{"CHUNKDEL", newSlab[ChunkDel]},
	{"CHUNKFLAGSCLR", newSlab[ChunkFlagsClr]}, // 4.x
	{"CREATE", newSlab[Create]},
	{"CSADD", newSlab[CSAdd]}, // before 1.7.25
	{"CSDBOP", newSlab[CSDBOp]},
	{"CSDEL", newSlab[CSDel]},                  // before 1.7.25
	{"CUSTOMER", newSlab[Session]},             // before 1.6
	{"EMPTYRESERVED", newSlab[EmptySustained]}, // 1.6
	{"EMPTYSUSTAINED", newSlab[EmptySustained]},
	{"EMPTYTRASH", newSlab[EmptyTrash]},
	{"FLOCK", newSlab[Flock]},
	{"FREEINODES", newSlab[FreeInodes]},
	{"IDLE", newSlab[Idle]},             // 4.x
	{"INCVERSION", newSlab[IncVersion]}, // before 3.0.114
	{"LENGTH", newSlab[Length]},
	{"LINK", newSlab[Link]},
	{"MOVE", newSlab[Move]},
	{"NEXTCHUNKID", newSlab[NextChunkID]}, // before 2.0
	{"PATADD", newSlab[PatAdd]},           // 4.x
	{"PATDEL", newSlab[PatDel]},           // 4.x
	{"POSIXLOCK", newSlab[PosixLock]},
	{"PURGE", newSlab[Purge]},
	{"QUOTA", newSlab[Quota]},
	{"RELEASE", newSlab[Release]},
	{"RENUMEDGES", newSlab[RenumEdges]}, // 2.0
	{"RENUMERATEEDGES", newSlab[RenumerateEdges]},
	{"REPAIR", newSlab[Repair]},
	{"ROLLBACK", newSlab[Rollback]},
	{"SCDEL", newSlab[SCDel]},
	{"SCDUP", newSlab[SCDup]},
	{"SCECON", newSlab[SCECVersion]},      // 4.x before there was a second version
	{"SCECVERSION", newSlab[SCECVersion]}, // 4.x
	{"SCRAIDON", newSlab[SCECVersion]},    // 4.x before there was a second version
	{"SCREN", newSlab[SCRen]},
	{"SCSET", newSlab[SCSet]},
	{"SESADD", newSlab[SesAdd]},
	{"SESCHANGED", newSlab[SesChanged]},
	{"SESCONNECTED", newSlab[SesConnected]}, // 4.x
	{"SESDEL", newSlab[SesDel]},
	{"SESDISCONNECTED", newSlab[SesDisconnected]},
	{"SESSION", newSlab[Session]}, // 1.6
	{"SETACL", newSlab[SetACL]},
	{"SETEATTR", newSlab[SetEattr]},
	{"SETFILECHUNK", newSlab[SetFileChunk]},
	{"SETGOAL", newSlab[SetGoal]}, // before 3.0.75
	{"SETMETAID", newSlab[SetMetaID]},
	{"SETPATH", newSlab[SetPath]},
	{"SETSCLASS", newSlab[SetSClass]},
	{"SETTRASHTIME", newSlab[SetTrashTime]},
	{"SETVERSION", newSlab[SetVersion]},
	{"SETXATTR", newSlab[SetXattr]},
	{"SNAPSHOT", newSlab[Snapshot]},
	{"SYMLINK", newSlab[Symlink]},
	{"TRASH_RECOVER", newSlab[TrashRecover]}, // 4.x
	{"TRASH_REMOVE", newSlab[TrashRemove]},   // 4.x
	{"TRUNC", newSlab[Trunc]},
	{"UNDEL", newSlab[Undel]},
	{"UNLINK", newSlab[Unlink]},
	{"UNLOCK", newSlab[Unlock]},
	{"WRITE", newSlab[Write]},
}

// Lengths of the names in the table.
const (
	minOpName = 4
	maxOpName = 15
)

// index finds rows by name: a hash table with open addressing that holds the
// row plus one, 0 in free places.
var index = func() (t [256]uint8) {
	for i := range table {
		h := hashName(table[i].name)
		for t[h] != 0 {
			h++
		}
		t[h] = uint8(i + 1)
	}
	return t
}()

// hashName looks at the bytes that tell the names of the table apart.
func hashName[T string | []byte](name T) uint8 {
	n := len(name)
	return name[0]*7 + name[3]*31 + name[n-2]*13 + name[n-1] + uint8(n)*3
}

// lookup returns the row of an operation, -1 if there is none.
func lookup(name []byte) int {
	if len(name) < minOpName || len(name) > maxOpName {
		return -1
	}
	for h := hashName(name); index[h] != 0; h++ {
		if i := int(index[h]) - 1; table[i].name == string(name) {
			return i
		}
	}
	return -1
}
