package migrate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
	"garita/rules"
	"garita/rules/postfix"
)

// hits are the IDs of the rules that hit a message.
func hits(t testing.TB, toml string, raw []byte) map[string]bool {
	t.Helper()
	file, problems := rules.Parse(rules.Source{Name: "import", Text: []byte(toml)}, rules.ParseOptions{})
	for _, p := range problems {
		if !p.Warning {
			t.Fatalf("%s: %s\n%s", p.Text, p.Suggestion, toml)
		}
	}
	set, problems := rules.Compile([]*rules.File{file})
	for _, p := range problems {
		if !p.Warning {
			t.Fatalf("%s: %s\n%s", p.Text, p.Suggestion, toml)
		}
	}
	in := rules.Input{Tx: &mail.Transaction{Session: &mail.Session{}}, Index: message.ReadIndex(raw, message.DefaultIndexLimits()), Raw: raw}
	got := set.Match(context.Background(), in, nil, rules.MatchOptions{All: true})
	if len(got.GivenUp) > 0 {
		t.Fatal("a rule was given up")
	}
	out := map[string]bool{}
	for _, h := range got.Hits {
		out[h.Rule.ID] = true
	}
	return out
}

// pieces are what generated patterns are made of.
func pieces() []string {
	return []string{"a", "b", "ab", "c", ".", ".*", "[ab]", "[^a]", "c?", "a+", "^", "$", "(a|b)", `\.`, "^X-A:", "^Subject:", "^Subject: a", " ", `\b`,
		`\w`, `\<`, "x|", "é", `"`, "'", `\/`, "#", "[[:upper:]]", "{", "B"}
}

func pattern1(r *rand.Rand) string {
	p := ""
	for range 1 + r.IntN(4) {
		p += pieces()[r.IntN(len(pieces()))]
	}
	flags := ""
	for range r.IntN(8) / 5 {
		flags += string("imsxAU"[r.IntN(6)])
	}
	if r.IntN(5) == 0 {
		return "!/" + p + "/" + flags
	}
	return "/" + p + "/" + flags
}

// table makes a table, and the same one whose rules stop nothing.
func table1(r *rand.Rand) (text, quiet string, words map[int]string) {
	words = map[int]string{}
	var lines []string
	open := 0
	for len(lines) < 2+r.IntN(5) {
		switch {
		case r.IntN(8) == 0 && open < 2:
			lines, open = append(lines, "if "+pattern1(r)), open+1
			continue
		case r.IntN(6) == 0 && open > 0:
			lines, open = append(lines, "endif"), open-1
			continue
		}
		word := []string{"REJECT", "REJECT", "WARN", "INFO", "DUNNO", "BCC"}[r.IntN(6)]
		words[len(lines)+1] = word
		lines = append(lines, pattern1(r)+" "+word+map[string]string{"BCC": " a@b.example", "REJECT": " no"}[word])
	}
	for range open {
		lines = append(lines, "endif")
	}
	text = strings.Join(lines, "\n") + "\n"
	return text, strings.ReplaceAll(text, "REJECT no", "INFO no"), words
}

func line1(r *rand.Rand) string {
	words := []string{"a", "b", "ab", "c", " ", "A", "B", "x", ".", "é", "\"", "'", "/", "#", "{", "X-A: "}
	s := ""
	for range r.IntN(7) {
		s += words[r.IntN(len(words))]
	}
	return s
}

// message1 makes a message: header fields, folded ones among them, and lines.
func message1(r *rand.Rand) []byte {
	var b strings.Builder
	b.WriteString("From: o\r\n")
	for range 1 + r.IntN(4) {
		b.WriteString([]string{"Subject: ", "X-A: ", "X-A:", "To: "}[r.IntN(4)] + line1(r) + "\r\n")
		if r.IntN(3) == 0 {
			b.WriteString(" a" + line1(r) + "\r\n")
		}
	}
	b.WriteString("\r\n")
	for range r.IntN(5) {
		b.WriteString(line1(r) + "\r\n")
	}
	return []byte(b.String())
}

// TestImportedRulesAgree: what is imported hits where Postfix's table does, in
// generated tables and messages.
func TestImportedRulesAgree(t *testing.T) {
	n := 2500
	if testing.Short() {
		n = 300
	}
	imported, asked, hit := 0, 0, 0
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 11))
		text, quiet, words := table1(r)
		o := Options{File: "t", Kind: postfix.Kind(r.IntN(2)), View: []postfix.View{postfix.Header, postfix.Body}[r.IntN(2)], Mode: "enforce"}
		o.Everywhere = o.View == postfix.Header
		got := Checks([]byte(text), o)
		fates := map[int]Fate{}
		for _, l := range got.Lines {
			if l.Rule != "" {
				fates[l.Line] = l.Fate
			}
		}
		imported += got.Count(Imported)
		table, _ := postfix.Parse(quiet, o.Kind)
		for range 4 {
			raw := message1(r)
			tables := postfix.Tables{Header: []*postfix.Table{table}}
			if o.View == postfix.Body {
				tables = postfix.Tables{Body: []*postfix.Table{table}}
			}
			there := map[int]bool{}
			for _, h := range postfix.Scan(raw, tables, postfix.Options{}, nil).Hits {
				there[h.Rule] = true
			}
			here := map[string]bool{}
			if len(fates) > 0 {
				here = hits(t, got.TOML, raw)
			}
			for line, fate := range fates {
				asked++
				if fate != Imported {
					continue
				}
				if there[line] {
					hit++
				}
				if ours := here[fmt.Sprintf("t-%d", line)]; ours != there[line] && (!ours || !shadowed(there, words, line)) {
					t.Fatalf("seed %d: rule %d hits %v there, %v here\n%q\n%s\n%s\n%q", seed, line, there[line], ours, raw, text, got.TOML, got.Lines)
				}
			}
		}
	}
	if !testing.Short() && (imported < 3000 || asked < 10000 || hit < 1000) {
		t.Errorf("only %d rules, %d questions, %d hits", imported, asked, hit)
	}
}

// shadowed: an earlier rule of the same effect took the line.
func shadowed(there map[int]bool, words map[int]string, line int) bool {
	for l := range line {
		if there[l] && (words[l] == words[line] || words[l] == "REJECT") {
			return true
		}
	}
	return false
}

// TestDeadIsDead: a rule that is called dead hits none of the messages, in
// Postfix.
func TestDeadIsDead(t *testing.T) {
	dead := 0
	for seed := range 1500 {
		r := rand.New(rand.NewPCG(uint64(seed), 12))
		_, quiet, _ := table1(r)
		o := Options{File: "t", Kind: postfix.Kind(r.IntN(2)), View: []postfix.View{postfix.Header, postfix.Body}[r.IntN(2)]}
		o.Everywhere = o.View == postfix.Header
		table, _ := postfix.Parse(quiet, o.Kind)
		for _, l := range Checks([]byte(quiet), o).Lines {
			if l.Fate != Dead {
				continue
			}
			dead++
			tables := postfix.Tables{Header: []*postfix.Table{table}}
			if o.View == postfix.Body {
				tables = postfix.Tables{Body: []*postfix.Table{table}}
			}
			for range 20 {
				raw := message1(r)
				for _, h := range postfix.Scan(raw, tables, postfix.Options{}, nil).Hits {
					if h.Rule == l.Line {
						t.Fatalf("%v hits %q in\n%s", l, raw, quiet)
					}
				}
			}
		}
	}
	if dead < 8 {
		t.Errorf("only %d dead rules", dead)
	}
}
