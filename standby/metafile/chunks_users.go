package metafile

import (
	"cmp"
	"slices"

	"mfsstandby/changelog/meta"
)

// In CHNK 1.2 a chunk's flags are followed by pairs:8, and pairs*[class:8
// count:24] tells how many slots of files of each class hold it; with more than
// one pair comes class:8, the one that counts. A chunk that no file holds has
// none. 4.x trusts these numbers when it loads a file.
const maxPairCount = 1<<24 - 1

// classCount is such a pair.
type classCount struct {
	class uint8
	count uint32
}

// classPairs reads the pairs of the last chunk and calls use, if there is one,
// for each; then it returns the class that counts.
func (in *input) classPairs(use func(i int, p classCount)) (class uint8) {
	for i := range in.pairs {
		v := in.u32()
		class = uint8(v >> 24)
		if use != nil {
			use(i, classCount{class, v & maxPairCount})
		}
	}
	if in.pairs > 1 {
		class = in.u8()
	}
	return class
}

func (d *dumper) classPairs() {
	d.t.str("|(", "")
	class := d.in.classPairs(func(i int, p classCount) {
		label := "s:"
		if i > 0 {
			label = ";s:"
		}
		d.t.num(label, uint64(p.class), 0)
		d.t.num(",#:", uint64(p.count), 0)
	})
	d.t.num(")|c:", uint64(class), 0)
}

// chunkUsers tells of what classes the files are that hold a chunk. It has a
// byte per chunk, and more only for chunks that files of several classes hold.
type chunkUsers struct {
	first  map[meta.ChunkID]*[usersPage]uint8 // the class seen first, by the number of a page
	others map[meta.ChunkID][]classCount      // slots of files of further classes
}

const usersPage = 4096

func (u *chunkUsers) reset() {
	*u = chunkUsers{first: map[meta.ChunkID]*[usersPage]uint8{}, others: map[meta.ChunkID][]classCount{}}
}

// add counts the slots of a file.
func (u *chunkUsers) add(slots []meta.ChunkID, class uint8) {
	for _, id := range slots {
		if id == 0 {
			continue
		}
		page := u.first[id/usersPage]
		if page == nil {
			page = &[usersPage]uint8{}
			u.first[id/usersPage] = page
		}
		switch first := &page[id%usersPage]; *first {
		case 0:
			*first = class
		case class:
		default:
			u.addOther(id, class)
		}
	}
}

func (u *chunkUsers) addOther(id meta.ChunkID, class uint8) {
	list := u.others[id]
	i := slices.IndexFunc(list, func(p classCount) bool { return p.class == class })
	if i < 0 {
		i = len(list)
		list = append(list, classCount{class: class})
	}
	list[i].count++
	u.others[id] = list
}

// pairs returns the pairs of a chunk that so many slots hold, by class.
func (u *chunkUsers) pairs(id meta.ChunkID, slots uint32) []classCount {
	page := u.first[id/usersPage]
	if page == nil || page[id%usersPage] == 0 {
		return nil
	}
	list := slices.Clone(u.others[id])
	for _, p := range list {
		slots -= p.count
	}
	list = append(list, classCount{page[id%usersPage], slots})
	slices.SortFunc(list, func(a, b classCount) int { return cmp.Compare(a.class, b.class) })
	for i := 0; i < len(list); i++ { // more than fit into one pair
		if over := list[i].count; over > maxPairCount {
			list[i].count = maxPairCount
			list = slices.Insert(list, i+1, classCount{list[i].class, over - maxPairCount})
		}
	}
	return list
}

func (o *output) modernChunk(st *meta.State, id meta.ChunkID, c *meta.Chunk) {
	pairs := o.users.pairs(id, c.Files)
	version, flags := c.Version, c.Flags&(meta.ChunkArchive|meta.ChunkTrash)
	if c.Flags&meta.ChunkZeros != 0 {
		version |= versionZeros
	}
	if len(pairs) > 255 {
		flags |= chunkManyPairs
	}
	o.u64(uint64(id))
	o.u32(version)
	o.u32(uint32(c.LockedTo))
	o.u8(flags)
	o.u8(uint8(len(pairs)))
	o.end()
	if len(pairs) == 0 {
		return
	}
	var best uint64
	class := pairs[0].class
	for _, p := range pairs {
		o.u32(uint32(p.class)<<24 | p.count)
		if len(pairs) == 1 {
			break
		}
		if pri := joinPriority(st, p.class); pri > best {
			best, class = pri, p.class
		}
	}
	if len(pairs) > 1 {
		o.u8(class)
	}
	o.end()
}

// joinPriority orders classes: of those whose files hold a chunk the one with
// the highest counts.
func joinPriority(st *meta.State, id uint8) uint64 {
	c, _ := st.Classes.Get(id)
	if len(c.Parts) != meta.ClassParts {
		return 0
	}
	keep, arch, trash := &c.Parts[meta.PartKeep], &c.Parts[meta.PartArch], &c.Parts[meta.PartTrash]
	goal := max(len(keep.Exprs), len(arch.Exprs))
	if checksums := min(int(arch.EC&0xF), 1); checksums > 0 {
		if goal = len(keep.Exprs); checksums >= goal {
			goal = checksums + 1
		}
	}
	pri := uint64(c.Priority)<<4 + uint64(goal)
	for _, bit := range [...]bool{arch.EC&0xF != 0, hasLabels(keep) || hasLabels(arch), trash.EC&0xF != 0, hasLabels(trash)} {
		pri <<= 1
		if bit {
			pri++
		}
	}
	return pri<<8 + uint64(id)
}

// hasLabels tells whether not every server will do.
func hasLabels(l *meta.Labels) bool {
	return l.Uniq != 0 || slices.ContainsFunc(l.Exprs, func(expr string) bool { return expr != "" && expr != anyServer })
}

const anyServer = "\xFF"
