package message

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// checkWrapped: the index of a message inside message/rfc822 contains the index
// of the message.
func checkWrapped(t testing.TB, raw []byte, l IndexLimits, x *Index) {
	t.Helper()
	const wrap = "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n"
	if len(raw) == 0 || x.Has(Unfinished) {
		return
	}
	l.Depth++
	l.Parts++
	l.Fields += 2
	y := ReadIndex(append([]byte(wrap), raw...), l)
	if y.Has(Unfinished) {
		return
	}
	if len(y.Parts) != len(x.Parts)+1 {
		t.Fatalf("%d parts wrapped, %d bare:\n%s\n%s\n%s\n%s", len(y.Parts), len(x.Parts), x.describe(), y.describe(), x.defects(), y.defects())
	}
	for i, p := range x.Parts {
		w := y.Parts[i+1]
		shift := 0
		if p.Source == x.Parts[0].Source {
			shift = len(wrap)
		}
		number := strings.TrimSuffix("1."+p.Number, ".")
		if w.Number != number || w.Start != p.Start+shift || w.Body != p.Body+shift || w.End != p.End+shift || w.Depth != p.Depth+1 ||
			i > 0 && w.Origin != p.Origin || !slices.Equal(w.Types, p.Types) || !slices.Equal(w.Encodings, p.Encodings) ||
			!slices.Equal(w.Names, p.Names) || len(w.Bodies()) != len(p.Bodies()) || len(w.Defects) != len(p.Defects) && len(x.Defects) < maxDefects-1 {
			t.Fatalf("part %q differs wrapped: %q\n%s\n%s\n%s\n%s", p.Number, w.Number, x.describe(), y.describe(), x.defects(), y.defects())
		}
		for k, b := range p.Bodies() {
			if !bytes.Equal(b.Data, w.Bodies()[k].Data) {
				t.Fatalf("part %q, reading %q differs wrapped", p.Number, b.How)
			}
		}
	}
}

// checkUntouched: the index of a spooled message leaves its octets alone, and
// Render without edits gives them.
func checkUntouched(t testing.TB, raw []byte) {
	t.Helper()
	m, err := Spool(context.Background(), bytes.NewReader(raw), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	x, err := m.Index(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	checkIndex(t, raw, DefaultIndexLimits(), x)
	r, err := m.Render(nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(out, raw) {
		t.Fatalf("rendered %d octets of %d: %v", len(out), len(raw), err)
	}
}

// seeds are beginnings for the fuzzers: one message of each kind.
func seeds() []string {
	q := mimeTop + "Content-Type: multipart/mixed; "
	return []string{
		multi("Content-Type: multipart/mixed; boundary=A; boundary=B\n", "B"),
		q + "boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=in\n\n--in\n" + zipPart() + "--o\nx\n--in--\n--o--\n--o\n" + zipPart(),
		q + "boundary=o\n\n--o x\nContent-Type : message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\nSubject: =3D\n\nx\n--ox\n--o--\nContent-Type: x\n\n",
		mimeTop + "Content-Type: text/plain\n\nbegin 644 a.eml\n" + uu("Subject: x\r\n\r\nbegin 644 b\r\n") + "`\nend\n",
		"\n\nContent-Type: multipart/digest; boundary=\"\"\njunk\nX :\n Content-Transfer-Encoding: base64\n \n\n--\n\nFrom: x\n----\n",
		"00\n :\n",
		"From x\nA: b\rContent-Type: multipart/mixed\n\n--x\n\n--x\rContent-Type: message/rfc822\n\n--x--\n--x--\n",
		mimeTop + "Content-Type: application/pkcs7-mime; name=smime.p7m\n\n\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02",
	}
}

// FuzzIndex: whatever comes, the index is sound, bounded, the same again, and
// the same when wrapped; the octets stay as they were.
func FuzzIndex(f *testing.F) {
	for i, s := range seeds() {
		f.Add(crlf(s), uint8(i), uint8(40))
		f.Add([]byte(s), uint8(9), uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, depth, parts uint8) {
		l := DefaultIndexLimits()
		l.Depth, l.Parts = int(depth)%40+1, int(parts)+1
		l.Fields, l.Names, l.Views, l.Decoded = 50, 8, 16, 1<<20
		sum := sha256.Sum256(raw)
		x := ReadIndex(raw, l)
		checkIndex(t, raw, l, x)
		if sha256.Sum256(raw) != sum {
			t.Fatal("the octets were changed")
		}
		if len(x.Defects) > 4*maxDefects {
			t.Fatalf("%d defects", len(x.Defects))
		}
		checkWrapped(t, raw, l, x)
		checkUntouched(t, raw)
	})
}

// pieces are what assemble makes messages of.
func pieces() []string {
	return []string{
		"\r\n", "Content-Type: multipart/mixed; boundary=a\r\n", "Content-Type: multipart/mixed; boundary=ab\r\n", "--a\r\n", "--ab\r\n", "--a--\r\n", "--ab--\r\n",
		"Content-Type: message/rfc822\r\n", "Content-Transfer-Encoding: base64\r\n", "Content-Transfer-Encoding: quoted-printable\r\n", marker64() + "\r\n",
		"junk\r\n", "Subject: x\r\n", " fold\r\n", "--a x\r\n", "--a\r", "Content-Type: text/plain\r\n", " Content-Type: multipart/digest; boundary=b\r\n", "--b\r\n", " \r\n", "\n", "X :\r\n",
		"Content-Type: application/octet-stream; name=x.eml\r\n", "LS1hDQoNCng=\r\n", " \r", "MIME-Version: 1.0\r\n",
		"Content-Transfer-Encoding : base64\r\n", "Content-Type: multipart/mixed; boundary=a; boundary=b\r\n", "\r\n--a\r\nContent-Transfer-Encoding: base64\r\n\r\n" + marker64() + "\r\n--a--\r\n",
	}
}

// assemble makes a message out of pieces.
func assemble(plan []byte) string {
	var b strings.Builder
	all := pieces()
	for _, c := range plan[:min(len(plan), 400)] {
		b.WriteString(all[int(c)%len(all)])
	}
	return b.String()
}

// FuzzIndexWraps builds a message around random lines with random types and
// boundaries, so that the fuzzer need not find the structure.
func FuzzIndexWraps(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add([]byte{0, 10, 0, 3, 4, 0, 3, 4, 0, 1, 13})
	f.Fuzz(func(t *testing.T, plan []byte) {
		raw := []byte(assemble(plan))
		l := DefaultIndexLimits()
		l.Parts = 200
		x := ReadIndex(raw, l)
		checkIndex(t, raw, l, x)
		checkWrapped(t, raw, l, x)
	})
}

// TestIndexProperties: the same for the messages of the tables.
func TestIndexProperties(t *testing.T) {
	for i, s := range seeds() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			raw := crlf(s)
			l := DefaultIndexLimits()
			x := ReadIndex(raw, l)
			checkIndex(t, raw, l, x)
			checkWrapped(t, raw, l, x)
			checkUntouched(t, raw)
		})
	}
}
