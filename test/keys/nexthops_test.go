package keys

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"garita/config"
	"garita/mail"
	"garita/smtpproxy"
	"garita/smtpproxy/relay"
)

// hopRows are the keys of a next hop. A scene says what the server does: "mute
// VERB" answers nothing to that verb, "dead HOST" takes no connection, "twice"
// sends a second message, "busy" sends it while the first holds its
// connection, "no RCPT" refuses a recipient.
func hopRows() []effect {
	const n = "next_hop.NAME."
	second := n + `fallback_urls = ["smtp://192.0.2.9:25"]`
	return []effect{
		{key: n + "url", value: `"smtp://192.0.2.77:2525"`, want: "+dial 192.0.2.77:2525"},
		{key: n + "fallback_urls", value: `["smtp://192.0.2.9:25"]`, scene: "dead 192.0.2.8", want: "+250 2.0.0"},
		{key: n + "balance", value: `"round-robin"`, base: second, scene: "twice", want: "+dial 192.0.2.9:25"},
		{key: n + "xforward", value: "false", want: "-hears XFORWARD", still: "DATA 250"},
		{key: n + "xclient", value: "true", want: "+hears XCLIENT"},
		{key: n + "max_connections", value: "1", base: n + `wait_budget = "5s"`, scene: "busy", want: "+[5s] RCPT 451 4.3.2"},
		{key: n + "wait_budget", value: `"5s"`, base: n + "max_connections = 1", scene: "busy", want: "+[5s] RCPT 451 4.3.2"},
		{key: n + "idle_timeout", value: `"5s"`, want: "+[5s] hears QUIT"},
		{key: n + "max_uses", value: "1", scene: "twice", want: "+[0s] hears QUIT"},
		{key: n + "connect_timeout", value: `"3s"`, scene: "mute CONNECT", want: "+[3s] RCPT 451"},
		{key: n + "command_timeout", value: `"3s"`, scene: "mute RCPT", want: "+[3s] RCPT 451"},
		{key: n + "data_timeout", value: `"3s"`, scene: "mute BODY", want: "+[5s] DATA 451"}, // two seconds for a reply that explains it
		{key: n + "final_timeout", value: `"3s"`, scene: "mute .", want: "+[3s] DATA 451"},
		{key: n + "show_replies", value: "false", scene: "no RCPT", want: "-host7.internal", still: "RCPT 550 5.1.1"},
	}
}

// TestNextHops: what a server that mail goes to sees of the keys, and when.
func TestNextHops(t *testing.T) {
	run(t, hopRows(), func(t *testing.T, toml string, e effect) string {
		if !strings.Contains(toml, "next_hop.NAME.url ") {
			toml += "\nnext_hop.NAME.url = \"smtp://192.0.2.8:25\""
		}
		s := struct {
			NextHop map[string]relay.Config `toml:"next_hop"`
		}{}
		_, problems := config.Decode("test.toml", []byte(toml), &s, config.Options{NoDropIns: true,
			EntryDefaults: func(string, map[string]any) any { return relay.DefaultConfig() }})
		if len(problems) > 0 {
			t.Fatalf("%s\n%s", toml, problems.Error())
		}
		var out string
		synctest.Test(t, func(t *testing.T) { out = deliver(t, s.NextHop["NAME"], e.scene) })
		return out
	})
}

// deliver sends a message, or two, to servers that play the scene.
func deliver(t *testing.T, c relay.Config, scene string) string {
	s := &stage{t: t, began: time.Now()}
	verb, arg, _ := strings.Cut(scene, " ")
	h, err := relay.New(relay.Options{Name: "NAME", Config: c, Hostname: "gw.example", Now: time.Now,
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			s.note("dial %s", addr)
			if verb == "dead" && strings.HasPrefix(addr, arg+":") {
				return nil, errors.New("refused")
			}
			ours, theirs := net.Pipe()
			s.wg.Go(func() { s.serve(theirs, verb, arg) })
			return server{ours, addr}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	begin := func() *delivery {
		tx := &mail.Transaction{
			Session: &mail.Session{ID: "S", Role: mail.Inbound, Helo: "c.example", Proto: "ESMTP", Client: netip.MustParseAddrPort("192.0.2.1:4000")},
			ID:      "T", Envelope: mail.Envelope{ReversePath: mail.Path{Local: "a", Domain: "sender.example"}},
		}
		return &delivery{s, h.Begin(tx)}
	}
	first := begin()
	first.rcpt(t.Context())
	if verb == "busy" {
		second := begin()
		second.rcpt(t.Context())
		second.Abort()
	}
	first.data(t.Context())
	if verb == "twice" {
		second := begin()
		second.rcpt(t.Context())
		second.data(t.Context())
	}
	synctest.Wait()
	if verb != "twice" {
		time.Sleep(6 * time.Second)
	}
	out := s.transcript()
	h.Close()
	s.wg.Wait()
	return out
}

// delivery is one message with its notes.
type delivery struct {
	s *stage
	smtpproxy.Delivery
}

func (d *delivery) rcpt(ctx context.Context) {
	r, _ := d.Rcpt(ctx, mail.Recipient{Path: mail.Path{Local: "b", Domain: "our.example"}})
	d.s.note("RCPT %s", r)
}

func (d *delivery) data(ctx context.Context) {
	o := d.Data(ctx, text("Subject: x\r\n\r\n"+strings.Repeat(strings.Repeat("y", 98)+"\r\n", 2000)))
	for _, r := range o.Replies {
		d.s.note("DATA %s", r)
	}
}

// text is a message.
type text string

func (b text) Size() int64 { return int64(len(b)) }
func (b text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(b))
	return int64(n), err
}

// server is a pipe to a server with an address.
type server struct {
	net.Conn
	addr string
}

func (s server) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s.addr))
}

func (s server) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.5:5000"))
}

// serve is the server's side of one connection.
func (s *stage) serve(conn net.Conn, verb, arg string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	mute := func(what string) bool { return verb == "mute" && arg == what }
	answer := func(what, text string) {
		if !mute(what) {
			io.WriteString(conn, text+"\r\n")
		}
	}
	answer("CONNECT", "220 mx.example ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		s.note("hears %s", strings.TrimSpace(line))
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "EHLO":
			answer(word, "250-mx.example\r\n250-XFORWARD ADDR HELO\r\n250 XCLIENT ADDR HELO")
		case "XCLIENT":
			answer(word, "220 mx.example ESMTP")
		case "RCPT":
			if verb == "no" {
				answer(word, "550 5.1.1 unknown at host7.internal")
				continue
			}
			answer(word, "250 2.1.5 Ok")
		case "DATA":
			answer(word, "354 go on")
			for line != ".\r\n" {
				if mute("BODY") {
					time.Sleep(time.Hour)
				}
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
			answer(".", "250 2.0.0 Ok: queued as Q1")
		case "QUIT":
			answer(word, "221 2.0.0 Bye")
			return
		default:
			answer(word, "250 2.0.0 Ok")
		}
	}
}
