package main

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"garita/accounts"
	"garita/admin"
	"garita/config"
	"garita/mail"
	"garita/smtpproxy"
	"garita/smtpproxy/relay"
	"garita/smtpproxy/routing"
	"garita/tls"
)

// A fault is one mistake in the meaning of a key, which types cannot find.
type fault struct {
	key, text, try string
	// cause is another key whose own problem would explain this fault.
	cause string
	// warning says that the gateway can run with it.
	warning bool
	// other is where in a file of its own it stands; nil: at the key.
	other *config.Problem
}

// lookup finds the addresses of a name; a nil one is not asked.
type lookup func(host string) ([]netip.Addr, error)

// lookupTimeout is for one name: config check must end with a dead resolver.
const lookupTimeout = 2 * time.Second

func systemLookup(host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// faults collects what is wrong with the settings, all of it at once.
type faults struct {
	s      *Settings
	lookup lookup
	found  map[string][]netip.Addr // by the name that was looked up
	routes *routing.Tables         // nil: they have faults
	list   []fault
}

// check gives every fault of s. Nothing on the machine is changed. The parts
// know the rules of their own tables; here stands what spans tables, and what
// this machine has to do with them.
func check(s *Settings, look lookup) []fault {
	f := &faults{s: s, lookup: look, found: map[string][]netip.Addr{}}
	f.root()
	f.parts()
	f.observed()
	f.route()
	f.listeners()
	f.nextHops()
	return f.list
}

func (f *faults) add(key, try, format string, args ...any) {
	f.list = append(f.list, fault{key: key, text: fmt.Sprintf(format, args...), try: try})
}

// last is the fault that was added last.
func (f *faults) last() *fault { return &f.list[len(f.list)-1] }

// addErrors takes all that is wrong with one table.
func (f *faults) addErrors(table string, errs []error) {
	for _, err := range errs {
		f.addError(table, err)
	}
}

// addError takes an error of a part: a smtpproxy.Problem, "key: text",
// "key = value: text" or "key is missing: text". Joined errors are taken one by one.
func (f *faults) addError(table string, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			f.addError(table, one)
		}
		return
	}
	if f.rule(err) {
		return
	}
	var p smtpproxy.Problem
	if errors.As(err, &p) {
		f.add(strings.TrimPrefix(table+"."+p.Key, "."), p.Hint, "%s", p.Text)
		return
	}
	key, text, ok := strings.Cut(err.Error(), ": ")
	if k, t, is := strings.Cut(err.Error(), " = "); is && len(k) < len(key) {
		key, text = k, t
	}
	if k, is := strings.CutSuffix(key, " is missing"); is {
		key, text = k, "is missing: "+text
	}
	if !ok || strings.ContainsAny(key, " \"/") {
		key, text = table, err.Error()
	} else {
		key = strings.TrimPrefix(table+"."+key, ".")
	}
	f.add(key, "", "%s", text)
}

func (f *faults) root() {
	s := f.s
	if s.Hostname != "" {
		if why := badHostname(s.Hostname); why != "" {
			f.add("hostname", `write a full name, as "mx.example.org"`, "%s %s", strconv.Quote(s.Hostname), why)
		}
	}
	f.folder("state_dir", s.StateDir)
	if err := admin.CheckPath(s.Admin.Socket); err != nil {
		f.add("admin.socket", "", "%s", err)
	} else {
		f.folder("admin.socket", filepath.Dir(s.Admin.Socket))
	}
	if filepath.IsAbs(s.Log.Output) {
		f.folder("log.output", filepath.Dir(s.Log.Output))
	}
}

// badHostname tells why name is no name for a gateway: many servers refuse an
// EHLO that is no full name.
func badHostname(name string) string {
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "is an address, not a name"
	}
	if !mail.ValidDomain(name, false) || strings.HasPrefix(name, "[") || strings.Contains(name, "_") {
		return "is not a host name"
	}
	if !strings.Contains(name, ".") {
		return "has no domain"
	}
	return ""
}

// folder tells why a folder is none, or could not be made.
func (f *faults) folder(key, dir string) {
	if !filepath.IsAbs(dir) {
		f.add(key, "", "%s does not begin with \"/\"", strconv.Quote(dir))
		return
	}
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			f.add(key, "", "%s is not a folder", strconv.Quote(at))
			return
		case err == nil && !usable(at, info):
			f.add(key, "", "this user may not write to %s", strconv.Quote(at))
			return
		case err == nil:
			return
		case isNotFolder(err):
			continue // the walk up finds the file that stands in the way
		case !os.IsNotExist(err):
			f.add(key, "", "%s: %s", strconv.Quote(at), reason(err))
			return
		}
	}
}

