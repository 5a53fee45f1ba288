package mail

import (
	"strconv"
	"strings"
)

// Reply is an answer to the remote side. Text is ours or the next hop's
// cleaned text; it may hold several lines parted by '\n'. An operator's error
// never becomes a Reply: see Temporary.
type Reply struct {
	Code     int
	Enhanced string // RFC 3463, "5.7.1"; empty where a reply has none
	Text     string
}

// IsZero tells that nothing was said.
func (r Reply) IsZero() bool { return r.Code == 0 }

// Positive tells 2xx.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 300 }

// Temporary tells 4xx.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent tells 5xx.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// String is the reply as one line, for logs: the line ends become spaces.
func (r Reply) String() string {
	var b strings.Builder
	b.Grow(len(r.Text) + 12)
	b.WriteString(strconv.Itoa(r.Code))
	if r.Enhanced != "" {
		b.WriteByte(' ')
		b.WriteString(r.Enhanced)
	}
	b.WriteByte(' ')
	b.WriteString(strings.ReplaceAll(r.Text, "\n", " "))
	return b.String()
}

// OK makes a 2xx reply. subject is the enhanced code without its class
// ("1.0" for 2.1.0), empty for none.
func OK(code int, subject, text string) Reply { return build(2, code, subject, text) }

// Temporary makes a 4xx reply: the sender shall try again. It is the only
// answer for a fault of ours.
func Temporary(code int, subject, text string) Reply { return build(4, code, subject, text) }

// Permanent makes a 5xx reply: the sender shall give up.
func Permanent(code int, subject, text string) Reply { return build(5, code, subject, text) }

// build keeps code and enhanced code in one class: a 4xx with a 5.x.x told
// some senders to bounce what they should have kept.
func build(class, code int, subject, text string) Reply {
	if code/100 != class {
		panic("mail: reply code " + strconv.Itoa(code) + " is not of class " + strconv.Itoa(class))
	}
	if subject != "" {
		subject = strconv.Itoa(class) + "." + subject
	}
	return Reply{Code: code, Enhanced: subject, Text: text}
}
