// Package access is the check of the operator's own lists: who is refused,
// put off or let past the scoring checks, by client address, HELO name, sender
// and recipient.
//
// It follows no standard; the entries resemble Postfix access(5). An accept
// never opens relaying, which is smtpproxy's alone, and an accept by sender
// counts only for trusted clients unless sender_accept says otherwise, since
// anybody can write any sender. The check does no I/O and cannot fail; a wrong
// entry is an error when the configuration is read.
package access

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"garita/filters"
	"garita/mail"
)

// Name of the check.
const Name = "access"

// The symbols, one for each list.
const (
	SymbolClient    = "access.client"
	SymbolHelo      = "access.helo"
	SymbolSender    = "access.sender"
	SymbolRecipient = "access.recipient"
)

// Config is the table [check.access].
type Config struct {
	Mode         string   `toml:"mode" doc:"off, observe (log what would have been done), score or enforce."`
	Clients      []string `toml:"clients" doc:"By client address, first match wins: \"192.0.2.7 accept\", \"198.51.100.0/24 reject Not from here\", \"2001:db8::/32 defer\". The action is reject, defer or accept; the text after it is shown to the client. accept skips the scoring checks and never opens relaying."`
	Helo         []string `toml:"helo" doc:"By HELO name: \"host.example reject\", \".example reject\" (the domain and all below it). An accept here counts only for trusted clients: anybody can say any name."`
	Senders      []string `toml:"senders" doc:"By sender: \"user@domain reject\", \"domain reject\", \".domain reject\" (the domain and all below it), \"user@ reject\" (in any domain), \"<> defer\" (bounces)."`
	Recipients   []string `toml:"recipients" doc:"By recipient, like senders. An accept sets aside what was found about client, HELO and sender for this recipient: \"postmaster@ accept\"."`
	SenderAccept string   `toml:"sender_accept" doc:"Whose accept by sender counts: trusted (clients in trusted_networks) or any. A sender is easily forged."`
}

// Default is an empty list.
func Default() Config {
	return Config{
		Mode:         "enforce",
		Clients:      []string{},
		Helo:         []string{},
		Senders:      []string{},
		Recipients:   []string{},
		SenderAccept: "trusted",
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() []error {
	_, errs := build(c)
	return errs
}

// New makes the check.
func New(c Config) (filters.Check, error) {
	l, errs := build(c)
	if len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("access: %w", errs[0])
	}
	mode, _ := mail.ParseMode(c.Mode)
	return filters.Check{Name: Name, Impl: l, Mode: mode, Class: filters.Policy}, nil
}

// lists are the four lists, ready to be asked.
type lists struct {
	clients                   clientList
	helo, senders, recipients addressList
	anySender                 bool
}

func build(c Config) (*lists, []error) {
	var errs []error
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode: %q is not off, observe, score or enforce", c.Mode))
	}
	if c.SenderAccept != "trusted" && c.SenderAccept != "any" {
		errs = append(errs, fmt.Errorf("sender_accept: %q is not trusted or any", c.SenderAccept))
	}
	l := &lists{anySender: c.SenderAccept == "any"}
	errs = append(errs, l.clients.build("clients", c.Clients)...)
	errs = append(errs, l.helo.build("helo", c.Helo)...)
	errs = append(errs, l.senders.build("senders", c.Senders)...)
	errs = append(errs, l.recipients.build("recipients", c.Recipients)...)
	return l, errs
}

// CheckConnect looks the client up. Client, not Peer: behind a proxy the list
// is meant for who sends.
func (l *lists) CheckConnect(_ context.Context, s *mail.Session) (filters.Result, error) {
	e := l.clients.find(s.Client.Addr())
	return e.result(SymbolClient, true), nil
}

// CheckHelo looks the HELO name up.
func (l *lists) CheckHelo(_ context.Context, s *mail.Session) (filters.Result, error) {
	if len(l.helo.entries) == 0 {
		return filters.Result{}, nil
	}
	e := l.helo.find(mail.Path{Domain: strings.TrimSuffix(s.Helo, ".")})
	return e.result(SymbolHelo, s.Trusted), nil
}

// CheckMail looks the sender up.
func (l *lists) CheckMail(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	e := l.senders.find(tx.ReversePath)
	return e.result(SymbolSender, l.anySender || tx.Trusted), nil
}

// CheckRcpt looks one recipient up.
func (l *lists) CheckRcpt(_ context.Context, _ *mail.Transaction, r mail.Recipient) (filters.Result, error) {
	e := l.recipients.find(r.Path)
	return e.result(SymbolRecipient, true), nil
}

// result is the finding of an entry, none of nil. mayAccept is whether an
// accept counts here.
func (e *entry) result(symbol string, mayAccept bool) filters.Result {
	if e == nil || e.verdict == mail.Accept && !mayAccept {
		return filters.Result{}
	}
	return filters.Found(mail.Finding{Symbol: symbol, Verdict: e.verdict, Reply: e.reply, Detail: e.what, Rule: e.where})
}

// entry is one line of a list.
type entry struct {
	index   int
	what    string // as written
	where   string // "check.access.clients[0]"
	verdict mail.Verdict
	reply   *mail.Reply
}

// refusalOf says by list what was refused, in Postfix's words, which reports
// group by.
var refusalOf = map[string]string{
	"clients": "Client host rejected", "helo": "Helo command rejected",
	"senders": "Sender address rejected", "recipients": "Recipient address rejected",
}

