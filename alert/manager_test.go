package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/maillog"
	"garita/store"
)

// kit is a manager with a clock, a log and channels of the test.
type kit struct {
	*Manager
	t     *testing.T
	log   string
	mu    sync.Mutex
	now   time.Time
	pause chan chan time.Time // pauses of workers that wait for the test
}

func (k *kit) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *kit) pass(d time.Duration) {
	k.mu.Lock()
	k.now = k.now.Add(d)
	k.mu.Unlock()
	k.tick()
}

func newKit(t *testing.T, c Config, s store.Store) *kit {
	t.Helper()
	k := &kit{t: t, now: start(), log: filepath.Join(t.TempDir(), "mail.log"), pause: make(chan chan time.Time, 100)}
	lc := maillog.Default()
	lc.Output = k.log
	l, err := maillog.New(lc, maillog.Env{Hostname: "mx"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	k.Manager, err = Open(Options{Config: c, Host: "mx.example.org", Store: s, Log: l, Now: k.clock, still: true,
		after: func(d time.Duration) <-chan time.Time {
			c := make(chan time.Time, 1)
			if d == lastTry {
				return time.After(d)
			}
			k.pause <- c
			return c
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// logged gives the log.
func (k *kit) logged() string {
	k.Manager.log.Flush()
	raw, err := os.ReadFile(k.log)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(raw)
}

// fake is a channel that does what the test says.
type fake struct {
	got  chan Notice
	say  chan error // one for each attempt; closed: always well
	hang chan struct{}
}

func newFake() *fake { return &fake{got: make(chan Notice, 1000), say: make(chan error, 1000)} }

func (f *fake) send(ctx context.Context, n Notice) error {
	if f.hang != nil {
		select {
		case <-f.hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.got <- n
	select {
	case err := <-f.say:
		return err
	default:
		return nil
	}
}

// with gives the manager a channel.
func (k *kit) with(name string, least Severity, ch channel) {
	w := k.newWorker(wanted{name, least, nil, ch}, 20*time.Second)
	k.Manager.mu.Lock()
	k.workers[name] = w
	k.Manager.mu.Unlock()
	go w.run()
}

func (k *kit) next(f *fake) Notice {
	k.t.Helper()
	select {
	case n := <-f.got:
		return n
	case <-time.After(patience):
		k.t.Fatal("nothing came")
		return Notice{}
	}
}

// until waits for what another goroutine does.
func (k *kit) until(what string, ok func() bool) {
	k.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			k.t.Fatal("never: " + what)
		}
	}
}

func (k *kit) count(name, result string) uint64 {
	for _, s := range k.Sent() {
		if s.Channel == name && s.Result == result {
			return s.N
		}
	}
	return 0
}

func TestManager(t *testing.T) {
	k := newKit(t, Default(), nil)
	all, pager := newFake(), newFake()
	k.with("mail.ops", Warning, all)
	k.with("exec.pager", Critical, pager)
	k.Raise(hopDown(Warning))
	if n := k.next(all); n.Event != EventRaised || n.Command != "" || n.Host != "mx.example.org" {
		t.Errorf("%+v", n)
	}
	k.Raise(hopDown(Critical))
	if a, p := k.next(all), k.next(pager); a.Event != EventEscalated || p.ID != a.ID {
		t.Errorf("%+v %+v", a, p)
	}
	k.Resolve("next-hop/mail")
	if a, p := k.next(all), k.next(pager); a.Event != EventResolved || p.Event != EventResolved || a.Resolved.IsZero() {
		t.Errorf("%+v %+v", a, p)
	}
	k.until("counted", func() bool { return k.count("mail.ops", resultSent) == 3 && k.count("exec.pager", resultSent) == 2 })
	log := k.logged()
	for _, want := range []string{`garita/alert`, `warning: WARNING: next hop mail does not answer event="raised" key="next-hop/mail" severity="warning"`, `info: RESOLVED: next hop mail`} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log:\n%s", want, log)
		}
	}
	if len(k.List(false)) != 0 || len(k.List(true)) != 1 || k.OpenCount() != [3]int{} {
		t.Errorf("%+v", k.List(true))
	}
}

// TestNil: who has no manager may call all of it.
func TestNil(t *testing.T) {
	var m *Manager
	m.Raise(hopDown(Warning))
	m.Resolve("x")
	m.ResolveOthers(nil, nil)
	m.Close()
	if len(m.List(true))+len(m.Sent())+len(m.Silences()) != 0 || m.IsOpen("x") {
		t.Error("something is open")
	}
}

// TestRetry: pauses grow, another channel is told at the second failure, and
// that it is over when a notice got through.
func TestRetry(t *testing.T) {
	k := newKit(t, Default(), nil)
	bad, good := newFake(), newFake()
	for range 3 {
		bad.say <- errors.New("451 \x1b[2Jlater")
	}
	k.with("webhook.bad", Warning, bad)
	k.with("mail.good", Warning, good)
	k.Raise(hopDown(Warning))
	first := k.next(bad)
	if n := k.next(good); n.ID != first.ID {
		t.Errorf("%+v", n)
	}
	for range 2 {
		(<-k.pause) <- time.Time{}
		if n := k.next(bad); n.ID != first.ID {
			t.Errorf("another notice: %+v", n)
		}
	}
	n := k.next(good)
	if n.Alert.Key != "channel/webhook.bad" || n.Alert.Kind != Channel || n.Alert.Facts[0].Value != `451 \x1b[2Jlater` || n.Command != "garita alert test --channel webhook.bad" {
		t.Errorf("%+v", n)
	}
	(<-k.pause) <- time.Time{}
	k.next(bad) // it gets through
	if n := k.next(good); n.Event != EventResolved || n.Alert.Key != "channel/webhook.bad" {
		t.Errorf("%+v", n)
	}
	if k.count("webhook.bad", resultRetried) != 3 || k.count("webhook.bad", resultSent) != 1 {
		t.Errorf("%+v", k.Sent())
	}
	if log := k.logged(); strings.Count(log, `a channel does not deliver channel="webhook.bad" key="next-hop/mail" given_up="false" error="451 \x1b[2Jlater"`) != 1 &&
		strings.Count(log, "a channel does not deliver") != 1 || strings.Contains(log, "\x1b") {
		t.Errorf("%s", log)
	}
}

// TestGiveUp: for good at once, and after an hour in any case.
func TestGiveUp(t *testing.T) {
	k := newKit(t, Default(), nil)
	bad := newFake()
	bad.say <- fmt.Errorf("%w: 550", errPermanent)
	k.with("mail.bad", Warning, bad)
	k.Raise(hopDown(Warning))
	k.next(bad)
	k.until("failed", func() bool { return k.count("mail.bad", resultFailed) == 1 && k.IsOpen("channel/mail.bad") })
	for range 10 {
		bad.say <- errors.New("no route")
	}
	k.Raise(Alert{Key: "x", Severity: Warning})
	k.next(bad)
	p := <-k.pause
	k.pass(giveUp)
	p <- time.Time{}
	k.next(bad)
	k.until("given up", func() bool { return k.count("mail.bad", resultFailed) >= 2 })
}

// TestNeverBlocks: a channel that hangs holds up no caller, keeps the newest
// and counts what it had no room for; the end cuts it short.
func TestNeverBlocks(t *testing.T) {
	c := Default()
	c.Rate = maxRate
	k := newKit(t, c, nil)
	f := newFake()
	f.hang = make(chan struct{})
	k.with("exec.slow", Warning, f)
	for i := range 500 {
		k.Raise(Alert{Key: fmt.Sprint("limit/", i), Severity: Warning})
	}
	k.Manager.mu.Lock()
	w := k.workers["exec.slow"]
	w.mu.Lock()
	if len(w.queue) != maxWaiting || w.queue[maxWaiting-1].n.Alert.Key != "limit/499" {
		t.Errorf("%d wait", len(w.queue))
	}
	w.mu.Unlock()
	k.Manager.mu.Unlock()
	if n := k.count("exec.slow", resultDropped); n < 500-maxWaiting {
		t.Errorf("%d dropped", n)
	}
	w.cancel()
	k.Close()
}

func memory(t *testing.T, dir string) *store.Memory {
	t.Helper()
	m, err := store.Open(store.Config{Path: filepath.Join(dir, "state.db")})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRestart: what is open, seen and silent stays so; what was told and never
// delivered is told again.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := memory(t, dir)
	k := newKit(t, Default(), s)
	f := newFake()
	k.with("mail.ops", Warning, f)
	k.Raise(hopDown(Warning))
	k.next(f)
	k.until("delivered", func() bool { return k.count("mail.ops", resultSent) == 1 })
	if _, err := k.Ack(t.Context(), "next-hop/mail", "juan \x1b"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Ack(t.Context(), "nothing", "juan"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	if _, err := k.Silence(t.Context(), "limit/*", time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 10 { // nobody takes what comes now
		f.say <- errors.New("down")
	}
	k.Raise(Alert{Key: "store/state", Severity: Critical, Subject: Text{EN: "hostile <>&\"\\ ñ"}})
	k.next(f)
	k.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = memory(t, dir)
	defer s.Close()
	k = newKit(t, Default(), s)
	list := k.List(false)
	if len(list) != 2 || list[0].AckedBy != `juan_\x1b` && list[0].AckedBy != `juan \x1b` || list[1].Subject.EN != "hostile <>&\"\\ ñ" || list[1].Severity != Critical {
		t.Fatalf("%+v", list)
	}
	if s := k.Silences(); len(s) != 1 || s[0].Key != "limit/*" {
		t.Errorf("%+v", s)
	}
	f = newFake()
	k.with("mail.ops", Warning, f)
	k.Raise(hopDown(Warning)) // told before, and seen
	k.tick()
	if n := k.next(f); n.Alert.Key != "store/state" || n.Event != EventRaised {
		t.Errorf("%+v", n)
	}
	if len(f.got) != 0 {
		t.Errorf("%+v", <-f.got)
	}
	k.Resolve("next-hop/mail")
	if n := k.next(f); n.Event != EventResolved || n.Alert.Key != "next-hop/mail" {
		t.Errorf("%+v", n)
	}
}

// failing is a store whose disk is gone.
type failing struct{ store.Store }

var errDisk = errors.New("no disk")

func (failing) List(context.Context, string, string, int) ([]store.Item, error) { return nil, errDisk }
func (failing) Keep(context.Context, string, []byte, time.Duration) error       { return errDisk }
func (failing) PutNow(context.Context, string, []byte, time.Duration) error     { return errDisk }

// TestStoreFault: alerts about the store are told by a manager whose store
// fails, and an operator hears that his word is not on the disk.
func TestStoreFault(t *testing.T) {
	k := newKit(t, Default(), failing{})
	f := newFake()
	k.with("mail.ops", Warning, f)
	k.Raise(Alert{Key: "store/state", Kind: StoreFault, Severity: Critical})
	k.next(f)
	if _, err := k.Ack(t.Context(), "store/state", "juan"); !errors.Is(err, ErrNotDurable) || !errors.Is(err, errDisk) {
		t.Errorf("%v", err)
	}
	if _, err := k.Silence(t.Context(), "a", time.Hour); !errors.Is(err, ErrNotDurable) {
		t.Errorf("%v", err)
	}
	if len(k.Silences()) != 1 || k.List(false)[0].AckedBy != "juan" {
		t.Error("they do not hold")
	}
	k.save()
	k.Raise(Alert{Key: "b"})
	k.save()
	if log := k.logged(); !strings.Contains(log, "what was open before the start is not known") || !strings.Contains(log, "open alerts may not survive a restart") {
		t.Error(log)
	}
}

// TestEvents: what has no end is closed by who has seen it.
func TestEvents(t *testing.T) {
	k := newKit(t, Default(), nil)
	k.Raise(Alert{Key: "suspension/juan", Kind: Suspension, Severity: Warning, Event: true})
	k.ResolveOthers([]Kind{Suspension}, func(string) bool { return false })
	if !k.IsOpen("suspension/juan") {
		t.Error("an event was resolved by a look")
	}
	if _, err := k.Ack(t.Context(), "suspension/juan", "ana"); err != nil || k.IsOpen("suspension/juan") {
		t.Errorf("%v", err)
	}
	k.Raise(Alert{Key: "disk/a", Kind: Disk, Severity: Warning})
	k.Raise(Alert{Key: "disk/b", Kind: Disk, Severity: Warning})
	k.ResolveOthers([]Kind{Disk}, func(key string) bool { return key == "disk/b" })
	if k.IsOpen("disk/a") || !k.IsOpen("disk/b") {
		t.Errorf("%+v", k.List(true))
	}
}

func TestSilences(t *testing.T) {
	k := newKit(t, Default(), nil)
	for i := range maxSilences {
		if _, err := k.Silence(t.Context(), fmt.Sprint(i), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.Silence(t.Context(), "one more", time.Hour); !errors.Is(err, ErrMany) {
		t.Errorf("%v", err)
	}
	if _, err := k.Silence(t.Context(), "1", 0); err != nil || len(k.Silences()) != maxSilences-1 {
		t.Errorf("%v", err)
	}
	if _, err := k.Silence(t.Context(), "x", -1); err == nil {
		t.Error("a negative time")
	}
}

// TestUpdate: channels come and go with the configuration, and what waits stays
// with a channel that changes.
func TestUpdate(t *testing.T) {
	var b box
	addr, _ := b.serve(t, "none")
	c := Default()
	c.Mail = map[string]MailConfig{"ops": mailTo(addr, "none", "ops@example.org")}
	k := newKit(t, c, nil)
	old := k.workers["mail.ops"]
	if err := k.Update(c); err != nil || k.workers["mail.ops"] != old {
		t.Errorf("the same channel was made anew: %v", err)
	}
	got, err := k.Test(t.Context(), "", "root")
	if err != nil || len(got) != 1 || got[0] != (Tested{Channel: "mail.ops"}) || len(b.data) != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	if !bytes.Contains(b.data[0], []byte("\r\nPRUEBA: esto es una prueba\r\n")) {
		t.Errorf("%s", b.data[0])
	}
	c.Mail = map[string]MailConfig{"ops": mailTo(addr, "none", "boss@example.org")}
	c.Language = "es"
	if err := k.Update(c); err != nil || k.workers["mail.ops"] == old {
		t.Errorf("%v", err)
	}
	k.Raise(hopDown(Critical))
	k.until("delivered", func() bool { return k.count("mail.ops", resultSent) == 1 })
	if _, _, text := readLetter(t, b.data[1]); b.to[1] != "boss@example.org" || strings.Contains(text, "Run:") || !strings.Contains(text, "mail no responde") {
		t.Errorf("%q %s", b.to, text)
	}
	c.Mail = nil
	c.Enabled = false
	if err := k.Update(c); err != nil || len(k.workers) != 0 {
		t.Errorf("%v %v", err, k.workers)
	}
	k.Raise(Alert{Key: "x", Severity: Critical})
	if k.IsOpen("x") {
		t.Error("enabled = false and an alert is open")
	}
	if _, err := k.Test(t.Context(), "mail.ops", "root"); !errors.Is(err, ErrChannel) {
		t.Errorf("%v", err)
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	k := newKit(t, Default(), memory(t, t.TempDir()))
	k.with("mail.ops", Warning, newFake())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				key := fmt.Sprint("k/", (i+j)%20)
				k.Raise(Alert{Key: key, Severity: Warning, Kind: Limit})
				switch j % 5 {
				case 0:
					k.Resolve(key)
				case 1:
					k.List(true)
					k.Sent()
				case 2:
					_, _ = k.Ack(t.Context(), key, "x")
				case 3:
					k.save()
				case 4:
					_ = k.Update(Default())
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRaiseAgain(b *testing.B) {
	m, err := Open(Options{Config: Default(), still: true})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	a := Alert{Key: "next-hop/mail", Severity: Warning, Subject: Text{EN: "next hop mail does not answer"}, Facts: []Fact{{"error", "dial tcp: refused"}}}
	for b.Loop() {
		m.Raise(a)
	}
}
