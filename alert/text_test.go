package alert

import (
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func sampleNotice() Notice {
	a := Alert{Key: "next-hop/mailserver", Kind: NextHop, Severity: Critical,
		Subject: Text{EN: "next hop mailserver does not answer", ES: "el siguiente servidor mailserver no responde"},
		Text:    Text{EN: "Mail for it is answered 451.", ES: "El correo para él recibe 451."},
		Command: []string{"garita", "status"}, Facts: []Fact{{"error", "dial tcp 192.0.2.20:25: connection refused"}}}.clean()
	return Notice{ID: "0102030405060708090a0b0c", Event: EventRaised, Host: "mx.example.org", Time: start(), Alert: a, Command: Shell(a.Command),
		Raised: start().Add(-time.Minute), Count: 3}
}

// TestTexts: every event in every language, as it stands in testdata/texts.
// UPDATE_GOLDEN=1 writes them.
func TestTexts(t *testing.T) {
	var b strings.Builder
	for _, setting := range []string{"en", "es", "both"} {
		for _, event := range []string{EventRaised, EventReminder, EventEscalated, EventResolved, EventDigest, EventTest} {
			n := sampleNotice()
			n.Event = event
			switch event {
			case EventResolved:
				n.Resolved = start()
			case EventDigest:
				bk := newBook(Default(), n.Host)
				bk.since = start()
				bk.gathered["a"], bk.order, bk.more = sampleNotice(), []string{"a"}, 7
				n = bk.digest(start().Add(time.Hour))[0]
			case EventTest:
				n.Alert, n.Raised, n.Command, n.Count = testAlert("root").clean(), time.Time{}, "garita alert list", 0
			}
			b.WriteString("=== " + setting + " " + event + "\n" + subject(n, setting) + "\n" + logSubject(n, setting) + "\n\n" + body(n, setting) + "\n")
		}
	}
	file := filepath.Join("testdata", "texts")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("not as in %s:\n%s", file, b.String())
	}
}

// readLetter reads a message as a mail program does.
func readLetter(t testing.TB, raw []byte) (*mail.Message, string, string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	subject, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return m, subject, strings.ReplaceAll(string(text), "\r\n", "\n")
}

func TestLetter(t *testing.T) {
	n := sampleNotice()
	raw := letter(n, "both", "garita@example.org", []string{"ops@example.org", "boss@example.org"}, "mx.example.org")
	m, s, text := readLetter(t, raw)
	if s != "[garita mx.example.org] "+subject(n, "both") || text != body(n, "both") {
		t.Errorf("%q\n%s", s, text)
	}
	for name, want := range map[string]string{
		"From": "Garita <garita@example.org>", "To": "ops@example.org, boss@example.org", "Auto-Submitted": "auto-generated",
		"Date": "Sun, 22 Nov 2026 12:00:00 +0000", "X-Garita-Alert": "raised critical next-hop/mailserver", "Importance": "high",
		"Content-Type": "text/plain; charset=utf-8", "In-Reply-To": "", "X-Auto-Response-Suppress": "All",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	n.Event, n.Resolved = EventResolved, start()
	second, _, _ := readLetter(t, letter(n, "en", "garita@example.org", []string{"ops@example.org"}, "mx.example.org"))
	if second.Header.Get("In-Reply-To") != m.Header.Get("Message-Id") || second.Header.Get("Message-Id") == m.Header.Get("Message-Id") {
		t.Errorf("no thread: %q, %q", m.Header.Get("Message-Id"), second.Header)
	}
	lines(t, raw)
}

// lines fails on what no SMTP server has to take.
func lines(t testing.TB, raw []byte) {
	t.Helper()
	text := string(raw)
	if !strings.HasSuffix(text, "\r\n") || strings.Count(text, "\r\n") != strings.Count(text, "\n") || strings.Count(text, "\r") != strings.Count(text, "\n") {
		t.Errorf("line ends are not all CRLF:\n%q", text)
	}
	for l := range strings.SplitSeq(text, "\r\n") {
		if len(l) > 78 {
			t.Errorf("a line of %d octets: %q", len(l), l)
		}
		for i := range len(l) {
			if (l[i] < ' ' && l[i] != '\t') || l[i] > '~' {
				t.Errorf("octet %#x in %q", l[i], l)
			}
		}
	}
}

// FuzzLetter: whatever an alert says, the message has the fields that it shall
// have and no other, and its texts come out as they went in.
func FuzzLetter(f *testing.F) {
	f.Add("next hop mail does not answer", "error", "dial tcp")
	f.Add("a\r\nBcc: x@y.example\r\n\r\nbody", "\x00", "\u202e \xff =?utf-8?B?eA==?=")
	f.Add(" two  spaces ", "=", ".\r\n.\r\n")
	f.Add("ñandú ñandú ñandú "+strings.Repeat("ñ", 90), "", strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, title, name, value string) {
		n := sampleNotice()
		n.Alert = Alert{Key: name, Kind: Kind(name), Severity: Warning, Subject: Text{EN: title, ES: value}, Text: Text{EN: value},
			Command: []string{name, value}, Facts: []Fact{{name, value}}}.clean()
		n.Command = Shell(n.Alert.Command)
		raw := letter(n, "both", "garita@example.org", []string{"ops@example.org"}, "mx.example.org")
		head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
		lines(t, []byte(head+"\r\n"))
		m, s, text := readLetter(t, raw)
		if want := "[garita mx.example.org] " + subject(n, "both"); s != want && strings.TrimRight(s, " ") != strings.TrimRight(want, " ") {
			t.Errorf("subject %q, not %q", s, want)
		}
		if text != body(n, "both") {
			t.Errorf("text %q, not %q", text, body(n, "both"))
		}
		if len(m.Header) != 12 || m.Header.Get("Bcc") != "" {
			t.Errorf("%d fields: %v", len(m.Header), m.Header)
		}
		if !utf8.Valid(encodeNotice(n)) {
			t.Error("the JSON is no UTF-8")
		}
	})
}
