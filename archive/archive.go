// Package archive looks into containers, and into those inside them: names,
// types, sizes and bounded contents of every member that some unpacker might
// see. Where two readings of an archive differ (attacks 2.Z, "My ZIP isn't your
// ZIP"), both are given and the difference is named.
//
// Nothing is ever written to the disk, no name from an archive is ever used as
// one, no program is started. It fails by defect: what cannot be read, is
// encrypted, or goes over a bound is reported with what was seen until then;
// the decoders of others run with recover.
//
// Formats, defects and bounds are in docs/archives.md.
package archive

import (
	"time"

	"garita/filetype"
)

// Limits bound the work on one message, all its archives together (Z-22).
type Limits struct {
	Depth   int           // archives inside archives
	Entries int           // members of all archives
	Bytes   int64         // unpacked octets of all archives
	Member  int64         // unpacked octets of one member that are kept at a time
	Ratio   int64         // unpacked : packed, beyond the first megabyte
	Time    time.Duration // of all archives
}

// DefaultLimits are for mail.
func DefaultLimits() Limits {
	return Limits{Depth: 6, Entries: 5000, Bytes: 512 << 20, Member: 64 << 20, Ratio: 200, Time: 20 * time.Second}
}

// Entry is one member of an archive. Names are hostile text.
type Entry struct {
	// Names are all names that unpackers may give it, without duplicates.
	Names     []string
	Container string // of what it is a member: "zip"
	Depth     int    // 1 is a member of the outermost archive
	// In are the (first) names of the archives that it lies in, outermost
	// first, without the outermost itself.
	In        []string
	Type      filetype.Type // by its octets; Unknown when they are not readable
	Size      int64         // as declared, -1 unknown
	Encrypted bool
	Directory bool
	Link      bool // symbolic or hard link, device: its target is in LinkTo
	LinkTo    string
	// Data is its content, up to Limits.Member; nil when it cannot be read. It
	// is valid during the visit alone.
	Data      []byte
	Truncated bool // Data is not all of it
}

// Defect is something that keeps an archive from being judged by its parts.
type Defect struct {
	// ID: "zip-names-differ", "encrypted", "ratio", "corrupt", "unsupported".
	ID    string
	Grade Grade
	In    []string // as of Entry, with the archive itself
	Text  string   // hostile text
}

// Grade is what a defect means for the whole.
type Grade uint8

const (
	Odd       Grade = iota + 1 // seen in ordinary archives
	Ambiguous                  // unpackers see different things
	Encrypted                  // a password is needed
	Opaque                     // cannot be read: corrupt, unsupported, one of several volumes
	Bomb                       // a bound was passed: not everything was looked at
)
