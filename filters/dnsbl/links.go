package dnsbl

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	lists "garita/dnsbl"
	"garita/filters"
	"garita/message"
	"garita/resolver"
	"garita/rules/markup"
)

const (
	// maxLinks bounds the domains that are collected of a message; maxSeen the
	// links that are looked at, since all may have one domain.
	maxLinks = 1000
	maxSeen  = 20_000
	// maxHost bounds the text of a host with user and port.
	maxHost = 600
)

// collector gathers the hosts of links, each registered domain once.
type collector struct {
	own   map[string]bool
	found []subject
	known map[string]bool
	seen  int
}

func (c *collector) full() bool { return len(c.found) >= maxLinks || c.seen >= maxSeen }

// links gives the hosts of the links in a message. Of more than are looked up
// some are taken by chance: nobody can put the bad one behind the last.
func (k *lookups) links(ctx context.Context, x *message.Index) ([]subject, error) {
	c := collector{own: k.own, known: map[string]bool{}}
	for _, p := range x.Parts {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if p.Children || c.full() {
			continue
		}
		text, page := len(p.Types) == 0, false
		for _, t := range p.Types {
			text = text || strings.HasPrefix(t, "text/")
			page = page || t == "text/html" || t == "application/xhtml+xml"
		}
		var last []byte
		for i, b := range p.Bodies() {
			if !text && !page || i > 0 && bytes.Equal(b.Data, last) {
				continue
			}
			last = b.Data
			if page {
				c.page(b.Data)
			} else {
				c.text(b.Data)
			}
		}
	}
	if len(c.found) > k.c.URLs {
		if resolver.CacheOnly(ctx) {
			// Which are taken is drawn once, where it is asked.
			return nil, filters.ErrWouldWait
		}
		rand.Shuffle(len(c.found), func(i, j int) { c.found[i], c.found[j] = c.found[j], c.found[i] })
		c.found = c.found[:k.c.URLs]
	}
	return c.found, nil
}

// page collects from HTML.
func (c *collector) page(data []byte) {
	markup.Read(data, markup.Visitor{
		Tag: func(_ []byte, attributes []markup.Attribute, _ int) {
			for i := range attributes {
				switch string(attributes[i].Name) {
				case "href", "src", "action", "formaction", "background", "data", "poster", "xlink:href", "cite":
					v := unfold(attributes[i].Value)
					c.address(v)
					c.text(v) // what it leads on to, too
				case "srcset", "content":
					c.text(unfold(attributes[i].Value))
				case "style":
					c.text(attributes[i].Value)
				}
			}
		},
		Text: func(text []byte, _ int, _ bool) { c.text(text) },
	})
}

// unfold takes out what browsers take out of an address.
func unfold(v []byte) []byte {
	if bytes.IndexAny(v, "\t\r\n") < 0 {
		return v
	}
	return bytes.Map(func(r rune) rune {
		if r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, v)
}

// maxUser bounds what may stand before the host of a whole address.
const maxUser = 8 << 10

// address reads a value that is one address as browsers do, who do not need the
// slashes behind http:, take backslashes for them, and end the host at a slash,
// "?" or "#" alone: in user information anything else may stand (D-15).
func (c *collector) address(v []byte) {
	for len(v) > 0 && v[0] <= ' ' {
		v = v[1:]
	}
	slashes := 2 // as many it needs
	for _, scheme := range []string{"http:", "https:"} {
		if len(v) > len(scheme) && strings.EqualFold(string(v[:len(scheme)]), scheme) {
			v, slashes = v[len(scheme):], 0
			break
		}
	}
	for len(v) > 0 && (v[0] == '/' || v[0] == '\\') {
		v, slashes = v[1:], slashes-1
	}
	if slashes > 0 || c.full() {
		return
	}
	c.seen++
	v = v[:min(len(v), maxUser)]
	if end := bytes.IndexAny(v, "/\\?#"); end >= 0 {
		v = v[:end]
	}
	if i := bytes.LastIndexByte(v, '@'); i >= 0 {
		v = v[i+1:]
	}
	if len(v) <= maxHost {
		c.name(string(v))
	}
}

// text collects what begins with "//" behind a colon or at the beginning, or
// with "www.". A browser takes a backslash for a slash.
func (c *collector) text(data []byte) {
	var f finder
	for at := 0; at < len(data) && !c.full(); {
		if at = f.next(data, at); at < 0 {
			return
		}
		if data[at] == 'w' || data[at] == 'W' {
			if at == 0 || !wordOctet(data[at-1]) && data[at-1] != '/' {
				c.host(data[at:])
			}
			at += len("www.")
			continue
		}
		start := at + 2
		if at == 0 || data[at-1] == ':' {
			// More slashes are none more to a browser.
			for start < len(data) && start < at+8 && (data[start] == '/' || data[start] == '\\') {
				start++
			}
			c.host(data[start:])
		}
		at = start
	}
}

// beginnings are those of what may be a link.
var beginnings = [...]string{"//", `\\`, `/\`, `\/`, "www.", "WWW.", "Www."}

// finder finds them; it remembers where each is next, so that all of it is
// linear in the text.
type finder struct {
	at    [len(beginnings)]int // below 0: there is none any more
	begun bool
}

func (f *finder) next(data []byte, from int) int {
	best := -1
	for i, w := range beginnings {
		if !f.begun || f.at[i] >= 0 && f.at[i] < from {
			f.at[i] = bytes.Index(data[from:], []byte(w))
			if f.at[i] >= 0 {
				f.at[i] += from
			}
		}
		if p := f.at[i]; p >= 0 && (best < 0 || p < best) {
			best = p
		}
	}
	f.begun = true
	return best
}

func wordOctet(b byte) bool {
	return b == '.' || b == '-' || b == '_' || b == '@' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || b >= 0x80
}

// host reads the authority at the beginning of a text.
func (c *collector) host(data []byte) {
	c.seen++
	data = data[:min(len(data), maxHost)]
	if end := bytes.IndexAny(data, "/\\?#\"'<>()[]{}|^`,; \t\r\n"); end >= 0 {
		data = data[:end]
	}
	s := string(data)
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	c.name(s)
}

