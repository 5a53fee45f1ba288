package archive

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
)

const (
	lzipMark    = "LZIP"
	lzipSmall   = 26 // head and trailer of a member
	lzipMembers = 1 << 12
)

// lzip reads a file of lzip: members behind each other, which every program
// puts together (lzip manual, "File format"). Each is opened when the one in
// front of it is read, so that one dictionary is held at a time.
type lzip struct {
	w    *walker
	left [][]byte
	now  io.Reader
}

// newLzip opens the first member.
func newLzip(w *walker, data []byte) (io.Reader, error) {
	members, whole := splitLzip(data)
	if !whole && bytes.Contains(data[min(len(data), lzipSmall):], []byte(lzipMark)) {
		// There may be more members, and where they begin is not said.
		w.flag("corrupt", "")
	}
	l := &lzip{w: w, left: members}
	return l, l.open()
}

// splitLzip finds the members from the end, as each tells its size behind it.
func splitLzip(data []byte) (members [][]byte, whole bool) {
	for rest := data; len(members) < lzipMembers; {
		if len(rest) == 0 {
			slices.Reverse(members)
			return members, true
		}
		if len(rest) < lzipSmall {
			break
		}
		size := binary.LittleEndian.Uint64(rest[len(rest)-8:])
		if size < lzipSmall || size > uint64(len(rest)) {
			break
		}
		m := rest[len(rest)-int(size):]
		if !bytes.HasPrefix(m, []byte(lzipMark)) {
			break
		}
		members, rest = append(members, m), rest[:len(rest)-len(m)]
	}
	return [][]byte{data}, false
}

func (l *lzip) open() error {
	data := l.left[0]
	l.left = l.left[1:]
	if len(data) < lzipSmall {
		return io.ErrUnexpectedEOF
	}
	base := int64(1) << (data[5] & 0x1f)
	size := base - base/16*int64(data[5]>>5)
	head := binary.LittleEndian.AppendUint32([]byte{0x5d}, uint32(min(size, 1<<31)))
	head = append(head, "\xff\xff\xff\xff\xff\xff\xff\xff"...)
	r, err := lzmaReader(l.w, head, data[6:])
	l.now = r
	return err
}

// Read goes on to the next member at the end of one.
func (l *lzip) Read(p []byte) (int, error) {
	for {
		n, err := l.now.Read(p)
		if err != io.EOF || len(l.left) == 0 {
			return n, err
		}
		if err := l.open(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}
