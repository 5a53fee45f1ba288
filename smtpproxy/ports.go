package smtpproxy

import (
	"context"
	"io"
	"net/netip"

	"garita/mail"
	"garita/message"
)

// Policy is the engine of checks, as the wire needs it. The transaction is
// the wire's: the engine reads it and writes Findings, Auth, Edits and
// Identity. Every method must return in bounded time.
type Policy interface {
	Connect(ctx context.Context, s *mail.Session) mail.Decision
	Helo(ctx context.Context, s *mail.Session) mail.Decision
	Mail(ctx context.Context, tx *mail.Transaction) mail.Decision
	Rcpt(ctx context.Context, tx *mail.Transaction, r mail.Recipient) mail.Decision
	Data(ctx context.Context, tx *mail.Transaction) mail.Decision
	Message(ctx context.Context, tx *mail.Transaction) mail.Decision
	// Again judges m, what is left of tx's message after Decision.Disarm and
	// Decision.Rewrite, as Message does. Of its decision verdict, reasons and Disarm count.
	Again(ctx context.Context, tx *mail.Transaction, m *message.Message) mail.Decision
	// Finish tells how the transaction ended, once for each MAIL.
	Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome)
	// Closed tells that the session is over, once.
	Closed(s *mail.Session)
}

// Router says where a recipient of a transaction goes. A reply instead of a
// next hop refuses the recipient (relaying denied, no route).
type Router interface {
	Route(tx *mail.Transaction, r mail.Recipient) (NextHop, *mail.Reply)
	// Rewrite gives the addresses that a recipient stands for (virtual
	// aliases); nil when it stands for itself. It comes after Route has
	// allowed r, and all of them go to the next hop that Route gave for r:
	// where they could not, Route refuses r for now. An alias never opens
	// relaying to strangers; its targets are the operator's own words, which
	// may lead anywhere.
	Rewrite(tx *mail.Transaction, r mail.Recipient) []mail.Recipient
	// NextHops are all that Route can answer: what the listener announces is
	// what every one of them has.
	NextHops() []NextHop
	// Redirect says where mail of tx goes that the operator's rules send to
	// another address, and which addresses that one stands for (at least one).
	// Relay permission is not asked: the address is the operator's word.
	Redirect(tx *mail.Transaction, to mail.Path) (NextHop, []mail.Path, *mail.Reply)
	// Hop is the next hop with that configured name; nil where there is none.
	Hop(name string) NextHop
}

// Names finds the host name of a client by reverse DNS, confirmed by a forward
// look-up. It returns in bounded time; a failure is a name that is empty.
type Names interface {
	HostName(ctx context.Context, a netip.Addr) mail.HostName
}

// Act is something that a client does and that is counted.
type Act uint8

const (
	ActConnection Act = iota + 1
	ActHandshake
	ActMessage
	ActRecipient
	// ActAuthFailure is a wrong password; see Accounts for the delay.
	ActAuthFailure
	// ActUnknownRecipient is a 550 5.1.1: many of them are a harvest.
	ActUnknownRecipient
	// ActJunk is abuse of the protocol: another protocol, talking out of turn,
	// more errors than the session may make.
	ActJunk
	// ActUnknownBounce is an unknown recipient of mail without a sender. It
	// counts as one, but earns no ban: somebody else may have forged our users
	// as senders, and the client only returns that mail.
	ActUnknownBounce
)

// Ruling is what Conduct says of an act; the zero value lets it pass.
type Ruling struct {
	// Refuse: the act is too much. The wire answers 4xx, never 5xx: a limit
	// is about now.
	Refuse bool
	// Why is for the log: "rate of connections", "banned until 12:30".
	Why string
}

// Conduct remembers how clients behave, across sessions. Trusted peers are
// never asked about. It must answer at once, from memory.
type Conduct interface {
	Note(a netip.Addr, act Act) Ruling
}

// Accounts knows the users who may log in (RFC 4954).
type Accounts interface {
	// Verify tells whether the password is the user's. A wrong user takes as
	// long as a wrong password. An error means that nothing could be told
	// (too busy, file unreadable): the client gets a temporary answer.
	Verify(ctx context.Context, client netip.Addr, user, password string) (ok bool, err error)
}

// Capabilities are what a next hop announced at its last probe.
type Capabilities struct {
	Known         bool  // false until a probe has succeeded once
	Size          int64 // octets; 0 for no limit or none announced
	EightBitMIME  bool
	SMTPUTF8, DSN bool
}

// NextHop is one configured place that mail goes to.
type NextHop interface {
	// Name is the configured name; two recipients with equal names share a
	// transaction.
	Name() string
	Capabilities() Capabilities
	// LeadsTo tells, and by which port, that the next hop is that machine.
	LeadsTo(client netip.Addr) (port uint16, yes bool)
	// Begin makes a delivery; nothing is sent before its first Rcpt.
	Begin(tx *mail.Transaction) Delivery
}

// Delivery is one transaction towards a next hop. It is used by one goroutine
// and ended by exactly one of Data, Abort.
type Delivery interface {
	// Rcpt asks the next hop for one recipient, opening connection and
	// transaction when it is the first. The reply is always fit for the
	// client: the next hop's own, or a 451 that stands in for a fault. The
	// error is for the log.
	Rcpt(ctx context.Context, r mail.Recipient) (mail.Reply, error)
	// Data sends the message and gives the outcome. Only an outcome of kind
	// Relayed allows a 250. ctx bounds the whole of it, and its end closes
	// the socket without the final dot.
	Data(ctx context.Context, m Body) mail.Outcome
	// Park gives the connection back while a slow client is silent or
	// uploading; the next Rcpt or Data replays the envelope, and an answer
	// that has changed since ends the delivery with 451.
	Park()
	// Forget is Park, and takes recipients that were accepted out of those to
	// be replayed: of an alias that was refused as a whole, for instance.
	Forget(rcpts []mail.Recipient)
	// Wanted tells that others wait for the connection that this one holds.
	Wanted() bool
	// Abort ends the delivery: nothing was delivered. Safe to call always.
	Abort()
}

// Body is a rendered message: the bytes that go out, before dot-stuffing,
// with their exact number and CRLF line ends only.
type Body interface {
	Size() int64
	io.WriterTo
}

// Keeper holds a message durably: it returns only after file and folder are
// on stable storage.
type Keeper interface {
	Hold(ctx context.Context, tx *mail.Transaction, d mail.Decision, m Body) (id string, err error)
	// Keep is Hold for the original of a message that goes on disarmed: it
	// waits for nobody, and whoever wants it asks for it by its id.
	Keep(ctx context.Context, tx *mail.Transaction, d mail.Decision, m Body) (id string, err error)
	// Drop removes what Keep has kept: the message did not go on after all.
	Drop(id string) error
}

var _ Body = (*message.Rendering)(nil)