// name reads a host with or without its port.
func (c *collector) name(s string) {
	if i := strings.IndexByte(s, ':'); i >= 0 {
		s = s[:i]
	}
	if strings.IndexByte(s, '%') >= 0 {
		u, err := url.PathUnescape(s)
		if err != nil {
			return
		}
		s = u
	}
	// The end of a sentence, and the full stop of East Asian writing.
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) >= 0 {
		s = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".").Replace(s)
	}
	s = strings.TrimRight(s, ".!:*_-")
	if a, ok := number(s); ok {
		if a.IsGlobalUnicast() && !a.IsPrivate() && !c.known[a.String()] {
			c.known[a.String()] = true
			c.found = append(c.found, subject{kind: lists.URL, addr: a})
		}
		return
	}
	d := lists.Domain(s)
	if d == "" || c.own[d] || c.known[d] || !ending(d) {
		return
	}
	c.known[d] = true
	// Hosts of one registered domain are one, or www1 to www999 would use up
	// what may be asked; lists of hosts have them by their domain.
	if o := lists.Organisational(d); o != "" && o != d {
		if c.own[o] || c.known[o] {
			return
		}
		c.known[o] = true
	}
	c.found = append(c.found, subject{kind: lists.URL, name: d})
}

// ending tells a name whose last label can be one of the DNS: a file name in a
// text is no link.
func ending(d string) bool {
	last := d[strings.LastIndexByte(d, '.')+1:]
	return len(last) >= 2 && (strings.Trim(last, "abcdefghijklmnopqrstuvwxyz") == "" || strings.HasPrefix(last, "xn--"))
}

// number reads an address as browsers do (URL Standard, IPv4 parser): one to
// four parts, decimal, octal or hexadecimal, the last of which fills the rest.
func number(s string) (netip.Addr, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' || strings.Count(s, ".") > 3 {
		return netip.Addr{}, false
	}
	n, left := uint64(0), 4
	for part, rest, more := strings.Cut(s, "."); ; part, rest, more = strings.Cut(rest, ".") {
		v, ok := octets(part)
		if left--; more {
			if !ok || v > 255 {
				return netip.Addr{}, false
			}
			n |= v << (8 * left)
			continue
		}
		if !ok || v >= 1<<(8*(left+1)) {
			return netip.Addr{}, false
		}
		n |= v
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), true
	}
}

// octets reads one part.
func octets(s string) (uint64, bool) {
	base := 10
	switch {
	case len(s) > 1 && s[0] == '0' && s[1]|0x20 == 'x':
		if s, base = s[2:], 16; s == "" {
			return 0, true
		}
	case len(s) > 1 && s[0] == '0':
		base = 8
	}
	v, err := strconv.ParseUint(s, base, 33)
	return v, err == nil
}
