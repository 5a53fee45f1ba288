package main

import (
	"context"
	"fmt"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"garita/filters/all"
	"garita/hold"
	"garita/identity"
	"garita/mail"
)

// limitsCare is what the gateway does about limits apart from messages: it
// keeps what users send over a restart, remembers when bad mail left, and tells
// users whose mail is held.
type limitsCare struct {
	limits atomic.Pointer[all.Limits]

	mu    sync.Mutex
	busy  bool
	last  time.Time
	saved time.Time
}

const (
	// careEvery is well below the minute in which a user is to be told.
	careEvery = 10 * time.Second
	saveEvery = time.Minute
	careWait  = 30 * time.Second
	// noticeKey marks a user who was told. The mark is renewed while mail of his
	// waits and lasts noticeQuiet after that: one notice for each incident.
	noticeKey   = "gateway/held-notice/"
	noticeQuiet = 6 * time.Hour
	// noticeAgain is the wait after a notice that could not be sent.
	noticeAgain = 10 * time.Minute
	// noticesAtOnce bounds the notices of one look.
	noticesAtOnce = 50
)

// tick begins a look, apart from the main loop: the store or the next hop may
// be slow.
func (c *limitsCare) tick(d *daemon, g *generation, now time.Time) {
	l := g.helpers.Limits()
	c.limits.Store(l)
	c.mu.Lock()
	defer c.mu.Unlock()
	if past := now.Sub(c.last); c.busy || past >= 0 && past < careEvery {
		return
	}
	ctx, done, ok := d.parts.hold.begin(context.Background())
	if !ok {
		return
	}
	c.last, c.busy = now, true
	save := now.Sub(c.saved) >= saveEvery || now.Before(c.saved)
	if save {
		c.saved = now
	}
	go func() {
		defer done()
		defer func() {
			if v := recover(); v != nil {
				d.parts.log.Warn("limits", "a look at held mail ended by a fault of the gateway", slog.String("error", fmt.Sprint(v)))
			}
			c.mu.Lock()
			c.busy = false
			c.mu.Unlock()
		}()
		ctx, cancel := context.WithTimeout(ctx, careWait)
		defer cancel()
		for _, s := range d.parts.users.registry.List() {
			l.Bad(s.Since) // until then it left
		}
		if save {
			if err := l.Save(ctx); err != nil {
				d.parts.checkSays("limits", "what users send could not be kept", err)
			}
		}
		d.tellHeld(ctx, g, now)
	}()
}

// tellHeld tells users whose mail is held over a limit, once for each incident.
// Who is suspended is not told: it may not be him who reads. Nor is who is
// known by the envelope sender alone: anybody can have written that.
func (d *daemon) tellHeld(ctx context.Context, g *generation, now time.Time) {
	k, l := d.parts.hold.keeper, g.helpers.Limits()
	if k == nil || !l.Notifies() {
		return
	}
	list, err := k.ByUser(ctx, hold.Filter{Reason: "limits", Copies: "none"})
	if err != nil {
		return
	}
	sent := 0
	for _, u := range list {
		if sent == noticesAtOnce || ctx.Err() != nil {
			return
		}
		key := noticeKey + u.User
		raw, told, err := d.parts.store.Get(ctx, key)
		if err != nil {
			return // else everybody would be told again and again
		}
		if told {
			if at, err := strconv.ParseInt(string(raw), 10, 64); err == nil && now.Sub(time.Unix(at, 0)).Abs() > noticeQuiet/2 {
				_ = d.parts.store.Keep(ctx, key, stamp(now), noticeQuiet)
			}
			continue
		}
		if _, stopped := d.parts.users.registry.Suspended(u.User); stopped || !strings.Contains(u.User, "@") {
			continue
		}
		since, err := d.parts.users.registry.Stopped(ctx, u.User)
		if err != nil {
			return
		}
		tx, ok := oldestOf(ctx, k, u.User, since)
		if !ok {
			continue
		}
		wait, limit, err := l.Wait(ctx, tx.Identity, tx.ReversePath.IsNull(), tx.ForwardPaths, tx.Params.Size)
		if err != nil || d.parts.store.Keep(ctx, key, nil, noticeAgain) != nil {
			return
		}
		sent++
		n := heldNotice{Host: g.settings.Hostname, User: u.User, Held: u.Held, Limit: limit, Wait: wait, Drips: l.DripRate() > 0, Now: now}
		if err := d.notice(ctx, g, hold.Notice{To: []string{u.User}, Message: n.text()}); err != nil {
			d.parts.log.Warn("limits", "a user could not be told that his mail is held", slog.String("user", u.User), slog.String("error", inShort(err.Error())))
			continue
		}
		d.parts.log.Info("limits", "a user was told that his mail is held", slog.String("user", u.User), slog.Int("held", u.Held))
		_ = d.parts.store.Keep(ctx, key, stamp(now), noticeQuiet)
	}
}

