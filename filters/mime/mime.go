// Package mime is the check of a message's structure (RFC 2045 to 2049, RFC
// 2231): it judges the defects that the index found. What mail programs may
// read in different ways is never clean (attacks I7): it is held when in any
// reading there is something that could run, open or hide files, and else
// scored and tagged.
//
// It does not look for bad attachments: that is the check "attachment". An
// allow list does not set it aside, since it guards the reader's machine and
// not his taste. When the index cannot be made, which is a fault of ours (no
// memory, spool file), the message is put off.
//
// # Limits
//
// A finding names at most maxShown kinds of defects, with one place each, and
// maxText octets of what stands there.
package mime

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"garita/filetype"
	"garita/filters"
	"garita/mail"
	"garita/message"
)

// Name of the check.
const Name = "mime"

// The symbols.
const (
	SymbolAmbiguous      = "mime.ambiguous"
	SymbolAmbiguousRisky = "mime.ambiguous_risky"
	SymbolPartial        = "mime.partial"
	SymbolExternalBody   = "mime.external_body"
	SymbolEncoding       = "mime.encoding"
	SymbolLimit          = "mime.limit"
	SymbolOdd            = "mime.odd"
)

const (
	maxShown = 8  // kinds of defects in one finding
	maxText  = 60 // octets of one hostile text
)

// tagName is a field of our own namespace, which the wire removes when it
// comes from outside.
const tagName = "X-Garita-Mime"

// judge is the check at work.
type judge struct {
	in, out [kinds]rule
	tag     bool
}

// CheckMessage judges the defects of the index.
func (m *judge) CheckMessage(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	x, err := tx.Message.Index(ctx)
	if err != nil {
		return filters.Result{}, err
	}
	if len(x.Defects) == 0 {
		return filters.Result{}, nil
	}
	rules := &m.in
	if tx.Direction == mail.Out {
		rules = &m.out
	}
	res, tagged := assess(x, rules)
	// Without a header there is no place for a field that the trace field,
	// which the wire puts in front, would not cut off.
	if h := tx.Message.Header(); m.tag && len(tagged) > 0 && len(h.Fields()) > 0 {
		res.Edits = append(res.Edits, message.Edit{At: h.Start(), Insert: tagField(tagged)})
	}
	return res, nil
}

// assess gives the findings, and the defects that a tag shall name.
func assess(x *message.Index, rules *[kinds]rule) (res filters.Result, tagged []*message.Defect) {
	var by [kinds][]*message.Defect
	var grave []*message.Defect
	for i := range x.Defects {
		d := &x.Defects[i]
		k := kindOf(d)
		by[k] = append(by[k], d)
		if d.Grade >= message.Ambiguous {
			grave = append(grave, d)
		}
	}
	why := ""
	if len(grave) > 0 && rules[risky].action != "off" {
		if why = danger(x); why != "" {
			// One finding for one thing: the points would count twice.
			by[risky], by[ambiguous] = grave, nil
		}
	}
	for k := range kinds {
		if len(by[k]) == 0 {
			continue
		}
		r := &rules[k]
		f, ok := r.finding()
		if !ok {
			continue
		}
		if f.Detail = describe(by[k]); k == risky {
			f.Detail = why + "; " + f.Detail
		}
		f.Where = place(by[k][0])
		res.Findings = append(res.Findings, f)
		if f.Mode == mail.Enforce {
			tagged = append(tagged, by[k]...)
		}
	}
	return res, tagged
}

// finding is the rule's finding without its details; not ok when it is off.
func (r *rule) finding() (f mail.Finding, ok bool) {
	f = mail.Finding{Symbol: r.symbol, Score: r.score}
	switch r.action {
	case "off":
		return f, false
	case "observe":
		f.Mode = mail.Observe
	case "hold":
		f.Verdict = mail.Quarantine
	case "reject":
		reply := mail.Permanent(554, "6.0", r.refusal)
		f.Verdict, f.Reply = mail.Reject, &reply
	}
	return f, true
}

