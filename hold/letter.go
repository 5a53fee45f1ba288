package hold

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"garita/mail"
	"garita/message"
)

// Letter is what is known of a held message: everything but its octets.
type Letter struct {
	ID      string    `json:"id"`
	Tx      string    `json:"transaction"` // the id of the log's lines
	Time    time.Time `json:"time"`
	Copy    bool      `json:"copy,omitempty"` // the original of a message that went on changed
	Verdict string    `json:"verdict"`
	Score   float64   `json:"score"`
	Reasons []Reason  `json:"reasons"`

	From      Address     `json:"from"`
	To        []Recipient `json:"to"`
	Size      int64       `json:"declared_size,omitempty"` // SIZE of MAIL
	BodyType  string      `json:"body,omitempty"`
	SMTPUTF8  bool        `json:"smtputf8,omitempty"`
	Ret       octets      `json:"ret,omitempty"`
	EnvID     octets      `json:"envid,omitempty"`
	NextHop   string      `json:"next_hop"`
	Listener  string      `json:"listener"`
	Role      string      `json:"role"`
	Direction string      `json:"direction"`

	Peer        string          `json:"peer"`
	Client      string          `json:"client"`
	Host        octets          `json:"host,omitempty"`
	Confirmed   bool            `json:"host_confirmed,omitempty"`
	Helo        octets          `json:"helo,omitempty"`
	Proto       string          `json:"proto,omitempty"`
	Login       octets          `json:"login,omitempty"`
	User        octets          `json:"user,omitempty"` // who sent it, and how that is known
	UserSource  string          `json:"user_source,omitempty"`
	Trusted     bool            `json:"trusted,omitempty"`
	Forwarded   *mail.Forwarded `json:"forwarded,omitempty"`
	Subject     string          `json:"subject,omitempty"` // decoded, cut
	HeaderFrom  string          `json:"header_from,omitempty"`
	MessageSize int64           `json:"size"`
	Edits       []edit          `json:"edits,omitempty"`
}

// Address is a path with its local part unquoted, as mail.Path has it.
type Address struct {
	Local  octets `json:"local"`
	Domain octets `json:"domain"`
}

func addressOf(p mail.Path) Address { return Address{octets(p.Local), octets(p.Domain)} }
func (a Address) path() mail.Path   { return mail.Path{Local: string(a.Local), Domain: string(a.Domain)} }
func (a Address) String() string    { return a.path().String() }
func (r Recipient) key() string     { return r.Address.path().Key() }
func (r Recipient) toMail() mail.Recipient {
	out := mail.Recipient{Path: r.Address.path(), Notify: r.Notify, OrcptType: string(r.OrcptType), Orcpt: string(r.Orcpt)}
	if r.Alias != nil {
		out.Alias = r.Alias.path()
	}
	return out
}

// Recipient is one recipient with its delivery status parameters.
type Recipient struct {
	Address
	Notify    []string `json:"notify,omitempty"`
	OrcptType octets   `json:"orcpt_type,omitempty"`
	Orcpt     octets   `json:"orcpt,omitempty"`
	Alias     *Address `json:"alias,omitempty"`
}

// Reason is one finding that counted.
type Reason struct {
	Symbol  string  `json:"symbol"`
	Detail  octets  `json:"detail,omitempty"`
	Where   octets  `json:"where,omitempty"`
	Rule    octets  `json:"rule,omitempty"`
	Stage   string  `json:"stage"`
	Score   float64 `json:"score"`
	Verdict string  `json:"verdict"`
}

// edit is a message.Edit; its Insert octets stand behind the message.
type edit struct {
	At     int64 `json:"at"`
	Delete int64 `json:"delete,omitempty"`
	Insert int64 `json:"insert,omitempty"`
}

// octets is text that others wrote. In JSON it is a string, or {"base64":…}
// when it is no UTF-8: it must come back exactly.
type octets string

// MarshalJSON writes it.
func (o octets) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(o)) {
		return json.Marshal(string(o))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString([]byte(o))})
}

// UnmarshalJSON reads it.
func (o *octets) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, (*string)(o))
	}
	var b struct {
		Base64 []byte `json:"base64"`
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return err
	}
	*o = octets(b.Base64)
	return nil
}

// Bounds of what is stored of findings: a hostile name may be very long.
const (
	mostReasons  = 200
	longestText  = 1000
	longestTitle = 300
)

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// newLetter writes down what the transaction is.
func newLetter(tx *mail.Transaction, d mail.Decision) *Letter {
	l := &Letter{Tx: tx.ID, Verdict: d.Verdict.String(), Score: d.Score,
		From: addressOf(tx.ReversePath), Size: tx.Params.Size, BodyType: string(tx.Params.Body), SMTPUTF8: tx.Params.SMTPUTF8,
		Ret: octets(tx.Params.Ret), EnvID: octets(tx.Params.EnvID), NextHop: tx.NextHop, Direction: tx.Direction.String()}
	l.User, l.UserSource = octets(tx.Identity.User), strings.ToValidUTF8(cutText(tx.Identity.Source, 80), "?")
	if tx.Forwarded != nil {
		f := *tx.Forwarded
		for _, s := range []*string{&f.Name, &f.Addr, &f.Port, &f.Proto, &f.Helo, &f.Ident, &f.Source} {
			*s = strings.ToValidUTF8(*s, "?") // for the log of the next hop alone
		}
		l.Forwarded = &f
	}
	if s := tx.Session; s != nil {
		l.Listener, l.Role, l.Peer, l.Client = s.Listener, s.Role.String(), portText(s.Peer), portText(s.Client)
		l.Host, l.Confirmed, l.Helo, l.Proto = octets(s.Host.Name), s.Host.Confirmed, octets(s.Helo), s.Proto
		l.Login, l.Trusted = octets(s.Login), s.Trusted
	}
	for _, r := range tx.ForwardPaths {
		to := Recipient{Address: addressOf(r.Path), Notify: r.Notify, OrcptType: octets(r.OrcptType), Orcpt: octets(r.Orcpt)}
		if !r.Alias.IsNull() {
			a := addressOf(r.Alias)
			to.Alias = &a
		}
		l.To = append(l.To, to)
	}
	l.reasons(d.Because, tx.Findings)
	return l
}

