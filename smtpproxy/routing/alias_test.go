package routing

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"garita/mail"
)

func TestAliases(t *testing.T) {
	c := Config{
		Recipients: []string{"far.example a"},
		AliasFiles: []string{file(t, `# virtual(5)
info@our.example	Ana@Our.Example, luis@our.example
sales@our.example info@our.example
	eva@our.example
keep@our.example keep@our.example other@else.example
far@our.example x@far.example
ext@our.example z+fixed@our.example
"john doe"@our.example "jane roe"@our.example
Deep+List@our.example one@our.example
@also.example @our.example
own@also.example own@also.example
stranger@else.example ana@our.example
`)},
	}
	tests := []struct{ to, want string }{
		{"info@our.example", "mailbox: Ana@our.example luis@our.example"},
		{"INFO@OUR.EXAMPLE", "mailbox: Ana@our.example luis@our.example"},
		{"sales@our.example", "mailbox: Ana@our.example luis@our.example eva@our.example"},
		{"info+Tag@our.example", "mailbox: Ana+Tag@our.example luis+Tag@our.example"},
		{"sales+t@our.example", "mailbox: Ana+t@our.example luis+t@our.example eva+t@our.example"},
		{"keep@our.example", "mailbox: keep@our.example other@else.example"},
		{"Keep+X@our.example", "mailbox: Keep+X@our.example other+X@else.example"},
		{"far@our.example", "a: x@far.example"},
		{"ext@our.example", "mailbox: z+fixed@our.example"},
		{"ext+more@our.example", "mailbox: z+fixed@our.example"},
		{`"John Doe"@our.example`, `mailbox: "jane roe"@our.example`},
		{"deep+list@our.example", "mailbox: one@our.example"},
		{"deep@our.example", "mailbox"},
		{"Eva@also.example", "mailbox: Eva@our.example"},
		{"info@also.example", "mailbox: Ana@our.example luis@our.example"},
		{"own@also.example", "mailbox"},
		{"nobody@our.example", "mailbox"},
	}
	for _, role := range []string{"inbound", "outbound"} {
		r := newRouter(t, role, c)
		for _, tt := range tests {
			if got := ask(r, client(true, "boss@our.example"), tt.to); got != tt.want {
				t.Errorf("%s, %s: %s, want %s", role, tt.to, got, tt.want)
			}
		}
	}
	out := newRouter(t, "outbound", c)
	if got := ask(out, client(true, ""), "stranger@else.example"); got != "smart" {
		t.Errorf("an alias of a domain that is not ours was used: %s", got)
	}
	if got := ask(newRouter(t, "content-filter", c), client(true, ""), "info@our.example"); got != "back" {
		t.Errorf("content filter: %s", got)
	}
}

