package keys

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"garita/filters/clamav/fakeclamd"
	"garita/mail"
)

// signatures are a name of each class of clamd.
func signatures() map[string]string {
	return map[string]string{
		"virus": "Win.Worm.Test-1", "phishing": "Phishing.Email-1", "pua": "PUA.Win.Tool-1", "heuristic": "Heuristics.Structured.Test",
		"limits": "Heuristics.Limits.Exceeded.MaxFileSize", "encrypted": "Heuristics.Encrypted.Zip", "macro": "Heuristics.OLE2.ContainsMacros", "unofficial": "Own.Rule.UNOFFICIAL",
	}
}

// clamavRows are the keys of [check.clamav]. A scene is what clamd says, or
// does: see clamd.
func clamavRows() []effect {
	const c = "check.clamav."
	hurry := c + "timeout = \"300ms\"\n"
	down := `servers = ["unix:{none}"]`
	rows := []effect{
		{key: c + "mode", value: `"observe"`, scene: "virus", want: "-answer 554", still: "clamav.virus"},
		{key: c + "servers", value: `["{clamd}"]`, scene: "virus", want: "+answer 554"},
		{key: c + "max_scans", value: "1", base: c + `wait = "50ms"`, scene: "second", want: "+clamav.unscanned"},
		{key: c + "wait", value: `"50ms"`, base: c + "max_scans = 1", scene: "second", want: "+clamav.unscanned"},
		{key: c + "connect_timeout", value: `"100ms"`, base: c + "servers = [\"tcp:{full}\"]\n" + c + `timeout = "12s"`, scene: "clean", want: "+it was over soon"},
		{key: c + "write_timeout", value: `"100ms"`, base: c + "servers = [\"{deaf}\"]\n" + c + "self_test = false\n" + c + `timeout = "12s"`, scene: "deaf", want: "+it was over soon"},
		{key: c + "timeout", value: `"100ms"`, scene: "hang", want: "+clamav.unscanned"},
		{key: c + "self_test", value: "false", scene: "blind", want: "-clamav.unscanned", still: "verdict continue"},
		{key: c + "signature_age", value: `"0s"`, scene: "old", want: "-signatures"},
		{key: c + "parts", value: `"always"`, scene: "multipart", want: "-scans: 1", still: "verdict continue"},
		{key: c + "config_file", value: `"{file:StreamMaxLength 100}"`, scene: "multipart", want: "+clamav.oversize"},
		{key: c + "stream_max", value: `"100B"`, scene: "multipart", want: "+clamav.oversize"},
		{key: c + "max_file_size", value: `"100B"`, scene: "multipart", want: "+clamav.oversize"},
		{key: c + "max_scan_size", value: `"100B"`, scene: "multipart", want: "+clamav.oversize"},
		{key: c + "cache_entries", value: "0", scene: "twice", want: "+scans: 2"},
		{key: c + "cache_for", value: `"1s"`, scene: "later", want: "+scans: 2"},
		{key: c + "ignore", value: `["Win.Worm.*"]`, scene: "virus", want: "-answer 554", still: "clamav.ignored"},
		{key: c + "classes", value: `["Win.Worm.* pua"]`, scene: "virus", want: "+clamav.pua"},
		{key: c + "oversize", value: `"reject"`, base: c + `stream_max = "100B"`, scene: "multipart", want: "+answer 554"},
		{key: c + "failed", value: `"hold"`, scene: "error", want: "+verdict quarantine"},
		{key: c + "timed_out", value: `"hold"`, base: hurry, scene: "hang", want: "+verdict quarantine"},
		{key: c + "closed", value: `"hold"`, scene: "leave", want: "+verdict quarantine"},
		{key: c + "reloading", value: `"hold"`, scene: "reloading", want: "+verdict quarantine"},
		{key: c + "nonsense", value: `"hold"`, scene: "nonsense", want: "+verdict quarantine"},
		{key: c + "unavailable", value: `"hold"`, base: c + down, scene: "clean", want: "+verdict quarantine"},
		{key: c + "busy", value: `"hold"`, base: c + "max_scans = 1\n" + c + `wait = "50ms"`, scene: "second", want: "+verdict quarantine"},
		{key: c + "poison", value: `"reject"`, scene: "die", want: "+answer 554", still: "clamav.poison"},
		{key: c + "without_for", value: `"1ms"`, base: c + down, scene: "until down", want: "+clamav.down"},
		{key: c + "without_active", value: `"pass"`, base: c + down + "\n" + c + `without_for = "1ms"`, scene: "until down with a page", want: "-verdict quarantine", still: "clamav.down"},
		{key: c + "without_text", value: `"hold"`, base: c + down + "\n" + c + `without_for = "1ms"`, scene: "until down", want: "+verdict quarantine"},
	}
	for class := range signatures() {
		action := effect{key: c + class, value: `"reject"`, scene: class, want: "+answer 554"}
		if class == "virus" {
			action = effect{key: c + class, value: `"hold"`, scene: class, want: "-answer 554", still: "verdict quarantine"}
		}
		rows = append(rows, action, effect{key: c + class + "_score", value: "7.25", scene: class, want: "+clamav." + class + " +7.25"})
	}
	return rows
}

