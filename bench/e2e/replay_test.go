package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAvoidReplayBugs(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"groups get a digit", "5: 9|SNAPSHOT(1,2,a,0,72,7,[1002,5],18):0,0,0,0,0,1\n", "5: 9|SNAPSHOT(1,2,a,0,72,7,[11002,15],18):0,0,0,0,0,1\n"},
		{"a name with brackets stays", "5: 9|SNAPSHOT(1,2,[3],0,72,0,[0],18):0,0,0,0,0,1\n", "5: 9|SNAPSHOT(1,2,[3],0,72,0,[10],18):0,0,0,0,0,1\n"},
		{"others stay", "5: 9|CREATE(1,[7],18):0,1,420,0,0,0,0):3\n", "5: 9|CREATE(1,[7],18):0,1,420,0,0,0,0):3\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(avoidReplayBugs([]byte(tc.in))); got != tc.want {
				t.Fatalf("%q became %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestHasRepair(t *testing.T) {
	for line, want := range map[string]bool{
		"3: 9|REPAIR(7,0):2\n": true, "3: 9|REPAIR(7,0):0\n": false, "3: 9|CREATE(1,REPAIR(1%2C2):3,1,0):4\n": false,
	} {
		if got := HasRepair([]byte(line)); got != want {
			t.Errorf("HasRepair(%q) = %v, want %v", line, got, want)
		}
	}
}

func TestChangelogBetween(t *testing.T) {
	write := func(t *testing.T, files map[string]string) string {
		t.Helper()
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	full := map[string]string{
		"changelog.10.mfs": "1: 5|A()\n2: 5|B()\n", "changelog.2.mfs": "3: 6|C()\n", "changelog.0.mfs": "4: 7|D()\n5: 7|E()\n",
	}
	got, err := ChangelogBetween(write(t, full), 2, 5)
	if want := "2: 5|B()\n3: 6|C()\n4: 7|D()\n"; err != nil || string(got) != want {
		t.Errorf("versions 2 to 4: got %q, %v, want %q", got, err, want)
	}
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a lost file": {map[string]string{"changelog.1.mfs": "1: 5|A()\n", "changelog.0.mfs": "3: 5|C()\n"}, "version 3 follows 1"},
		"a lost end":  {map[string]string{"changelog.0.mfs": "1: 5|A()\n2: 5|B()\n"}, "the master lost lines"},
		"garbage":     {map[string]string{"changelog.0.mfs": "1: 5|A()\nx\n"}, `line "x" has no version`},
	} {
		if _, err := ChangelogBetween(write(t, tc.files), 1, 4); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want %q", name, err, tc.want)
		}
	}
}

func TestDifferences(t *testing.T) {
	got := Differences([]string{"a", "b", "d"}, []string{"b", "c", "d", "e"})
	if want := []string{"-a", "+c", "+e"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestUsableChunkservers(t *testing.T) {
	const list = "chunk servers:|10.77.0.10|9422|3|A|3.0.117|0|maintenance_off|1|14503968768|68719476736|-|0|0|0\n" +
		"chunk servers:|10.77.0.11|9423|2|B|3.0.117|0|maintenance_off|0|0|0|-|0|0|0\n"
	if got := usableChunkservers(list); got != 1 {
		t.Fatalf("counted %d, want 1: only the first one told its space:\n%s", got, list)
	}
}
