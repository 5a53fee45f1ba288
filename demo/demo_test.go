package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// swallow is a mail server in the gateway's place that takes everything and
// delivers nothing.
type swallow struct{}

func (swallow) Reset()                               {}
func (swallow) Logout() error                        { return nil }
func (swallow) Mail(string, *smtp.MailOptions) error { return nil }
func (swallow) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (swallow) Data(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }

// startFake puts a go-smtp server in the gateway's place.
func startFake(t *testing.T, session smtp.Session) func(Site) (*Gateway, error) {
	return func(site Site) (*Gateway, error) {
		s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return session, nil }))
		s.Domain, s.EnableSMTPUTF8, s.ErrorLog = Hostname, true, silent{}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		go s.Serve(l)
		log := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(log, nil, 0o600); err != nil {
			return nil, err
		}
		a := l.Addr().String()
		return &Gateway{Inbound: a, Outbound: a, Filter: a, Log: log, Spool: t.TempDir(), Stop: s.Close}, nil
	}
}

// Every single case must find out a gateway that does nothing of what it
// should.
func TestEveryCaseCanFail(t *testing.T) {
	r, err := Run(context.Background(), Config{Start: startFake(t, swallow{})})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK {
		t.Error("the whole passed")
	}
	if len(r.Results) != len(Cases()) {
		t.Errorf("%d results of %d cases", len(r.Results), len(Cases()))
	}
	for _, one := range r.Results {
		if one.OK || len(one.Why) == 0 {
			t.Errorf("%s passed: %q", one.Name, one.Reply)
		}
	}
	if want := []string{"nobody asked the DNS for " + mailHost, "nobody asked the DNS for " + smartHost, "nobody asked the DNS for " + mtaHost}; !slices.Equal(r.Faults, want) {
		t.Errorf("faults %q", r.Faults)
	}
}

// good is a case with what it has to look like when it went well.
func good() (Case, observed, string) {
	c := Cases()[0]
	data := "Received: from client.sender.example (unknown [127.0.0.1])\r\n\tby " + Hostname + " (Garita) with ESMTP id ABC1\r\n\tfor <x>; now\r\n" + string(c.Want.Body)
	return c, observed{
		reply:  Reply{250, "2.0.0 Ok: queued as MAI-0001"},
		stored: []Stored{{Host: mailHost, From: sender, To: []string{recipient}, Data: []byte(data), TLS: true, ID: "MAI-0001"}},
	}, "x: ABC1: to=<" + recipient + ">, relay=" + mailHost + "[127.0.0.1]:25, status=sent\n"
}

func TestJudge(t *testing.T) {
	c, o, log := good()
	if r := judge(c, o, log); !r.OK || len(r.Why) > 0 {
		t.Fatalf("what went well is judged %q", r.Why)
	}
	swap := func(o *observed, old, new string) {
		o.stored[0].Data = bytes.Replace(o.stored[0].Data, []byte(old), []byte(new), 1)
	}
	for name, spoil := range map[string]func(*Case, *observed, *string){
		"another code":        func(_ *Case, o *observed, _ *string) { o.reply.Code = 251 },
		"another enhanced":    func(_ *Case, o *observed, _ *string) { o.reply.Text = "2.1.0 queued as MAI-0001" },
		"no reply":            func(_ *Case, o *observed, _ *string) { o.reply = Reply{} },
		"a reply too many":    func(c *Case, _ *observed, _ *string) { c.Want.Reply = "" },
		"the text":            func(c *Case, _ *observed, _ *string) { c.Want.Text = "nonsense" },
		"broken off":          func(_ *Case, o *observed, _ *string) { o.err = errors.New("reset") },
		"nothing arrived":     func(_ *Case, o *observed, _ *string) { o.stored = nil },
		"twice":               func(_ *Case, o *observed, _ *string) { o.stored = append(o.stored, o.stored[0]) },
		"nothing may arrive":  func(c *Case, _ *observed, _ *string) { c.Want.Host = "" },
		"another server":      func(_ *Case, o *observed, _ *string) { o.stored[0].Host = mtaHost },
		"another sender":      func(_ *Case, o *observed, _ *string) { o.stored[0].From = "" },
		"another recipient":   func(_ *Case, o *observed, _ *string) { o.stored[0].To = []string{second} },
		"a recipient more":    func(_ *Case, o *observed, _ *string) { o.stored[0].To = []string{recipient, second} },
		"another's id":        func(_ *Case, o *observed, _ *string) { o.stored[0].ID = "MAI-0002" },
		"clear text":          func(_ *Case, o *observed, _ *string) { o.stored[0].TLS = false },
		"an octet changed":    func(_ *Case, o *observed, _ *string) { swap(o, "Lunch", "lunch") },
		"an octet less":       func(_ *Case, o *observed, _ *string) { swap(o, "Ana\r\n", "Ana\n") },
		"the end missing":     func(_ *Case, o *observed, _ *string) { d := &o.stored[0].Data; *d = (*d)[:len(*d)-2] },
		"an octet more":       func(_ *Case, o *observed, _ *string) { o.stored[0].Data = append(o.stored[0].Data, '\n') },
		"no trace":            func(c *Case, o *observed, _ *string) { o.stored[0].Data = c.Want.Body },
		"another's trace":     func(_ *Case, o *observed, _ *string) { swap(o, "by "+Hostname, "by other.example") },
		"another protocol":    func(_ *Case, o *observed, _ *string) { swap(o, "with ESMTP id", "with SMTP id") },
		"not in the log":      func(_ *Case, _ *observed, log *string) { *log = "" },
		"an empty one at all": func(_ *Case, o *observed, _ *string) { o.stored[0].Data = nil },
	} {
		t.Run(name, func(t *testing.T) {
			c, o, log := good()
			spoil(&c, &o, &log)
			if r := judge(c, o, log); r.OK || len(r.Why) == 0 {
				t.Error("passed")
			}
		})
	}
}

