package e2e

import (
	"fmt"
	"strings"
	"testing"

	"garita/test/harness"
)

// fault is one way in which smtp-sink misbehaves, and what the client must be
// told, at which step.
type fault struct {
	id    string
	flags []string
	step  string // where the client's dialogue ends: RCPT, DATA or "."
	codes string // those allowed, "250" or "4xx 5xx"
	size  int    // of the message, where it matters
	log   string // a text that our log must have
}

func faults() []fault {
	hard := []string{"-B", "550 5.7.0 refused by the next hop"}
	with := func(flags ...string) []string { return append(append([]string{}, hard...), flags...) }
	const big = 8 << 20
	return []fault{
		{"B-00", nil, ".", "250", 0, "status=sent"},
		{"B-04", with("-q", "CONNECT"), "RCPT", "451", 0, ""},
		{"B-04", with("-Q", "CONNECT"), "RCPT", "451", 0, ""},
		{"B-04", with("-r", "CONNECT"), "RCPT", "451", 0, ""},
		{"B-04", with("-f", "CONNECT"), "RCPT", "451", 0, ""},
		{"B-04", []string{"-W", "CONNECT:60"}, "RCPT", "451", 0, ""},
		{"B-05", with("-q", "EHLO"), "RCPT", "451", 0, ""},
		{"B-05", with("-Q", "EHLO"), "RCPT", "451", 0, ""},
		{"B-05", with("-r", "EHLO"), "RCPT", "451", 0, ""},
		{"B-05", with("-f", "EHLO"), ".", "250", 0, ""}, // HELO is tried
		{"B-05", with("-f", "EHLO,HELO"), "RCPT", "451", 0, ""},
		{"B-05", []string{"-W", "EHLO:60"}, "RCPT", "451", 0, ""},
		{"B-07", with("-q", "MAIL"), "RCPT", "451", 0, ""},
		{"B-07", with("-Q", "MAIL"), "RCPT", "451", 0, ""},
		{"B-07", with("-r", "MAIL"), "RCPT", "450", 0, ""},
		{"B-07", with("-f", "MAIL"), "RCPT", "550", 0, ""},
		{"B-07", []string{"-p", "-W", "MAIL:60"}, "RCPT", "451", 0, ""},
		{"B-08", with("-q", "RCPT"), "RCPT", "451", 0, ""},
		{"B-08", with("-Q", "RCPT"), "RCPT", "451", 0, ""},
		{"B-08", with("-r", "RCPT"), "RCPT", "450", 0, ""},
		{"B-08", with("-f", "RCPT"), "RCPT", "550", 0, ""},
		{"B-08", []string{"-p", "-W", "RCPT:60"}, "RCPT", "451", 0, ""},
		{"B-10", with("-q", "DATA"), ".", "451", 0, ""},
		{"B-10", with("-Q", "DATA"), ".", "451", 0, ""},
		{"B-10", with("-r", "DATA"), ".", "450", 0, ""},
		{"B-10", with("-f", "DATA"), ".", "550", 0, ""},
		{"B-10", []string{"-w", "60"}, ".", "451", 0, ""},
		{"B-11", []string{"-A", "0"}, ".", "550 451", big, ""},
		{"B-11", []string{"-A", "1"}, ".", "550 451", big, ""},
		{"B-12", []string{"-H", "60", "-T", "2048"}, ".", "451", big, ""},
		{"B-13", with("-r", "."), ".", "450", 0, ""},
		{"B-13", with("-f", "."), ".", "550", 0, ""},
		{"B-14", []string{"-W", ".:60"}, ".", "451", 0, "more than once"},
		{"B-15", with("-q", "."), ".", "451", 0, "more than once"},
		{"B-15", with("-Q", "."), ".", "451", 0, ""},
		{"B-20", with("-f", "RSET"), ".", "250", 0, ""},
		{"B-20", with("-q", "RSET"), ".", "250", 0, ""},
		{"B-20", with("-q", "QUIT"), ".", "250", 0, ""},
		{"plain", []string{"-8"}, ".", "250", 0, ""},
		{"plain", []string{"-N", "-E"}, ".", "250", 0, ""},
		{"plain", []string{"-p"}, ".", "250", 0, ""},
		{"plain", []string{"-F", "-C", "-a"}, ".", "250", 0, ""},
		{"plain", []string{"-e"}, ".", "250", 0, ""},
		{"plain", []string{"-P"}, ".", "250", 0, ""},
	}
}

