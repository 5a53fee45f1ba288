package attachment

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"garita/filters"
	"garita/mail"
	"garita/message"
)

// disarming is the default with classes that are disarmed.
func disarming(keys ...string) Config {
	c := Default()
	for _, k := range append(keys, executable, blocked) {
		*c.Actions.field(k) = actionDisarm
	}
	return c
}

// left applies the edits of a decision.
func left(t testing.TB, raw string, edits []message.Edit) string {
	t.Helper()
	m := spool(t, raw)
	defer m.Release()
	r, err := m.Render(edits)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// notes are the texts that stand in place of parts.
func notes(t testing.TB, raw string) (out []string) {
	t.Helper()
	for _, p := range message.ReadIndex([]byte(raw), message.DefaultIndexLimits()).Parts {
		if s := string(p.Bodies()[0].Data); strings.HasPrefix(s, "An attachment was removed") {
			out = append(out, s)
		}
	}
	return out
}

// TestDisarm: the part goes with its name and octets, everything else is byte
// for byte what it was, and what is left has nothing to find.
func TestDisarm(t *testing.T) {
	raw := letter(file{name: "foto.jpg", data: jpeg()}, file{name: "setup.exe", data: pe()}, file{name: "texto.pdf", data: pdf()})
	d, fs := decided(t, disarming(), raw, mail.In)
	if d.Verdict != mail.Continue || len(d.Disarm) != 1 || d.Score != 0 || !slices.Equal(symbols(fs), []string{executable}) || !strings.Contains(fs[0].Detail, "(disarmed)") {
		t.Fatalf("%v %+v %v", d.Verdict, d.Disarm, fs)
	}
	e := d.Disarm[0]
	now := left(t, raw, d.Disarm)
	head, tail, _ := strings.Cut(now, string(e.Insert))
	if head != raw[:e.At] || tail != raw[e.At+e.Delete:] {
		t.Error("something else has changed")
	}
	if !strings.Contains(raw[e.At:e.At+e.Delete], "setup.exe") || strings.Contains(now, "setup.exe") || strings.Contains(now, base64.StdEncoding.EncodeToString([]byte(pe()))[:60]) {
		t.Error("it is still there")
	}
	n := notes(t, now)
	if len(n) != 1 || !strings.Contains(n[0], `Name: "setup.exe"`) || !strings.Contains(n[0], `Nombre: "setup.exe"`) ||
		!strings.Contains(n[0], "a program or installer") || !strings.Contains(n[0], "un programa o instalador") || !strings.Contains(n[0], "Reference: T\r\n") {
		t.Errorf("%q", n)
	}
	d, fs = decided(t, disarming(), now, mail.In)
	if d.Verdict != mail.Continue || len(fs) != 0 || len(d.Disarm) != 0 {
		t.Errorf("what is left: %v %v", d, fs)
	}
}

// TestDisarmParts: what is found inside takes the whole part; several parts go
// at once; classes that score stay; outbound mail has its own actions.
func TestDisarmParts(t *testing.T) {
	inner := "From: a@b.example\r\nSubject: in\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=a.exe\r\n\r\nMZ\r\n"
	for title, c := range map[string]struct {
		raw   string
		parts int
		notes []string
	}{
		"in a zip":        {letter(file{name: "a.zip", data: zipped(t, "x/setup.exe", pe())}), 1, []string{`"a.zip"`}},
		"zip in a zip":    {letter(file{name: "a.zip", data: zipped(t, "b.zip", zipped(t, "setup.exe", pe()))}), 1, []string{`"a.zip"`}},
		"two":             {letter(file{name: "a.exe", data: pe()}, file{name: "b.txt", data: "hola"}, file{name: "c.exe", data: pe()}), 2, []string{`"a.exe"`, `"c.exe"`}},
		"no name":         {letter(file{fields: "Content-Type: application/octet-stream", data: pe()}), 1, []string{"program"}},
		"in a message":    {letter(file{fields: "Content-Type: message/rfc822", data: letter(file{name: "a.exe", data: pe()})}), 1, []string{"program"}},
		"a whole message": {plainParted("Content-Type: message/rfc822", inner), 1, []string{"program"}},
		"two findings":    {letter(file{name: "a.zip", data: zipped(t, "1.exe", pe(), "2.exe", pe())}), 1, []string{`"a.zip"`}},
	} {
		d, fs := decided(t, disarming(), c.raw, mail.In)
		if d.Verdict != mail.Continue || len(d.Disarm) != c.parts {
			t.Errorf("%s: %v %d edits, %v", title, d.Verdict, len(d.Disarm), fs)
			continue
		}
		now := left(t, c.raw, d.Disarm)
		n := notes(t, now)
		if len(n) != c.parts {
			t.Errorf("%s: %q", title, n)
			continue
		}
		for i, want := range c.notes {
			if !strings.Contains(n[i], want) {
				t.Errorf("%s: %q", title, n[i])
			}
		}
		if d, fs := decided(t, disarming(), now, mail.In); len(fs) != 0 || d.Verdict != mail.Continue {
			t.Errorf("%s: left: %v", title, fs)
		}
	}
	raw := letter(file{name: "a.docm", data: "x"}, file{name: "a.exe", data: pe()})
	c := disarming()
	if d, _ := decided(t, c, raw, mail.In); len(d.Disarm) != 1 || d.Score != 3 {
		t.Errorf("a class that scores: %+v", d)
	}
	c.Out.Executable, c.Out.Blocked = actionReject, actionOff
	if d, _ := decided(t, c, raw, mail.Out); d.Verdict != mail.Reject || len(d.Disarm) != 0 {
		t.Errorf("outbound: %+v", d)
	}
}

// plainParted is a letter whose one part is written as it is.
func plainParted(fields, body string) string {
	return "From: a@sender.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhola\r\n--b\r\n" +
		fields + "\r\n\r\n" + body + "\r\n--b--\r\n"
}

// TestDisarmRefused: what cannot be done without doubt is held with the reason,
// whatever an override says of the rest, and nothing is half done.
func TestDisarmRefused(t *testing.T) {
	exe := base64.StdEncoding.EncodeToString([]byte(pe()))
	many := make([]file, maxMarked+1)
	for i := range many {
		many[i] = file{name: fmt.Sprintf("%d.exe", i), data: "x"}
	}
	many[0].data = pe()
	c := disarming()
	c.MaxCount = 0
	for title, raw := range map[string]string{
		"the message itself": "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=a.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n" + exe + "\r\n",
		"signed": "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"; micalg=pgp-sha256\r\n\r\n--s\r\n" +
			"Content-Type: application/octet-stream; name=a.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n" + exe + "\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n",
		"ambiguous": strings.Replace(letter(file{name: "a.exe", data: pe()}), "Content-Type: application/octet-stream", "Content-Type: application/octet-stream\r\nContent-Type: image/png", 1),
		"too many":  letter(many...),
		"uuencoded": "From: a@b.example\r\nSubject: x\r\n\r\nhola\r\nbegin 644 a.exe\r\n#35J0\r\n`\r\nend\r\n",
	} {
		d, fs := decided(t, c, raw, mail.In)
		if d.Verdict != mail.Quarantine || len(d.Disarm) != 0 || len(fs) == 0 || !strings.Contains(fs[0].Detail, "(not disarmed: ") {
			t.Errorf("%s: %v %d edits, %v", title, d.Verdict, len(d.Disarm), fs)
		}
	}
	// Something worse elsewhere: that counts, and without it this is held.
	raw := letter(file{name: "a.exe", data: pe()}, file{name: "b.iso", data: "x"})
	check, err := New(disarming())
	if err != nil {
		t.Fatal(err)
	}
	go1 := mail.Continue
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}, Overrides: map[string]filters.Override{Prefix + diskImage: {Verdict: &go1}}})
	if err != nil {
		t.Fatal(err)
	}
	m := spool(t, raw)
	defer m.Release()
	if d := e.Message(context.Background(), transaction(t, m, mail.In)); d.Verdict != mail.Quarantine || len(d.Disarm) != 0 {
		t.Errorf("%+v", d)
	}
}

