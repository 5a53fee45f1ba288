package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

func outbound(tx *mail.Transaction) { tx.Role = mail.Outbound }

// TestWaitBudget: with every connection taken, a message waits and then is
// told 451 4.3.2; one that is given back is taken at once.
func TestWaitBudget(t *testing.T) {
	s := start(t, fakehop.Config{})
	c := testConfig(s.URL())
	c.MaxConnections, c.WaitBudget = 1, 20*time.Millisecond
	h, _ := hop(t, c)
	first := h.Begin(transaction())
	first.Rcpt(t.Context(), rcpt("a"))
	second := h.Begin(transaction())
	r, err := second.Rcpt(t.Context(), rcpt("a"))
	if r.Code != 451 || r.Enhanced != "4.3.2" || err == nil {
		t.Errorf("%v %v", r, err)
	}
	second.Abort()
	if o := first.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
		t.Errorf("%+v", o)
	}
	if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
		t.Errorf("%+v", o)
	}
}

// TestReserve: a flood from outside never takes the last fifth.
func TestReserve(t *testing.T) {
	s := start(t, fakehop.Config{})
	c := testConfig(s.URL())
	c.MaxConnections, c.WaitBudget = 5, 20*time.Millisecond
	h, _ := hop(t, c)
	for i := range 4 {
		if r, _ := h.Begin(transaction()).Rcpt(t.Context(), rcpt("a")); r.Code != 250 {
			t.Fatalf("inbound %d: %v", i, r)
		}
	}
	if r, _ := h.Begin(transaction()).Rcpt(t.Context(), rcpt("a")); r.Code != 451 {
		t.Errorf("inbound took a reserved slot: %v", r)
	}
	for _, role := range []mail.Role{mail.Outbound, mail.ContentFilter} {
		d := h.Begin(transaction(func(tx *mail.Transaction) { tx.Role = role }))
		if r, _ := d.Rcpt(t.Context(), rcpt("a")); r.Code != 250 {
			t.Errorf("%v: %v", role, r)
		}
		d.Abort()
		eventually(t, "slot is back", func() bool { return h.Stats().Busy == 4 })
	}
}

// TestFairQueue: first come, first served, and nobody overtakes.
func TestFairQueue(t *testing.T) {
	var p pool
	p.init(1, time.Hour, func(*conn) {})
	if _, err := p.acquire(t.Context(), want{priority: true}, time.Second); err != nil {
		t.Fatal(err)
	}
	order := make(chan int, 10)
	for i := range 10 {
		go func() {
			if _, err := p.acquire(context.Background(), want{priority: true}, time.Minute); err != nil {
				t.Error(err)
			}
			order <- i
		}()
		eventually(t, "queued", func() bool { _, _, w := p.stats(); return w == i+1 })
	}
	for i := range 10 {
		p.put(nil, true)
		if got := <-order; got != i {
			t.Fatalf("%d came as number %d", got, i)
		}
	}
}

// TestClientsTakeTurns: a client with many waiting sessions delays the others by
// one connection, whatever came first (attacks B-21).
func TestClientsTakeTurns(t *testing.T) {
	var p pool
	p.init(5, time.Hour, func(*conn) {})
	hostile, honest := turnOf(netip.MustParseAddr("192.0.2.1")), turnOf(netip.MustParseAddr("192.0.2.2"))
	if turnOf(netip.MustParseAddr("2001:db8:1:1::1")) != turnOf(netip.MustParseAddr("2001:db8:1:ff::1")) {
		t.Error("two networks of one customer are two clients")
	}
	for range 4 {
		p.acquire(t.Context(), want{client: hostile}, time.Second)
	}
	order := make(chan netip.Prefix, 50)
	wait := func(c netip.Prefix, n int) {
		go func() {
			if _, err := p.acquire(context.Background(), want{client: c}, time.Minute); err != nil {
				t.Error(err)
			}
			order <- c
		}()
		eventually(t, "queued", func() bool { _, _, w := p.stats(); return w == n })
	}
	for i := range 20 {
		wait(hostile, i+1)
	}
	p.put(nil, false)
	if got := <-order; got != hostile {
		t.Fatalf("%v came first", got)
	}
	wait(honest, 20)
	p.put(nil, false)
	if got := <-order; got != honest {
		t.Fatalf("%v had its turn twice", got)
	}
	for range 19 {
		p.put(nil, false)
		if got := <-order; got != hostile {
			t.Fatal(got)
		}
	}
	if _, _, w := p.stats(); w != 0 || len(p.turns) != 0 {
		t.Errorf("%d wait, %d are remembered", w, len(p.turns))
	}
	p.close()
}