// reasons takes the findings that decided, then the others that counted. Those
// that asked for more than a score come first: lists show the first alone.
func (l *Letter) reasons(lists ...[]mail.Finding) {
	l.Reasons = []Reason{}
	seen := map[string]bool{}
	for i, list := range lists {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b mail.Finding) int { return rank(&a) - rank(&b) })
		for _, f := range list {
			key := f.Symbol + "\x00" + f.Detail + "\x00" + f.Where
			if seen[key] || i > 0 && (f.Mode != mail.Enforce && f.Mode != mail.Score) || len(l.Reasons) >= mostReasons {
				continue
			}
			seen[key] = true
			l.Reasons = append(l.Reasons, Reason{Symbol: strings.ToValidUTF8(cutText(f.Symbol, longestTitle), "?"), Detail: octets(cutText(f.Detail, longestText)),
				Where: octets(cutText(f.Where, longestText)), Rule: octets(cutText(f.Rule, longestText)), Stage: f.Stage.String(), Score: f.Score, Verdict: f.Verdict.String()})
		}
	}
}

func rank(f *mail.Finding) int {
	if f.Mode == mail.Enforce && f.Verdict != mail.Continue {
		return 0
	}
	return 1
}

func portText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// Transaction gives back what a next hop is to be told: the envelope and the
// client it came from.
func (l *Letter) Transaction() *mail.Transaction {
	s := &mail.Session{ID: l.Tx, Listener: l.Listener, Host: mail.HostName{Name: string(l.Host), Confirmed: l.Confirmed},
		Helo: string(l.Helo), Proto: l.Proto, Login: string(l.Login), Start: l.Time, Trusted: l.Trusted}
	s.Peer, _ = netip.ParseAddrPort(l.Peer)
	s.Client, _ = netip.ParseAddrPort(l.Client)
	for _, r := range []mail.Role{mail.Inbound, mail.Outbound, mail.ContentFilter} {
		if r.String() == l.Role {
			s.Role = r
		}
	}
	tx := &mail.Transaction{Session: s, ID: l.Tx, Direction: mail.In, NextHop: l.NextHop, Forwarded: l.Forwarded}
	if l.Direction == mail.Out.String() {
		tx.Direction = mail.Out
	}
	tx.Identity = mail.Identity{User: string(l.User), Source: l.UserSource}
	tx.ReversePath = l.From.path()
	// SIZE is what the next hop gets, not what the client once declared.
	tx.Params = mail.Params{Size: l.relayedSize(), Body: mail.Body(l.BodyType), SMTPUTF8: l.SMTPUTF8, Ret: string(l.Ret), EnvID: string(l.EnvID)}
	for _, r := range l.To {
		tx.ForwardPaths = append(tx.ForwardPaths, r.toMail())
	}
	return tx
}

// relayedSize is the size of the message with its edits.
func (l *Letter) relayedSize() int64 {
	n := l.MessageSize
	for _, e := range l.Edits {
		n += e.Insert - e.Delete
	}
	return n
}

// insertSize is the size of the octets that edits bring in.
func (l *Letter) insertSize() (n int64) {
	for _, e := range l.Edits {
		n += e.Insert
	}
	return n
}

// check refuses a letter that no version of ours would have written: a file
// may have been made by somebody else.
func (l *Letter) check() error {
	if !ValidID(l.ID) {
		return fmt.Errorf("%w: its id is not one", ErrDamaged)
	}
	if l.MessageSize < 0 || l.MessageSize > 1<<40 {
		return fmt.Errorf("%w: its size cannot be", ErrDamaged)
	}
	pos, inserted := int64(0), int64(0)
	for _, e := range l.Edits {
		if e.At < pos || e.Delete < 0 || e.Insert < 0 || e.At > l.MessageSize || e.Delete > l.MessageSize-e.At || e.Insert > 1<<40-inserted {
			return fmt.Errorf("%w: its edits do not fit", ErrDamaged)
		}
		pos, inserted = e.At+e.Delete, inserted+e.Insert
	}
	for _, to := range append([]Recipient{{Address: l.From}}, l.To...) {
		if p := to.path(); strings.ContainsFunc(string(p.Local+p.Domain), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("%w: an address has control characters", ErrDamaged)
		}
	}
	return nil
}

// editsOf is the part of a rendering that is stored beside the original.
func editsOf(m Body) ([]message.Edit, bool) {
	r, ok := m.(*message.Rendering)
	if !ok {
		return nil, false
	}
	return r.Edits(), true
}
