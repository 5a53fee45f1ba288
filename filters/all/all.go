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
	"garita/filters/client"
	"garita/filters/helo"
	"garita/filters/recipient"
	"garita/filters/sender"
)

// Config is the table [check], one field for each check in list order.
type Config struct {
	Access    access.Config    `toml:"access" doc:"The operator's own lists of clients, HELO names, senders and recipients."`
	Client    client.Config    `toml:"client" doc:"The client's name in the reverse DNS."`
	Helo      helo.Config      `toml:"helo" doc:"The name in HELO and EHLO: its form, and whether the DNS knows it."`
	Sender    sender.Config    `toml:"sender" doc:"The domain of the sender."`
	Recipient recipient.Config `toml:"recipient" doc:"The domains that outbound mail goes to."`
}

// Default is every check's default.
func Default() Config {
	return Config{
		Access:    access.Default(),
		Client:    client.Default(),
		Helo:      helo.Default(),
		Sender:    sender.Default(),
		Recipient: recipient.Default(),
	}
}

// Lists are the files of lists that checks name, as they were read.
type Lists struct{ access *access.Lists }

// Read reads the lists, once for all who want to know of them: their mistakes
// and warnings, and the checks. The errors are those of Validate, with which
// there are no lists, and those of Warnings.
func (c Config) Read(now func() time.Time) (l *Lists, errs, warnings []error) {
	lists, wrong, odd := c.Access.Read(now)
	for _, err := range odd {
		warnings = append(warnings, fmt.Errorf("check.%s.%w", access.Name, err))
	}
	if errs = c.validate(wrong); len(errs) > 0 {
		return nil, errs, warnings
	}
	return &Lists{lists}, nil, warnings
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) { return c.validate(c.Access.Validate()) }

// validate gives every mistake, with those of the access lists.
func (c Config) validate(lists []error) (errs []error) {
	for _, v := range []struct {
		key  string
		errs []error
	}{
		{access.Name, lists},
		{client.Name, c.Client.Validate()},
		{helo.Name, c.Helo.Validate()},
		{sender.Name, c.Sender.Validate()},
		{recipient.Name, c.Recipient.Validate()},
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

// Checks makes the checks in the order in which they run and are listed.
func Checks(c Config, site filters.Site) ([]filters.Check, error) {
	return (&Lists{}).Checks(c, site)
}

// Checks makes the checks of a configuration that Read has read these lists of.
func (read *Lists) Checks(c Config, site filters.Site) ([]filters.Check, error) {
	var l list
	l.add(access.New(c.Access, read.access))
	l.add(client.New(c.Client, site))
	l.add(helo.New(c.Helo, site))
	l.add(sender.New(c.Sender, site))
	l.add(recipient.New(c.Recipient, site))
	return l.checks, errors.Join(l.errs...)
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
