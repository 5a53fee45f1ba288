// Package field reads structured header fields of mail as every mail client
// might: Content-Type and Content-Disposition with their parameters (RFC 2045
// section 5.1, RFC 2183), continuations and charsets (RFC 2231), encoded words
// where they are allowed and where they are not (RFC 2047), comments, quoting
// and what is left of them in damaged fields. Every value that a reader might
// take is given, the most likely first. It also decodes charsets.
//
// It never fails: a field that no reader understands gives what can be found
// in it and says what is odd. It is linear in the length of the field. A valid
// field has one reading of each parameter and no oddity.
//
// It judges no names and knows no types: whether a reading matters is for its
// caller. An oddity is ambiguous when the readings make a difference: any of a
// boundary, another extension of a file's name.
//
// # Limits
//
// Of one field 2000 parameters, 500 sections of continuations and 4000 readings
// are kept; more is the oddity "too-many-parameters". Of one value 64 KiB are
// read; more is the oddity "too-large-value". The part of ISO-2022-CN
// that is CNS 11643 is not decoded. Octets outside ASCII without a charset are
// read as UTF-8, else as Windows-1252 and Shift-JIS; other charsets are not
// guessed.
package field

// Value is a structured field in all its readings.
type Value struct {
	// Tokens are the readings of the main value ("text/html", "attachment"),
	// lower-case, comments taken out, the most likely first.
	Tokens []string
	// Params in order; the same name may come several times.
	Params []Param
	// Oddities tell what is wrong with it.
	Oddities []Oddity
}

// Param is one reading of one parameter.
type Param struct {
	Name  string // lower-case, without * and section number
	Value string // UTF-8, decoded in this reading; a boundary: octets; hostile text
	How   string // "quoted", "token", "rfc2231", "rfc2231, unordered", "encoded-word", "literal"
}

// Oddity is one thing wrong with a field.
type Oddity struct {
	ID        string // "duplicate-parameter"
	Ambiguous bool   // readers take different values for it
}

// All gives the readings of one parameter, without duplicates.
func (v Value) All(name string) []Param {
	var out []Param
	seen := map[string]bool{}
	for _, p := range v.Params {
		if p.Name == name && !seen[p.Value] {
			seen[p.Value] = true
			out = append(out, p)
		}
	}
	return out
}
