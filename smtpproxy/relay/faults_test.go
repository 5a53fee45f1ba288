package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

type script = map[string][]fakehop.Action

// impatient is for the rows in which the next hop does not answer.
func impatient(url string) Config {
	c := testConfig(url)
	c.ConnectTimeout, c.CommandTimeout = 2*time.Second, 1500*time.Millisecond
	c.DataTimeout, c.FinalTimeout = time.Second, time.Second
	return c
}

// noDot fails when a connection that had begun a message saw its end, or when
// QUIT followed an unfinished one.
func noDot(t *testing.T, s *fakehop.Server) {
	t.Helper()
	if n := len(s.Accepted()); n != 0 {
		t.Errorf("%d messages accepted", n)
	}
	for _, c := range s.Conns() {
		if _, body, ok := strings.Cut(c.Transcript(), "DATA\r\n"); ok && strings.Contains("\r\n"+body, "\r\n.\r\n") {
			t.Errorf("the dot was sent: %q", body)
		}
	}
}

// TestFaultTable is the fault table before the end of data: what the next hop
// does at each step, and what the client is told at RCPT and at its own end of
// data. Nothing is delivered in any row.
func TestFaultTable(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	type row struct {
		verb       string
		a          fakehop.Action
		rcpt, data int // codes
		alert      bool
	}
	var rows []row
	add := func(verb, reply string, rcpt, data int, alert bool) {
		rows = append(rows, row{verb, fakehop.Action{Reply: reply}, rcpt, data, alert})
	}
	nonsense := []string{"000 x\r\n", "999 x\r\n", "hello\r\n", "\r\n", "150 x\r\n", "250ok\r\n", "250 ok\n",
		"250-a\r\n451 b\r\n", "\x00\x01\x02\r\n", "250 " + long + "\r\n", strings.Repeat("250-x\r\n", 50000)}
	for _, verb := range []string{"CONNECT", "EHLO", "XFORWARD", "MAIL", "RCPT"} {
		for _, n := range nonsense {
			add(verb, n, 451, 451, true)
		}
		add(verb, "421 4.3.2 shutting down\r\n", 451, 451, true)
		add(verb, "354 go\r\n", 451, 451, true)
		add(verb, "334 go\r\n", 451, 451, true)
		rows = append(rows,
			row{verb, fakehop.Action{Silent: true, Drop: true}, 451, 451, true},
			row{verb, fakehop.Action{Silent: true, Reset: true}, 451, 451, true},
			row{verb, fakehop.Action{Silent: true, Hang: true}, 451, 451, true},
			row{verb, fakehop.Action{Reply: "25", Drop: true}, 451, 451, true},
			row{verb, fakehop.Action{Reply: "250 o", Drop: true}, 451, 451, true},
			row{verb, fakehop.Action{Reply: "250-a\r\n", Drop: true}, 451, 451, true})
	}
	// Our trouble with the next hop is never the sender's 5xx.
	add("CONNECT", "554 5.7.1 go away\r\n", 451, 451, true)
	add("CONNECT", "450 4.3.2 busy\r\n", 451, 451, true)
	add("CONNECT", "250 hello\r\n", 451, 451, true)
	add("CONNECT", "220 a\r\n250 b\r\n", 451, 451, true)
	add("EHLO", "450 4.3.2 later\r\n", 451, 451, true)
	add("EHLO", "220 odd\r\n", 250, 0, false) // 2xx is taken
	add("EHLO", "530 5.7.0 TLS first\r\n", 250, 0, false)
	add("XFORWARD", "550 5.7.1 not authorised\r\n", 451, 451, true)
	add("XFORWARD", "501 5.5.4 bad\r\n", 451, 451, true)
	add("XFORWARD", "450 4.7.1 later\r\n", 451, 451, true)
	for _, verb := range []string{"MAIL", "RCPT"} {
		add(verb, "450 4.7.1 greylisted\r\n", 450, 554, false)
		add(verb, "452 4.3.1 full\r\n", 452, 554, false)
		add(verb, "550 5.7.1 no\r\n", 550, 554, false)
		add(verb, "500 5.3.0 Error: command failed\r\n", 500, 554, false)
		add(verb, "553 5.1.8 bad sender\r\n", 553, 554, false)
		add(verb, "552 5.2.2 mailbox full\r\n", 552, 554, false)
		add(verb, "503 5.5.1 need HELO\r\n", 451, 451, true)
		add(verb, "530 5.7.0 must issue STARTTLS\r\n", 451, 451, true)
	}
	for _, n := range append(nonsense, "250 ok\r\n", "334 go\r\n", "421 4.3.2 bye\r\n", "500 5.5.1 what\r\n", "503 5.5.1 order\r\n", "530 5.7.0 TLS\r\n", "521 5.2.1 no\r\n") {
		add("DATA", n, 250, 451, true)
	}
	add("DATA", "450 4.3.0 later\r\n", 250, 450, false)
	add("DATA", "452 4.3.1 full\r\n", 250, 452, false)
	add("DATA", "554 5.7.1 no\r\n", 250, 554, false)
	add("DATA", "550 5.7.1 no\r\n", 250, 550, false)
	for _, a := range []fakehop.Action{{Silent: true, Drop: true}, {Silent: true, Reset: true}, {Silent: true, Hang: true}, {Reply: "35", Drop: true}, {Reply: "354 go", Drop: true}} {
		rows = append(rows, row{"DATA", a, 250, 451, true})
	}
	for _, pipelining := range []bool{true, false} {
		for i, r := range rows {
			name := fmt.Sprintf("%s %d pipelining=%v %.30q", r.verb, i, pipelining, r.a.Reply)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ext := []string{"XFORWARD NAME ADDR PROTO HELO", "8BITMIME"}
				if pipelining {
					ext = append(ext, "PIPELINING")
				}
				s := start(t, fakehop.Config{Extensions: ext, Script: script{r.verb: {r.a}}})
				h, l := hop(t, impatient(s.URL()))
				answers, o := send(t, h, transaction(), "a")
				if answers[0].Code != r.rcpt {
					t.Errorf("RCPT was answered %v", answers[0])
				}
				if r.data == 0 {
					if o.Kind != mail.Relayed {
						t.Errorf("outcome %+v", o)
					}
					return
				}
				if o.Kind != mail.Refused || len(o.Replies) != 1 || o.Replies[0].Code != r.data {
					t.Errorf("outcome %+v", o)
				}
				if r.alert && len(l.lines) == 0 {
					t.Error("no alert")
				}
				if !r.alert && len(l.lines) > 0 {
					t.Errorf("alert %q", l.lines)
				}
				for _, rep := range append(answers, o.Replies...) {
					if strings.ContainsAny(rep.Text, "\r\n\x00\x1b") || len(rep.Text) > maxTextShown {
						t.Errorf("text %q", rep.Text)
					}
					if rep.Code == 451 && strings.Contains(rep.Text, "127.0.0.1") {
						t.Errorf("a stranger is told %q", rep.Text)
					}
				}
				noDot(t, s)
				eventually(t, "all slots are free", func() bool { return h.Stats().Busy == 0 })
				// And it works again without a restart (B-01, B-31).
				if _, o := send(t, h, transaction(), "z"); o.Kind != mail.Relayed {
					t.Errorf("afterwards: %+v", o)
				}
			})
		}
	}
}