// TestTableFaults: whatever the next hop does, the client hears the class
// that is due and keeps the message unless the next hop has it.
func TestTableFaults(t *testing.T) {
	t.Parallel()
	list := faults()
	rows := make([][]string, len(list))
	t.Run("all", func(t *testing.T) {
		for i, f := range list {
			t.Run(f.id+" "+strings.Join(f.flags, " "), func(t *testing.T) {
				t.Parallel()
				rows[i] = tryFault(t, f)
			})
		}
	})
	table(t, []string{"id", "smtp-sink", "ended at", "client is told", "250s", "at the next hop"}, rows)
}

func tryFault(t *testing.T, f fault) []string {
	dir := harness.SinkDir(t)
	sink, _ := harness.SMTPSink(t, append([]string{"-d", dir + "/m."}, f.flags...)...)
	g := harness.NewGateway(t, harness.Options{NextHop: sink, Trust: strangers})
	hop := "next_hop." + harness.Value(t, g.Config, "listener.inbound", "next_hop")
	for _, k := range []string{"connect_timeout", "command_timeout", "data_timeout", "final_timeout"} {
		harness.Configure(t, g.Config, harness.Setting{Table: hop, Key: k, Value: `"2s"`})
	}
	harness.Configure(t, g.Config, harness.Setting{Table: hop, Key: "tls", Value: `"none"`})
	g.Start()
	m := message
	if f.size > 0 {
		m += strings.Repeat(strings.Repeat("x", 70)+"\r\n", f.size/72)
	}
	// Twice over one connection: the second shows that the first left nothing
	// behind.
	c := harness.Greeted(t, g.Inbound)
	said, oks := "", 0
	for range 2 {
		step, r := walk(c, m)
		if r.Code == 250 && step == "." {
			oks++
		}
		if step != f.step || !strings.Contains(f.codes, fmt.Sprint(r.Code)) || r.Code == 0 {
			t.Errorf("%v: ended at %s with %s, want %s at %s\n%s", f.flags, step, r, f.codes, f.step, g.Log())
		}
		if said = r.String(); len(said) > 60 {
			said = said[:60] + "..."
		}
		c.Say("RSET").Want(250)
	}
	c.Say("QUIT").Want(221)
	there := 0
	for _, d := range harness.SinkDumps(t, dir) {
		if strings.Contains(d, "last") && strings.Contains(d, "Received: from client.example") {
			there++
		}
	}
	if there < oks {
		t.Errorf("%v: the client was told 250 %d times, the next hop has %d messages", f.flags, oks, there)
	}
	if f.codes == "250" && there != oks {
		t.Errorf("%v: %d messages arrived for %d answers of 250", f.flags, there, oks)
	}
	if f.log != "" {
		g.WaitLog(f.log)
	}
	return []string{f.id, strings.Join(f.flags, " "), f.step, said, fmt.Sprint(oks), fmt.Sprint(there)}
}

// walk sends one message as far as it goes: the step that ended it and the
// reply there.
func walk(c *harness.Client, message string) (string, harness.Reply) {
	if r := c.Say("MAIL FROM:<a@x.example>").Reply(); r.Code != 250 {
		return "MAIL", r
	}
	if r := c.Say("RCPT TO:<b@our.example>").Reply(); r.Code != 250 {
		return "RCPT", r
	}
	if r := c.Say("DATA").Reply(); r.Code != 354 {
		return "DATA", r
	}
	return ".", c.Raw(harness.Stuff(message)).Reply()
}

// The next hop is not there at all, comes, goes and comes back: 451 while it
// is away, mail when it is there, no restart of ours.
func TestNextHopComesAndGoes(t *testing.T) {
	t.Parallel()
	addr := harness.Addr(t)
	g := harness.StartGateway(t, harness.Options{NextHop: addr, Trust: strangers})
	say := func(want int) {
		t.Helper()
		harness.Eventually(t, fmt.Sprintf("the client is never told %d", want), func() bool {
			_, r := walk(harness.Greeted(t, g.Inbound), message)
			return r.Code == want
		})
	}
	say(451)
	sink := harness.SMTPSinkAt(t, addr)
	say(250)
	sink.Kill()
	say(451)
	harness.SMTPSinkAt(t, addr)
	say(250)
}
