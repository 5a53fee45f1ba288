package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"garita/admin"
	"garita/dnsbl"
	"garita/filters/all"
	"garita/metrics"
	"garita/resolver"
)

type rblCommands struct {
	Check rblCheckCommand `cmd:"" default:"withargs" help:"Show how addresses and domains stand on DNS lists; without any, those of rbl.addresses and rbl.domains."`
	Lists rblListsCommand `cmd:"" help:"Show the lists that are known, how those that are asked are, and the dead ones."`
}

type rblCheckCommand struct {
	socketFlag
	IP     []string `name:"ip" sep:"none" placeholder:"ADDRESS" help:"Ask about this address; may be given several times."`
	Domain []string `sep:"none" placeholder:"NAME" help:"Ask about this domain; may be given several times."`
	Last   bool     `help:"Do not ask: show what the last regular round found, with its history."`
	Output string   `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

type rblListsCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// rblRequest holds the arguments of the verbs.
type rblRequest struct {
	Subjects []string `json:"subjects,omitempty"`
	Last     bool     `json:"last,omitempty"`
}

// rblReport is the answer about our own.
type rblReport struct {
	Standings []dnsbl.Standing `json:"standings"`
	// SinceBad is how many hours old the last sign of bad mail from here is (a
	// user was suspended, or a check stopped what one sent); null: there is none.
	SinceBad *float64 `json:"hours_since_bad"`
}

// rblLists is the answer about lists.
type rblLists struct {
	// Mode is that of check.dnsbl: with off no list is asked about mail.
	Mode  string           `json:"mode"`
	Asked []all.ListStatus `json:"asked"`
	Known []rblKnown       `json:"known"`
	Dead  []dnsbl.DeadList `json:"dead"`
}

// rblKnown is what is known of a shipped list.
type rblKnown struct {
	Name     string `json:"name"`
	Zone     string `json:"zone"`
	Kinds    string `json:"kinds"`
	Asked    bool   `json:"asked"`
	Criteria string `json:"criteria"`
	Risk     string `json:"risk"`
	Terms    string `json:"terms"`
	Register bool   `json:"register,omitempty"`
	Lookup   string `json:"lookup"`
	Cost     string `json:"cost"`
	From     string `json:"ask_from"`
}

// rblParts is what the verbs need of a generation.
type rblParts struct {
	own   *dnsbl.Own // nil: there is no DNS
	mode  string
	lists []all.ListStatus
}

// maxRBL bounds what one command asks about.
const maxRBL = 32

// rblVerbs are the verbs of the running gateway; get gives nil before there is
// one.
func rblVerbs(get func() *rblParts) map[string]admin.Verb {
	verb := func(do func(context.Context, *rblParts, rblRequest) (any, error)) admin.Verb {
		return admin.Verb{Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var q rblRequest
			if len(raw) > 0 && json.Unmarshal(raw, &q) != nil {
				return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of rbl"}
			}
			p := get()
			if p == nil {
				return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
			}
			return do(ctx, p, q)
		}}
	}
	return map[string]admin.Verb{"rbl check": verb(checkOwn), "rbl lists": verb(showLists)}
}

func checkOwn(ctx context.Context, p *rblParts, q rblRequest) (any, error) {
	if p.own == nil {
		return nil, &admin.Error{Code: admin.CodeFailed, Text: "there is no DNS: dns.servers is off"}
	}
	if err := checkSubjects(q.Subjects); err != nil {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: err.Error()}
	}
	var out rblReport
	var err error
	if q.Last {
		out.Standings, err = p.own.Last(ctx)
	} else {
		out.Standings, err = p.own.Check(ctx, q.Subjects)
	}
	if err != nil {
		return nil, &admin.Error{Code: admin.CodeFailed, Text: err.Error()}
	}
	if len(out.Standings) > 100 { // an answer of the socket has at most 1 MB
		for i := range out.Standings {
			h := out.Standings[i].History
			out.Standings[i].History = h[max(len(h)-3, 0):]
		}
	}
	if since := p.own.SinceBad(); since >= 0 {
		hours := since.Hours()
		out.SinceBad = &hours
	}
	return out, nil
}

// checkSubjects tells what is neither an address nor a domain.
func checkSubjects(list []string) error {
	if len(list) > maxRBL {
		return fmt.Errorf("at most %d at once", maxRBL)
	}
	for _, s := range list {
		if a, err := netip.ParseAddr(s); (err != nil || a.Zone() != "") && dnsbl.Domain(s) == "" {
			return fmt.Errorf("%.60q is neither an address nor a domain", s)
		}
	}
	return nil
}

func showLists(_ context.Context, p *rblParts, _ rblRequest) (any, error) {
	out := rblLists{Mode: p.mode, Asked: p.lists, Known: []rblKnown{}, Dead: dnsbl.DeadLists()}
	asked := map[string]bool{}
	for i := range p.lists {
		asked[p.lists[i].Name] = true
	}
	for _, l := range dnsbl.Shipped() {
		out.Known = append(out.Known, rblKnown{l.Name, l.Zone, l.Kinds.String(), asked[l.Name], l.Criteria, l.Risk, l.Terms, l.Register, l.Lookup, l.Cost, l.From})
	}
	return out, nil
}

// rbl is what the verbs need of the generation in use.
func (d *daemon) rbl() *rblParts {
	g := d.now.Load()
	if g == nil {
		return nil
	}
	return &rblParts{own: g.own, mode: g.settings.Check.DNSBL.Mode, lists: g.helpers.DNSLists()}
}

// ownOn makes the watch over our own addresses; nil where there is no DNS.
func (p *parts) ownOn(s *Settings, dns *resolver.DNS) (*dnsbl.Own, error) {
	if dns == nil {
		return nil, nil
	}
	o := dnsbl.OwnOptions{Config: s.RBL, Hostname: s.Hostname, Resolver: dns, Store: p.store, LastBad: p.lastBad}
	if p.log != nil {
		o.Log = func(text string, err error) { p.checkSays("rbl", text, err) }
	}
	return dnsbl.NewOwn(o)
}

// listFigures are the metrics of DNS lists.
func (d *daemon) listFigures() (out metrics.DNSLists) {
	p := d.rbl()
	if p == nil {
		return out
	}
	for i := range p.lists {
		l := &p.lists[i]
		n := l.Answers
		out.Lists = append(out.Lists, metrics.DNSList{Name: l.Name, Healthy: l.Health == dnsbl.Healthy, Answers: map[string]uint64{
			"listed": n["listed"], "clean": n["clean"], "doubted": n["doubted"], "error": n["refused"] + n["foreign"], "failed": n["failed"], "skipped": n["skipped"]}})
	}
	if p.own == nil {
		return out
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	last, err := p.own.Last(ctx)
	if err != nil {
		return out
	}
	for i := range last {
		s := &last[i]
		if _, err := netip.ParseAddr(s.Subject); err == nil && (s.Result == dnsbl.OwnListed || s.Result == dnsbl.OwnClean) {
			out.Own = append(out.Own, metrics.OwnListed{IP: s.Subject, List: s.List, Listed: s.Result == dnsbl.OwnListed})
		}
	}
	return out
}

// names looks at what has to do with the DNS.
func (f *faults) names() {
	if !dnsIsOff(f.s.DNS) {
		for _, err := range f.s.DNS.Validate() {
			f.addError("dns", err)
		}
	}
	for _, err := range f.s.RBL.Validate() {
		f.addError("rbl", err)
	}
}

func (c *rblCheckCommand) Run(t *terminal) error {
	q := rblRequest{Subjects: append(append([]string{}, c.IP...), c.Domain...), Last: c.Last}
	for _, s := range c.IP {
		if _, err := netip.ParseAddr(s); err != nil {
			return fail(exitUsage, "%.60q is not an address", s)
		}
	}
	if err := checkSubjects(q.Subjects); err != nil {
		return fail(exitUsage, "%s", err)
	}
	var out rblReport
	if err := callFor(&c.socketFlag, "rbl check", q, &out, 5*callTimeout); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(out)
	}
	var b strings.Builder
	writeStandings(&b, &out, c.Last)
	_, err := fmt.Fprint(t.out, b.String())
	return err
}

func writeStandings(b *strings.Builder, out *rblReport, history bool) {
	if len(out.Standings) == 0 {
		b.WriteString("nothing was asked yet: rbl.addresses and rbl.domains say what is\n")
		return
	}
	w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "OURS\tLIST\tRESULT\tSINCE\tDETAIL")
	guessed, listed, asked, failed := false, 0, 0, 0
	for i := range out.Standings {
		s := &out.Standings[i]
		since := "-"
		if !s.Since.IsZero() {
			since = s.Since.Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", oneLine(s.Subject), oneLine(s.List), oneLine(string(s.Result)), since, oneLine(strings.TrimSpace(s.Code+" "+s.Detail)))
		guessed = guessed || s.Guessed
		switch s.Result {
		case dnsbl.OwnError:
			failed++
			asked++
		case dnsbl.OwnListed, dnsbl.OwnClean:
			asked++
		}
		if s.Result == dnsbl.OwnListed {
			listed++
		}
	}
	w.Flush()
	if failed > 0 && failed == asked {
		b.WriteString("\nNo list has answered, so this says nothing about you: look at dns.servers (garita health --strict).\n")
	}
	if guessed {
		b.WriteString("\nThe address is a guess: it is what the name of this gateway has in the DNS. Behind NAT or a smart host mail leaves from another; see rbl.addresses.\n")
	}
	for i := range out.Standings {
		s := &out.Standings[i]
		if s.Result == dnsbl.OwnListed {
			writeWayOut(b, s)
		}
		if history && len(s.History) > 1 {
			fmt.Fprintf(b, "\n%s on %s before:\n", oneLine(s.Subject), oneLine(s.List))
			for _, h := range s.History {
				fmt.Fprintf(b, "  %s  %s  %s\n", h.At.Local().Format(time.DateTime), oneLine(string(h.Result)), oneLine(h.Detail))
			}
		}
	}
	if listed == 0 {
		return
	}
	switch {
	case out.SinceBad == nil:
		b.WriteString("\nBefore you ask for removal be sure that no more bad mail leaves: whoever comes back is removed more slowly.\n")
	case *out.SinceBad < 24:
		fmt.Fprintf(b, "\nThe last sign of bad mail from here is %.1f hours old (a user was suspended, or a check stopped what one sent). Stop that first, and ask for removal a day after the last: who asks while it goes on is listed again, for longer.\n", *out.SinceBad)
	default:
		fmt.Fprintf(b, "\nThe last sign of bad mail from here is %.0f hours old (a user was suspended, or a check stopped what one sent).\n", *out.SinceBad)
	}
}

// writeWayOut says how to leave a list.
func writeWayOut(b *strings.Builder, s *dnsbl.Standing) {
	fmt.Fprintf(b, "\n%s on %s\n", oneLine(s.Subject), oneLine(s.List))
	if s.Text != "" {
		fmt.Fprintf(b, "  it says    %s\n", oneLine(s.Text))
	}
	fmt.Fprintf(b, "  look up    %s\n  cost       %s\n  ask from   %s\n", oneLine(s.Lookup), oneLine(s.Cost), oneLine(s.From))
	if s.Shared {
		b.WriteString("  note       it lists whole networks: perhaps nothing bad left from here, and the provider has to see to it\n")
	}
}

func (c *rblListsCommand) Run(t *terminal) error {
	var out rblLists
	if err := callWith(&c.socketFlag, "rbl lists", nil, &out); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(out)
	}
	var b strings.Builder
	writeLists(&b, &out)
	_, err := fmt.Fprint(t.out, b.String())
	return err
}

func writeLists(b *strings.Builder, out *rblLists) {
	if len(out.Asked) == 0 {
		fmt.Fprintf(b, "no list is asked about mail (check.dnsbl.mode is %s)\n", oneLine(out.Mode))
	} else {
		w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
		fmt.Fprintln(w, "LIST\tHEALTH\tSINCE\tLISTED\tCLEAN\tFAILED\tWHY")
		for i := range out.Asked {
			s := &out.Asked[i]
			why := oneLine(string(s.Reason))
			if s.Detail != "" {
				why += ": " + oneLine(s.Detail)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", oneLine(s.Name), oneLine(string(s.Health)), s.Since.Local().Format(time.DateTime),
				s.Answers["listed"], s.Answers["clean"], s.Answers["failed"]+s.Answers["refused"]+s.Answers["foreign"], why)
		}
		w.Flush()
	}
	b.WriteString("\nThose that are known:\n")
	for i := range out.Known {
		k := &out.Known[i]
		fmt.Fprintf(b, "\n%s (%s; %s)\n  lists      %s\n  risk       %s\n  terms      %s\n", oneLine(k.Name), oneLine(k.Zone), oneLine(k.Kinds), oneLine(k.Criteria), oneLine(k.Risk), oneLine(k.Terms))
		if k.Register {
			b.WriteString("  register   first; until then it does not answer\n")
		}
	}
	b.WriteString("\nDead or changed:\n")
	w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
	for _, d := range out.Dead {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", oneLine(d.Zone), oneLine(d.Since), oneLine(d.Effect))
	}
	w.Flush()
}