// parts asks each part for the rules of its own table.
func (f *faults) parts() {
	s := f.s
	f.addErrors("limits", s.Limits.Validate())
	f.addError("log", s.Log.Validate())
	f.names()
	f.addErrors("mime", s.MIME.Validate())
	f.addErrors("score.inbound", s.Score.Inbound.Validate())
	f.addErrors("score.outbound", s.Score.Outbound.Validate())
	f.addErrors("conduct", s.Conduct.Validate())
	f.addErrors("hold", s.Hold.Validate())
	f.addErrors("metrics", s.Metrics.Validate())
	f.addErrors("alert", s.Alert.Validate())
	f.addErrors("identity", s.Identity.Validate())
	f.milter()
	f.policyServer()
	f.users()
	f.certificates()
	before := len(f.list)
	_, errs, warnings := s.checks()
	for _, err := range errs {
		f.addError("", err) // its keys begin with "check."
	}
	for _, err := range warnings {
		f.addError("", err)
		f.last().warning = true
	}
	if len(f.list) > before {
		return
	}
	f.engines()
}

// users reads the file of those who may log in.
func (f *faults) users() {
	errs := f.s.Users.Validate()
	if len(errs) == 0 && f.s.Users.File != "" {
		_, errs = accounts.Load(f.s.Users)
	}
	for _, err := range errs {
		f.addError("users", err)
	}
}

// route reads the tables. A line that cannot be is a fault of the key that
// names its file.
func (f *faults) route() {
	errs := f.s.Route.Validate()
	for _, err := range errs {
		f.addError("route", err)
	}
	t, problems := f.s.routes()
	for _, p := range problems {
		f.list = append(f.list, tableProblem(f.s.Route, p))
	}
	if len(errs)+len(problems) > 0 {
		return
	}
	f.routes = t
	for _, p := range t.Unknown(func(name string) bool { _, ok := f.s.NextHop[name]; return ok }) {
		f.list = append(f.list, tableProblem(f.s.Route, p))
		f.last().cause = "next_hop"
	}
}

// certificates reads the configured pairs; without files run would make one.
// What is wrong with files is a warning: the gateway runs without that pair, or
// with the old one, and nobody's reload waits for a certificate.
func (f *faults) certificates() {
	c := f.s.TLS
	if err := c.Validate(); err != nil {
		f.addError("tls", err)
		return
	}
	f.certificate("tls", c.CertificateFile, c.KeyFile)
	for _, name := range slices.Sorted(maps.Keys(c.Certificate)) {
		f.certificate(config.Path("tls", "certificate", name), c.Certificate[name].CertificateFile, c.Certificate[name].KeyFile)
	}
}

// certificate reads one pair and puts an error where it is to be mended.
func (f *faults) certificate(table, cert, key string) {
	if cert == "" && key == "" {
		return
	}
	one := tls.Default()
	one.CertificateFile, one.KeyFile = cert, key
	if err := tls.Check(one); err != nil {
		f.badPair(table, cert, key, strings.TrimPrefix(err.Error(), "tls: "))
		f.last().warning = true
	}
}

func (f *faults) badPair(table, cert, key, text string) {
	switch {
	case strings.Contains(text, "but did find a private key"):
		f.add(table+".certificate_file", "exchange it with key_file", "%s holds a key, not a certificate", strconv.Quote(cert))
	case strings.Contains(text, "private key does not match public key"):
		f.add(table+".key_file", "", "%s is not the key of this certificate", strconv.Quote(key))
	case strings.Contains(text, key) && !strings.Contains(text, cert):
		f.add(table+".key_file", "", "%s", text)
	default:
		f.add(table+".certificate_file", "", "%s", text)
	}
}

