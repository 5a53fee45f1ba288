package attachment

import (
	"bytes"
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"garita/document"
	"garita/filetype"
	"garita/message"
)

const (
	// maxLetters of one mailbox file.
	maxLetters = 500
	// maxCalendar files of one calendar or card.
	maxCalendar = 50
)

// scripted tells a text with a script. No client runs it; but some make an
// attachment ("ATT00001.htm") of each text behind the first.
func scripted(p *message.Part) bool {
	for _, b := range p.Bodies() {
		for rest := b.Data; ; {
			i := bytes.IndexByte(rest, '<')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			tag := rest[:min(len(rest), 6)]
			if j := bytes.IndexByte(rest[:min(len(rest), 24)], ':'); j >= 0 {
				tag = rest[j+1 : min(len(rest), j+7)]
			}
			if bytes.EqualFold(tag, []byte("script")) {
				return true
			}
		}
	}
	return false
}

// shown looks for a page that builds a file in what is shown as text. What
// else a script in a text may be is nobody's danger: it does not run.
func (w *work) shown(p *message.Part, place string) {
	for _, b := range p.Bodies()[:min(len(p.Bodies()), maxBodies)] {
		left := w.check.cfg.Archives.Time - w.spent
		if left <= 0 {
			w.found(bomb, place, "", "no time is left for documents")
			return
		}
		ctx, cancel := context.WithTimeout(w.ctx, left)
		start := w.check.now()
		traits := w.check.inspect(ctx, filetype.Type{Name: "html", Class: filetype.Markup}, b.Data, w.check.docs)
		w.spent += w.check.now().Sub(start)
		cancel()
		for i := range traits {
			if id := traits[i].ID; id == document.HTMLSmuggling {
				w.found(htmlSmuggling, place, "", document.Meaning(id)+" ("+short(traits[i].Text)+")")
			}
		}
	}
}

// letters judges a thing that holds mail, or files as mail does: p is its
// part, which the index of the message has taken apart already if it could.
func (w *work) letters(t *thing, o filetype.Type, views []filetype.NameView, p *message.Part) {
	if p != nil && p.Children {
		return
	}
	kind := o.Name
	if o.Class == filetype.Text || o.Class == filetype.Unknown {
		// By name, as who opens it goes by it.
		for i := range views {
			if v := &views[i]; len(v.Extensions) > 0 {
				switch e := v.Extensions[0]; e {
				case "eml", "emlx", "nws", "mbox", "mbx", "mht", "mhtml", "ics", "vcs", "ical", "vcf", "vcard", "uue", "uu", "xxe", "hqx":
					kind = e
				}
			}
		}
	}
	switch kind {
	case "eml", "nws", "mht", "mhtml":
		w.mail(t, t.data)
	case "mbox", "mbx":
		w.mailbox(t)
	case "emlx":
		// Apple Mail: the length of the message in a line of its own.
		if line, rest, ok := bytes.Cut(t.data, []byte("\n")); ok && number(line) {
			w.mail(t, rest)
		} else {
			w.mail(t, t.data)
		}
	case "tnef":
		w.foreign(t, p, "application/ms-tnef")
	case "p7s":
		w.foreign(t, p, "application/pkcs7-mime; smime-type=signed-data")
	case "ics", "vcs", "ical", "vcf", "vcard":
		w.calendar(t)
	case "uue", "uu", "xxe", "hqx":
		w.foreign(t, p, "text/plain")
	case "txt":
		if p == nil && (bytes.HasPrefix(t.data, []byte("begin ")) || bytes.Contains(t.data, []byte("\nbegin "))) {
			w.foreign(t, p, "text/plain")
		}
	}
}

func number(line []byte) bool {
	line = bytes.TrimSpace(line)
	_, err := strconv.ParseUint(string(line[:min(len(line), 20)]), 10, 63)
	return err == nil
}

