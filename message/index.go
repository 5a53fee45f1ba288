package message

import (
	"context"
	"fmt"
	"strings"
)

// IndexLimits bound the index of one message. A bound that is passed is a
// Defect of grade Unfinished, with everything up to it indexed: never "clean",
// and never an error.
type IndexLimits struct {
	Depth      int // multiparts and messages inside each other (E-70, E-71)
	Parts      int // parts of all readings together (E-72)
	Fields     int // header fields of one part, and of all parts twenty times that
	Boundaries int // candidates for the boundary of one multipart (E-75)
	Views      int // readings of one message beyond the first (E-76)
	Names      int // candidate names of one part
	// Decoded bounds the octets of all decoded bodies together; Message.Index
	// takes no more than three times the message and 1 MB, either.
	Decoded int64
}

// DefaultIndexLimits fit mail of people and machines; Postfix refuses 100
// levels, MIME-tools takes 1,000 parts.
func DefaultIndexLimits() IndexLimits {
	return IndexLimits{Depth: 30, Parts: 2000, Fields: 1000, Boundaries: 8, Views: 64, Names: 64, Decoded: 256 << 20}
}

// Index is everything that some mail client may see in a message: the union of
// all plausible readings, by offsets over untouched bytes (attacks I7).
type Index struct {
	// Parts in the order in which they were found, each behind its parent;
	// Parts[0] is the message itself.
	Parts []*Part
	// Defects of all parts, in the order in which they were found.
	Defects []Defect
}

// Source is a run of bytes that parts have their offsets in: the message
// itself, or what a part's body decodes to (a message in base64, a uuencoded
// file).
type Source struct {
	Data []byte
	// Of is the part that was decoded; nil for the message itself.
	Of *Part
	// How is the reading that gave the bytes: "" for the message itself.
	How string

	dashes  []uint32 // offsets of the lines that begin with two dashes
	scanned bool
	over    bool // there are more of them than are kept
}

// Origin is how a part was found.
type Origin uint8

const (
	// Whole is the message itself.
	Whole Origin = iota
	// Child stands between boundaries of a multipart.
	Child
	// Enclosed is the message inside a message/rfc822 part.
	Enclosed
	// Preamble and Epilogue stand before the first and behind the last
	// boundary, where some readers see parts and others nothing.
	Preamble
	Epilogue
	// Embedded was found inside text or another format: uuencode, yEnc,
	// BinHex, TNEF.
	Embedded
	// Rescued is in one reading only: behind a header that others end
	// elsewhere, between boundaries that others do not take for such.
	Rescued
)

// String gives the origin in lower case.
func (o Origin) String() string {
	switch o {
	case Whole:
		return "whole"
	case Child:
		return "child"
	case Enclosed:
		return "enclosed"
	case Preamble:
		return "preamble"
	case Epilogue:
		return "epilogue"
	case Embedded:
		return "embedded"
	case Rescued:
		return "rescued"
	}
	return "unknown"
}

// Part is one part of a message in one place; different readings of the same
// place share a Part where they agree on its borders.
type Part struct {
	// Number is its place in the tree: "1.2". The message itself is "".
	Number string
	Parent *Part // nil for the message itself
	Depth  int
	Origin Origin
	Source *Source
	// Start, Body and End are offsets in Source.Data: where its header begins,
	// where its body begins, and the end of its body without the line end that
	// belongs to the boundary.
	Start, Body, End int
	// Fields is its header as the most generous reader sees it.
	Fields []PartField
	// Types are all declared media types ("text/html"), lower-case, the most
	// likely first. Empty: none was declared.
	Types []string
	// Encodings are all declared transfer encodings, lower-case.
	Encodings []string
	Charsets  []string
	// Names are all names that a reader may give to it, decoded and as they
	// are, without duplicates. They are hostile text.
	Names []Name
	// Attachment says that some reader sees Content-Disposition: attachment.
	Attachment bool
	// Children says that parts were found inside: readers that see them do not
	// show its body.
	Children bool
	// Defects are those found in it and not in a part inside it.
	Defects []Defect

	bodies     []Body
	boundaries []string // those that have lines in it
}

// PartField is a header field of a part.
type PartField struct {
	Name string // as written, white space trimmed
	// Value is what stands behind the colon, unfolded, not decoded: hostile.
	Value string
	// At is the offset of the field in the part's Source.
	At int
}

// Name is a candidate for the name of a part.
type Name struct {
	Text string // UTF-8; octets that are in no charset are U+FFFD
	// From tells the place: "filename" and "name" (also with the reading:
	// "filename, rfc2231"), "uuencode", "tnef"; the weak ones are
	// "content-location", "content-id", "content-description" and "subject".
	From string
}

// Weak says that only some readers use this place for a name, and mostly for
// something else: it tells a type, and is no reason to call the part a file.
func (n Name) Weak() bool {
	switch n.From {
	case "content-location", "content-id", "content-description", "subject":
		return true
	}
	return false
}

// Body is one reading of a part's content.
type Body struct {
	// How is the decoding: "7bit", "base64", "base64, again after padding".
	How  string
	Data []byte
}

