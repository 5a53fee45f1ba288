package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"garita/admin"
	"garita/greylist"
)

type greylistCommands struct {
	List   greylistListCommand   `cmd:"" help:"Show triplets, clients that pass, and people to whom our users wrote."`
	Pass   greylistPassCommand   `cmd:"" help:"Let all mail of a client, or of an authenticated domain, pass without a delay."`
	Forget greylistForgetCommand `cmd:"" help:"Forget what the greylist knows of somebody."`
}

// greylistFilter picks entries by what they are.
type greylistFilter struct {
	Kind      string `enum:",triplet,client,pass,pair" default:"" help:"triplet, client (has come back often), pass (by command), pair (our user wrote to them)."`
	Client    string `help:"Of this client: an address, a network, or @domain where that was authenticated."`
	Sender    string `help:"Of this sender: an address, @domain, or <> for bounces."`
	Recipient string `help:"To this recipient: an address or @domain."`
	Waiting   bool   `help:"Only those that have not come back yet."`
}

func (f *greylistFilter) empty() bool { return *f == greylistFilter{} }

func (f *greylistFilter) filter() greylist.Filter {
	return greylist.Filter{Kind: f.Kind, Client: f.Client, Sender: f.Sender, Recipient: f.Recipient, Waiting: f.Waiting}
}

type greylistListCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	greylistFilter
	Limit int `default:"100" help:"Show at most so many; 0 is all."`
}

type greylistPassCommand struct {
	socketFlag
	Output string        `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Who    string        `arg:"" help:"An address, which means its network (192.0.2.7: its /24), or @domain."`
	For    time.Duration `default:"0s" help:"How long; 0s: until it is forgotten."`
}

type greylistForgetCommand struct {
	socketFlag
	Output string   `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Keys   []string `arg:"" optional:"" name:"key" help:"Their keys, as garita greylist list -o json shows them."`
	greylistFilter
	DryRun bool `help:"Only say which they are."`
	Yes    bool `help:"Do not ask back."`
}

// greylistRequest holds the arguments of all verbs.
type greylistRequest struct {
	greylist.Filter
	Who  string   `json:"who,omitempty"`
	For  float64  `json:"for_seconds,omitempty"`
	Keys []string `json:"keys,omitempty"`
}

type greylistPage struct {
	Entries []greylist.Entry `json:"entries"`
	More    bool             `json:"more,omitempty"`
}

// greylistForgot is the answer to forget.
type greylistForgot struct {
	Forgotten int `json:"forgotten"`
}

// greylistKeys is how many keys go to the socket at once: with the longest that
// there are, a request stays below 64 KB.
const greylistKeys = 10

// greylist is the table as commands see it; nil while the gateway starts.
func (d *daemon) greylist() *greylist.Admin {
	g := d.now.Load()
	if g == nil || d.parts.store == nil {
		return nil
	}
	c := g.settings.Check.Greylist
	a := &greylist.Admin{Store: d.parts.store, Delay: c.Delay, IPv4: c.IPv4Prefix, IPv6: c.IPv6Prefix}
	if g.settings.Policyd.Enabled {
		a.Delay = c.PolicyDelay
	}
	return a
}

// greylistVerbs are the verbs of the running gateway.
func greylistVerbs(get func() *greylist.Admin) map[string]admin.Verb {
	verb := func(act bool, do func(context.Context, *greylist.Admin, greylistRequest) (any, error)) admin.Verb {
		return admin.Verb{Act: act, Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var q greylistRequest
			if len(raw) > 0 && json.Unmarshal(raw, &q) != nil {
				return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of the greylist"}
			}
			a := get()
			if a == nil {
				return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
			}
			out, err := do(ctx, a, q)
			if errors.Is(err, greylist.ErrUnclear) {
				return nil, &admin.Error{Code: admin.CodeUsage, Text: err.Error()}
			}
			return out, err
		}}
	}
	return map[string]admin.Verb{
		"greylist list": verb(false, func(ctx context.Context, a *greylist.Admin, q greylistRequest) (any, error) {
			page, more, err := a.List(ctx, q.Filter)
			return greylistPage{page, more}, err
		}),
		"greylist pass": verb(true, func(ctx context.Context, a *greylist.Admin, q greylistRequest) (any, error) {
			if !(q.For >= 0 && q.For <= 1e9) {
				return nil, fmt.Errorf("%w: the time is not one that can be meant", greylist.ErrUnclear)
			}
			return a.Pass(ctx, q.Who, time.Duration(q.For*float64(time.Second)))
		}),
		"greylist forget": verb(true, func(ctx context.Context, a *greylist.Admin, q greylistRequest) (any, error) {
			return greylistForgot{len(q.Keys)}, a.Forget(ctx, q.Keys)
		}),
	}
}

