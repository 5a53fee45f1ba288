package rules

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// patterns that are dear to compile end the reading of a file.
func TestPatternTime(t *testing.T) {
	text := []byte("[[rule]]\nid = 'x'\nmatch = ['text matches /a/', 'text matches /b/', 'text matches /c/']\n")
	at := time.Unix(0, 0)
	p := &parser{reader: readTOML(newDocument("a.toml", bytes.Clone(text))), file: "a.toml", lists: map[string]*list{}, now: func() time.Time {
		at = at.Add(maxPatternTime * 2 / 3)
		return at
	}}
	f, _, problems := p.read()
	if len(problems) != 1 || problems[0].Warning || !strings.Contains(problems[0].Text, "take more than 20s") || len(f.Rules[0].Match) != 2 {
		t.Error(problems)
	}
}
