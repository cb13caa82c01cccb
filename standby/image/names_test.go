package image

import (
	"fmt"
	"slices"
	"testing"

	"mfsstandby/changelog/meta"
)

// changer gives a function that changes the state, a version each time.
func changer(t *testing.T, img *Image) func(func(*meta.State)) {
	return func(f func(*meta.State)) {
		t.Helper()
		err := img.Update(func(st *meta.State, pos Position) (Position, error) {
			f(st)
			pos.Version++
			return pos, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A view's Names are those of its List, whatever happened to the directory's
// buckets, and none of a neighbour's.
func TestNamesAreThoseOfTheList(t *testing.T) {
	img := openTest(t, t.TempDir())
	defer img.Close()
	const dir = meta.Inode(7)
	change := changer(t, img)
	name := func(i int) []byte { return fmt.Appendf(nil, "name-%d", i) }
	check := func(want int) {
		t.Helper()
		v, err := img.View()
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		var got, list []string
		if err := v.Names(dir, func(name []byte, child meta.Inode) { got = append(got, fmt.Sprintf("%s %d", name, child)) }); err != nil {
			t.Fatal(err)
		}
		for _, e := range v.State().Edges.List(dir) {
			list = append(list, fmt.Sprintf("%s %d", e.Name, e.Child))
		}
		slices.Sort(got)
		slices.Sort(list)
		if len(got) != want || !slices.Equal(got, list) {
			t.Fatalf("%d names, the list has %d, want %d", len(got), len(list), want)
		}
	}
	check(0)
	change(func(st *meta.State) {
		for _, d := range []meta.Inode{dir - 1, dir, dir + 1} {
			for i := range 1000 {
				st.Edges.InsertHead(d, name(i), meta.Inode(100+i), i%2 == 0, uint64(5000-i))
			}
		}
	})
	check(1000)
	change(func(st *meta.State) {
		for i := range 990 {
			st.Edges.Delete(dir, name(i))
		}
	})
	check(10)
	change(func(st *meta.State) {
		for i := 990; i < 1000; i++ {
			st.Edges.Delete(dir, name(i))
		}
	})
	check(0)
}

// The stamp of a directory differs when any of its names does, and only then as
// long as it is cached.
func TestStamp(t *testing.T) {
	img := openTest(t, t.TempDir())
	defer img.Close()
	const dir = meta.Inode(7)
	change := changer(t, img)
	stamp := func() (s Stamp) {
		t.Helper()
		if err := img.Read(func(st *meta.State, _ Position) error { s = st.Edges.(edgeTable).Stamp(dir); return nil }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	change(func(st *meta.State) {
		for _, d := range []meta.Inode{dir, dir + 1} {
			st.Dirs.Insert(d, meta.Dir{})
			st.Edges.InsertHead(d, []byte("first"), 100, false, 5000)
		}
	})
	for _, tc := range []struct {
		what    string
		differs bool
		f       func(st *meta.State)
	}{
		{"nothing", false, func(*meta.State) {}},
		{"a name at the head", true, func(st *meta.State) { st.Edges.InsertHead(dir, []byte("head"), 101, false, 4000) }},
		{"a name at the tail", true, func(st *meta.State) { st.Edges.InsertTail(dir, []byte("tail"), 102, false, 6000) }},
		{"an id", true, func(st *meta.State) { st.Edges.SetID(dir, []byte("tail"), 7000) }},
		{"a name less", true, func(st *meta.State) { st.Edges.Delete(dir, []byte("first")) }},
		{"a name less and another one instead", true, func(st *meta.State) {
			st.Edges.Delete(dir, []byte("head"))
			st.Edges.InsertHead(dir, []byte("head"), 103, false, 4000)
		}},
		{"the directory next to it", false, func(st *meta.State) { st.Edges.Delete(dir+1, []byte("first")) }},
		{"the directory's own record", false, func(st *meta.State) { d, _ := st.Dirs.Edit(dir); d.Elements = 2 }},
	} {
		before := stamp()
		change(tc.f)
		if differs := stamp() != before; differs != tc.differs {
			t.Errorf("%s: that the stamp differs is %v", tc.what, differs)
		}
	}
	before := stamp()
	if err := img.Commit(true); err != nil || stamp() != before {
		t.Errorf("a commit changes the stamp, %v", err)
	}
	change(func(st *meta.State) { st.Edges.Delete(dir, []byte("tail")) })
	if err := img.Reset(); err != nil || stamp() == before {
		t.Errorf("going back leaves the stamp of pages that are no more, %v", err)
	}
}
