package changelog_test

import (
	"fmt"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// plans are requests of a world with the directory 2 of user 1000 (name d), the
// file 3 in it (f), the symlink 4 (s) and the file 5 in the trash.
var plannable = []string{
	"CREATE(1,d,2,2029,0,1000,1000,0):2", "CREATE(2,f,1,420,0,1000,1000,0):3", "SYMLINK(1,s,x,0,0):4",
	"CREATE(1,t,1,420,0,0,0,0):5", "UNLINK(1,t):5", "SCSET(own,1,W1,K2,A1,1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0):10",
}

// Requests become the entries of 3.0.117, or end in its statuses; the first
// check that fails decides.
func TestPlan(t *testing.T) {
	session := meta.Session{Root: meta.Root, MaxGoal: 9, MaxTrash: 1 << 31}
	admin, ro, sub, few, metaMount := session, session, session, session, session
	admin.Flags = changelog.SessionAdmin
	ro.Flags = changelog.SessionReadOnly
	sub.Root = 2
	few.Disables = uint32(changelog.DisableUnlink)
	metaMount.Root = 0
	mkdir := func(parent meta.Inode, name string) changelog.Request {
		return &changelog.CreateRequest{Parent: parent, Base: []byte(name), Type: meta.TypeDir, Mode: 0o755, Umask: 0o22, CopySetGID: true}
	}
	unlink := &changelog.UnlinkRequest{Parent: 2, Base: []byte("f")}
	for _, tc := range []struct {
		name    string
		session meta.Session
		uid     uint32
		r       changelog.Request
		want    string // entry with its results, or status
	}{
		{"mkdir", session, 7, mkdir(1, "n"), "CREATE(1,n,2,493,18,7,7,0):6"},
		{"setgid of the parent", session, 0, mkdir(2, "n"), "CREATE(2,n,2,1517,18,0,1000,0):6"},
		{"no right", session, 7, mkdir(2, "n"), "permission denied (status 4)"},
		{"no right comes before a bad name", session, 7, mkdir(2, ""), "permission denied (status 4)"},
		{"bad name", session, 0, mkdir(1, "a/b"), "invalid argument (status 6)"},
		{"name is used", session, 0, mkdir(1, "d"), "file exists (status 5)"},
		{"read-only comes first", ro, 7, mkdir(99, ""), "read-only file system (status 33)"},
		{"not a directory", session, 0, mkdir(3, "n"), "not a directory (status 2)"},
		{"inode 1 of a subdirectory", sub, 0, mkdir(1, "n"), "CREATE(2,n,2,1517,18,0,1000,0):6"},
		{"outside of a subdirectory", sub, 0, &changelog.LinkRequest{Inode: 4, Parent: 1, Base: []byte("n")}, "no such file or directory (status 3)"},
		{"unlink", session, 1000, unlink, "UNLINK(2,f):3"},
		{"sticky bit", session, 7, &changelog.UnlinkRequest{Parent: 2, Base: []byte("f")}, "permission denied (status 4)"},
		{"disabled", few, 0, unlink, "operation not permitted (status 1)"},
		{"rmdir of a file", session, 0, &changelog.UnlinkRequest{Parent: 2, Base: []byte("f"), Dir: true}, "not a directory (status 2)"},
		{"rename into itself", session, 0, &changelog.RenameRequest{SrcParent: 1, SrcBase: []byte("d"), DstParent: 2, DstBase: []byte("x")}, "invalid argument (status 6)"},
		{"rename", session, 0, &changelog.RenameRequest{SrcParent: 1, SrcBase: []byte("s"), DstParent: 2, DstBase: []byte("f")}, "MOVE(1,s,2,f):4"},
		{"chown clears", session, 0, &changelog.SetAttrRequest{Inode: 2, Mask: changelog.SetUID, UID: 5, Clear: changelog.ClearAlways}, "ATTR(2,1005,5,1000,1700000001,1700000001,0,0)"},
		{"chown as ext does", session, 0, &changelog.SetAttrRequest{Inode: 2, Mask: changelog.SetUID, UID: 5, Clear: changelog.ClearExt}, "ATTR(2,2029,5,1000,1700000001,1700000001,0,0)"},
		{"chmod of another's", session, 7, &changelog.SetAttrRequest{Inode: 3, Mask: changelog.SetMode}, "operation not permitted (status 1)"},
		{"touch another's", session, 7, &changelog.SetAttrRequest{Inode: 3, Mask: changelog.SetMtimeNow}, "permission denied (status 4)"},
		{"truncate", session, 1000, &changelog.TruncateRequest{Inode: 3, Length: 70}, "LENGTH(3,70,1)"},
		{"truncate too far", session, 0, &changelog.TruncateRequest{Inode: 3, Length: 1 << 58}, "chunk index too big (status 10)"},
		{"empty append", session, 0, &changelog.AppendRequest{Inode: 3, Source: 3}, "invalid argument (status 6)"},
		{"trash time of a tree", session, 1000, &changelog.TrashTimeRequest{Inode: 1, TrashTime: 3600, Mode: 4}, "SETTRASHTIME(1,1000,3600,4):2,0,1"},
		{"class of administrators", session, 0, &changelog.ClassRequest{Inode: 3, ByName: true, Dst: []byte("own")}, "operation not permitted (status 1)"},
		{"class", admin, 0, &changelog.ClassRequest{Inode: 2, ByName: true, Dst: []byte("own"), Mode: 4}, "SETSCLASS(2,0,1,10,4):2,0,0"},
		{"class by others in a tree", session, 0, &changelog.ClassRequest{Inode: 2, ByName: true, Dst: []byte("own"), Mode: 4}, "SETSCLASS(2,0,1,10,4):0,0,2"},
		{"eattr of administrators", session, 0, &changelog.EattrRequest{Inode: 3, Eattr: meta.EattrImmutable, Mode: 1}, "operation not permitted (status 1)"},
		{"quota by others", session, 0, &changelog.QuotaRequest{Inode: 2, Limits: meta.Quota{Flags: 1}}, "operation not permitted (status 1)"},
		{"quota", admin, 0, &changelog.QuotaRequest{Inode: 2, Limits: meta.Quota{Flags: 0x11, SoftInodes: 5, HardInodes: 9, HardSize: 3}}, "QUOTA(2,0,17,0,5,9,0,0,0,0,0,0,0)"},
		{"no quota to remove", admin, 0, &changelog.QuotaRequest{Inode: 2, Remove: true, Limits: meta.Quota{Flags: 1}}, "QUOTA(2,0,0,0,0,0,0,0,0,0,0,0,0)"},
		{"new class by others", session, 0, &changelog.ClassDeleteRequest{Name: []byte("own")}, "only for administrators (status 49)"},
		{"delete a predefined class", admin, 0, &changelog.ClassDeleteRequest{Name: []byte("3")}, "operation not permitted (status 1)"},
		{"undelete outside of a meta mount", session, 0, &changelog.UndeleteRequest{Inode: 5}, "operation not permitted (status 1)"},
		{"undelete", metaMount, 0, &changelog.UndeleteRequest{Inode: 5}, "UNDEL(5)"},
		{"snapshot", session, 0, &changelog.SnapshotRequest{Source: 2, Parent: 1, Base: []byte("c"), Umask: 0o22}, "SNAPSHOT(2,1,c,0,64,0,[0],18):1,0,0,0,0,2"},
		{"remove what is no snapshot", session, 0, &changelog.SnapshotRequest{Parent: 1, Base: []byte("d"), Mode: 0x80}, "operation not permitted (status 1)"},
		{"xattr of the system", session, 7, &changelog.XattrRequest{Inode: 3, Attr: []byte("system.x")}, "operation not permitted (status 1)"},
		{"no such xattr", session, 0, &changelog.XattrRequest{Inode: 3, Attr: []byte("user.x"), Mode: 3}, "no such attribute (status 38)"},
		{"nothing to note", session, 0, &changelog.TimesRequest{Inode: 3, Mtime: 5}, "OK (status 0)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.do(plannable...)
			gid := tc.uid
			c := changelog.NewCaller(1, &tc.session, true, tc.uid, []uint32{gid}, nil)
			before := *w.st.Scalars
			op, status := tc.r.Plan(w.st, &c, w.now+9)
			if *w.st.Scalars != before {
				t.Fatal("planning changed the state")
			}
			got := status.Error()
			if op != nil {
				if err := changelog.Originate(w.st, changelog.Entry{Time: w.now + 9, Op: op}); err != nil {
					t.Fatal(err)
				}
				wantConsistent(t, w.st, tc.name)
				got = string(op.AppendArgs(fmt.Append(nil, op.Name())))
			}
			if got != tc.want {
				t.Fatalf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// A user mapped by its session, and what he may.
func TestCaller(t *testing.T) {
	w := newWorld(t)
	w.do(plannable...)
	mapped := meta.Session{Root: meta.Root, Flags: changelog.SessionMapAll, RootUID: 99, RootGID: 98, MapUID: 1000, MapGID: 1000}
	root := changelog.NewCaller(1, &mapped, true, 0, []uint32{0, 5}, nil)
	w.want("mapped root", fmt.Sprint(root.UID, root.GIDs, root.RootMapped), "99 [98 5] true")
	user := changelog.NewCaller(1, &mapped, true, 7, []uint32{7, 8}, nil)
	w.want("mapped user", fmt.Sprint(user.UID, user.GIDs), "1000 [1000 8]")
	n := w.node(3)
	w.want("rights of the owner", user.Rights(w.st, 3, &n), uint8(0b01010101))
	w.want("rights of others", root.Rights(w.st, 3, &n), uint8(0b00010001))
	a := user.AttributesOf(w.st, 3, &n, nil)
	w.want("owner as the user sees it", fmt.Sprint(a.UID, a.GID, a.Flags), "7 7 13")
}
