package lint_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"garita/message"
	"garita/rules"
	"garita/rules/lint"
)

func randomCondition(r *rand.Rand) string {
	word := func() string {
		s := ""
		for range 1 + r.IntN(2) {
			s += pick(r, "a", "b", "á", "ab", "c")
		}
		return s
	}
	not := pick(r, "", "", "", "not ")
	switch r.IntN(8) {
	case 0:
		return not + fmt.Sprintf("size %s %d", pick(r, ">", "<", ">=", "<="), 200+r.IntN(6)*40)
	case 1:
		return not + fmt.Sprintf("attachments %s %d", pick(r, ">", "<", ">=", "="), 1+r.IntN(2))
	case 2:
		return not + `attachment name ` + pick(r, "is", "contains", "starts", "ends") + ` "` + word() + `"`
	case 3:
		return not + "client in " + pick(r, "192.0.2.0/24", "192.0.2.128/25", "198.51.100.0/24", "0.0.0.0/0")
	case 4:
		return not + "subject matches /" + pick(r, "a", "ab", "a.*b", "^a", "^ab?$", "[ab]c", "A", ".*") + "/" + pick(r, "", "i", "a")
	case 5:
		return not + "header x-a " + pick(r, "exists", "is missing", `contains "a"`, `contains "ab"`, `is "a"`)
	case 6:
		return not + "helo " + pick(r, "is", "contains", "starts", "ends") + ` "` + pick(r, "a", "b", "ab") + `"`
	}
	return not + pick(r, "subject ", "any header ", "text ") + pick(r, "contains", "is", "starts", "ends") + ` "` + word() + `" or "` + word() + `"`
}

func randomRule(r *rand.Rand, id string) string {
	var list []string
	for range 1 + r.IntN(3) {
		list = append(list, pick(r, "", "", "", "any: ", "not: ")+randomCondition(r))
	}
	keys := []string{"action = \"" + pick(r, "reject", "warn", "pass", "quarantine") + "\""}
	if r.IntN(3) == 0 {
		keys = append(keys, "stop = true")
	}
	if r.IntN(4) == 0 {
		keys = append(keys, "direction = \""+pick(r, "in", "out")+"\"")
	}
	return rule(id, strings.Join(list, "; ")+" + "+strings.Join(keys, "; "))
}

// randomMail is a [[rule.test]], whose message is made of it.
func randomMail(r *rand.Rand) string {
	word := func() string {
		s := ""
		for range r.IntN(4) {
			s += pick(r, "a", "b", "á", "A", "c", " ")
		}
		return s
	}
	out := "[[rule.test]]\nheader = '''Subject: " + word() + "'''\ntext = '''" + word() + "'''\n"
	if r.IntN(3) == 0 {
		out = "[[rule.test]]\nheader = '''Subject: " + word() + "\nSubject: " + word() + "\nX-A: " + word() + "'''\ntext = '''x" + word() + "'''\n"
	}
	out += "client = \"" + pick(r, "192.0.2.1", "192.0.2.200", "198.51.100.7") + "\"\nhelo = \"" + pick(r, "a", "b", "ab", "ba") + "\"\n"
	if r.IntN(2) == 0 {
		out += "attachment = \"" + pick(r, "a", "b", "ab", "cab", "áb") + "\"\n"
	}
	return out + "direction = \"" + pick(r, "in", "out") + "\"\n"
}

// TestRulesAreRight: what is never never hits, what is shadowed is not reached,
// what always hits does, and duplicates hit the same.
func TestRulesAreRight(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	mails := "[[rule]]\nid = \"mails\"\nmatch = ['size > 0']\n"
	for range 100 {
		mails += randomMail(r)
	}
	var inputs []rules.Input
	for _, test := range compile(t, mails).Rules()[0].Tests {
		tx, raw := test.Build()
		inputs = append(inputs, rules.Input{Tx: tx, Index: message.ReadIndex(raw, message.DefaultIndexLimits()), Raw: raw})
	}
	claims := map[string]int{}
	for range 400 {
		text := ""
		last := ""
		for i := range 6 {
			id := fmt.Sprintf("r%d", i)
			if last == "" || r.IntN(5) > 0 {
				last = randomRule(r, id)
			} else {
				last = strings.Replace(last, fmt.Sprintf("%q", fmt.Sprintf("r%d", i-1)), fmt.Sprintf("%q", id), 1)
				last = strings.Replace(last, `action = "reject"`, `action = "defer"`, 1)
			}
			text += last
		}
		set, refused := tryCompile(text)
		if refused != "" {
			continue
		}
		checkRules(t, set, text, inputs, claims)
	}
	for _, id := range []string{"never", "shadowed", "always", "duplicate", "contradiction"} {
		if claims[id] < 3 {
			t.Errorf("%s was claimed %d times", id, claims[id])
		}
	}
}

func checkRules(t *testing.T, set *rules.Set, text string, inputs []rules.Input, claims map[string]int) {
	t.Helper()
	found := lint.Rules(set)
	for _, f := range found {
		claims[f.ID]++
	}
	for _, in := range inputs {
		hits, all := map[string]bool{}, map[string]bool{}
		for _, h := range set.Match(context.Background(), in, nil, rules.MatchOptions{}).Hits {
			hits[h.Rule.ID] = true
		}
		for _, h := range set.Match(context.Background(), in, nil, rules.MatchOptions{All: true}).Hits {
			all[h.Rule.ID] = true
		}
		for _, f := range found {
			other := ""
			if _, rest, ok := strings.Cut(f.Text, "same messages as "); ok {
				other, _, _ = strings.Cut(rest, " ")
			}
			wrong := false
			switch {
			case f.ID == "never":
				wrong = all[f.Rule]
			case f.ID == "shadowed":
				wrong = hits[f.Rule]
			case f.ID == "always" && strings.Contains(f.Text, "every message"):
				for _, one := range set.Rules() {
					wrong = wrong || one.ID == f.Rule && (one.Direction == 0 || one.Direction == in.Tx.Direction) && !all[f.Rule]
				}
			case other != "":
				for _, one := range set.Rules() {
					wrong = wrong || one.ID == f.Rule && (one.Direction == 0 || one.Direction == in.Tx.Direction) && all[f.Rule] != all[other]
				}
			}
			if wrong {
				t.Fatalf("%+v is wrong of\n%s\n%s", f, in.Raw, text)
			}
		}
	}
}
