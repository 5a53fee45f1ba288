package maillog

import (
	"net/netip"
	"strconv"

	"garita/mail"
)

// openJSON begins an object; the caller ends it.
func (l *Logger) openJSON(b []byte, component, severity string) []byte {
	now := l.now()
	b = append(b, `{"@timestamp":"`...)
	b = append(b, l.stampOf(now)...)
	ms := now.Nanosecond() / 1e6
	b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	b = append(b, `Z","log.level":"`...)
	b = append(b, severity...)
	b = append(b, '"')
	b = appendKey(b, "host.hostname", l.host)
	b = appendKey(b, "process.name", l.cfg.SyslogName)
	b = appendKeyInt(b, "process.pid", int64(l.pidNum))
	return appendKey(b, "event.module", component)
}

func appendKey(b []byte, key, value string) []byte {
	b = appendName(b, key)
	return appendJSON(b, value)
}

func appendName(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

func appendKeyInt(b []byte, key string, n int64) []byte {
	b = appendName(b, key)
	return strconv.AppendInt(b, n, 10)
}

// appendKeyPath writes an address as the grammar writes it, escaped for JSON
// alone: the reader has no line to be misled by.
func appendKeyPath(b []byte, key string, p mail.Path) []byte {
	b = appendName(b, key)
	return appendPathJSON(b, p)
}

func appendPathJSON(b []byte, p mail.Path) []byte {
	return appendJSON(b, p.String())
}

func appendCountJSON(b []byte, name string, n Count) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":{"ok":`...)
	b = strconv.AppendUint(b, uint64(n.OK), 10)
	b = append(b, `,"total":`...)
	b = strconv.AppendUint(b, uint64(n.Total), 10)
	return append(b, '}')
}

// openSessionJSON begins an object about a session.
func (l *Logger) openSessionJSON(b []byte, s *mail.Session, action, severity string) []byte {
	b = l.openJSON(b, "smtpd", severity)
	b = appendKey(b, "event.action", action)
	return appendSessionJSON(b, s, s.HostOrUnknown(), s.Client.Addr())
}

func appendSessionJSON(b []byte, s *mail.Session, name string, addr netip.Addr) []byte {
	b = appendKey(b, "session.id", s.ID)
	b = appendKey(b, "listener", s.Listener)
	b = append(b, `,"source.ip":"`...)
	b = appendAddr(b, addr)
	b = append(b, '"')
	if addr == s.Client.Addr() {
		b = appendKeyInt(b, "source.port", int64(s.Client.Port()))
	}
	b = appendKey(b, "source.domain", name)
	if s.Peer.Addr() != s.Client.Addr() && s.Peer.IsValid() {
		b = append(b, `,"peer.ip":"`...)
		b = appendAddr(b, s.Peer.Addr())
		b = append(b, '"')
	}
	if s.Helo != "" {
		b = appendKey(b, "smtp.helo", s.Helo)
	}
	if s.Proto != "" {
		b = appendKey(b, "network.protocol", s.Proto)
	}
	if s.Login != "" {
		b = appendKey(b, "user.name", s.Login)
	}
	if s.TLS != nil {
		proto, cipher := tlsNames(s.TLS)
		b = appendKey(b, "tls.version", proto)
		b = appendKey(b, "tls.cipher", cipher)
		if s.TLS.DidResume {
			b = append(b, `,"tls.resumed":true`...)
		}
	}
	return b
}

func appendKeyReply(b []byte, key string, r mail.Reply) []byte {
	b = appendName(b, key)
	b = append(b, `{"code":`...)
	b = strconv.AppendInt(b, int64(r.Code), 10)
	if r.Enhanced != "" {
		b = appendKey(b, "enhanced", r.Enhanced)
	}
	b = appendKey(b, "text", r.Text)
	return append(b, '}')
}

func (l *Logger) rejectJSON(b []byte, s *mail.Session, tx *mail.Transaction, verb, what string, reply mail.Reply) []byte {
	b = l.openJSON(b, "smtpd", "info")
	b = appendKey(b, "event.action", "reject")
	b = appendKey(b, "event.outcome", "failure")
	b = appendKey(b, "smtp.command", verb)
	if what != "" {
		b = appendKey(b, "smtp.argument", what)
	}
	b = appendKeyReply(b, "reply", reply)
	if tx == nil || tx.Session == nil {
		b = appendSessionJSON(b, s, s.HostOrUnknown(), s.Client.Addr())
		return append(b, "}\n"...)
	}
	name, addr := tx.ClientForLog()
	b = appendSessionJSON(b, s, name, addr)
	b = appendEnvelopeJSON(b, tx)
	return append(b, "}\n"...)
}

