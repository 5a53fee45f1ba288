package store

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"testing"
	"time"
)

// modelled is a table beside a map that must say the same.
type modelled struct {
	t     *testing.T
	table table
	want  map[itemKey][]byte
	dirty map[itemKey]bool
	seed  maphash.Seed
	few   uint32 // hashes are cut by it, so that many meet
}

func (m *modelled) hash(id itemKey) uint32 {
	return uint32(maphash.String(m.seed, id.set+"\x00"+id.key)) & m.few
}

// put is what Memory.set does.
func (m *modelled) put(id itemKey, value []byte, mark bool) {
	flags := byte(0)
	if mark {
		flags = isDirty
		m.dirty[id] = true
	}
	i, r := m.table.find(m.hash(id), id)
	switch {
	case r != nil && len(r.value()) == len(value):
		copy(r.value(), value)
		if mark {
			m.table.markDirty(i, r)
		}
	case r != nil:
		flags |= r[atFlags] & isDirty
		m.table.remove(i)
		fallthrough
	default:
		m.table.insert(m.hash(id), id, value, int64(len(value)), flags)
	}
	m.want[id] = bytes.Clone(value)
}

func (m *modelled) remove(id itemKey) {
	i, r := m.table.find(m.hash(id), id)
	if (r != nil) != (m.want[id] != nil) {
		m.t.Fatalf("%q: found %v", id, r != nil)
	}
	if r != nil {
		m.table.remove(i)
	}
	delete(m.want, id)
	delete(m.dirty, id)
}

func (m *modelled) check() {
	m.t.Helper()
	live, seen := 0, map[itemKey]bool{}
	for id, value := range m.want {
		_, r := m.table.find(m.hash(id), id)
		if r == nil || !bytes.Equal(r.value(), value) || r.id() != id {
			m.t.Fatalf("%q is not what it was: %q", id, r)
		}
		live += len(r)
	}
	for _, s := range m.table.slots {
		if s != 0 {
			seen[m.table.at(place(s)).id()] = true
		}
	}
	if len(seen) != len(m.want) || m.table.n != len(m.want) || m.table.live != live {
		m.t.Fatalf("%d seen, n %d of %d, %d of %d octets", len(seen), m.table.n, len(m.want), m.table.live, live)
	}
	dirty := map[itemKey]bool{}
	for _, p := range m.table.dirty {
		if r := m.table.at(p); !r.is(isDead) {
			if dirty[r.id()] || !r.is(isDirty) {
				m.t.Fatalf("%q is named twice, or is not dirty", r.id())
			}
			dirty[r.id()] = true
		}
	}
	if !maps.Equal(dirty, m.dirty) {
		m.t.Fatalf("dirty are %d, not %d", len(dirty), len(m.dirty))
	}
	if m.table.n > 0 {
		if i := m.table.worst(0); i < 0 || m.table.slots[i] == 0 {
			m.t.Fatal("nothing to evict")
		}
	}
}

func newModelled(t *testing.T, few uint32) *modelled {
	return &modelled{t: t, want: map[itemKey][]byte{}, dirty: map[itemKey]bool{}, seed: maphash.MakeSeed(), few: few}
}

// FuzzTable: whatever is put and removed in whatever order, the table says what
// a map would; also when all hashes meet.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x00a0\x00b1\x01a\x00c2\x02\x00a3"), uint8(1))
	f.Add(bytes.Repeat([]byte{0, 1, 9, 0, 2, 200, 1, 1, 0, 3, 3, 2, 2, 2}, 40), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, few uint8) {
		m := newModelled(t, uint32(few)<<24|uint32(few))
		for i := 0; i+2 < len(in) && i < 3000; i += 3 {
			id := itemKey{key: fmt.Sprint("key", in[i+1])}
			if in[i+1]%5 == 0 {
				id.set = "set"
			}
			switch in[i] % 5 {
			case 0, 1:
				m.put(id, bytes.Repeat([]byte{in[i+2]}, int(in[i+2])), in[i]%2 == 0)
			case 2, 3:
				m.remove(id)
			case 4:
				m.table.rebuild()
			}
			m.table.tidy()
		}
		m.check()
	})
}

