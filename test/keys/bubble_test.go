package keys

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"garita/config"
	"garita/filters"
	"garita/filters/all"
	"garita/mail"
	"garita/message"
	"garita/smtpproxy"
	"garita/smtpproxy/routing"
	"garita/test/harness"
)

// wireSettings are what the wire reads of config.toml.
type wireSettings struct {
	Limits   smtpproxy.Limits                    `toml:"limits"`
	Listener map[string]smtpproxy.ListenerConfig `toml:"listener"`
	Check    all.Config                          `toml:"check"`
}

// usual are the keys that a listener has when a row does not speak of them.
func usual(toml string) string {
	for _, u := range [][2]string{
		{"role", `"inbound"`}, {"listen", `["127.0.0.1:25"]`}, {"next_hop", `"hop"`}, {"relay_domains", `["our.example"]`},
	} {
		if !strings.Contains(toml, "listener.NAME."+u[0]+" ") {
			toml += "\nlistener.NAME." + u[0] + " = " + u[1]
		}
	}
	if !strings.Contains(toml, "limits.free_disk ") {
		toml += "\nlimits.free_disk = \"0B\"" // the machine's disk is not the matter
	}
	return toml
}

// bubble plays the row's scene, lines of a client, to the real wire with the
// real checks and router, on a pipe, under a clock of its own: what takes
// minutes takes none. It gives the answers, each with its second.
func bubble(t *testing.T, toml string, e effect) string {
	t.Helper()
	certs, spool := harness.NewCerts(t, "gw.example"), t.TempDir()
	w := wireSettings{Limits: smtpproxy.DefaultLimits(), Check: all.Default()}
	_, problems := config.Decode("test.toml", []byte(usual(toml)), &w, config.Options{NoDropIns: true, EntryDefaults: func(_ string, raw map[string]any) any {
		role, _ := raw["role"].(string)
		return smtpproxy.DefaultListener(role)
	}})
	if len(problems) > 0 {
		t.Fatalf("%s\n%s", toml, problems.Error())
	}
	var out string
	synctest.Test(t, func(t *testing.T) { out = play(t, w, certs.Server, spool, e.scene) })
	return out
}

// play is what happens inside the bubble.
func play(t *testing.T, w wireSettings, cert *tls.Config, spool, scene string) string {
	s := &stage{t: t, spool: spool, began: time.Now(), conns: make(chan net.Conn)}
	l := w.Listener["NAME"]
	checks, err := all.Checks(w.Check, filters.Site{Hostname: "gw.example", Domains: l.RelayDomains})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := filters.New(filters.Config{Checks: checks, Thresholds: filters.DefaultThresholds()})
	if err != nil {
		t.Fatal(err)
	}
	tables, _ := routing.Compile(routing.Default())
	hop := &sink{stage: s}
	router, err := routing.New(routing.Options{Listener: l, Tables: tables, Default: hop})
	if err != nil {
		t.Fatal(err)
	}
	listener := &smtpproxy.Listener{ListenerConfig: l, Router: router, TLS: cert}
	server := smtpproxy.NewServer(smtpproxy.ServerConfig{SpoolDir: spool, Budget: message.NewBudget(message.BudgetConfig{
		Total: w.Limits.MessagesTotal, Memory: w.Limits.MessagesMemory, Headroom: l.MaxMessageSize, ReserveShare: 0.2})})
	if err := server.Apply(&smtpproxy.Settings{Hostname: "gw.example", Limits: w.Limits, Policy: policy, Accounts: noAccounts{},
		Listeners: map[string]*smtpproxy.Listener{"NAME": listener}}); err != nil {
		t.Fatal(err)
	}
	pipes := &pipes{conns: s.conns, done: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- server.Serve("NAME", pipes) }()
	s.perform(scene)
	pipes.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	server.Shutdown(ctx)
	s.end()
	<-served
	return s.transcript()
}

// stage is the client's side of a scene.
type stage struct {
	t     *testing.T
	spool string
	began time.Time
	conns chan net.Conn
	open  []net.Conn
	wg    sync.WaitGroup

	mu    sync.Mutex
	lines []string
}

func (s *stage) note(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("[%s] ", time.Since(s.began).Truncate(time.Second))+fmt.Sprintf(format, a...))
}

func (s *stage) transcript() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n") + "\n"
}

// dial opens one more connection and notes what comes by it.
func (s *stage) dial(overTLS bool) net.Conn {
	ours, theirs := net.Pipe()
	s.conns <- from{theirs}
	var conn net.Conn = ours
	s.open = append(s.open, ours)
	if overTLS {
		c := tls.Client(ours, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // whose certificate it is does not matter
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if err := c.Handshake(); err != nil {
			s.note("no TLS")
			return nil
		}
		c.SetDeadline(time.Time{})
		conn = c
	}
	s.wg.Go(func() {
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				s.note("%s", strings.TrimSpace(line))
			}
			if err != nil {
				s.note("closed")
				return
			}
		}
	})
	return conn
}