// appendEnvelopeJSON writes id, sender and recipients. All recipients are
// written: max_recipients bounds them.
func appendEnvelopeJSON(b []byte, tx *mail.Transaction) []byte {
	b = appendKey(b, "email.local_id", tx.ID)
	if d := tx.Direction; d != 0 {
		b = appendKey(b, "email.direction", directionECS(d))
	}
	b = appendKeyPath(b, "email.from.address", tx.ReversePath)
	b = append(b, `,"email.to.address":[`...)
	for i := range tx.ForwardPaths {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendPathJSON(b, tx.ForwardPaths[i].Path)
	}
	b = append(b, ']')
	n := 0
	for i := range tx.ForwardPaths {
		if a := tx.ForwardPaths[i].Alias; !a.IsNull() {
			if n++; n == 1 {
				b = append(b, `,"orig_to":[`...)
			} else {
				b = append(b, ',')
			}
			b = appendPathJSON(b, a)
		}
	}
	if n > 0 {
		b = append(b, ']')
	}
	if tx.Exempt != "" {
		b = appendKey(b, "exempt", tx.Exempt)
	}
	if f := tx.Forwarded; f != nil {
		b = append(b, `,"xforward":{"addr":`...)
		b = appendJSON(b, f.Addr)
		b = appendKey(b, "name", f.Name)
		b = appendKey(b, "helo", f.Helo)
		b = appendKey(b, "proto", f.Proto)
		b = appendKey(b, "ident", f.Ident)
		b = append(b, '}')
	}
	if u := tx.Identity; u.User != "" {
		b = appendKey(b, "identity.user", u.User)
		b = appendKey(b, "identity.source", u.Source)
	}
	return b
}

func directionECS(d mail.Direction) string {
	switch d {
	case mail.In:
		return "inbound"
	case mail.Out:
		return "outbound"
	}
	return "unknown"
}

// transactionJSON writes one object for a whole transaction.
func (l *Logger) transactionJSON(b []byte, tx *mail.Transaction, o *mail.Outcome) []byte {
	b = l.openJSON(b, "smtpd", "info")
	b = appendKey(b, "event.action", o.Kind.String())
	b = appendKey(b, "event.outcome", outcomeECS(o.Kind))
	name, addr := tx.ClientForLog()
	b = appendSessionJSON(b, tx.Session, name, addr)
	b = appendEnvelopeJSON(b, tx)
	size, id := messageFacts(tx)
	if size >= 0 {
		b = appendKey(b, "email.message_id", id)
		b = appendKeyInt(b, "email.size", size)
	}
	if len(o.Replies) > 0 {
		b = appendKeyReply(b, "reply", o.Replies[0])
	}
	for _, f := range [...]struct{ key, value string }{
		{"next_hop.name", o.NextHop}, {"next_hop.reply", o.NextHopReply},
		{"next_hop.queue_id", o.QueueID}, {"next_hop.tls", o.TLS}, {"event.reason", o.Detail},
	} {
		if f.value != "" {
			b = appendKey(b, f.key, f.value)
		}
	}
	b = appendReaddressedJSON(b, o)
	verdict, score := weigh(tx.Findings)
	b = appendKey(b, "verdict", verdict.String())
	if w := would(tx.Findings); w != mail.Continue {
		b = appendKey(b, "would", w.String())
	}
	b = appendName(b, "score")
	b = appendScore(b, score)
	b = appendFindingsJSON(b, tx.Findings)
	b = append(b, `,"ms":{"receive":`...)
	b = appendMillis(b, o.Steps.Receive)
	b = append(b, `,"check":`...)
	b = appendMillis(b, o.Steps.Check)
	b = append(b, `,"relay":`...)
	b = appendMillis(b, o.Steps.Relay)
	return append(b, "}}\n"...)
}

// appendReaddressedJSON writes what rules did to the envelope, and to whom the
// message went on their account.
func appendReaddressedJSON(b []byte, o *mail.Outcome) []byte {
	if len(o.Envelope) == 0 {
		return b
	}
	b = append(b, `,"readdressed":[`...)
	for i := range min(len(o.Envelope), maxReaddressed) {
		e := &o.Envelope[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"action":`...)
		b = appendJSON(b, e.Kind)
		if e.Kind == mail.EditRoute {
			b = appendKey(b, "next_hop", e.Hop)
		} else {
			b = appendKeyPath(b, "to", e.To.Path)
		}
		if e.Rule != "" {
			b = appendKey(b, "rule", e.Rule)
		}
		b = append(b, '}')
	}
	b = append(b, ']')
	if len(o.Recipients) == 0 {
		return b
	}
	b = append(b, `,"sent_to":[`...)
	for i := range o.Recipients {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendPathJSON(b, o.Recipients[i].Path)
	}
	return append(b, ']')
}

func outcomeECS(k mail.OutcomeKind) string {
	switch k {
	case mail.Relayed, mail.Held, mail.Discarded:
		return "success"
	case mail.Ambiguous:
		return "unknown"
	}
	return "failure"
}

func appendFindingsJSON(b []byte, fs []mail.Finding) []byte {
	b = append(b, `,"findings":[`...)
	for i := range fs {
		if i == maxFindings {
			break
		}
		f := &fs[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"symbol":`...)
		b = appendJSON(b, f.Symbol)
		b = appendName(b, "score")
		b = appendScore(b, f.Score)
		b = appendKey(b, "stage", f.Stage.String())
		b = appendKey(b, "mode", f.Mode.String())
		b = appendName(b, "counted")
		b = strconv.AppendBool(b, f.Counted)
		if f.Verdict != mail.Continue {
			b = appendKey(b, "verdict", f.Verdict.String())
		}
		if f.Rule != "" {
			b = appendKey(b, "rule.name", f.Rule)
		}
		if f.Detail != "" {
			b = appendKey(b, "detail", f.Detail)
		}
		if f.Where != "" {
			b = appendKey(b, "where", f.Where)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}
