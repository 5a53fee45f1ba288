package resolver

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/miekg/dns"
)

var (
	errAllOpen = errors.New("no server is answering")
	errNoReply = errors.New("no answer in time")
)

// ask puts the question to the servers in turn. A server that answers that it
// has no answer is not asked twice, a silent one in each round.
func (d *DNS) ask(ctx context.Context, k key) (a *answer, again string, err error) {
	refused := make([]bool, len(d.servers))
	err = errAllOpen
	for range d.cfg.Attempts {
		for i, s := range d.servers {
			if refused[i] {
				continue
			}
			ask, probe := s.breaker.allow(d.clock(), d.cfg.BreakFor)
			if probe {
				d.probe(s)
			}
			if !ask {
				d.count.skipped.Add(1)
				continue
			}
			a, again, e := d.attempt(ctx, s, k)
			if e == nil {
				return a, again, nil
			}
			err = d.count.fault(e)
			var rc rcodeError
			refused[i] = errors.As(e, &rc) || errors.Is(e, errMalformed) || errors.Is(e, errLoop)
			if isOver(ctx) {
				return nil, "", err
			}
		}
	}
	return nil, "", err
}

// isOver looks at the time too: a socket's deadline, which is the context's,
// may wake us before the context has noticed. Questions after it would get no
// answer, and be counted against servers that had no time for one.
func isOver(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

// attempt asks one server: by UDP, by TCP when the answer is cut or somebody
// is guessing, without EDNS where it is not understood (RFC 6891 section 7).
func (d *DNS) attempt(ctx context.Context, s *server, k key) (a *answer, again string, err error) {
	ctx = ends{ctx, time.Now().Add(d.cfg.Timeout)}
	buf := d.buffers.Get().(*[]byte)
	defer d.buffers.Put(buf)
	edns := !s.noEDNS.Load()
	pkt, err := d.udp(ctx, s, k, edns, *buf)
	if err == nil {
		a, again, err = read(pkt, k, d.cfg)
	}
	var rc rcodeError
	if edns && errors.As(err, &rc) && (rc == dns.RcodeFormatError || rc == dns.RcodeNotImplemented) {
		if pkt, err = d.udp(ctx, s, k, false, *buf); err == nil {
			if a, again, err = read(pkt, k, d.cfg); err == nil {
				s.noEDNS.Store(true)
			}
		}
	}
	if errors.Is(err, errTruncated) || errors.Is(err, errForeign) {
		if errors.Is(err, errForeign) {
			d.count.foreign.Add(1)
		}
		d.count.tcp.Add(1)
		tctx, cancel := context.WithCancel(ctx)
		pkt, err = s.sockets.tcp(tctx, k, edns)
		if cancel(); err == nil {
			a, again, err = read(pkt, k, d.cfg)
		}
	}
	// An error that the server sent is an answer; what it could not send in
	// time, or we could not read, is not.
	answered := err == nil || errors.As(err, &rc) || errors.Is(err, errLoop) || errors.Is(err, errTruncated)
	if d.root.Err() == nil && s.breaker.note(answered, d.cfg.BreakAfter) {
		d.probe(s)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		err = errNoReply // the library's text has addresses and ports of ours
	}
	return a, again, err
}

// ends is a context with an end that costs no timer: those who wait below it
// put the end on their sockets, and what is cancelled has its sockets closed.
type ends struct {
	context.Context
	at time.Time
}

func (e ends) Deadline() (time.Time, bool) {
	if t, ok := e.Context.Deadline(); ok && t.Before(e.at) {
		return t, true
	}
	return e.at, true
}

func (e ends) Err() error {
	if err := e.Context.Err(); err != nil {
		return err
	}
	if t, _ := e.Deadline(); !time.Now().Before(t) {
		return context.DeadlineExceeded
	}
	return nil
}

func (d *DNS) udp(ctx context.Context, s *server, k key, edns bool, buf []byte) ([]byte, error) {
	d.count.udp.Add(1)
	return s.sockets.udp(ctx, k, edns, buf)
}
