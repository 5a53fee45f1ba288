package rspamd

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/filtertest"
	"garita/mail"
)

const clean200 = `{"is_skipped":false,"score":0,"required_score":15,"action":"no action","symbols":{}}`

func TestValidate(t *testing.T) {
	filtertest.Refused(t, Default, func(c Config) error { _, err := New(c, filters.Site{}, Options{}); return err },
		"mode loud", "servers ftp://a", "servers http://", "servers http://u:p@a", "servers http://a/b", "servers http://a?x", "servers unix:rel", "servers 127.0.0.1:11333",
		"timeout 0s", "timeout 20m", "max_size 0", "on_error ignore", "by luck", "factor -1", "factor NaN", "factor 11",
		"on_reject drop", "on_soft_reject x", "on_add_header x", "on_greylist x", "on_quarantine x", "tag -1", "hold NaN", "reject -1")
	c := Default()
	c.Mode, c.Servers = "enforce", nil
	if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "servers: ") {
		t.Errorf("no servers: %v", errs)
	}
	if c = Default(); c.Mode != "off" {
		t.Errorf("the default mode is %s", c.Mode)
	}
}

// TestReadme: every key and symbol is explained.
func TestReadme(t *testing.T) {
	filtertest.Explained[Config](t, SymbolScore, SymbolTag, SymbolHold, SymbolDefer, SymbolReject, SymbolSkipped, SymbolTooLarge, "rspamd.error")
}

// made makes the check with these lines, on these servers.
func made(t testing.TB, o Options, servers []string, lines ...string) filters.Check {
	t.Helper()
	c := Default()
	c.Mode, c.Servers = "enforce", servers
	check, err := New(filtertest.With(t, c, lines), filters.Site{Hostname: "mx.our.example"}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = check.Impl.(*Check).Close() })
	return check
}

func build(t testing.TB, o Options, servers []string, lines ...string) *Check {
	t.Helper()
	return made(t, o, servers, lines...).Impl.(*Check)
}

// replying is a server that always says text.
func replying(t testing.TB, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestRequest: the facts, and the message byte for byte.
func TestRequest(t *testing.T) {
	var got *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, clean200)
	}))
	defer s.Close()
	tx := filtertest.Transaction(t, filtertest.Plain+strings.Repeat("0123456789\r\n", 20000))
	tx.Login = "ana"
	tx.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	if _, err := build(t, Options{}, []string{s.URL}).CheckMessage(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.URL.Path != "/checkv2" || got.ContentLength != tx.Message.Size() {
		t.Errorf("%s %s %d", got.Method, got.URL, got.ContentLength)
	}
	if raw, _ := io.ReadAll(tx.Message.Raw()); !bytes.Equal(raw, body) {
		t.Errorf("%d octets arrived of %d", len(body), len(raw))
	}
	for name, want := range map[string]string{
		"IP": "192.0.2.1", "Helo": "helo.sender.example", "Hostname": "mail.sender.example", "From": "<a@sender.example>",
		"Rcpt": "b@our.example,c@our.example", "User": "ana", "Queue-Id": "ABC123", "Mta-Name": "mx.our.example",
		"Tls-Cipher": "TLS_AES_128_GCM_SHA256", "Tls-Version": "TLS 1.3", "Idempotency-Key": "", "Accept-Encoding": "",
	} {
		if s := strings.Join(got.Header.Values(name), ","); s != want {
			t.Errorf("%s: %q, want %q", name, s, want)
		}
	}
}

// TestHostileFacts: what a client says of itself neither breaks the request,
// which would be a message that nobody looked at, nor gets into it.
func TestHostileFacts(t *testing.T) {
	var got http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		_, _ = io.WriteString(w, clean200)
	}))
	defer s.Close()
	tx := filtertest.Transaction(t, filtertest.Plain)
	tx.Helo = "a\r\nUser: root\x00\x7f" + strings.Repeat("x", 9000)
	tx.Login = "\n"
	tx.ReversePath = mail.Path{}
	for i := range 1000 {
		tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: mail.Path{Local: fmt.Sprintf("u%d \r\n", i), Domain: "our.example"}})
	}
	if _, err := build(t, Options{}, []string{s.URL}).CheckMessage(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	if h := got.Get("Helo"); len(h) > maxHeader || !strings.HasPrefix(h, "a??User: root??") {
		t.Errorf("Helo %q", h)
	}
	if got.Get("User") != "?" || got.Get("From") != "<>" || len(got.Values("Rcpt")) != maxRcpts {
		t.Errorf("User %q From %q, %d recipients", got.Get("User"), got.Get("From"), len(got.Values("Rcpt")))
	}
}

