package message

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
)

// client is a mail reader of the simple kind, with habits. It stands for the
// programs of recipients: whatever one of them shows, the index must hold, or
// call the message ambiguous.
type client struct {
	lastField  bool // of repeated fields and parameters the last counts
	prefix     bool // lines that begin with the boundary are delimiters
	ignoreEnd  bool // the closing boundary is a boundary like others
	junkEnds   bool // a line that is no field ends the header
	softBlank  bool // a line of white space ends the header
	bareCR     bool // a CR ends a line
	looseNames bool // white space before the colon is fine
	skipBlank  bool // empty lines before a header are skipped
}

// clients gives all combinations of habits.
func clients() []client {
	out := make([]client, 0, 256)
	for i := range 256 {
		out = append(out, client{i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0, i&16 != 0, i&32 != 0, i&64 != 0, i&128 != 0})
	}
	return out
}

// shows says that the client decodes the marker out of a part.
func (c client) shows(mail string, depth int) bool {
	if depth > 6 {
		return false
	}
	if c.bareCR {
		mail = strings.ReplaceAll(strings.ReplaceAll(mail, "\r\n", "\n"), "\r", "\n")
	}
	kind, boundary, encoding, body := c.header(strings.ReplaceAll(mail, "\r\n", "\n"))
	switch {
	case strings.HasPrefix(kind, "multipart/") && boundary != "":
		for _, part := range c.split(body, boundary) {
			if c.shows(part, depth+1) {
				return true
			}
		}
		return false
	case kind == "message/rfc822":
		if encoding == "base64" {
			body = decode64(body)
		}
		return c.shows(body, depth+1)
	case encoding == "base64":
		return strings.Contains(decode64(body), marker)
	}
	return strings.Contains(body, marker)
}

func decode64(s string) string {
	b, _ := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
	return string(b)
}

func (c client) header(mail string) (kind, boundary, encoding, body string) {
	lines := strings.Split(mail, "\n")
	i := 0
	for c.skipBlank && i < len(lines) && lines[i] == "" {
		i++
	}
	var fields []string
	for ; i < len(lines); i++ {
		l := lines[i]
		if l == "" || c.softBlank && strings.TrimSpace(l) == "" {
			i++
			break
		}
		if (l[0] == ' ' || l[0] == '\t') && len(fields) > 0 {
			fields[len(fields)-1] += l
			continue
		}
		name, _, ok := strings.Cut(l, ":")
		if c.looseNames {
			name = strings.TrimSpace(name)
		}
		if !ok || strings.ContainsAny(name, " \t") {
			if c.junkEnds {
				break
			}
			continue
		}
		fields = append(fields, l)
	}
	body = strings.Join(lines[min(i, len(lines)):], "\n")
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "content-type":
			if kind == "" || c.lastField {
				kind, boundary = value, ""
				if j := strings.Index(value, ";"); j >= 0 {
					kind = value[:j]
					all := strings.Split(value[j:], "boundary=")[1:]
					if len(all) > 0 && c.lastField {
						all = all[len(all)-1:]
					}
					if len(all) > 0 {
						boundary = strings.Trim(strings.SplitN(all[0], ";", 2)[0], " \"")
					}
				}
			}
		case "content-transfer-encoding":
			if encoding == "" || c.lastField {
				encoding = value
			}
		}
	}
	return kind, boundary, encoding, body
}

func (c client) split(body, boundary string) []string {
	var parts []string
	var cur []string
	open := false
	end := func() {
		if open {
			parts = append(parts, strings.Join(cur, "\n"))
		}
		cur = nil
	}
	for _, l := range strings.Split(body, "\n") {
		rest, ok := strings.CutPrefix(l, "--"+boundary)
		trimmed := strings.TrimRight(rest, " \t\r")
		switch {
		case ok && trimmed == "--" && !c.ignoreEnd:
			end()
			return parts
		case ok && (trimmed == "" || trimmed == "--" || c.prefix):
			end()
			open = true
		default:
			cur = append(cur, l)
		}
	}
	end()
	return parts
}

// checkClients: what a client shows is in the index, or the message is
// ambiguous at least.
func checkClients(t testing.TB, raw string, x *Index) {
	t.Helper()
	if x.Has(Ambiguous) || x.sees(marker) {
		return
	}
	for _, c := range clients() {
		if c.shows(raw, 0) {
			t.Fatalf("SILENT for %+v\n%q\n%s\n%s", c, raw, x.describe(), x.defects())
		}
	}
}

// TestIndexClients: the clients themselves see what they should, and nothing in
// the table of attacks is silent for one of them.
func TestIndexClients(t *testing.T) {
	plain := string(crlf(multi("Content-Type: multipart/mixed; boundary=A\n", "A")))
	for _, c := range clients() {
		if !c.shows(plain, 0) {
			t.Fatalf("%+v does not see a plain attachment", c)
		}
	}
	for _, a := range attacks() {
		raw := string(crlf(a.mail))
		checkClients(t, raw, ReadIndex([]byte(raw), DefaultIndexLimits()))
	}
	// Messages by chance, the same at each run.
	chance := rand.New(rand.NewPCG(1, 4))
	for range 4000 {
		plan := make([]byte, 3+chance.IntN(14))
		for i := range plan {
			plan[i] = byte(chance.Uint32())
		}
		raw := assemble(plan)
		checkClients(t, raw, ReadIndex([]byte(raw), DefaultIndexLimits()))
	}
}
