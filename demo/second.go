package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// Second is a second gateway, which has lists, a greylist and limits in force,
// and is asked by an MTA too. Strangers come to it through a balancer (PROXY),
// since lists say nothing about loopback.
type Second struct {
	Inbound, Outbound string // addresses of its listeners
	Policy, Milter    string // paths of its sockets for an MTA
	Login, Password   string // of a user who may log in at Outbound
	Log, Spool        string
	// Command is a command of garita to this gateway, with its output as JSON.
	Command func(ctx context.Context, args ...string) (out []byte, err error)
	// Probe has all DNS lists probed again.
	Probe func(ctx context.Context)
	// Look has the gateway look at itself, as it does every half minute.
	Look func()
	// Advance puts the clock of its counters forward, which stands still
	// otherwise.
	Advance func(time.Duration)
	// Drip has what limits hold released as far as there is room.
	Drip func(ctx context.Context) error
	Stop func() error
}

// Its configuration, as far as a case depends on it.
const (
	// UserLimit is what each user may send, in [check.limits].
	UserLimit = "3 messages / 1m"
	// GreylistDelay is shorter than anybody should have it.
	GreylistDelay = "1s"
)

// SecondSettings are the keys in which its configuration differs from the
// defaults, beside listeners, sockets and next hops.
func SecondSettings() map[string]any {
	return map[string]any{
		"check.dnsbl.mode": "enforce", "check.dnsbl.refuse_at": 3.0, "check.dnsbl.timeout": "20s",
		"check.dnsbl.lists":             []string{"spamcop", "everything", "silent"},
		"check.dnsbl.text":              "Service unavailable; {subject} blocked using {list}; {reason}",
		"check.dnsbl.list.spamcop.zone": goodZone, "check.dnsbl.list.spamcop.key": listKey,
		"check.dnsbl.list.everything.zone": deadZone, "check.dnsbl.list.everything.kinds": []string{"ipv4"}, "check.dnsbl.list.everything.weight": 5.0,
		"check.dnsbl.list.silent.zone": hungZone, "check.dnsbl.list.silent.kinds": []string{"ipv4"}, "check.dnsbl.list.silent.weight": 5.0,
		"check.greylist.mode": "enforce", "check.greylist.delay": GreylistDelay,
		"check.limits.mode": "enforce", "check.limits.user": []string{UserLimit}, "check.limits.drip_rate": 6000,
		"check.limits.notify_users": false, // the notice would be a message more
		"identity.hosts":            []string{Trusted().String()},
		"identity.strip_received":   false, // so that what arrives can be compared whole
		"rbl.addresses":             []string{ownAddress}, "rbl.lists": []string{"psbl", "mailspike", "spamcop"},
		"alert.after": "0s",
	}
}

// Section is a part of the table with a heading of its own.
type Section struct {
	Name  string `json:"name"`
	Title Words  `json:"title"`
	// Note says what is not as in a real installation.
	Note Words `json:"note"`
}

// scene is one line of the table: what is done, and what is wrong
// with what came of it.
type scene struct {
	name, section string
	what          Words
	play          func(*stage)
	asks          bool // it sends no mail
}

// stage is where scenes are played. What outlives a scene stands in it: the
// connection of the relay, and what was sent over it.
type stage struct {
	ctx   context.Context
	w     *world
	d     *Second
	relay *Dialogue
	held  [][]byte // messages that lie held, in their order
	note  []byte   // the message that the newcomer brings back
	polls time.Duration

	now  *Result
	here []Stored // that arrived in this scene
}

// no notes what is wrong with the scene.
func (s *stage) no(format string, args ...any) {
	s.now.Why = append(s.now.Why, fmt.Sprintf(format, args...))
}

// say sets what stands in the column of replies.
func (s *stage) say(format string, args ...any) { s.now.Reply = fmt.Sprintf(format, args...) }

// tell adds a line below the one of the table.
func (s *stage) tell(w Words) { s.now.Says = append(s.now.Says, w) }

// tellReply shows the whole of a reply there.
func (s *stage) tellReply() { s.tell(Words{s.now.Reply, s.now.Reply}) }

// wantReply looks at a reply and shows it.
func (s *stage) wantReply(r Reply, begins string, holds ...string) {
	s.now.Reply = r.String()
	if !strings.HasPrefix(s.now.Reply, begins) {
		s.no("the reply must begin with %q, and it was %q", begins, s.now.Reply)
	}
	for _, h := range holds {
		if !strings.Contains(s.now.Reply, h) {
			s.no("%q does not stand in the reply %q", h, s.now.Reply)
		}
	}
}

