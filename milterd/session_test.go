package milterd

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	milter "github.com/emersion/go-milter"

	"garita/mail"
	"garita/message"
)

const allSteps = milter.OptNoHeaderReply | milter.OptNoEOHReply | milter.OptNoBodyReply | milter.OptHeaderLeadingSpace | milter.OptNoUnknown

// TestConversation: with an MTA that waits for each answer and with one that
// does not, the message is the same.
func TestConversation(t *testing.T) {
	for name, steps := range map[string]milter.OptProtocol{"old": 0, "new": allSteps} {
		d := open(t, nil)
		s := d.mta(t, everything, steps)
		if err := s.Macros(milter.CodeMail, "i", "QID1", "{auth_authen}", "user@our.example", "{auth_type}", "PLAIN", "{tls_version}", "TLSv1.3"); err != nil {
			t.Fatal(err)
		}
		begin(t, s)
		if a := must(t)(s.Rcpt("c@our.example", []string{"NOTIFY=NEVER", "ORCPT=rfc822;x@y.example"})); a.Code != milter.ActContinue {
			t.Fatal(a)
		}
		space := ""
		if name == "new" {
			space = " "
		}
		mods, a := sent(t, s, [][2]string{{"From", space + "a@x.example"}, {"Subject", space + "folded\n\ttwice\r\n over"}, {"X-Empty", ""}}, "body\r\n\x00\xff.\r\n")
		if a.Code != milter.ActContinue || len(mods) != 0 {
			t.Errorf("%s: %v %v", name, a, mods)
		}
		want := "From: a@x.example\r\nSubject: folded\r\n\ttwice\r\n over\r\nX-Empty:" + map[bool]string{true: "", false: " "}[name == "new"] + "\r\n\r\nbody\r\n\x00\xff.\r\n"
		tx, o := d.judge.last(t, 1)
		if d.judge.seen[0] != want || o.Kind != mail.Relayed {
			t.Errorf("%s: %q %v", name, d.judge.seen[0], o.Kind)
		}
		if tx.Client.String() != "192.0.2.7:2525" || tx.Host != (mail.HostName{Name: "mail.client.test", Confirmed: true}) || tx.Helo != "client.test" ||
			tx.Identity != (mail.Identity{User: "user@our.example", Source: "milter"}) || tx.Direction != mail.Out || tx.Role != mail.Outbound ||
			tx.Params.Size != 100 || tx.Params.Body != mail.Body8BitMIME || tx.Proto != "ESMTPSA" || tx.TLS == nil || tx.TLS.Version != 0x304 ||
			len(tx.ForwardPaths) != 2 || tx.ForwardPaths[1].Orcpt != "x@y.example" || tx.Listener != ListenerName {
			t.Errorf("%s: %+v %+v", name, tx, tx.Session)
		}
		for end := time.Now().Add(60 * time.Second); !strings.Contains(d.logged(), `queue_id="QID1"`); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %s", name, d.logged())
			}
		}
		// The login belongs to that message.
		must(t)(s.Mail("a@x.example", nil))
		if err := s.Abort(); err != nil {
			t.Fatal(err)
		}
		must(t)(s.Mail("a@x.example", nil))
		if tx, o := d.judge.last(t, 2); o.Kind != mail.Aborted || tx.Login != "" || tx.Identity.User != "" || tx.Direction != mail.In || tx.Role != mail.Inbound {
			t.Errorf("%s: %v %+v", name, o.Kind, tx)
		}
	}
}

