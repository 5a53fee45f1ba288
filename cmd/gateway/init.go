package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"garita/config"
	"garita/mail"
	"garita/smtpproxy/relay"
)

type initCommand struct {
	Dir       string   `type:"path" help:"Folder for config.toml and everything the gateway keeps." placeholder:"DIR"`
	Hostname  string   `help:"Full name of this gateway." placeholder:"NAME"`
	Domain    []string `help:"Domains that mail comes in for." placeholder:"DOMAIN"`
	NextHop   string   `help:"The mail server behind the gateway." placeholder:"HOST:PORT"`
	Inbound   string   `help:"Address for mail from the Internet." default:"0.0.0.0:25" placeholder:"ADDR"`
	Outbound  string   `help:"Address for mail that your servers send; without it there is no such listener." placeholder:"ADDR"`
	SmartHost string   `help:"Where outbound mail goes." placeholder:"HOST:PORT"`
	Trust     []string `help:"Networks of the servers that may use the outbound listener." placeholder:"CIDR"`
	Mode      string   `help:"enforce, or observe: checks only say what they would have done." default:"observe" placeholder:"MODE"`
	Yes       bool     `help:"Ask nothing."`
}

// answers are the options after they were understood.
type answers struct {
	dir, hostname, nextHop, smartHost, mode string
	domains                                 []string
	inbound, outbound                       netip.AddrPort
	trust                                   []string
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
		return fail(exitFailed, "--dir: %s", err)
	}
	if err := writeNew(file, text); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fail(exitFailed, "%s exists and is left as it is", file)
		}
		return fail(exitFailed, "%s", err)
	}
	quoted := shellWord(file)
	fmt.Fprintf(t.out, "%s is written. Next:\n  garita config check --config %s\n  garita run --config %s\n", printable(file), quoted, quoted)
	return nil
}

// understand reads the options and tells everything that is wrong with them.
func (c *initCommand) understand() (*answers, error) {
	var bad []string
	no := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	a := &answers{dir: c.Dir, mode: c.Mode, hostname: strings.TrimSuffix(c.Hostname, ".")}
	if c.Dir == "" {
		no("--dir is missing: the folder for config.toml and everything the gateway keeps")
	} else if !filepath.IsAbs(c.Dir) {
		no("--dir: %q cannot be made absolute", c.Dir)
	}
	if a.hostname == "" {
		a.hostname = ownName()
	}
	if a.hostname == "" {
		no("--hostname is missing, and this machine does not know its full name")
	} else if why := badHostname(a.hostname); why != "" {
		no("--hostname: %q %s; write a full name, as mx.example.org", a.hostname, why)
	}
	for _, d := range c.Domain {
		d = strings.TrimSuffix(strings.TrimSpace(d), ".")
		switch {
		case !mail.ValidDomain(d, true) || strings.HasPrefix(d, "["):
			no("--domain: %q is not a domain", d)
		case !slices.Contains(a.domains, d):
			a.domains = append(a.domains, d)
		}
	}
	if len(c.Domain) == 0 {
		no("--domain is missing: the domains that mail comes in for")
	}
	var err error
	if a.nextHop, err = serverAddress(c.NextHop); err != nil {
		no("--next-hop %s", err)
	}
	if a.inbound, err = listenAddress(c.Inbound); err != nil {
		no("--inbound %s", err)
	}
	if c.Mode != "enforce" && c.Mode != "observe" {
		no("--mode: %q is not enforce or observe", c.Mode)
	}
	if c.Outbound != "" {
		c.understandOutbound(a, no)
	}
	if len(bad) > 0 {
		return nil, fail(exitUsage, "%s", strings.Join(bad, "\ngarita: "))
	}
	return a, nil
}

func (c *initCommand) understandOutbound(a *answers, no func(string, ...any)) {
	var err error
	if a.outbound, err = listenAddress(c.Outbound); err != nil {
		no("--outbound %s", err)
	} else if a.outbound == a.inbound && a.inbound.Port() != 0 {
		no("--outbound: %s is the address of --inbound too", a.outbound)
	}
	if a.smartHost, err = serverAddress(c.SmartHost); err != nil {
		no("--smart-host %s", err)
	}
	if len(c.Trust) == 0 {
		no("--trust is missing: the networks of the servers that may use --outbound")
	}
	for _, text := range c.Trust {
		text = strings.TrimSpace(text)
		p, err := netip.ParsePrefix(text)
		if one, oneErr := netip.ParseAddr(text); oneErr == nil {
			p, err = netip.PrefixFrom(one, one.BitLen()), nil
		}
		switch {
		case err != nil:
			no("--trust: %q is not an address or CIDR, as 192.0.2.10 or 192.0.2.0/24", text)
		case p.Bits() == 0:
			no("--trust: %s is everybody: that makes an open relay; name your own networks", text)
		default:
			a.trust = append(a.trust, p.Masked().String())
		}
	}
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

// serverAddress reads HOST:PORT; the error begins with what to say after the
// option's name.
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
		"state_dir":                      filepath.Join(a.dir, "state"),
		"log.output":                     filepath.Join(a.dir, "garita.log"),
		"admin.socket":                   filepath.Join(a.dir, "admin.sock"),
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
	return template(templateHeader+"\n\nWritten by garita init on "+time.Now().Format(time.DateOnly)+".", set)
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
