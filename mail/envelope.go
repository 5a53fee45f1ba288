package mail

import (
	"net/netip"

	"garita/message"
)

// Body is the value of MAIL's BODY parameter (RFC 6152).
type Body string

// The bodies that we take. BINARYMIME is never announced.
const (
	BodyUnset    Body = ""
	Body7Bit     Body = "7BIT"
	Body8BitMIME Body = "8BITMIME"
)

// Params are the ESMTP parameters of MAIL that we understand, as values: a
// next hop gets them rebuilt, never copied.
type Params struct {
	Size     int64 // RFC 1870, octets; 0 when the client did not say
	Body     Body
	SMTPUTF8 bool   // RFC 6531
	Ret      string // RFC 3461: "", "FULL" or "HDRS"
	EnvID    string // RFC 3461, decoded from xtext
}

// Recipient is one forward-path with its delivery status parameters.
type Recipient struct {
	Path
	// Notify is RFC 3461's list: NEVER alone, or any of SUCCESS FAILURE DELAY.
	Notify []string
	// OrcptType and Orcpt are the original recipient, decoded ("rfc822", "a@b").
	OrcptType, Orcpt string
	// Alias is the address that the client asked for, when Path is what it
	// stands for; else the null path.
	Alias Path
}

// Asked is the address that the client asked for.
func (r *Recipient) Asked() Path {
	if r.Alias.IsNull() {
		return r.Path
	}
	return r.Alias
}

// Envelope is what MAIL and RCPT said. A zero ReversePath is the null
// reverse-path of bounces.
type Envelope struct {
	ReversePath  Path
	ForwardPaths []Recipient
	Params       Params
}

// Identity is who really sends an outbound message and how we know. An empty
// User is "unknown", which is not a user.
type Identity struct {
	User, Source string
}

// Forwarded is what a trusted peer said by XFORWARD about the client that it
// had the message from. It is for the log alone and never earns trust.
type Forwarded struct {
	Name, Addr, Port, Proto, Helo, Ident, Source string
}

// AuthResult is one method's result for Authentication-Results (RFC 8601).
type AuthResult struct {
	Method, Result, Reason string
	Props                  map[string]string
}

// Transaction is one message on its way: MAIL to the end of data. The wire
// and the engine write it; checks read it.
type Transaction struct {
	*Session
	ID        string // queue id of the log lines, [0-9A-Z]+
	Direction Direction
	Envelope
	// NextHop is the configured name of where all its recipients go; empty
	// before the first.
	NextHop   string
	Forwarded *Forwarded // nil unless XFORWARD came
	// QueueID is what the MTA that asks us (milter) calls the message.
	QueueID  string
	Identity Identity
	// Message is nil before the end of data.
	Message  *message.Message
	Findings []Finding
	Auth     []AuthResult
	Edits    []message.Edit
	// Rewritten tells that Message is what edits of the body have left of the
	// one that came, at its second look: whoever asked for edits of body lines
	// has had his say, and does not match what he put there.
	Rewritten bool
	// Exempt says why a decision of the checks did not count ("postmaster");
	// empty when all did.
	Exempt string
	// Scratch is the engine's memory of this transaction (the session has one
	// of its own); nobody else touches it.
	Scratch any
}

// ClientForLog is the client that the log names: the one XFORWARD told us of
// in the content-filter role, else the session's own.
func (t *Transaction) ClientForLog() (name string, addr netip.Addr) {
	if f := t.Forwarded; f != nil {
		if a, err := netip.ParseAddr(f.Addr); err == nil {
			name = f.Name
			if name == "" {
				name = "unknown"
			}
			return name, a
		}
	}
	return t.HostOrUnknown(), t.Client.Addr()
}
