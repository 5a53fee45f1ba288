package clamav

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"garita/message"
)

// marker is what the signature of our own looks for.
const marker = "GARITA-TEST-" + "MARKER-7431"

// clamd is a real clamd (Debian: clamav-daemon) with two signatures of ours,
// in the foreground, under a configuration of its own.
type clamd struct {
	t      testing.TB
	dir    string
	conf   string
	socket string
	cmd    *exec.Cmd
}

// startClamd starts one with more lines of clamd.conf.
func startClamd(t testing.TB, lines ...string) *clamd {
	t.Helper()
	dir := t.TempDir()
	c := &clamd{t: t, dir: dir, conf: filepath.Join(dir, "clamd.conf"), socket: filepath.Join(dir, "s")}
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o755); err != nil {
		t.Fatal(err)
	}
	signatures := "Garita.Test.Marker:0:*:" + hex.EncodeToString([]byte(marker)) + "\n" +
		"Eicar-Test-Signature:0:*:" + hex.EncodeToString(eicar()) + "\n"
	conf := strings.Join(append([]string{"Foreground yes", "LocalSocket " + c.socket, "DatabaseDirectory " + db, "TemporaryDirectory " + dir,
		"LogFile " + filepath.Join(dir, "log"), "OfficialDatabaseOnly no", "MaxThreads 4"}, lines...), "\n") + "\n"
	for name, text := range map[string]string{c.conf: conf, filepath.Join(db, "own.ndb"): signatures} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *clamd) start() {
	c.t.Helper()
	_ = os.Remove(c.socket)
	c.cmd = exec.Command("clamd", "--config-file="+c.conf)
	var out bytes.Buffer
	c.cmd.Stdout, c.cmd.Stderr = &out, &out
	if err := c.cmd.Start(); err != nil {
		c.t.Fatalf("%v (apt-get install clamav-daemon)", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a := address{"unix", c.socket}
	for {
		if s, err := command(ctx, a, times{time.Second, time.Second}, "PING"); err == nil && s == "PONG" {
			return
		}
		if ctx.Err() != nil || syscall.Kill(c.cmd.Process.Pid, 0) != nil {
			c.t.Fatalf("clamd does not start: %s", out.String())
		}
		time.Sleep(20 * time.Millisecond) // a process that starts tells nobody
	}
}

func (c *clamd) kill() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		c.cmd = nil
	}
}

func (c *clamd) config() Config {
	cfg := enforcing("unix:" + c.socket)
	cfg.ConfigFile, cfg.MaxScans = c.conf, 2
	return cfg
}