func stamp(now time.Time) []byte { return strconv.AppendInt(nil, now.Unix(), 10) }

// oldestOf gives what a user has waited for longest, if he has shown who he is
// and limits alone hold it; what is from before a suspension of his leaves by
// nobody's promise.
func oldestOf(ctx context.Context, k *hold.Keeper, user string, since time.Time) (*mail.Transaction, bool) {
	page, _, _, err := k.List(ctx, hold.Filter{Reason: "limits", Copies: "none", User: user, Since: since, Oldest: true, Limit: 10})
	if err != nil {
		return nil, false
	}
	for _, e := range page {
		f, _, err := k.Open(e.ID)
		if err != nil {
			continue
		}
		tx, plain := f.Transaction(), onlyLimits(&f.Letter)
		f.Close()
		if plain && identity.Proven(tx.Identity.Source) {
			return tx, true
		}
	}
	return nil, false
}

// heldNotice is the mail to a user whose mail is held.
type heldNotice struct {
	Host, User string
	Held       int
	Limit      string
	Wait       time.Duration
	Drips      bool
	Now        time.Time
}

// text writes it, in both languages. It says nothing of the messages: who uses
// a stolen password chooses their words.
func (n *heldNotice) text() []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Postmaster <postmaster@%s>", n.Host)
	line("To: <%s>", n.User)
	line("Subject: %s", mime.QEncoding.Encode("utf-8", "Your mail waits: over your sending limit / Su correo espera: límite de envío"))
	line("Date: %s", n.Now.Format(time.RFC1123Z))
	line("Message-ID: <held.%d.%s>", n.Now.UnixNano(), n.Host)
	line("Auto-Submitted: auto-generated") // RFC 3834 section 5: nobody's note answers
	line("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(n.body())) // a strings.Builder takes everything
	_ = w.Close()
	return []byte(b.String())
}

func (n *heldNotice) body() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	limit := ""
	if n.Limit != "" {
		limit = " (" + n.Limit + ")"
	}
	line("Mail that %s has sent (%s) is over the sending limit%s", n.User, few(n.Held, "1 message", "%d messages"), limit)
	line("and waits at %s. Nothing is lost; please do not send it again.", n.Host)
	switch {
	case !n.Drips:
		line("It leaves when your administrator releases it.")
	case n.Wait > 0 && n.Wait < 31*24*time.Hour:
		line("It leaves by itself, the oldest first: the first in about %s, the others as there is room.", roughly(n.Wait, "%d minutes", "%d hours", "%d days"))
	default:
		line("It leaves by itself within the next minutes, the oldest first.")
	}
	line("If you did not send it, somebody else uses your account: change your password now")
	line("and tell your administrator.\r\n")
	line("El correo que envió %s (%s) supera el límite de envío%s", n.User, few(n.Held, "1 mensaje", "%d mensajes"), limit)
	line("y espera en %s. Nada se pierde; por favor no lo envíe otra vez.", n.Host)
	switch {
	case !n.Drips:
		line("Saldrá cuando su administrador lo libere.")
	case n.Wait > 0 && n.Wait < 31*24*time.Hour:
		line("Sale por sí solo, el más antiguo primero: el primero en unos %s, los demás según haya lugar.", roughly(n.Wait, "%d minutos", "%d horas", "%d días"))
	default:
		line("Sale por sí solo en los próximos minutos, el más antiguo primero.")
	}
	line("Si usted no lo envió, otra persona usa su cuenta: cambie ya su contraseña")
	line("y avise a su administrador.")
	return b.String()
}

