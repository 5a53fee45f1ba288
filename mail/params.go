package mail

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of parameters, in octets: of all of one command (the ENVID and ORCPT
// of RFC 3461 at their longest with room for the rest), and of their number.
const (
	maxParams     = 1024
	maxParamCount = 16
	maxEnvID      = 100 // RFC 3461 section 4.4
	maxOrcpt      = 500 // RFC 3461 section 4.2
)

// Allowed is which extensions were announced to this client: a parameter of
// any other is refused as unknown.
type Allowed struct {
	Size, EightBitMIME, SMTPUTF8, DSN, Auth bool
}

// ParseMail reads what follows "MAIL FROM:", path and parameters. A nil reply
// means that both hold.
func ParseMail(arg string, allowed Allowed) (Path, Params, *Reply) {
	path, rest, err := ParseReverse(arg, allowed.SMTPUTF8)
	if err != nil {
		return Path{}, Params{}, replyOf(err)
	}
	params, reply := ParseMailParams(rest, allowed)
	if reply == nil && !params.SMTPUTF8 && !path.IsASCII() {
		r := NeedUTF8()
		reply = &r
	}
	if reply != nil {
		return Path{}, Params{}, reply
	}
	return path, params, nil
}

// ParseRcpt reads what follows "RCPT TO:". utf8ok is whether this
// transaction's MAIL said SMTPUTF8, whatever the listener announced.
func ParseRcpt(arg string, utf8ok bool, allowed Allowed) (Recipient, *Reply) {
	path, rest, err := ParseForward(arg, utf8ok)
	if err != nil {
		return Recipient{}, replyOf(err)
	}
	allowed.SMTPUTF8 = utf8ok
	r, reply := ParseRcptParams(rest, allowed)
	if reply != nil {
		return Recipient{}, reply
	}
	r.Path = path
	return r, nil
}

func replyOf(err error) *Reply {
	if e, ok := err.(*AddressError); ok {
		return &e.Reply
	}
	r := Temporary(451, "3.0", "Local error in processing")
	return &r
}

// ParseMailParams reads the parameters of MAIL. Unknown or not announced: 555
// 5.5.4; twice or with a bad value: 501 5.5.4; a SIZE that no number holds:
// 552 5.3.4. AUTH= is read by its grammar and dropped: the client's word on
// who submitted a message earns nothing here (RFC 4954 section 5).
func ParseMailParams(rest string, allowed Allowed) (Params, *Reply) {
	var p Params
	var seen paramSet
	reply := eachParam(rest, func(key, value string, hasValue bool) *Reply {
		bit, known := mailParam(key, allowed)
		if !known {
			return unknownParam()
		}
		if !seen.add(bit) || hasValue == (bit == paramSMTPUTF8) {
			return badParam()
		}
		return p.set(bit, value)
	})
	if reply != nil {
		return Params{}, reply
	}
	return p, nil
}

// ParseRcptParams reads the parameters of RCPT into a Recipient without path.
// allowed.SMTPUTF8 is whether MAIL said SMTPUTF8.
func ParseRcptParams(rest string, allowed Allowed) (Recipient, *Reply) {
	var r Recipient
	var seen paramSet
	reply := eachParam(rest, func(key, value string, hasValue bool) *Reply {
		var bit paramSet
		switch {
		case allowed.DSN && strings.EqualFold(key, "NOTIFY"):
			bit = paramNotify
		case allowed.DSN && strings.EqualFold(key, "ORCPT"):
			bit = paramOrcpt
		default:
			return unknownParam()
		}
		if !seen.add(bit) || !hasValue {
			return badParam()
		}
		ok := false
		if bit == paramNotify {
			r.Notify, ok = parseNotify(value)
		} else {
			r.OrcptType, r.Orcpt, ok = parseOrcpt(value, allowed.SMTPUTF8)
		}
		if !ok {
			return badParam()
		}
		return nil
	})
	if reply != nil {
		return Recipient{}, reply
	}
	return r, nil
}

// paramSet holds one bit for each parameter that was seen.
type paramSet uint16

const (
	paramSize paramSet = 1 << iota
	paramBody
	paramSMTPUTF8
	paramRet
	paramEnvID
	paramAuth
	paramNotify
	paramOrcpt
)

func (s *paramSet) add(bit paramSet) bool {
	fresh := *s&bit == 0
	*s |= bit
	return fresh
}

func mailParam(key string, allowed Allowed) (paramSet, bool) {
	switch {
	case strings.EqualFold(key, "SIZE"):
		return paramSize, allowed.Size
	case strings.EqualFold(key, "BODY"):
		return paramBody, allowed.EightBitMIME
	case strings.EqualFold(key, "SMTPUTF8"):
		return paramSMTPUTF8, allowed.SMTPUTF8
	case strings.EqualFold(key, "RET"):
		return paramRet, allowed.DSN
	case strings.EqualFold(key, "ENVID"):
		return paramEnvID, allowed.DSN
	case strings.EqualFold(key, "AUTH"):
		return paramAuth, allowed.Auth
	}
	return 0, false
}

func (p *Params) set(bit paramSet, value string) *Reply {
	ok := true
	switch bit {
	case paramSize:
		// RFC 1870 section 3: up to 20 digits, which is more than an int64.
		if len(value) > 20 || strings.Trim(value, "0123456789") != "" {
			return badParam()
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			r := Permanent(552, "3.4", "Message size exceeds fixed limit")
			return &r
		}
		p.Size = n
	case paramBody:
		switch {
		case strings.EqualFold(value, string(Body7Bit)):
			p.Body = Body7Bit
		case strings.EqualFold(value, string(Body8BitMIME)):
			p.Body = Body8BitMIME
		case strings.EqualFold(value, "BINARYMIME"):
			return unknownParam() // of an extension that we never announce
		default:
			ok = false
		}
	case paramSMTPUTF8:
		p.SMTPUTF8 = true
	case paramRet:
		p.Ret = strings.ToUpper(value)
		ok = p.Ret == "FULL" || p.Ret == "HDRS"
	case paramEnvID:
		p.EnvID, ok = DecodeXtext(value)
		ok = ok && len(value) <= maxEnvID
	case paramAuth:
		if value != "<>" {
			_, ok = DecodeXtext(value)
		}
	}
	if !ok {
		return badParam()
	}
	return nil
}

// eachParam parts the text by the esmtp-param grammar of RFC 5321 section
// 4.1.2 and calls f for each; a reply of f ends it. Several spaces count as
// one, any other white space or control is an error.
func eachParam(rest string, f func(key, value string, hasValue bool) *Reply) *Reply {
	if len(rest) > maxParams {
		return badParam()
	}
	for n := 0; ; n++ {
		rest = strings.TrimLeft(rest, " ")
		if rest == "" {
			return nil
		}
		if n == maxParamCount {
			return badParam()
		}
		var word string
		word, rest, _ = strings.Cut(rest, " ")
		key, value, hasValue := strings.Cut(word, "=")
		if !isKeyword(key) || hasValue && !isParamValue(value) {
			return badParam()
		}
		if r := f(key, value, hasValue); r != nil {
			return r
		}
	}
}

func isKeyword(s string) bool {
	if s == "" || !isAlnum(s[0]) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

// isParamValue is esmtp-value with RFC 6531's octets; a second "=" is not in
// the grammar.
func isParamValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == '=' || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && utf8.ValidString(s)
}

func parseNotify(value string) ([]string, bool) {
	words := strings.Split(strings.ToUpper(value), ",")
	for i, w := range words {
		switch w {
		case "SUCCESS", "FAILURE", "DELAY":
			for _, before := range words[:i] {
				if before == w {
					return nil, false
				}
			}
		case "NEVER":
			if len(words) > 1 {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return words, true
}

// parseOrcpt reads "type;xtext". Raw UTF-8 in the utf-8 type (RFC 6533
// section 3) is kept as \x{HEX}, which every next hop can be given.
func parseOrcpt(value string, utf8ok bool) (kind, addr string, ok bool) {
	kind, enc, found := strings.Cut(value, ";")
	if !found || kind == "" || enc == "" || len(value) > maxOrcpt {
		return "", "", false
	}
	for i := 0; i < len(kind); i++ {
		if !isAtext(kind[i]) || kind[i] == '+' || kind[i] == '=' {
			return "", "", false
		}
	}
	if utf8ok && strings.EqualFold(kind, "utf-8") && !ascii(enc) {
		var b strings.Builder
		for _, r := range enc {
			if r < utf8.RuneSelf {
				b.WriteRune(r)
			} else if !runeOK(r, utf8.RuneLen(r)) {
				return "", "", false
			} else {
				fmt.Fprintf(&b, `\x{%04X}`, r)
			}
		}
		enc = b.String()
	}
	addr, ok = DecodeXtext(enc)
	return kind, addr, ok
}

func badParam() *Reply {
	r := Permanent(501, "5.4", "Bad parameter syntax")
	return &r
}

func unknownParam() *Reply {
	r := Permanent(555, "5.4", "Unsupported parameter")
	return &r
}