// clamd is a fake one that plays the scene.
func clamd(t *testing.T, scene string) *fakeclamd.Server {
	t.Helper()
	f, err := fakeclamd.New("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	var step fakeclamd.Step
	switch scene {
	case "hang", "second":
		step.Hang, step.Reply = true, "stream: OK"
	case "blind":
		f.Health("PONG", "ClamAV 1.4.6/27000/Wed Jan  1 08:00:00 2020", true)
	case "old":
		f.Health("PONG", "ClamAV 1.4.6/27000/Wed Jan  1 08:00:00 2020", false)
	case "error":
		step.Reply = "stream: no memory ERROR"
	case "reloading":
		step.Reply = "stream: Database is reloading. ERROR"
	case "nonsense":
		step.Reply = "what"
	case "die":
		f.Script(fakeclamd.Step{After: 3}, fakeclamd.Step{After: 3})
	case "leave":
		f.Judge(func([]byte) fakeclamd.Step { f.Stop(); return fakeclamd.Step{} })
	default:
		if name := signatures()[scene]; name != "" {
			step.Reply = "stream: " + name + " FOUND"
		}
	}
	if step != (fakeclamd.Step{}) {
		f.Script(step)
		if !step.Hang {
			f.Script(step, step)
		}
	}
	return f
}

// TestClamAV: every key of [check.clamav], against a scripted clamd.
func TestClamAV(t *testing.T) {
	run(t, clamavRows(), func(t *testing.T, toml string, e effect) string {
		f := clamd(t, e.scene)
		if !strings.Contains(toml, "clamav.servers") && e.key != "check.clamav.servers" {
			toml += "\ncheck.clamav.servers = [\"{clamd}\"]"
		}
		if strings.Contains(toml, "{deaf}") {
			toml = strings.ReplaceAll(toml, "{deaf}", deaf(t))
		}
		if strings.Contains(toml, "{full}") {
			toml = strings.ReplaceAll(toml, "{full}", full(t))
		}
		toml = strings.NewReplacer("{clamd}", f.Address(), "{none}", filepath.Join(t.TempDir(), "none")).Replace(toml)
		if e.key != "check.clamav.mode" || !strings.Contains(toml, e.line()) {
			toml += "\ncheck.clamav.mode = \"enforce\""
		}
		if !strings.Contains(toml, "config_file") {
			toml += "\ncheck.clamav.config_file = \"\""
		}
		d := newDesk(t, bare("clamav")+withFile(t, toml))
		scan(d, f, e.scene)
		d.note("scans: %d.", f.Scans())
		return d.text()
	})
}

// deaf is a clamd that is well and reads nothing of a message.
func deaf(t *testing.T) string {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			switch line, _ := bufio.NewReaderSize(c, 16).ReadString(0); line {
			case "zPING\x00":
				io.WriteString(c, "PONG\x00")
			case "zVERSION\x00":
				io.WriteString(c, "ClamAV 1.4.6/27000/Wed Jan  1 08:00:00 2020\x00")
			default:
				continue // the message stays where it is
			}
			c.Close()
		}
	}()
	return "unix:" + l.Addr().String()
}

