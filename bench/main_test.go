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
