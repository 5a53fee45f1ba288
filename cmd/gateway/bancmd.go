package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"garita/admin"
	"garita/conduct"
)

type banCommands struct {
	List   banListCommand   `cmd:"" help:"Show the bans that hold."`
	Add    banAddCommand    `cmd:"" help:"Ban an address or network; it gets 4xx."`
	Remove banRemoveCommand `cmd:"" help:"Lift a ban."`
	Check  banCheckCommand  `cmd:"" help:"Show how a client stands: rates, points, ban."`
}

type banListCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

type banAddCommand struct {
	socketFlag
	Output string        `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Prefix string        `arg:"" help:"Address or network: 192.0.2.7, 192.0.2.0/24, 2001:db8::/48. An IPv6 address means its /64."`
	For    time.Duration `default:"24h" help:"How long (${default}); 0s: until it is lifted."`
	Reason string        `help:"Why, for the log and for the list."`
}

type banRemoveCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Prefix string `arg:"" help:"Address or network, as garita ban list shows it."`
}

type banCheckCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	IP     string `arg:"" help:"The client's address."`
}

// banPage is how many bans fit an answer of the socket with certainty: each is
// at most 1.5 KB of JSON.
const banPage = 250

// banRequest holds the arguments of all four verbs.
type banRequest struct {
	Prefix string  `json:"prefix,omitempty"`
	For    float64 `json:"for_seconds,omitempty"`
	Reason string  `json:"reason,omitempty"`
	After  int     `json:"after,omitempty"`
}

type banList struct {
	Mode string        `json:"mode"`
	Bans []conduct.Ban `json:"bans"`
	More bool          `json:"more,omitempty"`
}

// banChange is the answer to add and remove. Mode says whether it has effect.
type banChange struct {
	Mode string      `json:"mode"`
	Ban  conduct.Ban `json:"ban"`
}

// banVerbs are the verbs of the running gateway. The socket is there before the
// parts are: until then, get gives nil.
func banVerbs(get func() *conduct.Conduct) map[string]admin.Verb {
	verb := func(act bool, do func(context.Context, *conduct.Conduct, banRequest) (any, error)) admin.Verb {
		return admin.Verb{Act: act, Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var q banRequest
			if len(raw) > 0 && json.Unmarshal(raw, &q) != nil {
				return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of a ban"}
			}
			c := get()
			if c == nil {
				return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
			}
			return do(ctx, c, q)
		}}
	}
	return map[string]admin.Verb{
		"ban list":   verb(false, listBans),
		"ban add":    verb(true, addBan),
		"ban remove": verb(true, removeBan),
		"ban check":  verb(false, checkClient),
	}
}

func listBans(_ context.Context, c *conduct.Conduct, q banRequest) (any, error) {
	all := c.List()
	from := min(max(q.After, 0), len(all))
	to := min(from+banPage, len(all))
	return banList{Mode: c.Mode(), Bans: all[from:to], More: to < len(all)}, nil
}

func addBan(ctx context.Context, c *conduct.Conduct, q banRequest) (any, error) {
	p, err := parseNetwork(q.Prefix)
	if err != nil {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: err.Error()}
	}
	// A float of seconds beyond a duration's range would wrap; Ban refuses what
	// is longer than years.
	if !(q.For >= 0 && q.For <= 1e9) {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: "the length of the ban is not one that can be meant"}
	}
	b, err := c.Ban(ctx, p, time.Duration(q.For*float64(time.Second)), q.Reason)
	if errors.Is(err, conduct.ErrRefused) {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: err.Error()}
	}
	return banDone(c, b, err)
}

func removeBan(ctx context.Context, c *conduct.Conduct, q banRequest) (any, error) {
	p, err := parseNetwork(q.Prefix)
	if err != nil {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: err.Error()}
	}
	b, err := c.Unban(ctx, p)
	return banDone(c, b, err)
}

// banDone is the answer to a change; one that the disk has not taken can be
// tried again.
func banDone(c *conduct.Conduct, b conduct.Ban, err error) (any, error) {
	if errors.Is(err, conduct.ErrNotDurable) {
		return nil, &admin.Error{Code: admin.CodeTemporary, Text: err.Error()}
	}
	if err != nil {
		return nil, err
	}
	return banChange{c.Mode(), b}, nil
}

func checkClient(_ context.Context, c *conduct.Conduct, q banRequest) (any, error) {
	a, err := netip.ParseAddr(q.Prefix)
	if err != nil {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: fmt.Sprintf("%.50q is not an IP address", q.Prefix)}
	}
	return c.Check(a)
}

// parseNetwork reads an address or a network.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	return netip.Prefix{}, fmt.Errorf("%.50q is not an address or network such as 192.0.2.7 or 2001:db8::/48", s)
}

func (c *banListCommand) Run(t *terminal) error {
	all := banList{Bans: []conduct.Ban{}}
	for more := true; more; {
		var page banList
		if err := callWith(&c.socketFlag, "ban list", banRequest{After: len(all.Bans)}, &page); err != nil {
			return err
		}
		all.Mode, all.Bans = page.Mode, append(all.Bans, page.Bans...)
		more = page.More && len(page.Bans) > 0
	}
	if c.Output == "json" {
		return t.json(all)
	}
	var b strings.Builder
	if len(all.Bans) == 0 {
		b.WriteString("nobody is banned\n")
	} else {
		w := tabwriter.NewWriter(&b, 2, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NETWORK\tUNTIL\tBY\tTIMES\tREASON")
		for i := range all.Bans {
			n := &all.Bans[i]
			times := "-"
			if n.Times > 0 {
				times = strconv.Itoa(n.Times)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", n.Prefix, banEnd(n), oneLine(n.By), times, oneLine(n.Reason))
		}
		w.Flush()
	}
	_, err := fmt.Fprint(t.out, b.String()+withoutEffect(all.Mode))
	return err
}

// banEnd is the end of a ban in the reader's time zone.
func banEnd(b *conduct.Ban) string {
	if b.Until.IsZero() {
		return "lifted"
	}
	return b.Until.Local().Format(time.DateTime)
}

// withoutEffect warns of a mode in which bans do nothing.
func withoutEffect(mode string) string {
	if mode == "enforce" {
		return ""
	}
	return fmt.Sprintf("bans refuse nobody while conduct.mode is %s\n", oneLine(mode))
}

func (c *banAddCommand) Run(t *terminal) error {
	if _, err := parseNetwork(c.Prefix); err != nil {
		return fail(exitUsage, "%s", err)
	}
	var out banChange
	q := banRequest{Prefix: c.Prefix, For: c.For.Seconds(), Reason: c.Reason}
	if err := callWith(&c.socketFlag, "ban add", q, &out); err != nil {
		return err
	}
	return c.show(t, &out)
}

func (c *banAddCommand) show(t *terminal, out *banChange) error {
	if c.Output == "json" {
		return t.json(out)
	}
	_, err := fmt.Fprintf(t.out, "%s is banned until %s\n%s", out.Ban.Prefix, banEnd(&out.Ban), withoutEffect(out.Mode))
	return err
}

func (c *banRemoveCommand) Run(t *terminal) error {
	if _, err := parseNetwork(c.Prefix); err != nil {
		return fail(exitUsage, "%s", err)
	}
	var out banChange
	if err := callWith(&c.socketFlag, "ban remove", banRequest{Prefix: c.Prefix}, &out); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(out)
	}
	_, err := fmt.Fprintf(t.out, "%s is no longer banned\n", out.Ban.Prefix)
	return err
}

func (c *banCheckCommand) Run(t *terminal) error {
	if _, err := netip.ParseAddr(c.IP); err != nil {
		return fail(exitUsage, "%.50q is not an IP address", c.IP)
	}
	var s conduct.Standing
	if err := callWith(&c.socketFlag, "ban check", banRequest{Prefix: c.IP}, &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(s)
	}
	var b strings.Builder
	writeStanding(&b, &s)
	_, err := fmt.Fprint(t.out, b.String())
	return err
}

func writeStanding(b *strings.Builder, s *conduct.Standing) {
	fmt.Fprintf(b, "%s is counted as %s\n", s.Address, s.Client)
	switch {
	case s.Exempt:
		b.WriteString("exempt: it is never counted, refused or banned\n")
		return
	case s.Ban != nil:
		fmt.Fprintf(b, "banned until %s as %s by %s: %s\n", banEnd(s.Ban), s.Ban.Prefix, oneLine(s.Ban.By), oneLine(s.Ban.Reason))
	default:
		b.WriteString("not banned\n")
	}
	fmt.Fprintf(b, "points %d, banned at %s; %d earlier bans make the next one longer\n", s.Points, orOff(s.BanAfter), s.Bans)
	w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nWHAT\tUSED\tA MINUTE")
	for _, r := range s.Rates {
		fmt.Fprintf(w, "%s\t%d\t%s\n", oneLine(r.Act), r.Used, orOff(r.Max))
	}
	w.Flush()
	b.WriteString(withoutEffect(s.Mode))
}

func orOff(n int) string {
	if n == 0 {
		return "off"
	}
	return strconv.Itoa(n)
}
