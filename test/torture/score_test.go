package torture

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"
)

func gz(name string, p []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	w.Write(p)
	w.Close()
	return b.Bytes()
}

// structure gives the messages of the chapter about MIME.
func structure(l load) []one {
	var out []one
	for _, f := range []func(load) []one{conflicts, encodings, comments, places, fieldNames, types, encodedComposites, written, spelt, structures, extended, words, tricks, broken64, brokenQP, otherEncodings, resources} {
		out = append(out, f(l)...)
	}
	return append(out, split()...)
}

// wrapped are the message inside others.
func (m *one) wrapped() []string {
	if m.alone {
		return nil
	}
	body := m.raw
	// The fields of a message are those of a part, but for the first ones.
	part := strings.Replace(body, top, "", 1)
	return []string{
		top + mixed + "boundary=wrapper\n\n--wrapper\nContent-Type: text/plain\n\nhello\n--wrapper\n" + part + "\n--wrapper--\n",
		top + mixed + "boundary=wrapper\n\n--wrapper\nContent-Type: text/plain\n\nhello\n--wrapper\nContent-Type: message/rfc822\n\n" + body + "\n--wrapper--\n",
	}
}

// count is the score of a class.
type count struct {
	messages int
	by       [verdicts]int
	excused  int
}

// excuses are messages that no program shows the payload of, with the reason.
// The key is the class and the beginning of the name.
func excuses() [][2]string {
	const (
		plain   = "nothing says that the text is encoded, and nobody decodes it"
		ascii   = "the character ends no line: it is a part of the other field's text"
		folded  = "a folded line is the text of the field before it"
		destroy = "what is decoded is damaged and no archive any more"
		twice   = "nobody decodes twice"
		no      = "no program decodes it, and the text is shown as text"
	)
	return [][2]string{
		{"E-03 no encoding at all", plain}, {"E-03 only a name", plain}, {"E-24 no header in the part", plain}, {"E-24 preamble, encoded", plain}, {"E-24 uuencoded over the boundaries", destroy},
		{"E-07 name \"x=1,\"", "the rest belongs to the value of x"}, {"E-09 behind space: name in type", folded}, {"E-09 behind tab: name in type", folded}, {"E-10 folded with tab", folded},
		{"E-10 FF", ascii}, {"E-10 LS", ascii}, {"E-10 NEL", ascii}, {"E-10 VT", ascii},
		{"E-47 \"garita-payload.exe;1\"", "the name does not end in .exe on any system"},
		{"E-52 Content-Name", "no program takes names from that field"},
		{"E-61 twice encoded", twice}, {"E-62 encoded twice", twice}, {"E-62 of base64", twice},
		{"E-62 colon", no}, {"E-62 percent", no}, {"E-62 zeros", no}, {"E-64 bare CR", "a bare CR is refused on the wire, or made a space"}, {"E-64 indented", no}, {"E-64 long lines behind", no}, {"E-64 no begin", no}, {"E-64 quoted", no}, {"E-64 upper", no},
		{"E-66 by type", "no program of today decodes BinHex by its type"},
	}
}

// excuse gives the key of the one that a message has; empty for none.
func excuse(m *one) string {
	for _, e := range excuses() {
		if strings.HasPrefix(m.id+" "+m.name, e[0]) {
			return e[0]
		}
	}
	return ""
}

// score runs the messages, each by itself and inside others.
func score(t *testing.T, all []one) map[string]*count {
	t.Helper()
	e := gateway(t)
	out, used := map[string]*count{}, map[string]bool{}
	for i := range all {
		m := &all[i]
		c := out[m.id]
		if c == nil {
			c = &count{}
			out[m.id] = c
		}
		for k, raw := range append([]string{m.raw}, m.wrapped()...) {
			d := decide(t, e, crlf(raw))
			v := m.class(d)
			c.messages++
			if os.Getenv("TORTURE_SHOW") != "" && v != seen {
				fmt.Printf("%s %s [%d] %s -- %s\n", v, m.id, k, m.name, symbols(d))
			}
			if why := excuse(m); v == silent && why != "" {
				c.excused++
				used[why] = true
				continue
			}
			c.by[v]++
			if v == silent {
				t.Errorf("SILENT %s %s (inside %d): %s", m.id, m.name, k, symbols(d))
			}
		}
	}
	for _, one := range excuses() {
		if !used[one[0]] {
			t.Errorf("%q needs no excuse any more", one[0])
		}
	}
	return out
}

// TestScore: nothing is silent, and docs/evasion.md has the table.
func TestScore(t *testing.T) {
	t.Parallel()
	mime, boxes, html := structure(attack()), append(zips(), nestedArchives(t)...), pages()
	for _, c := range []struct {
		all   []one
		least int
	}{{mime, 500}, {boxes, 150}, {html, 80}} {
		if len(c.all) < c.least {
			t.Errorf("only %d messages", len(c.all))
		}
	}
	counts := score(t, append(append(mime, boxes...), html...))
	text := document(counts)
	t.Log("\n" + text)
	const path = "../../docs/evasion.md"
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if readDoc(t) != text {
		t.Errorf("%s is not what is measured: go test ./test/torture -run TestScore -update", path)
	}
}