// perform plays the lines of a scene. Those with "!" are about the client.
func (s *stage) perform(scene string) {
	lines := strings.Split(scene, "\n")
	overTLS := lines[0] == "!tls"
	conn := s.dial(overTLS)
	if conn == nil {
		return
	}
	say := func(text string) {
		synctest.Wait()
		conn.SetWriteDeadline(time.Now().Add(time.Minute))
		conn.Write([]byte(text))
	}
	for _, l := range lines {
		word, arg, _ := strings.Cut(l, " ")
		switch word {
		case "!tls":
		case "!sleep":
			d, err := time.ParseDuration(arg)
			if err != nil {
				s.t.Fatal(err)
			}
			time.Sleep(d)
		case "!nospool": // what goes to a spool file from now on fails
			synctest.Wait()
			if err := os.RemoveAll(s.spool); err != nil {
				s.t.Fatal(err)
			}
		case "!conn": // the rest goes by another connection
			synctest.Wait()
			conn = s.dial(false)
		case "!long": // a command of so many octets
			say(s.many("NOOP ", "x", arg) + "\r\n")
		case "!body": // so many lines of a message
			say(s.many("", strings.Repeat("y", 98)+"\r\n", arg))
		case "!hops":
			say(s.many("", "Received: from a by b; Mon, 5 Jan 2026 10:00:00 +0000\r\n", arg))
		case "!slowly": // so many kilobytes, one every ten seconds
			n, _ := strconv.Atoi(arg)
			for range n {
				say(strings.Repeat(strings.Repeat("z", 98)+"\r\n", 10))
				time.Sleep(10 * time.Second)
			}
		case "!rcpts":
			n, _ := strconv.Atoi(arg)
			for i := range n {
				say(fmt.Sprintf("RCPT TO:<u%d@our.example>\r\n", i))
			}
		case "!raw":
			text, err := strconv.Unquote(`"` + arg + `"`)
			if err != nil {
				s.t.Fatal(err)
			}
			say(text)
		default:
			say(l + "\r\n")
		}
	}
	synctest.Wait()
	time.Sleep(15 * time.Second)
}

func (s *stage) many(head, text, count string) string {
	n, err := strconv.Atoi(count)
	if err != nil {
		s.t.Fatal(err)
	}
	return head + strings.Repeat(text, n)
}

func (s *stage) end() {
	for _, c := range s.open {
		c.Close()
	}
	s.wg.Wait()
}

// from is a pipe's end whose other end is a stranger's.
type from struct{ net.Conn }

func (from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:40000"))
}

func (from) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.5:25"))
}

// pipes is a listener of pipes.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// noAccounts knows nobody; that there are accounts is what matters.
type noAccounts struct{}

func (noAccounts) Verify(context.Context, netip.Addr, string, string) (bool, error) {
	return false, nil
}

// sink is a next hop that takes everything, and for <slow@…> takes its time.
type sink struct {
	stage *stage
	slow  bool
}

func (*sink) Name() string { return "hop" }
func (*sink) Capabilities() smtpproxy.Capabilities {
	return smtpproxy.Capabilities{Known: true, EightBitMIME: true, SMTPUTF8: true, DSN: true}
}
func (*sink) LeadsTo(netip.Addr) (port uint16, yes bool)   { return 0, false }
func (h *sink) Begin(*mail.Transaction) smtpproxy.Delivery { return &sink{stage: h.stage} }

func (h *sink) Rcpt(_ context.Context, r mail.Recipient) (mail.Reply, error) {
	h.stage.note("next hop: RCPT %s", r)
	h.slow = h.slow || r.Local == "slow"
	return mail.OK(250, "1.5", "Ok"), nil
}

func (h *sink) Data(ctx context.Context, m smtpproxy.Body) mail.Outcome {
	if h.slow {
		select {
		case <-time.After(12 * time.Second):
		case <-ctx.Done():
			return mail.Outcome{Kind: mail.Ambiguous, Replies: []mail.Reply{mail.Temporary(451, "4.0", "No answer")}}
		}
	}
	return mail.Outcome{Kind: mail.Relayed, NextHop: "hop", Replies: []mail.Reply{mail.OK(250, "0.0", "Ok: taken")}}
}

func (*sink) Park()                   {}
func (*sink) Forget([]mail.Recipient) {}
func (*sink) Wanted() bool            { return false }
func (*sink) Abort()                  {}
