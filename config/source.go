package config

import (
	"bytes"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

// source is one file, cleaned so that offsets stay what they were.
type source struct {
	name   string
	order  int // of loading: later files win
	text   []byte
	lines  []int // offsets of line starts
	secret []span
	mode   uint32 // permission bits, 0 when unknown

	// searched remembers secretAt of a line: a line of a megabyte may have a
	// hundred problems.
	searched map[int]int
	secrets  *regexp.Regexp // names of the prototype's secrets; nil for none
}

// span is a range of bytes of a source.
type span struct {
	src        *source
	start, end int
}

func newSource(name string, order int, text []byte) *source {
	s := &source{name: clean(name), order: order, text: text, lines: []int{0}, searched: map[int]int{}}
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// line gives the number, from 1, of the line that holds the offset.
func (s *source) line(offset int) int {
	return sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > offset })
}

// bounds gives the offsets of a line, without its end.
func (s *source) bounds(line int) (int, int) {
	start, end := s.lines[line-1], len(s.text)
	if line < len(s.lines) {
		end = s.lines[line] - 1
	}
	if end > start && s.text[end-1] == '\r' {
		end--
	}
	return start, end
}

const byteOrderMark = "\ufeff"

// secretName finds the name of a key that is likely to hold a secret and what
// separates it from its value; a misspelt key must not show its value either,
// nor one whose "=" was forgotten.
var secretName = regexp.MustCompile(`(?i)([\w-]*(?:pass|pwd|secret|token|credential|private_?key|api_?key)[\w-]*)["']?(?:\s*[=:]|\s+["'])`)

// userInfo finds a name with a password before the host of a URL, or of what
// is meant for one: "scheme://user:password@host", "user:password@host". An
// address of mail has no colon before its "@".
var userInfo = regexp.MustCompile(`(?:^|["'\s=,[])(?:[A-Za-z][A-Za-z0-9+.-]*:(?://)?)?()[^"'\s]*:[^"'\s]*@`)

// secretNames finds the names of a prototype's own secrets in the same way.
func secretNames(t reflect.Type) *regexp.Regexp {
	var names []string
	walkKeys(t, nil, func(_ []string, f *field) {
		if f.secret {
			names = append(names, regexp.QuoteMeta(f.name))
		}
	})
	if len(names) == 0 {
		return nil
	}
	return regexp.MustCompile(`\b(` + strings.Join(names, "|") + `)["']?\s*[=:]`)
}

// secretAt gives the offset where the value of such a key begins, -1 for none.
// What names a file is no secret.
func (s *source) secretAt(text []byte) int {
	at := -1
	for _, m := range secretName.FindAllSubmatchIndex(text, -1) {
		if name := bytes.ToLower(text[m[2]:m[3]]); !bytes.HasSuffix(name, []byte("_file")) {
			at = m[1]
			break
		}
	}
	if m := userInfo.FindSubmatchIndex(text); m != nil && (at < 0 || m[2] < at) {
		at = m[2]
	}
	if s.secrets != nil {
		if m := s.secrets.FindIndex(text); m != nil && (at < 0 || m[1] < at) {
			at = m[1]
		}
	}
	return at
}

// problem describes a place of the source.
func (s *source) problem(at span, key, text, suggestion string) Problem {
	p := Problem{File: s.name, Key: key, Text: clean(text), Suggestion: clean(suggestion), order: s.order}
	at.start = min(max(at.start, 0), len(s.text))
	at.end = min(max(at.end, at.start), len(s.text))
	p.Line = s.line(at.start)
	start, end := s.bounds(p.Line)
	if p.Line == 1 && bytes.HasPrefix(s.text, []byte(byteOrderMark)) {
		start = min(end, start+len(byteOrderMark))
	}
	at.start = min(max(at.start, start), end)
	at.end = min(max(at.end, at.start), end)
	// What stands behind a secret's key is cut, not masked: even its length
	// says something.
	cut := end
	for _, sec := range s.secret {
		if sec.start < end && sec.end > start {
			cut = min(cut, max(sec.start, start))
		}
	}
	i, ok := s.searched[start]
	if !ok {
		i = s.secretAt(s.text[start:end])
		s.searched[start] = i
	}
	if i >= 0 {
		cut = min(cut, start+i)
	}
	if at.start > cut && cut < end {
		for at.start = cut; at.start < end && s.text[at.start] == ' '; at.start++ {
		}
		at.end = at.start
	}
	p.Column = utf8.RuneCount(s.text[start:at.start]) + 1
	s.show(&p, start, min(end, cut), at, cut < end)
	return p
}

// show fills the source line: a window of it when it is long, escaped, with
// the mark where the escaped text puts it.
func (s *source) show(p *Problem, start, end int, at span, cut bool) {
	const before, window = 60, 120
	from, to := start, end
	if at.start-start > before {
		from = at.start - before
		for from > start && !utf8.RuneStart(s.text[from]) {
			from--
		}
	}
	if from > end {
		from = end
	}
	if to-from > window {
		to = from + window
		for to > from && !utf8.RuneStart(s.text[to]) {
			to--
		}
	}
	var b strings.Builder
	if from > start {
		b.WriteString("…")
	}
	piece := func(a, z int) {
		a, z = min(max(a, from), to), min(max(z, from), to)
		b.WriteString(clean(strings.ReplaceAll(string(s.text[a:z]), "\t", " ")))
	}
	piece(from, at.start)
	p.mark = utf8.RuneCountInString(b.String())
	piece(at.start, at.end)
	p.width = max(1, utf8.RuneCountInString(b.String())-p.mark)
	piece(at.end, to)
	switch {
	case cut && to == end:
		text := strings.TrimRight(b.String(), " ") + " "
		if text == " " {
			text = ""
		}
		if at.start >= to {
			p.mark, p.width = utf8.RuneCountInString(text), len(hidden)
		}
		b.Reset()
		b.WriteString(text + hidden)
	case to < end || cut:
		b.WriteString("…")
	}
	p.Source = b.String()
}
