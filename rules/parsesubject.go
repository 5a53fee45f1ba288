package rules

import (
	"slices"
	"strings"

	"garita/place"
)

// subjectForm is how a subject is written.
type subjectForm struct {
	words   string
	subject Subject
	kind    subjectKind
	name    bool // a name follows
}

type subjectKind uint8

const (
	aboutText        subjectKind = iota
	aboutField                   // text that may be missing
	aboutOctets                  // text as octets
	aboutOctetsField             // the same, may be missing
	aboutAddress                 // of a client
	aboutNumber
	aboutSize
)

// subjectForms are in an order in which the longer forms come first.
func subjectForms() []subjectForm {
	return []subjectForm{
		{"client", Client, aboutAddress, false},
		{"host", Host, aboutField, false},
		{"helo", Helo, aboutText, false},
		{"sender domain", SenderDomain, aboutText, false},
		{"sender", Sender, aboutField, false},
		{"recipient domain", RecipientDomain, aboutText, false},
		{"recipient", Recipient, aboutText, false},
		{"recipients", Recipients, aboutNumber, false},
		{"user", User, aboutField, false},
		{"listener", Listener, aboutText, false},
		{"size", Size, aboutSize, false},
		{"subject", SubjectText, aboutField, false},
		{"header", Header, aboutField, true},
		{"any header", AnyHeader, aboutText, false},
		{"mime header", MIMEHeader, aboutField, true},
		{"any mime header", AnyMIMEHeader, aboutText, false},
		{"nested header", NestedHeader, aboutField, true},
		{"any nested header", AnyNestedHeader, aboutText, false},
		{"raw header", RawHeader, aboutOctetsField, true},
		{"raw any header", RawAnyHeader, aboutOctets, false},
		{"body line", BodyLine, aboutOctets, false},
		{"text", Text, aboutText, false},
		{"html tag", Tag, aboutText, false},
		{"html attribute", Attribute, aboutField, true},
		{"attachment name", AttachmentName, aboutField, false},
		{"attachment extension", AttachmentExtension, aboutText, false},
		{"attachment type", AttachmentType, aboutText, false},
		{"attachment declared", AttachmentDeclared, aboutText, false},
		{"attachment size", AttachmentSize, aboutSize, false},
		{"attachments", Attachments, aboutNumber, false},
		{"defect", Defect, aboutText, false},
	}
}

// String gives the subject as a condition spells it, without a name.
func (s Subject) String() string {
	for _, f := range subjectForms() {
		if f.subject == s {
			return f.words
		}
	}
	return "unknown"
}

func (s Subject) form() subjectForm {
	for _, f := range subjectForms() {
		if f.subject == s {
			return f
		}
	}
	return subjectForm{}
}

// subject reads what the condition is about.
func (sc *scanner) subject(c *Condition) bool {
	first := sc.peek()
	for _, f := range subjectForms() {
		if !sc.takePhrase(f.words) {
			continue
		}
		c.Subject = f.subject
		if !f.name {
			return true
		}
		return sc.subjectName(c, f)
	}
	sc.unknownSubject(first)
	return false
}

// subjectName reads NAME, or NAME of TAG of html attribute.
func (sc *scanner) subjectName(c *Condition, f subjectForm) bool {
	t := sc.next()
	if t.kind != tokenWord {
		hint := "write " + f.words + " NAME …"
		if t.kind == tokenText && validField(t.text) {
			hint = "write it without quotes: " + f.words + " " + t.text
		}
		sc.fail(t, "here belongs the name of the "+f.words[strings.LastIndexByte(f.words, ' ')+1:], hint)
		return false
	}
	name := t.text
	if f.subject == Attribute {
		c.Name = strings.ToLower(name)
		if sc.takePhrase("of") {
			tag := sc.next()
			if tag.kind != tokenWord {
				sc.fail(tag, "here belongs the name of a tag", "write html attribute "+name+" of meta …")
				return false
			}
			c.Of = strings.ToLower(tag.text)
		}
		return true
	}
	if isOperator(name) && f.subject == Header {
		if next := sc.peek(); next.kind == tokenText || next.kind == tokenEnd {
			sc.fail(t, "the name of the header field is missing", "write header Subject "+name+" …, or any header "+name+" …")
			return false
		}
	}
	name, ok := sc.fieldName(t)
	c.Name = strings.ToLower(name)
	return ok
}

func isOperator(word string) bool {
	return slices.Contains([]string{"is", "contains", "starts", "ends", "matches", "in", "exists"}, word)
}

// unknownSubject helps with a condition that begins with something else.
func (sc *scanner) unknownSubject(t token) {
	if t.kind != tokenWord {
		sc.fail(t, "here belongs what the condition is about", "for example: subject, sender, text, attachment name")
		return
	}
	alias := map[string]string{"from": "sender (of the envelope) or header From", "to": "recipient (of the envelope) or header To",
		"ip": "client", "address": "client", "rcpt": "recipient", "mail": "sender", "body": "text (decoded) or body line (raw)",
		"filename": "attachment name", "file": "attachment name", "extension": "attachment extension", "mime": "mime header NAME or any mime header",
		"any": "any header", "nested": "nested header NAME or any nested header", "raw": "raw header NAME or raw any header",
		"html": "html tag or html attribute NAME", "attachment": "attachment name, attachment extension, attachment type, attachment declared or attachment size",
		"reply-to": "header Reply-To", "hostname": "host", "ehlo": "helo", "tag": "html tag", "name": "attachment name",
		"asunto": "subject", "remitente": "sender", "destinatario": "recipient", "adjunto": "attachment name", "texto": "text",
		"cuerpo": "text (decoded) or body line (raw)", "cliente": "client", "usuario": "user", "cabecera": "header NAME", "encabezado": "header NAME"}
	rest := sc.s[t.start:]
	words := strings.Fields(rest[:min(len(rest), 200)])
	suggestion := ""
	if a := alias[strings.ToLower(t.text)]; a != "" {
		suggestion = "did you mean " + a + "?"
	}
	var forms []string
	for _, f := range subjectForms() {
		forms = append(forms, f.words)
	}
	// Two and three words first: "atachment name" is nearer to one form than
	// "atachment" to any.
	for n := min(3, len(words)); n > 0; n-- {
		if meant := place.Nearest(strings.Join(words[:n], " "), forms); meant != "" && (n > 1 || suggestion == "") {
			suggestion = "did you mean " + meant + "?"
			break
		}
	}
	if t.text == "not" {
		suggestion = "write not once"
	}
	text := place.Quote(t.text) + " is not what a condition can be about"
	if suggestion == "" {
		suggestion = "one of: " + strings.Join(forms, ", ")
	}
	sc.fail(t, text, suggestion)
}
