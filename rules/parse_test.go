package rules

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/place"
)

// whole is every key of the language.
const whole = `# comment
[[rule]]
id = "factura-exe"
description = "Programs that pretend to be an invoice"
source = "https://example.org/why"
direction = "in"
mode = "observe"
match = ['attachment name ends ".exe" or ".scr"', 'subject contains "factura"']
any = ['not client in 192.0.2.0/24 or 2001:db8::/32', "text matches /\\bfactura\\/n\u00ba/is"]
not = ['html attribute HTTP-Equiv of META is "refresh"', 'size <= 10MB', 'recipients = 3']
action = ["reject", "warn", 'info']
reply = "554 5.7.2 We take no programs"
score = 5.5
tags = ["virus", "names"]
expires = 2027-01-31
stop = true
[[rule.test]]
attachment = "x.exe"
header = """Subject: factura
X-B: c
"""
from = "<>"
to = ["a@example.org", "b@example.org"]
client = "192.0.2.7"
host = "unknown"
helo = "h"
user = "u"
direction = "out"
[[rule.test]]
message = '''
Subject: x

y
'''
hit = false
[[override]]
rule = "iframe"
mode = "enforce"
score = -1
`

func TestParse(t *testing.T) {
	f, problems := Parse(Source{Name: "/etc/garita/rules.d/a.toml", Text: []byte(whole)}, ParseOptions{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r := f.Rules[0]
	var got []string
	for _, c := range slices.Concat(r.Match, r.Any, r.Not) {
		got = append(got, fmt.Sprintf("%d:%d not=%v %v name=%q of=%q %v %q %v n=%d /%s/%s %v", c.Line, c.Column, c.Not, c.Subject, c.Name, c.Of, c.Op,
			c.Values, c.Nets, c.Number, c.Regexp, c.Flags, c.Pattern != nil))
	}
	want := []string{
		`8:11 not=false attachment name name="" of="" ends [".exe" ".scr"] [] n=0 // false`,
		`8:52 not=false subject name="" of="" contains ["factura"] [] n=0 // false`,
		`9:9 not=true client name="" of="" in [] [192.0.2.0/24 2001:db8::/32] n=0 // false`,
		`9:56 not=false text name="" of="" matches [] [] n=0 /\bfactura/nº/is true`,
		`10:9 not=false html attribute name="http-equiv" of="meta" is ["refresh"] [] n=0 // false`,
		`10:59 not=false size name="" of="" <= [] [] n=10485760 // false`,
		`10:75 not=false recipients name="" of="" = [] [] n=3 // false`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("conditions:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(r.Match) != 2 || len(r.Any) != 2 || len(r.Not) != 3 {
		t.Error("the lists are mixed up")
	}
	reply := mail.Permanent(554, "7.2", "We take no programs")
	other := *r
	other.Match, other.Any, other.Not = nil, nil, nil
	if w := (Rule{ID: "factura-exe", Description: "Programs that pretend to be an invoice", Origin: "https://example.org/why",
		Direction: mail.In, Mode: mail.Observe, Actions: []Action{{Kind: Reject}, {Kind: Warn}, {Kind: Info}}, Reply: &reply, Score: 5.5,
		Tags: []string{"virus", "names"}, Expires: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC), Stop: true,
		Tests: []Test{
			{Line: 17, Header: "Subject: factura\nX-B: c", Attachment: "x.exe", From: "<>", Client: "192.0.2.7", Host: "unknown", Helo: "h", User: "u",
				To: []string{"a@example.org", "b@example.org"}, Direction: mail.Out},
			{Line: 29, Message: "Subject: x\n\ny\n", Miss: true}},
		File: "/etc/garita/rules.d/a.toml", Line: 2}); !reflect.DeepEqual(other, w) {
		t.Errorf("%+v\nwant\n%+v", other, w)
	}
	enforce, minus := mail.Enforce, -1.0
	if w := []*Override{{Rule: "iframe", Mode: &enforce, Score: &minus, File: "/etc/garita/rules.d/a.toml", Line: 36}}; !reflect.DeepEqual(f.Overrides, w) {
		t.Errorf("%+v", f.Overrides[0])
	}
}

// parseRule reads a rule with an id and what is given.
func parseRule(body string, o ParseOptions) (*Rule, []Problem) {
	f, problems := Parse(Source{Name: "a.toml", Text: []byte("[[rule]]\nid = \"x\"\n" + body + "\n")}, o)
	if len(f.Rules) == 0 {
		return nil, problems
	}
	return f.Rules[0], problems
}

func TestSubjectsAndOperators(t *testing.T) {
	for _, f := range subjectForms() {
		subject := f.words
		if f.name {
			subject += " X-Name"
		}
		for o := Is; o <= Equals; o++ {
			value := map[bool]string{true: ` "a" or "b"`, false: " 3"}[o <= Ends]
			switch {
			case o == Matches:
				value = " /a/"
			case o == InList:
				value = " names.txt"
			case o == InNets:
				value = " 192.0.2.1 or 2001:db8::/32"
			case o == Exists || o == Missing:
				value = ""
			case f.kind == aboutSize:
				value = " 3KB"
			}
			if f.subject == Defect && o == Is {
				value = fmt.Sprintf(" %q", defects()[0])
			}
			source := subject + " " + o.String() + value
			r, problems := parseRule("match = ["+place.String(source)+", "+place.String("not "+source)+"]", ParseOptions{ReadList: func(string) ([]byte, error) { return []byte("192.0.2.1\n"), nil }})
			if !f.kind.fits(o) {
				if len(problems) == 0 || !strings.Contains(problems[0].Text, "cannot be compared with") {
					t.Errorf("%s: %v", source, problems)
				}
				continue
			}
			if len(problems) > 0 {
				t.Errorf("%s: %v", source, problems)
				continue
			}
			c, n := r.Match[0], r.Match[1]
			if c.Subject != f.subject || c.Op != o || c.Not || !n.Not || n.Subject != f.subject || n.Op != o || (c.Name != "") != f.name || c.Source != source {
				t.Errorf("%s: %+v", source, c)
			}
		}
	}
}

func TestConditionMistakes(t *testing.T) {
	long := strings.Repeat("a", 70000)
	tests := []struct{ condition, at, want string }{
		{``, ``, "here belongs what the condition is about"},
		{`not`, ``, "here belongs what the condition is about"},
		{`not not subject exists`, `not subject`, `write not once`},
		{`sender`, ``, "ends before it says anything (after sender comes one of: is, contains"},
		{`"x" is subject`, `"x"`, "here belongs what the condition is about (for example: subject"},
		{`from is "x"`, `from`, "did you mean sender (of the envelope) or header From?"},
		{`Subject is "x"`, `Subject`, "did you mean subject?"},
		{`subjet is "x"`, `subjet`, "did you mean subject?"},
		{`atachment name is "x"`, `atachment`, "did you mean attachment name?"},
		{`attachment nam is "x"`, `attachment`, "did you mean attachment name?"},
		{`filename is "x"`, `filename`, "did you mean attachment name?"},
		{`xyzzy is "x"`, `xyzzy`, "one of: client, host, helo"},
		{`header contains "x"`, `contains`, "the name of the header field is missing"},
		{`header "Subject" contains "x"`, `"Subject"`, "write it without quotes: header Subject"},
		{`header Subject: contains "x"`, `Subject:`, "write Subject"},
		{`header Asunto€ contains "x"`, `Asunto€`, "is not the name of a header field"},
		{`html attribute "x" is "y"`, `"x"`, "write it without quotes: html attribute x"},
		{`html attribute x of "y" is "y"`, `"y" is`, "here belongs the name of a tag"},
		{`subject "x"`, `"x"`, `the operator is missing (write subject contains "x"`},
		{`subject cotains "x"`, `cotains`, "did you mean contains?"},
		{`subject startswith "x"`, `startswith`, "did you mean starts?"},
		{`subject == "x"`, `==`, "did you mean is?"},
		{`size == 3MB`, `==`, "did you mean =?"},
		{`subject != "x"`, `!=`, "write not subject is"},
		{`subject is not "x"`, `not`, "write not subject is"},
		{`subject does not contain "x"`, `does`, "write not subject contains"},
		{`subject ~ "x"`, `~`, "did you mean matches?"},
		{`subject missing`, `missing`, "did you mean is missing?"},
		{`subject frob "x"`, `frob`, "one of: is, contains, starts, ends, matches, in list, exists, is missing"},
		{`size frob 3`, `frob`, "one of: >, >=, <, <=, ="},
		{`client is "192.0.2.1"`, `is`, "client cannot be compared with is (write client in 192.0.2.1)"},
		{`client contains "192.0"`, `contains`, "one of: in 192.0.2.0/24, in list"},
		{`subject > 3`, `>`, "subject cannot be compared with >"},
		{`subject in 192.0.2.0/24`, `in`, "Networks are for client"},
		{`subject = "x"`, `=`, "did you mean is?"},
		{`recipients contains "x"`, `contains`, "did you mean recipient contains?"},
		{`recipient > 3`, `>`, "did you mean recipients > …, their number?"},
		{`attachments ends ".exe"`, `ends`, "did you mean attachment name ends?"},
		{`attachment name > 3`, `>`, "did you mean attachments > …, their number?"},
		{`text exists`, `exists`, "text cannot be compared with exists"},
		{`subject contains x`, `x`, `here belongs a text in double quotes (write "x")`},
		{`subject contains 'x'`, `'x'`, `(write "x")`},
		{`subject contains`, ``, `(write contains "…")`},
		{`subject contains "x`, `"`, "no closing double quote"},
		{`subject contains "x\d"`, `\d`, `\ stands before " and \ alone`},
		{`subject contains "x" or`, ``, "here belongs a text in double quotes"},
		{`subject contains "x" "y"`, `"y"`, "values are joined by the word or"},
		{`subject contains "x", "y"`, `,`, "values are joined by the word or"},
		{`subject contains "x" orr "y"`, `orr`, "did you mean or?"},
		{`subject contains "x" and text contains "y"`, `and`, "second condition of match"},
		{`subject contains "x" yes`, `yes`, "something after the end"},
		{`subject contains ""`, `""`, "every text contains nothing"},
		{`subject contains "x" or "x"`, `"x"|`, "there twice"},
		{`subject contains " "`, `" "`, "nothing is left"},
		{"subject contains \"\u200b\" or \"x\"", "\"\u200b", "nothing is left"},
		{`asunto contiene "x"`, `asunto`, "did you mean subject?"},
		{`subject contiene "x"`, `contiene`, "did you mean contains?"},
		{`attachment extension is ".exe"`, `".exe"`, `write "exe"`},
		{`sender domain is "a@b.c"`, `"a@b.c"`, `write "b.c"`},
		{`html tag is "<iframe>"`, `"<iframe>"`, `write "iframe"`},
		{`defect is "frobnicated"`, `"frob`, "is not a defect"},
		{`size > "10MB"`, `"10MB"`, "write it without quotes"},
		{`size > `, ``, "write 10MB"},
		{`size > 10`, `10`, "the size has no unit (write 10MB, 10KB or 10B)"},
		{`size > 10XB`, `10XB`, "is not a number"},
		{`size > 1.5MB`, `1.5MB`, "a whole number and a unit"},
		{`size > -1MB`, `-1MB`, "is not a number"},
		{`size > 99999999999999999999MB`, `999`, "is not a number"},
		{`size > 9999999999999TB`, `999`, "too large"},
		{`recipients > 3KB`, `3KB`, "have no unit"},
		{`recipients >= 0`, `0`, "always so"},
		{`recipients < 0`, `0`, "never so"},
		{`client in`, ``, "here belongs an address or a network"},
		{`client in 192.0.2.0/33`, `192`, "is not an address or network"},
		{`client in 192.0.2.0/24, 10.0.0.0/8`, `192.0.2.0/24,`, "joined by the word or"},
		{`client in example.org`, `example.org`, "is not an address or network"},
		{`client in fe80::1%eth0`, `fe80`, "is not an address or network"},
		{`subject in list`, ``, "here belongs the name of a file"},
		{`subject in list x.txt`, `x.txt`, "cannot be used here"},
		{`subject matches "x"`, `"x"`, "a pattern between slashes"},
		{`subject matches`, ``, "a pattern between slashes"},
		{`subject matches /x`, `/x`, "no closing slash"},
		{`subject matches /x\/`, `/x`, "no closing slash"},
		{`subject matches //`, `//`, "is empty"},
		{`subject matches /x/q`, `q`, "one of: i s m x U a"},
		{`subject matches /x/ii`, `i|`, "the flag i is there twice"},
		{`subject matches /a/b/i`, `b/i`, `a slash inside of a pattern is written \/`},
		{`raw header Subject matches /x/a`, `a|`, "is octets"},
		{`subject matches /a\/b(/`, `(`, "a bracket is not closed"},
		{`subject matches /(?<n>/`, ``, "cannot be read"},
		{`subject matches /a{1,1000000}/`, ``, "cannot be read"},
		{`subject matches /\p{Frob}/`, ``, "cannot be read"},
		{`subject matches /(a(?1)?b)/`, ``, "say it in other words"},
		{`subject matches /` + long + `/`, ``, "longer than 65536 bytes"},
	}
	for _, c := range tests {
		line := "match = [" + place.String(c.condition) + "]"
		_, problems := parseRule(line, ParseOptions{})
		if len(problems) != 1 || problems[0].Warning || problems[0].Rule != "x" || !strings.Contains(problems[0].message(), c.want) {
			t.Errorf("%.80s: %v, want %q", c.condition, problems, c.want)
			continue
		}
		p := problems[0]
		if p.Line != 3 || p.Column < 1 || p.Column > len([]rune(line))+1 {
			t.Errorf("%.80s: place %d:%d", c.condition, p.Line, p.Column)
		}
		if c.at == "" {
			continue
		}
		at := strings.Index(c.condition, c.at)
		if word, last := strings.CutSuffix(c.at, "|"); last {
			at = strings.LastIndex(c.condition, word)
		}
		want := len([]rune("match = [\"" + strings.Trim(place.String(c.condition[:at]), `"`)))
		if strings.HasSuffix(c.condition[:at], `"`) {
			want++ // what Trim took
		}
		if p.Column != want+1 {
			t.Errorf("%.80s: column %d, want %d", c.condition, p.Column, want+1)
		}
	}
}

func TestRuleMistakes(t *testing.T) {
	const ok = "match = ['subject contains \"x\"']\n"
	tests := []struct{ body, place, want string }{
		{"", "1:3", "the rule has no condition and would hit every message"},
		{"match = []", "3:9", "match is empty"},
		{"match = 3", "3:9", "3 is a number; a condition is a text"},
		{"match = [3]", "3:10", "a condition is a text"},
		{"match = [['x']]", "3:9", "this is a list; a condition is a text"},
		{ok + "mach = 1", "4:1", `there is no key "mach" in [[rule]]`},
		{ok + "name = 'x'", "4:1", "did you mean id?"},
		{ok + "enabled = true", "4:1", `write mode = "off"`},
		{ok + "when = 'x'", "4:1", "conditions stand in match"},
		{ok + "descripton = 'x'", "4:1", "did you mean description?"},
		{ok + "mode = 'of'", "4:8", "did you mean off?"},
		{ok + "mode = off", "4:8", "texts stand in quotes|false"},
		{ok + "mode = enforce", "4:8", `texts stand in quotes: "enforce"`},
		{ok + "direction = 'inbound'", "4:13", "did you mean in?|one of: in, out, both"},
		{ok + "description = 3", "4:15", `write description = "3"`},
		{ok + "description = \"a\\nb\"", "4:17", "holds a line break"},
		{ok + "description = \"" + strings.Repeat("x", 501) + "\"", "4:15", "more than 500"},
		{ok + "score = 'x'", "4:9", "write score = 5.0"},
		{ok + "score = '5'", "4:9", "write it without quotes"},
		{ok + "score = nan", "4:9", "is not a score between"},
		{ok + "score = 1e6", "4:9", "is not a score between"},
		{ok + "tags = 'virus'", "4:8", `write tags = ["virus"]`},
		{ok + "tags = ['Virus']", "4:9", `try "virus"`},
		{ok + "tags = ['a', 'a']", "4:14", "there twice"},
		{ok + "expires = '2027-01-31'", "4:11", "write it without quotes: expires = 2027-01-31"},
		{ok + "expires = 2027-02-31", "4:11", "is not a date that exists"},
		{ok + "expires = 10:00:00", "4:11", "expires is a date"},
		{ok + "expires = 3", "4:11", "write expires = 2027-01-31"},
		{ok + "stop = 'yes'", "4:8", "stop is true or false"},
		{ok + "stop = yes", "4:8", "write true"},
		{ok + "id = 'y'", "4:1", "id is set twice (first in line 2)"},
		{ok + "a.b = 1", "4:1", "keys have no dots here"},
		{ok + "[rule.test]\ntext = 'x'", "4:2", "write [[rule.test]]"},
		{ok + "[[rul.test]]\ntext = 'x'", "4:3", "write [[rule.test]]"},
		{ok + "[[test]]\ntext = 'x'", "4:3", "write [[rule.test]]"},
		{ok + "test = 3", "4:8", "write [[rule.test]]"},
		{ok + "test = [3]", "4:9", "a test is a table"},
		{ok + "action = 3", "4:10", "action is a text"},
		{ok + "action = []", "4:10", "the list of actions is empty"},
		{ok + "action = ''", "4:10", "the action is empty"},
		{ok + "action = '\"x\"'", "4:11", "an action begins with its name"},
		{ok + "action = 'rejct'", "4:11", "did you mean reject?"},
		{ok + "action = 'hold'", "4:11", "did you mean quarantine?"},
		{ok + "action = 'dunno'", "4:11", "did you mean pass?"},
		{ok + "action = 'drop'", "4:11", "did you mean discard?"},
		{ok + "action = 'reject 550 no'", "4:18", "what the client is told stands in reply"},
		{ok + "action = 'score'", "4:10", "needs a score"},
		{ok + "action = ['warn', 'warn']", "4:19", "there twice"},
		{ok + "action = ['reject', 'pass']", "4:21", "one thing with the message: reject or pass"},
		{ok + "action = ['reject', 'tag subject \"[X]\"']", "4:21", "warning"},
		{ok + "action = 'tag \"x\"'", "4:15", "here belongs the word subject"},
		{ok + "action = 'tag subject x'", "4:23", "a text in double quotes"},
		{ok + "action = 'tag subject \"Atención\"'", "4:23", "=?utf-8?q?Atenci=C3=B3n?="},
		{ok + "action = 'prepend \"X-A\"'", "4:19", "has a name, a colon and a text"},
		{ok + "action = 'prepend \"X A: b\"'", "4:19", "is not the name of a header field"},
		{ok + "action = 'prepend \"X-A: \"'", "4:19", "is empty or longer"},
		{ok + "action = 'prepend \"X-A: " + strings.Repeat("x", 1000) + "\"'", "4:19", "is empty or longer"},
		{ok + "action = 'prepend \"Content-Type: text/html\"'", "4:19", "how the message is read"},
		{ok + "action = \"prepend \\\"X-A: b\\nB: c\\\"\"", "4:19", "line break"},
		{ok + "action = 'replace header Content-Type \"x\"'", "4:26", "how the message is read"},
		{ok + "action = 'replace header Subject'", "4:33", "write replace header NAME"},
		{ok + "action = 'replace X \"y\"'", "4:19", "here belongs the word header"},
		{ok + "action = 'ignore header X:'", "4:25", "without its colon"},
		{"match = ['size > 1MB']\naction = 'ignore header'", "4:18", "no condition is about a header field"},
		{"match = ['mime header Content-Type contains \"x\"']\naction = 'ignore header'", "4:18", "how the message is read"},
		{ok + "action = 'redirect \"nobody\"'", "4:20", "is not an address"},
		{ok + "action = 'bcc \"<a@example.org>\"'", "4:15", `write "a@example.org"`},
		{ok + "action = 'route \"hopp\"'", "4:17", `there is no next hop "hopp" (did you mean hop?)`},
		{ok + "action = 'discard finally'", "4:19", "something after the action"},
		{ok + "action = 'reject'\nreply = 'Está prohibido'", "5:13", `an SMTP reply is ASCII (RFC 5321), so it has no accents (write "Esta prohibido")`},
		{ok + "action = 'reject'\nreply = '¿Qué? ¡No — «señor»!'", "5:10", `(write "Que? No - \"senor\"!")`},
		{ok + "action = 'reject'\nreply = \"a\\nb\"", "5:11", "line break"},
		{ok + "action = 'reject'\nreply = '450 no'", "5:10", "reject answers 5xx, and 450 is not one (write 5.7.1, or action = \"defer\")"},
		{ok + "action = 'reject'\nreply = '4.7.1 no'", "5:10", "reject answers 5.x.x, and 4.7.1 is not one"},
		{ok + "action = 'defer'\nreply = '550 no'", "5:10", "or action = \"reject\""},
		{ok + "action = 'defer'\nreply = '421 no'", "5:10", "write 451"},
		{ok + "action = 'reject'\nreply = '250 no'", "5:9", "250 is not the code of a refusal"},
		{ok + "action = 'reject'\nreply = '2.0.0 no'", "5:9", "is not an enhanced code of a refusal"},
		{ok + "action = 'reject'\nreply = '550 5.7.1 '", "5:9", "has no text"},
		{ok + "action = 'reject'\nreply = '" + strings.Repeat("x", 401) + "'", "5:9", "more than 400"},
		{ok + "reply = 'no'", "4:9", `write action = "reject"`},
		{ok + "[[rule.test]]", "4:3", "no message and nothing to make one of"},
		{ok + "[[rule.test]]\nhit = true", "4:3", "no message and nothing to make one of"},
		{ok + "[[rule.test]]\nmessage = 'x'\ntext = 'y'", "5:1", "a whole message has"},
		{ok + "[[rule.test]]\nheader = \"A: b\\rc\"", "5:10", "holds a carriage return"},
		{ok + "[[rule.test]]\nheader = 'x'", "5:10", "is not a header field"},
		{ok + "[[rule.test]]\nheader = \"A: b\\n\\nx\"", "5:10", "line 2 of the header is not a header field"},
		{ok + "[[rule.test]]\nheader = 'Content-Type: x'\ntext = 'a'\nhtml = 'b'", "5:10", "makes its own Content-Type"},
		{ok + "[[rule.test]]\nclient = 'x'", "5:10", "is not an address"},
		{ok + "[[rule.test]]\nfrom = 'x y'", "5:8", "is not an address"},
		{ok + "[[rule.test]]\nto = ['x y']", "5:7", "is not an address"},
		{ok + "[[rule.test]]\ntxt = 'y'", "4:3", "no message|there is no key"},
		{ok + "[[override]]\nmode = 'off'", "4:3", "does not say what it changes"},
		{ok + "[[override]]\nrule = 'a'\ntag = 'b'\nmode = 'off'", "4:3", "one of them"},
		{ok + "[[override]]\nrule = 'a'", "4:3", "changes nothing"},
		{ok + "[[override]]\nrule = 'A'\nmode = 'off'", "5:8", `try "a"`},
	}
	for _, c := range tests {
		_, problems := parseRule(c.body, ParseOptions{NextHops: []string{"hop", "other"}})
		found := false
		for _, p := range problems {
			for _, want := range strings.Split(c.want, "|") {
				place := fmt.Sprintf("%d:%d", p.Line, p.Column)
				found = found || place == c.place && strings.Contains(p.String(), want)
			}
		}
		if !found {
			t.Errorf("%.300q: %v\nwant %s %q", c.body, problems, c.place, c.want)
		}
	}
}

func TestFileMistakes(t *testing.T) {
	const good = "[[rule]]\nid = \"b\"\nmatch = ['size > 1MB']\n"
	tests := []struct{ text, place, want string }{
		{"id = 'x'\n" + good, "1:1", "stands before the first [[rule]]"},
		{"[rule]\nid = 'x'\nmatch = ['size > 1MB']\n", "1:2", "write [[rule]]"},
		{"[[rules]]\nid = 'x'\n", "1:3", "write [[rule]]"},
		{"[[rule.test]]\ntext = 'x'\n" + good, "1:3", "move it below a [[rule]]"},
		{"[[rule]]\nmatch = ['size > 1MB']\n", "1:3", "the rule has no id"},
		{"[[rule]]\nid = 'Mi Regla_2'\nmatch = ['size > 1MB']\n", "2:6", `try "mi-regla-2"`},
		{"[[rule]]\nid = 7\nmatch = ['size > 1MB']\n", "2:6", `write id = "7"`},
		{"[[rule]]\nid = \"x\nmatch = ['size > 1MB']\n" + good, "2:8", "has no end|not TOML"},
		{"[[rule]]\nid = \"\\x\"\n" + good, "2:9", "escape"},
		{"[[rule]]\nid = 'x' y\n" + good, "2:10", "after the end of the value"},
		{"[[rule]]\nmatch = ['size > 1MB'\nid = \"x\"\n" + good, "3:1", "what begins in line 2 has no end"},
		{"[[rule]]\nid = 'ma\xf1ana'\n", "2:9", "byte 0xf1 is not UTF-8; as Latin-1 it would be 'ñ'"},
		{"[[rule]]\nid = 'x'\x00\n", "2:9", "NUL"},
		{"\xff\xfex\x00", "0:0", "is UTF-16"},
		{"x = " + strings.Repeat("[", 20) + strings.Repeat("]", 20), "1:1", "before the first"},
		{"[[rule]]\nid = " + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "\n", "2:6", "lists inside of lists"},
		{"[[rule]]\nid = " + strings.Repeat("[", 200000), "2:10006", "lists inside of lists"},
		{"[[rule]]\nid = " + strings.Repeat("{a=", 200000), "2:30006", "lists inside of lists|TOML"},
	}
	for _, c := range tests {
		f, problems := Parse(Source{Name: "a.toml", Text: []byte(c.text)}, ParseOptions{})
		found := false
		for _, p := range problems {
			for _, want := range strings.Split(c.want, "|") {
				found = found || fmt.Sprintf("%d:%d", p.Line, p.Column) == c.place && strings.Contains(p.String(), want)
			}
		}
		if !found {
			t.Errorf("%.100q: %v\nwant %s %q", c.text, problems, c.place, c.want)
		}
		if strings.HasSuffix(c.text, "\n"+good) && (len(f.Rules) == 0 || f.Rules[len(f.Rules)-1].ID != "b") {
			t.Errorf("%.100q: the rule behind the mistake was not read", c.text)
		}
	}
}

func TestLists(t *testing.T) {
	reads := map[string]int{}
	o := ParseOptions{ReadList: func(path string) ([]byte, error) {
		reads[path]++
		switch path {
		case "/etc/garita/rules.d/names.txt":
			return []byte("\ufeff# names\r\n  factura.exe \r\n\r\nÁéí # x\nlast"), nil
		case "/abs/nets":
			return []byte("192.0.2.1\n2001:db8::/32\n::ffff:198.51.100.0/120\n"), nil
		case "/etc/garita/rules.d/bad nets":
			return []byte("# c\n192.0.2.1\n  nonsense\n"), nil
		case "/abs/long":
			return []byte(strings.Repeat("x", 1001)), nil
		case "/abs/many":
			return []byte(strings.Repeat("x\n", maxListEntries+1)), nil
		case "/abs/big":
			return make([]byte, maxListOctets+1), nil
		case "/abs/latin1":
			return []byte("ma\xf1ana"), nil
		case "/etc/garita/rules.d/1", "/etc/garita/rules.d/2", "/etc/garita/rules.d/3", "/etc/garita/rules.d/4", "/etc/garita/rules.d/5":
			return append([]byte("x\n"), bytes.Repeat([]byte("#"), 14<<20)...), nil
		case "/abs/empty":
			return nil, nil
		}
		return nil, errors.New("open \x1b[31m" + path + ": no such file")
	}}
	read := func(conditions ...string) (*Rule, []Problem) {
		var quoted []string
		for _, c := range conditions {
			quoted = append(quoted, place.String(c))
		}
		f, problems := Parse(Source{Name: "/etc/garita/rules.d/a.toml", Text: []byte("[[rule]]\nid = 'x'\nmatch = [" + strings.Join(quoted, ",") + "]\n")}, o)
		return f.Rules[0], problems
	}
	r, problems := read("subject in list names.txt", `attachment name in list "names.txt"`, "client in list /abs/nets")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if want := []string{"factura.exe", "Áéí # x", "last"}; !slices.Equal(r.Match[0].Values, want) || r.Match[0].List != "names.txt" || !slices.Equal(r.Match[1].Values, want) {
		t.Errorf("%q", r.Match[0].Values)
	}
	if want := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("198.51.100.0/24")}; !slices.Equal(r.Match[2].Nets, want) {
		t.Error(r.Match[2].Nets)
	}
	if reads["/etc/garita/rules.d/names.txt"] != 1 {
		t.Error("a list is read once", reads)
	}
	_, problems = read("subject in list 1", "subject in list 2", "subject in list 3", "subject in list 4", "subject in list 5", "subject in list 1")
	if len(problems) != 1 || !strings.Contains(problems[0].Text, "larger than 64 MB together") {
		t.Error(problems)
	}
	for c, want := range map[string]string{
		`client in list "bad nets"`:     `bad nets:3:3: rule x: "nonsense" is not an address or network`,
		"subject in list /abs/long":     "line 1 of the list /abs/long is longer than 1000 octets",
		"subject in list /abs/many":     "has more than 1000000 entries",
		"subject in list /abs/big":      "is larger than 16 MB",
		"subject in list /abs/latin1":   "line 1 of the list /abs/latin1 is not UTF-8",
		"subject in list none":          `a.toml:3:27: rule x: open \x1b[31m/etc/garita/rules.d/none: no such file`,
		"subject in list /abs/empty":    "warning: rule x: the list is empty",
		"client in 192.0.2.7/24 or ::1": "did you mean 192.0.2.0/24?",
	} {
		if _, problems := read(c); len(problems) == 0 || !strings.Contains(problems[len(problems)-1].String()+problems[0].String(), want) {
			t.Errorf("%s: %v", c, problems)
		}
	}
}

// A pattern with the flag a runs over text without accents, so it has none.
func TestFoldedPatterns(t *testing.T) {
	for source, text := range map[string]string{"PROHIBICIÓN": "prohibicion", "[áé]x": "ex", "ﬁn": "", "straße": "", `a\x{e9}`: "", "ñandú": "nandu"} {
		r, problems := parseRule("match = ["+place.String("text matches /"+source+"/a")+"]", ParseOptions{})
		if text == "" {
			if len(problems) != 1 || !problems[0].Warning {
				t.Errorf("%s: %v", source, problems)
			}
			continue
		}
		if len(problems) > 0 {
			t.Errorf("%s: %v", source, problems)
			continue
		}
		if ok, err := r.Match[0].Pattern.Match([]byte(text), nil); !ok || err != nil {
			t.Errorf("%s: %v %v", source, ok, err)
		}
	}
	if _, problems := parseRule("match = ['text matches /x/ma']", ParseOptions{}); len(problems) != 1 || !problems[0].Warning {
		t.Error(problems)
	}
	r, _ := parseRule(`match = ['raw header X matches /^\xff$/', 'subject matches /^\xff$/']`, ParseOptions{})
	for i, text := range []string{"\xff", "ÿ"} {
		if ok, err := r.Match[i].Pattern.Match([]byte(text), nil); !ok || err != nil {
			t.Errorf("%d: %v %v", i, ok, err)
		}
	}
}

// files that are hostile, or broken as a whole, are an error and quickly.
func TestHostileFiles(t *testing.T) {
	const rule = "[[rule]]\nid = 'x'\n"
	var conditions strings.Builder
	for range 101 {
		conditions.WriteString("'size > 1MB',")
	}
	for name, c := range map[string]struct{ text, want string }{
		"pattern of a megabyte": {rule + "match = ['subject matches /" + strings.Repeat("a|", 500_000) + "/']", "longer than 256 KB"},
		"1e5 rules":             {strings.Repeat("[[rule]]\n", 100_000), "more than 20000 rules"},
		"1e5 conditions":        {rule + "match = [" + strings.Repeat("'size > 1MB',", 100_000) + "]", "more than"},
		"101 conditions":        {rule + "match = [" + conditions.String() + "]", "more than 100 conditions"},
		"101 in two lists":      {rule + "match = [" + conditions.String()[:13*60] + "]\nany = [" + conditions.String()[:13*60] + "]", "120 conditions"},
		"values":                {rule + `match = ['subject is ` + strings.TrimSuffix(numbered(501), " or ") + `']`, "more than 500 values"},
		"networks":              {rule + `match = ['client in ` + strings.Repeat("192.0.2.1 or ", 501) + `::1']`, "more than 500 networks"},
		"large":                 {strings.Repeat("#", MaxFile+1), "larger than 4 MB"},
		"mistakes":              {strings.Repeat("x = \n", 100_000), "value is missing"},
		"unknown tables":        {strings.Repeat("[[y]]\n", 100_000), "not known here"},
		"warnings then errors":  {strings.Repeat(rule+"match = ['client in "+strings.Repeat("192.0.2.1/8 or ", 20)+"::1']\n", 20) + rule, "has no condition"},
		"octets":                {strings.Repeat("\xff\n", 1_000_000), "is not UTF-8"},
		"actions":               {rule + "match = ['size > 1MB']\naction = [" + strings.Repeat("'warn',", 30) + "]", "more than 20 actions"},
		"tests":                 {rule + "match = ['size > 1MB']\n" + strings.Repeat("[[rule.test]]\ntext='x'\n", 101), "more than 100 tests"},
		"tags":                  {rule + "match = ['size > 1MB']\ntags=['a0','a1','a2','a3','a4','a5','a6','a7','a8','a9','b0','b1','b2','b3','b4','b5','b6','b7','b8','b9','c']", "more than 20 tags"},
	} {
		start := time.Now()
		_, problems := Parse(Source{Name: "x", Text: []byte(c.text)}, ParseOptions{})
		if took := time.Since(start); took > 5*time.Second {
			t.Logf("%s took %v", name, took)
		}
		found := false
		for _, p := range problems {
			found = found || !p.Warning && strings.Contains(p.Text, c.want)
		}
		if !found || len(problems) > 2*maxProblems {
			t.Errorf("%s: %d problems, none says %q", name, len(problems), c.want)
		}
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%d" or `, i)
	}
	return b.String()
}

func TestProblemString(t *testing.T) {
	_, problems := Parse(Source{Name: "a\x1b.toml", Text: []byte("[[rule]]\nid = \"x\"\nmatch = ['subject cotains \"\u202eñ\"']\n")}, ParseOptions{})
	want := `a\x1b.toml:3:19: rule x: "cotains" is not an operator (did you mean contains?)` + "\n" +
		`3| match = ['subject cotains "\u202eñ"']` + "\n" +
		` |                   ~~~~~~~`
	if len(problems) != 1 || problems[0].String() != want {
		t.Errorf("%v\nwant\n%s", problems, want)
	}
	if got := (Problem{File: "a", Line: 3, Text: "b", Warning: true}).String(); got != "a:3: warning: b" {
		t.Error(got)
	}
}
