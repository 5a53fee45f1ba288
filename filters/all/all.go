// Package all is the ordered list of checks and their configuration. It is
// the only place that imports checks: adding one touches its own folder and
// this file.
package all

import (
	"errors"
	"fmt"
	"time"

	"garita/filters"
	"garita/filters/access"
	"garita/filters/attachment"
	"garita/filters/clamav"
	"garita/filters/client"
	"garita/filters/dnsbl"
	"garita/filters/greylist"
	"garita/filters/helo"
	"garita/filters/limits"
	"garita/filters/mime"
	"garita/filters/postfix"
	"garita/filters/recipient"
	"garita/filters/rspamd"
	"garita/filters/rules"
	"garita/filters/sender"
	"garita/filters/senderlogin"
	"garita/filters/spamassassin"
	"garita/filters/suspension"
)

// Config is the table [check], one field for each check in list order.
type Config struct {
	Suspension suspension.Config `toml:"suspension" doc:"Users who may not send (garita user suspend). It holds in every mode."`

	SenderLogin senderlogin.Config `toml:"senderlogin" doc:"Users send with their own addresses (docs/limits.md)."`

	Access    access.Config    `toml:"access" doc:"The operator's own lists of clients, HELO names, senders and recipients."`
	Client    client.Config    `toml:"client" doc:"The client's name in the reverse DNS."`
	Helo      helo.Config      `toml:"helo" doc:"The name in HELO and EHLO: its form, and whether the DNS knows it."`
	Sender    sender.Config    `toml:"sender" doc:"The domain of the sender."`
	Recipient recipient.Config `toml:"recipient" doc:"The domains that outbound mail goes to."`
	DNSBL     dnsbl.Config     `toml:"dnsbl" doc:"DNS lists of addresses and domains: block lists and allow lists (docs/dnsbl.md)."`
	Greylist  greylist.Config  `toml:"greylist" doc:"Strangers are asked to come back (docs/greylist.md)."`

	Rules        rules.Config        `toml:"rules" doc:"Rules of your own, and the sets that come with the program (docs/rules.md)."`
	Postfix      postfix.Config      `toml:"postfix" doc:"Postfix's own tables header_checks, mime_header_checks, nested_header_checks and body_checks, as they are."`
	MIME         mime.Config         `toml:"mime" doc:"The structure of a message: what mail clients may read in different ways is never clean."`
	Attachment   attachment.Config   `toml:"attachment" doc:"Attachments, archives and documents: by their names, types and contents."`
	ClamAV       clamav.Config       `toml:"clamav" doc:"The antivirus clamd."`
	Rspamd       rspamd.Config       `toml:"rspamd" doc:"The spam filter rspamd."`
	SpamAssassin spamassassin.Config `toml:"spamassassin" doc:"The spam filter spamd of SpamAssassin."`

	Limits limits.Config `toml:"limits" doc:"How much each user sends (docs/limits.md)."`
}

// Default is every check's default.
func Default() Config {
	return Config{
		Suspension:  suspension.Default(),
		SenderLogin: senderlogin.Default(),

		Access:    access.Default(),
		Client:    client.Default(),
		Helo:      helo.Default(),
		Sender:    sender.Default(),
		Recipient: recipient.Default(),
		DNSBL:     dnsbl.Default(),
		Greylist:  greylist.Default(),

		Rules:        rules.Default(),
		Postfix:      postfix.Default(),
		MIME:         mime.Default(),
		Attachment:   attachment.Default(),
		ClamAV:       clamav.Default(),
		Rspamd:       rspamd.Default(),
		SpamAssassin: spamassassin.Default(),

		Limits: limits.Default(),
	}
}

// Lists are the files of lists that checks name, as they were read.
type Lists struct {
	access   *access.Lists
	rules    *rules.Set
	postfix  *postfix.Tables
	greylist *greylist.Lists
	logins   *senderlogin.Maps
	// Grey are the seams of greylisting: the domain that a sender is
	// authenticated for, and its clocks.
	Grey GreylistOptions
}

// GreylistOptions are what the configuration does not say of greylisting.
type GreylistOptions = greylist.Options

// Rules are the rules that were read; nil: none were.
func (read *Lists) Rules() *rules.Compiled {
	if read == nil || read.rules == nil {
		return nil
	}
	return read.rules.Compiled()
}

// RuleFiles are the files that rules were read from, lists among them.
func (read *Lists) RuleFiles() []string {
	if read == nil || read.rules == nil {
		return nil
	}
	return read.rules.Files()
}

// RuleError is a mistake or a warning in a rule file, among the errors of Read.
type RuleError = rules.FileError

// mistakes are those in what checks read from files.
type mistakes struct{ access, rules, postfix, greylist, logins []error }

