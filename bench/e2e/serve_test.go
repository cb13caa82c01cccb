//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// servePort is where the standby serves clients, beside the master.
const servePort = "9521"

// serving is a cluster whose tree is mounted twice: from its master, and from
// a standby that follows it.
type serving struct {
	*Cluster
	t                *testing.T
	standby          *follower
	primary, replica *Mount
}

func startServing(t *testing.T, cfg Config, args ...string) *serving {
	t.Helper()
	c := startLive(t, cfg, false)
	s := &serving{Cluster: c, t: t, primary: c.mounts[0]}
	exports := c.path("cfg", "mfsexports.cfg")
	s.standby = newFollower(c, buildStandby(t), "standby", append([]string{
		"run", "--primary", MasterIP, "--listen-clients", MasterIP + ":" + servePort, "--exports", exports,
	}, args...)...)
	s.must(s.standby.start())
	s.must(s.standby.waitImage(1))
	var err error
	s.replica, err = s.mountReplica("replica", mountIP(8))
	s.must(err)
	return s
}

// mountReplica mounts the standby.
func (s *serving) mountReplica(name, address string, args ...string) (*Mount, error) {
	m, err := s.Mount(name, address, append([]string{"-P", servePort}, args...)...)
	if err == nil {
		s.t.Cleanup(func() { m.Unmount() })
	}
	return m, err
}

