package maillog

import (
	"math"
	"strconv"
	"time"

	"garita/mail"
)

// maxFindings bounds the symbols of one record; the count tells of the rest.
const maxFindings = 64

// Transaction writes everything about one ended transaction as one record, so
// that its lines are never torn apart by another's and cost one write.
//
// The lines are those that Postfix would have written for a message that took
// the same way, as far as that is honest: only what the next hop has answered
// 2xx is status=sent; what we hold, discard or do not know is said in words
// that no report counts as delivered. A transaction that ended before it had
// a recipient leaves no record: its refusals have their own.
//
// tx.Message, if any, must not be released before Transaction returns.
func (l *Logger) Transaction(tx *mail.Transaction, o mail.Outcome) {
	if l.off(levelNotice) || tx == nil || tx.Session == nil {
		return
	}
	if o.Kind == mail.Aborted && len(tx.ForwardPaths) == 0 && len(tx.Findings) == 0 {
		return
	}
	p := l.take()
	if l.json {
		*p = l.transactionJSON(*p, tx, &o)
	} else {
		*p = l.transactionLines(*p, tx, &o)
	}
	l.put(p)
}

func (l *Logger) transactionLines(b []byte, tx *mail.Transaction, o *mail.Outcome) []byte {
	size, msgid := messageFacts(tx)
	if o.Kind != mail.Aborted && !refusedAtData(tx, o) {
		b = l.clientLine(b, tx)
		if size >= 0 {
			b = l.openID(b, "cleanup", tx.ID)
			b = append(b, "message-id=<"...)
			b = appendField(b, msgid, angleClass())
			b = append(b, ">\n"...)
		}
	}
	b = l.readdressedLines(b, tx, o)
	switch o.Kind {
	case mail.Relayed:
		b = l.deliveryLines(b, tx, o, size, "sent")
	case mail.Refused:
		b = l.refusedLines(b, tx, o, size)
	case mail.Held:
		b = l.endLine(b, tx, o, "hold", "quarantined")
	case mail.Discarded:
		b = l.endLine(b, tx, o, "discard", "discarded by rule")
	case mail.Ambiguous:
		b = l.ambiguousLines(b, tx, o, size)
	default:
		b = l.abortedLine(b, tx, o)
	}
	return l.summaryLine(b, tx, o)
}

// clientLine is smtpd's "ID: client=host[addr], sasl_username=user".
func (l *Logger) clientLine(b []byte, tx *mail.Transaction) []byte {
	b = l.openID(b, "smtpd", tx.ID)
	b = append(b, "client="...)
	name, addr := tx.ClientForLog()
	b = appendPeer(b, name, addr)
	if tx.Login != "" {
		if tx.LoginMethod != "" {
			b = append(b, ", sasl_method="...)
			b = appendField(b, tx.LoginMethod, wordClass())
		}
		b = append(b, ", sasl_username="...)
		b = appendField(b, tx.Login, wordClass())
	}
	return append(b, '\n')
}

// queueLine is qmgr's "ID: from=<a>, size=1, nrcpt=1 (queue active)".
func (l *Logger) queueLine(b []byte, tx *mail.Transaction, o *mail.Outcome, size int64) []byte {
	b = l.openID(b, "qmgr", tx.ID)
	b = append(b, "from="...)
	b = appendPath(b, tx.ReversePath)
	b = append(b, ", size="...)
	b = strconv.AppendInt(b, max(size, 0), 10)
	b = append(b, ", nrcpt="...)
	b = strconv.AppendInt(b, int64(len(delivered(tx, o))), 10)
	return append(b, " (queue active)\n"...)
}

// deliveryLines are qmgr's first line, one of smtp for each recipient, and
// qmgr's last.
func (l *Logger) deliveryLines(b []byte, tx *mail.Transaction, o *mail.Outcome, size int64, status string) []byte {
	b = l.queueLine(b, tx, o, size)
	relay := o.NextHop
	if relay == "" {
		relay = "none"
	}
	to := delivered(tx, o)
	for i := range to {
		b = l.openID(b, "smtp", tx.ID)
		b = append(b, "to="...)
		b = appendPath(b, to[i].Path)
		if a := to[i].Alias; !a.IsNull() {
			b = append(b, ", orig_to="...)
			b = appendPath(b, a)
		}
		b = append(b, ", relay="...)
		b = appendField(b, relay, angleClass())
		b = append(b, ", delay="...)
		b = appendSeconds(b, total(o.Steps))
		b = append(b, ", delays="...)
		b = appendSeconds(b, o.Steps.Receive)
		b = append(b, '/')
		b = appendSeconds(b, o.Steps.Check)
		b = append(b, "/0/"...) // the connection was open before DATA
		b = appendSeconds(b, o.Steps.Relay)
		b = append(b, ", dsn="...)
		b = appendDSN(b, o, status)
		b = append(b, ", status="...)
		b = append(b, status...)
		b = append(b, " ("...)
		b = appendLines(b, answer(o))
		b = append(b, ")\n"...)
	}
	if status == "ambiguous" {
		return b
	}
	b = l.openID(b, "qmgr", tx.ID)
	return append(b, "removed\n"...)
}

