package access

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"garita/mail"
)

const (
	maxText   = 300 // characters of a text for the client
	maxReason = 200 // of a reason
)

// kind is what a list is about, in the order of the stages.
type kind uint8

const (
	byClient kind = iota
	byName
	byHelo
	bySender
	byRecipient
	kindCount
)

// kindWords are the words of a kind.
type kindWords struct {
	list, files string // keys of the configuration
	symbol      string
	refusal     string // what was refused, in Postfix's words, which reports group by
}

func kinds() [kindCount]kindWords {
	return [kindCount]kindWords{
		byClient:    {"clients", "client_files", SymbolClient, "Client host rejected"},
		byName:      {"names", "name_files", SymbolName, "Client host rejected"},
		byHelo:      {"helo", "helo_files", SymbolHelo, "Helo command rejected"},
		bySender:    {"senders", "sender_files", SymbolSender, "Sender address rejected"},
		byRecipient: {"recipients", "recipient_files", SymbolRecipient, "Recipient address rejected"},
	}
}

// action is the right-hand side of an entry. Entries with the same one share
// it.
type action struct {
	verdict mail.Verdict // Continue: DUNNO, the list has nothing to say
	reply   *mail.Reply
	reason  string
	until   int64 // Unix seconds, from then on it does not count; 0: never
	// needsTrust: an accept by what anybody can say.
	needsTrust bool
}

// parseAction reads "action [until=DATE] [reason=WHY] [text]", our own words
// and those of access(5), without case.
func parseAction(k kind, right string) (*action, error) {
	word, rest := cutWord(right)
	a := &action{}
	code := 0
	switch w := strings.ToLower(word); w {
	case "":
		return nil, errors.New("there is no action (reject, defer or accept)")
	case "accept", "ok", "permit":
		a.verdict = mail.Accept
	case "reject":
		a.verdict, code = mail.Reject, 554
	case "defer", "defer_if_permit":
		// A reject of another check beats our defer, and that is all that
		// DEFER_IF_PERMIT says.
		a.verdict, code = mail.Defer, 450
	case "dunno":
	default:
		var err error
		if code, err = number(w, rest); err != nil {
			return nil, err
		}
		switch code / 100 {
		case 0:
			a.verdict = mail.Accept
		case 4:
			a.verdict = mail.Defer
		case 5:
			a.verdict = mail.Reject
		}
	}
	text, err := a.options(rest)
	if err != nil {
		return nil, err
	}
	if code == 0 {
		if text != "" && strings.EqualFold(word, "accept") {
			return nil, errors.New("accept shows no text (reason=\"…\" goes to the log)")
		}
		return a, nil // access(5) allows text after OK and DUNNO and shows none
	}
	a.reply, err = reply(k, code, text)
	return a, err
}

// number reads the actions that are numbers: a reply code with a text, or a
// number alone, which Postfix takes as OK. 0 is OK.
func number(w, rest string) (int, error) {
	if strings.Trim(w, "0123456789") != "" {
		return 0, unknownAction(w)
	}
	if len(w) != 3 || w[0] != '4' && w[0] != '5' {
		if rest != "" {
			return 0, errors.New("the action is a number that is no reply code (4NN or 5NN and a text)")
		}
		return 0, nil
	}
	code, _ := strconv.Atoi(w)
	switch {
	case rest == "":
		// Postfix lets such a client in. Who wrote it meant the contrary.
		return 0, fmt.Errorf("%s alone is OK to Postfix (write %q, or \"accept\")", w, w+" Access denied")
	case code%100 > 59:
		return 0, fmt.Errorf("%s is not a reply code of SMTP (try %c50)", w, w[0])
	case code == 421 || code == 521:
		return 0, fmt.Errorf("%s would have to close the connection, which a list does not (try %c50)", w, w[0])
	}
	return code, nil
}

