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

// excuses are messages that nobody's program shows the payload of, with the
// reason. The key is the class and the name.
func excuses() map[string]string {
	return map[string]string{}
}

// score runs the messages, each by itself and inside others.
func score(t *testing.T, all []one) map[string]*count {
	t.Helper()
	e := gateway(t)
	out := map[string]*count{}
	reasons := excuses()
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
			if v == silent && reasons[m.id+" "+m.name] != "" {
				c.excused++
				continue
			}
			c.by[v]++
			if v == silent {
				t.Errorf("SILENT %s %s (inside %d): %s", m.id, m.name, k, symbols(d))
			}
		}
	}
	return out
}

func TestStructure(t *testing.T) {
	all := structure(attack())
	if len(all) < 500 {
		t.Errorf("only %d messages", len(all))
	}
	for id, c := range score(t, all) {
		t.Log(id, c.messages, c.by)
	}
}
