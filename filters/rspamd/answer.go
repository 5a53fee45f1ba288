package rspamd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"garita/filters"
)

// Bounds of an answer.
const (
	maxAnswer  = 1 << 20 // octets
	maxScore   = 1000000 // of a message or a symbol, either way
	maxAction  = 64      // octets of an action
	maxSymbols = 20      // in a finding, the weightiest
	maxName    = 48      // octets of a symbol's name in a finding
	maxFields  = 24      // header fields that rspamd may ask for
	maxValue   = 800     // octets of one of them
)

// answer is what rspamd said, checked.
type answer struct {
	skipped  bool
	score    float64
	required float64 // 0: rspamd named none
	action   string
	symbols  []symbol
	add      []field
	remove   []string
}

type symbol struct {
	name  string
	score float64
}

type field struct{ name, value string }

// wireAnswer is the answer as rspamd writes it; what we do not use is not
// here and may be anything.
type wireAnswer struct {
	Error    string   `json:"error"`
	Skipped  bool     `json:"is_skipped"`
	Score    *float64 `json:"score"`
	Required *float64 `json:"required_score"`
	Action   *string  `json:"action"`
	Symbols  map[string]struct {
		Score float64 `json:"score"`
	} `json:"symbols"`
	Milter struct {
		Add    map[string]json.RawMessage `json:"add_headers"`
		Remove map[string]json.RawMessage `json:"remove_headers"`
	} `json:"milter"`
}

// readAnswer reads an answer to its end, strictly: one that is cut, has a
// wrong type, or lacks score or action is none.
func readAnswer(r io.Reader) (*answer, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("answer: longer than %d octets", maxAnswer)
	}
	return parseAnswer(text)
}

func parseAnswer(text []byte) (*answer, error) {
	var w wireAnswer
	if err := json.Unmarshal(text, &w); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	switch {
	case w.Error != "":
		return nil, fmt.Errorf("answer: error %s", filters.Printable(w.Error, 100))
	case w.Score == nil || w.Action == nil:
		return nil, errors.New("answer: it has no score or no action")
	case math.Abs(*w.Score) > maxScore:
		return nil, errors.New("answer: the score is out of all bounds")
	case *w.Action == "" || len(*w.Action) > maxAction || filters.Printable(*w.Action, maxAction) != *w.Action:
		return nil, errors.New("answer: the action is not a word")
	}
	// rspamd also says is_skipped where a rule decided before all others, with
	// an action that counts (GTUBE, for one).
	a := &answer{score: *w.Score, action: *w.Action}
	a.skipped = w.Skipped && a.action == "no action" && a.score == 0
	if w.Required != nil && math.Abs(*w.Required) <= maxScore {
		a.required = *w.Required
	}
	for name, s := range w.Symbols {
		if math.Abs(s.Score) > maxScore {
			return nil, errors.New("answer: the score of a symbol is out of all bounds")
		}
		a.symbols = append(a.symbols, symbol{filters.Printable(name, maxName), s.Score})
	}
	slices.SortFunc(a.symbols, func(x, y symbol) int {
		return cmp.Or(cmp.Compare(math.Abs(y.score), math.Abs(x.score)), cmp.Compare(x.name, y.name))
	})
	return a, a.headers(&w)
}

// headers takes over the fields that rspamd wants added and removed, as far as
// they are in the namespace of results: its word does not reach any other.
func (a *answer) headers(w *wireAnswer) error {
	for _, name := range slices.Sorted(maps.Keys(w.Milter.Add)) {
		values, err := fieldValues(w.Milter.Add[name])
		if err != nil {
			return fmt.Errorf("answer: add_headers: %w", err)
		}
		if !resultField(name) || !fieldName(name) {
			continue
		}
		for _, v := range values {
			if len(a.add) < maxFields {
				a.add = append(a.add, field{name, fieldValue(v)})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Milter.Remove)) {
		if resultField(name) && len(a.remove) < maxFields {
			a.remove = append(a.remove, name)
		}
	}
	return nil
}

// fieldValues reads the forms that rspamd gives a field in: a string, an object
// with value and order, or a list of either.
func fieldValues(raw json.RawMessage) ([]string, error) {
	raw = bytes.TrimSpace(raw)
	var list []json.RawMessage
	if len(raw) > 0 && raw[0] == '[' {
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
	} else {
		list = []json.RawMessage{raw}
	}
	var out []string
	for _, one := range list[:min(len(list), maxFields)] {
		var s string
		if err := json.Unmarshal(one, &s); err == nil {
			out = append(out, s)
			continue
		}
		var o struct {
			Value *string `json:"value"`
		}
		if err := json.Unmarshal(one, &o); err != nil {
			return nil, err
		}
		if o.Value == nil {
			return nil, errors.New("a field without a value")
		}
		out = append(out, *o.Value)
	}
	return out, nil
}

// resultField tells a field of the namespace in which spam filters write their
// results.
func resultField(name string) bool {
	for _, prefix := range []string{"X-Spam", "X-Rspamd-"} {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// fieldName tells a name by the grammar (RFC 5322 section 3.6.8), of a length
// that leaves room in the line.
func fieldName(s string) bool {
	return len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) < 0
}

// fieldValue makes one line of printable ASCII of a value: an answer that is
// misled by the message must not bring in fields of its own.
func fieldValue(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s[:min(len(s), 4*maxValue)] {
		switch {
		case r == '\r' || r == '\n' || r == '\t' || r == ' ':
			space = b.Len() > 0
			continue
		case r < ' ' || r > '~':
			r = '?'
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
		if b.Len() >= maxValue {
			break
		}
	}
	return b.String()
}

// detail is the answer for the log.
func (a *answer) detail() string {
	var b strings.Builder
	b.WriteString("score " + number(a.score))
	if a.required != 0 {
		b.WriteString(" of " + number(a.required))
	}
	b.WriteString(", action " + a.action)
	for i, s := range a.symbols {
		if i == maxSymbols {
			fmt.Fprintf(&b, " and %d more", len(a.symbols)-i)
			break
		}
		if i == 0 {
			b.WriteString(":")
		}
		b.WriteString(" " + s.name + "(" + number(s.score) + ")")
	}
	return b.String()
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
