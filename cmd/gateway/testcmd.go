package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"garita/mail"
	"garita/message"
	"garita/smtpproxy"
	"garita/smtpproxy/relay"
)

type testCommand struct {
	configFlag
	File     string   `arg:"" help:"The message; - is the standard input."`
	IP       string   `help:"Address of the client." placeholder:"ADDR"`
	Helo     string   `help:"Name it says in EHLO (${default})." default:"mail.sender.example" placeholder:"NAME"`
	From     string   `help:"Reverse-path, empty for a bounce (${default})." default:"sender@sender.example" placeholder:"ADDRESS"`
	Rcpt     []string `help:"Recipients." placeholder:"ADDRESS"`
	User     string   `help:"Who is known to send it." placeholder:"USER"`
	Listener string   `help:"Name of the listener that it comes in by." placeholder:"NAME"`
	Output   string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// tested is the answer. Its form is fixed: scripts read it.
type tested struct {
	Verdict  string          `json:"verdict"`
	Reply    string          `json:"reply"`
	Score    float64         `json:"score"`
	Findings []testedFinding `json:"findings"`
	// Milliseconds is the time of all checks at the message, Checks that of
	// each, at every stage.
	Milliseconds float64       `json:"milliseconds"`
	Checks       []testedCheck `json:"checks"`
	// Disarmed are the places that would be replaced; the message goes on
	// without them, and the original is kept.
	Disarmed []testedEdit `json:"disarmed,omitempty"`
	// Rewritten are those of the operator's tables in the body, Readdressed is
	// where rules send it.
	Rewritten   []testedEdit    `json:"rewritten,omitempty"`
	Readdressed []testedAddress `json:"readdressed,omitempty"`
}

// testedEdit is a range of the message and the size of what stands there then.
type testedEdit struct {
	At       int64 `json:"at"`
	Octets   int64 `json:"octets"`
	Inserted int   `json:"inserted"`
}

// testedAddress is what a rule does to the envelope: redirect, bcc or route.
type testedAddress struct {
	Action string `json:"action"`
	To     string `json:"to"`
	Rule   string `json:"rule,omitempty"`
}

type testedFinding struct {
	Symbol string  `json:"symbol"`
	Detail string  `json:"detail"`
	Score  float64 `json:"score"`
	// Where is the place in the message; Verdict is what the finding asks for
	// and Mode how much of that it may do.
	Where   string `json:"where,omitempty"`
	Verdict string `json:"verdict"`
	Mode    string `json:"mode"`
}

type testedCheck struct {
	Check        string  `json:"check"`
	Stage        string  `json:"stage"`
	Milliseconds float64 `json:"milliseconds"`
	Error        string  `json:"error,omitempty"`
}

// Run gives the message to a real session of the real engine, whose client is
// a pipe and whose next hop takes everything and sends it nowhere. So the
// answer is the wire's own: relay permission, size, loops, line ends and all.
// It exits 0 whatever the verdict is.
func (c *testCommand) Run(t *terminal) error {
	s, err := c.settings(t)
	if err != nil {
		return err
	}
	client, err := c.client(s)
	if err != nil {
		return err
	}
	body, closeBody, err := c.open(t)
	if err != nil {
		return err
	}
	defer closeBody()
	r, err := offline(s, client, body)
	if err != nil {
		return fail(exitFailed, "%s", err)
	}
	if c.Output == "json" {
		return t.json(r)
	}
	fmt.Fprintf(t.out, "verdict  %s\n%s\nscore    %g\ntook     %.2f ms\n", r.Verdict, t.fold("reply    "+oneLine(r.Reply)), r.Score, r.Milliseconds)
	for _, e := range r.Disarmed {
		fmt.Fprintf(t.out, "disarm   %d octets at %d are replaced by %d; the original is kept\n", e.Octets, e.At, e.Inserted)
	}
	for _, e := range r.Rewritten {
		fmt.Fprintf(t.out, "rewrite  %d octets at %d are replaced by %d\n", e.Octets, e.At, e.Inserted)
	}
	for _, e := range r.Readdressed {
		fmt.Fprintln(t.out, t.fold(fmt.Sprintf("%-8s %s %s", e.Action, oneLine(e.To), oneLine(e.Rule))))
	}
	for _, f := range r.Findings {
		fmt.Fprintln(t.out, t.fold(f.line()))
	}
	for _, c := range r.Checks {
		if c.Stage != mail.StageMessage.String() && c.Error == "" {
			continue
		}
		line := fmt.Sprintf("check    %s %s %.2f ms", c.Check, c.Stage, c.Milliseconds)
		if c.Error != "" {
			line += ": " + oneLine(c.Error)
		}
		fmt.Fprintln(t.out, line)
	}
	return nil
}

// line is a finding for people: symbol, points, what it asks for, place, words.
func (f testedFinding) line() string {
	line := fmt.Sprintf("finding  %s %+g", oneLine(f.Symbol), f.Score)
	if f.Verdict != mail.Continue.String() {
		line += " " + f.Verdict
	}
	if f.Mode != mail.Enforce.String() {
		line += " (" + f.Mode + ")"
	}
	if f.Where != "" {
		line += " in " + oneLine(f.Where)
	}
	if f.Detail != "" {
		line += ": " + oneLine(f.Detail)
	}
	return line
}

// settings are those of the configuration; on a machine without one, and
// without a word of another, the built-in ones.
func (c *testCommand) settings(t *terminal) (*Settings, error) {
	if _, err := os.Stat(c.Config); c.Config != defaultConfig || !errors.Is(err, fs.ErrNotExist) {
		s, _, problems := load(c.Config, nil)
		if len(problems) > 0 {
			return nil, &exitError{exitConfig, problems.Error()}
		}
		return s, nil
	}
	fmt.Fprintf(t.err, "%s does not exist: tested with built-in defaults, as if the recipient's domain were ours\n", defaultConfig)
	return c.builtIn(), nil
}

// builtIn are the defaults with a listener of two roles for the domains of the
// recipients: enough to look at a message.
func (c *testCommand) builtIn() *Settings {
	s := defaults()
	s.Hostname = "gateway.example"
	next := relay.DefaultConfig()
	next.URL = "smtp://next-hop.example:25"
	s.NextHop = map[string]relay.Config{"next-hop": next}
	in, out := smtpproxy.DefaultListener("inbound"), smtpproxy.DefaultListener("outbound")
	in.NextHop, out.NextHop = "next-hop", "next-hop"
	in.Listen, out.Listen = []string{"127.0.0.1:25"}, []string{"127.0.0.1:26"}
	out.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if a, err := netip.ParseAddr(c.IP); err == nil {
		out.TrustedNetworks = append(out.TrustedNetworks, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
	}
	for _, r := range c.Rcpt {
		if p, _, err := mail.ParseForward("<"+r+">", true); err == nil && p.Domain != "" && !p.IsLiteral() {
			in.RelayDomains = append(in.RelayDomains, p.DomainKey())
		}
	}
	if len(in.RelayDomains) == 0 {
		in.RelayDomains = []string{"recipient.example"}
	}
	s.Listener = map[string]smtpproxy.ListenerConfig{"inbound": in, "outbound": out}
	return &s
}

// open gives the message with CRLF line ends. A file that has none at all is
// one that an editor or a mailbox wrote with LF; in every other file a bare LF
// stays what it is, since then it is what shall be tested.
func (c *testCommand) open(t *terminal) (io.Reader, func(), error) {
	in, done := t.in, func() {}
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, nil, fail(exitFailed, "%s", err)
		}
		if info, err := f.Stat(); err == nil && info.IsDir() {
			f.Close()
			return nil, nil, fail(exitFailed, "%s is a folder, not a message", c.File)
		}
		in, done = f, func() { f.Close() }
	}
	b := bufio.NewReaderSize(in, 64<<10)
	head, err := b.Peek(64 << 10)
	if err != nil && len(head) == 0 && err != io.EOF {
		done()
		return nil, nil, fail(exitFailed, "%s", err)
	}
	if bytes.Contains(head, []byte("\r\n")) {
		return b, done, nil
	}
	return &crlfReader{in: b}, done, nil
}

