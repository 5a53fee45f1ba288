package clamav

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/clamav/fakeclamd"
)

// fault is one thing that can go wrong with clamd; docs/clamav.md has a row
// for each.
type fault struct {
	id, says string
	want     string // as say gives it
	detail   string
	config   func(*Config)
	steps    []fakeclamd.Step
	before   func(*fakeclamd.Server)
	setup    func(t *testing.T) (server string) // in place of a fake
}

func repeat(s fakeclamd.Step, n int) (out []fakeclamd.Step) {
	for range n {
		out = append(out, s)
	}
	return out
}

const (
	deferred = "clamav.unscanned defer 451 4.7.1"
	poisoned = "clamav.poison quarantine"
	quick    = time.Second
)

func hurry(c *Config) { c.Timeout, c.WriteTimeout, c.Wait = quick, quick, quick }

// faults is the fault table.
func faults() []fault {
	long := strings.Repeat("x", 1<<20)
	reply := func(s string) []fakeclamd.Step { return repeat(fakeclamd.Step{Reply: s}, 2) }
	return []fault{
		{id: "C-01", says: "no socket", want: deferred, detail: "unavailable", setup: func(t *testing.T) string {
			return "unix:" + filepath.Join(t.TempDir(), "none")
		}},
		{id: "C-01", says: "connection refused", want: deferred, detail: "unavailable", setup: func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			return "tcp:" + l.Addr().String()
		}},
		{id: "C-01", says: "a path that is no socket", want: deferred, detail: "unavailable", setup: func(t *testing.T) string {
			name := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return "unix:" + name
		}},
		{id: "C-02", says: "no answer to a scan", want: deferred, detail: "timed out", config: hurry, steps: []fakeclamd.Step{{Hang: true}}},
		{id: "C-02", says: "connections are taken and nothing is answered", want: deferred, detail: "unavailable", config: hurry, setup: func(t *testing.T) string {
			// The kernel takes connections that nobody accepts.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			return "tcp:" + l.Addr().String()
		}},
		{id: "C-03", says: "`INSTREAM size limit exceeded. ERROR`", want: "clamav.oversize quarantine", detail: "oversize",
			steps: []fakeclamd.Step{{Reply: "INSTREAM size limit exceeded. ERROR", After: 4}}},
		{id: "C-04", says: "the message is larger than StreamMaxLength", want: "clamav.oversize quarantine", detail: "StreamMaxLength is 10",
			config: func(c *Config) { c.StreamMax = 10 }},
		{id: "C-05", says: "`stream: OK` beyond MaxFileSize", want: "clamav.oversize quarantine", detail: "clamd scans 10",
			config: func(c *Config) { c.MaxFileSize = 10 }},
		{id: "C-05", says: "`stream: OK` beyond MaxScanSize", want: "clamav.oversize quarantine", detail: "10 in all",
			config: func(c *Config) { c.MaxScanSize = 10 }},
		{id: "C-07", says: "no reply, twice", want: poisoned, detail: "poison", steps: repeat(fakeclamd.Step{}, 2)},
		{id: "C-07", says: "`stream: OK` without its end, twice", want: poisoned, detail: "poison",
			steps: repeat(fakeclamd.Step{Reply: "stream: OK", Bare: true}, 2)},
		{id: "C-08", says: "closed in the middle, then gone", want: deferred, detail: "closed", setup: leaving},
		{id: "C-07", says: "`1: stream: OK`", want: deferred, detail: "nonsense", steps: reply("1: stream: OK")},
		{id: "C-07", says: "`stream: OK` with a space behind it", want: deferred, detail: "nonsense", steps: reply("stream: OK ")},
		{id: "C-07", says: "two lines", want: deferred, detail: "nonsense", steps: reply("stream: OK\nstream: OK")},
		{id: "C-07", says: "two replies", want: deferred, detail: "nonsense", steps: reply("stream: OK\x00stream: Win.Worm.X FOUND")},
		{id: "C-07", says: "`stream:  FOUND`", want: deferred, detail: "nonsense", steps: reply("stream:  FOUND")},
		{id: "C-07", says: "a reply of 1 MB", want: deferred, detail: "nonsense", steps: reply("stream: " + long + " FOUND")},
		{id: "C-07", says: "`UNKNOWN COMMAND`", want: deferred, detail: "failed", steps: reply("UNKNOWN COMMAND")},
		{id: "C-07", says: "`COMMAND READ TIMED OUT`", want: deferred, detail: "failed", steps: reply("COMMAND READ TIMED OUT")},
		{id: "C-08", says: "it says that it reloads", want: deferred, detail: "reloading", steps: reply("stream: Database is reloading. ERROR")},
		{id: "C-09", says: "closed, and closed again", want: poisoned, detail: "poison", steps: []fakeclamd.Step{{After: 3}, {After: 3}}},
		{id: "C-10", says: "no place within `wait`", want: deferred, detail: "busy", config: func(c *Config) { c.MaxScans, c.Wait = 1, quick }},
		{id: "C-12", says: "reset in the middle", want: poisoned, detail: "poison", setup: resetting},
		{id: "C-15", says: "EICAR is not found: no signatures", want: deferred, detail: "EICAR", before: func(f *fakeclamd.Server) { f.Health("PONG", "ClamAV 1.4.6", true) }},
		{id: "C-15", says: "PING is not answered by PONG", want: deferred, detail: "PING", before: func(f *fakeclamd.Server) { f.Health("PANG", "ClamAV 1.4.6", false) }},
		{id: "C-15", says: "VERSION is not ClamAV's", want: deferred, detail: "VERSION", before: func(f *fakeclamd.Server) { f.Health("PONG", "other 1", false) }},
		{id: "C-16", says: "`Error writing to temporary file. ERROR`", want: deferred, detail: "failed", steps: reply("Error writing to temporary file. ERROR")},
	}
}

