package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"garita/hold"
)

type holdCommands struct {
	List    holdListCommand    `cmd:"" help:"Show the messages that are held, newest first."`
	Show    holdShowCommand    `cmd:"" help:"Show one: envelope, reasons, header, parts, text. Nothing of it is rendered."`
	Release holdReleaseCommand `cmd:"" help:"Deliver held messages, the oldest first, without checking them again."`
	Delete  holdDeleteCommand  `cmd:"" help:"Delete held messages for good."`
	Export  holdExportCommand  `cmd:"" help:"Write one as it came, octet for octet."`
	Rebuild holdRebuildCommand `cmd:"" help:"Make the index again from the files."`
}

type holdListCommand struct {
	socketFlag
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	holdFilter
	State string `enum:"held,released,deleted,missing,damaged,all" default:"held" help:"In this state: held, released, deleted, missing, damaged, all."`
	Limit int    `default:"100" help:"Show at most so many; 0 is all."`
}

type holdShowCommand struct {
	socketFlag
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
	ID     string `arg:"" help:"Its id, or as much of its beginning as is unique; the id of the log will do."`
}

// holdMany is what release and delete have in common.
type holdMany struct {
	socketFlag
	Output string   `short:"o" enum:"table,json" default:"table" help:"table or json."`
	IDs    []string `arg:"" optional:"" name:"id" help:"Their ids, or beginnings of them that are unique."`
	holdFilter
	DryRun bool `help:"Only say which they are."`
	Yes    bool `help:"Do not ask back."`
}

type holdReleaseCommand struct {
	holdMany
	To    string `help:"Send a copy to this address instead; the message stays held."`
	Rate  int    `help:"So many a minute at most; 0 is as fast as the next hop takes them."`
	Again bool   `help:"Also what the next hop may have already, or has: it gets a second copy."`
}

type holdDeleteCommand struct {
	holdMany
}

type holdExportCommand struct {
	socketFlag
	ID      string `arg:"" help:"Its id, or a unique beginning."`
	File    string `arg:"" help:"File to make; - is the standard output."`
	Damaged bool   `help:"Also when the file is damaged."`
}

type holdRebuildCommand struct {
	socketFlag
}

// heldList asks for all pages that a filter picks, at most limit rows.
func heldList(f *socketFlag, q hold.Filter, limit int) (holdPage, error) {
	all := holdPage{Messages: []hold.Entry{}}
	for {
		if q.Limit = 0; limit > 0 {
			q.Limit = min(limit-len(all.Messages), 200)
		}
		var page holdPage
		if err := callWith(f, "hold list", holdRequest{Filter: q}, &page); err != nil {
			return all, err
		}
		all.Messages = append(all.Messages, page.Messages...)
		all.Total, all.Totals, all.More = page.Total, page.Totals, page.More
		if !page.More || len(page.Messages) == 0 || limit > 0 && len(all.Messages) >= limit {
			return all, nil
		}
		q.After = page.Messages[len(page.Messages)-1].ID
	}
}

// Run lists.
func (c *holdListCommand) Run(t *terminal) error {
	q, err := c.filter()
	if err != nil {
		return err
	}
	if c.Limit < 0 {
		return fail(exitUsage, "--limit is below 0")
	}
	if q.State = c.State; q.State == "held" {
		q.State = ""
	}
	all, err := heldList(&c.socketFlag, q, c.Limit)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(all)
	}
	var b strings.Builder
	if all.Total == 0 {
		b.WriteString("nothing is held that fits\n")
	} else {
		writeHeld(&b, all.Messages, t.columns())
	}
	if n := all.Total - len(all.Messages); n > 0 {
		fmt.Fprintf(&b, "and %d more: --limit 0 shows all\n", n)
	}
	_, err = io.WriteString(t.out, b.String())
	return err
}

