package message

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// dump is a header as text: one `name|start-end|value` for each field.
func dump(h *Header) string {
	var s []string
	for _, f := range h.Fields() {
		s = append(s, fmt.Sprintf("%s|%d-%d|%s", f.Name, f.Start, f.End, f.Value()))
	}
	return strings.Join(s, "\n")
}

func TestHeaderCases(t *testing.T) {
	for _, c := range []struct {
		name, src, want string
		start, end      int64
		blank           bool
	}{
		{"plain", "A: 1\r\nB: 2\r\n\r\nbody\r\n", "A|0-6|1\nB|6-12|2", 0, 12, true},
		{"empty message", "", "", 0, 0, false},
		{"only an empty line", "\r\n", "", 0, 0, true},
		{"begins with an empty line", "\r\nA: 1\r\n", "", 0, 0, true},
		{"header only", "A: 1\r\n", "A|0-6|1", 0, 6, false},
		{"no final line end", "A: 1\r\nB: 2", "A|0-6|1\nB|6-10|2", 0, 10, false},
		{"no final line end, name only", "A: 1\r\nB", "A|0-6|1", 0, 6, false},
		{"empty line without line end", "A: 1\r\n\r", "A|0-6|1", 0, 6, true},
		{"body only", "Hello there\r\n", "", 0, 0, false},
		{"line without colon", "A: 1\r\nno colon\r\nB: 2\r\n", "A|0-6|1", 0, 6, false},
		{"colon first", ": x\r\n", "", 0, 0, false},
		{"white space before colon", "Received : x\r\nReceived\t \t: y\r\n\r\n", "Received|0-14|x\nReceived|14-30|y", 0, 30, true},
		{"text behind white space", "Two words: x\r\n\r\n", "", 0, 0, false},
		{"odd case", "rEcEiVeD: x\r\n\r\n", "rEcEiVeD|0-13|x", 0, 13, true},
		{"fold", "A: 1\r\n 2\r\n\t3\r\nB: x\r\n\r\n", "A|0-14|1 2\t3\nB|14-20|x", 0, 20, true},
		{"fold of white space only", "A: 1\r\n  \r\n 2\r\n\r\n", "A|0-14|1   2", 0, 14, true},
		{"fold before anything", " A: 1\r\nB: 2\r\n\r\n", "", 0, 0, false},
		{"empty value", "A:\r\nB: \r\n\r\n", "A|0-4|\nB|4-9|", 0, 9, true},
		{"value begins in the fold", "A:\r\n 1\r\n\r\n", "A|0-8|1", 0, 8, true},
		{"mbox line", "From a@b Mon\r\nA: 1\r\n\r\n", "A|14-20|1", 14, 20, true},
		{"quoted mbox line", ">From a@b\r\n>>From b\r\nA: 1\r\n\r\n", "A|21-27|1", 21, 27, true},
		{"mbox line alone", "From a\r\n", "", 8, 8, false},
		{"mbox line alone, no line end", "From a", "", 6, 6, false},
		{"mbox line and empty line", "From a\r\n\r\nA: 1\r\n", "", 8, 8, true},
		{"mbox line later", "A: 1\r\nFrom a\r\nB: 2\r\n", "A|0-6|1", 0, 6, false},
		{"From: is a field", "From: a\r\n\r\n", "From|0-9|a", 0, 9, true},
		{"bare LF", "A: 1\nB: 2\n 3\n\nbody", "A|0-5|1\nB|5-13|2 3", 0, 13, true},
		{"8-bit name", "S\xc3\xbcbject: x\r\n\r\n", "", 0, 0, false},
		{"8-bit value", "Subject: \xfc\r\n\r\n", "Subject|0-12|\xfc", 0, 12, true},
		{"control in name", "A\x01: x\r\n", "", 0, 0, false},
		{"NUL in name", "A\x00: x\r\n", "", 0, 0, false},
		{"odd but visible name", "X-!#$(/@[]{}~: x\r\n\r\n", "X-!#$(/@[]{}~|0-18|x", 0, 18, true},
		{"bare CR in the value", "A: 1\rB: 2\r\nC: 3\r\n\r\n", "A|0-11|1\rB: 2\nC|11-17|3", 0, 17, true},
		{"CR CR LF is no empty line", "A: 1\r\n\r\r\nB: 2\r\n", "A|0-6|1", 0, 6, false},
		{"colons in the value", "A: b: c:\r\n\r\n", "A|0-10|b: c:", 0, 10, true},
	} {
		for _, mem := range []int64{1, 1 << 20} {
			m := spoolBytes(t, []byte(c.src), Limits{Memory: mem})
			h := m.Header()
			if got := dump(h); got != c.want {
				t.Errorf("%s: fields\n%s\nwant\n%s", c.name, got, c.want)
			}
			if h.Start() != c.start || m.HeaderEnd() != c.end || h.HasBlank() != c.blank || h.TooLarge() || h.Err() != nil {
				t.Errorf("%s: start %d end %d blank %v too large %v err %v, want %d %d %v",
					c.name, h.Start(), m.HeaderEnd(), h.HasBlank(), h.TooLarge(), h.Err(), c.start, c.end, c.blank)
			}
		}
	}
}

