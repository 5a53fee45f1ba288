package e2e

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// get asks the metrics listener.
func get(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(data)
}

// fetchMetrics gives the samples of /metrics by name and labels.
func fetchMetrics(t *testing.T, addr string) map[string]float64 {
	t.Helper()
	code, text := get(t, addr, "/metrics")
	if code != 200 {
		t.Fatalf("/metrics: %d\n%s", code, text)
	}
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, ok := cutLast(strings.TrimSpace(line))
		if ok && !strings.HasPrefix(line, "#") {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("/metrics: %q", line)
			}
			out[name] = n
		}
	}
	return out
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// TestMetrics: the counters move with the mail, and nothing that a stranger
// chooses becomes a label (attacks L-34).
func TestMetrics(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	at := harness.Addr(t)
	g := behindBalancer(t, hop.Addr(), harness.Setting{Table: "metrics", Key: "listen", Value: quoted(at)},
		harness.Setting{Table: "check.access", Key: "senders", Value: `["spam.example reject"]`}, conductKey("messages", "5"),
		harness.Setting{Table: "route", Key: "known_recipients", Value: `["b@our.example"]`})
	table := harness.TableOf(t, g.Config, "outbound")
	smart, mailbox := harness.Value(t, g.Config, table, "next_hop"), harness.Value(t, g.Config, harness.TableOf(t, g.Config, "inbound"), "next_hop")
	harness.Configure(t, g.Config, harness.Setting{Table: table, Key: "trusted_networks", Value: `["127.0.0.0/8"]`},
		harness.Setting{Table: "next_hop." + smart, Key: "url", Value: quoted("smtp://" + hop.Addr())})
	g.Start()
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 404, "/debug/pprof/": 404} {
		if code, text := get(t, at, path); code != want {
			t.Errorf("%s: %d\n%s", path, code, text)
		}
	}
	before := fetchMetrics(t, at)
	c := harness.GreetedFrom(t, "198.51.100.77", g.Inbound)
	c.StartTLS(anyTLS())
	for range 3 {
		if r := c.Send("hostile-sender@x.example", []string{"b@our.example"}, message); r.Code != 250 {
			t.Fatal(r)
		}
	}
	c.Say("MAIL FROM:<a@spam.example>").Want(250)
	c.Say("RCPT TO:<b@our.example>").Want(554)
	c.Say("RSET").Want(250)
	c.Say("MAIL FROM:<a@x.example>").Want(250)
	c.Say("RCPT TO:<hostile-recipient@our.example>").Want(550)
	c.Say("RSET").Want(250)
	c.Say("MAIL FROM:<a@x.example>").Want(450)
	c.Say("QUIT").Want(221)
	own := harness.Dial(t, g.Outbound)
	own.Want(220)
	own.Say("EHLO hostile-helo.example").Want(250)
	if r := own.Send("a@our.example", []string{"b@far.example"}, message); r.Code != 250 {
		t.Fatal(r)
	}
	own.Say("QUIT").Want(221)
	var now map[string]float64
	harness.Eventually(t, "the last session and its lines in the log are not counted", func() bool {
		now = fetchMetrics(t, at)
		return now["garita_smtp_connections"] == 0 && now["garita_log_records_total"] > before["garita_log_records_total"]
	})
	for name, want := range map[string]float64{
		`garita_messages_total{direction="in",verdict="relayed"}`:                    3,
		`garita_messages_total{direction="out",verdict="relayed"}`:                   1,
		`garita_recipients_total{direction="in",verdict="relayed"}`:                  3,
		`garita_message_size_bytes_count{direction="in"}`:                            3,
		`garita_rule_hits_total{action="reject",rule="access.sender"}`:               1,
		`garita_delivery_attempts_total{nexthop="` + mailbox + `",result="relayed"}`: 3,
		`garita_delivery_attempts_total{nexthop="` + smart + `",result="relayed"}`:   1,
		`garita_smtp_connections_total`:                                              2,
		`garita_smtp_tls_connections_total{direction="in",tls_version="1.3"}`:        1,
		`garita_smtp_tls_connections_total{direction="out",tls_version="none"}`:      1,
		`garita_conduct_refusals_total`:                                              1,
		`garita_smtp_session_duration_seconds_count{direction="in"}`:                 1,
	} {
		if got := now[name] - before[name]; got != want {
			t.Errorf("%s moved by %g, want %g", name, got, want)
		}
	}
	if name := `garita_store_entries{store="state"}`; now[name] <= before[name] {
		t.Errorf("%s is %g after %g", name, now[name], before[name])
	}
	for name := range now {
		for _, word := range []string{"198.51.100", "127.0.0", "hostile", "x.example", "spam.example", "our.example", "far.example"} {
			if strings.Contains(name, word) {
				t.Errorf("a label has what a stranger chose: %s", name)
			}
		}
	}
	// A stranger's web page must not read it, and nobody writes.
	r, err := http.Post("http://"+at+"/metrics", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %d", r.StatusCode)
	}
}

// TestReadiness: /readyz follows what garita health says, and the listener
// itself follows the configuration.
func TestReadiness(t *testing.T) {
	t.Parallel()
	hop := startHop(t, fakehop.Config{})
	at := harness.Addr(t)
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr(), SmartHost: hop.Addr(), Settings: []harness.Setting{
		{Table: "metrics", Key: "listen", Value: quoted(at)},
	}})
	if code, _ := get(t, at, "/readyz"); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	good, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, g.Config, string(good)+"\nnonsense = 1\n")
	reload(t, g, 78)
	if m := fetchMetrics(t, at); m["garita_config_last_reload_successful"] != 0 || m[`garita_config_reloads_total{result="bad"}`] != 1 {
		t.Errorf("a bad reload is not counted: %g, %g", m["garita_config_last_reload_successful"], m[`garita_config_reloads_total{result="bad"}`])
	}
	if code, _ := get(t, at, "/healthz"); code != 200 {
		t.Errorf("/healthz after a bad reload: %d", code)
	}
	writeFile(t, g.Config, string(good))
	other := harness.Addr(t)
	harness.Configure(t, g.Config, harness.Setting{Table: "metrics", Key: "listen", Value: quoted(other)})
	reload(t, g, 0)
	if m := fetchMetrics(t, other); m["garita_config_last_reload_successful"] != 1 {
		t.Error("a good reload does not mend the figure")
	}
	if _, err := http.Get("http://" + at + "/metrics"); err == nil {
		t.Error("the old address still answers")
	}
}
