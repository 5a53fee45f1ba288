package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestInitAsksInSpanish: the same questions in the same order, with an example
// behind each answer that cannot be.
func TestInitAsksInSpanish(t *testing.T) {
	c := initCommand{Dir: "/x", Hostname: "mx.example.org", Inbound: "0.0.0.0:25", Mode: "observe", Lang: "es"}
	var said bytes.Buffer
	term := &terminal{in: strings.NewReader("\nexample.org\nmail\nmail.example.org:25\n0.0.0.0/0\n192.0.2.20\nsmart.example.net:25\n\n"), err: &said}
	if err := c.ask(term); err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, want := range []string{"Nombre completo de esta pasarela [mx.example.org]: ", "Dominios", "El servidor de correo detrás", "no sirve: ", "un ejemplo: mail.example.org:25\n",
		"Redes", "un ejemplo: 192.0.2.20", "entrega a Internet", "Empezar con observe"} {
		i := strings.Index(said.String()[at:], want)
		if i < 0 {
			t.Fatalf("no %q in its place:\n%s", want, said.String())
		}
		at += i
	}
	if _, err := c.understand(); err != nil {
		t.Error(err)
	}
	term.in = strings.NewReader("\n")
	if err := c.ask(term); err == nil || !strings.Contains(err.Error(), "no se escribió nada") {
		t.Errorf("answers that end: %v", err)
	}
	// A comma for a dot makes two names without one.
	for lang, want := range map[string]string{"es": `tiene nombres sin punto: "example", "org"; la coma`, "en": `without a dot: "example", "org"; a comma`} {
		c := initCommand{Dir: "/x", Hostname: "mx.example.org", Inbound: "0.0.0.0:25", Mode: "observe", Lang: lang, NextHop: "h.example:25", Domain: []string{"example", "org"}}
		if _, err := c.understand(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", lang, err, want)
		}
	}
	// Nothing of one language is missing in the other.
	for _, spanish := range []bool{false, true} {
		w := wordsOf(spanish)
		for _, p := range []phrase{w.name, w.domains, w.nextHop, w.trust, w.smartHost, w.mode} {
			if p.ask == "" || p.example == "" {
				t.Errorf("spanish %t: %+v", spanish, p)
			}
		}
	}
}
