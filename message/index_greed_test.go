package message

import (
	"runtime"
	"strings"
	"testing"

	"garita/message/field"
)

// TestIndexGreed: many small things in one message do not each take the room of
// the whole, neither for octets nor for work.
func TestIndexGreed(t *testing.T) {
	const size = 2 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	line := "M" + strings.Repeat("A", 60) + "\r\n"
	for _, c := range []struct{ title, mail string }{
		{"uuencoded files", "A: b\r\n\r\n" + fill("begin 644 a\r\n"+line+"`\r\nend\r\n")},
		{"uuencoded files without an end", "A: b\r\n\r\n" + fill("begin 644 a\r\n"+line)},
		{"BinHex files", "A: b\r\n\r\n" + fill("(This file must be converted with BinHex 4.0)\r\n:x\r\n")},
		{"MIME fields folded into a damaged one", "A :\r\n" + fill(" Content-Type: text/plain\r\n") + "\r\n"},
		{"MIME fields behind bare CRs", "A: b" + fill("\rContent-Type: text/plain") + "\r\n\r\n"},
		{"lines that go on with a MIME field", "Content-Type:\r\n" + fill("a=b\r\n") + "\r\n"},
		{"words in a name", "Content-Type: a/b; name=\"" + fill("=?utf-8?B?")},
	} {
		t.Run(c.title, func(t *testing.T) {
			raw := []byte(c.mail)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			x := ReadIndex(raw, DefaultIndexLimits())
			runtime.ReadMemStats(&after)
			if n := (after.TotalAlloc - before.TotalAlloc) / uint64(len(raw)); n > 30 {
				t.Errorf("%d octets of memory for each of the message", n)
			}
			if !x.Has(Ambiguous) {
				t.Errorf("nothing said about it: %s", x.defects())
			}
		})
	}
}

// TestHugeValue: what is behind the bound of a value is not silently lost.
func TestHugeValue(t *testing.T) {
	v := field.Parse("a/b; name=\"" + strings.Repeat("a", 70<<10) + ".exe\"")
	for _, o := range v.Oddities {
		if o.ID == "too-large-value" && o.Ambiguous {
			return
		}
	}
	t.Errorf("%v", v.Oddities)
}
