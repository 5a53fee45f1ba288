package clamav

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestRealChaos is C-08, C-09 and C-15 at once: clamd is killed, restarted and
// told to reload while thirty sessions scan, one message in ten with EICAR in
// it. Such a message never passes, a clean one is never refused and passes in
// the end, and nobody has to lend a hand.
func TestRealChaos(t *testing.T) {
	c := startClamd(t)
	cfg := c.config()
	cfg.MaxScans, cfg.Wait, cfg.Timeout, cfg.ConnectTimeout = 4, 5*time.Second, 20*time.Second, time.Second
	log := &logged{}
	_, s, err := New(cfg, Options{Log: log.log})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Close()
	var next, passed, refused, held, put atomic.Int64
	over := make(chan struct{})
	infected := attached("a.zip", zipped(t, "b.com", eicar()))
	one := func(n int64) {
		bad := n%10 == 0
		text := fmt.Sprintf("X-Number: %d\r\nSubject: fine\r\n\r\n%s\r\n", n, strings.Repeat("text ", int(n%50)*1000))
		if bad {
			text = fmt.Sprintf("X-Number: %d\r\n", n) + infected
		}
		tx := transaction(t, []byte(text))
		for range 5000 {
			r, err := s.CheckMessage(context.Background(), tx)
			if err != nil {
				t.Error(err)
				return
			}
			switch got := say(r); {
			case got == "":
				if passed.Add(1); bad {
					t.Errorf("message %d has a virus and passed", n)
				}
				return
			case strings.Contains(got, " reject"):
				if refused.Add(1); !bad {
					t.Errorf("message %d is clean: %s", n, got)
				}
				return
			case strings.Contains(got, poisoned):
				held.Add(1)
				return
			case !strings.Contains(got, " defer"):
				t.Errorf("message %d: %s", n, got)
				return
			}
			put.Add(1)
			time.Sleep(time.Duration(10+rand.IntN(40)) * time.Millisecond) // its sender tries again
		}
		t.Errorf("message %d was put off for ever: %+v", n, s.Status())
	}
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					one(next.Add(1))
				}
			}
		})
	}
	for range 4 {
		until := s.Status().Scans + 200
		for end := time.Now().Add(2 * time.Minute); s.Status().Scans < until; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it does not come back: %+v", s.Status())
			}
			if rand.IntN(20) == 0 {
				_ = c.cmd.Process.Signal(syscall.SIGUSR2)
			}
		}
		c.kill()
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		c.start()
	}
	close(over)
	wg.Wait()
	for n := range 10 { // whoever comes now
		one(int64(n) + 1_000_000)
	}
	t.Logf("%d messages: %d passed, %d refused, %d held as poison, %d times put off", next.Load(), passed.Load(), refused.Load(), held.Load(), put.Load())
	if passed.Load() == 0 || refused.Load() == 0 || put.Load() == 0 {
		t.Error("too quiet")
	}
}

// TestOneFailureForMany: many sessions see clamd go at the same instant. It is
// asked again after the shortest wait.
func TestOneFailureForMany(t *testing.T) {
	e := newEndpoint(address{"unix", "/none"}, 4, newClock().Now())
	now := newClock()
	e.doubt()
	for range 30 {
		e.down("refused", now.Now())
	}
	if now.add(firstBackoff); !e.usable(now.Now()) {
		t.Errorf("asked again at %s", e.retry)
	}
	for range 30 {
		e.down("refused", now.Now())
	}
	if e.usable(now.Now()) || e.backoff != 2*firstBackoff {
		t.Errorf("then after %s", e.backoff)
	}
	for range 10 {
		now.add(lastBackoff)
		e.down("refused", now.Now())
	}
	if e.backoff != lastBackoff {
		t.Errorf("at last %s", e.backoff)
	}
}

// TestBackBlind is C-15: a clamd that was gone for an instant is back with the
// same version and without signatures. It is proven again, and not believed.
func TestBackBlind(t *testing.T) {
	f := fake(t)
	d := newDesk(t, enforcing(f.Address()))
	d.expect(plainMail, "")
	e := d.s.pool.endpoints[0]
	d.s.pool.down(e, "connection refused")
	d.s.pool.outage.end(d.now.Now()) // another clamd scans meanwhile
	f.Health("PONG", "ClamAV 1.4.6/27000/Sun Nov 22 08:00:00 2026", true)
	e.mu.Lock()
	e.version = "ClamAV 1.4.6/27000/Sun Nov 22 08:00:00 2026"
	e.mu.Unlock()
	d.now.add(time.Minute)
	d.expect(plainMail+"x", deferred)
}

// TestEarlyOK is C-07: what answers OK before it has the whole message has not
// scanned it, though it reads on to the end.
func TestEarlyOK(t *testing.T) {
	for _, size := range []int{10, 3 << 20} {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					b := make([]byte, 12)
					if _, err := io.ReadFull(c, b); err == nil {
						_, _ = io.WriteString(c, "stream: OK\x00")
						_, _ = io.Copy(io.Discard, c)
					}
				}()
			}
		}()
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		slow := &pausing{octets(strings.Repeat("x", size))}
		out, err := scan(ctx, address{"unix", l.Addr().String()}, times{time.Second, 5 * time.Second}, slow)
		if err != nil || out.kind != nonsense || !strings.Contains(out.text, "before the end") {
			t.Errorf("%d octets: %+v %v", size, out, err)
		}
		cancel()
		_ = l.Close()
	}
}

// pausing is content whose last octets come late, as those of a spool file.
type pausing struct{ octets }

func (p *pausing) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(p.octets[:len(p.octets)-1])
	if err != nil {
		return int64(n), err
	}
	// Until the answer is there: nobody else can tell us.
	for end := time.Now().Add(60 * time.Second); !answered(w.(*streamWriter).conn) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	_, err = w.Write(p.octets[len(p.octets)-1:])
	return p.Size(), err
}
