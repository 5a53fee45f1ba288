package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"

	"github.com/bodgit/sevenzip"
	"github.com/ulikunitz/xz/lzma"
)

const (
	// maxSevenHeader bounds an unpacked header.
	maxSevenHeader = 16 << 20
	// maxSevenParts bounds folders, coders and streams.
	maxSevenParts = 1 << 16
)

var errSeven = errors.New("archive: damaged 7z header")

// seven reads 7z. The header is read here first: it is what says how much
// memory the library would take, whether names are encrypted, and it has the
// names of members whose methods the library does not know.
func (w *walker) seven(data []byte) (used int64, err error) {
	n := int64(len(data))
	if n < 32 {
		w.flag("corrupt", "")
		return n, nil
	}
	offset, size := le64(data[12:]), le64(data[20:])
	if offset > uint64(n-32) || size > uint64(n-32)-offset {
		w.flag("volume", "") // or cut short: no difference can be seen
		return n, nil
	}
	used = 32 + int64(offset+size)
	if size == 0 {
		return used, nil
	}
	var h *sevenHeader
	err = w.guard(func() (err error) {
		h, err = w.sevenHead(data, data[32+offset:used])
		return err
	})
	switch {
	case errors.Is(err, errOver):
		return used, err
	case errors.Is(err, errLocked):
		w.flag("encrypted-directory", "")
		return used, nil
	case err != nil:
		w.flagDecoder(err, "")
		return used, nil
	}
	var files []*sevenzip.File
	if h.fault == nil {
		err = w.guard(func() error {
			r, err := sevenzip.NewReader(bytes.NewReader(data[:used]), used)
			if err == nil {
				files = r.File
			}
			return err
		})
		if err != nil {
			w.flagDecoder(err, "")
		}
		if len(files) != len(h.names) {
			files = nil
		}
	} else {
		w.flagDecoder(h.fault, "")
	}
	return used, w.sevenMembers(h, files, used)
}

// sevenMembers hands on the members in their order, which is that of the
// streams, so that solid ones are unpacked once.
func (w *walker) sevenMembers(h *sevenHeader, files []*sevenzip.File, packed int64) error {
	failed := map[int]bool{}
	for i, name := range h.names {
		e := &Entry{Container: "7z", Names: []string{name}, Size: -1}
		if files == nil {
			e.Encrypted = h.locked
			if err := w.member(e); err != nil {
				return err
			}
			continue
		}
		f := files[i]
		e.Size = int64(min(f.UncompressedSize, 1<<62))
		e.Directory = f.FileInfo().IsDir()
		if f.Attributes&0x8000 != 0 && uint64(f.Attributes>>16)&modeKind == modeLink {
			e.Link = true
		}
		if e.Directory || failed[f.Stream] && e.Size > 0 {
			if err := w.member(e); err != nil {
				return err
			}
			continue
		}
		if err := w.sevenMember(e, f, packed, failed); err != nil {
			return err
		}
	}
	return nil
}

// sevenMember reads one member.
func (w *walker) sevenMember(e *Entry, f *sevenzip.File, packed int64, failed map[int]bool) error {
	var r io.ReadCloser
	err := w.guard(func() (err error) { r, err = f.Open(); return err })
	if err != nil {
		failed[f.Stream] = true
		w.flagDecoder(err, first(e.Names))
		return w.member(e)
	}
	c, err := w.read(r, e.Size, packed)
	// a reader that is closed in the middle keeps its place for the next one,
	// after it skipped the rest, which costs as much as reading it
	if err == nil && c.end == whole {
		w.guard(r.Close)
	} else {
		failed[f.Stream] = true
	}
	if err != nil {
		return err
	}
	w.body(e, c)
	if e.Link {
		e.LinkTo = string(e.Data[:min(len(e.Data), maxName)])
	}
	return w.hold(int64(len(c.data)), func() error { return w.member(e) })
}

var errLocked = errors.New("archive: encrypted header")

// sevenHeader is what the header says.
type sevenHeader struct {
	names  []string
	locked bool  // some data is encrypted
	fault  error // why the library must not read the contents
}

// sevenHead reads the header, after unpacking it if it is packed.
func (w *walker) sevenHead(data, b []byte) (*sevenHeader, error) {
	for range 4 {
		p := &sevenParser{b: b, h: &sevenHeader{}}
		switch p.byte() {
		case 0x01:
			p.header()
			if p.bad {
				return nil, errSeven
			}
			return p.h, nil
		case 0x17:
			p.streams()
			if p.bad || len(p.folders) == 0 {
				return nil, errSeven
			}
			if p.h.locked {
				return nil, errLocked
			}
			if p.h.fault != nil {
				return nil, p.h.fault
			}
			var err error
			if b, err = w.sevenUnpack(data, p); err != nil {
				return nil, err
			}
		default:
			return nil, errSeven
		}
	}
	return nil, errSeven
}

