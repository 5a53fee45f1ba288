// Package transfer decodes the transfer encodings of mail in every way that
// mail clients do: base64 (RFC 2045 section 6.8), quoted-printable (6.7),
// uuencode, yEnc, BinHex 4.0. Where readers disagree about damaged input, each
// reading is given, and what was damaged is named.
//
// It knows nothing of messages and their structure. It never fails: what
// cannot be decoded gives what could be, and a fault.
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