// resetting is a clamd on TCP that ends each scan by RST.
func resetting(t *testing.T) string {
	f, err := fakeclamd.New("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.Script(repeat(fakeclamd.Step{After: 3, Reset: true}, 2)...)
	return f.Address()
}

// leaving is a clamd that is shut down while it scans: by the time of the
// second try nobody listens.
func leaving(t *testing.T) string {
	f := fake(t)
	f.Judge(func([]byte) fakeclamd.Step {
		f.Stop()
		return fakeclamd.Step{}
	})
	return f.Address()
}

// TestFaults injects each fault and looks at the finding.
func TestFaults(t *testing.T) {
	for _, v := range faults() {
		t.Run(v.id+" "+v.says, func(t *testing.T) {
			var server string
			var f *fakeclamd.Server
			if v.setup != nil {
				server = v.setup(t)
			} else {
				f = fake(t)
				server = f.Address()
				if v.before != nil {
					v.before(f)
				}
				f.Script(v.steps...)
			}
			c := enforcing(server)
			if v.config != nil {
				v.config(&c)
			}
			d := newDesk(t, c)
			if v.detail == "busy" {
				defer occupy(d)()
			}
			r := d.check(plainMail)
			if got := say(r); got != v.want || !strings.Contains(r.Findings[0].Detail, v.detail) {
				t.Errorf("got %q, want %q: %+v", got, v.want, r.Findings)
			}
			if rep := r.Findings[0].Reply; rep != nil && strings.Contains(rep.Text, server) {
				t.Errorf("the reply tells of us: %q", rep.Text)
			}
		})
	}
}

// occupy takes the only place.
func occupy(d *desk) (leave func()) {
	leave, ok := d.s.pool.endpoints[0].enter(context.Background(), 1, time.Second)
	if !ok {
		d.t.Fatal("no place")
	}
	return leave
}

// TestFaultTable compares the table of docs/clamav.md with what TestFaults
// injects.
func TestFaultTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/clamav.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "<!-- faults -->")
	table, _, end := strings.Cut(table, "<!-- end of faults -->")
	if !ok || !end {
		t.Fatal("no table")
	}
	want := map[string]bool{}
	for _, v := range faults() {
		want[v.row()] = true
	}
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| C-") {
			continue
		}
		if !want[line] {
			t.Errorf("no test injects %s", line)
		}
		delete(want, line)
	}
	for row := range want {
		t.Errorf("the table lacks %s", row)
	}
}

// row is the line of the table: id, fault, finding, verdict, reply.
func (v fault) row() string {
	words := strings.Fields(v.want)
	symbol, verdict, reply := words[0], words[1], "250, held"
	if len(words) > 2 {
		reply = words[2] + " " + words[3]
	}
	return fmt.Sprintf("| %s | %s | `%s` | %s | %s |", v.id, v.says, symbol, verdict, reply)
}

