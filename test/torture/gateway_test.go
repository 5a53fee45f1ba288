package torture

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"garita/filters"
	"garita/filters/all"
	"garita/mail"
	"garita/message"
)

var update = flag.Bool("update", false, "write docs/evasion.md")

// one is one message of a class.
type one struct {
	id, name string
	raw      string // lines end with \n or \r\n; a bare \r stays
	// want are symbols of which one says that the payload was seen; none: the
	// symbols of files that run, with the payload's name.
	want []string
	// valid says that every reader takes it in the same way: with a harmless
	// payload instead nothing may be said about it.
	valid bool
	// alone keeps it from being wrapped into other messages.
	alone bool
	// html: the text of the mail; what a rule can see of it is asked, too.
	trait string
}

// verdict is what became of a message.
type verdict int

const (
	seen   verdict = iota // a finding names the payload
	held                  // held or refused for another reason
	marked                // delivered with points and a field
	silent                // delivered without a word
	verdicts
)

func (v verdict) String() string { return [...]string{"seen", "held", "marked", "silent"}[v] }

// gateway is the set of checks with their defaults. The antivirus, and the
// spam filters, are off.
func gateway(t testing.TB) *filters.Engine {
	t.Helper()
	checks, err := all.Checks(all.Default(), filters.Site{Hostname: "mx.our.example", Domains: []string{"our.example"}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := filters.New(filters.Config{Checks: checks, Thresholds: filters.DefaultThresholds()})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// crlf gives a message as it comes over the wire.
func crlf(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.ReplaceAll(s, "\n", "\r\n")
}

// decide lets the gateway judge the octets of a message.
func decide(t testing.TB, e *filters.Engine, raw string) mail.Decision {
	t.Helper()
	ctx := context.Background()
	m, err := message.Spool(ctx, strings.NewReader(raw), message.Limits{Max: 64 << 20, Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	tx := &mail.Transaction{Session: &mail.Session{ID: "T"}, ID: "T", Direction: mail.In, Message: m}
	tx.ReversePath = mail.Path{Local: "a", Domain: "sender.example"}
	p, _, err := mail.ParseForward("<b@our.example>", true)
	if err != nil {
		t.Fatal(err)
	}
	tx.ForwardPaths = []mail.Recipient{{Path: p}}
	e.Mail(ctx, tx)
	d := e.Message(ctx, tx)
	for _, r := range d.Runs {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Check, r.Err)
		}
	}
	e.Finish(ctx, tx, mail.Outcome{})
	return d
}

// mark is the beginning of every payload's name.
const mark = "garita-payload"

// running are the symbols of files that run.
var running = []string{"attachment.executable", "attachment.script", "attachment.shortcut", "attachment.clsid", "attachment.double_extension", "attachment.blocked"}

// class tells what a decision means for the payload.
func (m *one) class(d mail.Decision) verdict {
	out := silent
	for i := range d.Because {
		f := &d.Because[i]
		if len(m.want) > 0 {
			if slices.Contains(m.want, f.Symbol) {
				return seen
			}
		} else if slices.Contains(running, f.Symbol) {
			return seen
		}
		if f.Score > 0 && f.Mode != mail.Observe {
			out = min(out, marked)
		}
	}
	if d.Verdict >= mail.Quarantine {
		out = held
	}
	return out
}

func symbols(d mail.Decision) string {
	var s []string
	for i := range d.Because {
		f := &d.Because[i]
		s = append(s, fmt.Sprintf("%s(%s %.1f) %s", f.Symbol, f.Mode, f.Score, f.Detail))
	}
	return d.Verdict.String() + ": " + strings.Join(s, "; ")
}

func readDoc(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/evasion.md")
	if err != nil && !*update {
		t.Fatal(err)
	}
	return string(b)
}
