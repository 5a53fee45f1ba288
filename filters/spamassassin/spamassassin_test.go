package spamassassin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
)

const clean = "SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: False ; 0.0 / 5.0\r\n\r\n"

// spam is a reply with that score.
func spam(score string, symbols string) string {
	return fmt.Sprintf("SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\nSpam: True ; %s / 5.0\r\n\r\n%s", len(symbols), score, symbols)
}

func TestValidate(t *testing.T) {
	filtertest.Refused(t, Default, func(c Config) error { _, err := New(c, filters.Site{}, Options{}); return err },
		"mode loud", "servers 127.0.0.1", "servers :783", "servers http://a:1", "servers a:0", "servers a:99999", "servers unix:rel", "servers u@a:1",
		"user a b", "user a:b", "user ../x", "timeout 0s", "timeout 20m", "max_size 0", "on_error ignore", "factor -1", "factor NaN",
		"tag -1", "hold NaN", "reject -1")
	c := Default()
	c.Mode, c.Servers = "enforce", nil
	if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "servers: ") {
		t.Errorf("no servers: %v", errs)
	}
	if c = Default(); c.Mode != "off" || c.MaxSize != 512<<10 {
		t.Errorf("%+v", c)
	}
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	filtertest.Explained[Config](t, SymbolScore, SymbolTag, SymbolHold, SymbolReject, SymbolTooLarge, "spamassassin.error")
}

func made(t testing.TB, o Options, servers []string, lines ...string) filters.Check {
	t.Helper()
	c := Default()
	c.Mode, c.Servers = "enforce", servers
	check, err := New(filtertest.With(t, c, lines), filters.Site{Hostname: "mx.our.example"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return check
}

func build(t testing.TB, o Options, servers []string, lines ...string) *Check {
	t.Helper()
	return made(t, o, servers, lines...).Impl.(*Check)
}

// scripted is a server on network that does what the script says with each
// connection.
func scripted(t testing.TB, network string, script func(c net.Conn)) string {
	t.Helper()
	addr := filtertest.Scripted(t, network, script)
	if network == "unix" {
		return "unix:" + addr
	}
	return addr
}

// request reads one request as spamd does, by its length.
func request(c net.Conn) (head []string, body string) {
	r := bufio.NewReader(c)
	n := 0
	for {
		line, err := r.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); err != nil || line == "" {
			break
		}
		head = append(head, line)
		if v, ok := strings.CutPrefix(line, "Content-length: "); ok {
			n, _ = strconv.Atoi(v)
		}
	}
	b := make([]byte, n)
	_, _ = io.ReadFull(r, b)
	rest, _ := io.ReadAll(r)
	return head, string(b) + string(rest)
}

func say(text string) func(net.Conn) {
	return func(c net.Conn) { request(c); _, _ = io.WriteString(c, text) }
}

// TestRequest: the message byte for byte behind what tells of the client.
func TestRequest(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		var head []string
		var body string
		server := scripted(t, network, func(c net.Conn) { head, body = request(c); _, _ = io.WriteString(c, clean) })
		text := filtertest.Plain + strings.Repeat("0123456789\r\n", 20000)
		now := func() time.Time { return time.Unix(1e9, 0).UTC() }
		if _, err := build(t, Options{Now: now}, []string{server}, "user filter").CheckMessage(t.Context(), filtertest.Transaction(t, text)); err != nil {
			t.Fatal(err)
		}
		trace := "Return-Path: <a@sender.example>\r\nReceived: from helo.sender.example (mail.sender.example [192.0.2.1])\r\n" +
			"\tby mx.our.example (Postfix) with ESMTPS id ABC123;\r\n\tSun, 9 Sep 2001 01:46:40 +0000\r\n"
		want := fmt.Sprintf("SYMBOLS SPAMC/1.5|Content-length: %d|User: filter", len(trace+text))
		if s := strings.Join(head, "|"); s != want {
			t.Errorf("%s: %q, want %q", network, s, want)
		}
		if body != trace+text {
			t.Errorf("%s: body %.500q", network, body)
		}
		if _, err := build(t, Options{}, []string{server}, "received false").CheckMessage(t.Context(), filtertest.Transaction(t, text)); err != nil || body != text || len(head) != 2 {
			t.Errorf("%s: without received %.300q %v", network, body, err)
		}
	}
}

