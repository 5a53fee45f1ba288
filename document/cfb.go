package document

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

const (
	oleSignature = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

	cfbStorage = 1
	cfbStream  = 2
	cfbRoot    = 5

	cfbMaxRegular = 0xFFFFFFFA // sector numbers from here on are marks
	cfbMiniCutoff = 4096
	cfbMaxEntries = 100000
)

// compound reads a compound file ([MS-CFB]). It is ours since a gateway needs
// what the library that we know refuses: it gives up on the whole file at the
// first wrong index, while Office opens such files, and its paths need memory in
// the square of the depth of storages. This one reads every directory entry,
// whether the tree of siblings reaches it or not, and is linear.
type compound struct {
	data     []byte
	size     int // of a sector
	sectors  int
	fat      []uint32
	minifat  []uint32
	ministrm []byte
	entries  []entry
	damaged  string
}

// entry is one stream or storage.
type entry struct {
	name   string
	kind   byte
	clsid  [16]byte
	start  uint32
	size   int64
	parent int // -1 for the root and for what the tree does not reach
	left   uint32
	right  uint32
	child  uint32
}

// openCompound reads header, allocation tables and directory.
func openCompound(data []byte) *compound {
	c := &compound{data: data, size: 512}
	if len(data) < 512 {
		c.damaged = "short header"
		return c
	}
	if binary.LittleEndian.Uint16(data[30:]) == 12 {
		c.size = 4096
	}
	// A last sector that is cut short still counts.
	c.sectors = (len(data) - 1) / c.size
	c.readFAT()
	c.readDirectory(binary.LittleEndian.Uint32(data[48:]))
	if len(c.entries) > 0 {
		root := &c.entries[0]
		c.ministrm = c.chain(root.start, int64(len(data)))
	}
	mini := c.chain(binary.LittleEndian.Uint32(data[60:]), int64(len(data)))
	c.minifat = words(mini)
	return c
}

// sector gives one sector, shorter at the end of the file, nil outside.
func (c *compound) sector(n uint32) []byte {
	from := (int64(n) + 1) * int64(c.size)
	if n >= cfbMaxRegular || from >= int64(len(c.data)) {
		return nil
	}
	return c.data[from:min(from+int64(c.size), int64(len(c.data)))]
}

// readFAT follows the DIFAT. The table needs no more entries than there are
// sectors, so a DIFAT that names sectors again and again ends there.
func (c *compound) readFAT() {
	add := func(list []byte) {
		for ; len(list) >= 4 && len(c.fat) < c.sectors; list = list[4:] {
			n := binary.LittleEndian.Uint32(list)
			if n >= cfbMaxRegular {
				continue
			}
			s := c.sector(n)
			if s == nil {
				c.damaged = "allocation table outside the file"
				continue
			}
			c.fat = append(c.fat, words(s)...)
		}
	}
	add(c.data[76:512])
	next := binary.LittleEndian.Uint32(c.data[68:])
	for i := 0; i < c.sectors && next < cfbMaxRegular && len(c.fat) < c.sectors; i++ {
		s := c.sector(next)
		if len(s) < c.size {
			c.damaged = "allocation table outside the file"
			return
		}
		add(s[:c.size-4])
		next = binary.LittleEndian.Uint32(s[c.size-4:])
	}
}

// chain gives up to limit octets of a chain of sectors. A chain is never longer
// than the file has sectors: that ends cycles.
func (c *compound) chain(n uint32, limit int64) []byte {
	var out []byte
	for i := 0; i < c.sectors && n < cfbMaxRegular && int64(len(out)) < limit; i++ {
		s := c.sector(n)
		if s == nil {
			c.damaged = "chain outside the file"
			break
		}
		if out == nil {
			// The size is a claim: room grows with what is there.
			out = make([]byte, 0, min(limit, 1<<16)+int64(c.size))
		}
		out = append(out, s...)
		if int(n) >= len(c.fat) {
			c.damaged = "chain outside the allocation table"
			break
		}
		n = c.fat[n]
	}
	return out[:min(int64(len(out)), limit)]
}

