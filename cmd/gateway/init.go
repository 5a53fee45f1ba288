package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"garita/config"
	"garita/mail"
	"garita/smtpproxy/relay"
)

type initCommand struct {
	Dir       string   `type:"path" help:"Folder for config.toml and everything the gateway keeps. Without it: /etc/garita, with state, log and socket where the systemd unit has them." placeholder:"DIR"`
	Hostname  string   `help:"Full name of this gateway." placeholder:"NAME"`
	Domain    []string `help:"Domains that mail comes in for." placeholder:"DOMAIN"`
	NextHop   string   `help:"The mail server behind the gateway." placeholder:"HOST:PORT"`
	Inbound   string   `help:"Address for mail from the Internet." default:"0.0.0.0:25" placeholder:"ADDR"`
	Outbound  string   `help:"Address for mail that your servers send; without it there is no such listener." placeholder:"ADDR"`
	SmartHost string   `help:"Where outbound mail goes." placeholder:"HOST:PORT"`
	Trust     []string `help:"Networks of the servers that may use the outbound listener." placeholder:"CIDR"`
	Mode      string   `help:"enforce, or observe: checks only say what they would have done." default:"observe" placeholder:"MODE"`
	Log       string   `help:"Where the log goes: a file, stderr, or syslog:/dev/log." placeholder:"OUTPUT"`
	Scanners  string   `enum:"auto,none" default:"auto" help:"auto: look for clamd and rspamd on this machine and use those that answer. none: do not look." placeholder:"WHICH"`
	Lang      string   `enum:"en,es,auto" default:"auto" help:"Language of the questions: en, es, or auto (what LANG says)."`
	Yes       bool     `help:"Ask nothing."`

	places scanners // where to look; none: the usual places
}

// places are where an installation keeps its things.
type places struct{ dir, state, log, socket string }

// system are the places of packaging/systemd/garita.service.
func system() places {
	s := defaults()
	return places{filepath.Dir(defaultConfig), s.StateDir, "/var/log/garita/mail.log", s.Admin.Socket}
}

// under are the places of an installation that has a folder for itself.
func under(dir string) places {
	return places{dir, filepath.Join(dir, "state"), filepath.Join(dir, "garita.log"), filepath.Join(dir, "admin.sock")}
}

// answers are the options after they were understood.
type answers struct {
	places
	hostname, nextHop, smartHost, mode string
	domains, trust                     []string
	inbound, outbound                  netip.AddrPort
	found                              foundScanners
}

func (c *initCommand) Run(t *terminal) error {
	if !c.Yes {
		if !t.interactive() {
			return fail(exitUsage, "there is no terminal to ask at; give --yes and the options")
		}
		if err := c.ask(t); err != nil {
			return err
		}
	}
	a, err := c.understand()
	if err != nil {
		return err
	}
	for _, note := range c.notes() {
		fmt.Fprintln(t.err, "garita: note: "+note)
	}
	file := filepath.Join(a.dir, "config.toml")
	if _, err := os.Lstat(file); err == nil {
		return fail(exitFailed, "%s exists and is left as it is; choose another --dir or move it away", file)
	}
	a.found = c.look()
	text, err := a.text()
	if err != nil {
		return err
	}
	problems, warnings := a.check(file, text)
	if len(problems) > 0 {
		return &exitError{exitConfig, problems.Error() + "\nnothing was written"}
	}
	io.WriteString(t.err, warnings.String())
	if err := os.MkdirAll(a.dir, 0o750); err != nil {
		return fail(exitFailed, "%s", err)
	}
	// Where garita import and the first rule go.
	if err := os.MkdirAll(filepath.Join(a.dir, rulesFolder), 0o755); err != nil {
		return fail(exitFailed, "%s", err)
	}
	if err := writeNew(file, text); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fail(exitFailed, "%s exists and is left as it is", file)
		}
		return fail(exitFailed, "%s", err)
	}
	c.lastWords(t, a, file)
	return nil
}

// look looks for programs on this machine that look at mail.
func (c *initCommand) look() foundScanners {
	switch {
	case c.Scanners == "none":
		return foundScanners{none: true}
	case c.places.clamd == nil:
		return usualScanners().look()
	}
	return c.places.look()
}

// rulesFolder holds the operator's own rules, beside the configuration.
const rulesFolder = "rules.d"

// serviceGroup is the group of the systemd unit.
const serviceGroup = "garita"