// delivered are the recipients that the next hop was given.
func delivered(tx *mail.Transaction, o *mail.Outcome) []mail.Recipient {
	if len(o.Recipients) > 0 {
		return o.Recipients
	}
	return tx.ForwardPaths
}

// maxReaddressed bounds the lines of one record about its envelope.
const maxReaddressed = 64

// readdressedLines tell what rules did to the envelope, each as cleanup's "ID:
// redirect: END-OF-MESSAGE from h[ip]: to=<a>, rule=r; from=<> to=<> …".
func (l *Logger) readdressedLines(b []byte, tx *mail.Transaction, o *mail.Outcome) []byte {
	for i := range min(len(o.Envelope), maxReaddressed) {
		e := &o.Envelope[i]
		b = l.openID(b, "cleanup", tx.ID)
		b = appendField(b, e.Kind, wordClass())
		b = append(b, ": END-OF-MESSAGE from "...)
		name, addr := tx.ClientForLog()
		b = appendPeer(b, name, addr)
		if e.Kind == mail.EditRoute {
			b = append(b, ": next_hop="...)
			b = appendField(b, e.Hop, wordClass())
		} else {
			b = append(b, ": to="...)
			b = appendPath(b, e.To.Path)
		}
		if e.Rule != "" {
			b = append(b, ", rule="...)
			b = appendField(b, e.Rule, wordClass())
		}
		b = appendTail(b, tx.Session, tx, "")
		b = append(b, '\n')
	}
	return b
}

func total(s mail.Steps) time.Duration { return s.Receive + s.Check + s.Relay }

// answer is the parenthesis of a status: the next hop's words, else ours.
func answer(o *mail.Outcome) string {
	if o.NextHopReply != "" {
		return o.NextHopReply
	}
	if o.Detail != "" {
		return o.Detail
	}
	if len(o.Replies) > 0 {
		return o.Replies[0].String()
	}
	return "no reply"
}

// appendDSN writes the status code of RFC 3463, of the class that the status
// has, whatever a next hop wrote.
func appendDSN(b []byte, o *mail.Outcome, status string) []byte {
	class := byte('4')
	switch status {
	case "sent":
		class = '2'
	case "bounced":
		class = '5'
	}
	if len(o.Replies) > 0 {
		if e := o.Replies[0].Enhanced; len(e) >= 5 && e[0] == class {
			return appendField(b, e, hostClass())
		}
	}
	return append(b, class, '.', '0', '.', '0')
}

// refusedAtData tells a refusal of ours that came instead of a message: at
// DATA, or while it was being received (too large, no room).
func refusedAtData(tx *mail.Transaction, o *mail.Outcome) bool {
	return o.Kind == mail.Refused && o.NextHopReply == "" && tx.Message == nil
}

// dataLine is smtpd's "ID: reject: DATA from h[ip]: 452 4.3.1 text; …".
func (l *Logger) dataLine(b []byte, tx *mail.Transaction, o *mail.Outcome) []byte {
	b = l.openID(b, "smtpd", tx.ID)
	b = append(b, "reject: DATA from "...)
	name, addr := tx.ClientForLog()
	b = appendPeer(b, name, addr)
	b = append(b, ": "...)
	if len(o.Replies) > 0 {
		b = appendReply(b, o.Replies[0], "")
	}
	b = appendTail(b, tx.Session, tx, "")
	return append(b, '\n')
}

// refusedLines tells a refusal after the end of data. The next hop's is a
// delivery that failed; ours has the words of a milter's, which reports count
// as rejected and fail2ban's postfix filter passes over: it has no [45]xx.
func (l *Logger) refusedLines(b []byte, tx *mail.Transaction, o *mail.Outcome, size int64) []byte {
	if refusedAtData(tx, o) {
		return l.dataLine(b, tx, o)
	}
	if o.NextHopReply != "" {
		status := "deferred"
		if len(o.Replies) > 0 && o.Replies[0].Permanent() {
			status = "bounced"
		}
		return l.deliveryLines(b, tx, o, size, status)
	}
	return l.endLine(b, tx, o, "milter-reject", "refused")
}

// endLine is cleanup's "ID: milter-reject: END-OF-MESSAGE from h[ip]: text;
// from=<> to=<> proto= helo=<>", and the same for hold and discard.
func (l *Logger) endLine(b []byte, tx *mail.Transaction, o *mail.Outcome, word, text string) []byte {
	b = l.openID(b, "cleanup", tx.ID)
	b = append(b, word...)
	b = append(b, ": END-OF-MESSAGE from "...)
	name, addr := tx.ClientForLog()
	b = appendPeer(b, name, addr)
	b = append(b, ": "...)
	switch {
	case word == "milter-reject" && len(o.Replies) > 0:
		b = appendReplyText(b, o.Replies[0], "")
	case o.Detail != "":
		b = appendLines(b, o.Detail)
	default:
		b = append(b, text...)
	}
	b = appendTail(b, tx.Session, tx, "")
	return append(b, '\n')
}

