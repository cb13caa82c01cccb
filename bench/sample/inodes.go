package sample

import (
	"container/heap"
	"iter"
	"slices"

	"mfsstandby/changelog/meta"
)

// inodes is a meta.InodeTable that finds the lowest unused number fast.
type inodes struct {
	top    meta.Inode // all below are used, but for those in unused
	unused lowest
	queue  []meta.FreedInode
}

func newInodes() *inodes { return &inodes{top: 1} }

// lowest is a heap of inode numbers.
type lowest []meta.Inode

func (h lowest) Len() int           { return len(h) }
func (h lowest) Less(i, j int) bool { return h[i] < h[j] }
func (h lowest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lowest) Push(x any)        { *h = append(*h, x.(meta.Inode)) }
func (h *lowest) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// peek returns what Alloc would.
func (t *inodes) peek() meta.Inode {
	if len(t.unused) > 0 {
		return t.unused[0]
	}
	return t.top
}

func (t *inodes) Alloc() meta.Inode {
	if len(t.unused) > 0 {
		return heap.Pop(&t.unused).(meta.Inode)
	}
	t.top++
	return t.top - 1
}

func (t *inodes) Reserve(ino meta.Inode) {
	for ; t.top <= ino; t.top++ {
		if t.top < ino {
			heap.Push(&t.unused, t.top)
		}
	}
	if i := slices.Index(t.unused, ino); i >= 0 {
		heap.Remove(&t.unused, i)
	}
}

func (t *inodes) Release(ino meta.Inode)     { heap.Push(&t.unused, ino) }
func (t *inodes) PushFree(f meta.FreedInode) { t.queue = append(t.queue, f) }
func (t *inodes) PopFree()                   { t.queue = t.queue[1:] }
func (t *inodes) FreeLen() uint32            { return uint32(len(t.queue)) }

func (t *inodes) FirstFree() (meta.FreedInode, bool) {
	if len(t.queue) == 0 {
		return meta.FreedInode{}, false
	}
	return t.queue[0], true
}

func (t *inodes) ClampFree(ts meta.Time) {
	for i := range t.queue {
		t.queue[i].Freed = min(t.queue[i].Freed, ts)
	}
}

func (t *inodes) ScanFree() iter.Seq[meta.FreedInode] { return slices.Values(t.queue) }