// foreign has the index take apart what is a part's content and no message.
func (w *work) foreign(t *thing, p *message.Part, kind string) {
	if p != nil && p.Parent == nil {
		return // it is what was made for it here, and held nothing
	}
	head := "Content-Type: " + kind + "\r\n\r\n"
	w.mail(t, append([]byte(head), t.data...))
}

// mailbox judges a file of several messages: as one, and each by itself.
func (w *work) mailbox(t *thing) {
	w.mail(t, t.data)
	rest := t.data
	for n := 0; ; n++ {
		i := bytes.Index(rest, []byte("\nFrom "))
		if i < 0 {
			return
		}
		if n >= maxLetters {
			w.found(bomb, t.place, t.shown(), "too many messages in a file")
			return
		}
		rest = rest[i+1:]
		one := rest
		if end := bytes.Index(rest, []byte("\nFrom ")); end >= 0 {
			one = rest[:end+1]
		}
		w.mail(t, one)
	}
}

// mail judges a message that is a file: its index is made here. All of them
// share one budget of time with the documents (Z-22).
func (w *work) mail(t *thing, data []byte) {
	if t.depth >= maxInside {
		w.found(bomb, t.place, t.shown(), "messages inside messages")
		return
	}
	left := w.check.cfg.Archives.Time - w.spent
	if left <= 0 {
		w.found(bomb, t.place, t.shown(), "no time is left for messages")
		return
	}
	l := message.DefaultIndexLimits()
	l.Decoded = min(l.Decoded, w.check.cfg.Archives.Member)
	start := w.check.now()
	x := message.ReadIndex(data, l)
	w.spent += w.check.now().Sub(start)
	if x.Has(message.Unfinished) {
		w.found(bomb, t.place, t.shown(), "a message over its bounds")
	}
	w.parts(x, w.within(t)+" › ", t.depth+1)
}

// calendar judges the files in a calendar or card (RFC 5545 section 3.8.1.1,
// RFC 2426 section 2.4.2): values in base64 behind a parameter that says so.
func (w *work) calendar(t *thing) {
	if t.depth >= maxInside {
		w.found(bomb, t.place, t.shown(), "files inside files")
		return
	}
	lines := bytes.ReplaceAll(t.data, []byte("\r\n"), []byte("\n"))
	lines = bytes.ReplaceAll(lines, []byte("\n "), nil)
	lines = bytes.ReplaceAll(lines, []byte("\n\t"), nil)
	n := 0
	for line := range bytes.SplitSeq(lines, []byte("\n")) {
		head, value, ok := property(line)
		if !ok {
			continue
		}
		if n++; n > maxCalendar {
			w.found(bomb, t.place, t.shown(), "too many files in a calendar")
			return
		}
		var names []string
		for p := range strings.SplitSeq(head, ";") {
			key, v, _ := strings.Cut(p, "=")
			if k := strings.ToUpper(key); strings.Contains(k, "FILENAME") || k == "X-LABEL" || k == "X-TITLE" {
				names = append(names, strings.Trim(v, `"`))
			}
		}
		data := make([]byte, base64.StdEncoding.DecodedLen(len(value)))
		// What cannot be decoded to its end is looked at up to there.
		got, _ := base64.StdEncoding.Decode(data, value)
		w.whole(&thing{names: names, data: data[:got], place: w.within(t) + " › " + short(first(names)), depth: t.depth + 1}, nil)
	}
}

// property takes a line of a calendar apart, if its value is a file.
func property(line []byte) (head string, value []byte, ok bool) {
	quoted := false
	for i, c := range line[:min(len(line), 4096)] {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ':' && !quoted:
			head = string(line[:i])
			up := strings.ToUpper(head)
			if !strings.Contains(up, "ENCODING=B") {
				if v := line[i+1:]; bytes.HasPrefix(v, []byte("data:")) {
					j := bytes.Index(v, []byte(";base64,"))
					return head, v[min(len(v), j+8):], j > 0
				}
				return "", nil, false
			}
			return head, bytes.TrimSpace(line[i+1:]), true
		}
	}
	return "", nil, false
}
