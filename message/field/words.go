package field

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// piece of a text: an encoded word, or what stands between.
type piece struct {
	charset string // "" for what is no word
	octets  []byte
	skipped []byte // of a word: when characters that are not of base64 are skipped
	text    string // of what is no word
	raw     string // of a word: as written
}

// wordsOf is what scanWords found.
type wordsOf struct {
	pieces  []piece
	any     bool
	damaged bool // unterminated, bad base64, an unknown charset or encoding
	skips   bool // there are words that have another reading with characters skipped
}

// Words gives the readings of text that may hold encoded words (RFC 2047),
// the decoded one first; text without any has one. The literal text is the
// last.
func Words(s string) []string {
	if !strings.Contains(s, "=?") {
		return []string{plain(s)}
	}
	w := scanWords(s)
	if !w.any {
		return []string{plain(s)}
	}
	var out []string
	readings := []string{w.joined(), w.apart(), plain(s)}
	if w.skips {
		readings = []string{readings[0], readings[1], w.skipping(), readings[2]}
	}
	for _, r := range readings {
		if len(out) == 0 || out[len(out)-1] != r && out[0] != r {
			out = append(out, r)
		}
	}
	return out
}

// plain gives text as UTF-8: as it is, else as Windows-1252.
func plain(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return through(charmap.Windows1252)([]byte(s))
}

// scanWords cuts a text into words and what stands between. White space alone
// between two words belongs to neither (RFC 2047 section 6.2).
func scanWords(s string) wordsOf {
	var w wordsOf
	lastEnd := strings.LastIndex(s, "?=")
	from := 0
	for i := 0; i < len(s); {
		k := strings.Index(s[i:], "=?")
		if k < 0 {
			break
		}
		i += k
		p, end, ok, damaged := scanWord(s, i, lastEnd)
		if !ok {
			i += 2
			continue
		}
		between := s[from:i]
		if w.any && strings.Trim(between, " \t\r\n") == "" {
			between = ""
		}
		if between != "" {
			w.pieces = append(w.pieces, piece{text: between})
		}
		w.pieces = append(w.pieces, p)
		w.any = true
		w.skips = w.skips || p.skipped != nil
		w.damaged = w.damaged || damaged
		i, from = end, end
	}
	if from < len(s) {
		w.pieces = append(w.pieces, piece{text: s[from:]})
	}
	return w
}

// scanWord reads the word at s[i:]. lastEnd is where the last `?=` of the text
// is: a word that begins behind it is unterminated and goes to the end.
func scanWord(s string, i, lastEnd int) (p piece, end int, ok, damaged bool) {
	head := s[i+2 : min(len(s), i+2+2*maxLabel)]
	q := strings.IndexByte(head, '?')
	if q <= 0 || q+2 >= len(head) || head[q+2] != '?' || strings.ContainsAny(head[:q], " \t\r\n=") {
		return p, 0, false, false
	}
	start := i + 2 + q + 3
	textEnd := len(s)
	end = len(s)
	if lastEnd >= start {
		n := strings.Index(s[start:], "?=")
		textEnd = start + n
		end = textEnd + 2
	} else {
		damaged = true
		textEnd = len(strings.TrimRight(s, "?"))
		textEnd = max(textEnd, start)
	}
	p = piece{charset: Label(head[:q]), raw: s[i:end]}
	if p.charset == "" {
		p.charset = "utf-8"
	}
	var bad bool
	switch head[q+1] {
	case 'B', 'b':
		p.octets, bad = base64Octets(s[start:textEnd], true)
		if bad && strings.ContainsAny(s[start:textEnd], "-_") {
			p.skipped, _ = base64Octets(s[start:textEnd], false)
		}
	case 'Q', 'q':
		p.octets, bad = qOctets(s[start:textEnd])
	default:
		return p, 0, false, false
	}
	return p, end, true, damaged || bad || !Known(p.charset)
}

// base64Octets decodes the B encoding, leniently if it must. url says that the
// two other characters of base64url count; most readers skip them.
func base64Octets(s string, url bool) (out []byte, bad bool) {
	if out, err := base64.StdEncoding.DecodeString(s); err == nil {
		return out, false
	}
	clean := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '-' && url:
			c = '+'
		case c == '_' && url:
			c = '/'
		}
		if isBase64(c) {
			clean = append(clean, c)
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out = make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	// Missing padding is common and read by all in the same way.
	return out[:n], strings.TrimRight(s, "=") != string(clean)
}

// qOctets decodes the Q encoding (RFC 2047 section 4.2); `=` without two digits
// stays.
func qOctets(s string) (out []byte, bad bool) {
	out = make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '_':
			out = append(out, ' ')
		case '=':
			if v, ok := hexPair(s, i+1); ok {
				out = append(out, v)
				i += 2
				continue
			}
			bad = true
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return out, bad
}

func hexPair(s string, i int) (byte, bool) {
	if i+1 >= len(s) {
		return 0, false
	}
	hi, ok := hexDigit(s[i])
	lo, ok2 := hexDigit(s[i+1])
	return hi<<4 | lo, ok && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c-'0' < 10:
		return c - '0', true
	case c-'A' < 6:
		return c - 'A' + 10, true
	case c-'a' < 6:
		return c - 'a' + 10, true
	}
	return 0, false
}

// joined decodes adjacent words of one charset together: a letter may be split
// between them, against RFC 2047 section 5 and in much ordinary mail.
func (w *wordsOf) joined() string {
	var b strings.Builder
	for i := 0; i < len(w.pieces); {
		p := &w.pieces[i]
		if p.charset == "" {
			b.WriteString(plain(p.text))
			i++
			continue
		}
		octets := p.octets
		j := i + 1
		for j < len(w.pieces) && w.pieces[j].charset == p.charset {
			if j == i+1 {
				octets = octets[:len(octets):len(octets)]
			}
			octets = append(octets, w.pieces[j].octets...)
			j++
		}
		b.WriteString(wordText(p.charset, octets))
		i = j
	}
	return b.String()
}

// apart decodes each word for itself.
func (w *wordsOf) apart() string {
	var b strings.Builder
	for i := range w.pieces {
		if p := &w.pieces[i]; p.charset == "" {
			b.WriteString(plain(p.text))
		} else {
			b.WriteString(wordText(p.charset, p.octets))
		}
	}
	return b.String()
}

// skipping decodes with characters that are not of base64 skipped.
func (w *wordsOf) skipping() string {
	other := wordsOf{pieces: append([]piece(nil), w.pieces...)}
	for i := range other.pieces {
		if p := &other.pieces[i]; p.skipped != nil {
			p.octets = p.skipped
		}
	}
	return other.joined()
}

// wordText decodes with a charset; octets of a charset that nobody knows are
// read as if there was none.
func wordText(charset string, octets []byte) string {
	text, _, known := Decode(charset, octets)
	if !known {
		return plain(string(octets))
	}
	return text
}
