package config

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

const full = `hostname = "mx \" \\ é"
banner = "two\nlines"
peers = []
ports = [25, 587]
ratio = 0
[common]
mode = "observe"
[limits]
message_memory = "1500B"
timeout = "7d2h30m1.5s"
factor = 1e-3
[listener.in]
role = "inbound"
trusted_networks = ["10.0.0.1", "2001:db8::/32"]
listen = ["192.0.2.1:25", "192.0.2.2:25", "192.0.2.3:25", "192.0.2.4:25", "192.0.2.5:25", "192.0.2.6:25"]
[listener."a.b c"]
role = "content-filter"
[next_hop.other]
url = "u"
names = { a = "b", "c.d" = "e" }
[check.access]
level = "high"
[[check.access.entry]]
client = "192.0.2.0/24"
action = "reject"
until = 2026-01-02T03:04:05Z
extra.note = "n"
[[check.access.entry]]
until = 2026-01-02
[weights]
"a b" = -1.0
`

func TestShowLoadsBack(t *testing.T) {
	p := defaults()
	doc, problems := Decode("c", []byte(full), p, options())
	if problems != nil {
		t.Fatal(problems)
	}
	if p.Limits.Timeout != 7*24*time.Hour+2*time.Hour+30*time.Minute+1500*time.Millisecond || p.Check.Access.Entries[1].Until.IsZero() {
		t.Fatalf("%+v", p)
	}
	for _, nonDefault := range []bool{false, true} {
		shown := Show(doc, p, nonDefault)
		again := defaults()
		if _, problems := Decode("shown", []byte(shown), again, options()); problems != nil {
			t.Fatalf("%s\n%s", shown, problems)
		}
		if d := Diff(p, again); len(d) > 0 {
			t.Errorf("%v\n%s", d, shown)
		}
		if has := strings.Contains(shown, "max_connections"); has == nonDefault {
			t.Errorf("nonDefault %v:\n%s", nonDefault, shown)
		}
		golden(t, map[bool]string{false: "show.want", true: "show-non-default.want"}[nonDefault], shown)
	}
	empty := defaults()
	doc, _ = Decode("c", nil, empty, options())
	if s := Show(doc, empty, true); strings.Contains(s, "=") {
		t.Errorf("nothing is set, but:\n%s", s)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func set() map[string]any {
	return map[string]any{
		"hostname":                       "mx.example.org",
		"limits.message_memory":          "4MB",
		"limits.timeout":                 90 * time.Second,
		"limits.max_hops":                30,
		"limits.factor":                  0.5,
		"listener.inbound.role":          "inbound",
		"listener.inbound.starttls":      false,
		"listener.inbound.listen":        []string{"127.0.0.1:2525"},
		"listener.filter.role":           "content-filter",
		"next_hop.main.login.user":       "u",
		"next_hop.main.login.password":   "hunter2",
		"check.access.level":             level(2),
		"next_hop.main.names":            map[string]string{"x": "y"},
		"next_hop.b.login.password_file": "secrets/b",
	}
}

func TestTemplate(t *testing.T) {
	text, err := Template(defaults(), TemplateOptions{Header: "Garita\n\nSee the guide.", Set: set(), EntryDefaults: entries})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "template.want", text)
	for i, line := range strings.Split(text, "\n") {
		if len([]rune(line)) > 100 {
			t.Errorf("line %d is too long: %s", i+1, line)
		}
	}
	for _, key := range Keys(defaults()) {
		parts := splitPath(key)
		if !strings.Contains(text, parts[len(parts)-1]) {
			t.Errorf("%s is not in the template", key)
		}
	}
	text = strings.Replace(text, "\npassword_file = ", "\n#password_file = ", 1) // no such file exists here
	p := defaults()
	if _, problems := Decode("template", []byte(text), p, options()); problems != nil {
		t.Fatal(problems)
	}
	if p.Limits.MessageMemory != 4<<20 || p.Limits.Timeout != 90*time.Second || p.Listener["inbound"].Size != 25<<20 ||
		p.Listener["filter"].STARTTLS || p.NextHop["main"].Login.Password != "hunter2" || p.Check.Access.Level != 2 || p.Limits.MaxHops != 30 {
		t.Fatalf("%+v", p)
	}
}

var commented = regexp.MustCompile(`(?m)^#([^ \n#])`)

// TestTemplateRoundTrip: with every key un-commented the file says what the
// defaults are; the examples of empty maps and lists are all that is new.
func TestTemplateRoundTrip(t *testing.T) {
	text, err := Template(defaults(), TemplateOptions{EntryDefaults: entries})
	if err != nil {
		t.Fatal(err)
	}
	unset := defaults()
	doc, problems := Decode("template", []byte(text), unset, options())
	if problems != nil {
		t.Fatalf("%s\n%s", text, problems)
	}
	if d := Diff(defaults(), unset); len(d) > 0 {
		t.Fatalf("the template sets %v", d)
	}
	if doc.IsSet("hostname") {
		t.Error("hostname is set")
	}
	everything := commented.ReplaceAllString(text, "$1")
	p := defaults()
	doc, problems = Decode("template", []byte(everything), p, options())
	if problems != nil && strings.Contains(problems.String(), "listener.inbound.role: is missing") && len(problems) == 1 {
		problems = nil // the example of a listener has no role to suggest
	}
	if problems != nil {
		t.Fatalf("%s\n%s", everything, problems)
	}
	for _, key := range []string{"hostname", "limits.max_connections", "listener.inbound.max_message_size", "next_hop.main.url", "check.access.level", "peers"} {
		if !doc.IsSet(key) {
			t.Errorf("%s is not there to be un-commented", key)
		}
	}
	for _, c := range Diff(defaults(), p) {
		if c.Old != "" || !strings.HasPrefix(c.Key, "listener.inbound.") && !strings.HasPrefix(c.Key, "check.access.entry[0].") &&
			!strings.HasPrefix(c.Key, "next_hop.main.login.") {
			t.Errorf("un-commented it changes %v", c)
		}
	}
}

func TestTemplateRefuses(t *testing.T) {
	for key, value := range map[string]any{"hostnme": "x", "limits.max_hops": 256, "limits.timeout": "90", "peers": "x", "hostname": nil,
		"limits": struct{}{}, "listener.in.role": "inboud", "hostname.x": "y"} {
		if text, err := Template(defaults(), TemplateOptions{Set: map[string]any{key: value, "hostname ": "x"}, EntryDefaults: entries}); err == nil {
			t.Errorf("%s = %v gives\n%s", key, value, text)
		}
		if _, err := Template(defaults(), TemplateOptions{Set: map[string]any{key: value}, EntryDefaults: entries}); err == nil && key != "hostname.x" {
			t.Errorf("%s = %v is taken", key, value)
		} else if err != nil && !strings.Contains(err.Error(), strings.Split(key, ".")[0]) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestExplain(t *testing.T) {
	p := defaults()
	doc, problems := Decode("config.toml", []byte("[limits]\nmax_hops = 7\n[listener.in]\nrole = \"content-filter\"\n[next_hop.main.login]\npassword = \"hunter2\"\n"), p, options())
	if problems != nil {
		t.Fatal(problems)
	}
	var b strings.Builder
	for _, key := range []string{"limits.max_hops", "limits.max_connections", "limits.timeout", "limits", "listener.in.starttls", "listener.NAME.starttls",
		"listener.in.role", "listener", "listener.in", "next_hop.main.login.password", "check.access.entry", "check.access.entry.client", "weights",
		"weights.spf", "ratio", "peers", "common.mode"} {
		text, err := Explain(defaults(), options(), doc, key)
		if err != nil {
			t.Errorf("%s: %v", key, err)
		}
		b.WriteString(text.String() + "\n")
	}
	text, err := Explain(*defaults(), options(), nil, "limits.max_hops")
	if err != nil {
		t.Error(err)
	}
	b.WriteString(text.String())
	golden(t, "explain.want", b.String())
	if strings.Contains(b.String(), "hunter2") {
		t.Error("a secret is shown")
	}
	for key, want := range map[string]string{"limits.max_hop": `(did you mean "limits.max_hops"?)`, "max_hops": `(did you mean "limits.max_hops"?)`,
		"zzz": `unknown key "zzz"`, "": `unknown key ""`, "limits.max_hops.x": `unknown key`, "weights.spf.x": "unknown key", "listener.a.b.c\x1b": `\x1b`} {
		if _, err := Explain(defaults(), options(), doc, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestDiff(t *testing.T) {
	a, b := defaults(), defaults()
	a.NextHop = map[string]*nextHop{"main": {URL: "u", Login: &login{"u", "hunter2"}}, "gone": {URL: "g"}}
	b.NextHop = map[string]*nextHop{"main": {URL: "v", Login: &login{"u", "hunter3"}}}
	b.Hostname = "\x1b"
	b.Limits.Timeout = time.Hour
	b.Peers = []string{"a"}
	b.Check.Access.Entries = []accessEntry{{Action: "reject"}}
	var got strings.Builder
	for _, c := range Diff(a, b) {
		got.WriteString(c.String() + "\n")
	}
	golden(t, "diff.want", got.String())
	if strings.Contains(got.String(), "hunter") {
		t.Error("a secret is shown")
	}
	if d := Diff(a, a); len(d) != 0 {
		t.Errorf("%v", d)
	}
	nilPeers, noPeers := defaults(), defaults()
	nilPeers.Peers, noPeers.Peers = nil, []string{}
	if d := Diff(nilPeers, noPeers); len(d) != 0 {
		t.Errorf("%v", d)
	}
}

func TestSchema(t *testing.T) {
	text := Schema(strictDefaults())
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.want", string(text))
	walk := s["properties"].(map[string]any)
	if walk["limits"].(map[string]any)["properties"].(map[string]any)["timeout"].(map[string]any)["default"] != "1s" {
		t.Error("a default is missing")
	}
	if r, _ := json.Marshal(s["required"]); string(r) != `["hostname","listener"]` {
		t.Errorf("required %s", r)
	}
	if s["additionalProperties"] != false {
		t.Error("unknown keys are allowed")
	}
}

// TestTemplateBrief: what the key above explains stands below it without a
// comment, and is explained all the same where somebody asks for it.
func TestTemplateBrief(t *testing.T) {
	type table struct {
		Part  string  `toml:"part" doc:"What is done."`
		Score float64 `toml:"part_score" doc:"Points for it." brief:"true"`
		Next  string  `toml:"next" doc:"Another."`
	}
	p := struct {
		In  table `toml:"in" doc:"Inbound."`
		Out table `toml:"out" doc:"Outbound." brief:"true"`
		Too table `toml:"too" doc:"Too."`
	}{In: table{Score: 1}}
	text, err := Template(&p, TemplateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	full := func(name, doc, score string) string {
		return "# " + doc + "\n[" + name + "]\n\n# What is done.\n#part = \"\"\n#part_score = " + score + "\n\n# Another.\n#next = \"\"\n"
	}
	want := full("in", "Inbound.", "1.0") + "\n# Outbound.\n[out]\n#part = \"\"\n#part_score = 0.0\n#next = \"\"\n\n" + full("too", "Too.", "0.0")
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if out, err := Explain(&p, Options{}, nil, "out.part_score"); err != nil || !strings.Contains(out.String(), "Points for it.") {
		t.Errorf("%s %v", out, err)
	}
}

// TestFilled: words of a long list stand side by side, addresses do not.
func TestFilled(t *testing.T) {
	words := make([]string, 40)
	for i := range words {
		words[i] = `"exe"`
	}
	lines := filled(words)
	if len(lines) > 4 || len(lines) < 2 || strings.Count(strings.Join(lines, ", "), "exe") != 40 {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	for _, l := range lines {
		if len(l) > 96 {
			t.Errorf("long line %q", l)
		}
	}
	if lines := filled([]string{`"192.0.2.1:25"`, `"192.0.2.2:25"`}); len(lines) != 2 {
		t.Errorf("%q", lines)
	}
}
