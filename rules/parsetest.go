package rules

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"garita/mail"
	"garita/place"

	"github.com/pelletier/go-toml/v2/unstable"
)

const maxTests = 100 // of a rule

// inlineTests reads test = [{…}, {…}].
func (p *parser) inlineTests(t *table, v *value) {
	if v.kind != unstable.Array {
		p.report(v.at, v.describe()+"; tests stand below the rule", "write [[rule.test]]")
		return
	}
	for _, item := range v.items {
		if item.table != nil {
			item.table.name = "rule.test"
		}
		if item.table == nil {
			p.report(item.at, item.describe()+"; a test is a table", "write [[rule.test]]")
			continue
		}
		t.tests = append(t.tests, item.table)
	}
}

// test reads one [[rule.test]].
func (p *parser) test(t *table) Test {
	out := Test{Line: p.doc.Line(t.at.start)}
	contents := 0
	for _, k := range []struct {
		key string
		to  *string
	}{{"message", &out.Message}, {"header", &out.Header}, {"text", &out.Text}, {"html", &out.HTML}} {
		if v := t.take(k.key); v != nil {
			*k.to, _ = p.text(v, k.key)
			contents++
		}
	}
	if out.Attachment = p.line(t, "attachment", 1000); t.byName["attachment"] != nil {
		contents++
	}
	out.Helo, out.User = p.line(t, "helo", 1000), p.line(t, "user", 1000)
	out.Host = p.line(t, "host", 255)
	out.From = p.address(t, "from", true)
	out.To = p.addresses(t)
	out.Client = p.line(t, "client", 100)
	if out.Client != "" {
		if a, err := netip.ParseAddr(out.Client); err != nil || a.Zone() != "" {
			p.report(t.byName["client"].val.at, place.Quote(out.Client)+" is not an address", "write client = \"192.0.2.1\"")
		}
	}
	out.Direction = p.direction(t)
	if b := p.boolean(t, "hit"); b != nil {
		out.Miss = !*b
	}
	if contents == 0 && !t.broken && !t.hasEnvelope() {
		p.report(t.at, "the test has no message and nothing to make one of", `give it message = '''…''', or header, text, html, attachment, from …`)
	}
	if t.byName["message"] != nil && contents > 1 {
		p.report(t.byName["message"].key, "a whole message has its header, text and attachments in it", "remove message, or header, text, html and attachment")
	}
	p.testHeader(t, &out)
	p.unused(t)
	return out
}

// hasEnvelope tells a test that is about the envelope.
func (t *table) hasEnvelope() bool {
	for _, k := range []string{"from", "to", "client", "host", "helo", "user", "direction"} {
		if t.byName[k] != nil {
			return true
		}
	}
	return false
}

// testHeader looks at header fields that would end the header or change what the
// parts are.
func (p *parser) testHeader(t *table, out *Test) {
	e := t.byName["header"]
	if e == nil || out.Header == "" {
		return
	}
	out.Header = strings.TrimRight(strings.ReplaceAll(out.Header, "\r\n", "\n"), "\n")
	for i, line := range strings.Split(out.Header, "\n") {
		name, _, colon := strings.Cut(line, ":")
		folded := i > 0 && line != "" && (line[0] == ' ' || line[0] == '\t')
		switch {
		case strings.Contains(line, "\r"): // would be a bare CR, which no message that is taken has
			p.report(e.val.at, "line "+strconv.Itoa(i+1)+" of the header holds a carriage return", "write \\n alone")
			return
		case folded:
		case !colon || !validField(strings.TrimRight(name, " \t")):
			p.report(e.val.at, "line "+strconv.Itoa(i+1)+" of the header is not a header field: "+place.Quote(line), `write header = "Subject: text"`)
			return
		case structural(name) && parts(out) > 1:
			p.report(e.val.at, "a test with several of text, html and attachment makes its own "+name, "write the whole message with message = '''…'''")
			return
		}
	}
}

// parts counts the contents.
func parts(t *Test) int {
	n := 0
	for _, s := range []string{t.Text, t.HTML, t.Attachment} {
		if s != "" {
			n++
		}
	}
	return n
}

// address reads an address; "<>" is the null reverse-path.
func (p *parser) address(t *table, key string, null bool) string {
	s := p.line(t, key, 400)
	if s == "" || null && s == "<>" {
		return s
	}
	if !validAddress(s) {
		p.report(t.byName[key].val.at, place.Quote(s)+" is not an address", `write `+key+` = "name@example.org"`)
		return ""
	}
	return s
}

func validAddress(s string) bool {
	_, rest, err := mail.ParseForward("<"+s+">", true)
	return err == nil && rest == "" && strings.IndexFunc(s, unicode.IsControl) < 0
}

// addresses reads to, an address or a list of them.
func (p *parser) addresses(t *table) []string {
	v := t.take("to")
	if v == nil {
		return nil
	}
	items := []*value{v}
	if v.kind == unstable.Array {
		items = v.items
	}
	var out []string
	for _, item := range items {
		s, ok := p.text(item, "to")
		if !ok {
			continue
		}
		if !validAddress(s) {
			p.report(item.at, place.Quote(s)+" is not an address", `write to = "name@example.org"`)
			continue
		}
		out = append(out, s)
	}
	return out
}
