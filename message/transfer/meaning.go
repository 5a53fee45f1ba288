package transfer

// Meaning explains a fault's ID in a sentence for the administrator; empty for
// an ID that there is not.
func Meaning(id string) string {
	switch id {
	case TooLarge:
		return "What is encoded is larger than what is looked at."
	case "base64-junk", "base64-url-safe":
		return "Base64 text has characters that do not belong there; mail clients skip them or stop."
	case "base64-padding":
		return "Base64 text has padding in the middle or too much of it; mail clients go on or stop."
	case "base64-short":
		return "Base64 text lacks its padding."
	case "qp-invalid", "qp-soft-break":
		return "Quoted-printable text has an equals sign that encodes nothing; mail clients read it differently."
	case "qp-lower-case", "qp-trailing-space":
		return "Quoted-printable text is written carelessly, with lower-case digits or spaces at line ends."
	case "encoding-name":
		return "The name of the transfer encoding is misspelt; some mail clients decode and others do not."
	case "frame-missing", "uuencode-missing", "yenc-missing", "binhex-missing":
		return "The declared transfer encoding is not what the text has."
	case "gzip-damaged":
		return "Compressed content is damaged."
	case "uuencode-end", "yenc-end", "binhex-end":
		return "An encoded file has no end."
	case "uuencode-junk", "uuencode-mode", "uuencode-zero-line":
		return "A uuencoded file is damaged or unusual."
	case "yenc-size", "yenc-checksum", "binhex-damaged":
		return "An encoded file is not what its size or check sum says."
	case "tnef-signature", "tnef-damaged", "tnef-truncated", "tnef-checksum", "tnef-rtf":
		return "A winmail.dat (TNEF) is damaged; what could be read was looked at."
	case "too-many-files":
		return "A text has more files inside than are looked at."
	case "too-many-levels":
		return "Messages stand inside each other deeper than is looked at."
	}
	return ""
}
