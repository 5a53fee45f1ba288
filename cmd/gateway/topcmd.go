package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"garita/filters/all"
	"garita/mail"
)

// topCommand is garita top.
type topCommand struct {
	socketFlag
	Output string        `short:"o" enum:"table,json" default:"table" help:"table or json."`
	What   string        `arg:"" enum:"users,senders,recipients,ips" help:"users, senders, recipients or ips."`
	Out    bool          `xor:"way" help:"Of mail that our users send (so without --in)."`
	In     bool          `xor:"way" help:"Of mail to our domains."`
	Since  time.Duration `default:"1h" help:"Since when, at most 24h (${default})."`
	Limit  int           `default:"20" help:"How many (${default})."`
}

type topList struct {
	What  string          `json:"what"`
	Way   string          `json:"direction"`
	Since float64         `json:"since_seconds"`
	Rows  []all.LimitsRow `json:"rows"`
}

// mostTop bounds an answer.
const mostTop = 500

// topKept is for how long it is known.
const topKept = 24 * time.Hour

func topOf(_ context.Context, _ *parts, l *all.Limits, q userRequest) (any, error) {
	dir := mail.Out
	if q.In {
		dir = mail.In
	}
	since := time.Duration(min(max(q.For, 0), 86400) * float64(time.Second))
	return topList{q.What, dir.String(), since.Seconds(), l.Top(all.LimitsTable(q.What), dir, since, min(max(q.Limit, 0), mostTop))}, nil
}

// Run shows the table.
func (c *topCommand) Run(t *terminal) error {
	if c.Since <= 0 || c.Since > 24*time.Hour || c.Limit < 1 || c.Limit > mostTop {
		return fail(exitUsage, "--since is at most 24h, --limit 1 to %d", mostTop)
	}
	var v topList
	if err := callWith(&c.socketFlag, "top", userRequest{What: c.What, In: c.In, For: c.Since.Seconds(), Limit: c.Limit}, &v); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(v)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGES\tRECIPIENTS\tSIZE\tSTOPPED\tNAME")
	for _, r := range v.Rows {
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%s\n", r.Messages, r.Recipients, octetText(r.Bytes), r.Stopped, oneLine(r.Name))
	}
	w.Flush()
	if len(v.Rows) == 0 {
		b.Reset()
		b.WriteString("nothing in that time\n")
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}