// TestPrepend: S-22, the added field stands in the header, whatever the message
// begins with, and the body is the same as before.
func TestPrepend(t *testing.T) {
	const ours = "X-Ours: yes\r\n"
	for _, c := range []struct{ src, want string }{
		{"A: 1\r\n\r\nbody", ours + "A: 1\r\n\r\nbody"},
		{"", ours},
		{"\r\nbody", ours + "\r\nbody"},
		{"body only\r\n", ours + "\r\nbody only\r\n"},
		{" begins with a space\r\n", ours + "\r\n begins with a space\r\n"},
		{"From x\r\nA: 1\r\n\r\n", "From x\r\n" + ours + "A: 1\r\n\r\n"},
		{"From x\r\nbody\r\n", "From x\r\n" + ours + "\r\nbody\r\n"},
		{"From x\r\n", "From x\r\n" + ours},
		{"From x", "From x\r\n" + ours},
		{"A: 1\r\nno colon\r\n", ours + "A: 1\r\nno colon\r\n"},
		{"A: 1", ours + "A: 1"},
	} {
		m := spoolBytes(t, []byte(c.src), Limits{})
		field := []byte(ours)
		r, err := m.Render([]Edit{m.Header().Prepend(field)})
		if err != nil {
			t.Fatalf("%q: %v", c.src, err)
		}
		var out bytes.Buffer
		r.WriteTo(&out)
		if out.String() != c.want {
			t.Errorf("%q: got %q, want %q", c.src, out.String(), c.want)
		}
		again := spoolBytes(t, out.Bytes(), Limits{})
		if f, ok := again.Header().Get("x-ours"); !ok || f.Value() != "yes" {
			t.Errorf("%q: our field is not in the header, or continued: %q", c.src, f.Value())
		}
		if len(again.Header().Fields()) != len(m.Header().Fields())+1 {
			t.Errorf("%q: fields were lost or made", c.src)
		}
		if string(field) != ours {
			t.Error("Prepend changed its argument")
		}
	}
}

func TestHeaderLookup(t *testing.T) {
	m := spoolBytes(t, []byte("Received: 1\r\nreceived : 2\r\nX-Received: 3\r\nRECEIVED:\r\n 4\r\n\r\nReceived: body\r\n"), Limits{})
	h := m.Header()
	if n := h.CountFold("Received"); n != 3 {
		t.Errorf("CountFold %d, want 3", n)
	}
	var vals []string
	for _, f := range h.All("received") {
		vals = append(vals, f.Value())
	}
	if strings.Join(vals, ",") != "1,2,4" {
		t.Errorf("All: %v", vals)
	}
	if f, ok := h.Get("x-RECEIVED"); !ok || f.Value() != "3" {
		t.Errorf("Get: %v %v", f, ok)
	}
	if _, ok := h.Get("Subject"); ok {
		t.Error("Get finds what is not there")
	}
	if h.All("Subject") != nil || h.CountFold("Subject") != 0 {
		t.Error("All or CountFold find what is not there")
	}
	if (Field{}).Value() != "" {
		t.Error("Value of no field")
	}
}