// Grade is how bad a defect is.
type Grade uint8

const (
	// Odd is against the standard, seen in ordinary mail, and read by all in
	// the same way.
	Odd Grade = iota + 1
	// Ambiguous may be read in two ways: the index has all it could think of,
	// and the message is never clean.
	Ambiguous
	// Opaque cannot be looked into: message/partial, external-body, an unknown
	// transfer encoding.
	Opaque
	// Unfinished passed a bound: not everything was looked at.
	Unfinished
)

// String gives the grade in lower case.
func (g Grade) String() string {
	switch g {
	case Odd:
		return "odd"
	case Ambiguous:
		return "ambiguous"
	case Opaque:
		return "opaque"
	case Unfinished:
		return "unfinished"
	}
	return "unknown"
}

// Defect is one thing that is wrong with the structure of a message.
type Defect struct {
	ID    string // "duplicate-content-type"; Meaning explains it
	Grade Grade
	Part  *Part
	At    int    // offset in the part's Source
	Text  string // what exactly, hostile text; may be empty
}

// Has tells that there is a defect of that grade or a worse one.
func (x *Index) Has(g Grade) bool {
	for i := range x.Defects {
		if x.Defects[i].Grade >= g {
			return true
		}
	}
	return false
}

// Raw gives the octets of the part's body, undecoded.
func (p *Part) Raw() []byte { return p.Source.Data[p.Body:p.End] }

// Bodies gives every reading of the part's content, the most likely first. They
// were decoded with the index, so that several checks may ask at once. A part
// without a body has one empty reading; one that is nothing but a multipart or
// a message in every reading is given as it is.
func (p *Part) Bodies() []Body { return p.bodies }

// IndexOptions are what the index of a received message needs.
type IndexOptions struct {
	Limits IndexLimits
	// Room bounds the memory of all indexes together; nil: no bound.
	Room *Room

	read func([]byte, IndexLimits) *Index // replaced by tests
}

// What decodes to more than its message several times over is no mail: base64
// shrinks, and only many readings of it, or packed formats, grow. So one
// message takes decodedTimes its size and decodedMore at most, however large
// IndexLimits.Decoded is.
const (
	decodedTimes = 3
	decodedMore  = 1 << 20
)

// forMessage are the limits for a message of a size.
func (l IndexLimits) forMessage(size int64) IndexLimits {
	l.Decoded = min(l.Decoded, decodedTimes*size+decodedMore)
	return l
}

// decoded is about how many octets the bodies take that are not the message's
// own.
func (x *Index) decoded() (n int64) {
	for _, p := range x.Parts {
		for i := range p.bodies {
			if b := &p.bodies[i]; len(b.Data) > 0 && !strings.HasPrefix(b.How, "7bit") {
				n += int64(len(b.Data))
			}
		}
	}
	return n
}

// partOctets is about what a part takes besides its content.
const partOctets = 1 << 10

// Index gives the index, made on first use and kept until DropIndex. It waits
// for Room, no longer than ctx; the errors are ErrNoMemory and those of the
// spool file. What is odd about the message itself is never an error.
func (m *Message) Index(ctx context.Context) (*Index, error) {
	// The lock is given back before the reference: the last Release drops the
	// index, which takes the lock.
	m.Retain()
	defer m.Release()
	m.indexMu.Lock()
	defer m.indexMu.Unlock()
	if m.index != nil {
		return m.index, nil
	}
	room, err := m.indexing.Room.enter(ctx, 2*m.size)
	if err != nil {
		return nil, err
	}
	// Also when reading panics, which a check survives: a message that does it
	// must not keep the room from others (attacks I10).
	defer func() {
		if m.index == nil {
			room.leave()
		}
	}()
	raw, err := m.whole()
	if err != nil {
		return nil, err
	}
	read := ReadIndex
	if m.indexing.read != nil {
		read = m.indexing.read
	}
	x := read(raw, m.indexing.Limits.forMessage(m.size))
	// What a hostile message takes beyond the usual is counted as well.
	room.settle(m.size + x.decoded() + int64(len(x.Parts))*partOctets)
	m.index, m.room = x, room
	return x, nil
}

// DropIndex gives the index's memory back. Who still holds the index may go on
// using it; the next call of Index makes a new one.
func (m *Message) DropIndex() {
	m.indexMu.Lock()
	defer m.indexMu.Unlock()
	m.index = nil
	m.room.leave()
}

// whole gives all octets in one piece: those of a small message as they are
// stored, else a copy.
func (m *Message) whole() ([]byte, error) {
	if m.file == nil && len(m.chunks) == 1 {
		// A copy all the same: the chunk goes back to its pool with the last
		// Release, and a late check may still read the index.
		return append(make([]byte, 0, m.size), m.piece(0, m.size)...), nil
	}
	raw := make([]byte, m.size)
	if n, err := m.readAt(raw, 0); n != len(raw) {
		return nil, fmt.Errorf("index: %w", err)
	}
	return raw, nil
}
