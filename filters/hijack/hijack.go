// Package hijack is the check that notices when an account no longer sends
// like its owner (attacks Q-14). What is unusual and what it weighs is the
// package hijack of the module's root; here stands whose letters are looked at
// and what is done.
//
// A letter counts against a user who is known (package identity), once, when it
// is there whole; one whose user is only claimed by the envelope has a past of
// its own, so that nobody makes another look bad. Mail without a sender,
// a note of absence, never counts. A case that is open has all letters of the
// user held until a person decides: they do not drip out as those over a limit
// do.
//
// The client's address tells something only where it is the user's own: AUTH
// here, a milter, a policy server.
//
// It fails by letting mail pass: a store that cannot be asked is an error that
// is counted and logged, and suspects nobody.
//
// # Limits
//
// A letter that a door of ours (milter, policy server) and the wire both see
// counts once if it has the same Message-ID or queue id. The policy server
// shows no text. mostPending letters are between their check and their end at
// most; beyond, they are not looked at, and Log is told.
package hijack

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"garita/filters"
	"garita/hijack"
	"garita/identity"
	"garita/mail"
	"garita/message"
	"garita/store"
	"garita/users"
)

// Name of the check.
const Name = "hijack"

// SymbolSuspect is its finding.
const SymbolSuspect = "hijack.suspect"

const (
	mostPending = 20_000
	mostNames   = 10_000
	mostOurs    = 10_000
	// claimed is before the name of a user whom the envelope alone names. A
	// space is in no canonical name.
	claimed = "claimed "
	// doorFor is how long the wire may take to see what a door has counted.
	doorFor = 10 * time.Minute
)

// Config is the table [check.hijack].
type Config struct {
	Mode        string        `toml:"mode" enum:"off,observe,enforce" doc:"off, observe (learns, and says in the log and by an alert whom it would stop) or enforce (his mail is held). It must know your users first: observe for a month with a billing day in it, answer each false alarm with garita user trust, then enforce."`
	HoldAt      float64       `toml:"hold_at" doc:"Score at which a user is suspected, and all his mail held until a person decides. Less finds bots sooner and honest users more often."`
	SuspendAt   float64       `toml:"suspend_at" doc:"Score at which he is suspended too: his sessions end. Not for users known by the envelope sender alone. 0: never."`
	HoldFor     time.Duration `toml:"hold_for" doc:"How long after the last suspicious message he is held when nobody decides."`
	ExemptUsers []string      `toml:"exempt_users" doc:"Users who are not watched: addresses, or @domain. For machines that send; a newsletter is learned."`
}

// Default observes: without a past of its users it would stop who sends much
// on the first day.
func Default() Config {
	return Config{Mode: "observe", HoldAt: hijack.DefaultHoldAt, SuspendAt: 0, HoldFor: hijack.DefaultCase, ExemptUsers: []string{}}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	_, errs = c.compile(identity.Names{})
	return errs
}

func (c Config) compile(names identity.Names) (exempt map[string]bool, errs []error) {
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains([]string{"off", "observe", "enforce"}, c.Mode) {
		add("mode = %.40q: must be off, observe or enforce", c.Mode)
	}
	if !(c.HoldAt >= 3 && c.HoldAt <= 40) {
		add("hold_at = %v: must be from 3 (much is suspicious) to 40 (nothing is)", c.HoldAt)
	}
	if !(c.SuspendAt == 0 || c.SuspendAt >= c.HoldAt && c.SuspendAt <= 40) {
		add("suspend_at = %v: must be 0 (never), or from hold_at to 40", c.SuspendAt)
	}
	if c.HoldFor < time.Hour || c.HoldFor > 7*24*time.Hour {
		add("hold_for = %s: must be from 1h to 168h", c.HoldFor)
	}
	if len(c.ExemptUsers) > mostNames {
		add("exempt_users: more than %d names", mostNames)
		return nil, errs
	}
	exempt = map[string]bool{}
	for i, s := range c.ExemptUsers {
		if d, ok := strings.CutPrefix(s, "@"); ok && mail.ValidDomain(d, true) {
			exempt["@"+mail.DomainKey(d)] = true
		} else if who, isName := names.Canonical(s); isName && !ok {
			exempt[who] = true
		} else {
			add("exempt_users[%d]: %.80q is neither a user nor @domain", i, s)
		}
	}
	return exempt, errs
}

// Options are what a check is made of beside its configuration.
type Options struct {
	Store   store.Store
	Users   *users.Registry // nil: nobody is suspended
	Names   identity.Names
	Domains []string         // of ours: who is a colleague
	Now     func() time.Time // nil: time.Now
	// Event hears of each case once, and of a suspension; it must not block.
	Event func(kind string, c hijack.Case)
	Log   func(text string, err error)
}

