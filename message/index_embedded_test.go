package message

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
)

// der makes a value of the definite form.
func der(tag byte, content ...string) string {
	c := strings.Join(content, "")
	switch {
	case len(c) < 0x80:
		return string([]byte{tag, byte(len(c))}) + c
	case len(c) < 1<<16:
		return string([]byte{tag, 0x82, byte(len(c) >> 8), byte(len(c))}) + c
	}
	return string([]byte{tag, 0x83, byte(len(c) >> 16), byte(len(c) >> 8), byte(len(c))}) + c
}

// ber0 makes a value of the indefinite form.
func ber0(tag byte, content ...string) string {
	return string([]byte{tag, 0x80}) + strings.Join(content, "") + "\x00\x00"
}

func signedCMS(octets string, wrap func(byte, ...string) string) string {
	data := der(6, "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")
	content := ""
	if octets != "" {
		content = wrap(0xa0, octets)
	}
	return wrap(0x30, der(6, oidSigned), wrap(0xa0, wrap(0x30, der(2, "\x01"), der(0x31), wrap(0x30, data, content), der(0x31))))
}

// TestIndexCMS: opaque signed mail is unwrapped in each form of BER (E-69);
// encrypted mail stays; what cannot be read is told.
func TestIndexCMS(t *testing.T) {
	inner := string(crlf(zipPart()))
	half := len(inner) / 2
	for _, c := range []struct {
		name, cms, defect string
		seen              bool
	}{
		{"definite", signedCMS(der(4, inner), der), "", true},
		{"indefinite", signedCMS(der(4, inner), ber0), "", true},
		{"pieces", signedCMS(ber0(0x24, der(4, inner[:half]), der(4, inner[half:])), ber0), "", true},
		{"pieces in pieces", signedCMS(der(0x24, ber0(0x24, der(4, inner[:half])), der(4, inner[half:])), der), "", true},
		{"detached", signedCMS("", der), "", false},
		{"enveloped", der(0x30, der(6, oidEnveloped), der(0xa0, der(0x30))), "", false},
		{"compressed", der(0x30, der(6, oidCompressed), der(0xa0, der(0x30))), "cms-unreadable", false},
		{"junk", "this is no CMS at all", "cms-unreadable", false},
		{"cut", signedCMS(der(4, inner), der)[:40], "cms-unreadable", false},
		{"never ending", strings.Repeat("\x30\x80", 5000), "cms-unreadable", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := crlf(mimeTop + "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(c.cms)) + "\n")
			x := ReadIndex(raw, DefaultIndexLimits())
			checkIndex(t, raw, DefaultIndexLimits(), x)
			if x.sees(marker) != c.seen {
				t.Errorf("seen: %v\n%s%s", !c.seen, x.describe(), x.defects())
			}
			if c.defect == "" && len(x.Defects) > 0 || !strings.Contains(x.defects(), c.defect) {
				t.Errorf("defects %s, want %q", x.defects(), c.defect)
			}
		})
	}
}

// tnefOf makes a winmail.dat with one attached file.
func tnefOf(name, data string) string {
	attr := func(level byte, id uint32, data string) string {
		b := []byte{level}
		b = binary.LittleEndian.AppendUint32(b, id)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
		sum := uint16(0)
		for i := range len(data) {
			sum += uint16(data[i])
		}
		return string(b) + data + string(binary.LittleEndian.AppendUint16(nil, sum))
	}
	return "\x78\x9f\x3e\x22\x01\x00" + attr(1, 0x00089006, "\x00\x00\x01\x00") +
		attr(2, 0x00069002, "\x01\x00\xff\xff\xff\xff\x20\x00\x20\x00\x00\x00\x00\x00") +
		attr(2, 0x00018010, name+"\x00") + attr(2, 0x0006800f, data)
}

