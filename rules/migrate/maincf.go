package migrate

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"garita/tables"
)

// maxFiles is how many files a main.cf may name.
const maxFiles = 32

// MainCF imports a main.cf as a configuration of a gateway that stands in front
// of the same Postfix. entry is as for Access. try, which may be nil, says what
// our own reader has against a configuration; what it refuses is left out, and
// told.
func MainCF(text []byte, o Options, entry func(list, line string) error, try func(toml string) error) Result {
	s := &sheet{file: o.File}
	if len(text) > MaxFile {
		s.tell(0, Skipped, "", fmt.Sprintf("the file is larger than %d bytes", MaxFile))
		return s.done()
	}
	list, bad := readMain(string(text))
	for _, b := range bad {
		s.tell(b.line, Skipped, b.value, "it is no parameter = value; Postfix does not take it either")
	}
	m := &mainImport{sheet: s, options: o, v: newValues(list), entry: entry, told: map[string]bool{}, lists: lists{seen: map[string]bool{}}}
	m.seen(list)
	m.plan = &plan{try: try}
	m.base()
	m.limits()
	m.tls()
	m.routes()
	m.checks()
	m.restrictions()
	m.rates()
	m.rest(list)
	if m.v.tooDeep {
		s.tell(0, Note, "", "parameters stand for each other in a ring, or for too much: such values are taken as empty")
	}
	m.access()
	s.comment("Made of %s: a gateway in front of that Postfix. Read the report that came with it.", o.File)
	s.comment("Then: garita config check, garita test, and only then the MX.")
	m.plan.write(s)
	return s.done()
}

type mainImport struct {
	*sheet
	options Options
	v       *values
	entry   func(list, line string) error
	told    map[string]bool
	plan    *plan
	lists   lists
	files   int
	domains []string
	smart   bool // there is a smart host
}

// seen tells parameters that stand twice.
func (m *mainImport) seen(list []parameter) {
	first := map[string]int{}
	for _, p := range list {
		if n, ok := first[p.name]; ok {
			m.tell(n, Skipped, p.name, fmt.Sprintf("the parameter stands again in line %d, and the last counts", p.line))
		}
		first[p.name] = p.line
	}
}

// say tells what became of a parameter, once.
func (m *mainImport) say(name string, f Fate, key, why string) {
	p := m.v.set[name]
	m.told[name] = true
	m.line(Line{Line: p.line, Fate: f, What: name + " = " + p.value, Why: why, Rule: key})
}

// add puts a key into the configuration. what is the parameter it is made of.
func (m *mainImport) add(name, table, key, toml, why string, f Fate) bool {
	full := strings.TrimPrefix(table+"."+key, ".")
	if err := m.plan.add(table, key, toml); err != nil {
		m.say(name, Skipped, "", full+" = "+show(toml, 100)+": "+show(err.Error(), 300))
		return false
	}
	m.say(name, f, full, why)
	return true
}

// base is what every configuration needs.
func (m *mainImport) base() {
	host := m.v.get("myhostname")
	if !isDomain(host) {
		host = "mx.example.org"
		m.tell(0, Skipped, "myhostname", "it is not set; put the name of this gateway into hostname")
	}
	m.plan.must("", "hostname", quote(host))
	m.told["myhostname"] = true
	if m.v.isSet("myhostname") {
		m.say("myhostname", Imported, "hostname", "")
	}
	m.ownDomains()
	domains := m.domains
	if len(domains) == 0 {
		domains = []string{"example.org"}
		m.tell(0, Skipped, "relay_domains", "no domain was found that mail is taken for; put yours into relay_domains")
	}
	m.plan.must("listener.inbound", "role", `"inbound"`)
	m.plan.must("listener.inbound", "listen", `["0.0.0.0:25"]`)
	m.plan.must("listener.inbound", "next_hop", `"mailserver"`)
	m.plan.must("listener.inbound", "relay_domains", list(domains))
	m.plan.must("next_hop.mailserver", "url", `"smtp://127.0.0.1:10025"`)
	m.tell(0, Note, "", "[next_hop.mailserver] is this Postfix: let its smtpd listen on 127.0.0.1:10025 in master.cf, or put its address and port there; "+
		"see docs/postfix.md. The gateway must not be in its mynetworks")
	m.outbound()
}

// ownDomains gathers the domains that Postfix took mail for.
func (m *mainImport) ownDomains() {
	m.domains = nil
	for _, name := range []string{"mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains"} {
		if !m.v.isSet(name) && name != "mydestination" && name != "virtual_alias_domains" {
			continue
		}
		var why []string
		before := len(m.domains)
		for _, d := range split(m.v.get(name)) {
			m.domain(name, strings.ToLower(d), &why)
		}
		if !m.v.isSet(name) {
			m.told[name] = true
			continue
		}
		f := Imported
		if len(why) > 0 {
			f = Changed
		}
		if len(m.domains) == before && len(why) > 0 {
			f = Skipped
		}
		m.say(name, f, "listener.inbound.relay_domains", strings.Join(why, "; "))
	}
	if m.v.isSet("relay_domains") {
		m.tell(0, Note, "", "relay_domains of Postfix also takes what lies below a domain (parent_domain_matches_subdomains); here each is listed")
	}
}

