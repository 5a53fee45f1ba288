package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"garita/admin"
)

// The plugin of Nagios and Icinga (monitoring-plugins guidelines,
// draft-kaestle-monitoring-plugins-interface-03): one line on the standard
// output, nothing on the other, and an exit code of 0 to 3. It asks the running
// gateway over the admin socket, and what it cannot ask it does not know.

type checkCommands struct {
	Queue  checkQueue  `cmd:"" help:"Mail on its way, and the next hops; the gateway has no queue."`
	Hold   checkHold   `cmd:"" help:"Held messages: how many, how old, how full."`
	Users  checkUsers  `cmd:"" help:"Users over their limit or suspended."`
	RBL    checkRBL    `cmd:"" name:"rbl" help:"Our own addresses on block lists."`
	AV     checkAV     `cmd:"" name:"av" help:"The antivirus: age of its signatures in hours, servers."`
	Cert   checkCert   `cmd:"" help:"Days that the certificates have left."`
	Health checkHealth `cmd:"" help:"What garita health --strict finds."`
	Limits checkLimits `cmd:"" help:"How far limits are used."`
}

// checkFlags are the options that every plugin has. -c is the threshold here,
// as plugins have it, not the configuration.
type checkFlags struct {
	Warning  string  `short:"w" placeholder:"RANGE" help:"Outside this range it is WARNING: 10, 10:, ~:10, 10:20, @10:20. Without it, what suits the figure."`
	Critical string  `short:"c" placeholder:"RANGE" help:"Outside this range it is CRITICAL."`
	Timeout  float64 `short:"t" default:"10" help:"Seconds to wait for the gateway (${default}); after them it is UNKNOWN."`
	Config   string  `default:"${config}" type:"path" help:"Configuration file (${default})."`
	Socket   string  `type:"path" help:"Admin socket, instead of the configuration's."`
}

type (
	checkQueue  struct{ checkFlags }
	checkHold   struct{ checkFlags }
	checkUsers  struct{ checkFlags }
	checkRBL    struct{ checkFlags }
	checkAV     struct{ checkFlags }
	checkCert   struct{ checkFlags }
	checkHealth struct{ checkFlags }
	checkLimits struct{ checkFlags }
)

func (c *checkQueue) Run(t *terminal) error  { return c.run(t, "queue") }
func (c *checkHold) Run(t *terminal) error   { return c.run(t, "hold") }
func (c *checkUsers) Run(t *terminal) error  { return c.run(t, "users") }
func (c *checkRBL) Run(t *terminal) error    { return c.run(t, "rbl") }
func (c *checkAV) Run(t *terminal) error     { return c.run(t, "av") }
func (c *checkCert) Run(t *terminal) error   { return c.run(t, "cert") }
func (c *checkHealth) Run(t *terminal) error { return c.run(t, "health") }
func (c *checkLimits) Run(t *terminal) error { return c.run(t, "limits") }

// The states, which are the exit codes too.
const (
	stateOK = iota
	stateWarning
	stateCritical
	stateUnknown
)

func stateText(s int) string {
	return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[min(max(s, 0), 3)]
}

// checkAnswer is what the gateway knows of one kind.
type checkAnswer struct {
	// Off says that this kind does not exist here: UNKNOWN.
	Off     string        `json:"off,omitempty"`
	State   int           `json:"state"` // at least, whatever the ranges say
	Text    string        `json:"text"`
	Figures []checkFigure `json:"figures"` // the first is the one of -w and -c
}

// checkFigure is one figure with the ranges that suit it.
type checkFigure struct {
	Label    string   `json:"label"`
	Value    float64  `json:"value"`
	Unit     string   `json:"unit,omitempty"` // s, B, %, c
	Warning  string   `json:"warning,omitempty"`
	Critical string   `json:"critical,omitempty"`
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
}

type checkRequest struct {
	Kind string `json:"kind"`
}

