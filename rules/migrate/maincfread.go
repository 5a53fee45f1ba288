package migrate

import (
	"strings"
)

// parameter is one of main.cf.
type parameter struct {
	name, value string
	line        int
}

// readMain reads the lines of a main.cf: a line that begins with a blank goes on
// from the one before, also across comments and empty lines; the last of two
// parameters of one name counts. bad are lines that are none.
func readMain(text string) (list []parameter, bad []parameter) {
	var open *parameter
	flush := func() {
		if open == nil {
			return
		}
		name, value, ok := strings.Cut(open.value, "=")
		p := parameter{name: strings.TrimSpace(name), value: strings.TrimSpace(value), line: open.line}
		if !ok || p.name == "" || strings.ContainsAny(p.name, " \t") {
			bad = append(bad, parameter{value: open.value, line: open.line})
		} else {
			list = append(list, p)
		}
		open = nil
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		body := strings.TrimLeft(line, " \t")
		switch {
		case body == "" || body[0] == '#':
		case body != line && open != nil:
			open.value += " " + strings.TrimSpace(body)
		case body != line:
			bad = append(bad, parameter{value: line, line: i + 1})
		default:
			flush()
			open = &parameter{value: line, line: i + 1}
		}
	}
	flush()
	return list, bad
}

// mainDefaults are those of postconf(5) that other parameters are made of.
func mainDefaults() map[string]string {
	return map[string]string{
		"mydestination": "$myhostname, localhost.$mydomain, localhost", "myorigin": "$myhostname", "config_directory": "/etc/postfix",
		"daemon_directory": "/usr/lib/postfix/sbin", "data_directory": "/var/lib/postfix", "queue_directory": "/var/spool/postfix",
		"default_database_type": "hash", "message_size_limit": "10240000", "anvil_rate_time_unit": "60s", "recipient_delimiter": "",
		"virtual_alias_domains": "$virtual_alias_maps", "virtual_mailbox_domains": "$virtual_mailbox_maps", "alias_database": "hash:/etc/aliases",
		"smtpd_banner": "$myhostname ESMTP $mail_name", "mail_name": "Postfix", "process_id_directory": "pid", "relay_domains": "",
		"smtpd_delay_reject": "yes",
	}
}

// values are the parameters of a main.cf with what stands for others.
type values struct {
	set map[string]parameter
	// tooDeep is set when parameters stand for each other in a ring.
	tooDeep bool
	work    int
}

// The bounds of expansion.
const (
	maxExpand     = 20
	maxExpanded   = 256 << 10
	maxExpandWork = 10000
)

func newValues(list []parameter) *values {
	v := &values{set: map[string]parameter{}}
	for _, p := range list {
		v.set[p.name] = p
	}
	return v
}

// get is the value of a parameter, expanded; the default if it is not set.
func (v *values) get(name string) string { return v.expanded(name, 0) }

func (v *values) isSet(name string) bool { _, ok := v.set[name]; return ok }

func (v *values) expanded(name string, depth int) string {
	p, ok := v.set[name]
	raw := p.value
	if !ok {
		raw = mainDefaults()[name]
		if name == "mydomain" {
			if _, domain, ok := strings.Cut(v.expanded("myhostname", depth+1), "."); ok {
				raw = domain
			}
		}
	}
	return v.expand(raw, depth)
}

// expand replaces $name, ${name}, $(name), ${name?text}, ${name:text} and
// ${name?{a}:{b}}. Comparisons (${{a}=={b}?...}) are left as they are.
func (v *values) expand(s string, depth int) string {
	if v.work++; depth > maxExpand || v.work > maxExpandWork {
		v.tooDeep = true
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '$' || i+1 >= len(s) {
			b.WriteByte(s[i])
			i++
			continue
		}
		if s[i+1] == '$' {
			b.WriteByte('$')
			i += 2
			continue
		}
		inner, next := reference(s, i+1)
		if inner == "" {
			b.WriteByte('$')
			i++
			continue
		}
		b.WriteString(v.reference(inner, depth))
		if i = next; b.Len() > maxExpanded {
			v.tooDeep = true
			return ""
		}
	}
	return b.String()
}

// reference reads the name behind a $, or what is between its brackets.
func reference(s string, i int) (inner string, next int) {
	if s[i] == '{' || s[i] == '(' {
		shut := byte('}')
		if s[i] == '(' {
			shut = ')'
		}
		level := 0
		for j := i; j < len(s); j++ {
			switch s[j] {
			case s[i]:
				level++
			case shut:
				if level--; level == 0 {
					return s[i+1 : j], j + 1
				}
			}
		}
		return "", i
	}
	j := i
	for j < len(s) && (s[j] == '_' || s[j] >= '0' && s[j] <= '9' || s[j] >= 'a' && s[j] <= 'z' || s[j] >= 'A' && s[j] <= 'Z') {
		j++
	}
	return s[i:j], j
}

func (v *values) reference(inner string, depth int) string {
	end := strings.IndexAny(inner, "?:")
	if end < 0 {
		return v.expanded(strings.TrimSpace(inner), depth+1)
	}
	name, sign, rest := inner[:end], inner[end], inner[end+1:]
	value := v.expanded(strings.TrimSpace(name), depth+1)
	yes, no := rest, ""
	if strings.HasPrefix(rest, "{") {
		one, next := reference(rest, 0)
		yes = one
		if after, ok := strings.CutPrefix(strings.TrimSpace(rest[min(next, len(rest)):]), ":"); ok {
			if two, _ := reference(strings.TrimSpace(after)+" ", 0); two != "" {
				no = two
			}
		}
	}
	if sign == ':' {
		yes, no = no, yes
	}
	if value != "" {
		return v.expand(yes, depth+1)
	}
	return v.expand(no, depth+1)
}

// split cuts a list of main.cf at blanks and commas, except within braces.
func split(s string) (out []string) {
	level, start := 0, -1
	end := func(i int) {
		if start >= 0 {
			out = append(out, s[start:i])
		}
		start = -1
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case level == 0 && (c == ' ' || c == '\t' || c == ',' || c == '\r' || c == '\n'):
			end(i)
			continue
		case c == '{':
			level++
		case c == '}' && level > 0:
			level--
		}
		if start < 0 {
			start = i
		}
	}
	end(len(s))
	return out
}

// mapFile gives the path of a table that is a file, and its type.
func mapFile(name string) (kind, path string, ok bool) {
	kind, path, ok = strings.Cut(name, ":")
	if !ok {
		if strings.HasPrefix(name, "/") {
			return "file", name, true
		}
		return "", "", false
	}
	switch kind {
	case "hash", "texthash", "btree", "lmdb", "cdb", "dbm", "cidr", "pcre", "regexp":
		return kind, path, strings.HasPrefix(path, "/") || !strings.Contains(path, ":")
	}
	return kind, path, false
}