// The kinds of events.
const (
	Suspect   = "suspect"
	Suspended = "suspended"
)

// Check is the check, and what commands ask.
type Check struct {
	*hijack.Detector
	cfg     Config
	exempt  map[string]bool
	ours    map[string]bool
	o       Options
	mu      sync.Mutex
	pending map[string]*pending
	full    bool // was said
}

// pending is a letter between its check and its end.
type pending struct {
	asked  int // recipients that RCPT named
	judged bool
	result filters.Result
	j      *hijack.Judgement
	key    string // of the user
	proven bool
	door   string
	twin   bool // the other door has judged it
}

// New makes the check.
func New(c Config, o Options) (filters.Check, *Check, error) {
	exempt, errs := c.compile(o.Names)
	if len(errs) > 0 {
		return filters.Check{}, nil, fmt.Errorf("%s: %w", Name, errs[0])
	}
	if o.Event == nil {
		o.Event = func(string, hijack.Case) {}
	}
	if o.Log == nil {
		o.Log = func(string, error) {}
	}
	k := &Check{cfg: c, exempt: exempt, ours: map[string]bool{}, o: o, pending: map[string]*pending{}}
	for _, d := range o.Domains[:min(len(o.Domains), mostOurs)] {
		k.ours[mail.DomainKey(d)] = true
	}
	mode, _ := mail.ParseMode(c.Mode)
	if o.Store == nil {
		mode = mail.Off // offline tests know no past
	} else {
		k.Detector = hijack.New(hijack.Options{Store: o.Store, Now: o.Now, HoldAt: c.HoldAt, Case: c.HoldFor})
	}
	return filters.Check{Name: Name, Impl: k, Mode: mode, Class: filters.Policy, OnError: filters.ContinueOnError}, k, nil
}

// Mode is that of the check.
func (k *Check) Mode() string { return k.cfg.Mode }

// Vouch is a person's word that a user is himself, for a while: however he is
// known. With 0 a case ends, and that is all.
func (k *Check) Vouch(ctx context.Context, user, by string, span time.Duration) (hijack.Trust, error) {
	if k == nil || k.Detector == nil {
		return hijack.Trust{}, nil
	}
	if _, err := k.Trust(ctx, claimed+user, by, span); err != nil {
		return hijack.Trust{}, err
	}
	return k.Trust(ctx, user, by, span)
}

// Standing is what is known of a user; a case that is open of letters that only
// claim him is his where he has none.
func (k *Check) Standing(ctx context.Context, user string) (hijack.State, error) {
	if k == nil || k.Detector == nil {
		return hijack.State{User: user}, nil
	}
	s, err := k.State(ctx, user)
	if err != nil || s.Case != nil {
		return s, err
	}
	other, err := k.State(ctx, claimed+user)
	if s.Days == 0 {
		other.User = user
		s = other
	}
	s.Case = other.Case
	return s, err
}

// atDoor tells a message about which an MTA asks us, by milter or policy
// protocol: also one of a webmail, whose user its header names.
func atDoor(tx *mail.Transaction) bool {
	return tx.Session != nil && tx.ByMTA || tx.Identity.Source == identity.SourceMilter || tx.Identity.Source == identity.SourcePolicy
}

// whose tells against whom a message counts; not ok: nobody.
func (k *Check) whose(tx *mail.Transaction) (user string, proven, ok bool) {
	user = tx.Identity.User
	// Who has logged in himself and sends without a sender is no note of absence.
	null := tx.ReversePath.IsNull() && !identity.OwnSession(tx.Identity.Source)
	if user == "" || null || k.exempt[user] || k.exempt["@"+identity.Domain(user)] {
		return "", false, false
	}
	if proven = identity.Proven(tx.Identity.Source); !proven {
		user = claimed + user
	}
	return user, proven, true
}

func (k *Check) of(tx *mail.Transaction) *pending {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pending[tx.ID]
	if p != nil {
		return p
	}
	if p = (&pending{}); len(k.pending) < mostPending {
		k.pending[tx.ID] = p
	} else if !k.full {
		k.full = true
		k.o.Log("too many letters at once: some are not looked at", errors.New("no room"))
	}
	return p
}

// CheckRcpt counts the recipients that are asked for: those that are not in the
// envelope in the end were refused.
func (k *Check) CheckRcpt(_ context.Context, tx *mail.Transaction, _ mail.Recipient) (filters.Result, error) {
	if tx.Identity.User != "" || tx.Direction == mail.Out {
		p := k.of(tx)
		k.mu.Lock()
		p.asked++
		k.mu.Unlock()
	}
	return filters.Result{}, nil
}

