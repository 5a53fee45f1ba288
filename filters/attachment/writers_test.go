package attachment

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"garita/mail"
)

// Mail as Python's writer makes it, with names in many languages: nothing is
// found in it, and the same with a program is.
func TestPythonWriter(t *testing.T) {
	const program = `
import sys, json
from email.message import EmailMessage
from email import policy
def letter(name, width):
  m = EmailMessage(policy=policy.SMTP.clone(max_line_length=width))
  m['From'] = 'Ana Núñez <ana@sender.example>'
  m['To'] = 'b@our.example'
  m['Subject'] = 'Presupuesto año 2024 ñ'
  m.set_content('Hola:\n\nAdjunto lo que me pedías.\n\nUn saludo\n')
  m.add_alternative('<html><body><p>Hola</p></body></html>', subtype='html')
  m.add_attachment(b'%PDF-1.4\n%\xe2\xe3\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n' if name.endswith('.pdf') else b'hola\n', maintype='application', subtype='pdf' if name.endswith('.pdf') else 'octet-stream', filename=name)
  return m.as_bytes().decode('latin-1')
names = json.load(sys.stdin)
json.dump([letter(n, w) for n in names for w in (76, 200)], sys.stdout)
`
	var names []string
	for _, name := range []string{
		"Acta Nº 3.pdf", "Informe año 2024 (copia).pdf", "Über die Straße.pdf", "Отчёт за май.pdf", "会議の議事録。最終.pdf", "تقرير مالي.pdf", "דוח שנתי.pdf",
		"Ελληνικά έγγραφα.pdf", "Zażółć gęślą jaźń.pdf", "İstanbul ışık.pdf", "한국어 문서.pdf", "ไทย เอกสาร.pdf", "Emoji 👩‍💻 final.pdf", strings.Repeat("Largo ", 20) + ".pdf",
	} {
		names = append(names, name, strings.TrimSuffix(name, ".pdf")+".scr")
	}
	in, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("python3", "-c", program)
	c.Stdin = bytes.NewReader(in)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("python3: %v", err)
	}
	var letters []string
	if err := json.Unmarshal(out, &letters); err != nil || len(letters) != 2*len(names) {
		t.Fatalf("%d letters: %v", len(letters), err)
	}
	for i, text := range letters {
		raw := latin1(text)
		d, fs := decided(t, Default(), raw, mail.In)
		if name := names[i/2]; strings.HasSuffix(name, ".pdf") && len(fs) > 0 || strings.HasSuffix(name, ".scr") && d.Verdict != mail.Reject {
			t.Errorf("%q: %v %v", name, d.Verdict, fs)
		}
	}
}

// latin1 gives the octets back that the program wrote as characters.
func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}
