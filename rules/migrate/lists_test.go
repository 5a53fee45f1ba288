package migrate

import (
	"errors"
	"strings"
	"testing"

	toml "github.com/pelletier/go-toml/v2"
)

// accessOf reads [check.access] of a result.
func accessOf(t testing.TB, r Result) map[string]any {
	t.Helper()
	var all struct {
		Check struct{ Access map[string]any }
	}
	if err := toml.Unmarshal([]byte(r.TOML), &all); err != nil {
		t.Fatalf("%v\n%s", err, r.TOML)
	}
	return all.Check.Access
}

func entriesOf(t testing.TB, r Result, key string) string {
	t.Helper()
	var out []string
	list, _ := accessOf(t, r)[key].([]any)
	for _, v := range list {
		out = append(out, v.(string))
	}
	return strings.Join(out, "|")
}

// TestAccess: one file for clients and senders, as guides have it; an OK by
// sender is never an accept (features 0.1, row 9).
func TestAccess(t *testing.T) {
	file := []byte(`# lista
ana@dominio.example     REJECT
MALO.example            REJECT No queremos
192.0.2.7               550 5.7.1 fuera
198.51.100              DEFER_IF_REJECT
10.0.0.0/8              OK
luis@otro.example       OK
otro.example            RELAY
x.example               HOLD
y.example               550
z.example               DISCARD
w.example               reject_unverified_sender
v.example               450 Más tarde
malo.example            OK
`)
	r := Access(file, Options{File: "access", Check: "client", Mode: "enforce"}, nil)
	if got := entriesOf(t, r, "clients"); got != "192.0.2.7 550 5.7.1 fuera|198.51.100 defer|10.0.0.0/8 accept" {
		t.Error(got)
	}
	if got := entriesOf(t, r, "names"); got != "MALO.example reject No queremos|otro.example accept|v.example 450 Mas tarde" {
		t.Error(got)
	}
	for n, want := range map[int]string{2: "skipped: ana@dominio.example REJECT: it is an address of mail", 5: "changed", 6: "opens no relay",
		9: "action = 'quarantine'", 10: "a number alone is OK", 11: "action = 'discard'", 12: "a restriction or class", 13: "changed",
		14: "the key stands before"} {
		if l := lineOf(t, r, n).String(); !strings.Contains(l, want) {
			t.Error(l)
		}
	}
	r = Access(file, Options{File: "access", Check: "sender"}, nil)
	if got := entriesOf(t, r, "senders"); strings.Contains(got, "accept") || !strings.HasPrefix(got, "ana@dominio.example reject|MALO.example reject") {
		t.Error(got)
	}
	for n, want := range map[int]string{7: "open relay", 8: "open relay", 4: "it is an IP address"} {
		if l := lineOf(t, r, n); l.Fate != Skipped || !strings.Contains(l.Why, want) {
			t.Error(l)
		}
	}
	if accessOf(t, r)["mode"] != "observe" {
		t.Error("the mode")
	}
	r = Access([]byte("postmaster@ OK\n"), Options{File: "r", Check: "recipient"}, nil)
	if got := entriesOf(t, r, "recipients"); got != "postmaster@ accept" {
		t.Error(got)
	}
	r = Access([]byte("host.example OK\nother.example REJECT\n"), Options{File: "r", Check: "helo"}, nil)
	if got := entriesOf(t, r, "helo"); got != "other.example reject" {
		t.Error(got)
	}
}

// TestAccessRefused: what our own reader refuses is not written.
func TestAccessRefused(t *testing.T) {
	r := Access([]byte("a.example REJECT\nb.example REJECT\n"), Options{File: "r", Check: "sender"}, func(list, line string) error {
		if list == "senders" && strings.HasPrefix(line, "a.") {
			return errors.New("no")
		}
		return nil
	})
	if got := entriesOf(t, r, "senders"); got != "b.example reject" || lineOf(t, r, 1).Fate != Skipped {
		t.Error(got, r.Lines)
	}
}

// TestMailScanner: the first line that a name matches counts, for that name and
// no other of the message.
func TestMailScanner(t *testing.T) {
	file := "# reglas\n" +
		"allow\t\\.txt\\.pif$\t-\t-\n" +
		"deny\t\\.pif$\tPIF programs\tNo queremos programas así\n" +
		"deny+delete\t\\.scr$\tscreen savers\t-\n" +
		"rename\t\\.doc$\t-\t-\n" +
		"jefe@our.example\t\\.xls$\tsheets\tSheets\n" +
		"deny  \\.exe$  no tabs\n" +
		"deny\t(\t-\t-\n" +
		"allow\t.*\t-\t-\n" +
		"deny\t\\.com$\t-\t-\n"
	r := MailScanner([]byte(file), Options{File: "filename.rules.conf", Mode: "enforce"})
	for n, want := range map[int]Fate{2: Imported, 3: Changed, 4: Changed, 5: Skipped, 6: Changed, 7: Skipped, 8: Skipped, 9: Imported, 10: Imported} {
		if l := lineOf(t, r, n); l.Fate != want {
			t.Error(l)
		}
	}
	one := func(names ...string) map[string]bool {
		raw := "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
		for _, n := range names {
			raw += "--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"" + n + "\"\r\n\r\nxx\r\n"
		}
		return hits(t, r.TOML, []byte(raw+"--b--\r\n"))
	}
	for _, c := range []struct {
		names []string
		want  string
	}{{[]string{"x.PIF"}, "filename-rules-conf-3"}, {[]string{"a.txt.pif"}, ""}, {[]string{"a.txt.pif", "b.pif"}, "filename-rules-conf-3"},
		{[]string{"x.scr"}, "filename-rules-conf-4"}, {[]string{"x.xls"}, "filename-rules-conf-6"}, {[]string{"x.com"}, ""}} {
		got := one(c.names...)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !got[c.want]) {
			t.Errorf("%v: %v, want %q", c.names, got, c.want)
		}
	}
	if reply := ruleOf(t, r, "filename-rules-conf-3").Reply; reply == nil || reply.Text != "No queremos programas asi" {
		t.Errorf("%+v", reply)
	}
}

func TestDeadLists(t *testing.T) {
	for zone, alive := range map[string]bool{"relays.ordb.org": false, "list.dsbl.org.": false, "blackholes.mail-abuse.org": false, "OPM.blitzed.org": false,
		"spam.dnsbl.sorbs.net": false, "sbl.spamhaus.org": true, "cbl.abuseat.org": true} {
		if d, ok := FindDeadList(zone); !ok || d.Alive != alive || d.Since == "" || d.Effect == "" {
			t.Errorf("%s: %+v %v", zone, d, ok)
		}
	}
	for _, zone := range []string{"zen.spamhaus.org", "notordb.org", ""} {
		if _, ok := FindDeadList(zone); ok {
			t.Errorf("%s is said to be dead", zone)
		}
	}
}
