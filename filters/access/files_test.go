package access

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"garita/mail"
)

func messages(errs []error) string {
	var b strings.Builder
	for _, err := range errs {
		b.WriteString(err.Error() + "\n")
	}
	return b.String()
}

// TestFileProblems: all lines that cannot be used, each with its place.
func TestFileProblems(t *testing.T) {
	path := writeFile(t, strings.Join([]string{
		"192.0.2.1 REJECT",             // 1
		"192.0.2.2",                    // 2
		"192.0.2.3 HOLD",               // 3
		"192.0.2.4/24 REJECT",          // 4
		"192.0.2. REJECT",              // 5
		"2001:db8: REJECT",             // 6
		"192.0.2.5 550",                // 7
		"192.0.2.6 550 4.7.1 text",     // 8
		"192.0.2.7 421 go",             // 9
		"192.0.2.8 REJECT until=soon",  // 10
		"192.0.2.9 permit_mynetworks",  // 11
		"*.example REJECT",             // 12
		"host.example REJECT",          // 13: a name
		"192.0.2.10 DISCARD",           // 14
		"192.0.2.11 REJECT bad\u00a0x", // 15
		"/^x/ REJECT",                  // 16
		"192.0.2.12 REJECT reason=\"x", // 17
		"010.1 REJECT",                 // 18
		"if 192.0.2.0/24",              // 19
		"unknown REJECT",               // 20
		"192.0.2.13 599 x",             // 21
		"192.0.2.14 12 x",              // 22
		"  goes on",                    // 23: text of 22
		"user@host.example REJECT",     // 24
	}, "\n"))
	c := Default()
	c.ClientFiles = []string{path}
	want := map[int]string{
		2: "there is no action", 3: "try defer", 4: "did you mean 192.0.2.0/24", 5: "not an address or CIDR", 6: "not an address or CIDR",
		7: "550 alone is OK to Postfix", 8: "does not go with a 550", 9: "close the connection", 10: "until=: is not a date",
		11: "Postfix restrictions", 12: "no wildcards", 14: "not dropped in silence", 15: "printable ASCII", 16: "regular expressions",
		17: "quote after reason=", 18: "not an address or CIDR", 19: "must be reject, defer or accept", 20: "is no name",
		21: "not a reply code", 22: "no reply code", 24: "not an address",
	}
	errs := c.Validate()
	if len(errs) != len(want) {
		t.Errorf("%d errors, want %d:\n%s", len(errs), len(want), messages(errs))
	}
	for line, text := range want {
		prefix := fmt.Sprintf("client_files[0]: %s:%d: ", path, line)
		found := false
		for _, err := range errs {
			found = found || strings.HasPrefix(err.Error(), prefix) && strings.Contains(err.Error(), text)
		}
		if !found {
			t.Errorf("no %q with %q in\n%s", prefix, text, messages(errs))
		}
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	c := Default()
	c.SenderFiles = []string{filepath.Join(dir, "none"), "relative", "hash:/etc/postfix/access", "pcre:/x", "/a\x1b", dir}
	errs := c.Validate()
	want := []string{
		"sender_files[0]: " + dir + "/none: does not exist", `sender_files[1]: "relative" does not begin with "/"`,
		`(write "/etc/postfix/access", without "hash:")`, "regular expressions are for rules", `"/a\x1b" is no name`, "is a folder",
	}
	if len(errs) != len(want) {
		t.Fatalf("%s", messages(errs))
	}
	for i, w := range want {
		if !strings.Contains(errs[i].Error(), w) {
			t.Errorf("%q, want %q", errs[i], w)
		}
	}
	if _, err := New(c, nil); err == nil {
		t.Error("New took it")
	}
}

// TestMistakesAreBounded: a file of the wrong kind fills no screen.
func TestMistakesAreBounded(t *testing.T) {
	c := Default()
	bad := strings.Repeat("x y z\n", 10_000)
	c.ClientFiles = []string{writeFile(t, bad)}
	c.SenderFiles = []string{writeFile(t, strings.Repeat("\x01\n", 10_000))}
	errs := c.Validate()
	if len(errs) != maxErrors+1 || !strings.Contains(errs[maxErrors].Error(), "mistakes more") {
		t.Errorf("%d errors, the last %v", len(errs), errs[len(errs)-1])
	}
}

// TestEntriesAreBounded: all lists together.
func TestEntriesAreBounded(t *testing.T) {
	b := &builder{ls: &lists{}, room: 3, rights: map[right]*action{}, c: Default()}
	b.file(bySender, "sender_files[0]", writeFile(t, "a ok\nb ok\n"))
	b.file(bySender, "sender_files[1]", writeFile(t, "c ok\nd ok\n"))
	if len(b.errs) != 1 || !strings.Contains(b.errs[0].Error(), ":2: there are more than 1 entries") {
		t.Errorf("%v", b.errs)
	}
	b.inline(bySender, "senders", []string{"e ok"})
	if len(b.errs) != 2 || !strings.Contains(b.errs[1].Error(), "in all lists") {
		t.Errorf("%v", b.errs)
	}
}

func TestEntryProblems(t *testing.T) {
	c := Default()
	c.Entry = map[string]Entry{
		"a":   {Action: "reject"},
		"b":   {Client: "x", Name: "a@b", Helo: "<>", Sender: "a@b@c", Recipient: "*@x", Action: "accept", Text: "no", Reason: "a\nb", Role: "both", Direction: "up"},
		"c":   {Client: "192.0.2.1"},
		"d":   {Client: "192.0.2.1", Action: "drop"},
		"e":   {Client: "192.0.2.1", Action: "reject", Direction: "in"},
		"f":   {Client: "192.0.2.1", Action: "reject", Text: "4.7.1 x"},
		"a b": {Client: "192.0.2.1", Action: "reject"},
	}
	got := messages(c.Validate())
	for _, w := range []string{
		"entry.a: names nothing", "entry.b.client: ", "entry.b.name: ", "entry.b.helo: ", "entry.b.sender: ", "entry.b.recipient: ",
		"entry.b.text: ", "entry.b.reason: ", "entry.b.role: ", "entry.b.direction: ", "entry.c.action is missing: ", "entry.d.action: ",
		"entry.e.direction: ", "entry.f.text: ", "entry: \"a b\"",
	} {
		if !strings.Contains("\n"+got, "\n"+w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 15 {
		t.Errorf("%d errors:\n%s", n, got)
	}
	var e Expiry
	for _, s := range []string{"soon", "2026-13-01", "1960-01-01", "1960-01-01T00:00:00Z", "2026-12-31 12:00"} {
		if err := e.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%s was taken", s)
		}
	}
	if err := e.UnmarshalText([]byte("2026-12-31")); err != nil {
		t.Fatal(err)
	}
	if text, _ := e.MarshalText(); string(text) != "2026-12-31" {
		t.Errorf("%s", text)
	}
}

func TestWarnings(t *testing.T) {
	path := writeFile(t, "192.0.2.1 OK\n192.0.2.1 REJECT\nhost.example OK\nHOST.example OK\n")
	c := Default()
	c.Clients = []string{"0.0.0.0/0 accept", "192.0.2.9 reject until=2026-05-31"}
	c.Senders = []string{"a.example reject", "b.example reject", ".a.example defer"}
	c.ClientFiles = []string{path}
	expired := Expiry{}
	if err := expired.UnmarshalText([]byte("2026-05-31")); err != nil {
		t.Fatal(err)
	}
	c.Entry = map[string]Entry{"old": {Client: "192.0.2.1", Action: "reject", Expires: expired}}
	if errs := c.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	got := messages(c.Warnings(testTime()))
	for _, w := range []string{
		`entry.old: "client=192.0.2.1": it expired at 2026-06-01T00:00:00Z`, `clients[0]: "0.0.0.0/0 accept": it accepts every client`,
		`clients[1]: "192.0.2.9 reject until=2026-05-31": it expired`, `senders[2]: ".a.example defer": check.access.senders[0] says it already`,
		"client_files[0]: " + path + ":2: " + path + ":1 says it already", "client_files[0]: " + path + ":4: " + path + ":3 says it already",
	} {
		if !strings.Contains("\n"+got, "\n"+w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 6 {
		t.Errorf("%d warnings:\n%s", n, got)
	}
	if w := Default().Warnings(testTime()); len(w) > 0 {
		t.Errorf("default: %v", w)
	}
}

// TestDuplicateAfterExpiry: an entry that is over does not keep its renewal
// out.
func TestDuplicateAfterExpiry(t *testing.T) {
	c := Default()
	c.Clients = []string{"192.0.2.1 reject until=2026-05-31", "192.0.2.1 defer"}
	c.Senders = []string{"a.example reject until=2026-05-31", "a.example defer"}
	ls, errs, _ := build(c, testTime)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	q := &query{s: &mail.Session{}}
	if m := ls.client(q, netip.MustParseAddr("192.0.2.1")); m.entry == nil || m.entry.act.verdict != mail.Defer {
		t.Errorf("%+v", m)
	}
	if m := ls.path(q, bySender, mail.Path{Local: "x", Domain: "a.example"}); m.entry == nil || m.entry.act.verdict != mail.Defer {
		t.Errorf("%+v", m)
	}
}

// TestFinding: what the log gets, and that the reason is not for the client.
func TestFinding(t *testing.T) {
	path := writeFile(t, "# x\nspam.example REJECT reason=\"ticket 7\" Go away\n")
	c := Default()
	c.SenderFiles = []string{path}
	c.Senders = []string{"a.example reject reason=because"}
	c.Entry = map[string]Entry{"one": {Helo: "x", Sender: "b.example", Action: "defer", Reason: "r", Text: "t"}}
	check, err := NewAt(c, testTime)
	if err != nil {
		t.Fatal(err)
	}
	l := check.Impl.(*lists)
	for _, v := range []struct{ domain, rule, detail, text string }{
		{"spam.example", path + ":2", "spam.example (ticket 7)", "Go away"},
		{"a.example", "check.access.senders[0]", "a.example (because)", "Sender address rejected: Access denied"},
		{"b.example", "check.access.entry.one", "helo=x sender=b.example (r)", "t"},
	} {
		tx := &mail.Transaction{Session: &mail.Session{Helo: "x"}}
		tx.ReversePath = mail.Path{Local: "u", Domain: v.domain}
		r, _ := l.CheckMail(context.Background(), tx)
		if len(r.Findings) != 1 {
			t.Fatalf("%s: %v", v.domain, r)
		}
		f := r.Findings[0]
		if f.Rule != v.rule || f.Detail != v.detail || f.Reply.Text != v.text {
			t.Errorf("%+v %+v", f, f.Reply)
		}
	}
}

// TestExpiresWhileRunning: no reload is needed.
func TestExpiresWhileRunning(t *testing.T) {
	now := testTime()
	c := Default()
	c.Clients = []string{"192.0.2.1 reject until=2026-06-01T13:00:00Z"}
	check, err := NewAt(c, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	s := &mail.Session{Client: netip.MustParseAddrPort("192.0.2.1:1")}
	for _, v := range []struct {
		after time.Duration
		found int
	}{{0, 1}, {time.Hour - time.Second, 1}, {time.Hour, 0}, {0, 1}} {
		now = testTime().Add(v.after)
		r, _ := check.Impl.(*lists).CheckConnect(context.Background(), s)
		if len(r.Findings) != v.found {
			t.Errorf("after %s: %v", v.after, r.Findings)
		}
	}
}

// TestFileChanges: the lists do not change with the file, and a file that is
// gone is an error of the next reading.
func TestFileChanges(t *testing.T) {
	path := writeFile(t, "192.0.2.1 REJECT\n")
	c := Default()
	c.ClientFiles = []string{path}
	check, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("%v", err)
	}
	s := &mail.Session{Client: netip.MustParseAddrPort("192.0.2.1:1")}
	if r, _ := check.Impl.(*lists).CheckConnect(context.Background(), s); len(r.Findings) != 1 {
		t.Errorf("%v", r)
	}
}