// CheckData is for the policy server, which sees no message.
func (k *Check) CheckData(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	if tx.Identity.Source != identity.SourcePolicy {
		return filters.Result{}, nil
	}
	return k.CheckMessage(ctx, tx)
}

// CheckMessage judges the letter.
func (k *Check) CheckMessage(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	user, proven, ok := k.whose(tx)
	if !ok || k.Detector == nil || len(tx.ForwardPaths) == 0 {
		return filters.Result{}, nil
	}
	p := k.of(tx)
	if p.judged {
		return p.result, nil // the second look at what disarming has left
	}
	p.judged, p.key, p.proven = true, user, proven
	p.door = doorKey(tx, user)
	// Who has logged in here has passed no door, whatever Message-ID he writes.
	if !atDoor(tx) && !identity.OwnSession(tx.Identity.Source) && k.seenAtDoor(ctx, p.door, len(tx.ForwardPaths)) {
		return k.again(ctx, tx, p)
	}
	twin := twinKey(tx, user)
	if atDoor(tx) && tx.Identity.Source != identity.SourcePolicy && k.seenAtDoor(ctx, twin, 1<<16) {
		p.twin = true // the policy server has judged it
		return k.again(ctx, tx, p)
	}
	l := &hijack.Letter{User: user, From: address(tx), Text: textOf(ctx, tx.Message)}
	for i := range tx.ForwardPaths {
		a := tx.ForwardPaths[i].Asked()
		domain := a.DomainKey()
		l.Recipients = append(l.Recipients, hijack.Recipient{Address: strings.ToLower(a.Local) + "@" + domain, Domain: domain, Ours: k.ours[domain]})
	}
	var err error
	if p.j, err = k.Judge(ctx, l); p.j == nil {
		return filters.Result{}, err
	}
	if tx.Identity.Source == identity.SourcePolicy && twin != "" {
		// At once: the milter asks before the policy server hears of the end.
		err = errors.Join(err, k.o.Store.Put(ctx, twin, []byte{0, 1}, doorFor))
	}
	if p.j.Opened {
		k.o.Event(Suspect, k.named(p.j.Case, tx))
	}
	p.result = k.result(tx, p.j.Suspect, p.j.Score, p.j.Case)
	return p.result, err
}

// again is a letter that a door has judged: a case that is open holds it.
func (k *Check) again(ctx context.Context, tx *mail.Transaction, p *pending) (filters.Result, error) {
	s, err := k.State(ctx, p.key)
	if err == nil && s.Case != nil && s.Trust == nil {
		p.result = k.result(tx, true, s.Case.Score, *s.Case)
	}
	return p.result, err
}

// named gives the case of the user as people call him.
func (k *Check) named(c hijack.Case, tx *mail.Transaction) hijack.Case {
	c.User = tx.Identity.User
	return c
}

func (k *Check) result(tx *mail.Transaction, suspect bool, score float64, c hijack.Case) filters.Result {
	if !suspect {
		return filters.Result{}
	}
	return filters.Found(mail.Finding{Symbol: SymbolSuspect, Verdict: mail.Quarantine,
		Detail: fmt.Sprintf("%s (by %s) does not send like himself, score %.1f, case since %s with %.1f: %s", tx.Identity.User, tx.Identity.Source,
			score, c.Since.UTC().Format("2006-01-02 15:04Z"), c.Score, hijack.Text(c.Reasons))})
}

// address is the client's where it is the user's own machine.
func address(tx *mail.Transaction) netip.Addr {
	if !identity.OwnSession(tx.Identity.Source) || !atDoor(tx) && tx.Trusted || !tx.Client.IsValid() {
		return netip.Addr{}
	}
	return tx.Client.Addr()
}

// textOf is the digest of a letter's subject and its first text. A letter that
// cannot be read has none.
func textOf(ctx context.Context, m *message.Message) hijack.Digest {
	if m == nil {
		return hijack.Digest{}
	}
	subject := ""
	if f, ok := m.Header().Get("Subject"); ok {
		subject = f.Value()
	}
	x, err := m.Index(ctx)
	if err != nil {
		return hijack.Digest{}
	}
	var page []byte
	for _, p := range x.Parts {
		if p.Children || p.Attachment || len(p.Bodies()) == 0 {
			continue
		}
		body := p.Bodies()[0].Data
		switch {
		case len(p.Types) == 0 || p.Types[0] == "text/plain":
			if len(body) > 0 {
				return hijack.TextDigest(subject, body, false)
			}
		case p.Types[0] == "text/html" && page == nil:
			page = body
		}
	}
	return hijack.TextDigest(subject, page, true)
}

