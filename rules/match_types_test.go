package rules_test

import (
	"strings"
	"testing"

	"garita/message"
	"garita/rules"
)

// TestTypesAndDefects: what an attachment is by its octets, and what is wrong
// with the structure of the message.
func TestTypesAndDefects(t *testing.T) {
	letter := func(header, octets string) string {
		return "From: a@sender.example\r\nMIME-Version: 1.0\r\n" + header + "Content-Disposition: attachment; filename=a.bin\r\n\r\n" + octets + "\r\n"
	}
	plain := "Content-Type: application/octet-stream\r\n"
	program := "MZ" + strings.Repeat("\x00", 58) + "\x40\x00\x00\x00PE\x00\x00" + strings.Repeat("\x00", 200)
	for _, c := range []struct {
		condition, raw string
		hit            bool
	}{
		{`attachment type is "executable"`, letter(plain, program), true},
		{`attachment type is "pe"`, letter(plain, program), true},
		{`attachment type is "executable"`, letter(plain, "some text"), false},
		{`attachment type is "pdf"`, letter(plain, "%PDF-1.4\n1 0 obj\n"), true},
		{`defect is "conflicting-content-type"`, letter(plain+"Content-Type: text/plain\r\n", "x"), true},
		{`defect is "conflicting-content-type"`, letter(plain, "x"), false},
	} {
		f, problems := rules.Parse(rules.Source{Name: "x", Text: []byte("[[rule]]\nid = \"x\"\nmatch = ['" + c.condition + "']\naction = \"warn\"\n")}, rules.ParseOptions{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		s, problems := rules.Compile([]*rules.File{f})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		in := rules.Input{Tx: envelope(), Index: message.ReadIndex([]byte(c.raw), message.DefaultIndexLimits()), Raw: []byte(c.raw)}
		if got := len(match(t, s, in).Hits) == 1; got != c.hit {
			t.Errorf("%s: %v, want %v", c.condition, got, c.hit)
		}
	}
}