// Without a delimiter "+" is a letter like any other.
func TestNoDelimiter(t *testing.T) {
	tab, problems := Compile(Config{Aliases: []string{"info@our.example ana@our.example"}, KnownRecipients: []string{"eva@our.example"}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	o := Options{Tables: tab, Default: hop{name: "mailbox"}}
	o.Listener.Role, o.Listener.RelayDomains = "inbound", relayDomains
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"info+x@our.example": "550 5.1.1 User unknown", "eva+x@our.example": "550 5.1.1 User unknown", "info@our.example": "mailbox: ana@our.example",
	} {
		if got := ask(r, client(false, ""), to); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
}

// RFC 3461 section 5.2.7: who asked for reports reads of the address that was
// written; who did not is sent no parameter on our account.
func TestRewriteKeepsDSN(t *testing.T) {
	r := newRouter(t, "inbound", Config{Aliases: []string{"info@our.example ana@our.example, luis@our.example", "keep@our.example keep@our.example, ana@our.example"}})
	to := mail.Recipient{Path: address("info@our.example")}
	tests := []struct {
		name       string
		notify     []string
		orcpt, ret string
		want       string
	}{
		{"no DSN", nil, "", "", ""},
		{"NOTIFY", []string{"FAILURE"}, "", "", "info@our.example"},
		{"RET", nil, "", "HDRS", "info@our.example"},
		{"ORCPT", []string{"NEVER"}, "first@else.example", "", "first@else.example"},
		{"ORCPT alone", nil, "first@else.example", "", "first@else.example"},
	}
	for _, tt := range tests {
		tx := client(false, "x@else.example")
		tx.Params.Ret = tt.ret
		to.Notify, to.Orcpt, to.OrcptType = tt.notify, tt.orcpt, ""
		if tt.orcpt != "" {
			to.OrcptType = "rfc822"
		}
		got := r.Rewrite(tx, to)
		if len(got) != 2 {
			t.Fatal(tt.name, got)
		}
		for _, n := range got {
			if n.Orcpt != tt.want || (tt.want != "") != (n.OrcptType == "rfc822") || !reflect.DeepEqual(n.Notify, tt.notify) {
				t.Errorf("%s: %+v", tt.name, n)
			}
		}
		if len(tt.notify) > 0 {
			got[0].Notify[0] = "DELAY"
			if got[1].Notify[0] == "DELAY" || to.Notify[0] == "DELAY" {
				t.Errorf("%s: copies share their parameters", tt.name)
			}
			to.Notify[0] = tt.notify[0]
		}
	}
	tx := client(false, "")
	tx.Params.EnvID = "e1"
	to.Path, to.Notify, to.Orcpt, to.OrcptType = address("keep@our.example"), nil, "", ""
	if got := r.Rewrite(tx, to); len(got) != 2 || got[0].Orcpt != "" || got[1].Orcpt != "keep@our.example" {
		t.Errorf("what stays as it is: %+v", got)
	}
	to.Path = mail.Path{Local: "información", Domain: "our.example"}
	r = newRouter(t, "inbound", Config{Aliases: []string{"información@our.example ana@our.example"}})
	if got := r.Rewrite(tx, to); len(got) != 1 || got[0].Orcpt != "" || !got[0].IsASCII() {
		t.Errorf("an original recipient that is not ASCII: %+v", got)
	}
}

func TestCirclesAreFound(t *testing.T) {
	long := func(n int) []string {
		var lines []string
		for i := range n {
			lines = append(lines, fmt.Sprintf("l%d@our.example l%d@our.example", i, i+1))
		}
		return lines
	}
	wide := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " w%d@our.example", i)
		}
		return b.String()
	}
	tests := []struct {
		name  string
		lines []string
		want  string // "" for none
	}{
		{"two", []string{"a@x.example b@x.example", "b@x.example a@x.example"}, `:1: the alias "a@x.example" goes round`},
		{"three, case", []string{"a@x.example B@x.example", "b@X.example c@x.example", "c@x.example A@X.example"}, "goes round"},
		{"domains", []string{"@a.example @b.example", "@b.example @c.example", "@c.example @a.example"}, "goes round"},
		{"domain and user", []string{"@a.example @b.example", "info@b.example info@a.example"}, "goes round"},
		{"user to its catch-all", []string{"@a.example ana@b.example", "ana@b.example box@a.example"}, "goes round"},
		{"itself", []string{"a@x.example a@x.example"}, ""},
		{"itself among others", []string{"a@x.example b@x.example a@x.example"}, ""},
		{"catch-all of its own", []string{"@x.example ana@x.example"}, ""},
		{"domain to itself", []string{"@x.example @x.example"}, ""},
		{"a circle by extensions", []string{"a@x.example b+1@x.example", "b@x.example a+1@x.example"}, "goes round"},
		{"an extension that does not grow", []string{"a@x.example a+1@x.example"}, ""},
		{"a diamond", []string{"a@x.example b@x.example c@x.example", "b@x.example d@x.example", "c@x.example d@x.example"}, ""},
		{"ten steps", long(10), ""},
		{"eleven steps", long(11), "more than 100 targets or 10 steps"},
		{"100 targets", []string{"a@x.example" + wide(100)}, ""},
		{"101 targets", []string{"a@x.example" + wide(101)}, "more than 100 targets"},
		{"101 by steps", []string{"a@x.example b@x.example" + wide(99), "b@x.example c@x.example d@x.example"}, "more than 100 targets"},
	}
	for _, tt := range tests {
		_, problems := Compile(Config{RecipientDelimiter: "+", Aliases: tt.lines})
		got := texts(problems)
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What a client adds to an address cannot make a sound table go round: it ends
// within the bounds, and at worst in a temporary answer.
func TestExtensionsEnd(t *testing.T) {
	r := newRouter(t, "inbound", Config{Aliases: []string{
		"@also.example @our.example", "a@our.example b@our.example", "b@our.example c@our.example d@our.example",
		"c+x@our.example e@our.example", "d@our.example d+y@our.example",
	}})
	for to, want := range map[string]string{
		"a+x@also.example":   "mailbox: e@our.example d+y@our.example",
		"a+x+x@also.example": "mailbox: c+x+x@our.example d+y@our.example",
		"d+y@our.example":    "mailbox",
		"d+z@our.example":    "mailbox: d+y@our.example",
		"+x@also.example":    "mailbox: +x@our.example",
		"a+" + strings.Repeat("x", 62) + "@our.example": "mailbox: c+" + strings.Repeat("x", 62) + "@our.example d+y@our.example",
	} {
		if got := ask(r, client(false, ""), to); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	// An extension that finds no room is left off, and the mail arrives.
	r = newRouter(t, "inbound", Config{Aliases: []string{"a@our.example " + strings.Repeat("l", 60) + "@our.example"}})
	if got := ask(r, client(false, ""), "a+12345@our.example"); got != "mailbox: "+strings.Repeat("l", 60)+"@our.example" {
		t.Error(got)
	}
}

// An alias can multiply by an extension that the client chose, beyond what was
// looked at when it was read: the answer is temporary.
func TestTooManyTargetsLater(t *testing.T) {
	var wide strings.Builder
	for i := range 80 {
		fmt.Fprintf(&wide, " w%d@our.example", i)
	}
	r := newRouter(t, "inbound", Config{Aliases: []string{
		"a@our.example b@our.example c@our.example", "b+x@our.example" + wide.String(),
		"c+x@our.example" + strings.ReplaceAll(wide.String(), "w", "v"),
	}})
	if got := ask(r, client(false, ""), "a+x@our.example"); !strings.HasPrefix(got, "451 4.3.5") {
		t.Error(got)
	}
	if e := r.Explain(address("a+x@our.example"), mail.Path{}); e.Refused == nil || e.By.Line != 1 {
		t.Errorf("%+v", e)
	}
}
