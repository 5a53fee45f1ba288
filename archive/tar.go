package archive

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	block = 512
	// maxPax bounds the records of one extended header (Z-14).
	maxPax = 1 << 20
	// maxTarErrors ends the search for headers in what is no tar any more.
	maxTarErrors = 8
)

// isTar knows a tar by its sign, or by the checksum of its first header, since
// the oldest have no sign.
func isTar(b []byte) bool {
	if len(b) < block || b[0] == 0 {
		return false
	}
	sum, ok := octal(b[148:156])
	if string(b[257:262]) == "ustar" {
		return ok && checksum(b, sum) || b[156] == 0 || b[156] >= '0' && b[156] <= '7' || b[156] == 'x' || b[156] == 'g' || b[156] == 'L'
	}
	return ok && sum != 0 && checksum(b, sum)
}

// checksum compares both sums that writers have made, of signed and of
// unsigned octets.
func checksum(b []byte, want int64) bool {
	var u, s int64
	for i, c := range b[:block] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		u += int64(c)
		s += int64(int8(c))
	}
	return u == want || s == want
}

// octal reads a number as most programs do.
func octal(b []byte) (int64, bool) {
	s := strings.Trim(string(b), " \x00")
	if i := strings.IndexAny(s, " \x00"); i >= 0 {
		s = s[:i]
	}
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(s, 8, 62)
	return int64(n), err == nil
}

// number reads octal, or the base-256 form of GNU and star.
func number(b []byte) (int64, bool) {
	if b[0]&0x80 == 0 {
		return octal(b)
	}
	n := int64(b[0] & 0x3f)
	if b[0]&0x40 != 0 { // negative
		return 0, false
	}
	for _, c := range b[1:] {
		if n > 1<<54 {
			return 0, false
		}
		n = n<<8 | int64(c)
	}
	return n, true
}

// tarReader is a tolerant walk through headers: the standard library's ends at
// the first surprise, and what other programs unpack behind it would be missed.
type tarReader struct {
	w      *walker
	r      *bufio.Reader
	at     int64
	names  []string // of extended headers, for the next member
	link   string
	size   int64 // of an extended header, -1 none
	errs   int
	sparse bool
}

// tarBytes reads a tar in memory.
func (w *walker) tarBytes(data []byte) (int64, error) {
	return w.tar(bufio.NewReaderSize(bytes.NewReader(data), chunk))
}

// tar reads a tar from its stream and returns where it ended.
func (w *walker) tar(r *bufio.Reader) (int64, error) {
	t := &tarReader{w: w, r: r, size: -1}
	var h [block]byte
	zeros := 0
	for {
		if err := w.tick(); err != nil {
			return t.at, err
		}
		n, err := io.ReadFull(r, h[:])
		t.at += int64(n)
		if err != nil {
			switch {
			case zeros >= 2: // something else follows
				return t.at - int64(n), nil
			case len(bytes.Trim(h[:n], "\x00")) > 0:
				w.flag("corrupt", "")
			case zeros == 0:
				w.flag("tar-end", "")
			}
			return t.at, nil
		}
		if len(bytes.Trim(h[:], "\x00")) == 0 {
			zeros++
			continue
		}
		sum, ok := octal(h[148:156])
		good := ok && checksum(h[:], sum)
		if zeros >= 2 && !good {
			// what follows the end is not of the tar
			return t.at - block, nil
		}
		if zeros > 0 && good {
			w.flag("trailing-archive", "tar")
		}
		zeros = 0
		if !good {
			w.flag("tar-checksum", "")
			if t.errs++; t.errs > maxTarErrors {
				return t.at, nil
			}
			if string(h[257:262]) != "ustar" {
				continue
			}
		}
		if err := t.one(h[:]); err != nil || t.errs < 0 {
			return t.at, err
		}
	}
}

// one reads the member of a header.
func (t *tarReader) one(h []byte) error {
	w := t.w
	size, ok := number(h[124:136])
	if !ok {
		w.flag("tar-size", "")
		size = 0
	}
	switch h[156] {
	case 'x', 'X', 'g', 'L', 'K', 'N':
		return t.extended(h[156], size)
	}
	e := &Entry{Container: "tar", Names: t.allNames(h), Size: size}
	if t.size >= 0 && t.size != size {
		if size != 0 {
			w.flag("tar-size", first(e.Names))
		}
		e.Size, size = t.size, t.size
	}
	if string(h[257:265]) == "ustar  \x00" && h[156] == 'S' {
		w.flag("tar-sparse", first(e.Names))
		if err := t.sparseMap(h); err != nil {
			return err
		}
	} else if t.sparse {
		w.flag("tar-sparse", first(e.Names))
	}
	kind := h[156]
	link := cString(h[157:257])
	if t.link != "" {
		link = t.link
	}
	t.names, t.link, t.size, t.sparse = nil, "", -1, false
	switch kind {
	case '1', '2':
		e.Link, e.LinkTo = true, link
		// POSIX lets a hard link have data, most writers give it a size alone
		if kind == '2' || size > 0 && !t.dataFollows() {
			size = 0
		}
	case '3', '4', '6':
		w.flag("device", first(e.Names))
		e.Link, size = true, 0
	case '5':
		e.Directory = true
	}
	if kind == 0 && strings.HasSuffix(first(e.Names), "/") {
		e.Directory = true
	}
	return t.content(e, size)
}