func zipped(t testing.TB, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// attached is a message with an attachment in base64.
func attached(name string, data []byte) string {
	var b strings.Builder
	b.WriteString("From: a@sender.example\r\nTo: b@our.example\r\nSubject: a file\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n--=_b\r\n" +
		"Content-Type: application/octet-stream; name=\"" + name + "\"\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(data)
	for len(text) > 0 {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	b.WriteString("--=_b--\r\n")
	return b.String()
}

// TestReal: what clamd finds, in the shapes of the demo.
func TestReal(t *testing.T) {
	c := startClamd(t, "AlertExceedsMax yes")
	cfg := c.config()
	cfg.Classes = append(cfg.Classes, "Garita.Test.* virus")
	d := newDesk(t, cfg)
	const virus = "clamav.virus reject 554 5.7.1"
	d.expect(plainMail, "")
	d.expect(attached("clean.zip", zipped(t, "a.txt", []byte("nothing"))), "")
	d.expect(attached("a.com", eicar()), virus)
	d.expect(attached("a.zip", zipped(t, "b.zip", zipped(t, "c.com", eicar()))), virus)
	d.expect(attached("a.zip", zipped(t, "b.txt", []byte(marker))), virus)
	d.expect("Subject: in the text\r\n\r\n"+marker+"\r\n", virus)
	if st := d.s.Status(); !st.Endpoints[0].Up || !strings.HasPrefix(st.Endpoints[0].Version, "ClamAV ") || st.Limits.FromFile != c.conf {
		t.Errorf("%+v", st)
	}
	if errs := Compare(cfg, 25<<20); len(errs) != 1 || !strings.Contains(errs[0].Error(), "timeout") {
		t.Errorf("%v", errs)
	}
}

// TestRealUnionOfReadings is C-14: an attachment that clamd's own parser may
// miss is found in a decoded part.
func TestRealUnionOfReadings(t *testing.T) {
	c := startClamd(t)
	cfg := c.config()
	cfg.Classes = append(cfg.Classes, "Garita.Test.* virus")
	d := newDesk(t, cfg)
	file := base64.StdEncoding.EncodeToString(zipped(t, "b.txt", []byte(marker)))
	for title, text := range map[string]string{
		"two boundaries": "Content-Type: multipart/mixed; boundary=a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" +
			"Content-Transfer-Encoding: base64\r\n\r\n" + file + "\r\n--b--\r\n",
		"two encodings":        "Content-Type: application/zip\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Transfer-Encoding: base64\r\n\r\n" + file + "\r\n",
		"base64 after padding": "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==" + file + "\r\n",
	} {
		r := d.check(text)
		if say(r) != "clamav.virus reject 554 5.7.1" {
			x := message.ReadIndex([]byte(text), message.DefaultIndexLimits())
			t.Errorf("%s: %q, defects %v", title, say(r), x.Defects)
		}
	}
}

// TestRealTinyLimits is C-03, C-04 and C-05 with the real thing.
func TestRealTinyLimits(t *testing.T) {
	big := attached("big.bin", bytes.Repeat([]byte("some octets that are not the same: 0123456789"), 60_000))
	c := startClamd(t, "StreamMaxLength 1M", "AlertExceedsMax no")
	cfg := c.config()
	d := newDesk(t, cfg)
	d.expect(big, "clamav.oversize quarantine")
	if d.s.pool.limits.Load().StreamMax != 1<<20 {
		t.Error("the file was not read")
	}
	// Without knowing the limit: clamd tells in the middle of the upload.
	cfg.ConfigFile = ""
	r := newDesk(t, cfg).expect(big, "clamav.oversize quarantine")
	if !strings.Contains(r.Findings[0].Detail, "size limit exceeded") {
		t.Errorf("detail %q", r.Findings[0].Detail)
	}
	// MaxFileSize: clamd says OK to what it does not look at.
	c = startClamd(t, "MaxFileSize 1M", "MaxScanSize 1M")
	newDesk(t, c.config()).expect(big, "clamav.oversize quarantine")
	// AlertExceedsMax: clamd says FOUND.
	c = startClamd(t, "MaxFileSize 1M", "AlertExceedsMax yes")
	if got := say(newDesk(t, c.config()).check(big)); !strings.Contains(got, "clamav.limits quarantine") {
		t.Errorf("AlertExceedsMax: %q", got)
	}
	// A recursion that clamd gives up on, told by AlertExceedsMax alone.
	c = startClamd(t, "MaxRecursion 4", "AlertExceedsMax yes")
	deep := []byte(marker)
	for i := range 8 {
		deep = zipped(t, fmt.Sprintf("%d.zip", i), deep)
	}
	if got := say(newDesk(t, c.config()).check(attached("deep.zip", deep))); !strings.Contains(got, "clamav.limits quarantine") {
		t.Errorf("recursion: %q", got)
	}
	// An encrypted archive is in TestClasses: no writer of ours makes one.
}

// TestRealExactLimit: StreamMaxLength itself still passes, as we think it does.
func TestRealExactLimit(t *testing.T) {
	c := startClamd(t, "StreamMaxLength 100K")
	a := address{"unix", c.socket}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for size, want := range map[int]kind{100 << 10: clean, 100<<10 + 1: oversize} {
		if out, err := scan(ctx, a, times{time.Second, 5 * time.Second}, octets(bytes.Repeat([]byte("x"), size))); err != nil || out.kind != want {
			t.Errorf("%d: %v %v", size, out, err)
		}
	}
}

// TestRealReloadAndRestart is C-08 and C-09: SIGUSR2 under load costs nothing,
// kill -9 costs 451 until it is back, and the next message is scanned again.
func TestRealReloadAndRestart(t *testing.T) {
	c := startClamd(t)
	cfg := c.config()
	cfg.CacheEntries = 0
	d := newDesk(t, cfg)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 25 {
				if r, err := d.s.CheckMessage(context.Background(), transaction(t, fmt.Appendf(nil, "Subject: %d %d\r\n\r\n", i, n))); err != nil || len(r.Findings) > 0 {
					t.Errorf("%v %v", r.Findings, err)
				}
				if i == 0 && n%10 == 0 {
					_ = c.cmd.Process.Signal(syscall.SIGUSR2)
				}
			}
		})
	}
	wg.Wait()
	c.kill()
	d.expect(plainMail, deferred)
	c.start()
	d.now.add(time.Minute)
	d.expect(plainMail, "")
	d.expect(attached("a.com", eicar()), "clamav.virus reject 554 5.7.1")
}

