package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
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

// Packets of the client port, spoken here without the program's own encoder,
// whose tests use this package.
const (
	fuseRegister = 400
	trashRecover = 382
	trashRemove  = 384

	registerConstant = "DjI1GAQDULI5d2YjA26ypc3ovkhjvhciTQVx3CS4nYgtBoUcsljiVpsErJENHaw0"
	newSession       = 2
	client           = 4<<16 | 59<<8 | 2*2 // 4.59.2
)

func appendPacket(b []byte, typ uint32, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, typ)
	return appendText(b, payload)
}

func appendText(b, text []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

// recoverTrash takes a file out of the trash, to where it was or elsewhere, as a
// client of its own: the tool of 4.59.2 does not find its mount.
func (k *worker) recoverTrash() error {
	path := ""
	if k.chance(60) {
		path = oneOf(k, []string{"back", "back/in/here", "base1", "base1/x.txt", "%,)"})
	}
	b := appendText(binary.BigEndian.AppendUint32(nil, 1), []byte(path)) // below the root
	b = binary.BigEndian.AppendUint16(b, uint16(oneOf(k, []int{0, 0o22, 0o77})))
	for _, v := range []int{k.user.UID, 1, k.user.GID} {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return k.askMaster(trashRecover, append(b, byte(k.rng.IntN(2))))
}

// removeTrash removes a file from the trash.
func (k *worker) removeTrash() error {
	return k.askMaster(trashRemove, binary.BigEndian.AppendUint32(nil, uint32(k.user.UID)))
}

// askMaster sends a request about a file in the trash on a connection of its
// own: its number and the inode, and what is given.
func (k *worker) askMaster(typ uint32, rest []byte) error {
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
	register := append([]byte(registerConstant), newSession)
	register = binary.BigEndian.AppendUint32(register, client)
	register = appendText(appendText(register, []byte("trash\x00")), []byte("/\x00"))
	out := appendPacket(nil, fuseRegister, register)
	request := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 1), inode)
	if _, err := nc.Write(appendPacket(out, typ, append(request, rest...))); err != nil {
		return errNothing
	}
	const refused = 5 // bytes: the number and a status
	for in := bufio.NewReader(nc); ; {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return errNothing
		}
		payload := make([]byte, min(binary.BigEndian.Uint32(head[4:]), 1<<16))
		if _, err := io.ReadFull(in, payload); err != nil {
			return errNothing
		}
		if binary.BigEndian.Uint32(head[:]) != typ+1 {
			continue
		}
		if len(payload) == refused && payload[4] != 0 {
			return errNothing
		}
		return nil
	}
}
