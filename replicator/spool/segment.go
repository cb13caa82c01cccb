package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
	"mfsstandby/replicator/tap"
)

// A segment is a file of a header and blocks. All integers are little-endian.
//
//	header: "MFSSPL01" metaid:64 epoch:64 first:64 chain:128 begins:32 crc:32
//	block:  "BLK1" crc:32 length:32 count:32 first:64 received:64 chain:128 synced:64
//	        count*[ length:uvarint text ]
//
// crc is CRC-32C: in the header of what precedes it, in a block of what
// follows it. The chain of the header is the one before its first entry, that
// of a block the one after its last. received is in ns since 1970. synced is
// how much of the file was known to be on disk when the block was written: a
// bad block below it was not cut off by a crash.
const (
	headerSize = 56
	blockSize  = 56
	suffix     = ".spool"

	fileMagic  = "MFSSPL01"
	blockMagic = "BLK1"

	// maxBlock bounds the entries of a block, in bytes of payload. One entry
	// may exceed it.
	maxBlock = tap.MaxBatchBytes
	// maxPayload is more than any block has.
	maxPayload = 4 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is one file of the spool.
type segment struct {
	number uint64
	name   string
	file   File
	start  Start // of its first entry
	begins bool  // history begins here: what older segments have is void

	size    int64 // bytes of header and whole blocks
	next    meta.Version
	synced  int64 // bytes known to be on disk
	removed bool
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, suffix) }

// segmentNumber reads a name; ok is false if it is not that of a segment.
func segmentNumber(name string) (number uint64, ok bool) {
	digits, isSegment := strings.CutSuffix(name, suffix)
	if !isSegment || len(digits) != 16 {
		return 0, false
	}
	n, err := fmt.Sscanf(digits, "%016x", &number)
	return number, err == nil && n == 1 && segmentName(number) == name
}

func appendHeader(b []byte, s Start, begins bool) []byte {
	at := len(b)
	b = append(b, fileMagic...)
	b = binary.LittleEndian.AppendUint64(b, s.MetaID)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Epoch))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Next))
	b = binary.LittleEndian.AppendUint64(b, s.Chain.Hi)
	b = binary.LittleEndian.AppendUint64(b, s.Chain.Lo)
	flag := uint32(0)
	if begins {
		flag = 1
	}
	b = binary.LittleEndian.AppendUint32(b, flag)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

var errHeader = errors.New("header is damaged")

func parseHeader(b []byte) (s Start, begins bool, err error) {
	if len(b) < headerSize || string(b[:8]) != fileMagic ||
		binary.LittleEndian.Uint32(b[headerSize-4:]) != crc32.Checksum(b[:headerSize-4], castagnoli) {
		return s, false, errHeader
	}
	u64 := binary.LittleEndian.Uint64
	s = Start{MetaID: u64(b[8:]), Epoch: fence.Epoch(u64(b[16:])), Next: meta.Version(u64(b[24:])), Chain: fence.Chain{Hi: u64(b[32:]), Lo: u64(b[40:])}}
	return s, binary.LittleEndian.Uint32(b[48:]) == 1, nil
}

// block is what a block's header says.
type block struct {
	length   int // of the payload
	count    int
	first    meta.Version
	received int64
	chain    fence.Chain
	synced   int64
}

// size is that of the whole block.
func (b *block) size() int { return blockSize + b.length }

var (
	errBlock = errors.New("block is damaged")
	errShort = errors.New("block is cut")
	errOrder = errors.New("block does not follow the one before")
	errChain = errors.New("hash chain is broken: an entry was changed, or a block lost")
)

// parseBlock reads the block that b begins with. It returns errShort if b ends
// before it does; b.size() then tells how much it needs, if that is known.
func parseBlock(b []byte) (h block, err error) {
	if len(b) < blockSize {
		return h, errShort
	}
	h.length = int(binary.LittleEndian.Uint32(b[8:]))
	if string(b[:4]) != blockMagic || h.length > maxPayload {
		return block{}, errBlock
	}
	if len(b) < h.size() {
		return h, errShort
	}
	if binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:h.size()], castagnoli) {
		return block{}, errBlock
	}
	u64 := binary.LittleEndian.Uint64
	h.count = int(binary.LittleEndian.Uint32(b[12:]))
	h.first, h.received = meta.Version(u64(b[16:])), int64(u64(b[24:]))
	h.chain = fence.Chain{Hi: u64(b[32:]), Lo: u64(b[40:])}
	h.synced = int64(u64(b[48:]))
	return h, nil
}

