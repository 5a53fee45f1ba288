package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"garita/demo"
	"garita/hold"
)

type demoCommand struct {
	Lang    string `enum:"en,es,auto" default:"auto" help:"Language: en, es, or auto (what LANG says)."`
	Output  string `short:"o" enum:"text,json" default:"text" help:"text or json."`
	Verbose bool   `short:"v" help:"Show every dialogue."`
}

// demoTime is for the whole demo; it needs a few seconds.
const demoTime = 55 * time.Second

// Run is garita demo: it exits 0 only if every message went as it must.
func (c *demoCommand) Run(t *terminal) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	return c.show(ctx, t, nil)
}

// show plays the cases, nil for the usual ones and the second part, and prints
// what came of them.
func (c *demoCommand) show(ctx context.Context, t *terminal, cases []demo.Case) error {
	view := demo.View{Spanish: c.spanish(), Verbose: c.Verbose, Escape: oneLine, Paint: t.paint}
	dir, err := os.MkdirTemp("", "garita-demo-")
	if err != nil {
		return fail(exitFailed, "%s", err)
	}
	defer os.RemoveAll(dir)
	progress, clear := c.progress(t, view)
	var notes []demo.Words
	clamd, err := startDemoClamd(ctx, dir)
	if err == nil {
		defer clamd.stop()
	}
	var second func(demo.Site) (*demo.Second, error)
	if cases == nil {
		second = func(s demo.Site) (*demo.Second, error) { return startDemoSecond(ctx, dir, s, nil) }
		if cases = demo.Cases(); err == nil {
			cases = append(cases, demo.Virus())
		} else {
			notes = append(notes, noClamd(err))
		}
	}
	r, err := demo.Run(ctx, demo.Config{
		Start:       func(s demo.Site) (*demo.Gateway, error) { return startDemo(ctx, dir, s, clamd) },
		Cases:       cases,
		StartSecond: second,
		Notes:       notes,
		Progress:    progress,
	})
	clear()
	if err != nil {
		return fail(exitFailed, "demo: %s", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		r.OK, r.Faults = false, append(r.Faults, err.Error())
	} else {
		r.Removed = dir
	}
	if c.Output == "json" {
		err = t.json(r)
	} else {
		var b strings.Builder
		r.Text(&b, view)
		_, err = io.WriteString(t.out, b.String())
	}
	if err == nil && !r.OK {
		return &exitError{code: exitFailed}
	}
	return err
}

// spanish tells whether to speak Spanish. The variables are asked in the
// order of POSIX (XBD 8.2).
func (c *demoCommand) spanish() bool {
	if c.Lang != "auto" {
		return c.Lang == "es"
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			return v == "es" || strings.HasPrefix(v, "es_") || strings.HasPrefix(v, "es.") || strings.HasPrefix(v, "es@")
		}
	}
	return false
}

// progress shows a person at a terminal which case is under way.
func (c *demoCommand) progress(t *terminal, v demo.View) (show func(n, of int, what demo.Words), clear func()) {
	if !isTerminal(t.err) || os.Getenv("TERM") == "dumb" {
		return nil, func() {}
	}
	return func(n, of int, what demo.Words) {
			fmt.Fprintf(t.err, "\r\x1b[K[%2d/%d] %s", n, of, v.Say(what))
		}, func() {
			io.WriteString(t.err, "\r\x1b[K")
		}
}

// noClamd says plainly what was not shown, and why.
func noClamd(err error) demo.Words {
	why := oneLine(err.Error())
	return demo.Words{
		EN: "Not shown: the antivirus (" + why + "). To see it: apt install clamav-daemon, and again.",
		ES: "Sin mostrar: el antivirus (" + why + "). Para verlo: apt install clamav-daemon, y otra vez.",
	}
}

// startDemo starts the gateway of the first part.
func startDemo(ctx context.Context, dir string, site demo.Site, clamd *demoClamd) (*demo.Gateway, error) {
	trust := []string{demo.Trusted().String()}
	anywhere := []string{"127.0.0.1:0"}
	set := map[string]any{
		"hostname": demo.Hostname, "state_dir": filepath.Join(dir, "state"),
		"log.output": filepath.Join(dir, "garita.log"), "admin.socket": filepath.Join(dir, "admin.sock"),
		"dns.servers":      []string{site.NameServer},
		"limits.free_disk": "16MB", // a demo must run where /tmp is small

		"listener.inbound.role": "inbound", "listener.inbound.listen": anywhere,
		"listener.inbound.next_hop": "mail", "listener.inbound.relay_domains": []string{demo.Domain},
		"listener.outbound.role": "outbound", "listener.outbound.listen": anywhere,
		"listener.outbound.next_hop": "smarthost", "listener.outbound.trusted_networks": trust,
		"listener.filter.role": "content-filter", "listener.filter.listen": anywhere,
		"listener.filter.next_hop": "mta", "listener.filter.trusted_networks": trust,

		"next_hop.mail.url": "smtp://" + site.NextHop, "next_hop.smarthost.url": "smtp://" + site.SmartHost,
		"next_hop.mta.url": "smtp://" + site.Return,
	}
	if clamd != nil {
		set["check.clamav.mode"], set["check.clamav.servers"] = "enforce", []string{"unix:" + clamd.socket}
	}
	own := filepath.Join(dir, "rules.toml")
	if err := writeNew(own, demo.Rules); err != nil {
		return nil, err
	}
	set["check.rules.files"] = []string{own}
	d, s, err := daemonOf(ctx, dir, site, set, nil)
	if err != nil {
		return nil, err
	}
	at := d.sockets.addresses()
	return &demo.Gateway{
		Inbound: at["inbound"][0].String(), Outbound: at["outbound"][0].String(), Filter: at["filter"][0].String(),
		Log: s.Log.Output, Spool: spoolDir(s),
		Release: func(ctx context.Context, id string) (string, error) {
			r, err := d.releaseHeld(ctx, d.parts.hold.keeper, holdRequest{ID: id, By: "demo"})
			if err != nil {
				return "", err
			}
			return r.(hold.Report).Reply, nil
		},
		Stop: func() error { return d.shutdown(nil, "the demo's end") },
	}, nil
}
