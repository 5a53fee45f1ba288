package demo

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// quoted stands in for the program's own escaping.
func quoted(s string) string {
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// sample is a report with everything that can be in one.
func sample() *Report {
	return &Report{
		Seconds: 1.234, Removed: "/tmp/garita-demo-1",
		Results: []Result{
			{Name: "clean", What: Words{"plain message", "mensaje corriente"}, OK: true, Reply: "250 2.0.0 Ok: queued as MAI-0001",
				Delivered: []Parcel{{Host: mailHost, From: sender, To: []string{recipient}, Size: 10}},
				Dialogue:  []string{"S: 220 " + Hostname + " ESMTP", "C: EHLO \x1b[2Jclient"}},
			{Name: "gone", What: Words{"client vanishes", "el cliente desaparece"}, OK: true},
			{Name: "hostile", What: Words{"a hostile next hop, and a text that is far too long for its column",
				"un destino hostil, y un texto demasiado largo para su columna"}, Reply: "550 5.1.1 \x1b]0;owned\a\u202e and on it goes\nsecond line",
				Delivered: []Parcel{{Host: mailHost, To: []string{recipient, second}}, {Host: smartHost, To: []string{"x"}}},
				Why:       []string{"it is not what was sent: " + strings.Repeat("some words and more ", 8) + strings.Repeat("x", 150) + "\x1b[31m"}},
			{Name: "listed", Section: "door", What: Words{"a listed client", "un cliente listado"}, OK: true, Reply: "554 5.7.1 Service unavailable; Client host",
				Says: []Words{{"554 5.7.1 Service unavailable; \x1b[1m" + strings.Repeat("and why ", 15), "554 5.7.1 otra cosa"}}},
			{Name: "asked", Section: "door", What: Words{"a question", "una pregunta"}, NoMail: true, OK: true, Reply: "action=DUNNO"},
			{Name: "three", Section: "limits", What: Words{"three messages", "tres mensajes"}, OK: true, Reply: "250 2.0.0 Ok",
				Delivered: []Parcel{{Host: smartHost}, {Host: smartHost}, {Host: smartHost}}},
		},
		Sections: sections(),
		Log:      []string{"Nov 22 10:00:00 " + Hostname + " garita/smtp[1]: ABC1: to=<" + recipient + ">, " + strings.Repeat("relay=none, ", 12) + "status=sent"},
		Faults:   []string{"a message nobody waited for lies at " + mailHost},
	}
}

func TestTable(t *testing.T) {
	for _, one := range []struct {
		file string
		view View
	}{
		{"testdata/table.en.golden", View{}},
		{"testdata/table.es.golden", View{Spanish: true, Verbose: true}},
	} {
		one.view.Escape, one.view.Paint = quoted, func(_ byte, s string) string { return s }
		var b strings.Builder
		sample().Text(&b, one.view)
		got := b.String()
		if *update {
			if err := os.WriteFile(one.file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(one.file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\n%s", one.file, got)
		}
		for line := range strings.Lines(got) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > 100 {
				t.Errorf("%s: %d columns: %s", one.file, n, line)
			}
			if strings.ContainsAny(line, "\x1b\a\u202e\r\t") {
				t.Errorf("%s: not escaped: %q", one.file, line)
			}
		}
	}
}

func TestColourIsAsked(t *testing.T) {
	var asked []byte
	var b strings.Builder
	sample().Text(&b, View{Escape: quoted, Paint: func(c byte, s string) string { asked = append(asked, c); return "<" + s + ">" }})
	if string(asked) != "ggrgggr" || !strings.Contains(b.String(), "<NO>\n") {
		t.Errorf("asked %q", asked)
	}
}
