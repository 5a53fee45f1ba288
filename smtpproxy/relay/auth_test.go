package relay

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

const (
	testLogin    = "gateway@our.example"
	testPassword = "correct horse+battery=staple"
)

func authConfig(url string) Config {
	c := impatient(url)
	c.Login, c.Password = testLogin, testPassword
	return c
}

// noSecret fails when the password is in a text, plain or encoded.
func noSecret(t *testing.T, texts ...string) {
	t.Helper()
	for _, s := range texts {
		for _, secret := range []string{testPassword, "battery", base64.RawStdEncoding.EncodeToString([]byte(testPassword)),
			base64.RawStdEncoding.EncodeToString([]byte("\x00" + testLogin + "\x00" + testPassword))} {
			if strings.Contains(s, secret) {
				t.Errorf("the password is told: %q", s)
			}
		}
	}
}

// TestAuth: once for each connection, before it goes to the pool; PLAIN before
// LOGIN; a long answer has a line of its own.
func TestAuth(t *testing.T) {
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + testLogin + "\x00" + testPassword))
	user, pass := base64.StdEncoding.EncodeToString([]byte(testLogin)), base64.StdEncoding.EncodeToString([]byte(testPassword))
	for name, tt := range map[string]struct {
		offer string
		a     fakehop.Action
		want  string
	}{
		"PLAIN":         {"AUTH LOGIN PLAIN CRAM-MD5", fakehop.Action{}, "AUTH PLAIN " + plain},
		"LOGIN":         {"AUTH LOGIN", fakehop.Action{}, "AUTH LOGIN|" + user + "|" + pass},
		"old spelling":  {"AUTH=LOGIN", fakehop.Action{}, "AUTH LOGIN|" + user + "|" + pass},
		"small letters": {"auth plain", fakehop.Action{}, "AUTH PLAIN " + plain},
		"504":           {"AUTH PLAIN LOGIN", fakehop.Action{Reply: "504 5.5.4 not that one\r\n"}, "AUTH PLAIN " + plain + "|AUTH LOGIN|" + user + "|" + pass},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := fakehop.Config{Extensions: []string{"PIPELINING", tt.offer}, Login: testLogin, Password: testPassword}
			if tt.a.Reply != "" {
				cfg.Script = script{"AUTH": {tt.a}}
			}
			s := start(t, cfg)
			h, l := hop(t, authConfig(s.URL()))
			for range 3 {
				if _, o := send(t, h, transaction(), "a"); o.Kind != mail.Relayed {
					t.Fatalf("%+v", o)
				}
			}
			got := strings.Join(s.Conns()[0].Commands(), "|")
			if want := "EHLO gw.example|" + tt.want + "|MAIL"; !strings.HasPrefix(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if s.Accepted()[2].Login != testLogin || len(s.Conns()) != 1 {
				t.Errorf("%+v", s.Accepted())
			}
			noSecret(t, append(l.lines, l.news...)...)
		})
	}
	s := start(t, fakehop.Config{Extensions: []string{"AUTH PLAIN"}, Login: testLogin, Password: strings.Repeat("p", 900)})
	c := authConfig(s.URL())
	c.Password = strings.Repeat("p", 900)
	h, _ := hop(t, c)
	relayed(t, h, s)
	if got := s.Conns()[0].Commands()[1]; got != "AUTH PLAIN" {
		t.Errorf("%q", got)
	}
}

// TestAuthFaults: whatever goes wrong with our login is 451 for the client,
// an alert for the operator, and no message; the password is nowhere.
func TestAuthFaults(t *testing.T) {
	echo := "535 5.7.8 wrong: " + testPassword + "\r\n"
	rows := map[string]fakehop.Action{
		"535": {Reply: "535 5.7.8 no\r\n"}, "534": {Reply: "534 5.7.9 too weak\r\n"}, "530": {Reply: "530 5.7.0 TLS first\r\n"}, "538": {Reply: "538 5.7.11 encryption\r\n"},
		"500": {Reply: "500 5.5.1 what\r\n"}, "454": {Reply: "454 4.7.0 later\r\n"}, "432": {Reply: "432 4.7.12 change it\r\n"}, "421": {Reply: "421 4.3.2 bye\r\n"},
		"354": {Reply: "354 go\r\n"}, "nonsense": {Reply: "hello\r\n"}, "two replies": {Reply: "235 a\r\n250 b\r\n"}, "bare LF": {Reply: "235 ok\n"},
		"drop": {Silent: true, Drop: true}, "reset": {Silent: true, Reset: true}, "hang": {Silent: true, Hang: true}, "cut": {Reply: "235 o", Drop: true},
		"echo": {Reply: echo}, "echo base64": {Reply: "535 5.7.8 " + base64.StdEncoding.EncodeToString([]byte(testPassword)) + "\r\n"},
		"endless 334": {Reply: "334 \r\n"}, "mixed": {Reply: "235-a\r\n535 b\r\n"},
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		verbs := []string{"AUTH"}
		if mechanism == "LOGIN" {
			verbs = []string{"AUTH", "AUTH2", "AUTH3"}
		}
		for _, verb := range verbs {
			for name, a := range rows {
				if name == "endless 334" && verb != "AUTH3" {
					continue
				}
				t.Run(mechanism+" "+verb+" "+name, func(t *testing.T) {
					t.Parallel()
					s := start(t, fakehop.Config{Extensions: []string{"PIPELINING", "AUTH " + mechanism}, Login: testLogin, Password: testPassword, Always: map[string]fakehop.Action{verb: a}})
					h, l := hop(t, authConfig(s.URL()))
					answers, o := send(t, h, transaction(), "a")
					if answers[0].Code != 451 || o.Kind != mail.Refused || o.Replies[0].Code != 451 {
						t.Errorf("%v %+v", answers, o)
					}
					if !l.has("no usable connection") || h.Fault() == nil {
						t.Errorf("no alert: %q %v", l.lines, h.Fault())
					}
					noSecret(t, append(l.lines, o.Detail, o.NextHopReply, h.Fault().Error(), answers[0].Text, fmt.Sprint(h.Hosts()))...)
					if len(s.Accepted()) != 0 || s.Count("MAIL") != 0 {
						t.Error("mail went out without a login")
					}
					eventually(t, "all slots are free", func() bool { return h.Stats().Busy == 0 })
				})
			}
		}
	}
}

