package archive

import (
	"errors"
	"io"
)

// lzw reads the format of compress(1), .Z, which is not the LZW of the
// standard library: codes come in groups of eight, and groups are filled up
// whenever the width of the codes changes. It uses 320 KB.
type lzw struct {
	in       *paced
	max      uint
	block    bool
	width    uint
	next     int // the next free code
	prev     int
	first    byte
	bits     uint32
	have     uint
	group    int // octets of the current group that were read
	prefix   [1 << 16]uint16
	suffix   [1 << 16]byte
	out      []byte // in reverse, what the last code stands for
	started  bool
	finished error
}

var errLZW = errors.New("archive: damaged .Z")

func newLZW(in *paced) *lzw { return &lzw{in: in, prev: -1} }

func (z *lzw) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if k := len(z.out); k > 0 {
			p[n] = z.out[k-1]
			z.out = z.out[:k-1]
			n++
			continue
		}
		if z.finished == nil {
			z.finished = z.step()
		}
		if z.finished != nil && len(z.out) == 0 {
			if n > 0 {
				return n, nil
			}
			return 0, z.finished
		}
	}
	return n, nil
}

func (z *lzw) start() error {
	var h [3]byte
	if _, err := io.ReadFull(z.in, h[:]); err != nil {
		return io.ErrUnexpectedEOF
	}
	z.max, z.block = uint(h[2]&0x1f), h[2]&0x80 != 0
	if z.max < 9 || z.max > 16 {
		return errLZW
	}
	z.started = true
	z.clear()
	return nil
}

func (z *lzw) clear() {
	z.width, z.next, z.prev = 9, 256, -1
	if z.block {
		z.next = 257
	}
}

// code reads one code; io.EOF at the end.
func (z *lzw) code() (int, error) {
	for z.have < z.width {
		b, err := z.in.ReadByte()
		if err != nil {
			return 0, err
		}
		z.group++
		z.bits |= uint32(b) << z.have
		z.have += 8
	}
	c := int(z.bits & (1<<z.width - 1))
	z.bits >>= z.width
	z.have -= z.width
	return c, nil
}

// align skips to the end of the group of eight codes.
func (z *lzw) align(width uint) error {
	for z.group%int(width) != 0 {
		if _, err := z.in.ReadByte(); err != nil {
			return err
		}
		z.group++
	}
	z.group, z.bits, z.have = 0, 0, 0
	return nil
}

// step decodes one code into out.
func (z *lzw) step() error {
	if !z.started {
		if err := z.start(); err != nil {
			return err
		}
	}
	if z.next > 1<<z.width-1 && z.width < z.max {
		if err := z.align(z.width); err != nil {
			return err
		}
		z.width++
	}
	c, err := z.code()
	if err != nil {
		return err
	}
	if c == 256 && z.block {
		width := z.width
		z.clear()
		return z.align(width)
	}
	if z.prev < 0 {
		if c > 255 {
			return errLZW
		}
		z.prev, z.first = c, byte(c)
		z.out = append(z.out, byte(c))
		return nil
	}
	now := c
	if c >= z.next {
		if c > z.next {
			return errLZW
		}
		z.out = append(z.out, z.first)
		now = z.prev
	}
	for now > 255 {
		z.out = append(z.out, z.suffix[now])
		now = int(z.prefix[now])
	}
	z.out = append(z.out, byte(now))
	z.first = byte(now)
	if z.next < 1<<z.max {
		z.prefix[z.next], z.suffix[z.next] = uint16(z.prev), z.first
		z.next++
	}
	z.prev = c
	return nil
}
