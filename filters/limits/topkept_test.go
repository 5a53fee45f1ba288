package limits

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"garita/mail"
)

// TestTopSurvives: who sent much is still there after a restart, the last hour
// and the last day alike, and a night later it is gone.
func TestTopSurvives(t *testing.T) {
	t.Parallel()
	c := newClock()
	path := filepath.Join(t.TempDir(), "state.db")
	var before [2][]Row
	spans := [2]time.Duration{time.Hour, 24 * time.Hour}
	start := func() (*kit, func() error) {
		s := c.store(t, path)
		k := newKit(t, s, func(cfg *Config) { cfg.Mode = "observe" })
		k.l.o.Now, k.l.o.Memory = c.now, NewMemory()
		k.l.recall()
		return k, s.Close
	}
	k, end := start()
	k.passes(3, msg{user: "ana@our.example"})
	c.pass(90 * time.Minute)
	k.passes(5, msg{user: "bob@our.example", rcpts: []string{"a", "b"}})
	for i, span := range spans {
		before[i] = k.l.Top(ByUser, mail.Out, span, 9)
	}
	if len(before[0]) != 1 || len(before[1]) != 2 || before[1][0].Recipients != 10 {
		t.Fatalf("%+v", before)
	}
	if err := k.l.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	end()
	k, end = start()
	for i, span := range spans {
		if got := k.l.Top(ByUser, mail.Out, span, 9); !reflect.DeepEqual(got, before[i]) {
			t.Errorf("%v: after the restart %+v, before %+v", span, got, before[i])
		}
	}
	k.passes(1, msg{user: "bob@our.example"})
	if got := k.l.Top(ByUser, mail.Out, time.Hour, 1); len(got) != 1 || got[0].Messages != 6 {
		t.Errorf("it does not go on counting: %+v", got)
	}
	if err := k.l.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	end()
	c.pass(30 * time.Hour)
	k, end = start()
	defer end()
	if got := k.l.Top(ByUser, mail.Out, 24*time.Hour, 9); len(got) != 0 {
		t.Errorf("a day later: %+v", got)
	}
}

// TestTopKept: what is kept is bounded, whatever the names are, and what is no
// slot is none.
func TestTopKept(t *testing.T) {
	t.Parallel()
	s := map[string]*Row{}
	for i := range mostKeys {
		name := fmt.Sprintf("%d%s", i, strings.Repeat("\x01\"é", 300))
		s[name] = &Row{Name: name, Messages: int64(i)}
	}
	if raw := packTop(s); len(raw) > keptOctets+1 || !strings.Contains(string(raw), "511") {
		t.Errorf("%d octets", len(raw))
	}
	if raw := packTop(nil); string(raw) != "[]" {
		t.Errorf("%q", raw)
	}
	k := slotKey{ByAddress, mail.In, true, 42}
	if got, ok := parseSlot(k.key()); !ok || got != k {
		t.Errorf("%+v from %q", got, k.key())
	}
	for _, bad := range []string{"", topKey, topKey + "users/9/true/1", topKey + "users/1/maybe/1", topKey + "passwords/1/true/1", topKey + "users/1/true"} {
		if _, ok := parseSlot(bad); ok {
			t.Errorf("%q is a slot", bad)
		}
	}
}