// TestPriorityPassesWaitingInbound: inbound that waits for its own share does
// not hold up those the reserve is for.
func TestPriorityPassesWaitingInbound(t *testing.T) {
	var p pool
	p.init(5, time.Hour, func(*conn) {})
	for range 4 {
		p.acquire(t.Context(), want{}, time.Second)
	}
	got := make(chan error)
	go func() { _, err := p.acquire(context.Background(), want{}, time.Minute); got <- err }()
	eventually(t, "queued", func() bool { _, _, w := p.stats(); return w == 1 })
	if _, err := p.acquire(t.Context(), want{priority: true}, 0); err != nil {
		t.Error(err)
	}
	p.put(nil, false)
	if err := <-got; err != nil {
		t.Error(err)
	}
	p.close()
	if _, err := p.acquire(t.Context(), want{priority: true}, time.Second); err != errClosed {
		t.Errorf("after close: %v", err)
	}
}

// TestConnectionLimit: never more sockets than configured, under load, with
// connections that are dropped, refused and reset.
func TestConnectionLimit(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{"RCPT": {{}, {Reply: "550 5.7.1 no\r\n"}, {}, {Reply: "421 4.3.2 bye\r\n"}}, ".": {{}, {Reply: "451 4.3.0 x\r\n"}, {Silent: true, Drop: true}}}})
	c := testConfig(s.URL())
	c.MaxConnections, c.MaxUses = 5, 7
	own := NewOwnSockets()
	var mu sync.Mutex
	open, most := 0, 0
	h, _ := hop(t, c, func(o *Options) {
		o.Own = own
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			open++
			most = max(most, open)
			return &tracked{Conn: nc, closed: func() { mu.Lock(); open--; mu.Unlock() }}, nil
		}
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range 10 {
				d := h.Begin(transaction())
				d.Rcpt(t.Context(), rcpt(fmt.Sprint("r", i)))
				if i%5 == 0 {
					d.Park()
				}
				if i%7 == 0 {
					d.Abort()
				} else {
					d.Data(t.Context(), text(sample))
				}
			}
		})
	}
	wg.Wait()
	h.Close()
	mu.Lock()
	defer mu.Unlock()
	if most > 5 || open != 0 {
		t.Errorf("%d at once, %d left open", most, open)
	}
	if st := h.Stats(); st.Busy != 0 || st.Idle != 0 || st.Waiting != 0 || h.pool.total != 0 || h.pool.inbound != 0 {
		t.Errorf("%+v, total %d, inbound %d", st, h.pool.total, h.pool.inbound)
	}
	if len(own.set) != 0 {
		t.Errorf("own sockets left: %v", own.set)
	}
}

type tracked struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *tracked) Close() error { c.once.Do(c.closed); return c.Conn.Close() }

// TestIsolation is B-20: nothing of one transaction reaches the next.
func TestIsolation(t *testing.T) {
	s := start(t, fakehop.Config{})
	c := testConfig(s.URL())
	c.MaxConnections = 1
	h, _ := hop(t, c)
	d := h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("secret"))
	d.Abort() // with a recipient accepted
	if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
		t.Fatalf("%+v", o)
	}
	if got := strings.Join(s.Accepted()[0].To, " "); got != "a@our.example" {
		t.Errorf("delivered to %s", got)
	}
	cmds := strings.Join(s.Conns()[0].Commands(), "|")
	if len(s.Conns()) != 1 || !strings.Contains(cmds, "RCPT TO:<secret@our.example>|RSET|MAIL") {
		t.Errorf("%d connections, %s", len(s.Conns()), cmds)
	}
}

// TestResetRefused: a connection whose RSET fails is not used again.
func TestResetRefused(t *testing.T) {
	for _, a := range []fakehop.Action{{Reply: "502 5.5.1 what\r\n"}, {Reply: "250 a\r\n250 b\r\n"}, {Silent: true, Drop: true}} {
		s := start(t, fakehop.Config{Script: script{"RSET": {a}}})
		h, _ := hop(t, testConfig(s.URL()))
		d := h.Begin(transaction())
		d.Rcpt(t.Context(), rcpt("secret"))
		d.Abort()
		eventually(t, "closed", func() bool { return h.Stats().Busy == 0 })
		send(t, h, transaction(), "a")
		if len(s.Conns()) != 2 {
			t.Errorf("%+v: %d connections", a, len(s.Conns()))
		}
	}
}

// TestUnaskedOctets: a connection that says more than it was asked is out of
// step and goes, though the message was taken.
func TestUnaskedOctets(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{".": {{Reply: "250 2.0.0 Ok\r\n250 2.0.0 again\r\n"}}}})
	h, _ := hop(t, testConfig(s.URL()))
	for range 2 {
		if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
	}
	if len(s.Conns()) != 2 {
		t.Errorf("%d connections", len(s.Conns()))
	}
}

