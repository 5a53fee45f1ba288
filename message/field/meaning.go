package field

// Meaning explains an oddity's ID in a sentence for the administrator; empty
// for an ID that there is not.
func Meaning(id string) string {
	switch id {
	case "backslash-in-type", "junk-in-type", "quoted-type", "encoded-type":
		return "The type in a header field is written in a way that only some mail clients understand."
	case "several-types":
		return "A header field names several types at once."
	case "missing-type":
		return "A header field has parameters and no type."
	case "comment-in-type", "comment-in-name", "comment-in-value", "unclosed-comment":
		return "A comment in parentheses stands where some mail clients take it for a part of the value."
	case "missing-semicolon", "junk-parameter":
		return "A parameter of a header field is malformed; some mail clients do not see those behind it."
	case "duplicate-parameter":
		return "A parameter stands twice; some mail clients take the first and some the last."
	case "empty-boundary", "space-in-boundary":
		return "The boundary between parts is empty or has white space at its ends."
	case "unclosed-quote", "junk-after-quote", "quote-inside", "single-quotes", "escaped-character":
		return "The quotes of a parameter are damaged or unusual, and mail clients read different values."
	case "unquoted-space", "unquoted-special":
		return "A value with spaces has no quotes; some mail clients take its first word alone."
	case "folded-value", "control-character":
		return "A value is broken by a line end or a control character, and mail clients read different values."
	case "encoded-word", "encoded-word-split", "encoded-word-damaged":
		return "A parameter has encoded words, which the standard does not allow there, or damaged ones."
	case "octets":
		return "A value has octets outside ASCII and does not say in which charset."
	case "unknown-charset", "charset-mismatch":
		return "A value declares a charset that does not exist or does not fit."
	case "fallback-differs":
		return "A parameter has one value for old mail clients and another one for new ones."
	case "rfc2231-charset", "rfc2231-percent", "rfc2231-section":
		return "An extended parameter (RFC 2231) is malformed."
	case "rfc2231-order", "rfc2231-sections":
		return "The sections of a continued parameter (RFC 2231) are out of order, double or missing."
	case "too-large-value":
		return "A value is larger than any name, and its end was not looked at."
	case "too-many-parameters":
		return "A header field has more parameters than are looked at."
	}
	return ""
}