// greyListed asks for all pages that a filter picks, at most limit entries.
func greyListed(f *socketFlag, q greylist.Filter, limit int) (greylistPage, error) {
	all := greylistPage{Entries: []greylist.Entry{}}
	for {
		if q.Limit = 0; limit > 0 {
			q.Limit = limit - len(all.Entries)
		}
		var page greylistPage
		if err := callWith(f, "greylist list", greylistRequest{Filter: q}, &page); err != nil {
			return all, err
		}
		all.Entries, all.More = append(all.Entries, page.Entries...), page.More
		if !page.More || len(page.Entries) == 0 || limit > 0 && len(all.Entries) >= limit {
			return all, nil
		}
		q.After = page.Entries[len(page.Entries)-1].Key
	}
}

// Run lists.
func (c *greylistListCommand) Run(t *terminal) error {
	if c.Limit < 0 {
		return fail(exitUsage, "--limit is below 0")
	}
	all, err := greyListed(&c.socketFlag, c.filter(), c.Limit)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(all)
	}
	var b strings.Builder
	if len(all.Entries) == 0 {
		b.WriteString("the greylist knows nobody that fits\n")
	} else {
		writeGreylist(&b, all.Entries)
	}
	if all.More {
		b.WriteString("and more: --limit 0 shows all\n")
	}
	_, err = io.WriteString(t.out, b.String())
	return err
}

func writeGreylist(b *strings.Builder, list []greylist.Entry) {
	w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tSTATE\tCLIENT\tFROM\tTO\tLAST SEEN\tUNTIL")
	for i := range list {
		e := &list[i]
		state, from := "passes", "-"
		switch {
		case e.Waiting:
			state = "waits"
		case e.Kind == greylist.KindClient:
			state = "came back " + strconv.FormatInt(e.Count, 10)
		}
		if e.Kind == greylist.KindTriplet || e.Kind == greylist.KindPair {
			from = orNull(e.Sender)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(e.Kind), state, orDash(e.Client), from, orDash(e.Recipient), greylistTime(e.Last), greylistTime(e.Expires))
	}
	w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}

func greylistTime(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Local().Format("2006-01-02 15:04")
}

// Run lets somebody pass.
func (c *greylistPassCommand) Run(t *terminal) error {
	var e greylist.Entry
	if err := callWith(&c.socketFlag, "greylist pass", greylistRequest{Who: c.Who, For: c.For.Seconds()}, &e); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(e)
	}
	until := "until it is forgotten"
	if !e.Expires.IsZero() {
		until = "until " + e.Expires.Local().Format(time.DateTime)
	}
	_, err := fmt.Fprintf(t.out, "%s passes without a delay %s\n", oneLine(e.Client), until)
	return err
}

// Run forgets.
func (c *greylistForgetCommand) Run(t *terminal) error {
	list, err := c.pick(t)
	if err != nil {
		return err
	}
	if c.DryRun {
		if c.Output == "json" {
			return t.json(map[string]any{"dry_run": true, "entries": list})
		}
		var b strings.Builder
		if len(list) > 0 {
			writeGreylist(&b, list)
		}
		fmt.Fprintf(&b, "%d entries; nothing was done\n", len(list))
		_, err := io.WriteString(t.out, b.String())
		return err
	}
	var done greylistForgot
	for len(list) > 0 {
		n := min(greylistKeys, len(list))
		q := greylistRequest{}
		for _, e := range list[:n] {
			q.Keys = append(q.Keys, e.Key)
		}
		var one greylistForgot
		if err := callWith(&c.socketFlag, "greylist forget", q, &one); err != nil {
			return err
		}
		done.Forgotten += one.Forgotten
		list = list[n:]
	}
	if c.Output == "json" {
		return t.json(done)
	}
	_, err = fmt.Fprintf(t.out, "%d entries forgotten\n", done.Forgotten)
	return err
}

// pick gives the entries that forget means, after asking back when a filter
// chose them.
func (c *greylistForgetCommand) pick(t *terminal) ([]greylist.Entry, error) {
	switch {
	case len(c.Keys) == 0 && c.empty():
		return nil, fail(exitUsage, "name keys, or say which by --kind, --client, --sender, --recipient or --waiting")
	case len(c.Keys) > 0 && !c.empty():
		return nil, fail(exitUsage, "name keys, or say which by a filter, not both")
	}
	var list []greylist.Entry
	for _, k := range c.Keys {
		list = append(list, greylist.Entry{Key: k, Kind: "key", Client: k})
	}
	if len(list) > 0 {
		return list, nil
	}
	all, err := greyListed(&c.socketFlag, c.filter(), 0)
	if err != nil || c.DryRun || c.Yes || len(all.Entries) == 0 {
		return all.Entries, err
	}
	if !t.interactive() {
		return nil, fail(exitUsage, "%d entries fit; --yes forgets them, --dry-run shows them", len(all.Entries))
	}
	fmt.Fprintf(t.err, "Forget %d entries? Type the number: ", len(all.Entries))
	answer, _ := bufio.NewReader(t.in).ReadString('\n')
	if strings.TrimSpace(answer) != strconv.Itoa(len(all.Entries)) {
		return nil, fail(exitFailed, "nothing was done")
	}
	return all.Entries, nil
}