// TestHostNames: what MTAs say of a client's name.
func TestHostNames(t *testing.T) {
	for _, c := range []struct {
		name string
		m    macros
		want mail.HostName
	}{
		{"a.test", macros{}, mail.HostName{Name: "a.test", Confirmed: true}},
		{"unknown", macros{}, mail.HostName{}},
		{"unknown", macros{ptr: "unknown"}, mail.HostName{}},
		{"unknown", macros{ptr: "claims.test"}, mail.HostName{Name: "claims.test"}},
		{"[192.0.2.7]", macros{}, mail.HostName{}},
		{"forged.test", macros{resolve: "FORGED"}, mail.HostName{}},
		{"good.test", macros{resolve: "OK"}, mail.HostName{Name: "good.test", Confirmed: true}},
	} {
		if got := hostName(c.name, c.m); got != c.want {
			t.Errorf("%q %+v: %+v, not %+v", c.name, c.m, got, c.want)
		}
	}
}

// TestTrustedNetworks: their mail is outbound, and 421 is not for them: others
// use the same client.
func TestTrustedNetworks(t *testing.T) {
	d := open(t, func(s *Settings) { s.TrustedNetworks = prefixes("192.0.2.0/24") })
	suspended := mail.Decision{Verdict: mail.Defer, Reply: mail.Temporary(450, "7.0", "suspended"), Close: true}
	d.judge.stage[mail.StageRcpt] = suspended
	s := d.mta(t, everything, allSteps)
	ok := must(t)
	ok(s.Conn("relay.test", milter.FamilyInet, 1, "192.0.2.7"))
	ok(s.Mail("u@our.example", nil))
	if a := ok(s.Rcpt("b@x.example", nil)); a.SMTPCode != 450 {
		t.Error(a)
	}
	d.judge.set(mail.StageRcpt, mail.Decision{Verdict: mail.Defer, Reply: mail.Temporary(421, "7.0", "suspended")})
	if a := ok(s.Rcpt("c@x.example", nil)); a.SMTPCode != 451 {
		t.Error(a)
	}
	s.Abort()
	if tx, _ := d.judge.last(t, 1); !tx.Trusted || tx.Direction != mail.Out || tx.Role != mail.Outbound || tx.Identity.User != "" {
		t.Errorf("%+v", tx)
	}
	// A user who logged in there has a session of his own.
	s.Macros(milter.CodeMail, "{auth_authen}", "u")
	ok(s.Mail("u@our.example", nil))
	if a := ok(s.Rcpt("b@x.example", nil)); a.SMTPCode != 421 {
		t.Error(a)
	}
}

// TestFaultsAre4xx: no room, no holding place, edits that the MTA does not
// allow: the sender keeps the message.
func TestFaultsAre4xx(t *testing.T) {
	hold := mail.Decision{Verdict: mail.Quarantine}
	edit := func(tx *mail.Transaction) mail.Decision {
		return mail.Decision{Edits: []message.Edit{{Insert: []byte("X-A: b\r\n")}}}
	}
	for name, c := range map[string]struct {
		can    milter.OptAction
		change func(*Settings)
		stage  mail.Decision
		look   func(*mail.Transaction) mail.Decision
		code   int
	}{
		"no place to hold":     {0, nil, hold, nil, 451},
		"hold fails":           {0, func(s *Settings) { s.Keeper = &box{err: errInjected} }, hold, nil, 451},
		"edits not allowed":    {0, nil, mail.Decision{}, edit, 451},
		"body not allowed":     {milter.OptAddHeader, nil, mail.Decision{Rewrite: []message.Edit{{At: 20, Delete: 1}}}, nil, 451},
		"body rejected":        {everything, func(s *Settings) { s.BodyEdits = "reject" }, mail.Decision{Rewrite: []message.Edit{{At: 20, Delete: 1}}}, nil, 554},
		"disarm without hold":  {everything, nil, mail.Decision{Disarm: []message.Edit{{At: 20, Delete: 1}}}, nil, 451},
		"edit beyond a header": {everything, nil, mail.Decision{Edits: []message.Edit{{At: 22, Delete: 1}}}, nil, 451},
		"no recipients change": {milter.OptAddHeader, nil, mail.Decision{Envelope: []mail.EnvelopeEdit{{Kind: mail.EditBCC, To: mail.Recipient{Path: mail.Path{Local: "c", Domain: "d"}}}}}, nil, 451},
		"too many hops":        {everything, func(s *Settings) { s.MaxHops = 0 }, mail.Decision{}, nil, 554},
		"too large":            {everything, func(s *Settings) { s.MaxMessageSize = 30 }, mail.Decision{}, nil, 552},
		"a panic":              {everything, nil, mail.Decision{}, func(*mail.Transaction) mail.Decision { panic("injected") }, 451},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, c.change)
			d.judge.stage[mail.StageMessage], d.judge.look = c.stage, c.look
			s := d.mta(t, c.can, allSteps)
			ok := must(t)
			ok(s.Conn("x.test", milter.FamilyInet6, 1, "IPv6:2001:db8::1"))
			ok(s.Mail("a@x.example", nil))
			ok(s.Rcpt("b@our.example", nil))
			fields := [][2]string{{"Received", " x"}, {"A", " b"}}
			_, a := sent(t, s, fields, "0123456789\r\n")
			if a.Code != milter.ActReplyCode || a.SMTPCode != c.code {
				t.Fatalf("%+v, not %d", a, c.code)
			}
			if strings.Contains(a.SMTPText, "injected") {
				t.Error("the sender is told of our fault:", a.SMTPText)
			}
		})
	}
}