// writeHeld writes a line for each, or three where the terminal is narrower
// than that; columns is 0 where there is no terminal.
func writeHeld(b *strings.Builder, list []hold.Entry, columns int) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tTIME\tSTATE\tSIZE\tFROM\tTO\tREASON\tSUBJECT")
	for i := range list {
		e := &list[i]
		to, symbol := heldWords(e)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(e.ID), e.Time.Local().Format("2006-01-02 15:04"), heldState(e.State, e.Unsure, e.Copy),
			octetText(e.Size), orNull(e.From), to, symbol, short(oneLine(e.Subject), 50))
	}
	w.Flush()
	text := table.String()
	wide := func(line string) bool { return utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > columns }
	if columns == 0 || !slices.ContainsFunc(slices.Collect(strings.Lines(text)), wide) {
		b.WriteString(text)
		return
	}
	for i := range list {
		e := &list[i]
		to, symbol := heldWords(e)
		fmt.Fprintf(b, "%s  %s  %s  %s\n  %s -> %s\n  %s: %s\n", oneLine(e.ID), e.Time.Local().Format("2006-01-02 15:04"), heldState(e.State, e.Unsure, e.Copy),
			octetText(e.Size), orNull(e.From), to, symbol, short(oneLine(e.Subject), 50))
	}
}

// heldWords are the first recipient with the number of the others, and the
// symbol that stands for the reasons.
func heldWords(e *hold.Entry) (to, symbol string) {
	to, symbol = "-", "-"
	if len(e.To) > 0 {
		to = oneLine(e.To[0])
		if e.Recipients > 1 {
			to += fmt.Sprintf(" +%d", e.Recipients-1)
		}
	}
	if len(e.Symbols) > 0 {
		symbol = oneLine(e.Symbols[0])
	}
	return to, symbol
}

func heldState(state string, unsure, copied bool) string {
	s := oneLine(state)
	if copied {
		s += " copy"
	}
	if unsure {
		s += " unsure"
	}
	return s
}

