// Package load sends mail to an SMTP server on this machine and measures how
// long each message took (RFC 5321 as a client, RFC 3207 where asked).
//
// A closed loop sends as fast as the server answers; an open loop sends at a
// planned rate and counts from the planned moment, so that a server that
// stalls cannot hide its queue. It takes loopback addresses alone, checks no
// certificate, and is no mail client: a refused message is counted, its
// connection is dropped, and the next one begins anew. A run always ends: by
// its time, its number of messages, or a thousand failures in a row.
package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config is one run.
type Config struct {
	Addr     string // address and port, loopback
	Sessions int    // at once
	// For is how long to send; Messages, when not 0, is how many instead.
	For      time.Duration
	Messages int64
	Message  []byte // as Wire gives it
	To       string // recipient
	// Reuse is the number of messages on a connection; 0: no limit.
	Reuse    int
	StartTLS bool
	Rate     float64 // messages a second of an open loop; 0: closed loop
	// Spread takes a new client address of 127.1.0.0/16 for each connection.
	Spread bool
	// Proxy begins each connection with a PROXY header (version 1) that names
	// a client of 198.18.0.0/15, the network for benchmarks (RFC 2544): what a
	// gateway does for loopback is not what it does for the Internet.
	Proxy bool
}

// Result is what came of a run.
type Result struct {
	OK          int64
	Connections int64
	Wall        time.Duration
	Errors      map[string]int64
	// Latency counts from the first octet of a message's work (the connection
	// for the first message on it, else MAIL; in an open loop the planned
	// moment) to the final reply.
	Latency Histogram
}

// Rate is messages a second.
func (r *Result) Rate() float64 { return float64(r.OK) / r.Wall.Seconds() }

// Failed sums the errors up, or is empty.
func (r *Result) Failed() string {
	var all []string
	for k, n := range r.Errors {
		all = append(all, fmt.Sprintf("%d × %s", n, k))
	}
	return strings.Join(all, ", ")
}

// errNotLocal: this tool is not for other people's servers.
var errNotLocal = errors.New("load: only loopback addresses")

func checkAddr(addr string) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if !ap.Addr().IsLoopback() {
		return errNotLocal
	}
	return nil
}

// run is the state that the workers of one run share.
type run struct {
	Config
	rcpt []byte
	end  time.Time
	sent atomic.Int64
	from atomic.Int64 // client addresses taken
	plan chan time.Time
}

// Run sends until the end.
func Run(ctx context.Context, c Config) (*Result, error) {
	if err := checkAddr(c.Addr); err != nil {
		return nil, err
	}
	begin := time.Now()
	r := &run{Config: c, rcpt: []byte("RCPT TO:<" + c.To + ">\r\n"), end: begin.Add(c.For)}
	if c.Messages > 0 {
		r.end = begin.Add(10 * time.Minute)
	}
	if c.Rate > 0 {
		r.plan = make(chan time.Time, 1<<16)
		go r.schedule(ctx, begin)
	}
	results := make([]*Result, c.Sessions)
	var wg sync.WaitGroup
	for i := range results {
		results[i] = &Result{Errors: map[string]int64{}}
		wg.Go(func() { r.work(ctx, results[i]) })
	}
	wg.Wait()
	total := &Result{Errors: map[string]int64{}, Wall: time.Since(begin)}
	for _, one := range results {
		total.OK += one.OK
		total.Connections += one.Connections
		total.Latency.Merge(&one.Latency)
		for k, n := range one.Errors {
			total.Errors[k] += n
		}
	}
	return total, ctx.Err()
}

// schedule gives out the planned moments of an open loop.
func (r *run) schedule(ctx context.Context, begin time.Time) {
	defer close(r.plan)
	step := time.Duration(float64(time.Second) / r.Rate)
	for t := begin; t.Before(r.end) && ctx.Err() == nil; t = t.Add(step) {
		time.Sleep(time.Until(t))
		select {
		case r.plan <- t:
		case <-ctx.Done():
		}
	}
}

// next waits for the moment of the next message; false: there is none.
func (r *run) next(ctx context.Context) (time.Time, bool) {
	if ctx.Err() != nil {
		return time.Time{}, false
	}
	if r.plan != nil {
		t, ok := <-r.plan
		return t, ok
	}
	now := time.Now()
	if r.Messages > 0 && r.sent.Add(1) > r.Messages {
		return now, false
	}
	return now, now.Before(r.end)
}

// work is one session after the other until the end.
func (r *run) work(ctx context.Context, res *Result) {
	var s *session
	on, fails := 0, 0
	defer func() {
		if s != nil {
			s.quit()
		}
	}()
	for fails < 1000 {
		t, ok := r.next(ctx)
		if !ok {
			return
		}
		var err error
		if s == nil {
			source := 0
			if r.Spread {
				source = 1 + int(r.from.Add(1)%65000)
			}
			s, err = open(r.Addr, source, Config{StartTLS: r.StartTLS, Proxy: r.Proxy})
			on = 0
			res.Connections++
		}
		if err == nil {
			err = s.send(r.rcpt, r.Message)
		}
		if err != nil {
			fails++
			res.Errors[kind(err)]++
			if s != nil {
				s.conn.Close()
				s = nil
			}
			continue
		}
		res.Latency.Add(time.Since(t))
		res.OK++
		on++
		fails = 0
		if r.Reuse > 0 && on >= r.Reuse {
			s.quit()
			s = nil
		}
	}
}

// kind is a short name of an error, for counting.
func kind(err error) string {
	var re *refusal
	if errors.As(err, &re) {
		return re.Error()
	}
	s := err.Error()
	for _, k := range []string{"refused", "reset by peer", "broken pipe", "EOF", "cannot assign", "timeout"} {
		if strings.Contains(s, k) {
			return k
		}
	}
	return s
}
