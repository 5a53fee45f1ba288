package migrate

import (
	"fmt"
	"net/netip"
	"strings"

	"garita/tables"
)

// lists are the entries of [check.access] by key, in the order of that table.
type lists struct {
	clients, names, helo, senders, recipients []string
	seen                                      map[string]bool
}

// toml writes the table, if there is anything in it.
func (l *lists) toml(s *sheet, mode string) {
	s.toml.WriteString("\n[check.access]\nmode = " + quote(mode) + "\n")
	for _, one := range []struct {
		key    string
		values []string
	}{{"clients", l.clients}, {"names", l.names}, {"helo", l.helo}, {"senders", l.senders}, {"recipients", l.recipients}} {
		if len(one.values) > 0 {
			s.toml.WriteString(one.key + " = " + list(one.values) + "\n")
		}
	}
}

func (l *lists) empty() bool {
	return len(l.clients)+len(l.names)+len(l.helo)+len(l.senders)+len(l.recipients) == 0
}

// into is the list of a key.
func (l *lists) into(check, key string) (*[]string, string) {
	switch check {
	case "client":
		if isNetwork(key) {
			return &l.clients, "clients"
		}
		return &l.names, "names"
	case "helo":
		return &l.helo, "helo"
	case "recipient":
		return &l.recipients, "recipients"
	}
	return &l.senders, "senders"
}

func isNetwork(key string) bool {
	if _, err := netip.ParsePrefix(key); err == nil {
		return true
	}
	if _, err := netip.ParseAddr(key); err == nil {
		return true
	}
	return strings.Trim(key, "0123456789.") == "" || strings.Contains(key, ":")
}

// Access imports an access(5) file as lists of [check.access]. entry, which may
// be nil, says what our own reader has against an entry of a list.
func Access(text []byte, o Options, entry func(list, line string) error) Result {
	s := &sheet{file: o.File}
	s.comment("Made of the access file %s, used for check_%s_access.", o.File, o.Check)
	s.comment("Mode %s: see in the log what the lists say before they decide.", o.mode())
	l := &lists{seen: map[string]bool{}}
	whole := accessFile(s, l, text, o, entry)
	l.toml(s, o.mode())
	if whole && !l.empty() {
		s.tell(0, Note, "", fmt.Sprintf("every line can be read as it is: [check.access] %s_files = [%s] does the same and follows the file",
			strings.TrimSuffix(o.Check, "s"), quote(o.File)))
	}
	if o.Check == "client" || o.Check == "sender" {
		s.tell(0, Note, "", "where one file is used for clients and for senders, a key means what it means there: import it twice, "+
			"with --check client and --check sender. An address of mail is never found by a client check, nor an IP address by a sender check")
	}
	return s.done()
}

// accessFile reads a file into the lists, and tells whether all of it is there.
func accessFile(s *sheet, l *lists, text []byte, o Options, entry func(list, line string) error) bool {
	file, problems := tables.Parse(o.File, text, tables.Options{MaxBytes: MaxFile})
	whole := len(problems) == 0
	for _, p := range problems {
		s.line(Line{File: o.File, Line: p.Line, Fate: Skipped, Why: show(p.Text, 200)})
	}
	for _, e := range file {
		line := Line{File: o.File, Line: e.Line, What: e.Key + " " + e.Value}
		a := accessAction(e.Value, o.Check)
		key := strings.TrimSuffix(e.Key, ".")
		into, name := l.into(o.Check, key)
		full := strings.TrimSpace(key + " " + a.right)
		switch {
		case unfit(o.Check, key) != "":
			line.Fate, line.Why = Skipped, unfit(o.Check, key)
		case a.skipped != "":
			line.Fate, line.Why = Skipped, strings.ReplaceAll(a.skipped, "KEY", show(key, 80))
		case l.seen[name+"\x00"+strings.ToLower(key)]:
			line.Fate, line.Why = Skipped, "the key stands before; postmap keeps the last and warns, here the first counts"
		default:
			line.Fate, line.Why, line.Rule = Imported, a.changed, "check.access."+name
			if a.changed != "" {
				line.Fate = Changed
			}
			if entry != nil {
				if err := entry(name, full); err != nil {
					line.Fate, line.Why, line.Rule = Skipped, show(err.Error(), 300), ""
				}
			}
		}
		if line.Rule != "" {
			*into = append(*into, full)
			l.seen[name+"\x00"+strings.ToLower(key)] = true
		}
		whole = whole && line.Fate == Imported
		s.line(line)
	}
	return whole
}

