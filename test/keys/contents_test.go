package keys

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/filters"
	"garita/filters/all"
	"garita/mail"
	"garita/message"
)

// desk judges whole messages with all checks of a configuration.
type desk struct {
	t      *testing.T
	engine *filters.Engine
	site   filters.Site

	mu   sync.Mutex
	seen strings.Builder
}

func (d *desk) note(format string, a ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(&d.seen, format+"\n", a...)
}

func (d *desk) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen.String()
}

// newDesk makes the checks as the program does, their helpers too.
func newDesk(t *testing.T, toml string) *desk {
	t.Helper()
	d := &desk{t: t}
	d.site = filters.Site{Hostname: "mx.our.example", Domains: []string{"our.example"}, Log: func(_, text string, err error) {
		d.note("log: %s: %v", text, err)
	}}
	s := read(t, toml)
	checks, helpers, err := (&all.Lists{}).Checks(s.Check, d.site, nil)
	if err != nil {
		t.Fatalf("%s\n%v", toml, err)
	}
	t.Cleanup(helpers.Close)
	d.engine, err = filters.New(filters.Config{Checks: checks, Thresholds: map[mail.Direction]filters.Thresholds{mail.In: s.Score.Inbound, mail.Out: s.Score.Outbound}})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(toml, "check.clamav.signature_age") {
		helpers.Start() // the age is looked at in the background
		for helpers.Antivirus().OldestSignatures.IsZero() {
			time.Sleep(time.Millisecond)
		}
	}
	return d
}

// judge gives the decision about a message, and notes all that can be seen of
// it: findings, the answer, the fields of the message that goes out.
func (d *desk) judge(raw string, dir mail.Direction) mail.Decision {
	d.t.Helper()
	m, err := message.Spool(d.t.Context(), strings.NewReader(raw), message.Limits{Max: 64 << 20, Memory: 64 << 20})
	if err != nil {
		d.t.Fatal(err)
	}
	defer m.Release()
	client := netip.MustParseAddrPort("192.0.2.1:4000")
	tx := &mail.Transaction{Session: &mail.Session{ID: "T", Client: client, Peer: client, Helo: "mail.sender.example"}, ID: "T", Direction: dir, Message: m}
	tx.ReversePath = mail.Path{Local: "a", Domain: "sender.example"}
	tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "b", Domain: "our.example"}}}
	d.engine.Mail(d.t.Context(), tx)
	dec := d.engine.Message(d.t.Context(), tx)
	d.engine.Finish(d.t.Context(), tx, mail.Outcome{})
	for _, f := range dec.Because {
		d.note("%s %+g %s %s %s %s", f.Symbol, f.Score, f.Verdict, f.Mode, f.Where, f.Detail)
	}
	d.note("verdict %s", dec.Verdict)
	if dec.Reply.Code != 0 {
		d.note("answer %s", dec.Reply)
	}
	if r, err := m.Render(dec.Edits); err != nil {
		d.t.Error(err)
	} else if out, err := io.ReadAll(r); err != nil {
		d.t.Error(err)
	} else {
		head, _, _ := strings.Cut(string(out), "\r\n\r\n")
		d.note("goes out with %s", head)
	}
	return dec
}

// simple is mail without anything in it.
const simple = "Subject: hello\r\nFrom: a@sender.example\r\nTo: b@our.example\r\n\r\nHello.\r\n"

