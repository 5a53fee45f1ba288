package routing

import (
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"garita/mail"
)

// Destination is a next hop that a table names by its address instead of the
// name of a [next_hop.NAME] table. Its settings are the defaults.
type Destination struct {
	// Name is for logs and for Options.Hops: "smtp:[mx.example]:25". It is the
	// same for every spelling of one destination, and no name of a table, which
	// has no brackets and colons.
	Name string
	// Proto is smtp, smtps or lmtp.
	Proto string
	Host  string // empty for a socket
	Port  uint16
	Path  string // of a unix socket, absolute

	File string // where it is named first
	Line int
}

// URL is the destination as [next_hop] writes it: smtp://host:port,
// lmtp://host:port, lmtp+unix:///path for a socket.
func (d Destination) URL() string {
	if d.Path != "" {
		return d.Proto + "+unix://" + d.Path
	}
	return d.Proto + "://" + net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port)))
}

// A wrong value: what is wrong, and how to mend it.
type wrong struct{ text, try string }

const tryHop = `write the NAME of a [next_hop.NAME] table, or smtp:[host]:port`

// parseValue reads the right side of a route: a name, a destination, or
// neither (":" of transport(5): as if the line were not there).
func parseValue(s string) (name string, d *Destination, bad *wrong) {
	switch {
	case s == "":
		return "", nil, &wrong{"says nothing of where the mail goes", tryHop}
	case s == ":":
		return "", nil, nil
	case refuses(s):
		return "", nil, notARefusal(s)
	case strings.ContainsAny(s, ", \t"):
		return "", nil, &wrong{"has more than one destination", "name a [next_hop.NAME] table that has them all"}
	case isHopName(s):
		return s, nil, nil
	}
	proto, rest, colon := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		proto, rest, colon = "smtp", s, true
	}
	if !colon {
		return "", nil, &wrong{strconv.Quote(s) + " is no name of a next hop, and a host stands in brackets: no MX look-up is made, since mail could come back by it", "write smtp:[" + clip(s) + "]:25 if that is the host"}
	}
	switch proto = strings.ToLower(proto); proto {
	case "smtp", "smtps", "lmtp":
	case "relay", "":
		proto = "smtp"
	default:
		if _, port := portNumber(":" + rest); port {
			return hostPort("smtp", s) // host:port, and its missing brackets
		}
		return "", nil, &wrong{strconv.Quote(clip(proto)+":") + " is no transport of ours", "smtp:, smtps:, relay: or lmtp:; mail is refused by access lists, not by routes"}
	}
	if name, ok := strings.CutPrefix(rest, "unix:"); ok {
		return socket(proto, name)
	}
	rest = strings.TrimPrefix(rest, "inet:") // lmtp:inet:[host]:port is lmtp(8)'s
	return hostPort(proto, rest)
}

// refuses tells Postfix's error(8) and discard(8), whose text may have blanks
// and commas, so that it is not taken for several destinations.
func refuses(s string) bool {
	proto, _, colon := strings.Cut(s, ":")
	switch strings.ToLower(proto) {
	case "error", "retry", "discard":
		return colon
	}
	return false
}

func notARefusal(s string) *wrong {
	proto, _, _ := strings.Cut(s, ":")
	try := `write it into [check.access]: recipients = ["user@domain 550 5.1.1 text"]`
	switch strings.ToLower(proto) {
	case "retry":
		try = `write it into [check.access]: recipients = ["user@domain defer text"]`
	case "discard":
		try = "mail is never thrown away here; refuse it by recipients in [check.access]"
	}
	return &wrong{strconv.Quote(proto+":") + " is not taken here: routes refuse nobody", try}
}

func socket(proto, name string) (string, *Destination, *wrong) {
	if proto == "smtps" {
		return "", nil, &wrong{"TLS from the first octet is not spoken over a socket", "write lmtp:unix:/path or smtp:unix:/path"}
	}
	// 107: sun_path of Linux without its NUL. The rest is what a URL and a log
	// line take as it is.
	strange := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`?#%"\[]`, r) }
	if !strings.HasPrefix(name, "/") || name == "/" || len(name) > 107 || path.Clean(name) != name || strings.ContainsFunc(name, strange) {
		return "", nil, &wrong{"the path of the socket cannot be", "write " + proto + ":unix:/path, from /, at most 107 bytes; Postfix takes other paths as below its queue folder"}
	}
	return "", &Destination{Name: proto + ":unix:" + name, Proto: proto, Path: name}, nil
}

func hostPort(proto, s string) (string, *Destination, *wrong) {
	if s == "" {
		return "", nil, &wrong{"names no host", "write " + proto + ":[host]:port"}
	}
	if s[0] != '[' {
		host, _, _ := strings.Cut(s, ":")
		return "", nil, &wrong{"a host stands in brackets: no MX look-up is made, since mail could come back by it", "write " + proto + ":[" + clip(host) + "]:port"}
	}
	host, port, ok := strings.Cut(s[1:], "]")
	if !ok {
		return "", nil, &wrong{"a bracket is not closed", "write " + proto + ":[host]:port"}
	}
	n := defaultPort(proto)
	if port != "" {
		if n, ok = portNumber(port); !ok {
			return "", nil, &wrong{strconv.Quote(clip(port)) + " is no port", "write a number from 1 to 65535 after the bracket and a colon"}
		}
	}
	host, ok = hostName(host)
	if !ok {
		return "", nil, &wrong{"what stands in brackets is no host name and no address", "write " + proto + ":[host]:port"}
	}
	return "", &Destination{
		Name: proto + ":[" + host + "]:" + strconv.Itoa(int(n)), Proto: proto, Host: host, Port: n,
	}, nil
}

func defaultPort(proto string) uint16 {
	switch proto {
	case "smtps":
		return 465
	case "lmtp":
		return 24
	}
	return 25
}

func portNumber(s string) (uint16, bool) {
	switch s {
	case ":smtp":
		return 25, true
	case ":submission":
		return 587, true
	case ":smtps", ":submissions":
		return 465, true
	}
	digits, ok := strings.CutPrefix(s, ":")
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), ok && err == nil && n > 0 && digits[0] != '+'
}

// hostName gives a host in its one spelling.
func hostName(s string) (string, bool) {
	if len(s) > 5 && strings.EqualFold(s[:5], "ipv6:") {
		s = s[5:]
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().String(), a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
	}
	host := mail.DomainKey(s)
	return host, mail.ValidDomain(s, true) && host[0] != '[' && !strings.Contains(host, "_")
}

// isHopName tells what a [next_hop.NAME] may be called.
func isHopName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// clip keeps a word of a table to what a message can carry; quoted where it
// may hold more than plain text (tables lets no control character through).
func clip(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
