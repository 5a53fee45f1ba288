package main

import (
	"context"
	"fmt"
	"strings"

	"garita/bench/load"
)

// Names of the cells that tell what the inside of messages costs.
const (
	contentsSmall = "contents, 4 KB: "
	contentsLarge = "contents, large: "
)

// without starts the gateway as it is by default, but for the two checks of
// the inside of messages: its own pass-through.
func (b *bench) without(ctx context.Context) (*server, error) {
	return b.gateway(ctx, "without", b.binary, append(b.settings(),
		setting{"check.mime", "mode", `"off"`}, setting{"check.attachment", "mode", `"off"`}))
}

// contents compares the gateway as it is by default, with the checks of MIME
// and attachments, with itself without these two: small messages by their rate,
// large ones by the CPU time of a megabyte.
func (b *bench) contents(ctx context.Context) error {
	for _, name := range []string{"without", "garita"} {
		if b.systems[name] != nil {
			continue
		}
		s, err := b.fresh(ctx, name)
		if err != nil {
			return err
		}
		b.systems[name] = s
	}
	both := []string{"without", "garita"}
	for _, c := range []*cell{
		{Name: contentsSmall + "text", config: b.load(load.Wire(load.Text(4, 4<<10)), 0)},
		{Name: contentsSmall + "text and HTML", config: b.load(load.Wire(load.Alternative(5, 4<<10)), 0)},
		{Name: contentsSmall + "a picture", config: b.load(load.Wire(load.Attached(6, "jpg", 4<<10)), 0)},
		{Name: contentsSmall + "a PDF", config: b.load(load.Wire(load.Attached(7, "pdf", 4<<10)), 0)},
	} {
		c.Systems, c.Rounds = both, b.rounds
		if err := b.measure(ctx, c); err != nil {
			return err
		}
	}
	for _, size := range []int{1, 10} {
		for _, kind := range []string{"jpg", "pdf", "zip", "docx", "text.zip"} {
			c := &cell{Name: fmt.Sprintf("%s%s, %d MB", contentsLarge, kind, size), Systems: both, Rounds: min(b.rounds, 3),
				config: b.load(load.Wire(load.Attached(8, kind, size<<20)), 0)}
			c.config.Sessions = 4
			if err := b.measure(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// contentsRows are the targets of the inside of messages.
func (b *bench) contentsRows() []row {
	var out []row
	for _, c := range b.Cells {
		costs := fmt.Sprintf("CPU a message %.2f × (%.0f to %.0f µs)", c.perRound("garita", "without", cpu, quotient), c.median("garita", cpu), c.median("without", cpu))
		switch {
		case strings.HasPrefix(c.Name, contentsSmall):
			q := c.perRound("garita", "without", rate, quotient)
			out = append(out, row{c.Name + ": messages a second with MIME and attachments against without", "≥ 0.75 ×", fmt.Sprintf("%.2f ×", q), costs, q >= 0.75})
		case strings.HasPrefix(c.Name, contentsLarge):
			v := c.median("garita", cpu) / 1000 / (float64(len(c.config.Message)) / (1 << 20))
			out = append(out, row{c.Name + ": CPU of a megabyte", "≤ 1.8 ms", fmt.Sprintf("%.2f ms", v), costs, v <= 1.8})
		}
	}
	return out
}
