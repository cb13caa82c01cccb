package exports

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"mfsstandby/changelog"
	"mfsstandby/replicator/wire"
)

// maxLine is the longest line that mfsmaster reads in one piece.
const maxLine = 9999

// Names looks up users and groups.
type Names interface {
	// User returns the ids of a user by name or, if name is a number, by uid.
	User(name string) (uid, gid uint32, ok bool)
	Group(name string) (gid uint32, ok bool)
}

// Parse reads a file. Lines that mfsmaster leaves out are left out, each with
// a warning; the error is r's.
func Parse(r io.Reader, names Names) (l *List, warnings []string, err error) {
	p := parser{names: names, defaults: Export{
		Grant: Grant{
			Flags: changelog.SessionReadOnly, MinGoal: 1, MaxGoal: 9, Groups: math.MaxUint16, MaxTrash: math.MaxUint32,
			RootUID: 999, RootGID: 999, MapUID: 999, MapGID: 999,
		},
	}}
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxLine+1)
	l = &List{}
	for n := 1; scan.Scan(); n++ {
		p.line = n
		e, ok, err := p.parseLine(strings.TrimRight(scan.Text(), " \t\r\n"))
		if err != nil {
			p.warn("%v: the line is left out", err)
		}
		if ok && err == nil {
			l.Exports = append(l.Exports, e)
			l.sum += e.checksum()
		}
	}
	return l, p.warnings, scan.Err()
}

type parser struct {
	names    Names
	defaults Export
	line     int
	warnings []string
}

func (p *parser) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf("line %d: ", p.line)+fmt.Sprintf(format, args...))
}

// word cuts the first word off a line.
func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}

func (p *parser) parseLine(text string) (e Export, ok bool, err error) {
	e = p.defaults
	text = strings.TrimLeft(text, " \t")
	if text == "" || text[0] == '#' {
		return e, false, nil
	}
	if !strings.ContainsAny(text, " \t") {
		return e, false, errors.New("incomplete definition")
	}
	net, rest := word(text)
	if strings.EqualFold(net, "DEFAULTS") {
		if err := p.options(&e, rest); err != nil {
			return e, false, err
		}
		// mfsmaster lists this line too, as an export to 0.0.0.0 alone.
		p.defaults = e
		return e, true, nil
	}
	if e.From, e.To, ok = parseNet(net); !ok {
		return e, false, fmt.Errorf("%q is no address, range or network", net)
	}
	path, rest := word(rest)
	if path == "." {
		e.Meta, e.Path = true, ""
		if !e.rootMapped {
			e.RootUID, e.RootGID = 0, 0
		}
	} else {
		e.Path = strings.Trim(path, "/")
	}
	if rest == "" {
		return e, true, nil
	}
	return e, true, p.options(&e, rest)
}

// cleanPath is the form in which paths are compared.
func cleanPath(path string) string {
	path, _, _ = strings.Cut(path, "\x00")
	return strings.Trim(path, "/")
}

