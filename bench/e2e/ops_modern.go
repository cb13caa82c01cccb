package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// adminTool runs a tool that works on the whole file system, at the place where
// its release wants the mount.
func (k *worker) adminTool(name string, args ...string) error {
	if k.cluster.modern {
		return k.tool(name, append([]string{args[0], "-M", k.root()}, args[1:]...)...)
	}
	return k.tool(name, append([]string{k.root()}, args...)...)
}

// modernClass draws what only a class of 4.x has.
func (k *worker) modernClass() []string {
	var args []string
	if k.chance(30) {
		args = append(args, "-A", oneOf(k, []string{"@4+1", "@8+1"}))
	}
	if k.chance(30) {
		args = append(args, "-o", oneOf(k, []string{"a", "m", "c", "r", "acr", "f", "p"}), "-s", oneOf(k, []string{"0", "1000"}))
	}
	if k.chance(30) {
		args = append(args, "-T", oneOf(k, []string{"A", "2*"}), "-t", fmt.Sprint(k.rng.IntN(30)))
	}
	if k.chance(30) {
		args = append(args, "-c", oneOf(k, []string{"some words", "%,)"}), "-p", fmt.Sprint(k.rng.IntN(10)), "-g", fmt.Sprint(k.rng.IntN(16)))
	}
	return args
}

// exchange gives two nodes each other's name.
func (k *worker) exchange() error {
	a, err := k.file()
	if err != nil {
		return err
	}
	b, err := k.file()
	if err != nil {
		return err
	}
	return k.renameFlags(a, b, unix.RENAME_EXCHANGE)
}

// renameNew renames to a name that must be free.
func (k *worker) renameNew() error {
	from, err := k.file()
	if err != nil {
		return err
	}
	to := k.newPath()
	if k.chance(20) {
		if to, err = k.file(); err != nil {
			return err
		}
	}
	if err := k.renameFlags(from, to, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	k.names.remove(from, false)
	k.names.add(to, false)
	return nil
}

func (k *worker) renameFlags(from, to string, flags uint) error {
	root := k.root()
	return unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, from), unix.AT_FDCWD, filepath.Join(root, to), flags)
}

// globs are patterns that names of the workload fit now and then.
var globs = []string{"*", "f*", "*1", "*[0-4]?", "?*a*", "d*"}

// toolPattern adds and removes patterns.
func (k *worker) toolPattern() error {
	args := []string{"-n", oneOf(k, globs)}
	if k.chance(40) {
		args = append(args, "-u", fmt.Sprint(users[k.rng.IntN(len(users))].UID))
	}
	if k.chance(40) {
		args = append(args, "-g", fmt.Sprint(users[k.rng.IntN(len(users))].GID))
	}
	if k.chance(40) {
		return k.adminTool("mfspatadmin", append([]string{"delete"}, args...)...)
	}
	args = append(args, "-p", fmt.Sprint(k.rng.IntN(256)))
	if k.chance(50) {
		args = append(args, "-c", k.class())
	}
	if k.chance(50) {
		args = append(args, "-t", fmt.Sprint(k.rng.IntN(50)))
	}
	args = append(args, "-f", oneOf(k, []string{"+noowner", "-noowner,+noattrcache", "+nodatacache"}))
	return k.adminTool("mfspatadmin", append([]string{"add"}, args...)...)
}

// trashInode picks a file in the trash.
func (k *worker) trashInode() (uint32, error) {
	path, err := k.trashEntry()
	if err != nil {
		return 0, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return uint32(info.Sys().(*syscall.Stat_t).Ino), nil
}

// recoverTrash takes a file out of the trash, to where it was or elsewhere, as a
// client of its own: the tool of 4.59.2 does not find its mount.
func (k *worker) recoverTrash() error {
	return k.askMaster(wire.TrashRecover, func(e *wire.Encoder, inode uint32) {
		path := ""
		if k.chance(60) {
			path = oneOf(k, []string{"back", "back/in/here", "base1", "base1/x.txt", "%,)"})
		}
		e.U32(inode)
		e.U32(1) // below the root
		e.Text([]byte(path))
		e.U16(uint16(oneOf(k, []int{0, 0o22, 0o77})))
		e.U32(uint32(k.user.UID))
		e.U32(1)
		e.U32(uint32(k.user.GID))
		e.U8(uint8(k.rng.IntN(2)))
	})
}

// removeTrash removes a file from the trash.
func (k *worker) removeTrash() error {
	return k.askMaster(wire.TrashRemove, func(e *wire.Encoder, inode uint32) {
		e.U32(inode)
		e.U32(uint32(k.user.UID))
	})
}

// askMaster sends a request about a file in the trash on a connection of its own.
func (k *worker) askMaster(t wire.Type, body func(e *wire.Encoder, inode uint32)) error {
	inode, err := k.trashInode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	nc, err := k.cluster.Dial(ctx, ClientAddress)
	if err != nil {
		return errNothing // the master starts again
	}
	defer nc.Close()
	deadline, _ := ctx.Deadline()
	nc.SetDeadline(deadline)
	var e wire.Encoder
	(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: wire.NewRelease(4, 59, 2), Info: []byte("trash\x00"), Path: []byte("/")}).Append(&e)
	e.Begin(t)
	e.U32(1)
	body(&e, inode)
	e.End()
	if _, err := nc.Write(e.Buf); err != nil {
		return errNothing
	}
	for in := bufio.NewReader(nc); ; {
		typ, payload, err := wire.ReadPacket(in, nil, 1<<16)
		if err != nil {
			return errNothing
		}
		if typ != t.Reply() {
			continue
		}
		if _, status, ok := wire.ReplyStatus(payload); ok && status != meta.OK {
			return errNothing
		}
		return nil
	}
}
