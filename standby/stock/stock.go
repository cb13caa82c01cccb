// Package stock drives a stock mfsmaster on this host: it finds the program, reads
// or makes a configuration for it, starts it and waits until it answers clients.
//
// Hand-over, rehearsal and benchmarks call it.
package stock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
)

// ErrNoMaster says that there is no mfsmaster to run.
var ErrNoMaster = errors.New("there is no mfsmaster here: install the package moosefs-master")

// Find returns the path of the program mfsmaster; it looks also where users have
// no path to.
func Find() (string, error) {
	for _, name := range []string{"mfsmaster", "/usr/sbin/mfsmaster", "/usr/local/sbin/mfsmaster"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoMaster
}

// DefaultNice is the nice level of a master whose configuration has none.
const DefaultNice = -19

// Private is what a master needs that nobody but this host reaches.
type Private struct {
	Config  string // path of its mfsmaster.cfg
	Data    string // its data directory, empty at first
	Clients string // HOST:PORT that clients connect to
}

// MakePrivate makes, in dir, the configuration and the data directory of a
// master that listens on free ports of the loopback device, and works as the
// present user at a nice level. exports is the content of its mfsexports.cfg.
func MakePrivate(dir, exports string, nice int) (*Private, error) {
	p := &Private{Config: filepath.Join(dir, "mfsmaster.cfg"), Data: filepath.Join(dir, "data")}
	if err := os.MkdirAll(p.Data, 0o755); err != nil {
		return nil, err
	}
	who, err := user.Current()
	if err != nil {
		return nil, err
	}
	group, err := user.LookupGroupId(who.Gid)
	if err != nil {
		return nil, err
	}
	listen, clients, err := FreeListeners()
	if err != nil {
		return nil, err
	}
	p.Clients = clients
	var text strings.Builder
	text.WriteString(listen)
	exportsFile, topology := filepath.Join(dir, "mfsexports.cfg"), filepath.Join(dir, "mfstopology.cfg")
	fmt.Fprintf(&text, "DATA_PATH = %s\nWORKING_USER = %s\nWORKING_GROUP = %s\nEXPORTS_FILENAME = %s\nTOPOLOGY_FILENAME = %s\nNICE_LEVEL = %d\n"+
		"CHANGELOG_SAVE_MODE = 1\n", // mode 0 loses lines while the master ends
		p.Data, who.Username, group.Name, exportsFile, topology, nice)
	for path, content := range map[string]string{p.Config: text.String(), exportsFile: exports, topology: ""} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// FreeListeners returns lines of mfsmaster.cfg by which a master listens on free
// addresses of the loopback device, and the one for clients.
func FreeListeners() (lines, clients string, err error) {
	addresses, err := FreeAddresses(3)
	if err != nil {
		return "", "", err
	}
	var text strings.Builder
	for i, name := range []string{"MATOML", "MATOCS", "MATOCL"} {
		host, port, err := net.SplitHostPort(addresses[i])
		if err != nil {
			return "", "", err
		}
		fmt.Fprintf(&text, "%s_LISTEN_HOST = %s\n%[1]s_LISTEN_PORT = %[3]s\n", name, host, port)
	}
	return text.String(), addresses[2], nil
}

// FreeAddresses finds addresses of the loopback device that nothing listens on.
func FreeAddresses(n int) ([]string, error) {
	var list []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only at the end, so that they differ
		list = append(list, l.Addr().String())
	}
	return list, nil
}