// mimeLetters are messages for [check.mime], by the key that is about them.
func mimeLetters() map[string]string {
	const head = "From: a@sender.example\r\nTo: b@our.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
	two := func(name string) string {
		return head + "Content-Type: multipart/mixed; boundary=A; boundary=B\r\n\r\n--B\r\nContent-Type: text/plain\r\n\r\nhola\r\n--B\r\n" +
			"Content-Type: application/octet-stream; name=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8gd29ybGQ=\r\n--B--\r\n"
	}
	var deep strings.Builder
	for i := range 60 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	return map[string]string{
		"ambiguous":              two("notes.txt"),
		"ambiguous_risky":        two("a.docm"), // a name of nothing that the other checks refuse
		"opaque_partial":         head + "Content-Type: message/partial; id=\"a@sender.example\"; number=1; total=2\r\n\r\nSubject: x\r\n\r\nhola\r\n",
		"external_body":          head + "Content-Type: message/external-body; access-type=URL; URL=\"http://a.example/x\"\r\n\r\nContent-Type: text/plain\r\n\r\n",
		"unknown_encoding":       head + "Content-Type: text/plain\r\nContent-Transfer-Encoding: x-own\r\n\r\nhola\r\n",
		"unknown_encoding_risky": head + "Content-Type: application/octet-stream; name=\"a.dat\"\r\nContent-Transfer-Encoding: x-own\r\n\r\nhola\r\n",
		"unfinished":             head + deep.String() + "Content-Type: text/plain\r\n\r\nhola\r\n",
		"odd":                    head + "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nhola\r\n",
	}
}

func mimeSymbol(key string) string {
	switch key {
	case "opaque_partial":
		return "mime.partial"
	case "unknown_encoding", "unknown_encoding_risky":
		return "mime.encoding"
	case "unfinished":
		return "mime.limit"
	}
	return "mime." + key
}

// mimeRows are the keys of [check.mime]: "act" rows are played with all
// actions, the others with the value.
func mimeRows() []effect {
	const m = "check.mime."
	rows := []effect{
		{key: m + "mode", value: `"observe"`, scene: "external_body", want: "-verdict quarantine", still: "mime.external_body"},
		{key: m + "tag", value: "false", scene: "ambiguous", want: "-X-Garita-Mime: ", still: "mime.ambiguous"},
	}
	for key := range mimeLetters() {
		rows = append(rows, effect{key: m + key + "_score", value: "7.25", scene: key, want: "+" + mimeSymbol(key) + " +7.25"})
	}
	return rows
}

// bare leaves one check alone, so that it is seen what it does by itself.
func bare(check string) string {
	var b strings.Builder
	for _, c := range []string{"rules", "mime", "attachment"} {
		if c != check {
			fmt.Fprintf(&b, "check.%s.mode = \"off\"\n", c)
		}
	}
	return b.String()
}

// TestMIME: the keys of [check.mime] beside the actions.
func TestMIME(t *testing.T) {
	run(t, mimeRows(), func(t *testing.T, toml string, e effect) string {
		d := newDesk(t, bare("mime")+toml)
		d.judge(mimeLetters()[e.scene], mail.In)
		return d.text()
	})
}

// scoreRows are the thresholds: a message whose points are known.
func scoreRows() []effect {
	points := func(p string) string {
		return "check.mime.external_body = \"score\"\ncheck.mime.external_body_score = " + p
	}
	return []effect{
		{key: "score.inbound.tag", value: "3", base: points("4"), scene: "in", want: "+X-Garita-Verdict: tag", still: "verdict continue"},
		{key: "score.inbound.quarantine", value: "4", base: points("4") + "\nscore.inbound.tag = 1", scene: "in", want: "+verdict quarantine"},
		{key: "score.inbound.reject", value: "11", base: points("12"), scene: "in", want: "+verdict reject"},
		{key: "score.outbound.tag", value: "3", base: points("40"), scene: "out", want: "+X-Garita-Verdict: tag", still: "verdict continue"},
		{key: "score.outbound.quarantine", value: "4", base: points("40"), scene: "out", want: "+verdict quarantine"},
		{key: "score.outbound.reject", value: "11", base: points("40"), scene: "out", want: "+verdict reject"},
	}
}

// TestScore: what the points of a message lead to.
func TestScore(t *testing.T) {
	run(t, scoreRows(), func(t *testing.T, toml string, e effect) string {
		d := newDesk(t, bare("mime")+toml)
		d.judge(mimeLetters()["external_body"], direction(e.scene))
		return d.text()
	})
}

