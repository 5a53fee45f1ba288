package smtpproxy

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"garita/mail"
	"garita/message"
)

// ownLoops is how often a message may have passed this very host. Outbound
// and back in by an alias, or twice as a content filter, is honest; more is a
// loop that the hop count would end only much later (attacks S-171).
const ownLoops = 8

// looped is the mandatory look at the header, first of all the loop guard (RFC 5321 section 6.3). The Received fields are
// counted whatever their case and folding; a forged one can only make the
// sender's own message be refused.
func (s *session) looped(m *message.Message) *mail.Reply {
	h := m.Header()
	if h.TooLarge() {
		// Its end is unknown: no check could look at all of it (S-154).
		r := mail.Permanent(554, "6.0", "Error: message header too large")
		return &r
	}
	if err := h.Err(); err != nil {
		s.srv.log.Warn("smtpd", "message could not be read back", slog.String("id", s.tx.ID), slog.String("error", err.Error()))
		r := replyInternal
		return &r
	}
	hops := h.CountFold("Received")
	own := 0
	if hops > ownLoops {
		for _, f := range h.All("Received") {
			if receivedBy(f.Value(), s.set.Hostname) {
				own++
			}
		}
	}
	if hops <= s.set.Limits.MaxHops && own <= ownLoops {
		return nil
	}
	r := mail.Permanent(554, "4.6", "Error: too many hops")
	return &r
}

// receivedBy tells whether a Received value was written by that host.
func receivedBy(value, host string) bool {
	words := strings.Fields(value)
	for i, w := range words[:max(len(words)-1, 0)] {
		if strings.EqualFold(w, "by") {
			return strings.EqualFold(words[i+1], host)
		}
	}
	return false
}

// edits are those of the decision behind our own: the Received field in
// front, and the forged fields of our namespace taken out. m is the message of
// the transaction, or what is left of it: with the same header.
func (s *session) edits(m *message.Message, more []message.Edit) []message.Edit {
	out := make([]message.Edit, 0, 2+len(more))
	h := m.Header()
	out = append(out, h.Prepend(s.received(make([]byte, 0, 512))))
	for _, f := range h.Fields() {
		if mail.Reserved(f, s.set.Hostname) {
			out = append(out, message.Edit{At: f.Start, Delete: f.End - f.Start})
		}
	}
	out, leftOut := beside(out, more)
	if leftOut > 0 {
		// The message would be deferred for ever.
		s.srv.log.Warn("smtpd", "edits of a header field that is ours to take out were not made", slog.String("id", s.tx.ID), slog.Int("edits", leftOut))
	}
	if end := m.HeaderEnd(); len(h.Fields()) > 0 && !h.HasBlank() && end < m.Size() {
		// A line that is no field ends the header, as Postfix reads it; the
		// empty line makes every later reader read the same (I7). It stands
		// last: what is added to the header goes before.
		out = append(out, message.Edit{At: end, Insert: crlf})
	}
	return inOrder(out)
}

// beside adds those of more that leave alone what own, in order, takes out.
func beside(own, more []message.Edit) (out []message.Edit, leftOut int) {
	out = own
	for _, e := range more {
		// The first of ours that ends behind its beginning.
		i, _ := slices.BinarySearchFunc(own, e.At, func(o message.Edit, at int64) int { return cmp.Compare(o.At+o.Delete, at+1) })
		if i == len(own) || own[i].At >= e.At+max(e.Delete, 1) || own[i].At == e.At && e.Delete == 0 {
			out = append(out, e)
		} else if len(e.Insert) > 0 || own[i].At > e.At || own[i].At+own[i].Delete < e.At+e.Delete {
			leftOut++
		}
	}
	return out, leftOut
}

// inOrder sorts edits as Render wants them: at one place what is inserted goes
// before what is taken out, though it was asked for later, and a field that
// two of us take out is taken out once. Else a forged field in front of a
// message that also gets a tag would make it a message that cannot be sent.
func inOrder(edits []message.Edit) []message.Edit {
	slices.SortStableFunc(edits, func(a, b message.Edit) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Delete, b.Delete))
	})
	return slices.CompactFunc(edits, func(a, b message.Edit) bool {
		return a.At == b.At && a.Delete == b.Delete && a.Delete > 0 && len(a.Insert)+len(b.Insert) == 0
	})
}

// received appends our trace field (RFC 5321 section 4.4). What the client
// said of itself stands where it cannot be taken for anything else.
func (s *session) received(dst []byte) []byte {
	t := s.tx
	dst = append(dst, "Received: from "...)
	dst = appendHost(dst, s.s.Helo)
	dst = append(dst, " ("...)
	dst = appendHost(dst, s.s.HostOrUnknown())
	dst = append(dst, " ["...)
	dst = appendLiteral(dst, s.s.Client.Addr())
	dst = append(dst, "])"...)
	if s.s.TLS != nil {
		dst = append(dst, "\r\n\t(using "...)
		dst = append(dst, tlsName(s.s.TLS)...)
		dst = append(dst, ')')
	}
	dst = append(dst, "\r\n\tby "...)
	dst = append(dst, s.set.Hostname...)
	dst = append(dst, " (Garita) with "...)
	if t.Params.SMTPUTF8 {
		dst = append(dst, "UTF8"...) // RFC 6531 section 4.3: UTF8SMTP(S)
		dst = append(dst, strings.TrimPrefix(s.s.Proto, "E")...)
	} else {
		dst = append(dst, s.s.Proto...)
	}
	dst = append(dst, " id "...)
	dst = append(dst, t.ID...)
	if len(t.ForwardPaths) == 1 { // more would show a Bcc to the others
		dst = append(dst, "\r\n\tfor <"...)
		dst = append(dst, t.ForwardPaths[0].String()...)
		dst = append(dst, '>')
	}
	dst = append(dst, ";\r\n\t"...)
	dst = time.Now().AppendFormat(dst, "Mon, 2 Jan 2006 15:04:05 -0700")
	return append(dst, '\r', '\n')
}

// appendHost adds a name that is hostile text: what is no host name or
// address literal is replaced, and it is cut at 100 octets.
func appendHost(dst []byte, name string) []byte {
	if len(name) > 100 {
		name = name[:100]
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z',
			c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			c = '?'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendLiteral adds an address as RFC 5321 section 4.1.3 writes it.
func appendLiteral(dst []byte, a netip.Addr) []byte {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		dst = append(dst, "IPv6:"...)
	}
	return a.AppendTo(dst)
}