// TestNoRoom: a message that the budget does not take is deferred, and its
// room comes back.
func TestNoRoom(t *testing.T) {
	d := open(t, nil)
	var full []*message.Grant
	for _, n := range []int64{16 << 20, 1 << 20, 32 << 10} {
		for {
			g, ok := d.budget.Admit(n, true)
			if !ok {
				break
			}
			full = append(full, g)
		}
	}
	s := d.mta(t, everything, allSteps)
	begin(t, s)
	if _, a := sent(t, s, nil, "x\r\n"); a.SMTPCode != 452 {
		t.Error(a)
	}
	for _, g := range full {
		g.Release()
	}
	must(t)(s.Mail("a@x.example", nil))
	must(t)(s.Rcpt("b@our.example", nil))
	if _, a := sent(t, s, nil, "x\r\n"); a.Code != milter.ActContinue {
		t.Error(a)
	}
}

// TestOwnHoldAndDisarm: held here only after it is durable, and then the MTA
// drops it; a disarmed message's original is kept first.
func TestOwnHoldAndDisarm(t *testing.T) {
	b := &box{}
	d := open(t, func(s *Settings) { s.Keeper, s.Quarantine, s.ReleaseTo = b, "own", "back" })
	d.judge.stage[mail.StageMessage] = mail.Decision{Verdict: mail.Quarantine}
	s := d.mta(t, everything, allSteps)
	begin(t, s)
	if _, a := sent(t, s, [][2]string{{"A", " b"}, {"X-Garita-Verdict", " forged"}}, "x\r\n"); a.Code != milter.ActDiscard {
		t.Error(a)
	}
	if b.kept["H1"] != "A: b\r\n\r\nx\r\n" || b.hop != "back" {
		t.Errorf("%q %q", b.kept["H1"], b.hop)
	}
	d.judge.stage[mail.StageMessage] = mail.Decision{Disarm: []message.Edit{{At: 8, Delete: 3, Insert: []byte("gone")}}}
	must(t)(s.Mail("a@x.example", nil))
	must(t)(s.Rcpt("b@our.example", nil))
	mods, a := sent(t, s, [][2]string{{"A", " b"}}, "bad part\r\n")
	if a.Code != milter.ActContinue || len(mods) != 2 || mods[0].HeaderName != "X-Garita-Disarmed" || string(mods[1].Body) != "gone part\r\n" {
		t.Errorf("%+v %+v", a, mods)
	}
	if b.kept["H1"] != "A: b\r\n\r\nbad part\r\n" {
		t.Errorf("%q", b.kept["H1"])
	}
	d.judge.again = mail.Decision{Verdict: mail.Reject} // what is left is no better
	must(t)(s.Mail("a@x.example", nil))
	must(t)(s.Rcpt("b@our.example", nil))
	if _, a := sent(t, s, [][2]string{{"A", " b"}}, "bad part\r\n"); a.Code != milter.ActDiscard {
		t.Error(a)
	}
	if _, o := d.judge.last(t, 3); o.Kind != mail.Held {
		t.Error(o)
	}
}