// scan does what the scene says with messages.
func scan(d *desk, f *fakeclamd.Server, scene string) {
	page := strings.Replace(simple, "Subject:", "Content-Type: text/html\r\nSubject:", 1)
	switch scene {
	case "twice":
		d.judge(simple, mail.In)
		d.judge(simple, mail.In)
	case "later":
		d.judge(simple, mail.In)
		time.Sleep(1100 * time.Millisecond) // the shortest that the key can be, and a little
		d.judge(simple, mail.In)
	case "multipart":
		d.judge(attached{name: "a.txt", data: strings.Repeat("hola ", 50)}.raw(d.t), mail.In)
	case "hang":
		timer := time.AfterFunc(2*time.Second, f.Release)
		defer timer.Stop()
		d.judge(simple, mail.In)
	case "second":
		first := make(chan bool)
		go func() { d.judge(simple, mail.In); close(first) }()
		<-f.Hanging()
		timer := time.AfterFunc(2*time.Second, f.Release)
		d.judge(simple+"second\r\n", mail.In)
		if timer.Stop() {
			f.Release()
		}
		<-first
	case "until down", "until down with a page":
		for i := range 20 {
			raw := simple
			if scene != "until down" {
				raw = page
			}
			d.judge(fmt.Sprintf("%s%d\r\n", raw, i), mail.In)
			if strings.Contains(d.text(), "clamav.down") {
				return
			}
			time.Sleep(2 * time.Millisecond) // longer than without_for
		}
	case "deaf":
		began := time.Now()
		d.judge(simple+strings.Repeat(strings.Repeat("x", 98)+"\r\n", 1<<16), mail.In)
		soon(d, began)
	default:
		began := time.Now()
		d.judge(simple, mail.In)
		soon(d, began)
	}
}

// soon notes that something took neither the twelve seconds of timeout nor two
// connect_timeouts of three.
func soon(d *desk, began time.Time) {
	if time.Since(began) < 5*time.Second {
		d.note("it was over soon")
	}
}

// spamRows are the keys of [check.rspamd] and [check.spamassassin]. The scene is
// the score, and behind it rspamd's action.
func spamRows() []effect {
	const r, s = "check.rspamd.", "check.spamassassin."
	byScore := r + `by = "score"` + "\n"
	rows := []effect{
		{key: r + "by", value: `"score"`, scene: "20 no action", want: "+answer 554"},
		{key: r + "on_reject", value: `"hold"`, scene: "20 reject", want: "+verdict quarantine"},
		{key: r + "on_soft_reject", value: `"hold"`, scene: "4 soft reject", want: "+verdict quarantine"},
		{key: r + "on_add_header", value: `"hold"`, scene: "7 add header", want: "+verdict quarantine"},
		{key: r + "on_greylist", value: `"defer"`, scene: "4 greylist", want: "+answer 451"},
		{key: r + "on_quarantine", value: `"reject"`, scene: "4 quarantine", want: "+answer 554"},
		{key: r + "tag", value: "3", base: byScore, scene: "4 no action", want: "+rspamd.tag"},
		{key: r + "hold", value: "3", base: byScore + r + "tag = 1", scene: "4 no action", want: "+rspamd.hold"},
		{key: r + "reject", value: "8", base: byScore, scene: "9 no action", want: "+rspamd.reject"},
		{key: s + "user", value: `"ana"`, scene: "1", want: "+asked: User: ana"},
		{key: s + "received", value: "false", scene: "1", want: "-asked: Received:", still: "asked: Subject:"},
		{key: s + "tag", value: "3", scene: "4", want: "+spamassassin.tag"},
		{key: s + "hold", value: "3", base: s + "tag = 1", scene: "4", want: "+spamassassin.hold"},
		{key: s + "reject", value: "8", scene: "9", want: "+spamassassin.reject"},
	}
	for _, c := range []struct{ key, name, servers string }{{r, "rspamd", `["{rspamd}"]`}, {s, "spamassassin", `["{spamd}"]`}} {
		rows = append(rows,
			effect{key: c.key + "mode", value: `"observe"`, scene: "20 reject", want: "-verdict reject", still: c.name + ".reject"},
			effect{key: c.key + "servers", value: c.servers, scene: "20 reject", want: "+verdict reject"},
			effect{key: c.key + "timeout", value: `"100ms"`, scene: "slow", want: "+" + c.name + ".error"},
			effect{key: c.key + "max_size", value: `"1KB"`, scene: "large", want: "+" + c.name + ".too_large"},
			effect{key: c.key + "on_error", value: `"defer"`, scene: "gone", want: "+verdict defer"},
			effect{key: c.key + "factor", value: "2", scene: "2 no action", want: "+" + c.name + ".score +4 "},
			effect{key: c.key + "headers", value: "false", scene: "2 no action", want: "-X-Spam-Score: ", still: "verdict continue"},
			effect{key: c.key + "remove_headers", value: "false", scene: "2 no action", want: "+X-Spam-Old: yes\r\nSubject: "})
	}
	return rows
}