// TestEndOfData is the fault table of the final dot.
func TestEndOfData(t *testing.T) {
	type want struct {
		kind mail.OutcomeKind
		code int
	}
	relayed, ambiguous := want{mail.Relayed, 250}, want{mail.Ambiguous, 451}
	rows := []struct {
		name string
		a    fakehop.Action
		want want
	}{
		{"250", fakehop.Action{Reply: "250 2.0.0 Ok: queued as ABC\r\n"}, relayed},
		{"250 without text", fakehop.Action{Reply: "250\r\n"}, relayed},
		{"250 in two lines", fakehop.Action{Reply: "250-a\r\n250 b\r\n"}, relayed},
		{"250 octet by octet", fakehop.Action{Reply: "250-a\r\n250 b\r\n", Drip: true}, relayed},
		{"251", fakehop.Action{Reply: "251 2.1.5 x\r\n"}, want{mail.Relayed, 251}},
		{"252", fakehop.Action{Reply: "252 2.1.5 x\r\n"}, want{mail.Relayed, 252}},
		{"2xx with NUL and ANSI", fakehop.Action{Reply: "250 a\x00\x1b[31m\r\n"}, relayed},
		{"2xx of 10 KB", fakehop.Action{Reply: "250 " + strings.Repeat("x", 10<<10) + "\r\n"}, relayed},
		{"4xx", fakehop.Action{Reply: "451 4.3.0 later\r\n"}, want{mail.Refused, 451}},
		{"452", fakehop.Action{Reply: "452 4.3.1 full\r\n"}, want{mail.Refused, 452}},
		{"5xx", fakehop.Action{Reply: "554 5.7.1 spam\r\n"}, want{mail.Refused, 554}},
		{"500", fakehop.Action{Reply: "500 5.3.0 Error: command failed\r\n"}, want{mail.Refused, 500}},
		{"552", fakehop.Action{Reply: "552 5.3.4 too big\r\n"}, want{mail.Refused, 552}},
		{"421", fakehop.Action{Reply: "421 4.3.2 bye\r\n", Drop: true}, want{mail.Refused, 451}},
		{"503", fakehop.Action{Reply: "503 5.5.1 order\r\n"}, want{mail.Refused, 451}},
		{"354", fakehop.Action{Reply: "354 go\r\n"}, ambiguous},
		{"000", fakehop.Action{Reply: "000 x\r\n"}, ambiguous},
		{"999", fakehop.Action{Reply: "999 x\r\n"}, ambiguous},
		{"garbage", fakehop.Action{Reply: "\x00\x01\r\n"}, ambiguous},
		{"mixed", fakehop.Action{Reply: "250-a\r\n451 b\r\n"}, ambiguous},
		{"bare LF", fakehop.Action{Reply: "250 ok\n"}, ambiguous},
		{"drop", fakehop.Action{Silent: true, Drop: true}, ambiguous},
		{"RST", fakehop.Action{Silent: true, Reset: true}, ambiguous},
		{"hang", fakehop.Action{Silent: true, Hang: true}, ambiguous},
		{"endless", fakehop.Action{Reply: strings.Repeat("250-x\r\n", 50000)}, ambiguous},
	}
	for _, end := range []fakehop.Action{{Drop: true}, {Hang: true}, {Reset: true}} {
		// Cut after each octet of the reply: only the whole of it counts.
		const full = "250-2.0.0 a\r\n250 2.0.0 queued as X\r\n"
		for i := 1; i < len(full); i++ {
			if end.Hang && i%5 != 0 {
				continue
			}
			a := end
			a.Reply = full[:i]
			rows = append(rows, struct {
				name string
				a    fakehop.Action
				want want
			}{fmt.Sprintf("cut at %d %+v", i, end), a, ambiguous})
		}
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakehop.Config{Script: script{".": {r.a}}})
			h, l := hop(t, impatient(s.URL()))
			_, o := send(t, h, transaction(), "a")
			if o.Kind != r.want.kind || len(o.Replies) != 1 || o.Replies[0].Code != r.want.code {
				t.Fatalf("outcome %+v", o)
			}
			if o.Kind != mail.Relayed && len(o.Detail) == 0 || o.NextHopReply == "" || o.NextHop == "" {
				t.Errorf("outcome %+v", o)
			}
			if strings.ContainsAny(o.NextHopReply+o.Replies[0].Text, "\x00\x1b\r\n") {
				t.Errorf("not clean: %+v", o)
			}
			if o.Kind == mail.Ambiguous && !l.has("duplicate") {
				t.Errorf("no alert: %q", l.lines)
			}
			eventually(t, "slot is free", func() bool { return h.Stats().Busy == 0 })
			if _, o := send(t, h, transaction(), "z"); o.Kind != mail.Relayed {
				t.Errorf("afterwards: %+v", o)
			}
		})
	}
}

