package alert

import (
	"fmt"
	"strings"
	"time"
)

// A language of notices.
type language struct {
	of        func(Text) string
	severity  [3]string
	event     map[string]string
	run       string
	details   string
	since     string
	until     string
	count     string
	gateway   string
	key       string
	seen      string
	quiet     string
	more      string
	gathered  string
	separator string
}

func english() *language {
	return &language{
		of: func(t Text) string { return t.EN }, severity: [3]string{"INFO", "WARNING", "CRITICAL"},
		event: map[string]string{EventResolved: "RESOLVED", EventReminder: "STILL", EventEscalated: "WORSE", EventTest: "TEST", EventDigest: "DIGEST"},
		run:   "Run:", details: "Details:", since: "Since", until: "Over since", count: "Times", gateway: "Gateway", key: "Key",
		seen: "Seen, no reminders:", quiet: "Not now:", more: "and %d more", gathered: "Gathered:",
	}
}

func spanish() *language {
	return &language{
		of: func(t Text) string { return t.ES }, severity: [3]string{"INFO", "ADVERTENCIA", "CRÍTICO"},
		event: map[string]string{EventResolved: "RESUELTO", EventReminder: "SIGUE", EventEscalated: "EMPEORÓ", EventTest: "PRUEBA", EventDigest: "RESUMEN"},
		run:   "Ejecute:", details: "Detalles:", since: "Desde", until: "Terminó", count: "Veces", gateway: "Pasarela", key: "Clave",
		seen: "Visto, sin recordatorios:", quiet: "Ahora no:", more: "y %d más", gathered: "Reunidas:",
	}
}

// languages are those that a setting means, in order.
func languages(setting string) []*language {
	switch setting {
	case "en":
		return []*language{english()}
	case "es":
		return []*language{spanish()}
	}
	return []*language{english(), spanish()}
}

// line is what a notice says in one line: "WARNING: clamd is down".
func (l *language) line(n Notice) string {
	head := l.severity[n.Alert.Severity]
	switch n.Event {
	case EventRaised:
	case EventResolved, EventTest:
		head = l.event[n.Event]
	default:
		head = l.event[n.Event] + " " + head
	}
	return head + ": " + l.of(n.Alert.Subject)
}

// logSubject is the line for logs: one language, English where both are asked
// for, since programs read it.
func logSubject(n Notice, setting string) string {
	if setting == "es" {
		return spanish().line(n)
	}
	return english().line(n)
}

// subject is the line for people, in all languages asked for.
func subject(n Notice, setting string) string {
	var parts []string
	for _, l := range languages(setting) {
		parts = append(parts, l.line(n))
	}
	if len(parts) == 2 && parts[0] == parts[1] {
		parts = parts[:1]
	}
	return strings.Join(parts, " / ")
}

// body is the whole text, line feeds between lines.
func body(n Notice, setting string) string {
	var b strings.Builder
	for i, l := range languages(setting) {
		if i > 0 {
			b.WriteString("\n" + strings.Repeat("-", 40) + "\n\n")
		}
		l.write(&b, n)
	}
	return b.String()
}

func (l *language) write(b *strings.Builder, n Notice) {
	fmt.Fprintf(b, "%s\n", l.line(n))
	if t := l.of(n.Alert.Text); t != "" && n.Event != EventResolved {
		fmt.Fprintf(b, "\n%s\n", t)
	}
	if n.Command != "" && n.Event != EventResolved {
		fmt.Fprintf(b, "\n%s\n  %s\n", l.run, n.Command)
	}
	if len(n.Digest) > 0 {
		fmt.Fprintf(b, "\n%s\n", l.gathered)
		for _, one := range n.Digest {
			fmt.Fprintf(b, "  %s\n", l.line(one))
		}
		if n.More > 0 {
			fmt.Fprintf(b, "  "+l.more+"\n", n.More)
		}
	}
	if len(n.Alert.Facts) > 0 {
		fmt.Fprintf(b, "\n%s\n", l.details)
		for _, f := range n.Alert.Facts {
			fmt.Fprintf(b, "  %s: %s\n", f.Name, f.Value)
		}
	}
	b.WriteByte('\n')
	pair := func(name, value string) { fmt.Fprintf(b, "%s: %s\n", name, value) }
	if !n.Raised.IsZero() {
		pair(l.since, stamp(n.Raised))
	}
	if !n.Resolved.IsZero() {
		pair(l.until, stamp(n.Resolved))
	}
	if n.Count > 1 && n.Event != EventDigest {
		pair(l.count, fmt.Sprint(n.Count))
	}
	pair(l.gateway, n.Host)
	if n.Event == EventDigest || n.Event == EventTest {
		return
	}
	pair(l.key, n.Alert.Key)
	if n.Event != EventResolved {
		fmt.Fprintf(b, "\n%s\n  %s\n", l.seen, Shell([]string{"garita", "alert", "ack", n.Alert.Key}))
		fmt.Fprintf(b, "%s\n  %s\n", l.quiet, Shell([]string{"garita", "alert", "silence", n.Alert.Key, "--for", "4h"}))
	}
}

// stamp writes a time in UTC: readers are in more than one time zone.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
