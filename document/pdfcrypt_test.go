package document

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPDFWithoutPassword: what a viewer shows without asking is inspected, in all
// ciphers of the standard; what asks for a password is Encrypted.
func TestPDFWithoutPassword(t *testing.T) {
	program, err := exec.LookPath("qpdf")
	if err != nil {
		t.Fatal("qpdf is missing: run test/install-deps.sh")
	}
	dir := t.TempDir()
	dirty, clean := filepath.Join(dir, "dirty.pdf"), filepath.Join(dir, "clean.pdf")
	pages := []string{"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"}
	files := map[string][]byte{
		dirty: makePDF("<< /Type /Catalog /Pages 2 0 R /OpenAction 4 0 R /Names << /EmbeddedFiles << /Names [(a) 5 0 R] >> >> >>", pages[0], pages[1],
			"<< /S /JavaScript /JS (app.alert) >>", "<< /Type /Filespec /F (a.exe) /EF << /F 6 0 R >> >>", pdfStream("/Type /EmbeddedFile", "MZ program")),
		clean: makePDF("<< /Type /Catalog /Pages 2 0 R >>", pages[0], pages[1]),
	}
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	encrypt := func(file, user string, args ...string) []byte {
		out := filepath.Join(dir, "out.pdf")
		all := append([]string{"--warning-exit-0", "--no-warn", "--allow-weak-crypto", "--object-streams=generate", "--encrypt", user, "owner"}, args...)
		if text, err := exec.Command(program, append(all, "--", file, out)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, text)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for i, args := range [][]string{
		{"40"}, {"128", "--use-aes=n"}, {"128", "--use-aes=y"}, {"128", "--use-aes=y", "--cleartext-metadata"},
		{"256"}, {"256", "--force-R5"}, {"256", "--cleartext-metadata"},
	} {
		t.Run(fmt.Sprint(i, " ", strings.Join(args, " ")), func(t *testing.T) {
			got := inspect(encrypt(dirty, "", args...))
			if list := strings.Join(ids(got), " "); list != "embedded pdf.action pdf.javascript" {
				t.Errorf("traits %q", list)
			} else if e := trait(t, got, EmbeddedFile); string(e.Data) != "MZ program" {
				t.Errorf("file %q", e.Data)
			}
			if got := inspect(encrypt(clean, "", args...)); len(got) != 0 {
				t.Errorf("clean: %+v", got)
			}
			if got := inspect(encrypt(clean, "secret", args...)); strings.Join(ids(got), " ") != Encrypted {
				t.Errorf("with a password: %+v", got)
			}
		})
	}
}
