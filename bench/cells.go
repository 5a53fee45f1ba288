package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"garita/bench/load"
	"garita/bench/proc"
)

// sample is one system measured once: one cell in one round.
type sample struct {
	System string
	Round  int
	Rate   float64 // messages a second
	CPU    float64 // µs a message, with all child processes
	P50    float64 // ms, of a whole message
	P99    float64
	Max    float64
	Sent   int64
	Long   int64 // messages of 35 ms and more
	// Others is the share of the machine that programs took which are no part
	// of the measurement.
	Others float64
	Errors string
}

// cell is one kind of load, and what came of it.
type cell struct {
	Name    string
	Systems []string
	Rounds  int
	config  load.Config
	unit    string // that is counted; messages where it is empty
	Samples []sample
	// Repeated counts the rounds that were thrown away and run again, because
	// other programs took the machine. What was measured has no say in it.
	Repeated int
}

func (c *cell) counted() string { return cmp.Or(c.unit, "messages") }

// disturbed is the share of the machine from which others spoil a round.
const disturbed = 0.1

// stall is what a wait for a delayed acknowledgement looks like: Linux sends
// one after 40 ms.
const stall = 35 * time.Millisecond

// measure runs a cell: A B C, A B C, so that what disturbs the machine for
// some seconds disturbs all of them.
func (b *bench) measure(ctx context.Context, c *cell) error {
	if !strings.Contains(c.Name, b.cells) {
		return nil
	}
	began := time.Now()
	for _, name := range c.Systems { // processes are forked, pools and heaps are filled
		if s := b.systems[name]; s != nil {
			warm := c.config
			warm.Addr, warm.Proxy, warm.For, warm.Messages, warm.Rate = s.addr, s.proxied, b.warm, 0, 0
			if _, err := load.Run(ctx, warm); err != nil {
				return fmt.Errorf("%s, %s: %w", c.Name, name, err)
			}
		}
	}
	for round := 0; round < c.Rounds; {
		samples, err := b.round(ctx, c, round)
		if err != nil {
			return err
		}
		others := 0.0
		for _, s := range samples {
			others = max(others, s.Others)
		}
		if others > disturbed && b.patience > 0 {
			b.patience -= time.Duration(len(samples)) * c.config.For
			c.Repeated++
			continue
		}
		c.Samples = append(c.Samples, samples...)
		round++
	}
	fmt.Fprintf(os.Stderr, "%-50s %5.1f s, %d rounds repeated\n", c.Name, time.Since(began).Seconds(), c.Repeated)
	b.Cells = append(b.Cells, c)
	return nil
}

