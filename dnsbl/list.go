package dnsbl

import (
	"fmt"
	"slices"
	"strings"

	"garita/resolver"
)

// Kind is what a list is asked for; a list may be asked for several.
type Kind uint8

const (
	// Address4 and Address6 are the client's address.
	Address4 Kind = 1 << iota
	Address6
	// Host is the client's confirmed name.
	Host
	// Helo is the domain in HELO.
	Helo
	// Sender is the domain of the reverse-path.
	Sender
	// URL are the domains of links in a message.
	URL
)

// names gives the kinds as the configuration spells them, by rising bit.
func kindNames() []string { return []string{"ipv4", "ipv6", "host", "helo", "sender", "url"} }

// Domains are the kinds that ask for a name.
const Domains = Host | Helo | Sender | URL

// ParseKinds reads the words ipv4, ipv6, host, helo, sender and url.
func ParseKinds(words []string) (k Kind, err error) {
	for _, w := range words {
		i := slices.Index(kindNames(), w)
		if i < 0 {
			return 0, fmt.Errorf("%.20q: must be one of %s", w, strings.Join(kindNames(), ", "))
		}
		k |= 1 << i
	}
	return k, nil
}

// String gives the kinds as the configuration spells them.
func (k Kind) String() string {
	var out []string
	for i, n := range kindNames() {
		if k&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

// List is what is known of one list.
type List struct {
	// Name is ours, [a-z0-9-]: for symbols, commands and metrics. Title is what
	// strangers are told.
	Name, Title string
	// Zone is asked; Key, a secret, stands in front of it where the list gives
	// each customer a zone of his own.
	Zone, Key string
	Kinds     Kind
	// Codes say what answers mean. Without any, all of 127.0.0.0/8 that is no
	// error means Weight.
	Codes  []Code
	Weight float64
	// Group names lists of the same data: of them the highest weight counts,
	// and none of them confirms another.
	Group string
	// Organisational lists are asked for the registered domain alone, and those
	// with URLAddresses also for addresses in links.
	Organisational, URLAddresses bool
	// TXT says that the reason in the list's TXT record is fit to be shown.
	TXT  bool
	Test Test

	// What an operator should know before asking, and who is listed.
	Criteria, Risk, Terms string
	// Register says that it answers only those who have registered.
	Register bool
	// Lookup is the page to look up and ask for removal, Cost what removal costs,
	// From which address the request should come.
	Lookup, Cost, From string
	// Shared are lists over whole networks or providers: an address in them may
	// never have sent anything bad.
	Shared bool
}

// Test are the entries by which a list shows that it is well. Empty fields are
// those of RFC 5782 section 5: 127.0.0.2 and ::FFFF:7F00:2, TEST are listed,
// 127.0.0.1, ::FFFF:7F00:1 and INVALID are not. None is for a list that has no
// such entry.
type Test struct {
	Listed4, Clean4, Listed6, Clean6, ListedName, CleanName string
	// NoStranger says that it lists what nobody can have listed (reserved
	// addresses): that is not asked, and its listings stand unconfirmed.
	NoStranger bool
}

// None is a test entry that the list does not have.
const None = "none"

// zone is what is asked, the key with it: never shown.
func (l *List) zone() string {
	if l.Key != "" {
		return l.Key + "." + l.Zone
	}
	return l.Zone
}

// Public is the list's name for strangers: without a key (attacks I12).
func (l *List) Public() string {
	if l.Title != "" {
		return l.Title
	}
	return l.Zone
}

// Validate gives every mistake of a definition.
func (l *List) Validate() (errs []error) {
	bad := func(key, value, text string) { errs = append(errs, fmt.Errorf("%s = %q: %s", key, value, text)) }
	if !ValidListName(l.Name) {
		bad("name", l.Name, "must be of a to z, 0 to 9 and hyphens, at most 40")
	}
	switch {
	case !resolver.ValidHost(l.Zone) || !strings.Contains(l.Zone, ".") || len(l.Zone) > 150:
		bad("zone", l.Zone, "must be a domain name, as dnsbl.example.org")
	case l.Key != "" && !resolver.ValidHost(l.zone()):
		errs = append(errs, fmt.Errorf("key: with the zone behind it, it must be a domain name"))
	}
	if l.Kinds == 0 {
		errs = append(errs, fmt.Errorf("kinds: must name at least one of %s", strings.Join(kindNames(), ", ")))
	}
	if !(l.Weight >= -maxWeight && l.Weight <= maxWeight) {
		errs = append(errs, fmt.Errorf("weight = %v: must be from %d to %d", l.Weight, -maxWeight, maxWeight))
	}
	if len(l.Codes) > 64 {
		errs = append(errs, fmt.Errorf("codes: at most 64"))
	}
	return append(errs, l.validTest()...)
}

func (l *List) validTest() (errs []error) {
	for _, t := range []struct {
		key, value string
		kind       Kind
	}{
		{"listed_ipv4", l.Test.Listed4, Address4}, {"clean_ipv4", l.Test.Clean4, Address4},
		{"listed_ipv6", l.Test.Listed6, Address6}, {"clean_ipv6", l.Test.Clean6, Address6},
		{"listed_name", l.Test.ListedName, Host}, {"clean_name", l.Test.CleanName, Host},
	} {
		if t.value != "" && t.value != None && testName(t.value, t.kind, "x.example") == "" {
			errs = append(errs, fmt.Errorf("%s = %q: must be an address or name that the list has for tests, or none", t.key, t.value))
		}
	}
	return errs
}

// ValidListName tells a name that may stand in symbols and labels.
func ValidListName(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && s[0] != '-'
}

// least is the lowest weight that an answer can add, most the highest.
func (l *List) least() (low, high float64) {
	if len(l.Codes) == 0 {
		return min(l.Weight, 0), max(l.Weight, 0)
	}
	for i := range l.Codes {
		if !l.Codes[i].Error {
			low, high = min(low, l.Codes[i].Weight), max(high, l.Codes[i].Weight)
		}
	}
	return low, high
}

// allows tells an allow list: no answer of it is bad.
func (l *List) allows() bool {
	low, high := l.least()
	return low < 0 && high <= 0
}