// TestDisarmModes: what only scores or observes changes nothing.
func TestDisarmModes(t *testing.T) {
	raw := letter(file{name: "a.exe", data: pe()})
	for _, mode := range []string{"score", "observe"} {
		c := disarming()
		c.Mode = mode
		d, fs := decided(t, c, raw, mail.In)
		if d.Verdict != mail.Continue || len(d.Disarm) != 0 || len(fs) == 0 || (d.Score > 0) != (mode == "score") {
			t.Errorf("%s: %+v", mode, d)
		}
	}
	c := disarming()
	c.ExceptRecipients = []string{"our.example"}
	if d, fs := decided(t, c, raw, mail.In); d.Verdict != mail.Continue || len(d.Disarm) != 0 || fs[0].Mode != mail.Observe {
		t.Errorf("excepted: %+v", d)
	}
}

// TestHTMLActive: the text of a mail loses what is active and nothing else;
// attached pages become notes; without the class nobody looks.
func TestHTMLActive(t *testing.T) {
	page := "<html><body onload=\"x()\"><p>Hola</p><script>evil()</script><iframe src=\"http://a.example/\">y</iframe>" +
		"<form action=\"http://a.example/\"><input name=p></form><object data=x></object><p>Adiós &amp; más</p></body></html>"
	raw := "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + page + "\r\n"
	mixed := plainParted("Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64", base64.StdEncoding.EncodeToString([]byte(page)))
	if fs := checked(t, Default(), raw, mail.In); len(fs) != 0 {
		t.Errorf("off: %v", fs)
	}
	for _, raw := range []string{raw, mixed} {
		d, fs := decided(t, disarming(htmlActive), raw, mail.In)
		if d.Verdict != mail.Continue || len(d.Disarm) != 1 || !slices.Equal(symbols(fs), []string{htmlActive}) {
			t.Fatalf("%v %v", d, fs)
		}
		now := left(t, raw, d.Disarm)
		x := message.ReadIndex([]byte(now), message.DefaultIndexLimits())
		body := string(x.Parts[len(x.Parts)-1].Bodies()[0].Data)
		for _, gone := range []string{"script", "iframe", "form", "object", "onload", "evil"} {
			if strings.Contains(body, gone) {
				t.Errorf("%s is in %q", gone, body)
			}
		}
		for _, there := range []string{"<p>Hola</p>", "<input name=p>", "<p>Adiós &amp; más</p></body></html>"} {
			if !strings.Contains(body, there) {
				t.Errorf("%s is not in %q", there, body)
			}
		}
		if d, fs := decided(t, disarming(htmlActive), now, mail.In); len(fs) != 0 || d.Verdict != mail.Continue {
			t.Errorf("left: %v", fs)
		}
	}
	c := Default()
	for action, want := range map[string]mail.Verdict{actionOff: 0, actionObserve: 0, actionScore: 0, actionDisarm: 0, actionReject: mail.Reject, actionHold: mail.Quarantine} {
		for _, out := range []bool{false, true} {
			c, dir := Default(), mail.In
			if c.HTMLActive = action; out {
				c.HTMLActive, c.Out.HTMLActive, dir = actionReject, action, mail.Out
			}
			d, fs := decided(t, c, raw, dir)
			if d.Verdict != want || (len(fs) > 0) != (action != actionOff) || (len(d.Disarm) > 0) != (action == actionDisarm) || action == actionScore && d.Score != 2 {
				t.Errorf("%s, out %v: %+v", action, out, d)
			}
		}
	}
	c.HTMLActive = actionHold
	quiet := strings.Replace(raw, page, "<html><body><p style=\"color:red\">Hola</p><a href=\"http://a.example/?b=1&c=2\">x</a></body></html>", 1)
	if fs := checked(t, c, quiet, mail.In); len(fs) != 0 {
		t.Errorf("ordinary HTML: %v", fs)
	}
	// A charset in which "<" may be something else.
	if d, fs := decided(t, disarming(htmlActive), strings.Replace(raw, "utf-8", "iso-2022-jp", 1), mail.In); d.Verdict != mail.Quarantine {
		t.Errorf("%v %v", d.Verdict, fs)
	}
	attached := letter(file{name: "login.html", data: page}, file{fields: "Content-Type: text/html", data: page})
	d, _ := decided(t, disarming(htmlActive, htmlAttachment, htmlForm, htmlSmuggling), attached, mail.In)
	if d.Verdict != mail.Continue || len(d.Disarm) != 2 || len(notes(t, left(t, attached, d.Disarm))) != 1 {
		t.Errorf("%+v", d)
	}
}