// TestHostileFacts: nothing that a client says gets out of its place.
func TestHostileFacts(t *testing.T) {
	var body string
	server := scripted(t, "tcp", func(c net.Conn) { _, body = request(c); _, _ = io.WriteString(c, clean) })
	tx := filtertest.Transaction(t, filtertest.Plain)
	tx.Helo = "a\r\nX-Evil: 1 (b [127.0.0.1]) by mx.our.example\x00" + strings.Repeat("x", 9000)
	tx.ReversePath = mail.Path{Local: "a>\r\nX-Evil", Domain: "b"}
	tx.Host = mail.HostName{Name: "h (x)\n", Confirmed: true}
	tx.Login = "ana"
	if _, err := build(t, Options{}, []string{server}).CheckMessage(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(body, filtertest.Plain), "\r\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "Return-Path: <") || !strings.HasPrefix(lines[1], "Received: from a??X-Evil:?1??b?[127.0.0.1]??by") ||
		!strings.HasSuffix(lines[1], "(h??x?? [192.0.2.1])") || !strings.Contains(lines[2], "with ESMTPA id") || len(lines[1]) > 998 {
		t.Errorf("%q", lines)
	}
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		title, reply string
		lines        []string
		want         string
	}{
		{"clean", clean, nil, ""},
		{"low", spam("2.0", "A,B"), nil, "spamassassin.score continue 1 score 2.00 of 5.00: A B"},
		{"good", spam("-4", ""), nil, "spamassassin.score continue -2 score -4.00 of 5.00"},
		{"tag", spam("5", "A"), nil, "spamassassin.tag continue 2.5 score 5.00 of 5.00: A"},
		{"hold", spam("9.5", "A"), []string{"hold 9.5"}, "spamassassin.hold quarantine 4.75 score 9.50 of 5.00: A"},
		{"reject", spam("15", "A"), []string{"hold 9"}, "spamassassin.reject reject 7.5 score 15.00 of 5.00: A"},
		{"never", spam("1000", "A"), []string{"tag 0", "reject 0", "factor 0"}, ""},
		{"at most 100 points", spam("1000", ""), []string{"reject 0", "factor 1"}, "spamassassin.tag continue 100 score 1000.00 of 5.00"},
	} {
		t.Run(c.title, func(t *testing.T) {
			res, err := build(t, Options{}, []string{scripted(t, "tcp", say(c.reply))}, c.lines...).CheckMessage(t.Context(), filtertest.Transaction(t, filtertest.Plain))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range res.Findings {
				got += fmt.Sprintf("%s %s %v %s", f.Symbol, f.Verdict, f.Score, f.Detail)
				if f.Verdict == mail.Reject && !f.Reply.Permanent() {
					t.Errorf("reply %v", f.Reply)
				}
			}
			if got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestHeaders: results from outside go, also when nobody answers; ours come.
func TestHeaders(t *testing.T) {
	forged := "X-Spam-Flag: NO\r\nSubject: hello\r\nx-spam-STATUS: No,\r\n score=-100\r\nFrom: a@sender.example\r\n\r\nX-Spam-Flag: NO\r\n"
	ours := "X-Spam-Flag: YES\r\nX-Spam-Score: 7.00\r\nX-Spam-Status: Yes, score=7.00 required=5.00\r\n"
	rest := "Subject: hello\r\nFrom: a@sender.example\r\n\r\nX-Spam-Flag: NO\r\n"
	server := scripted(t, "tcp", say(spam("7", "A")))
	for _, c := range []struct {
		title, server string
		lines         []string
		want          string
	}{
		{"both", server, nil, ours + rest},
		{"none of ours", server, []string{"headers false"}, rest},
		{"theirs stay", server, []string{"remove_headers false"}, ours + forged},
		{"nobody answers", "unix:" + filepath.Join(t.TempDir(), "none"), nil, rest},
		{"too large", server, []string{"max_size 1"}, rest},
	} {
		tx := filtertest.Transaction(t, forged)
		res, _ := build(t, Options{}, []string{c.server}, c.lines...).CheckMessage(t.Context(), tx)
		if got := filtertest.Rendered(t, tx.Message, res.Edits); got != c.want {
			t.Errorf("%s: %q, want %q", c.title, got, c.want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	server := scripted(t, "tcp", say(clean))
	tx := filtertest.Transaction(t, filtertest.Plain)
	k := build(t, Options{}, []string{server}, fmt.Sprintf("max_size %d", tx.Message.Size()))
	if res, err := k.CheckMessage(t.Context(), tx); err != nil || len(res.Findings) > 0 {
		t.Errorf("exactly the size: %v %v", res, err)
	}
	res, err := k.CheckMessage(t.Context(), filtertest.Transaction(t, filtertest.Plain+"x"))
	if err != nil || len(res.Findings) != 1 || res.Findings[0].Symbol != SymbolTooLarge || k.Status()[0].Asked != 1 {
		t.Errorf("%v %v", res, err)
	}
}

// TestFaults: whatever a server does, the check fails and says so.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		title, text, want string
	}{
		{"nothing", "", "ended before its end"},
		{"nonsense", "220 mx.example ESMTP\r\n\r\n", "not from spamd"},
		{"HTTP", "HTTP/1.1 200 OK\r\n\r\n", "not from spamd"},
		{"cut in the first line", "SPAMD/1.1 0", "ended before its end"},
		{"cut in the header", "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 6.0", "ended before its end"},
		{"cut in the body", "SPAMD/1.1 0 EX_OK\r\nContent-length: 9\r\nSpam: True ; 6.0 / 5.0\r\n\r\nTEST", "4 octets of 9"},
		{"too much", clean + "TEST", "4 octets of 0"},
		{"no length", "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 6.0 / 5.0\r\n\r\n", "of -1"},
		{"two lengths", "SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nContent-length: 0\r\nSpam: True ; 6.0 / 5.0\r\n\r\n", "length"},
		{"negative length", "SPAMD/1.1 0 EX_OK\r\nContent-length: -1\r\nSpam: True ; 6.0 / 5.0\r\n\r\n", "length"},
		{"no result", "SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\n\r\n", "result"},
		{"two results", "SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: False ; 0 / 5\r\nSpam: True ; 6.0 / 5.0\r\n\r\n", "result"},
		{"NaN", strings.Replace(clean, "0.0 /", "nan /", 1), "result"},
		{"infinite", strings.Replace(clean, "0.0 /", "inf /", 1), "result"},
		{"exponent", strings.Replace(clean, "0.0 /", "1e9 /", 1), "result"},
		{"enormous", strings.Replace(clean, "0.0 /", "99999999 /", 1), "result"},
		{"no verdict", strings.Replace(clean, "False", "Maybe", 1), "result"},
		{"no field", strings.Replace(clean, "Spam:", "Spam", 1), "no field"},
		{"failure", "SPAMD/1.0 76 Bad header line: \x1b[31m\r\n\r\n", `76 Bad header line: \x1b[31m`},
		{"huge", clean + strings.Repeat("x", maxReply), "longer than"},
	} {
		t.Run(c.title, func(t *testing.T) {
			k := build(t, Options{}, []string{scripted(t, "tcp", say(c.text))})
			res, err := k.CheckMessage(t.Context(), filtertest.Transaction(t, filtertest.Plain))
			if err == nil || len(res.Findings) > 0 || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, %v; want %q", res, err, c.want)
			}
			if st := k.Status(); st[0].Failed != 1 || st[0].Last == "" || strings.ContainsRune(st[0].Last, '\x1b') {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestConnectionFaults: servers that are gone, silent, slow or leave.
func TestConnectionFaults(t *testing.T) {
	drip := func(c net.Conn) {
		request(c)
		for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
			if _, err := io.WriteString(c, "S"); err != nil {
				return
			}
		}
	}
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = refused.Close()
	large := filtertest.Plain + strings.Repeat("0123456789\r\n", 40000)
	for title, server := range map[string]string{
		"refused":         refused.Addr().String(),
		"no socket":       "unix:" + filepath.Join(t.TempDir(), "none"),
		"closes at once":  scripted(t, "tcp", func(net.Conn) {}),
		"takes nothing":   scripted(t, "tcp", func(c net.Conn) { <-t.Context().Done() }),
		"takes all, mute": scripted(t, "tcp", func(c net.Conn) { request(c); <-t.Context().Done() }),
		"drips":           scripted(t, "tcp", drip),
		"leaves mid-way":  scripted(t, "tcp", func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 5000)) }),
	} {
		k := build(t, Options{}, []string{server}, "timeout 500ms")
		if res, err := k.CheckMessage(t.Context(), filtertest.Transaction(t, large)); err == nil || len(res.Findings) > 0 || k.Status()[0].Failed != 1 {
			t.Errorf("%s: %v %v %+v", title, res, err, k.Status())
		}
	}
}

// TestServers: what every check stands that asks servers.
func TestServers(t *testing.T) {
	filtertest.Asking{
		Symbol: "spamassassin.error",
		New: func(t testing.TB, now func() time.Time, log func(string, error), servers []string, lines ...string) filters.Check {
			return made(t, Options{Now: now, Log: log}, servers, lines...)
		},
		Serve:  func(t testing.TB, script func(net.Conn)) string { return scripted(t, "tcp", script) },
		Hear:   func(c net.Conn) { request(c) },
		Answer: say(clean),
	}.Run(t)
}

func FuzzSpamcReply(f *testing.F) {
	for _, s := range []string{clean, spam("6.0", "A,B"), "SPAMD/1.1 76 x\r\n\r\n", "SPAMD/1.5 0 OK\r\nspam:yes;-1/5\r\ncontent-LENGTH: 2\r\n\r\n\x1b\xff"} {
		f.Add([]byte(s))
	}
	c := Default()
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseReply(text)
		if err != nil {
			return
		}
		if !(r.score >= -maxScore && r.score <= maxScore) {
			t.Fatalf("score %v", r.score)
		}
		if d := r.detail(); len(d) > 4*maxName*(maxSymbols+2) || strings.ContainsFunc(d, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("detail %q", d)
		}
		if s := string(r.fields(c.decide(r.score))); strings.Count(s, "\r\n") != strings.Count(s, "\n") || len(s) > 300 {
			t.Fatalf("fields %q", s)
		}
	})
}
