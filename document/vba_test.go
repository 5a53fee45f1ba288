package document

import (
	"strings"
	"testing"
)

// The examples of [MS-OVBA] 3.2: no compression, normal, and the longest copies.
func TestDecompressVBA(t *testing.T) {
	for _, e := range []struct{ packed, want string }{
		{"\x01\x19\xb0\x00abcdefgh\x00ijklmnop\x00qrstuv.", "abcdefghijklmnopqrstuv."},
		{"\x01\x2f\xb0\x00#aaabcde\x82f\x00\x70aghij\x01\x38\x08akl\x00\x30mnop\x06q\x02\x70\x04\x10rstuv\x10wxyz\x00\x3c", "#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa"},
		{"\x01\x03\xb0\x02a\x45\x00", strings.Repeat("a", 73)},
	} {
		got, err := decompressVBA([]byte(e.packed), 1<<20)
		if err != nil || string(got) != e.want {
			t.Errorf("%q: %v, want %q", got, err, e.want)
		}
	}
	for _, bad := range []string{"", "\x01", "\x02\x19\xb0", "\x01\x03\x80\x02a\x45\x00", "\x01\x03\xb0\x01\x45\x00\x00"} {
		if got, err := decompressVBA([]byte(bad), 1<<20); err == nil {
			t.Errorf("%q gave %q", bad, got)
		}
	}
	raw := "\x01\xff\x3f" + strings.Repeat("x", 4096)
	if got, err := decompressVBA([]byte(raw), 1<<20); err != nil || len(got) != 4096 {
		t.Errorf("raw chunk: %d, %v", len(got), err)
	}
	if got, _ := decompressVBA([]byte(raw), 4095); len(got) != 0 {
		t.Errorf("limit: %d", len(got))
	}
}

// Names count as words, whatever stands around them.
func TestAutoNames(t *testing.T) {
	for source, want := range map[string]bool{
		"Sub AutoOpen()":                        true,
		"Private Sub workbook_OPEN()":           true,
		"Sub InkPicture1_Painted(x)":            true,
		"Sub MyAutoOpening()":                   false,
		"Sub Format_Table()":                    false,
		"Sub Document_Opened_Before()":          false,
		"Function Activate()":                   false,
		"Sub WebBrowser1_DocumentComplete(a,b)": true,
	} {
		in := &inspector{seen: map[string]bool{}}
		in.macroWords("", []byte(source), nil)
		if in.has(AutoMacro) != want {
			t.Errorf("%s: %v", source, !want)
		}
	}
}

func TestRemoteTarget(t *testing.T) {
	for target, want := range map[string]bool{
		"http://h.example/a": true, "HTTPS://h.example/": true, `\\h.example\a`: true, "//h.example/a": true,
		"file://h.example/a": true, `file:///\\h.example\a`: true, "file:////h.example/a": true, "ftp://h/a": true,
		"mhtml:http://h/a": true, "ms-msdt:/id": true,
		"file:///C:/a.dot": false, `C:\a\b.dot`: false, "../a.dot": false, "a.xml": false, "#anchor": false,
		"mailto:a@example.org": false, "": false, "file:///home/a.dot": false, "file://localhost/a": false, "xl/a.xml:b": false,
	} {
		if remoteTarget(target) != want {
			t.Errorf("%q: %v", target, !want)
		}
	}
}
