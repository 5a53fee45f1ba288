package e2e

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/filters"
	"garita/mail"
	letters "garita/message"
	"garita/smtpproxy"
	"garita/smtpproxy/relay"
	"garita/smtpproxy/relay/fakehop"
	"garita/smtpproxy/routing"
	"garita/test/harness"
)

// These tests are about what the wire does to envelopes and bodies when rules
// ask for it: the wire, the engine and the relay, with a check in the place of
// the rules.

// asked is that check: it asks for the same of every message.
type asked struct {
	mu  sync.Mutex
	res filters.Result
}

func (a *asked) CheckMessage(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	res := a.res
	if tx.Rewritten {
		res.Rewrite = nil
	}
	return res, nil
}

func (a *asked) set(res filters.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.res = res
}

func pathOf(s string) mail.Path {
	local, domain, _ := strings.Cut(s, "@")
	return mail.Path{Local: local, Domain: domain}
}

func redirectTo(s string) mail.EnvelopeEdit {
	return mail.EnvelopeEdit{Kind: mail.EditRedirect, To: mail.Recipient{Path: pathOf(s)}, Rule: "to-" + s}
}

func copyTo(s string) mail.EnvelopeEdit {
	return mail.EnvelopeEdit{Kind: mail.EditBCC, To: mail.Recipient{Path: pathOf(s)}, Rule: "copy"}
}

func routeBy(hop string) mail.EnvelopeEdit {
	return mail.EnvelopeEdit{Kind: mail.EditRoute, Hop: hop, Rule: "by-" + hop}
}

func asks(edits ...mail.EnvelopeEdit) *asked {
	return &asked{res: filters.Result{Envelope: edits}}
}

