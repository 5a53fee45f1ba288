package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/admin"
	"garita/smtpproxy/relay/fakehop"
)

// inProcess is a daemon inside the test, so that goroutines and descriptors
// can be counted.
func inProcess(t *testing.T) (d *daemon, file string, end func() error) {
	t.Helper()
	hop := startHop(t, fakehop.Config{})
	dir := initialise(t, hop.Addr())
	file = filepath.Join(dir, "config.toml")
	s, _, problems := load(file, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	d, err := newDaemon(file, s, nil, notifier{})
	if err != nil {
		t.Fatal(err)
	}
	d.drain = patience
	if err := d.serve(context.Background()); err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 8)
	ended := make(chan error, 1)
	go func() { ended <- d.loop(context.Background(), signals) }()
	var once sync.Once
	var result error
	end = func() error {
		once.Do(func() {
			d.stop <- "the test"
			result = <-ended
		})
		return result
	}
	t.Cleanup(func() { _ = end() })
	return d, file, end
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestManyReloads (attacks L-11): reloads, good and bad, one after the other
// and two at once, leave nothing behind.
func TestManyReloads(t *testing.T) {
	d, file, _ := inProcess(t)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(good), "#max_recipients = 1000", "max_recipients = 500", 1)
	other = strings.Replace(other, "#wait_budget = \"30s\"", "wait_budget = \"20s\"", 1)
	ctx := context.Background()
	// The first rounds open what stays open.
	round := func(n int) {
		var wg sync.WaitGroup
		for range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if _, err := d.reload(ctx); err != nil && n%3 != 2 {
					t.Errorf("reload: %v", err)
				}
			}()
		}
		wg.Wait()
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	texts := []string{string(good), other, "nonsense = ["}
	for n := range 3 {
		write(texts[n%3])
		round(n)
	}
	goroutines, open := runtime.NumGoroutine(), descriptors(t)
	for n := range 120 {
		write(texts[n%3])
		round(n)
	}
	// Probes of next hops and pooled connections end a little later.
	await(t, "goroutines and descriptors to be as few as before", func() bool {
		return runtime.NumGoroutine() <= goroutines+2 && descriptors(t) <= open+2
	})
	if got := d.now.Load().settings.Limits.MaxRecipients; got != 500 {
		t.Errorf("after the last good reload max_recipients is %d, want 500", got)
	}
}

// TestReloadWhileStopping: a reload never opens sockets behind a shutdown.
func TestReloadWhileStopping(t *testing.T) {
	d, _, end := inProcess(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				var e *admin.Error
				if _, err := d.reload(context.Background()); err != nil && (!errors.As(err, &e) || e.Code != admin.CodeTemporary) {
					t.Errorf("reload: %v", err)
				}
			}
		}()
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if left := d.sockets.all(); len(left) != 0 {
		t.Errorf("sockets are open after the end: %v", left)
	}
}

// echo is a server on the sockets that names the listener.
func echo(name string, l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return nil
		}
		_, _ = io.WriteString(c, name)
		c.Close()
	}
}

func ask(t *testing.T, a netip.AddrPort) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", a.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	raw, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// free gives an address that was free a moment ago.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestSocketsChange(t *testing.T) {
	k := newSockets(echo, func(name string, err error) { t.Errorf("%s ended: %v", name, err) })
	t.Cleanup(k.close)
	apply := func(want ...bound) {
		t.Helper()
		c, err := k.prepare(want)
		if err != nil {
			t.Fatal(err)
		}
		k.commit(c)
	}
	a, b, c := free(t), free(t), free(t)
	apply(bound{"in", a}, bound{"out", b})
	if ask(t, a) != "in" || ask(t, b) != "out" {
		t.Fatal("the listeners do not answer by their names")
	}
	same := k.open[bound{"in", a}]

	// An address that stays keeps its socket, one that goes is closed, one
	// that moves to another listener keeps what waits in its queue.
	apply(bound{"in", a}, bound{"new", b}, bound{"new", c})
	if k.open[bound{"in", a}] != same {
		t.Error("an address that stayed got a new socket")
	}
	if ask(t, a) != "in" || ask(t, b) != "new" || ask(t, c) != "new" {
		t.Error("after the change the listeners do not answer by their names")
	}

	// What cannot be opened changes nothing.
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := descriptors(t)
	fresh := free(t)
	_, err = k.prepare([]bound{{"in", fresh}, {"in", netip.MustParseAddrPort(taken.Addr().String())}})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("prepare: %v", err)
	}
	if ask(t, a) != "in" || ask(t, b) != "new" || len(k.all()) != 3 {
		t.Error("a failed change changed something")
	}
	await(t, "the sockets of the failed change to be closed", func() bool { return descriptors(t) <= before })

	apply(bound{"in", a})
	if l, err := net.Listen("tcp4", c.String()); err != nil {
		t.Errorf("an address that was given up is still in use: %v", err)
	} else {
		l.Close()
	}
}