func orNull(from string) string {
	if from == "" {
		return "<>"
	}
	return oneLine(from)
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func octetText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%d KB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// Run shows one.
func (c *holdShowCommand) Run(t *terminal) error {
	var p hold.Preview
	if err := callWith(&c.socketFlag, "hold show", holdRequest{ID: c.ID}, &p); err != nil {
		return err
	}
	if c.Output == "json" {
		return t.json(p)
	}
	var b strings.Builder
	writePreview(&b, &p, t.columns())
	_, err := io.WriteString(t.out, b.String())
	return err
}

func writePreview(b *strings.Builder, p *hold.Preview, columns int) {
	say := func(name, text string) { fmt.Fprintf(b, "%-11s %s\n", name, oneLine(text)) }
	say("id", p.ID)
	say("held", p.Time.Local().Format(time.DateTime))
	fmt.Fprintf(b, "%-11s %s\n", "state", heldState(p.State.State, p.State.Unsure, p.Copy))
	if p.State.By != "" {
		say("by", p.State.By+", "+p.State.At.Local().Format(time.DateTime))
	}
	if p.State.Note != "" {
		say("note", string(p.State.Note))
	}
	if p.Damaged != "" {
		say("DAMAGED", p.Damaged)
	}
	say("size", octetText(p.MessageSize))
	fmt.Fprintf(b, "%-11s %s\n", "from", orNull(p.From.String()))
	for _, to := range p.To {
		say("to", to.String())
	}
	say("client", p.Client+" "+string(p.Host)+" helo="+string(p.Helo))
	if p.Login != "" {
		say("login", string(p.Login))
	}
	say("listener", p.Listener+" ("+p.Role+", "+p.Direction+"), would go to "+p.NextHop)
	b.WriteString("\nwhy:\n")
	for _, r := range p.Reasons {
		line := "  " + oneLine(r.Symbol)
		if r.Detail != "" {
			line += ": " + oneLine(string(r.Detail))
		}
		if r.Where != "" {
			line += " (" + oneLine(string(r.Where)) + ")"
		}
		if r.Score != 0 {
			line += ", score " + strconv.FormatFloat(r.Score, 'f', -1, 64)
		}
		b.WriteString(fold(line, columns) + "\n")
	}
	if len(p.Reasons) == 0 {
		fmt.Fprintf(b, "  verdict %s, score %s\n", oneLine(p.Verdict), strconv.FormatFloat(p.Score, 'f', -1, 64))
	}
	for _, d := range p.Defects {
		b.WriteString(fold("  structure: "+oneLine(d), columns) + "\n")
	}
	if len(p.Parts) > 0 {
		b.WriteString("\nparts:\n")
		w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
		for _, part := range p.Parts {
			number := part.Number
			if number == "" {
				number = "-"
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", oneLine(number), oneLine(strings.Join(part.Types, " | ")), octetText(int64(part.Size)), oneLine(strings.Join(part.Names, " | ")))
		}
		w.Flush()
	}
	b.WriteString("\nheader:\n")
	for _, f := range p.Header {
		fmt.Fprintf(b, "  %s: %s\n", oneLine(f.Name), oneLine(f.Value))
	}
	fmt.Fprintf(b, "\ntext (%s):\n", oneLine(p.TextType))
	for line := range strings.Lines(p.Text) {
		b.WriteString("  | " + oneLine(strings.TrimSuffix(line, "\n")) + "\n")
	}
	if p.Cut {
		b.WriteString("\nnot all of it is shown: garita hold export writes it whole\n")
	}
}

// pick gives the messages that a command means, after asking back when a
// filter chose them.
func (c *holdMany) pick(t *terminal, verb, state string) ([]hold.Entry, error) {
	q, err := c.filter()
	if err != nil {
		return nil, err
	}
	q.State, q.Oldest = state, true // who waits longest goes first
	switch {
	case len(c.IDs) == 0 && c.empty():
		return nil, fail(exitUsage, "name ids, or say which by --sender, --user, --recipient, --reason, --parked, --since or --before")
	case len(c.IDs) > 0 && !c.empty():
		return nil, fail(exitUsage, "name ids, or say which by a filter, not both")
	}
	if len(c.IDs) > 0 {
		return c.named()
	}
	all, err := heldList(&c.socketFlag, q, 0)
	if err != nil {
		return nil, err
	}
	list := all.Messages[:0]
	for _, e := range all.Messages {
		if !e.Copy { // the original of what was delivered goes by its id alone
			list = append(list, e)
		}
	}
	if c.DryRun || c.Yes || len(list) == 0 {
		return list, nil
	}
	if !t.interactive() {
		return nil, fail(exitUsage, "%d messages fit; --yes does it, --dry-run shows them", len(list))
	}
	var b strings.Builder // some of them, so that nobody types a number blindly
	writeHeld(&b, list[:min(len(list), samples)], t.columns())
	fmt.Fprintf(t.err, "%s%s %d messages? Type the number: ", b.String(), verb, len(list))
	answer, _ := bufio.NewReader(t.in).ReadString('\n')
	if strings.TrimSpace(answer) != strconv.Itoa(len(list)) {
		return nil, fail(exitFailed, "nothing was done")
	}
	return list, nil
}

// samples is how many are shown before a number is asked for.
const samples = 5

// named finds each id that was given; all must be there before any is touched.
func (c *holdMany) named() ([]hold.Entry, error) {
	var list []hold.Entry
	for _, id := range c.IDs {
		page, err := heldList(&c.socketFlag, hold.Filter{IDs: []string{id}, State: "all"}, 2)
		if err != nil {
			return nil, err
		}
		switch len(page.Messages) {
		case 0:
			return nil, fail(exitUsage, "%.60q: %s", id, hold.ErrNotFound)
		case 1:
			list = append(list, page.Messages[0])
		default:
			return nil, fail(exitUsage, "%.60q: %s", id, hold.ErrSeveral)
		}
	}
	return list, nil
}

// caller is who gives the command, as the state of a message names him; the
// audit log has what the kernel says.
func caller() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// holdDone is one line of what release and delete came to.
type holdDone struct {
	hold.Report
	Error string `json:"error,omitempty"`
}

// each does it to one after the other. The exit code tells whether all went
// well.
func (c *holdMany) each(t *terminal, list []hold.Entry, do func(id string) (hold.Report, error)) error {
	if c.DryRun {
		if c.Output == "json" {
			return t.json(map[string]any{"dry_run": true, "messages": list})
		}
		var b strings.Builder
		if len(list) > 0 {
			writeHeld(&b, list, t.columns())
		}
		fmt.Fprintf(&b, "%d messages; nothing was done\n", len(list))
		_, err := io.WriteString(t.out, b.String())
		return err
	}
	done, bad, code := []holdDone{}, 0, exitFailed
	for _, e := range list {
		r, err := do(e.ID)
		r.ID = e.ID
		one := holdDone{Report: r}
		if err != nil {
			one.Error = err.Error()
			var ex *exitError
			if errors.As(err, &ex) {
				code = ex.code
			}
			if code == exitUnreachable {
				return err
			}
		}
		if err != nil || r.State == hold.Held && len(r.Delivered) == 0 || len(r.Refused) > 0 || r.Unsure {
			bad++
		}
		done = append(done, one)
		if c.Output == "table" {
			fmt.Fprint(t.out, one.line())
		}
	}
	if c.Output == "json" {
		if err := t.json(map[string]any{"done": done, "failed": bad}); err != nil {
			return err
		}
	} else if len(list) != 1 {
		fmt.Fprintf(t.out, "%d of %d messages\n", len(list)-bad, len(list))
	}
	if len(list) == 0 && c.Output != "json" {
		fmt.Fprintln(t.out, "nothing is held that fits: garita hold list shows what is, garita hold list --state released what has gone")
	}
	if bad > 0 {
		return &exitError{code: code}
	}
	return nil
}

func (d *holdDone) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s ", oneLine(d.ID))
	switch {
	case d.Error != "":
		b.WriteString(oneLine(d.Error))
	case d.State == hold.Deleted:
		b.WriteString("deleted")
	case len(d.Delivered) > 0:
		fmt.Fprintf(&b, "delivered to %s by %s: %s", oneLine(strings.Join(d.Delivered, ", ")), oneLine(d.NextHop), oneLine(d.Reply))
	case d.Unsure:
		fmt.Fprintf(&b, "the next hop may have it; it stays held as unsure: %s", oneLine(d.Reply))
	default:
		fmt.Fprintf(&b, "stays held: %s", oneLine(d.Reply))
	}
	for _, r := range d.Refused {
		fmt.Fprintf(&b, "\n  not delivered: %s", oneLine(r))
	}
	return b.String() + "\n"
}

// Run releases.
func (c *holdReleaseCommand) Run(t *terminal) error {
	state := ""
	list, err := c.pick(t, "release", state)
	if err != nil {
		return err
	}
	if c.Rate < 0 || c.Rate > 60_000 {
		return fail(exitUsage, "--rate is from 0 (none) to 60000")
	}
	by, n := caller(), 0
	return c.each(t, list, func(id string) (r hold.Report, err error) {
		if n++; n > 1 && c.Rate > 0 {
			time.Sleep(time.Minute / time.Duration(c.Rate))
		}
		err = callWith(&c.socketFlag, "hold release", holdRequest{ID: id, By: by, Again: c.Again, To: c.To, Parked: c.Parked}, &r)
		return r, err
	})
}

// Run deletes.
func (c *holdDeleteCommand) Run(t *terminal) error {
	list, err := c.pick(t, "delete", "")
	if err != nil {
		return err
	}
	by := caller()
	return c.each(t, list, func(id string) (hold.Report, error) {
		err := callWith(&c.socketFlag, "hold delete", holdRequest{ID: id, By: by}, nil)
		r := hold.Report{State: hold.Deleted, Delivered: []string{}}
		return r, err
	})
}

// Run exports. The file is made anew, for its owner alone: it may be a virus.
func (c *holdExportCommand) Run(t *terminal) (err error) {
	q := holdRequest{ID: c.ID, Again: c.Damaged}
	var p holdPiece
	if err := callWith(&c.socketFlag, "hold export", q, &p); err != nil {
		return err
	}
	out := t.out
	if c.File != "-" {
		f, err := os.OpenFile(filepath.Clean(c.File), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fail(exitFailed, "%s", err)
		}
		defer func() {
			if cerr := f.Close(); err == nil && cerr != nil {
				err = fail(exitFailed, "%s", cerr)
			}
			if err != nil {
				os.Remove(f.Name())
			}
		}()
		out = f
	}
	q.ID = p.ID
	for {
		if _, err := out.Write(p.Data); err != nil {
			return fail(exitFailed, "%s", err)
		}
		if q.At += int64(len(p.Data)); q.At >= p.Size {
			return nil
		}
		if len(p.Data) == 0 {
			return fail(exitFailed, "the message ended before its end")
		}
		p = holdPiece{}
		if err := callWith(&c.socketFlag, "hold piece", q, &p); err != nil {
			return err
		}
	}
}

// Run makes the index again.
func (c *holdRebuildCommand) Run(t *terminal) error {
	var n hold.Totals
	if err := callWith(&c.socketFlag, "hold rebuild", nil, &n); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t.out, "%d messages are in the index again\n", n.Messages)
	return err
}
