package relay

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// target is one server of a next hop, as its URL names it.
type target struct {
	lmtp     bool       // RFC 2033
	implicit bool       // TLS from the first octet (RFC 8314 section 3)
	path     string     // of a unix socket; empty: TCP
	host     string     // name or address; "localhost" for a unix socket
	port     uint16     // never guessed
	literal  netip.Addr // host when it is an address
}

// maxSocketPath is what sockaddr_un takes, without its NUL.
const maxSocketPath = 107

const mendURL = "write it as \"smtp://host:port\", such as \"smtp://127.0.0.1:10025\"; " +
	"smtps:// is TLS from the first octet, lmtp:// LMTP, lmtp+unix:///path and smtp+unix:///path a unix socket"

// parseURL takes a URL of a next hop apart. Neither port nor path is guessed,
// and no credentials are taken from it: URLs are shown.
func parseURL(key, s string) (target, error) {
	if s == "" {
		return target{}, fmt.Errorf("%s is missing: %s", key, mendURL)
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || u.Opaque != "" || strings.HasSuffix(s, "#") || !strings.HasPrefix(s, u.Scheme) {
		return target{}, fmt.Errorf("%s = %q: %s", key, withoutUser(s, u), mendURL)
	}
	t := target{}
	switch u.Scheme {
	case "smtp":
	case "smtps":
		t.implicit = true
	case "lmtp":
		t.lmtp = true
	case "smtp+unix", "lmtp+unix":
		t.lmtp = u.Scheme[0] == 'l'
		return t, t.setPath(key, s, u)
	default:
		return target{}, fmt.Errorf("%s = %q: %s", key, withoutUser(s, u), mendURL)
	}
	if u.Path != "" {
		return target{}, fmt.Errorf("%s = %q: %s", key, withoutUser(s, u), mendURL)
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || n == 0 {
		return target{}, fmt.Errorf("%s = %q has no port from 1 to 65535: %s", key, withoutUser(s, u), mendURL)
	}
	t.host, t.port = u.Hostname(), uint16(n)
	if a, err := netip.ParseAddr(t.host); err == nil {
		if a.IsUnspecified() || a.IsMulticast() {
			return target{}, fmt.Errorf("%s = %q: %s is not the address of a server: %s", key, s, t.host, mendURL)
		}
		t.literal = a
	} else if !soundHost(t.host) {
		return target{}, fmt.Errorf("%s = %q: %q is no host name or address: %s", key, s, t.host, mendURL)
	}
	return t, nil
}

// withoutUser keeps a password that somebody wrote into the URL out of the
// error. What is no URL with a host is not shown where it has an "@" at all.
func withoutUser(s string, u *url.URL) string {
	if u != nil && u.User != nil {
		return u.Scheme + "://…@" + u.Host
	}
	if (u == nil || u.Host == "") && strings.Contains(s, "@") {
		return "…"
	}
	return s
}

// setPath takes the path of a unix socket: absolute, in its shortest form and
// without signs that could not be shown.
func (t *target) setPath(key, s string, u *url.URL) error {
	t.host, t.path = "localhost", u.Path
	switch {
	case u.Host != "" || !strings.HasPrefix(t.path, "/") || strings.Contains(s, "%") || t.path != path.Clean(t.path) || t.path == "/" || !printable(t.path) || strings.ContainsAny(t.path, " []"):
		return fmt.Errorf("%s = %q is no absolute path of a socket: write three slashes, as \"lmtp+unix:///run/dovecot/lmtp\"", key, s)
	case len(t.path) > maxSocketPath:
		return fmt.Errorf("%s = %q: the path has %d octets, a socket's may have %d", key, s, len(t.path), maxSocketPath)
	}
	return nil
}

// String is the URL again, in one spelling.
func (t target) String() string {
	scheme := "smtp"
	switch {
	case t.lmtp:
		scheme = "lmtp"
	case t.implicit:
		scheme = "smtps"
	}
	if t.path != "" {
		return scheme + "+unix://" + t.path
	}
	host := t.host
	if strings.Contains(host, ":") {
		host = "[" + strings.Replace(host, "%", "%25", 1) + "]"
	}
	return scheme + "://" + host + ":" + strconv.Itoa(int(t.port))
}

// local tells that what is said to the target stays in this machine, as far as
// its URL tells.
func (t target) local() bool {
	return t.path != "" || t.literal.IsValid() && t.literal.Unmap().IsLoopback() || strings.EqualFold(t.host, "localhost")
}