// TestConnectFaults: nothing there, or nobody who accepts (B-01, B-02).
func TestConnectFaults(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	h, _ := hop(t, impatient("smtp://"+addr))
	answers, o := send(t, h, transaction(), "a", "b")
	for _, r := range answers {
		if r.Code != 451 || r.Enhanced != "4.4.1" {
			t.Errorf("%v", r)
		}
	}
	if o.Kind != mail.Refused || o.Replies[0].Code != 451 {
		t.Errorf("%+v", o)
	}
	if n := h.Stats().Connects; n != 1 {
		t.Errorf("%d connects for one transaction", n)
	}

	hang := func(o *Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	h, _ = hop(t, impatient("smtp://127.0.0.1:9"), hang)
	if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 {
		t.Errorf("%v", answers)
	}
}

// TestRcptMixed is B-08: each recipient gets its own answer.
func TestRcptMixed(t *testing.T) {
	for _, ext := range [][]string{nil, {"8BITMIME"}} {
		s := start(t, fakehop.Config{Extensions: ext, Always: map[string]fakehop.Action{
			"RCPT:later@our.example": {Reply: "450 4.2.0 greylisted\r\n"}, "RCPT:no@our.example": {Reply: "550 5.1.1 unknown\r\n"}}})
		h, l := hop(t, testConfig(s.URL()))
		answers, o := send(t, h, transaction(), "no", "a", "later", "b", "no")
		for i, want := range []int{550, 250, 450, 250, 550} {
			if answers[i].Code != want {
				t.Errorf("recipient %d: %v", i, answers[i])
			}
		}
		if o.Kind != mail.Relayed || strings.Join(s.Accepted()[0].To, " ") != "a@our.example b@our.example" {
			t.Errorf("%+v", o)
		}
		if len(l.lines) > 0 {
			t.Error(l.lines)
		}
	}
}

// Test421AtRcpt: in the middle it ends the transaction: 451 for the rest and
// for the end of data, though one recipient had been accepted.
func Test421AtRcpt(t *testing.T) {
	for name, a := range map[string]fakehop.Action{"421": {Reply: "421 4.3.2 bye\r\n"}, "drop": {Silent: true, Drop: true}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, fakehop.Config{Script: script{"RCPT": {{}, a}}})
			h, _ := hop(t, testConfig(s.URL()))
			answers, o := send(t, h, transaction(), "a", "b", "c")
			if answers[0].Code != 250 || answers[1].Code != 451 || answers[2].Code != 451 || o.Kind != mail.Refused || o.Replies[0].Code != 451 {
				t.Errorf("%v %+v", answers, o)
			}
			if len(s.Conns()) != 1 {
				t.Errorf("%d connections: retried after a recipient was accepted", len(s.Conns()))
			}
			noDot(t, s)
		})
	}
}