// unfit says why a key can never be found by a check.
func unfit(check, key string) string {
	switch {
	case strings.HasPrefix(key, "!") || strings.EqualFold(key, "if") || strings.EqualFold(key, "endif"):
		return "! and if of CIDR tables have no equal: write the networks out"
	case strings.HasPrefix(key, "/"):
		return "it is a pattern: that is for a rule, as match = ['" + subjectOf(check) + " matches /.../i']"
	case strings.EqualFold(key, "unknown"):
		return "\"unknown\" stands for clients without a name: [check.client] looks at those"
	case (check == "client" || check == "helo") && strings.Contains(key, "@"):
		return "it is an address of mail, which this check never asks for; import the file with --check sender too"
	case check != "client" && check != "helo" && isNetwork(key) && !strings.Contains(key, "@"):
		return "it is an IP address, which this check never asks for; import the file with --check client too"
	}
	return ""
}

func subjectOf(check string) string {
	if check == "client" {
		return "host"
	}
	return check
}

// right is a right-hand side: what it is here, or why it is not.
type right struct{ right, changed, skipped string }

// accessAction translates the right side of an access table.
func accessAction(value, check string) right {
	word, text, _ := strings.Cut(strings.TrimSpace(value), " ")
	text = strings.TrimSpace(text)
	plain, odd := ascii(text)
	r := right{}
	if odd {
		r.changed = "a reply is ASCII: accents and other signs are replaced"
	}
	if len(plain) > maxReply {
		plain, r.changed = plain[:maxReply], "the reply is cut"
	}
	with := func(w string) right { r.right = strings.TrimSpace(w + " " + plain); return r }
	upper := strings.ToUpper(word)
	if word != "" && strings.Trim(word, "0123456789") == "" {
		if len(word) == 3 && (word[0] == '4' || word[0] == '5') {
			if text == "" {
				return right{skipped: "a number alone is OK to Postfix: it lets such a client in. Who wrote it meant the contrary: write " + word + " and a text"}
			}
			return with(word)
		}
		upper, plain = "OK", ""
	}
	switch upper {
	case "REJECT":
		return with("reject")
	case "DEFER", "DEFER_IF_PERMIT":
		return with("defer")
	case "DEFER_IF_REJECT":
		r.changed = "it is always put off, and refused where another check refuses"
		return with("defer")
	case "DUNNO":
		return right{right: "dunno"}
	case "OK", "RELAY", "PERMIT":
		return accessOK(check, text)
	case "":
		return right{skipped: "there is nothing on the right"}
	}
	return right{skipped: accessOther(upper, text, check)}
}

func accessOK(check, text string) right {
	r := right{right: "accept"}
	if text != "" {
		r.changed = "the text is not shown to anybody and left out"
	}
	switch check {
	case "sender":
		return right{skipped: "a sender is what anybody claims: before reject_unauth_destination this is an open relay for whoever writes that " +
			"address, and after it a way around every check. Let such people log in (listener with auth), or write [check.access.entry.NAME] " +
			"with sender and client together"}
	case "helo":
		return right{skipped: "anybody can say any HELO name: an accept by it would be a way around the checks"}
	case "client":
		r.changed = strings.TrimPrefix(r.changed+"; it skips the checks that score; it opens no relay (trusted_networks of a listener does)", "; ")
	}
	return r
}

// accessOther says what to do instead.
func accessOther(word, text, check string) string {
	subject := subjectOf(check) + " is \"KEY\""
	rule := func(action string) string {
		return "write a rule: match = ['" + subject + "'], action = '" + action + "'"
	}
	switch word {
	case "DISCARD":
		return rule("discard")
	case "HOLD":
		return rule("quarantine")
	case "WARN", "INFO":
		return rule(strings.ToLower(word))
	case "REDIRECT", "BCC":
		return rule(strings.ToLower(word) + " " + word_(text))
	case "PREPEND":
		return rule("prepend " + word_(text))
	case "FILTER":
		return rule("route \"NAME\"") + ", with the server as [next_hop.NAME]"
	}
	return "a restriction or class of main.cf as an action (" + show(strings.ToLower(word), 40) + "): lists have none; see what it does and write that"
}

func word_(s string) string { return word(show(s, 60)) }
