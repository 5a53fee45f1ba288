package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// View says how a report is shown.
type View struct {
	Spanish bool
	Verbose bool // with every dialogue
	// Escape makes hostile text safe to print on one line.
	Escape func(string) string
	// Paint colours a word: 'g' green, 'r' red.
	Paint func(colour byte, s string) string
}

// The columns of the table; with two spaces between them 100 in all.
const (
	widthWhat  = 39
	widthReply = 33
	widthWhere = 18
	widthOK    = 4
	widthAll   = 100
)

// Say chooses the language.
func (v View) Say(w Words) string {
	if v.Spanish {
		return w.ES
	}
	return w.EN
}

func (v View) say(en, es string) string { return v.Say(Words{en, es}) }

// Text writes the report for a person. It is the caller's to write all of it
// to a terminal or a file; the width is fixed.
func (r *Report) Text(out io.Writer, v View) {
	var b strings.Builder
	v.row(&b, v.say("WHAT WAS SENT", "QUÉ SE ENVIÓ"), v.say("REPLY THE CLIENT GOT", "RESPUESTA AL CLIENTE"),
		v.say("WHERE IT WENT", "ADÓNDE FUE"), "OK", 0)
	b.WriteString(strings.Repeat("-", widthAll) + "\n")
	good, section := 0, ""
	for _, one := range r.Results {
		if one.Section != section {
			section = one.Section
			v.section(&b, r.Sections, section)
		}
		mark, colour := v.say("yes", "sí"), byte('g')
		if !one.OK {
			mark, colour = v.say("NO", "NO"), 'r'
		} else {
			good++
		}
		v.row(&b, v.Say(one.What), v.reply(one.Reply), v.where(one.Delivered, one.NoMail), mark, colour)
		for _, line := range one.Says {
			v.wrap(&b, "  > ", v.Say(line))
		}
		for _, why := range one.Why {
			v.wrap(&b, "      ", why)
		}
		if v.Verbose {
			for _, line := range one.Dialogue {
				v.wrap(&b, "      ", line)
			}
		}
	}
	b.WriteString(strings.Repeat("-", widthAll) + "\n")
	fmt.Fprintf(&b, v.say("%d of %d went as they must, in %.1f s. ", "%d de %d salieron como debían, en %.1f s. "),
		good, len(r.Results), r.Seconds)
	if r.OK {
		b.WriteString(v.say("Nothing else arrived anywhere.\n", "Nada más llegó a ninguna parte.\n"))
	} else {
		b.WriteString(v.Paint('r', v.say("FAILED.", "FALLÓ.")) + "\n")
	}
	for _, f := range r.Faults {
		v.wrap(&b, "  ! ", f)
	}
	for _, n := range r.Notes {
		v.wrap(&b, "  * ", v.Say(n))
	}
	v.after(&b, r)
	io.WriteString(out, b.String())
}

// section is the heading of a part of the table.
func (v View) section(b *strings.Builder, list []Section, name string) {
	for _, s := range list {
		if s.Name == name {
			b.WriteString("\n" + v.Say(s.Title) + "\n")
			v.wrap(b, "", v.Say(s.Note))
			b.WriteString(strings.Repeat("-", widthAll) + "\n")
		}
	}
}

// after is what stands below the table.
func (v View) after(b *strings.Builder, r *Report) {
	v.wrap(b, "", v.say(
		"Each message that arrived was compared to the octet with what was sent, below the gateway's Received field.",
		"Cada mensaje recibido se comparó octeto a octeto con lo enviado, bajo el campo Received de la pasarela."))
	if len(r.Log) > 0 {
		b.WriteString("\n" + v.say("The log of the first message:", "El registro del primer mensaje:") + "\n")
		for _, line := range r.Log {
			v.wrap(b, "  ", line)
		}
	}
	if r.Removed != "" {
		b.WriteString("\n")
		v.wrap(b, "", v.say("Everything happened on loopback; nothing is left behind: removed ",
			"Todo ocurrió en loopback; no queda nada: se borró ")+r.Removed)
	}
	b.WriteString("\n" + v.say("Next:", "Ahora:") + "\n")
	for _, s := range []struct {
		command string
		what    Words
	}{
		{"garita init", Words{"write a configuration for your server (it asks)", "escribe una configuración para su servidor (pregunta)"}},
		{"garita config check --config FILE", Words{"look for mistakes in it", "busca errores en ella"}},
		{"garita run --config FILE", Words{"start the gateway", "arranca la pasarela"}},
	} {
		fmt.Fprintf(b, "  %s  %s\n", pad(s.command, 34), v.Say(s.what))
	}
}

// row writes one line of the table.
func (v View) row(b *strings.Builder, what, reply, where, mark string, colour byte) {
	last := mark
	if colour != 0 {
		last = v.Paint(colour, mark)
	}
	b.WriteString(pad(fit(v.Escape(what), widthWhat), widthWhat) + "  " + pad(fit(v.Escape(reply), widthReply), widthReply) + "  " +
		pad(fit(v.Escape(where), widthWhere), widthWhere) + "  " + last + "\n")
}

// reply is the first line of a reply.
func (v View) reply(s string) string {
	if s == "" {
		return v.say("(none: it had gone)", "(ninguna: ya no estaba)")
	}
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// where tells by short names at which servers messages lie; none says that
// there was no message.
func (v View) where(list []Parcel, none bool) string {
	if len(list) == 0 && none {
		return "-"
	}
	if len(list) == 0 {
		return v.say("nowhere", "a ningún sitio")
	}
	var names []string
	for _, p := range list {
		short, _, _ := strings.Cut(p.Host, ".")
		if n := len(p.To); n > 1 {
			short += fmt.Sprintf(" (%d)", n)
		}
		names = append(names, short)
	}
	if n := len(names); n > 1 && !slices.ContainsFunc(names, func(s string) bool { return s != names[0] }) {
		return fmt.Sprintf("%s, %d×", names[0], n)
	}
	return strings.Join(names, ", ")
}

// wrap writes a text in lines that fit, each indented, those after the first
// by two more when there is an indent at all.
func (v View) wrap(b *strings.Builder, indent, text string) {
	text = v.Escape(text)
	next := strings.Repeat(" ", len(indent))
	if indent != "" {
		next += "  "
	}
	for {
		room := widthAll - utf8.RuneCountInString(indent)
		if utf8.RuneCountInString(text) <= room {
			b.WriteString(indent + text + "\n")
			return
		}
		head := string([]rune(text)[:room])
		if at := strings.LastIndexByte(head, ' '); at > room/2 {
			head = head[:at]
		}
		b.WriteString(indent + head + "\n")
		text = strings.TrimPrefix(text[len(head):], " ")
		indent = next
	}
}

// fit cuts a text to a width, in characters.
func fit(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