// TestWrongPasswordIsNotRepeated: a refused login is not tried for every
// message, or the account would be locked.
func TestWrongPasswordIsNotRepeated(t *testing.T) {
	s := start(t, fakehop.Config{Extensions: []string{"AUTH PLAIN"}, Login: testLogin, Password: "other"})
	clk := newClock()
	h, l := hop(t, authConfig(s.URL()), func(o *Options) { o.Now = clk.now })
	for range 5 {
		if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 {
			t.Fatal(answers)
		}
	}
	if n := len(s.Conns()); n != 1 {
		t.Errorf("%d attempts", n)
	}
	if !l.has("refused our login") {
		t.Error(l.lines)
	}
	clk.pass(asideFirst)
	send(t, h, transaction(), "a")
	send(t, h, transaction(), "a")
	if n := len(s.Conns()); n != 2 {
		t.Errorf("%d attempts", n)
	}
}

// far is a TCP connection that says it is to another machine.
type far struct{ net.Conn }

func (far) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

// TestAuthNeedsTLS: no password in clear text beyond this machine, unless the
// operator said so; not even where STARTTLS was taken away (S-36).
func TestAuthNeedsTLS(t *testing.T) {
	cfg, _ := certificate(t, time.Now().Add(-time.Minute), "192.0.2.1")
	for _, tt := range []struct {
		tls, without bool
		want         int
	}{{false, false, 451}, {true, false, 250}, {false, true, 250}} {
		fc := fakehop.Config{Extensions: []string{"AUTH PLAIN"}, Login: testLogin, Password: testPassword}
		if tt.tls {
			fc.TLS = cfg
			fc.Extensions = append(fc.Extensions, "STARTTLS")
		}
		s := start(t, fc)
		c := authConfig("smtp://localhost:25") // a name that, some day, is another machine's
		c.TLS, c.AuthWithoutTLS = "may", tt.without
		h, _ := hop(t, c, func(o *Options) {
			o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
				return far{nc}, err
			}
		})
		answers, _ := send(t, h, transaction(), "a")
		if answers[0].Code != tt.want {
			t.Errorf("%+v: %v", tt, answers)
		}
		if tt.want == 451 && s.Count("AUTH") > 0 {
			t.Error("the password was sent")
		}
	}
}

// TestAuthNotOffered: a next hop that has no mechanism of ours gets no mail.
func TestAuthNotOffered(t *testing.T) {
	for _, ext := range []string{"AUTH CRAM-MD5 XOAUTH2", "AUTH", "DSN"} {
		s := start(t, fakehop.Config{Extensions: []string{ext}})
		h, l := hop(t, authConfig(s.URL()))
		if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 || s.Count("MAIL") != 0 || !l.has("neither AUTH PLAIN nor AUTH LOGIN") {
			t.Errorf("%v %q", answers, l.lines)
		}
	}
}

// TestConfigHidesPassword: no way of printing shows it.
func TestConfigHidesPassword(t *testing.T) {
	c := authConfig("smtp://127.0.0.1:25")
	m := map[string]Config{"x": c}
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		noSecret(t, fmt.Sprintf(f, c), fmt.Sprintf(f, &c), fmt.Sprintf(f, m))
	}
	if !strings.Contains(fmt.Sprintf("%+v", c), testLogin) || c.Password != testPassword {
		t.Error("too much is hidden")
	}
	c.TLS = "bad"
	c.Password = "s3cret\x00"
	for _, err := range c.Validate() {
		if strings.Contains(err.Error(), "s3cret") {
			t.Error(err)
		}
	}
}