// TestStaleReply: octets that come while the connection is idle would be read
// as MAIL's answer, and MAIL's as RCPT's: such a connection is not used again.
func TestStaleReply(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{".": {{Reply: "250 2.0.0 Ok\r\n"}}}})
	h, _ := hop(t, testConfig(s.URL()))
	send(t, h, transaction(), "a")
	late(t, s, "250 2.0.0 late\r\n")
	_, o := send(t, h, transaction(), "b")
	if o.Kind != mail.Relayed || len(s.Accepted()) != 2 || len(s.Conns()) != 2 {
		t.Errorf("%+v, %d accepted, %d connections", o, len(s.Accepted()), len(s.Conns()))
	}
}

// TestAnswerBeforeTheDot: a reply that stands behind 354, or comes while the
// body goes out, is never the answer to the dot, which is not sent.
func TestAnswerBeforeTheDot(t *testing.T) {
	for said, want := range map[string]string{"250 2.0.0 early": "451", "550 5.7.1 no": "550", "421 4.3.2 bye": "451", "nonsense": "451"} {
		s := start(t, fakehop.Config{Script: script{"DATA": {{Reply: "354 go\r\n" + said + "\r\n"}}}})
		h, _ := hop(t, testConfig(s.URL()))
		_, o := send(t, h, transaction(), "a")
		if o.Kind != mail.Refused || !strings.HasPrefix(o.Replies[0].String(), want) {
			t.Errorf("%q: %+v", said, o)
		}
		if strings.Contains(s.Conns()[0].Transcript(), "\r\n.\r\n") {
			t.Errorf("%q: the dot went out", said)
		}
		if _, o := send(t, h, transaction(), "b"); o.Kind != mail.Relayed || len(s.Conns()) != 2 {
			t.Errorf("%q: the next client met it: %+v", said, o)
		}
	}
}

// TestOneReplyTooMany to MAIL and RCPT: nothing is built upon it.
func TestOneReplyTooMany(t *testing.T) {
	s := start(t, fakehop.Config{Extensions: []string{"PIPELINING"}, Script: script{"RCPT": {{Reply: "250 2.1.5 ok\r\n250 2.1.5 again\r\n"}}}})
	h, _ := hop(t, testConfig(s.URL()))
	if answers, o := send(t, h, transaction(), "a"); answers[0].Code != 451 || o.Kind == mail.Relayed || s.Count("DATA") > 0 {
		t.Errorf("%v %+v", answers, o)
	}
}

// TestReplayTooBig: a size that is known only after the upload and that the
// next hop refuses is refused, not deferred for days.
func TestReplayTooBig(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{"MAIL": {{}, {Reply: "552 5.3.4 too big\r\n"}}}})
	h, _ := hop(t, testConfig(s.URL()))
	d := h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	d.Park()
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Refused || o.Replies[0].Code != 552 || s.Count("DATA") > 0 {
		t.Errorf("%+v", o)
	}
}

// late sends octets on the only open connection of the server.
func late(t *testing.T, s *fakehop.Server, octets string) {
	t.Helper()
	if err := s.Inject(octets); err != nil {
		t.Fatal(err)
	}
}

// TestDeadIdle is B-19: closed, 421, or half-open; retried once, on a fresh
// connection, unseen by the client.
func TestDeadIdle(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		s := start(t, fakehop.Config{})
		h, l := hop(t, testConfig(s.URL()))
		send(t, h, transaction(), "a")
		s.CloseConns()
		eventually(t, "closed", s.Conns()[0].Ended)
		if _, o := send(t, h, transaction(), "b"); o.Kind != mail.Relayed || len(s.Conns()) != 2 || len(s.Accepted()) != 2 {
			t.Errorf("%+v", o)
		}
		if len(l.lines) > 0 {
			t.Error(l.lines)
		}
	})
	t.Run("421", func(t *testing.T) {
		s := start(t, fakehop.Config{Script: script{"MAIL": {{}, {Reply: "421 4.4.2 timeout\r\n", Drop: true}}}})
		h, _ := hop(t, testConfig(s.URL()))
		send(t, h, transaction(), "a")
		if _, o := send(t, h, transaction(), "b"); o.Kind != mail.Relayed || len(s.Conns()) != 2 {
			t.Errorf("%+v", o)
		}
	})
	t.Run("silent", func(t *testing.T) {
		s := start(t, fakehop.Config{Script: script{"MAIL": {{}, {Silent: true, Hang: true}}}})
		h, _ := hop(t, impatient(s.URL()))
		send(t, h, transaction(), "a")
		if _, o := send(t, h, transaction(), "b"); o.Kind != mail.Relayed || len(s.Conns()) != 2 {
			t.Errorf("%+v", o)
		}
	})
	t.Run("once only", func(t *testing.T) {
		bye := fakehop.Action{Reply: "421 4.4.2 timeout\r\n", Drop: true}
		s := start(t, fakehop.Config{Script: script{"MAIL": {{}, bye, bye}}})
		h, _ := hop(t, testConfig(s.URL()))
		send(t, h, transaction(), "a")
		if answers, _ := send(t, h, transaction(), "b"); answers[0].Code != 451 || len(s.Conns()) != 2 {
			t.Errorf("%v, %d connections", answers, len(s.Conns()))
		}
	})
	t.Run("not after an accepted recipient", func(t *testing.T) {
		s := start(t, fakehop.Config{Script: script{"RCPT": {{}, {}, {Silent: true, Drop: true}}}})
		h, _ := hop(t, testConfig(s.URL()))
		send(t, h, transaction(), "a")
		answers, o := send(t, h, transaction(), "b", "c")
		if answers[0].Code != 250 || answers[1].Code != 451 || o.Kind != mail.Refused || len(s.Conns()) != 1 {
			t.Errorf("%v %+v", answers, o)
		}
	})
	t.Run("not a first connection", func(t *testing.T) {
		s := start(t, fakehop.Config{Script: script{"MAIL": {{Silent: true, Drop: true}}}})
		h, _ := hop(t, testConfig(s.URL()))
		if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 || len(s.Conns()) != 1 {
			t.Errorf("%v", answers)
		}
	})
}

