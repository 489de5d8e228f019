//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const rounds = 7

// series is one figure over all rounds.
type series []float64

func (s series) median() float64 {
	c := slices.Clone(s)
	slices.Sort(c)
	return c[len(c)/2]
}

func (s series) spread() string {
	m := s.median()
	return fmt.Sprintf("%s (%+.0f%% … %+.0f%%)", figure(m), 100*(slices.Min(s)/m-1), 100*(slices.Max(s)/m-1))
}

func figure(v float64) string {
	switch {
	case v >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

// row is one line of the table.
type row struct {
	what, ours, bare, ratio, target string
	met                             string
}

type table struct{ rows []row }

// ratio adds a line that compares two series. atMost says in which direction the target lies.
func (t *table) ratio(what, unit string, ours, bare series, target float64, atMost bool) {
	q := ours.median() / bare.median()
	r := row{what: what + ", " + unit, ours: ours.spread(), bare: bare.spread(), ratio: figure(q), target: "reported"}
	if target > 0 {
		sign := map[bool]string{true: "≤ ", false: "≥ "}[atMost]
		r.target = sign + strconv.FormatFloat(target, 'g', 3, 64)
		r.met = map[bool]string{true: "met", false: "MISSED"}[atMost == (q <= target) || q == target]
	}
	t.rows = append(t.rows, r)
}

func (t *table) plain(what, value, target, met string) {
	t.rows = append(t.rows, row{what: what, ours: value, bare: "–", ratio: "–", target: target, met: met})
}

func (t *table) print() {
	head := row{"measured", "Cardea: median (noise)", "bare: median (noise)", "ratio", "target", ""}
	width := [6]int{}
	all := append([]row{head}, t.rows...)
	for _, r := range all {
		for i, c := range r.cells() {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	fmt.Println()
	for n, r := range all {
		var b strings.Builder
		for i, c := range r.cells() {
			b.WriteString("| " + c + strings.Repeat(" ", width[i]-len([]rune(c))) + " ")
		}
		fmt.Println(b.String() + "|")
		if n == 0 {
			for _, w := range width {
				fmt.Print("|" + strings.Repeat("-", w+2))
			}
			fmt.Println("|")
		}
	}
	fmt.Println()
}

func (r row) cells() [6]string {
	return [6]string{r.what, r.ours, r.bare, r.ratio, r.target, r.met}
}

// load is one target of wrk.
type load struct {
	name    string
	url     string
	headers []string
	post    string // body; "" is GET
	pids    []int  // processes whose CPU counts
	rps     series
	cpu     series // microseconds of server CPU a request
}

// turns runs wrk against each load in turn, rounds times.
func turns(t *testing.T, seconds int, loads ...*load) {
	t.Helper()
	for _, l := range loads {
		l.once(t, 1) // warm up; not counted
		l.rps, l.cpu = nil, nil
	}
	for range rounds {
		for _, l := range loads {
			l.once(t, seconds)
		}
	}
}

func (l *load) once(t *testing.T, seconds int) {
	t.Helper()
	args := []string{"-t1", "-c16", fmt.Sprintf("-d%ds", seconds)}
	for _, h := range l.headers {
		args = append(args, "-H", h)
	}
	if l.post != "" {
		args = append(args, "-s", postScript(t, l.post))
	}
	before := cpuOf(t, l.pids)
	out, err := exec.Command("wrk", append(args, l.url)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: wrk: %v\n%s", l.name, err, out)
	}
	used := cpuOf(t, l.pids) - before
	if strings.Contains(string(out), "Non-2xx") {
		t.Fatalf("%s: refused requests\n%s", l.name, out)
	}
	var requests, rps float64
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) > 1 && f[1] == "requests" {
			requests, _ = strconv.ParseFloat(f[0], 64)
		}
		if len(f) == 2 && f[0] == "Requests/sec:" {
			rps, _ = strconv.ParseFloat(f[1], 64)
		}
	}
	if requests == 0 {
		t.Fatalf("%s: no requests counted\n%s", l.name, out)
	}
	l.rps = append(l.rps, rps)
	l.cpu = append(l.cpu, float64(used.Microseconds())/requests)
}

// cpuOf adds up user and system time of processes, in ticks of 10 ms.
func cpuOf(t *testing.T, pids []int) time.Duration {
	t.Helper()
	var ticks int64
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		ticks += user + system
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// residentMiB is a process's resident memory.
func residentMiB(t *testing.T, pid int) float64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
