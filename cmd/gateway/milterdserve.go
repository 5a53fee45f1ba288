package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"garita/mail"
	"garita/message"
	"garita/metrics"
	"garita/milterd"
	"garita/smtpproxy"
)

// This file joins the milter to the engine, the holding place and the sockets.

// milterDoor is the milter and its sockets.
type milterDoor struct {
	server *milterd.Server

	mu   sync.Mutex
	open map[string]net.Listener // by the entry of milter.listen
	wg   sync.WaitGroup
	done bool
}

func newMilterDoor(p *parts, s *Settings) *milterDoor {
	return &milterDoor{open: map[string]net.Listener{}, server: milterd.NewServer(milterd.ServerConfig{
		Log: p.log, Budget: p.budget, SpoolDir: spoolDir(s),
	})}
}

// milterKeeper is the holding place as the milter needs it.
type milterKeeper struct{ smtpproxy.Keeper }

func (k milterKeeper) Hold(ctx context.Context, tx *mail.Transaction, d mail.Decision, m milterd.Body) (string, error) {
	return k.Keeper.Hold(ctx, tx, d, m)
}

func (k milterKeeper) Keep(ctx context.Context, tx *mail.Transaction, d mail.Decision, m milterd.Body) (string, error) {
	return k.Keeper.Keep(ctx, tx, d, m)
}

// milterSettings are those of a generation; its policy and holding place are
// the wire's.
func (g *generation) milterSettings(p *parts) *milterd.Settings {
	s := g.settings
	out := &milterd.Settings{Config: s.Milter, Hostname: s.Hostname, Policy: g.wire.Policy,
		Index:  message.IndexOptions{Limits: s.MIME.limits(), Room: p.room},
		Memory: s.Limits.MessageMemory, FreeDisk: s.Limits.FreeDisk, MaxRecipients: s.Limits.MaxRecipients, MaxHops: s.Limits.MaxHops}
	if g.wire.Keeper != nil {
		out.Keeper = milterKeeper{g.wire.Keeper}
	}
	return out
}

// milterChange are sockets that are open and not yet in use.
type milterChange struct {
	fresh map[string]net.Listener
	stop  []string
}

func (c *milterChange) drop() {
	for _, l := range c.fresh {
		l.Close()
	}
}

// prepare opens what is new. On an error nothing has changed.
func (m *milterDoor) prepare(c milterd.Config) (*milterChange, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var want []string
	if c.Enabled {
		want = c.Listen
	}
	out := &milterChange{fresh: map[string]net.Listener{}}
	for name := range m.open {
		if !slices.Contains(want, name) {
			out.stop = append(out.stop, name)
		}
	}
	for _, name := range want {
		if m.open[name] != nil {
			continue
		}
		l, err := milterListen(name, c.SocketMode)
		if err != nil {
			out.drop()
			return nil, fmt.Errorf("milter.listen: %w", err)
		}
		out.fresh[name] = l
	}
	return out, nil
}

// commit serves what is new and closes what is gone; connections that are open
// go on with the settings that they began with.
func (m *milterDoor) commit(c *milterChange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, l := range c.fresh {
		if m.done {
			l.Close()
			continue
		}
		m.open[name] = l
		m.wg.Go(func() { _ = m.server.Serve(l) }) // it ends with its socket alone
	}
	for _, name := range c.stop {
		m.open[name].Close()
		delete(m.open, name)
	}
}

// shutdown ends the sockets, then what waits, then messages on their way.
func (m *milterDoor) shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.done = true
	for name, l := range m.open {
		l.Close()
		delete(m.open, name)
	}
	m.mu.Unlock()
	m.wg.Wait()
	return m.server.Shutdown(ctx)
}

// addresses are those really bound.
func (m *milterDoor) addresses() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]string, 0, len(m.open))
	for name, l := range m.open {
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			name = plain(a.AddrPort()).String()
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// milterFigures are the milter's, for metrics.
func (d *daemon) milterFigures() metrics.Milter {
	s := d.parts.milter.server.Stats()
	unsigned := func(in map[string]int64) map[string]uint64 {
		out := make(map[string]uint64, len(in))
		for k, v := range in {
			out[k] = uint64(v)
		}
		return out
	}
	return metrics.Milter{Sessions: s.Connections, Users: len(d.parts.milter.server.LoggedIn()), Connections: uint64(s.Accepted),
		TurnedAway: uint64(s.TurnedAway), Refusals: uint64(s.Refusals), Commands: unsigned(s.Commands), Messages: unsigned(s.Outcomes),
		Errors: map[string]uint64{"protocol": uint64(s.Broken), "panic": uint64(s.Panics), "no_room": uint64(s.NoRoom), "astray": uint64(s.Astray)}}
}

// milterListen opens one entry of milter.listen.
func milterListen(entry, mode string) (net.Listener, error) {
	network, address, err := milterd.Address(entry)
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		return listen(a, false)
	}
	return listenUnix(address, mode)
}

// staleWait is for the question whether somebody listens on a socket.
const staleWait = time.Second

// listenUnix opens a socket in the place of one that a killed process has left
// behind; one on which somebody listens, or another kind of file, stays.
func listenUnix(path, mode string) (net.Listener, error) {
	bits, err := strconv.ParseUint(mode, 8, 9)
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s exists and is no socket", strconv.Quote(path))
		}
		c, err := net.DialTimeout("unix", path, staleWait)
		if err == nil {
			c.Close()
			return nil, fmt.Errorf("%s is in use by another program", strconv.Quote(path))
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, os.FileMode(bits)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// milterStatus is the milter in the answer of status.
type milterStatus struct {
	Addresses []string `json:"addresses"`
	milterd.Stats
}

func (d *daemon) milterStatus() *milterStatus {
	a := d.parts.milter.addresses()
	s := d.parts.milter.server.Stats()
	if len(a) == 0 && s.Accepted == 0 {
		return nil
	}
	return &milterStatus{a, s}
}

// writeMilter tells people of it.
func writeMilter(b *strings.Builder, s *milterStatus) {
	if s == nil {
		return
	}
	fmt.Fprintf(b, "milter     %s: %d connections; %d accepted, %d held, %d refused, %d discarded, %d aborted; %d senders and recipients refused\n",
		oneLine(strings.Join(s.Addresses, " ")), s.Connections, s.Outcomes["relayed"], s.Outcomes["held"], s.Outcomes["refused"],
		s.Outcomes["discarded"], s.Outcomes["aborted"], s.Refusals)
}

// milter looks at what spans [milter] and other tables.
func (f *faults) milter() {
	s := f.s
	for _, err := range s.Milter.Validate() {
		f.addError("milter", err)
	}
	if !s.Milter.Enabled {
		return
	}
	if to := s.Milter.ReleaseTo; to != "" {
		if _, ok := s.NextHop[to]; !ok {
			f.add("milter.release_to", "the name of a [next_hop.NAME] table", "there is no next hop %q", to)
		}
	}
	if s.Milter.Quarantine == "own" {
		if !s.Hold.Enabled {
			f.add("milter.quarantine", "hold.enabled = true, or quarantine = \"mta\"", "own needs the holding place, which is off")
		}
		if s.Milter.ReleaseTo == "" {
			f.add("milter.release_to", "the name of a [next_hop.NAME] table", "is missing: mail that is held here has to be released to somewhere")
		}
	}
}

// milterHops are the next hops that the milter alone names.
func (s *Settings) milterHops() []string {
	if !s.Milter.Enabled || s.Milter.ReleaseTo == "" {
		return nil
	}
	return []string{s.Milter.ReleaseTo}
}
