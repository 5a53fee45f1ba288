package smtpproxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"garita/mail"
)

// town is a router with several next hops: far.example goes to far, list@ our
// domain stands for two, none.example goes nowhere.
type town struct{ home, far *fakeHop }

func (r town) NextHops() []NextHop                                        { return []NextHop{r.home} }
func (r town) Rewrite(*mail.Transaction, mail.Recipient) []mail.Recipient { return nil }
func (r town) Route(*mail.Transaction, mail.Recipient) (NextHop, *mail.Reply) {
	return r.home, nil
}

func (r town) Redirect(_ *mail.Transaction, to mail.Path) (NextHop, []mail.Path, *mail.Reply) {
	switch {
	case to.Domain == "none.example":
		no := mail.Permanent(550, "1.1", "User unknown")
		return nil, nil, &no
	case to.Domain == "far.example":
		return r.far, []mail.Path{to}, nil
	case to.Local == "list":
		return r.home, []mail.Path{at("one"), at("two")}, nil
	}
	return r.home, []mail.Path{to}, nil
}

func (r town) Hop(name string) NextHop {
	for _, h := range []*fakeHop{r.home, r.far} {
		if h.name == name {
			return h
		}
	}
	return nil
}

// at is an address: in our domain unless it has one.
func at(s string) mail.Path {
	local, domain, ok := strings.Cut(s, "@")
	if !ok {
		domain = "our.example"
	}
	return mail.Path{Local: local, Domain: domain}
}

func redirect(to string) mail.EnvelopeEdit {
	return mail.EnvelopeEdit{Kind: mail.EditRedirect, To: mail.Recipient{Path: at(to)}, Rule: "r1"}
}

func bcc(to string) mail.EnvelopeEdit {
	return mail.EnvelopeEdit{Kind: mail.EditBCC, To: mail.Recipient{Path: at(to)}, Rule: "r2"}
}

func route(hop string) mail.EnvelopeEdit {
	return mail.EnvelopeEdit{Kind: mail.EditRoute, Hop: hop, Rule: "r3"}
}

// townKit is a server in that town whose policy readdresses.
func townKit(t *testing.T, role string, edits ...mail.EnvelopeEdit) (*kit, *fakeHop) {
	t.Helper()
	far := newFakeHop()
	far.name = "far"
	var ln *Listener
	k := newKit(t, role, func(_ *Settings, l *Listener) { ln = l })
	ln.Router = town{k.hop, far}
	if err := k.srv.Apply(k.set); err != nil {
		t.Fatal(err)
	}
	k.policy.message = func(*mail.Transaction) mail.Decision { return mail.Decision{Envelope: edits} }
	t.Cleanup(func() {
		if n := far.open(); n != 0 {
			t.Errorf("%d deliveries to the other next hop were never ended", n)
		}
	})
	return k, far
}

// went is to whom a message went by each next hop: "home: a b; far: c".
func went(hops ...*fakeHop) string {
	var out []string
	for _, h := range hops {
		for _, m := range h.messages() {
			out = append(out, h.name+": "+strings.Join(m.to, " "))
		}
	}
	return strings.ReplaceAll(strings.Join(out, "; "), "@our.example", "")
}