func (f *faults) listeners() {
	s := f.s
	if len(s.Listener) == 0 && !s.Milter.Enabled {
		f.add("listener", "add a table [listener.inbound]", "there is no listener, so no mail could come in")
	}
	seen := map[netip.AddrPort]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Listener)) {
		l := s.Listener[name]
		key := func(k string) string { return config.Path("listener", name, k) }
		f.name(config.Path("listener", name), name)
		for _, err := range l.Validate() {
			f.addError(config.Path("listener", name), err)
		}
		addrs, err := l.ListenAddresses()
		f.addError(config.Path("listener", name), err)
		for _, a := range addrs {
			a = plain(a)
			if other, ok := seen[a]; ok && a.Port() != 0 {
				f.add(key("listen"), "", "%s is also an address of listener %s", a, strconv.Quote(other))
			}
			seen[a] = name
		}
		if _, ok := s.NextHop[l.NextHop]; !ok && l.NextHop != "" {
			f.add(key("next_hop"), known(slices.Sorted(maps.Keys(s.NextHop))), "there is no table [%s]", config.Path("next_hop", l.NextHop))
			f.last().cause = config.Path("next_hop", l.NextHop)
		}
		// message.BudgetConfig: below twice the largest message an admitted
		// message might not find room.
		if l.MaxMessageSize > s.Limits.MessagesTotal/2 {
			f.add(key("max_message_size"), "", "is more than half of limits.messages_total, so such a message might find no room")
		}
		if l.Auth && s.Users.File == "" {
			f.add(key("auth"), "write the users with garita user-password and name the file in [users]", "nobody could log in: users.file is empty")
		}
		f.width(key("trusted_networks"), l.TrustedNetworks)
		f.circle(key("next_hop"), l)
		f.fits(config.Path("listener", name), name, l)
	}
}

// fits asks the session's own side, which run would ask last, unless the
// listener has other faults that would make it fail.
func (f *faults) fits(key, name string, l smtpproxy.ListenerConfig) {
	for _, have := range f.list {
		if !have.warning && (have.key == key || strings.HasPrefix(have.key, key+".") || strings.HasPrefix(have.key, "route")) {
			return
		}
	}
	// Nothing is served: Apply only works out what the words mean.
	router, err := sinkRouter(f.s, l)
	one := &smtpproxy.Listener{ListenerConfig: l, Router: router}
	if l.STARTTLS || l.ImplicitTLS {
		one.TLS = &stdtls.Config{} // that there is a certificate is the matter of [tls]
	}
	var problem smtpproxy.Problem
	if errors.As(one.ClientAuth(), &problem) {
		f.addError(config.Path("listener", name), problem)
		return
	}
	if err == nil {
		err = new(smtpproxy.Server).Apply(&smtpproxy.Settings{Hostname: f.s.Hostname, Listeners: map[string]*smtpproxy.Listener{name: one}})
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			f.add(key, "", "%s", one)
		}
		return
	}
	if err != nil && f.s.Hostname != "" {
		f.add(key, "", "%s", strings.TrimPrefix(err.Error(), "smtpproxy: listener "+strconv.Quote(name)+": "))
	}
}

// width refuses networks that nobody owns; two halves of the Internet make
// an open relay as well as the whole.
func (f *faults) width(key string, nets []netip.Prefix) {
	for _, p := range nets {
		least := 8
		if p.Addr().Is6() {
			least = 16
		}
		switch wide := publicly(p); {
		case p.Bits() > 0 && p.Bits() < least && !p.Addr().Is4In6():
			f.add(key, "name your own networks", "%s is wider than any network of one owner: at least /%d", p, least)
		case p.Bits() > 0 && wide:
			f.add(key, "name your own addresses", "%s are public addresses of many owners, and all of them may relay", p)
			f.last().warning = true
		}
	}
}

// publicly tells a public network that is wider than a small institution has.
func publicly(p netip.Prefix) bool {
	a := p.Addr().Unmap()
	if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || netip.MustParsePrefix("100.64.0.0/10").Contains(a) {
		return false
	}
	return a.Is4() && p.Bits() < 20 || a.Is6() && p.Bits() < 32
}

func known(names []string) string {
	if len(names) == 0 {
		return "add that table"
	}
	return "there is " + strings.Join(names, ", ")
}

// name keeps table names to what a log line can carry.
func (f *faults) name(key, name string) {
	ok := name != "" && len(name) <= 32
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !ok {
		f.add(key, "", "a name has 1 to 32 letters, digits, hyphens and underscores")
	}
}

func (f *faults) nextHops() {
	s := f.s
	bound := listenAddresses(s)
	used := usedHops(s, f.routes, ruleHops(s, s.read.checks)...)
	for _, name := range slices.Sorted(maps.Keys(s.NextHop)) {
		h := s.NextHop[name]
		f.name(config.Path("next_hop", name), name)
		errs := h.Validate()
		for _, err := range errs {
			f.addError(config.Path("next_hop", name), err)
		}
		if len(errs) > 0 {
			continue
		}
		if !used[name] {
			f.add(config.Path("next_hop", name), "", "no listener names this next hop, so no mail goes there")
			f.last().cause = "listener"
			f.last().warning = true
		}
		for i, url := range h.URLs() {
			key := config.Path("next_hop", name, "url")
			if i > 0 {
				key = config.Path("next_hop", name, "fallback_urls")
			}
			f.notOurselves(key, url, bound)
		}
		if h.CAFile != "" || h.ClientCertificateFile != "" {
			// New opens no connection; it reads these files.
			if _, err := relay.New(relay.Options{Name: name, Config: h, Hostname: "localhost.localdomain"}); err != nil {
				f.addError(config.Path("next_hop", name), errors.New(strings.TrimPrefix(err.Error(), "next_hop."+name+": ")))
			}
		}
	}
}

