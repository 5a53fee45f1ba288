package document

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLibreOffice inspects documents that a real program wrote: clean ones have
// no trait in any format, and those with a password have that one alone.
func TestLibreOffice(t *testing.T) {
	program, err := exec.LookPath("soffice")
	if err != nil {
		t.Fatal("soffice is missing: run test/install-deps.sh")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	letter := write("letter.html", `<html><body><h1>Carta</h1><p>Señor, <a href="https://example.org/">aquí</a> está todo.</p><table border=1><tr><td>1</td></tr></table></body></html>`)
	sheet := write("sheet.csv", "a,b\n1,=A1+1\n")
	convert := func(file, format string, more ...string) []byte {
		out := filepath.Join(dir, strings.Split(format, ":")[0]+strings.Repeat("x", len(more)+len(format)/40))
		args := append([]string{"--headless", "-env:UserInstallation=file://" + filepath.Join(dir, "profile"), "--convert-to", format, "--outdir", out}, more...)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, append(args, file)...)
		cmd.WaitDelay = time.Second // its children hold the pipe
		cmd.Env = append(os.Environ(), "HOME="+dir)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", format, err, text)
		}
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) + "." + strings.Split(format, ":")[0]
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, format := range []string{"doc", "docx", "odt", "pdf", "rtf"} {
		data := convert(letter, format, "--writer")
		if got := inspect(data); len(got) != 0 {
			t.Errorf("letter.%s: %+v", format, got)
		}
		if format == "doc" {
			// The same file with its directory read by another's writer.
			if c := openCompound(data); c.damaged != "" || len(c.entries) < 4 {
				t.Errorf("compound file: %q, %d entries", c.damaged, len(c.entries))
			}
		}
	}
	for _, format := range []string{"xls", "xlsx"} {
		if got := inspect(convert(sheet, format)); len(got) != 0 {
			t.Errorf("sheet.%s: %+v", format, got)
		}
	}
	sealed := `pdf:writer_pdf_Export:{"EncryptFile":{"type":"boolean","value":"true"},"DocumentOpenPassword":{"type":"string","value":"x"}}`
	if got := strings.Join(ids(inspect(convert(letter, sealed, "--writer"))), " "); got != Encrypted {
		t.Errorf("PDF with a password: %q", got)
	}
}
