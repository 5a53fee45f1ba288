package attachment

import (
	"strconv"
	"strings"

	"garita/filters"
	"garita/mail"
	"garita/message"
)

const (
	// maxFindings of one class: more are counted and not told.
	maxFindings = 5
	// maxReplyName is what the reply shows of a name.
	maxReplyName = 60
)

// entry is one thing found.
type entry struct {
	place, name, detail string
}

// report is what was found, by class.
type report struct {
	by map[string]*found
}

type found struct {
	entries []entry
	more    int
	last    string // place of the last one that was not kept
}

func (r *report) add(key, place, name, detail string) {
	if r.by == nil {
		r.by = map[string]*found{}
	}
	f := r.by[key]
	if f == nil {
		f = &found{}
		r.by[key] = f
	}
	for i := range f.entries {
		if f.entries[i].place == place {
			return // one word about one place
		}
	}
	if len(f.entries) >= maxFindings {
		if f.last != place {
			f.more++
			f.last = place
		}
		return
	}
	f.entries = append(f.entries, entry{place, name, detail})
}

// result makes findings of the report, the strongest action first: of equals
// the first speaks to the client.
func (k *Check) result(w *work, tx *mail.Transaction, x *message.Index) filters.Result {
	if w.report.by == nil {
		return filters.Result{}
	}
	var res filters.Result
	var left string // why nothing is disarmed
	if w.marks.any() {
		res.Disarm, left = k.disarm(w, tx, x)
	}
	for level := strength(actionReject); level > 0; level-- {
		for _, c := range classes() {
			f := w.report.by[c.key]
			if f == nil || strength(w.actions[c.key]) != level {
				continue
			}
			why := k.excepted(tx, c.key)
			for i, e := range f.entries {
				g := finding(c, w.actions[c.key], e, i == 0, why)
				if w.actions[c.key] == actionDisarm {
					k.disarming(&g, left, why)
				}
				res.Findings = append(res.Findings, g)
			}
			if last := &res.Findings[len(res.Findings)-1]; f.more > 0 {
				last.Detail += ", and " + strconv.Itoa(f.more) + " more"
			}
		}
	}
	return res
}

// finding makes one. The points of a class count once a message.
func finding(c class, action string, e entry, first bool, why string) mail.Finding {
	f := mail.Finding{Symbol: Prefix + c.key, Where: e.place, Detail: e.detail}
	if e.name != "" {
		f.Detail += ": " + short(e.name)
	}
	if first {
		f.Score = c.points
	}
	switch action {
	case actionObserve:
		f.Mode = mail.Observe
	case actionScore:
		f.Mode = mail.Score
	case actionHold:
		f.Verdict = mail.Quarantine
	case actionReject:
		f.Verdict = mail.Reject
		text := "Attachment refused: " + c.words
		if e.name != "" {
			text += ", " + safe(e.name)
			if outer := e.outer(); outer != "" {
				text += " in " + safe(outer)
			}
		}
		r := mail.Permanent(554, "7.1", text)
		f.Reply = &r
	}
	if why != "" {
		f.Mode = mail.Observe
		f.Detail += " (not counted: " + why + ")"
	}
	return f
}

// outer is the attachment that the named file is in, "" where it is the
// attachment itself: the sender knows only the name of what he attached.
func (e *entry) outer() string {
	_, rest, _ := strings.Cut(e.place, " › ")
	name, _, inside := strings.Cut(rest, " › ")
	if !inside || name == short(e.name) {
		return ""
	}
	return name
}

// safe shows a hostile name in a reply: ASCII, escaped, short. The end is kept,
// because that is where the extension is.
func safe(name string) string {
	s := strings.Trim(strconv.QuoteToASCII(name), `"`)
	s = strings.ReplaceAll(s, `\"`, `'`)
	if len(s) > maxReplyName {
		s = s[:maxReplyName/2] + "..." + s[len(s)-maxReplyName/2:]
	}
	return `"` + s + `"`
}
