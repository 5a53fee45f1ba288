// Package greylist is the check that asks strangers to come back (RFC 6647):
// 450 at RCPT until a triplet of client, sender and recipient has waited. The
// memory is the package greylist of the module's root; here stands who is
// asked at all.
//
// On a listener only suspicious clients are, by default: those without a name
// that the DNS confirms, and those that the lists of check.dnsbl know. For an
// MTA that asks by policy delegation everybody is, as with postgrey. Trusted
// clients, users who have logged in, and people to whom our users wrote never
// are.
//
// In mode observe it learns: triplets come back, clients earn their pass, and
// the log says what would have been delayed. It fails by letting mail pass.
package greylist

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"garita/filters"
	"garita/greylist"
	"garita/mail"
	"garita/message"
)

// Name of the check.
const Name = "greylist"

// The symbols.
const (
	SymbolDelayed = "greylist.delayed"
	SymbolPassed  = "greylist.passed" // for the first time
	SymbolFull    = "greylist.full"
)

// whom are the values of who.
const (
	suspicious = "suspicious"
	everybody  = "everybody"
)

// maxWaiting is far beyond what helps.
const maxWaiting = 10_000_000

// Config is the table [check.greylist].
type Config struct {
	Mode           string        `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce. observe: nobody waits, and the table fills with who sends us mail. Two weeks of it, then enforce, and regular senders never notice."`
	Who            string        `toml:"who" enum:"suspicious,everybody" doc:"suspicious: clients without a name that the DNS confirms, and those that lists know. everybody: as postgrey."`
	Delay          time.Duration `toml:"delay" doc:"How long a newcomer waits."`
	ListScore      float64       `toml:"list_score" doc:"From this sum of the scores of check.dnsbl on a client is suspicious."`
	PolicyMode     string        `toml:"policy_mode" enum:"off,observe,score,enforce" doc:"The mode for MTAs that ask the policy server ([policyd])."`
	PolicyWho      string        `toml:"policy_who" enum:"suspicious,everybody" doc:"Who is greylisted there. everybody is what postgrey does."`
	PolicyDelay    time.Duration `toml:"policy_delay" doc:"How long a newcomer waits there. 5m is what postgrey does."`
	RetryWindow    time.Duration `toml:"retry_window" doc:"Who comes back later than this begins anew."`
	MaxAge         time.Duration `toml:"max_age" doc:"Who has come back is remembered for so long after the last time."`
	AutoPass       int           `toml:"auto_pass" doc:"A client that has come back so often, an hour apart, is not delayed any more. 0: never."`
	IPv4Prefix     int           `toml:"ipv4_prefix" doc:"A client stands for its network of this length: large senders come back from a neighbour."`
	IPv6Prefix     int           `toml:"ipv6_prefix" doc:"The same for IPv6."`
	Correspondents time.Duration `toml:"correspondents" doc:"Who was written to by one of our users is not delayed for so long. 0s: nobody is remembered."`
	Newcomers      int           `toml:"newcomers" doc:"Triplets that wait at most; while there are more, newcomers pass."`
	ClientFiles    []string      `toml:"client_files" doc:"Lists of clients that are never delayed, in the form of postgrey's list of clients (docs/greylist.md). A file that ends in .local may be missing."`
	RecipientFiles []string      `toml:"recipient_files" doc:"Lists of recipients whose mail is never delayed, in the form of postgrey's list of recipients."`
	Header         bool          `toml:"header" doc:"Mail that had to wait gets the field X-Greylist."`
}

// Default learns on listeners, and does on the policy port what postgrey does.
func Default() Config {
	return Config{
		Mode: "observe", Who: suspicious, Delay: 2 * time.Minute, ListScore: 1,
		PolicyMode: "enforce", PolicyWho: everybody, PolicyDelay: greylist.DefaultDelay,
		RetryWindow: greylist.DefaultRetryWindow, MaxAge: greylist.DefaultMaxAge, AutoPass: greylist.DefaultAutoPass,
		IPv4Prefix: 24, IPv6Prefix: 64, Correspondents: greylist.DefaultPairAge, Newcomers: greylist.DefaultNewcomers,
		ClientFiles: []string{}, RecipientFiles: []string{}, Header: true,
	}
}

// Validate gives every mistake, each naming its key; the files are read.
func (c Config) Validate() []error {
	_, errs, _ := c.Read()
	return errs
}

