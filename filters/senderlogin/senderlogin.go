// Package senderlogin is the check that users send with their own addresses:
// the envelope sender as Postfix's smtpd_sender_login_maps and
// reject_sender_login_mismatch have it, and each address in From, which is
// what people read.
//
// It judges only users who have shown who they are (identity.Proven): by AUTH
// or a certificate here, by a milter or policy server, or by the header field
// of a host of ours. The envelope sender in a user's own session is judged at
// MAIL; what only the header tells is judged with the message. The null
// reverse-path is everybody's; the From of such a message is judged.
//
// A From that cannot be read in one way only is a From that is not his: mail
// programs would show different senders. It asks nobody, so it cannot fail; a
// map that cannot be read is a mistake in the configuration.
//
// # Limits
//
// Sender, Reply-To and Resent fields are not judged. The maps have the bounds of
// package tables; an address has 100 users at most. Names that only look
// alike (Cyrillic letters) are other addresses, and so never his.
package senderlogin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"garita/filters"
	"garita/identity"
	"garita/mail"
)

// Name of the check.
const Name = "senderlogin"

// The symbols.
const (
	SymbolEnvelope = "senderlogin.envelope" // the envelope sender is another's
	SymbolFrom     = "senderlogin.from"     // an address in From is, or none can be read
	SymbolName     = "senderlogin.name"     // a name in From holds the address of another
)

// Actions.
const (
	actionReject = "reject"
	actionHold   = "hold"
)

// Config is the table [check.senderlogin].
type Config struct {
	Mode             string   `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce: no part of the check does more."`
	Files            []string `toml:"files" doc:"Maps of addresses to the users who may send with them, in the form of Postfix's smtpd_sender_login_maps: \"info@our.example ana@our.example, bob@our.example\"; @our.example is a whole domain. Read again on reload."`
	Owners           []string `toml:"owners" doc:"Lines of the same form, before those of the files."`
	Own              bool     `toml:"own" doc:"A user may send with the address that is his name. false: only the maps count, as in Postfix."`
	KnownOnly        bool     `toml:"known_only" doc:"Only addresses in the maps are guarded, and anybody may use others (reject_known_sender_login_mismatch in Postfix)."`
	AnySender        []string `toml:"any_sender" doc:"Users who may use any address: a scanner, a program that sends for others."`
	Action           string   `toml:"action" enum:"reject,hold" doc:"What enforce does in the user's own session: reject (553 5.7.1) or hold, for a person to look at."`
	RelayAction      string   `toml:"relay_action" enum:"reject,hold" doc:"The same for mail of a trusted relay, whose user only the header names. hold: what is refused there the relay returns to a forged sender."`
	Envelope         string   `toml:"envelope" enum:"off,observe,score,enforce" doc:"The envelope sender is not the user's (senderlogin.envelope)."`
	EnvelopeScore    float64  `toml:"envelope_score" doc:"Points for it." brief:"true"`
	From             string   `toml:"from" enum:"off,observe,score,enforce" doc:"An address in From is not the user's, or cannot be read (senderlogin.from)."`
	FromScore        float64  `toml:"from_score" doc:"Points for it." brief:"true"`
	DisplayName      string   `toml:"display_name" enum:"off,observe,score,enforce" doc:"A name in From holds an address that is not the user's (senderlogin.name): programs that show names show it as the sender."`
	DisplayNameScore float64  `toml:"display_name_score" doc:"Points for it." brief:"true"`
}

// Default is off; turned on, it guards envelope and From.
func Default() Config {
	return Config{
		Mode: "off", Files: []string{}, Owners: []string{}, Own: true, AnySender: []string{}, Action: actionReject, RelayAction: actionHold,
		Envelope: "enforce", EnvelopeScore: 5, From: "enforce", FromScore: 5, DisplayName: "observe", DisplayNameScore: 3,
	}
}

type parts struct{ envelope, from, name filters.Part }

func (c Config) parts() parts {
	return parts{
		envelope: filters.Part{Key: "envelope", Symbol: SymbolEnvelope, Mode: c.Envelope, Score: c.EnvelopeScore},
		from:     filters.Part{Key: "from", Symbol: SymbolFrom, Mode: c.From, Score: c.FromScore},
		name:     filters.Part{Key: "display_name", Symbol: SymbolName, Mode: c.DisplayName, Score: c.DisplayNameScore},
	}
}

// own are the mistakes beside those in the files.
func (c Config) own() (errs []error) {
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode = %q: must be off, observe, score or enforce", c.Mode))
	}
	for _, a := range []struct{ key, value string }{{"action", c.Action}, {"relay_action", c.RelayAction}} {
		if a.value != actionReject && a.value != actionHold {
			errs = append(errs, fmt.Errorf("%s = %.40q: must be reject or hold", a.key, a.value))
		}
	}
	for i, u := range c.AnySender {
		if _, ok := (identity.Names{}).Canonical(u); !ok {
			errs = append(errs, fmt.Errorf("any_sender[%d]: %.80q is not the name of a user", i, u))
		}
	}
	p := c.parts()
	for _, p := range []filters.Part{p.envelope, p.from, p.name} {
		errs = append(errs, p.Validate()...)
	}
	return errs
}

// Validate gives every mistake, each naming its key; the files are read.
func (c Config) Validate() []error {
	_, errs, _ := c.Read()
	return errs
}

