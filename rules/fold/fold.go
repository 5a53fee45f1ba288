// Package fold makes text comparable as people compare it: without case,
// accents and compatibility forms (Unicode NFKD, marks dropped, full case
// folding), without characters that are not seen (soft hyphen, zero-width, bidi
// controls), and with every run of white space as one blank.
//
// It is not for security decisions between scripts: look-alike letters of other
// alphabets stay what they are.
//
// # Limits
//
// Linear; ASCII text is folded without tables.
package fold

// Text appends the folded form of UTF-8 text to dst. White space at both ends
// becomes one blank each, so that pieces can be joined. What is not UTF-8 is
// U+FFFD.
func Text(dst, text []byte) []byte { panic("to be written") }

// Key is a phrase folded for a search in folded text, without blanks at its
// ends.
func Key(phrase string) string { panic("to be written") }