func (c Config) own() (errs []error) {
	for _, m := range []struct{ key, mode string }{{"mode", c.Mode}, {"policy_mode", c.PolicyMode}} {
		if _, ok := mail.ParseMode(m.mode); !ok {
			errs = append(errs, fmt.Errorf("%s = %q: must be off, observe, score or enforce", m.key, m.mode))
		}
	}
	for _, w := range []struct{ key, who string }{{"who", c.Who}, {"policy_who", c.PolicyWho}} {
		if w.who != suspicious && w.who != everybody {
			errs = append(errs, fmt.Errorf("%s = %q: must be suspicious or everybody", w.key, w.who))
		}
	}
	for _, d := range []struct {
		key         string
		v, min, max time.Duration
	}{
		{"delay", c.Delay, time.Second, 24 * time.Hour}, {"policy_delay", c.PolicyDelay, time.Second, 24 * time.Hour},
		{"retry_window", c.RetryWindow, time.Hour, 30 * 24 * time.Hour}, {"max_age", c.MaxAge, 24 * time.Hour, 366 * 24 * time.Hour},
		{"correspondents", c.Correspondents, 0, 366 * 24 * time.Hour},
	} {
		if d.v < d.min || d.v > d.max {
			errs = append(errs, fmt.Errorf("%s = %s: must be from %s to %s", d.key, d.v, d.min, d.max))
		}
	}
	for _, n := range []struct {
		key         string
		v, min, max int
	}{{"auto_pass", c.AutoPass, 0, 1000}, {"ipv4_prefix", c.IPv4Prefix, 8, 32}, {"ipv6_prefix", c.IPv6Prefix, 16, 128}, {"newcomers", c.Newcomers, 100, maxWaiting}} {
		if n.v < n.min || n.v > n.max {
			errs = append(errs, fmt.Errorf("%s = %d: must be from %d to %d", n.key, n.v, n.min, n.max))
		}
	}
	if math.IsNaN(c.ListScore) || c.ListScore <= 0 || c.ListScore > 100 {
		errs = append(errs, fmt.Errorf("list_score = %v: must be above 0 and at most 100", c.ListScore))
	}
	return errs
}

// Lists are the files of a configuration, as they were read.
type Lists struct {
	clients    *greylist.Clients
	recipients *greylist.Recipients
}

// Read reads the lists, and gives the errors of Validate and what is read in
// another way than postgrey reads it.
func (c Config) Read() (l *Lists, errs, warnings []error) {
	l = &Lists{}
	var bad [2][]greylist.Problem
	l.clients, bad[0] = greylist.ReadClients(c.ClientFiles...)
	l.recipients, bad[1] = greylist.ReadRecipients(c.RecipientFiles...)
	errs = c.own()
	for i, key := range []string{"client_files", "recipient_files"} {
		for _, p := range bad[i] {
			if err := fmt.Errorf("%s: %w", key, p); p.Warning {
				warnings = append(warnings, err)
			} else {
				errs = append(errs, err)
			}
		}
	}
	return l, errs, warnings
}

// Options are what a configuration does not say.
type Options struct {
	// Authenticated gives the domain that a transaction is authenticated for
	// (SPF, DKIM), empty for none; nil: nothing is.
	Authenticated func(*mail.Transaction) string
	// Now and Steady are the clocks, for tests.
	Now    func() time.Time
	Steady func() time.Duration
}

// New makes the check; lists may be nil, and are read then.
func New(c Config, lists *Lists, site filters.Site, o Options) (filters.Check, error) {
	if lists == nil {
		var errs []error
		if lists, errs, _ = c.Read(); len(errs) > 0 {
			return filters.Check{}, fmt.Errorf("greylist: %w", errs[0])
		}
	} else if errs := c.own(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("greylist: %w", errs[0])
	}
	mode, _ := mail.ParseMode(c.Mode)
	g := &check{Config: c, lists: lists, host: site.Hostname, names: site.Resolver != nil, o: o}
	if g.o.Now == nil {
		g.o.Now = time.Now
	}
	if site.Store != nil {
		var err error
		g.table, err = greylist.New(greylist.Options{
			Store: site.Store, RetryWindow: c.RetryWindow, MaxAge: c.MaxAge, AutoPass: c.AutoPass, IPv4: c.IPv4Prefix, IPv6: c.IPv6Prefix,
			Newcomers: c.Newcomers, PairAge: c.Correspondents, Now: o.Now, Steady: o.Steady, Log: site.Logger(Name),
		})
		if err != nil {
			return filters.Check{}, err
		}
	}
	// Not IO: the table bounds itself how long the store may take, and memory
	// answers at once.
	return filters.Check{Name: Name, Impl: g, Mode: mode, OnError: filters.ContinueOnError}, nil
}

// check is the check. Without a store it says nothing.
type check struct {
	Config
	lists *Lists
	table *greylist.Table
	host  string
	names bool // clients have names, because there is a DNS
	o     Options
	seen  instances
}