func (m *mainImport) domain(name, d string, why *[]string) {
	put := func(d string) {
		if isDomain(d) && strings.Contains(d, ".") && !strings.HasPrefix(d, "localhost.") {
			if !slices.Contains(m.domains, d) {
				m.domains = append(m.domains, d)
			}
		} else if d != "localhost" && !strings.HasPrefix(d, "localhost.") {
			*why = append(*why, show(d, 60)+" is no domain that mail can be taken for")
		}
	}
	kind, path, ok := mapFile(d)
	switch {
	case d == "localhost" || strings.HasPrefix(d, "localhost."):
	case !strings.ContainsAny(d, ":/"):
		put(strings.TrimPrefix(d, "."))
	case !ok || kind == "pcre" || kind == "regexp" || kind == "cidr":
		*why = append(*why, show(d, 80)+" cannot be read here: list its domains")
	default:
		entries, err := m.readMap(path)
		if err != "" {
			*why = append(*why, err)
			return
		}
		for _, e := range entries {
			key := strings.ToLower(e.Key)
			if !strings.Contains(key, "@") && (name != "virtual_alias_domains" || strings.Contains(key, ".")) {
				put(key)
			}
		}
	}
}

// readMap reads the text of a table beside the main.cf.
func (m *mainImport) readMap(path string) ([]tables.Entry, string) {
	text, why := m.readFile(path)
	if why != "" {
		return nil, why
	}
	entries, problems := tables.Parse(path, text, tables.Options{MaxBytes: MaxFile})
	for _, p := range problems {
		m.line(Line{File: path, Line: p.Line, Fate: Skipped, Why: show(p.Text, 200)})
	}
	return entries, ""
}

func (m *mainImport) readFile(path string) ([]byte, string) {
	name := show(path, 100)
	if m.options.ReadFile == nil {
		return nil, name + " was not read"
	}
	if m.files++; m.files > maxFiles {
		return nil, name + " was not read: there are too many files"
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(m.options.File), path)
	}
	text, err := m.options.ReadFile(path)
	if err != nil {
		return nil, name + " cannot be read (" + show(err.Error(), 120) + "): run the import where it is, or put a copy there"
	}
	return text, ""
}

// networks are those of mynetworks.
func (m *mainImport) networks() (nets []string, why []string) {
	for _, n := range split(m.v.get("mynetworks")) {
		n = strings.NewReplacer("[", "", "]", "").Replace(n)
		p, err := netip.ParsePrefix(n)
		if a, addrErr := netip.ParseAddr(n); addrErr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		switch {
		case err != nil:
			why = append(why, show(n, 80)+" is no network: write out what it stands for")
		case p.Bits() == 0:
			why = append(why, show(n, 80)+" is everybody: an open relay")
		default:
			if p = p.Masked(); !slices.Contains(nets, p.String()) {
				nets = append(nets, p.String())
			}
		}
	}
	return nets, why
}

// outbound is the way out, if there is a smart host.
func (m *mainImport) outbound() {
	nets, why := m.networks()
	relay := m.v.get("relayhost")
	if relay == "" {
		if m.v.isSet("mynetworks") {
			m.say("mynetworks", Skipped, "", "without a relayhost Postfix delivers by itself: let those networks go on sending to it. For a gateway on the way "+
				"out name a smart host; see docs/postfix.md, \"Outbound\"")
		}
		return
	}
	url, changed, bad := hopURL(relay)
	if bad != "" || len(nets) == 0 {
		if bad == "" {
			bad = "mynetworks names nobody who may send"
		}
		m.say("relayhost", Skipped, "", bad)
		if m.v.isSet("mynetworks") {
			m.say("mynetworks", Skipped, "", strings.Join(append(why, "there is no [listener.outbound] for it"), "; "))
		}
		return
	}
	m.smart = true
	m.plan.must("listener.outbound", "role", `"outbound"`)
	m.plan.must("listener.outbound", "listen", `["0.0.0.0:26"]`)
	m.plan.must("listener.outbound", "next_hop", `"smarthost"`)
	m.plan.must("listener.outbound", "trusted_networks", list(nets))
	m.plan.must("next_hop.smarthost", "url", quote(url))
	f := Imported
	if len(why) > 0 {
		f = Changed
	}
	if m.v.isSet("mynetworks") {
		m.say("mynetworks", f, "listener.outbound.trusted_networks", strings.Join(why, "; "))
	}
	f = Imported
	if changed != "" {
		f = Changed
	}
	m.say("relayhost", f, "next_hop.smarthost.url", changed)
	m.tell(0, Note, "", "for the way out set relayhost = [gateway]:26 in Postfix")
}

// hopURL reads host, [host], host:port, [host]:port.
func hopURL(s string) (url, changed, bad string) {
	host, port := strings.TrimPrefix(s, "smtp:"), "25"
	if inner, rest, ok := strings.Cut(strings.TrimPrefix(host, "["), "]"); ok && strings.HasPrefix(host, "[") {
		host = inner
		if p, ok := strings.CutPrefix(rest, ":"); ok {
			port = p
		}
	} else {
		changed = "without brackets Postfix asks for the MX of that name; here mail goes to the host of that name itself. Put the MX's name there if it differs"
		if h, p, ok := strings.Cut(host, ":"); ok {
			host, port = h, p
		}
	}
	host = strings.TrimPrefix(host, "ipv6:")
	switch port {
	case "smtp":
		port = "25"
	case "submission":
		port = "587"
	case "smtps", "submissions":
		port = "465"
	}
	a, err := netip.ParseAddr(host)
	if err != nil && !isDomain(host) || port == "" || strings.Trim(port, "0123456789") != "" || len(port) > 5 {
		return "", "", show(s, 80) + " is not [host]:port"
	}
	if err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	if port == "465" {
		return "smtps://" + host + ":" + port, changed, ""
	}
	return "smtp://" + host + ":" + port, changed, ""
}

// isDomain says that a name can be one of the DNS.
func isDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}