// plugin is an exitError whose line goes to the standard output.
func plugin(t *terminal, state int, line string) error {
	if _, err := fmt.Fprintln(t.out, line); err != nil {
		state = stateUnknown
	}
	if state == stateOK {
		return nil
	}
	return &exitError{code: state}
}

// unknown ends a plugin that has no answer.
func unknown(kind, why string) func(*terminal) error {
	return func(t *terminal) error {
		return plugin(t, stateUnknown, kind+" UNKNOWN - "+strings.ReplaceAll(oneLine(why), "|", "/"))
	}
}

// maxCheckTimeout keeps -t what can be meant.
const maxCheckTimeout = 300

func (c *checkFlags) run(t *terminal, kind string) error {
	upper := strings.ToUpper(kind)
	if !(c.Timeout > 0 && c.Timeout <= maxCheckTimeout) {
		return unknown(upper, "-t must be more than 0 and at most 300")(t)
	}
	var ranges [2]*checkRange
	for i, s := range []string{c.Warning, c.Critical} {
		if s == "" {
			continue
		}
		r, err := parseRange(s)
		if err != nil {
			return unknown(upper, err.Error())(t)
		}
		ranges[i] = &r
	}
	var a checkAnswer
	flag := socketFlag{configFlag: configFlag{c.Config}, Socket: c.Socket}
	if err := callFor(&flag, "check", checkRequest{kind}, &a, time.Duration(c.Timeout*float64(time.Second))); err != nil {
		return unknown(upper, inShort(err.Error()))(t)
	}
	if a.Off != "" {
		return unknown(upper, a.Off)(t)
	}
	state, line := a.judge(upper, ranges)
	return plugin(t, state, line)
}

// judge makes the state and the line of an answer; nil ranges are the
// gateway's own.
func (a *checkAnswer) judge(kind string, given [2]*checkRange) (int, string) {
	state := min(max(a.State, stateOK), stateUnknown)
	var perf []string
	for i, f := range a.Figures {
		own := [2]string{f.Warning, f.Critical}
		if i == 0 {
			for k, r := range given {
				if r != nil {
					own[k] = r.text
				}
			}
		}
		for k, s := range own {
			if r, err := parseRange(s); err == nil && s != "" && r.alert(f.Value) && state != stateUnknown {
				state = max(state, k+1)
			}
		}
		perf = append(perf, f.perf(own))
	}
	line := kind + " " + stateText(state) + " - " + strings.ReplaceAll(oneLine(a.Text), "|", "/")
	if len(perf) > 0 {
		line += " | " + strings.Join(perf, " ")
	}
	return state, line
}

// perf writes one figure as performance data: 'label'=value[UOM];warn;crit;min;max.
func (f *checkFigure) perf(ranges [2]string) string {
	label := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, f.Label)
	number := func(p *float64) string {
		if p == nil {
			return ""
		}
		return decimal(*p)
	}
	s := label + "=" + decimal(f.Value) + f.Unit + ";" + ranges[0] + ";" + ranges[1] + ";" + number(f.Min) + ";" + number(f.Max)
	return strings.TrimRight(s, ";")
}