// took keeps a dialogue for -v, and the fault that it ended with.
func (s *stage) took(d *Dialogue) {
	s.now.Dialogue = append(s.now.Dialogue, d.lines...)
	d.lines = nil
	if d.err != nil {
		s.no("the dialogue broke off: %s", d.err)
	}
}

// arrived takes what the mail servers got since the last look.
func (s *stage) arrived() []Stored {
	got := s.w.collect()
	s.here = append(s.here, got...)
	return got
}

// wantNothing looks that nothing arrived.
func (s *stage) wantNothing() {
	if got := s.arrived(); len(got) > 0 {
		s.no("nothing may arrive, and %d did", len(got))
	}
}

// parcel is a message that must arrive.
type parcel struct {
	host, from, to string
	body           []byte
}

// wantParcels looks that these arrived, and nothing else; their order counts.
func (s *stage) wantParcels(want ...parcel) {
	got := s.arrived()
	if len(got) != len(want) {
		s.no("%d messages must arrive, and %d did", len(want), len(got))
		return
	}
	for i, g := range got {
		w := want[i]
		if g.Host != w.host || g.From != w.from || !slices.Equal(g.To, []string{w.to}) {
			s.no("message %d must be from <%s> to %s at %s, and is from <%s> to %s at %s", i+1, w.from, w.to, w.host, g.From, strings.Join(g.To, ", "), g.Host)
		}
		if body := ownFields(g.Data); !bytes.Equal(body, w.body) {
			s.no("message %d: %s", i+1, difference(w.body, body))
		}
	}
}

// ownFields takes away what the gateway has put above a message.
func ownFields(data []byte) []byte {
	trace, body := cutTrace(data)
	if !bytes.Contains(trace, []byte("by "+Hostname+" (")) {
		return data
	}
	for bytes.HasPrefix(body, []byte("X-Garita-")) || bytes.HasPrefix(body, []byte("X-Greylist: ")) {
		_, body = cutTrace(body)
	}
	return body
}

// command runs a command of garita and reads its answer.
func (s *stage) command(into any, args ...string) bool {
	s.now.Dialogue = append(s.now.Dialogue, "$ garita "+strings.Join(args, " "))
	out, err := s.d.Command(s.ctx, args...)
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		s.no("garita %s: %s", strings.Join(args, " "), err)
	}
	return err == nil
}

// until asks again and again whether something has come about; only the end of
// the demo ends it, so that a slow machine is no fault.
func (s *stage) until(done func() bool) bool {
	deadline := time.Now().Add(s.polls)
	for !done() {
		select {
		case <-s.ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// patience is how long until waits at most.
const patience = 30 * time.Second

// playSecond plays all scenes, in their order: each goes on where the one before
// has ended.
func (w *world) playSecond(ctx context.Context, d *Second, wait time.Duration, progress func(Words)) []Result {
	s := &stage{ctx: ctx, w: w, d: d, polls: wait}
	var out []Result
	for _, one := range scenes() {
		if ctx.Err() != nil {
			break
		}
		s.now = &Result{Name: one.name, Section: one.section, What: one.what, Delivered: []Parcel{}, NoMail: one.asks}
		s.here = nil
		progress(one.what)
		one.play(s)
		for _, m := range s.here {
			s.now.Delivered = append(s.now.Delivered, Parcel{m.Host, m.From, m.To, len(m.Data)})
		}
		s.now.OK = len(s.now.Why) == 0
		out = append(out, *s.now)
	}
	if s.relay != nil {
		s.relay.close()
	}
	return out
}

// endSecond ends the second gateway and looks at what it leaves.
func (r *Report) endSecond(d *Second) {
	if err := d.Stop(); err != nil {
		r.fault("the second gateway does not stop cleanly: %s", err)
	}
	if left, err := os.ReadDir(d.Spool); err == nil && len(left) > 0 {
		r.fault("%d files are left in the second spool folder", len(left))
	}
	log, err := os.ReadFile(d.Log)
	if err != nil {
		r.fault("the second log: %s", err)
	}
	if bytes.Contains(log, []byte(listKey)) {
		r.fault("the key of a DNS list stands in the log")
	}
}

// dialFor comes through a balancer that names the client (PROXY, version 1).
func (s *stage) dialFor(client string) *Dialogue {
	return dialWith(s.ctx, s.d.Inbound, "PROXY TCP4 "+client+" 192.0.2.1 40000 25\r\n")
}

func dialWith(ctx context.Context, to, first string) *Dialogue {
	d := connect(ctx, to, loopback())
	if d.err == nil {
		d.write([]byte(first))
		d.read()
	}
	return d
}

// dialSocket connects to a socket of an MTA's.
func (s *stage) dialSocket(path string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialogueTime}).DialContext(s.ctx, "unix", path)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(dialogueTime))
	}
	if err != nil && c != nil {
		c.Close()
	}
	return c, err
}
