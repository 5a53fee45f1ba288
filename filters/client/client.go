// Package client is the check of a client's name in the reverse DNS (RFC 1912
// section 2.1, RFC 7601 iprev): is there one, and does it lead back to the
// address.
//
// The wire has looked the name up; where it has none the check asks the
// resolver again, whose cache answers, to tell "there is none" from "it could
// not be found out". A failure says nothing. Many honest hosts of small
// networks have no name, so the check gives points and refuses nobody unless
// it is told to.
package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"garita/filters"
	"garita/mail"
	"garita/resolver"
)

// Name of the check.
const Name = "client"

// The symbols.
const (
	SymbolUnknown   = "client.unknown"
	SymbolNoPTR     = "client.no_ptr"
	SymbolTemporary = "client.temporary"
)

// timeout is for the look-ups of the name; the resolver has its own below it.
const timeout = 5 * time.Second

// Config is the table [check.client].
type Config struct {
	Mode         string  `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce: no part of the check does more."`
	NoPTR        string  `toml:"no_ptr" enum:"off,observe,score,enforce" doc:"The address has no name in the reverse DNS (symbol client.no_ptr). score: machines of botnets often have none, and so have some honest small servers."`
	NoPTRScore   float64 `toml:"no_ptr_score" doc:"Points for it." brief:"true"`
	Unknown      string  `toml:"unknown" enum:"off,observe,score,enforce" doc:"The address has a name that does not lead back to it (client.unknown), as reject_unknown_client_hostname in Postfix. score: mostly it is an error of an honest administrator."`
	UnknownScore float64 `toml:"unknown_score" doc:"Points for it." brief:"true"`
	Reply        string  `toml:"reply" enum:"defer,reject" doc:"What enforce answers: defer (450 4.7.25, so that who repairs the DNS loses no mail) or reject (550 5.7.25)."`
}

// Default gives points alone.
func Default() Config {
	return Config{Mode: "enforce", NoPTR: "score", NoPTRScore: 2, Unknown: "score", UnknownScore: 1, Reply: "defer"}
}

func (c Config) parts() (noPTR, unknown filters.Part) {
	return filters.Part{Key: "no_ptr", Symbol: SymbolNoPTR, Mode: c.NoPTR, Score: c.NoPTRScore},
		filters.Part{Key: "unknown", Symbol: SymbolUnknown, Mode: c.Unknown, Score: c.UnknownScore}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode = %q: must be off, observe, score or enforce", c.Mode))
	}
	noPTR, unknown := c.parts()
	errs = append(append(errs, noPTR.Validate()...), unknown.Validate()...)
	if c.Reply != "defer" && c.Reply != "reject" {
		errs = append(errs, fmt.Errorf("reply = %q: must be defer or reject", c.Reply))
	}
	return errs
}

// New makes the check.
func New(c Config, site filters.Site) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("client: %w", errs[0])
	}
	k := &names{dns: site.Resolver, reject: c.Reply == "reject"}
	k.noPTR, k.unknown = c.parts()
	mode, _ := mail.ParseMode(c.Mode)
	if site.Resolver == nil {
		mode = mail.Off
	}
	return filters.Check{Name: Name, Impl: k, Mode: mode, IO: site.Resolver != nil, Cached: true, Timeout: timeout}, nil
}

type names struct {
	dns            resolver.Resolver
	noPTR, unknown filters.Part
	reject         bool
}

// CheckConnect judges the name. It comes before AUTH, which is offered only
// where strangers may send nothing.
func (k *names) CheckConnect(ctx context.Context, s *mail.Session) (filters.Result, error) {
	a := s.Client.Addr().Unmap()
	if k.dns == nil || !filters.Stranger(s) || !a.IsValid() || s.Host.Confirmed {
		return filters.Result{}, nil
	}
	name := s.Host.Name
	if name == "" {
		n, confirmed, err := resolver.HostName(ctx, k.dns, a)
		switch {
		case errors.Is(err, resolver.ErrNotFound):
			return k.noPTR.Found("", k.reply("Client host has no reverse name")), nil
		case err != nil:
			return filters.Unsure(SymbolTemporary, err)
		case confirmed:
			return filters.Result{}, nil
		}
		name = n
	}
	return k.unknown.Found(name, k.reply("Client host name does not lead back to its address")), nil
}

// reply is in the words of RFC 7372 section 3.3.
func (k *names) reply(text string) *mail.Reply {
	r := mail.Temporary(450, "7.25", text)
	if k.reject {
		r = mail.Permanent(550, "7.25", text)
	}
	return &r
}
