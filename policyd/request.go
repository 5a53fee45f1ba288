package policyd

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"garita/mail"
)

// Bounds of one request.
const (
	maxRequest    = 64 << 10
	maxLine       = 8 << 10
	maxAttributes = 128
)

// What is wrong with a request.
var (
	errLine    = errors.New("a line is no name=value")
	errLong    = errors.New("a line or request is too long")
	errMany    = errors.New("too many attributes")
	errRequest = errors.New("not a request of smtpd_access_policy")
)

// The states of the protocol.
const (
	stateConnect = "CONNECT"
	stateEHLO    = "EHLO"
	stateHELO    = "HELO"
	stateMail    = "MAIL"
	stateRcpt    = "RCPT"
	stateData    = "DATA"
	stateEnd     = "END-OF-MESSAGE"
	stateVRFY    = "VRFY"
	stateETRN    = "ETRN"
)

// Request is what an MTA asks. Its texts are hostile. Of an attribute that
// comes twice the last one counts; those that Postfix did not send are empty.
type Request struct {
	State, Protocol, Helo, QueueID          string
	Sender, Recipient                       string
	RecipientCount                          int
	ClientAddress, ClientName, ReverseName  string
	ClientPort                              uint16
	Instance                                string
	SASLMethod, SASLUser, SASLSender        string
	Size                                    int64
	CertSubject, CertIssuer                 string // decoded from xtext
	CertFingerprint, CertKeyFingerprint     string
	EncryptionProtocol, EncryptionCipher    string
	EncryptionKeySize                       int
	ETRNDomain, Stress, PolicyContext       string
	ServerAddress                           string
	ServerPort                              uint16
	CompatibilityLevel, MailVersion, TLSSNI string

	request   string
	hasSender bool // the null sender is an empty attribute, not a missing one
}

// parse reads a request without the empty line that ends it. The Request
// shares the memory of text.
func parse(text string) (Request, error) {
	var r Request
	for n := 0; text != ""; n++ {
		if n == maxAttributes {
			return r, errMany
		}
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		if len(line) > maxLine {
			return r, errLong
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" {
			return r, errLine
		}
		r.set(name, value)
	}
	if r.request != "smtpd_access_policy" {
		return r, errRequest
	}
	return r, nil
}

// set takes one attribute; one that we do not know is of a later Postfix.
func (r *Request) set(name, value string) {
	if p := r.text(name); p != nil {
		*p = value
		r.hasSender = r.hasSender || name == "sender"
		return
	}
	switch name {
	case "recipient_count":
		r.RecipientCount = int(number(value, 1<<31-1))
	case "size":
		r.Size = number(value, 1<<62)
	case "client_port":
		r.ClientPort = uint16(number(value, 65535))
	case "server_port":
		r.ServerPort = uint16(number(value, 65535))
	case "encryption_keysize":
		r.EncryptionKeySize = int(number(value, 1<<31-1))
	case "ccert_subject":
		r.CertSubject = plain(value)
	case "ccert_issuer":
		r.CertIssuer = plain(value)
	case "ccert_fingerprint":
		r.CertFingerprint = plain(value)
	case "ccert_pubkey_fingerprint":
		r.CertKeyFingerprint = plain(value)
	}
}

// text is where an attribute that is text goes; nil: it is none.
func (r *Request) text(name string) *string {
	switch name {
	case "request":
		return &r.request
	case "protocol_state":
		return &r.State
	case "protocol_name":
		return &r.Protocol
	case "helo_name":
		return &r.Helo
	case "queue_id":
		return &r.QueueID
	case "sender":
		return &r.Sender
	case "recipient":
		return &r.Recipient
	case "client_address":
		return &r.ClientAddress
	case "client_name":
		return &r.ClientName
	case "reverse_client_name":
		return &r.ReverseName
	case "instance":
		return &r.Instance
	case "sasl_method":
		return &r.SASLMethod
	case "sasl_username":
		return &r.SASLUser
	case "sasl_sender":
		return &r.SASLSender
	case "encryption_protocol":
		return &r.EncryptionProtocol
	case "encryption_cipher":
		return &r.EncryptionCipher
	case "etrn_domain":
		return &r.ETRNDomain
	case "stress":
		return &r.Stress
	case "policy_context":
		return &r.PolicyContext
	case "server_address":
		return &r.ServerAddress
	case "compatibility_level":
		return &r.CompatibilityLevel
	case "mail_version":
		return &r.MailVersion
	case "tls_sni":
		return &r.TLSSNI
	}
	return nil
}

// number reads one that may be missing or nonsense: 0 then.
func number(s string, limit int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > limit {
		return 0
	}
	return n
}

// plain decodes xtext (RFC 3461 section 4), as Postfix writes what stands in
// certificates. What cannot be decoded to printable text stays as it came.
func plain(s string) string {
	if strings.IndexByte(s, '+') < 0 {
		return s
	}
	if out, ok := mail.DecodeXtext(s); ok {
		return out
	}
	return s
}

// session fills the session that the request speaks of.
func (r *Request) session(s *mail.Session, peer netip.AddrPort) {
	s.Listener, s.Role, s.Peer, s.Helo, s.Proto = "policyd", mail.PolicyServer, peer, r.Helo, r.Protocol
	// "unknown" for a client that came by a pipe.
	if a, err := netip.ParseAddr(r.ClientAddress); err == nil && a.Zone() == "" {
		s.Client = netip.AddrPortFrom(a.Unmap(), r.ClientPort)
	}
	// client_name is a name that the DNS has confirmed, or "unknown".
	switch {
	case !isUnknown(r.ClientName):
		s.Host = mail.HostName{Name: r.ClientName, Confirmed: true}
	case !isUnknown(r.ReverseName):
		s.Host = mail.HostName{Name: r.ReverseName}
	}
	if r.SASLUser != "" {
		s.Login, s.LoginMethod = r.SASLUser, r.SASLMethod
	}
}

func isUnknown(name string) bool { return name == "" || name == "unknown" }

// path cuts an address as Postfix gives it, without quotes, at its last "@".
func path(s string) mail.Path {
	if i := strings.LastIndexByte(s, '@'); i >= 0 && i+1 < len(s) {
		return mail.Path{Local: s[:i], Domain: s[i+1:]}
	}
	return mail.Path{Local: s}
}
