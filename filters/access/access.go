// Package access is the check of the operator's own lists: who is refused,
// put off or let past the scoring checks, by client address, confirmed host
// name, HELO name, sender and recipient. Lists stand in the configuration, in
// files, and as tables with several conditions.
//
// Keys, the order in which they are looked up and the right-hand sides are
// those of Postfix access(5), beside our own words; what has no equivalent
// here (FILTER, HOLD, DISCARD, names of restrictions) is a mistake with its
// line, never silently nothing. An accept never opens relaying, which is
// smtpproxy's alone, and an accept by what anybody can say (HELO name, sender)
// counts only for trusted or authenticated clients, unless sender_accept says
// otherwise.
//
// The check does no I/O while mail flows and cannot fail; a wrong entry or a
// file that cannot be read is an error when the configuration is read, so a
// reload keeps the lists that it had.
//
// # Limits
//
// All lists together hold 1,000,000 entries at most, a file 64 MB; a text has
// 300 characters, a reason 200. 50 mistakes are told, the rest counted. A
// look-up costs one map access for each label of a name, up to as many labels
// as the longest entry has, and one binary search for an address.
package access

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"garita/filters"
	"garita/mail"
)

// Name of the check.
const Name = "access"

// The symbols, one for each kind.
const (
	SymbolClient    = "access.client"
	SymbolName      = "access.name"
	SymbolHelo      = "access.helo"
	SymbolSender    = "access.sender"
	SymbolRecipient = "access.recipient"
)

// Config is the table [check.access].
type Config struct {
	Mode                string           `toml:"mode" doc:"off, observe (log what would have been done), score or enforce."`
	Clients             []string         `toml:"clients" doc:"By client address: \"192.0.2.7 accept\", \"198.51.100.0/24 reject Not from here\", \"2001:db8::/32 defer until=2026-12-31\". The action is reject, defer or accept, or what stands on the right in a Postfix access table; until=DATE and reason=\"for the log\" may follow it; the text after that is shown to the client. The most specific entry of a list wins; the list here is asked before the files. accept skips the scoring checks and never opens relaying."`
	ClientFiles         []string         `toml:"client_files" doc:"Files of such entries, one a line, as Postfix's access and CIDR tables have them; asked in their order. A host name in them counts as an entry of names."`
	Names               []string         `toml:"names" doc:"By the client's host name, only where reverse and forward DNS agree on it: \"mail.partner.example accept\", \"dyn.example reject\"."`
	NameFiles           []string         `toml:"name_files" doc:"Files of such entries."`
	Helo                []string         `toml:"helo" doc:"By HELO name: \"host.example reject\". An accept here counts only for trusted clients: anybody can say any name."`
	HeloFiles           []string         `toml:"helo_files" doc:"Files of such entries."`
	Senders             []string         `toml:"senders" doc:"By sender: \"user@domain reject\", \"domain reject\", \"user@ reject\" (in any domain), \"<> defer\" (bounces)."`
	SenderFiles         []string         `toml:"sender_files" doc:"Files of such entries."`
	Recipients          []string         `toml:"recipients" doc:"By recipient, like senders. An accept sets aside what was found about client, HELO and sender for this recipient: \"postmaster@ accept\"."`
	RecipientFiles      []string         `toml:"recipient_files" doc:"Files of such entries."`
	ParentDomainMatches bool             `toml:"parent_domain_matches" doc:"true: \"example.com\" is that domain and all below it, as Postfix's smtpd_access_maps in parent_domain_matches_subdomains. false: it is that domain alone, and \".example.com\" is what lies below it."`
	RecipientDelimiter  string           `toml:"recipient_delimiter" doc:"The characters that begin an extension, as Postfix's recipient_delimiter: with \"+\", user+ext@domain is looked up as such and then as user@domain. Empty: there are no extensions."`
	SenderAccept        string           `toml:"sender_accept" doc:"Whose accept by sender counts: trusted (clients in trusted_networks, and those who have logged in) or any. A sender is easily forged."`
	Entry               map[string]Entry `toml:"entry" example:"NAME" doc:"Entries with several conditions, one table each, asked before the lists. They count at the stage of the last thing that they name."`
}

// Entry is a table [check.access.entry.NAME]. What is given must all fit. Its
// zero value is the default.
type Entry struct {
	Client    string `toml:"client" doc:"Address or network of the client."`
	Name      string `toml:"name" doc:"Its confirmed host name, like names."`
	Helo      string `toml:"helo" doc:"HELO name, like helo."`
	Sender    string `toml:"sender" doc:"Sender, like senders. Together with client or name an accept needs no trust."`
	Recipient string `toml:"recipient" doc:"Recipient, like recipients."`
	Role      string `toml:"role" doc:"Only on listeners of this role: inbound, outbound or content-filter. Empty: all."`
	Direction string `toml:"direction" doc:"Only mail that goes in or out; needs sender or recipient. Empty: both."`
	Action    string `toml:"action" doc:"reject, defer or accept."`
	Text      string `toml:"text" doc:"What the client is told by reject and defer, perhaps with an enhanced code before it: \"5.7.1 Not from here\". Empty: a usual text."`
	Reason    string `toml:"reason" doc:"For the log alone."`
	Expires   Expiry `toml:"expires" doc:"From when on it does not count: the end of a day (2026-12-31, UTC) or a time (2026-12-31T18:00:00Z). Empty: never."`
}

