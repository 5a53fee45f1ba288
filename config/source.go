package config

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"garita/place"
	"garita/printable"
)

// source is one file, cleaned so that offsets stay what they were.
type source struct {
	*place.Text
	order  int // of loading: later files win
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
	return &source{Text: place.New(name, text), order: order, searched: map[int]int{}}
}

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
	p := Problem{File: s.Name, Key: key, Text: printable.Line(text), Suggestion: printable.Line(suggestion), order: s.order}
	var start, end int
	p.Line, start, end, at.start, at.end = s.Within(at.start, at.end)
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
		i = s.secretAt(s.Octets[start:end])
		s.searched[start] = i
	}
	if i >= 0 {
		cut = min(cut, start+i)
	}
	if at.start > cut && cut < end {
		for at.start = cut; at.start < end && s.Octets[at.start] == ' '; at.start++ {
		}
		at.end = at.start
	}
	p.Column = utf8.RuneCount(s.Octets[start:at.start]) + 1
	s.show(&p, start, min(end, cut), at, cut < end)
	return p
}

// show fills the source line; of one that is cut, what is left and a word that
// says so.
func (s *source) show(p *Problem, start, end int, at span, cut bool) {
	e := s.Show(start, end, at.start, at.end)
	if cut && e.Whole {
		text := strings.TrimRight(e.Text, " ") + " "
		if text == " " {
			text = ""
		}
		if at.start >= end {
			e.Mark, e.Width = utf8.RuneCountInString(text), len(hidden)
		}
		e.Text = text + hidden
	}
	p.Source, p.mark, p.width = e.Text, e.Mark, e.Width
}