func decimal(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "U" // as the guidelines write what could not be measured
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// checkRange is a range of the guidelines: [@]start:end, where "~" is minus
// infinity, a missing end is infinity and a missing start is 0.
type checkRange struct {
	text       string
	start, end float64
	inside     bool
}

var errRange = errors.New("is no range: write 10, 10:, ~:10, 10:20 or @10:20")

func parseRange(s string) (checkRange, error) {
	r := checkRange{text: s, end: math.Inf(1)}
	wrong := func() (checkRange, error) { return checkRange{}, fmt.Errorf("%.40q %w", s, errRange) }
	rest, inside := strings.CutPrefix(s, "@")
	r.inside = inside
	start, end, two := strings.Cut(rest, ":")
	if !two {
		start, end = "", rest
		if end == "" {
			return wrong()
		}
	}
	var ok bool
	switch {
	case start == "~":
		r.start = math.Inf(-1)
	case start != "":
		if r.start, ok = parseNumber(start); !ok {
			return wrong()
		}
	case two: // ":10" is no range of the guidelines
		return wrong()
	}
	if end != "" {
		if r.end, ok = parseNumber(end); !ok {
			return wrong()
		}
	}
	if r.start > r.end {
		return wrong()
	}
	return r, nil
}

// parseNumber takes decimal numbers alone: neither inf nor hexadecimal ones.
func parseNumber(s string) (float64, bool) {
	if len(s) > 30 || strings.Trim(s, "0123456789.+-") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil
}

// alert tells that a value raises one. What is not a number always does.
func (r *checkRange) alert(v float64) bool {
	if math.IsNaN(v) {
		return true
	}
	return (v >= r.start && v <= r.end) == r.inside
}

// A checkSource gives what one kind knows; it answers from memory.
type checkSource func(ctx context.Context, d *daemon, g *generation) checkAnswer

// checkSources is the registry: a part that adds a kind fills in its line.
func checkSources() map[string]checkSource {
	return map[string]checkSource{
		"queue":  queueAnswer,
		"hold":   holdAnswer,
		"av":     antivirusAnswer,
		"cert":   certificateAnswer,
		"health": healthAnswer,
		"users":  usersAnswer,
		"rbl":    rblAnswer,
		"limits": limitsAnswer,
	}
}

// checkVerbs answer the plugin.
func (d *daemon) checkVerbs() map[string]admin.Verb {
	return map[string]admin.Verb{"check": {Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
		var q checkRequest
		if json.Unmarshal(raw, &q) != nil {
			return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of a check"}
		}
		source, ok := checkSources()[q.Kind]
		g := d.now.Load()
		switch {
		case !ok:
			return nil, &admin.Error{Code: admin.CodeUsage, Text: "there is no check of that kind"}
		case source == nil:
			return checkAnswer{Off: "not enabled"}, nil
		case g == nil:
			return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
		}
		return source(ctx, d, g), nil
	}}}
}

func whole(n int) *float64 { v := float64(n); return &v }

func queueAnswer(_ context.Context, d *daemon, g *generation) (a checkAnswer) {
	most := g.settings.Limits.MaxConnections
	sessions := d.parts.server.Stats().Sessions
	u := d.parts.budget.Usage()
	waiting, busy := 0, 0
	var down []string
	figures := d.hopFigures()
	for _, h := range figures {
		waiting, busy = waiting+h.Waiting, busy+h.Busy
		if g.hops[h.Name] != nil && g.hops[h.Name].status().State == "down" {
			down = append(down, h.Name)
		}
	}
	a.Text = fmt.Sprintf("%d messages on their way, %d deliveries wait, %d sessions", u.Messages, waiting, sessions)
	if len(down) > 0 {
		a.State = stateCritical
		a.Text += ", next hop down: " + strings.Join(down, ", ")
	}
	zero := whole(0)
	a.Figures = []checkFigure{
		{Label: "in_flight", Value: float64(u.Messages), Warning: decimal(float64(most / 2)), Critical: decimal(float64(most * 8 / 10)), Min: zero},
		{Label: "waiting", Value: float64(waiting), Min: zero}, {Label: "delivering", Value: float64(busy), Min: zero},
		{Label: "sessions", Value: float64(sessions), Min: zero, Max: whole(most)},
		{Label: "next_hops_down", Value: float64(len(down)), Critical: "0", Min: zero, Max: whole(len(figures))},
	}
	return a
}

