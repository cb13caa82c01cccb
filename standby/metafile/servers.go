package metafile

import (
	"encoding/binary"
	"fmt"

	"mfsstandby/changelog/meta"
)

// CSDB 1.3: count:32 count*[ip:32 port:16 id:16 maintenance:8 end of it:32]
//
// Older versions end before the end of maintenance (1.2), maintenance (1.1) or
// the id (1.0).
const (
	serverSize        = 13
	serverID          = 0x11 // first version with an id
	serverMaintenance = 0x12 // first version with maintenance
	serverTimeout     = 0x13 // first version with its end
)

// serverSizes are those of a record of version 1.0 and so on.
var serverSizes = [...]int{6, 8, 9, serverSize}

func (in *input) readServer() (key meta.Server, info meta.ServerInfo, ok bool) {
	raw := in.next(serverSizes[in.version-0x10])
	if raw == nil {
		return key, info, false
	}
	b := make([]byte, serverSize)
	copy(b, raw)
	be := binary.BigEndian
	key = meta.Server{IP: be.Uint32(b), Port: be.Uint16(b[4:])}
	return key, meta.ServerInfo{ID: be.Uint16(b[6:]), Maintenance: b[8], Timeout: meta.Time(be.Uint32(b[9:]))}, true
}

func (l *loader) servers() error {
	var ids meta.IDSet
	for left := l.in.u32(); left > 0; left-- {
		l.begin()
		key, info, ok := l.in.readServer()
		if !ok {
			return l.in.err
		}
		if _, twice := l.st.Servers.Get(key); twice {
			return l.in.failf("chunkserver %s comes twice", serverText(key))
		}
		if info.ID != 0 && !ids.Add(uint64(info.ID)) {
			return l.in.failf("chunkserver %s has id %d, which another one has already", serverText(key), info.ID)
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

// maintenanceText has mfsmetadump's words, four characters wide.
var maintenanceText = [...]string{" off", "  on", "temp"}

func dumpServers(d *dumper) error {
	left := d.in.u32()
	d.t.num("# chunk servers: ", uint64(left), 0)
	for ; d.endLine() && left > 0; left-- {
		d.in.begin()
		key, info, ok := d.in.readServer()
		if !ok {
			break
		}
		d.t.str("CHUNKSERVER|i:", ipText(key.IP))
		d.t.num("|p:", uint64(key.Port), 5)
		if d.in.version >= serverID {
			d.t.num("|#:", uint64(info.ID), 5)
		}
		switch d.in.version {
		case serverMaintenance:
			d.t.letter("|m:", info.Maintenance != 0, '1', '0')
			continue
		case serverTimeout:
		default:
			continue
		}
		mode := " ???"
		if int(info.Maintenance) < len(maintenanceText) {
			mode = maintenanceText[info.Maintenance]
		}
		d.t.str("|m:", mode)
		d.t.num("|t:", uint64(info.Timeout), 10)
	}
	return d.in.err
}

func compareServers(c *comparer) error {
	seen := map[meta.Server]bool{}
	for left := c.in.u32(); left > 0; left-- {
		c.in.begin()
		key, info, ok := c.in.readServer()
		if !ok {
			return c.in.err
		}
		seen[key] = true
		if image, ok := c.st.Servers.Get(key); !ok {
			c.missing("CSDB", serverText(key), info)
		} else if image != info {
			c.fields("CSDB", serverText(key), 0, info, image)
		}
	}
	for key, info := range c.st.Servers.Scan(meta.Server{}) {
		if !seen[key] {
			c.extra("CSDB", serverText(key), 0, info)
		}
	}
	return c.in.err
}

func serverText(key meta.Server) string { return fmt.Sprintf("%s:%d", ipText(key.IP), key.Port) }
