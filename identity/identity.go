// Package identity says who really sends a message, and keeps how we know.
//
// The answer is looked for in a configured chain: what the session has shown
// (AUTH, a client certificate), what a milter or a policy server was told, the
// "(Authenticated sender: …)" that Postfix writes into its Received field, the
// X-Authenticated-User of Zimbra's webmail, and at last the envelope sender. A
// trusted relay is never a user: what no source names stays unknown, which is
// not a user either.
//
// A header is text that anybody may have written. It is believed from the top
// down, as long as each hop is one of the configured hosts: the first line was
// written by the host that gave us the message, the next one by the host that
// the first names, and so on; the first line that came from elsewhere is the
// last one that is read. A line that can be read in two ways is believed by
// nobody, nor is what stands below it.
//
// It fails towards "unknown": nothing here refuses or delays mail.
//
// # Limits
//
// A trusted host that adds no Received field, and a program on it that speaks
// to us itself, can name any user: list hosts, not networks of desktops. A
// Received value is read up to 4 KB and a run up to 100 of them; a name has at
// most 254 octets. Zimbra writes neither field unless it is told to
// (zimbraMtaSmtpdSaslAuthenticatedHeader, zimbraSmtpSendAddAuthenticatedUser).
package identity

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"garita/mail"
	"garita/message"
)

// The sources, in the order in which they are believed.
const (
	SourceAuth        = "auth"        // AUTH in this session
	SourceCertificate = "certificate" // a client certificate in this session
	SourceMilter      = "milter"      // {auth_authen}
	SourcePolicy      = "policy"      // sasl_username
	SourceReceived    = "received"    // (Authenticated sender: …)
	SourceHeader      = "x-authenticated-user"
	SourceSender      = "sender" // the envelope sender, of a domain of ours
	// SourceUnknown stands for no identity in figures; it is never a source.
	SourceUnknown = "unknown"
)

// sources are all of them, as the configuration may name them.
func sources() []string {
	return []string{SourceAuth, SourceCertificate, SourceMilter, SourcePolicy, SourceReceived, SourceHeader, SourceSender}
}

// OwnSession tells that the user alone is at the other end: this session, or
// the one of the MTA that asks us by milter or policy protocol, is his.
func OwnSession(source string) bool {
	switch source {
	case SourceAuth, SourceCertificate, SourceMilter, SourcePolicy:
		return true
	}
	return false
}

// Proven tells that somebody has seen a password or key of the user. An
// envelope sender is a claim: whoever is let in may write it.
func Proven(source string) bool {
	return OwnSession(source) || source == SourceReceived || source == SourceHeader
}

// Config is the table [identity].
type Config struct {
	Sources       []string       `toml:"sources" doc:"What may say who sends: auth, certificate (this session), milter, policy (what Postfix says that it has seen), received ((Authenticated sender: USER) of a host of yours), x-authenticated-user (of Zimbra's webmail), sender (the envelope sender, of a domain of yours: a claim, believed last)."`
	Hosts         []netip.Prefix `toml:"hosts" doc:"Addresses of your mail hosts whose header fields are believed, as addresses or CIDR: those that give us mail, and those before them. Never a network of desktops: whoever sits there could name any user."`
	DefaultDomain string         `toml:"default_domain" doc:"Domain of user names that have none, so that ana and ana@our.example are one user."`
	KeepTag       bool           `toml:"keep_tag" doc:"ana+shop is a user of his own. false: +shop is cut, as in most mail systems."`
	Domains       []string       `toml:"domains" doc:"Domains whose envelope senders are users of ours (source sender). Empty: relay_domains of all listeners."`
	StripHeaders  []string       `toml:"strip_headers" doc:"Header fields that are removed from what outbound listeners send out: they tell strangers the names that your users log in with."`
	StripReceived bool           `toml:"strip_received" doc:"Remove (Authenticated sender: USER) from Received fields of your hosts in what outbound listeners send out, for the same reason."`
}

