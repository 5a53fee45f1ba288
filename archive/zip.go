package archive

import (
	"bytes"
	"slices"
)

const (
	// maxEnds bounds the end records of one file that are followed.
	maxEnds = 64
	// maxEndHits bounds those that are looked at.
	maxEndHits = 4096
	// reach is how far from the end programs look for the end record.
	reach = 22 + 0xffff
)

// span is a range of octets that something accounts for.
type span struct{ from, to int64 }

// zipFile is one look at octets that hold one or several zips. Nothing of it
// is believed: every record that some program may go by is read, and what
// none of them accounts for is searched (attacks 2.Z, ZipDiff).
type zipFile struct {
	w       *walker
	data    []byte
	quiet   bool // what lies in front and behind is known already
	members []zipMember
	spans   []span // sorted, without overlaps
	ends    []endRecord
	dirs    map[int64]bool // offsets of directories that were read
	known   map[int64]bool // offsets of central headers that were read
}

// zipMember is one member with the headers that tell of it.
type zipMember struct {
	central, local *header
	from, to       int64 // of the packed data, as the directory says
	extra          int64 // end of unclaimed octets behind it, 0 none
}

// zip reads octets that begin as a zip.
func (w *walker) zip(data []byte) error { return w.zipRun(data, false) }

// zipQuiet reads a zip inside a file of another kind.
func (w *walker) zipQuiet(data []byte) error { return w.zipRun(data, true) }

func (w *walker) zipRun(data []byte, quiet bool) error {
	z := &zipFile{w: w, data: data, quiet: quiet, dirs: map[int64]bool{}, known: map[int64]bool{}}
	if err := z.readEnds(); err != nil {
		return err
	}
	if len(z.ends) == 0 {
		w.flag("zip-no-directory", "")
		if bytes.HasPrefix(data, []byte(descSign)) {
			w.flag("volume", "")
		}
	}
	if err := z.searchGaps(); err != nil {
		return err
	}
	slices.SortStableFunc(z.members, func(a, b zipMember) int { return int(min(max(a.start()-b.start(), -1), 1)) })
	z.flagOverlaps()
	z.flagDuplicates()
	for i := range z.members {
		if err := z.emit(&z.members[i]); err != nil {
			return err
		}
	}
	return nil
}

// start is where the member begins in the file.
func (m *zipMember) start() int64 {
	if m.local != nil {
		return m.local.from
	}
	return m.from
}

// readEnds follows the end records from the last to the first: programs take
// the last one that pleases them, readers of streams and old ones another.
func (z *zipFile) readEnds() error {
	var hits []int64
	for at := nextEnd(z.data, 0); at >= 0; at = nextEnd(z.data, at+4) {
		if hits = append(hits, at); len(hits) > maxEndHits {
			z.w.flag("zip-comment-end", "")
			hits = slices.Delete(hits, 0, maxEndHits/2)
		}
	}
	for i := len(hits) - 1; i >= 0; i-- {
		if err := z.w.tick(); err != nil {
			return err
		}
		if z.covered(hits[i]) {
			continue
		}
		if len(z.ends) >= maxEnds {
			z.w.flag("zip-comment-end", "")
			break
		}
		z.readEnd(hits[i])
	}
	return nil
}

// readEnd follows one end record.
func (z *zipFile) readEnd(at int64) {
	e, _ := endAt(z.data, at)
	before := len(z.ends)
	// the record without its comment: a comment may hold anything, and what is
	// in it is looked at as well
	z.claim(at, at+22)
	views := []endRecord{e}
	if x := e.wide; x != nil {
		z.claim(x.from, x.to)
		if disagree(&e) {
			z.w.flag("zip64-disagrees", "")
			views = append(views, *x)
		} else {
			views = []endRecord{*x}
		}
	}
	found, fresh := false, false
	for _, v := range views {
		stop := e.from
		if e.wide != nil {
			stop = e.wide.from
		}
		f, n := z.readDirectories(v, stop)
		found, fresh = found || f, fresh || n
	}
	e.disk = e.disk && e.wide == nil
	switch {
	case e.disk:
		z.w.flag("volume", "")
	case !found && e.count != 0 && z.masked():
		z.w.flag("encrypted-directory", "")
	case !found && before > 0:
		z.w.flag("zip-comment-end", "")
		return
	case !found:
		z.w.flag("corrupt", "")
	}
	if before > 0 {
		if fresh {
			z.w.flag("zip-concatenated", "")
		} else {
			z.w.flag("zip-comment-end", "")
		}
	}
	z.ends = append(z.ends, e)
}

// disagree tells that the plain record says something else than the zip64 one,
// where it does not say that it has no room for the truth.
func disagree(e *endRecord) bool {
	x := e.wide
	return e.count != 0xffff && e.count != x.count || e.size != 0xffffffff && e.size != x.size ||
		e.offset != 0xffffffff && e.offset != x.offset
}

// masked tells that the first local header hides its fields, since the
// directory is encrypted (7.3).
func (z *zipFile) masked() bool {
	at := nextLocal(z.data, 0)
	h, ok := localAt(z.data, at)
	return ok && h.flags&(flagMasked|flagStrong) != 0
}