// Default is an empty list.
func Default() Config {
	return Config{
		Mode:                "enforce",
		Clients:             []string{},
		ClientFiles:         []string{},
		Names:               []string{},
		NameFiles:           []string{},
		Helo:                []string{},
		HeloFiles:           []string{},
		Senders:             []string{},
		SenderFiles:         []string{},
		Recipients:          []string{},
		RecipientFiles:      []string{},
		ParentDomainMatches: true,
		SenderAccept:        "trusted",
	}
}

// Lists are the lists of a Config, with its files, that were read. They never
// change.
type Lists struct {
	ls   *lists
	mode mail.Mode
}

// Read reads the lists, which take some time when they are long: who has them
// need not read them again. It gives what Validate and Warnings give; Lists
// with mistakes make no check.
func (c Config) Read(now func() time.Time) (l *Lists, errs, warnings []error) {
	ls, errs, warnings := build(c, now)
	mode, _ := mail.ParseMode(c.Mode)
	if len(errs) > 0 {
		return nil, errs, warnings
	}
	return &Lists{ls, mode}, nil, warnings
}

// Validate gives every mistake, each naming its key. It reads the files.
func (c Config) Validate() []error {
	_, errs, _ := build(c, time.Now)
	return errs
}

// Warnings gives what can be lived with and is not meant, in the form of
// Validate: entries that have expired, keys that come twice in one list,
// accepts of everybody.
func (c Config) Warnings(now time.Time) []error {
	_, _, warnings := build(c, func() time.Time { return now })
	return warnings
}

// New makes the check of lists that c.Read has read; with nil it reads them.
func New(c Config, l *Lists) (filters.Check, error) {
	if l == nil {
		return NewAt(c, time.Now)
	}
	return filters.Check{Name: Name, Impl: l.ls, Mode: l.mode, Class: filters.Policy}, nil
}

// NewAt makes the check with a clock, by which entries expire.
func NewAt(c Config, now func() time.Time) (filters.Check, error) {
	l, errs, _ := c.Read(now)
	if len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("access: %w", errs[0])
	}
	return New(c, l)
}

// CheckConnect looks address and name of the client up. Client, not Peer:
// behind a proxy the list is meant for who sends.
func (l *lists) CheckConnect(_ context.Context, s *mail.Session) (filters.Result, error) {
	q := askedBy(s)
	r := l.client(&q, q.client).result(byClient)
	named := l.host(&q, q.host).result(byName)
	r.Findings = append(r.Findings, named.Findings...)
	return r, nil
}

// CheckHelo looks the HELO name up.
func (l *lists) CheckHelo(_ context.Context, s *mail.Session) (filters.Result, error) {
	q := askedBy(s)
	return l.heloName(&q, s.Helo).result(byHelo), nil
}

// CheckMail looks the sender up, and the client that a content filter is told
// of (XFORWARD).
func (l *lists) CheckMail(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	q := askedIn(tx)
	r := l.path(&q, bySender, tx.ReversePath).result(bySender)
	if !q.hearsay {
		return r, nil
	}
	for _, told := range []filters.Result{
		l.client(&q, q.client).result(byClient), l.host(&q, q.host).result(byName), l.heloName(&q, q.helo).result(byHelo),
	} {
		// What a peer tells about others never earns trust (mail.Forwarded).
		if len(told.Findings) > 0 && told.Findings[0].Verdict != mail.Accept {
			r.Findings = append(r.Findings, told.Findings...)
		}
	}
	return r, nil
}

// CheckRcpt looks one recipient up.
func (l *lists) CheckRcpt(_ context.Context, tx *mail.Transaction, r mail.Recipient) (filters.Result, error) {
	q := askedIn(tx)
	return l.path(&q, byRecipient, r.Path).result(byRecipient), nil
}

// askedBy is the query about a session. Whose word on sender and HELO name we
// take: trusted clients, and who has logged in.
func askedBy(s *mail.Session) query {
	q := query{s: s, client: s.Client.Addr(), helo: s.Helo, trusted: s.Trusted || s.Login != ""}
	// A name that only the client's own zone claims is worth nothing (S-195).
	if s.Host.Confirmed {
		q.host = s.Host.Name
	}
	return q
}

// askedIn is the query about a transaction. What an MTA hands to a content
// filter is a stranger's unless it is said to come from inside, however much
// the MTA itself is trusted.
func askedIn(tx *mail.Transaction) query {
	q := askedBy(tx.Session)
	q.tx = tx
	f := tx.Forwarded
	if f != nil && f.Source == "LOCAL" || f == nil && tx.Role != mail.ContentFilter {
		return q
	}
	q.trusted = tx.Login != ""
	if f == nil {
		return q
	}
	if a, err := netip.ParseAddr(f.Addr); err == nil {
		q.hearsay, q.client, q.host, q.helo = true, a, f.Name, f.Helo
	}
	return q
}

// result is the finding of a match, none of no match.
func (m match) result(k kind) filters.Result {
	if m.entry == nil {
		return filters.Result{}
	}
	a := m.entry.act
	detail := m.entry.what
	if a.reason != "" {
		detail += " (" + a.reason + ")"
	}
	return filters.Found(mail.Finding{Symbol: kinds()[k].symbol, Verdict: a.verdict, Reply: a.reply, Detail: detail, Rule: m.list.rule(m.entry)})
}
