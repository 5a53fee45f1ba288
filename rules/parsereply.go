package rules

import (
	"fmt"
	"strconv"
	"strings"

	"garita/mail"
	"garita/place"
)

// reply reads what the client is told: "[NNN] [N.N.N] text".
func (p *parser) reply(t *table, r *Rule) {
	v := t.take("reply")
	if v == nil {
		return
	}
	s, ok := p.text(v, "reply")
	if !ok {
		return
	}
	for i, c := range s {
		if c >= 0x80 {
			at := p.offset(v, i)
			p.report(span{at, at + len(string(c))}, "an SMTP reply is ASCII (RFC 5321), so it has no accents", "write "+place.String(plain(s)))
			return
		}
		if c < ' ' || c == 0x7f {
			at := p.offset(v, i)
			p.report(span{at, at + 1}, "the reply holds a line break or another control character", "write it in one line")
			return
		}
	}
	kind, class := Reject, 5
	switch {
	case hasAction(r, Reject):
	case hasAction(r, Defer):
		kind, class = Defer, 4
	default:
		p.report(v.at, "the client gets this reply only from reject and defer, and the rule does neither", `write action = "reject"`)
		return
	}
	code, enhanced, text, problem := splitReply(s)
	first := p.offset(v, 0)
	at := span{first, first + len(s) - len(text)}
	other := map[int]string{4: "defer", 5: "reject"}
	switch {
	case problem != "":
		p.report(v.at, problem, "")
		return
	case text == "":
		p.report(v.at, "the reply has no text", `write reply = "5.7.1 We do not take this"`)
		return
	case len(text) > maxReply:
		p.report(v.at, fmt.Sprintf("the reply has %d octets, more than %d", len(text), maxReply), "")
		return
	case code == 421 || code == 521:
		p.report(at, fmt.Sprintf("%d would end the whole connection and not refuse this message alone", code), map[int]string{421: "write 451", 521: "write 550"}[code])
		return
	case code != 0 && code/100 != class:
		p.report(at, fmt.Sprintf("%s answers %dxx, and %d is not one", kind, class, code), hintClass(other[code/100], class))
		return
	case enhanced != "" && int(enhanced[0]-'0') != class:
		p.report(at, fmt.Sprintf("%s answers %d.x.x, and %s is not one", kind, class, enhanced),
			hintClass(other[int(enhanced[0]-'0')], class))
		return
	}
	subject := "7.1"
	if enhanced != "" {
		subject = enhanced[2:]
	}
	reply := mail.Reply{}
	if class == 4 {
		if code == 0 {
			code = 451
		}
		reply = mail.Temporary(code, subject, text)
	} else {
		if code == 0 {
			code = 550
		}
		reply = mail.Permanent(code, subject, text)
	}
	r.Reply = &reply
}

func hintClass(action string, class int) string {
	own := map[int]string{4: "4.7.1", 5: "5.7.1"}[class]
	if action == "" {
		return "write " + own
	}
	return fmt.Sprintf("write %s, or action = %q", own, action)
}

func hasAction(r *Rule, k ActionKind) bool {
	for _, a := range r.Actions {
		if a.Kind == k {
			return true
		}
	}
	return false
}

// splitReply takes code and enhanced code (RFC 3463) off.
func splitReply(s string) (code int, enhanced, text, problem string) {
	text = strings.TrimSpace(s)
	word, rest, _ := strings.Cut(text, " ")
	if len(word) == 3 && strings.Trim(word, "0123456789") == "" {
		code, _ = strconv.Atoi(word)
		if code/100 != 4 && code/100 != 5 {
			return 0, "", text, fmt.Sprintf("%s is not the code of a refusal", word)
		}
		text = strings.TrimSpace(rest)
		word, rest, _ = strings.Cut(text, " ")
	}
	parts := strings.Split(word, ".")
	if len(parts) != 3 || strings.Trim(word, "0123456789.") != "" {
		return code, "", text, ""
	}
	for i, part := range parts {
		if part == "" || len(part) > 3 || len(part) > 1 && part[0] == '0' || i == 0 && part != "4" && part != "5" {
			return 0, "", text, place.Quote(word) + " is not an enhanced code of a refusal (RFC 3463)"
		}
	}
	return code, word, strings.TrimSpace(rest), ""
}