// parseEntry reads "what action [text]".
func parseEntry(key string, i int, line string) (*entry, error) {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s[%d]: %q: %s", key, i, line, fmt.Sprintf(format, args...))
	}
	what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	action, text, _ := strings.Cut(strings.TrimSpace(rest), " ")
	text = strings.TrimSpace(text)
	e := &entry{index: i, what: what, where: fmt.Sprintf("check.access.%s[%d]", key, i)}
	if len(text) > 300 || strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return nil, fail("the text must be printable ASCII, 300 characters at most")
	}
	var r mail.Reply
	switch action {
	case "accept":
		e.verdict = mail.Accept
		if text != "" {
			return nil, fail("accept shows no text")
		}
		return e, nil
	case "reject":
		e.verdict = mail.Reject
		r = mail.Permanent(554, "7.1", refusalOf[key]+": Access denied")
	case "defer":
		e.verdict = mail.Defer
		r = mail.Temporary(450, "7.1", refusalOf[key]+": Access denied for now, try again later")
	default:
		return nil, fail("the action must be reject, defer or accept")
	}
	if text != "" {
		r.Text = text
	}
	e.reply = &r
	return e, nil
}

// first gives the entry that stands earlier in the list.
func first(a, b *entry) *entry {
	if a == nil || b != nil && b.index < a.index {
		return b
	}
	return a
}

// clientList finds an address by one look-up for each prefix length in use.
type clientList struct {
	bits4, bits6 []int
	entries      map[netip.Prefix]*entry
}

func (l *clientList) build(key string, lines []string) (errs []error) {
	l.entries = make(map[netip.Prefix]*entry, len(lines))
	var has [2][129]bool
	for i, line := range lines {
		e, err := parseEntry(key, i, line)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p, err := parsePrefix(e.what)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %q: %w", key, i, line, err))
			continue
		}
		l.entries[p] = first(l.entries[p], e)
		family, list := 0, &l.bits4
		if p.Addr().Is6() {
			family, list = 1, &l.bits6
		}
		if !has[family][p.Bits()] {
			has[family][p.Bits()] = true
			*list = append(*list, p.Bits())
		}
	}
	return errs
}

// parsePrefix reads an address or a CIDR. Host bits are an error: who writes
// 192.0.2.7/24 may have meant either.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return p, fmt.Errorf("%q is not an address or CIDR", s)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	if p.Addr().Is4In6() {
		return p, fmt.Errorf("write %q as IPv4", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits beyond the prefix, did you mean %s?", s, p.Masked())
	}
	return p, nil
}

func (l *clientList) find(a netip.Addr) *entry {
	a = a.Unmap().WithZone("")
	bits := l.bits6
	if a.Is4() {
		bits = l.bits4
	}
	var found *entry
	for _, n := range bits {
		if p, err := a.Prefix(n); err == nil {
			found = first(found, l.entries[p])
		}
	}
	return found
}

// addressList finds a path by its address, its domain, the domains above it
// and its local part. Local parts are compared without case, as access(5)
// does: a list that a capital letter walks past would deny nobody.
type addressList struct {
	entries map[mail.Path]*entry
}

func (l *addressList) build(key string, lines []string) (errs []error) {
	l.entries = make(map[mail.Path]*entry, len(lines))
	for i, line := range lines {
		e, err := parseEntry(key, i, line)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if plain := strings.TrimLeft(e.what, "*@."); plain != e.what && strings.ContainsAny(e.what[:len(e.what)-len(plain)], "*@") || strings.Contains(e.what, "*") {
			// It would be taken for an address that nobody has.
			errs = append(errs, fmt.Errorf("%s[%d]: %q: there are no wildcards (try %q, or %q with all below it)", key, i, line, plain, "."+plain))
			continue
		}
		p, ok := parsePattern(e.what, key == "helo")
		if !ok {
			errs = append(errs, fmt.Errorf("%s[%d]: %q: %q is not an address, a domain or a .domain", key, i, line, e.what))
			continue
		}
		l.entries[p] = first(l.entries[p], e)
	}
	return errs
}

// parsePattern turns an entry's first word into the key of the map: a domain
// has no local part, "<>" is neither, and a sub-domain pattern keeps its dot.
func parsePattern(s string, nameOnly bool) (mail.Path, bool) {
	if s == "<>" {
		return mail.Path{}, !nameOnly
	}
	if local, ok := strings.CutSuffix(s, "@"); ok && !nameOnly {
		p, _, err := mail.ParseReverse("<"+local+"@x>", true)
		return mail.Path{Local: strings.ToLower(p.Local)}, err == nil
	}
	if strings.Contains(s, "@") && !nameOnly {
		p, rest, err := mail.ParseReverse("<"+s+">", true)
		return mail.Path{Local: strings.ToLower(p.Local), Domain: p.DomainKey()}, err == nil && rest == ""
	}
	domain, dot := s, ""
	if strings.HasPrefix(s, ".") {
		domain, dot = s[1:], "."
	}
	if !mail.ValidDomain(domain, true) {
		return mail.Path{}, false
	}
	return mail.Path{Domain: dot + mail.DomainKey(domain)}, true
}

func (l *addressList) find(p mail.Path) *entry {
	if len(l.entries) == 0 {
		return nil
	}
	local, domain := strings.ToLower(p.Local), p.DomainKey()
	found := l.entries[mail.Path{Local: local, Domain: domain}]
	if local != "" {
		found = first(found, l.entries[mail.Path{Local: local}])
	}
	if domain == "" {
		return found
	}
	found = first(found, l.entries[mail.Path{Domain: domain}])
	// ".example" is the domain and all below it. The map's keys carry the
	// dot, so that "example" alone cannot match here (S-96).
	found = first(found, l.entries[mail.Path{Domain: "." + domain}])
	for i := range len(domain) {
		if domain[i] == '.' {
			found = first(found, l.entries[mail.Path{Domain: domain[i:]}])
		}
	}
	return found
}
