package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

var errDictionary = errors.New("archive: the dictionary is too large")

// stream reads formats with one member: compressed data with little around it.
// It returns where the packed data ended.
func (w *walker) stream(k kind, data []byte) (used int64, err error) {
	if k == gzKind {
		return w.gzip(data)
	}
	in := w.paced(data)
	var dec io.Reader
	err = w.guard(func() (err error) {
		switch k {
		case bz2Kind:
			dec = bzip2.NewReader(in)
		case xzKind:
			dec = newXZ(w, data)
		case lzmaKind:
			dec, err = lzmaReader(w, data[:13], data[13:])
		case zstKind:
			dec, err = zstdReader(in)
		case lz4Kind:
			dec = lz4.NewReader(in)
		case lzKind:
			dec, err = newLzip(w, data)
		case zKind:
			dec = newLZW(in)
		}
		return err
	})
	e := &Entry{Container: k.String(), Names: []string{""}, Size: -1}
	if err != nil {
		// for a guess there is nothing to say
		if k == lzmaKind && !errors.Is(err, errDictionary) {
			return 0, nil
		}
		w.flagDecoder(err, "")
		return int64(len(data)), w.member(e)
	}
	whole, err := w.single(e, dec, int64(len(data)))
	if c, ok := dec.(io.Closer); ok {
		c.Close()
	}
	used = int64(len(data))
	if whole && k == bz2Kind {
		used = in.used()
	}
	if x, ok := dec.(*xzReader); ok && whole {
		used = x.at
	}
	return used, err
}

// flagDecoder tells why a decoder did not start.
func (w *walker) flagDecoder(err error, name string) {
	switch {
	case errors.Is(err, errPanic), errors.Is(err, errLockedData), errors.Is(err, errTick):
	case errors.Is(err, errDictionary), errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		w.flag("dictionary", name)
	case errors.Is(err, errUnsupported):
		w.flag("unsupported", name)
	default:
		w.flag("corrupt", name)
	}
}

// single reads the one member and hands it on.
func (w *walker) single(e *Entry, dec io.Reader, packed int64) (done bool, err error) {
	c, err := w.read(dec, -1, packed)
	if err != nil {
		return false, err
	}
	if c.end == corrupt && len(c.data) == 0 && e.Container == "lzma" {
		return false, nil // no lzma after all
	}
	return w.deliver(e, c, packed)
}

// deliver hands on what was unpacked. A tar that is larger than a member may
// be is read on as a stream, as its own members are smaller.
func (w *walker) deliver(e *Entry, c content, packed int64) (done bool, err error) {
	e.Data, e.Truncated = c.data, c.end != whole
	if e.Data == nil {
		e.Data = []byte{}
	}
	if c.end == corrupt {
		w.flagDecoder(c.err, first(e.Names))
	}
	if c.end == cut && c.rest != nil {
		if isTar(c.data) && len(w.in)+1 < w.b.Limits.Depth {
			return false, w.longTar(e, c, packed)
		}
		w.flag("member-size", first(e.Names))
	}
	return c.end == whole, w.hold(int64(len(c.data)), func() error { return w.member(e) })
}

// longTar reads a tar that is too large to be held, from its stream.
func (w *walker) longTar(e *Entry, c content, packed int64) error {
	data := e.Data
	e.Data = nil
	if err := w.member(e); err != nil {
		return err
	}
	rest := &metered{w: w, r: c.rest, packed: packed, n: int64(len(data))}
	return w.within(first(e.Names), func() error {
		return w.hold(int64(len(data)), func() error {
			_, err := w.tar(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(data), rest), chunk))
			return err
		})
	})
}

// metered charges what is unpacked beyond the first member.
type metered struct {
	w      *walker
	r      io.Reader
	packed int64
	n      int64
}