// TestNote: whatever a name is, the note is short, plain text without links or
// turned directions, and names the end.
func TestNote(t *testing.T) {
	for _, name := range []string{"a.exe", "http://evil.example/?x=<b>&y.exe", "in\u202evoice\u2066.exe", "\x1b[2J\r\nX: y.exe", strings.Repeat("ñ", 500) + ".exe", "発注書.exe", "a\xff.exe", "", "…", "\u200b.exe"} {
		p := &message.Part{Names: []message.Name{{Text: "logo.exe", From: "content-description"}, {Text: name, From: "filename"}}}
		for _, c := range classes() {
			s := note(p, []string{c.key}, "4ABC\r\nDEF"+strings.Repeat("X", 99))
			if len(s) > 2000 || strings.ContainsAny(s, "\r\x1b<>/@") || strings.Contains(s, "logo") || !strings.Contains(s, "Reference: 4ABCDEFX") {
				t.Errorf("%q: %q", name, s)
			}
			for _, r := range s {
				if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
					t.Errorf("%q: %U", name, r)
				}
			}
			if strings.HasSuffix(name, ".exe") && !strings.Contains(s, ".exe\"") {
				t.Errorf("%q: no end in %q", name, s)
			}
			if removable(c.key) != (spanish(c.key) != "") {
				t.Errorf("%s has no Spanish words, or needs none", c.key)
			}
		}
	}
}

