package torture

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
)

// program is what looks like a program for Windows and is none: the signs at
// their places, and noise.
func program() []byte {
	b := make([]byte, 256, 700)
	copy(b, "MZ")
	b[60] = 0x80
	copy(b[0x80:], "PE\x00\x00")
	b = append(b, mark...)
	return append(b, noise(240)...)
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// hidden is the payload of classes about content: a zip with a program.
func hidden() []byte {
	return zipOf(file{name: mark + ".exe", data: program(), deflate: true})
}

// harmless is what stands in its place in mail that nobody shall complain of.
func harmlessZip() []byte {
	return zipOf(file{name: "notes.txt", data: []byte(strings.Repeat("Notes of the meeting.\r\n", 20)), deflate: true})
}

func b64(p []byte) string { return wrapAt(base64.StdEncoding.EncodeToString(p), 76) }

func wrapAt(s string, n int) string {
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	return b.String() + s + "\n"
}

// qp writes octets in quoted-printable, all of them encoded that are not
// letters or digits.
func qp(p []byte) string { return qpWith(p, "=%02X", "=\n") }

func qpWith(p []byte, form, soft string) string {
	var b strings.Builder
	n := 0
	for _, c := range p {
		s := string(rune(c))
		if c >= 128 || !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			s = fmt.Sprintf(form, c)
		}
		if n += len(s); n > 70 && soft != "" {
			b.WriteString(soft)
			n = len(s)
		}
		b.WriteString(s)
	}
	return b.String() + "\n"
}

// uuLines encodes as uuencode does, without the first and last lines.
func uuLines(p []byte) string {
	var b strings.Builder
	for len(p) > 0 {
		n := min(45, len(p))
		b.WriteByte(byte(' ' + n))
		for line := p[:n]; len(line) > 0; line = line[min(3, len(line)):] {
			var q [3]byte
			copy(q[:], line)
			for _, c := range []byte{q[0] >> 2, q[0]<<4&0x30 | q[1]>>4, q[1]<<2&0x3c | q[2]>>6, q[2] & 0x3f} {
				if c == 0 {
					c = '`' - ' '
				}
				b.WriteByte(' ' + c)
			}
		}
		p = p[n:]
		b.WriteByte('\n')
	}
	return b.String()
}

func uu(name string, p []byte) string { return "begin 644 " + name + "\n" + uuLines(p) + "`\nend\n" }

func yenc(name string, p []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "=ybegin line=128 size=%d name=%s\n", len(p), name)
	n := 0
	for _, c := range p {
		c += 42
		if c == 0 || c == '\n' || c == '\r' || c == '=' || c == '.' && n == 0 {
			b.WriteByte('=')
			c += 64
			n++
		}
		b.WriteByte(c)
		if n++; n >= 128 {
			b.WriteString("\n")
			n = 0
		}
	}
	fmt.Fprintf(&b, "\n=yend size=%d crc32=%08x\n", len(p), crc32.ChecksumIEEE(p))
	return b.String()
}

// binhex is BinHex 4.0 without its checksums' worth: readers take it.
func binhex(name string, p []byte) string {
	const alphabet = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
	var raw bytes.Buffer
	raw.WriteByte(byte(len(name)))
	raw.WriteString(name)
	raw.WriteByte(0)
	raw.WriteString("APPLMARK")
	binary.Write(&raw, binary.BigEndian, uint16(0))
	binary.Write(&raw, binary.BigEndian, uint32(len(p)))
	binary.Write(&raw, binary.BigEndian, uint32(0))
	sum := raw.Bytes()
	out := append(sum[:len(sum):len(sum)], byte(crc16(sum)>>8), byte(crc16(sum)))
	out = append(append(out, p...), byte(crc16(p)>>8), byte(crc16(p)), 0, 0)
	out = bytes.ReplaceAll(out, []byte{0x90}, []byte{0x90, 0})
	for len(out)%3 != 0 {
		out = append(out, 0)
	}
	var b strings.Builder
	b.WriteByte(':')
	for i := 0; i < len(out); i += 3 {
		v := uint32(out[i])<<16 | uint32(out[i+1])<<8 | uint32(out[i+2])
		for s := 18; s >= 0; s -= 6 {
			b.WriteByte(alphabet[v>>s&63])
		}
	}
	return "(This file must be converted with BinHex 4.0)\n\n" + wrapAt(b.String()+":", 64)
}

