package greylist

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Bounds of the lists of exceptions.
const (
	maxListFile = 16 << 20
	maxListLine = 4 << 10
	maxPatterns = 1000 // each is tried on every name
	// maxSubject is the longest name or address that a list is asked about:
	// RFC 5321 knows none beyond.
	maxSubject = 1024
)

// Problem is a line that cannot be used, or with Warning one that is read in
// another way than postgrey reads it.
type Problem struct {
	File    string
	Line    int // 0: the file as a whole
	Text    string
	Warning bool
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Clients are clients that are never greylisted, in the form of postgrey's
// file: a domain with all below it, an address, a network, "a.b.c" for a /24
// and "a.b" for a /16, or /a pattern/.
type Clients struct {
	names    map[string]bool
	nets     map[netip.Prefix]bool
	bits     []int // lengths that nets has, in 128 bits
	patterns []*regexp.Regexp
}

// Recipients are recipients whose mail is never delayed: user@domain and user@
// with any extension, a domain with all below it, or /a pattern/.
type Recipients struct {
	names    map[string]bool
	patterns []*regexp.Regexp
}

// ReadClients reads the files. The list may be used when there are no problems
// but warnings. A file that ends in ".local" may be missing.
func ReadClients(files ...string) (*Clients, []Problem) {
	c := &Clients{names: map[string]bool{}, nets: map[netip.Prefix]bool{}}
	return c, readAll(files, c.add)
}

// ReadRecipients is ReadClients for recipients.
func ReadRecipients(files ...string) (*Recipients, []Problem) {
	r := &Recipients{names: map[string]bool{}}
	return r, readAll(files, r.add)
}

func readAll(files []string, add func(entry string) (problem string, warning bool)) (out []Problem) {
	for _, file := range files {
		text, err := readFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(file, ".local"):
			continue
		case err != nil:
			out = append(out, Problem{File: file, Text: err.Error()})
			continue
		}
		out = append(out, parseList(file, text, add)...)
	}
	return out
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxListFile+1))
	if err == nil && len(text) > maxListFile {
		err = fmt.Errorf("is larger than %d MB", maxListFile>>20)
	}
	return text, err
}

// parseList hands over each line without its comment.
func parseList(file string, text []byte, add func(string) (string, bool)) (out []Problem) {
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(make([]byte, 0, maxListLine), maxListLine)
	n := 0
	for s.Scan() {
		n++
		line, _, _ := strings.Cut(s.Text(), "#")
		if line = strings.Trim(line, " \t\r\n\f\v"); line == "" {
			continue
		}
		if text, warning := add(line); text != "" {
			out = append(out, Problem{File: file, Line: n, Text: text, Warning: warning})
		}
	}
	if s.Err() != nil {
		out = append(out, Problem{File: file, Line: n + 1, Text: "the line is too long"})
	}
	return out
}

// pattern reads /re/; ok is false where the entry is none.
func pattern(entry string, have int) (re *regexp.Regexp, problem string, ok bool) {
	if len(entry) < 3 || entry[0] != '/' || entry[len(entry)-1] != '/' || strings.ContainsAny(entry, " \t") {
		return nil, "", false
	}
	if have >= maxPatterns {
		return nil, fmt.Sprintf("more than %d patterns", maxPatterns), true
	}
	re, err := regexp.Compile("(?i)" + entry[1:len(entry)-1])
	if err != nil {
		return nil, "the pattern " + strconv.QuoteToASCII(entry) + " cannot be read: what only Perl has (look-ahead, back references) is not taken", true
	}
	return re, "", true
}

func (c *Clients) add(entry string) (string, bool) {
	if re, problem, ok := pattern(entry, len(c.patterns)); ok {
		if problem == "" {
			c.patterns = append(c.patterns, re)
		}
		return problem, false
	}
	if p, warning, ok := clientNet(entry); ok {
		c.addNet(p)
		return warning, true
	}
	if strings.ContainsAny(entry, " \t") {
		return strconv.QuoteToASCII(entry) + " is neither a host name nor an address", false
	}
	if strings.Count(entry, ":") >= 2 || digitsAndDots(entry) {
		return strconv.QuoteToASCII(entry) + " is not an address or network", false
	}
	c.names[lower(entry)] = true
	return "", false
}

