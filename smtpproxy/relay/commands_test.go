package relay

import (
	"net/netip"
	"strings"
	"testing"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

// commands of the fake next hop's last connection from MAIL on.
func lastCommands(s *fakehop.Server) []string {
	conns := s.Conns()
	return conns[len(conns)-1].Commands()
}

func find(t *testing.T, cmds []string, verb string) string {
	t.Helper()
	for _, c := range cmds {
		if strings.HasPrefix(c, verb) {
			return c
		}
	}
	t.Fatalf("no %s in %q", verb, cmds)
	return ""
}

// TestCommandsFromValues: parameters go out when asked for and offered.
func TestCommandsFromValues(t *testing.T) {
	all := mail.Params{Size: 1234, Body: mail.Body8BitMIME, SMTPUTF8: true, Ret: "HDRS", EnvID: "id+1=x y"}
	full := mail.Recipient{Path: mail.Path{Local: "a", Domain: "our.example"}, Notify: []string{"SUCCESS", "DELAY"}, OrcptType: "rfc822", Orcpt: "o+r@x.example"}
	tests := []struct {
		name       string
		ext        []string
		p          mail.Params
		r          mail.Recipient
		mail, rcpt string
		code       int
	}{
		{"all", nil, all, full, "MAIL FROM:<from@client.example> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+2B1+3Dx+20y",
			"RCPT TO:<a@our.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Br@x.example", 250},
		{"nothing asked", nil, mail.Params{}, rcpt("a"), "MAIL FROM:<from@client.example>", "RCPT TO:<a@our.example>", 250},
		{"7BIT", nil, mail.Params{Body: mail.Body7Bit}, rcpt("a"), "MAIL FROM:<from@client.example>", "RCPT TO:<a@our.example>", 250},
		{"no SIZE, no DSN", []string{"8BITMIME", "SMTPUTF8"}, all, full, "MAIL FROM:<from@client.example> BODY=8BITMIME SMTPUTF8", "RCPT TO:<a@our.example>", 250},
		{"lower case and odd values", []string{"size abc", "8bitmime", "smtputf8 x", "AUTH=", "\tdsn"}, all, full,
			"MAIL FROM:<from@client.example> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+2B1+3Dx+20y",
			"RCPT TO:<a@our.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Br@x.example", 250},
		{"no 8BITMIME", []string{"SIZE"}, mail.Params{Body: mail.Body8BitMIME}, full, "", "", 554},
		{"no SMTPUTF8", []string{"SIZE", "8BITMIME"}, mail.Params{SMTPUTF8: true}, full, "", "", 550},
		{"hostile NOTIFY", nil, mail.Params{}, mail.Recipient{Path: rcpt("a").Path, Notify: []string{"NEVER", "SUCCESS\r\nDATA"}}, "MAIL FROM:<from@client.example>", "RCPT TO:<a@our.example>", 250},
		{"hostile ORCPT", nil, mail.Params{Ret: "x\r\nRSET", EnvID: "a\nb"}, mail.Recipient{Path: rcpt("a").Path, OrcptType: "a b", Orcpt: "x"}, "MAIL FROM:<from@client.example>", "RCPT TO:<a@our.example>", 250},
		{"ORCPT with LF", nil, mail.Params{}, mail.Recipient{Path: rcpt("a").Path, OrcptType: "rfc822", Orcpt: "a\nb@x"}, "MAIL FROM:<from@client.example>", "RCPT TO:<a@our.example>", 250},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, fakehop.Config{Extensions: tt.ext})
			h, l := hop(t, testConfig(s.URL()))
			d := h.Begin(transaction(func(tx *mail.Transaction) { tx.Params = tt.p }))
			r, _ := d.Rcpt(t.Context(), tt.r)
			if r.Code != tt.code {
				t.Fatalf("%v", r)
			}
			if tt.code != 250 {
				d.Abort()
				if want := map[int]string{554: "5.6.3", 550: "5.6.7"}[tt.code]; r.Enhanced != want {
					t.Errorf("%v", r)
				}
				if s.Count("MAIL") > 0 {
					t.Error("MAIL was sent")
				}
				return
			}
			if o := d.Data(t.Context(), text(sample)); o.Kind != mail.Relayed {
				t.Fatalf("%+v", o)
			}
			cmds := lastCommands(s)
			if got := find(t, cmds, "MAIL"); got != tt.mail {
				t.Errorf("%q", got)
			}
			if got := find(t, cmds, "RCPT"); got != tt.rcpt {
				t.Errorf("%q", got)
			}
			dropped := strings.Contains(tt.name, "no DSN") || strings.Contains(tt.name, "hostile") || strings.Contains(tt.name, "LF")
			if l.has("dropped") != dropped {
				t.Errorf("alerts %q", l.lines)
			}
		})
	}
}

