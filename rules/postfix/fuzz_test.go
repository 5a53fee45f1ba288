package postfix

import (
	"bytes"
	"testing"
	"time"

	"garita/rules/pattern"
)

// FuzzTable reads any table and asks it any line: nothing panics, and the
// literals pass over no line that the rules would take.
func FuzzTable(f *testing.F) {
	f.Add("/a(b)/ REJECT $1\nif !/c/\n/d/ WARN\nendif\n", "xab d", false)
	f.Add("/a/!/b/x X\n  more\n# c\n~\\<q~ $$\n", "q", true)
	f.Add("if /x/\n!/yy/ A\n/zz*/m ${1}", "x\nyy", false)
	f.Fuzz(func(t *testing.T, table, line string, regexp bool) {
		if len(table) > 1000 || len(line) > 500 {
			return
		}
		kind := PCRE
		if regexp {
			kind = Regexp
		}
		tb, problems := Parse(table, kind)
		for _, p := range problems {
			if p.Line < 0 || p.Line > bytes.Count([]byte(table), []byte("\n"))+1 {
				t.Fatalf("%+v", p)
			}
		}
		b := pattern.NewBudget(50*time.Millisecond, time.Now)
		result, at, ok, err := tb.Lookup([]byte(line), b)
		if err != nil {
			return
		}
		m := newMarks(tb)
		for i := range tb.filtered {
			tb.filtered[i] = false
		}
		other, otherAt, otherOK, err := tb.lookup(cString([]byte(line)), b, &m)
		if err == nil && (result != other || at != otherAt || ok != otherOK) {
			t.Fatalf("%q %d %v; every rule asked: %q %d %v", result, at, ok, other, otherAt, otherOK)
		}
		Judge(Header, result)
	})
}

// FuzzScan is that hits lie in the message, in order, and that every record
// of it is seen once.
func FuzzScan(f *testing.F) {
	f.Add([]byte("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: y\r\n\r\nz\r\n--b--\r\n"))
	f.Add([]byte("Content-Type: message/rfc822\n\nA: b\n c\nno\n\n..\r\r\n"))
	all, _ := Parse("/./ WARN\n", PCRE)
	f.Fuzz(func(t *testing.T, raw []byte) {
		list := []*Table{all}
		r := Scan(raw, Tables{Header: list, Body: list}, Options{}, nil)
		last := 0
		for _, h := range r.Hits {
			if h.Start < last && h.View == Body || h.End < h.Start || h.End > len(raw) || len(h.Subject) == 0 {
				t.Fatalf("%+v", h)
			}
			last = h.Start
		}
		end := 0
		records(raw, func(text []byte, start, stop, line int, goesOn bool) bool {
			if start != end || stop < start || len(text) > lineLimit+1 {
				t.Fatalf("a record at %d to %d behind %d", start, stop, end)
			}
			end = stop
			return true
		})
		if end != len(raw) {
			t.Fatalf("%d of %d octets", end, len(raw))
		}
	})
}
