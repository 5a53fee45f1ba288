package smtpproxy

import (
	"bytes"
	"fmt"
	"math/rand"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
)

// endVariants are the sequences by which some servers end a message, each
// with what the body is when everything is normalised. Only the first is an
// end (attacks S-01 to S-14).
var endVariants = []struct{ id, seq, stored string }{
	{"S-01", "\n.\n", "\r\n.\r\n"},
	{"S-02", "\n.\r\n", "\r\n.\r\n"},
	{"S-03", "\r\n.\n", "\r\n.\r\n"},
	{"S-04", "\r.\r", " . "},
	{"S-05", "\r.\n", " .\r\n"},
	{"S-06", "\n.\r", "\r\n. "},
	{"S-07", "\r.\r\n", " .\r\n"},
	{"S-08", "\r\n.\r", "\r\n. "},
	{"S-09", "\r\n\x00.\r\n", "\r\n .\r\n"},
	{"S-10", "\r\n.\x00\r\n", "\r\n \r\n"},
	{"S-12", "\r\n.\r\r\n", "\r\n. \r\n"},
	{"S-14", "\n\r.\r\n", "\r\n .\r\n"},
	{"S-17a", "\r\n..\r\n", "\r\n.\r\n"},
	{"S-17b", "\r\n...\r\n", "\r\n..\r\n"},
	{"S-17c", "\r\n.x\r\n", "\r\nx\r\n"},
	{"S-17d", "\r\n..x\r\n", "\r\n.x\r\n"},
}

const smuggled = "MAIL FROM:<smuggled@x.example>\r\nRCPT TO:<v@our.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"

// scanParts feeds a scanner as the parts come, with what it leaves over in
// front of the next part, as the session does.
func scanParts(t testing.TB, stuffed bool, parts ...[]byte) (s *bodyScanner, stored []byte, rest []byte, eod bool) {
	t.Helper()
	b := message.NewBuilder(t.Context(), message.Limits{})
	s = &bodyScanner{to: b, stuffed: stuffed, bol: true}
	var buf []byte
	for _, p := range parts {
		buf = append(buf, p...)
		if eod {
			continue
		}
		n, end := s.feed(buf)
		buf, eod = buf[n:], end
		if !eod && len(buf) > 2 {
			t.Fatalf("%d octets left over", len(buf))
		}
	}
	if !stuffed {
		s.finish()
	}
	m, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	stored = make([]byte, m.Size())
	if _, err := m.Raw().ReadAt(stored, 0); err != nil && m.Size() > 0 {
		t.Fatal(err)
	}
	return s, stored, buf, eod
}

func TestEndOfDataVariantsAtEverySplit(t *testing.T) {
	for _, v := range endVariants {
		in := []byte("A" + v.seq + smuggled + "\r\n.\r\nNOOP\r\n")
		want := "A" + v.stored + smuggled + "\r\n"
		for cut := 0; cut <= len(in); cut++ {
			_, got, rest, eod := scanParts(t, true, in[:cut], in[cut:])
			if !eod || string(got) != want || string(rest) != "NOOP\r\n" {
				t.Fatalf("%s cut at %d: eod %v, stored %q, want %q, rest %q", v.id, cut, eod, got, want, rest)
			}
		}
		single := make([][]byte, len(in))
		for i := range in {
			single[i] = in[i : i+1]
		}
		if _, got, _, eod := scanParts(t, true, single...); !eod || string(got) != want {
			t.Fatalf("%s octet by octet: %q", v.id, got)
		}
	}
}

