package torture

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"garita/mail"
)

// letter is one ordinary message.
type letter struct{ tag, raw string }

// pythonLetters are those of Python's email package.
func pythonLetters(t *testing.T) (out []letter) {
	t.Helper()
	c := exec.Command("python3", "testdata/writer.py")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	text, err := c.Output()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, stderr.String())
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var pair [2]string
		if err := json.Unmarshal(lines.Bytes(), &pair); err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(pair[1])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, letter{pair[0], string(raw)})
	}
	return out
}

// samples are files that programs attach.
func samples() map[string][]byte {
	return map[string][]byte{"notas.txt": []byte("una línea\notra\n"), "acta.pdf": []byte("%PDF-1.4\n%\xe2\xe3\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"), "datos.zip": harmlessZip(), "Año 2024.csv": []byte("a;b\n1;2\n"),
		"foto.gif": []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"), "cambios.diff": []byte("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39.5\n\n--boundary\n")}
}

// programLetters are those of mail programs of Debian.
func programLetters(t *testing.T) (out []letter) {
	t.Helper()
	dir := t.TempDir()
	files := samples()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sink := filepath.Join(dir, "sink")
	if err := os.WriteFile(sink, []byte("#!/bin/sh\ncat >\"$SINK\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	body := "Hola Ana:\n\nte lo mando; ¿vale?\n\n-- \nIñaki\n"
	for name := range files {
		for _, c := range [][]string{
			{"mutt", "mutt", "-n", "-F", "/dev/null", "-e", "set sendmail=" + sink, "-e", "set use_envelope_from=no from=ana@sender.example charset=utf-8 copy=no", "-s", "Reunión de mañana", "-a", name, "--", "b@our.example"},
			{"mutt latin1", "mutt", "-n", "-F", "/dev/null", "-e", "set sendmail=" + sink, "-e", "set from=ana@sender.example charset=utf-8 send_charset=iso-8859-1 rfc2047_parameters=yes copy=no", "-s", "Reunión", "-a", name, "--", "b@our.example"},
			{"s-nail", "s-nail", "-:/", "-Smta=" + sink, "-Sfrom=ana@sender.example", "-Sttycharset=utf-8", "-Ssendcharsets=utf-8", "-s", "Reunión de mañana", "-a", name, "b@our.example"},
			{"mpack", "mpack", "-s", "reunion", "-o", filepath.Join(dir, "mpack.out"), name},
			{"swaks", "swaks", "--dump-mail", "--to", "b@our.example", "--from", "ana@sender.example", "--header", "Subject: Reunion", "--body", "hola", "--attach", "@" + name},
			{"perl", "perl", "-MMIME::Lite", "-e", `my $m = MIME::Lite->new(From=>'ana@sender.example', To=>'b@our.example', Subject=>'x', Type=>'multipart/mixed'); $m->attach(Type=>'TEXT', Data=>"hola\n"); $m->attach(Type=>'AUTO', Path=>$ARGV[0], Disposition=>'attachment'); $m->print(\*STDOUT)`, name},
			{"perl tools", "perl", "-MMIME::Entity", "-e", `my $m = MIME::Entity->build(From=>'ana@sender.example', To=>'b@our.example', Subject=>'x', Type=>'multipart/mixed'); $m->attach(Data=>"hola\n"); $m->attach(Path=>$ARGV[0], Type=>'application/octet-stream', Encoding=>'-SUGGEST'); $m->print(\*STDOUT)`, name},
		} {
			got := filepath.Join(dir, "got")
			os.Remove(got)
			os.Remove(filepath.Join(dir, "mpack.out"))
			cmd := exec.Command(c[1], c[2:]...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "SINK="+got, "HOME="+dir, "LC_ALL=C.UTF-8")
			cmd.Stdin = strings.NewReader(body)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			text, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %v\n%s", c, err, stderr.String())
			}
			if c[0] == "mpack" {
				got = filepath.Join(dir, "mpack.out")
			}
			if data, err := os.ReadFile(got); err == nil {
				text = data
			}
			if !strings.Contains(string(text), "ubject:") {
				t.Fatalf("%s wrote no message: %.300q %s", c[0], text, stderr.String())
			}
			out = append(out, letter{c[0] + " " + name, string(text)})
		}
	}
	return out
}

// TestOrdinary: nothing is held and nothing has points in ordinary mail.
func TestOrdinary(t *testing.T) {
	t.Parallel()
	letters := append(append(pythonLetters(t), programLetters(t)...), imitations()...)
	for _, m := range structure(ordinary()) {
		if m.valid {
			letters = append(letters, letter{"valid " + m.id + " " + m.name, m.raw})
		}
	}
	if len(letters) < 300 {
		t.Errorf("only %d letters", len(letters))
	}
	e := gateway(t)
	wrong, odd := 0, 0
	expected := points()
	for i := range letters {
		l := &letters[i]
		raw := crlf(l.raw)
		d := decide(t, e, raw)
		if d.Verdict != mail.Continue || d.Score > expected[l.tag] {
			wrong++
			t.Errorf("%s: %s", l.tag, symbols(d))
		}
		if len(d.Because) > 0 {
			odd++
			if os.Getenv("TORTURE_SHOW") != "" {
				fmt.Println(l.tag, symbols(d))
			}
		}
	}
	t.Logf("%d letters, %d with points or worse, %d with something in the log", len(letters), wrong, odd)
}

// points are the scores that letters have by the policy of attachments.
func points() map[string]float64 {
	return map[string]float64{
		"page as an attachment":   1, // attachment.html_attachment
		"html alone":              1, // rules.html-form
		"sealed with a password":  4,
		"workbook with macros":    3,
		"shortcut inside a quote": 0,
	}
}