func TestIdleTimeoutAndMaxUses(t *testing.T) {
	s := start(t, fakehop.Config{})
	c := testConfig(s.URL())
	c.IdleTimeout = 20 * time.Millisecond
	h, _ := hop(t, c)
	send(t, h, transaction(), "a")
	eventually(t, "QUIT after the idle time", func() bool { return s.Count("QUIT") == 1 && h.Stats().Idle == 0 })

	c = testConfig(s.URL())
	c.MaxUses = 2
	h, _ = hop(t, c)
	for range 4 {
		send(t, h, transaction(), "a")
	}
	eventually(t, "QUIT after two uses", func() bool { return s.Count("QUIT") == 3 })
	if n := len(s.Conns()); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// TestCloseTurnsAway: what waits is answered, what runs may end.
func TestCloseTurnsAway(t *testing.T) {
	s := start(t, fakehop.Config{})
	c := testConfig(s.URL())
	c.MaxConnections = 1
	h, _ := hop(t, c)
	d := h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	got := make(chan mail.Reply)
	go func() {
		r, _ := h.Begin(transaction(outbound)).Rcpt(context.Background(), rcpt("b"))
		got <- r
	}()
	eventually(t, "one waits", func() bool { return h.Stats().Waiting == 1 })
	h.Close()
	if r := <-got; r.Code != 451 {
		t.Errorf("%v", r)
	}
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
		t.Errorf("%+v", o)
	}
	eventually(t, "its connection is closed with QUIT", func() bool { return s.Count("QUIT") == 1 })
	if _, o := send(t, h, transaction(), "a"); o.Replies[0].Code != 451 {
		t.Errorf("%+v", o)
	}
}

// TestUnknownRecipients: 550 5.1.1 alone is remembered, for ten minutes.
func TestUnknownRecipients(t *testing.T) {
	for reply, asked := range map[string]int{
		"550 5.1.1 unknown\r\n": 1, "550 5.7.1 policy\r\n": 2, "550 no code\r\n": 2, "551 5.1.1 x\r\n": 2, "450 4.1.1 later\r\n": 2, "554 5.1.1 x\r\n": 2,
	} {
		s := start(t, fakehop.Config{Always: map[string]fakehop.Action{"RCPT": {Reply: reply}}})
		h, _ := hop(t, testConfig(s.URL()))
		first, _ := send(t, h, transaction(), "a")
		second, _ := send(t, h, transaction(), "a")
		if s.Count("RCPT") != asked || first[0] != second[0] {
			t.Errorf("%q: asked %d times, %v %v", reply, s.Count("RCPT"), first, second)
		}
		if asked > 1 {
			continue
		}
		send(t, h, transaction(), "other")
		if s.Count("RCPT") != 2 {
			t.Error("another recipient was not asked for")
		}
		h.unknown.now = func() time.Time { return time.Now().Add(unknownFor) }
		send(t, h, transaction(), "a")
		if s.Count("RCPT") != 3 {
			t.Error("not asked again after its time")
		}
		h.unknown.now = time.Now
		send(t, h, transaction(), "b")
		h.ForgetUnknown()
		if send(t, h, transaction(), "b"); s.Count("RCPT") != 5 {
			t.Error("not asked again after it was forgotten")
		}
		if send(t, h, transaction(), "b"); s.Count("RCPT") != 5 {
			t.Error("nothing is remembered any more")
		}
	}
}

