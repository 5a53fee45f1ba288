package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// marker is the payload that must be seen somewhere, or the message flagged.
const marker = "GARITA-TEST-PAYLOAD-0123456789-abcdefghijklmnopqrstuvwxyz"

func marker64() string { return base64.StdEncoding.EncodeToString([]byte(marker)) }

// crlf makes a message out of lines written with LF.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func index(s string) *Index { return ReadIndex(crlf(s), DefaultIndexLimits()) }

// sees says that some body of some part holds the text.
func (x *Index) sees(text string) bool {
	for _, p := range x.Parts {
		for _, b := range p.Bodies() {
			if bytes.Contains(b.Data, []byte(text)) {
				return true
			}
		}
	}
	return false
}

// describe gives the tree in lines: number, origin, types, names.
func (x *Index) describe() string {
	var b strings.Builder
	for _, p := range x.Parts {
		fmt.Fprintf(&b, "%s|%s|%s|", p.Number, p.Origin, strings.Join(p.Types, ","))
		for i, n := range p.Names {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(n.Text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (x *Index) defects() string {
	var s []string
	for _, d := range x.Defects {
		s = append(s, fmt.Sprintf("%s:%s@%s", d.ID, d.Grade, d.Part.Number))
	}
	return strings.Join(s, " ")
}

// checkIndex is what holds for every index.
func checkIndex(t testing.TB, raw []byte, l IndexLimits, x *Index) {
	t.Helper()
	if len(x.Parts) == 0 || x.Parts[0].Number != "" || x.Parts[0].Origin != Whole || x.Parts[0].End != len(raw) {
		t.Fatalf("the first part is not the message")
	}
	if most := l.Parts + 2*l.Depth + 2; len(x.Parts) > most {
		t.Fatalf("%d parts, at most %d", len(x.Parts), most)
	}
	at := map[*Part]int{}
	for i, p := range x.Parts {
		at[p] = i
		if p.Start < 0 || p.Start > p.Body || p.Body > p.End || p.End > len(p.Source.Data) {
			t.Fatalf("part %q: %d, %d, %d in %d", p.Number, p.Start, p.Body, p.End, len(p.Source.Data))
		}
		if i > 0 {
			j, ok := at[p.Parent]
			if !ok || j >= i || p.Depth != p.Parent.Depth+1 || !p.Parent.Children {
				t.Fatalf("part %q has no parent before it", p.Number)
			}
		}
		if p.Depth > l.Depth+1 {
			t.Fatalf("part %q is %d deep", p.Number, p.Depth)
		}
		if len(p.Bodies()) == 0 {
			t.Fatalf("part %q has no reading", p.Number)
		}
		last := -1
		for _, f := range p.Fields {
			if f.At <= last || f.At < p.Start || f.At >= p.End {
				t.Fatalf("part %q: field %q at %d after %d", p.Number, f.Name, f.At, last)
			}
			last = f.At
		}
		if len(p.Fields) > l.Fields || len(p.Names) > l.Names {
			t.Fatalf("part %q: %d fields, %d names", p.Number, len(p.Fields), len(p.Names))
		}
	}
	for _, d := range x.Defects {
		if _, ok := at[d.Part]; !ok || d.Grade < Odd || d.Grade > Unfinished || d.At < 0 || d.At > len(d.Part.Source.Data) {
			t.Fatalf("defect %+v", d)
		}
	}
}

// valid is mail as the standards want it, and mail of real writers: its tree,
// and the defects that are allowed (none unless named).
func TestIndexValid(t *testing.T) {
	top := "From: a@example.com\nTo: b@example.com\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMIME-Version: 1.0\n"
	for _, c := range []struct{ name, mail, tree, defects string }{
		{"plain, no MIME", "From: a@example.com\nSubject: x\n\nHello\n", "|whole||\n", ""},
		{"header only", "From: a@example.com\nSubject: x\n", "|whole||\n", ""},
		{"empty", "", "|whole||\n", ""},
		{"plain with type", top + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nHello ü\n-- \nMe\n--x\n", "|whole|text/plain|\n", ""},
		{"quoted message in text", top + "Content-Type: text/plain\n\nHe wrote:\n\n--b\nContent-Type: text/html\n\n<b>\n--b--\n\nbegin 644 is a command of old\n", "|whole|text/plain|\n", ""},
		{"mixed", top + "Content-Type: multipart/mixed; boundary=\"=_b:1\"\n\nThis is a multi-part message.\n--=_b:1\nContent-Type: text/plain\n\nhi\n--=_b:1\nContent-Type: application/pdf; name=\"a b.pdf\"\nContent-Disposition: attachment;\n filename=\"a b.pdf\"\nContent-Transfer-Encoding: base64\n\nJVBERi0x\n--=_b:1--\n",
			"|whole|multipart/mixed|\n1|preamble||\n2|child|text/plain|\n3|child|application/pdf|a b.pdf\n", ""},
		{"alternative in mixed", top + "Content-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: multipart/alternative; boundary=inner\n\n--inner\nContent-Type: text/plain\n\na\n--inner\nContent-Type: text/html\n\nb\n--inner--\n\n--outer\nContent-Type: image/png\nContent-ID: <i@x>\nContent-Transfer-Encoding: base64\n\nAAAA\n--outer--\n",
			"|whole|multipart/mixed|\n1|child|multipart/alternative|\n1.1|child|text/plain|\n1.2|child|text/html|\n2|child|image/png|i@x\n", ""},
		{"forwarded", top + "Content-Type: message/rfc822\n\nFrom: c@example.com\nSubject: inner\n\nbody\n", "|whole|message/rfc822|inner.eml\n1|enclosed||\n", ""},
		{"digest", top + "Content-Type: multipart/digest; boundary=b\n\n--b\n\nFrom: a@b\nSubject: one\n\nx\n--b\n\nFrom: a@b\nSubject: two\n\ny\n--b--\n",
			"|whole|multipart/digest|\n1|child||one.eml\n1.1|enclosed||\n2|child||two.eml\n2.1|enclosed||\n", ""},
		{"digest of MIME", top + "Content-Type: multipart/digest; boundary=b\n\n--b\n\nMIME-Version: 1.0\nContent-Type: text/plain\nSubject: one\n\nx\n--b--\n", "|whole|multipart/digest|\n1|child||one.eml\n1.1|enclosed|text/plain|\n", ""},
		{"DSN", top + "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nfailed\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b\nAction: failed\n--b\nContent-Type: message/rfc822\n\nFrom: a@b\nContent-Type: multipart/mixed; boundary=z\nMIME-Version: 1.0\nSubject: orig\n\n--b--\n",
			"|whole|multipart/report|\n1|child||\n2|child|message/delivery-status|\n3|child|message/rfc822|orig.eml\n3.1|enclosed|multipart/mixed|\n", "empty-multipart:odd@3.1"},
		{"DKIM names fields", "DKIM-Signature: v=1; h=From:To:\n Content-Type:MIME-Version; b=x\nDKIM-Signature:\n Content-Type:Date\nFrom: a@b\n\nx\n", "|whole||\n", ""},
		{"zip alone", top + "Content-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: base64\n\nUEsDBA==\n", "|whole|application/zip|a.zip\n", ""},
		{"no version", "Content-Type: text/plain\n\nx\n", "|whole|text/plain|\n", "no-mime-version:odd@"},
		{"no end", top + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n", "|whole|multipart/mixed|\n1|child|text/plain|\n", "no-closing-boundary:odd@"},
		{"empty parts", top + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\nContent-Type: text/plain\n\n--b\nContent-Type: text/plain\n\n\n--b--\n", "|whole|multipart/mixed|\n1|child||\n2|child|text/plain|\n3|child|text/plain|\n", ""},
		{"epilogue of a list", top + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n\n____\nlist footer\n", "|whole|multipart/mixed|\n1|child||\n2|epilogue||\n", ""},
		{"base64 on message", top + "Content-Type: message/rfc822; name=m.eml\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("From: a@b\r\nSubject: in\r\n\r\nhi\r\n")) + "\n",
			"|whole|message/rfc822|m.eml,in.eml\n1|enclosed||\n", "encoded-message:odd@"},
		{"qp on multipart", top + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: quoted-printable\n\n--b\n\nx\n--b--\n", "|whole|multipart/mixed|\n1|child||\n", "encoding-on-composite:odd@"},
		{"mbox", "From a@b Mon Jan  1 00:00:00 2024\nFrom: a@b\n\nx\n", "|whole||\n", "mbox-line:odd@"},
		{"junk, text", "From: a@b\nSubject: x\nthis is no field\n\nHello\n", "|whole||\n", "junk-in-header:odd@"},
		{"signed", top + "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256;\n boundary=\"----ABC\"\n\nThis is an S/MIME signed message\n\n------ABC\nContent-Type: text/plain\n\nx\n------ABC\nContent-Type: application/x-pkcs7-signature; name=\"smime.p7s\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"smime.p7s\"\n\nAAAA\n\n------ABC--\n\n",
			"|whole|multipart/signed|\n1|preamble||\n2|child|text/plain|\n3|child|application/x-pkcs7-signature|smime.p7s\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, raw := range [][]byte{crlf(c.mail), []byte(c.mail)} {
				x := ReadIndex(raw, DefaultIndexLimits())
				checkIndex(t, raw, DefaultIndexLimits(), x)
				if got := x.describe(); got != c.tree {
					t.Errorf("tree:\n%swant:\n%s", got, c.tree)
				}
				if got := x.defects(); got != c.defects {
					t.Errorf("defects %q, want %q", got, c.defects)
				}
			}
		})
	}
}