// miniChain is chain in the mini stream.
func (c *compound) miniChain(n uint32, limit int64) []byte {
	out := make([]byte, 0, limit)
	for i := 0; i <= len(c.minifat) && n < cfbMaxRegular && int64(len(out)) < limit; i++ {
		from := int64(n) * 64
		if from >= int64(len(c.ministrm)) {
			c.damaged = "chain outside the mini stream"
			break
		}
		out = append(out, c.ministrm[from:min(from+64, int64(len(c.ministrm)))]...)
		if int(n) >= len(c.minifat) {
			break
		}
		n = c.minifat[n]
	}
	return out[:min(int64(len(out)), limit)]
}

// read gives the octets of a stream.
func (c *compound) read(e *entry) []byte {
	limit := min(e.size, int64(len(c.data)))
	if limit <= 0 {
		return nil
	}
	if e.size < cfbMiniCutoff {
		return c.miniChain(e.start, limit)
	}
	return c.chain(e.start, limit)
}

// readDirectory reads all entries and then finds the parents.
func (c *compound) readDirectory(start uint32) {
	dir := c.chain(start, int64(len(c.data)))
	for ; len(dir) >= 128 && len(c.entries) < cfbMaxEntries; dir = dir[128:] {
		e := entry{kind: dir[66], parent: -1, name: entryName(dir[:64]),
			left: binary.LittleEndian.Uint32(dir[68:]), right: binary.LittleEndian.Uint32(dir[72:]),
			child: binary.LittleEndian.Uint32(dir[76:]), start: binary.LittleEndian.Uint32(dir[116:]),
			// Version 3 leaves junk in the upper half; no mail has 4 GB.
			size: int64(binary.LittleEndian.Uint32(dir[120:]))}
		copy(e.clsid[:], dir[80:96])
		c.entries = append(c.entries, e)
	}
	if len(c.entries) == 0 {
		c.damaged = "no directory"
		return
	}
	c.findParents()
}

// findParents walks the trees of siblings; each entry is reached once at most.
func (c *compound) findParents() {
	type step struct {
		n      uint32
		parent int
	}
	reached := make([]bool, len(c.entries))
	reached[0] = true
	stack := []step{{c.entries[0].child, 0}}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if s.n >= uint32(len(c.entries)) || reached[s.n] {
			continue
		}
		reached[s.n] = true
		e := &c.entries[s.n]
		e.parent = s.parent
		stack = append(stack, step{e.left, s.parent}, step{e.right, s.parent})
		if e.kind != cfbStream {
			stack = append(stack, step{e.child, int(s.n)})
		}
	}
}

// path names an entry with the storages around it, eight at most.
func (c *compound) path(i int) string {
	var names []string
	for n := 0; i > 0 && n < 8; n++ {
		names = append(names, c.entries[i].name)
		i = c.entries[i].parent
	}
	for a, b := 0, len(names)-1; a < b; a, b = a+1, b-1 {
		names[a], names[b] = names[b], names[a]
	}
	return strings.Join(names, "/")
}

// parentName is the name of the storage around an entry.
func (c *compound) parentName(i int) string {
	if p := c.entries[i].parent; p > 0 {
		return c.entries[p].name
	}
	return ""
}

// entryName takes a name up to its end mark: the length field may lie.
func entryName(raw []byte) string {
	u := make([]uint16, 0, 32)
	for ; len(raw) >= 2; raw = raw[2:] {
		w := binary.LittleEndian.Uint16(raw)
		if w == 0 {
			break
		}
		u = append(u, w)
	}
	return string(utf16.Decode(u))
}

func words(b []byte) []uint32 {
	w := make([]uint32, 0, len(b)/4)
	for ; len(b) >= 4; b = b[4:] {
		w = append(w, binary.LittleEndian.Uint32(b))
	}
	return w
}
