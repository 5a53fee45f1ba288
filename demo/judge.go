package demo

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// judge compares what was seen with what the case wants.
func judge(c Case, o observed, log string) Result {
	r := Result{Name: c.Name, What: c.What, Reply: o.reply.String(), Delivered: []Parcel{}, Dialogue: o.dialogue}
	no := func(format string, args ...any) { r.Why = append(r.Why, fmt.Sprintf(format, args...)) }
	for _, s := range o.stored {
		r.Delivered = append(r.Delivered, Parcel{s.Host, s.From, s.To, len(s.Data)})
	}
	if o.err != nil {
		no("the dialogue broke off: %s", o.err)
	}
	w := c.Want
	switch {
	case w.Reply == "" && r.Reply != "":
		no("there must be no reply, and there was %q", r.Reply)
	case !strings.HasPrefix(r.Reply, w.Reply):
		no("the reply must begin with %q, and it was %q", w.Reply, r.Reply)
	}
	if !strings.Contains(r.Reply, w.Text) {
		no("%q does not stand in the reply %q", w.Text, r.Reply)
	}
	if w.Log != "" && !strings.Contains(log, w.Log) {
		no("%q does not stand in the log", w.Log)
	}
	switch {
	case w.Host == "" && len(o.stored) > 0:
		no("nothing may arrive, and %d did", len(o.stored))
	case w.Host != "" && len(o.stored) != 1:
		no("one message must arrive, and %d did", len(o.stored))
	case w.Host != "":
		reply := r.Reply
		if c.Release {
			reply = o.released
		}
		w.arrived(o.stored[0], reply, no)
	}
	r.OK = len(r.Why) == 0
	return r
}

// arrived looks at the one message that lies there.
func (w Want) arrived(s Stored, reply string, no func(string, ...any)) {
	if s.Host != w.Host {
		no("it must lie at %s, and lies at %s", w.Host, s.Host)
	}
	if s.From != w.From {
		no("its sender must be <%s>, and is <%s>", w.From, s.From)
	}
	if !slices.Equal(s.To, w.To) {
		no("its recipients must be %q, and are %q", w.To, s.To)
	}
	// The client was told the next hop's own words about this very message.
	if !strings.HasSuffix(reply, "queued as "+s.ID) {
		no("the reply does not name %s, under which it lies there", s.ID)
	}
	// The servers offer STARTTLS, and the gateway's default is to use it.
	if !s.TLS {
		no("it came without TLS")
	}
	trace, body := cutTrace(s.Data)
	if !bytes.HasPrefix(trace, []byte("Received: from ")) || !bytes.Contains(trace, []byte("by "+Hostname+" (")) {
		no("it does not begin with our Received field")
	}
	if !bytes.Contains(trace, []byte(w.Received)) {
		no("our Received field does not say %q", w.Received)
	}
	for bytes.HasPrefix(body, []byte("X-Garita-")) && !bytes.HasPrefix(w.Body, []byte("X-Garita-")) {
		_, body = cutTrace(body) // what a check found; it stands above the message
	}
	if !bytes.Equal(body, w.Body) {
		no("%s", difference(w.Body, body))
	}
}

// cutTrace parts a message behind its first field.
func cutTrace(data []byte) (field, rest []byte) {
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte("\r\n"))
		if i < 0 {
			return data, nil
		}
		at += i + 2
		if at >= len(data) || data[at] != ' ' && data[at] != '\t' {
			return data[:at], data[at:]
		}
	}
}

// queueID is the id in our Received field; empty when there is none.
func queueID(data []byte) string {
	field, _ := cutTrace(data)
	m := regexp.MustCompile(` id ([0-9A-Za-z]+)`).FindSubmatch(field)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// difference tells where two messages part.
func difference(want, got []byte) string {
	n := 0
	for n < len(want) && n < len(got) && want[n] == got[n] {
		n++
	}
	show := func(p []byte) string { return fmt.Sprintf("%q", p[min(n, len(p)):min(n+30, len(p))]) }
	return fmt.Sprintf("it is not what was sent: %d octets instead of %d, and at %d there is %s instead of %s",
		len(got), len(want), n, show(got), show(want))
}