// readDirectories reads the directory where the record says, and where it is
// by its size. fresh tells that it was not read before.
func (z *zipFile) readDirectories(e endRecord, stop int64) (found, fresh bool) {
	if e.count == 0 && e.size == 0 {
		return true, false
	}
	var places []int64
	if e.size <= uint64(stop) {
		places = append(places, stop-int64(e.size))
	}
	if e.offset <= uint64(stop) && !slices.Contains(places, int64(e.offset)) {
		places = append(places, int64(e.offset))
	}
	for i, p := range places {
		if _, ok := centralAt(z.data, p); !ok {
			continue
		}
		if found && i > 0 {
			z.w.flag("zip-count", "two directories")
		}
		found = true
		if z.dirs[p] {
			continue
		}
		z.dirs[p], fresh = true, true
		z.readDirectory(p, stop, e, p-int64(min(e.offset, 1<<62)))
	}
	return found, fresh
}

// readDirectory reads the records that stand in a row, whatever their number
// should be. base is what stands in front of the archive.
func (z *zipFile) readDirectory(at, stop int64, e endRecord, base int64) {
	from, n := at, uint64(0)
	for at < stop && z.w.tick() == nil {
		h, ok := centralAt(z.data, at)
		if !ok || z.known[at] {
			break
		}
		z.known[at] = true
		n++
		at = h.to
		if !z.addCentral(&h, base) {
			z.claim(from, stop)
			return
		}
	}
	z.claim(from, at)
	if sign, ok := z.digital(at); ok {
		at = sign
	}
	switch {
	case n&0xffff > e.count && n != e.count:
		z.w.flag("zip-hidden-directory", "")
	case n != e.count && n&0xffff != e.count, uint64(at-from) != e.size:
		z.w.flag("zip-count", "")
	}
}

// digital steps over the signature of a directory (4.3.13).
func (z *zipFile) digital(at int64) (int64, bool) {
	b := z.data[min(at, int64(len(z.data))):]
	if len(b) < 6 || string(b[:4]) != "PK\x05\x05" {
		return at, false
	}
	to := min(at+6+int64(le16(b[4:])), int64(len(z.data)))
	z.claim(at, to)
	return to, true
}

// addCentral finds what a directory record speaks of.
func (z *zipFile) addCentral(h *header, base int64) bool {
	if z.tooMany() {
		return false
	}
	m := zipMember{central: h}
	// an offset that counts from the start of the file wins over one that
	// counts from the start of the archive when both lead to a header
	for _, at := range []int64{base + h.local, h.local} {
		if l, ok := localAt(z.data, at); ok {
			m.local, m.from = &l, l.to
			m.to = m.from + int64(min(h.packed, uint64(int64(len(z.data))-min(m.from, int64(len(z.data))))))
			z.claim(l.from, m.to)
			z.claimDescriptor(&m)
			break
		}
	}
	z.members = append(z.members, m)
	return true
}

// tooMany keeps the list of members within the entries that may be visited.
func (z *zipFile) tooMany() bool {
	if len(z.members) <= z.w.b.left.Entries {
		return false
	}
	z.w.flag("entries", "")
	return true
}

// claimDescriptor accounts for the record behind streamed data (4.3.9).
func (z *zipFile) claimDescriptor(m *zipMember) {
	c := m.central
	if (c.flags|m.local.flags)&flagDescriptor == 0 {
		return
	}
	b := z.data[m.to:]
	signed := bytes.HasPrefix(b, []byte(descSign))
	if signed {
		b = b[4:]
	}
	n := int64(0)
	switch {
	case len(b) >= 20 && le32(b) == c.crc && le64(b[4:]) == c.packed && le64(b[12:]) == c.size:
		n = 20
	case len(b) >= 12 && le32(b) == c.crc && uint64(le32(b[4:])) == c.packed&0xffffffff && uint64(le32(b[8:])) == c.size&0xffffffff:
		n = 12
	case signed && len(b) >= 12:
		n = 12
		if c.flags&flagMasked == 0 {
			z.w.flag("zip-descriptor", string(c.name))
		}
	default:
		z.w.flag("zip-streamed", string(c.name))
		return
	}
	if signed {
		n += 4
	}
	z.claim(m.to, m.to+n)
}

// claim accounts for a range. Ranges mostly come in order, and then this costs
// nothing.
func (z *zipFile) claim(from, to int64) {
	to = min(to, int64(len(z.data)))
	if from >= to {
		return
	}
	i, _ := slices.BinarySearchFunc(z.spans, from, func(s span, at int64) int { return int(min(max(s.to-at, -1), 1)) })
	j := i
	for j < len(z.spans) && z.spans[j].from <= to {
		from, to = min(from, z.spans[j].from), max(to, z.spans[j].to)
		j++
	}
	z.spans = slices.Replace(z.spans, i, j, span{from, to})
}

// covered tells that an offset is accounted for.
func (z *zipFile) covered(at int64) bool {
	i, _ := slices.BinarySearchFunc(z.spans, at+1, func(s span, at int64) int { return int(min(max(s.to-at, -1), 1)) })
	return i < len(z.spans) && z.spans[i].from <= at
}

// gaps are the ranges that nothing accounts for.
func (z *zipFile) gaps() []span {
	var out []span
	at := int64(0)
	for _, s := range z.spans {
		if s.from > at {
			out = append(out, span{at, s.from})
		}
		at = s.to
	}
	if at < int64(len(z.data)) {
		out = append(out, span{at, int64(len(z.data))})
	}
	return out
}