// TestMailRefusedOnce: the refusal of MAIL is every recipient's, asked once.
func TestMailRefusedOnce(t *testing.T) {
	for _, ext := range [][]string{nil, {"8BITMIME"}} {
		s := start(t, fakehop.Config{Extensions: ext, Script: script{"MAIL": {{Reply: "550 5.1.8 sender\r\n"}}}})
		h, _ := hop(t, testConfig(s.URL()))
		answers, o := send(t, h, transaction(), "a", "b")
		if answers[0].String() != "550 5.1.8 sender" || answers[1] != answers[0] || o.Kind != mail.Refused || o.Replies[0].Code != 554 {
			t.Errorf("%v %+v", answers, o)
		}
		if s.Count("MAIL") != 1 || s.Count("DATA") != 0 {
			t.Error("MAIL repeated, or DATA sent")
		}
	}
}

// TestEarlyReply is B-11: an answer during the body counts, and the write
// error does not mask it.
func TestEarlyReply(t *testing.T) {
	big := text(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 400_000))
	for reply, code := range map[string]int{"552 5.3.4 too big\r\n": 552, "451 4.3.0 later\r\n": 451, "421 4.3.2 bye\r\n": 451, "250 2.0.0 so soon\r\n": 451, "55": 451} {
		s := start(t, fakehop.Config{Script: script{"DATA": {{Early: reply, EarlyAfter: 1000}}}})
		h, _ := hop(t, testConfig(s.URL()))
		d := h.Begin(transaction())
		d.Rcpt(t.Context(), rcpt("a"))
		o := d.Data(t.Context(), big)
		// The reset that follows may overtake the reply on the way: then it
		// is the fault's 451, never anything else.
		if o.Kind != mail.Refused || o.Replies[0].Code != code && o.Replies[0].Code != 451 {
			t.Errorf("%q: %+v", reply, o.Replies)
		}
		noDot(t, s)
	}
}

// TestEarlyReplyThenSilence: the next hop answers and stops reading, but stays.
func TestEarlyReplyThenSilence(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{"DATA": {{Reply: "354 go\r\n550 5.7.0 enough\r\n", Deaf: true}}}})
	h, _ := hop(t, impatient(s.URL()))
	d := h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	o := d.Data(t.Context(), text(strings.Repeat("0123456789abcd\r\n", 2_000_000)))
	if o.Kind != mail.Refused || o.Replies[0].Code != 550 {
		t.Errorf("%+v", o.Replies)
	}
}