// TestReaddress: who has the message, once, and what log and checks are told.
func TestReaddress(t *testing.T) {
	many := make([]mail.EnvelopeEdit, 0, 30)
	for i := range 30 {
		many = append(many, bcc(fmt.Sprintf("m%d", i)))
	}
	for title, c := range map[string]struct {
		edits []mail.EnvelopeEdit
		want  string
		log   string // what the outcome says was done and who has it
	}{
		"nothing":                   {nil, "inbound: b c", " to "},
		"bcc":                       {[]mail.EnvelopeEdit{bcc("archive")}, "inbound: b c archive", "bcc to b c archive"},
		"bcc twice":                 {[]mail.EnvelopeEdit{bcc("archive"), bcc("archive")}, "inbound: b c archive", "bcc to b c archive"},
		"bcc of a recipient":        {[]mail.EnvelopeEdit{bcc("c@OUR.example")}, "inbound: b c", " to "},
		"bcc of an alias":           {[]mail.EnvelopeEdit{bcc("list")}, "inbound: b c one two", "bcc to b c one two"},
		"bcc by no route":           {[]mail.EnvelopeEdit{bcc("x@none.example")}, "inbound: b c x@none.example", "bcc to b c x@none.example"},
		"bcc that lives elsewhere":  {[]mail.EnvelopeEdit{bcc("x@far.example")}, "inbound: b c x@far.example", "bcc to b c x@far.example"},
		"too many bcc":              {many, "inbound: b c m0 m1 m2 m3 m4 m5 m6 m7 m8 m9 m10 m11 m12 m13 m14 m15 m16 m17 m18 m19", strings.Repeat("bcc ", 20) + "to b c m0 m1 m2 m3 m4 m5 m6 m7 m8 m9 m10 m11 m12 m13 m14 m15 m16 m17 m18 m19"},
		"redirect":                  {[]mail.EnvelopeEdit{redirect("x@far.example")}, "far: x@far.example", "redirect to x@far.example<b"},
		"redirect at home":          {[]mail.EnvelopeEdit{redirect("x")}, "inbound: x", "redirect to x<b"},
		"redirect to a recipient":   {[]mail.EnvelopeEdit{redirect("b")}, "inbound: b", "redirect to b"},
		"redirect to an alias":      {[]mail.EnvelopeEdit{redirect("list")}, "inbound: one two", "redirect to one<b two<b"},
		"the last redirect":         {[]mail.EnvelopeEdit{redirect("x"), redirect("y@far.example")}, "far: y@far.example", "redirect to y@far.example<b"},
		"route":                     {[]mail.EnvelopeEdit{route("far")}, "far: b c", "route to "},
		"route to where it goes":    {[]mail.EnvelopeEdit{route("inbound")}, "inbound: b c", " to "},
		"redirect beats route":      {[]mail.EnvelopeEdit{redirect("x"), route("far")}, "inbound: x", "redirect to x<b"},
		"redirect and bcc":          {[]mail.EnvelopeEdit{bcc("y"), redirect("x@far.example"), bcc("x@far.example")}, "far: x@far.example y", "redirect bcc to x@far.example<b y"},
		"route and bcc":             {[]mail.EnvelopeEdit{bcc("y"), route("far")}, "far: b c y", "route bcc to b c y"},
		"the last route, then none": {[]mail.EnvelopeEdit{route("far"), route("inbound")}, "inbound: b c", " to "},
	} {
		for _, role := range []string{"inbound", "outbound", "content-filter"} {
			k, far := townKit(t, role, c.edits...)
			var seen string
			k.policy.finish = func(tx *mail.Transaction) { seen = fmt.Sprint(len(tx.ForwardPaths), tx.NextHop) }
			cl := k.hello()
			cl.do("250", "MAIL FROM:<a@sender.example>")
			cl.do("250", "RCPT TO:<b@our.example>")
			cl.do("250", "RCPT TO:<c@our.example>")
			cl.do("354", "DATA")
			cl.do("250 2.0.0 Ok: queued", "Subject: x\r\n\r\nx\r\n.")
			if got := went(k.hop, far); got != c.want {
				t.Errorf("%s, %s: %q, want %q", title, role, got, c.want)
			}
			o := k.last()
			var words []string
			for _, e := range o.Envelope {
				words = append(words, e.Kind)
			}
			words = append(words, "to")
			for _, r := range o.Recipients {
				w := r.String()
				if !r.Alias.IsNull() {
					w += "<" + r.Alias.String()
				}
				words = append(words, w)
			}
			if got := strings.ReplaceAll(strings.Join(words, " "), "@our.example", ""); strings.TrimSpace(got) != strings.TrimSpace(c.log) {
				t.Errorf("%s, %s: told %q, want %q", title, role, got, c.log)
			}
			if hop := strings.Fields(c.want)[0]; seen != "2"+strings.TrimSuffix(hop, ":") {
				t.Errorf("%s, %s: the checks see %s", title, role, seen)
			}
		}
	}
}

