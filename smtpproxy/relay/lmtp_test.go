package relay

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

func lmtpHop(t *testing.T, cfg fakehop.Config) (*fakehop.Server, *NextHop, *logged) {
	t.Helper()
	cfg.LMTP = true
	s := start(t, cfg)
	h, l := hop(t, impatient(s.URL()))
	return s, h, l
}

// TestLMTP: LHLO, one recipient for each transaction, its own answer.
func TestLMTP(t *testing.T) {
	for _, addr := range []string{"", filepath.Join(t.TempDir(), "lmtp")} {
		s, h, _ := lmtpHop(t, fakehop.Config{Addr: addr})
		for i := range 3 {
			answers, o := send(t, h, transaction(), "a", "b", "c")
			if answers[0].Code != 250 || answers[1].Code != 452 || answers[1].Enhanced != "4.5.3" || answers[2].Code != 452 {
				t.Fatal(answers)
			}
			if o.Kind != mail.Relayed || !strings.Contains(o.Replies[0].Text, "Saved") {
				t.Fatalf("%+v", o)
			}
			if m := s.Accepted()[i]; strings.Join(m.To, " ") != "a@our.example" || string(m.Data) != sample {
				t.Errorf("%+v", m)
			}
		}
		got := strings.Join(s.Conns()[0].Commands(), "|")
		if !strings.HasPrefix(got, "LHLO gw.example|MAIL FROM:<from@client.example>") || strings.Contains(got, "EHLO") || len(s.Conns()) != 1 {
			t.Error(got)
		}
	}
	// A recipient that is refused makes room for the next; Forget too.
	s, h, _ := lmtpHop(t, fakehop.Config{Always: map[string]fakehop.Action{"RCPT:no@our.example": {Reply: "550 5.1.1 no\r\n"}}})
	d := h.Begin(transaction())
	for _, l := range []struct {
		local string
		code  int
	}{{"no", 550}, {"a", 250}, {"b", 452}} {
		if r, _ := d.Rcpt(t.Context(), rcpt(l.local)); r.Code != l.code {
			t.Errorf("%s: %v", l.local, r)
		}
	}
	d.Forget([]mail.Recipient{rcpt("a")})
	if r, _ := d.Rcpt(t.Context(), rcpt("b")); r.Code != 250 {
		t.Error(r)
	}
	if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed || strings.Join(s.Accepted()[0].To, " ") != "b@our.example" {
		t.Errorf("%+v", o)
	}
}

// TestLMTPFaults: the steps that are LMTP's own.
func TestLMTPFaults(t *testing.T) {
	for name, a := range map[string]fakehop.Action{
		"500": {Reply: "500 5.5.1 what\r\n"}, "502": {Reply: "502 5.5.1 what\r\n"}, "450": {Reply: "450 4.3.2 later\r\n"}, "421": {Reply: "421 4.3.2 bye\r\n", Drop: true},
		"354": {Reply: "354 go\r\n"}, "nonsense": {Reply: "hi\r\n"}, "drop": {Silent: true, Drop: true}, "hang": {Silent: true, Hang: true}, "two": {Reply: "250 a\r\n250 b\r\n"},
	} {
		t.Run("LHLO "+name, func(t *testing.T) {
			t.Parallel()
			s, h, l := lmtpHop(t, fakehop.Config{Script: script{"LHLO": {a}}})
			answers, o := send(t, h, transaction(), "a")
			if answers[0].Code != 451 || o.Replies[0].Code != 451 || s.Count("HELO") > 0 || len(l.lines) == 0 {
				t.Errorf("%v %+v", answers, o)
			}
			relayed(t, h, s)
		})
	}
	type want struct {
		kind mail.OutcomeKind
		code int
	}
	ambiguous := want{mail.Ambiguous, 451}
	for name, row := range map[string]struct {
		a fakehop.Action
		want
	}{
		"250":       {fakehop.Action{Reply: "250 2.0.0 <a> X Saved\r\n"}, want{mail.Relayed, 250}},
		"full":      {fakehop.Action{Reply: "552 5.2.2 <a> quota exceeded\r\n"}, want{mail.Refused, 552}},
		"later":     {fakehop.Action{Reply: "451 4.2.0 <a> later\r\n"}, want{mail.Refused, 451}},
		"no server": {fakehop.Action{Reply: "421 4.3.2 bye\r\n", Drop: true}, want{mail.Refused, 451}},
		"drop":      {fakehop.Action{Silent: true, Drop: true}, ambiguous},
		"hang":      {fakehop.Action{Silent: true, Hang: true}, ambiguous},
		"cut":       {fakehop.Action{Reply: "250 o", Drop: true}, ambiguous},
		"354":       {fakehop.Action{Reply: "354 go\r\n"}, ambiguous},
		"nonsense":  {fakehop.Action{Reply: "saved\r\n"}, ambiguous},
	} {
		t.Run("end "+name, func(t *testing.T) {
			t.Parallel()
			s, h, _ := lmtpHop(t, fakehop.Config{Script: script{".:a@our.example": {row.a}}})
			if _, o := send(t, h, transaction(), "a"); o.Kind != row.kind || o.Replies[0].Code != row.code {
				t.Errorf("%+v", o)
			}
			relayed(t, h, s)
		})
	}
	// An answer more than there were recipients: the connection is given up.
	s, h, _ := lmtpHop(t, fakehop.Config{Script: script{".:a@our.example": {{Reply: "250 2.0.0 a\r\n250 2.0.0 b\r\n"}}}})
	relayed(t, h, s)
	relayed(t, h, s)
	if len(s.Conns()) != 2 {
		t.Error("out of step and used again")
	}
	// An SMTP server in its place is found out at LHLO.
	smtp := start(t, fakehop.Config{})
	h, _ = hop(t, impatient("lmtp://"+smtp.Addr()))
	if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 {
		t.Error(answers)
	}
}

