package image

import (
	"mfsstandby/changelog/meta"
)

// freePage holds 256 consecutive entries of the queue of freed inodes; entry
// i of the queue, counted since the image was made, is in page i/256.
const freePageBits = 8

type freePage struct {
	live int // entries of the queue in this page, for deleting it when empty
	f    [1 << freePageBits]meta.FreedInode
}

var freeCodec = codec[freePage]{
	name: "free inodes", prefix: 'f', encode: encodeFree, decode: decodeFree, digest: digestFree,
}

func encodeFree(p *freePage, b []byte) []byte {
	if p.live == 0 {
		return b
	}
	for i, f := range p.f {
		if f.Inode != 0 {
			b = append(b, byte(i))
			b = put32(put32(b, uint32(f.Inode)), uint32(f.Freed))
		}
	}
	return b
}

func decodeFree(p *freePage, b []byte) error {
	r := reader{b: b}
	for len(r.b) > 0 && !r.bad {
		i := r.u8()
		p.f[i] = meta.FreedInode{Inode: meta.Inode(r.u32()), Freed: meta.Time(r.u32())}
		p.live++
	}
	return r.end()
}

func digestFree(_ uint64, p *freePage) (sum Sum) {
	var buf [16]byte
	for _, f := range p.f {
		if f.Inode != 0 {
			sum = sum.plus(hashRecord(put32(put32(append(buf[:0], 'f'), uint32(f.Inode)), uint32(f.Freed))))
		}
	}
	return sum
}

// bitmapPage tells of 32768 inode numbers which are in use. All of them are
// always in memory: one bit per inode number ever used.
const bitmapBits = 15

type bitmapPage struct {
	used  uint32
	words [1 << (bitmapBits - 6)]uint64
}

var bitmapCodec = codec[bitmapPage]{
	name: "used inodes", prefix: 'u', encode: encodeBitmap, decode: decodeBitmap,
	digest: func(uint64, *bitmapPage) Sum { return Sum{} }, // follows from nodes and free inodes
}

func encodeBitmap(p *bitmapPage, b []byte) []byte {
	if p.used == 0 {
		return b
	}
	b = put32(b, p.used)
	for _, w := range p.words {
		b = put64(b, w)
	}
	return b
}

func decodeBitmap(p *bitmapPage, b []byte) error {
	r := reader{b: b}
	p.used = r.u32()
	for i := range p.words {
		p.words[i] = r.u64()
	}
	return r.end()
}