// TestZeroWindow is B-12: a next hop that stops reading.
func TestZeroWindow(t *testing.T) {
	s := start(t, fakehop.Config{Script: script{"DATA": {{Reply: "354 go\r\n", Deaf: true}}}})
	h, _ := hop(t, impatient(s.URL()))
	d := h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	o := d.Data(t.Context(), text(strings.Repeat("0123456789abcd\r\n", 2_000_000)))
	if o.Kind != mail.Refused || o.Replies[0].Code != 451 {
		t.Errorf("%+v", o)
	}
	noDot(t, s)
}

// odd is a Body that lies or breaks.
type odd struct {
	size  int64
	parts []string
	err   error
	hook  func(i int)
}

func (b odd) Size() int64 { return b.size }
func (b odd) WriteTo(w io.Writer) (n int64, err error) {
	for i, p := range b.parts {
		if b.hook != nil {
			b.hook(i)
		}
		k, err := w.Write([]byte(p))
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, b.err
}

// TestBodyBreaks: B-24 to B-27. No dot, no QUIT, socket closed.
func TestBodyBreaks(t *testing.T) {
	large := strings.Repeat("0123456789abcd\r\n", 100_000)
	for _, part := range []string{"small\r\n", large} {
		n := int64(len(part))
		ctx, cancel := context.WithCancel(t.Context())
		for name, b := range map[string]odd{
			"too short":    {size: 2*n + 1, parts: []string{part, part}},
			"too long":     {size: n, parts: []string{part, part}},
			"source error": {size: 2 * n, parts: []string{part}, err: errors.New("disk")},
			"cancelled": {size: 2 * n, parts: []string{part, part}, hook: func(i int) {
				if i == 1 {
					cancel()
				}
			}},
		} {
			t.Run(name, func(t *testing.T) {
				s := start(t, fakehop.Config{})
				h, _ := hop(t, testConfig(s.URL()))
				d := h.Begin(transaction())
				d.Rcpt(t.Context(), rcpt("a"))
				use := t.Context()
				if name == "cancelled" {
					use = ctx
				}
				o := d.Data(use, b)
				if o.Kind != mail.Refused || o.Replies[0].Code != 451 {
					t.Errorf("%+v", o)
				}
				eventually(t, "the socket is closed", s.Conns()[0].Ended)
				noDot(t, s)
				if s.Count("QUIT") > 0 || s.Count("RSET") > 0 || strings.Contains(s.Conns()[0].Transcript(), "QUIT") {
					t.Error("a command followed an unfinished message")
				}
			})
		}
		cancel()
	}
}

// TestPanicInBody: the caller's recovery and Abort after a panic send no dot.
func TestPanicInBody(t *testing.T) {
	s := start(t, fakehop.Config{})
	h, _ := hop(t, testConfig(s.URL()))
	d := h.Begin(transaction())
	d.Rcpt(t.Context(), rcpt("a"))
	func() {
		defer func() { recover() }()
		d.Data(t.Context(), odd{size: 7, parts: []string{"small\r\n"}, hook: func(int) { panic("injected") }})
	}()
	d.Abort()
	eventually(t, "the socket is closed", s.Conns()[0].Ended)
	noDot(t, s)
	if strings.Contains(s.Conns()[0].Transcript(), "RSET") || strings.Contains(s.Conns()[0].Transcript(), "QUIT") {
		t.Errorf("%q", s.Conns()[0].Transcript())
	}
	eventually(t, "the slot is free", func() bool { return h.Stats().Busy == 0 })
}

// TestCancelWhileWaiting: the context's end wakes each wait.
func TestCancelWhileWaiting(t *testing.T) {
	for _, verb := range []string{"CONNECT", "EHLO", "RCPT", "DATA", "."} {
		t.Run(verb, func(t *testing.T) {
			s := start(t, fakehop.Config{Script: script{verb: {{Silent: true, Hang: true}}}})
			h, _ := hop(t, testConfig(s.URL()))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for s.Count(verb) == 0 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			d := h.Begin(transaction())
			d.Rcpt(ctx, rcpt("a"))
			o := d.Data(ctx, text(sample))
			want := mail.Refused
			if verb == "." {
				want = mail.Ambiguous
			}
			if o.Kind != want || o.Replies[0].Code != 451 {
				t.Errorf("%+v", o)
			}
			eventually(t, "the slot is free", func() bool { return h.Stats().Busy == 0 })
		})
	}
}