// TestStrangersAreTurnedAway: an address that is not an MTA of ours gets no
// word, and more connections than there may be neither.
func TestStrangersAreTurnedAway(t *testing.T) {
	closed := func(d *door) bool {
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(60 * time.Second))
		c.Write([]byte("\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00"))
		n, _ := c.Read(make([]byte, 1))
		return n == 0
	}
	d := open(t, func(s *Settings) { s.Clients = prefixes("192.0.2.0/24") })
	if !closed(d) || d.Stats().TurnedAway != 1 {
		t.Error("a stranger was let in", d.Stats())
	}
	d = open(t, func(s *Settings) { s.MaxConnections = 1 })
	d.mta(t, 0, 0)
	if !closed(d) {
		t.Error("one too many was let in")
	}
}

// TestShutdown: what waits is closed at once, a message on its way comes to
// its end.
func TestShutdown(t *testing.T) {
	d := open(t, nil)
	idle := d.mta(t, everything, allSteps)
	must(t)(idle.Conn("x.test", milter.FamilyUnknown, 0, ""))
	busy := d.mta(t, everything, allSteps)
	begin(t, busy)
	done := make(chan error, 1)
	go func() { done <- d.Shutdown(context.Background()) }()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := idle.Helo("x"); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("an idle connection goes on")
		}
	}
	if _, a := sent(t, busy, nil, "x\r\n"); a.Code != milter.ActContinue {
		t.Error(a)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d.judge.closed != 2 {
		t.Errorf("%d sessions were told to be over", d.judge.closed)
	}
}

// TestGenerations: a connection keeps the settings that it began with.
func TestGenerations(t *testing.T) {
	d := open(t, nil)
	s := d.mta(t, everything, allSteps)
	begin(t, s)
	next := *d.set
	next.Policy = &judge{stage: map[mail.Stage]mail.Decision{mail.StageConnect: {Verdict: mail.Reject}}}
	d.Apply(&next)
	if _, a := sent(t, s, nil, "x\r\n"); a.Code != milter.ActContinue {
		t.Error(a)
	}
	n := d.mta(t, everything, allSteps)
	if a := must(t)(n.Conn("x.test", milter.FamilyInet, 1, "192.0.2.7")); a.SMTPCode != 554 {
		t.Error(a)
	}
}

// watched is a Policy that notes how much time it is given.
type watched struct {
	judge
	command, message time.Duration
}

func (w *watched) Mail(ctx context.Context, _ *mail.Transaction) mail.Decision {
	end, _ := ctx.Deadline()
	w.command = time.Until(end)
	return mail.Decision{}
}
func (w *watched) Message(ctx context.Context, _ *mail.Transaction) mail.Decision {
	end, _ := ctx.Deadline()
	w.message = time.Until(end)
	return mail.Decision{}
}

// TestTimes: each step has its time, and an MTA that is silent is let go.
func TestTimes(t *testing.T) {
	w := &watched{}
	d := open(t, func(s *Settings) {
		s.Policy, s.CommandTimeout, s.ReplyTimeout, s.IdleTimeout = w, time.Hour, 3*time.Hour, 200*time.Millisecond
	})
	s := d.mta(t, everything, allSteps)
	begin(t, s)
	sent(t, s, nil, "x\r\n")
	if w.command > time.Hour || w.command < 50*time.Minute || w.message > 3*time.Hour || w.message < 170*time.Minute {
		t.Errorf("%s for a command, %s for a message", w.command, w.message)
	}
	c, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(60 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Error("a silent MTA is kept", err)
	}
}
