package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"garita/bench/load"
	"garita/bench/proc"
)

// idle is what one idle session costs a fresh server.
type idle struct {
	System   string
	TLS      bool
	Sessions int
	PerKB    float64 // PSS above that of the fresh server
	Alive    int     // sessions that still answered
}

func (b *bench) idleSession(ctx context.Context) error {
	for _, tls := range []bool{false, true} {
		for _, name := range []string{"previous", "garita", "everything", "raw", "go-smtp"} {
			if !b.measures(name) {
				continue
			}
			s, err := b.fresh(ctx, name)
			if err != nil {
				return err
			}
			if s == nil {
				continue
			}
			time.Sleep(time.Second) // first probes of next hops are over
			fresh := proc.PSS(s.root)
			i := idle{System: name, TLS: tls, Sessions: b.idleSessions}
			i.Alive, err = load.Idle(load.Config{Addr: s.addr, StartTLS: tls, Proxy: s.proxied}, i.Sessions, func() {
				time.Sleep(b.hold)
				i.PerKB = float64(proc.PSS(s.root)-fresh) / 1024 / float64(i.Sessions)
			})
			s.stop()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			b.Idle = append(b.Idle, i)
			fmt.Fprintf(os.Stderr, "idle, TLS %-5v %-10s %21.1f KB\n", tls, name, i.PerKB)
		}
	}
	return nil
}

// crowd is how long new clients wait for their greeting, in milliseconds.
type crowd struct {
	System    string
	Sessions  int // idle ones beside them
	P50, P99  float64
	Max       float64
	CPUSecond float64 // CPU time of a second in which nobody says anything, ms
}

// greetings is the number of new clients, one after the other.
const greetings = 200

// crowded measures the greeting of a new client, alone and beside idle ones.
func (b *bench) crowded(ctx context.Context) error {
	if err := descriptors(uint64(b.crowd) + 1000); err != nil {
		return err
	}
	for _, name := range []string{"previous", "everything"} {
		if !b.measures(name) {
			continue
		}
		s, err := b.fresh(ctx, name)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		c := load.Config{Addr: s.addr, Proxy: s.proxied}
		if _, err := load.Greetings(c, greetings); err != nil { // names are cached
			return err
		}
		for _, n := range []int{0, b.crowd} {
			one := crowd{System: name, Sessions: n}
			alive, err := load.Idle(c, n, func() {
				time.Sleep(time.Second)
				before := proc.CPU(s.root)
				time.Sleep(time.Second)
				one.CPUSecond = float64((proc.CPU(s.root) - before).Microseconds()) / 1000
				var h *load.Histogram
				if h, err = load.Greetings(c, greetings); err == nil {
					one.P50, one.P99, one.Max = ms(h.Quantile(.5)), ms(h.Quantile(.99)), ms(h.Max())
				}
			})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if alive != n {
				return fmt.Errorf("%s: of %d idle sessions %d are alive", name, n, alive)
			}
			b.Crowds = append(b.Crowds, one)
			fmt.Fprintf(os.Stderr, "greeting beside %5d idle sessions, %-10s %8.2f ms, longest %.2f\n", n, name, one.P50, one.Max)
		}
		s.stop()
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// descriptors raises our own limit: each session has a socket here too.
func descriptors(want uint64) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Cur >= want {
		return nil
	}
	l.Cur, l.Max = want, max(l.Max, want)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("%d descriptors (ulimit -n): %w", want, err)
	}
	return nil
}
