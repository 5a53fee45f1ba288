package dnsbl

import (
	"context"
	"strings"
)

// maxReason bounds a list's reason, in octets (attacks D-09).
const maxReason = 200

// OneLine makes the TXT records of a stranger one line of printable ASCII of at
// most 200 octets. It may stand in a reply: no line end, escape or octet beyond
// ASCII is left of it (attacks D-09).
func OneLine(texts []string) string {
	var b strings.Builder
	blank := true // none at the beginning, and never two
	for n, t := range texts {
		if n > 0 && !blank && b.Len() < maxReason {
			b.WriteByte(' ')
			blank = true
		}
		for i := 0; i < len(t) && b.Len() < maxReason; i++ {
			c := t[i]
			switch {
			case c == ' ' || c == '\t' || c == '\r' || c == '\n':
				if blank {
					continue
				}
				c, blank = ' ', true
			case c < ' ' || c > '~':
				c, blank = '?', false
			default:
				blank = false
			}
			b.WriteByte(c)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// Reason is the list's own text about a name that it lists, as OneLine gives
// it and without the key; empty where there is none. Under
// resolver.FromCache it is what memory has.
func (m *Monitor) Reason(ctx context.Context, q Question) string {
	if !q.List.TXT {
		return ""
	}
	texts, err := m.o.Resolver.TXT(ctx, q.Name)
	if err != nil {
		return ""
	}
	return q.List.say(texts)
}

// say is OneLine without the key, which goes before a cut could leave a part of
// it.
func (l *List) say(texts []string) string {
	shown := make([]string, len(texts))
	for i, t := range texts {
		shown[i] = l.redact(t)
	}
	return OneLine(shown)
}

// redact takes the key out of a text: a list may tell what it was asked. The
// text is hostile: it is searched once, and in octets, since lower case of
// other letters than ASCII has another length.
func (l *List) redact(s string) string {
	if l.Key == "" {
		return s
	}
	low, key := lowerASCII(s), lowerASCII(l.Key)
	i := strings.Index(low, key)
	if i < 0 {
		return s
	}
	var b strings.Builder
	for ; i >= 0; i = strings.Index(low, key) {
		b.WriteString(s[:i])
		b.WriteString("***")
		s, low = s[i+len(key):], low[i+len(key):]
	}
	b.WriteString(s)
	return b.String()
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