// TestDeleteField: the offsets of a field are what an edit needs.
func TestDeleteField(t *testing.T) {
	m := spoolBytes(t, []byte("A: 1\r\nAuthentication-Results :\r\n gw;\r\n\tdkim=pass\r\nB: 2\r\n\r\nbody\r\n"), Limits{})
	f, _ := m.Header().Get("Authentication-Results")
	checkRendering(t, m, []Edit{{At: f.Start, Delete: f.End - f.Start}}, []byte("A: 1\r\nB: 2\r\n\r\nbody\r\n"))
}

func TestHeaderBounds(t *testing.T) {
	fields := func(n int) string { return strings.Repeat("To: x\r\n", n) }
	for _, c := range []struct {
		name string
		src  string
		n    int
		big  bool
		end  int64
	}{
		{"most fields", fields(MaxHeaderFields) + "\r\n", MaxHeaderFields, false, 7 * MaxHeaderFields},
		{"one field more", fields(MaxHeaderFields+1) + "\r\n", MaxHeaderFields, true, 7 * MaxHeaderFields},
		{"1,000 folds", "A: 1\r\n" + strings.Repeat(" x\r\n", 1000) + "\r\n", 1, false, 4006},
		{"line of 100 KB", "A: " + strings.Repeat("x", 100<<10) + "\r\nB: 2\r\n\r\n", 2, false, 100<<10 + 11},
		{"largest block", "A: " + strings.Repeat("x", MaxHeaderBytes-7) + "\r\n\r\n" + strings.Repeat("b", 100), 1, false, MaxHeaderBytes - 2},
		{"larger block", "A: 1\r\nB: " + strings.Repeat("x", MaxHeaderBytes) + "\r\n\r\n", 1, true, 6},
		{"larger block of folds", "A: 1\r\n" + strings.Repeat(" x\r\n", MaxHeaderBytes/4) + "\r\n", 1, true, 6 + (MaxHeaderBytes-6)/4*4},
		{"as large as the bound, no end", "A: " + strings.Repeat("x", MaxHeaderBytes-5) + "\r\n", 1, false, MaxHeaderBytes},
		{"longest name", strings.Repeat("n", MaxFieldName) + ": x\r\n\r\n", 1, false, MaxFieldName + 5},
		{"longer name", "A: 1\r\n" + strings.Repeat("n", MaxFieldName+1) + ": x\r\nB: 2\r\n\r\n", 1, true, 6},
		{"much longer name", "A: 1\r\n" + strings.Repeat("n", 100000) + ": x\r\nB: 2\r\n\r\n", 1, true, 6},
		{"colon far away", "A: 1\r\nn" + strings.Repeat(" ", 5000) + ": x\r\nB: 2\r\n\r\n", 1, true, 6},
		{"long names together", strings.Repeat(strings.Repeat("n", 900)+": x\r\n", 100) + "\r\n", maxNames / 900, true, maxNames / 900 * 905},
		{"long body line", "A: 1\r\n" + "some text " + strings.Repeat("n", 5000) + "\r\n", 1, false, 6},
	} {
		for _, mem := range []int64{1, 4 << 20} {
			m := spoolBytes(t, []byte(c.src), Limits{Memory: mem})
			h := m.Header()
			if len(h.Fields()) != c.n || h.TooLarge() != c.big || errors.Is(h.Err(), ErrHeaderTooLarge) != c.big || m.HeaderEnd() != c.end {
				t.Errorf("%s: %d fields, too large %v (%v), end %d; want %d, %v, %d",
					c.name, len(h.Fields()), h.TooLarge(), h.Err(), m.HeaderEnd(), c.n, c.big, c.end)
			}
		}
	}
}

