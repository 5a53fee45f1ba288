package rules

import (
	"net/netip"

	"garita/rules/pattern"
)

// Subject is what a condition is about.
type Subject uint8

const (
	// Of the envelope and the connection.
	Client          Subject = iota + 1 // client: address
	Host                               // host: its confirmed name
	Helo                               // helo
	Sender                             // sender: the reverse-path, "" for bounces
	SenderDomain                       // sender domain
	Recipient                          // recipient: any of them
	RecipientDomain                    // recipient domain
	Recipients                         // recipients: their number
	User                               // user: who really sends
	Listener                           // listener: its name
	Size                               // size of the message

	// Header fields of the message itself, decoded; Name is the field's.
	SubjectText // subject
	Header      // header NAME
	AnyHeader   // any header: "Name: value"
	// Of parts, and of messages inside.
	MIMEHeader      // mime header NAME
	AnyMIMEHeader   // any mime header
	NestedHeader    // nested header NAME
	AnyNestedHeader // any nested header
	// As they stand in the message, octets, unfolded as Postfix does.
	RawHeader    // raw header NAME
	RawAnyHeader // raw any header

	BodyLine // body line: the raw body, line by line
	Text     // text: every text part, decoded; of HTML what is shown

	Tag       // html tag
	Attribute // html attribute NAME of TAG; Of is the tag, "" for any

	AttachmentName      // attachment name: every candidate name
	AttachmentExtension // attachment extension: of every candidate name, without the dot
	AttachmentType      // attachment type: by its octets
	AttachmentDeclared  // attachment declared: the declared media types of any part
	AttachmentSize      // attachment size: decoded
	Attachments         // attachments: their number
	Defect              // defect: of the structure of the message (docs/mime.md)
)

// Op is how a condition compares.
type Op uint8

const (
	Is       Op = iota + 1 // is "a" or "b"
	Contains               // contains "a" or "b"
	Starts                 // starts "a"
	Ends                   // ends "a"
	Matches                // matches /pattern/flags
	InList                 // in list FILE
	InNets                 // in 192.0.2.0/24 or 2001:db8::/32
	Exists                 // exists
	Missing                // is missing
	More                   // > N
	AtLeast                // >= N
	Less                   // < N
	AtMost                 // <= N
	Equals                 // = N
)

// Condition is one condition, as 'subject contains "oferta"'.
type Condition struct {
	Source       string // as written
	Line, Column int
	// Not turns it around: 'not subject contains "oferta"'.
	Not     bool
	Subject Subject
	Name    string // of a header field or attribute, lower-case
	Of      string // tag of an attribute, lower-case
	Op      Op
	Values  []string         // of Is, Contains, Starts, Ends and InList, as written; of a list, its entries
	List    string           // file of InList
	Nets    []netip.Prefix   // of InNets, and of InList about a client
	Number  int64            // octets or a count
	Regexp  string           // of Matches, without slashes
	Flags   string           // i s m x U, and a: neither accents nor line breaks matter
	Pattern *pattern.Pattern // of Matches
}