// unknownAction says what to do instead of an action that we do not have.
func unknownAction(w string) error {
	try := ""
	switch w {
	case "discard", "ignore":
		try = "mail is not dropped in silence: try reject"
	case "hold":
		try = "try defer"
	case "warn", "info":
		try = "try the check's mode observe"
	case "filter", "redirect", "bcc", "prepend":
		try = "a list does not change where mail goes or what it holds"
	case "defer_if_reject":
		try = "try defer"
	case "relay":
		try = "relaying is the listener's, by trusted_networks and relay_domains"
	case "drop", "deny", "block", "refuse":
		try = "try reject"
	case "allow", "pass":
		try = "try accept"
	default:
		if strings.HasPrefix(w, "reject_") || strings.HasPrefix(w, "permit_") || strings.HasPrefix(w, "check_") || strings.HasPrefix(w, "defer_") {
			try = "names of Postfix restrictions are not supported; write what shall happen"
		}
	}
	text := "the action must be reject, defer or accept"
	if try != "" {
		text += " (" + try + ")"
	}
	return errors.New(text)
}

// options takes until= and reason= from the start of a text.
func (a *action) options(text string) (rest string, err error) {
	for {
		key, value, ok := strings.Cut(text, "=")
		switch strings.ToLower(key) {
		case "until":
			word, more := cutWord(value)
			if a.until, err = parseExpiry(word); err != nil {
				return "", fmt.Errorf("until=: %w", err)
			}
			text = more
		case "reason":
			if a.reason, text, err = quoted(value); err != nil {
				return "", err
			}
		case "expires":
			return "", errors.New("write until= for the time when the entry expires")
		default:
			ok = false
		}
		if !ok {
			return text, nil
		}
	}
}

// quoted reads a word, or several in double quotes.
func quoted(s string) (value, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		var ok bool
		if value, rest, ok = strings.Cut(s[1:], `"`); !ok {
			return "", "", errors.New("the quote after reason= is not closed")
		}
		rest = strings.TrimLeft(rest, " \t")
	} else {
		value, rest = cutWord(s)
	}
	return value, rest, checkReason(value)
}

func checkReason(s string) error {
	if len(s) > maxReason || strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) >= 0 {
		return fmt.Errorf("the reason must be one line of %d bytes at most", maxReason)
	}
	return nil
}

// reply makes the answer of a code and a text that may begin with an enhanced
// code (RFC 3463).
func reply(k kind, code int, text string) (*mail.Reply, error) {
	if len(text) > maxText || strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return nil, fmt.Errorf("the text must be printable ASCII, %d characters at most", maxText)
	}
	subject := "7.1"
	if word, rest := cutWord(text); isEnhanced(word) {
		if word[0] != byte('0'+code/100) {
			return nil, fmt.Errorf("the enhanced code %s does not go with a %d reply", word, code)
		}
		subject, text = word[2:], rest
	}
	if text == "" {
		text = kinds()[k].refusal + ": Access denied"
		if code < 500 {
			text += " for now, try again later"
		}
	}
	var r mail.Reply
	if code < 500 {
		r = mail.Temporary(code, subject, text)
	} else {
		r = mail.Permanent(code, subject, text)
	}
	return &r, nil
}

// isEnhanced tells an enhanced status code, class.subject.detail.
func isEnhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != "2" && parts[0] != "4" && parts[0] != "5" {
		return false
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// cutWord parts the first word from the rest.
func cutWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.Trim(s[i:], " \t")
	}
	return s, ""
}

// Expiry is a time in the configuration, kept as it was written.
type Expiry struct {
	text  string
	until int64
}

// UnmarshalText reads a date or a time.
func (e *Expiry) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*e = Expiry{}
		return nil
	}
	until, err := parseExpiry(string(text))
	if err == nil {
		*e = Expiry{string(text), until}
	}
	return err
}

// MarshalText gives it back as it was written.
func (e Expiry) MarshalText() ([]byte, error) { return []byte(e.text), nil }

// parseExpiry reads a date, whose day still counts whole (UTC), or a time of
// RFC 3339, and gives the second from which on nothing counts.
func parseExpiry(s string) (int64, error) {
	if day, err := time.Parse(time.DateOnly, s); err == nil && day.Unix() > 0 {
		return day.AddDate(0, 0, 1).Unix(), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil && at.Unix() > 0 {
		return at.Unix(), nil
	}
	return 0, errors.New("is not a date or time (write 2026-12-31 or 2026-12-31T18:00:00Z)")
}