// TestRetireServes: the slot that a waiter may have is his at once, though the
// farewell of another connection takes its time.
func TestRetireServes(t *testing.T) {
	var p pool
	leave := make(chan struct{})
	p.init(5, time.Minute, func(*conn) { <-leave })
	for range 4 { // as many as inbound mail may have
		if _, err := p.acquire(context.Background(), want{}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan error, 1)
	go func() {
		_, err := p.acquire(context.Background(), want{}, time.Minute)
		got <- err
	}()
	eventually(t, "somebody waits", p.wanted)
	p.retire(&conn{}, false)
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Error("he waits for the farewell")
	}
	close(leave)
	p.close()
}

func TestUnknownRecipientsBound(t *testing.T) {
	var u unknownRecipients
	u.init()
	no := mail.Permanent(550, "1.1", "x")
	for i := range maxUnknown + 100 {
		u.add(rcpt(fmt.Sprint(i)).Path, no)
	}
	if len(u.set) != maxUnknown || len(u.ring) != maxUnknown {
		t.Errorf("%d, %d", len(u.set), len(u.ring))
	}
	if _, ok := u.get(rcpt("99").Path); ok {
		t.Error("the oldest stayed")
	}
	if _, ok := u.get(rcpt("100").Path); !ok {
		t.Error("too much was dropped")
	}
	if _, ok := u.get(mail.Path{Local: "100", Domain: "OUR.example"}); !ok {
		t.Error("the domain's case counts")
	}
}

// TestPark: the connection is free during the upload; the envelope is played
// again, and only the same answers let the message go.
func TestPark(t *testing.T) {
	for _, ext := range [][]string{{"PIPELINING", "XFORWARD ADDR", "SIZE"}, {"XFORWARD ADDR", "SIZE"}} {
		s := start(t, fakehop.Config{Extensions: ext, Always: map[string]fakehop.Action{"RCPT:no@our.example": {Reply: "550 5.7.1 no\r\n"}}})
		c := testConfig(s.URL())
		c.MaxConnections = 1
		h, _ := hop(t, c)
		d := h.Begin(transaction())
		to := []string{}
		for i := range 120 {
			to = append(to, fmt.Sprintf("r%d@our.example", i))
			d.Rcpt(t.Context(), rcpt(fmt.Sprintf("r%d", i)))
		}
		d.Rcpt(t.Context(), rcpt("no"))
		d.Park()
		if _, o := send(t, h, transaction(), "between"); o.Kind != mail.Relayed {
			t.Fatalf("the connection is not free: %+v", o)
		}
		if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
		m := s.Accepted()[1]
		if strings.Join(m.To, " ") != strings.Join(to, " ") || string(m.Data) != sample || m.FromParams != fmt.Sprintf("SIZE=%d", len(sample)) || len(m.XForward) != 1 {
			t.Errorf("%+v", m)
		}
	}
}

// TestRcptAfterPark: a client that was silent and then names one recipient
// more finds its transaction as it was.
func TestRcptAfterPark(t *testing.T) {
	for _, first := range []string{"a", "no"} {
		s := start(t, fakehop.Config{Extensions: []string{"PIPELINING"}, Always: map[string]fakehop.Action{"RCPT:no@our.example": {Reply: "550 5.7.1 no\r\n"}}})
		c := testConfig(s.URL())
		c.MaxConnections = 1
		h, _ := hop(t, c)
		d := h.Begin(transaction())
		d.Rcpt(t.Context(), rcpt(first))
		d.Park()
		if _, o := send(t, h, transaction(), "between"); o.Kind != mail.Relayed {
			t.Fatalf("the connection is not free: %+v", o)
		}
		if r, err := d.Rcpt(t.Context(), rcpt("b")); err != nil || r.Code != 250 {
			t.Fatalf("%v %v", r, err)
		}
		if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
			t.Fatalf("%+v", o)
		}
		want := "a@our.example b@our.example"
		if first == "no" {
			want = "b@our.example"
		}
		if got := strings.Join(s.Accepted()[1].To, " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	s := start(t, fakehop.Config{Script: script{"RCPT:a@our.example": {{}, {Reply: "550 5.7.1 now no\r\n"}}}})
	h, _ := hop(t, testConfig(s.URL()))
	d := h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	d.Park()
	if r, err := d.Rcpt(t.Context(), rcpt("b")); err == nil || r.Code != 451 {
		t.Errorf("a changed answer: %v %v", r, err)
	}
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Refused || s.Count("DATA") > 0 {
		t.Errorf("%+v", o)
	}
	eventually(t, "slot is free", func() bool { return h.Stats().Busy == 0 })
}

// TestForget: recipients that were accepted and taken back are not in the
// transaction, an equal one that was asked for by itself is, and the
// connection is free meanwhile.
func TestForget(t *testing.T) {
	s := start(t, fakehop.Config{})
	c := testConfig(s.URL())
	c.MaxConnections = 1
	h, _ := hop(t, c)
	d := h.Begin(transaction())
	for _, l := range []string{"a", "b", "c", "b", "d"} {
		d.Rcpt(t.Context(), rcpt(l))
	}
	d.Forget([]mail.Recipient{rcpt("b"), rcpt("d"), rcpt("never")})
	if _, o := send(t, h, transaction(), "between"); o.Kind != mail.Relayed {
		t.Fatalf("the connection is not free: %+v", o)
	}
	if r, err := d.Rcpt(t.Context(), rcpt("e")); err != nil || r.Code != 250 {
		t.Fatalf("%v %v", r, err)
	}
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
		t.Fatalf("%+v", o)
	}
	if got := strings.Join(s.Accepted()[1].To, " "); got != "a@our.example b@our.example c@our.example e@our.example" {
		t.Error(got)
	}
	// Nothing left: no message, and the transaction can still grow.
	d = h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	d.Forget([]mail.Recipient{rcpt("a")})
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Refused || o.Replies[0].Code != 554 || len(s.Accepted()) != 2 {
		t.Errorf("%+v", o)
	}
	d.Forget(nil) // after the end: nothing happens
	d = h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	d.Forget([]mail.Recipient{rcpt("a")})
	d.Rcpt(t.Context(), rcpt("b"))
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed || strings.Join(s.Accepted()[2].To, " ") != "b@our.example" {
		t.Errorf("%+v", o)
	}
	eventually(t, "slot is free", func() bool { return h.Stats().Busy == 0 })
}