func TestTrueEndInEverySplit(t *testing.T) {
	in := []byte("A\r\n.\r\nMAIL")
	for i := 0; i <= len(in); i++ {
		for j := i; j <= len(in); j++ {
			_, got, rest, eod := scanParts(t, true, in[:i], in[i:j], in[j:])
			if !eod || string(got) != "A\r\n" || string(rest) != "MAIL" {
				t.Fatalf("%d,%d: %v %q %q", i, j, eod, got, rest)
			}
		}
	}
	// S-11: CR CR LF . CR LF is an end of which others may think otherwise.
	in = []byte("A\r\r\n.\r\n")
	for i := 0; i <= len(in); i++ {
		for j := i; j <= len(in); j++ {
			if s, got, _, eod := scanParts(t, true, in[:i], in[i:j], in[j:]); !eod || !s.doubtful || string(got) != "A \r\n" {
				t.Fatalf("S-11 %d,%d: %v %v %q", i, j, eod, s.doubtful, got)
			}
		}
	}
	if s, _, _, _ := scanParts(t, true, []byte("A\r\r\nb\r\n.\r\n")); s.doubtful {
		t.Fatal("a bare CR earlier makes the end doubtful")
	}
	if _, got, _, eod := scanParts(t, true, []byte(".\r\n")); !eod || len(got) != 0 {
		t.Fatalf("empty message: %v %q", eod, got)
	}
}

