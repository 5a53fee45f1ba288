package message

import (
	"os"
	"regexp"
	"testing"
)

// TestDefectTable: docs/mime.md lists the defects of the code, and no others;
// an ID has one grade and a meaning.
func TestDefectTable(t *testing.T) {
	text, err := os.ReadFile("../docs/mime.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][2]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| (odd|ambiguous|opaque|unfinished) \\| (.+) \\|$").FindAllSubmatch(text, -1) {
		documented[string(m[1])] = [2]string{string(m[2]), string(m[3])}
	}
	seen := map[string]bool{}
	for _, d := range KnownDefects() {
		if seen[d.ID] || d.Meaning == "" || Meaning(d.ID) != d.Meaning || gradeOf(d.ID) != d.Grade {
			t.Errorf("%s: twice, or without meaning", d.ID)
		}
		seen[d.ID] = true
		if got := documented[d.ID]; got != [2]string{d.Grade.String(), d.Meaning} {
			t.Errorf("docs/mime.md: want\n| `%s` | %s | %s |", d.ID, d.Grade, d.Meaning)
		}
	}
	for id := range documented {
		if !seen[id] {
			t.Errorf("docs/mime.md: there is no defect %s", id)
		}
	}
	if Meaning("no-such-thing") != "" {
		t.Error("a meaning for what there is not")
	}
}

// TestDefectsReached: every defect of the table is given by some message of the
// tables of tests; one that nothing gives is a word without a meaning.
func TestDefectsReached(t *testing.T) {
	reached := map[string]bool{}
	take := func(x *Index) {
		for _, d := range x.Defects {
			reached[d.ID] = true
		}
	}
	for _, m := range attacks() {
		take(index(m.mail))
	}
	for _, m := range oddMail() {
		take(index(m))
	}
	for _, c := range bombs() {
		take(ReadIndex(c.make(), DefaultIndexLimits()))
	}
	small := DefaultIndexLimits()
	small.Decoded, small.Names = 10, 1
	take(ReadIndex(crlf(mimeTop+"Content-Location: a\n"+zipPart()), small))
	for _, d := range KnownDefects() {
		if !reached[d.ID] {
			t.Errorf("%s is never given", d.ID)
		}
	}
}

// oddMail is what the other tables do not have.
func oddMail() []string {
	q := mimeTop + "Content-Type: multipart/mixed; "
	return []string{
		"From a@b\nFrom: a\nSubject: \xe9\nContent-Type: text/plain; boundary=x\nContent-Type: text/plain; boundary=x\njunk\n\nx\n",
		mimeTop + "Content-Disposition: inline\nContent-Disposition: attachment\n\nx\n",
		"From: a\nSubject: x\njunk\n\nx\n",
		q + "boundary=" + longString(80) + "\n\n--" + longString(80) + "\n\nx\n",
		q + "boundary=b\n\n--b\n\nx\n--b--\n--b--\n",
		q + "boundary=b\n\n",
		q + "boundary=b\n\nnothing here\n",
		q + "boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\nx\n--b--\n",
		mimeTop + "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQp4DQo=\n",
		mimeTop + "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\nSubject: =41\n\nx\n",
		mimeTop + "Content-Type: application/pkcs7-mime; name=smime.p7m\n\nno such thing at all\n",
	}
}

func longString(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return string(b)
}