// TestIndexEmbedded: files inside text and TNEF are parts with their names, and
// a message in such a file is looked into (E-52, E-64, E-65).
func TestIndexEmbedded(t *testing.T) {
	message := string(crlf("Subject: x\n" + zipPart()))
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct{ name, mail, file string }{
		{"uuencode", mimeTop + "Content-Type: text/plain\n\nhello\n\nbegin 644 evil.exe\n" + uu(marker) + "`\nend\n\nbye\n", "evil.exe"},
		{"uuencode, encoded text", mimeTop + "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + b64("begin 644 evil.exe\r\n"+uu(marker)+"`\r\nend\r\n") + "\n", "evil.exe"},
		{"uuencode, no MIME", "From: a@b\n\nbegin 644 evil.exe\n" + uu(marker) + "`\nend\n", "evil.exe"},
		{"uuencode, as encoding", mimeTop + "Content-Type: application/x\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 evil.exe\n" + uu(marker) + "`\nend\n", "evil.exe"},
		{"message in uuencode", mimeTop + "Content-Type: text/plain\n\nbegin 644 m.eml\n" + uu(message) + "`\nend\n", "m.eml"},
		{"yEnc", mimeTop + "Content-Type: text/plain\n\n=ybegin line=128 size=58 name=evil.exe\n" + yenc(marker) + "\n=yend size=58\n", "evil.exe"},
		{"TNEF", mimeTop + "Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n" + b64(tnefOf("evil.exe", marker)) + "\n", "evil.exe"},
		{"TNEF, by signature", mimeTop + "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + b64(tnefOf("evil.exe", marker)) + "\n", "evil.exe"},
		{"message in TNEF", mimeTop + "Content-Type: application/ms-tnef\nContent-Transfer-Encoding: base64\n\n" + b64(tnefOf("m.eml", message)) + "\n", "m.eml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := crlf(c.mail)
			x := ReadIndex(raw, DefaultIndexLimits())
			checkIndex(t, raw, DefaultIndexLimits(), x)
			named := false
			for _, p := range x.Parts {
				for _, n := range p.Names {
					named = named || p.Origin == Embedded && n.Text == c.file
				}
			}
			if !named || !x.sees(marker) {
				t.Errorf("named %v\n%s%s", named, x.describe(), x.defects())
			}
		})
	}
}

// TestIndexNames: every place that may name a part (E-05, E-52), and which of
// them are weak.
func TestIndexNames(t *testing.T) {
	x := index(mimeTop + "Content-Type: application/zip; name=\"a.zip\"; file=\"b.zip\"\nContent-Disposition: attachment; filename*=''c%2ezip; filename=\"=?utf-8?q?d.zip?=\"\n" +
		"Content-Location: http://x.example/e.zip\nContent-ID: <f.zip@x>\nContent-Description: =?utf-8?q?g?=\n\nx\n")
	p := x.Parts[0]
	weak := map[string]bool{"http://x.example/e.zip": true, "f.zip@x": true, "g": true}
	for _, want := range []string{"a.zip", "b.zip", "c.zip", "d.zip", "http://x.example/e.zip", "f.zip@x", "g"} {
		found := false
		for _, n := range p.Names {
			if n.Text == want {
				found = true
				if n.Weak() != weak[want] {
					t.Errorf("%q from %q: weak %v", want, n.From, n.Weak())
				}
			}
		}
		if !found {
			t.Errorf("no %q in %+v", want, p.Names)
		}
	}
	if !p.Attachment {
		t.Error("not an attachment")
	}
}

// FuzzCMS: the walk ends, and what it gives is no longer than what there is.
func FuzzCMS(f *testing.F) {
	f.Add([]byte(signedCMS(der(4, "x"), der)))
	f.Add([]byte(signedCMS(ber0(0x24, der(4, "ab"), ber0(0x24, der(4, "c"))), ber0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := berWalk{left: maxCMSValues}
		if out, kind := w.signedContent(data, 1<<20); len(out) > len(data) || kind != cmsSigned && out != nil {
			t.Fatalf("%d octets of %d, kind %d", len(out), len(data), kind)
		}
	})
}
