package stock

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// Release is that of the clients that a Client takes itself for.
var Release = wire.NewRelease(3, 0, 117)

// Client is a mount of a master, as root. It is for one goroutine.
type Client struct {
	Session wire.Session

	nc   net.Conn
	in   *bufio.Reader
	buf  []byte
	out  wire.Encoder
	stop func() bool // ends watching the context
}

// maxListing bounds the answer about a directory, in bytes.
const maxListing = 1 << 30

// Dial connects to a master's port for clients and makes a session. Questions
// fail when ctx ends.
func Dial(ctx context.Context, address string) (*Client, error) {
	nc, err := (&net.Dialer{Timeout: askTime}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &Client{nc: nc, in: bufio.NewReaderSize(nc, 256<<10)}
	c.stop = context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: Release, Info: []byte("mfsstandby\x00"), Path: []byte("/")}).Append(&c.out)
	p, err := c.call(wire.FuseRegister.Reply())
	if err == nil {
		if status, ok := wire.RegisterStatus(p); ok {
			err = status
		} else {
			err = c.Session.Decode(wire.NewDecoder(p), Release)
		}
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("registering at %s: %w", address, err)
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() {
	c.stop()
	c.nc.Close()
}

// call sends what was appended, and returns the payload of the answer of type t,
// which is good until the next call.
func (c *Client) call(t wire.Type) ([]byte, error) {
	_, err := c.nc.Write(c.out.Buf)
	c.out.Buf = c.out.Buf[:0]
	if err != nil {
		return nil, err
	}
	for {
		got, p, err := wire.ReadPacket(c.in, c.buf, maxListing)
		if err != nil {
			return nil, err
		}
		c.buf = p[:0]
		if got == t {
			return p, nil
		}
	}
}

// List gives each name of a directory but "." and "..", with its attributes. What
// it gives is good until the next call.
func (c *Client) List(dir meta.Inode, each func(*wire.DirEntry)) error {
	(&wire.Readdir{MsgID: 1, Inode: dir, Identity: wire.Identity{GIDs: wire.PackNumbers(0)}, Flags: wire.ReaddirAttr, Max: 0xFFFFFFFF}).Append(&c.out)
	p, err := c.call(wire.FuseReaddir.Reply())
	if err != nil {
		return err
	}
	if _, status, ok := wire.ReplyStatus(p); ok {
		return status
	}
	head := wire.ReaddirReply{Paged: true}
	if err := head.Decode(wire.NewDecoder(p)); err != nil {
		return err
	}
	var e wire.DirEntry
	for d := wire.NewDecoder(head.Entries); d.Len() > 0; {
		if err := e.Decode(d, wire.ReaddirAttr, Release); err != nil {
			return err
		}
		if name := string(e.Name); name != "." && name != ".." {
			each(&e)
		}
	}
	return nil
}