// TestAddressesOnTheWire: S-98. Re-quoted, or refused; never injected.
func TestAddressesOnTheWire(t *testing.T) {
	for local, want := range map[string]string{
		"a":                            "a@our.example",
		"x> NOTIFY=NEVER ":             `"x> NOTIFY=NEVER "@our.example`,
		`a"> ORCPT=rfc822;v@victim `:   `"a\"> ORCPT=rfc822;v@victim "@our.example`,
		"user@victim.example":          `"user@victim.example"@our.example`,
		`back\slash`:                   `"back\\slash"@our.example`,
		"a\r\nRCPT TO:<v@victim":       "",
		"a\nb":                         "",
		"a\x00b":                       "",
		"señor":                        "",
		"a\x7fb":                       "",
		strings.Repeat("l", 2*maxPath): "",
	} {
		s := start(t, fakehop.Config{})
		h, _ := hop(t, testConfig(s.URL()))
		for _, side := range []string{"RCPT", "MAIL"} {
			tx := transaction()
			to := "a"
			if side == "MAIL" {
				tx.ReversePath = mail.Path{Local: local, Domain: "our.example"}
			} else {
				to = local
			}
			answers, o := send(t, h, tx, to)
			if want == "" {
				if answers[0].Code != 553 || o.Kind != mail.Refused {
					t.Errorf("%s %q: %v", side, local, answers)
				}
				for _, c := range s.Conns() {
					if strings.Contains(c.Transcript(), "victim") || len(s.Accepted()) > 0 {
						t.Errorf("%s %q: sent %q", side, local, c.Transcript())
					}
				}
				continue
			}
			m := s.Accepted()[len(s.Accepted())-1]
			got := m.From
			if side == "RCPT" {
				got = m.To[0]
			}
			if got != want || m.FromParams != "" || m.ToParams[0] != "" || len(m.To) != 1 {
				t.Errorf("%s %q: %+v", side, local, m)
			}
		}
	}
}

func TestNullReversePathAndEmptyRecipient(t *testing.T) {
	s := start(t, fakehop.Config{})
	h, _ := hop(t, testConfig(s.URL()))
	tx := transaction(func(tx *mail.Transaction) { tx.ReversePath = mail.Path{} })
	d := h.Begin(tx)
	if r, _ := d.Rcpt(t.Context(), mail.Recipient{}); r.Code != 553 {
		t.Errorf("%v", r)
	}
	d.Rcpt(t.Context(), rcpt("a"))
	d.Data(t.Context(), text(sample))
	if got := find(t, lastCommands(s), "MAIL"); got != "MAIL FROM:<>" {
		t.Errorf("%q", got)
	}
}

