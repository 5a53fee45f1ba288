package dnsbl

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	lists "garita/dnsbl"
	"garita/mail"
	"garita/resolver"
)

// Config is the table [check.dnsbl].
type Config struct {
	Mode      string                `toml:"mode" enum:"off,observe,score,enforce" doc:"off, observe, score or enforce. score: listings give points, and those of all checks together decide. enforce: from refuse_at on the client is refused at RCPT. Off until it is asked for, since lists have terms of use and learn who writes to you: read garita rbl lists, have a resolver of your own, then score."`
	Lists     []string              `toml:"lists" doc:"Names of the lists that are asked: those that come with the program (garita rbl lists) and those of [check.dnsbl.list.NAME]."`
	Timeout   time.Duration         `toml:"timeout" doc:"For all lists together, 100ms to 30s. What has not answered by then says nothing; three times in a row suspends a list."`
	RefuseAt  float64               `toml:"refuse_at" doc:"With mode enforce: from so many points of lists on the client is refused at RCPT, for links at the end of the message. 0: never."`
	Reply     string                `toml:"reply" enum:"defer,reject" doc:"What that is: reject (554 5.7.1) or defer (450 4.7.1)."`
	Text      string                `toml:"text" doc:"Text of the reply. {subject} is what is listed, {list} the public name of the list, never with a key, {lookup} its page for removal, {reason} the list's own text as one printable line, where it is known to be fit to be shown."`
	URLs      int                   `toml:"urls" doc:"So many different domains of links in a message are looked up, 0 to 100; of more, some by chance."`
	KnownGood []netip.Prefix        `toml:"known_good" doc:"Addresses and networks that you know for good mail: a single list that has them is not believed, and two of them listed suspend it."`
	PeerDays  int                   `toml:"peer_days" doc:"A client whose mail was good on so many different days is known for good mail by itself; 0: none is."`
	List      map[string]ListConfig `toml:"list" example:"spamhaus-zen" doc:"A list of your own, or what is other than shipped in one that is known: the zone and key of a customer, codes, weight."`
}

// ListConfig is [check.dnsbl.list.NAME]; empty keys leave a known list as it is.
type ListConfig struct {
	Zone        string   `toml:"zone" doc:"Zone that is asked, without the key: zen.dq.spamhaus.net."`
	Key         string   `toml:"key" secret:"true" doc:"Stands in front of the zone where each customer has a zone of his own. It is a secret, in no reply and no log."`
	Title       string   `toml:"title" doc:"What replies call the list; empty: its zone."`
	Kinds       []string `toml:"kinds" doc:"What it is asked for: ipv4, ipv6, host, helo, sender, url."`
	Codes       []string `toml:"codes" doc:"What answers mean, as \"PATTERN POINTS MEANING\": \"127.0.0.[2..11] 3 sends spam\", \"127.0.0.&8 2 phishing\" for a bit, \"127.0.0.255 error over the limit\" for what is no listing. Points below 0 are those of an allow list."`
	Weight      float64  `toml:"weight" doc:"Points of any answer in the place of those of codes; 0: those of codes."`
	Listed      []string `toml:"listed" doc:"Entries that the list has for tests, in the place of those of RFC 5782 (127.0.0.2, ::ffff:7f00:2, test); none: it has none."`
	Clean       []string `toml:"clean" doc:"What it never lists, in the place of 127.0.0.1, ::ffff:7f00:1 and invalid; none: that is not asked."`
	Unconfirmed bool     `toml:"unconfirmed" doc:"The list has reserved addresses too: its listings count without the question for one that nobody can have listed."`
}

// Default is off; with score and these lists it is what most want.
func Default() Config {
	return Config{
		Mode: "off", Lists: lists.DefaultLists(), Timeout: 3 * time.Second, RefuseAt: 8, Reply: "reject",
		Text: "Service unavailable; {subject} blocked using {list}; {lookup}", URLs: 20, KnownGood: []netip.Prefix{}, PeerDays: 5,
		List: map[string]ListConfig{},
	}
}

