package transfer

import (
	"bytes"
	"encoding/binary"
)

const binhexAlphabet = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"

var binhexDigits = binhexTable()

func binhexTable() (t [256]byte) {
	for i := range t {
		t[i] = octetJunk
	}
	for i := range len(binhexAlphabet) {
		t[binhexAlphabet[i]] = byte(i)
	}
	return t
}

// readBinHex reads a BinHex 4.0 file (RFC 1741 section 7) whose notice is at
// at: the data begins at the next line with a colon.
func readBinHex(text []byte, at, max int) (File, bool) {
	f := File{Kind: "binhex", Start: at, End: len(text)}
	_, i, ok := headAt(text, at)
	for range 8 {
		if !ok || i >= len(text) {
			return f, false
		}
		line, next, _ := headAt(text, i)
		if t := bytes.TrimLeft(line, " \t"); len(t) > 0 {
			if t[0] != ':' {
				return f, false
			}
			i += len(line) - len(t)
			return binhexFrom(f, text, i+1, max)
		}
		i = next
	}
	return f, false
}

// binhexFrom reads a file whose data begins behind the colon at i.
func binhexFrom(f File, text []byte, i, max int) (File, bool) {
	packed, end, closed := binhexSixBits(text, i, max)
	f.End = end
	if !closed {
		f.Faults = append(f.Faults, Fault{ID: "binhex-end", At: end})
	}
	octets, over := binhexRuns(snug(packed), max)
	octets = snug(octets)
	b := bound{left: max}
	h, ok := binhexHead(octets)
	if !ok {
		f.Faults = append(f.Faults, Fault{ID: "binhex-damaged", At: f.Start, Ambiguous: true})
		b.add("binhex", octets)
		f.Readings = b.readings
		return f, len(octets) > 0
	}
	f.Names = names(string(h.name))
	rest := octets[h.size:]
	data, rest, ok1 := fork(rest, h.data)
	resource, _, ok2 := fork(rest, h.resource)
	if !h.sound || !ok1 || !ok2 {
		f.Faults = append(f.Faults, Fault{ID: "binhex-damaged", At: f.End})
	}
	b.add("binhex", data)
	if len(resource) > 0 {
		b.add("binhex, resource fork", resource)
	}
	b.over = b.over || over
	f.Readings = b.readings
	f.Faults = append(f.Faults, b.faultsAt(true, f.End)...)
	return f, true
}

// binhexSixBits takes the characters to the closing colon apart.
func binhexSixBits(text []byte, i, max int) (out []byte, end int, closed bool) {
	out = make([]byte, 0, min((len(text)-i)/4*3+3, max+3, firstRoom))
	var acc uint32
	bits := 0
	for ; i < len(text); i++ {
		c := text[i]
		if c == ':' {
			_, next := lineAt(text, i)
			return out, next, true
		}
		v := binhexDigits[c]
		if v == octetJunk {
			continue
		}
		if len(out) > max {
			continue
		}
		acc = acc<<6 | uint32(v)
		if bits += 6; bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	return out, len(text), false
}

// binhexRuns undoes the run-length encoding: 0x90 and a number repeat the octet
// before, 0x90 0 is 0x90 itself.
func binhexRuns(packed []byte, max int) (out []byte, over bool) {
	if bytes.IndexByte(packed, 0x90) < 0 {
		return packed, false
	}
	const frame = 128 // header and check sums
	out = make([]byte, 0, min(len(packed)+len(packed)/4, max+frame+256))
	for i := 0; i < len(packed); i++ {
		if packed[i] != 0x90 || i+1 >= len(packed) {
			out = append(out, packed[i])
			continue
		}
		i++
		n := int(packed[i])
		if n == 0 {
			out = append(out, 0x90)
			continue
		}
		if len(out) == 0 {
			continue
		}
		last := out[len(out)-1]
		for range n - 1 {
			out = append(out, last)
		}
		if len(out) > max+frame {
			return out, true
		}
	}
	return out, false
}

// binhexHeader is the header in front of the two forks.
type binhexHeader struct {
	name           []byte
	size           int
	data, resource uint32
	sound          bool
}

func binhexHead(o []byte) (h binhexHeader, ok bool) {
	if len(o) == 0 {
		return h, false
	}
	n := int(o[0])
	h.size = 1 + n + 1 + 4 + 4 + 2 + 4 + 4 + 2
	if n == 0 || n > 63 || len(o) < h.size {
		return h, false
	}
	h.name = o[1 : 1+n]
	p := o[1+n+1+4+4+2:]
	h.data = binary.BigEndian.Uint32(p)
	h.resource = binary.BigEndian.Uint32(p[4:])
	h.sound = binhexSum(o[:h.size-2]) == binary.BigEndian.Uint16(p[8:])
	return h, true
}

// fork cuts one fork and its check sum off; ok is false if it is short or the
// sum is wrong.
func fork(o []byte, size uint32) (data, rest []byte, ok bool) {
	if uint64(len(o)) < uint64(size)+2 {
		return o[:min(uint64(len(o)), uint64(size))], nil, false
	}
	data, rest = o[:size:size], o[size+2:]
	return data, rest, binhexSum(data) == binary.BigEndian.Uint16(o[size:])
}

// binhexSum is the CRC of CCITT over the data and two zero octets, as BinHex
// computes it.
func binhexSum(data []byte) uint16 {
	var sum uint16
	for _, c := range data {
		sum ^= uint16(c) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}
