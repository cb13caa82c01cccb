package metafile

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// CSDB 1.3: count:32 count*[ip:32 port:16 id:16 maintenance:8 end of it:32]
const serverSize = 13

func (in *input) readServer() (key meta.Server, info meta.ServerInfo, ok bool) {
	b := in.next(serverSize)
	if b == nil {
		return key, info, false
	}
	be := binary.BigEndian
	key = meta.Server{IP: be.Uint32(b), Port: be.Uint16(b[4:])}
	return key, meta.ServerInfo{ID: be.Uint16(b[6:]), Maintenance: b[8], Timeout: meta.Time(be.Uint32(b[9:]))}, true
}

func (l *loader) servers() error {
	var ids idSet
	for left := l.in.u32(); left > 0; left-- {
		l.begin()
		key, info, ok := l.in.readServer()
		if !ok {
			return l.in.err
		}
		if _, twice := l.st.Servers.Get(key); twice {
			return l.in.failf("chunkserver %s:%d comes twice", ipText(key.IP), key.Port)
		}
		if info.ID != 0 && !ids.add(uint64(info.ID)) {
			return l.in.failf("chunkserver %s:%d has id %d, which another one has already", ipText(key.IP), key.Port, info.ID)
		}
		l.st.Servers.Insert(key, info)
	}
	return l.in.err
}

func writeServers(o *output, st *meta.State) error {
	count := uint32(0)
	for range st.Servers.Scan(meta.Server{}) {
		count++
	}
	o.u32(count)
	o.end()
	for key, info := range st.Servers.Scan(meta.Server{}) {
		o.u32(key.IP)
		o.u16(key.Port)
		o.u16(info.ID)
		o.u8(info.Maintenance)
		o.u32(uint32(info.Timeout))
		o.end()
	}
	return o.err
}