// TestReaddressDSN: who takes a recipient's place has his parameters; of a copy
// nobody is told.
func TestReaddressDSN(t *testing.T) {
	k, far := townKit(t, "inbound", redirect("x@far.example"), bcc("y"))
	var got []string
	far.rcpt = func(r mail.Recipient) mail.Reply {
		got = append(got, fmt.Sprint(r.String(), r.Notify, r.OrcptType, r.Orcpt))
		return mail.OK(250, "1.5", "Ok")
	}
	c := k.hello()
	c.do("250", "MAIL FROM:<a@sender.example>")
	c.do("250", "RCPT TO:<b@our.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@old.example")
	c.do("250", "RCPT TO:<c@our.example> NOTIFY=NEVER")
	c.do("354", "DATA")
	c.do("250", "Subject: x\r\n\r\nx\r\n.")
	if s := strings.Join(got, "; "); s != "x@far.example[SUCCESS FAILURE]rfc822b@old.example; y@our.example[NEVER]" {
		t.Error(s)
	}
}

// TestReaddressRefused: what another server or the operator's mistake keeps
// from being done is 451, and nothing is delivered anywhere; a copy that is
// refused for good is left out. The sender is not told where his mail goes.
func TestReaddressRefused(t *testing.T) {
	gone, busy := mail.Permanent(550, "1.1", "no secret here"), mail.Temporary(450, "2.0", "secret is busy")
	many := mail.Temporary(452, "5.3", "secret: too many")
	for title, c := range map[string]struct {
		edits     []mail.EnvelopeEdit
		far, home *mail.Reply // to "secret"
		reply     string
		want      string
	}{
		"redirect for good":    {[]mail.EnvelopeEdit{redirect("secret@far.example")}, &gone, nil, "451 4.3.5", ""},
		"redirect for now":     {[]mail.EnvelopeEdit{redirect("secret@far.example")}, &busy, nil, "451 4.3.5", ""},
		"redirect by no route": {[]mail.EnvelopeEdit{redirect("secret@none.example")}, nil, nil, "451 4.3.5", ""},
		"route to nowhere":     {[]mail.EnvelopeEdit{route("secret")}, nil, nil, "451 4.3.5", ""},
		"unknown edit":         {[]mail.EnvelopeEdit{{Kind: "secret"}}, nil, nil, "451 4.3.5", ""},
		"bcc for good":         {[]mail.EnvelopeEdit{bcc("secret"), bcc("y")}, nil, &gone, "250", "inbound: b y"},
		"bcc, one too many":    {[]mail.EnvelopeEdit{bcc("secret")}, nil, &many, "250", "inbound: b"},
		"bcc for now":          {[]mail.EnvelopeEdit{bcc("secret")}, nil, &busy, "451 4.3.5", ""},
		"bcc for now there":    {[]mail.EnvelopeEdit{redirect("x@far.example"), bcc("secret")}, &busy, nil, "451 4.3.5", ""},
		"bcc for good there":   {[]mail.EnvelopeEdit{route("far"), bcc("secret")}, &gone, nil, "250", "far: b"},
		"route refused later":  {[]mail.EnvelopeEdit{route("far")}, nil, nil, "451 4.3.5", ""},
	} {
		k, far := townKit(t, "inbound", c.edits...)
		answer := func(r *mail.Reply) func(mail.Recipient) mail.Reply {
			return func(to mail.Recipient) mail.Reply {
				if r != nil && to.Local == "secret" {
					return *r
				}
				return mail.OK(250, "1.5", "Ok")
			}
		}
		far.rcpt, k.hop.rcpt = answer(c.far), answer(c.home)
		if title == "route refused later" {
			far.rcpt = func(mail.Recipient) mail.Reply { return gone }
		}
		if r := k.hello().give(c.reply, "Subject: x\r\n\r\nx\r\n"); strings.Contains(r, "secret") {
			t.Errorf("%s: told %q", title, r)
		}
		if got := went(k.hop, far); got != c.want {
			t.Errorf("%s: %q", title, got)
		}
		if o := k.last(); o.Detail == "" || (o.Kind == mail.Relayed) != (c.want != "") {
			t.Errorf("%s: %+v", title, o)
		}
		if k.srv.Stats().Astray != 1 {
			t.Errorf("%s: not counted", title)
		}
	}
}

