package transfer

import (
	"bytes"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// within wants the readings to differ and to stay within max together.
func within(t *testing.T, r []Reading, max int) {
	t.Helper()
	total := 0
	for i := range r {
		total += len(r[i].Data)
		for k := range r[:i] {
			if bytes.Equal(r[i].Data, r[k].Data) {
				t.Errorf("%s and %s are the same", r[k].How, r[i].How)
			}
		}
	}
	if total > max {
		t.Errorf("%d octets, max %d", total, max)
	}
}

// FuzzBase64: no panic, bounded; sound text comes back alone in any width; text
// without a fault has one reading.
func FuzzBase64(f *testing.F) {
	for _, s := range []string{"aGVsbG8=", "aGVs=bG8", "YQ==Yg==", "a!G=V-s_\r\nbG8", "====", "aGVsbA!\r\nd29ybGQ=\r\nx"} {
		f.Add([]byte(s), uint16(100), uint8(76))
	}
	f.Fuzz(func(t *testing.T, text []byte, limit uint16, width uint8) {
		r, faults := Base64(text, int(limit))
		within(t, r, int(limit))
		if len(r) == 0 || faults == nil && len(r) != 1 {
			t.Errorf("%q: %s", text, readings(r, faults))
		}
		for _, f := range faults {
			if f.At < 0 || f.At > len(text) {
				t.Errorf("%q: %v", text, f)
			}
		}
		written := wrap(text, int(width)+1, "\r\n")
		if r, faults := Base64(written, len(text)); len(r) != 1 || faults != nil || !bytes.Equal(r[0].Data, text) {
			t.Errorf("%q: %s", written, readings(r, faults))
		}
	})
}

// FuzzQuotedPrintable: no panic, bounded; what the standard library writes
// comes back alone.
func FuzzQuotedPrintable(f *testing.F) {
	for _, s := range []string{"a=\r\nb=41", "a= \r\n==41 \t\r\n=e4=XX=4X=\rb=", "x\r\n\r\n=\r\n"} {
		f.Add([]byte(s), uint16(100))
	}
	f.Fuzz(func(t *testing.T, text []byte, limit uint16) {
		r, faults := QuotedPrintable(text, int(limit))
		within(t, r, int(limit))
		if len(r) == 0 || faults == nil && len(r) != 1 {
			t.Errorf("%q: %s", text, readings(r, faults))
		}
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		w.Binary = true
		if _, err := w.Write(text); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		if r, faults := QuotedPrintable(b.Bytes(), len(text)); len(r) != 1 || faults != nil || !bytes.Equal(r[0].Data, text) {
			t.Errorf("%q: %s", b.Bytes(), readings(r, faults))
		}
	})
}

// TestMeanings: each fault that the sources name is explained.
func TestMeanings(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`(?:ID: |fault\(|add\()"([a-z0-9]+(?:-[a-z0-9]+)+)"`)
	n := 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range id.FindAllStringSubmatch(string(src), -1) {
			if n++; Meaning(m[1]) == "" && !strings.Contains(m[1], "quoted-printable") {
				t.Errorf("%s: nothing explains %q", f, m[1])
			}
		}
	}
	if n < 20 || Meaning("no-such") != "" {
		t.Errorf("%d faults", n)
	}
}