func direction(word string) mail.Direction {
	if word == "out" {
		return mail.Out
	}
	return mail.In
}

// actionRows are the keys whose values are actions, in both directions: the
// scene is the message.
func actionRows() []effect {
	var rows []effect
	for key := range mimeLetters() {
		rows = append(rows, effect{key: "check.mime." + key, scene: key, want: mimeSymbol(key)}, effect{key: "check.mime.out." + key, scene: key, want: mimeSymbol(key)})
	}
	for key := range classLetters() {
		rows = append(rows, effect{key: "check.attachment." + key, scene: key, want: "attachment." + key}, effect{key: "check.attachment.out." + key, scene: key, want: "attachment." + key})
	}
	return rows
}

// TestActions: what off, observe, score, hold and reject make of each class,
// in both directions. All else is switched off, so that the class is seen
// alone; a key of the table out speaks for outbound mail and not for inbound.
func TestActions(t *testing.T) {
	for _, e := range actionRows() {
		t.Run(e.key, func(t *testing.T) {
			t.Parallel()
			parts := strings.SplitN(e.key, ".", 3)
			check, class, out := parts[1], strings.TrimPrefix(parts[2], "out."), strings.HasPrefix(parts[2], "out.")
			raw, others := mimeLetters()[e.scene], mimeLetters()
			if check == "attachment" {
				raw, others = classLetters()[e.scene].raw(t), nil
			}
			for _, action := range []string{"off", "observe", "score", "hold", "reject"} {
				var toml strings.Builder
				toml.WriteString(bare(check))
				for k := range others {
					if k != class {
						fmt.Fprintf(&toml, "check.mime.%s = \"off\"\n", k)
					}
				}
				if check == "attachment" {
					toml.WriteString(classLetters()[class].settings)
					for k := range classLetters() {
						if k != class {
							fmt.Fprintf(&toml, "check.attachment.%s = \"off\"\n", k)
						}
					}
				}
				fmt.Fprintf(&toml, "score.inbound = { tag = 0, quarantine = 0, reject = 0 }\n%s = %q\n", e.key, action)
				if out { // inbound mail has another action than outbound mail
					other := "hold"
					if action == "hold" {
						other = "reject"
					}
					fmt.Fprintf(&toml, "check.%s.%s = %q\n", check, class, other)
					expect(t, toml.String(), raw, mail.In, e.want, other)
				} else {
					expect(t, toml.String(), raw, mail.In, e.want, action)
				}
				expect(t, toml.String(), raw, mail.Out, e.want, action)
			}
		})
	}
}

// expect judges a message and looks whether the action was done about the
// symbol.
func expect(t *testing.T, toml, raw string, dir mail.Direction, symbol, action string) {
	t.Helper()
	d := newDesk(t, toml)
	dec := d.judge(raw, dir)
	verdict := map[string]mail.Verdict{"hold": mail.Quarantine, "reject": mail.Reject}[action]
	found, points, mode := false, 0.0, mail.Enforce
	for _, f := range dec.Because {
		if f.Symbol == symbol {
			found, mode = true, f.Mode
			points += f.Score
		}
	}
	if dec.Verdict != verdict || found != (action != "off") || found && (mode == mail.Observe) != (action == "observe") {
		t.Errorf("%s %v: verdict %v, found %v in mode %v\n%s", action, dir, dec.Verdict, found, mode, d.text())
	}
	if action == "score" && (dec.Score <= 0 || dec.Score != points) && symbol != "attachment.sealed" {
		t.Errorf("score %v: %v points, the finding has %v\n%s", dir, dec.Score, points, d.text())
	}
	if action == "observe" && dec.Score != 0 {
		t.Errorf("observed, and %v points", dec.Score)
	}
}

// full is a port that takes no more connections: whoever connects waits.
func full(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	fill(t, l.(*net.TCPListener))
	return l.Addr().String()
}