// CheckRcpt judges one triplet.
func (g *check) CheckRcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) (filters.Result, error) {
	who, delay, ok := g.applies(tx)
	if g.table == nil || !ok {
		return filters.Result{}, nil
	}
	client := tx.Client.Addr().Unmap()
	name := tx.HostOrUnknown()
	sender, rcpt := raw(tx.ReversePath), raw(r.Asked())
	if g.lists.clients.Match(name, client) || g.lists.recipients.Match(rcpt) {
		return filters.Result{}, nil
	}
	if g.Correspondents > 0 && sender != "" {
		if known, err := g.table.Corresponds(ctx, rcpt, sender); known || err != nil {
			return filters.Result{}, err
		}
	}
	if who == suspicious && !g.suspect(tx) {
		return filters.Result{}, nil
	}
	q := greylist.Request{Client: client, Sender: sender, Recipient: rcpt, Delay: delay}
	if g.o.Authenticated != nil {
		q.Domain = g.o.Authenticated(tx)
	}
	a, err := g.table.Check(ctx, &q)
	if err != nil {
		return filters.Result{}, err
	}
	return g.result(tx, &a), nil
}

// applies tells who is greylisted where the transaction comes from, and for how
// long.
func (g *check) applies(tx *mail.Transaction) (who string, delay time.Duration, ok bool) {
	if !tx.Client.Addr().IsValid() || tx.Login != "" || tx.Identity.User != "" {
		return "", 0, false
	}
	if tx.Role == mail.PolicyServer {
		return g.PolicyWho, g.PolicyDelay, true
	}
	return g.Who, g.Delay, filters.Stranger(tx.Session)
}

// suspect tells that the client has no name that the DNS confirms, or that
// lists know it. What a DNS that fails says is no reason.
func (g *check) suspect(tx *mail.Transaction) bool {
	score, failing := 0.0, false
	for i := range tx.Findings {
		f := &tx.Findings[i]
		if strings.HasPrefix(f.Symbol, "dnsbl.") {
			score += f.Score
		}
		failing = failing || f.Symbol == "client.temporary"
	}
	if score >= g.ListScore {
		return true
	}
	named := tx.Host.Confirmed && tx.Host.Name != ""
	return !named && !failing && (g.names || tx.Role == mail.PolicyServer)
}

// result says it in the words of the engine.
func (g *check) result(tx *mail.Transaction, a *greylist.Answer) filters.Result {
	secs := strconv.FormatInt(int64(a.Left/time.Second), 10)
	switch {
	case a.Delay:
		r := mail.Temporary(450, "2.0", "Greylisted, try again in "+secs+" seconds")
		return filters.Found(mail.Finding{Symbol: SymbolDelayed, Verdict: mail.Defer, Reply: &r, Detail: a.Reason.String() + ", " + secs + " s left"})
	case a.Reason == greylist.Full:
		return filters.Found(mail.Finding{Symbol: SymbolFull, Detail: a.Reason.String()})
	case !a.Passed:
		return filters.Result{}
	}
	waited := strconv.FormatInt(int64(a.Waited/time.Second), 10)
	out := filters.Found(mail.Finding{Symbol: SymbolPassed, Detail: "waited " + waited + " s"})
	if g.Header && g.seen.isNew(tx.ID) {
		out.Edits = []message.Edit{{Insert: []byte("X-Greylist: delayed " + waited + " seconds by garita at " + g.host + "; " +
			g.o.Now().Format("Mon, 02 Jan 2006 15:04:05 -0700") + "\r\n")}}
	}
	return out
}

// Finish learns to whom our users write.
func (g *check) Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome) error {
	if g.table == nil || g.Correspondents <= 0 || o.Kind != mail.Relayed || tx.Direction != mail.Out || tx.ReversePath.IsNull() {
		return nil
	}
	ours := raw(tx.ReversePath)
	var errs []error
	for i := range tx.ForwardPaths {
		if err := g.table.Wrote(ctx, ours, raw(tx.ForwardPaths[i].Asked())); err != nil {
			errs = append(errs, err)
			break // the others would fail too
		}
	}
	return errors.Join(errs...)
}

// raw is an address as it was given, without the quotes of the grammar: the
// form in which Postfix hands it to policy servers.
func raw(p mail.Path) string {
	if p.Domain == "" {
		return p.Local
	}
	return p.Local + "@" + p.Domain
}

// maxInstances are the transactions of which it is known that they have their
// field.
const maxInstances = 256

// instances are the last transactions that got a field: a message of many
// recipients gets one.
type instances struct {
	mu   sync.Mutex
	ids  [maxInstances]string
	next int
}

// isNew notes a transaction; one without a name is always new.
func (n *instances) isNew(id string) bool {
	if id == "" {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, have := range n.ids {
		if have == id {
			return false
		}
	}
	n.ids[n.next] = id
	n.next = (n.next + 1) % maxInstances
	return true
}