// naive is the plain octet-by-octet rule of the scanner, to hold it against.
func naive(in []byte) (out []byte, consumed int, eod bool) {
	bol := true
	for i := 0; i < len(in); i++ {
		c := in[i]
		if bol && c == '.' {
			if bytes.HasPrefix(in[i:], []byte(".\r\n")) {
				return out, i + 3, true
			}
			bol = false
			if i+1 < len(in) && in[i+1] != '\r' && in[i+1] != '\n' {
				continue
			}
			out = append(out, '.')
			continue
		}
		bol = false
		switch {
		case c == '\r' && i+1 < len(in) && in[i+1] == '\n':
			out = append(out, '\r', '\n')
			i++
			bol = true
		case c == '\n':
			out = append(out, '\r', '\n')
		case c == '\r', c == 0:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out, len(in), false
}

func TestScannerEqualsNaive(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	alphabet := []byte("\r\r\r\n\n\n...ab\x00")
	for range 20000 {
		in := make([]byte, rnd.Intn(40))
		for i := range in {
			in[i] = alphabet[rnd.Intn(len(alphabet))]
		}
		in = append(in, "z\r\n.\r\ntail"...)
		want, n, _ := naive(in)
		a, b := rnd.Intn(len(in)+1), rnd.Intn(len(in)+1)
		if a > b {
			a, b = b, a
		}
		_, got, rest, eod := scanParts(t, true, in[:a], in[a:b], in[b:])
		if !eod || !bytes.Equal(got, want) || !bytes.Equal(rest, in[n:]) {
			t.Fatalf("%q cut %d,%d: %q rest %q, want %q rest %q", in, a, b, got, rest, want, in[n:])
		}
	}
}

func FuzzBodyScanner(f *testing.F) {
	for _, v := range endVariants {
		f.Add([]byte("A"+v.seq+"b"), uint16(3), true)
		f.Add([]byte("A"+v.seq+"b"), uint16(2), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16, stuffed bool) {
		c := min(int(cut), len(in))
		_, stored, _, eod := scanParts(t, stuffed, in[:c], in[c:])
		if bytes.IndexByte(stored, 0) >= 0 || bytes.Count(stored, crlf) != bytes.Count(stored, crlf[:1]) ||
			bytes.Count(stored, crlf) != bytes.Count(stored, crlf[1:]) {
			t.Fatalf("stored a bare CR, LF or NUL: %q", stored)
		}
		if stuffed {
			want, _, end := naive(in)
			if end != eod || (eod && !bytes.Equal(want, stored)) {
				t.Fatalf("%v %q, want %v %q", eod, stored, end, want)
			}
		}
	})
}

// The same over the wire: one transaction, nothing smuggled, in both policies.
func TestEndOfDataOnTheWire(t *testing.T) {
	for _, policy := range []string{"normalise", "reject"} {
		k := newKit(t, "inbound", func(_ *Settings, l *Listener) { l.BareLF, l.BareCR, l.NUL = policy, policy, policy })
		for _, v := range endVariants {
			before := len(k.hop.messages())
			c := k.hello()
			c.envelope()
			c.do("354", "DATA")
			c.send("Subject: x\r\n\r\nA" + v.seq + smuggled + "\r\n.\r\n")
			clean := strings.HasPrefix(v.id, "S-17")
			reply := c.reply()
			got := k.hop.messages()[before:]
			switch {
			case policy == "normalise" || clean:
				if !strings.HasPrefix(reply, "250") || len(got) != 1 {
					t.Fatalf("%s %s: %q, %d messages", policy, v.id, reply, len(got))
				}
				if want := "Subject: x\r\n\r\nA" + v.stored + smuggled + "\r\n"; below(t, got[0].data) != want {
					t.Fatalf("%s: forwarded %q, want %q", v.id, got[0].data, want)
				}
			default:
				if !strings.HasPrefix(reply, "550 5.5.2") || len(got) != 0 {
					t.Fatalf("%s %s: %q, %d messages", policy, v.id, reply, len(got))
				}
			}
			c.do("221", "QUIT")
			c.closed()
		}
	}
}

// S-11: refused whatever the policy, and nothing behind it is executed.
func TestDoubtfulEndEndsTheSession(t *testing.T) {
	for _, role := range []string{"inbound", "outbound"} {
		k := newKit(t, role, func(_ *Settings, l *Listener) { l.BareCR = "normalise" })
		c := k.hello()
		c.envelope()
		c.do("354", "DATA")
		c.send("Subject: x\r\n\r\nA\r\r\n.\r\n" + smuggled + "\r\n.\r\n")
		c.want("550 5.5.2")
		c.closed()
		if n := len(k.hop.messages()); n != 0 {
			t.Fatalf("%s: %d messages", role, n)
		}
	}
}

func TestAbortedDataDeliversNothing(t *testing.T) {
	cases := map[string]func(c *client){
		"S-26 closed":       func(c *client) { c.Close() },
		"S-26 closed after": func(c *client) { c.send("\r\n.\r"); c.Close() },
	}
	for name, abort := range cases {
		k := newKit(t, "inbound", nil)
		c := k.hello()
		c.envelope()
		c.do("354", "DATA")
		c.send("Subject: x\r\n\r\nhalf")
		abort(c)
		eventually(t, name+": the delivery is given up", func() bool { return k.hop.open() == 0 })
		if n := len(k.hop.messages()); n != 0 {
			t.Fatalf("%s: %d messages", name, n)
		}
	}
}

// S-24, S-25: after a stall the rest of the message is not read as commands.
func TestStallInDataIsTheEnd(t *testing.T) {
	for _, start := range []string{"DATA\r\n", "BDAT 5000\r\n"} {
		k := newKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.DataTimeout = 500 * time.Millisecond })
		c := k.hello()
		c.envelope()
		c.send(start)
		if start == "DATA\r\n" {
			c.want("354")
		}
		c.send("Subject: x\r\n\r\n")
		c.want("421 4.4.2")
		c.send(smuggled + "\r\n.\r\n") // may fail: the server has closed
		c.closed()
		if k.hop.open() != 0 || len(k.hop.messages()) != 0 {
			t.Fatalf("%q: delivered or left open", start)
		}
	}
}

func TestMinimumDataRate(t *testing.T) {
	start := time.Unix(1000, 0)
	p := pace{start: start, quiet: 3 * time.Minute, rate: 500}
	if d := p.deadline(start, 0); d != start.Add(time.Minute) {
		t.Errorf("at the start: %v", d.Sub(start))
	}
	// 64 KB/s for 400 s: far above the rate, only the silence counts.
	if d := p.deadline(start.Add(400*time.Second), 25<<20); d != start.Add(400*time.Second+3*time.Minute) {
		t.Errorf("honest slow line: %v", d.Sub(start))
	}
	// One octet in five seconds: over after little more than a minute.
	if d := p.deadline(start.Add(70*time.Second), 14); !d.Before(start.Add(70 * time.Second)) {
		t.Errorf("slowloris may go on until %v", d.Sub(start))
	}
}

