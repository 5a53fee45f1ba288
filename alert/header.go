package alert

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode/utf8"
)

// letter makes the message of a notice: RFC 5322, text in UTF-8 as
// quoted-printable. Everything in it is printable already; encoding keeps the
// lines below 78 octets and the octets in ASCII, so that any server takes it.
func letter(n Notice, setting, from string, to []string, host string) []byte {
	var b strings.Builder
	field := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	field("From", "Garita <"+from+">")
	field("To", strings.Join(to, ",\r\n "))
	b.WriteString(unstructured("Subject", "[garita "+n.Host+"] "+subject(n, setting)))
	field("Date", n.Time.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	domain := host
	if !asciiWord(domain) {
		domain = from[strings.LastIndexByte(from, '@')+1:]
	}
	// What belongs to one occurrence stands in one thread.
	root := "<alert." + hash(n.Alert.Key+" "+n.Raised.UTC().Format(time.RFC3339Nano)) + "@" + domain + ">"
	own := "<alert." + n.ID + "@" + domain + ">"
	if n.Event == EventRaised {
		own = root
	}
	field("Message-ID", own)
	if !n.Raised.IsZero() && own != root {
		field("In-Reply-To", root)
		field("References", root)
	}
	// RFC 3834: nobody's out-of-office note answers this.
	field("Auto-Submitted", "auto-generated")
	field("X-Auto-Response-Suppress", "All")
	field("Precedence", "bulk")
	if n.Alert.Severity == Critical && n.Event != EventResolved {
		field("Importance", "high")
	}
	b.WriteString(unstructured("X-Garita-Alert", n.Event+" "+n.Alert.Severity.String()+" "+n.Alert.Key))
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(strings.ReplaceAll(body(n, setting), "\n", "\r\n"))) // a Builder takes all
	_ = w.Close()
	if !strings.HasSuffix(b.String(), "\r\n") {
		b.WriteString("\r\n")
	}
	return []byte(b.String())
}

func hash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:12])
}

func asciiWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte("<>()[]@,;:\\\"", s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

// unstructured writes a field with any text, folded: no line has more than 78
// octets (RFC 5322 section 2.1.1). A text that is not plain becomes encoded
// words (RFC 2047), whole, since white space between two of them is not shown.
// What could end a line never reaches the header, whoever made the text.
func unstructured(name, text string) string {
	text = oneLine(text)
	var b strings.Builder
	b.WriteString(name + ":")
	col := b.Len()
	put := func(word string) {
		if col+1+len(word) > maxLine && col > len(name)+1 {
			b.WriteString("\r\n")
			col = 0
		}
		b.WriteString(" " + word)
		col += 1 + len(word)
	}
	if words := strings.Split(text, " "); plain(words) {
		for _, w := range words {
			put(w)
		}
	} else {
		for text != "" {
			n := 0
			for n < len(text) {
				_, size := utf8.DecodeRuneInString(text[n:])
				if n+size > maxEncoded {
					break
				}
				n += size
			}
			put("=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(text[:n])) + "?=")
			text = text[n:]
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

const (
	maxLine    = 78
	maxEncoded = 36 // octets; 60 as an encoded word, which fits beside a name
	maxWord    = 60
)

// plain tells that words can stand in a field as they are.
func plain(words []string) bool {
	for _, w := range words {
		if w == "" || len(w) > maxWord || strings.Contains(w, "=?") {
			return false
		}
		for i := range len(w) {
			if w[i] <= ' ' || w[i] > '~' {
				return false
			}
		}
	}
	return true
}