// New makes the check; maps may be nil, and are read then.
func New(c Config, maps *Maps, site filters.Site) (filters.Check, error) {
	errs := c.own()
	if maps == nil && len(errs) == 0 {
		maps, errs, _ = c.Read()
	}
	if len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("%s: %w", Name, errors.Join(errs...))
	}
	l := &check{Config: c, parts: c.parts(), names: site.Names, owners: maps.owners(site.Names), anySender: map[string]bool{}}
	for _, u := range c.AnySender {
		l.anySender[site.Names.Login(u)] = true
	}
	mode, _ := mail.ParseMode(c.Mode)
	// Policy: who may use a server is no reason to be somebody else there.
	return filters.Check{Name: Name, Impl: l, Mode: mode, Class: filters.Policy, OnError: filters.DeferOnError}, nil
}

type check struct {
	Config
	parts     parts
	names     identity.Names
	owners    owners
	anySender map[string]bool
}

// judged tells whose addresses are looked at.
func (l *check) judged(id mail.Identity) bool {
	return id.User != "" && identity.Proven(id.Source) && !l.anySender[id.User]
}

// may tells that a user may send with an address.
func (l *check) may(user string, a address) bool {
	key := a.key()
	plain := key
	if !l.names.KeepTag {
		plain = untagged(key)
	}
	if l.Own && (key == user || plain == user) {
		return true
	}
	for _, k := range [3]string{key, plain, key[strings.LastIndexByte(key, '@'):]} {
		if users, ok := l.owners[k]; ok {
			return slices.Contains(users, user)
		}
	}
	return l.KnownOnly
}

// found is a finding with what is done about it.
func (l *check) found(tx *mail.Transaction, p filters.Part, detail, text string) filters.Result {
	action := l.RelayAction
	if identity.OwnSession(tx.Identity.Source) {
		action = l.Action
	}
	var reply *mail.Reply
	if action == actionReject {
		r := mail.Permanent(553, "7.1", text)
		reply = &r
	}
	res := p.Found(detail+" (user "+filters.Printable(tx.Identity.User, maxShown)+", known by "+tx.Identity.Source+")", reply)
	if action == actionHold && len(res.Findings) > 0 {
		res.Findings[0].Verdict = mail.Quarantine
	}
	return res
}

// maxShown bounds a stranger's text in a detail.
const maxShown = 120

// The replies: they hold nothing that the client has said.
const (
	textEnvelope = "Sender address rejected: not owned by the user who has logged in"
	textFrom     = "From address rejected: not owned by the user who has logged in"
	textName     = "From name rejected: it holds an address that is not owned by the user who has logged in"
)

// envelope judges the reverse-path.
func (l *check) envelope(tx *mail.Transaction) filters.Result {
	p := tx.ReversePath
	if p.IsNull() || l.parts.envelope.Off() || l.may(tx.Identity.User, address{p.Local, p.Domain}) {
		return filters.Result{}
	}
	return l.found(tx, l.parts.envelope, "<"+filters.Printable(p.String(), maxShown)+">", textEnvelope)
}

// CheckMail judges the sender in a user's own session.
func (l *check) CheckMail(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	if !identity.OwnSession(tx.Identity.Source) || !l.judged(tx.Identity) {
		return filters.Result{}, nil
	}
	return l.envelope(tx), nil
}

// CheckMessage judges From, and the sender where only the header told who the
// user is.
func (l *check) CheckMessage(_ context.Context, tx *mail.Transaction) (filters.Result, error) {
	var res filters.Result
	if !l.judged(tx.Identity) || tx.Message == nil {
		return res, nil
	}
	if !identity.OwnSession(tx.Identity.Source) {
		res = l.envelope(tx)
	}
	h := tx.Message.Header()
	if h.TooLarge() {
		res.Findings = append(res.Findings, l.found(tx, l.parts.from, "the header is too large to be read", textFrom).Findings...)
		return res, nil
	} else if err := h.Err(); err != nil {
		return res, err
	}
	foreign, named := "", ""
	for _, f := range h.Fields() {
		// "From :" is From for many programs.
		if !strings.EqualFold(strings.TrimRight(f.Name, " \t"), "From") {
			continue
		}
		list, ok := parseFrom(f.Value())
		if !ok && foreign == "" {
			foreign = "From cannot be read in one way: " + filters.Printable(strings.TrimSpace(f.Value()), maxShown)
		}
		for _, m := range list {
			if foreign == "" && !l.may(tx.Identity.User, m.address) {
				foreign = "From <" + filters.Printable(m.address.String(), maxShown) + ">"
			}
			if named == "" && !l.parts.name.Off() {
				named = l.inName(tx.Identity.User, m.name)
			}
		}
	}
	if foreign != "" {
		res.Findings = append(res.Findings, l.found(tx, l.parts.from, foreign, textFrom).Findings...)
	}
	if named != "" {
		res.Findings = append(res.Findings, l.found(tx, l.parts.name, "From has the name "+named, textName).Findings...)
	}
	return res, nil
}

// inName gives the first address within a name that is not the user's.
func (l *check) inName(user, name string) string {
	for _, a := range addressesIn(name) {
		if !l.may(user, a) {
			return filters.Printable(a.String(), maxShown)
		}
	}
	return ""
}