// Default believes every source; header fields count once hosts is set.
func Default() Config {
	return Config{Sources: sources(), Hosts: []netip.Prefix{}, Domains: []string{}, StripHeaders: []string{"X-Authenticated-User"}, StripReceived: true}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, s := range c.Sources {
		if !slices.Contains(sources(), s) {
			add("sources[%d]: %.40q is none of %s", i, s, strings.Join(sources(), ", "))
		} else if slices.Contains(c.Sources[:i], s) {
			add("sources[%d]: %q is there twice", i, s)
		}
	}
	for i, p := range c.Hosts {
		if least := 16; p.Bits() < least && p.Addr().Is4() || p.Bits() < 32 && p.Addr().Is6() {
			add("hosts[%d]: %s is more than mail hosts of yours; list their addresses", i, p)
		}
	}
	if c.DefaultDomain != "" && !mail.ValidDomain(c.DefaultDomain, true) {
		add("default_domain = %.100q: must be a domain such as example.org", c.DefaultDomain)
	}
	for i, d := range c.Domains {
		if !mail.ValidDomain(d, true) {
			add("domains[%d]: %.100q is not a domain such as example.org", i, d)
		}
	}
	for i, h := range c.StripHeaders {
		if !fieldName(h) {
			add("strip_headers[%d]: %.100q is not the name of a header field", i, h)
		} else if slices.ContainsFunc(kept(), func(k string) bool { return strings.EqualFold(k, h) }) {
			add("strip_headers[%d]: a message needs its %s", i, h)
		}
	}
	return errs
}

// kept are fields whose removal breaks mail, not privacy.
func kept() []string {
	return []string{"Received", "From", "To", "Cc", "Date", "Subject", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "DKIM-Signature"}
}

// fieldName is ftext of RFC 5322 section 3.6.8.
func fieldName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) < 0
}

// Counters count messages by the source that named the user. One value lives
// as long as the process.
type Counters struct{ n [8]atomic.Int64 }

// Share is how many messages had that source.
type Share struct {
	Source   string `json:"source"`
	Messages int64  `json:"messages"`
}

// Shares gives the figures in the order of sources, unknown last.
func (c *Counters) Shares() []Share {
	out := make([]Share, 0, len(c.n))
	for i, s := range append(sources(), SourceUnknown) {
		out = append(out, Share{s, c.n[i].Load()})
	}
	return out
}

func (c *Counters) count(source string) {
	i := slices.Index(sources(), source)
	if i < 0 {
		i = len(c.n) - 1
	}
	c.n[i].Add(1)
}

// Chain finds identities. It never changes after New and is safe for
// concurrent use.
type Chain struct {
	names   Names
	sources []string
	hosts   []netip.Prefix
	domains map[string]bool
	strip   []string
	comment bool
	counts  *Counters
}

// New makes a chain. domains are those of ours where the configuration names
// none; counts may be nil.
func New(c Config, domains []string, counts *Counters) (*Chain, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("identity.%w", errs[0])
	}
	if len(c.Domains) > 0 {
		domains = c.Domains
	}
	if counts == nil {
		counts = &Counters{}
	}
	ch := &Chain{names: c.Names(), sources: c.Sources, hosts: c.Hosts, domains: map[string]bool{},
		strip: c.StripHeaders, comment: c.StripReceived, counts: counts}
	for _, d := range domains {
		ch.domains[mail.DomainKey(d)] = true
	}
	return ch, nil
}

// Names gives the rule of names alone.
func (c Config) Names() Names { return Names{Domain: c.DefaultDomain, KeepTag: c.KeepTag} }

// Names is the chain's rule of names.
func (c *Chain) Names() Names { return c.names }

func (c *Chain) has(source string) bool { return slices.Contains(c.sources, source) }

// Mail settles what is known at MAIL: the door has written what it was told,
// and here it gets its one spelling. Limits and suspension see this one only.
func (c *Chain) Mail(tx *mail.Transaction) {
	if tx.Identity.User == "" {
		tx.Identity = mail.Identity{}
		return
	}
	if OwnSession(tx.Identity.Source) && !c.has(tx.Identity.Source) {
		tx.Identity = mail.Identity{}
		return
	}
	// Whoever has logged in is somebody, however strange the name.
	tx.Identity.User = c.names.Login(tx.Identity.User)
}