func TestParkChangedAnswers(t *testing.T) {
	for name, sc := range map[string]script{
		"MAIL refused":    {"MAIL": {{}, {Reply: "550 5.7.1 now no\r\n"}}},
		"RCPT refused":    {"RCPT:b@our.example": {{}, {Reply: "550 5.7.1 now no\r\n"}}},
		"RCPT later":      {"RCPT:a@our.example": {{}, {Reply: "450 4.7.1 later\r\n"}}},
		"421":             {"RCPT:b@our.example": {{}, {Reply: "421 4.7.1 bye\r\n", Drop: true}}},
		"XFORWARD":        {"XFORWARD": {{}, {Reply: "550 5.7.1 no\r\n"}}},
		"gone":            {"MAIL": {{}, {Silent: true, Drop: true}}},
		"SMTPUTF8 is out": {"EHLO": {{}, {Reply: "250 fake.example\r\n"}}, "RSET": {{Drop: true, Silent: true}}},
	} {
		for _, pipelining := range []string{"PIPELINING", "HELP"} {
			t.Run(name+" "+pipelining, func(t *testing.T) {
				s := start(t, fakehop.Config{Extensions: []string{pipelining, "XFORWARD ADDR", "8BITMIME", "SMTPUTF8"}, Script: sc})
				h, l := hop(t, testConfig(s.URL()))
				d := h.Begin(transaction(func(tx *mail.Transaction) { tx.Params.SMTPUTF8 = true }))
				d.Rcpt(t.Context(), rcpt("a"))
				d.Rcpt(t.Context(), rcpt("b"))
				d.Park()
				eventually(t, "parked", func() bool { return h.Stats().Busy == 0 })
				o := d.Data(t.Context(), text(sample))
				if o.Kind != mail.Refused || o.Replies[0].Code != 451 || s.Count("DATA") > 0 {
					t.Errorf("%+v", o)
				}
				if len(l.lines) == 0 {
					t.Error("no alert")
				}
				eventually(t, "slot is free", func() bool { return h.Stats().Busy == 0 })
			})
		}
	}
}

// TestOwnListener: a next hop that is ourselves is refused, at start and at run.
func TestOwnListener(t *testing.T) {
	s := start(t, fakehop.Config{})
	port := s.AddrPort().Port()
	for _, listen := range []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("0.0.0.0:%d", port), fmt.Sprintf("[::]:%d", port), fmt.Sprintf("[::ffff:127.0.0.1]:%d", port)} {
		own := func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(listen)} }
		_, err := New(Options{Name: "loop", Config: testConfig(s.URL()), Hostname: "gw.example", ListenAddrs: own})
		if err == nil || !strings.Contains(err.Error(), "our own listener") {
			t.Errorf("%s: %v", listen, err)
		}
		// By a name only the connection tells.
		c := testConfig(fmt.Sprintf("smtp://loop.example:%d", port))
		h, l := hop(t, c, func(o *Options) {
			o.ListenAddrs = own
			o.Lookup = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")}, nil
			}
		})
		if err := h.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "our own listener") {
			t.Errorf("%s: probe: %v", listen, err)
		}
		if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 || !l.has("our own listener") {
			t.Errorf("%s: %v", listen, answers)
		}
	}
	if len(s.Conns()) != 0 {
		t.Error("connected to ourselves")
	}
	free := func() []netip.AddrPort {
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort(fmt.Sprintf("192.0.2.1:%d", port))}
	}
	if _, err := New(Options{Name: "ok", Config: testConfig(s.URL()), Hostname: "gw.example", ListenAddrs: free}); err != nil {
		t.Error(err)
	}
}