func TestSlowUploadParksTheNextHop(t *testing.T) {
	t.Parallel()
	k := newKit(t, "inbound", nil)
	c := k.hello()
	c.envelope()
	c.do("354", "DATA")
	c.send("Subject: x\r\n\r\n")
	eventually(t, "parked", func() bool {
		time.Sleep(10 * time.Millisecond)
		k.hop.mu.Lock()
		defer k.hop.mu.Unlock()
		return k.hop.parks == 1
	})
	c.do("250", "late\r\n.")
	if got := k.hop.messages(); len(got) != 1 || below(t, got[0].data) != "Subject: x\r\n\r\nlate\r\n" {
		t.Fatalf("%q", got)
	}
}

// A client that is silent between two commands holds no connection either.
func TestSilentClientParksTheNextHop(t *testing.T) {
	t.Parallel()
	k := newKit(t, "inbound", nil)
	c := k.hello()
	c.envelope()
	eventually(t, "parked", func() bool {
		time.Sleep(10 * time.Millisecond)
		k.hop.mu.Lock()
		defer k.hop.mu.Unlock()
		return k.hop.parks == 1
	})
	c.do("250", "RCPT TO:<c@our.example>")
	c.do("354", "DATA")
	c.do("250", "Subject: x\r\n\r\n.")
	if got := k.hop.messages(); len(got) != 1 || len(got[0].to) != 2 {
		t.Fatalf("%v", got)
	}
}

// A client that says something now and then holds no connection for longer
// than one that says nothing, and others that wait shorten it.
func TestChatterDoesNotHoldTheNextHop(t *testing.T) {
	t.Parallel()
	k := newKit(t, "inbound", nil)
	k.hop.wanted = true
	c := k.hello()
	c.envelope()
	for i := 0; ; i++ {
		time.Sleep(200 * time.Millisecond)
		c.do("250", []string{"NOOP", "RCPT TO:<b@our.example>"}[i%2])
		k.hop.mu.Lock()
		parks := k.hop.parks
		k.hop.mu.Unlock()
		if parks > 0 {
			break
		}
		if i > 40 {
			t.Fatal("still held")
		}
	}
	c.do("354", "DATA")
	c.do("250", "Subject: x\r\n\r\n.")
}

func TestTransactionWaits(t *testing.T) {
	now := time.Unix(1000, 0)
	end := now.Add(time.Minute)
	h := newFakeHop()
	tx := &transaction{}
	if (*transaction)(nil).holds() || tx.wake(now, end) != end {
		t.Error("nothing is held")
	}
	tx.delivery = h.Begin(&tx.Transaction)
	for _, s := range []struct{ waited, wake time.Duration }{{0, 2 * time.Second}, {time.Second, time.Second},
		{2 * time.Second, 2 * time.Second}, {9 * time.Second, time.Second}, {12 * time.Second, 0}} {
		tx.waited = s.waited
		if got := tx.wake(now, end).Sub(now); got != s.wake {
			t.Errorf("after %v: %v, want %v", s.waited, got, s.wake)
		}
	}
	tx.waited = 0
	tx.waitedFor(9 * time.Second)
	if tx.parked {
		t.Error("too soon")
	}
	tx.waitedFor(time.Second)
	if !tx.parked || tx.parks != 1 || tx.waited != 0 {
		t.Errorf("%+v", tx)
	}
}

func TestTooOftenParked(t *testing.T) {
	k := newKit(t, "inbound", nil)
	// Eight parks would take long: bring them about in the session itself.
	k.policy.rcpt = func(*mail.Transaction, mail.Recipient) mail.Decision {
		for _, s := range k.open() {
			s.tx.park()
		}
		return mail.Decision{}
	}
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	for i := range maxParks + 2 {
		want := "250"
		if i >= maxParks { // the first RCPT has nothing to park
			want = "451 4.4.2"
		}
		c.do(want, fmt.Sprintf("RCPT TO:<r%d@our.example>", i))
	}
}

