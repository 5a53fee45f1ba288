package message

import (
	"encoding/base64"
	"strings"
	"testing"
)

const mimeTop = "From: a@example.com\nMIME-Version: 1.0\n"

// part is a part with the payload in base64, between the lines of a boundary.
func payload(head string) string {
	return head + "Content-Transfer-Encoding: base64\n\n" + marker64() + "\n"
}

func zipPart() string {
	return payload("Content-Type: application/zip; name=x.zip\nContent-Disposition: attachment; filename=x.zip\n")
}

// multi is a message whose Content-Type fields are given and whose parts stand
// between lines of the boundary b.
func multi(types, b string) string {
	return mimeTop + types + "\n--" + b + "\nContent-Type: text/plain\n\nhello\n--" + b + "\n" + zipPart() + "--" + b + "--\n"
}

// attack is a message of one class, and what its index must say.
type attack struct{ id, name, mail, want string }

// attacks are the classes of catalogue 2.E.
func attacks() []attack {
	e64 := func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(s, "\n", "\r\n")))
	}
	q := "Content-Type: multipart/mixed; "
	inner := "Content-Type: multipart/mixed; boundary=in\n\n--in\n" + zipPart() + "--in--\n"
	return []attack{
		{"E-01", "first", multi(q+"boundary=A; boundary=B\n", "A"), "seen conflicting-boundary"},
		{"E-01", "last", multi(q+"boundary=A; boundary=B\n", "B"), "seen conflicting-boundary"},
		{"E-01", "both", mimeTop + q + "boundary=A; boundary=B\n\n--A\n\nhello\n--A--\n--B\n" + zipPart() + "--B--\n", "seen several-boundaries"},
		{"E-02", "multi, multi", multi(q+"boundary=A\n"+q+"boundary=B\n", "B"), "seen conflicting-content-type"},
		{"E-02", "text, multi", multi("Content-Type: text/plain\n"+q+"boundary=B\n", "B"), "seen conflicting-content-type"},
		{"E-02", "multi, text", multi(q+"boundary=B\nContent-Type: text/plain\n", "B"), "seen conflicting-content-type"},
		{"E-03", "qp, base64", mimeTop + "Content-Type: application/zip\nContent-Transfer-Encoding: quoted-printable\n" + payload(""), "seen conflicting-content-transfer-encoding"},
		{"E-03", "base64, qp", mimeTop + "Content-Type: application/zip\nContent-Transfer-Encoding: base64\nContent-Transfer-Encoding: quoted-printable\n\n" + marker64() + "\n", "seen conflicting-content-transfer-encoding"},
		{"E-03", "empty, base64", mimeTop + "Content-Transfer-Encoding:\n" + payload(""), "seen conflicting-content-transfer-encoding"},
		{"E-03", "junk, base64", mimeTop + "Content-Transfer-Encoding: foo\n" + payload(""), "seen conflicting-content-transfer-encoding"},
		{"E-03", "in one field", mimeTop + "Content-Transfer-Encoding: base64 7bit\n\n" + marker64() + "\n", ""},
		{"E-03", "second word", mimeTop + "Content-Type: application/zip\nContent-Transfer-Encoding: 7bit, base64\n\n" + marker64() + "\n", "seen conflicting-content-transfer-encoding"},
		{"E-03", "encoded word", mimeTop + "Content-Type: application/zip\nContent-Transfer-Encoding: =?us-ascii?q?base64?=\n\n" + marker64() + "\n", "seen conflicting-content-transfer-encoding"},
		{"E-09", "quotes", mimeTop + "Content-Type: application/zip\n\"Content-Transfer-Encoding\": base64\n\n" + marker64() + "\n", "seen damaged-field-name"},
		{"E-09", "no-break space", mimeTop + "Content-Type: application/zip\nContent-Transfer-Encoding\xc2\xa0: base64\n\n" + marker64() + "\n", "seen damaged-field-name"},
		{"E-20", "no parameter, empty lines", multi("Content-Type: multipart/mixed; x=y\n", ""), "seen boundary-guessed"},
		{"E-06", "comment in value", multi(q+"boundary((c))=\"A\"; boundary=\"B\"\n", "A"), "seen"},
		{"E-06", "comment in key", multi(q+"boun()dary=A\n", "A"), "seen"},
		{"E-07", "junk parameter", multi(q+"x:y=1; boundary=A\n", "A"), "seen"},
		{"E-07", "8-bit parameter", multi(q+"\xe9=1; boundary=A\n", "A"), "seen"},
		{"E-07", "no semicolon", multi("Content-Type: multipart/mixed boundary=A\n", "A"), "seen"},
		{"E-09", "space before colon", multi("Content-Type : multipart/mixed; boundary=A\n", "A"), "seen damaged-field-name"},
		{"E-09", "tab before colon", multi("Content-Type\t: multipart/mixed; boundary=A\n", "A"), "seen damaged-field-name"},
		{"E-09", "double colon", multi("Content-Type:: multipart/mixed; boundary=A\n", "A"), "seen damaged-field-name"},
		{"E-09", "NUL", multi("Content-Type\x00: multipart/mixed; boundary=A\n", "A"), "seen damaged-field-name"},
		{"E-09", "NUL before", multi("\x00Content-Type: multipart/mixed; boundary=A\n", "A"), "seen damaged-field-name"},
		{"E-09", "no colon", multi("Content-Type multipart/mixed; boundary=A\n", "A"), "seen field-without-colon"},
		{"E-09", "leading CR", mimeTop + "Content-Type: application/zip\n\rContent-Transfer-Encoding: base64\n\n" + marker64() + "\n", "seen damaged-field-name"},
		{"E-09", "CR alone", mimeTop + "Content-Type: application/zip\rContent-Transfer-Encoding: base64\n\n" + marker64() + "\n", "seen hidden-field"},
		{"E-09", "leading space", multiPartHead(" Content-Transfer-Encoding: base64\n"), "seen damaged-field-name"},
		{"E-09", "fold before colon", mimeTop + "Content-Type: application/zip\nContent-Transfer-Encoding\n : base64\n\n" + marker64() + "\n", ""},
		{"E-09", "case", multi("cOnTeNt-TyPe: MULTIPART/Mixed; BOUNDARY=A\n", "A"), "seen"},
		{"E-10", "fold of junk", mimeTop + "X-Foo :bar\n Content-Type: multipart/mixed; boundary=A\n\n--A\n" + zipPart() + "--A--\n", "seen hidden-field"},
		{"E-10", "fold of nothing", mimeTop + "X-Foo:\n Content-Transfer-Encoding: base64\n\n" + marker64() + "\n", "seen hidden-field"},
		{"E-10", "junk line", mimeTop + "Content-Type: application/zip\njunk\nContent-Transfer-Encoding: base64\n\n" + marker64() + "\n", "seen header-cut"},
		{"E-10", "junk line behind", mimeTop + "Content-Transfer-Encoding: base64\njunk\n\n" + marker64() + "\n", "seen header-cut"},
		{"E-10", "junk line before a message", mimeTop + "Content-Type: message/rfc822\n--a\n\n--a\nContent-Transfer-Encoding: base64\n\n" + marker64() + "\n", "seen header-cut"},
		{"E-10", "white line", mimeTop + " \nContent-Transfer-Encoding: base64\n\n" + marker64() + "\n", "seen header-end-unclear"},
		{"E-10", "empty line before", "\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n" + marker64() + "\n", "seen header-end-unclear"},
		{"E-12", "multiparts", multi("Content-Type: multiparts/mixed; boundary=A\n", "A"), "seen misspelt-multipart"},
		{"E-12", "ultipart", multi("Content-Type: ultipart/mixed; boundary=A\n", "A"), "seen misspelt-multipart"},
		{"E-12", "x-multipart", multi("Content-Type: x-multipart/mixed; boundary=A\n", "A"), "seen misspelt-multipart"},
		{"E-12", "quoted", multi("Content-Type: \"multipart/mixed\"; boundary=A\n", "A"), "seen"},
		{"E-12", "comment", multi("Content-Type: (x)multipart(y)/mixed; boundary=A\n", "A"), "seen"},
		{"E-12", "backslash", multi("Content-Type: multi\\part/mixed; boundary=A\n", "A"), "seen"},
		{"E-12", "no slash", multi("Content-Type: multipart; boundary=A\n", "A"), "seen"},
		{"E-12", "no subtype", multi("Content-Type: multipart/; boundary=A\n", "A"), "seen"},
		{"E-12", "space", multi("Content-Type: multipart / mixed; boundary=A\n", "A"), "seen"},
		{"E-12", "encoded", multi("Content-Type: =?us-ascii?q?multipart/mixed?=; boundary=A\n", "A"), "seen"},
		{"E-12", "no type", multi("Content-Type: ; boundary=A\n", "A"), "seen"},
		{"E-12", "boundary only", multi("Content-Type: boundary=A\n", "A"), "seen"},
		{"E-12", "leaf", multi("Content-Type: text/plain; boundary=A\n", "A"), "seen boundary-on-leaf"},
		{"E-14", "multipart", mimeTop + q + "boundary=A\nContent-Transfer-Encoding: base64\n\n" + e64("--A\n"+zipPart()+"--A--\n") + "\n", "seen encoded-multipart"},
		{"E-14", "part of it", mimeTop + q + "boundary=o\n\n--o\n" + q + "boundary=A\nContent-Transfer-Encoding: base64\n\n" + e64("--A\n"+zipPart()+"--A--\n") + "\n--o--\n", "seen encoded-multipart"},
		{"E-14", "message", mimeTop + "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + e64(zipPart()) + "\n", "seen"},
		{"E-15", "no version", strings.Replace(multi(q+"boundary=A\n", "A"), "MIME-Version: 1.0\n", "", 1), "seen no-mime-version"},
		{"E-16", "rfc2231", multi(q+"boundary*=''A%41\n", "AA"), "seen"},
		{"E-16", "literal", multi(q+"boundary*=''A%41\n", "A%41"), "seen"},
		{"E-16", "pieces", multi(q+"boundary*0=A;\n boundary*1=B\n", "AB"), "seen"},
		{"E-16", "order", multi(q+"boundary*1=B; boundary*0=A\n", "AB"), "seen"},
		{"E-16", "and plain", multi(q+"boundary=X; boundary*=''A\n", "X"), "seen"},
		{"E-16", "and plain, other", multi(q+"boundary=X; boundary*=''A\n", "A"), "seen"},
		{"E-17", "decoded", multi(q+"boundary=\"=?us-ascii?q?abc?=\"\n", "abc"), "seen"},
		{"E-17", "literal", multi(q+"boundary=\"=?us-ascii?q?abc?=\"\n", "=?us-ascii?q?abc?="), "seen"},
		{"E-20", "empty", multi(q+"boundary=\"\"\n", ""), "seen"},
		{"E-20", "none", multi("Content-Type: multipart/mixed\n", "foo"), "seen boundary-guessed"},
		{"E-20", "no value", multi(q+"boundary=;\n", "foo"), "seen boundary-guessed"},
		{"E-20", "wrong", multi(q+"boundary=bar\n", "foo"), "seen boundary-guessed"},
		{"E-20", "no type at all", multi("", "foo"), "seen boundary-guessed"},
		{"E-20", "no MIME at all", "From: a@b\n\n--foo\n" + zipPart() + "--foo--\n", "seen boundary-guessed"},
		{"E-14", "uuencoded multipart", mimeTop + q + "boundary=A\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n" + uu(strings.ReplaceAll("--A\n"+zipPart()+"--A--\n", "\n", "\r\n")) + "`\nend\n", "seen"},
		{"E-22", "CR at the end", multi(q+"boundary=\"A \r\"\n", "A"), "seen"},
		{"E-22", "CR at the beginning", multi(q+"boundary=\"\rA\"\n", "A"), "seen"},
		{"E-22", "space, bare CR", strings.ReplaceAll(multi(q+"boundary=A\n", "A"), "--A\n", "--A \r"), "seen"},
		{"E-24", "equal, with a dummy", mimeTop + q + "boundary=in\n\n--in\n\ndummy\n--in\n" + inner + "--in--\n", "seen nested-same-boundary"},
		{"E-10", "empty line before a part", mimeTop + q + "boundary=A\n\n--A\n\n" + zipPart() + "--A--\n", "seen"},
		{"E-21", "single quotes", multi(q+"boundary='A'\n", "A"), "seen"},
		{"E-21", "single quotes, literal", multi(q+"boundary='A'\n", "'A'"), "seen"},
		{"E-21", "unclosed", multi(q+"boundary=\"A\n", "A"), "seen"},
		{"E-21", "unclosed, literal", multi(q+"boundary=\"A\n", "\"A"), "seen"},
		{"E-21", "escape", multi(q+"boundary=\"A\\B\"\n", "AB"), "seen"},
		{"E-21", "escape, literal", multi(q+"boundary=\"A\\B\"\n", "A\\B"), "seen"},
		{"E-21", "quote inside", multi(q+"boundary=A\"B\n", "A"), "seen"},
		{"E-21", "quote inside, whole", multi(q+"boundary=A\"B\n", "A\"B"), "seen"},
		{"E-21", "semicolon", multi(q+"boundary=\"A;B\"\n", "A"), "seen"},
		{"E-21", "semicolon, whole", multi(q+"boundary=\"A;B\"\n", "A;B"), "seen"},
		{"E-22", "leading", multi(q+"boundary=\" A\"\n", "A"), "seen"},
		{"E-22", "leading, literal", multi(q+"boundary=\" A\"\n", " A"), "seen"},
		{"E-22", "trailing", multi(q+"boundary=\"A \"\n", "A"), "seen"},
		{"E-22", "inside", multi(q+"boundary=A B\n", "A"), "seen"},
		{"E-22", "inside, whole", multi(q+"boundary=A B\n", "A B"), "seen"},
		{"E-22", "fold", multi(q+"boundary=\"A\n B\"\n", "A B"), "seen"},
		{"E-22", "fold, joined", multi(q+"boundary=\"A\n B\"\n", "AB"), "seen"},
		{"E-22", "CR", multi(q+"boundary=A\rB\n", "A"), "seen"},
		{"E-22", "tab", multi(q+"boundary=\tA\n", "A"), "seen"},
		{"E-22", "line end behind equals", multi(q+"boundary=\n A\n", "A"), "seen"},
		{"E-22", "bare CR delimiters", strings.ReplaceAll(multi(q+"boundary=A\n", "A"), "--A\n", "--A\r"), "seen delimiter-junk"},
		{"E-22", "bare CR before", strings.ReplaceAll(multi(q+"boundary=A\n", "A"), "\n--A", "\r--A"), "seen delimiter-junk"},
		{"E-22", "LF CR", strings.ReplaceAll(multi(q+"boundary=A\n", "A"), "\n--A\n", "\n\r--A\n\r"), "seen"},
		{"E-22", "junk behind", strings.ReplaceAll(multi(q+"boundary=A\n", "A"), "--A\n", "--A x\n"), "seen delimiter-junk"},
		{"E-24", "equal", mimeTop + q + "boundary=in\n\n--in\n" + inner + "--in--\n", "seen nested-same-boundary"},
		{"E-24", "inner longer", mimeTop + q + "boundary=i\n\n--i\n" + inner + "--i--\n", "seen boundary-extends-another"},
		{"E-24", "outer longer", mimeTop + q + "boundary=inn\n\n--inn\n" + inner + "--inn--\n", "seen boundary-extends-another"},
		{"E-24", "outer in inner base64", mimeTop + q + "boundary=out\n\n--out\nContent-Type: multipart/mixed; boundary=in\n\n--in\nContent-Transfer-Encoding: base64\n\n" +
			marker64()[:12] + "\n--out\n" + marker64()[12:] + "\n--in--\n--out--\n", "inner-beyond-outer"},
		{"E-24", "in a header", mimeTop + q + "boundary=A\n\n--A\nContent-Type: application/zip\n--A\nContent-Transfer-Encoding: base64\n\n" + marker64() + "\n--A--\n", "seen delimiter-in-header"},
		{"E-24", "end in a header", mimeTop + q + "boundary=A\n\n--A\nContent-Type: application/zip\n--A--\nContent-Transfer-Encoding: base64\n\n" + marker64() + "\n--A--\n", "seen delimiter-in-header"},
		{"E-24", "no empty line", mimeTop + q + "boundary=A\n--A\n" + zipPart() + "--A--\n", "seen"},
		{"E-26", "inner", mimeTop + q + "boundary=o\n\n--o\n" + strings.Replace(inner, "--in--\n", "", 1) + "--o--\n", "seen no-closing-boundary"},
		{"E-26", "both", mimeTop + q + "boundary=o\n\n--o\n" + strings.Replace(inner, "--in--\n", "", 1), "seen no-closing-boundary"},
		{"E-26", "parts behind the end", mimeTop + q + "boundary=A\n\n--A\n\nx\n--A--\n--A\n" + zipPart() + "--A--\n", "seen parts-after-end"},
		{"E-26", "preamble", mimeTop + q + "boundary=A\n\n" + zipPart() + "--A\n\nx\n--A--\n", "seen part-outside-boundaries"},
		{"E-26", "epilogue", mimeTop + q + "boundary=A\n\n--A\n\nx\n--A--\n" + zipPart(), "seen part-outside-boundaries"},
		{"E-27", "partial", mimeTop + "Content-Type: message/partial; id=x; number=1; total=3\n\nx\n", "message-partial"},
		{"E-27", "external", mimeTop + "Content-Type: message/external-body; access-type=URL; URL=\"http://x.example/\"\n\nx\n", "external-body"},
		{"E-29", "rfc822", mimeTop + "Content-Type: message/rfc822\n\n" + zipPart(), "seen"},
		{"E-29", "global", mimeTop + "Content-Type: message/global\n\n" + zipPart(), "seen"},
		{"E-29", "global, encoded", mimeTop + "Content-Type: message/global\nContent-Transfer-Encoding: base64\n\n" + e64(zipPart()) + "\n", "seen"},
		{"E-29", "news", mimeTop + "Content-Type: message/news\n\n" + zipPart(), "seen"},
		{"E-29", "delivery-status", mimeTop + "Content-Type: message/delivery-status\n\n" + zipPart(), "seen"},
		{"E-29", "digest", mimeTop + "Content-Type: multipart/digest; boundary=A\n\n--A\n\n" + zipPart() + "--A--\n", "seen"},
		{"E-29", "eml file", mimeTop + "Content-Type: application/octet-stream; name=x.eml\nContent-Transfer-Encoding: base64\n\n" + e64("From: a@b\n"+zipPart()) + "\n", "seen"},
		{"E-31", "alone", mimeTop + zipPart(), "seen"},
		{"E-64", "inline", mimeTop + "Content-Type: text/plain\n\nsee\n\nbegin 644 evil.exe\n" + uu(marker) + "`\nend\n", "seen"},
		{"E-64", "encoding", mimeTop + "Content-Type: application/octet-stream\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 evil.exe\n" + uu(marker) + "`\nend\n", "seen"},
		{"E-65", "inline", mimeTop + "Content-Type: text/plain\n\n=ybegin line=128 size=58 name=evil.exe\n" + yenc(marker) + "\n=yend size=58\n", "seen"},
		{"E-66", "unknown", mimeTop + "Content-Type: application/zip\nContent-Transfer-Encoding: x-nobody-knows\n\n" + marker64() + "\n", "unknown-encoding"},
	}
}