// ambiguousLines tells that the next hop had the whole message and its answer
// was lost. It is neither sent nor deferred, and the line says so.
func (l *Logger) ambiguousLines(b []byte, tx *mail.Transaction, o *mail.Outcome, size int64) []byte {
	b = l.deliveryLines(b, tx, o, size, "ambiguous")
	b = l.openID(b, "smtp", tx.ID)
	b = append(b, "warning: the answer to the end of data was lost: the client was told to try again, a duplicate is possible\n"...)
	return b
}

// abortedLine tells that the client went away or gave up before the end of
// data. It has no client= line: no report shall count it as received.
func (l *Logger) abortedLine(b []byte, tx *mail.Transaction, o *mail.Outcome) []byte {
	b = l.openID(b, "smtpd", tx.ID)
	b = append(b, "aborted: "...)
	if o.Detail != "" {
		b = appendLines(b, o.Detail)
	} else {
		b = append(b, "before the end of data"...)
	}
	b = append(b, " from "...)
	name, addr := tx.ClientForLog()
	b = appendPeer(b, name, addr)
	b = appendTail(b, tx.Session, tx, "")
	return append(b, '\n')
}

// summaryLine is our own: what was decided, why, and how long each step took.
func (l *Logger) summaryLine(b []byte, tx *mail.Transaction, o *mail.Outcome) []byte {
	b = l.openID(b, "", tx.ID)
	b = append(b, o.Kind.String()...)
	verdict, score := weigh(tx.Findings)
	b = append(b, " verdict="...)
	b = append(b, verdict.String()...)
	b = append(b, " score="...)
	b = appendScore(b, score)
	b = append(b, " symbols="...)
	b = appendSymbols(b, tx.Findings)
	if w := would(tx.Findings); w != mail.Continue {
		b = append(b, " would="...)
		b = append(b, w.String()...)
	}
	if tx.Exempt != "" {
		b = append(b, " exempt="...)
		b = appendField(b, tx.Exempt, wordClass())
	}
	b = append(b, " listener="...)
	b = appendField(b, tx.Listener, wordClass())
	if len(o.Replies) > 0 {
		b = append(b, " code="...)
		b = strconv.AppendInt(b, int64(o.Replies[0].Code), 10)
	}
	if o.QueueID != "" {
		b = append(b, " next_hop_id="...)
		b = appendField(b, o.QueueID, wordClass())
	}
	b = append(b, " receive_ms="...)
	b = appendMillis(b, o.Steps.Receive)
	b = append(b, " check_ms="...)
	b = appendMillis(b, o.Steps.Check)
	b = append(b, " relay_ms="...)
	b = appendMillis(b, o.Steps.Relay)
	return append(b, '\n')
}

// weigh gives the gravest verdict and the sum of the scores that counted.
func weigh(fs []mail.Finding) (v mail.Verdict, score float64) {
	for i := range fs {
		if !fs[i].Counted {
			continue
		}
		score += fs[i].Score
		switch {
		case fs[i].Verdict == mail.Accept && v == mail.Continue:
			v = mail.Accept
		case fs[i].Verdict > v && fs[i].Verdict != mail.Continue:
			v = fs[i].Verdict
		}
	}
	return v, score
}

// would is the gravest verdict that a mode kept from counting: what observe
// would have done.
func would(fs []mail.Finding) (v mail.Verdict) {
	for i := range fs {
		if !fs[i].Counted && fs[i].Verdict > v {
			v = fs[i].Verdict
		}
	}
	return v
}

// appendScore never writes NaN or an infinity: JSON has neither.
func appendScore(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e6 {
		return strconv.AppendInt(b, int64(f), 10)
	}
	return strconv.AppendFloat(b, f, 'f', 2, 64)
}

// appendSymbols writes A(1.5),B(2,observe), or - for none.
func appendSymbols(b []byte, fs []mail.Finding) []byte {
	if len(fs) == 0 {
		return append(b, '-')
	}
	for i := range fs {
		if i > 0 {
			b = append(b, ',')
		}
		if i == maxFindings {
			b = append(b, '+')
			return strconv.AppendInt(b, int64(len(fs)-i), 10)
		}
		b = appendField(b, fs[i].Symbol, wordClass())
		b = append(b, '(')
		b = appendScore(b, fs[i].Score)
		if !fs[i].Counted {
			b = append(b, ',')
			b = append(b, fs[i].Mode.String()...)
		}
		b = append(b, ')')
	}
	return b
}
