package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"garita/admin"
)

type runCommand struct {
	configFlag
	Drain time.Duration `default:"60s" help:"How long messages on their way may take after SIGTERM (${default})."`
}

// Run is garita run. SIGHUP reads the configuration again, SIGUSR1 opens the
// log file again, SIGTERM and SIGINT drain, and a second one ends at once.
func (c *runCommand) Run(t *terminal) error {
	// From here on, so that a signal during the start is not lost.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	return c.run(t, signals)
}

func (c *runCommand) run(t *terminal, signals <-chan os.Signal) error {
	s, doc, problems := load(c.Config, systemLookup)
	io.WriteString(t.err, doc.Warnings().String())
	if len(problems) > 0 {
		io.WriteString(t.err, problems.String())
		return &exitError{exitConfig, count(len(problems), "problem") + " in the configuration; not started"}
	}
	if owner := ownerOf(s.StateDir); os.Geteuid() == 0 && owner != 0 {
		fmt.Fprintf(t.err, "garita: warning: running as root, while %s belongs to user %d: what is written now that user may not open later; afterwards: chown -R %d: on it, on the log and on the admin socket's folder\n",
			oneLine(s.StateDir), owner, owner)
	}
	d, err := newDaemon(c.Config, s, systemLookup, notifier{on: true})
	if err != nil {
		if errors.Is(err, admin.ErrInUse) {
			return fail(exitFailed, "%s; not started", err)
		}
		return fail(exitFailed, "%s", err)
	}
	d.drain = c.Drain
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := d.serve(ctx); err != nil {
		d.parts.log.Warn("master", "not started", slog.String("error", err.Error()))
		d.admin.Close()
		d.parts.close(nil)
		return fail(exitFailed, "%s; not started", err)
	}
	d.notify.ready()
	if s.Log.Output != "stderr" {
		fmt.Fprintf(t.err, "garita: running; the log goes to %s\n", oneLine(s.Log.Output))
	}
	if err := d.loop(ctx, signals); err != nil {
		return fail(exitFailed, "%s", err)
	}
	return nil
}