func TestAnswers(t *testing.T) {
	said := func(score, action string) string {
		return `{"score":` + score + `,"required_score":15,"action":"` + action + `","symbols":{"B_SYM":{"name":"B_SYM","score":1.5},"A":{"score":-9}}}`
	}
	for _, c := range []struct {
		title, answer string
		lines         []string
		want          string // symbol, verdict, score
	}{
		{"clean", clean200, nil, ""},
		{"no action", said("3", "no action"), nil, "rspamd.score continue 1.5"},
		{"good", said("-3", "no action"), nil, "rspamd.score continue -1.5"},
		{"add header", said("7", "add header"), nil, "rspamd.tag continue 3.5"},
		{"rewrite subject", said("7", "rewrite subject"), nil, "rspamd.tag continue 3.5"},
		{"greylist", said("4", "greylist"), nil, "rspamd.score continue 2"},
		{"greylist as defer", said("4", "greylist"), []string{"on_greylist defer"}, "rspamd.defer defer 2"},
		{"soft reject", said("4", "soft reject"), nil, "rspamd.defer defer 2"},
		{"reject", said("20", "reject"), nil, "rspamd.reject reject 10"},
		{"reject as hold", said("20", "reject"), []string{"on_reject hold"}, "rspamd.hold quarantine 10"},
		{"quarantine", said("20", "quarantine"), nil, "rspamd.hold quarantine 10"},
		{"discard is never ours", said("20", "discard"), nil, "rspamd.hold quarantine 10"},
		{"an action of theirs", said("20", "call the boss"), []string{"on_quarantine tag"}, "rspamd.tag continue 10"},
		{"by score, low", said("5", "reject"), []string{"by score", "factor 0"}, ""},
		{"by score, tag", said("6", "no action"), []string{"by score"}, "rspamd.tag continue 3"},
		{"by score, hold", said("9", "no action"), []string{"by score", "hold 9"}, "rspamd.hold quarantine 4.5"},
		{"by score, reject", said("15", "no action"), []string{"by score", "hold 9"}, "rspamd.reject reject 7.5"},
		{"by score, never", said("999", "reject"), []string{"by score", "tag 0", "reject 0"}, "rspamd.score continue 100"},
		{"skipped", `{"is_skipped":true,"score":0,"action":"no action"}`, nil, "rspamd.skipped continue 0"},
		{"skipped by a rule that decides", `{"is_skipped":true,"score":15,"action":"reject"}`, nil, "rspamd.reject reject 7.5"},
	} {
		t.Run(c.title, func(t *testing.T) {
			k := build(t, Options{}, []string{replying(t, c.answer)}, c.lines...)
			res, err := k.CheckMessage(t.Context(), filtertest.Transaction(t, filtertest.Plain))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range res.Findings {
				got += fmt.Sprintf("%s %s %v", f.Symbol, f.Verdict, f.Score)
				if f.Verdict == mail.Reject && !f.Reply.Permanent() || f.Verdict == mail.Defer && !f.Reply.Temporary() {
					t.Errorf("reply %v", f.Reply)
				}
				if strings.Contains(c.answer, "B_SYM") && !strings.HasSuffix(f.Detail, ": A(-9.00) B_SYM(1.50)") {
					t.Errorf("detail %q", f.Detail)
				}
			}
			if got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestHeaders: results from outside go, ours come, and nothing that rspamd
// says reaches any other field.
func TestHeaders(t *testing.T) {
	answer := `{"score":7,"required_score":15,"action":"add header","milter":{"add_headers":{` +
		`"X-Spamd-Bar":{"value":"+++","order":0},"X-Rspamd-Server":["one",{"value":"two\r\nEvil: 1\u0000é"}],` +
		`"Subject":"owned","X-Spam-Flag":"NO","X-Spam: x":"y"},"remove_headers":{"From":0,"X-Spam-Level":0}}}`
	forged := "X-Spam-Flag: NO\r\nSubject: hello\r\nx-spam-STATUS: No,\r\n score=-100\r\nX-Spamd-Result: good\r\nFrom: a@sender.example\r\nX-Spam-Level: *\r\nX-Rspamd-Queue-Id: 1\r\n\r\nX-Spam-Flag: NO\r\n"
	ours := "X-Spam-Flag: YES\r\nX-Spam-Score: 7.00\r\nX-Spam-Status: Yes, score=7.00 required=15.00\r\n" +
		"X-Rspamd-Server: one\r\nX-Rspamd-Server: two Evil: 1??\r\nX-Spamd-Bar: +++\r\n"
	rest := "Subject: hello\r\nFrom: a@sender.example\r\n\r\nX-Spam-Flag: NO\r\n"
	for _, c := range []struct {
		title string
		lines []string
		want  string
	}{
		{"both", nil, ours + rest},
		{"no headers of ours", []string{"headers false"}, rest},
		{"what it asks for", []string{"remove_headers false"}, ours + strings.Replace(forged, "X-Spam-Level: *\r\n", "", 1)},
		{"neither", []string{"remove_headers false", "headers false"}, forged},
	} {
		t.Run(c.title, func(t *testing.T) {
			tx := filtertest.Transaction(t, forged)
			res, err := build(t, Options{}, []string{replying(t, answer)}, c.lines...).CheckMessage(t.Context(), tx)
			if err != nil {
				t.Fatal(err)
			}
			if got := filtertest.Rendered(t, tx.Message, res.Edits); got != c.want {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
	t.Run("a message without a header gets none", func(t *testing.T) {
		tx := filtertest.Transaction(t, "\r\nbody\r\n")
		res, err := build(t, Options{}, []string{replying(t, answer)}).CheckMessage(t.Context(), tx)
		if err != nil || len(res.Edits) > 0 {
			t.Errorf("%v %v", res.Edits, err)
		}
	})
	t.Run("results from outside go even when nobody answers", func(t *testing.T) {
		tx := filtertest.Transaction(t, forged)
		res, err := build(t, Options{}, []string{"unix:" + filepath.Join(t.TempDir(), "none")}).CheckMessage(t.Context(), tx)
		if got := filtertest.Rendered(t, tx.Message, res.Edits); err == nil || got != rest {
			t.Errorf("%v, %q", err, got)
		}
	})
}

func TestTooLarge(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, clean200)
	}))
	defer s.Close()
	tx := filtertest.Transaction(t, filtertest.Plain)
	k := build(t, Options{}, []string{s.URL}, fmt.Sprintf("max_size %d", tx.Message.Size()))
	if res, err := k.CheckMessage(t.Context(), tx); err != nil || len(res.Findings) > 0 || asked.Load() != 1 {
		t.Errorf("exactly the size: %v %v", res, err)
	}
	res, err := k.CheckMessage(t.Context(), filtertest.Transaction(t, filtertest.Plain+"x"))
	if err != nil || len(res.Findings) != 1 || res.Findings[0].Symbol != SymbolTooLarge || asked.Load() != 1 {
		t.Errorf("%v %v, asked %d times", res, err, asked.Load())
	}
}

// scripted is a server that does what the script says with a connection.
func scripted(t testing.TB, script func(c net.Conn)) string {
	t.Helper()
	return "http://" + filtertest.Scripted(t, "tcp", script)
}

// request reads one request and says nothing.
func request(c net.Conn) {
	head := make([]byte, 0, 4096)
	one := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("Hello.\r\n")) {
		if _, err := c.Read(one); err != nil {
			return
		}
		head = append(head, one[0])
	}
}

func say(text string) func(net.Conn) {
	return func(c net.Conn) { request(c); _, _ = io.WriteString(c, text) }
}

func http200(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// TestFaults: whatever a server does, the check fails and says so; it is never
// a silent "clean".
func TestFaults(t *testing.T) {
	hang := func(c net.Conn) { request(c); _, _ = io.Copy(io.Discard, c) }
	drip := func(c net.Conn) {
		request(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
		for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
			if _, err := io.WriteString(c, " "); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		title  string
		script func(net.Conn)
		want   string
	}{
		{"closes at once", func(net.Conn) {}, ""},
		{"closes behind the request", request, ""},
		{"hangs", hang, "no answer in time"},
		{"drips", drip, "no answer in time"},
		{"cut in the header", say("HTTP/1.1 200 O"), ""},
		{"cut in the body", say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + clean200), "unexpected EOF"},
		{"cut without a length", say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + clean200[:40]), "answer"},
		{"nonsense", say("220 mx.example ESMTP\r\n"), ""},
		{"not JSON", say(http200("<html>")), "answer"},
		{"two answers", say(http200(clean200 + clean200)), "answer"},
		{"empty", say(http200("")), "answer"},
		{"huge", say(http200(strings.Repeat(" ", maxAnswer) + clean200)), "longer than"},
		{"huge header", say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), ""},
		{"NaN", say(http200(`{"score":NaN,"action":"no action"}`)), "answer"},
		{"infinite", say(http200(`{"score":1e999,"action":"no action"}`)), "answer"},
		{"enormous", say(http200(`{"score":1e9,"action":"no action"}`)), "bounds"},
		{"enormous symbol", say(http200(`{"score":1,"action":"no action","symbols":{"A":{"score":-1e9}}}`)), "bounds"},
		{"score as text", say(http200(`{"score":"1","action":"no action"}`)), "answer"},
		{"action as number", say(http200(`{"score":1,"action":1}`)), "answer"},
		{"no score", say(http200(`{"action":"no action"}`)), "no score"},
		{"no action", say(http200(`{"score":1}`)), "no score or no action"},
		{"null", say(http200(`null`)), "no score"},
		{"array", say(http200(`[]`)), "answer"},
		{"symbols as list", say(http200(`{"score":1,"action":"no action","symbols":["A"]}`)), "answer"},
		{"control in the action", say(http200(`{"score":1,"action":"a\u001b[31m"}`)), "not a word"},
		{"header of a wrong type", say(http200(`{"score":1,"action":"no action","milter":{"add_headers":{"X-Spam-A":5}}}`)), "add_headers"},
		{"error", say(http200(`{"error":"cannot \u001b scan"}`)), `cannot \x1b scan`},
		{"status 500", say("HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}"), "status 500"},
		{"status 403 with an answer", say("HTTP/1.1 403 No\r\nContent-Length: " + fmt.Sprint(len(clean200)) + "\r\n\r\n" + clean200), "status 403"},
		{"redirect", say("HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), "status 307"},
	} {
		t.Run(c.title, func(t *testing.T) {
			k := build(t, Options{}, []string{scripted(t, c.script)}, "timeout 1s")
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

// TestServers: what every check stands that asks servers.
func TestServers(t *testing.T) {
	filtertest.Asking{
		Symbol: "rspamd.error",
		New: func(t testing.TB, now func() time.Time, log func(string, error), servers []string, lines ...string) filters.Check {
			return made(t, Options{Now: now, Log: log}, servers, lines...)
		},
		Serve: scripted, Hear: request, Answer: say(http200(clean200)),
	}.Run(t)
}

// TestKeepAlive: one connection serves many messages, and one that the server
// closed while it was idle costs none.
func TestKeepAlive(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, clean200)
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	k := build(t, Options{}, []string{s.URL})
	for range 20 {
		if _, err := k.CheckMessage(t.Context(), filtertest.Transaction(t, filtertest.Plain)); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	s.CloseClientConnections()
	if _, err := k.CheckMessage(t.Context(), filtertest.Transaction(t, filtertest.Plain)); err != nil {
		t.Error(err)
	}
}

// TestBodyOutlivesRequest: the transport may read on after the request has
// failed and the message was given back (a use after that panics).
func TestBodyOutlivesRequest(t *testing.T) {
	m := filtertest.Spool(t, filtertest.Plain)
	b := newBody(m)
	m.Release()
	if text, err := io.ReadAll(b); err != nil || string(text) != filtertest.Plain {
		t.Errorf("%q %v", text, err)
	}
	_ = b.Close()
	_ = b.Close()
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("read after close")
	}
}

// TestBodyIsReleased: no way through a request keeps the message.
func TestBodyIsReleased(t *testing.T) {
	for _, server := range []string{replying(t, clean200), replying(t, "x"), "http://127.0.0.1:1", scripted(t, func(net.Conn) {})} {
		m := filtertest.Spool(t, filtertest.Plain+strings.Repeat("x", 1<<20))
		tx := filtertest.Transaction(t, filtertest.Plain)
		tx.Message = m
		k := build(t, Options{}, []string{server})
		_, _ = k.CheckMessage(t.Context(), tx)
		m.Release()
		deadline := time.Now().Add(60 * time.Second)
		for freed := false; !freed; {
			func() {
				defer func() { freed = recover() != nil }()
				m.Retain()
				m.Release()
			}()
			if !freed && time.Now().After(deadline) {
				t.Fatalf("%s: the message is still held", server)
			}
			time.Sleep(time.Millisecond) // the transport closes the body in its own time
		}
	}
}

func FuzzRspamdAnswer(f *testing.F) {
	for _, s := range []string{clean200, `{"is_skipped":true}`, `{"score":1e999}`, `{"score":1,"action":"reject","symbols":{"A\n":{"score":2}},"milter":{"add_headers":{"X-Spam-A":["a",{"value":"b\r\nc"}]},"remove_headers":{"X-Spam":1}}}`,
		`{"score":-5.5,"required_score":null,"action":"add header","milter":{"add_headers":{"X-SPAM":{"value":"\u2028","order":1}}}}`} {
		f.Add([]byte(s))
	}
	c := Default()
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseAnswer(text)
		if err != nil {
			return
		}
		if d := a.detail(); len(d) > 64<<10 || strings.ContainsFunc(d, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("detail %q", d)
		}
		fields := a.fields(c.decide(a))
		m := filtertest.Spool(t, string(fields)+"\r\nbody\r\n")
		defer m.Release()
		for _, line := range strings.SplitAfter(string(fields), "\r\n") {
			if len(line) > 1000 || line != "" && !resultField(line) {
				t.Fatalf("line %q", line)
			}
		}
		h := m.Header()
		if n := strings.Count(string(fields), "\r\n"); len(h.Fields()) != n || m.HeaderEnd() != int64(len(fields)) {
			t.Fatalf("%d fields in %d lines: %q", len(h.Fields()), n, fields)
		}
	})
}