// sevenUnpack unpacks a header: stored, LZMA or LZMA2, as all writers do it.
func (w *walker) sevenUnpack(data []byte, p *sevenParser) ([]byte, error) {
	f := p.folders[0]
	if len(f.coders) != 1 || len(p.packed) < 1 || len(f.sizes) < 1 {
		return nil, errUnsupported
	}
	size := f.sizes[0]
	n := uint64(len(data))
	if size > maxSevenHeader {
		return nil, errDictionary
	}
	if p.at > n-32 || p.packed[0] > n-32-p.at {
		return nil, errSeven
	}
	raw := data[32+p.at : 32+p.at+p.packed[0]]
	var r io.Reader
	var err error
	switch c := f.coders[0]; {
	case c.id == "\x00":
		r = bytes.NewReader(raw)
	case c.id == "\x03\x01\x01" && len(c.props) == 5:
		r, err = lzmaReader(w, binary.LittleEndian.AppendUint64(bytes.Clone(c.props), size), raw)
	case c.id == "\x21" && len(c.props) == 1:
		var s *lzma2Stream
		if s, err = lzma2Reader(w, c.props[0], int64(size), raw); err == nil {
			r = s
		}
	default:
		return nil, errUnsupported
	}
	if err != nil {
		return nil, err
	}
	c, err := w.read(io.LimitReader(r, int64(size)), int64(size), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	if c.end != whole || uint64(len(c.data)) != size {
		return nil, errSeven
	}
	return c.data, nil
}

// sevenCoder and sevenFolder are what the library would allocate for.
type sevenCoder struct {
	id      string
	props   []byte
	in, out uint64
}

type sevenFolder struct {
	coders []sevenCoder
	out    uint64
	sizes  []uint64
}

// sevenParser reads the property lists of 7zFormat.txt. After the first fault
// it reads zeros.
type sevenParser struct {
	b       []byte
	bad     bool
	h       *sevenHeader
	folders []sevenFolder
	packed  []uint64
	at      uint64
	parts   uint64
}

func (p *sevenParser) byte() byte {
	if len(p.b) == 0 {
		p.bad = true
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *sevenParser) bytes(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.bad = true
		n = uint64(len(p.b))
	}
	c := p.b[:n]
	p.b = p.b[n:]
	return c
}

func (p *sevenParser) number() uint64 {
	head := p.byte()
	var v uint64
	for i, mask := 0, byte(0x80); i < 8; i, mask = i+1, mask>>1 {
		if head&mask == 0 {
			return v | uint64(head&(mask-1))<<(8*i)
		}
		v |= uint64(p.byte()) << (8 * i)
	}
	return v
}

// count reads a number of things, each of which takes room in the header.
func (p *sevenParser) count() uint64 {
	n := p.number()
	p.parts += n
	if n > maxSevenParts || p.parts > 8*maxSevenParts || p.bad {
		p.bad = true
		return 0
	}
	return n
}

// header reads the main header.
func (p *sevenParser) header() {
	for !p.bad {
		switch id := p.byte(); id {
		case 0x00:
			return
		case 0x02: // archive properties
			for !p.bad && p.byte() != 0 {
				p.bytes(p.number())
			}
		case 0x03, 0x04:
			p.streams()
		case 0x05:
			p.files()
			return
		default:
			p.bad = true
		}
	}
}

// streams reads pack, coder and substream info.
func (p *sevenParser) streams() {
	for !p.bad {
		switch p.byte() {
		case 0x00:
			return
		case 0x06:
			p.pack()
		case 0x07:
			p.unpack()
		case 0x08:
			p.substreams()
		default:
			p.bad = true
		}
	}
}

func (p *sevenParser) pack() {
	p.at = p.number()
	n := p.count()
	for !p.bad {
		switch p.byte() {
		case 0x00:
			return
		case 0x09:
			for range n {
				p.packed = append(p.packed, p.number())
			}
		case 0x0a:
			p.digests(n)
		default:
			p.bad = true
		}
	}
}

// digests steps over checksums.
func (p *sevenParser) digests(n uint64) (defined uint64) {
	defined = n
	if p.byte() == 0 {
		defined = 0
		bits := p.bytes((n + 7) / 8)
		for i := range n {
			if i/8 < uint64(len(bits)) && bits[i/8]&(0x80>>(i%8)) != 0 {
				defined++
			}
		}
	}
	p.bytes(4 * defined)
	return defined
}

func (p *sevenParser) unpack() {
	if p.byte() != 0x0b {
		p.bad = true
		return
	}
	n := p.count()
	if p.byte() != 0 { // external
		p.bad = true
	}
	for range n {
		p.folder()
		if p.bad {
			return
		}
	}
	if p.byte() != 0x0c {
		p.bad = true
	}
	for i := range p.folders {
		f := &p.folders[i]
		for range f.out {
			f.sizes = append(f.sizes, p.number())
		}
		p.judge(f)
	}
	for !p.bad {
		switch p.byte() {
		case 0x00:
			return
		case 0x0a:
			p.digests(n)
		default:
			p.bad = true
		}
	}
}

func (p *sevenParser) folder() {
	var f sevenFolder
	var in uint64
	n := p.count()
	if n > 32 {
		p.bad = true
	}
	for range n {
		head := p.byte()
		c := sevenCoder{id: string(p.bytes(uint64(head & 15))), in: 1, out: 1}
		if head&0x10 != 0 {
			c.in, c.out = p.count(), p.count()
		}
		if head&0x20 != 0 {
			c.props = p.bytes(p.number())
		}
		if head&0x80 != 0 || c.in > 32 || c.out > 32 || p.bad {
			p.bad = true
			return
		}
		in += c.in
		f.out += c.out
		f.coders = append(f.coders, c)
	}
	if f.out == 0 || in < f.out-1 {
		p.bad = true
		return
	}
	for range f.out - 1 {
		p.number()
		p.number()
	}
	if packed := in - (f.out - 1); packed > 1 {
		for range packed {
			p.number()
		}
	}
	p.folders = append(p.folders, f)
}

// judge looks at what the coders of a folder would need.
func (p *sevenParser) judge(f *sevenFolder) {
	for _, c := range f.coders {
		switch c.id {
		case "\x06\xf1\x07\x01":
			p.h.locked, p.h.fault = true, errLockedData
		case "\x03\x01\x01", "\x03\x04\x01": // LZMA, PPMd
			if len(c.props) < 5 || le32(c.props[1:]) > maxDictionary {
				p.fault(errDictionary)
			}
		case "\x21":
			if len(c.props) != 1 {
				p.bad = true
			} else if n, err := lzma.DecodeDictCap(c.props[0]); err != nil || n > maxDictionary {
				p.fault(errDictionary)
			}
		case "\x00", "\x03", "\x03\x03\x01\x03", "\x03\x03\x01\x1b", "\x03\x03\x02\x05", "\x03\x03\x05\x01",
			"\x03\x03\x08\x05", "\x04\x01\x08", "\x04\x02\x02", "\x0a":
		default:
			// others are not known, or have no bound on their memory
			p.fault(errUnsupported)
		}
	}
}

// errLockedData is told as the members are.
var errLockedData = errors.New("archive: encrypted data")

func (p *sevenParser) fault(err error) {
	if p.h.fault == nil {
		p.h.fault = err
	}
}

// substreams steps over the sizes and checksums of the files in a folder.
func (p *sevenParser) substreams() {
	num := make([]uint64, len(p.folders))
	for i := range num {
		num[i] = 1
	}
	id := p.byte()
	if id == 0x0d {
		for i := range num {
			num[i] = p.count()
		}
		id = p.byte()
	}
	total := uint64(0)
	for _, n := range num {
		total += n
	}
	if id == 0x09 {
		for _, n := range num {
			for i := uint64(1); i < n && !p.bad; i++ {
				p.number()
			}
		}
		id = p.byte()
	}
	for !p.bad && id != 0 {
		if id != 0x0a {
			p.bad = true
			return
		}
		p.digests(p.unknownDigests(num, total))
		id = p.byte()
	}
}

// unknownDigests is how many checksums follow. Folders of one file have theirs
// already when the writer gave it; both counts occur, and only one fits.
func (p *sevenParser) unknownDigests(num []uint64, total uint64) uint64 {
	if len(p.b) == 0 || p.b[0] != 1 {
		return total
	}
	many := uint64(0)
	for _, n := range num {
		if n != 1 {
			many += n
		}
	}
	for _, n := range []uint64{total, many} {
		if at := 1 + 4*n; at+1 < uint64(len(p.b)) && p.b[at] == 0 && p.b[at+1] <= 0x05 {
			return n
		}
	}
	return total
}

// files reads the names.
func (p *sevenParser) files() {
	n := p.count()
	for !p.bad {
		id := p.byte()
		if id == 0 {
			break
		}
		b := p.bytes(p.number())
		if id != 0x11 {
			continue
		}
		if len(b) == 0 || b[0] != 0 { // names elsewhere
			p.bad = true
			return
		}
		b = b[1:]
		var name []uint16
		for len(b) >= 2 && uint64(len(p.h.names)) < n {
			c := binary.LittleEndian.Uint16(b)
			b = b[2:]
			if c != 0 {
				name = append(name, c)
				continue
			}
			p.h.names = append(p.h.names, string(utf16.Decode(name)))
			name = name[:0]
		}
	}
	for uint64(len(p.h.names)) < n {
		p.h.names = append(p.h.names, "")
	}
}