// listenAddresses are all addresses of all listeners that can be read.
func listenAddresses(s *Settings) []netip.AddrPort {
	var out []netip.AddrPort
	for _, l := range s.Listener {
		addrs, _ := l.ListenAddresses()
		for _, a := range addrs {
			out = append(out, plain(a))
		}
	}
	return out
}

// notOurselves refuses a next hop that is one of our own listeners, also by a
// name that means one: Received counting would end that loop only after fifty
// turns.
func (f *faults) notOurselves(key, url string, bound []netip.AddrPort) {
	for _, to := range f.addresses(key, url) {
		if slices.ContainsFunc(bound, func(b netip.AddrPort) bool { return reaches(to, b) }) {
			f.add(key, "", "%s is one of this gateway's own listeners: mail would go round in circles", to)
			return
		}
	}
}

// addresses are those that the URL of a next hop leads to, as far as they are
// known; key is where it stands.
func (f *faults) addresses(key, url string) []netip.AddrPort {
	_, rest, _ := strings.Cut(url, "://")
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return nil // a socket of this machine, or relay's Validate has said so
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil
	}
	var list []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		list = []netip.Addr{a}
	} else if f.lookup != nil {
		have, known := f.found[host]
		if !known {
			have = f.look(key, host)
		}
		list = have
	}
	out := make([]netip.AddrPort, 0, len(list))
	for _, a := range list {
		out = append(out, plain(netip.AddrPortFrom(a, uint16(n))))
	}
	return out
}

// look asks once for a name. One that cannot be looked up now is no mistake of
// the file, and worth a word: a misspelt one looks the same.
func (f *faults) look(key, host string) []netip.Addr {
	list, err := f.lookup(host)
	if f.found != nil {
		f.found[host] = list
	}
	if err != nil || len(list) == 0 {
		why := "no address"
		if err != nil {
			why = err.Error()
			if e := (*net.DNSError)(nil); errors.As(err, &e) {
				why = e.Err
			}
		}
		f.add(key, "", "%s cannot be looked up now: %s", strconv.Quote(host), oneLine(why))
		f.last().warning = true
	}
	return list
}

// smtpPort is where a mail server takes mail for its own queue.
const smtpPort = 25

// circle looks for the usual mistake of a first configuration: the smart host
// is the very server that sends here, which would send its mail here again. A
// network of several hosts may well hold both servers. On loopback all servers
// of a machine have one address, so nothing can be told.
func (f *faults) circle(key string, l smtpproxy.ListenerConfig) {
	if l.Role != mail.Outbound.String() {
		return
	}
	hop := f.s.NextHop[l.NextHop]
	var all []netip.AddrPort
	for _, url := range hop.URLs() {
		all = append(all, f.addresses(config.Path("next_hop", l.NextHop, "url"), url)...)
	}
	for _, to := range all {
		if to.Port() != smtpPort || to.Addr().IsLoopback() {
			continue
		}
		for _, p := range l.TrustedNetworks {
			if p.Addr().Unmap() != to.Addr() || p.Bits() != p.Addr().BitLen() {
				continue
			}
			const try = "name the server that delivers to the Internet, or the port where yours takes back what it sent"
			if f.add(key, try, "%s is in trusted_networks: its own mail would come back to it, and is answered 451", to); len(l.TrustedNetworks) > 1 {
				f.last().warning = true
			}
			return
		}
	}
}

// reaches tells that a connection to that address would arrive at a listener
// bound to b.
func reaches(to, b netip.AddrPort) bool {
	if to.Port() != b.Port() || b.Port() == 0 {
		return false
	}
	if to.Addr() == b.Addr() {
		return true
	}
	if !b.Addr().IsUnspecified() || b.Addr().Is4() && !to.Addr().Is4() {
		return false
	}
	return to.Addr().IsLoopback() || to.Addr().IsUnspecified() || isLocal(to.Addr())
}

// isLocal tells that the machine has that address.
func isLocal(a netip.Addr) bool {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(have net.Addr) bool {
		n, ok := have.(*net.IPNet)
		if !ok {
			return false
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		return ok && ip.Unmap() == a
	})
}

// plain makes addresses comparable: no zone, no IPv4 in IPv6's clothes.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