// TestReaddressEnd: 250 only after that of the next hop that has it; its words
// about a message that was sent elsewhere are not the sender's.
func TestReaddressEnd(t *testing.T) {
	for _, e := range []mail.EnvelopeEdit{redirect("secret@far.example"), route("far"), bcc("secret")} {
		for want, o := range map[string]mail.Outcome{
			"554 5.6.0 Refused by the next mail server": {Kind: mail.Refused, Replies: []mail.Reply{mail.Permanent(554, "6.0", "secret is full")}},
			"452 4.2.2 Not possible at the moment":      {Kind: mail.Refused, Replies: []mail.Reply{mail.Temporary(452, "2.2", "secret is full")}},
			"451 4.4.2":                                 {Kind: mail.Ambiguous, Replies: []mail.Reply{mail.Temporary(451, "4.2", "lost")}},
			"451 4.3.0":                                 {Kind: mail.Relayed},
		} {
			k, far := townKit(t, "inbound", e)
			taker := far
			if e.Kind == mail.EditBCC {
				taker = k.hop
			}
			taker.final = func() mail.Outcome {
				if o.Kind == mail.Relayed {
					return mail.Outcome{Kind: mail.Aborted} // no reply at all
				}
				return o
			}
			if r := k.hello().give(want, "Subject: x\r\n\r\nx\r\n"); strings.Contains(r, "secret") {
				t.Errorf("told %q", r)
			}
			if got := went(k.hop, far); got != "" {
				t.Errorf("%s: %s", want, got)
			}
		}
	}
}

// TestReaddressNot: what is held stays for those whom it was sent to, with a
// note; mail to role addresses goes where it was sent, a copy all the same.
func TestReaddressNot(t *testing.T) {
	keep := &fakeKeeper{}
	k, far := townKit(t, "inbound")
	k.set.Keeper = keep
	if err := k.srv.Apply(k.set); err != nil {
		t.Fatal(err)
	}
	for v, want := range map[mail.Verdict]string{mail.Quarantine: "250 2.0.0 Ok: held", mail.Reject: "554", mail.Defer: "451", mail.Discard: "250 2.0.0 Ok: discarded"} {
		k.policy.message = func(*mail.Transaction) mail.Decision {
			return mail.Decision{Verdict: v, Envelope: []mail.EnvelopeEdit{redirect("x@far.example"), bcc("y")}}
		}
		k.hello().give(want, "Subject: x\r\n\r\nx\r\n")
	}
	held := keep.all()
	if len(held) != 1 || held[0].to != "b@our.example " || held[0].because != "envelope.redirect envelope.bcc " || held[0].hop != "inbound" {
		t.Errorf("%+v", held)
	}
	if got := went(k.hop, far); got != "" {
		t.Error(got)
	}
	k, far = townKit(t, "inbound", redirect("x@far.example"), bcc("y"), route("far"))
	var exempt string
	k.policy.finish = func(tx *mail.Transaction) { exempt = tx.Exempt }
	c := k.hello()
	c.do("250", "MAIL FROM:<a@sender.example>")
	c.do("250", "RCPT TO:<postmaster@our.example>")
	c.do("354", "DATA")
	c.do("250 2.0.0 Ok: queued", "Subject: x\r\n\r\nx\r\n.")
	if got := went(k.hop, far); got != "inbound: postmaster y" || exempt != "postmaster" {
		t.Errorf("%s %q", got, exempt)
	}
}