// TestXForward: the session's client, xtext, unavailable values, splitting.
func TestXForward(t *testing.T) {
	all := "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"
	tests := []struct {
		name   string
		offer  string
		change func(*mail.Transaction)
		want   []string
	}{
		{"session", all, func(tx *mail.Transaction) {}, []string{
			"NAME=mx.client.example ADDR=192.0.2.7 PORT=4321 PROTO=ESMTP HELO=client.example IDENT=T1 SOURCE=REMOTE"}},
		{"as offered", "XFORWARD addr HELO", func(tx *mail.Transaction) {}, []string{"ADDR=192.0.2.7 HELO=client.example"}},
		{"not offered", "SIZE", func(tx *mail.Transaction) {}, nil},
		{"IPv6 and no name", all, func(tx *mail.Transaction) {
			tx.Client = netip.MustParseAddrPort("[2001:db8::7]:25")
			tx.Host = mail.HostName{Name: "claimed.example"}
		}, []string{"NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PORT=25 PROTO=ESMTP HELO=client.example IDENT=T1 SOURCE=REMOTE"}},
		{"IPv4 in IPv6", "XFORWARD ADDR", func(tx *mail.Transaction) { tx.Client = netip.MustParseAddrPort("[::ffff:192.0.2.7]:25") }, []string{"ADDR=192.0.2.7"}},
		{"injection (S-100)", "XFORWARD ADDR HELO", func(tx *mail.Transaction) { tx.Helo = "a ADDR=127.0.0.1\r\nMAIL FROM:<x@y>+=é" },
			[]string{"ADDR=192.0.2.7 HELO=a+20ADDR+3D127.0.0.1+0D+0AMAIL+20FROM:<x@y>+2B+3D+C3+A9"}},
		{"forwarded", all, func(tx *mail.Transaction) {
			tx.Forwarded = &mail.Forwarded{Name: "far.example", Addr: "198.51.100.9", Port: "77", Proto: "SMTP", Helo: "far", Ident: "UP1", Source: "LOCAL"}
		}, []string{"NAME=far.example ADDR=198.51.100.9 PORT=77 PROTO=SMTP HELO=far IDENT=UP1 SOURCE=LOCAL"}},
		{"forwarded, hostile", all, func(tx *mail.Transaction) {
			tx.Forwarded = &mail.Forwarded{Name: "a b", Addr: "127.0.0.1\r\n", Port: "+7", Proto: strings.Repeat("p", 65), Helo: "\x00", Source: "ELSEWHERE"}
		}, []string{"NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=+00 IDENT=[UNAVAILABLE] SOURCE=[UNAVAILABLE]"}},
		{"long values are cut and split", all, func(tx *mail.Transaction) {
			tx.Forwarded = &mail.Forwarded{Addr: "IPV6:2001:db8::1", Helo: strings.Repeat("=", 300), Ident: strings.Repeat("x", 300)}
		}, []string{
			"NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=" + strings.Repeat("+3D", 85),
			"IDENT=" + strings.Repeat("x", 255) + " SOURCE=[UNAVAILABLE]"}},
	}
	for _, pipelining := range []string{"PIPELINING", "HELP"} {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s := start(t, fakehop.Config{Extensions: []string{tt.offer, pipelining}})
				h, _ := hop(t, testConfig(s.URL()))
				// Twice: the values end with the transaction and are sent afresh.
				for i := range 2 {
					if answers, o := send(t, h, transaction(tt.change), "a"); o.Kind != mail.Relayed {
						t.Fatalf("%v %+v", answers, o)
					}
					if got := s.Accepted()[i].XForward; strings.Join(got, "|") != strings.Join(tt.want, "|") {
						t.Errorf("%q", got)
					}
				}
				for _, c := range lastCommands(s) {
					if strings.HasPrefix(c, "XFORWARD") && len(c)+2 > maxXForwardLine {
						t.Errorf("%d octets: %s", len(c)+2, c)
					}
				}
			})
		}
	}
	t.Run("off", func(t *testing.T) {
		s := start(t, fakehop.Config{Extensions: []string{all}})
		c := testConfig(s.URL())
		c.XForward = false
		h, _ := hop(t, c)
		if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed || s.Count("XFORWARD") > 0 {
			t.Errorf("%+v", o)
		}
	})
}

func TestCutXtext(t *testing.T) {
	for n := 250; n < 262; n++ {
		s := strings.Repeat("x", n-6) + "+3D+2B"
		got := cutXtext(s)
		if dec, ok := mail.DecodeXtext(got); !ok || len(got) > maxXForwardValue || !strings.HasPrefix(s, got) || len(got) < min(n, maxXForwardValue-2) {
			t.Errorf("%d: %q %q", n, got, dec)
		}
	}
}