// TestRealEmptyDatabase is C-15: a clamd that knows nothing is not believed.
func TestRealEmptyDatabase(t *testing.T) {
	c := startClamd(t)
	c.kill()
	if err := os.WriteFile(filepath.Join(c.dir, "db", "own.ndb"), []byte("Other:0:*:00112233445566778899\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.start()
	d := newDesk(t, c.config())
	r := d.expect(plainMail, deferred)
	if !strings.Contains(r.Findings[0].Detail, "EICAR") {
		t.Errorf("detail %q", r.Findings[0].Detail)
	}
}

// bare is the shortest INSTREAM client there is, to compare ours with.
func bare(socket string, data []byte) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	head := binary.BigEndian.AppendUint32([]byte("zINSTREAM\x00"), uint32(len(data)))
	bufs := net.Buffers{head, data, make([]byte, 4)}
	if _, err := bufs.WriteTo(conn); err != nil {
		return err
	}
	p, err := io.ReadAll(conn)
	if err == nil && string(p) != "stream: OK\x00" {
		err = fmt.Errorf("reply %q", p)
	}
	return err
}

// BenchmarkReal compares the bare loop with ours, by turns so that both meet
// the same machine, distinct messages each time; and with a repeated one from
// the cache. The medians' ratios are what it tells: check/bare, and how many
// times quicker a repeated message is.
func BenchmarkReal(b *testing.B) {
	c := startClamd(b, "DisableCache yes")
	cfg := c.config()
	cfg.ConfigFile = ""
	for _, size := range []int{4 << 10, 100 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			text := []byte(attached("a.bin", bytes.Repeat([]byte("0123456789abcdef#"), size*3/4/17)))
			d := newDesk(b, cfg)
			var plain, ours, again []time.Duration
			run := func(f func()) time.Duration {
				start := time.Now()
				f()
				return time.Since(start)
			}
			for i := range b.N {
				copy(text, fmt.Sprintf("X-%012d: x", i))
				tx := transaction(b, text)
				if _, err := tx.Message.Index(context.Background()); err != nil {
					b.Fatal(err) // the other checks need it, too
				}
				check := func() {
					if r, err := d.s.CheckMessage(context.Background(), tx); err != nil || len(r.Findings) > 0 {
						b.Fatal(r.Findings, err)
					}
				}
				ours = append(ours, run(check))
				again = append(again, run(check))
				plain = append(plain, run(func() {
					if err := bare(c.socket, text); err != nil {
						b.Fatal(err)
					}
				}))
			}
			b.ReportMetric(float64(median(ours))/float64(median(plain)), "check/bare")
			b.ReportMetric(float64(median(plain))/float64(median(again)), "bare/repeated")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