func few(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

// roughly rounds up: a promise is not broken by a minute.
func roughly(d time.Duration, minutes, hours, days string) string {
	up := func(unit time.Duration) int64 { return int64((d + unit - 1) / unit) }
	switch {
	case d <= 2*time.Hour:
		return fmt.Sprintf(minutes, max(up(time.Minute), 2))
	case d <= 48*time.Hour:
		return fmt.Sprintf(hours, up(time.Hour))
	}
	return fmt.Sprintf(days, up(24*time.Hour))
}

// lastBad is when the last sign of bad outbound mail was seen: a user was
// suspended, or a check stopped what one of ours sent. What left before it may
// have been as bad; that something bad left after it nobody knows.
func (p *parts) lastBad() (at time.Time, ok bool) {
	if l := p.drip.care.limits.Load(); l != nil {
		at = l.LastBad()
	}
	if p.users.registry != nil {
		for _, s := range p.users.registry.List() {
			if s.Since.After(at) {
				at = s.Since
			}
		}
	}
	return at, !at.IsZero()
}

// usersAnswer is garita check users: who is suspended.
func usersAnswer(_ context.Context, d *daemon, _ *generation) (a checkAnswer) {
	list := d.parts.users.registry.List()
	names := make([]string, 0, len(list))
	for _, s := range list {
		names = append(names, s.User)
	}
	a.Text = fmt.Sprintf("%d suspended%s", len(list), some(names))
	a.Figures = []checkFigure{{Label: "suspended", Value: float64(len(list)), Warning: "0", Min: whole(0)}}
	return a
}

// someNames is how many a line of the plugin names.
const someNames = 5

func some(names []string) string {
	if len(names) == 0 {
		return ""
	}
	s := ": " + strings.Join(names[:min(len(names), someNames)], ", ")
	if n := len(names) - someNames; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// limitsAnswer is garita check limits: who is near a limit or over it, and what
// limits hold.
func limitsAnswer(ctx context.Context, d *daemon, g *generation) (a checkAnswer) {
	l := g.helpers.Limits()
	if l.Mode() == "off" {
		return checkAnswer{Off: "not enabled (check.limits.mode)"}
	}
	near, err := l.Near(ctx)
	if err != nil {
		a.State, a.Text = stateWarning, "the store does not answer; "
	}
	held, waiting := 0, map[string]bool{}
	if k := d.parts.hold.keeper; k != nil {
		list, err := k.ByUser(ctx, hold.Filter{Reason: "limits", Copies: "none"})
		if err != nil {
			a.State = stateWarning
			a.Text += "the index of held messages does not answer; "
		}
		for _, u := range list {
			held += u.Held
			waiting[u.User] = true
		}
	}
	over := 0
	names := []string{}
	for _, f := range near {
		if f.Over {
			over++
		}
		names = append(names, f.User)
		delete(waiting, f.User)
	}
	n := len(near) + len(waiting)
	a.Text += fmt.Sprintf("%d users near or over a limit, %d over, %d messages held by limits%s", n, over, held, some(names))
	zero := whole(0)
	a.Figures = []checkFigure{
		{Label: "users", Value: float64(n), Warning: "9", Critical: "49", Min: zero},
		{Label: "over", Value: float64(over), Min: zero}, {Label: "held", Value: float64(held), Min: zero},
	}
	return a
}
