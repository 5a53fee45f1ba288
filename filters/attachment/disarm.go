package attachment

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"garita/disarm"
	"garita/mail"
	"garita/message"
)

const (
	// maxMarked parts are disarmed in one message; one with more is held.
	maxMarked = 100
	// maxNoteName is what a note shows of a name, in characters.
	maxNoteName = 60
	// maxNoteWhy bounds the reasons in a note.
	maxNoteWhy = 3
)

// removable tells that findings of a class are about a part of the message.
// The others are about the message as a whole, or about what nobody can read.
func removable(key string) bool {
	return key != crash && key != tooMany && key != sealed
}

// marks are the parts to be disarmed, and the classes of what is in each.
type marks struct {
	parts []*message.Part
	why   map[*message.Part][]string
	// lost: something was found that is in no part, or in too many.
	lost bool
}

func (m *marks) any() bool { return len(m.parts) > 0 || m.lost }

func (m *marks) add(p *message.Part, key string) {
	p = replaceable(p, key)
	if p == nil || m.why[p] == nil && len(m.parts) >= maxMarked {
		m.lost = true
		return
	}
	if m.why == nil {
		m.why = map[*message.Part][]string{}
	}
	if m.why[p] == nil {
		m.parts = append(m.parts, p)
	}
	if !slices.Contains(m.why[p], key) {
		m.why[p] = append(m.why[p], key)
	}
}

// replaceable is the part that a note can stand in place of. What is encoded in
// another part (an encoded message, TNEF) goes with it, unless that is the text
// of the mail; an attached message of one part goes as a whole. A page can be
// mended where it stands.
func replaceable(p *message.Part, key string) *message.Part {
	for p != nil && key != htmlActive {
		switch of := p.Source.Of; {
		case of != nil && !body(of):
			p = of
		case of == nil && p.Origin == message.Enclosed:
			p = p.Parent
		default:
			return p
		}
	}
	return p
}

// covered tells a part inside another one that is marked.
func (m *marks) covered(p *message.Part) bool {
	for q := p.Parent; q != nil; q = q.Parent {
		if m.why[q] != nil {
			return true
		}
	}
	return false
}

// pages tells that the text of the mail is to be looked at.
func (k *Check) pages(x *message.Index, d mail.Direction) bool {
	actions := k.in
	if d == mail.Out {
		actions = k.out
	}
	return actions[htmlActive] != actionOff && slices.ContainsFunc(x.Parts, page)
}

// page tells a part that readers show as HTML.
func page(p *message.Part) bool {
	return slices.Contains(p.Types, "text/html") || slices.Contains(p.Types, "text/x-amp-html")
}

// active judges a page that is the text of the mail.
func (w *work) active(p *message.Part, place string) {
	if w.actions[htmlActive] == actionOff || !page(p) {
		return
	}
	for _, b := range p.Bodies()[:min(len(p.Bodies()), maxBodies)] {
		if disarm.Active(b.Data) {
			w.found(htmlActive, place, "", "a script, frame, form, object or handler")
			return
		}
	}
}

// disarm gives the edits for all marked parts, or says why there are none: it
// is all or nothing. A stronger action elsewhere leaves nothing to be relayed.
func (k *Check) disarm(w *work, tx *mail.Transaction, x *message.Index) (edits []message.Edit, left string) {
	if k.cfg.Mode == mail.Score.String() {
		return nil, ""
	}
	for key := range w.report.by {
		if strength(w.actions[key]) > strength(actionDisarm) && k.excepted(tx, key) == "" {
			return nil, "the message has worse"
		}
	}
	if w.marks.lost {
		return nil, "it is in no part of the message, or there are too many"
	}
	var changes []disarm.Change
	for _, p := range w.marks.parts {
		if w.marks.covered(p) {
			continue
		}
		c := disarm.Change{Part: p}
		why := slices.DeleteFunc(slices.Clone(w.marks.why[p]), func(class string) bool { return k.excepted(tx, class) != "" })
		if len(why) == 0 {
			continue
		}
		if len(why) > 1 || why[0] != htmlActive {
			c.Note = note(p, why, tx.ID)
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil, ""
	}
	edits, err := disarm.Splice(x, changes...)
	switch {
	case errors.Is(err, disarm.ErrRefused):
		return nil, strings.TrimPrefix(err.Error(), disarm.ErrRefused.Error()+": ")
	case err != nil:
		return nil, "a fault"
	case len(edits) == 0:
		return nil, "nothing of it can be taken out"
	}
	return edits, ""
}

// disarming says in a finding what became of it. What is taken out has no
// points: they would hold what is left. What could not be taken out is held,
// whatever else the message has: an override of that must not let this pass.
func (k *Check) disarming(f *mail.Finding, left, excepted string) {
	switch {
	case excepted != "":
	case k.cfg.Mode == mail.Score.String():
		f.Mode = mail.Score
	case left != "":
		f.Verdict = mail.Quarantine
		f.Detail += " (not disarmed: " + left + ")"
	default:
		f.Score = 0
		f.Detail += " (disarmed)"
	}
}

// note is the text in place of a part, in both languages of the manual. It
// holds hostile text, the name.
func note(p *message.Part, why []string, id string) string {
	name := ""
	for _, n := range p.Names {
		if !n.Weak() && name == "" {
			name = noteName(n.Text)
		}
	}
	var en, es []string
	for _, c := range classes() {
		if slices.Contains(why, c.key) && len(en) < maxNoteWhy {
			en, es = append(en, c.words), append(es, spanish(c.key))
		}
	}
	var b strings.Builder
	write := func(title string, labels [3]string, reasons []string, help string) {
		b.WriteString(title + "\n\n")
		if name != "" {
			b.WriteString("  " + labels[0] + ": \"" + name + "\"\n")
		}
		b.WriteString("  " + labels[1] + ": " + strings.Join(reasons, "; ") + "\n")
		b.WriteString("  " + labels[2] + ": " + reference(id) + "\n\n" + help + "\n")
	}
	write("An attachment was removed from this message for your safety.", [3]string{"Name", "Reason", "Reference"}, en,
		"The original message is kept. If you need it, ask your administrator and tell the reference.")
	b.WriteString("\n--------\n\n")
	write("Por su seguridad se ha retirado un adjunto de este mensaje.", [3]string{"Nombre", "Motivo", "Referencia"}, es,
		"El mensaje original se conserva. Si lo necesita, pídalo a su administrador e indique la referencia.")
	return b.String()
}

// reference is the id of the log, with which that of the kept original begins;
// its own is not known yet, and stands in the header.
func reference(id string) string {
	id = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, id)
	if id == "" {
		return "-"
	}
	return id[:min(len(id), 24)]
}

// noteName makes a hostile name fit for a text that people trust: letters and
// digits of any script and a few signs, so no links, no tricks with the
// direction of writing, and short. The end is kept: the extension is there.
func noteName(name string) string {
	s := []rune(strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar:
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), strings.ContainsRune(" ._-()[]+,", r):
			return r
		}
		return '_'
	}, strings.ToValidUTF8(name, "_")))
	if len(s) > maxNoteName {
		s = append(append(slices.Clone(s[:maxNoteName/2]), '…'), s[len(s)-maxNoteName/2:]...)
	}
	return strings.TrimSpace(string(s))
}