// TestEveryAddressIsTried: the first address is dead, the second answers.
func TestEveryAddressIsTried(t *testing.T) {
	s := start(t, fakehop.Config{})
	c := testConfig(fmt.Sprintf("smtp://two.example:%d", s.AddrPort().Port()))
	h, _ := hop(t, c, func(o *Options) {
		o.Lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.77"), netip.MustParseAddr("127.0.0.1")}, nil
		}
	})
	if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed || !strings.HasPrefix(o.NextHop, "two.example[127.0.0.1]:") {
		t.Errorf("%+v", o)
	}
	h, _ = hop(t, c, func(o *Options) {
		o.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, fmt.Errorf("no such host") }
	})
	if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 {
		t.Errorf("%v", answers)
	}
}

// TestOwnSockets: a relay's socket is known from dial to close.
func TestOwnSockets(t *testing.T) {
	s := start(t, fakehop.Config{})
	own := NewOwnSockets()
	h, _ := hop(t, testConfig(s.URL()), func(o *Options) { o.Own = own })
	send(t, h, transaction(), "a")
	near, far := h.pool.idle[0].near, h.pool.idle[0].far
	mapped := netip.AddrPortFrom(netip.AddrFrom16(near.Addr().As16()), near.Port())
	other := netip.MustParseAddrPort("127.0.0.1:1")
	if !own.Contains(near, far) || !own.Contains(mapped, far) || own.Contains(near, other) || own.Contains(other, far) {
		t.Error("Contains")
	}
	h.Close()
	if own.Contains(near, far) {
		t.Error("still there after close")
	}
	var none *OwnSockets
	none.Add(near, far)
	none.Remove(near, far)
	if none.Contains(near, far) {
		t.Error("nil contains")
	}
}

// TestShowRepliesOff hides text and queue id from the client, not from the log.
func TestShowRepliesOff(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{
		"RCPT": {{}, {Reply: "550 5.1.1 no user on host7.internal\r\n"}}, ".": {{}, {Reply: "554 5.7.1 seen by host7.internal\r\n"}}}})
	c := testConfig(s.URL())
	c.ShowReplies = false
	h, _ := hop(t, c)
	answers, o := send(t, h, transaction(), "a", "no", "no")
	if o.Kind != mail.Relayed || o.Replies[0].String() != "250 2.0.0 Ok" || o.QueueID != "FAKE1" {
		t.Errorf("%+v", o)
	}
	for _, r := range answers[1:] {
		if r.Code != 550 || r.Enhanced != "5.1.1" || strings.Contains(r.Text, "host7") {
			t.Errorf("%v", r)
		}
	}
	_, o = send(t, h, transaction(), "b")
	if o.Replies[0].Code != 554 || strings.Contains(o.Replies[0].Text, "host7") || !strings.Contains(o.NextHopReply, "host7") {
		t.Errorf("%+v", o)
	}
}

// TestAlertsAreBounded: a dead next hop under load does not flood the log.
func TestAlertsAreBounded(t *testing.T) {
	s := start(t, fakehop.Config{Always: map[string]fakehop.Action{"CONNECT": {Reply: "554 5.7.1 no\r\n"}}})
	h, l := hop(t, testConfig(s.URL()))
	for range 50 {
		send(t, h, transaction(), "a")
	}
	if len(l.lines) != 1 || !strings.Contains(l.lines[0], "554 5.7.1 no") {
		t.Errorf("%d alerts: %q", len(l.lines), l.lines)
	}
}

// TestEndedDelivery: misuse is answered, not obeyed.
func TestEndedDelivery(t *testing.T) {
	s := start(t, fakehop.Config{})
	h, _ := hop(t, testConfig(s.URL()))
	d := h.Begin(transaction())
	d.Abort()
	d.Park()
	if r, err := d.Rcpt(t.Context(), rcpt("a")); r.Code != 451 || err == nil {
		t.Errorf("%v", r)
	}
	d = h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	d.Data(t.Context(), text(sample))
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Refused || o.Replies[0].Code != 451 {
		t.Errorf("%+v", o)
	}
	d.Abort()
	if len(s.Accepted()) != 1 || h.Stats().Idle != 1 {
		t.Errorf("%d accepted, %+v", len(s.Accepted()), h.Stats())
	}
}

