package rules

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"garita/place"
)

// The bounds of a file that "in list" names.
const (
	maxListOctets  = 16 << 20
	maxListEntries = 1_000_000
	maxListEntry   = 1000
	maxListsOctets = 64 << 20 // of all lists that one rule file names
)

// list is a file of entries, read once for all conditions that name it.
type list struct {
	err     error
	name    string
	text    []byte
	entries []string
	lines   []int // of the entries
	nets    []netip.Prefix
	netsErr []Problem
	asNets  bool
}

// readList reads a file of a list: one entry a line, blank lines and lines that
// begin with # left out.
func (p *parser) readList(path string) *list {
	path = p.beside(path)
	if l := p.lists[path]; l != nil {
		return l
	}
	l := &list{name: path}
	p.lists[path] = l
	if p.o.ReadList == nil {
		l.err = errors.New("lists of their own file cannot be used here")
		return l
	}
	text, err := p.o.ReadList(path)
	switch {
	case err != nil:
		l.err = err
		return l
	case len(text) > maxListOctets:
		l.err = fmt.Errorf("the list %s is larger than %d MB", path, maxListOctets>>20)
		return l
	}
	if p.listOctets += len(text); p.listOctets > maxListsOctets {
		l.err = fmt.Errorf("the lists of this file are larger than %d MB together", maxListsOctets>>20)
		return l
	}
	l.text = text
	l.split()
	return l
}

// reason says why the list cannot be used.
func (l *list) reason() string {
	const longest = 300
	text := l.err.Error()
	return strings.ToValidUTF8(text[:min(len(text), longest)], "")
}

func (l *list) split() {
	text := bytes.TrimPrefix(l.text, []byte(place.ByteOrderMark))
	for line := 1; len(text) > 0; line++ {
		var entry []byte
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			entry, text = text[:i], text[i+1:]
		} else {
			entry, text = text, nil
		}
		entry = bytes.TrimSpace(entry)
		switch {
		case len(entry) == 0 || entry[0] == '#':
			continue
		case len(entry) > maxListEntry:
			l.err = fmt.Errorf("line %d of the list %s is longer than %d octets", line, l.name, maxListEntry)
		case !utf8.Valid(entry):
			l.err = fmt.Errorf("line %d of the list %s is not UTF-8", line, l.name)
		case len(l.entries) == maxListEntries:
			l.err = fmt.Errorf("the list %s has more than %d entries", l.name, maxListEntries)
		}
		if l.err != nil {
			return
		}
		l.entries = append(l.entries, string(entry))
		l.lines = append(l.lines, line)
	}
}

// networks reads the entries as addresses and networks.
func (l *list) networks() ([]netip.Prefix, []Problem) {
	if l.asNets {
		return l.nets, l.netsErr
	}
	l.asNets = true
	var doc *document
	for i, e := range l.entries {
		n, _, err := parseNet(e)
		if err == nil {
			l.nets = append(l.nets, n)
			continue
		}
		if doc == nil {
			doc = newDocument(l.name, l.text)
		}
		start, _ := doc.Bounds(l.lines[i])
		start += max(0, bytes.Index(l.text[start:], []byte(e)))
		l.netsErr = append(l.netsErr, doc.problem(span{start, start + len(e)}, err.Error(), ""))
		if len(l.netsErr) == 10 {
			break
		}
	}
	return l.nets, l.netsErr
}

// parseNet reads an address or a network. odd is the network that was meant
// where the address has bits beside it.
func parseNet(s string) (n netip.Prefix, odd string, err error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return n, "", fmt.Errorf("%s is not an address or network", place.Quote(s))
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), "", nil
	}
	n, err = netip.ParsePrefix(s)
	if err != nil {
		return n, "", fmt.Errorf("%s is not an address or network", place.Quote(s))
	}
	if a := n.Addr(); a.Is4In6() { // ::ffff:192.0.2.0/120 is 192.0.2.0/24
		if n.Bits() < 96 {
			return n, "", fmt.Errorf("%s mixes IPv4 and IPv6", place.Quote(s))
		}
		n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
	}
	if m := n.Masked(); m != n {
		odd = m.String()
		n = m
	}
	return n, odd, nil
}
