package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"garita/admin"
	"garita/hold"
	"garita/mail"
	"garita/metrics"
	"garita/smtpproxy"
)

// This file joins the holding place to the wire, the relay and the admin
// socket.

// keeper is the holding place as the wire needs it.
type keeper struct{ *hold.Keeper }

func (k keeper) Hold(ctx context.Context, tx *mail.Transaction, d mail.Decision, m smtpproxy.Body) (string, error) {
	return k.Keeper.Hold(ctx, tx, d, m)
}

func (k keeper) Keep(ctx context.Context, tx *mail.Transaction, d mail.Decision, m smtpproxy.Body) (string, error) {
	return k.Keeper.Keep(ctx, tx, d, m)
}

// holding is the holding place and what the daemon does for it.
type holding struct {
	keeper *hold.Keeper // nil: there is none
	// ticking keeps two looks from running at once, and the end waiting for
	// the last one.
	mu      sync.Mutex
	ticking bool
	ended   bool
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	// releases are those that run, with what cuts them short.
	releases map[int]context.CancelFunc
	number   int
	running  sync.WaitGroup
}

func holdDir(s *Settings) string { return filepath.Join(s.StateDir, "hold") }

// openHold opens the holding place.
func (p *parts) openHold(s *Settings) error {
	if !s.Hold.Enabled {
		return nil
	}
	k, err := hold.Open(hold.Options{Dir: holdDir(s), Config: s.Hold, Log: p.log})
	if err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	p.hold.keeper = k
	return nil
}

// forWire gives the Keeper of the wire; nil where there is none.
func (h *holding) forWire(enabled bool) smtpproxy.Keeper {
	if h.keeper == nil || !enabled {
		return nil
	}
	return keeper{h.keeper}
}

// tick looks after the holding place, apart from the main loop: a notice asks
// a next hop.
func (h *holding) tick(d *daemon) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := d.now.Load()
	if h.keeper == nil || h.ticking || h.ended || g == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	h.ticking, h.cancel = true, cancel
	h.wg.Go(func() {
		defer func() {
			cancel()
			h.mu.Lock()
			h.ticking = false
			h.mu.Unlock()
		}()
		h.keeper.Tick(ctx, g.settings.Hostname, func(ctx context.Context, n hold.Notice) error { return d.notice(ctx, g, n) })
	})
}

// begin notes a release, which may outlive the command that asked for it. At
// the end of the gateway there is none any more.
func (h *holding) begin(ctx context.Context) (_ context.Context, done func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if h.releases == nil {
		h.releases = map[int]context.CancelFunc{}
	}
	h.number++
	n := h.number
	h.releases[n] = cancel
	h.running.Add(1)
	return ctx, func() {
		cancel()
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.releases, n)
		h.running.Done()
	}, true
}

// lastMarks is how long releases that are cut short may take to write down
// what they came to.
const lastMarks = 5 * time.Second