// TestFragments is C-12: an answer in pieces is an answer.
func TestFragments(t *testing.T) {
	f, err := fakeclamd.New("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	d := newDesk(t, enforcing(f.Address()))
	f.Script(fakeclamd.Step{Reply: "stream: OK", Slow: true}, fakeclamd.Step{Reply: "stream: Win.Worm.X FOUND", Slow: true})
	d.expect(plainMail, "")
	d.expect(htmlMail, "clamav.virus reject 554 5.7.1")
}

// TestReadsReplyAfterBrokenUpload is C-03: the upload breaks, and the reply
// that says why counts; an OK to half a message does not.
func TestReadsReplyAfterBrokenUpload(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for says, want := range map[string]kind{
			"INSTREAM size limit exceeded. ERROR": oversize, "stream: Win.Worm.X FOUND": found, "stream: OK": closed, "what": closed,
		} {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			f, err := fakeclamd.New(network, address)
			if err != nil {
				t.Fatal(err)
			}
			f.Script(fakeclamd.Step{Reply: says, After: 100})
			a, _ := parseServer(f.Address())
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			out, err := scan(ctx, a, times{5 * time.Second, 5 * time.Second}, octets(make([]byte, 30<<20)))
			cancel()
			f.Close()
			// A TCP stack may drop what was not read when the reset comes:
			// then the connection was closed, which is never clean.
			if err != nil || out.kind != want && (network == "unix" || out.kind != closed) {
				t.Errorf("%s %q: %v %v", network, says, out, err)
			}
		}
	}
}

// TestFailOver: another endpoint answers where one is down, reloads, dies or
// fails.
func TestFailOver(t *testing.T) {
	for _, step := range []fakeclamd.Step{{After: 1}, {Reply: "stream: reloading ERROR"}, {Reply: "stream: any ERROR"}, {Reply: "what"}} {
		a, b := fake(t), fake(t)
		a.Script(step)
		d := newDesk(t, enforcing("unix:/nowhere/at/all", a.Address(), b.Address()))
		d.expect(htmlMail, "")
		if a.Scans() != 1 || b.Scans() != 1 {
			t.Errorf("%+v: %d and %d scans", step, a.Scans(), b.Scans())
		}
		if d.log.count("/nowhere/at/all is not used") != 1 || d.s.Status().Unscanned != 0 {
			t.Errorf("log %q", d.log.lines)
		}
	}
	// One endpoint: a closed connection and a reload are tried there again.
	for _, step := range []fakeclamd.Step{{After: 1}, {Reply: "stream: reloading ERROR"}} {
		a := fake(t)
		a.Script(step)
		newDesk(t, enforcing(a.Address())).expect(htmlMail, "")
		if a.Scans() != 2 {
			t.Errorf("%+v: %d scans", step, a.Scans())
		}
	}
}

// TestBreaker is C-02: who is down is asked again after a while, not by every
// message.
func TestBreaker(t *testing.T) {
	f := fake(t)
	f.Health("", "", false)
	d := newDesk(t, enforcing(f.Address()))
	for range 50 {
		d.expect(plainMail, deferred)
	}
	if n := f.Dials(); n != 1 {
		t.Errorf("%d connections", n)
	}
	f.Health("PONG", "ClamAV 1.4.6", false)
	d.now.add(firstBackoff)
	d.expect(plainMail, "")
	if d.log.count("is not used") != 1 || d.log.count("works again") != 1 {
		t.Errorf("log %q", d.log.lines)
	}
}

// TestBadAnswersTakeItOut: an endpoint that answers everything by an ERROR is
// not asked for ever.
func TestBadAnswersTakeItOut(t *testing.T) {
	f := fake(t)
	f.Judge(func([]byte) fakeclamd.Step { return fakeclamd.Step{Reply: "stream: no ERROR"} })
	d := newDesk(t, enforcing(f.Address()))
	for i := range 10 {
		d.expect(fmt.Sprintf("Subject: %d\r\n\r\n", i), deferred)
	}
	if n := f.Scans(); n != badAnswers {
		t.Errorf("%d scans", n)
	}
}