func holdAnswer(ctx context.Context, d *daemon, g *generation) (a checkAnswer) {
	k := d.parts.hold.keeper
	if k == nil {
		return checkAnswer{Off: "not enabled (hold.enabled)"}
	}
	r := k.Room()
	n, late, err := heldNow(ctx, k, g.settings.Alert.HoldAge, time.Now())
	if err != nil {
		a.State, a.Text = stateWarning, "the index of held messages does not answer; "
	}
	a.Text += fmt.Sprintf("%d held, %d of them for longer than hold_age, %d MB", n, late, r.Octets>>20)
	fill := 0.0
	if r.MaxSize > 0 && r.MaxMessages > 0 {
		fill = 100 * max(float64(r.Octets)/float64(r.MaxSize), float64(r.Messages)/float64(r.MaxMessages))
	}
	zero := whole(0)
	a.Figures = []checkFigure{
		{Label: "held", Value: float64(n), Warning: decimal(float64(r.MaxMessages) * 0.8), Critical: decimal(float64(r.MaxMessages) * 0.95), Min: zero, Max: whole(r.MaxMessages)},
		{Label: "late", Value: float64(late), Warning: "0", Min: zero},
		{Label: "fill", Value: fill, Unit: "%", Warning: "80", Critical: "95", Min: zero, Max: whole(100)},
		{Label: "size", Value: float64(r.Octets), Unit: "B", Min: zero},
	}
	return a
}

func antivirusAnswer(_ context.Context, _ *daemon, g *generation) (a checkAnswer) {
	v := g.helpers.Antivirus()
	if !v.On {
		return checkAnswer{Off: "not enabled (check.clamav.mode)"}
	}
	age := math.NaN() // as long as no server has said
	a.Text = fmt.Sprintf("%d of %d servers work", v.Up, v.Servers)
	if !v.OldestSignatures.IsZero() {
		age = max(time.Since(v.OldestSignatures).Hours(), 0)
		a.Text += ", signatures of " + v.OldestSignatures.UTC().Format(time.DateOnly)
	}
	if v.Unscanned > 0 {
		a.State = stateCritical
		a.Text += fmt.Sprintf(", nothing scanned for %s", v.Unscanned.Round(time.Second))
	}
	zero := whole(0)
	a.Figures = []checkFigure{
		{Label: "signature_age_hours", Value: age, Warning: "48", Critical: "168", Min: zero},
		{Label: "servers_down", Value: float64(v.Servers - v.Up), Warning: "0", Min: zero, Max: whole(v.Servers)},
		{Label: "unscanned", Value: v.Unscanned.Seconds(), Unit: "s", Min: zero},
	}
	if math.IsNaN(age) { // JSON has no word for it
		a.Figures = a.Figures[1:]
		a.State = max(a.State, stateWarning)
		a.Text += ", age of the signatures unknown"
	}
	return a
}

func certificateAnswer(_ context.Context, _ *daemon, g *generation) (a checkAnswer) {
	list := g.tls.Certificates()
	if len(list) == 0 || len(g.certificates()) == 0 {
		return checkAnswer{Off: "not enabled: no listener has TLS"}
	}
	first := list[0]
	for _, c := range list[1:] {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	days := math.Floor(time.Until(first.NotAfter).Hours() / 24)
	a.Text = fmt.Sprintf("%s until %s", first.Name, first.NotAfter.UTC().Format(time.DateOnly))
	if err := g.tls.Fault(); err != nil {
		a.State = stateWarning
		a.Text += ", " + inShort(err.Error())
	}
	a.Figures = []checkFigure{{Label: "days", Value: days, Warning: "14:", Critical: "3:"}}
	return a
}

func healthAnswer(_ context.Context, d *daemon, _ *generation) (a checkAnswer) {
	h := d.health()
	a.Text = "ready"
	if all := append(h.Problems, h.Concerns...); len(all) > 0 {
		a.Text = strings.Join(all, "; ")
	}
	if len(h.Problems) > 0 {
		a.State = stateCritical
	}
	zero := whole(0)
	a.Figures = []checkFigure{
		{Label: "concerns", Value: float64(len(h.Concerns)), Warning: "0", Min: zero},
		{Label: "problems", Value: float64(len(h.Problems)), Critical: "0", Min: zero},
	}
	return a
}
