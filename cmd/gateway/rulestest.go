package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"garita/mail"
	"garita/mailbox"
	"garita/message"
	"garita/rules"
	"garita/rules/pattern"
)

type rulesTestCommand struct {
	configFlag
	Messages []string `arg:"" help:"Messages: files, folders (a Maildir) and mboxes; - is the standard input."`
	Rules    []string `type:"path" help:"Try these rule files instead of the configuration's and the shipped ones."`
	Rule     []string `help:"Look at these rules alone, whatever their mode." placeholder:"ID"`
	All      bool     `help:"Also look at rules that are behind one with stop or pass."`
	IP       string   `help:"Address of the client." placeholder:"ADDR"`
	Host     string   `help:"Its confirmed host name." placeholder:"NAME"`
	Helo     string   `help:"Name it says in EHLO (${default})." default:"mail.sender.example" placeholder:"NAME"`
	From     string   `help:"Reverse-path, empty for a bounce (${default})." default:"sender@sender.example" placeholder:"ADDRESS"`
	Rcpt     []string `help:"Recipients." placeholder:"ADDRESS"`
	User     string   `help:"Who is known to send it." placeholder:"USER"`
	Out      bool     `help:"It is mail that our users send; else it comes in."`
	Misses   bool     `help:"Also name the messages that no rule hits."`
	Output   string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// rulesTested is the answer. Its form is fixed: scripts read it.
type rulesTested struct {
	Messages []rulesTestedMessage `json:"messages"`
	Rules    []rulesTestedRule    `json:"rules"`
	Looked   int                  `json:"looked_at"`
	Hit      int                  `json:"hit"`
	Failed   int                  `json:"not_read"`
	Seconds  float64              `json:"seconds"`
}

type rulesTestedMessage struct {
	Name    string           `json:"name"`
	Error   string           `json:"error,omitempty"`
	Hits    []rulesTestedHit `json:"hits"`
	GivenUp []string         `json:"given_up,omitempty"` // rules that took too long
	// Milliseconds is the time of all rules, without the reading of the message.
	Milliseconds float64 `json:"milliseconds"`
}

type rulesTestedHit struct {
	Rule         string             `json:"rule"`
	Mode         string             `json:"mode"`
	Action       string             `json:"action"`
	Score        float64            `json:"score"`
	Place        string             `json:"place"`
	Milliseconds float64            `json:"milliseconds"`
	Where        []rulesTestedWhere `json:"where"`
}

type rulesTestedWhere struct {
	What    string `json:"what"`
	Part    string `json:"part,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Excerpt string `json:"excerpt"`
}

// rulesTestedRule is a rule over all messages.
type rulesTestedRule struct {
	Rule         string  `json:"rule"`
	Hits         int     `json:"hits"`
	Milliseconds float64 `json:"milliseconds"`
}

// maxRuleList is the largest list of a rule; the language has the same bound.
const maxRuleList = 16 << 20

// testBudget is what patterns that backtrack may take for one message.
const testBudget = 10 * time.Second

// Run exits 0 whether rules hit or not, 1 when a message could not be read.
func (c *rulesTestCommand) Run(t *terminal) error {
	s, err := (&testCommand{configFlag: c.configFlag}).settings(&terminal{err: io.Discard})
	if err != nil {
		return err
	}
	set, err := c.set(s)
	if err != nil {
		return err
	}
	tx, err := c.transaction()
	if err != nil {
		return err
	}
	w := &mailbox.Walker{In: t.in, Max: budgetFor(s).Headroom}
	for _, name := range c.Messages {
		if err := w.Add(name); err != nil {
			return fail(exitFailed, "%s", err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	r := &rulesRun{set: set, tx: tx, limits: s.MIME.limits(), all: c.All, took: map[string]time.Duration{}, hits: map[string]int{}}
	bar := newBar(t, w.Total())
	begun := time.Now()
	err = w.Walk(ctx, func(l *mailbox.Letter) error {
		m := r.one(ctx, l)
		if c.Output == "json" {
			bar.show(l.Read, r.looked, r.hit)
			if len(m.Hits) > 0 || len(m.GivenUp) > 0 || m.Error != "" || c.Misses {
				r.messages = append(r.messages, m)
			}
			return nil
		}
		if c.says(m) {
			bar.clear()
			c.write(t, m)
		}
		bar.show(l.Read, r.looked, r.hit)
		return nil
	})
	bar.clear()
	if errors.Is(err, context.Canceled) {
		err = fail(exitFailed, "stopped after %s", count(r.looked, "message"))
	}
	sum := r.sum(time.Since(begun))
	if c.Output == "json" {
		if jerr := t.json(sum); jerr != nil {
			return jerr
		}
	} else {
		sum.write(t)
	}
	if err == nil && r.failed > 0 {
		err = &exitError{code: exitFailed}
	}
	return err
}

// set is the rules to try.
func (c *rulesTestCommand) set(s *Settings) (*rules.Set, error) {
	set, err := c.source(s)
	if err != nil || len(c.Rule) == 0 {
		return set, err
	}
	f := &rules.File{Name: "--rule"}
	for _, id := range c.Rule {
		r, err := ruleBy(set, id)
		if err != nil {
			return nil, err
		}
		one := *r
		if one.Mode == mail.Off {
			one.Mode = mail.Observe
		}
		f.Rules = append(f.Rules, &one)
	}
	return compiled([]*rules.File{f})
}

func (c *rulesTestCommand) source(s *Settings) (*rules.Set, error) {
	if len(c.Rules) == 0 {
		lists, err := checksOf(s)
		if err != nil {
			return nil, fail(exitConfig, "%s", err)
		}
		return lists.Rules(), nil
	}
	files, err := ruleFiles(c.Rules)
	if err != nil {
		return nil, err
	}
	return compiled(files)
}

// ruleFiles reads rule files.
func ruleFiles(names []string) ([]*rules.File, error) {
	var files []*rules.File
	var wrong []string
	for _, name := range names {
		text, err := readAtMost(name, rules.MaxFile)
		if err != nil {
			return nil, fail(exitFailed, "%s", err)
		}
		f, problems := rules.Parse(rules.Source{Name: name, Text: text}, rules.ParseOptions{ReadList: func(path string) ([]byte, error) {
			if !filepath.IsAbs(path) {
				path = filepath.Join(filepath.Dir(name), path)
			}
			return readAtMost(path, maxRuleList)
		}})
		wrong = append(wrong, errorsOf(problems)...)
		files = append(files, f)
	}
	if len(wrong) > 0 {
		return nil, &exitError{exitConfig, strings.Join(wrong, "\n")}
	}
	return files, nil
}

func readAtMost(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s: larger than %d octets", name, limit)
	}
	return text, err
}

func compiled(files []*rules.File) (*rules.Set, error) {
	set, problems := rules.Compile(files)
	if wrong := errorsOf(problems); len(wrong) > 0 {
		return nil, &exitError{exitConfig, strings.Join(wrong, "\n")}
	}
	return set, nil
}

// errorsOf are the problems that prevent something.
func errorsOf(ps []rules.Problem) (out []string) {
	for _, p := range ps {
		if !p.Warning {
			out = append(out, printable(p.String()))
		}
	}
	return out
}

// transaction is the envelope that the messages come in.
func (c *rulesTestCommand) transaction() (*mail.Transaction, error) {
	tx := &mail.Transaction{Session: &mail.Session{Listener: "test", Helo: c.Helo, Proto: "ESMTP"}, ID: "TEST", Direction: mail.In}
	tx.Session.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 40000)
	if c.IP != "" {
		a, err := netip.ParseAddr(c.IP)
		if err != nil {
			return nil, fail(exitUsage, "--ip: %q is not an address", c.IP)
		}
		tx.Session.Client = netip.AddrPortFrom(a.Unmap(), 40000)
	}
	tx.Session.Peer = tx.Session.Client
	if c.Host != "" {
		tx.Session.Host = mail.HostName{Name: c.Host, Confirmed: true}
	}
	if c.Out {
		tx.Direction = mail.Out
	}
	if c.User != "" {
		tx.Identity = mail.Identity{User: c.User, Source: "garita rules test"}
	}
	var rest string
	var err error
	if tx.ReversePath, rest, err = mail.ParseReverse("<"+c.From+">", true); err != nil || rest != "" {
		return nil, fail(exitUsage, "--from: %q is not an address", c.From)
	}
	rcpts := c.Rcpt
	if len(rcpts) == 0 {
		rcpts = []string{"recipient@recipient.example"}
	}
	for _, text := range rcpts {
		p, rest, err := mail.ParseForward("<"+text+">", true)
		if err != nil || rest != "" {
			return nil, fail(exitUsage, "--rcpt: %q is not an address", text)
		}
		tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: p})
	}
	return tx, nil
}

// rulesRun is a run over messages.
type rulesRun struct {
	set      *rules.Set
	tx       *mail.Transaction
	limits   message.IndexLimits
	all      bool
	messages []rulesTestedMessage
	took     map[string]time.Duration
	hits     map[string]int
	looked   int
	hit      int
	failed   int
}

// one tries one message.
func (r *rulesRun) one(ctx context.Context, l *mailbox.Letter) rulesTestedMessage {
	m := rulesTestedMessage{Name: l.String(), Hits: []rulesTestedHit{}}
	if l.Err != nil {
		m.Error = l.Err.Error()
		r.failed++
		return m
	}
	msg, err := message.Spool(ctx, bytes.NewReader(l.Raw), message.Limits{Max: int64(len(l.Raw)) + 1, Memory: int64(len(l.Raw)) + 1, Index: message.IndexOptions{Limits: r.limits}})
	if err != nil {
		m.Error = err.Error()
		r.failed++
		return m
	}
	defer msg.Release()
	x, err := msg.Index(ctx)
	if err != nil {
		m.Error = err.Error()
		r.failed++
		return m
	}
	tx := *r.tx
	tx.Message = msg
	took := map[*rules.Rule]time.Duration{}
	begun := time.Now()
	res := r.set.Match(ctx, rules.Input{Tx: &tx, Index: x, Raw: l.Raw}, pattern.NewBudget(testBudget, time.Now), rules.MatchOptions{
		Now: begun, All: r.all, Tell: func(rule *rules.Rule, d time.Duration) { took[rule] += d },
	})
	m.Milliseconds = milliseconds(time.Since(begun))
	for rule, d := range took {
		r.took[rule.ID] += d
	}
	for _, h := range res.Hits {
		one := rulesTestedHit{
			Rule: h.Rule.ID, Mode: h.Rule.Mode.String(), Action: actionsOf(h.Rule), Score: h.Rule.Score, Place: h.Rule.Place(),
			Milliseconds: milliseconds(took[h.Rule]), Where: []rulesTestedWhere{},
		}
		for _, w := range h.Where {
			one.Where = append(one.Where, rulesTestedWhere{w.What, w.Part, w.Line, w.Column, w.Excerpt})
		}
		m.Hits = append(m.Hits, one)
		r.hits[h.Rule.ID]++
	}
	for _, g := range res.GivenUp {
		m.GivenUp = append(m.GivenUp, g.ID)
	}
	r.looked++
	if len(m.Hits) > 0 {
		r.hit++
	}
	return m
}

// sum is the whole run: every rule that hit, and the slowest.
func (r *rulesRun) sum(took time.Duration) rulesTested {
	out := rulesTested{Messages: r.messages, Rules: []rulesTestedRule{}, Looked: r.looked, Hit: r.hit, Failed: r.failed, Seconds: took.Seconds()}
	if out.Messages == nil {
		out.Messages = []rulesTestedMessage{}
	}
	for id, n := range r.hits {
		out.Rules = append(out.Rules, rulesTestedRule{id, n, milliseconds(r.took[id])})
		delete(r.took, id)
	}
	for id, d := range r.took {
		out.Rules = append(out.Rules, rulesTestedRule{id, 0, milliseconds(d)})
	}
	slices.SortFunc(out.Rules, func(a, b rulesTestedRule) int {
		return cmp.Or(cmp.Compare(b.Hits, a.Hits), cmp.Compare(b.Milliseconds, a.Milliseconds), cmp.Compare(a.Rule, b.Rule))
	})
	return out
}

// says tells a message that something is to be said of.
func (c *rulesTestCommand) says(m rulesTestedMessage) bool {
	return m.Error != "" || len(m.Hits) > 0 || len(m.GivenUp) > 0 || c.Misses || len(c.Messages) == 1 && c.Messages[0] == m.Name
}

// write shows one message.
func (c *rulesTestCommand) write(t *terminal, m rulesTestedMessage) {
	switch {
	case m.Error != "":
		fmt.Fprintf(t.err, "%s: %s\n", oneLine(m.Name), oneLine(m.Error))
		return
	case len(m.Hits) == 0 && len(m.GivenUp) == 0:
		fmt.Fprintf(t.out, "%s: no rule hits\n", oneLine(m.Name))
		return
	}
	fmt.Fprintf(t.out, "%s: %s, %.2f ms\n", oneLine(m.Name), count(len(m.Hits), "hit"), m.Milliseconds)
	for _, h := range m.Hits {
		line := fmt.Sprintf("  %s  %s", h.Rule, oneLine(h.Action))
		if h.Score != 0 {
			line += fmt.Sprintf(" %+g", h.Score)
		}
		if h.Mode != mail.Enforce.String() {
			line += " (" + h.Mode + ")"
		}
		fmt.Fprintf(t.out, "%s  %s  %.3f ms\n", line, oneLine(h.Place), h.Milliseconds)
		for _, w := range h.Where {
			fmt.Fprintln(t.out, t.fold("      "+w.line()))
		}
	}
	for _, id := range m.GivenUp {
		fmt.Fprintf(t.out, "  %s  took too long: nobody knows whether it hits\n", id)
	}
}

// line is a place for people: the text as a quoted string, since it is hostile.
func (w rulesTestedWhere) line() string {
	line := w.What
	if w.Part != "" {
		line += ", part " + w.Part
	}
	if w.Line > 0 {
		line += fmt.Sprintf(", line %d", w.Line)
	}
	if w.Column > 0 {
		line += fmt.Sprintf(", column %d", w.Column)
	}
	return oneLine(line) + ": " + strconv.QuoteToGraphic(w.Excerpt)
}

// write shows the sum of several messages.
func (s *rulesTested) write(t *terminal) {
	switch s.Looked + s.Failed {
	case 0:
		fmt.Fprintln(t.out, "no message is there")
		return
	case 1:
		return
	}
	fmt.Fprintf(t.out, "\n%s, %d hit, %d not read, %.1f s\n", count(s.Looked, "message"), s.Hit, s.Failed, s.Seconds)
	for i, r := range s.Rules {
		if r.Hits == 0 && i >= 20 {
			break
		}
		fmt.Fprintf(t.out, "  %-30s %7d  %9.2f ms\n", r.Rule, r.Hits, r.Milliseconds)
	}
}

// bar shows on a person's terminal how far a long run is.
type bar struct {
	t     *terminal
	total int64
	last  time.Time
	shown bool
}

func newBar(t *terminal, total int64) *bar {
	if !isTerminal(t.err) {
		return &bar{}
	}
	return &bar{t: t, total: total, last: time.Now()}
}

func (b *bar) show(read int64, looked, hit int) {
	if b.t == nil || time.Since(b.last) < 200*time.Millisecond {
		return
	}
	b.last, b.shown = time.Now(), true
	const width = 30
	part := 0
	if b.total > 0 {
		part = int(min(read*width/b.total, width))
	}
	fmt.Fprintf(b.t.err, "\r[%s%s] %s, %d hit ", strings.Repeat("#", part), strings.Repeat(".", width-part), count(looked, "message"), hit)
}

func (b *bar) clear() {
	if b.shown {
		fmt.Fprintf(b.t.err, "\r%70s\r", "")
		b.shown = false
	}
}
