package message

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// TestIndexReaders: what real mail readers were seen to take out of messages
// like these, each the smallest of its class: libraries of Perl, PHP, Python,
// C and JavaScript. want is what the index must say: a name, "seen" for the
// payload, "start" for a body that begins with it, a defect.
func TestIndexReaders(t *testing.T) {
	q := mimeTop + "Content-Type: multipart/mixed; boundary=A\n"
	enc := "Content-Transfer-Encoding: base64\n\n" + marker64() + "\n"
	uuPayload := uu(marker)
	url := strings.Replace(base64.StdEncoding.EncodeToString([]byte("evil1.exe")), "Z", "Z-", 1)
	for _, c := range []struct{ title, mail, want string }{
		{"preamble with a header behind junk", q + "\nx\n" + enc + "\n--A\n\nhello\n--A--\n", "seen part-outside-boundaries"},
		{"preamble with bare CRs", q + "\nx\nContent-Transfer-Encoding: base64\r\r" + marker64() + "\n--A\n\nhello\n--A--\n", "part-outside-boundaries"},
		{"delimiter inside a line of the preamble", q + "\n*--AX: y\n" + enc + "\n--A\n\nhello\n--A--\n", "seen delimiter-junk"},
		{"encoding inherited from the multipart", mimeTop + "Content-Type: multipart/mixed; boundary=A\nContent-Transfer-Encoding: base64\n\n--A\nX: y\n\n" + marker64() + "\n--A--\n", "seen"},
		{"encoding inherited from further out", mimeTop + "Content-Type: multipart/mixed; boundary=A\nContent-Transfer-Encoding: base64\n\n--A\nContent-Type: multipart/mixed; boundary=B\n\n--B\nX: y\n\n" + marker64() + "\n--B--\n--A--\n", "seen"},
		{"parenthesis before a field's name", q + "\n--A\n)" + enc + "--A--\n", "seen damaged-field-name"},
		{"parenthesis behind a field's name", q + "\n--A\nContent-Transfer-Encoding): base64\n\n" + marker64() + "\n--A--\n", "seen damaged-field-name"},
		{"no-break space before a field's name", q + "\n--A\n\xa0" + enc + "--A--\n", "seen damaged-field-name"},
		{"junk at the end of a header of plain content", q + "\n--A\nX: y\njunk\n\n" + marker + "\n--A--\n", "start"},
		{"white space as the end of a header of plain content", q + "\n--A\nX: y\n \n" + marker + "\n--A--\n", "start"},
		{"header behind the empty line", mimeTop + "\n" + enc, "seen header-end-unclear"},
		{"name alone behind the empty line", mimeTop + "\nContent-Disposition: attachment; filename=evil1.exe\n\nx\n", "evil1.exe header-end-unclear"},
		{"characters that are not of base64 in a name", q + "\n--A\nContent-Disposition: attachment; filename=\"=?utf-8?B?" + url + "?=\"\n\nx\n--A--\n", "evil1.exe encoded-word-damaged"},
		{"name that ends at an equals sign", q + "\n--A\nContent-Disposition: attachment; filename=evil1.exe=\n\nx\n--A--\n", "evil1.exe unquoted-special"},
		{"name that ends at a parenthesis", q + "\n--A\nContent-Disposition: attachment; filename=evil1.exe)\n\nx\n--A--\n", "evil1.exe unquoted-special"},
		{"parameter on a line that is not folded", q + "\n--A\nContent-Type: application/octet-stream;\nname=evil1.exe\n\nx\n--A--\n", "evil1.exe hidden-field"},
		{"name on a line that is not folded", q + "\n--A\nContent-Disposition: attachment; filename=\nevil1.exe\n\nx\n--A--\n", "evil1.exe hidden-field"},
		{"name with spaces that are dropped", q + "\n--A\nContent-Disposition: attachment; filename=ev il1.exe\n\n" + marker + "\n--A--\n", "evil1.exe"},
		{"encoding on a line that is not folded", q + "\n--A\nContent-Transfer-Encoding:\nbase64\n\n" + marker64() + "\n--A--\n", "seen hidden-field"},
		{"name that ends at a star", q + "\n--A\nContent-Disposition: attachment; filename=evil1.exe*\n\n" + marker + "\n--A--\n", "evil1.exe"},
		{"name with octets that are dropped", q + "\n--A\nContent-Disposition: attachment; filename=evil1.exe\x88\n\n" + marker + "\n--A--\n", "evil1.exe"},
		{"header behind an empty line and junk", q + "\n--A\n\nx\n" + enc + "--A--\n", "seen header-end-unclear"},
		{"short line before uuencode", q + "\n--A\n\nbegin 644 evil1.exe\n-A\n" + uuPayload + "`\nend\n--A--\n", "uuencode-junk"},
		{"delimiter behind a CR and another octet", q + "\n--A\n\nx\n\rp--A\n" + enc + "--A--\n", "seen delimiter-junk"},
		{"delimiter behind a CR and a dash", q + "\n--A\n\nx\n\r---A\n" + enc + "--A--\n", "seen delimiter-junk"},
		{"header behind junk and the empty line", mimeTop + "junk\n\n" + enc, "seen header-end-unclear"},
		{"delimiter in other letters", q + "\n--A\n\nx\n--a\n" + enc + "--a--\n", "seen delimiter-junk"},
		{"delimiters in other letters alone", q + "\n--a\n\nx\n--a\n" + enc + "--a--\n", "seen delimiter-junk"},
		{"weak name with a control character", q + "\n--A\nContent-Location: evil1.exe\r/\n\n" + marker + "\n--A--\n", "evil1.exe"},
		{"name of uuencode with a control character", q + "\n--A\n\nbegin 644 evil1\r.exe\n" + uuPayload + "`\nend\n--A--\n", "evil1.exe seen"},
		{"junk behind the first line of uuencode", q + "\n--A\n\nbegin 644 evil1.exe\nx\n" + uuPayload + "`\nend\n--A--\n", "seen evil1.exe uuencode-junk"},
	} {
		t.Run(c.title, func(t *testing.T) {
			x := checkAttack(t, c.mail)
			for _, want := range strings.Fields(c.want) {
				ok := false
				switch want {
				case "seen":
					ok = x.sees(marker)
				case "start":
					for _, p := range x.Parts {
						for _, b := range p.Bodies() {
							ok = ok || strings.HasPrefix(string(b.Data), marker)
						}
					}
				default:
					for _, p := range x.Parts {
						ok = ok || slices.ContainsFunc(p.Names, func(n Name) bool { return n.Text == want })
					}
					ok = ok || slices.ContainsFunc(x.Defects, func(d Defect) bool { return d.ID == want })
				}
				if !ok {
					t.Errorf("no %s\n%s\n%s", want, x.describe(), x.defects())
				}
			}
		})
	}
}