// TestTableGrowsAndShrinks: what was taken out gives its room back, in the
// middle of everything.
func TestTableGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	m := newModelled(t, ^uint32(0))
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 3 {
		for i := range 5000 {
			m.put(itemKey{key: fmt.Sprint("triplet/", round, i)}, make([]byte, 1+r.IntN(60)), r.IntN(2) == 0)
		}
		m.check()
		for id := range maps.Clone(m.want) {
			if r.IntN(10) > 0 {
				m.remove(id)
				m.table.tidy()
			}
		}
		m.check()
		if got, most := m.table.live+m.table.waste, m.table.live+m.table.live/3+48<<10; got > most {
			t.Errorf("%d octets for %d that live", got, m.table.live)
		}
	}
	for id := range maps.Clone(m.want) {
		m.remove(id)
		m.table.tidy()
	}
	m.check()
	if len(m.table.slots) > 4*minSlots || m.table.waste > 33<<10 {
		t.Errorf("an empty table keeps %d slots and %d octets", len(m.table.slots), m.table.waste)
	}
}

// TestRecordOfAnySize: the largest names and values that the store takes have
// room in a chunk, beside others.
func TestRecordOfAnySize(t *testing.T) {
	t.Parallel()
	m := newModelled(t, ^uint32(0))
	for i := range 40 {
		key := fmt.Sprintf("%0*d", maxKey, i)
		m.put(itemKey{key: key}, bytes.Repeat([]byte{byte(i)}, maxValue), true)
		m.put(itemKey{set: "s", key: fmt.Sprint(i)}, nil, false)
		if m.want[itemKey{set: "s", key: fmt.Sprint(i)}] = []byte{}; i%8 == 0 {
			m.check()
		}
	}
	m.check()
}

// TestValueInPlace: a value of the same length is written where the old one
// stands, and nobody who was given the old one sees it change: neither a reader
// nor the batch on its way to the disk.
func TestValueInPlace(t *testing.T) {
	path := dbPath(t)
	m := openTest(t, Config{Path: path}, never)
	put := func(v string) {
		if err := m.Put(context.Background(), "greylist/t/1", []byte(v), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	got, _, _ := m.Get(t.Context(), "greylist/t/1")
	list, _ := m.List(t.Context(), "greylist/", "", 10)
	b := m.takeBatch()
	put("other")
	if string(got) != "first" || len(list) != 1 || string(list[0].Value) != "first" || len(b.items) != 1 || string(b.items[0].value) != "first" {
		t.Errorf("%q, %+v, %v", got, list, b.items)
	}
	// A batch that could not be written: the newer value is, once.
	m.giveBack(b)
	if b = m.takeBatch(); len(b.items) != 1 || string(b.items[0].value) != "other" {
		t.Errorf("%v", b.items)
	}
	m.giveBack(b)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openTest(t, Config{Path: path}, never)
	if v, ok, err := m.Get(t.Context(), "greylist/t/1"); !ok || err != nil || string(v) != "other" {
		t.Errorf("%q, %v, %v", v, ok, err)
	}
}

// TestListOfManyIsBounded: the first of many, whatever part they lie in.
func TestListOfManyIsBounded(t *testing.T) {
	t.Parallel()
	m := NewMemory()
	for i := range 3000 {
		if err := m.Put(t.Context(), fmt.Sprintf("k/%04d", i), []byte{1}, 0); err != nil {
			t.Fatal(err)
		}
	}
	list, err := m.List(t.Context(), "k/", "k/0099", 7)
	if err != nil || len(list) != 7 || list[0].Key != "k/0100" || list[6].Key != "k/0106" {
		t.Errorf("%v, %v", list, err)
	}
	if list, _ = m.List(t.Context(), "k/", "", 0); len(list) != 0 {
		t.Errorf("%v", list)
	}
}
