// Package demo lets the gateway show what it does: it makes a small world on
// loopback (a DNS server and three mail servers that keep what they get),
// has a real gateway started in it, and sends it good and bad mail over real
// SMTP connections (RFC 5321, 3030, 3207, 6531). Each case says beforehand
// which reply the client must get and what must lie where afterwards, down to
// the last octet below the gateway's own Received field.
//
// It sends nothing to any other machine, and it measures no speed. What it
// does not know is how a gateway is made: that is handed in.
//
// It fails by report: every case that went otherwise says why, and a message
// that lies anywhere without a case that wanted it fails the whole.
//
// Limits: every dialogue ends after dialogueTime, the whole with its context.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"
)

// The names of the world (RFC 2606: nobody's).
const (
	Hostname  = "mx.casa.example"
	Domain    = "casa.example"
	mailHost  = "mail.casa.example"      // next hop of mail from outside
	smartHost = "smarthost.casa.example" // next hop of mail to outside
	mtaHost   = "mta.casa.example"       // gets mail back from the content filter
)

// Trusted is the network that may use the outbound and the content-filter
// listener; strangers come from another loopback address.
func Trusted() netip.Prefix { return netip.MustParsePrefix("127.0.0.1/32") }

// Site is what a gateway needs to know of the world that it is put into.
// NextHop, SmartHost and Return are host:port; the hosts are names that Lookup
// alone knows.
type Site struct {
	NextHop, SmartHost, Return string
	Lookup                     func(ctx context.Context, host string) ([]netip.Addr, error)
	NameServer                 string // where Lookup asks, as dns.servers has it
}

// Gateway is the gateway that was started.
type Gateway struct {
	Inbound, Outbound, Filter string // addresses of its listeners
	Log                       string // path of its log, complete after Stop
	Spool                     string // folder that must be empty after Stop
	// Release releases a held message by its id, and gives the next hop's
	// reply.
	Release func(ctx context.Context, id string) (reply string, err error)
	Stop    func() error
}

// Config is what Run needs.
type Config struct {
	// Start starts a gateway; its Stop is called once.
	Start func(Site) (*Gateway, error)
	// Cases are what is sent; nil for Cases().
	Cases []Case
	// StartSecond starts the gateway of the second part, which is left out when
	// this is nil.
	StartSecond func(Site) (*Second, error)
	// Patience is how long that part waits for what needs time; zero: long.
	Patience time.Duration
	// Notes are what is to be said besides, such as what could not be shown.
	Notes []Words
	// Progress is told of each case that begins, counted from 1; nil: nobody.
	Progress func(n, of int, what Words)
}

// count is how many cases there are in both parts.
func (c *Config) count() int {
	if c.StartSecond == nil {
		return len(c.Cases)
	}
	return len(c.Cases) + len(scenes())
}

// Report is what happened.
type Report struct {
	OK      bool     `json:"ok"`
	Seconds float64  `json:"seconds"`
	Results []Result `json:"cases"`
	// Sections are those of the second part.
	Sections []Section `json:"sections"`
	// Log are the lines of the first message that was delivered.
	Log []string `json:"log"`
	// Faults are what went wrong beside the cases.
	Faults []string `json:"faults"`
	// Notes are what is to be said besides.
	Notes []Words `json:"notes"`
	// Removed is the folder that the demo worked in and that is gone.
	Removed string `json:"removed"`
}

// Result is how one case went.
type Result struct {
	Name      string   `json:"name"`
	Section   string   `json:"section,omitempty"` // of the second part
	What      Words    `json:"what"`
	NoMail    bool     `json:"no_mail,omitempty"` // a question, not a message
	Reply     string   `json:"reply"`             // that decided; empty when there was none
	Says      []Words  `json:"says,omitempty"`    // what there is to see of it besides
	Delivered []Parcel `json:"delivered"`
	OK        bool     `json:"ok"`
	Why       []string `json:"why,omitempty"`
	Dialogue  []string `json:"dialogue"`
}

// Parcel is one message where it lies.
type Parcel struct {
	Host string   `json:"host"`
	From string   `json:"from"`
	To   []string `json:"to"`
	Size int      `json:"size"` // octets, with our Received field
}

