package relay

import (
	"net/netip"
	"strconv"
	"strings"

	"garita/mail"
)

// XFORWARD (Postfix XFORWARD_README): the next hop's log gets the client that
// the message came from. It is for the log alone and is sent afresh for each
// transaction, since its values end with the transaction.

// maxXForwardLine is the longest command line; longer lists are split.
const maxXForwardLine = 512

// maxXForwardValue is the longest value after encoding.
const maxXForwardValue = 255

const unavailable = "[UNAVAILABLE]"

// xattr numbers the attributes; extensions.xforward holds a bit for each.
var xattrs = [...]string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"}

// parseXForward reads the attributes that EHLO offered.
func parseXForward(words []string) (mask uint8) {
	for _, w := range words {
		for i, a := range xattrs {
			if strings.EqualFold(w, a) {
				mask |= 1 << i
			}
		}
	}
	return mask
}

// xforwardValues are the values to tell: of the client that XFORWARD told us
// of where a trusted peer did, else of the session. Postfix answers 501 to a
// malformed NAME, ADDR, PORT or SOURCE, so what is not sound is unavailable.
func xforwardValues(tx *mail.Transaction) [len(xattrs)]string {
	var v [len(xattrs)]string
	if f := tx.Forwarded; f != nil {
		v = [...]string{f.Name, xaddr(f.Addr), f.Port, f.Proto, f.Helo, f.Ident, strings.ToUpper(f.Source)}
	} else if s := tx.Session; s != nil {
		v = [...]string{"", "", "", s.Proto, s.Helo, tx.ID, "REMOTE"}
		if s.Host.Confirmed {
			v[0] = s.Host.Name
		}
		if s.Client.IsValid() {
			v[1] = xaddrOf(s.Client.Addr())
			v[2] = strconv.Itoa(int(s.Client.Port()))
		}
	}
	if !soundHost(v[0]) {
		v[0] = ""
	}
	if p, err := strconv.ParseUint(v[2], 10, 16); err != nil || p == 0 || v[2][0] == '+' {
		v[2] = ""
	}
	if len(v[3]) > 64 {
		v[3] = ""
	}
	if v[6] != "LOCAL" && v[6] != "REMOTE" {
		v[6] = ""
	}
	return v
}

func xaddr(s string) string {
	if len(s) > 5 && strings.EqualFold(s[:5], "IPV6:") {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return ""
	}
	return xaddrOf(a)
}

func xaddrOf(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return "IPV6:" + a.String()
	}
	return a.String()
}

// soundHost is Postfix's valid_hostname, roughly and more narrowly.
func soundHost(s string) bool {
	if s == "" || len(s) > 253 || strings.EqualFold(s, "unknown") {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i] | 0x20
			if !(c >= 'a' && c <= 'z' || label[i] >= '0' && label[i] <= '9' || label[i] == '-' || label[i] == '_') {
				return false
			}
		}
	}
	return true
}

// xforward appends one or more XFORWARD commands with every offered attribute.
func (b *batch) xforward(tx *mail.Transaction, offered uint8) {
	if offered == 0 {
		return
	}
	values := xforwardValues(tx)
	start := -1
	for i, name := range xattrs {
		if offered&(1<<i) == 0 {
			continue
		}
		v := cutXtext(mail.EncodeXtext(values[i]))
		if v == "" {
			v = unavailable
		}
		need := 1 + len(name) + 1 + len(v)
		if start >= 0 && len(b.buf)-start+need+2 > maxXForwardLine {
			b.end(kindXForward)
			start = -1
		}
		if start < 0 {
			start = len(b.buf)
			b.buf = append(b.buf, "XFORWARD"...)
		}
		b.buf = append(b.buf, ' ')
		b.buf = append(b.buf, name...)
		b.buf = append(b.buf, '=')
		b.buf = append(b.buf, v...)
	}
	if start >= 0 {
		b.end(kindXForward)
	}
}

// cutXtext bounds an encoded value without cutting an octet's "+HH" in two.
func cutXtext(v string) string {
	if len(v) <= maxXForwardValue {
		return v
	}
	n := maxXForwardValue
	for i := n - 2; i < n; i++ {
		if v[i] == '+' {
			return v[:i]
		}
	}
	return v[:n]
}
