package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"garita/mail"
	"garita/message"
	"garita/smtpproxy"
)

// sessionCommand is garita session: the dialogue that a client with that
// address would have, typed by hand. The wire and the checks are the real
// ones; the next hop takes everything and sends it nowhere.
type sessionCommand struct {
	configFlag
	IP       string `required:"" help:"Address of the client that is played." placeholder:"ADDRESS"`
	Name     string `help:"Its host name, as reverse DNS would have confirmed it." placeholder:"NAME"`
	Listener string `help:"Name of the listener that it comes in by." placeholder:"NAME"`
}

const sessionWords = `This is a fake session: the answers are real, nothing is delivered.
There are no bans, no rates and no DNS here, and no TLS.
Type SMTP commands (EHLO, MAIL FROM:<a@b>, RCPT TO:<c@d>, DATA, QUIT).
`

// Run plays until the session or the input ends.
func (c *sessionCommand) Run(t *terminal) error {
	played := testCommand{configFlag: c.configFlag, IP: c.IP, Listener: c.Listener, Helo: "x", From: ""}
	s, err := played.settings(t)
	if err != nil {
		return err
	}
	client, err := played.client(s)
	if err != nil {
		return err
	}
	if c.Name != "" && !mail.ValidDomain(c.Name, false) {
		return fail(exitUsage, "--name: %q is not a host name", c.Name)
	}
	spool, err := os.MkdirTemp("", "garita-session-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(spool)
	io.WriteString(t.err, sessionWords)
	return play(t, s, client, c.Name, spool)
}

// play is one session: lines of the input go to the wire, its answers to the
// output, and what the checks found to the error output.
func play(t *terminal, s *Settings, client *offlineClient, name, spool string) error {
	w, err := newOfflineWire(s, client, &narrator{out: t.err}, name, spool)
	if err != nil {
		return err
	}
	conn, err := w.listener.dial(client.peer)
	if err != nil {
		return err
	}
	// greeted: what ends before the session has begun would be turned away.
	closed, greeted := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	go func() {
		defer close(closed)
		var once sync.Once
		defer once.Do(func() { close(greeted) })
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if line != "" && !(ended.Load() && strings.HasPrefix(line, goodbye)) {
				fmt.Fprintln(t.out, oneLine(strings.TrimRight(line, "\r\n")))
				once.Do(func() { close(greeted) })
			}
			if err != nil {
				return
			}
		}
	}()
	// A session that has ended stops the reading of lines at the next one: a
	// terminal's input cannot be woken.
	<-greeted
	in := bufio.NewReader(t.in)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r") + "\r\n"
			if _, werr := io.WriteString(conn, line); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	// The answers to the last lines are still on their way: QUIT is one, and a
	// client that just ends is another.
	ended.Store(true)
	w.finish(conn, closed)
	return nil
}

// goodbye is what finish makes the wire say to a client whose input has ended:
// that the service stops is not what that client would have heard.
const goodbye = "421 4.3.2 "

// offlineWire is a server on pipes with one listener.
type offlineWire struct {
	server   *smtpproxy.Server
	listener *pipeListener
	served   chan error
}

// newOfflineWire serves one listener of the settings on pipes, with a policy
// that sees through the eyes of watch.
func newOfflineWire(s *Settings, client *offlineClient, watch *narrator, name, spool string) (*offlineWire, error) {
	engine, _, err := (&parts{}).policy(s, nil, nil)
	if err != nil {
		return nil, err
	}
	watch.Policy, watch.user = engine, client.user
	l := withoutNetwork(s.Listener[client.listener])
	limits := s.Limits
	limits.FreeDisk = 0
	router, err := sinkRouter(s, l)
	if err != nil {
		return nil, err
	}
	server := smtpproxy.NewServer(smtpproxy.ServerConfig{Budget: message.NewBudget(budgetFor(s)), SpoolDir: spool})
	set := &smtpproxy.Settings{
		Hostname: s.Hostname, Limits: limits, Policy: watch, Keeper: sinkKeeper{}, Index: message.IndexOptions{Limits: s.MIME.limits()},
		Listeners: map[string]*smtpproxy.Listener{client.listener: {
			ListenerConfig: l, Router: router,
		}},
	}
	if name != "" {
		set.Names = toldName(name)
	}
	if err := server.Apply(set); err != nil {
		return nil, err
	}
	w := &offlineWire{server: server, listener: newPipeListener(), served: make(chan error, 1)}
	go func() { w.served <- server.Serve(client.listener, w.listener) }()
	return w, nil
}

// lastAnswers is for what the wire still has to say at the end of the input.
const lastAnswers = 2 * time.Second

// finish waits for the answers that are on their way and ends the session.
func (w *offlineWire) finish(conn io.Closer, closed <-chan struct{}) {
	// Shutdown answers what was sent and says good-bye to an idle session; one
	// that waits for the rest of a message would wait for ever.
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	w.server.Shutdown(ctx)
	conn.Close()
	<-closed
	w.listener.Close()
	<-w.served
}

// toldName is the name that the operator gave the client.
type toldName string

func (n toldName) HostName(context.Context, netip.Addr) mail.HostName {
	return mail.HostName{Name: string(n), Confirmed: true}
}

// narrator tells what the checks find while the dialogue goes on.
type narrator struct {
	smtpproxy.Policy
	out  io.Writer
	user string
	mu   sync.Mutex
	told []mail.Finding
}

func (n *narrator) tell(d mail.Decision) mail.Decision {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range d.Because {
		same := func(g mail.Finding) bool {
			return f.Symbol == g.Symbol && f.Stage == g.Stage && f.Detail == g.Detail && f.Where == g.Where
		}
		if slices.ContainsFunc(n.told, same) {
			continue
		}
		n.told = append(n.told, f)
		words := []string{"  **", f.Stage.String(), f.Symbol, f.Verdict.String()}
		if f.Score != 0 {
			words = append(words, fmt.Sprintf("%+g", f.Score))
		}
		if f.Mode != mail.Enforce {
			words = append(words, "("+f.Mode.String()+")")
		}
		words = append(words, f.Detail, f.Rule)
		fmt.Fprintln(n.out, oneLine(strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")))
	}
	return d
}

func (n *narrator) Connect(ctx context.Context, s *mail.Session) mail.Decision {
	return n.tell(n.Policy.Connect(ctx, s))
}

func (n *narrator) Helo(ctx context.Context, s *mail.Session) mail.Decision {
	return n.tell(n.Policy.Helo(ctx, s))
}

func (n *narrator) Mail(ctx context.Context, tx *mail.Transaction) mail.Decision {
	if n.user != "" {
		tx.Identity = mail.Identity{User: n.user, Source: "garita session"}
	}
	return n.tell(n.Policy.Mail(ctx, tx))
}

func (n *narrator) Rcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) mail.Decision {
	return n.tell(n.Policy.Rcpt(ctx, tx, r))
}

func (n *narrator) Data(ctx context.Context, tx *mail.Transaction) mail.Decision {
	return n.tell(n.Policy.Data(ctx, tx))
}

func (n *narrator) Message(ctx context.Context, tx *mail.Transaction) mail.Decision {
	return n.tell(n.Policy.Message(ctx, tx))
}

func (n *narrator) Again(ctx context.Context, tx *mail.Transaction, m *message.Message) mail.Decision {
	return n.tell(n.Policy.Again(ctx, tx, m))
}