func digitsAndDots(s string) bool { return strings.Trim(s, "0123456789./") == "" }

// clientNet reads an address, a network, or the beginning of an address.
func clientNet(entry string) (p netip.Prefix, warning string, ok bool) {
	bits := 0
	switch dots := strings.Count(entry, "."); {
	case !digitsAndDots(entry) || strings.Contains(entry, "/"):
	case dots == 2:
		entry, bits = entry+".0", 24
	case dots == 1:
		// postgrey says /16 and does /24: a.b then lists a.b.0 alone, which
		// nobody who writes it means.
		warning = strconv.QuoteToASCII(entry) + " is taken for " + entry + ".0.0/16; postgrey takes it for " + entry + ".0.0/24"
		entry, bits = entry+".0.0", 16
	}
	if a, err := netip.ParseAddr(entry); err == nil && a.Zone() == "" {
		a = a.Unmap()
		if bits == 0 {
			bits = a.BitLen()
		}
		return netip.PrefixFrom(a, bits).Masked(), warning, true
	}
	if p, err := netip.ParsePrefix(entry); err == nil {
		return p.Masked(), "", true
	}
	return netip.Prefix{}, "", false
}

// addNet keeps a network in 128 bits, so that both families are one table.
func (c *Clients) addNet(p netip.Prefix) {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	p = netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), bits).Masked()
	for _, b := range c.bits {
		if b == bits {
			c.nets[p] = true
			return
		}
	}
	c.bits = append(c.bits, bits)
	c.nets[p] = true
}

// Match tells that a client is in the list, by name or address. A nil list has
// nobody.
func (c *Clients) Match(name string, a netip.Addr) bool {
	if c == nil {
		return false
	}
	if len(name) <= maxSubject && name != "" {
		low := lower(name)
		for s := low; ; {
			if c.names[s] {
				return true
			}
			dot := strings.IndexByte(s, '.')
			if dot < 0 {
				break
			}
			s = s[dot+1:]
		}
		if anyMatch(c.patterns, name) {
			return true
		}
	}
	if len(c.nets) == 0 || !a.IsValid() {
		return false
	}
	wide := netip.AddrFrom16(a.As16())
	for _, b := range c.bits {
		if p, err := wide.Prefix(b); err == nil && c.nets[p] {
			return true
		}
	}
	return false
}

// Len is the number of entries.
func (c *Clients) Len() int {
	if c == nil {
		return 0
	}
	return len(c.names) + len(c.nets) + len(c.patterns)
}

func (r *Recipients) add(entry string) (string, bool) {
	if re, problem, ok := pattern(entry, len(r.patterns)); ok {
		if problem == "" {
			r.patterns = append(r.patterns, re)
		}
		return problem, false
	}
	if strings.ContainsAny(entry, " \t") {
		return strconv.QuoteToASCII(entry) + " is not an address", false
	}
	r.names[lower(entry)] = true // "user@domain", "user@" or "domain"
	return "", false
}

// Match tells that a recipient is in the list.
func (r *Recipients) Match(addr string) bool {
	if r == nil || len(addr) > maxSubject {
		return false
	}
	if anyMatch(r.patterns, addr) {
		return true
	}
	low := lower(addr)
	// A domain, after "@" or a dot.
	for s := low; ; {
		i := strings.IndexAny(s, "@.")
		if i < 0 {
			break
		}
		if s = s[i+1:]; s != "" && !strings.Contains(s, "@") && r.names[s] {
			return true
		}
	}
	user, domain, ok := strings.Cut(low, "@")
	if !ok {
		return false
	}
	if r.user(user, domain) {
		return true
	}
	// user+anything: each plus may be the one.
	for i := 0; i < len(user); i++ {
		if user[i] == '+' && i+1 < len(user) && r.user(user[:i], domain) {
			return true
		}
	}
	return false
}

func (r *Recipients) user(user, domain string) bool {
	return r.names[user+"@"+domain] || r.names[user+"@"]
}

func anyMatch(patterns []*regexp.Regexp, s string) bool {
	for _, p := range patterns {
		if p.MatchString(s) {
			return true
		}
	}
	return false
}