// Read reads the lists, once for all who want to know of them: their mistakes
// and warnings, and the checks. hops are the names of next hops, nil when they
// are not known. The errors are those of Validate, with which there are no
// lists, and those of Warnings.
func (c Config) Read(now func() time.Time, hops []string) (l *Lists, errs, warnings []error) {
	l = &Lists{}
	var wrong mistakes
	odd := func(name string, list []error) {
		for _, err := range list {
			warnings = append(warnings, fmt.Errorf("check.%s.%w", name, err))
		}
	}
	var told []error
	l.access, wrong.access, told = c.Access.Read(now)
	odd(access.Name, told)
	l.rules, wrong.rules, told = c.Rules.Read(hops)
	odd(rules.Name, told)
	l.postfix, wrong.postfix, told = c.Postfix.Read(hops)
	odd(postfix.Name, told)
	l.greylist, wrong.greylist, told = c.Greylist.Read()
	odd(greylist.Name, told)
	l.logins, wrong.logins, told = c.SenderLogin.Read()
	odd(senderlogin.Name, told)
	if errs = c.validate(wrong); len(errs) > 0 {
		return nil, errs, warnings
	}
	return l, nil, warnings
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	return c.validate(mistakes{access: c.Access.Validate(), rules: c.Rules.Validate(), postfix: c.Postfix.Validate(), greylist: c.Greylist.Validate(),
		logins: c.SenderLogin.Validate()})
}

// validate gives every mistake, with those of the files.
func (c Config) validate(files mistakes) (errs []error) {
	for _, v := range []struct {
		key  string
		errs []error
	}{
		{suspension.Name, c.Suspension.Validate()},
		{senderlogin.Name, files.logins},
		{access.Name, files.access},
		{client.Name, c.Client.Validate()},
		{helo.Name, c.Helo.Validate()},
		{sender.Name, c.Sender.Validate()},
		{recipient.Name, c.Recipient.Validate()},
		{dnsbl.Name, c.DNSBL.Validate()},
		{greylist.Name, files.greylist},
		{rules.Name, files.rules},
		{postfix.Name, files.postfix},
		{mime.Name, c.MIME.Validate()},
		{attachment.Name, c.Attachment.Validate()},
		{clamav.Name, c.ClamAV.Validate()},
		{rspamd.Name, c.Rspamd.Validate()},
		{spamassassin.Name, c.SpamAssassin.Validate()},
		{limits.Name, c.Limits.Validate()},
	} {
		for _, err := range v.errs {
			errs = append(errs, fmt.Errorf("check.%s.%w", v.key, err))
		}
	}
	return errs
}

// Warnings tells what will work and is worth a word, each naming its key.
func (c Config) Warnings(now time.Time) (errs []error) {
	for _, err := range c.Access.Warnings(now) {
		errs = append(errs, fmt.Errorf("check.%s.%w", access.Name, err))
	}
	return errs
}

// Compare tells what in the limits of the programs that checks ask does not fit
// ours, each naming its key; largest is the largest message of any listener.
// Mail flows with them, some of it into the holding place.
func (c Config) Compare(largest int64) (warnings []error) {
	for _, err := range clamav.Compare(c.ClamAV, largest) {
		warnings = append(warnings, fmt.Errorf("check.%s.%w", clamav.Name, err))
	}
	return warnings
}

// Checks makes the checks in the order in which they run and are listed, with
// no helper of theirs started.
func Checks(c Config, site filters.Site) ([]filters.Check, error) {
	checks, _, err := (&Lists{}).Checks(c, site, nil)
	return checks, err
}

// Checks makes the checks of a configuration that Read has read these lists of.
// The helpers take over what those of the configuration before know.
func (read *Lists) Checks(c Config, site filters.Site, old *Helpers) ([]filters.Check, *Helpers, error) {
	var l list
	h := &Helpers{}
	l.add(suspension.New(c.Suspension, site.Users))
	l.add(senderlogin.New(c.SenderLogin, read.logins, site))
	l.add(access.New(c.Access, read.access))
	l.add(client.New(c.Client, site))
	l.add(helo.New(c.Helo, site))
	l.add(sender.New(c.Sender, site))
	l.add(recipient.New(c.Recipient, site))
	l.add(h.lists(dnsbl.New(c.DNSBL, site, h.listOptions(site, old))))
	l.add(greylist.New(c.Greylist, read.greylist, site, read.Grey))
	l.add(rules.New(c.Rules, read.rules, site, rules.Options{Hits: h.counting(site, old), Gate: h.slow(c.Rules, old)}))
	l.add(postfix.New(c.Postfix, read.postfix, site, h.gate))
	l.add(mime.New(c.MIME))
	l.add(attachment.New(c.Attachment))
	l.add(h.clamd(c.ClamAV, site, old))
	l.add(h.asks(rspamd.New(c.Rspamd, site, rspamd.Options{Log: site.Logger(rspamd.Name)})))
	l.add(h.asks(spamassassin.New(c.SpamAssassin, site, spamassassin.Options{Log: site.Logger(spamassassin.Name)})))
	l.add(h.limiting(c.Limits, site, old))
	return l.checks, h, errors.Join(l.errs...)
}

type list struct {
	checks []filters.Check
	errs   []error
}

func (l *list) add(c filters.Check, err error) {
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	l.checks = append(l.checks, c)
}