// options parses the list of options onto e.
func (p *parser) options(e *Export, list string) error {
	e.hasGoals, e.hasGroups = false, false
	for option := range strings.SplitSeq(list, ",") {
		option = strings.Trim(option, " \t")
		name, value, hasValue := strings.Cut(option, "=")
		set, known := optionTable[name]
		if !known || set.value != hasValue {
			p.warn("unknown option %q is ignored", option)
			continue
		}
		if e.Meta && set.noMeta {
			p.warn("option %q is ignored for the trash", option)
			continue
		}
		if err := set.set(p, e, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if e.hasGoals { // whatever groups are given
		e.Groups = changelog.GoalGroups(e.MinGoal, e.MaxGoal)
	}
	if e.Flags&changelog.SessionMapAll != 0 && !e.rootMapped {
		e.RootUID, e.RootGID = e.MapUID, e.MapGID
	}
	return nil
}

type option struct {
	value  bool // has one
	noMeta bool // without effect for the trash
	set    func(p *parser, e *Export, value string) error
}

func flag(bits uint8, on bool) func(*parser, *Export, string) error {
	return func(_ *parser, e *Export, _ string) error {
		e.Flags &^= bits
		if on {
			e.Flags |= bits
		}
		return nil
	}
}

var optionTable = map[string]option{
	"ro":             {set: flag(changelog.SessionReadOnly, true)},
	"readonly":       {set: flag(changelog.SessionReadOnly, true)},
	"rw":             {set: flag(changelog.SessionReadOnly, false)},
	"readwrite":      {set: flag(changelog.SessionReadOnly, false)},
	"dynamicip":      {set: flag(changelog.SessionDynamicIP, true)},
	"ignoregid":      {noMeta: true, set: flag(changelog.SessionIgnoreGID, true)},
	"admin":          {noMeta: true, set: flag(changelog.SessionAdmin, true)},
	"canchangequota": {noMeta: true, set: flag(changelog.SessionAdmin, true)}, // the name before "admin"
	"alldirs":        {noMeta: true, set: func(_ *parser, e *Export, _ string) error { e.AllDirs = true; return nil }},
	"maproot":        {value: true, noMeta: true, set: setMapRoot},
	"mapall":         {value: true, noMeta: true, set: setMapAll},
	"password":       {value: true, set: setPassword},
	"md5pass":        {value: true, set: setMD5},
	"minversion":     {value: true, set: setMinVersion},
	"umask":          {value: true, set: setUmask},
	"mingoal":        {value: true, set: setMinGoal},
	"maxgoal":        {value: true, set: setMaxGoal},
	"sclassgroups":   {value: true, set: setGroups},
	"mintrashtime":   {value: true, set: setMinTrash},
	"maxtrashtime":   {value: true, set: setMaxTrash},
	"disable":        {value: true, noMeta: true, set: setDisable},

	// The names in 4.x.
	"mintrashretention": {value: true, set: setMinTrash},
	"maxtrashretention": {value: true, set: setMaxTrash},
}

func setMapRoot(p *parser, e *Export, v string) (err error) {
	e.RootUID, e.RootGID, err = p.owner(v)
	e.rootMapped = err == nil
	return err
}

func setMapAll(p *parser, e *Export, v string) (err error) {
	e.MapUID, e.MapGID, err = p.owner(v)
	e.Flags |= changelog.SessionMapAll
	return err
}

// owner parses USER[:GROUP], by name or number.
func (p *parser) owner(v string) (uid, gid uint32, err error) {
	user, group, hasGroup := strings.Cut(v, ":")
	if hasGroup {
		var ok bool
		if gid, ok = number(group); !ok {
			if gid, ok = p.names.Group(group); !ok {
				return 0, 0, fmt.Errorf("there is no group %q", group)
			}
		}
	}
	id, isNumber := number(user)
	if isNumber && hasGroup {
		return id, gid, nil
	}
	uid, own, ok := p.names.User(user)
	if !ok {
		return 0, 0, fmt.Errorf("there is no user %q", user)
	}
	if isNumber {
		uid = id
	}
	if !hasGroup {
		gid = own
	}
	return uid, gid, nil
}

// number parses digits as mfsmaster does: none are 0, and it wraps.
func number(s string) (n uint32, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint32(s[i]-'0')
	}
	return n, true
}

func setPassword(_ *parser, e *Export, v string) error {
	e.Password, e.Digest = true, md5.Sum([]byte(v))
	return nil
}

func setMD5(_ *parser, e *Export, v string) error {
	b, err := hex.DecodeString(v)
	if err != nil || len(b) != md5.Size {
		return fmt.Errorf("%q is not 32 hexadecimal digits", v)
	}
	e.Password = true
	copy(e.Digest[:], b)
	return nil
}

// setMinVersion takes x, x.y or x.y.z. The number made of it is compared with
// a client's as it is, although clients since 2.0 send z doubled.
func setMinVersion(_ *parser, e *Export, v string) error {
	parts := strings.Split(v, ".")
	var version uint32
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || i > 2 || part[0] == '+' {
			return fmt.Errorf("%q is no version", v)
		}
		version |= uint32(n) << (16 - 8*i)
	}
	e.MinVersion = wire.Release(version)
	return nil
}

// setUmask takes a 0 and three octal digits; what follows them is not looked at.
func setUmask(_ *parser, e *Export, v string) error {
	if len(v) < 4 || v[0] != '0' {
		return fmt.Errorf("%q is no umask of the form 0022", v)
	}
	n, err := strconv.ParseUint(v[1:4], 8, 16)
	if err != nil {
		return fmt.Errorf("%q is no umask of the form 0022", v)
	}
	e.Umask = uint16(n)
	return nil
}

func setMinGoal(_ *parser, e *Export, v string) error { return setGoal(e, &e.MinGoal, v) }
func setMaxGoal(_ *parser, e *Export, v string) error { return setGoal(e, &e.MaxGoal, v) }

func setGoal(e *Export, at *uint8, v string) error {
	if len(v) != 1 || v[0] < '1' || v[0] > '9' {
		return fmt.Errorf("%q is no goal of 1 to 9", v)
	}
	*at, e.hasGoals = v[0]-'0', true
	if e.MinGoal > e.MaxGoal {
		return errors.New("mingoal is above maxgoal")
	}
	return nil
}

