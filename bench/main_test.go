package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// made is a run with known figures: Garita three times as fast as Postfix in
// each round, while the machine's speed changes by ten.
func made() *bench {
	c := &cell{Name: "4 KB, connections reused", Systems: []string{"garita", "raw", "postfix"}, Rounds: 3}
	for i, speed := range []float64{1000, 10000, 2000} {
		c.Samples = append(c.Samples,
			sample{System: "garita", Round: i, Rate: 3.1 * speed, CPU: 39},
			sample{System: "raw", Round: i, Rate: 6 * speed, CPU: 20},
			sample{System: "postfix", Round: i, Rate: speed, CPU: 200})
	}
	return &bench{Cells: []*cell{c}, systems: map[string]*server{"garita": {}, "raw": {}, "postfix": {}},
		Idle:  []idle{{System: "garita", Sessions: 5000, PerKB: 8.1, Alive: 5000}, {System: "raw", PerKB: 4}},
		Calls: []systemCalls{{2000, 23.4, "strace", ""}}}
}

func TestRatiosAreOfRounds(t *testing.T) {
	var text strings.Builder
	made().write(&text)
	for _, want := range []string{
		"against Postfix's proxy | ≥ 3 × | 3.10 × | 6200 to 2000 | met |",
		"against the raw pass-through | ≥ 0.6 × | 0.52 × | 6200 to 12000 | **missed** |",
		"CPU a message | ≤ 40 µs | 39 µs | raw 20, postfix 200 | met |",
		"system calls a message | ≤ 30 | 23.4 |",
		"5000 sessions | ≤ 8 KB | 8.1 KB | raw 4.0 | **missed** |",
		"| garita | 6200 (3100–31000) | 39 |",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
}

func TestWithoutPostfixThereIsNoRowOfIt(t *testing.T) {
	b := made()
	delete(b.systems, "postfix")
	for _, r := range b.rows() {
		if strings.Contains(r.What, "Postfix") {
			t.Errorf("row %q", r.What)
		}
	}
}

func TestASessionThatDiedIsNotIdleMemory(t *testing.T) {
	b := made()
	b.Idle[0].PerKB, b.Idle[0].Alive = 2, 4999
	if r, ok := b.idleRow(false); !ok || r.Met {
		t.Errorf("%+v", r)
	}
}

func TestAStallInEveryMessageIsFound(t *testing.T) {
	b := made()
	b.Cells[0].config.Sessions = 1
	b.Cells[0].Samples = []sample{{System: "garita", Sent: 300, Long: 3}}
	if r := b.aloneRows(); !r[0].Met {
		t.Errorf("one in a hundred: %+v", r)
	}
	b.Cells[0].Samples[0].Long = 4
	if r := b.aloneRows(); r[0].Met {
		t.Errorf("more: %+v", r)
	}
}

func TestConfigure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte("[a]\n#k = 1\n\n[b]\nk = 2\n#other = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := configure(file, []setting{{"b", "k", "9"}, {"a", "k", "8"}}); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(file)
	if string(got) != "[a]\nk = 8\n\n[b]\nk = 9\n#other = 3\n" {
		t.Errorf("%q", got)
	}
	if configure(file, []setting{{"b", "nokey", "1"}}) == nil {
		t.Error("a key that is not there was set")
	}
}

// TestEverythingAgainstThePrevious: the ratio is of each round, and a crowd or
// a reload that is too slow is missed.
func TestEverythingAgainstThePrevious(t *testing.T) {
	c := &cell{Name: everythingOn + "4 KB", Systems: []string{"previous", "everything"}, Rounds: 2}
	for i, speed := range []float64{1000, 3000} {
		c.Samples = append(c.Samples,
			sample{System: "previous", Round: i, Rate: speed, CPU: 100},
			sample{System: "everything", Round: i, Rate: 0.95 * speed, CPU: 110})
	}
	b := &bench{Cells: []*cell{c}, revision: "abc", systems: map[string]*server{"previous": {}, "everything": {}},
		Crowds:  []crowd{{System: "everything", Sessions: 10000, P50: 1, P99: 101}, {System: "previous", Sessions: 10000, P99: 3}},
		Reloads: []reload{{Took: 900, Longest: 20}, {Took: 800, Longest: 600}}}
	var text strings.Builder
	b.write(&text)
	for _, want := range []string{
		"against revision abc | ≥ 0.9 × | 0.95 × | 1900 to 2000; CPU a message 1.10 × (110 to 100 µs) | met |",
		"beside 10000 idle sessions, p50 / p99 / longest | ≤ 100 ms | 1.0 / 101.0 / 0.0 ms | previous beside 10000: 0.0 / 3.0 / 0.0 | **missed** |",
		"lists of 100000 entries, under load | ≤ 1000 ms | 850 ms | longest 900 | met |",
		"longest message beside a reload | no stalled session | 310 ms | without a reload 0 ms | **missed** |",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
	delete(b.systems, "previous")
	for _, r := range b.rows() {
		if strings.Contains(r.What, "revision") {
			t.Errorf("row %q", r.What)
		}
	}
}

func TestCommaLists(t *testing.T) {
	if !named("", "a") || !named("b,a", "a") || named("ab", "a") {
		t.Error("a comma list has other names than it says")
	}
}