// doorKey names a message that a door and the wire both see.
func doorKey(tx *mail.Transaction, user string) string {
	id, queue := "", queueID(tx)
	if tx.Message != nil {
		if f, ok := tx.Message.Header().Get("Message-ID"); ok {
			id = "m" + f.Value()
		}
	}
	if id == "" && queue != "" {
		id = "q" + queue
	}
	return keyOf(user, id)
}

// queueID is the MTA's name of a message: what it tells a door, or what the
// wire hears by XFORWARD.
func queueID(tx *mail.Transaction) string {
	if tx.QueueID == "" && tx.Forwarded != nil {
		return tx.Forwarded.Ident
	}
	return tx.QueueID
}

// twinKey names what the policy server has judged for the milter, which Postfix
// may ask about the same message.
func twinKey(tx *mail.Transaction, user string) string {
	if id := queueID(tx); id != "" {
		return keyOf(user, "t"+id)
	}
	return ""
}

func keyOf(user, id string) string {
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(user + "\x00" + id))
	return "hijack/d/" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// seenAtDoor takes a mark that a door has left, for as many recipients as it
// saw there: the same Message-ID again is counted.
func (k *Check) seenAtDoor(ctx context.Context, key string, rcpts int) bool {
	if key == "" {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	raw, ok, err := k.o.Store.Get(ctx, key)
	if !ok || err != nil || len(raw) != 2 {
		return false
	}
	if left := int(raw[0])<<8 | int(raw[1]) - rcpts; left > 0 {
		err = k.o.Store.Put(ctx, key, []byte{byte(left >> 8), byte(left)}, doorFor)
	} else {
		err = k.o.Store.Delete(ctx, key)
	}
	return err == nil
}

// Finish learns what was relayed, and what the next hop refused.
func (k *Check) Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome) error {
	k.mu.Lock()
	p := k.pending[tx.ID]
	delete(k.pending, tx.ID)
	k.full = k.full && len(k.pending) > mostPending/2
	k.mu.Unlock()
	if p == nil || k.Detector == nil {
		return nil
	}
	refused := 0
	if !atDoor(tx) {
		refused = max(p.asked-len(tx.ForwardPaths), 0)
		if o.Kind == mail.Refused && strings.HasPrefix(o.NextHopReply, "5") {
			refused += len(tx.ForwardPaths)
		}
	}
	if p.twin && p.door != "" && o.Kind == mail.Relayed {
		n := min(len(tx.ForwardPaths), 65535)
		return k.o.Store.Put(ctx, p.door, []byte{byte(n >> 8), byte(n)}, doorFor)
	}
	if p.j == nil {
		if user, _, ok := k.whose(tx); ok && refused > 0 {
			return k.Refused(ctx, user, refused)
		}
		return nil
	}
	stopped := o.Kind == mail.Held || o.Kind == mail.Refused || o.Kind == mail.Discarded
	// A door never hears of the end of what it let pass.
	passed := o.Kind == mail.Relayed || o.Kind == mail.Ambiguous || atDoor(tx) && !stopped
	err := k.Done(ctx, p.j, passed, refused)
	if passed && atDoor(tx) && p.door != "" {
		n := min(len(tx.ForwardPaths), 65535)
		err = errors.Join(err, k.o.Store.Put(ctx, p.door, []byte{byte(n >> 8), byte(n)}, doorFor))
	}
	// In observe mode, and under a bypass, it went out all the same: then
	// nobody is suspended for it.
	if stopped && p.proven && p.j.Suspect && k.cfg.Mode == "enforce" && k.cfg.SuspendAt > 0 && p.j.Score >= k.cfg.SuspendAt {
		k.suspend(ctx, tx, p.j)
	}
	return err
}

func (k *Check) suspend(ctx context.Context, tx *mail.Transaction, j *hijack.Judgement) {
	if k.o.Users == nil {
		return
	}
	if _, already := k.o.Users.Suspended(tx.Identity.User); already {
		return
	}
	_, err := k.o.Users.Suspend(ctx, users.Suspension{User: tx.Identity.User, By: Name, Reason: fmt.Sprintf("score %.1f: %s", j.Score, hijack.Text(j.Reasons))})
	if err != nil {
		k.o.Log("a user who does not send like himself could not be suspended for good", err)
	}
	c := k.named(j.Case, tx)
	c.Score, c.Reasons = j.Score, j.Reasons
	k.o.Event(Suspended, c)
}
