package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// defaultConfig is read if it exists and no other file is named.
const defaultConfig = "/etc/mfs/mfsstandby.cfg"

// notInFile are flags that make no sense in a file.
var notInFile = []string{"config", "help", "pprof"}

// config is the configuration file of this run; the zero value is none.
type config struct {
	path    string
	flags   *pflag.FlagSet
	fromArg map[string]bool // flags that the command line set: they win
}

// setting is one line of a configuration file.
type setting struct {
	flag, value string
	line        int
}

// readConfig sets the flags that the command line did not set from the file at
// path, or from the default one.
func readConfig(path string, f *pflag.FlagSet) (config, error) {
	c := config{path: path, flags: f, fromArg: map[string]bool{}}
	f.Visit(func(flag *pflag.Flag) { c.fromArg[flag.Name] = true })
	if path == "" {
		if _, err := os.Stat(defaultConfig); errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
		c.path = defaultConfig
	}
	settings, err := c.read()
	if err != nil {
		return c, err
	}
	for _, s := range settings {
		if err := c.apply(s); err != nil {
			return c, err
		}
	}
	return c, nil
}

// apply sets one flag, unless the command line did or the command has no such.
func (c *config) apply(s setting) error {
	flag := c.flags.Lookup(s.flag)
	if c.fromArg[s.flag] || flag == nil {
		return nil
	}
	if err := flag.Value.Set(s.value); err != nil {
		return usagef("%s:%d: %s: %v", c.path, s.line, key(s.flag), err)
	}
	return nil
}

// read reads the file.
func (c *config) read() ([]setting, error) {
	file, err := os.Open(c.path)
	if err != nil {
		return nil, usagef("configuration file: %v", err)
	}
	defer file.Close()
	return parseConfig(c.path, file)
}

// parseConfig reads lines KEY = VALUE, with comments after #, as in MooseFS's
// own files. A key is a flag of any command, in capitals with _ for -.
func parseConfig(path string, r io.Reader) ([]setting, error) {
	known := knownKeys()
	var settings []setting
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		line, _, _ := strings.Cut(scan.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		flag, isKnown := known[name]
		same := func(s setting) bool { return s.flag == flag }
		switch {
		case !ok || name == "":
			return nil, usagef("%s:%d: %q is not of the form KEY = VALUE", path, n, line)
		case !isKnown:
			return nil, usagef("%s:%d: unknown key %s; keys are the long flags in capitals with _ for -, such as PRIMARY or LOG_LEVEL", path, n, name)
		case slices.ContainsFunc(settings, same):
			first := settings[slices.IndexFunc(settings, same)].line
			return nil, usagef("%s:%d: %s is set already in line %d", path, n, name, first)
		}
		settings = append(settings, setting{flag, value, n})
	}
	if err := scan.Err(); err != nil {
		return nil, usagef("configuration file %s: %v", path, err)
	}
	return settings, nil
}

// reload reads the file again. It sets those of the flags in safe that differ
// and returns their keys, and the keys of others that differ.
func (c *config) reload(safe []string) (changed, needRestart []string, err error) {
	if c.path == "" {
		return nil, nil, errors.New("there is no configuration file to read again")
	}
	settings, err := c.read()
	if err != nil {
		return nil, nil, err
	}
	var probe error
	c.flags.VisitAll(func(flag *pflag.Flag) {
		if c.fromArg[flag.Name] || slices.Contains(notInFile, flag.Name) || probe != nil {
			return
		}
		s := setting{flag: flag.Name, value: flag.DefValue}
		if i := slices.IndexFunc(settings, func(s setting) bool { return s.flag == flag.Name }); i >= 0 {
			s = settings[i]
		}
		before := flag.Value.String()
		if probe = c.apply(s); probe != nil || flag.Value.String() == before {
			return
		}
		if slices.Contains(safe, flag.Name) {
			changed = append(changed, key(flag.Name))
			return
		}
		needRestart = append(needRestart, key(flag.Name))
		if err := flag.Value.Set(before); err != nil {
			probe = fmt.Errorf("keeping %s: %w", key(flag.Name), err)
		}
	})
	return changed, needRestart, probe
}

// key is a flag's name in a configuration file.
func key(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

// knownKeys maps the keys of all commands to their flags: the commands share
// one file.
func knownKeys() map[string]string {
	known := map[string]string{}
	for _, cmd := range commands() {
		f := flagSet(cmd)
		cmd.setup(f)
		f.VisitAll(func(flag *pflag.Flag) {
			if !slices.Contains(notInFile, flag.Name) {
				known[key(flag.Name)] = flag.Name
			}
		})
	}
	return known
}