// crc16 is the checksum of BinHex, over two zero octets more.
func crc16(p []byte) uint16 {
	var crc uint16
	for _, c := range append(p[:len(p):len(p)], 0, 0) {
		for bit := 7; bit >= 0; bit-- {
			top := crc & 0x8000
			crc = crc<<1 | uint16(c>>bit&1)
			if top != 0 {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

// file is a member of a zip.
type file struct {
	name, local   string // local: the name in the local header, if another
	data          []byte
	deflate       bool
	packed        []byte // instead of what data gives
	flags, lflags int    // lflags: -1 none, 0 as flags
	method        int    // beyond stored and deflated; -1 as lmethod says
	lmethod       int    // 0 as central; -1 stored
	size, lsize   int    // declared unpacked sizes, 0 as they are, -1 nought
	csize, lcsize int
	crc, lcrc     uint32
	extra, lextra []byte
	unlisted      bool // not in the directory
	absent        bool // in the directory alone
	tail          []byte
	attr          uint32
}

func deflated(p []byte) []byte {
	var o bytes.Buffer
	w, _ := flate.NewWriter(&o, 9)
	w.Write(p)
	w.Close()
	return o.Bytes()
}

func or(given, usual int) uint32 {
	switch given {
	case 0:
		return uint32(usual)
	case -1:
		return 0
	}
	return uint32(given)
}

func le(b *bytes.Buffer, vs ...any) {
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

// zipOf writes a zip; comment and directory are ordinary.
func zipOf(files ...file) []byte { return zipWith("", files...) }

func zipWith(comment string, files ...file) []byte {
	local, dir, n := zipPieces(files)
	var b bytes.Buffer
	le(&b, local, dir, zipEnd(n, len(dir), len(local), comment))
	return b.Bytes()
}

func zipEnd(n, size, at int, comment string) []byte {
	var b bytes.Buffer
	le(&b, "PK\x05\x06", uint32(0), uint16(n), uint16(n), uint32(size), uint32(at), uint16(len(comment)), comment)
	return b.Bytes()
}

// zipPieces gives the members and the directory apart.
func zipPieces(files []file) (local, dir []byte, n int) {
	var l, d bytes.Buffer
	for _, f := range files {
		packed, method := f.packed, 0
		if f.deflate {
			method = 8
		}
		if packed == nil {
			if packed = f.data; f.deflate {
				packed = deflated(f.data)
			}
		}
		if f.method != 0 {
			method = max(f.method, 0)
		}
		lmethod := int(or(f.lmethod, method))
		crc, lcrc := crc32.ChecksumIEEE(f.data), crc32.ChecksumIEEE(f.data)
		if f.crc != 0 {
			crc = f.crc
		}
		if f.lcrc != 0 {
			lcrc = f.lcrc
		}
		lname, lextra, at := f.local, f.lextra, l.Len()
		if lname == "" {
			lname = f.name
		}
		if lextra == nil {
			lextra = f.extra
		}
		if !f.absent {
			le(&l, "PK\x03\x04", uint16(20), uint16(or(f.lflags, f.flags)), uint16(lmethod), uint32(0x58000000), lcrc, or(f.lcsize, len(packed)),
				or(f.lsize, len(f.data)), uint16(len(lname)), uint16(len(lextra)), lname, lextra, packed, f.tail)
		}
		if !f.unlisted {
			le(&d, "PK\x01\x02", uint16(20), uint16(20), uint16(f.flags), uint16(method), uint32(0x58000000), crc, or(f.csize, len(packed)),
				or(f.size, len(f.data)), uint16(len(f.name)), uint16(len(f.extra)), uint16(0), uint32(0), f.attr, uint32(at), f.name, f.extra)
			n++
		}
	}
	return l.Bytes(), d.Bytes(), n
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
