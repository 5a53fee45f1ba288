package limits

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"garita/mail"
)

// What `garita top` counts is kept too: the night on which somebody asks it is
// the night on which the gateway was restarted.
const (
	topKey = "limits/top/"
	// mostKept is how many names of a slot are kept, the largest; keptOctets what
	// they may take, which is less than the most that the store takes as a value.
	mostKept   = 100
	keptOctets = 15 << 10
	// The slots of five minutes serve an hour, those of an hour a day.
	fineFor, coarseFor = 2 * time.Hour, 26 * time.Hour
)

// keptRow is a row in the store: its name and its numbers in the order of Row.
type keptRow struct {
	Name string   `json:"n"`
	Sums [4]int64 `json:"s"`
}

func (k slotKey) key() string {
	return fmt.Sprintf("%s%s/%d/%t/%d", topKey, k.table, k.dir, k.wide, k.at)
}

// parseSlot reads what key wrote.
func parseSlot(key string) (k slotKey, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, topKey), "/")
	if len(parts) != 4 {
		return k, false
	}
	var dir int
	_, err := fmt.Sscanf(strings.Join(parts[1:], " "), "%d %t %d", &dir, &k.wide, &k.at)
	k.table, k.dir = Table(parts[0]), mail.Direction(dir)
	known := slices.Contains([]Table{ByUser, BySender, ByRecipient, ByAddress}, k.table) && (k.dir == mail.In || k.dir == mail.Out)
	return k, err == nil && known
}

// packTop gives the largest rows of a slot.
func packTop(s map[string]*Row) []byte {
	rows := make([]*Row, 0, len(s))
	for _, r := range s {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *Row) int { return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Name, b.Name)) })
	out := []byte{'['}
	for _, r := range rows[:min(mostKept, len(rows))] {
		one, _ := json.Marshal(keptRow{r.Name, [4]int64{r.Messages, r.Recipients, r.Bytes, r.Stopped}}) // it cannot fail
		if len(out)+len(one)+2 > keptOctets {
			break
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, one...)
	}
	return append(out, ']')
}

// saveTop gives the store the slots that have changed. What fails is tried
// again the next time.
func (l *Limits) saveTop(ctx context.Context) error {
	m := l.o.Memory
	m.mu.Lock()
	list := map[slotKey][]byte{}
	for k := range m.changed {
		if s := m.slots[k]; s != nil {
			list[k] = packTop(s)
		}
	}
	clear(m.changed)
	m.mu.Unlock()
	var first error
	for k, raw := range list {
		keep := fineFor
		if k.wide {
			keep = coarseFor
		}
		if err := l.o.Store.Put(ctx, k.key(), raw, keep); err != nil {
			if first == nil {
				first = err
			}
			m.mu.Lock()
			m.changed[k] = true
			m.mu.Unlock()
		}
	}
	return first
}

// recallTop reads them, with the lock held. There are at most 8 tables of 13
// and 25 slots.
func (l *Limits) recallTop(ctx context.Context) error {
	m := l.o.Memory
	for after := ""; ; {
		page, err := l.o.Store.List(ctx, topKey, after, 500)
		if err != nil {
			return err
		}
		for _, item := range page {
			var rows []keptRow
			k, ok := parseSlot(item.Key)
			if !ok || json.Unmarshal(item.Value, &rows) != nil {
				continue
			}
			s := make(map[string]*Row, len(rows))
			for _, r := range rows[:min(len(rows), mostKept)] {
				s[r.Name] = &Row{r.Name, r.Sums[0], r.Sums[1], r.Sums[2], r.Sums[3]}
			}
			m.slots[k] = s
		}
		if len(page) < 500 {
			m.forget(l.o.Now())
			return nil
		}
		after = page[len(page)-1].Key
	}
}
