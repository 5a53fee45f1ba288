package hijack

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

const (
	digestSize = 16
	// readable is how much of a text is looked at, and mostShingles how many
	// runs of words: what follows does not change what a reader is told first.
	readable     = 8 << 10
	mostShingles = 600
	// leastShingles is what makes a text: "ok, thanks" is like many.
	leastShingles = 12
	// similar is how many places of sixteen that are taken are equal where the
	// texts share more than half of their runs of words, and leastEqual how many
	// at least.
	similar    = 9
	leastEqual = 6
	// width of a run, in words.
	width = 3
)

// Digest is a MinHash of the runs of three words of a text in one pass, one
// place for each sixteenth of the hashes (one permutation hashing). Numbers are
// all the same word, and so are names of links but for their domains: the
// letters of one campaign differ in them. The zero value is a text too short to
// be like any other.
type Digest [digestSize]byte

// Alike tells that two texts are nearly the same.
func (d Digest) Alike(o Digest) bool {
	if d == (Digest{}) {
		return false
	}
	equal, taken := 0, 0
	for i := range d {
		if d[i]|o[i] != 0 {
			taken++
			if d[i] == o[i] {
				equal++
			}
		}
	}
	return equal >= leastEqual && equal*digestSize >= similar*taken
}

// shingles collects runs of words.
type shingles struct {
	last  [width - 1]uint64
	least [digestSize]uint64
	n     int
	words int
}

func (s *shingles) word(h uint64) {
	s.words++
	if s.words >= width && s.n < mostShingles {
		run := uint64(14695981039346656037)
		for _, w := range s.last {
			run = (run ^ w) * 1099511628211
			run ^= run >> 31
		}
		run = mix(run ^ h)
		at := run % digestSize
		if v := run / digestSize; s.least[at] == 0 || v < s.least[at] {
			s.least[at] = v
		}
		s.n++
	}
	copy(s.last[:], s.last[1:])
	s.last[width-2] = h
}

func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

func (s *shingles) digest() (d Digest) {
	if s.n < leastShingles {
		return d
	}
	for i, v := range s.least {
		if v != 0 { // an empty place is like none
			d[i] = byte(mix(v)%255) + 1
		}
	}
	return d
}

// TextDigest makes the digest of a subject and a text, HTML or not.
func TextDigest(subject string, text []byte, html bool) Digest {
	var s shingles
	s.text([]byte(subject[:min(len(subject), 500)]), false)
	s.text(text[:min(len(text), readable)], html)
	return s.digest()
}

func (s *shingles) text(t []byte, html bool) {
	for len(t) > 0 && s.n < mostShingles {
		if html && t[0] == '<' {
			t = s.tag(t)
			continue
		}
		if n := linkAt(t); n > 0 {
			t = s.link(t[n:])
			continue
		}
		r, size := utf8.DecodeRune(t)
		if !wordRune(r) {
			t = t[size:]
			continue
		}
		t = s.plain(t)
	}
}

func wordRune(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }

// plain takes one word. One with a digit in it is a number.
func (s *shingles) plain(t []byte) []byte {
	h, digit := uint64(14695981039346656037), false
	i := 0
	for i < len(t) {
		r, size := rune(t[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(t[i:])
		}
		if !wordRune(r) {
			break
		}
		digit = digit || r >= '0' && r <= '9'
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		} else if r >= utf8.RuneSelf {
			r = unicode.ToLower(r)
		}
		h = (h ^ uint64(r)) * 1099511628211
		i += size
	}
	if digit {
		h = 1
	}
	s.word(h)
	return t[i:]
}

// tag steps over a tag; the domain of what it links to is a word.
func (s *shingles) tag(t []byte) []byte {
	end := bytes.IndexByte(t, '>')
	if end < 0 {
		return nil
	}
	in := t[:end]
	if at := bytes.Index(in, []byte("://")); at >= 0 {
		s.link(in[at+3:])
	}
	return t[end+1:]
}

func linkAt(t []byte) int {
	if t[0]|0x20 != 'h' || len(t) < 8 {
		return 0
	}
	for _, p := range []string{"http://", "https://"} {
		if len(t) >= len(p) && bytes.EqualFold(t[:len(p)], []byte(p)) {
			return len(p)
		}
	}
	return 0
}

// link takes the host of a link as a word and steps over the rest.
func (s *shingles) link(t []byte) []byte {
	end := bytes.IndexAny(t, " \t\r\n\"'<>")
	if end < 0 {
		end = len(t)
	}
	host := t[:end]
	if i := bytes.IndexAny(host, "/?#"); i >= 0 {
		host = host[:i]
	}
	h := uint64(7)
	for _, c := range host {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * 1099511628211
	}
	s.word(h)
	return t[end:]
}