// TestDisarmConfig: every class that is about a part can be disarmed, others
// say why not.
func TestDisarmConfig(t *testing.T) {
	for _, c := range classes() {
		for _, out := range []bool{false, true} {
			cfg := Default()
			key := c.key
			if a := &cfg.Actions; !out {
				*a.field(c.key) = actionDisarm
			} else {
				*cfg.Out.field(c.key), key = actionDisarm, "out."+c.key
			}
			errs := cfg.Validate()
			if removable(c.key) != (len(errs) == 0) || len(errs) > 0 && (!strings.HasPrefix(errs[0].Error(), key+" = ") || !strings.Contains(errs[0].Error(), "hold it")) {
				t.Errorf("%s: %v", key, errs)
			}
		}
	}
}

// FuzzDisarm: whatever a message is, it is either left alone and held, or what
// is left has nothing to disarm, and has every octet outside the edits.
func FuzzDisarm(f *testing.F) {
	f.Add(letter(file{name: "a.exe", data: pe()}, file{name: "b.txt", data: "x"}))
	f.Add(plainParted("Content-Type: text/html", "<p onclick=x><script>y</script>"))
	f.Add("Content-Type: text/html\r\n\r\n<form><base href=x>")
	f.Add(plainParted("Content-Type: message/rfc822", letter(file{name: "a.zip", data: "PK\x03\x04"})))
	f.Add("\r\nbegin 644 a.exe\r\n#35J0\r\n`\r\nend\r\n")
	c := disarming(htmlActive, htmlAttachment, script, shortcut, archiveOpaque, archiveAmbiguous, mismatch, doubleExtension, hiddenName)
	check, err := New(c)
	if err != nil {
		f.Fatal(err)
	}
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if len(raw) > 64<<10 {
			return
		}
		m := spool(t, raw)
		defer m.Release()
		tx := transaction(t, m, mail.In)
		d := e.Message(context.Background(), tx)
		if len(d.Disarm) == 0 {
			for _, g := range d.Because {
				if strings.Contains(g.Detail, "(disarmed)") || c.in(g) == actionDisarm && d.Verdict == mail.Continue {
					t.Fatalf("%v, and no edits", g)
				}
			}
			return
		}
		if d.Disarm[0].At < m.HeaderEnd() {
			t.Fatal("an edit of the header")
		}
		now := left(t, raw, d.Disarm)
		pos, out := int64(0), int64(0)
		for _, g := range d.Disarm {
			n := g.At - pos
			if now[out:out+n] != raw[pos:g.At] || now[out+n:out+n+int64(len(g.Insert))] != string(g.Insert) {
				t.Fatal("octets outside the edits have changed")
			}
			pos, out = g.At+g.Delete, out+n+int64(len(g.Insert))
		}
		if now[out:] != raw[pos:] {
			t.Fatal("octets behind the edits have changed")
		}
		r := spool(t, now)
		defer r.Release()
		if again := e.Again(context.Background(), tx, r); len(again.Disarm) > 0 {
			t.Fatalf("to be disarmed again: %v\n%q", again.Because, now)
		}
	})
}

// in is the action of a finding's class.
func (c Config) in(f mail.Finding) string {
	key := strings.TrimPrefix(f.Symbol, Prefix)
	if !hasClass(key) {
		return ""
	}
	return *c.Actions.field(key)
}