// client reads the options that describe who sends.
func (c *testCommand) client(s *Settings) (*offlineClient, error) {
	o := &offlineClient{listener: c.Listener, user: c.User, helo: c.Helo}
	if o.listener == "" {
		o.listener = usualListener(s)
	}
	l, ok := s.Listener[o.listener]
	if !ok {
		return nil, fail(exitUsage, "--listener: there is no listener %q; %s", c.Listener, known(slices.Sorted(maps.Keys(s.Listener))))
	}
	// A line end in a name would be a second command, not a name.
	if strings.ContainsAny(c.Helo, "\r\n\x00") || c.Helo == "" {
		return nil, fail(exitUsage, "--helo: %q cannot be said in one line", c.Helo)
	}
	if err := o.address(c.IP, l); err != nil {
		return nil, err
	}
	var rest string
	var err error
	if o.from, rest, err = mail.ParseReverse("<"+c.From+">", true); err != nil || rest != "" {
		return nil, fail(exitUsage, "--from: %q is not an address", c.From)
	}
	rcpts := c.Rcpt
	if len(rcpts) == 0 {
		rcpts = []string{"recipient@recipient.example"}
		if len(l.RelayDomains) > 0 {
			rcpts = []string{"recipient@" + l.RelayDomains[0]}
		}
	}
	for _, text := range rcpts {
		p, rest, err := mail.ParseForward("<"+text+">", true)
		if err != nil || rest != "" {
			return nil, fail(exitUsage, "--rcpt: %q is not an address", text)
		}
		o.rcpts = append(o.rcpts, p)
	}
	return o, nil
}