// entries appends the entries of a block to dst; the texts alias payload. It
// returns the chain behind them, which must be the one the block has.
func (b *block) entries(dst []tap.Entry, payload []byte, chain fence.Chain) ([]tap.Entry, fence.Chain, error) {
	if b.count == 0 || b.count > b.length {
		return dst, chain, errBlock
	}
	v := b.first
	for range b.count {
		n, k := binary.Uvarint(payload)
		if k <= 0 || n > uint64(len(payload)-k) {
			return dst, chain, errBlock
		}
		end := k + int(n)
		text := payload[k:end:end]
		payload = payload[end:]
		chain = chain.Next(v, text)
		dst = append(dst, tap.Entry{Version: v, Text: text})
		v++
	}
	if len(payload) > 0 {
		return dst, chain, errBlock
	}
	if chain != b.chain {
		return dst, chain, errChain
	}
	return dst, chain, nil
}

// appendBlock appends a block with as many of the entries as fit, and returns
// the others and the chain behind the block.
func appendBlock(b []byte, entries []tap.Entry, received time.Time, synced int64, chain fence.Chain) ([]byte, []tap.Entry, fence.Chain) {
	at := len(b)
	b = append(b, make([]byte, blockSize)...)
	count := 0
	for ; count < len(entries); count++ {
		e := &entries[count]
		if count > 0 && len(b)-at+len(e.Text) > maxBlock {
			break
		}
		b = binary.AppendUvarint(b, uint64(len(e.Text)))
		b = append(b, e.Text...)
		chain = chain.Next(e.Version, e.Text)
	}
	h := b[at:]
	put := binary.LittleEndian
	copy(h, blockMagic)
	put.PutUint32(h[8:], uint32(len(h)-blockSize))
	put.PutUint32(h[12:], uint32(count))
	put.PutUint64(h[16:], uint64(entries[0].Version))
	put.PutUint64(h[24:], uint64(received.UnixNano()))
	put.PutUint64(h[32:], chain.Hi)
	put.PutUint64(h[40:], chain.Lo)
	put.PutUint64(h[48:], uint64(synced))
	put.PutUint32(h[4:], crc32.Checksum(h[8:], castagnoli))
	return b, entries[count:], chain
}

// scan reads a segment from front to back.
type scan struct {
	size    int64 // of header and whole blocks so far
	next    meta.Version
	chain   fence.Chain
	last    []byte // text of the last entry; nil if there is none
	bad     error  // why it ends at size; nil at the end of the file
	entries []tap.Entry
}

// scanSegment reads all of a segment. The error is one of reading; what is
// wrong with the content is in scan.bad.
func scanSegment(f File, start Start) (*scan, error) {
	r := &scan{size: headerSize, next: start.Next, chain: start.Chain}
	total, err := f.Size()
	if err != nil {
		return r, err
	}
	buf := make([]byte, 1<<20)
	for r.size < total {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), total-r.size)], r.size)
		if err != nil && err != io.EOF {
			return r, err
		}
		before := r.size
		need, err := r.blocks(buf[:n])
		switch {
		case err == errShort && before+int64(n) < total: // the rest is behind buf
			if need > len(buf) {
				buf = make([]byte, need)
			}
		case err != nil:
			r.bad = err
			return r, nil
		}
	}
	return r, nil
}

// blocks takes the whole blocks at the front of b. It returns errShort when
// something is left, and how much the block there needs, if that is known.
func (r *scan) blocks(b []byte) (need int, err error) {
	for len(b) > 0 {
		h, err := parseBlock(b)
		if err != nil {
			return h.size(), err
		}
		if h.first != r.next {
			return 0, errOrder
		}
		var chain fence.Chain
		if r.entries, chain, err = h.entries(r.entries[:0], b[blockSize:h.size()], r.chain); err != nil {
			return 0, err
		}
		r.chain, r.next, r.size = chain, r.next+meta.Version(h.count), r.size+int64(h.size())
		r.last = append(r.last[:0], r.entries[len(r.entries)-1].Text...)
		b = b[h.size():]
	}
	return 0, nil
}

// syncedBehind looks for whole blocks anywhere behind an offset, and returns
// the highest synced one of them has: if that is above the offset, what is
// there had been on disk.
func syncedBehind(f File, offset int64) (int64, error) {
	total, err := f.Size()
	if err != nil || total-offset < blockSize {
		return 0, err
	}
	b := make([]byte, total-offset)
	if _, err := f.ReadAt(b, offset); err != nil && err != io.EOF {
		return 0, err
	}
	var synced int64
	for {
		i := bytes.Index(b, []byte(blockMagic))
		if i < 0 {
			return synced, nil
		}
		b = b[i:]
		if h, err := parseBlock(b); err == nil {
			synced = max(synced, h.synced)
			b = b[h.size():]
		} else {
			b = b[len(blockMagic):]
		}
	}
}