// TestSpamFilters: every key of the two spam filters, against servers that say
// what the scene has.
func TestSpamFilters(t *testing.T) {
	run(t, spamRows(), func(t *testing.T, toml string, e effect) string {
		name := strings.Split(e.key, ".")[1]
		for _, u := range [][2]string{{"mode", `"enforce"`}, {"servers", `["{` + map[string]string{"rspamd": "rspamd", "spamassassin": "spamd"}[name] + `}"]`}} {
			key := "check." + name + "." + u[0]
			if !strings.Contains(toml, key+" ") && e.key != "check."+name+".servers" || u[0] == "mode" && !strings.Contains(toml, key+" ") {
				toml += "\n" + key + " = " + u[1]
			}
		}
		score, action, _ := strings.Cut(e.scene, " ")
		var asked atomic.Value
		asked.Store("")
		toml = strings.NewReplacer("{rspamd}", rspamd(t, score, action), "{spamd}", spamd(t, score, &asked)).Replace(toml)
		d := newDesk(t, bare(name)+toml)
		raw := "X-Spam-Old: yes\r\n" + simple
		if score == "large" {
			raw += strings.Repeat("hola\r\n", 1000)
		}
		d.judge(raw, mail.In)
		for line := range strings.Lines(asked.Load().(string)) {
			d.note("asked: %s", strings.TrimSpace(line))
		}
		return d.text()
	})
}

// slowly is how long a slow server takes: below the shortest default.
const slowly = 2 * time.Second

// rspamd gives the address of one; words in place of a score are what it does
// instead of an answer.
func rspamd(t *testing.T, score, action string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch score {
		case "gone":
			panic(http.ErrAbortHandler)
		case "slow":
			select {
			case <-time.After(slowly):
			case <-r.Context().Done():
			}
		}
		if _, err := strconv.Atoi(score); err != nil {
			score, action = "0", "no action"
		}
		fmt.Fprintf(w, `{"score":%s,"required_score":15,"action":%q,"symbols":{}}`, score, action)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// spamd is rspamd for SPAMC, and remembers what it was asked.
func spamd(t *testing.T, score string, asked *atomic.Value) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				text, err := io.ReadAll(r)
				if err != nil || score == "gone" {
					return
				}
				asked.Store(string(text))
				if score == "slow" {
					time.Sleep(slowly)
				}
				points, err := strconv.Atoi(score)
				if err != nil {
					points = 0
				}
				fmt.Fprintf(c, "SPAMD/1.1 0 EX_OK\r\nContent-length: 1\r\nSpam: %v ; %d.0 / 5.0\r\n\r\nA", map[bool]string{true: "True", false: "False"}[points >= 5], points)
			}()
		}
	}()
	return l.Addr().String()
}
