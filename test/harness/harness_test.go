package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The harness is tried on plain servers first: what it says of Garita is
// worth as much as what it says of these.
func TestPostfixStoresWhatSwaksSends(t *testing.T) {
	p := StartPostfix(t, PostfixOptions{Domains: []string{"our.example"}})
	body := "Subject: hello\n\n.dot\n..\nlast line\n"
	eml := filepath.Join(Dir(t), "m.eml")
	write(t, eml, body)
	out, code := Swaks(t, p.Addr, "--from", "a@x.example", "--to", "b@our.example", "--data", eml)
	if code != 0 {
		t.Fatalf("swaks: %d\n%s", code, out)
	}
	id := QueueID(out)
	all := p.WaitDelivered(t, 1)
	rest, received := WithoutTrace(all[id])
	// swaks adds an empty line of its own at the end.
	if strings.TrimRight(rest, "\n")+"\n" != body || len(received) != 1 {
		t.Errorf("queue id %q: stored %q under %d Received fields", id, rest, len(received))
	}
}

func TestSinkAndSource(t *testing.T) {
	dir := SinkDir(t)
	addr, _ := SMTPSink(t, "-d", dir+"/m.")
	if out, code := SMTPSource(t, addr, "-m", "5", "-s", "2", "-f", "a@x.example", "-t", "b@our.example"); code != 0 {
		t.Fatalf("smtp-source: %d\n%s", code, out)
	}
	if n := len(SinkDumps(t, dir)); n != 5 {
		t.Errorf("%d dumps, want 5", n)
	}
	faulty, _ := SMTPSink(t, "-f", "RCPT")
	c := Greeted(t, faulty)
	c.Say("MAIL FROM:<a@x.example>").Want(250)
	c.Say("RCPT TO:<b@our.example>").Want(500)
}

func TestSandboxAndRawClient(t *testing.T) {
	certs := NewCerts(t, "127.0.0.1", "sandbox.example")
	b := StartSandbox(t, SandboxOptions{TLS: certs.Server})
	c := Greeted(t, b.Addr)
	message := ".first\r\n\r\n..\r\nlast\r\n"
	if r := c.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Fatal(r)
	}
	if got := b.Stored(); len(got) != 1 || string(got[0].Data) != message || got[0].TLS {
		t.Errorf("stored %+v", got)
	}
	out, _ := OpenSSL(t, b.Addr, "EHLO x\nQUIT\n", "-CAfile", certs.CAFile, "-verify_return_error", "-servername", "sandbox.example")
	if !strings.Contains(out, "221 2.0.0") {
		t.Errorf("openssl: %s", out)
	}
}

func TestConfigure(t *testing.T) {
	path := filepath.Join(Dir(t), "c.toml")
	write(t, path, "top = 1\n\n[a]\n# Text. key = of nothing\n#key = 2\nother = 3\n[listener.in]\nrole = \"inbound\"\n")
	Configure(t, path, Setting{"a", "key", "9"}, Setting{"a", "other", "8"}, Setting{"b", "k", `"v"`}, Setting{"listener.in", "x", "true"})
	data, _ := os.ReadFile(path)
	want := "top = 1\n\n[a]\n# Text. key = of nothing\nkey = 9\nother = 8\n[listener.in]\nx = true\nrole = \"inbound\"\n\n[b]\nk = \"v\"\n"
	if string(data) != want {
		t.Errorf("got %q\nwant %q", data, want)
	}
	if TableOf(t, path, "inbound") != "listener.in" || Value(t, path, "b", "k") != "v" {
		t.Error("tables are not found again")
	}
}
