package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"garita/admin"
)

type healthCommand struct {
	socketFlag
	Wait   time.Duration `help:"Wait until it is ready, but not longer than this."`
	Strict bool          `help:"Ready means also: next hops answer, certificates are valid, the last reload succeeded."`
	Output string        `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// healthReport is the answer of health -o json. Its form is fixed: scripts read
// it. Ready is what the exit code says, so it takes --strict into account.
type healthReport struct {
	Ready bool `json:"ready"`
	health
}

// health is the answer to the verb of that name: what is wrong, if anything.
type health struct {
	Problems []string `json:"problems"` // mail cannot come in
	Concerns []string `json:"concerns"` // of --strict: something should be looked at
}

func (d *daemon) health() health {
	h := health{Problems: []string{}, Concerns: []string{}}
	if st := d.state.Load(); st != running {
		h.Problems = append(h.Problems, "the gateway is "+stateName(st))
	}
	g := d.now.Load()
	if g == nil {
		return h
	}
	open := d.sockets.addresses()
	for _, name := range slices.Sorted(maps.Keys(g.settings.Listener)) {
		if have, want := len(open[name]), len(g.settings.Listener[name].Listen); have < want {
			h.Problems = append(h.Problems, fmt.Sprintf("listener %s has %d of %d addresses open", name, have, want))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.hops)) {
		h.Concerns = append(h.Concerns, g.hops[name].concerns()...)
	}
	if b := d.parts.bypass.state(); b.Active {
		h.Concerns = append(h.Concerns, "a bypass is on until "+b.Until.Local().Format(time.DateTime)+": checks refuse nothing")
	}
	h.Concerns = append(h.Concerns, g.helpers.Concerns()...)
	h.Concerns = append(h.Concerns, d.parts.storeFault()...)
	if k := d.parts.hold.keeper; k != nil {
		if why := k.Concern(); why != "" {
			h.Concerns = append(h.Concerns, why)
		}
	}
	for _, w := range g.tls.Warnings() {
		h.Concerns = append(h.Concerns, "tls: "+w)
	}
	if why := d.badReload.Load(); why != nil {
		h.Concerns = append(h.Concerns, "the last reload failed")
	}
	return h
}

// pollEvery is how often --wait asks.
const pollEvery = 100 * time.Millisecond

func (c *healthCommand) Run(t *terminal) error {
	deadline := time.Now().Add(c.Wait)
	for {
		// A gateway that hangs must not make us hang with it.
		h, err := c.once(max(time.Until(deadline), minCall))
		left := time.Until(deadline)
		if err == nil || left <= 0 {
			return c.say(t, h, err)
		}
		time.Sleep(min(pollEvery, left))
	}
}

// say tells the last answer; h is nil when there was none.
func (c *healthCommand) say(t *terminal, h *health, err error) error {
	if c.Output == "json" && h != nil {
		if e := t.json(healthReport{err == nil, *h}); e != nil || err == nil {
			return e
		}
		return &exitError{code: exitFailed}
	}
	if err == nil {
		fmt.Fprintln(t.out, "ready")
	}
	return err
}

// once asks once; without an answer the health is nil.
func (c *healthCommand) once(within time.Duration) (*health, error) {
	h := &health{}
	if err := callFor(&c.socketFlag, "health", nil, h, within); err != nil {
		return nil, err
	}
	bad := slices.Clone(h.Problems)
	if c.Strict {
		bad = append(bad, h.Concerns...)
	}
	if len(bad) > 0 {
		return h, fail(exitFailed, "not ready: %s", strings.Join(bad, "; "))
	}
	return h, nil
}

// callTimeout bounds a command to the running gateway; a reload may look names
// up and ask next hops.
const callTimeout = time.Minute

// minCall is what a healthy gateway needs at most for an answer.
const minCall = 2 * time.Second

// call asks the running gateway and makes its refusals exit codes.
func call(f *socketFlag, verb string, out any) error {
	return callFor(f, verb, nil, out, callTimeout)
}

// callWith is call for a verb with arguments.
func callWith(f *socketFlag, verb string, args, out any) error {
	return callFor(f, verb, args, out, callTimeout)
}

func callFor(f *socketFlag, verb string, args, out any, within time.Duration) error {
	path, err := f.path()
	if err != nil {
		return err
	}
	if err := admin.CheckPath(path); err != nil {
		return fail(exitConfig, "%s", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err = admin.Call(ctx, path, verb, args, out)
	var e *admin.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, admin.ErrUnreachable):
		return fail(exitUnreachable, "%s", err)
	case errors.As(err, &e):
		code := map[string]int{admin.CodeConfig: exitConfig, admin.CodeTemporary: exitTemporary, admin.CodeUsage: exitUsage}[e.Code]
		if code == 0 {
			code = exitFailed
		}
		return fail(code, "%s", e.Text)
	}
	return fail(exitFailed, "%s", err)
}

type reloadCommand struct {
	socketFlag
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *reloadCommand) Run(t *terminal) error {
	var r reloadReport
	if err := call(&c.socketFlag, "reload", &r); err != nil {
		var e *exitError
		if errors.As(err, &e) && e.code == exitConfig {
			e.text += "\ngarita: the running configuration is unchanged"
		}
		return err
	}
	if c.Output == "json" {
		return t.json(r)
	}
	io.WriteString(t.err, printable(r.Warn.String()))
	if len(r.Changed) == 0 {
		fmt.Fprintln(t.out, "reloaded; no key has changed")
		return nil
	}
	fmt.Fprintf(t.out, "reloaded; %s changed\n", count(len(r.Changed), "key"))
	for _, line := range r.Changed {
		fmt.Fprintln(t.out, "  "+oneLine(line))
	}
	for _, key := range r.Restart {
		fmt.Fprintln(t.out, "  needs a restart: "+oneLine(key))
	}
	return nil
}