// A client that never reads its answers holds no connection either.
func TestDeafClientParksTheNextHop(t *testing.T) {
	t.Parallel()
	k := newKit(t, "inbound", func(s *Settings, _ *Listener) { s.Limits.JunkCommands, s.Limits.HardErrors = 1<<30, 1<<30 })
	c := k.hello()
	c.envelope()
	c.Conn.(*net.TCPConn).SetReadBuffer(1024)
	go func() {
		for {
			if _, err := c.Write([]byte(strings.Repeat("HELP\r\n", 100))); err != nil {
				return
			}
		}
	}()
	eventually(t, "parked", func() bool {
		time.Sleep(20 * time.Millisecond)
		k.hop.mu.Lock()
		defer k.hop.mu.Unlock()
		return k.hop.parks == 1
	})
	c.Close()
}

func TestBDAT(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.hello()
	c.envelope()
	c.send("BDAT 14\r\nSubject: x\r\n\r\nBDAT 5\r\n.\r\n.\rBDAT 8 LAST\r\n\nend\r\n.x")
	c.want("250")
	c.want("250")
	c.want("250 2.0.0 Ok: queued as ABC")
	got := k.hop.messages()
	if len(got) != 1 || below(t, got[0].data) != "Subject: x\r\n\r\n.\r\n.\r\nend\r\n.x\r\n" {
		t.Fatalf("%q", got)
	}
	// S-66, M-01: a short last chunk delivers nothing.
	c.envelope()
	c.send("BDAT 1000 LAST\r\n" + strings.Repeat("x", 500))
	c.Close()
	eventually(t, "given up", func() bool { return k.hop.open() == 0 })
	if n := len(k.hop.messages()); n != 1 {
		t.Fatalf("%d messages", n)
	}
}

func TestBDATKeepsInStep(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.hello()
	for _, step := range []struct{ send, want string }{
		{"BDAT 6 LAST\r\nQUIT\r\n", "503"}, // before MAIL: consumed, not executed
		{"MAIL FROM:<a@s.example>\r\n", "250"},
		{"BDAT 6\r\nQUIT\r\n", "503"}, // before RCPT
		{"RCPT TO:<b@our.example>\r\n", "250"},
		{"BDAT 6\r\nQUIT\r\n", "250"},
		{"RCPT TO:<c@our.example>\r\n", "503"},
		{"MAIL FROM:<z@s.example>\r\n", "503"},
		{"DATA\r\n", "503"},
		{"NOOP\r\n", "250"},
		{"BDAT 0 LAST\r\n", "250"},
		{"BDAT 6 LAST\r\nQUIT\r\n", "503"}, // S-56: nothing is left over
		{"DATA\r\n", "503"},
		{"MAIL FROM:<a@s.example>\r\n", "250"},
		{"RCPT TO:<b@elsewhere.example>\r\n", "554"},
		{"BDAT 6 LAST\r\nQUIT\r\n", "554"},
		{"RSET\r\n", "250"},
	} {
		c.send(step.send)
		c.want(step.want)
	}
	if got := k.hop.messages(); len(got) != 1 || below(t, got[0].data) != "\r\nQUIT\r\n" { // no header: the body begins behind an empty line
		t.Fatalf("%q", got)
	}
	for _, bad := range []string{"BDAT", "BDAT x", "BDAT -1", "BDAT 5 FIRST", "BDAT 99999999999"} {
		c := k.hello()
		c.envelope()
		c.send(bad + "\r\nNOOP\r\n")
		c.want("501")
		c.closed()
	}
}

