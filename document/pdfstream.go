package document

import (
	"bytes"
	"compress/flate"
	"compress/lzw"
	"encoding/ascii85"
	"strconv"
)

// decode gives the content of a stream through its filters (ISO 32000-1 7.4),
// at most four of them. ok is false when a filter failed or is none of those
// that hold files; what came out before is given.
func (p *pdfFile) decode(o *pdfObject) (body []byte, ok bool) {
	dict := p.data[o.from:o.stream]
	filters := pdfFilters(dict)
	if len(filters) == 0 {
		return p.plain(o, p.rawStream(o, dict)), !p.in.over
	}
	if len(filters) > 4 {
		return nil, false
	}
	// A Flate stream knows its own end; the others end with the keyword.
	src := p.data[o.stream:]
	if p.key != nil || filters[0] != "FlateDecode" && filters[0] != "Fl" {
		src = p.plain(o, p.rawStream(o, dict))
	}
	for _, f := range filters {
		if src, ok = p.filter(f, src); !ok && len(src) == 0 {
			return nil, false
		}
	}
	if pdfNumber(dict, "Predictor") >= 10 {
		src = unpredict(src, int(pdfNumber(dict, "Columns")), int(pdfNumber(dict, "Colors")), int(pdfNumber(dict, "BitsPerComponent")))
	}
	return src, ok
}

// plain decrypts what can be decrypted.
func (p *pdfFile) plain(o *pdfObject, b []byte) []byte {
	if p.key == nil {
		return b
	}
	return p.key.open(o.num, b)
}

// filter undoes one filter.
func (p *pdfFile) filter(name string, src []byte) ([]byte, bool) {
	switch name {
	case "FlateDecode", "Fl":
		// Readers take a wrong checksum and even a wrong head, so only the
		// deflate data counts.
		if len(src) < 2 {
			return nil, false
		}
		out, ok := p.in.drainAll(p.where, flate.NewReader(bytes.NewReader(src[2:])))
		if len(out) == 0 {
			out, ok = p.in.drainAll(p.where, flate.NewReader(bytes.NewReader(src)))
		}
		return out, ok
	case "ASCIIHexDecode", "AHx":
		out := hexDigits(src)
		return out, p.in.take(p.where, int64(len(out)))
	case "ASCII85Decode", "A85":
		if i := bytes.Index(src, []byte("~>")); i >= 0 {
			src = src[:i]
		}
		out := p.in.drain(p.where, ascii85.NewDecoder(bytes.NewReader(bytes.TrimPrefix(src, []byte("<~")))))
		return out, len(out) > 0
	case "LZWDecode", "LZW":
		// The library's code lengths grow one code later than those of PDF with
		// EarlyChange, which is the default: what comes out is a beginning.
		r := lzw.NewReader(bytes.NewReader(src), lzw.MSB, 8)
		out := p.in.drain(p.where, r)
		r.Close()
		return out, false
	case "Crypt":
		return src, true
	}
	return nil, false
}

// rawStream gives the octets of a stream: by its length when the keyword stands
// there, else up to the keyword. What was searched is paid for, since no keyword
// at all would make every stream as long as the file.
func (p *pdfFile) rawStream(o *pdfObject, dict []byte) (body []byte) {
	defer func() { p.in.take(p.where, int64(len(body))) }()
	rest := p.data[o.stream:]
	if n := pdfNumber(dict, "Length"); n > 0 && n < int64(len(rest)) {
		tail := bytes.TrimLeft(rest[n:min(n+16, int64(len(rest)))], "\r\n \t")
		if bytes.HasPrefix(tail, []byte("endstr")) {
			return rest[:n]
		}
	}
	if i := bytes.Index(rest, []byte("endstream")); i >= 0 {
		return bytes.TrimRight(rest[:i], "\r\n")
	}
	p.in.take(p.where, int64(len(rest)))
	return p.data[o.stream:o.to]
}

// pdfFilters lists the filters of a stream's dictionary.
func pdfFilters(dict []byte) []string {
	s := pdfScan{b: dict}
	for range 4096 {
		name, ok := s.nextName()
		if !ok {
			return nil
		}
		if name != "Filter" && (name != "F" || !s.adjacent()) {
			continue
		}
		s.space()
		if s.pos < len(s.b) && s.b[s.pos] == '/' {
			f, _ := s.nextName()
			return []string{f}
		}
		end := bytes.IndexByte(s.b[s.pos:], ']')
		if end < 0 {
			return nil
		}
		list := pdfScan{b: s.b[s.pos : s.pos+end]}
		var out []string
		for {
			f, ok := list.nextName()
			if !ok || len(out) > 8 {
				return out
			}
			out = append(out, f)
		}
	}
	return nil
}

// pdfKeys tells whether a dictionary has that name, as key or value.
func pdfKeys(dict []byte, want string) bool {
	s := pdfScan{b: dict}
	for range 4096 {
		name, ok := s.nextName()
		if !ok {
			return false
		}
		if name == want {
			return true
		}
	}
	return false
}

// pdfNumber gives the number behind a key, 0 without.
func pdfNumber(dict []byte, key string) int64 {
	s := pdfScan{b: dict}
	for range 4096 {
		name, ok := s.nextName()
		if !ok {
			return 0
		}
		if name != key {
			continue
		}
		s.space()
		from := s.pos
		for s.pos < len(s.b) && s.b[s.pos] >= '0' && s.b[s.pos] <= '9' && s.pos-from < 12 {
			s.pos++
		}
		n, _ := strconv.ParseInt(string(s.b[from:s.pos]), 10, 64)
		return n
	}
	return 0
}

// unpredict undoes the predictors of PNG (ISO 32000-1 7.4.4.4).
func unpredict(b []byte, columns, colours, bits int) []byte {
	if columns <= 0 || columns > 1<<16 {
		columns = 1
	}
	if colours <= 0 || colours > 32 {
		colours = 1
	}
	if bits <= 0 || bits > 16 {
		bits = 8
	}
	row, unit := (columns*colours*bits+7)/8, max(1, colours*bits/8)
	out := make([]byte, 0, len(b))
	prior := make([]byte, row)
	for len(b) > 1 {
		kind := b[0]
		line := b[1:min(len(b), row+1)]
		b = b[1+len(line):]
		from := len(out)
		for i, c := range line {
			var left, up, corner byte
			if i >= unit {
				left, corner = out[from+i-unit], prior[i-unit]
			}
			up = prior[i]
			switch kind {
			case 1:
				c += left
			case 2:
				c += up
			case 3:
				c += byte((int(left) + int(up)) / 2)
			case 4:
				c += paeth(left, up, corner)
			}
			out = append(out, c)
		}
		copy(prior, out[from:])
	}
	return out
}

func paeth(a, b, c byte) byte {
	p := int(a) + int(b) - int(c)
	pa, pb, pc := abs(p-int(a)), abs(p-int(b)), abs(p-int(c))
	if pa <= pb && pa <= pc {
		return a
	}
	if pb <= pc {
		return b
	}
	return c
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