// drain lets the releases that run come to their end, no longer than ctx; then
// they are cut short, as sessions are. Next hops and disk must still be there:
// one that ends without its mark is unsure, and somebody has to decide.
func (h *holding) drain(ctx context.Context) {
	h.mu.Lock()
	h.ended = true
	if h.cancel != nil {
		h.cancel()
	}
	h.mu.Unlock()
	done := make(chan struct{})
	go func() { h.running.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	h.mu.Lock()
	for _, cut := range h.releases {
		cut()
	}
	h.mu.Unlock()
	select {
	case <-done:
	case <-time.After(lastMarks):
	}
}

// close ends the last look and the holding place.
func (h *holding) close() error {
	if h.keeper == nil {
		return nil
	}
	h.mu.Lock()
	h.ended = true
	if h.cancel != nil {
		h.cancel()
	}
	h.mu.Unlock()
	h.wg.Wait()
	return h.keeper.Close()
}

// releaseTimeout bounds one transaction of a release or notice.
const releaseTimeout = 10 * time.Minute

// attempt offers a message to a next hop, in the words of the holding place.
func attempt(ctx context.Context, hop smtpproxy.NextHop, tx *mail.Transaction, to []mail.Recipient, m smtpproxy.Body) hold.Attempt {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	s := smtpproxy.Send(ctx, hop, tx, to, m)
	a := hold.Attempt{Relayed: s.Outcome.Kind == mail.Relayed, Unsure: s.Outcome.Kind == mail.Ambiguous, Took: s.Took, Left: s.Left, NextHop: s.Outcome.NextHop}
	for _, r := range s.Refused {
		a.Refused = append(a.Refused, r.Recipient.String()+": "+r.Reply.String())
	}
	if a.NextHop == "" {
		a.NextHop = hop.Name()
	}
	switch {
	case s.Outcome.NextHopReply != "":
		a.Reply = s.Outcome.NextHopReply
	case len(s.Outcome.Replies) > 0:
		a.Reply = s.Outcome.Replies[0].String()
	}
	if s.Outcome.Detail != "" {
		a.Reply += " (" + s.Outcome.Detail + ")"
	}
	return a
}

// sender offers held mail to where it was meant for.
func (g *generation) sender() hold.Sender {
	return func(ctx context.Context, tx *mail.Transaction, to []mail.Recipient, m hold.Body) hold.Attempt {
		hop, err := g.hopOf(tx)
		if err != nil {
			return hold.Attempt{Reply: err.Error()}
		}
		return attempt(ctx, hop, tx, to, m)
	}
}

// hopOf is where a held message goes: the next hop that it was meant for, by
// its name as it is configured now; where that name is gone, that of its first
// recipient's route of now.
func (g *generation) hopOf(tx *mail.Transaction) (smtpproxy.NextHop, error) {
	if h := g.hops[tx.NextHop]; h != nil {
		return h.NextHop, nil
	}
	if len(tx.ForwardPaths) == 0 {
		return nil, errors.New("the message has no recipients")
	}
	l := g.wire.Listeners[tx.Listener]
	if l == nil {
		hop, _, err := g.routeOf(tx.ForwardPaths[0].Path)
		return hop, err
	}
	ours := *tx.Session // who may relay was settled when it came
	ours.Trusted = true
	ask := *tx
	ask.Session = &ours
	hop, denied := l.Router.Route(&ask, tx.ForwardPaths[0])
	if denied != nil {
		return nil, fmt.Errorf("the next hop %q is gone, and the route of now refuses: %s", tx.NextHop, denied.String())
	}
	return hop, nil
}

// routeOf is where our own mail to an address goes: as mail to our domains
// where it is one of ours, else as mail of our users.
func (g *generation) routeOf(to mail.Path) (smtpproxy.NextHop, []mail.Recipient, error) {
	var last string
	r := mail.Recipient{Path: to}
	for _, role := range []mail.Role{mail.Inbound, mail.Outbound, mail.ContentFilter} {
		for _, name := range slices.Sorted(maps.Keys(g.wire.Listeners)) {
			l := g.wire.Listeners[name]
			if l.Role != role.String() {
				continue
			}
			tx := ownTransaction(g.settings.Hostname, name, role)
			hop, denied := l.Router.Route(tx, r)
			if denied != nil {
				last = denied.String()
				continue
			}
			rcpts := l.Router.Rewrite(tx, r)
			if len(rcpts) == 0 {
				rcpts = []mail.Recipient{r}
			}
			return hop, rcpts, nil
		}
	}
	return nil, nil, fmt.Errorf("there is no route to %s (%s)", to.String(), last)
}

// ownTransaction is mail that we write ourselves; its reverse-path is null.
func ownTransaction(hostname, listener string, role mail.Role) *mail.Transaction {
	loopback := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	return &mail.Transaction{ID: "HOLD", Direction: mail.In, Session: &mail.Session{ID: "HOLD", Listener: listener, Role: role,
		Peer: loopback, Client: loopback, Helo: hostname, Proto: "ESMTP", Start: time.Now(), Trusted: true}}
}

// octetsBody is a body in memory.
type octetsBody []byte

func (b octetsBody) Size() int64 { return int64(len(b)) }

func (b octetsBody) WriteTo(w io.Writer) (int64, error) { return bytes.NewReader(b).WriteTo(w) }

// notice sends a notice to each of its addresses by its route. It passes no
// check, so it is never held itself.
func (d *daemon) notice(ctx context.Context, g *generation, n hold.Notice) error {
	var errs []error
	sent := 0
	for _, address := range n.To {
		p, _, err := mail.ParseForward("<"+address+">", false)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		hop, rcpts, err := g.routeOf(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for len(rcpts) > 0 {
			tx := ownTransaction(g.settings.Hostname, "", mail.Outbound)
			tx.Params.Size = int64(len(n.Message))
			a := attempt(ctx, hop, tx, rcpts, octetsBody(n.Message))
			if !a.Relayed {
				errs = append(errs, fmt.Errorf("%s: %s", address, a.Reply))
				break
			}
			sent++
			rcpts = a.Left
		}
	}
	if sent > 0 && len(errs) > 0 { // who has it is not told twice
		d.parts.log.Warn("hold", "a notice did not reach everybody", slog.String("error", errors.Join(errs...).Error()))
		return nil
	}
	return errors.Join(errs...)
}

// holdRequest holds the arguments of all hold verbs.
type holdRequest struct {
	hold.Filter
	ID    string `json:"id,omitempty"`
	By    string `json:"by,omitempty"`
	Again bool   `json:"again,omitempty"`
	To    string `json:"to,omitempty"`
	At    int64  `json:"at,omitempty"`
	// Parked releases only what no other check holds.
	Parked bool `json:"parked,omitempty"`
}

// holdPage is the answer to list.
type holdPage struct {
	Messages []hold.Entry `json:"messages"`
	More     bool         `json:"more,omitempty"`
	Total    int          `json:"total"`
	hold.Totals
}

// holdPiece is a piece of an exported message.
type holdPiece struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
	Data []byte `json:"data"`
}

// exportPiece fits half of an answer of the socket (admin.maxAnswer) in base64.
const exportPiece = 256 << 10

// holdVerbs are the verbs of the running gateway.
func (d *daemon) holdVerbs() map[string]admin.Verb {
	verb := func(act bool, do func(context.Context, *hold.Keeper, holdRequest) (any, error)) admin.Verb {
		return admin.Verb{Act: act, Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var q holdRequest
			if len(raw) > 0 && json.Unmarshal(raw, &q) != nil {
				return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of a held message"}
			}
			if d.now.Load() == nil {
				return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
			}
			if d.parts.hold.keeper == nil {
				return nil, &admin.Error{Code: admin.CodeFailed, Text: "there is no holding place: hold.enabled is false"}
			}
			if q.User != "" {
				name, err := d.parts.canonical(q.User)
				if err != nil {
					return nil, err
				}
				q.User = name
			}
			v, err := do(ctx, d.parts.hold.keeper, q)
			return v, holdError(err)
		}}
	}
	return map[string]admin.Verb{
		"hold list":    verb(false, listHeld),
		"hold show":    verb(true, showHeld), // somebody's mail is read: the log says by whom
		"hold export":  verb(true, exportHeld),
		"hold piece":   verb(false, exportHeld),
		"hold delete":  verb(true, deleteHeld),
		"hold release": verb(true, d.releaseHeld),
		"hold rebuild": verb(true, rebuildHeld),
	}
}