// TestPoison is C-09 and the endless 4xx of C-03: what clamd fails on again
// and again, while it scans other mail, is held; what everything meets is not.
func TestPoison(t *testing.T) {
	f := fake(t)
	bad := "Subject: bad\r\n\r\n"
	f.Judge(func(p []byte) fakeclamd.Step {
		if string(p) == bad {
			return fakeclamd.Step{Reply: "stream: cannot ERROR"}
		}
		return fakeclamd.Step{Reply: "stream: OK"}
	})
	c := enforcing(f.Address())
	c.CacheEntries = 0
	d := newDesk(t, c)
	d.expect(bad, deferred)
	d.expect(bad, deferred) // nothing else was scanned in between
	d.expect(plainMail, "")
	d.expect(bad, deferred)
	d.expect(plainMail, "")
	d.expect(bad, "clamav.poison quarantine")
	before := f.Scans()
	d.expect(bad, "clamav.poison quarantine")
	if f.Scans() != before {
		t.Error("poison was sent again")
	}
	d.s.pool.round(context.Background()) // what Start does: it is no outage
	d.now.add(strikesKept + time.Hour)
	d.expect(bad, deferred)

	// A successor knows it, too.
	d.expect(plainMail, "")
	_, next, err := New(c, Options{Now: d.now.Now, Previous: d.s})
	if err != nil || next.pool.strikes != d.s.pool.strikes || next.pool.outage != d.s.pool.outage {
		t.Errorf("the successor: %v", err)
	}
}

func TestStrikesBounded(t *testing.T) {
	s, now := newStrikes(), time.Now()
	for i := range 2 * maxStrikes {
		s.hit(digest{byte(i), byte(i >> 8)}, closed, 0, now)
	}
	if len(s.entries) != maxStrikes || s.order.Len() != maxStrikes {
		t.Errorf("%d entries", len(s.entries))
	}
}

