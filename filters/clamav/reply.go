package clamav

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Bounds of a reply: one that is longer is nonsense, and no more of it is read.
const (
	maxReply = 4 << 10
	maxName  = 256 // octets of a signature's name that are kept
)

// kind is what a reply says, or what became of a scan without one.
type kind uint8

const (
	// nonsense is whatever is not one of the others: never clean.
	nonsense kind = iota
	clean
	found
	oversize    // larger than clamd takes
	failed      // clamd says ERROR
	reloading   // clamd says that it is loading its signatures
	timedOut    // no answer in time
	closed      // the connection ended before the answer
	unavailable // no endpoint takes a connection
	busy        // all scans that we allow were running for too long
	poison      // clamd failed on these very octets, again and again
)

// String names the kind as log and findings do.
func (k kind) String() string {
	switch k {
	case clean:
		return "clean"
	case found:
		return "found"
	case oversize:
		return "oversize"
	case failed:
		return "failed"
	case reloading:
		return "reloading"
	case timedOut:
		return "timed out"
	case closed:
		return "closed"
	case unavailable:
		return "unavailable"
	case busy:
		return "busy"
	case poison:
		return "poison"
	}
	return "nonsense"
}

// reply is what clamd said of a stream.
type reply struct {
	kind kind
	name string // of the signature, escaped, bounded
	text string // what else was said, escaped, bounded: for the operator
}

const (
	streamPrefix = "stream: "
	foundSuffix  = " FOUND"
	errorSuffix  = "ERROR"
)

// parseReply reads the answer to INSTREAM without its NUL. Only the exact
// "stream: OK" is clean (C-07); what a later clamd, a proxy or an attacker may
// say besides is nonsense.
func parseReply(p []byte) reply {
	if string(p) == "stream: OK" {
		return reply{kind: clean}
	}
	r := reply{text: escape(p, maxName)}
	// clamd answers in one line. Two of them are not an answer to our one
	// question.
	if len(p) > maxReply || bytes.IndexByte(p, '\n') >= 0 || bytes.IndexByte(p, 0) >= 0 {
		return r
	}
	rest, isStream := bytes.CutPrefix(p, []byte(streamPrefix))
	if name, ok := bytes.CutSuffix(rest, []byte(foundSuffix)); ok && isStream {
		if name = trimExtended(name); len(bytes.TrimSpace(name)) > 0 {
			r.kind, r.name = found, escape(name, maxName)
		}
		return r
	}
	if !bytes.HasSuffix(p, []byte(errorSuffix)) {
		// The only faults that clamd tells without the word.
		if s := string(p); s == "UNKNOWN COMMAND" || s == "COMMAND READ TIMED OUT" {
			r.kind = failed
		}
		return r
	}
	low := strings.ToLower(r.text)
	switch {
	case strings.Contains(low, "size limit exceeded"):
		r.kind = oversize
	case strings.Contains(low, "reload"):
		r.kind = reloading
	default:
		r.kind = failed
	}
	return r
}

// trimExtended takes off what ExtendedDetectionInfo adds: "(MD5:size)".
func trimExtended(name []byte) []byte {
	open := bytes.LastIndexByte(name, '(')
	if open <= 0 || name[len(name)-1] != ')' {
		return name
	}
	hash, size, ok := bytes.Cut(name[open+1:len(name)-1], []byte(":"))
	if ok && len(hash) == 32 && len(size) > 0 && isHex(hash) && isDigits(size) {
		return name[:open]
	}
	return name
}

func isHex(p []byte) bool {
	for _, c := range p {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isDigits(p []byte) bool {
	for _, c := range p {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// escape makes printable ASCII of what clamd says, at most n octets of it:
// signatures of third parties may be called anything.
func escape(p []byte, n int) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for _, c := range p {
		if b.Len()+4 > n {
			b.WriteString("...")
			break
		}
		if c >= ' ' && c < 0x7f && c != '\\' {
			b.WriteByte(c)
			continue
		}
		b.WriteString(`\x`)
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// replyName is the name as a stranger may see it: empty unless it is made of
// what names of signatures are made of.
func replyName(name string) string {
	if name == "" || len(name) > 80 || !utf8.ValidString(name) {
		return ""
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return ""
		}
	}
	return name
}

// class is a kind of signature, with an action of its own.
type class uint8

const (
	virus class = iota
	phishing
	pua
	heuristic
	limits
	encrypted
	macro
	unofficial
	ignored // by the operator
)

// String names the class as the keys do.
func (c class) String() string {
	switch c {
	case virus:
		return "virus"
	case phishing:
		return "phishing"
	case pua:
		return "pua"
	case heuristic:
		return "heuristic"
	case limits:
		return "limits"
	case encrypted:
		return "encrypted"
	case macro:
		return "macro"
	case unofficial:
		return "unofficial"
	}
	return "ignored"
}

func parseClass(s string) (class, bool) {
	for c := virus; c < ignored; c++ {
		if c.String() == s {
			return c, true
		}
	}
	return 0, false
}

// classify gives the class of a signature by its name (C-06). A third party's
// signature is that first, whatever it calls itself.
func classify(name string) class {
	has := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	switch {
	case has("Heuristics.Limits.Exceeded"):
		return limits
	case has("Heuristics.Encrypted"):
		return encrypted
	case has("Heuristics.OLE2.ContainsMacros"):
		return macro
	case strings.HasSuffix(name, ".UNOFFICIAL"):
		return unofficial
	case has("Phishing."), has("Heuristics.Phishing."), secondWord(name) == "Phishing":
		return phishing
	case has("PUA."):
		return pua
	case has("Heuristics."):
		return heuristic
	}
	return virus
}

// secondWord is the category in names of the official signatures:
// "Email.Phishing.VOF1-6295631-0".
func secondWord(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	word, _, _ := strings.Cut(rest, ".")
	return word
}

// pattern is an operator's word about names: a glob with "*", in any case.
type pattern struct {
	re    *regexp.Regexp
	class class
}

// parsePattern reads a glob. RE2 runs in linear time whatever it is.
func parsePattern(glob string, c class) (pattern, bool) {
	if glob == "" || len(glob) > maxName || strings.ContainsAny(glob, " \t\r\n") {
		return pattern{}, false
	}
	words := strings.Split(glob, "*")
	for i := range words {
		words[i] = regexp.QuoteMeta(words[i])
	}
	re, err := regexp.Compile("(?is)^" + strings.Join(words, ".*") + "$")
	return pattern{re, c}, err == nil
}