func (m *metered) Read(p []byte) (int, error) {
	if m.w.tick() != nil {
		return 0, errTick
	}
	n, err := m.w.safeRead(m.r, p[:min(len(p), chunk)])
	m.n += int64(n)
	if m.w.charge(int64(n)) != nil {
		return n, errTick
	}
	if m.w.steep(m.n, m.packed) {
		m.w.flag("ratio", "")
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// gzip reads RFC 1952: members in a row are one file for most programs, and
// the first alone for some; each may have a name of its own.
func (w *walker) gzip(data []byte) (used int64, err error) {
	e := &Entry{Container: "gz", Size: -1}
	in := w.paced(data)
	var zr *gzip.Reader
	if err := w.guard(func() (err error) { zr, err = gzip.NewReader(in); return err }); err != nil {
		w.flagDecoder(err, "")
		return int64(len(data)), w.member(e)
	}
	zr.Multistream(false)
	g := &gzipFile{r: zr, in: in}
	g.note()
	c, err := w.read(g, -1, int64(len(data)))
	if err != nil {
		return 0, err
	}
	e.Names = g.names
	if len(g.names) > 1 {
		w.flag("names-differ", g.names[1])
	}
	if len(bytes.Trim(data[min(g.end, int64(len(data))):], "\x00")) > 0 && c.end == whole {
		w.flag("trailing-data", "")
	}
	done, err := w.deliver(e, c, int64(len(data)))
	if !done {
		g.end = int64(len(data))
	}
	return g.end, err
}

// maxGzipNames bounds the names of the members of one file.
const maxGzipNames = 16

// gzipFile reads members in a row as one, and keeps their names.
type gzipFile struct {
	r     *gzip.Reader
	in    *paced
	names []string
	end   int64 // of the last member
}

// note keeps the name of a member, as unpackers may use it.
func (g *gzipFile) note() {
	if n := g.r.Name; n != "" && len(g.names) < maxGzipNames && !slices.Contains(g.names, n) {
		g.names = append(g.names, n)
	}
}

func (g *gzipFile) Read(p []byte) (int, error) {
	for {
		n, err := g.r.Read(p)
		if err != io.EOF {
			return n, err
		}
		g.end = g.in.used()
		if n > 0 {
			return n, nil
		}
		if err := g.r.Reset(g.in); err != nil {
			if errors.Is(err, errTick) {
				return 0, err
			}
			return 0, io.EOF // what follows is no member
		}
		g.r.Multistream(false)
		g.note()
	}
}

var errUnsupported = errors.New("archive: unsupported")

// lzmaReader reads raw LZMA behind a header of 13 octets, whose dictionary is
// cut to what the data can need: the header's word costs nobody memory (Z-12).
func lzmaReader(w *walker, head, data []byte) (io.Reader, error) {
	if len(head) < 13 {
		return nil, io.ErrUnexpectedEOF
	}
	dict, err := dictionary(int64(le32(head[1:])), int64(min(le64(head[5:]), 1<<62)), int64(len(data)))
	if err != nil {
		return nil, err
	}
	h := binary.LittleEndian.AppendUint32([]byte{head[0]}, uint32(dict))
	h = append(h, head[5:13]...)
	cfg := lzma.ReaderConfig{DictCap: maxDictionary}
	return cfg.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(h), w.paced(data))))
}

// dictionary is how much memory a decoder gets: what the header claims, but no
// more than the data can ever fill. Larger ones are refused.
func dictionary(claimed, size, packed int64) (int64, error) {
	fill := packed*8192 + 1<<16 // LZMA makes at most some 7,000 octets of one
	if size >= 0 {
		fill = min(fill, size)
	}
	need := max(min(claimed, fill), lzma.MinDictCap)
	if need > maxDictionary {
		return 0, errDictionary
	}
	return need, nil
}

// zstdReader has one thread and a bounded window (RFC 8878, 3.1.1.1.2).
func zstdReader(in io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxDictionary), zstd.WithDecoderMaxMemory(1<<40))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// rawDeflate is for formats that hold bare deflate data.
func rawDeflate(in io.Reader, dict []byte) io.Reader { return flate.NewReaderDict(in, dict) }