// Message settles what only the header tells, and removes from mail on its way
// out what is nobody's business.
func (c *Chain) Message(tx *mail.Transaction) {
	from, run := c.fromHeader(tx)
	if tx.Identity.User == "" {
		if tx.Identity = from; from.User == "" {
			tx.Identity = c.fromSender(tx)
		}
	}
	if tx.Direction == mail.Out || tx.Identity.User != "" {
		c.counts.count(tx.Identity.Source)
	}
	// An MTA that asks as a milter still needs them: it hands the mail on, to us
	// again perhaps.
	if tx.Role == mail.Outbound && !tx.ByMTA && tx.Message != nil {
		tx.Edits = append(tx.Edits, c.strips(tx.Message, run)...)
	}
}

// fromSender takes the envelope sender of mail that a trusted relay sends out.
// The null reverse-path is nobody.
func (c *Chain) fromSender(tx *mail.Transaction) mail.Identity {
	p := tx.ReversePath
	if !c.has(SourceSender) || tx.Direction != mail.Out || !tx.Trusted || p.IsNull() || !c.domains[p.DomainKey()] {
		return mail.Identity{}
	}
	user, ok := c.names.Canonical(p.Local + "@" + p.Domain)
	if !ok {
		return mail.Identity{}
	}
	return mail.Identity{User: user, Source: SourceSender}
}

// believes tells that the fields which that host wrote are believed.
func (c *Chain) believes(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(c.hosts, func(p netip.Prefix) bool { return p.Contains(a) })
}

// maxRun bounds the Received fields that are read.
const maxRun = 100

// fromHeader reads the trusted run of Received fields. run are those that
// hosts of ours wrote, the last of them with the mark of a login or from a
// stranger.
func (c *Chain) fromHeader(tx *mail.Transaction) (id mail.Identity, run []message.Field) {
	// Client, not Peer: behind a balancer it is the client who wrote the first
	// line, and XCLIENT takes the trust in the header away with the rest.
	if tx.Message == nil || !tx.Client.IsValid() || !c.believes(tx.Client.Addr()) {
		return id, nil
	}
	h := tx.Message.Header()
	for _, f := range h.Fields() {
		if !strings.EqualFold(f.Name, "Received") {
			continue
		}
		if len(run) >= maxRun {
			return id, run
		}
		hop, ok := parseReceived(f.Value())
		if !ok {
			return id, run
		}
		run = append(run, f)
		if hop.sender != "" {
			if user, ok := c.names.directory(hop.sender); ok && c.has(SourceReceived) {
				id = mail.Identity{User: user, Source: SourceReceived}
			}
			return id, run
		}
		if !hop.from.IsValid() || !hop.from.IsLoopback() && !c.believes(hop.from) {
			return id, run // it came from a stranger: what is below is his
		}
	}
	// The message began on one of our hosts, so what stands in it is theirs.
	if fs := h.All("X-Authenticated-User"); len(fs) == 1 && c.has(SourceHeader) {
		if user, ok := c.names.Canonical(fs[0].Value()); ok {
			id = mail.Identity{User: user, Source: SourceHeader}
		}
	}
	return id, run
}

// strips are the edits that take internal names out.
func (c *Chain) strips(m *message.Message, run []message.Field) (out []message.Edit) {
	for _, f := range m.Header().Fields() {
		if slices.ContainsFunc(c.strip, func(s string) bool { return strings.EqualFold(s, f.Name) }) {
			out = append(out, message.Edit{At: f.Start, Delete: f.End - f.Start})
		}
	}
	for _, f := range run {
		if !c.comment || f.End-f.Start > maxReceived {
			continue
		}
		raw := make([]byte, f.End-f.Start)
		if n, _ := m.ReadAt(raw, f.Start); n != len(raw) {
			continue
		}
		if from, to, ok := commentAt(raw); ok {
			out = append(out, message.Edit{At: f.Start + int64(from), Delete: int64(to - from)})
		}
	}
	slices.SortFunc(out, func(a, b message.Edit) int { return cmp.Compare(a.At, b.At) })
	return out
}