// dataFollows tells whether the next block is no header.
func (t *tarReader) dataFollows() bool {
	b, err := t.r.Peek(block)
	return err == nil && !isTar(b) && len(bytes.Trim(b, "\x00")) > 0
}

// content reads the data of a member and hands it on.
func (t *tarReader) content(e *Entry, size int64) error {
	w := t.w
	src := &io.LimitedReader{R: t.r, N: size}
	c, err := w.read(src, size, max(size, 1))
	if err != nil {
		return err
	}
	t.at += size - src.N
	short := src.N
	w.body(e, c)
	if c.end == cut && src.N > 0 {
		n, _ := io.Copy(io.Discard, src)
		t.at += n
		short = src.N
	} else if c.end == cut {
		e.Truncated = false
	}
	if short > 0 {
		w.flag("corrupt", first(e.Names))
		e.Truncated = true
	}
	pad, _ := t.r.Discard(int(-size & (block - 1)))
	t.at += int64(pad)
	if e.Directory && len(e.Data) == 0 || e.Link && len(e.Data) == 0 {
		e.Data = nil
	}
	return w.hold(int64(len(e.Data)), func() error { return w.member(e) })
}

// allNames are the names of the header and of those that extend it: programs
// without the extension use the plain one.
func (t *tarReader) allNames(h []byte) []string {
	plain := cString(h[:100])
	if string(h[257:263]) == "ustar\x00" {
		if p := cString(h[345:500]); p != "" {
			plain = p + "/" + plain
		}
	}
	names := slices.Clone(t.names)
	if plain == "" && len(names) > 0 {
		return names
	}
	// the plain one is mostly the beginning of the long one, or its letters
	// without accents: a difference in what it opens is what counts
	if len(names) > 0 && names[0] != plain && extension(names[0]) != extension(plain) &&
		!strings.HasPrefix(names[0], plain) && !strings.HasSuffix(names[0], plain) && len(plain) < 99 {
		t.w.flag("names-differ", plain)
	}
	return append(names, plain)
}

// extended reads a header that speaks of the next member: pax (POSIX 3.1.2)
// and the long names of GNU.
func (t *tarReader) extended(kind byte, size int64) error {
	keep := min(size, maxPax)
	buf, err := io.ReadAll(io.LimitReader(t.r, keep))
	if err != nil {
		return t.w.over2()
	}
	t.at += int64(len(buf))
	if size > keep || int64(len(buf)) < keep {
		t.w.flag("corrupt", "")
		n, _ := io.CopyN(io.Discard, t.r, size-keep)
		t.at += n
	}
	pad, _ := t.r.Discard(int(-size & (block - 1)))
	t.at += int64(pad)
	switch kind {
	case 'L':
		t.addName(cString(buf))
	case 'K':
		t.link = cString(buf)
	case 'x', 'X':
		t.pax(buf)
	}
	return nil
}

// addName puts the newest name first, as the last one counts.
func (t *tarReader) addName(n string) {
	if len(t.names) >= 8 {
		t.names = t.names[:7]
	}
	t.names = slices.Insert(t.names, 0, n)
}

// pax reads records of "length key=value\n".
func (t *tarReader) pax(b []byte) {
	for len(b) > 0 {
		sp := bytes.IndexByte(b, ' ')
		if sp < 1 || sp > 10 {
			break
		}
		n, err := strconv.Atoi(string(b[:sp]))
		if err != nil || n <= sp+1 || n > len(b) {
			t.w.flag("corrupt", "")
			break
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(string(b[sp+1:n]), "\n"), "=")
		b = b[n:]
		switch key {
		case "path", "GNU.sparse.name":
			t.addName(value)
		case "linkpath":
			t.link = value
		case "size":
			if v, err := strconv.ParseInt(value, 10, 62); err == nil && v >= 0 {
				t.size = v
			} else {
				t.w.flag("tar-size", "")
			}
		}
		t.sparse = t.sparse || strings.HasPrefix(key, "GNU.sparse.")
	}
}

// sparseMap steps over the blocks of a map of the old GNU form; a flood of
// them (CVE-2025-58183) is only read over, as nothing of it is kept.
func (t *tarReader) sparseMap(h []byte) error {
	more := h[482] != 0
	for more {
		if err := t.w.tick(); err != nil {
			return err
		}
		var b [block]byte
		if n, err := io.ReadFull(t.r, b[:]); err != nil {
			t.at += int64(n)
			return nil
		}
		t.at += block
		more = b[504] != 0
	}
	return nil
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// over2 is the end of the walk, or nothing for a stream that is damaged.
func (w *walker) over2() error {
	if err := w.tick(); errors.Is(err, errOver) {
		return err
	}
	w.flag("corrupt", "")
	return nil
}