func holdError(err error) error {
	var e *admin.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, hold.ErrIndexing), errors.Is(err, hold.ErrBusy):
		return &admin.Error{Code: admin.CodeTemporary, Text: err.Error()}
	case errors.Is(err, hold.ErrSeveral), errors.Is(err, hold.ErrNotFound):
		return &admin.Error{Code: admin.CodeUsage, Text: err.Error()}
	}
	return &admin.Error{Code: admin.CodeFailed, Text: err.Error()}
}

func listHeld(ctx context.Context, k *hold.Keeper, q holdRequest) (any, error) {
	page, more, total, err := k.List(ctx, q.Filter)
	return holdPage{Messages: page, More: more, Total: total, Totals: k.Stats()}, err
}

func showHeld(ctx context.Context, k *hold.Keeper, q holdRequest) (any, error) {
	id, err := k.Resolve(ctx, q.ID)
	if err != nil {
		return nil, err
	}
	return k.Show(ctx, id)
}

func exportHeld(ctx context.Context, k *hold.Keeper, q holdRequest) (any, error) {
	id, err := k.Resolve(ctx, q.ID)
	if err != nil {
		return nil, err
	}
	f, _, err := k.Open(id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if q.At == 0 {
		if err := f.Verify(); err != nil && !q.Again {
			return nil, err
		}
	}
	at := min(max(q.At, 0), f.MessageSize)
	piece := make([]byte, min(exportPiece, f.MessageSize-at))
	if n, err := f.Original().ReadAt(piece, at); n != len(piece) {
		return nil, err
	}
	return holdPiece{ID: id, Size: f.MessageSize, Data: piece}, nil
}

func deleteHeld(ctx context.Context, k *hold.Keeper, q holdRequest) (any, error) {
	id, err := k.Resolve(ctx, q.ID)
	if err != nil {
		return nil, err
	}
	return id, k.Delete(id, q.By)
}

func rebuildHeld(ctx context.Context, k *hold.Keeper, _ holdRequest) (any, error) {
	// It may take longer than a verb has; the index is swapped either way.
	done := make(chan error, 1)
	go func() { _, err := k.Rebuild(); done <- err }()
	select {
	case err := <-done:
		return k.Stats(), err
	case <-ctx.Done():
		return nil, hold.ErrIndexing
	}
}

// releaseHeld releases one message. A next hop may take longer than the verb
// has; the release goes on then, and show tells how it ended.
func (d *daemon) releaseHeld(ctx context.Context, k *hold.Keeper, q holdRequest) (any, error) {
	id, err := k.Resolve(ctx, q.ID)
	if err != nil {
		return nil, err
	}
	if q.Parked {
		f, _, err := k.Open(id)
		if err != nil {
			return nil, err
		}
		only := onlyParked(&f.Letter)
		f.Close()
		if !only {
			return nil, &admin.Error{Code: admin.CodeFailed, Text: "another check holds it too: see garita hold show " + id + ", and release it by its id"}
		}
	}
	g := d.now.Load()
	o := hold.Order{By: q.By, Again: q.Again}
	send := g.sender()
	if q.To != "" {
		p, rest, err := mail.ParseForward("<"+q.To+">", true)
		if err != nil || rest != "" || p.Domain == "" {
			return nil, &admin.Error{Code: admin.CodeUsage, Text: "the address of --to is not one"}
		}
		hop, _, err := g.routeOf(p)
		if err != nil {
			return nil, err
		}
		o.To = &mail.Recipient{Path: p}
		send = func(ctx context.Context, tx *mail.Transaction, to []mail.Recipient, m hold.Body) hold.Attempt {
			return attempt(ctx, hop, tx, to, m)
		}
	}
	type end struct {
		r   hold.Report
		err error
	}
	done := make(chan end, 1)
	released, over, ok := d.parts.hold.begin(ctx)
	if !ok {
		return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is " + stateName(draining)}
	}
	go func() {
		defer over()
		defer func() {
			if p := recover(); p != nil { // at rest it is unsure, as after a kill
				d.parts.log.Warn("hold", "a release ended by a fault of the gateway", slog.String("id", id), slog.String("error", fmt.Sprint(p)))
				done <- end{err: errors.New("the release ended by a fault of the gateway; see the log")}
			}
		}()
		r, err := k.Release(released, id, o, send)
		done <- end{r, err}
	}()
	select {
	case e := <-done:
		return e.r, e.err
	case <-ctx.Done():
		return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the next hop takes its time; garita hold show " + id + " will tell how it ended"}
	}
}

// holdFigures are those of the metrics.
func (d *daemon) holdFigures() metrics.Hold {
	k := d.parts.hold.keeper
	if k == nil {
		return metrics.Hold{}
	}
	t := k.Stats()
	return metrics.Hold{Messages: t.Messages, Bytes: t.Octets}
}
