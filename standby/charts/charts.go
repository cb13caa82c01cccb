// Package charts keeps what a master's charts show: 38 series of numbers at
// four widths of time, in rings of fixed size, as bytes for mfscli and as
// pictures for the CGI monitor. It is fed once a minute by package server and
// reads no clock.
package charts

import (
	"encoding/binary"
	"sync"
	"time"
)

// Series number what is measured, as MooseFS 3.0.117 does: a chart's id is ten
// times the series plus the range. Counts are of one minute.
const (
	UserCPU, SystemCPU           = 0, 1 // microseconds
	DeleteTried, ReplicateTried  = 2, 3 // of chunks
	Operations                   = 4    // the first of 16 kinds
	ResidentMemory               = 20   // bytes
	PacketsReceived, PacketsSent = 21, 22
	BytesReceived, BytesSent     = 23, 24
	VirtualMemory                = 25 // bytes
	UsedSpace, TotalSpace        = 26, 27
	CreateTried, ChangeTried     = 28, 29
	DeleteOK, DeleteError        = 30, 31
	ReplicateOK, ReplicateError  = 32, 33
	CreateOK, CreateError        = 34, 35
	ChangeOK, ChangeError        = 36, 37
	Count                        = 38
)

// NoData stands where nothing was measured.
const NoData = ^uint64(0)

// Length is the number of values of a series at one range.
const Length = 4096

// steps are the seconds of one value at each range.
var steps = [...]int64{60, 6 * 60, 30 * 60, 24 * 60 * 60}

// Sample is one value of each series.
type Sample [Count]uint64

// Unknown returns a sample without data.
func Unknown() *Sample {
	s := &Sample{}
	for i := range s {
		s[i] = NoData
	}
	return s
}

// keepsMax tells the series of which a longer time has the largest value, not the sum.
func keepsMax(series int) bool {
	return series == ResidentMemory || series == VirtualMemory || series == UsedSpace || series == TotalSpace
}

// ring is all series at one range. Its newest value is at head.
type ring struct {
	at     int64 // number of the step that head is about
	head   int
	values [Count][Length]uint64
}

// Charts hold all series: about 5 MB. The zero value is not ready; see New.
type Charts struct {
	mu    sync.Mutex // guards what follows
	rings [len(steps)]*ring
	total Sample
}

// New returns empty charts whose newest step is that of a time.
func New(now time.Time) *Charts {
	c := &Charts{}
	for i := range c.rings {
		r := &ring{at: local(now) / steps[i]}
		for s := range r.values {
			for j := range r.values[s] {
				r.values[s][j] = NoData
			}
		}
		c.rings[i] = r
	}
	return c
}

// local returns a time as the clock on the wall shows it, which charts go by.
func local(t time.Time) int64 {
	_, offset := t.Zone()
	return t.Unix() + int64(offset)
}

// Add adds a sample of the minute that began at a time. A time too long ago
// for a range is left out there.
func (c *Charts) Add(s *Sample, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, v := range s {
		if v != NoData {
			c.total[i] += v
		}
	}
	for i, r := range c.rings {
		r.add(s, local(at)/steps[i])
	}
}

func (r *ring) add(s *Sample, step int64) {
	for n := min(step-r.at, Length); n > 0; n-- {
		r.head = (r.head + 1) % Length
		for i := range r.values {
			r.values[i][r.head] = NoData
		}
	}
	r.at = max(r.at, step)
	back := r.at - step
	if back >= Length {
		return
	}
	at := (r.head + Length - int(back)) % Length
	for i, v := range s {
		p := &r.values[i][at]
		switch {
		case v == NoData:
		case *p == NoData:
			*p = v
		case keepsMax(i):
			*p = max(*p, v)
		default:
			*p += v
		}
	}
}

// newest appends up to n values of a series, newest first.
func (r *ring) newest(list []uint64, series, n int) []uint64 {
	for i := range min(n, Length) {
		list = append(list, r.values[series][(r.head+Length-i)%Length])
	}
	return list
}

// AppendData appends ANTOCL_CHART_DATA for a chart id, nothing for an unknown
// one:
//
//	time:32 N:32 N*[value:64]   newest first; time is that of the newest
func (c *Charts) AppendData(b []byte, id, most uint32) []byte {
	series, scope, ok := find(id)
	if !ok || series >= Count {
		return b
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rings[scope]
	values := r.newest(nil, series, int(min(most, Length)))
	b = binary.BigEndian.AppendUint32(b, uint32(r.at*steps[scope]))
	b = binary.BigEndian.AppendUint32(b, uint32(len(values)))
	for _, v := range values {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// AppendTotals appends ANTOCL_MONOTONIC_DATA: the sums since the start.
//
//	N:16 N*[total:64]
func (c *Charts) AppendTotals(b []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b = binary.BigEndian.AppendUint16(b, Count)
	for _, v := range c.total {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// names are four-letter names of the series, by which a chart can be asked for
// too: the case of each letter's bit 5 is one bit of the range.
var names = [Count]string{
	"UCPU", "SCPU", "DELC", "REPC", "STFS", "GATR", "SATR", "LOOK", "MKDI", "RMDI", "SLNK", "RLNK", "MKND",
	"UNLK", "RENA", "LINK", "RDIR", "OPEN", "READ", "WRIT", "MEMR", "PRCV", "PSNT", "BRCV", "BSNT", "MEMV", "USPC",
	"TSPC", "NEWC", "INTC", "DELO", "DELE", "REPO", "REPE", "NEWO", "NEWE", "INTO", "INTE",
}

// Pairs of series that one picture shows are numbered from firstPair on.
const firstPair = 100

// pair is a picture of two series: upper is stacked on lower. With rest set,
// upper is a total of which lower is a part, and the rest is stacked on it.
type pair struct {
	name         string
	upper, lower int
	rest         bool
}

var pairs = [...]pair{
	{"TCPU", UserCPU, SystemCPU, false},
	{"TMEM", VirtualMemory, ResidentMemory, true},
	{"SPAC", TotalSpace, UsedSpace, true},
	{"DELS", DeleteError, DeleteOK, false},
	{"REPS", ReplicateError, ReplicateOK, false},
	{"NEWS", CreateError, CreateOK, false},
	{"INTS", ChangeError, ChangeOK, false},
}

const caseBits = 0x20202020

// find returns the series, or firstPair and more, and the range of a chart's id.
func find(id uint32) (series, scope int, ok bool) {
	if id < 1<<24 {
		series, scope = int(id/10), int(id%10)
		return series, scope, known(series) && scope < len(steps)
	}
	bits := id & caseBits
	scope = int(bits>>5&1 | bits>>12&2 | bits>>19&4 | bits>>26&8)
	if scope >= len(steps) {
		return 0, 0, false
	}
	for i, name := range names {
		if id&^caseBits == binary.BigEndian.Uint32([]byte(name))&^caseBits {
			return i, scope, true
		}
	}
	for i, p := range pairs {
		if id&^caseBits == binary.BigEndian.Uint32([]byte(p.name))&^caseBits {
			return firstPair + i, scope, true
		}
	}
	return 0, 0, false
}

func known(series int) bool {
	return series >= 0 && series < Count || series >= firstPair && series < firstPair+len(pairs)
}