// lastWords says what comes next. What root writes the service's user cannot
// read: the files of the usual places are given to its group, for others the
// command is said.
func (c *initCommand) lastWords(t *terminal, a *answers, file string) {
	option, quoted := "", shellWord(file)
	if file != defaultConfig {
		option = " --config " + quoted
	}
	written := "%s is written. Next:\n"
	if c.spanish() {
		written = "%s está escrito. Ahora:\n"
	}
	for _, line := range a.found.words(c.spanish()) {
		fmt.Fprintln(t.out, line)
	}
	fmt.Fprintf(t.out, written, printable(file))
	if os.Geteuid() == 0 {
		switch {
		case c.Dir != "":
			why := "when it will not run as root"
			if c.spanish() {
				why = "si no va a correr como root"
			}
			fmt.Fprintf(t.out, "  chown -R %s: %s   # %s\n", serviceGroup, shellWord(a.dir), why)
		case giveToGroup(serviceGroup, a.dir, file) != nil:
			fmt.Fprintf(t.out, "  chown -R root:%s %s\n", serviceGroup, shellWord(a.dir))
		}
	}
	fmt.Fprintf(t.out, "  garita config check%s\n", option)
	if c.Dir == "" {
		fmt.Fprintf(t.out, "  systemctl enable --now garita\n")
	} else {
		fmt.Fprintf(t.out, "  garita run%s\n", option)
	}
}

// giveToGroup lets a group read files.
func giveToGroup(name string, files ...string) error {
	g, err := user.LookupGroup(name)
	if err != nil {
		return err
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Lchown(file, -1, id); err != nil {
			return err
		}
	}
	return nil
}

// understand reads the options and tells everything that is wrong with them.
func (c *initCommand) understand() (*answers, error) {
	var bad []string
	no := func(option string, err error) {
		if err != nil {
			bad = append(bad, option+" "+err.Error())
		}
	}
	a := &answers{places: system(), mode: c.Mode, hostname: strings.TrimSuffix(c.Hostname, ".")}
	if c.Dir != "" {
		a.places = under(c.Dir)
	}
	if !filepath.IsAbs(a.dir) {
		no("--dir", fmt.Errorf("cannot be made absolute: %q", a.dir))
	}
	if c.Log != "" {
		a.log = c.Log
	}
	if a.hostname == "" {
		a.hostname = ownName()
	}
	no("--hostname", checkHostname(a.hostname))
	var err error
	a.domains, err = domainList(c.Domain, c.spanish())
	no("--domain", err)
	a.nextHop, err = serverAddress(c.NextHop)
	no("--next-hop", err)
	a.inbound, err = listenAddress(c.Inbound)
	no("--inbound", err)
	no("--mode", checkMode(c.Mode))
	if c.Outbound != "" {
		a.outbound, err = listenAddress(c.Outbound)
		if err == nil && a.outbound == a.inbound && a.inbound.Port() != 0 {
			err = fmt.Errorf("cannot be %s: that is the address of --inbound", a.outbound)
		}
		no("--outbound", err)
		a.smartHost, err = serverAddress(c.SmartHost)
		no("--smart-host", err)
		a.trust, err = trustList(c.Trust)
		no("--trust", err)
	}
	if len(bad) > 0 {
		return nil, fail(exitUsage, "%s", strings.Join(bad, "\ngarita: "))
	}
	return a, nil
}

// The readers of answers below give errors that follow the name of an option,
// or of a question.

func checkHostname(name string) error {
	if name == "" {
		return errors.New("is missing, and this machine does not know its full name: write it, as mx.example.org")
	}
	if why := badHostname(name); why != "" {
		return fmt.Errorf("%q %s; write a full name, as mx.example.org", name, why)
	}
	return nil
}

func checkMode(mode string) error {
	if mode != "enforce" && mode != "observe" {
		return fmt.Errorf("%q is not enforce or observe", mode)
	}
	return nil
}

// domainList takes domains of the Internet, which have a dot: without one, a
// comma was most likely meant to be it.
func domainList(list []string, spanish bool) (out []string, err error) {
	var errs, dotless []string
	for _, d := range list {
		d = strings.TrimSuffix(strings.TrimSpace(d), ".")
		switch {
		case !mail.ValidDomain(d, true) || strings.HasPrefix(d, "["):
			errs = append(errs, strconv.Quote(d))
		case !strings.Contains(d, "."):
			dotless = append(dotless, strconv.Quote(d))
		case !slices.Contains(out, d):
			out = append(out, d)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("is missing: the domains that mail comes in for")
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("has what is not a domain: %s; write example.org", strings.Join(errs, ", "))
	}
	if len(dotless) > 0 {
		text := "has names without a dot: %s; a comma stands between domains, a dot within: example.org,example.net"
		if spanish {
			text = "tiene nombres sin punto: %s; la coma separa dominios, el punto va dentro de ellos: example.org,example.net"
		}
		return nil, fmt.Errorf(text, strings.Join(dotless, ", "))
	}
	return out, nil
}

func trustList(list []string) (out []string, err error) {
	for _, text := range list {
		text = strings.TrimSpace(text)
		p, err := netip.ParsePrefix(text)
		if one, oneErr := netip.ParseAddr(text); oneErr == nil {
			p, err = netip.PrefixFrom(one, one.BitLen()), nil
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("has %q, which is not an address or CIDR, as 192.0.2.10 or 192.0.2.0/24", text)
		case p.Bits() == 0:
			return nil, fmt.Errorf("has %s, which is everybody: that makes an open relay; name your own networks", text)
		}
		out = append(out, p.Masked().String())
	}
	if len(list) == 0 {
		return nil, errors.New("is missing: the networks of the servers that may use --outbound")
	}
	return out, nil
}

// notes are things said and not used.
func (c *initCommand) notes() []string {
	if c.Outbound != "" {
		return nil
	}
	var out []string
	if c.SmartHost != "" {
		out = append(out, "--smart-host is not used without --outbound")
	}
	if len(c.Trust) > 0 {
		out = append(out, "--trust is not used without --outbound")
	}
	return out
}

// serverAddress reads HOST:PORT.
func serverAddress(s string) (string, error) {
	if s == "" {
		return "", errors.New("is missing: a server as HOST:PORT")
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s, "smtp://"))
	if err == nil {
		c := relay.DefaultConfig()
		c.URL = "smtp://" + net.JoinHostPort(host, port)
		if len(c.Validate()) == 0 {
			return net.JoinHostPort(host, port), nil
		}
	}
	return "", fmt.Errorf("cannot be %q; write HOST:PORT, as mail.example.org:25 or [2001:db8::1]:25", s)
}