// TestIndexAttacks: for each class of 2.E the payload is seen, decoded, or the
// message is ambiguous at least: nothing is silent. Where want is given that
// defect is among those found; "seen" demands that the payload is seen too.
func TestIndexAttacks(t *testing.T) {
	for _, c := range attacks() {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			x := checkAttack(t, c.mail)
			for _, w := range strings.Fields(c.want) {
				if w == "seen" && !x.sees(marker) || w != "seen" && !strings.Contains(x.defects(), w+":") {
					t.Errorf("want %s\n%s%s", w, x.describe(), x.defects())
				}
			}
			// The same as a part of a multipart, and as an enclosed message.
			bare := strings.TrimPrefix(c.mail, mimeTop)
			checkAttack(t, mimeTop+"Content-Type: multipart/mixed; boundary=wrapper\n\n--wrapper\nContent-Type: text/plain\n\nx\n--wrapper\n"+bare+"\n--wrapper--\n")
			checkAttack(t, mimeTop+"Content-Type: multipart/mixed; boundary=wrapper\n\n--wrapper\nContent-Type: message/rfc822\n\n"+c.mail+"\n--wrapper\n\nx\n--wrapper--\n")
		})
	}
}

// checkAttack: the payload is seen, or the message is ambiguous at least.
func checkAttack(t *testing.T, mail string) *Index {
	t.Helper()
	raw := crlf(mail)
	x := ReadIndex(raw, DefaultIndexLimits())
	checkIndex(t, raw, DefaultIndexLimits(), x)
	checkWrapped(t, raw, DefaultIndexLimits(), x)
	if !x.sees(marker) && !x.Has(Ambiguous) {
		t.Errorf("SILENT\n%s\n%s\n%s", mail, x.describe(), x.defects())
	}
	return x
}

// multiPartHead is a multipart whose second part begins with the given line.
func multiPartHead(first string) string {
	return mimeTop + "Content-Type: multipart/mixed; boundary=A\n\n--A\n\nhello\n--A\n" + first + "Content-Type: application/zip\n\n" + marker64() + "\n--A--\n"
}

// uu encodes as uuencode does, without the first and last lines.
func uu(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(45, len(s))
		b.WriteByte(byte(' ' + n))
		line := s[:n]
		s = s[n:]
		for len(line) > 0 {
			var q [3]byte
			copy(q[:], line)
			line = line[min(3, len(line)):]
			for _, c := range []byte{q[0] >> 2, q[0]<<4&0x30 | q[1]>>4, q[1]<<2&0x3c | q[2]>>6, q[2] & 0x3f} {
				if c == 0 {
					c = '`' - ' '
				}
				b.WriteByte(' ' + c)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func yenc(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] += 42
	}
	return string(b)
}
