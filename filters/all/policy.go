package all

import (
	"fmt"
	"slices"

	"garita/filters"
	"garita/filters/greylist"
	"garita/mail"
)

// ForPolicy picks the checks that the policy server asks, in list order: some
// have a mode of their own there.
func (c Config) ForPolicy(checks []filters.Check, names []string) ([]filters.Check, error) {
	var out []filters.Check
	for _, check := range checks {
		if !slices.Contains(names, check.Name) {
			continue
		}
		if check.Name == greylist.Name {
			check.Mode, _ = mail.ParseMode(c.Greylist.PolicyMode)
		}
		out = append(out, check)
	}
	for _, name := range names {
		if !slices.ContainsFunc(out, func(one filters.Check) bool { return one.Name == name }) {
			return nil, fmt.Errorf("checks: there is no check %.40q", name)
		}
	}
	return out, nil
}