// kindOf sorts a defect. An opaque one that is neither of two known ones has
// octets that cannot be decoded.
func kindOf(d *message.Defect) kind {
	switch d.Grade {
	case message.Odd:
		return odd
	case message.Ambiguous:
		return ambiguous
	case message.Opaque:
		switch {
		case d.ID == "message-partial":
			return partial
		case d.ID == "external-body":
			return external
		case d.Part != nil && (d.Part.Attachment || named(d.Part) || partDanger(d.Part) != ""):
			return encodingRisky
		}
		return encoding
	}
	// Unfinished, and any grade that this check does not know yet.
	return unfinished
}

// danger tells the first thing in any reading that could run, open or hide
// files; empty when there is none.
func danger(x *message.Index) string {
	for _, p := range x.Parts {
		if why := partDanger(p); why != "" {
			return why
		}
	}
	for i := range x.Defects {
		if d := &x.Defects[i]; d.Grade == message.Opaque && kindOf(d) == encodingRisky {
			return number(d.Part) + " cannot be decoded"
		}
	}
	return ""
}

// named tells that somebody gave the part a file name.
func named(p *message.Part) bool {
	for i := range p.Names {
		if !borrowed(&p.Names[i]) {
			return true
		}
	}
	return false
}

// borrowed tells a name that was meant for something else, and serves only
// readers that find no other.
func borrowed(n *message.Name) bool {
	switch n.From {
	case "content-id", "content-location", "content-description", "subject":
		return true
	}
	return false
}

func partDanger(p *message.Part) string {
	for i := range p.Names {
		view := filetype.ReadName(p.Names[i].Text)
		if borrowed(&p.Names[i]) && len(view.Extensions) > 0 && view.Extensions[0] == "com" {
			continue // the domain of a Content-ID, and no program of MS-DOS
		}
		if what := dangerous(view.Type, true); what != "" {
			return number(p) + " has the name of " + what + ": " + quote(p.Names[i].Text)
		}
	}
	for _, b := range p.Bodies() {
		if what := dangerous(filetype.Detect(b.Data), false); what != "" {
			return number(p) + " is " + what
		}
	}
	return ""
}

// dangerous says in words what a type could do; empty for nothing.
func dangerous(t filetype.Type, byName bool) string {
	switch t.Class {
	case filetype.Executable:
		return "a program"
	case filetype.Script:
		return "a script"
	case filetype.Shortcut:
		return "a shortcut"
	case filetype.Archive:
		return "an archive"
	case filetype.DiskImage:
		return "a disk image"
	case filetype.Office:
		if !macroFree(t.Name, byName) {
			return "an Office document that may have macros"
		}
	}
	return ""
}

// macroFree tells that Office runs no macros of such a file: it refuses to open
// a document with macros whose extension belongs to the kind without. By its
// octets alone any OOXML may be renamed, but then its names were judged too.
func macroFree(name string, byName bool) bool {
	switch name {
	case "docx", "xlsx", "pptx", "dotx", "xltx", "potx", "ppsx", "vsdx":
		return true
	case "ooxml":
		return !byName
	}
	return false
}

// describe names the defects: each kind once, with its first place.
func describe(ds []*message.Defect) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, d := range ds {
		if seen[d.ID] {
			continue
		}
		seen[d.ID] = true
		if len(seen) > maxShown {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(d.ID)
		fmt.Fprintf(&b, " in %s at %d", place(d), d.At)
		if d.Text != "" {
			b.WriteString(" (" + quote(d.Text) + ")")
		}
		if m := message.Meaning(d.ID); m != "" {
			b.WriteString(": " + strings.TrimSuffix(m, "."))
		}
	}
	if more := len(seen) - maxShown; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

func place(d *message.Defect) string { return number(d.Part) }

func number(p *message.Part) string {
	if p == nil || p.Number == "" {
		return "the message"
	}
	return "part " + p.Number
}

// quote makes hostile text short and harmless.
func quote(s string) string {
	if len(s) > maxText {
		return strconv.QuoteToASCII(s[:maxText]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// tagField names defects by their IDs, which are ours; nothing of the message
// comes into it.
func tagField(ds []*message.Defect) []byte {
	b := []byte(tagName + ":")
	seen := map[string]bool{}
	for _, d := range ds {
		if !seen[d.ID] && len(seen) < maxShown {
			seen[d.ID] = true
			b = append(append(b, ' '), d.ID...)
		}
	}
	return append(b, '\r', '\n')
}
