package clamav

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/clamav/fakeclamd"
	"garita/mail"
	"garita/message"
)

// clock is a time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// logged collects what the check tells.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) log(text string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s: %v", text, err))
}

func (l *logged) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.lines {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// desk is a check with a clock and a log.
type desk struct {
	t   testing.TB
	s   *Scanner
	now *clock
	log *logged
}

// fake starts a fake clamd on a unix socket.
func fake(t testing.TB) *fakeclamd.Server {
	t.Helper()
	f, err := fakeclamd.New("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// enforcing is a configuration for servers of tests.
func enforcing(servers ...string) Config {
	c := Default()
	c.Mode, c.Servers, c.ConfigFile = "enforce", servers, ""
	c.Timeout = 20 * time.Second
	return c
}

func newDesk(t testing.TB, c Config) *desk {
	t.Helper()
	d := &desk{t: t, now: newClock(), log: &logged{}}
	_, s, err := New(c, Options{Log: d.log.log, Now: d.now.Now})
	if err != nil {
		t.Fatal(err)
	}
	d.s = s
	return d
}

// transaction is one with that message.
func transaction(t testing.TB, text []byte) *mail.Transaction {
	t.Helper()
	m, err := message.Spool(context.Background(), bytes.NewReader(text), message.Limits{Max: 1 << 30, Memory: 64 << 20, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	s := &mail.Session{ID: "S", Role: mail.Inbound, Client: netip.MustParseAddrPort("192.0.2.1:1")}
	return &mail.Transaction{Session: s, ID: "T", Direction: mail.In, Message: m}
}

func (d *desk) check(text string) filters.Result {
	d.t.Helper()
	res, err := d.s.CheckMessage(context.Background(), transaction(d.t, []byte(text)))
	if err != nil {
		d.t.Fatal(err)
	}
	return res
}

// say is a result in words: "clamav.virus reject 554", "" for nothing.
func say(r filters.Result) string {
	var out []string
	for _, f := range r.Findings {
		s := f.Symbol + " " + f.Verdict.String()
		if f.Mode != mail.Enforce {
			s += " (" + f.Mode.String() + ")"
		}
		if f.Reply != nil {
			s += fmt.Sprintf(" %d %s", f.Reply.Code, f.Reply.Enhanced)
		}
		out = append(out, s)
	}
	if len(r.Edits) > 0 {
		out = append(out, "tag")
	}
	return strings.Join(out, ", ")
}

func (d *desk) expect(text, want string) filters.Result {
	d.t.Helper()
	r := d.check(text)
	if got := say(r); got != want {
		d.t.Errorf("got %q, want %q: %+v", got, want, r.Findings)
	}
	return r
}

const (
	plainMail = "Subject: hello\r\n\r\nA text.\r\n"
	htmlMail  = "Subject: hello\r\nContent-Type: text/html\r\n\r\n<p>A text.\r\n"
)

// TestWholeMessage: clamd gets the exact octets of every size and storage,
// framed as it wants them.
func TestWholeMessage(t *testing.T) {
	f := fake(t)
	c := enforcing(f.Address())
	c.CacheEntries, c.Parts = 0, "never"
	c.StreamMax, c.MaxFileSize = 64<<20, 64<<20
	d := newDesk(t, c)
	c.Parts = "auto"
	indexed := newDesk(t, c)
	for i, size := range []int{1, 100, 32 << 10, 32<<10 + 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 7} {
		text := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, memory := range []int64{64 << 20, 1} {
			m, err := message.Spool(context.Background(), bytes.NewReader(text), message.Limits{Max: 1 << 30, Memory: memory, Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			tx := &mail.Transaction{Session: &mail.Session{}, Message: m}
			for _, d := range []*desk{d, indexed} {
				if res, err := d.s.CheckMessage(context.Background(), tx); err != nil || len(res.Findings) > 0 {
					t.Fatalf("%d octets: %v %v", size, res, err)
				}
				if got := f.Streams(); !bytes.Equal(got[len(got)-1], text) {
					t.Errorf("case %d: %d octets arrived of %d", i, len(got[len(got)-1]), size)
				}
			}
			m.Release()
		}
	}
	if err := f.Wrong(); err != nil {
		t.Error(err)
	}
}

func TestEmptyAndShort(t *testing.T) {
	f := fake(t)
	w := times{time.Second, time.Second}
	a, _ := parseServer(f.Address())
	out, err := scan(context.Background(), a, w, octets(nil))
	if err != nil || out.kind != clean || f.Wrong() != nil {
		t.Errorf("empty: %v %v %v", out, err, f.Wrong())
	}
	// A source that ends early is our fault, and no answer of clamd counts.
	if out, err = scan(context.Background(), a, w, short{}); !errors.Is(err, errSource) {
		t.Errorf("short: %v %v", out, err)
	}
}

type short struct{ octets }

func (short) Size() int64 { return 10 }

// TestClasses is C-06: each class has its action, and the operator may say
// otherwise.
func TestClasses(t *testing.T) {
	f := fake(t)
	c := enforcing(f.Address())
	c.Ignore = []string{"PUA.Win.Packer.*"}
	c.Classes = append(c.Classes, "Sanesecurity.Malware.* virus", "Heuristics.Structured.* phishing")
	c.PUA, c.Macro = "observe", "off"
	d := newDesk(t, c)
	for i, v := range []struct{ name, want string }{
		{"Win.Trojan.Agent-1", "clamav.virus reject 554 5.7.1"},
		{"Win.Trojan.Agent-1(44d88612fea8a8f36de82e1278abb02f:68)", "clamav.virus reject 554 5.7.1"},
		{"Odd name: with /HTML/ \rCR \xff", "clamav.virus reject 554 5.7.1"},
		{"Phishing.Bank.1", "clamav.phishing quarantine"},
		{"Heuristics.Phishing.Email.SpoofedDomain", "clamav.phishing quarantine"},
		{"Email.Phishing.VOF1-6295631-0", "clamav.phishing quarantine"},
		{"PUA.Win.Tool.X", "clamav.pua continue (observe)"},
		{"PUA.Win.Packer.Upx", "clamav.ignored continue (observe)"},
		{"Heuristics.Broken.Executable", "clamav.heuristic continue (score)"},
		{"Heuristics.Structured.CreditCardNumber", "clamav.phishing quarantine"},
		{"Heuristics.Limits.Exceeded.MaxFileSize", "clamav.limits quarantine"},
		{"Heuristics.Encrypted.Zip", "clamav.encrypted continue (score)"},
		{"Heuristics.OLE2.ContainsMacros.VBA", ""},
		{"Sanesecurity.Junk.1.UNOFFICIAL", "clamav.unofficial continue (score)"},
		{"Sanesecurity.Junk.1.UNOFFICIAL(44d88612fea8a8f36de82e1278abb02f:68)", "clamav.unofficial continue (score)"},
		{"sanesecurity.malware.2.UNOFFICIAL", "clamav.virus reject 554 5.7.1"},
		{"Eicar-Test.UNOFFICIAL", "clamav.virus reject 554 5.7.1"},
	} {
		f.Script(fakeclamd.Step{Reply: "stream: " + v.name + " FOUND"})
		r := d.expect(fmt.Sprintf("Subject: %d\r\n\r\n%s", i, v.name), v.want)
		for _, f := range r.Findings {
			if strings.IndexFunc(f.Detail, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
				t.Errorf("detail %q", f.Detail)
			}
			if f.Reply != nil && (strings.Contains(f.Reply.Text, "Odd") || strings.ContainsAny(f.Reply.Text, "\r\n\\")) {
				t.Errorf("reply %q", f.Reply.Text)
			}
		}
		d.now.add(time.Second)
	}
}

// TestPartsOnDoubt is C-14: the raw message alone in the usual case, the parts
// where clamd may see others than a client.
func TestPartsOnDoubt(t *testing.T) {
	odd := "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: x-strange\r\n\r\nsome octets\r\n"
	for _, v := range []struct {
		title, parts, text string
		more               bool
	}{
		{"ordinary", "auto", "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8gd29ybGQ=\r\n", false},
		{"ordinary, always", "always", "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8gd29ybGQ=\r\n", true},
		{"unknown encoding", "auto", odd, true},
		{"unknown encoding, never", "never", odd, false},
		{"ambiguous", "auto", "Content-Type: multipart/mixed; boundary=a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--a\r\n\r\nfirst\r\n--a--\r\n--b\r\n\r\nsecond\r\n--b--\r\n", true},
	} {
		f := fake(t)
		c := enforcing(f.Address())
		c.Parts = v.parts
		newDesk(t, c).expect(v.text, "")
		got := f.Streams()
		if len(got) == 0 || string(got[0]) != v.text || (len(got) > 1) != v.more {
			t.Errorf("%s: %d streams: %q", v.title, len(got), got)
		}
	}
}

// TestWeakHitScansParts: a signature that only scores hides no virus in
// another part.
func TestWeakHitScansParts(t *testing.T) {
	f := fake(t)
	f.Judge(func(p []byte) fakeclamd.Step {
		switch {
		case bytes.Contains(p, []byte("NOISE")):
			return fakeclamd.Step{Reply: "stream: Junk.UNOFFICIAL FOUND"}
		case string(p) == "bad thing":
			return fakeclamd.Step{Reply: "stream: Win.Worm.X FOUND"}
		}
		return fakeclamd.Step{Reply: "stream: OK"}
	})
	d := newDesk(t, enforcing(f.Address()))
	d.expect("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nNOISE\r\n--a\r\n"+
		"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nYmFkIHRoaW5n\r\n--a--\r\n",
		"clamav.unofficial continue (score), clamav.virus reject 554 5.7.1")
}

// TestManyParts: the bound on readings is a finding, and repeats cost nothing.
func TestManyParts(t *testing.T) {
	var b strings.Builder
	b.WriteString("Content-Type: multipart/mixed; boundary=a\r\n\r\n")
	for i := range maxParts + 100 {
		fmt.Fprintf(&b, "--a\r\nContent-Type: text/plain\r\n\r\npart %d\r\n", i)
	}
	b.WriteString("--a--\r\n")
	f := fake(t)
	c := enforcing(f.Address())
	c.Parts = "always"
	newDesk(t, c).expect(b.String(), "clamav.oversize quarantine")
	if n := f.Scans(); n != maxParts+1 {
		t.Errorf("%d scans", n)
	}
	f = fake(t)
	c.Servers = []string{f.Address()}
	newDesk(t, c).expect("Content-Type: multipart/mixed; boundary=a\r\n\r\n"+strings.Repeat("--a\r\n\r\nthe same\r\n", 300)+"--a--\r\n", "")
	if n := f.Scans(); n > 5 {
		t.Errorf("%d scans of one text", n)
	}
}

// TestCache: the same octets are not scanned twice, until signatures, limits
// or age say so; faults are never kept.
func TestCache(t *testing.T) {
	f := fake(t)
	f.Judge(func(p []byte) fakeclamd.Step {
		if bytes.Contains(p, []byte("bad")) {
			return fakeclamd.Step{Reply: "stream: Win.Worm.X FOUND"}
		}
		return fakeclamd.Step{Reply: "stream: OK"}
	})
	c := enforcing(f.Address())
	c.CacheEntries = 2
	d := newDesk(t, c)
	scans := func(want int, why string) {
		t.Helper()
		if n := f.Scans(); n != want {
			t.Fatalf("%s: %d scans, want %d", why, n, want)
		}
	}
	d.expect(plainMail, "") // proves the endpoint, so that the epoch is known
	d.expect(plainMail, "")
	scans(1, "the same")
	d.expect("Subject: bad\r\n\r\n", "clamav.virus reject 554 5.7.1")
	d.expect("Subject: bad\r\n\r\n", "clamav.virus reject 554 5.7.1")
	scans(2, "the same virus")
	d.expect(plainMail+"x", "")
	scans(3, "one octet more")
	d.expect(plainMail, "")
	scans(4, "the cache has two entries")
	d.now.add(2 * time.Hour)
	d.expect(plainMail, "")
	scans(5, "too old")
	f.Health("PONG", "ClamAV 1.4.6/27001/Mon Nov 23 08:00:00 2026", false)
	d.now.add(2 * time.Minute)
	d.s.pool.round(context.Background())
	d.expect(plainMail, "")
	scans(6, "other signatures")
	l := *d.s.pool.limits.Load()
	l.MaxFiles++
	d.s.pool.limits.Store(&l)
	d.expect(plainMail, "")
	scans(7, "other limits")
	f.Script(fakeclamd.Step{Reply: "stream: something ERROR"})
	d.expect(plainMail+"y", "clamav.unscanned defer 451 4.7.1")
	d.expect(plainMail+"y", "")
	scans(9, "after a fault")
	st := d.s.Status()
	if st.CacheEntries != 2 || st.CacheHits != 2 || st.CacheMisses == 0 || st.Scans != 8 || st.Failures != 1 || !st.Endpoints[0].Up ||
		!strings.HasPrefix(st.Endpoints[0].Version, "ClamAV 1.4.6/27001") || st.Endpoints[0].Signed.IsZero() {
		t.Errorf("%+v", st)
	}
}

// TestPartCache: a part that was clean is not scanned again, and the raw
// message around it is.
func TestPartCache(t *testing.T) {
	f := fake(t)
	c := enforcing(f.Address())
	c.Parts = "always"
	d := newDesk(t, c)
	body := strings.Repeat("0123456789", cacheFrom/10+1)
	mail := func(subject string) string {
		return "Subject: " + subject + "\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\n" + body + "\r\n--a--\r\n"
	}
	d.expect(mail("a"), "")
	first := f.Scans()
	d.expect(mail("b"), "")
	if n := f.Scans() - first; n != 1 || first < 2 {
		t.Errorf("%d scans, then %d", first, n)
	}
}

// TestNoRoomForIndex: a raw message that is clean is not the last word where
// there was no memory for the index; a virus is.
func TestNoRoomForIndex(t *testing.T) {
	f := fake(t)
	c := enforcing(f.Address())
	d := newDesk(t, c)
	room := message.NewRoom(1 << 10)
	make1 := func() *mail.Transaction {
		m, err := message.Spool(context.Background(), strings.NewReader(plainMail), message.Limits{Max: 1 << 20, Memory: 1 << 20,
			Index: message.IndexOptions{Limits: message.DefaultIndexLimits(), Room: room}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Release)
		return &mail.Transaction{Session: &mail.Session{}, Message: m}
	}
	// All of the room is taken.
	var held []*mail.Transaction
	for range 100 {
		tx := make1()
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, err := tx.Message.Index(ctx)
		cancel()
		held = append(held, tx)
		if err != nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	res, err := d.s.CheckMessage(ctx, make1())
	if err == nil && say(res) != deferred {
		t.Errorf("%q, with %d messages in the room", say(res), len(held))
	}
	if st := d.s.Status(); st.Unscanned != 0 {
		t.Error("our own lack of memory is no outage of clamd")
	}
}