// TestReaddressDisarmed: both at once; a refusal leaves no copy behind.
func TestReaddressDisarmed(t *testing.T) {
	keep := &fakeKeeper{}
	k, far := townKit(t, "inbound")
	k.set.Keeper = keep
	if err := k.srv.Apply(k.set); err != nil {
		t.Fatal(err)
	}
	k.policy.message = func(tx *mail.Transaction) mail.Decision {
		d := harmless(tx)
		d.Envelope = []mail.EnvelopeEdit{redirect("x@far.example")}
		return d
	}
	k.hello().give("250", armed)
	if held := keep.all(); went(k.hop, far) != "far: x@far.example" || len(held) != 1 || held[0].to != "b@our.example " || strings.Contains(string(far.messages()[0].data), "DANGER") {
		t.Errorf("%s %+v", went(k.hop, far), held)
	}
	far.rcpt = func(mail.Recipient) mail.Reply { return mail.Permanent(550, "1.1", "no") }
	k.hello().give("451 4.3.5", armed)
	if len(keep.all()) != 1 || len(far.messages()) != 1 {
		t.Errorf("%+v", keep.all())
	}
}

// TestReaddressPanic: a fault of ours on the way ends this session alone, with
// nothing delivered and nothing left open.
func TestReaddressPanic(t *testing.T) {
	k, far := townKit(t, "inbound", redirect("x@far.example"))
	far.rcpt = func(mail.Recipient) mail.Reply { panic("a fault of ours") }
	c := k.hello()
	c.envelope()
	c.do("354", "DATA")
	c.send("Subject: x\r\n\r\nx\r\n.\r\n")
	if r := c.reply(); strings.HasPrefix(r, "2") {
		t.Error(r)
	}
	c.closed()
	if got := went(k.hop, far); got != "" {
		t.Error(got)
	}
}

// TestReaddressProperty: whatever the next hops answer, a 250 stands for
// exactly one message at one of them, and any other answer for none.
func TestReaddressProperty(t *testing.T) {
	k, far := townKit(t, "outbound")
	r := rand.New(rand.NewPCG(7, 11))
	replies := []mail.Reply{mail.OK(250, "1.5", "Ok"), mail.OK(250, "1.5", "Ok"), mail.OK(250, "1.5", "Ok"),
		mail.Permanent(550, "1.1", "no"), mail.Temporary(450, "2.0", "later"), mail.Temporary(452, "5.3", "many")}
	judged := false
	for _, h := range []*fakeHop{k.hop, far} {
		h.rcpt = func(mail.Recipient) mail.Reply {
			if !judged {
				return replies[0]
			}
			return replies[r.IntN(len(replies))]
		}
		h.final = func() mail.Outcome {
			return []mail.Outcome{{Kind: mail.Relayed}, {Kind: mail.Relayed}, {Kind: mail.Refused, Replies: []mail.Reply{mail.Permanent(554, "6.0", "no")}},
				{Kind: mail.Ambiguous, Replies: []mail.Reply{mail.Temporary(451, "4.2", "lost")}}, {Kind: mail.Aborted}}[r.IntN(5)]
		}
	}
	k.policy.message = func(*mail.Transaction) mail.Decision {
		judged = true
		var d mail.Decision
		for range r.IntN(4) {
			d.Envelope = append(d.Envelope, []mail.EnvelopeEdit{redirect("x"), redirect("x@far.example"), redirect("x@none.example"),
				bcc("y"), bcc("z"), bcc("list"), route("far"), route("inbound"), route("gone")}[r.IntN(9)])
		}
		return d
	}
	c := k.hello()
	yes := 0
	for range 400 {
		before := len(k.hop.messages()) + len(far.messages())
		judged = false
		c.do("250", "MAIL FROM:<a@sender.example>")
		c.do("250", "RCPT TO:<b@our.example>")
		c.do("250", "RCPT TO:<c@our.example>")
		c.do("354", "DATA")
		c.send("Subject: x\r\n\r\nx\r\n.\r\n")
		reply := c.reply()
		n := len(k.hop.messages()) + len(far.messages()) - before
		if ok := strings.HasPrefix(reply, "250 "); n > 1 || ok != (n == 1) {
			t.Fatalf("%q and %d delivered", reply, n)
		} else if ok {
			yes++
		} else if reply == "" || reply[0] != '4' && reply[0] != '5' {
			t.Fatalf("reply %q", reply)
		}
		if strings.HasPrefix(reply, "421") {
			c = k.hello()
		}
	}
	if yes < 50 || yes > 350 {
		t.Errorf("%d of 400 were relayed", yes)
	}
}