// TestMoveLosesNothing: connections that wait in the queue of an address that
// moves are answered by its new listener.
func TestMoveLosesNothing(t *testing.T) {
	hold := make(chan struct{})
	k := newSockets(func(name string, l net.Listener) error {
		if name == "old" {
			<-hold // takes nothing from its queue
			return nil
		}
		return echo(name, l)
	}, func(string, error) {})
	t.Cleanup(k.close)
	t.Cleanup(func() { close(hold) })
	a := free(t)
	c, err := k.prepare([]bound{{"old", a}})
	if err != nil {
		t.Fatal(err)
	}
	k.commit(c)
	waiting, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if c, err = k.prepare([]bound{{"new", a}}); err != nil {
		t.Fatal(err)
	}
	k.commit(c)
	_ = waiting.SetDeadline(time.Now().Add(patience))
	raw, err := io.ReadAll(waiting)
	if err != nil || string(raw) != "new" {
		t.Errorf("the waiting connection was answered %q, %v", raw, err)
	}
}

// TestBothFamilies: "0.0.0.0" and "[::]" with one port can stand side by side,
// and "[::]" alone takes IPv4 too.
func TestBothFamilies(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6: ", err)
	} else {
		l.Close()
	}
	k := newSockets(echo, func(name string, err error) { t.Errorf("%s ended: %v", name, err) })
	t.Cleanup(k.close)
	// A port that is free on 127.0.0.1 need not be free on every address.
	var port uint16
	var six netip.AddrPort
	var c *change
	await(t, "a port that is free everywhere", func() bool {
		port = free(t).Port()
		six = netip.AddrPortFrom(netip.IPv6Unspecified(), port)
		var err error
		c, err = k.prepare([]bound{{"four", netip.AddrPortFrom(netip.IPv4Unspecified(), port)}, {"six", six}})
		return err == nil
	})
	k.commit(c)
	loop4, loop6 := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), netip.AddrPortFrom(netip.IPv6Loopback(), port)
	if ask(t, loop4) != "four" || ask(t, loop6) != "six" {
		t.Error("the families are not apart")
	}
	k.close()
	k = newSockets(echo, func(name string, err error) { t.Errorf("%s ended: %v", name, err) })
	defer k.close()
	c, err := k.prepare([]bound{{"both", six}})
	if err != nil {
		t.Fatal(err)
	}
	k.commit(c)
	if ask(t, loop4) != "both" || ask(t, loop6) != "both" {
		t.Error("[::] alone does not take both families")
	}
}

func TestNeedRestart(t *testing.T) {
	a, b := defaults(), defaults()
	if got := needRestart(&a, &b); len(got) != 0 {
		t.Errorf("nothing changed, and yet %v", got)
	}
	b.StateDir, b.Log.Format, b.Admin.Socket = "/x", "json", "/y"
	b.Limits.MessagesTotal, b.Limits.MessagesMemory, b.Limits.MaxHops = 1, 2, 3
	got := strings.Join(needRestart(&a, &b), " ")
	if want := "state_dir log.format admin.socket limits.messages_total limits.messages_memory"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