// round measures each system once.
func (b *bench) round(ctx context.Context, c *cell, round int) ([]sample, error) {
	var all []sample
	for _, name := range c.Systems {
		s := b.systems[name]
		if s == nil {
			continue // measured without Postfix
		}
		one, err := b.once(ctx, c, s, round)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", c.Name, name, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// ours is the CPU time of everything that belongs to the measurement: this
// process and its children.
func (b *bench) ours() time.Duration { return proc.CPU(os.Getpid()) }

// once is one sample. What the server answered 250 must be at the sink.
func (b *bench) once(ctx context.Context, c *cell, s *server, round int) (sample, error) {
	conf := c.config
	conf.Addr, conf.Proxy = s.addr, s.proxied
	before, err := b.taken()
	if err != nil {
		return sample{}, err
	}
	began, ours, busy := time.Now(), b.ours(), proc.Busy()
	cpu := proc.CPU(s.root)
	r, err := load.Run(ctx, conf)
	if err != nil {
		return sample{}, err
	}
	if s.queues {
		if r.Wall, err = b.drained(began, before+r.OK); err != nil {
			return sample{}, err
		}
	}
	spent := proc.CPU(s.root) - cpu
	others := proc.Busy() - busy - (b.ours() - ours)
	after, err := b.taken()
	if err != nil {
		return sample{}, err
	}
	one := sample{System: s.name, Round: round, Rate: r.Rate(), Sent: r.OK, Errors: r.Failed(), Long: r.Latency.AtLeast(stall),
		P50: ms(r.Latency.Quantile(.5)), P99: ms(r.Latency.Quantile(.99)), Max: ms(r.Latency.Max())}
	one.Others = max(0, others.Seconds()/time.Since(began).Seconds()/float64(b.CPUs))
	if r.OK > 0 {
		one.CPU = float64(spent.Microseconds()) / float64(r.OK)
	}
	switch {
	case r.OK == 0:
		return one, fmt.Errorf("no message went through: %s", one.Errors)
	case after-before < r.OK:
		return one, fmt.Errorf("%d messages were answered 250, %d arrived", r.OK, after-before)
	case one.Errors != "":
		fmt.Fprintf(os.Stderr, "%s, %s: %s\n", c.Name, s.name, one.Errors)
	}
	return one, nil
}

// load gives the load of most cells.
func (b *bench) load(message []byte, reuse int) load.Config {
	return load.Config{Sessions: 20, For: b.each, Message: message, To: "bob@our.example", Reuse: reuse, Spread: true}
}

// throughput are the cells of closed loops.
func (b *bench) throughput(ctx context.Context) error {
	all := []string{"garita", "raw", "go-smtp", "postfix"}
	with := append([]string{"sink"}, all...)
	tlsOne := b.load(b.small, 1)
	tlsOne.StartTLS = true
	for _, c := range []*cell{
		{Name: "4 KB, connections reused", Systems: with, Rounds: b.rounds, config: b.load(b.small, 0)},
		{Name: "4 KB, one message per connection", Systems: with, Rounds: b.rounds, config: b.load(b.small, 1)},
		{Name: "100 KB, connections reused", Systems: all, Rounds: min(b.rounds, 3), config: b.load(b.middle, 0)},
		{Name: "1 MB, connections reused", Systems: all, Rounds: b.rounds, config: b.load(b.large, 0)},
		{Name: "4 KB, STARTTLS ECDSA, one message per connection", Systems: all, Rounds: min(b.rounds, 3), config: tlsOne},
	} {
		if err := b.measure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// allOn are the cells that tell what everything costs above the wire alone.
func (b *bench) allOn(ctx context.Context) error {
	tlsOne := b.load(b.small, 1)
	tlsOne.StartTLS = true
	for _, c := range []*cell{
		{Name: everythingOn + "4 KB, connections reused", config: b.load(b.small, 0)},
		{Name: everythingOn + "4 KB, one message per connection", config: b.load(b.small, 1)},
		{Name: everythingOn + "4 KB, STARTTLS ECDSA, one message per connection", config: tlsOne},
		{Name: everythingOn + "1 MB, connections reused", config: b.load(b.large, 0)},
	} {
		c.Systems, c.Rounds = []string{"previous", "garita", "everything"}, b.rounds
		if err := b.measure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// everythingOn begins the names of the cells of allOn.
const everythingOn = "everything on: "

// alone are the cells of one session that nobody disturbs.
func (b *bench) alone(ctx context.Context) error {
	for _, size := range []struct {
		name    string
		message []byte
	}{{"4 KB", b.small}, {"100 KB", b.middle}, {"1 MB", b.large}} {
		for _, tls := range []bool{false, true} {
			c := &cell{Name: size.name + ", one session alone", Systems: []string{"garita", "postfix"}, Rounds: 2, config: b.load(size.message, 0)}
			if tls {
				c.Name += ", STARTTLS"
			}
			c.config.Sessions, c.config.For, c.config.StartTLS = 1, b.each/2, tls
			if err := b.measure(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// latency is an open loop far below what any of them can do.
func (b *bench) latency(ctx context.Context) error {
	c := &cell{Name: "4 KB, 150 messages a second", Systems: []string{"sink", "garita", "raw", "postfix"}, Rounds: b.rounds, config: b.load(b.small, 1)}
	c.config.Sessions, c.config.Rate = 60, 150
	return b.measure(ctx, c)
}

// systemCalls counts the gateway's system calls for a message.
type systemCalls struct {
	Messages   int64
	PerMessage float64
	How        string
	Table      string
}

func (b *bench) calls(ctx context.Context) error {
	s := b.systems["garita"]
	for _, tool := range []string{"perf", "strace"} {
		c := b.load(b.small, 0)
		c.Addr, c.Messages = s.addr, 20000
		how := "perf stat -e raw_syscalls:sys_enter, at full speed"
		if tool == "strace" {
			c.Messages, how = 2000, "strace -c -f, which slows it down"
		}
		// Opening the sessions is not part of a message on a reused one, but
		// it is counted: 20 connections on thousands of messages.
		work := func() error {
			r, err := load.Run(ctx, c)
			if err == nil && r.OK != c.Messages {
				err = fmt.Errorf("%d of %d messages: %s", r.OK, c.Messages, r.Failed())
			}
			return err
		}
		var n int64
		var table string
		var err error
		if tool == "strace" {
			n, table, err = proc.Strace(ctx, s.root, work)
		} else {
			n, err = proc.Perf(ctx, s.root, work)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "system calls are not counted by %s: %v\n", tool, err)
			continue
		}
		b.Calls = append(b.Calls, systemCalls{c.Messages, float64(n) / float64(c.Messages), how, table})
	}
	return nil
}
