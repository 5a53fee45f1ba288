package archive

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
)

// zipGen writes zips whose records say what a test wants.
type zipGen struct {
	b       bytes.Buffer
	dir     bytes.Buffer
	n       int
	comment []byte
}

// zm is one member; the zero values of the l fields mean "as central".
type zm struct {
	name, lname   string
	data          []byte
	method        uint16
	lmethod       *uint16
	flags, lflags uint16
	packed        []byte // instead of what data gives
	csize, lcsize *uint32
	usize, lusize *uint32
	crc, lcrc     *uint32
	extra, lextra []byte
	attr          uint32
	noCentral     bool
	noLocal       bool
	offset        *uint32
	descriptor    []byte
}

func u32(v uint32) *uint32 { return &v }
func u16(v uint16) *uint16 { return &v }

func deflate(b []byte) []byte {
	var o bytes.Buffer
	w, _ := flate.NewWriter(&o, 9)
	w.Write(b)
	w.Close()
	return o.Bytes()
}

func put(b *bytes.Buffer, vs ...any) {
	for _, v := range vs {
		switch v := v.(type) {
		case string:
			b.WriteString(v)
		case []byte:
			b.Write(v)
		default:
			binary.Write(b, binary.LittleEndian, v)
		}
	}
}

func or32(p *uint32, v uint32) uint32 {
	if p != nil {
		return *p
	}
	return v
}

func (g *zipGen) add(m zm) *zipGen {
	packed := m.packed
	if packed == nil {
		packed = m.data
		if m.method == deflated {
			packed = deflate(m.data)
		}
	}
	crc := or32(m.crc, crc32.ChecksumIEEE(m.data))
	csize, usize := or32(m.csize, uint32(len(packed))), or32(m.usize, uint32(len(m.data)))
	at := uint32(g.b.Len())
	lname, lextra, lmethod, lflags := m.lname, m.lextra, m.method, m.lflags
	if lname == "" {
		lname = m.name
	}
	if lextra == nil {
		lextra = m.extra
	}
	if m.lmethod != nil {
		lmethod = *m.lmethod
	}
	if lflags == 0 {
		lflags = m.flags
	}
	lflags &^= 1 << 15 // lets a test ask for none
	if !m.noLocal {
		put(&g.b, localSign, uint16(20), lflags, lmethod, uint32(0), or32(m.lcrc, crc), or32(m.lcsize, csize),
			or32(m.lusize, usize), uint16(len(lname)), uint16(len(lextra)), lname, lextra, packed, m.descriptor)
	}
	if !m.noCentral {
		put(&g.dir, centralSign, uint16(20), uint16(20), m.flags, m.method, uint32(0), crc, csize, usize,
			uint16(len(m.name)), uint16(len(m.extra)), uint16(0), uint16(0), uint16(0), m.attr, or32(m.offset, at), m.name, m.extra)
		g.n++
	}
	return g
}

func (g *zipGen) end() []byte {
	at, size := g.b.Len(), g.dir.Len()
	put(&g.b, g.dir.Bytes(), endRec(g.n, size, at), g.comment)
	b := g.b.Bytes()
	binary.LittleEndian.PutUint16(b[len(b)-len(g.comment)-2:], uint16(len(g.comment)))
	return b
}

func endRec(n, size, at int) []byte {
	var b bytes.Buffer
	put(&b, endSign, uint16(0), uint16(0), uint16(n), uint16(n), uint32(size), uint32(at), uint16(0))
	return b.Bytes()
}

// wideRec is a zip64 end record with its locator.
func wideRec(n, size, at, self int) []byte {
	var b bytes.Buffer
	put(&b, end64Sign, uint64(44), uint16(45), uint16(45), uint32(0), uint32(0), uint64(n), uint64(n), uint64(size),
		uint64(at), locatorSign, uint32(0), uint64(self), uint32(1))
	return b.Bytes()
}

func upath(plain, name string) []byte {
	var b bytes.Buffer
	put(&b, uint16(0x7075), uint16(5+len(name)), byte(1), crc32.ChecksumIEEE([]byte(plain)), name)
	return b.Bytes()
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
