package stock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Settings are those of an mfsmaster.cfg that matter to who runs its master.
type Settings struct {
	Config      string // absolute path of the file
	Data        string // data directory, absolute
	Clients     string // HOST:PORT to connect to as a client
	Metaloggers string // HOST:PORT to connect to as a metalogger
	UID, GID    int    // of the master's files
}

// What a master of 3.0.117 takes for values that are not set.
const (
	defaultData = "/var/lib/mfs"
	defaultUser = "mfs"
)

// ReadSettings reads an mfsmaster.cfg.
func ReadSettings(path string) (*Settings, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values := parse(string(text))
	get := func(name, without string) string {
		if v, ok := values[name]; ok {
			return v
		}
		return without
	}
	s := &Settings{Config: path, Data: get("DATA_PATH", defaultData)}
	if !filepath.IsAbs(s.Data) {
		return nil, fmt.Errorf("%s: DATA_PATH is %q: give an absolute path", path, s.Data)
	}
	for _, to := range []struct {
		address    *string
		name, port string
	}{{&s.Clients, "MATOCL", "9421"}, {&s.Metaloggers, "MATOML", "9419"}} {
		host, port := get(to.name+"_LISTEN_HOST", "*"), get(to.name+"_LISTEN_PORT", to.port)
		if host == "*" {
			host = "127.0.0.1"
		}
		*to.address = net.JoinHostPort(host, port)
	}
	if s.UID, s.GID, err = ids(get("WORKING_USER", defaultUser), get("WORKING_GROUP", "")); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// parse reads lines NAME = VALUE as the master does: # at the beginning makes a
// comment, and the last value of a name counts.
func parse(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, "=")
		if ok && !strings.HasPrefix(line, "#") {
			values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return values
}

// ids finds the numbers of a user and a group, each a name or #NUMBER. Without
// a group it is the user's.
func ids(name, group string) (uid, gid int, err error) {
	var who *user.User
	if number, ok := strings.CutPrefix(name, "#"); ok {
		who, err = user.LookupId(number)
		if err != nil {
			who, err = &user.User{Uid: number, Gid: number}, nil
		}
	} else {
		who, err = user.Lookup(name)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("WORKING_USER: %w", err)
	}
	number := who.Gid
	if g, ok := strings.CutPrefix(group, "#"); ok {
		number = g
	} else if group != "" {
		found, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, fmt.Errorf("WORKING_GROUP: %w", err)
		}
		number = found.Gid
	}
	uid, err = strconv.Atoi(who.Uid)
	if err == nil {
		gid, err = strconv.Atoi(number)
	}
	return uid, gid, err
}

// lockName is the file in its data directory that a running master has locked.
const lockName = ".mfsmaster.lock"

// Running returns the number of the process that has a master's data directory,
// 0 if there is none.
func Running(data string) (pid int, err error) {
	f, err := os.OpenFile(filepath.Join(data, lockName), os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("asking for the lock of %s: %w", data, err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, nil
	}
	return int(lock.Pid), nil
}