// listenAddress reads an address to listen on; ":25" is every IPv4 address.
func listenAddress(s string) (netip.AddrPort, error) {
	if rest, ok := strings.CutPrefix(s, ":"); ok {
		s = "0.0.0.0:" + rest
	}
	if rest, ok := strings.CutPrefix(s, "localhost:"); ok {
		s = "127.0.0.1:" + rest
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return a, fmt.Errorf("cannot be %q; write an address of this machine and a port, as 0.0.0.0:25 or [::]:25", s)
	}
	return a, nil
}

// ownName is the machine's full name, or "".
func ownName() string {
	name, err := os.Hostname()
	if err != nil || badHostname(name) != "" {
		return ""
	}
	return name
}

// text is the configuration: every key with its comment, these ones set.
func (a *answers) text() (string, error) {
	set := map[string]any{
		"hostname":                       a.hostname,
		"mode":                           a.mode,
		"state_dir":                      a.state,
		"log.output":                     a.log,
		"admin.socket":                   a.socket,
		"listener.inbound.role":          "inbound",
		"listener.inbound.listen":        []string{a.inbound.String()},
		"listener.inbound.next_hop":      "inbound",
		"listener.inbound.relay_domains": a.domains,
		"next_hop.inbound.url":           "smtp://" + a.nextHop,
	}
	if a.outbound.IsValid() {
		set["listener.outbound.role"] = "outbound"
		set["listener.outbound.listen"] = []string{a.outbound.String()}
		set["listener.outbound.next_hop"] = "smarthost"
		set["listener.outbound.trusted_networks"] = a.trust
		set["next_hop.smarthost.url"] = "smtp://" + a.smartHost
	}
	if len(a.domains) > 0 {
		// RFC 5321 section 4.5.1: there is one, and a person reads it. Without
		// an address nobody but the log is told of held mail.
		set["hold.notify"] = []string{"postmaster@" + a.domains[0]}
	}
	if hosts := a.mailHosts(); len(hosts) > 0 {
		set["identity.hosts"] = hosts
	}
	if len(a.domains) == 1 {
		// With more than one, which a name without a domain is of is a guess.
		set["identity.default_domain"] = a.domains[0]
	}
	if own := filepath.Join(a.dir, rulesFolder, "*.toml"); !slices.Contains(defaults().Check.Rules.Files, own) {
		set["check.rules.files"] = []string{own}
	}
	a.found.set(set)
	return template(templateHeader+"\n\nWritten by garita init on "+time.Now().Format(time.DateOnly)+".", set)
}

// mailHosts are the single machines that may use the outbound listener: mail
// servers, whose word about who has logged in is what tells one user from
// another. A network may be one of desktops, where anybody could name anybody.
func (a *answers) mailHosts() (out []string) {
	for _, text := range a.trust {
		if p, err := netip.ParsePrefix(text); err == nil && p.IsSingleIP() {
			out = append(out, text)
		}
	}
	return out
}

// check is what config check will do with it.
func (a *answers) check(file, text string) (problems, warnings config.Problems) {
	s := defaults()
	doc, problems := config.Decode(file, []byte(text), &s, options())
	if len(problems) > 0 {
		return problems, nil
	}
	report(doc, problems, check(&s, nil))
	return doc.Problems(), doc.Warnings()
}

// writeNew writes a file that must not be there, durably.
func writeNew(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(file) // half a configuration is worse than none
	}
	return err
}

// shellWord quotes a path for a line that a person will copy.
func shellWord(s string) string {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/._-+,=@%", c)) {
			return "'" + strings.ReplaceAll(printable(s), "'", `'\''`) + "'"
		}
	}
	return s
}
