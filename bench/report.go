package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// row is one target and what was measured.
type row struct {
	What, Target, Measured, Compared string
	Met                              bool
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func rate(s sample) float64 { return s.Rate }
func cpu(s sample) float64  { return s.CPU }
func p50(s sample) float64  { return s.P50 }
func p99(s sample) float64  { return s.P99 }

func others(s sample) float64 { return 100 * s.Others }

// values gives a figure of a system, a value for each round.
func (c *cell) values(system string, of func(sample) float64) []float64 {
	var v []float64
	for _, s := range c.Samples {
		if s.System == system {
			v = append(v, of(s))
		}
	}
	return v
}

func (c *cell) median(system string, of func(sample) float64) float64 {
	return median(c.values(system, of))
}

// perRound is the median over the rounds of f(a, b), each pair of one round.
func (c *cell) perRound(a, b string, of func(sample) float64, f func(a, b float64) float64) float64 {
	x, y := c.values(a, of), c.values(b, of)
	var v []float64
	for i := range min(len(x), len(y)) {
		v = append(v, f(x[i], y[i]))
	}
	return median(v)
}

func quotient(a, b float64) float64   { return a / b }
func difference(a, b float64) float64 { return a - b }

func (b *bench) cell(name string) *cell {
	for _, c := range b.Cells {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// rows are the targets, in the order of the project's list. A target whose
// cell was not measured has no row.
func (b *bench) rows() []row {
	var out []row
	ratio := func(cellName, to string, target float64) {
		c := b.cell(cellName)
		if c == nil || b.systems[to] == nil {
			return
		}
		q := c.perRound("garita", to, rate, quotient)
		out = append(out, row{cellName + ": messages a second against " + label(to), fmt.Sprintf("≥ %g ×", target), fmt.Sprintf("%.2f ×", q),
			fmt.Sprintf("%.0f to %.0f", c.median("garita", rate), c.median(to, rate)), q >= target})
	}
	costs := func(cellName string, target float64) {
		c := b.cell(cellName)
		if c == nil {
			return
		}
		v := c.median("garita", cpu)
		var others []string
		for _, s := range c.Systems {
			if s != "garita" && s != "sink" && b.systems[s] != nil {
				others = append(others, fmt.Sprintf("%s %.0f", s, c.median(s, cpu)))
			}
		}
		out = append(out, row{cellName + ": CPU a message", fmt.Sprintf("≤ %g µs", target), fmt.Sprintf("%.0f µs", v), strings.Join(others, ", "), v <= target})
	}
	ratio("4 KB, connections reused", "postfix", 3)
	ratio("4 KB, one message per connection", "postfix", 2)
	ratio("4 KB, connections reused", "raw", 0.6)
	ratio("4 KB, one message per connection", "raw", 0.6)
	costs("4 KB, connections reused", 40)
	for _, c := range b.Calls {
		out = append(out, row{"4 KB, connections reused: system calls a message", "≤ 30", fmt.Sprintf("%.1f", c.PerMessage),
			fmt.Sprintf("%d messages, %s", c.Messages, c.How), c.PerMessage <= 30})
	}
	costs("1 MB, connections reused", 800)
	ratio("1 MB, connections reused", "postfix", 2.5)
	out = append(out, b.everythingRows()...)
	out = append(out, b.contentsRows()...)
	out = append(out, b.ruleRows()...)
	out = append(out, b.doorRows()...)
	out = append(out, b.aloneRows()...)
	if c := b.cell("4 KB, 150 messages a second"); c != nil {
		d := c.perRound("garita", "sink", p50, difference)
		out = append(out, row{"4 KB, 150 messages a second: median latency added", "≤ 0.2 ms", fmt.Sprintf("%.2f ms", d),
			fmt.Sprintf("raw %.2f, postfix %.2f ms", c.perRound("raw", "sink", p50, difference), c.perRound("postfix", "sink", p50, difference)), d <= 0.2})
	}
	for _, tls := range []bool{false, true} {
		if r, ok := b.idleRow(tls); ok {
			out = append(out, r)
		}
	}
	ratio("4 KB, STARTTLS ECDSA, one message per connection", "postfix", 5)
	return out
}

// everythingRows compare with the revision that had the wire alone.
func (b *bench) everythingRows() []row {
	var out []row
	for _, c := range b.Cells {
		if !strings.HasPrefix(c.Name, everythingOn) || b.systems["previous"] == nil {
			continue
		}
		q := c.perRound("everything", "previous", rate, quotient)
		out = append(out, row{c.Name + ": messages a second against revision " + b.revision, "≥ 0.9 ×", fmt.Sprintf("%.2f ×", q),
			fmt.Sprintf("%.0f to %.0f; CPU a message %.2f × (%.0f to %.0f µs)", c.median("everything", rate), c.median("previous", rate),
				c.perRound("everything", "previous", cpu, quotient), c.median("everything", cpu), c.median("previous", cpu)), q >= 0.9})
	}
	for _, c := range b.Crowds {
		if c.System == "everything" && c.Sessions > 0 {
			out = append(out, row{fmt.Sprintf("everything on: greeting of a new client beside %d idle sessions, p50 / p99 / longest", c.Sessions), "≤ 100 ms",
				fmt.Sprintf("%.1f / %.1f / %.1f ms", c.P50, c.P99, c.Max), b.crowdsOf(c.Sessions), c.P99 <= 100})
		}
	}
	if len(b.Reloads) > 0 {
		var took, longest, before []float64
		for _, r := range b.Reloads {
			took, longest, before = append(took, r.Took), append(longest, r.Longest), append(before, r.Before)
		}
		out = append(out,
			row{fmt.Sprintf("everything on: reload with 8 lists of %d entries, under load", entries), "≤ 1000 ms", fmt.Sprintf("%.0f ms", median(took)),
				fmt.Sprintf("longest %.0f", slices.Max(took)), median(took) <= 1000},
			row{"everything on: longest message beside a reload", "no stalled session", fmt.Sprintf("%.0f ms", median(longest)),
				fmt.Sprintf("without a reload %.0f ms", median(before)), slices.Max(longest) <= 500})
	}
	return out
}

// crowdsOf tells the figures beside which the greeting is read.
func (b *bench) crowdsOf(n int) string {
	var all []string
	for _, c := range b.Crowds {
		if c.System != "everything" || c.Sessions != n {
			all = append(all, fmt.Sprintf("%s beside %d: %.1f / %.1f / %.1f", c.System, c.Sessions, c.P50, c.P99, c.Max))
		}
	}
	return strings.Join(all, ", ")
}

// aloneRows: a wait for a delayed acknowledgement would be in every message
// of a session, or in one of a few; what the machine does to us now and then
// is not. So no more than one message in a hundred may take as long.
func (b *bench) aloneRows() []row {
	var out []row
	for _, c := range b.Cells {
		if c.config.Sessions != 1 {
			continue
		}
		var sent, long int64
		for _, s := range c.Samples {
			if s.System == "garita" {
				sent, long = sent+s.Sent, long+s.Long
			}
		}
		other := "–"
		if b.systems["postfix"] != nil {
			other = fmt.Sprintf("postfix %.2f / %.2f ms", c.median("postfix", p50), c.median("postfix", p99))
		}
		out = append(out, row{c.Name + ": p50 / p99", "never waits 40 ms",
			fmt.Sprintf("%.2f / %.2f ms; %d of %d ≥ 35 ms", c.median("garita", p50), c.median("garita", p99), long, sent), other, long*100 <= sent})
	}
	return out
}

func (b *bench) idleRow(tls bool) (row, bool) {
	what, target := "idle session: memory (PSS above a fresh server)", 8.0
	if tls {
		what, target = "idle session under TLS: memory", 32
	}
	var r row
	var others []string
	for _, i := range b.Idle {
		switch {
		case i.TLS != tls:
		case i.System == "garita":
			r = row{fmt.Sprintf("%s, %d sessions", what, i.Sessions), fmt.Sprintf("≤ %g KB", target), fmt.Sprintf("%.1f KB", i.PerKB), "",
				i.PerKB <= target && i.Alive == i.Sessions}
		default:
			others = append(others, fmt.Sprintf("%s %.1f", i.System, i.PerKB))
		}
	}
	r.Compared = strings.Join(others, ", ")
	return r, r.What != ""
}

func label(system string) string {
	return map[string]string{"postfix": "Postfix's proxy", "raw": "the raw pass-through", "go-smtp": "go-smtp", "sink": "the sink itself"}[system]
}

// write prints the report as Markdown.
func (b *bench) write(w io.Writer) {
	fmt.Fprintf(w, "Load of 20 sessions → server → light sink (`bench/yardstick`, no disk), all on this machine with %d CPUs, load average %s before. ", b.CPUs, b.Load)
	fmt.Fprintf(w, "%s. Garita logs to a file, all limits on, 127.1.0.0/16 as its clients.\n", b.Begun.UTC().Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(w, "Rounds are interleaved; a ratio is the median of the ratios of each round, other figures are medians. CPU includes child processes.\n\n")
	fmt.Fprintf(w, "| target | wanted | Garita | compared | |\n|:--|--:|--:|:--|:--|\n")
	for _, r := range b.rows() {
		verdict := "met"
		if !r.Met {
			verdict = "**missed**"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", r.What, r.Target, r.Measured, r.Compared, verdict)
	}
	for _, c := range b.Cells {
		fmt.Fprintf(w, "\n%s (%d rounds, %d disturbed ones repeated)\n\n| server | %s/s (min–max) | CPU µs | p50 ms | p99 ms | Garita to it | others' CPU |\n|:--|--:|--:|--:|--:|--:|--:|\n", c.Name, c.Rounds, c.Repeated, c.counted())
		for _, s := range c.Systems {
			v := c.values(s, rate)
			if len(v) == 0 {
				continue
			}
			fmt.Fprintf(w, "| %s | %.0f (%.0f–%.0f) | %.0f | %.2f | %.2f | %.2f | %.0f %% |\n", s, median(v), slices.Min(v), slices.Max(v),
				c.median(s, cpu), c.median(s, p50), c.median(s, p99), c.perRound("garita", s, rate, quotient), c.median(s, others))
		}
	}
}

// report writes both files and prints the table.
func (b *bench) report() error {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.out, "bench.json"), raw, 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.out, "bench.md"))
	if err != nil {
		return err
	}
	b.write(io.MultiWriter(f, os.Stdout))
	return f.Close()
}
