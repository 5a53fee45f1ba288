package builtin

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
	"garita/rules"
)

// tagThreshold is the default of the score from which a recipient sees
// something.
const tagThreshold = 6

// shipped compiles all sets as the program does.
func shipped(tb testing.TB) *rules.Set {
	tb.Helper()
	var files []*rules.File
	for _, name := range Sets() {
		source, ok := Source(name)
		if !ok {
			tb.Fatalf("%s: not there", name)
		}
		file, problems := rules.Parse(source, rules.ParseOptions{})
		for i := range problems {
			tb.Errorf("%s:%d:%d: %s: %s %s", problems[i].File, problems[i].Line, problems[i].Column, problems[i].Rule, problems[i].Text, problems[i].Suggestion)
		}
		files = append(files, file)
	}
	set, problems := rules.Compile(files)
	for i := range problems {
		tb.Errorf("%s:%d: %s: %s", problems[i].File, problems[i].Line, problems[i].Rule, problems[i].Text)
	}
	if tb.Failed() {
		tb.FailNow()
	}
	return set
}

// The order of the sets is that of the replies: the virus's name before the
// disguise, the disguise before the extension.
func TestSets(t *testing.T) {
	want := []string{"classic-virus-letters", "classic-virus-names", "classic-virus-phrases", "disguised-names", "double-extensions", "extensions", "html", "partial-messages", "uuencoded"}
	if got := Sets(); !slices.Equal(got, want) {
		t.Errorf("sets are %q", got)
	}
	if _, ok := Source("no-such-set"); ok {
		t.Error("a set that there is not")
	}
	if n := len(shipped(t).Rules()); n < 70 {
		t.Errorf("only %d rules", n)
	}
}

// Every rule says why it is there and where it comes from, has a tag, and tests
// that hit and that miss.
func TestRulesExplain(t *testing.T) {
	for _, r := range shipped(t).Rules() {
		hits, misses := 0, 0
		for i := range r.Tests {
			if r.Tests[i].Miss {
				misses++
			} else {
				hits++
			}
		}
		if hits == 0 || misses == 0 {
			t.Errorf("%s: %d tests hit, %d miss", r.ID, hits, misses)
		}
		if len(r.Description) < 5 || r.Origin == "" || len(r.Tags) == 0 {
			t.Errorf("%s: description %q, source %q, tags %q", r.ID, r.Description, r.Origin, r.Tags)
		}
		if r.Direction != 0 || !r.Expires.IsZero() || r.Stop {
			t.Errorf("%s: holds of some mail only, or hides other rules", r.ID)
		}
	}
}

// What refuses has a reply that helps. What scores stays below the threshold
// alone, and refuses with such a reply when the operator says so: mode =
// "enforce" in an override is enough, as mode = "score" is for what refuses: its
// points are seen then.
func TestRulesJudge(t *testing.T) {
	helpful := regexp.MustCompile(`^[ -~]{20,90}$`)
	for _, r := range shipped(t).Rules() {
		if len(r.Actions) != 1 || r.Actions[0].Kind != rules.Reject {
			t.Errorf("%s: actions %v", r.ID, r.Actions)
		}
		if r.Reply == nil || !r.Reply.Permanent() || r.Reply.Enhanced != "5.7.1" || !helpful.MatchString(r.Reply.Text) {
			t.Errorf("%s: reply %+v", r.ID, r.Reply)
		}
		switch r.Mode {
		case mail.Enforce:
			if r.Score < tagThreshold || r.Score > 10 {
				t.Errorf("%s: score %v", r.ID, r.Score)
			}
		case mail.Score:
			if r.Score <= 0 || r.Score >= tagThreshold {
				t.Errorf("%s: score %v", r.ID, r.Score)
			}
		default:
			t.Errorf("%s: mode %v", r.ID, r.Mode)
		}
	}
}

// An extension is in one rule only: turning a kind off turns it off.
func TestExtensionsOnce(t *testing.T) {
	where := map[string]string{}
	for _, r := range shipped(t).Rules() {
		if !strings.HasPrefix(r.ID, "ext-") {
			continue
		}
		for _, c := range r.Match {
			if c.Subject != rules.AttachmentExtension {
				continue
			}
			for _, e := range c.Values {
				if was, ok := where[e]; ok {
					t.Errorf("%s is in %s and in %s", e, was, r.ID)
				}
				where[e] = r.ID
			}
		}
	}
	// Those of the guides, and today's.
	for _, e := range strings.Fields("asd bat chm cmd com dll exe hlp hta js jse ocx pif reg scr shb shs vb vbe vbs vbx wsf wsh iso img vhd vhdx one lnk xll ps1") {
		if where[e] == "" {
			t.Errorf("no rule for %s", e)
		}
	}
}

// The tests that stand beside the rules.
func TestInline(t *testing.T) {
	for _, p := range rules.RunTests(t.Context(), shipped(t), message.DefaultIndexLimits()) {
		t.Errorf("%s:%d: %s: %s", p.File, p.Line, p.Rule, p.Text)
	}
}

// What the comments say about overrides is right: they are read, and change
// rules.
func TestCommentedOverrides(t *testing.T) {
	var ours []*rules.File
	n := 0
	for _, name := range Sets() {
		source, _ := Source(name)
		file, _ := rules.Parse(source, rules.ParseOptions{})
		ours = append(ours, file)
		for line := range strings.Lines(string(source.Text)) {
			n += strings.Count(line, "#   [[override]]")
		}
	}
	if n < 4 {
		t.Fatalf("only %d overrides in comments", n)
	}
	before := shipped(t)
	for _, name := range Sets() {
		source, _ := Source(name)
		var snippet strings.Builder
		for line := range strings.Lines(string(source.Text)) {
			if after, ok := strings.CutPrefix(line, "#   "); ok {
				snippet.WriteString(after)
			}
		}
		if snippet.Len() == 0 {
			continue
		}
		file, problems := rules.Parse(rules.Source{Name: name, Text: []byte(snippet.String())}, rules.ParseOptions{})
		if len(problems) > 0 {
			t.Errorf("%s: %+v", name, problems)
			continue
		}
		set, problems := rules.Compile(append([]*rules.File{file}, ours...))
		if len(problems) > 0 {
			t.Errorf("%s: %+v", name, problems)
			continue
		}
		changed := 0
		for i, r := range set.Rules() {
			if was := before.Rules()[i]; r.Mode != was.Mode || r.Score != was.Score {
				changed++
			}
		}
		if changed == 0 {
			t.Errorf("%s: the overrides change nothing", name)
		}
	}
}