// What was pipelined before a chunk is answered before the chunk is whole.
func TestRepliesBeforeAnUnfinishedChunk(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.hello()
	c.send("MAIL FROM:<a@s.example>\r\nRCPT TO:<b@our.example>\r\nBDAT 20 LAST\r\nSubject")
	c.want("250 2.1.0")
	c.want("250 2.1.5")
	c.send(": chunked\r\n\r\n")
	c.want("250 2.0.0")
	c.send("MAIL FROM:<a@s.example>\r\nBDAT 20 LAST\r\nSubject") // unwanted
	c.want("250 2.1.0")
	c.send(": chunked\r\n\r\n")
	c.want("503")
}

// Nor does a client that pipelined many recipients wait for the last of them.
func TestRepliesBehindASlowNextHop(t *testing.T) {
	k := newKit(t, "inbound", nil)
	release := make(chan bool)
	n := 0
	k.hop.rcpt = func(mail.Recipient) mail.Reply {
		if n++; n == 3 {
			<-release
		} else {
			time.Sleep(600 * time.Millisecond)
		}
		return mail.OK(250, "1.5", "Ok")
	}
	c := k.hello()
	c.send("MAIL FROM:<a@s.example>\r\nRCPT TO:<a@our.example>\r\nRCPT TO:<b@our.example>\r\nRCPT TO:<c@our.example>\r\n")
	for range 3 {
		c.want("250")
	}
	close(release)
	c.want("250")
}

// S-67: a flood of tiny chunks ends the session.
func TestTinyChunks(t *testing.T) {
	k := newKit(t, "inbound", nil)
	c := k.hello()
	c.envelope()
	go c.send(strings.Repeat("BDAT 1\r\nx", 5000))
	for {
		r := c.reply()
		if r == "" || strings.HasPrefix(r, "421") {
			break
		}
	}
	if len(k.hop.messages()) != 0 {
		t.Fatal("delivered")
	}
}

func TestChunkingOff(t *testing.T) {
	k := newKit(t, "inbound", func(_ *Settings, l *Listener) { l.Chunking = false })
	c := k.dial()
	c.want("220")
	if r := c.do("250", "EHLO x.example"); strings.Contains(r, "CHUNKING") || strings.Contains(r, "BINARYMIME") {
		t.Fatalf("announced: %q", r)
	}
	c.envelope()
	c.send("BDAT 6 LAST\r\nNOOP\r\n")
	c.want("502")
	c.closed()
}

func TestSizeLimitIsExact(t *testing.T) {
	const limit = 100 << 10
	k := newKit(t, "inbound", func(_ *Settings, l *Listener) { l.MaxMessageSize = limit })
	c := k.hello()
	for _, over := range []int{0, 1} {
		c.envelope()
		c.do("354", "DATA")
		c.send("Subject: x\r\n\r\n" + strings.Repeat("a", limit-16+over) + "\r\n.\r\n")
		want := "250"
		if over > 0 {
			want = "552 5.3.4"
		}
		c.want(want)
	}
	c.do("250", fmt.Sprintf("MAIL FROM:<a@s.example> SIZE=%d", limit))
	c.do("250", "RSET")
	c.do("552 5.3.4", fmt.Sprintf("MAIL FROM:<a@s.example> SIZE=%d", limit+1))
	// S-27: what follows the limit is still data until the true end.
	c.envelope()
	c.do("354", "DATA")
	c.send(strings.Repeat("b", 2*limit) + "\r\n" + smuggled + "\r\n.\r\n")
	c.want("552")
	if n := len(k.hop.messages()); n != 1 {
		t.Fatalf("%d messages", n)
	}
	// Far over it, the connection ends.
	c.envelope()
	c.do("354", "DATA")
	go func() {
		for range 40 {
			if _, err := c.Write(bytes.Repeat([]byte("c\r\n"), 1<<18)); err != nil {
				return
			}
		}
	}()
	c.want("552")
	eventually(t, "given up", func() bool { return k.hop.open() == 0 })
}