// Validate gives every mistake, each naming its key.
func (c Config) Validate() (errs []error) {
	bad := func(key string, value any, text string) {
		errs = append(errs, fmt.Errorf("%s = %v: %s", key, value, text))
	}
	if _, ok := mail.ParseMode(c.Mode); !ok {
		errs = append(errs, fmt.Errorf("mode = %q: must be off, observe, score or enforce", c.Mode))
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 30*time.Second {
		bad("timeout", c.Timeout, "must be from 100ms to 30s")
	}
	if math.IsNaN(c.RefuseAt) || c.RefuseAt < 0 || c.RefuseAt > 1000 {
		bad("refuse_at", c.RefuseAt, "must be from 0 (never) to 1000")
	}
	if c.Reply != "defer" && c.Reply != "reject" {
		errs = append(errs, fmt.Errorf("reply = %q: must be defer or reject", c.Reply))
	}
	if err := checkText(c.Text); err != nil {
		errs = append(errs, err)
	}
	if c.URLs < 0 || c.URLs > 100 {
		bad("urls", c.URLs, "must be from 0 to 100")
	}
	if c.PeerDays < 0 || c.PeerDays > 30 {
		bad("peer_days", c.PeerDays, "must be from 0 to 30")
	}
	if len(c.Lists) > lists.MaxLists {
		errs = append(errs, fmt.Errorf("lists: at most %d", lists.MaxLists))
	}
	for i, name := range c.Lists {
		_, known := lists.FindShipped(name)
		switch _, own := c.List[name]; {
		case !known && !own:
			errs = append(errs, fmt.Errorf("lists[%d] = %.40q: is no list that is known; garita rbl lists shows them, [check.dnsbl.list.%.40s] makes one", i, name, name))
		case slices.Index(c.Lists, name) < i:
			errs = append(errs, fmt.Errorf("lists[%d] = %q: stands there already", i, name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.List)) {
		_, wrong := c.List[name].list(name)
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("list.%s.%w", name, err))
		}
	}
	return errs
}

// words are the names that the text of a reply may have.
func words() []string { return []string{"{subject}", "{list}", "{lookup}", "{reason}"} }

func checkText(s string) error {
	rest := s
	for _, w := range words() {
		rest = strings.ReplaceAll(rest, w, "")
	}
	switch {
	case s == "" || len(s) > 200 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("text = %.60q: must be printable ASCII, 1 to 200 octets", s)
	case strings.ContainsAny(rest, "{}"):
		return fmt.Errorf("text = %.60q: braces stand only in %s", s, strings.Join(words(), ", "))
	}
	return nil
}

// defined are the lists that are asked.
func (c Config) defined() (out []lists.List, errs []error) {
	for _, name := range c.Lists {
		l, wrong := c.List[name].list(name)
		out, errs = append(out, l), append(errs, wrong...)
	}
	return out, errs
}

// list makes the definition of a list, of what is known of it and the table.
func (c ListConfig) list(name string) (l lists.List, errs []error) {
	l, known := lists.FindShipped(name)
	l.Name = name
	if c.Zone != "" {
		l.Zone = strings.ToLower(strings.TrimSuffix(c.Zone, "."))
	}
	l.Key = c.Key
	if c.Title != "" {
		l.Title = c.Title
		if len(c.Title) > 60 || strings.ContainsFunc(c.Title, func(r rune) bool { return r < ' ' || r > '~' }) {
			errs = append(errs, fmt.Errorf("title = %.60q: must be printable ASCII, at most 60 octets", c.Title))
		}
	}
	if len(c.Kinds) > 0 || !known {
		k, err := lists.ParseKinds(c.Kinds)
		if err != nil {
			errs = append(errs, fmt.Errorf("kinds: %w", err))
			k = lists.Address4 // the mistake is told once
		}
		l.Kinds = k
	}
	if c.Weight != 0 {
		l.Weight = c.Weight
		l.Codes = slices.Clone(l.Codes)
		for i := range l.Codes {
			l.Codes[i].Weight = c.Weight
		}
	} else if !known && len(c.Codes) == 0 {
		errs = append(errs, fmt.Errorf("weight: a list of your own needs points, here or in codes"))
	}
	if len(c.Codes) > 0 {
		l.Codes = nil
		for i, s := range c.Codes {
			one, err := lists.ParseCode(s)
			if err != nil {
				errs = append(errs, fmt.Errorf("codes[%d]: %w", i, err))
				continue
			}
			if c.Weight != 0 {
				one.Weight = c.Weight
			}
			l.Codes = append(l.Codes, one)
		}
	}
	errs = append(errs, tests(&l.Test.Listed4, &l.Test.Listed6, &l.Test.ListedName, "listed", c.Listed)...)
	errs = append(errs, tests(&l.Test.Clean4, &l.Test.Clean6, &l.Test.CleanName, "clean", c.Clean)...)
	l.Test.NoStranger = l.Test.NoStranger || c.Unconfirmed
	return l, append(errs, l.Validate()...)
}

// tests puts each entry where it belongs by its form.
func tests(v4, v6, name *string, key string, entries []string) (errs []error) {
	if len(entries) == 0 {
		return nil
	}
	*v4, *v6, *name = lists.None, lists.None, lists.None
	for i, e := range entries {
		a, err := netip.ParseAddr(e)
		switch {
		case e == lists.None:
		case err == nil && a.Is4():
			*v4 = e
		case err == nil:
			*v6 = e
		case resolver.ValidHost(e):
			*name = e
		default:
			errs = append(errs, fmt.Errorf("%s[%d] = %.60q: must be an address, a name, or none", key, i, e))
		}
	}
	return errs
}
