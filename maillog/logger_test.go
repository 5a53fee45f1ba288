package maillog

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/mail"
)

func fileConfig(name string) Config {
	c := Default()
	c.Output = name
	return c
}

func open(t *testing.T, c Config, e Env) *Logger {
	t.Helper()
	e.Hostname, e.PID = "gw", 812
	l, err := New(c, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// gate is a destination that hangs until it is opened, and fails on demand.
type gate struct {
	syncBuffer
	open   chan struct{}
	mu     sync.Mutex
	writes int
	fail   func(n int, p []byte) (int, error) // the n-th write, from 1
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	g.writes++
	n := g.writes
	g.mu.Unlock()
	if g.fail != nil {
		if k, err := g.fail(n, p); err != nil {
			g.syncBuffer.Write(p[:k])
			return k, err
		}
	}
	return g.syncBuffer.Write(p)
}

// A destination that hangs: callers go on at once, what does not fit is
// dropped and counted, and the count is told when it is written again (L-20).
func TestFullQueueDropsAndTells(t *testing.T) {
	g := newGate()
	c := Default()
	c.Queue = 64 << 10
	l := open(t, c, Env{Stderr: g})
	const total = 5000
	for i := range total {
		l.Info("x", fmt.Sprintf("record %d %s", i, strings.Repeat("y", 100)))
	}
	dropped := l.Stats().Dropped
	if dropped == 0 || dropped >= total {
		t.Fatalf("dropped %d of %d", dropped, total)
	}
	close(g.open)
	l.Flush()
	l.Info("x", "after")
	l.Flush()
	out := g.String()
	var told uint64
	for _, m := range regexp.MustCompile(`(?m)garita/log\[812\]: warning: (\d+) records dropped$`).FindAllStringSubmatch(out, -1) {
		n, _ := strconv.ParseUint(m[1], 10, 64)
		told += n
	}
	if told != dropped {
		t.Errorf("%d dropped, %d told", dropped, told)
	}
	if n := uint64(strings.Count(out, ": record ")); n+dropped != total {
		t.Errorf("%d written, %d dropped of %d", n, dropped, total)
	}
	if !strings.Contains(out, "info: after\n") {
		t.Error("nothing is written after the stop")
	}
	if s := l.Stats(); s.Records != total-dropped+1 {
		t.Errorf("records %d", s.Records)
	}
}

// Close does not wait for a destination that hangs, and says what it lost.
func TestCloseIsBounded(t *testing.T) {
	g := newGate()
	l := open(t, Default(), Env{Stderr: g})
	l.Info("x", "y")
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "1 records") {
		t.Errorf("err %v", err)
	}
	l.Info("x", "late")
	if l.Stats().Dropped != 1 {
		t.Error("a record after Close is not counted")
	}
	close(g.open)
	<-l.done
	if !strings.Contains(g.String(), "info: y") {
		t.Error("the queue was not written at last")
	}
}

// A write that ends inside a line: the rest is counted as lost and the next
// record begins on a line of its own.
func TestPartialWrite(t *testing.T) {
	g := newGate()
	close(g.open)
	full := errors.New("no space left on device")
	g.fail = func(n int, p []byte) (int, error) {
		if n == 1 {
			return len(p) - 5, full
		}
		return 0, nil
	}
	l := open(t, Default(), Env{Stderr: g})
	l.Info("x", "first record")
	l.Flush()
	l.Info("x", "second")
	l.Flush()
	lines := strings.Split(strings.TrimSuffix(g.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "info: first re") || !strings.Contains(lines[1], "1 records dropped") || !strings.HasSuffix(lines[2], "info: second") {
		t.Errorf("%q", lines)
	}
	if s := l.Stats(); s.Dropped != 1 || s.WriteErrors != 1 || s.Records != 1 || s.LastError != full.Error() {
		t.Errorf("%+v", s)
	}
}

// A full disk neither stops nor blocks anything; /dev/full is one.
func TestFullDisk(t *testing.T) {
	l := open(t, fileConfig("/dev/full"), Env{})
	for range 10 {
		l.Connect(testSession())
		l.Flush()
	}
	if s := l.Stats(); s.Dropped != 10 || s.Records != 0 || !strings.Contains(s.LastError, "no space left") {
		t.Errorf("%+v", s)
	}
}

// A broken pipe on standard error must not end the process by SIGPIPE.
func TestBrokenPipe(t *testing.T) {
	if os.Getenv("MAILLOG_BROKEN_PIPE") == "1" {
		l, err := New(Default(), Env{})
		if err != nil {
			os.Exit(3)
		}
		for range 3 {
			l.Info("x", "y")
			l.Flush()
		}
		if s := l.Stats(); s.WriteErrors == 0 || s.Dropped == 0 {
			os.Exit(4)
		}
		os.Exit(7)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBrokenPipe$")
	cmd.Env = append(os.Environ(), "MAILLOG_BROKEN_PIPE=1")
	cmd.Stderr = w
	err = cmd.Run()
	w.Close()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("ended with %v", err)
	}
}

// logrotate in its three ways.
func TestRotation(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mail.log")
	var mu sync.Mutex
	now := fixedNow()
	l := open(t, fileConfig(name), Env{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	tick := func() { mu.Lock(); now = now.Add(2 * time.Second); mu.Unlock() }
	l.Info("x", "one")
	l.Flush()

	// rename, then SIGUSR1
	os.Rename(name, name+".1")
	l.Reopen()
	l.Info("x", "two")
	l.Flush()
	// rename alone: seen within a second
	tick()
	os.Rename(name, name+".2")
	l.Info("x", "three")
	l.Flush()
	// copytruncate
	os.Truncate(name, 0)
	l.Info("x", "four")
	l.Flush()
	for file, want := range map[string]string{".1": "info: one\n", ".2": "info: two\n", "": "info: four\n"} {
		if got := read(t, name+file); !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 1 || got[0] == 0 {
			t.Errorf("%s: %q", file, got)
		}
	}
	// the folder is gone: the old file goes on, the error is counted
	tick()
	dir := filepath.Dir(name)
	os.Rename(dir, dir+".moved")
	l.Info("x", "five")
	l.Flush()
	if got := read(t, filepath.Join(dir+".moved", "mail.log")); !strings.HasSuffix(got, "info: five\n") {
		t.Errorf("%q", got)
	}
	if s := l.Stats(); s.WriteErrors != 1 || s.Dropped != 0 || s.Reopens != 2 {
		t.Errorf("%+v", s)
	}
	os.Rename(dir+".moved", dir)
}

func TestFilesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, name := range []string{dir, fifo, filepath.Join(dir, "no", "such")} {
		if _, err := New(fileConfig(name), Env{}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	name := filepath.Join(dir, "mail.log")
	open(t, fileConfig(name), Env{})
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm()&0o007 != 0 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
}

// Many writers: no record is torn, and all lines of a transaction are next to
// one another.
func TestRecordsStayWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mail.log")
	l := open(t, fileConfig(name), Env{})
	var wg sync.WaitGroup
	const writers, each = 8, 200
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			tx := testTransaction(t, "")
			for i := range each {
				tx.ID = fmt.Sprintf("W%dI%d", w, i)
				l.Transaction(tx, relayed())
			}
		}()
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(read(t, name), "\n"), "\n")
	const per = 5 // no message: client, from, to, removed, summary
	if len(lines) != writers*each*per {
		t.Fatalf("%d lines", len(lines))
	}
	for i := 0; i < len(lines); i += per {
		_, id, _ := strings.Cut(lines[i], "]: ")
		id, _, _ = strings.Cut(id, ":")
		for j := range per {
			if !strings.Contains(lines[i+j], "]: "+id+": ") {
				t.Fatalf("line %d is not of %s: %s", i+j, id, lines[i+j])
			}
		}
	}
}

// A transaction is one record: one write even alone.
func TestOneWritePerTransaction(t *testing.T) {
	g := newGate()
	close(g.open)
	l := open(t, Default(), Env{Stderr: g})
	tx := testTransaction(t, plainMessage)
	for range 3 {
		l.Transaction(tx, relayed())
		l.Flush()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writes != 3 {
		t.Errorf("%d writes for 3 transactions", g.writes)
	}
}

// One client cannot fill the disk with its connections (L-22), whatever
// address of its /64 it uses; others, trusted ones and transactions are heard.
func TestFloodOfOneClient(t *testing.T) {
	var mu sync.Mutex
	now := fixedNow()
	g := newGate()
	close(g.open)
	c := Default()
	c.LinesPerClient = 100
	l := open(t, c, Env{Stderr: g, Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	bad, other, trusted := testSession(), testSession(), testSession()
	other.Client = netip.MustParseAddrPort("198.51.100.1:1")
	trusted.Client, trusted.Trusted = netip.MustParseAddrPort("10.0.0.5:1"), true
	tx := testTransaction(t, "")
	for i := range 500 {
		a := netip.MustParsePrefix("2001:db8::/64").Addr().As16()
		a[15], a[14] = byte(i), byte(i>>8)
		bad.Client = netip.AddrPortFrom(netip.AddrFrom16(a), 1)
		l.Connect(bad)
		l.Reject(bad, nil, "EHLO", "", mail.Permanent(501, "", "x"))
		l.Disconnect(bad, Counts{})
		l.Connect(trusted)
	}
	l.Connect(other)
	tx.Session = bad
	tx.ID = "4LAST"
	l.Transaction(tx, relayed())
	mu.Lock()
	now = now.Add(floodWindow)
	mu.Unlock()
	l.Connect(bad)
	l.Flush()
	out := g.String()
	for want, n := range map[string]int{
		"from mail.example.org[2001:db8": 101, "connect from mail.example.org[10.0.0.5]": 500, "connect from mail.example.org[198.51.100.1]": 1,
		"4LAST: client=": 1, `warning: 1400 records suppressed client="2001:db8::"`: 1,
	} {
		if got := strings.Count(out, want); got != n {
			t.Errorf("%q: %d times, want %d", want, got, n)
		}
	}
}

// The counting is bounded and ends with Close.
func TestFloodIsBounded(t *testing.T) {
	out := capture(t, func(c *Config) { c.LinesPerClient = 1 }, func(l *Logger) {
		s := testSession()
		for i := range maxClients + 10 {
			s.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
			l.Connect(s)
			if i < 2 {
				l.Connect(s)
			}
		}
		if n := len(l.flood.seen); n != maxClients {
			t.Errorf("%d clients are counted", n)
		}
	})
	if n := strings.Count(out, "1 records suppressed"); n != 2 {
		t.Errorf("told %d times", n)
	}
	if n := strings.Count(out, ": connect from "); n != maxClients+10 {
		t.Errorf("%d connects", n)
	}
}

func TestSyslog(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "log")
	listen := func() *net.UnixConn {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(60 * time.Second))
		return c
	}
	next := func(c *net.UnixConn) string {
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	srv := listen()
	c := fileConfig("syslog:" + sock)
	l := open(t, c, Env{Now: fixedNow})
	l.Info("x", "one")
	l.Warn("x", "two")
	if got := next(srv); got != "<22>Nov 22 10:00:00 garita/x[812]: info: one" {
		t.Error(got)
	}
	if got := next(srv); got != "<20>Nov 22 10:00:00 garita/x[812]: warning: two" {
		t.Error(got)
	}
	// syslogd restarts
	srv.Close()
	os.Remove(sock)
	l.Info("x", "lost")
	l.Flush()
	if s := l.Stats(); s.Dropped != 1 || s.WriteErrors != 1 {
		t.Errorf("%+v", s)
	}
	srv = listen()
	defer srv.Close()
	l.Info("x", "three")
	if got := next(srv); !strings.Contains(got, "1 records dropped") {
		t.Error(got)
	}
	if got := next(srv); !strings.HasSuffix(got, "info: three") {
		t.Error(got)
	}
}

func TestValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Output: "log.txt", Format: "xml", Level: "loud", Timestamps: "unix", SyslogName: "a b", LinesPerClient: -1, Queue: 1}.Validate()
	for _, key := range []string{"output", "format", "level", "timestamps", "syslog_name", "lines_per_client", "queue"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is not named in %v", key, err)
		}
	}
	if _, err := New(Config{}, Env{}); err == nil {
		t.Error("an empty configuration was taken")
	}
}

// discard counts nothing and keeps nothing.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func benchmarkTransaction(b *testing.B, format string) {
	c := Default()
	c.Format = format
	c.Queue = 1 << 30 // the benchmark outruns any writer; nothing shall be dropped
	l, err := New(c, Env{Hostname: "gw.example.com", Stderr: discard{}})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	tx := testTransaction(b, plainMessage)
	tx.Findings = []mail.Finding{{Symbol: "HELO_BARE", Score: 1.5, Counted: true}}
	o := relayed()
	b.ReportAllocs()
	for b.Loop() {
		l.Transaction(tx, o)
	}
	if l.Stats().Dropped > 0 {
		b.Error("records dropped")
	}
}

func BenchmarkTransactionLines(b *testing.B) { benchmarkTransaction(b, "postfix") }
func BenchmarkTransactionJSON(b *testing.B)  { benchmarkTransaction(b, "json") }

// What a transaction costs its session is bounded: three allocations.
func TestTransactionAllocations(t *testing.T) {
	l := open(t, Default(), Env{Now: fixedNow, Stderr: discard{}})
	tx := testTransaction(t, plainMessage)
	o := relayed()
	if n := testing.AllocsPerRun(500, func() { l.Transaction(tx, o) }); n > 3 {
		t.Errorf("%v allocations", n)
	}
}