// Run plays the demo. An error says that it could not be played at all.
func Run(ctx context.Context, c Config) (*Report, error) {
	began := time.Now()
	if c.Cases == nil {
		c.Cases = Cases()
	}
	if c.Progress == nil {
		c.Progress = func(int, int, Words) {}
	}
	w, err := newWorld()
	if err != nil {
		return nil, err
	}
	defer w.close()
	g, err := c.Start(w.site())
	if err != nil {
		return nil, fmt.Errorf("the gateway does not start: %w", err)
	}
	r := &Report{Faults: []string{}, Log: []string{}, Notes: append([]Words{}, c.Notes...), Sections: []Section{}}
	// It starts first: its lists are probed while the others play.
	var second *Second
	if c.StartSecond != nil {
		if second, err = c.StartSecond(w.site()); err != nil {
			return nil, errors.Join(fmt.Errorf("the second gateway does not start: %w", err), g.Stop())
		}
	}
	seen := w.play(ctx, g, c)
	var scenes []Result
	if second != nil {
		r.Sections = sections()
		n := len(c.Cases)
		scenes = w.playSecond(ctx, second, cmp.Or(c.Patience, patience), func(what Words) { n++; c.Progress(n, c.count(), what) })
		r.endSecond(second)
	}
	if err := g.Stop(); err != nil {
		r.fault("the gateway does not stop cleanly: %s", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("not finished: %w", err)
	}
	log, err := os.ReadFile(g.Log)
	if err != nil {
		r.fault("the log: %s", err)
	}
	r.OK = true
	for i, o := range seen {
		res := judge(c.Cases[i], o, string(log))
		r.OK = r.OK && res.OK
		r.Results = append(r.Results, res)
	}
	for _, res := range scenes {
		r.OK = r.OK && res.OK
		r.Results = append(r.Results, res)
	}
	r.audit(w, seen, g.Spool)
	if len(seen) > 0 {
		r.Log = linesOf(string(log), seen)
	}
	r.OK = r.OK && len(r.Faults) == 0
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

func (r *Report) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

// observed is what one case led to.
type observed struct {
	reply    Reply
	dialogue []string
	err      error // the dialogue could not be held to its end
	stored   []Stored
	released string // the next hop's reply to a released message
}

// play holds the dialogues, one after the other, so that what arrives between
// two of them belongs to the first.
func (w *world) play(ctx context.Context, g *Gateway, c Config) []observed {
	var seen []observed
	for i, one := range c.Cases {
		if ctx.Err() != nil {
			break
		}
		c.Progress(i+1, c.count(), one.What)
		d := dial(ctx, one.door(g), one.From)
		if d.err == nil {
			one.Send(d)
		}
		d.close()
		o := observed{reply: d.decided, dialogue: d.lines, err: d.err}
		if one.Release {
			w.release(ctx, g, &o)
		}
		o.stored = append(o.stored, w.collect()...)
		seen = append(seen, o)
	}
	return seen
}

// release has a message released that lies held. What arrived before counts
// as having arrived twice.
func (w *world) release(ctx context.Context, g *Gateway, o *observed) {
	o.stored = w.collect()
	_, id, ok := strings.Cut(o.reply.Text, "held as ")
	if !ok {
		o.err = errors.New("it was not held")
		return
	}
	o.dialogue = append(o.dialogue, "$ garita hold release "+id)
	o.released, o.err = g.Release(ctx, id)
	if o.err == nil {
		o.dialogue = append(o.dialogue, o.released)
	}
}

// audit looks at what is there after the end: nothing that no case brought.
func (r *Report) audit(w *world, seen []observed, spool string) {
	for _, s := range w.collect() {
		r.fault("a message nobody waited for lies at %s: from <%s> to %s", s.Host, s.From, strings.Join(s.To, ", "))
	}
	for _, h := range w.hosts {
		if n := w.dns.asked(h.name); n == 0 && len(seen) > 0 {
			r.fault("nobody asked the DNS for %s", h.name)
		}
	}
	left, err := os.ReadDir(spool)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		r.fault("the spool folder: %s", err)
	case len(left) > 0:
		r.fault("%d files are left in the spool folder", len(left))
	}
}

// linesOf gives the log lines of the first message that was delivered: those
// with its queue id, which stands in our Received field.
func linesOf(log string, seen []observed) []string {
	out := []string{}
	for _, o := range seen {
		if len(o.stored) == 0 {
			continue
		}
		id := queueID(o.stored[0].Data)
		for line := range strings.Lines(log) {
			if id != "" && strings.Contains(line, " "+id+":") {
				out = append(out, strings.TrimRight(line, "\n"))
			}
		}
		if len(out) > 0 {
			break
		}
	}
	return out
}
