package kill

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"garita/test/harness"
)

// bigLists writes lists of n entries each and gives the settings that use
// them: clients, senders, known recipients, routes and aliases.
func bigLists(t *testing.T, dir string, n int) []harness.Setting {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	write := func(name string, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
			b.WriteByte('\n')
		}
		file := filepath.Join(dir, name)
		replace(t, file, b.String())
		return "[" + strconv.Quote(file) + "]"
	}
	return []harness.Setting{
		{Table: "check.access", Key: "client_files", Value: write("clients", func(i int) string {
			return fmt.Sprintf("10.%d.%d.%d reject", 1+i>>16, i>>8&255, i&255)
		})},
		{Table: "check.access", Key: "sender_files", Value: write("senders", func(i int) string {
			return fmt.Sprintf("user%d@bad%d.example reject", i, i%1000)
		})},
		{Table: "route", Key: "recipient_list_files", Value: write("known", func(i int) string {
			if i == 0 {
				return "b@our.example"
			}
			return fmt.Sprintf("user%d@our.example", i)
		})},
		{Table: "route", Key: "recipient_files", Value: write("routes", func(i int) string {
			return fmt.Sprintf("user%d@our.example smtp:[127.0.0.1]:9", i)
		})},
		{Table: "route", Key: "alias_files", Value: write("aliases", func(i int) string {
			return fmt.Sprintf("alias%d@our.example b@our.example", i)
		})},
	}
}

// submitters send mail through AUTH until they are told to stop.
type submitters struct {
	sent, bad atomic.Int64
	slowest   atomic.Int64
	stop      chan struct{}
	wg        sync.WaitGroup
}

func (w *world) startSubmitters(t *testing.T, n int) *submitters {
	s := &submitters{stop: make(chan struct{})}
	one := func(i int) error {
		c, err := w.submit(t)
		if err != nil {
			return err
		}
		defer c.Close()
		if r := login(c, userName, userPassword); r.Code != 235 {
			return fmt.Errorf("AUTH: %s", r)
		}
		if r := c.Send("ana@our.example", []string{fmt.Sprintf("r%d@elsewhere.example", i)}, "Subject: s\r\n\r\nx\r\n"); r.Code != 250 {
			return fmt.Errorf("message: %s", r)
		}
		c.Say("QUIT").Reply()
		return nil
	}
	for range n {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			for i := 0; ; i++ {
				select {
				case <-s.stop:
					return
				default:
				}
				begin := time.Now()
				if err := one(i); err != nil {
					s.bad.Add(1)
					t.Errorf("submission: %v", err)
					return
				}
				s.sent.Add(1)
				if d := int64(time.Since(begin)); d > s.slowest.Load() {
					s.slowest.Store(d)
				}
			}
		}()
	}
	return s
}

func (s *submitters) end() {
	close(s.stop)
	s.wg.Wait()
}

// TestReloadUnderLoad (attacks L-10, L-11): while mail flows in and out, with
// AUTH, PROXY headers, routes and lists of 100,000 entries, the configuration
// is read again and again, by signal and by command. No session stalls, no
// message fails, nothing is left behind.
func TestReloadUnderLoad(t *testing.T) {
	times, entries := 12, 20_000
	if os.Getenv("GARITA_SOAK") != "" {
		times, entries = 100, 100_000
	}
	var mu sync.Mutex
	arrived := map[int][][32]byte{}
	hop := harness.StartSandbox(t, harness.SandboxOptions{OnStored: func(s harness.Stored) error {
		if id, sum, ok := identify(string(s.Data)); ok {
			mu.Lock()
			defer mu.Unlock()
			arrived[id] = append(arrived[id], sum)
		}
		return nil
	}, Forget: true})
	smart := harness.StartSandbox(t, harness.SandboxOptions{Discard: true, Forget: true})
	w := everything(t, harness.Options{NextHop: hop.Addr, SmartHost: smart.Addr, Plain: true}, harness.Setting{
		Table: "log", Key: "level", Value: `"warning"`})
	harness.Configure(t, w.Config, bigLists(t, filepath.Join(w.Dir, "lists"), entries)...)
	w.Start()
	c := harness.Greeted(t, w.Inbound)
	c.Say("MAIL FROM:<a@x.example>").Want(250)
	c.Say("RCPT TO:<nobody@our.example>").Want(550) // the lists are in use
	c.Close()
	// One session that is there from the first to the last.
	held := harness.Greeted(t, w.Inbound)
	l := startLoad(t, w.Inbound, w.proxy, 3)
	out := w.startSubmitters(t, 2)
	var took []time.Duration
	var early int64
	heldSent := 0
	for i := range times {
		// Something is different each time.
		harness.Configure(t, w.Config, harness.Setting{Table: "limits", Key: "max_recipients", Value: strconv.Itoa(500 + i)})
		w.writeUsers(t, userName, fmt.Sprintf("user%d", i))
		was := w.figure(t, reloadsDone)
		begin := time.Now()
		if i%2 == 0 {
			w.command(t, "reload")
		} else {
			w.Signal(syscall.SIGHUP)
			harness.Eventually(t, "SIGHUP is no reload", func() bool { return w.figure(t, reloadsDone) > was })
		}
		took = append(took, time.Since(begin).Round(time.Millisecond))
		if r := held.Send("a@x.example", []string{"b@our.example"}, "Subject: held\r\n\r\nx\r\n"); r.Code != 250 {
			t.Fatalf("after %d reloads the session from before gets %s", i+1, r)
		}
		heldSent++
		if i == times/3 {
			early, _ = w.RSS()
		}
	}
	l.end()
	out.end()
	held.Say("QUIT").Reply()
	settle(t, w.Gateway)
	late, _ := w.RSS()
	end := w.measure(t)
	if n := w.figure(t, reloadsDone); n != float64(times) {
		t.Errorf("%.0f reloads have succeeded, want %d", n, times)
	}
	for what, n := range l.told {
		if what != "250" {
			t.Errorf("%d letters: %s", n, what)
		}
	}
	if smart.Count() != int(out.sent.Load()) || out.sent.Load() == 0 {
		t.Errorf("%d messages submitted, %d arrived", out.sent.Load(), smart.Count())
	}
	mu.Lock()
	s := l.reconcile(t, arrived)
	mu.Unlock()
	if s.twice > 0 || hop.Count() != s.letters+heldSent {
		t.Errorf("%d letters and %d of the held session were sent, %d arrived", s.letters, heldSent, hop.Count())
	}
	t.Logf("%d reloads with 5 lists of %d entries: %v", times, entries, took)
	t.Logf("meanwhile %d letters in, the slowest in %s, and %d out, the slowest in %s; resident after a third %d MB, at the end %d MB; %s",
		s.letters, time.Duration(l.slowest.Load()).Round(time.Millisecond), out.sent.Load(),
		time.Duration(out.slowest.Load()).Round(time.Millisecond), early>>20, late>>20, end)
	// A generation of these lists that nobody lets go of would show: each has
	// tens of megabytes.
	if late > early+max(early/2, 64<<20) {
		t.Errorf("resident %d MB after a third of the reloads, %d MB at the end", early>>20, late>>20)
	}
	if end.goroutines > 60 {
		t.Errorf("%d goroutines with nobody there", end.goroutines)
	}
}