// setGroups takes "-" for none, or numbers below 16 with colons between. Several
// of these add up.
func setGroups(_ *parser, e *Export, v string) error {
	var groups uint16
	if v != "-" {
		for text := range strings.SplitSeq(v, ":") {
			n, ok := octet(text)
			if !ok || n > 15 {
				return fmt.Errorf("%q is no list of storage class groups of the form 0:3:15", v)
			}
			groups |= 1 << n
		}
	}
	if e.hasGroups {
		groups |= e.Groups
	}
	e.Groups, e.hasGroups, e.newer = groups, true, true
	return nil
}

func setMinTrash(_ *parser, e *Export, v string) error { return setTrash(e, &e.MinTrash, v) }
func setMaxTrash(_ *parser, e *Export, v string) error { return setTrash(e, &e.MaxTrash, v) }

func setTrash(e *Export, at *uint32, v string) error {
	t, ok := parseTime(v)
	if !ok {
		return fmt.Errorf("%q is no time of the form 2h, 1w3d or 600", v)
	}
	*at = t
	if e.MinTrash > e.MaxTrash {
		return errors.New("mintrashtime is above maxtrashtime")
	}
	return nil
}

// timeUnits are in the order in which they may appear.
var timeUnits = []struct {
	letter  byte
	seconds uint64
}{{'W', 604800}, {'D', 86400}, {'H', 3600}, {'M', 60}, {'S', 1}}

// parseTime parses seconds, or numbers with units, the largest first. 2^32 is
// let through and becomes 0, as in mfsmaster.
func parseTime(v string) (uint32, bool) {
	const most = 1 << 32
	v = strings.ToUpper(v)
	var total uint64
	for next := 0; ; {
		digits := 0
		for digits < len(v) && v[digits] >= '0' && v[digits] <= '9' {
			digits++
		}
		n, err := strconv.ParseUint(v[:digits], 10, 64)
		if err != nil || n > most {
			return 0, false
		}
		if v = v[digits:]; v == "" {
			if next > 0 {
				return 0, false
			}
			return uint32(n), true
		}
		unit := next
		for unit < len(timeUnits) && timeUnits[unit].letter != v[0] {
			unit++
		}
		if unit == len(timeUnits) {
			return 0, false
		}
		total += n * timeUnits[unit].seconds
		if total > most {
			return 0, false
		}
		if v = v[1:]; v == "" {
			return uint32(total), true
		}
		next = unit + 1
	}
}

var disableNames = []string{
	"chown", "chmod", "symlink", "mkfifo", "mkdev", "mksock", "mkdir", "unlink", "rmdir", "rename", "move", "link",
	"create", "readdir", "read", "write", "truncate", "setlength", "appendchunks", "snapshot", "settrash", "setsclass",
	"seteattr", "setxattr", "setfacl",
}

func setDisable(p *parser, e *Export, v string) error {
	for name := range strings.SplitSeq(v, ":") {
		name = strings.Trim(name, " \t")
		known := false
		for i, n := range disableNames {
			if n == name {
				e.Disables |= 1 << i
				known = true
			}
		}
		if !known {
			p.warn("unknown operation %q to disable is ignored", name)
		}
	}
	return nil
}

// parseNet parses *, IP, IP/BITS, IP/MASK and IP-IP.
func parseNet(s string) (from, to uint32, ok bool) {
	if s == "*" {
		return 0, math.MaxUint32, true
	}
	i := strings.IndexAny(s, "/-")
	if i < 0 {
		from, ok = parseIP(s)
		return from, from, ok
	}
	if from, ok = parseIP(s[:i]); !ok {
		return 0, 0, false
	}
	rest := s[i+1:]
	if s[i] == '-' {
		to, ok = parseIP(rest)
		return from, to, ok
	}
	mask, ok := parseIP(rest)
	if !ok {
		n, isNumber := octet(rest)
		if !isNumber || n > 32 {
			return 0, 0, false
		}
		mask = ^uint32(0) << (32 - n)
	}
	from &= mask
	return from, from | ^mask, true
}

func parseIP(s string) (ip uint32, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return 0, false
	}
	for _, p := range parts {
		n, ok := octet(p)
		if !ok {
			return 0, false
		}
		ip = ip<<8 | n
	}
	return ip, true
}

// octet parses digits, at least one, up to 255.
func octet(s string) (n uint32, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = n*10 + uint32(s[i]-'0'); n > 255 {
			return 0, false
		}
	}
	return n, s != ""
}
