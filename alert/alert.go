package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is what an alert is about.
type Kind string

// The kinds that the program knows; a new source may add its own.
const (
	Limit       Kind = "limit"
	Suspension  Kind = "suspension"
	Hijack      Kind = "hijack" // a user does not send like himself
	OwnListing  Kind = "own-listing"
	SickList    Kind = "sick-list"
	Clamd       Kind = "clamd"
	Scanner     Kind = "scanner" // rspamd, SpamAssassin
	StoreFault  Kind = "store"
	Resolver    Kind = "resolver"
	Hold        Kind = "hold"
	HoldAge     Kind = "hold-age"
	Certificate Kind = "certificate"
	Disk        Kind = "disk"
	NextHop     Kind = "next-hop"
	Listener    Kind = "listener"
	ConfigFault Kind = "config"
	Bypass      Kind = "bypass"
	Channel     Kind = "channel" // one of ours does not deliver
)

// Severity orders alerts.
type Severity int

// The severities. The zero value is a notice, which no channel wants unless it
// is asked for.
const (
	Info Severity = iota
	Warning
	Critical
)

func (s Severity) String() string {
	switch {
	case s <= Info:
		return "info"
	case s == Warning:
		return "warning"
	}
	return "critical"
}

// MarshalText is for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is its reverse.
func (s *Severity) UnmarshalText(b []byte) error {
	v, ok := parseSeverity(string(b))
	if !ok {
		return fmt.Errorf("%.20q is no severity", b)
	}
	*s = v
	return nil
}

func parseSeverity(s string) (Severity, bool) {
	for _, v := range []Severity{Info, Warning, Critical} {
		if v.String() == s {
			return v, true
		}
	}
	return 0, false
}

// Text is one text in both languages.
type Text struct {
	EN string `json:"en"`
	ES string `json:"es"`
}

// Texts formats a text with the same arguments in both languages. Arguments
// that are text may be hostile: their line ends must not make lines of ours.
func Texts(en, es string, args ...any) Text {
	safe := slices.Clone(args)
	for i, a := range safe {
		if s, ok := a.(string); ok {
			safe[i] = oneLine(s)
		}
	}
	return Text{fmt.Sprintf(en, safe...), fmt.Sprintf(es, safe...)}
}

// Fact is one detail. Its value may be hostile.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Alert is something that is wrong, or has happened.
type Alert struct {
	// Key tells it from others: "next-hop/mailserver". The same thing has the
	// same key always.
	Key      string   `json:"key"`
	Kind     Kind     `json:"kind"`
	Severity Severity `json:"severity"`
	Subject  Text     `json:"subject"` // one line, without a full stop
	Text     Text     `json:"text"`    // what it means and what to do
	// Command is the line to run, as its arguments.
	Command []string `json:"command,omitempty"`
	Facts   []Fact   `json:"facts,omitempty"`
	// Event is for what happened and does not end by itself: acknowledging it
	// closes it.
	Event bool `json:"event,omitempty"`
}

// Bounds of an alert's parts; what is longer is cut. In octets, after escaping.
const (
	maxKey     = 200
	maxSubject = 200
	maxText    = 2000
	maxArgs    = 16
	maxArg     = 200
	maxFacts   = 16
	maxName    = 40
	maxValue   = 300
)

// clean gives the alert with everything escaped and cut.
func (a Alert) clean() Alert {
	a.Key = cleanKey(a.Key)
	a.Kind = Kind(cut(oneLine(string(a.Kind)), maxName))
	a.Severity = min(max(a.Severity, Info), Critical)
	a.Subject = Text{cut(oneLine(a.Subject.EN), maxSubject), cut(oneLine(a.Subject.ES), maxSubject)}
	a.Text = Text{cut(manyLines(a.Text.EN), maxText), cut(manyLines(a.Text.ES), maxText)}
	if a.Subject.ES == "" {
		a.Subject.ES = a.Subject.EN
	}
	if a.Text.ES == "" {
		a.Text.ES = a.Text.EN
	}
	args := a.Command[:min(len(a.Command), maxArgs)]
	a.Command = make([]string, 0, len(args))
	for _, s := range args {
		a.Command = append(a.Command, cut(oneLine(s), maxArg))
	}
	facts := a.Facts[:min(len(a.Facts), maxFacts)]
	a.Facts = make([]Fact, 0, len(facts))
	for _, f := range facts {
		a.Facts = append(a.Facts, Fact{cut(oneLine(f.Name), maxName), cut(oneLine(f.Value), maxValue)})
	}
	return a
}

// cleanKey makes a key what can be typed and kept: one line, no spaces.
func cleanKey(s string) string {
	return cut(strings.ReplaceAll(oneLine(s), " ", "_"), maxKey)
}

// The events of notices.
const (
	EventRaised    = "raised"
	EventReminder  = "reminder"
	EventEscalated = "escalated"
	EventResolved  = "resolved"
	EventDigest    = "digest"
	EventTest      = "test"
)

// Notice is what channels are given: an alert, and what became of it. All of it
// is printable.
type Notice struct {
	ID       string    `json:"id"` // the same at each attempt
	Event    string    `json:"event"`
	Host     string    `json:"host"`
	Time     time.Time `json:"time"`
	Alert    Alert     `json:"alert"`
	Command  string    `json:"command,omitempty"` // quoted for a shell
	Raised   time.Time `json:"raised,omitzero"`
	Resolved time.Time `json:"resolved,omitzero"`
	Count    int       `json:"count,omitempty"` // how often it was raised
	// Of a digest: what it gathers, and how many more it does not name.
	Digest []Notice `json:"digest,omitempty"`
	More   int      `json:"more,omitempty"`
}

// Entry is an alert in a list.
type Entry struct {
	Alert
	Shell    string    `json:"shell,omitempty"` // the command, quoted
	Raised   time.Time `json:"raised"`
	Last     time.Time `json:"last"` // raised again
	Resolved time.Time `json:"resolved,omitzero"`
	Told     time.Time `json:"told,omitzero"`
	Count    int       `json:"count"`
	Acked    time.Time `json:"acknowledged,omitzero"`
	AckedBy  string    `json:"acknowledged_by,omitempty"`
	Silenced time.Time `json:"silenced_until,omitzero"`
}
