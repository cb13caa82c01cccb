package image

import (
	"fmt"
	"slices"
	"testing"

	"mfsstandby/changelog/meta"
)

// A view's Names are those of its List, whatever happened to the directory's
// buckets, and none of a neighbour's.
func TestNamesAreThoseOfTheList(t *testing.T) {
	img := openTest(t, t.TempDir())
	defer img.Close()
	const dir = meta.Inode(7)
	change := func(f func(st *meta.State)) {
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
