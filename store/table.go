package store

import (
	"encoding/binary"
	"math/rand/v2"
)

// table holds the values and members that may be evicted. A million greylist
// triplets must not cost a million small objects, each with pointers that the
// garbage collector follows: records lie one behind the other in chunks, and
// an index of open addressing says where. Its shard's lock guards it.
type table struct {
	slots  []uint64 // hash, and place and one; 0 is empty. A power of two.
	n      int
	chunks [][]byte
	live   int // octets of records
	waste  int // octets of records that are no more
	// dirty are the places of records that the disk does not know; some of
	// them are dead.
	dirty []uint32
}

// A record: expires (8), lengths of set, key and value (2 each), flags, and
// the three texts.
const (
	atSet, atKey, atValue, atFlags = 8, 10, 12, 14
	recordHead                     = 15

	isDirty, isStored, isDead = 1, 2, 4

	// A place is chunk and offset, 16 bits each: a shard holds up to 4 GB.
	firstChunk, maxChunk = 1 << 10, 1 << 16
	minSlots             = 16
	// slotCost is about what the index takes for each record.
	slotCost = 16
)

// record is the octets of one; a change of the table may move it.
type record []byte

func (r record) expires() int64        { return int64(binary.LittleEndian.Uint64(r)) }
func (r record) is(flag byte) bool     { return r[atFlags]&flag != 0 }
func (r record) gone(now int64) bool   { e := r.expires(); return e != 0 && e <= now }
func (r record) half(at int) int       { return int(binary.LittleEndian.Uint16(r[at:])) }
func (r record) set() []byte           { return r[recordHead : recordHead+r.half(atSet)] }
func (r record) value() []byte         { return r[len(r)-r.half(atValue):] }
func (r record) key() []byte           { return r[recordHead+r.half(atSet) : len(r)-r.half(atValue)] }
func (r record) id() itemKey           { return itemKey{string(r.set()), string(r.key())} }
func (r record) has(id itemKey) bool   { return string(r.key()) == id.key && string(r.set()) == id.set }
func (r record) setExpires(t int64)    { binary.LittleEndian.PutUint64(r, uint64(t)) }
func (r record) mark(flag byte)        { r[atFlags] |= flag }
func (r record) clear(flag byte)       { r[atFlags] &^= flag }
func recordSize(id itemKey, v int) int { return recordHead + len(id.set) + len(id.key) + v }

// bytes is about what it all takes. Dead records are counted by their bound
// (tidy): what is evicted makes room at once.
func (t *table) bytes() int { return t.live + t.live/3 + t.n*slotCost }

func (t *table) at(place uint32) record {
	c := t.chunks[place>>16]
	r := record(c[place&(maxChunk-1):])
	return r[:recordHead+r.half(atSet)+r.half(atKey)+r.half(atValue)]
}

// place of a slot that is not empty.
func place(slot uint64) uint32 { return uint32(slot) - 1 }

// find gives the slot and the record, or -1.
func (t *table) find(hash uint32, id itemKey) (int, record) {
	if t.n == 0 {
		return -1, nil
	}
	mask := len(t.slots) - 1
	for i := int(hash) & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if uint32(t.slots[i]>>32) != hash {
			continue
		}
		if r := t.at(place(t.slots[i])); r.has(id) {
			return i, r
		}
	}
	return -1, nil
}

// insert adds what is not there.
func (t *table) insert(hash uint32, id itemKey, value []byte, expires int64, flags byte) record {
	if 4*(t.n+1) > 3*len(t.slots) {
		t.index(max(minSlots, 2*len(t.slots)))
	}
	size := recordSize(id, len(value))
	last := t.room(size)
	c := t.chunks[last]
	where := uint32(last)<<16 | uint32(len(c))
	c = binary.LittleEndian.AppendUint64(c, uint64(expires))
	c = binary.LittleEndian.AppendUint16(c, uint16(len(id.set)))
	c = binary.LittleEndian.AppendUint16(c, uint16(len(id.key)))
	c = binary.LittleEndian.AppendUint16(c, uint16(len(value)))
	c = append(c, flags)
	c = append(append(append(c, id.set...), id.key...), value...)
	t.chunks[last] = c
	t.link(hash, where)
	t.n++
	t.live += size
	if flags&isDirty != 0 {
		t.dirty = append(t.dirty, where)
	}
	return record(c[len(c)-size:])
}

// room gives the chunk that has room for a record.
func (t *table) room(size int) int {
	last := len(t.chunks) - 1
	if last < 0 || len(t.chunks[last])+size > cap(t.chunks[last]) {
		last++
		t.chunks = append(t.chunks, make([]byte, 0, max(size, min(maxChunk, firstChunk<<min(last, 6)))))
	}
	return last
}

// link writes a slot; there is one free.
func (t *table) link(hash uint32, where uint32) {
	mask := len(t.slots) - 1
	i := int(hash) & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = uint64(hash)<<32 | uint64(where+1)
}

// index makes the index anew with that many slots.
func (t *table) index(size int) {
	old := t.slots
	t.slots = make([]uint64, size)
	for _, s := range old {
		if s != 0 {
			t.link(uint32(s>>32), place(s))
		}
	}
}

// markDirty notes that the disk has to be told of slot i.
func (t *table) markDirty(i int, r record) bool {
	if r.is(isDirty) {
		return false
	}
	r.mark(isDirty)
	t.dirty = append(t.dirty, place(t.slots[i]))
	return true
}

// remove takes out what stands in slot i, and moves what follows, so that no
// search ends too early. Another record may stand in slot i afterwards.
func (t *table) remove(i int) {
	r := t.at(place(t.slots[i]))
	r.mark(isDead)
	t.live -= len(r)
	t.waste += len(r)
	t.n--
	mask := len(t.slots) - 1
	for j := i; ; {
		j = (j + 1) & mask
		if t.slots[j] == 0 {
			break
		}
		// It may move to i unless its own place lies behind i.
		if home := int(t.slots[j]>>32) & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = 0
}

// tidy gives room back when much of it is dead; each octet that died pays for
// some that are copied.
func (t *table) tidy() {
	if t.waste > 32<<10+t.live/3 || len(t.slots) > minSlots && t.n < len(t.slots)/16 {
		t.rebuild()
	}
}

// rebuild copies what lives.
func (t *table) rebuild() {
	old := *t
	*t = table{}
	size := minSlots
	for 4*old.n > 3*size {
		size *= 2
	}
	if old.n > 0 {
		t.index(size)
	}
	for _, s := range old.slots {
		if s != 0 {
			r := old.at(place(s))
			t.copy(uint32(s>>32), r)
		}
	}
}

// copy adds a record of another table.
func (t *table) copy(hash uint32, r record) {
	last := t.room(len(r))
	where := uint32(last)<<16 | uint32(len(t.chunks[last]))
	t.chunks[last] = append(t.chunks[last], r...)
	t.link(hash, where)
	t.n++
	t.live += len(r)
	if r.is(isDirty) {
		t.dirty = append(t.dirty, where)
	}
}

// worst gives, of a sample that begins anywhere, what has expired or does so
// the soonest. There is at least one.
func (t *table) worst(now int64) int {
	mask := len(t.slots) - 1
	worst, when := -1, int64(0)
	for i, n := int(rand.Uint32())&mask, 0; n < sample && n < t.n; i = (i + 1) & mask {
		if t.slots[i] == 0 {
			continue
		}
		r := t.at(place(t.slots[i]))
		if r.gone(now) {
			return i
		}
		if e := r.expires(); worst < 0 || e != 0 && (when == 0 || e < when) {
			worst, when = i, e
		}
		n++
	}
	return worst
}