func (s *serving) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// sh runs a shell script on the primary's mount.
func (s *serving) sh(script string) {
	s.t.Helper()
	cmd := s.Command("bash", "-euc", script)
	cmd.Dir = s.primary.Path
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// sync waits until the replica shows what was done at the primary until now.
func (s *serving) sync() {
	s.t.Helper()
	mark := fmt.Sprintf("mark-%d", time.Now().UnixNano())
	s.must(os.WriteFile(filepath.Join(s.primary.Path, mark), nil, 0o600))
	s.must(waitFor("the standby to show the last change", patience, func() bool {
		_, err := os.Stat(filepath.Join(s.replica.Path, mark))
		return err == nil
	}))
	s.must(os.Remove(filepath.Join(s.primary.Path, mark)))
	s.must(waitFor("the standby to show the last removal", patience, func() bool {
		_, err := os.Stat(filepath.Join(s.replica.Path, mark))
		return errors.Is(err, os.ErrNotExist)
	}))
}

// output runs a script in a mount and returns what it prints, with its exit
// status, without the names of the mount and of whom it is from.
func (s *serving) output(m *Mount, script string) []string {
	s.t.Helper()
	cmd := s.Command("bash", "-c", "{ "+script+`
} 2>&1; echo "exit $?"`)
	cmd.Dir = m.Path
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s: %v", script, err)
	}
	out = bytes.ReplaceAll(out, []byte(m.Path), []byte("MOUNT"))
	out = bytes.ReplaceAll(out, []byte(MasterIP+":"+servePort), []byte(ClientAddress))
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// same runs a script in both mounts and compares what it prints, line by line.
func (s *serving) same(script string) {
	s.t.Helper()
	s.compare(script, s.output(s.primary, script), s.output(s.replica, script))
}

func (s *serving) compare(script string, want, got []string) {
	s.t.Helper()
	if slices.Equal(want, got) {
		s.t.Logf("%s: %d lines are equal", script, len(want))
		return
	}
	shown := 0
	for i := range max(len(want), len(got)) {
		w, g := lineAt(want, i), lineAt(got, i)
		if w != g {
			s.t.Errorf("%s: line %d:\nprimary %s\nreplica %s", script, i+1, w, g)
			if shown++; shown == 10 {
				return
			}
		}
	}
}

func lineAt(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(nothing)"
}

// manyNodes makes more than 10,000 nodes of all kinds.
const manyNodes = `
mkdir -p big deep wide/{a,b,c,d}/{1,2,3,4,5} odd special links acl xattr class quota
(cd big; seq -f 'file-%06g' 1 10000 | xargs touch)
(cd deep; for i in $(seq 40); do mkdir "level-$i"; cd "level-$i"; echo "$i" > here; done)
for d in wide/*/*; do for i in 1 2 3 4 5 6; do echo "$d $i" > "$d/file$i"; done; done
touch odd/' leading' odd/'trailing ' odd/$'new\nline' odd/$'\x01\xff\xfe' odd/'ünïcödé' odd/-dash odd/'"quoted"' "odd/it's" odd/'a|b' odd/'*?[' odd/'\back' odd/$(printf 'n%.0s' $(seq 255))
mkfifo special/fifo; mknod special/char c 1 3; mknod special/block b 259 65537
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("special/socket")'
ln -s relative/target special/symlink; ln -s /absolute special/absolute; ln -s "$(printf 't%.0s' $(seq 4000))" special/longlink
for i in 1 2 3 4 5; do ln wide/a/1/file1 "links/hard$i"; done; ln special/fifo links/fifo
chmod 4755 wide/a/1/file2; chmod 2775 wide/b; chmod 1777 wide/c; chmod 000 wide/a/1/file3; chown 1000:1001 wide/b/2/*; touch -d 2001-02-03T04:05:06Z wide/d/1/file1; touch -d 1970-01-01T00:00:01Z wide/d/1/file2
touch acl/{a,b,c}; mkdir acl/dir; setfacl -m u:1000:rw,g:1001:r,g:5:rwx acl/a; setfacl -m u:1000:--- acl/b; setfacl -d -m u:1000:rwx,g:7:r-x acl/dir; touch acl/dir/inherits; mkdir acl/dir/sub
touch xattr/{a,b}; setfattr -n user.one -v 1 xattr/a; setfattr -n user.two -v "$(printf 'v%.0s' $(seq 2000))" xattr/a; setfattr -n trusted.root -v secret xattr/a; setfattr -n user.empty xattr/b; setfattr -n user.dir -v x xattr
mfsscadmin create -K A,B ab; mfsscadmin create -C A -K B -A A,A -d 30 -m S archived
mkdir class/sub; touch class/{a,b,c} class/sub/{d,e}; mfssetsclass ab class/a; mfssetsclass -r archived class/sub; mfssetgoal 3 class/b
mfssettrashtime 0 class/b; mfssettrashtime -r 7200 class/sub; mfsseteattr -f noowner class/c; mfsseteattr -f noattrcache -f noentrycache -f nodatacache class/sub
touch class/immutable class/append; mfsseteattr -f immutable class/immutable; mfsseteattr -f appendonly class/append
mfssetquota -i 100 -I 200 -L 1G -s 2G -R 3G quota; mkdir quota/sub; touch quota/sub/{1,2,3}; mfssetquota -S 5M quota/sub
mfsmakesnapshot wide snapshot; mfsmakesnapshot special/symlink snapshot-of-link
head -c 200000 /dev/urandom > data; head -c 70000000 /dev/urandom > large; truncate -s 200M sparse; echo end >> sparse
echo gone > removed; rm removed; mkdir gone; echo x > gone/too; rm -r gone
`

// A mount of the standby shows what a mount of the primary shows.
func TestStandbyShowsTheSameTree(t *testing.T) {
	s := startServing(t, Config{Dir: t.TempDir(), Chunkservers: 2, Mounts: 1, Meta: true})
	s.sh(manyNodes)
	s.sync()
	for _, script := range []string{
		"find . -ls",
		"find . -printf '%p %i %y %m %n %U %G %s %D:%b %T@ %C@ %l\\n' | sed 's/ [0-9]*:/ /'",
		"ls -la --time-style=full-iso big odd special",
		"getfattr -R -P -d -m - .",
		"getfacl -R -n -P .",
		"mfsdirinfo . wide/a data special/symlink",
		"mfsgetgoal -r .", "mfsgetgoal *", "mfsgetsclass -r .", "mfsgetsclass class/*", "mfslistsclass -l .",
		"mfsgettrashtime -r .", "mfsgettrashtime class/*",
		"mfsgeteattr -r .", "mfsgeteattr class/* .",
		"mfsgetquota quota quota/sub wide",
		"mfschkarchive . class/sub data",
		"mfsfilepaths links/hard1 deep/level-1/level-2 data special/fifo",
		"stat -f -c '%t %l %i %s' .", "df -k .", "df -i .",
		"find . -type f -print0 | sort -z | xargs -0 md5sum",
		"mfsfileinfo data large sparse wide/a/1/file1", "mfscheckfile data large sparse wide/a/1/* big/file-000001",
	} {
		s.same(script)
	}
	s.refusesChanges()
	s.sameTrash()
	s.sameForUsers()
	s.sameInSubdirectory()
	s.servesWithoutPrimary()
}

// servesWithoutPrimary reads what was read before when the primary is gone.
func (s *serving) servesWithoutPrimary() {
	s.t.Helper()
	const script = "md5sum data large wide/a/*/*; ls -lR wide; getfattr -d -m - xattr/a"
	want := s.output(s.replica, script)
	s.KillMaster()
	s.compare(script, want, s.output(s.replica, script))
}

// refusesChanges tries to change what the replica shows in every way.
func (s *serving) refusesChanges() {
	s.t.Helper()
	before := s.output(s.primary, "find . -ls; getfattr -R -d -m - . 2>/dev/null; getfacl -R -n -P . 2>/dev/null")
	for _, script := range []string{
		"touch new", "touch data", "echo x > data", "echo x >> data", "mkdir new", "rm data", "rmdir quota/sub", "mv data other",
		"ln data link", "ln -s x new", "mkfifo new", "mknod new c 1 3", "chmod 700 data", "chown 5 data", "truncate -s 5 data",
		"setfattr -n user.x -v y data", "setfattr -x user.one xattr/a", "setfacl -m u:7:r data", "setfacl -b acl/a",
		"mfssetgoal 3 data", "mfssetgoal -r 3 wide", "mfssetsclass ab data", "mfssettrashtime 60 data", "mfssettrashtime -r 60 wide",
		"mfsseteattr -f noowner data", "mfsdeleattr -f noowner class/c", "mfssetquota -i 5 wide", "mfsdelquota -a quota",
		"mfsmakesnapshot data copy", "mfsappendchunks data large", "mfsfilerepair data", "mfsscadmin create -K A new",
		"mfssetarchive data", "mfsclrarchive class/sub",
	} {
		out := s.output(s.replica, script)
		// mfsappendchunks fails when it opens the file, and does not say why.
		said := strings.Contains(script, "mfsappendchunks")
		if text := strings.Join(out, "\n"); !said && !strings.Contains(text, "Read-only file system") || out[len(out)-1] == "exit 0" {
			s.t.Errorf("%s: %s", script, text)
		}
	}
	if after := s.output(s.primary, "find . -ls; getfattr -R -d -m - . 2>/dev/null; getfacl -R -n -P . 2>/dev/null"); !slices.Equal(before, after) {
		s.t.Error("trying to change the replica changed the primary")
	}
	s.same("find . -ls")
}

// sameTrash compares what meta mounts show.
func (s *serving) sameTrash() {
	s.t.Helper()
	m, err := s.mountReplica("replica-meta", mountIP(7), "-m", "-o", "mfsflattrash")
	s.must(err)
	list := "find . -path './*/undel' -prune -o -printf '%p %y %m %s %U\\n' | sort"
	s.compare(list, s.output(s.meta, list), s.output(m, list))
}

// sameForUsers compares what users may do who are not root.
func (s *serving) sameForUsers() {
	s.t.Helper()
	for _, u := range []string{"1000:1001", "1000:5", "1002:1001", "65534:65534"} {
		uid, gid, _ := strings.Cut(u, ":")
		s.same(fmt.Sprintf("setpriv --reuid %s --regid %s --clear-groups bash -c '%s'", uid, gid,
			`for f in acl/* acl/dir/* wide/a/1/* wide/b/2/* class/* xattr/*; do for m in r x; do test -$m "$f" && echo "$f $m"; done; stat -c "%n %A %u %g" "$f"; done; getfattr -d -m - xattr/a; ls acl/dir wide`))
	}
}

// sameInSubdirectory compares mounts of a part of the tree.
func (s *serving) sameInSubdirectory() {
	s.t.Helper()
	p, err := s.Mount("primary-wide", mountIP(6), "-S", "/wide")
	s.must(err)
	defer p.Unmount()
	r, err := s.mountReplica("replica-wide", mountIP(5), "-S", "/wide")
	s.must(err)
	whole := *s
	whole.primary, whole.replica = p, r
	for _, script := range []string{"find . -ls", "mfsdirinfo .", "mfsgetgoal -r .", "mfsfilepaths a/1/file1 a", "stat -c '%i %h' . .. a a/.."} {
		whole.same(script)
	}
}