// finalOf reads the end of data of n recipients out of what the next hop says.
func finalOf(t testing.TB, h *NextHop, n int, said []byte) (mail.Outcome, fate, int) {
	m := &memory{Buffer: bytes.NewBuffer(bytes.Clone(said))}
	c := &conn{hop: h, host: h.hosts[0], nc: m, raw: m, name: "x"}
	c.rd.src = m
	d := &delivery{hop: h, tx: transaction(), c: c}
	for i := range n {
		d.rcpts = append(d.rcpts, rcpt(fmt.Sprint("r", i)))
	}
	o, f := d.final(t.Context())
	return o, f, c.rd.buffered() + m.Len()
}

// TestLMTPReplies: exactly one reply for each recipient is read, and a yes
// needs all of them.
func TestLMTPReplies(t *testing.T) {
	h, _ := hop(t, testConfig("lmtp://127.0.0.1:24"))
	for said, want := range map[string]struct {
		n    int
		kind mail.OutcomeKind
		left int
	}{
		"250 a\r\n":                                   {1, mail.Relayed, 0},
		"250 a\r\n250 b\r\n250 c\r\n":                 {3, mail.Relayed, 0},
		"250-a\r\n250 a\r\n250 b\r\n":                 {2, mail.Relayed, 0},
		"250 a\r\n250 b\r\n250 cc\r\n":                {2, mail.Relayed, 8},
		"250 a\r\n250 b\r\n":                          {3, mail.Ambiguous, 0},
		"250 a\r\n550 b\r\n":                          {2, mail.Ambiguous, 0},
		"452 a\r\n552 b\r\n":                          {2, mail.Ambiguous, 0},
		"552 5.2.2 a\r\n550 5.1.1 b\r\n":              {2, mail.Refused, 0},
		"250 a\r\nhello\r\n":                          {2, mail.Ambiguous, 0},
		"354 a\r\n354 b\r\n":                          {2, mail.Ambiguous, 0},
		"421 a\r\n421 b\r\n":                          {2, mail.Refused, 0},
		"250 a\r\n250 b":                              {2, mail.Ambiguous, 7},
		strings.Repeat("250 x\r\n", 99) + "250 y\r\n": {100, mail.Relayed, 0},
	} {
		o, _, left := finalOf(t, h, want.n, []byte(said))
		if o.Kind != want.kind || left != want.left && want.kind == mail.Relayed {
			t.Errorf("%.40q for %d: %+v, %d left", said, want.n, o, left)
		}
	}
}

// FuzzLMTPFinal: an outcome of kind Relayed only when the next hop has said
// exactly as many complete 2xx as there are recipients before anything else.
func FuzzLMTPFinal(f *testing.F) {
	f.Add(2, []byte("250 a\r\n250 b\r\n"))
	f.Add(3, []byte("250-a\r\n250 a\r\n550 b\r\n250 c\r\n"))
	f.Add(1, []byte("250 a\r\n250 b\r\n"))
	f.Add(2, []byte("250 a\r\n250 b"))
	c := testConfig("lmtp://127.0.0.1:24")
	h, err := New(Options{Name: "f", Config: c, Hostname: "gw.example"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, n int, said []byte) {
		n = 1 + (n&0x7fffffff)%50
		o, fate, _ := finalOf(t, h, n, said)
		// What a reader of its own makes of it: lines up to CR LF, a reply
		// ends with a line whose fourth octet is no hyphen.
		yes, rest := 0, said
		for yes < n {
			line, after, ok := bytes.Cut(rest, []byte("\r\n"))
			if !ok || len(line) < 3 || line[0] != '2' {
				break
			}
			rest = after
			if len(line) == 3 || line[3] != '-' {
				yes++
			}
		}
		if o.Kind == mail.Relayed && yes < n {
			t.Fatalf("%d recipients, %d yes, relayed: %q", n, yes, said)
		}
		if o.Kind == mail.Ambiguous && fate != closeIt {
			t.Fatalf("the connection is used after %+v", o)
		}
		if o.Kind != mail.Relayed && o.Replies[0].Code < 400 {
			t.Fatalf("%+v", o)
		}
	})
}