// TestThreeWrites: a small message over a pooled connection costs three
// writes: MAIL with RCPT, DATA, the body with its dot.
func TestThreeWrites(t *testing.T) {
	s := start(t, fakehop.Config{Extensions: []string{"PIPELINING", "XFORWARD NAME ADDR PROTO HELO"}})
	var n *counting
	h, _ := hop(t, testConfig(s.URL()), func(o *Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			n = &counting{Conn: nc}
			return n, err
		}
	})
	send(t, h, transaction(), "a")
	n.writes = 0
	if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed || n.writes != 3 {
		t.Errorf("%d writes, %+v", n.writes, o)
	}
}

func TestLeadsTo(t *testing.T) {
	there := netip.MustParseAddr("192.0.2.7")
	c := testConfig("smtp://192.0.2.7:25")
	h, _ := hop(t, c)
	if port, yes := h.LeadsTo(there); !yes || port != 25 {
		t.Errorf("%d %v", port, yes)
	}
	if _, yes := h.LeadsTo(netip.MustParseAddr("192.0.2.8")); yes {
		t.Error("another machine")
	}
	h, _ = hop(t, testConfig("smtp://127.0.0.1:25"))
	if _, yes := h.LeadsTo(netip.MustParseAddr("127.0.0.1")); yes {
		t.Error("loopback tells nothing")
	}
	h, _ = hop(t, testConfig("smtp://next.example:26"), func(o *Options) {
		o.Lookup = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{there}, nil }
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, fmt.Errorf("refused") }
	})
	if _, yes := h.LeadsTo(there); yes {
		t.Error("before any look-up")
	}
	h.Probe(t.Context())
	if port, yes := h.LeadsTo(there); !yes || port != 26 {
		t.Errorf("after a look-up: %d %v", port, yes)
	}
}

// TestFault: mail that finds the next hop down is as good a sign as a probe.
func TestFault(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{"CONNECT": {{Reply: "421 4.3.2 no\r\n", Drop: true}}}})
	h, l := hop(t, testConfig(s.URL()))
	if h.Fault() != nil {
		t.Error("before the first connection")
	}
	if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 || h.Fault() == nil {
		t.Errorf("%v, fault %v", answers, h.Fault())
	}
	if err := h.Probe(t.Context()); err != nil || h.Fault() != nil || len(l.news) != 1 {
		t.Errorf("%v, fault %v, told %v", err, h.Fault(), l.news)
	}
}

// TestTimeIsForEachReply: a next hop that takes its time over each recipient,
// but less than command_timeout, is not cut off over all of them.
func TestTimeIsForEachReply(t *testing.T) {
	t.Parallel()
	s := start(t, fakehop.Config{Extensions: []string{"PIPELINING"}, Always: map[string]fakehop.Action{"RCPT": {Delay: 600 * time.Millisecond}}})
	c := testConfig(s.URL())
	c.CommandTimeout = 2500 * time.Millisecond
	h, _ := hop(t, c)
	d := h.Begin(transaction())
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if r, err := d.Rcpt(t.Context(), rcpt(name)); err != nil || r.Code != 250 {
			t.Fatalf("%v %v", r, err)
		}
	}
	d.Park() // the replay asks for all of them in one group
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
		t.Errorf("%+v", o)
	}
}

// TestCachedTextIsPlain: a 550 that was said under SMTPUTF8 may be shown to a
// client that did not ask for it.
func TestCachedTextIsPlain(t *testing.T) {
	var u unknownRecipients
	u.init()
	p := mail.Path{Local: "x", Domain: "our.example"}
	u.add(p, mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "no está"})
	if r, ok := u.get(p); !ok || r.Text != "no est?" {
		t.Errorf("%q %v", r.Text, ok)
	}
}

// TestTurnsAreBounded: clients that come and go for days, while somebody
// always waits, leave no more behind than maxTurns.
func TestTurnsAreBounded(t *testing.T) {
	var p pool
	p.init(1, time.Minute, func(*conn) {})
	from := func(i int) want {
		return want{client: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)}
	}
	if _, err := p.acquire(t.Context(), from(0), time.Minute); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range maxTurns + 100 {
		for p.waiting.Len() < 2 {
			p.waiting.PushBack(&waiter{want: from(i + p.waiting.Len()), granted: make(chan grant, 1)})
		}
		p.busy, p.inbound, p.total = 0, 0, 0
		p.serve()
		if len(p.turns) > maxTurns {
			t.Fatalf("%d are remembered", len(p.turns))
		}
	}
	if len(p.turns) == 0 {
		t.Error("none is")
	}
}