// usualListener is the first inbound one, else the first.
func usualListener(s *Settings) string {
	names := slices.Sorted(maps.Keys(s.Listener))
	for _, n := range names {
		if s.Listener[n].Role == "inbound" {
			return n
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// address settles who holds the other end of the socket. To a content filter
// that is always one of its peers, and --ip is what this peer tells of its own
// client by XFORWARD.
func (o *offlineClient) address(ip string, l smtpproxy.ListenerConfig) error {
	peer := netip.AddrFrom4([4]byte{192, 0, 2, 1}) // RFC 5737: nobody's
	if len(l.TrustedNetworks) > 0 {
		peer = l.TrustedNetworks[0].Addr()
	}
	if ip != "" {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return fail(exitUsage, "--ip: %q is not an address", ip)
		}
		a = a.Unmap().WithZone("")
		trusted := slices.ContainsFunc(l.TrustedNetworks, func(p netip.Prefix) bool { return p.Contains(a) })
		if l.Role == "content-filter" && l.XForward && !trusted {
			o.forwarded = a
		} else {
			peer = a
		}
	}
	o.peer = netip.AddrPortFrom(peer, 40000)
	return nil
}

// offline lets one message walk through the wire and the engine.
func offline(s *Settings, client *offlineClient, body io.Reader) (*tested, error) {
	spool, err := os.MkdirTemp("", "garita-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(spool)
	engine, _, err := (&parts{}).policy(s, nil, nil)
	if err != nil {
		return nil, err
	}
	witness := &witness{Policy: engine, user: client.user}
	l := withoutNetwork(s.Listener[client.listener])
	limits := s.Limits
	limits.FreeDisk = 0
	router, err := sinkRouter(s, l)
	if err != nil {
		return nil, err
	}
	server := smtpproxy.NewServer(smtpproxy.ServerConfig{Budget: message.NewBudget(budgetFor(s)), SpoolDir: spool})
	err = server.Apply(&smtpproxy.Settings{
		Hostname: s.Hostname, Limits: limits, Policy: witness, Keeper: sinkKeeper{}, Index: message.IndexOptions{Limits: s.MIME.limits()},
		Listeners: map[string]*smtpproxy.Listener{client.listener: {
			ListenerConfig: l, Router: router,
		}},
	})
	if err != nil {
		return nil, err
	}
	wire := newPipeListener()
	served := make(chan error, 1)
	go func() { served <- server.Serve(client.listener, wire) }()
	reply, err := client.send(wire, body)
	// Shutdown waits for the session, and with it for the last word of the
	// checks.
	if down := server.Shutdown(context.Background()); err == nil {
		err = down
	}
	wire.Close()
	<-served
	if err != nil {
		return nil, err
	}
	return witness.result(reply), nil
}

// witness hands everything on to the engine and remembers what it said.
type witness struct {
	smtpproxy.Policy
	user string

	mu       sync.Mutex
	findings []mail.Finding
	last     mail.Decision
	runs     []mail.CheckRun
	took     time.Duration  // of the checks of the message
	disarm   []message.Edit // what they want out of it
	rewrite  []message.Edit // what the operator's tables put into it
	disarmed []message.Edit // what was taken out
	tables   []message.Edit // what was put in
	sent     []mail.EnvelopeEdit
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

func (w *witness) note(d mail.Decision) mail.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = d
	w.runs = append(w.runs, d.Runs...)
	for _, f := range d.Because {
		same := func(g mail.Finding) bool {
			return f.Symbol == g.Symbol && f.Stage == g.Stage && f.Detail == g.Detail && f.Where == g.Where
		}
		if !slices.ContainsFunc(w.findings, same) {
			w.findings = append(w.findings, f)
		}
	}
	return d
}

func (w *witness) Connect(ctx context.Context, s *mail.Session) mail.Decision {
	return w.note(w.Policy.Connect(ctx, s))
}

func (w *witness) Helo(ctx context.Context, s *mail.Session) mail.Decision {
	return w.note(w.Policy.Helo(ctx, s))
}

func (w *witness) Mail(ctx context.Context, tx *mail.Transaction) mail.Decision {
	if w.user != "" {
		tx.Identity = mail.Identity{User: w.user, Source: "garita test"}
	}
	return w.note(w.Policy.Mail(ctx, tx))
}

func (w *witness) Rcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) mail.Decision {
	return w.note(w.Policy.Rcpt(ctx, tx, r))
}

func (w *witness) Data(ctx context.Context, tx *mail.Transaction) mail.Decision {
	return w.note(w.Policy.Data(ctx, tx))
}

func (w *witness) Message(ctx context.Context, tx *mail.Transaction) mail.Decision {
	begun := time.Now()
	d := w.Policy.Message(ctx, tx)
	w.took = time.Since(begun)
	w.disarm, w.rewrite = d.Disarm, d.Rewrite
	return w.note(d)
}

func (w *witness) Again(ctx context.Context, tx *mail.Transaction, m *message.Message) mail.Decision {
	begun := time.Now()
	d := w.Policy.Again(ctx, tx, m)
	w.took += time.Since(begun)
	first := w.last // score and verdict are those of the message as it came
	w.note(d)
	w.last = first
	return d
}

// Finish tells what the message came to.
func (w *witness) Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome) {
	w.Policy.Finish(ctx, tx, o)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = o.Envelope
	if len(w.disarm)+len(w.rewrite) == 0 || tx.Exempt != "" {
		return
	}
	for _, f := range tx.Findings { // of the wire itself
		if (f.Filter == "disarm" || f.Filter == "rewrite") && !slices.ContainsFunc(w.findings, func(g mail.Finding) bool { return f.Symbol == g.Symbol }) {
			w.findings = append(w.findings, f)
		}
	}
	switch o.Kind {
	case mail.Relayed:
		w.disarmed, w.tables = w.disarm, w.rewrite
	case mail.Held:
		w.last.Verdict = mail.Quarantine
	}
}

// result puts the wire's reply and what the engine said together. The reply
// has the last word: what the wire itself refuses is refused.
func (w *witness) result(r mail.Reply) *tested {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := &tested{Verdict: w.last.Verdict.String(), Reply: r.String(), Score: w.last.Score, Findings: []testedFinding{}, Checks: []testedCheck{}}
	switch {
	case w.last.Verdict == mail.Quarantine || w.last.Verdict == mail.Discard:
	case r.Permanent():
		out.Verdict = mail.Reject.String()
	case r.Temporary():
		out.Verdict = mail.Defer.String()
	}
	for _, f := range w.findings {
		out.Findings = append(out.Findings, testedFinding{f.Symbol, f.Detail, f.Score, f.Where, f.Verdict.String(), f.Mode.String()})
	}
	for _, r := range w.runs {
		c := testedCheck{Check: r.Check, Stage: r.Stage.String(), Milliseconds: milliseconds(r.Took)}
		if r.Err != nil {
			c.Error = r.Err.Error()
		}
		out.Checks = append(out.Checks, c)
	}
	for _, e := range w.disarmed {
		out.Disarmed = append(out.Disarmed, testedEdit{e.At, e.Delete, len(e.Insert)})
	}
	for _, e := range w.tables {
		out.Rewritten = append(out.Rewritten, testedEdit{e.At, e.Delete, len(e.Insert)})
	}
	for _, e := range w.sent {
		to := e.To.String()
		if e.Kind == mail.EditRoute {
			to = e.Hop
		}
		out.Readdressed = append(out.Readdressed, testedAddress{e.Kind, to, e.Rule})
	}
	out.Milliseconds = milliseconds(w.took)
	return out
}
