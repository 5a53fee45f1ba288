package migrate

import (
	"strings"

	"garita/rules/postfix"
)

// deed is what a result of Postfix becomes here.
type deed struct {
	actions []string
	reply   string
	// changed says how it differs, skipped why there is none.
	changed, skipped string
	// silent: DUNNO and OK, which only keep later rules away.
	silent bool
}

// deedOf translates the right side of a rule. name is the header that the rule
// is about, "" for any.
func deedOf(v postfix.View, result string, groups int, name string) deed {
	j := postfix.Judge(v, result)
	var d deed
	text := j.Text
	if groups > 0 && strings.Contains(text, "$") {
		switch j.Action {
		case postfix.Reject, postfix.Discard, postfix.Warn, postfix.Info, postfix.Hold, postfix.Pass, postfix.Strip:
			text = withoutGroups(text)
			d.changed = "a reply holds no part of the message: $n is left out"
		default:
			return deed{skipped: "its text is made of the line ($n); no action here does that"}
		}
	}
	if j.Problem != "" && j.Action == postfix.None {
		return deed{skipped: "Postfix does nothing here: " + j.Problem}
	}
	only := func(a string) deed { d.actions = []string{a}; return d }
	inBody := v == postfix.Body
	switch j.Action {
	case postfix.None:
		d.silent = true
		return d
	case postfix.Reject:
		return d.reject(j, text)
	case postfix.Discard:
		return only("discard")
	case postfix.Pass:
		d.add("pass looks at no rule after it; Postfix looks at no further line, and calls no milter")
		return only("pass")
	case postfix.Hold:
		return only("quarantine")
	case postfix.Warn:
		return only("warn")
	case postfix.Info:
		return only("info")
	case postfix.Redirect:
		return address(d, "redirect", text)
	case postfix.Bcc:
		return address(d, "bcc", text)
	case postfix.Filter:
		return deed{skipped: "FILTER names a transport of Postfix; name the server as [next_hop.NAME] and use action = 'route \"NAME\"'"}
	case postfix.Broken:
		return deed{skipped: "it has no action: Postfix defers such mail with 451 4.3.0, which nobody wants"}
	}
	if inBody {
		return deed{skipped: "lines of the body are not changed here (" + j.Action.String() + "); the attachment check and disarm do that"}
	}
	switch j.Action {
	case postfix.Prepend:
		d.add("the new header stands at the top of the message, not before the one that matched")
		if _, same := ascii(text); same || strings.ContainsAny(text, "\\\"") {
			return deed{skipped: "the text of the new header is not plain ASCII"}
		}
		return only("prepend " + word(text))
	case postfix.Replace:
		head, value, _ := strings.Cut(text, ":")
		if name == "" || !strings.EqualFold(strings.TrimSpace(head), name) {
			return deed{skipped: "it puts a header of another name, or of a name that the pattern does not say, in the place of the one that matched"}
		}
		if _, odd := ascii(value); odd || strings.ContainsAny(value, "\\\"") {
			return deed{skipped: "the new value is not plain ASCII"}
		}
		return only("replace header " + word(strings.TrimSpace(value)))
	case postfix.Ignore:
		return only("ignore header")
	case postfix.Strip:
		return only("ignore header")
	}
	return deed{skipped: "an action that is not known here"}
}

func (d *deed) add(text string) {
	if d.changed != "" {
		d.changed += "; "
	}
	d.changed += text
}

func (d deed) reject(j postfix.Verdict, text string) deed {
	d.actions = []string{"reject"}
	if j.Reply/100 == 4 {
		d.actions = []string{"defer"}
	}
	plain, odd := ascii(text)
	if odd {
		d.add("a reply is ASCII: accents and other signs are replaced")
	}
	plain = strings.TrimSpace(plain)
	if len(plain) > maxReply {
		plain = plain[:maxReply]
		d.add("the reply is cut")
	}
	if plain == "" {
		plain = "message content rejected"
	}
	d.reply = j.Code + " " + plain
	if j.Code == "5.7.1" && text == "message content rejected" {
		d.reply = ""
	}
	return d
}

// maxReply is how much of a reply is kept.
const maxReply = 200

func address(d deed, action, text string) deed {
	text = strings.TrimSpace(text)
	if _, odd := ascii(text); odd || strings.ContainsAny(text, " \"\\<>,") {
		return deed{skipped: "the address cannot be read"}
	}
	d.actions = []string{action + " " + word(text)}
	return d
}

// withoutGroups takes $1, ${1} and $(1) out of a text.
func withoutGroups(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch {
		case i < len(text) && text[i] == '$':
			b.WriteByte('$')
		case i < len(text) && (text[i] == '{' || text[i] == '('):
			for i < len(text) && text[i] != '}' && text[i] != ')' {
				i++
			}
		default:
			for i < len(text) && text[i] >= '0' && text[i] <= '9' {
				i++
			}
			i--
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