func TestLongLinesPass(t *testing.T) {
	k := newKit(t, "inbound", nil)
	for _, n := range []int{998, 999, 1000, 2000, 2001, 10 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 20 << 20} {
		c := k.hello()
		before := len(k.hop.messages())
		body := "Subject: x\r\n\r\n" + strings.Repeat("x", n) + "\r\n"
		c.envelope()
		c.do("354", "DATA")
		c.send(body + ".\r\n")
		c.want("250")
		if got := k.hop.messages()[before:]; len(got) != 1 || below(t, got[0].data) != body {
			t.Fatalf("%d: altered", n)
		}
		c.Close()
	}
}

func TestNoRoomIsSaidBeforeDATA(t *testing.T) {
	k := newKit(t, "inbound", func(s *Settings, l *Listener) {
		l.MaxMessageSize, s.Limits.MessagesTotal = 1<<20, 2<<20
	})
	hold := k.hello()
	hold.do("250", "MAIL FROM:<a@s.example> SIZE=900000")
	hold.do("250", "RCPT TO:<b@our.example>")
	hold.do("354", "DATA")
	hold.send("Subject: x\r\n\r\n")
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example> SIZE=1000000")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("452 4.3.1", "DATA")
	c.do("250", "NOOP")
	hold.do("250", ".")
	c.do("250", "MAIL FROM:<a@s.example> SIZE=900000")
	c.do("250", "RCPT TO:<b@our.example>")
	c.do("354", "DATA")
	c.do("250", ".")
}

func TestOneClientCannotReserveAllRoom(t *testing.T) {
	var s slots
	a, b := slotKey(netip.MustParseAddr("192.0.2.1")), slotKey(netip.MustParseAddr("192.0.2.2"))
	const total = 400
	for i := range 4 {
		if !s.reserve(a, 25, total) {
			t.Fatalf("refused at %d", i)
		}
	}
	if s.reserve(a, 1, total) {
		t.Error("more than its share")
	}
	if !s.reserve(b, 300, total) {
		t.Error("another client, one message")
	}
	for range 4 {
		s.unreserve(a, 25)
	}
	s.unreserve(b, 300)
	if len(s.room) != 0 {
		t.Errorf("left: %v", s.room)
	}
}

// An unwanted chunk, however slow, keeps no connection of the next hop.
func TestUnwantedChunkHoldsNothing(t *testing.T) {
	k := newKit(t, "inbound", nil)
	k.hop.rcpt = func(r mail.Recipient) mail.Reply { return mail.Permanent(550, "1.1", "no") }
	c := k.hello()
	c.do("250", "MAIL FROM:<a@s.example>")
	c.do("550", "RCPT TO:<b@our.example>")
	c.send("BDAT 100 LAST\r\nhalf")
	eventually(t, "parked", func() bool {
		k.hop.mu.Lock()
		defer k.hop.mu.Unlock()
		return k.hop.parks == 1
	})
	c.send(strings.Repeat("x", 96))
	c.want("554")
}

func TestQuarantineWithoutKeeper(t *testing.T) {
	for _, role := range []string{"inbound", "content-filter"} {
		for verdict, want := range map[mail.Verdict]map[string]string{
			mail.Quarantine: {"inbound": "451 4.7.1", "content-filter": "451 4.7.1"},
			mail.Reject:     {"inbound": "554 5.7.1", "content-filter": "451 4.7.1"}, // reject_as hold
			mail.Defer:      {"inbound": "451 4.7.1", "content-filter": "451 4.7.1"},
			mail.Discard:    {"inbound": "250 2.0.0", "content-filter": "250 2.0.0"},
		} {
			k := newKit(t, role, nil)
			k.policy.message = func(*mail.Transaction) mail.Decision { return mail.Decision{Verdict: verdict} }
			c := k.hello()
			c.envelope()
			c.do("354", "DATA")
			c.do(want[role], "Subject: x\r\n\r\nx\r\n.")
			if n := len(k.hop.messages()); n != 0 {
				t.Fatalf("%s %v: delivered", role, verdict)
			}
		}
	}
}