// ruled is a gateway of one inbound listener for our.example, whose mail goes
// to the next hop "home" and a stranger's to "far"; urls are by name.
// It gives its address.
func ruled(t *testing.T, check *asked, urls map[string]string, l net.Listener) string {
	t.Helper()
	engine, err := filters.New(filters.Config{Checks: []filters.Check{{Name: "rules", Class: filters.Policy, Impl: check}}})
	if err != nil {
		t.Fatal(err)
	}
	hops := map[string]smtpproxy.NextHop{}
	for name, url := range urls {
		c := relay.DefaultConfig()
		c.URL, c.TLS = url, "none"
		h, err := relay.New(relay.Options{Name: name, Config: c, Hostname: "gw.example"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		hops[name] = h
	}
	lc := smtpproxy.DefaultListener("inbound")
	lc.RelayDomains, lc.NextHop, lc.Listen = []string{"our.example"}, "home", []string{"127.0.0.1:0"}
	router, err := routing.New(routing.Options{Listener: lc, Default: hops["home"], Hops: hops, Outward: hops["far"]})
	if err != nil {
		t.Fatal(err)
	}
	set := &smtpproxy.Settings{Hostname: "gw.example", Limits: smtpproxy.DefaultLimits(), Policy: engine,
		Listeners: map[string]*smtpproxy.Listener{"in": {ListenerConfig: lc, Router: router}}}
	budget := letters.NewBudget(letters.BudgetConfig{Total: set.Limits.MessagesTotal, Memory: set.Limits.MessagesMemory, Headroom: lc.MaxMessageSize, ReserveShare: 0.2})
	srv := smtpproxy.NewServer(smtpproxy.ServerConfig{Budget: budget, SpoolDir: t.TempDir()})
	if err := srv.Apply(set); err != nil {
		t.Fatal(err)
	}
	if l == nil {
		l = listen(t)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve("in", l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-done
		if u := budget.Usage(); u.Used != 0 {
			t.Errorf("%d octets were not given back", u.Used)
		}
	})
	return l.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// who lists the recipients of what a server has taken.
func who(h *fakehop.Server) string {
	var out []string
	for _, m := range h.Accepted() {
		out = append(out, strings.ReplaceAll(strings.Join(m.To, " "), "@our.example", ""))
	}
	return strings.Join(out, "; ")
}

// TestReaddressFaults: what each server has in the end, whatever the next hops
// do, and what the client is told: 250 stands for exactly one message that the
// next hop has taken.
func TestReaddressFaults(t *testing.T) {
	t.Parallel()
	type script = map[string][]fakehop.Action
	say := func(s string) []fakehop.Action { return []fakehop.Action{{Reply: s + "\r\n"}} }
	drop := []fakehop.Action{{Silent: true, Drop: true}}
	far := redirectTo("x@far.example")
	for title, c := range map[string]struct {
		edits           []mail.EnvelopeEdit
		home, away      script
		down, lmtp      bool // the other next hop
		code            int
		atHome, atOther string
	}{
		"plain":                    {code: 250, atHome: "b c"},
		"bcc":                      {edits: []mail.EnvelopeEdit{copyTo("y@our.example")}, code: 250, atHome: "b c y"},
		"bcc refused for good":     {edits: []mail.EnvelopeEdit{copyTo("y@our.example")}, home: script{"RCPT:y@our.example": say("550 5.1.1 no")}, code: 250, atHome: "b c"},
		"bcc refused for now":      {edits: []mail.EnvelopeEdit{copyTo("y@our.example")}, home: script{"RCPT:y@our.example": say("450 4.2.0 no")}, code: 451},
		"bcc, and it dies":         {edits: []mail.EnvelopeEdit{copyTo("y@our.example")}, home: script{"RCPT:y@our.example": drop}, code: 451},
		"bcc, and 421":             {edits: []mail.EnvelopeEdit{copyTo("y@our.example")}, home: script{"RCPT:y@our.example": say("421 4.3.2 bye")}, code: 451},
		"bcc, refused at the end":  {edits: []mail.EnvelopeEdit{copyTo("y@our.example")}, home: script{".": say("554 5.6.0 no")}, code: 554},
		"redirect":                 {edits: []mail.EnvelopeEdit{far}, code: 250, atOther: "x@far.example"},
		"redirect and bcc":         {edits: []mail.EnvelopeEdit{far, copyTo("y@our.example")}, code: 250, atOther: "x@far.example y"},
		"redirect refused":         {edits: []mail.EnvelopeEdit{far}, away: script{"RCPT": say("550 5.1.1 no")}, code: 451},
		"redirect refused for now": {edits: []mail.EnvelopeEdit{far}, away: script{"RCPT": say("450 4.2.0 no")}, code: 451},
		"redirect, sender refused": {edits: []mail.EnvelopeEdit{far}, away: script{"MAIL": say("550 5.7.1 no")}, code: 451},
		"redirect, it is down":     {edits: []mail.EnvelopeEdit{far}, down: true, code: 451},
		"redirect, no greeting":    {edits: []mail.EnvelopeEdit{far}, away: script{"CONNECT": drop}, code: 451},
		"redirect, dies at RCPT":   {edits: []mail.EnvelopeEdit{far}, away: script{"RCPT": drop}, code: 451},
		"redirect, dies at DATA":   {edits: []mail.EnvelopeEdit{far}, away: script{"DATA": drop}, code: 451},
		"redirect, dies in DATA":   {edits: []mail.EnvelopeEdit{far}, away: script{"DATA": {{EarlyAfter: 10, Early: "421 4.3.2 bye\r\n"}}}, code: 451},
		"redirect, refused late":   {edits: []mail.EnvelopeEdit{far}, away: script{".": say("554 5.6.0 x@far.example is full")}, code: 554},
		"redirect, answer lost":    {edits: []mail.EnvelopeEdit{far}, away: script{".": drop}, code: 451},
		"route":                    {edits: []mail.EnvelopeEdit{routeBy("other")}, code: 250, atOther: "b c"},
		"route and bcc":            {edits: []mail.EnvelopeEdit{routeBy("other"), copyTo("y@our.example")}, code: 250, atOther: "b c y"},
		"route refuses one":        {edits: []mail.EnvelopeEdit{routeBy("other")}, away: script{"RCPT:c@our.example": say("550 5.1.1 no")}, code: 451},
		"route to nowhere":         {edits: []mail.EnvelopeEdit{routeBy("gone")}, code: 451},
		"route to LMTP":            {edits: []mail.EnvelopeEdit{routeBy("other")}, lmtp: true, code: 451},
		"redirect to LMTP":         {edits: []mail.EnvelopeEdit{far}, lmtp: true, code: 250, atOther: "x@far.example"},
		"redirect and bcc to LMTP": {edits: []mail.EnvelopeEdit{far, copyTo("y@our.example")}, lmtp: true, code: 250, atOther: "x@far.example"},
	} {
		t.Run(title, func(t *testing.T) {
			home, other := startHop(t, fakehop.Config{Script: c.home}), startHop(t, fakehop.Config{Script: c.away, LMTP: c.lmtp})
			url := other.URL()
			if c.down {
				other.Close()
			}
			addr := ruled(t, asks(c.edits...), map[string]string{"home": home.URL(), "far": url, "other": url}, nil)
			r := harness.Greeted(t, addr).Send("a@sender.example", []string{"b@our.example", "c@our.example"}, simpleMessage)
			if r.Code != c.code || strings.Contains(strings.Join(r.Lines, " "), "far.example") {
				t.Errorf("%s, want %d", r, c.code)
			}
			if title == "redirect, answer lost" {
				c.atOther = who(other) // it may have it: the client tries again
			}
			if who(home) != c.atHome || who(other) != c.atOther {
				t.Errorf("home %q, other %q", who(home), who(other))
			}
			for _, h := range []*fakehop.Server{home, other} {
				for _, m := range h.Accepted() {
					if rest, received := harness.WithoutTrace(string(m.Data)); rest != simpleMessage || len(received) != 1 || strings.Contains(received[0], "far.example") {
						t.Errorf("it changed on its way: %q %q", received, rest)
					}
				}
			}
			if c.atHome == "" {
				for _, conn := range home.Conns() {
					for _, cmd := range conn.Commands() {
						if cmd == "DATA" && title != "bcc, refused at the end" {
							t.Errorf("home was sent the message: %q", conn.Commands())
						}
					}
				}
			}
		})
	}
}

const simpleMessage = "From: a@sender.example\r\nTo: b@our.example\r\nSubject: x\r\n\r\n.first\r\nBAD line\r\nlast\r\n"

// TestReaddressAgain: a connection that was given up for a redirect serves later
// messages, which have nothing of the first. How many connections there are
// depends on how soon one is back.
func TestReaddressAgain(t *testing.T) {
	t.Parallel()
	home, other := startHop(t, fakehop.Config{}), startHop(t, fakehop.Config{})
	check := asks(redirectTo("x@far.example"))
	c := harness.Greeted(t, ruled(t, check, map[string]string{"home": home.URL(), "far": other.URL()}, nil))
	for i, want := range []string{"; b", "; b"} {
		check.set(filters.Result{Envelope: []mail.EnvelopeEdit{redirectTo("x@far.example"), copyTo("y@our.example")}})
		if r := c.Send("a@sender.example", []string{"c@our.example"}, simpleMessage); r.Code != 250 {
			t.Fatal(r)
		}
		check.set(filters.Result{})
		if r := c.Send("a@sender.example", []string{"b@our.example"}, simpleMessage); r.Code != 250 {
			t.Fatal(r)
		}
		if got := "; " + who(home); got != strings.Repeat(want, i+1) {
			t.Errorf("home %q", got)
		}
	}
	if got := who(other); got != "x@far.example y; x@far.example y" {
		t.Errorf("other %q", got)
	}
}

// TestReaddressClientGone: a client that goes away within the message leaves
// nothing anywhere; nothing was redirected yet.
func TestReaddressClientGone(t *testing.T) {
	t.Parallel()
	home, other := startHop(t, fakehop.Config{}), startHop(t, fakehop.Config{})
	check := asks(redirectTo("x@far.example"))
	addr := ruled(t, check, map[string]string{"home": home.URL(), "far": other.URL()}, nil)
	c := harness.Greeted(t, addr)
	c.Say("MAIL FROM:<a@sender.example>").Want(250)
	c.Say("RCPT TO:<b@our.example>").Want(250)
	c.Say("DATA").Want(354)
	c.Raw("Subject: half\r\n\r\nx").Close()
	// The next one on the same connections is whole.
	if r := harness.Greeted(t, addr).Send("a@sender.example", []string{"b@our.example"}, simpleMessage); r.Code != 250 {
		t.Fatal(r)
	}
	if who(home) != "" || who(other) != "x@far.example" {
		t.Errorf("home %q, other %q", who(home), who(other))
	}
}

// TestRedirectLoop: two gateways that redirect to each other end it by the
// count of Received fields; nobody has the message and the sender is told.
func TestRedirectLoop(t *testing.T) {
	t.Parallel()
	home := startHop(t, fakehop.Config{})
	a, b := listen(t), listen(t)
	url := func(l net.Listener) string { return "smtp://" + l.Addr().(*net.TCPAddr).AddrPort().String() }
	ruled(t, asks(routeBy("other")), map[string]string{"home": home.URL(), "other": url(b)}, a)
	ruled(t, asks(routeBy("other")), map[string]string{"home": home.URL(), "other": url(a)}, b)
	r := harness.Greeted(t, a.Addr().String()).Send("a@sender.example", []string{"b@our.example"}, simpleMessage)
	if r.Code != 554 && r.Code != 451 || len(home.Accepted()) != 0 {
		t.Errorf("%s, %d delivered", r, len(home.Accepted()))
	}
}

// TestReaddressPostfix: a real Postfix gets one message for the recipient and
// the copy, and one for the address that mail was redirected to alone; a body
// that a table has rewritten arrives so.
func TestReaddressPostfix(t *testing.T) {
	t.Parallel()
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}})
	check := asks(copyTo("archive@our.example"))
	url := "smtp://" + netip.MustParseAddrPort(p.Addr).String()
	c := harness.Greeted(t, ruled(t, check, map[string]string{"home": url}, nil))
	send := func() string {
		t.Helper()
		r := c.Send("a@sender.example", []string{"b@our.example"}, simpleMessage)
		if r.Code != 250 {
			t.Fatal(r)
		}
		id := harness.QueueID(r.String())
		p.WaitLog(t, id+": removed")
		return id
	}
	id := send()
	for _, want := range []string{id + ": to=<b@our.example>", id + ": to=<archive@our.example>"} {
		if !strings.Contains(p.Log(), want) {
			t.Errorf("no %q in\n%s", want, p.Log())
		}
	}
	if rest, _ := harness.WithoutTrace(p.Delivered(t)[id]); strings.Contains(rest, "archive") {
		t.Errorf("the copy shows: %q", rest)
	}
	check.set(filters.Result{Envelope: []mail.EnvelopeEdit{redirectTo("abuse@our.example")}})
	id = send()
	if s := p.Log(); !strings.Contains(s, id+": to=<abuse@our.example>") || strings.Contains(s, id+": to=<b@our.example>") {
		t.Errorf("redirected:\n%s", s)
	}
	at := int64(bytes.Index([]byte(simpleMessage), []byte("BAD line")))
	check.set(filters.Result{Rewrite: []letters.Edit{{At: at, Delete: 8, Insert: []byte("good line")}}})
	id = send()
	if rest, _ := harness.WithoutTrace(p.Delivered(t)[id]); strings.TrimRight(rest, "\n") != strings.TrimRight(unix(strings.Replace(simpleMessage, "BAD", "good", 1)), "\n") {
		t.Errorf("rewritten: %q", rest)
	}
}
