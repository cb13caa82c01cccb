//go:build e2e

package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTimes measures how long after its death a primary, or a leader, is replaced,
// as a stock mount sees it: until a change is accepted that was asked for after it.
// Beside it the stock way, a metalogger whose files mfsmaster -a starts from, by a
// script that looks as often, and waits as long, as the nodes do. The address moves
// as soon as somebody can serve. MFSSTANDBY_FAILOVER_TIMES says how often; it is not
// a test, and does nothing without.
func TestTimes(t *testing.T) {
	count := int(number("MFSSTANDBY_FAILOVER_TIMES", 0))
	if count == 0 {
		t.Skip("MFSSTANDBY_FAILOVER_TIMES is not set")
	}
	for _, tc := range []struct {
		name    string
		measure func(t *testing.T) []time.Duration
	}{
		{"the primary dies", func(t *testing.T) []time.Duration { return timePrimary(t, 0) }},
		{"the leader is killed", func(t *testing.T) []time.Duration { return timePrimary(t, 5) }},
		{"the stock way", timeStock},
	} {
		var took []time.Duration
		for i := 0; len(took) < count; i++ {
			t.Run(fmt.Sprintf("%s %d", tc.name, i), func(t *testing.T) { took = append(took, tc.measure(t)...) })
			if t.Failed() {
				return
			}
			if len(took) <= i { // it is not among those to be run
				break
			}
		}
		if len(took) < count {
			continue
		}
		took = took[:count]
		slices.Sort(took)
		t.Logf("%s: median %.2f s, worst %.2f s, best %.2f s, of %d", tc.name, took[len(took)/2].Seconds(), took[len(took)-1].Seconds(), took[0].Seconds(), len(took))
	}
}

// timePrimary measures the death of the primary, or if kills is not 0 how long it
// takes that often when the leader is killed that has followed it.
func timePrimary(t *testing.T, kills int) (took []time.Duration) {
	w := newWorld(t)
	work := w.startAll()
	defer w.follow()()
	defer work.begin()()
	first := work.since(w.killMaster())
	if kills == 0 {
		defer w.checkStanding()
		return []time.Duration{first}
	}
	for range kills {
		w.settleRoles(true)
		n := w.leader()
		n.p.kill()
		took = append(took, work.since(time.Now()))
		n.start()
	}
	return took
}

// checkStanding says how long the leader took from standing to leading.
func (w *world) checkStanding() {
	text, err := os.ReadFile(w.leader().said)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "standing for leader") || strings.Contains(line, "step=") {
			w.t.Log(strings.TrimSpace(line))
		}
	}
}

// takeOver is the stock way. It looks every quarter of a second whether the master
// takes connections.
const takeOver = `
last=$(date +%%s%%3N)
while [ $(($(date +%%s%%3N) - last)) -lt 2000 ]; do
	if timeout 1 bash -c 'exec 3<>/dev/tcp/%[1]s/9421' 2>/dev/null; then last=$(date +%%s%%3N); fi
	sleep 0.25
done
cp %[2]s/metadata_ml.mfs.back %[3]s/metadata.mfs.back
cp %[2]s/changelog_ml*.mfs %[3]s
exec mfsmaster -f -c %[3]s.cfg -a start
`

func timeStock(t *testing.T) []time.Duration {
	w := newWorld(t)
	w.startMaster()
	w.mountAll()
	a, master := w.hosts["a"], w.hosts["master"]
	logger := w.path("metalogger")
	w.write("metalogger.cfg", "DATA_PATH = "+logger+"\nWORKING_USER = root\nWORKING_GROUP = root\nMASTER_HOST = "+master.ip+"\nMETA_DOWNLOAD_FREQ = 1\nMASTER_RECONNECTION_DELAY = 1\n")
	if err := os.MkdirAll(logger, 0o755); err != nil {
		t.Fatal(err)
	}
	p := a.start(w.path("metalogger.log"), "mfsmetalogger", "-f", "-c", w.path("metalogger.cfg"), "start")
	t.Cleanup(p.kill)
	work := newWork(t, w.path("mnt/work"))
	defer work.begin()()
	waitFor(t, "the metalogger", patience, func() bool {
		_, err := os.Stat(filepath.Join(logger, "metadata_ml.mfs.back"))
		log, _ := os.ReadFile(filepath.Join(logger, "changelog_ml.0.mfs"))
		return err == nil && strings.Count(string(log), "\n") > 100
	})
	w.configure("second")
	if err := os.MkdirAll(w.path("second"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := a.start(w.path("second.log"), "bash", "-c", fmt.Sprintf(takeOver, master.ip, logger, w.path("second")))
	t.Cleanup(script.kill)
	dead := w.killMaster()
	waitFor(t, "the second master", patience, func() bool {
		return a.command("bash", "-c", "exec 3<>/dev/tcp/"+a.ip+"/9421").Run() == nil
	})
	w.move("a")
	return []time.Duration{work.since(dead)}
}
