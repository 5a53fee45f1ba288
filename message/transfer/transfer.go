// Package transfer decodes the transfer encodings of mail in every way that
// mail clients do: base64 (RFC 2045 section 6.8), quoted-printable (6.7),
// uuencode, yEnc, BinHex 4.0. Where readers disagree about damaged input, each
// reading is given, and what was damaged is named.
//
// It knows nothing of messages and their structure. It never fails: what
// cannot be decoded gives what could be, and a fault. Sound text has one reading
// and no fault. A fault is ambiguous when readers disagree about more than the
// last octets or the white space at the ends of lines.
//
// # Limits
//
// All readings of one call are bounded by max; what is over it is the fault
// TooLarge. Readings may point into the text or share octets: do not write to
// them. One text has at most 500 files, messages inside TNEF are 8 deep. Files
// that yEnc or uuencode cut into parts of several messages are not put together.
package transfer

// Reading is one way to decode.
type Reading struct {
	How  string // "base64", "base64, again after padding"
	Data []byte
}

// Fault is something wrong with the encoded text.
type Fault struct {
	ID string // "base64-junk"
	At int    // offset in the encoded text
	// Ambiguous: clients decode it to different octets.
	Ambiguous bool
}

// File is a file found inside text or another format.
type File struct {
	Kind       string // "uuencode", "yenc", "binhex"
	Names      []string
	Start, End int // where it stands in the text
	Readings   []Reading
	Faults     []Fault
}