func TestAuditFindsWhatNobodyWaitedFor(t *testing.T) {
	w, err := newWorld()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	w.hosts[1].stored = append(w.hosts[1].stored, Stored{Host: smartHost, From: "a@b.example", To: []string{"c@d.example"}})
	spool := t.TempDir()
	if err := os.WriteFile(filepath.Join(spool, "garita-1.spool"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Report{}
	r.audit(w, nil, spool)
	if len(r.Faults) != 2 || !strings.Contains(r.Faults[0], "from <a@b.example> to c@d.example") || !strings.Contains(r.Faults[1], "1 files are left") {
		t.Errorf("faults %q", r.Faults)
	}
}

func TestLogLinesOfTheFirstMessage(t *testing.T) {
	_, o, _ := good()
	log := "a: ABC1: client=x\nb: ABC2: client=y\nc: ABC1: removed\n"
	got := linesOf(log, []observed{{}, o})
	if want := []string{"a: ABC1: client=x", "c: ABC1: removed"}; !slices.Equal(got, want) {
		t.Errorf("lines %q", got)
	}
}

func TestNameServer(t *testing.T) {
	n, err := newNameServer(map[string]netip.Addr{"a.example": netip.MustParseAddr("127.0.0.9")})
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	got, err := n.lookup(context.Background(), "a.example")
	if err != nil || !slices.Equal(got, []netip.Addr{netip.MustParseAddr("127.0.0.9")}) {
		t.Errorf("a.example is %v, %v", got, err)
	}
	if n.asked("a.example") == 0 || n.asked("b.example") != 0 {
		t.Error("questions are not counted")
	}
	if got, err := n.lookup(context.Background(), "b.example"); !errors.Is(err, errNoAddress) {
		t.Errorf("b.example is %v, %v", got, err)
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := false
	start := startFake(t, swallow{})
	_, err := Run(ctx, Config{
		Start: func(s Site) (*Gateway, error) {
			g, err := start(s)
			if err == nil {
				stop := g.Stop
				g.Stop = func() error { stopped = true; return stop() }
			}
			return g, err
		},
		Progress: func(n, _ int, _ Words) {
			if n == 2 {
				cancel()
			}
			if n > 2 {
				t.Errorf("case %d was begun", n)
			}
		},
	})
	if !errors.Is(err, context.Canceled) || !stopped {
		t.Errorf("%v, stopped %t", err, stopped)
	}
}

func TestRunTellsThatTheGatewayDoesNotStart(t *testing.T) {
	fault := errors.New("no port")
	_, err := Run(context.Background(), Config{Start: func(Site) (*Gateway, error) { return nil, fault }})
	if !errors.Is(err, fault) {
		t.Error(err)
	}
}

// Two cases of one name, or one that wants nothing, would be a hole.
func TestCasesAreWhole(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Cases() {
		if names[c.Name] || c.Name == "" || c.What.EN == "" || c.What.ES == "" || c.Send == nil {
			t.Errorf("case %q is not whole", c.Name)
		}
		names[c.Name] = true
		if c.Want.Reply == "" && c.Want.Log == "" || c.Want.Host != "" && len(c.Want.Body) == 0 {
			t.Errorf("case %q wants nothing", c.Name)
		}
		for _, text := range []string{c.What.EN, c.What.ES} {
			if got := fit(text, widthWhat); got != text {
				t.Errorf("case %q: %q does not fit", c.Name, text)
			}
		}
	}
	if len(names) < 14 {
		t.Errorf("only %d cases", len(names))
	}
}
