package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"garita/filetype"
	"garita/message"
)

// mimeCommand is garita mime: a message as the checks see it, with every
// reading that some mail client may have of it.
type mimeCommand struct {
	configFlag
	File   string `arg:"" help:"The message; - is the standard input."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// mimeTree is the answer. Its form is fixed: scripts read it. All names and
// texts of the message are hostile.
type mimeTree struct {
	Size    int          `json:"size"`
	Parts   []mimePart   `json:"parts"`
	Defects []mimeDefect `json:"defects"`
}

type mimePart struct {
	Number     string     `json:"number"`
	Depth      int        `json:"depth"`
	Origin     string     `json:"origin"`
	In         string     `json:"in,omitempty"` // the part that it was decoded from
	Start      int        `json:"start"`
	Body       int        `json:"body"`
	End        int        `json:"end"`
	Types      []string   `json:"types"`
	Encodings  []string   `json:"encodings"`
	Charsets   []string   `json:"charsets"`
	Names      []mimeName `json:"names"`
	Attachment bool       `json:"attachment"`
	Children   bool       `json:"children"`
	Bodies     []mimeBody `json:"bodies"`
}

type mimeName struct {
	Text string `json:"text"`
	From string `json:"from"`
}

type mimeBody struct {
	How  string `json:"how"`
	Size int    `json:"size"`
	Type string `json:"type,omitempty"`
}

type mimeDefect struct {
	ID      string `json:"id"`
	Grade   string `json:"grade"`
	Part    string `json:"part"`
	At      int    `json:"at"`
	Text    string `json:"text,omitempty"`
	Meaning string `json:"meaning"`
}

// Run exits 0 for every message that can be read, whatever is wrong with it.
func (c *mimeCommand) Run(t *terminal) error {
	test := testCommand{configFlag: c.configFlag, File: c.File}
	s, err := test.settings(t)
	if err != nil {
		return err
	}
	in, done, err := test.open(t)
	if err != nil {
		return err
	}
	defer done()
	limit := int64(0)
	for _, l := range s.Listener {
		limit = max(limit, l.MaxMessageSize)
	}
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch {
	case err != nil:
		return fail(exitFailed, "%s", err)
	case int64(len(raw)) > limit:
		return fail(exitFailed, "%s: larger than max_message_size (%d octets)", oneLine(c.File), limit)
	}
	tree := treeOf(message.ReadIndex(raw, s.MIME.limits()), len(raw))
	if c.Output == "json" {
		return t.json(tree)
	}
	tree.write(t.out)
	return nil
}

// treeOf puts an index into the form of the answer.
func treeOf(x *message.Index, size int) *mimeTree {
	out := &mimeTree{Size: size, Parts: []mimePart{}, Defects: []mimeDefect{}}
	for _, p := range x.Parts {
		one := mimePart{
			Number: p.Number, Depth: p.Depth, Origin: p.Origin.String(), Start: p.Start, Body: p.Body, End: p.End,
			Types: list(p.Types), Encodings: list(p.Encodings), Charsets: list(p.Charsets),
			Names: []mimeName{}, Attachment: p.Attachment, Children: p.Children, Bodies: []mimeBody{},
		}
		if of := p.Source.Of; of != nil {
			one.In = of.Number
		}
		for _, n := range p.Names {
			one.Names = append(one.Names, mimeName{n.Text, n.From})
		}
		if !p.Children {
			for _, b := range p.Bodies() {
				one.Bodies = append(one.Bodies, mimeBody{b.How, len(b.Data), filetype.Detect(b.Data).Name})
			}
		}
		out.Parts = append(out.Parts, one)
	}
	for _, d := range x.Defects {
		out.Defects = append(out.Defects, mimeDefect{d.ID, d.Grade.String(), number(d.Part), d.At, d.Text, message.Meaning(d.ID)})
	}
	return out
}

func number(p *message.Part) string {
	if p == nil {
		return ""
	}
	return p.Number
}

// list is a list that is never null in JSON.
func list(s []string) []string { return append([]string{}, s...) }

// write prints the tree for people: a line for each part, its names and
// readings below it, then the defects.
func (m *mimeTree) write(w io.Writer) {
	for _, p := range m.Parts {
		indent := strings.Repeat("  ", min(p.Depth, 20))
		label := p.Number
		if label == "" {
			label = "message"
		}
		where := fmt.Sprintf("%d-%d", p.Start, p.End)
		if p.In != "" {
			where += " of what " + p.In + " decodes to"
		}
		fmt.Fprintf(w, "%s%s  %s  %s  %s\n", indent, label, typesOr(p.Types), p.Origin, where)
		for _, n := range p.Names {
			fmt.Fprintf(w, "%s    name     %s (%s)\n", indent, strconv.QuoteToGraphic(n.Text), oneLine(n.From))
		}
		for _, b := range p.Bodies {
			line := fmt.Sprintf("%s, %d octets", oneLine(b.How), b.Size)
			if b.Type != "" {
				line += ", " + b.Type
			}
			fmt.Fprintf(w, "%s    content  %s\n", indent, line)
		}
	}
	for _, d := range m.Defects {
		place := "message"
		if d.Part != "" {
			place = "part " + d.Part
		}
		fmt.Fprintf(w, "%-10s %s, %s, octet %d: %s", d.Grade, d.ID, place, d.At, d.Meaning)
		if d.Text != "" {
			fmt.Fprintf(w, " %s", strconv.QuoteToGraphic(inShort(d.Text)))
		}
		fmt.Fprintln(w)
	}
}

func typesOr(types []string) string {
	if len(types) == 0 {
		return "(no type)"
	}
	return oneLine(strings.Join(types, " or "))
}
