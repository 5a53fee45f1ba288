package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// copies are the entries of garita hold list that are copies.
func copies(t *testing.T, g *harness.Gateway) (out []string) {
	t.Helper()
	text, code := g.Run("hold", "list", "-o", "json", "--config", g.Config)
	var h struct {
		Messages []struct {
			ID    string
			Copy  bool
			State string
		}
	}
	if err := json.Unmarshal([]byte(text), &h); code != 0 || err != nil {
		t.Fatalf("garita hold list: %d %v\n%s", code, err, text)
	}
	for _, m := range h.Messages {
		if m.Copy && m.State == "held" {
			out = append(out, m.ID)
		}
	}
	return out
}

// armed is a message of a text, a page, a program and a file of that size.
func armed(size int) (text, program string) {
	program = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename*=utf-8''se%E2%80%8Btup.exe\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA\r\n"
	var b strings.Builder
	data := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("ordinary octets ", size/16+1)))
	for len(data) > 76 {
		b.WriteString(data[:76] + "\r\n")
		data = data[76:]
	}
	return "From: a@sender.example\r\nSubject: armed\r\nX-Garita-Disarmed: forged\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n" +
		"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hola</p><script>x()</script>\r\n.dot\r\n" +
		"--b\r\n" + program +
		"--b\r\nContent-Type: text/plain; name=a.txt\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b.String() + data + "\r\n--b--\r\nepilogue\r\n", program
}

// TestDisarm: the real program, its holding place and a next hop. The message
// goes on without its program and script and with every other octet, small and
// from a file; the original is kept and released as it came; a refusal leaves
// no copy; after kill -9 behind the keeping nothing is lost.
func TestDisarm(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{Script: map[string][]fakehop.Action{
		".":    {{Reply: "451 4.2.1 busy\r\n"}, {Reply: "554 5.6.0 no\r\n"}},
		"DATA": {{}, {}, {Hang: true}},
	}})
	g := harness.NewGateway(t, harness.Options{NextHop: hop.Addr()})
	harness.Configure(t, g.Config, harness.Setting{Table: "check.rules", Key: "builtin", Value: `[]`}) // which refuse what is taken out here
	for _, key := range []string{"executable", "html_active", "hidden_name", "blocked"} {
		harness.Configure(t, g.Config, harness.Setting{Table: "check.attachment", Key: key, Value: `"disarm"`})
	}
	g.Start()
	text, program := armed(100)
	c := harness.Greeted(t, g.Inbound)
	for _, want := range []int{451, 554} {
		if r := c.Send("a@sender.example", []string{"b@our.example"}, text); r.Code != want || len(copies(t, g)) != 0 {
			t.Fatalf("refused by the next hop: %s, copies %v", r, copies(t, g))
		}
	}
	// The next hop says nothing to DATA: the original is kept already.
	c.Say("MAIL FROM:<a@sender.example>").Want(250)
	c.Say("RCPT TO:<b@our.example>").Want(250)
	c.Say("DATA").Want(354)
	c.Raw(harness.Stuff(text))
	harness.Eventually(t, "the original is kept", func() bool { return len(copies(t, g)) == 1 })
	g.Kill()
	g.Start()
	if n := len(hop.Accepted()); n != 0 || len(copies(t, g)) != 1 {
		t.Fatalf("after the kill: %d relayed, copies %v", n, copies(t, g))
	}
	for i, size := range []int{100, 4 << 20} {
		text, program = armed(size)
		c := harness.Greeted(t, g.Inbound)
		if r := c.Send("a@sender.example", []string{"b@our.example"}, text); r.Code != 250 {
			t.Fatal(r)
		}
		got := string(hop.Accepted()[i].Data)
		id := copies(t, g)[0]
		_, body, _ := strings.Cut(got, "X-Garita-Disarmed: "+id+"\r\n")
		before, rest, ok := strings.Cut(text, "<script>x()</script>")
		middle, after, ok2 := strings.Cut(rest, program)
		before = strings.Replace(before, "X-Garita-Disarmed: forged\r\n", "", 1)
		note, ok3 := strings.CutPrefix(body, before+middle)
		note, ok4 := strings.CutSuffix(note, after)
		if !ok || !ok2 || !ok3 || !ok4 {
			t.Fatalf("%d: %.2000q", size, got)
		}
		_, note, _ = strings.Cut(note, "\r\n\r\n")
		raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(note, "\r\n", ""))
		if err != nil || !strings.Contains(string(raw), `"se_tup.exe"`) || !strings.Contains(string(raw), "Reference: "+strings.Split(id, "-")[0]+"\r\n") {
			t.Errorf("%d: note %q %v", size, raw, err)
		}
		file := filepath.Join(g.Dir, fmt.Sprint(size))
		out, code := g.Run("hold", "export", id, file, "--config", g.Config)
		if kept, err := os.ReadFile(file); code != 0 || err != nil || string(kept) != text {
			t.Errorf("%d: exported: %s %v", size, out, err)
		}
	}
	all := copies(t, g)
	if len(all) != 3 {
		t.Errorf("copies: %v", all)
	}
	if out, code := g.Run("hold", "release", "--sender", "a@sender.example", "--yes", "--config", g.Config); len(hop.Accepted()) != 2 {
		t.Errorf("released by a filter: %d %s", code, out)
	}
	if out, code := g.Run("hold", "release", all[0], "--config", g.Config); code != 0 || len(hop.Accepted()) != 3 {
		t.Fatalf("release: %d %s", code, out)
	}
	if got := string(hop.Accepted()[2].Data); !strings.HasSuffix(got, strings.Replace(text, "X-Garita-Disarmed: forged\r\n", "", 1)) {
		t.Errorf("released: %.300q", got)
	}
	g.WaitLog(`kept="` + all[0] + `"`)
}
