package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func (k *worker) xattrName() string {
	if k.user.UID == 0 && k.chance(20) {
		return oneOf(k, []string{"trusted.t", "security.lab", "trusted.%,)"})
	}
	return "user." + oneOf(k, []string{"a", "b", "mime", "x %,)", "ü\n", "c(d"})
}

func (k *worker) setxattr() error {
	path, err := k.anything()
	if err != nil {
		return err
	}
	flags := oneOf(k, []int{0, 0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE})
	var value []byte
	switch n := k.rng.IntN(100); {
	case n < 5:
	case n < 95:
		value = k.bytes(60)
	default:
		value = k.bytes(40_000)
	}
	return unix.Lsetxattr(k.on(path), k.xattrName(), value, flags)
}

func (k *worker) removexattr() error {
	path, err := k.anything()
	if err != nil {
		return err
	}
	return unix.Lremovexattr(k.on(path), k.xattrName())
}

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// acl returns a POSIX ACL as Linux passes it in an extended attribute: version 2,
// then tag, permissions, id for each entry.
func (k *worker) acl() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 2)
	entry := func(tag, id uint32) {
		b = le.AppendUint16(b, uint16(tag))
		b = le.AppendUint16(b, uint16(k.rng.IntN(8)))
		b = le.AppendUint32(b, id)
	}
	const userObj, user, groupObj, group, mask, other, nobody = 1, 2, 4, 8, 16, 32, 0xFFFFFFFF
	named := k.rng.IntN(4)
	entry(userObj, nobody)
	for i := range named {
		entry(user, uint32(1001+i))
	}
	entry(groupObj, nobody)
	if k.chance(40) {
		entry(group, 1002)
		named++
	}
	if named > 0 || k.chance(20) {
		entry(mask, nobody)
	}
	entry(other, nobody)
	return b
}

func (k *worker) setACL() error {
	if k.chance(30) {
		return unix.Setxattr(k.on(k.dir()), aclDefault, k.acl(), 0)
	}
	path, err := k.anything()
	if err != nil {
		return err
	}
	if filepath.Dir(path) == "." {
		return errNothing // the first directories stay open for everybody
	}
	return unix.Setxattr(k.on(path), aclAccess, k.acl(), 0)
}

func (k *worker) removeACL() error {
	if k.chance(50) {
		return unix.Removexattr(k.on(k.dir()), aclDefault)
	}
	path, err := k.anything()
	if err != nil {
		return err
	}
	return unix.Removexattr(k.on(path), aclAccess)
}

func (k *worker) sgidDir() error {
	path := k.newPath()
	real := k.on(path)
	if err := unix.Mkdir(real, 0o777); err != nil {
		return err
	}
	k.names.add(path, true)
	if err := unix.Lchown(real, -1, 1002); err != nil {
		return err
	}
	return unix.Chmod(real, 0o2777)
}

// flock takes, converts or leaves a lock on a file held open; two descriptors of
// one process are two owners.
func (k *worker) flock() error {
	if len(k.open) == 0 {
		return k.holdOpen()
	}
	how := oneOf(k, []int{unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN})
	return unix.Flock(int(oneOf(k, k.open).Fd()), how|unix.LOCK_NB)
}

// rangeLock does the same with byte ranges, in half of the cases as the process
// and else as the descriptor.
func (k *worker) rangeLock() error {
	if len(k.open) == 0 {
		return k.holdOpen()
	}
	lock := unix.Flock_t{
		Type:  oneOf(k, []int16{unix.F_RDLCK, unix.F_WRLCK, unix.F_WRLCK, unix.F_UNLCK}),
		Start: k.rng.Int64N(300),
		Len:   k.rng.Int64N(200), // 0: to the end
	}
	if k.chance(10) {
		lock.Start, lock.Len = 0, 0
	}
	command := unix.F_SETLK
	if k.chance(50) {
		command = unix.F_OFD_SETLK
	}
	return unix.FcntlFlock(oneOf(k, k.open).Fd(), command, &lock)
}

// lockProcess lets another process hold a lock, and sometimes wait for one,
// while the workload goes on; it may be killed with the lock.
func (k *worker) lockProcess() error {
	path, err := k.file()
	if err != nil {
		return err
	}
	if info, err := os.Lstat(k.on(path)); err != nil || !info.Mode().IsRegular() {
		return errNothing // it would wait for ever to open a FIFO
	}
	seconds := fmt.Sprint(1 + k.rng.IntN(4))
	kind := oneOf(k, []string{"-s", "-x"})
	cmd := exec.Command("flock", kind, "-w", "2", k.on(path), "sleep", seconds)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	k.cancel = append(k.cancel, func() {
		cmd.Process.Kill()
		<-ended
	})
	return nil
}
