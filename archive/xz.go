package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads the container of xz 1.2.0 itself, since the library lets
// every block's header decide how much memory it allocates; the data of the
// blocks is the library's. Only LZMA2 without other filters is read. It does
// not verify the check values of blocks: a wrong one changes nothing that a
// judge of the contents would see.
type xzReader struct {
	w     *walker
	data  []byte
	at    int64
	check byte
	in    *paced
	block io.Reader
	open  bool // inside a stream
	found bool // one stream was read to its end
}

func newXZ(w *walker, data []byte) *xzReader { return &xzReader{w: w, data: data} }

var errXZ = errors.New("archive: damaged xz")

func (x *xzReader) Read(p []byte) (int, error) {
	for {
		if x.block != nil {
			n, err := x.block.Read(p)
			if err == nil || !errors.Is(err, io.EOF) {
				return n, err
			}
			x.block = nil
			x.at += x.in.used()
			x.at += -x.at & 3
			x.at += checkSize(x.check)
			if n > 0 {
				return n, nil
			}
		}
		if err := x.next(); err != nil {
			return 0, err
		}
	}
}

// checkSize is the size of a check value, 2.1.1.2.
func checkSize(id byte) int64 {
	if id == 0 {
		return 0
	}
	return 4 << ((id - 1) / 3)
}

// next reads up to the next block.
func (x *xzReader) next() error {
	if x.w.tick() != nil {
		return errTick
	}
	b := x.data[min(x.at, int64(len(x.data))):]
	if !x.open {
		for len(b) >= 4 && le32(b) == 0 && x.found { // stream padding
			b, x.at = b[4:], x.at+4
		}
		if len(b) < 12 || string(b[:6]) != "\xfd7zXZ\x00" {
			if x.found {
				return io.EOF
			}
			return errXZ
		}
		x.check = b[7] & 0xf
		x.at += 12
		x.open = true
		return nil
	}
	if len(b) < 8 {
		return io.ErrUnexpectedEOF
	}
	if b[0] == 0 {
		return x.index(b)
	}
	return x.header(b)
}

// index steps over the index and the footer, 4 and 2.1.2.
func (x *xzReader) index(b []byte) error {
	n, i := binary.Uvarint(b[1:])
	if i <= 0 || n > uint64(len(b))/2 {
		return errXZ
	}
	at := 1 + i
	for range 2 * n {
		_, i := binary.Uvarint(b[at:])
		if i <= 0 {
			return errXZ
		}
		at += i
	}
	at = (at+3)&^3 + 4 + 12
	if at > len(b) {
		return io.ErrUnexpectedEOF
	}
	if string(b[at-2:at]) != "YZ" {
		return errXZ
	}
	x.at += int64(at)
	x.open, x.found = false, true
	return nil
}

// header reads the header of a block, 3.1.
func (x *xzReader) header(b []byte) error {
	size := (int(b[0]) + 1) * 4
	if size > len(b) || crc32.ChecksumIEEE(b[:size-4]) != le32(b[size-4:]) {
		return errXZ
	}
	flags, f := b[1], b[2:size-4]
	unpacked := int64(-1)
	for bit := byte(0x40); bit != 0; bit <<= 1 {
		if flags&bit == 0 {
			continue
		}
		v, n := binary.Uvarint(f)
		if n <= 0 {
			return errXZ
		}
		if bit == 0x80 {
			unpacked = int64(min(v, 1<<62))
		}
		f = f[n:]
	}
	if flags&3 != 0 || len(f) < 3 || f[0] != 0x21 || f[1] != 1 {
		return errUnsupported
	}
	if f[2] > 40 {
		return errXZ
	}
	r, err := lzma2Reader(x.w, f[2], unpacked, b[size:])
	if err != nil {
		return err
	}
	x.at += int64(size)
	x.in, x.block = r.in, r.Reader
	return nil
}

// lzma2Stream is a reader whose input can be asked how far it came.
type lzma2Stream struct {
	io.Reader
	in *paced
}

// lzma2Reader reads LZMA2 with a dictionary that is bounded by what the data
// can fill.
func lzma2Reader(w *walker, code byte, size int64, data []byte) (*lzma2Stream, error) {
	claimed, err := lzma.DecodeDictCap(code)
	if err != nil {
		return nil, err
	}
	dict, err := dictionary(claimed, size, int64(len(data)))
	if err != nil {
		return nil, err
	}
	in := &paced{w: w, r: bytes.NewReader(data)}
	cfg := lzma.Reader2Config{DictCap: int(dict)}
	r, err := cfg.NewReader2(in)
	if err != nil {
		return nil, err
	}
	return &lzma2Stream{r, in}, nil
}
