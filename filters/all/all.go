// Package all is the ordered list of checks and their configuration. It is
// the only place that imports checks: adding one touches its own folder and
// this file.
package all

import (
	"errors"
	"fmt"

	"garita/filters"
	"garita/filters/access"
	"garita/filters/helo"
)

// Config is the table [check], one field for each check in list order.
type Config struct {
	Access access.Config `toml:"access" doc:"The operator's own lists of clients, HELO names, senders and recipients."`
	Helo   helo.Config   `toml:"helo" doc:"The form of the name in HELO and EHLO."`
}

// Default is every check's default.
func Default() Config {
	return Config{
		Access: access.Default(),
		Helo:   helo.Default(),
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	for _, v := range []struct {
		key  string
		errs []error
	}{
		{access.Name, c.Access.Validate()},
		{helo.Name, c.Helo.Validate()},
	} {
		for _, err := range v.errs {
			errs = append(errs, fmt.Errorf("check.%s.%w", v.key, err))
		}
	}
	return errs
}

// Checks makes the checks in the order in which they run and are listed.
func Checks(c Config, site filters.Site) ([]filters.Check, error) {
	var l list
	l.add(access.New(c.Access))
	l.add(helo.New(c.Helo, site))
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
