package postfix

import (
	"testing"
)

func TestRules(t *testing.T) {
	table, problems := Parse("if /^Subject:/\nif !/b/i\n~x~m REJECT $$1\nendif\n/z(.)/!/q/ WARN $1\nendif\n!/y/ OK\n", Regexp)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	rules := table.Rules()
	if len(rules) != 3 {
		t.Fatalf("%d rules", len(rules))
	}
	a, b, c := rules[0], rules[1], rules[2]
	if len(a.All) != 3 || a.Own != 1 || a.Result != "REJECT $1" || a.All[1].Source != "b" || !a.All[1].Negated || a.All[1].Flags != "i" ||
		a.All[1].Options.Fold || a.All[2].Source != "x" || !a.All[2].Options.Multiline || a.Line != 3 {
		t.Errorf("%+v", a)
	}
	if len(b.All) != 3 || b.Own != 2 || b.Groups != 1 || b.All[1].Source != "z(.)" || b.All[2].Source != "q" || !b.All[2].Negated {
		t.Errorf("%+v", b)
	}
	if len(c.All) != 1 || !c.All[0].Negated || c.Result != "OK" {
		t.Errorf("%+v", c)
	}
}