// simpleHeader is the header by the rules of Header's comment, on one string:
// the judge of the real scanner. Only for headers within the bounds.
func simpleHeader(src string) (fields []string, start, end int, blank bool) {
	pos, last := 0, -1
	var starts []int
	stop := func() (f []string, s, e int, b bool) {
		starts = append(starts, pos)
		for i := range len(starts) - 1 {
			f = append(f, src[starts[i]:starts[i+1]])
		}
		return f, start, pos, false
	}
	for pos < len(src) {
		line, _, found := strings.Cut(src[pos:], "\n")
		next := pos + len(line)
		if found {
			next++
		}
		line = strings.TrimSuffix(line, "\r")
		name, _, colon := strings.Cut(line, ":")
		name = strings.TrimRight(name, " \t")
		visible := name != "" && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
		switch {
		case line == "":
			fields, start, end, _ = stop()
			return fields, start, end, true
		case last >= 0 && (line[0] == ' ' || line[0] == '\t'):
		case last < 0 && strings.HasPrefix(strings.TrimLeft(line, ">"), "From "):
			start = next
		case colon && visible:
			starts = append(starts, pos)
			last = pos
		default:
			return stop()
		}
		pos = next
	}
	return stop()
}

// scanIn runs the scanner over src in pieces of the sizes that next gives, as
// if they were chunks.
func scanIn(src []byte, next func() int) *Header {
	h := &Header{m: &Message{size: int64(len(src))}}
	s := scanner{h: h}
	for off := 0; off < len(src) && !s.done; {
		n := min(max(next(), 1), len(src)-off)
		s.piece(src[off : off+n])
		off += n
	}
	s.finish(int64(len(src)))
	return h
}

// compareHeader compares a scan in pieces with the simple reading.
func compareHeader(t *testing.T, src []byte, next func() int) {
	t.Helper()
	h := scanIn(src, next)
	if h.tooLarge {
		return
	}
	fields, start, end, blank := simpleHeader(string(src))
	if h.start != int64(start) || h.end != int64(end) || h.blank != blank || len(h.fields) != len(fields) {
		t.Fatalf("%q: start %d end %d blank %v fields %d, want %d %d %v %d", src, h.start, h.end, h.blank, len(h.fields), start, end, blank, len(fields))
	}
	for i, f := range h.fields {
		if string(src[f.Start:f.End]) != fields[i] || !strings.HasPrefix(fields[i], f.Name) || src[f.colon] != ':' ||
			strings.TrimRight(fields[i][:f.colon-f.Start], " \t") != f.Name {
			t.Fatalf("%q: field %d is %q [%d,%d), want %q", src, i, f.Name, f.Start, f.End, fields[i])
		}
	}
}

func TestHeaderInPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	words := []string{"A", "Received", ":", ": x", " ", "\t", "\r\n", "\r\n", "\r\n ", "\n", "\r", "From ", ">", "\r\n\r\n", "\x00", "\xfc", "text"}
	for range 20000 {
		var src []byte
		for range r.IntN(12) {
			src = append(src, words[r.IntN(len(words))]...)
		}
		size := 1 + r.IntN(6)
		compareHeader(t, src, func() int { return size })
	}
}

// TestHeaderAcrossChunks puts a field at every place around the end of a chunk.
func TestHeaderAcrossChunks(t *testing.T) {
	dir := t.TempDir()
	const field = "Received : from x\r\n by y\r\nB: 2\r\n\r\nbody"
	for d := -len(field) - 2; d <= 3; d++ {
		for _, border := range []int{chunkSize, 8 << 10, 8<<10 + fileBufferSize} {
			pad := "P: " + strings.Repeat("x", border+d-5) + "\r\n"
			for _, mem := range []int64{1, 1 << 20} {
				m, want := spoolBytes(t, []byte(pad+field), Limits{Memory: mem, Dir: dir}), len(pad)
				h := m.Header()
				f, ok := h.Get("received")
				b, _ := h.Get("b")
				if !ok || f.Value() != "from x by y" || f.Start != int64(want) || b.Value() != "2" ||
					m.HeaderEnd() != int64(want+len(field)-6) || len(h.Fields()[0].Value()) != len(pad)-5 {
					t.Fatalf("border %d%+d memory %d: %q end %d", border, d, mem, f.Value(), m.HeaderEnd())
				}
			}
		}
	}
}