// TestOutage: after without_for what may do harm is held and plain text
// passes, tagged; one loud line at the change and one an hour.
func TestOutage(t *testing.T) {
	attachment := "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\ntext\r\n--a\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nx\r\n--a--\r\n"
	f := fake(t)
	d := newDesk(t, enforcing(f.Address()))
	d.expect(plainMail, "")
	f.Close()
	texts := []string{plainMail + "2", htmlMail, attachment, "Subject: x\r\n\r\n<HTML><script>\r\n"}
	for _, s := range texts {
		d.expect(s, deferred)
	}
	d.now.add(29 * time.Minute)
	d.expect(texts[0], deferred)
	d.now.add(time.Minute)
	r := d.expect(texts[0], "clamav.down continue, tag")
	if got := string(r.Edits[0].Insert); got != "X-Garita-Virus-Scan: not done; reason=unavailable\r\n" {
		t.Errorf("field %q", got)
	}
	for _, s := range texts[1:] {
		d.expect(s, "clamav.down quarantine")
	}
	if n := d.log.count("messages are not scanned"); n != 1 {
		t.Errorf("told %d times", n)
	}
	for range 3 {
		d.s.pool.round(context.Background())
	}
	d.now.add(time.Hour)
	for range 3 {
		d.s.pool.round(context.Background())
	}
	if n := d.log.count("still not scanned"); n != 1 {
		t.Errorf("told %d times again: %q", n, d.log.lines)
	}
	if d.s.Status().Unscanned < time.Hour {
		t.Error("the status does not tell")
	}
	// It comes back at the same address.
	back, err := fakeclamd.New("unix", strings.TrimPrefix(d.s.cfg.Servers[0], "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	d.now.add(time.Minute)
	d.s.pool.round(context.Background())
	d.expect(texts[1], "")
	if d.log.count("scanned again, after 1h3") != 1 || d.s.Status().Unscanned != 0 {
		t.Errorf("log %q", d.log.lines)
	}
}

// TestOneBadMessageIsNoOutage: a fault of one message is over when the
// self-test works.
func TestOneBadMessageIsNoOutage(t *testing.T) {
	f := fake(t)
	f.Script(fakeclamd.Step{Reply: "stream: bad ERROR"})
	d := newDesk(t, enforcing(f.Address()))
	d.expect(htmlMail, deferred)
	d.s.pool.round(context.Background())
	if d.s.Status().Unscanned != 0 {
		t.Error("an outage")
	}
}

// TestVerdictKeys: each fault has a verdict of its own.
func TestVerdictKeys(t *testing.T) {
	f := fake(t)
	f.Script(repeat(fakeclamd.Step{Reply: "what"}, 1)...)
	c := enforcing(f.Address())
	c.Nonsense, c.Failed, c.Oversize = "pass", "hold", "reject"
	d := newDesk(t, c)
	d.expect(htmlMail, "clamav.unscanned continue, tag")
	f.Script(fakeclamd.Step{Reply: "what ERROR"})
	d.expect(htmlMail+"1", "clamav.unscanned quarantine")
	f.Script(fakeclamd.Step{Reply: "INSTREAM size limit exceeded. ERROR"})
	d.expect(htmlMail+"2", "clamav.oversize reject 554 5.7.1")
}

// TestCancel: who is not waited for any more ends at once, and that is no
// fault of clamd.
func TestCancel(t *testing.T) {
	f := fake(t)
	f.Script(fakeclamd.Step{Hang: true})
	d := newDesk(t, enforcing(f.Address()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	tx := transaction(t, []byte(plainMail))
	go func() {
		_, err := d.s.CheckMessage(ctx, tx)
		done <- err
	}()
	<-f.Hanging()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if st := d.s.Status(); st.Unscanned != 0 || st.Failures != 0 || st.Endpoints[0].Running != 0 {
		t.Errorf("%+v", st)
	}
}

// TestSemaphore is C-10: never more scans at once than max_scans, and a place
// for small messages besides large ones.
func TestSemaphore(t *testing.T) {
	f := fake(t)
	var mu sync.Mutex
	now, most := 0, 0
	f.Judge(func([]byte) fakeclamd.Step {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		now--
		mu.Unlock()
		return fakeclamd.Step{Reply: "stream: OK"}
	})
	c := enforcing(f.Address())
	c.MaxScans = 3
	d := newDesk(t, c)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if r, err := d.s.CheckMessage(context.Background(), transaction(t, fmt.Appendf(nil, "Subject: %d\r\n\r\n", i))); err != nil || len(r.Findings) > 0 {
				t.Errorf("%v %v", r, err)
			}
		})
	}
	wg.Wait()
	if most > 3 || f.Scans() != 200 {
		t.Errorf("%d at once, %d scans", most, f.Scans())
	}
	e := d.s.pool.endpoints[0]
	for range 2 {
		if _, ok := e.enter(context.Background(), largeScan, quick); !ok {
			t.Fatal("no place for a large one")
		}
	}
	if _, ok := e.enter(context.Background(), largeScan, quick); ok {
		t.Error("large ones take all places")
	}
	if _, ok := e.enter(context.Background(), 1, quick); !ok {
		t.Error("no place for a small one")
	}
}

// TestStartAndClose: the loop looks at once, and ends.
func TestStartAndClose(t *testing.T) {
	f := fake(t)
	f.Health("PONG", "ClamAV 1.4.6/26000/Sun Nov  1 08:00:00 2026", false)
	d := newDesk(t, enforcing(f.Address()))
	d.s.Start()
	d.s.Start()
	for !d.s.Status().Endpoints[0].Up || d.log.count("are old") == 0 {
		runtime.Gosched()
	}
	d.s.Close()
	d.s.Close()
	c := enforcing(f.Address())
	c.Mode = "off"
	off := newDesk(t, c)
	off.s.Start()
	off.s.Close()
	if n := d.log.count("are old"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

// TestHourlySelfTest is C-15: a clamd that loses its signatures is noticed
// within the hour, at once when its version changes, and when it was away.
func TestHourlySelfTest(t *testing.T) {
	f := fake(t)
	d := newDesk(t, enforcing(f.Address()))
	d.s.pool.round(context.Background())
	f.Health("PONG", "ClamAV 1.4.6/27000/Sun Nov 22 08:00:00 2026", true)
	d.now.add(30 * time.Minute)
	d.s.pool.round(context.Background())
	d.expect(plainMail, "")
	d.now.add(31 * time.Minute)
	d.s.pool.round(context.Background())
	d.expect(htmlMail, deferred)
	if d.log.count("EICAR") == 0 {
		t.Errorf("log %q", d.log.lines)
	}
	for why, change := range map[string]func(*fakeclamd.Server, *desk){
		"version": func(f *fakeclamd.Server, d *desk) {
			f.Health("PONG", "ClamAV 1.4.6", true)
			d.now.add(time.Minute)
			d.s.pool.round(context.Background())
		},
		"closed": func(f *fakeclamd.Server, d *desk) {
			f.Health("PONG", "ClamAV 1.4.6/27000/Sun Nov 22 08:00:00 2026", true)
			f.Script(fakeclamd.Step{After: 1})
		},
	} {
		f := fake(t)
		d := newDesk(t, enforcing(f.Address()))
		d.expect(plainMail, "")
		change(f, d)
		if got := say(d.check(htmlMail)); got != deferred {
			t.Errorf("%s: %q", why, got)
		}
	}
}

var _ filters.MessageChecker = (*Scanner)(nil)
