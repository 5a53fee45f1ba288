package postfix

import (
	"strings"
)

// Action is what a rule asks for.
type Action uint8

const (
	None     Action = iota // nothing: DUNNO and OK, or an action that is not well formed
	Reject                 // the message, with Code and Text
	Discard                // accept and forget the message
	Pass                   // no more checks
	Redirect               // to the address in Text, instead of all recipients
	Filter                 // by the transport in Text
	Hold                   // the message
	Bcc                    // a copy to the address in Text
	Prepend                // Text before the header or line
	Replace                // the header or line by Text
	Ignore                 // the header or line is left out
	Strip                  // so it is, and told
	Warn                   // told
	Info                   // told
	Broken                 // an empty result: the message is deferred, 451 4.3.0
	GivenUp                // the look-up was over budget: not known
)

// String is the word of Postfix's log for the action.
func (a Action) String() string {
	return [...]string{"none", "reject", "discard", "pass", "redirect", "filter", "hold", "bcc", "prepend",
		"replace", "ignore", "strip", "warning", "info", "broken", "given up"}[a]
}

// Stops tells whether Postfix looks at nothing more of the message.
func (a Action) Stops() bool {
	switch a {
	case Reject, Discard, Pass, Redirect, Broken:
		return true
	}
	return false
}

// Verdict is the result of a look-up, taken to pieces.
type Verdict struct {
	Action Action
	// Text is what follows the word: the reply of Reject without its code.
	Text string
	// Code is the enhanced status of Reject and Broken, as 5.7.1; Reply is
	// the number before it, 550 or 451.
	Code  string
	Reply int
	// Problem says why an action does nothing.
	Problem string
}

// Judge reads a result as cleanup_act does.
func Judge(v View, result string) Verdict {
	if result == "" {
		return Verdict{Action: Broken, Reply: 451, Code: "4.3.0", Text: "queue file write error", Problem: "the result is empty"}
	}
	end := strings.IndexAny(result, " \t")
	if end < 0 {
		end = len(result)
	}
	word, text := strings.ToUpper(result[:end]), strings.TrimLeft(result[end:], blanks)
	switch word {
	case "REJECT":
		return rejection(text)
	case "DISCARD":
		return Verdict{Action: Discard, Text: text}
	case "PASS":
		return Verdict{Action: Pass, Text: text}
	case "HOLD":
		return Verdict{Action: Hold, Text: text}
	case "WARN":
		return Verdict{Action: Warn, Text: text}
	case "INFO":
		return Verdict{Action: Info, Text: text}
	case "STRIP":
		return Verdict{Action: Strip, Text: text}
	case "IGNORE":
		return Verdict{Action: Ignore}
	case "DUNNO", "OK":
		return Verdict{}
	case "REDIRECT":
		return needs(Redirect, text, "@", "need user@domain")
	case "BCC":
		return needs(Bcc, text, "@", "need user@domain")
	case "FILTER":
		return needs(Filter, text, ":", "need transport:destination")
	case "PREPEND":
		return edit(v, Prepend, text)
	case "REPLACE":
		return edit(v, Replace, text)
	}
	return Verdict{Problem: "unknown command"}
}

func needs(a Action, text, what, problem string) Verdict {
	if !strings.Contains(text, what) {
		return Verdict{Text: text, Problem: problem}
	}
	return Verdict{Action: a, Text: text}
}

func edit(v View, a Action, text string) Verdict {
	switch {
	case text == "":
		return Verdict{Problem: "no text"}
	case v != Body && headerName([]byte(text)) == 0:
		return Verdict{Text: text, Problem: "need headername: headervalue"}
	}
	return Verdict{Action: a, Text: text}
}

// rejection reads the text of REJECT: an enhanced status may come first, and
// one that is neither 4 nor 5 is made a 4.
func rejection(text string) Verdict {
	v := Verdict{Action: Reject, Code: "5.7.1", Text: text}
	if text == "" {
		v.Text = "message content rejected"
	}
	if n := statusLength(text); n > 0 {
		v.Code, v.Text = text[:n], strings.TrimLeft(text[n:], blanks)
	}
	if v.Code[0] != '4' && v.Code[0] != '5' {
		v.Code = "4" + v.Code[1:]
		v.Problem = "need 4.x.x or 5.x.x"
	}
	v.Reply = 550
	if v.Code[0] == '4' {
		v.Reply = 451
	}
	return v
}

// statusLength is the length of an enhanced status at the start of text, 0 if
// there is none: class, subject and detail of one to three digits.
func statusLength(text string) int {
	if len(text) < 5 || text[0] != '2' && text[0] != '4' && text[0] != '5' || text[1] != '.' {
		return 0
	}
	digits := func(i int) int {
		n := 0
		for i+n < len(text) && text[i+n] >= '0' && text[i+n] <= '9' {
			n++
		}
		return n
	}
	subject := digits(2)
	if subject < 1 || subject > 3 || 2+subject >= len(text) || text[2+subject] != '.' {
		return 0
	}
	end := 3 + subject
	detail := digits(end)
	end += detail
	if detail < 1 || detail > 3 || end < len(text) && !isSpace(text[end]) {
		return 0
	}
	return end
}
