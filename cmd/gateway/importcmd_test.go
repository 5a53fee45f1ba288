package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/rules"
)

// imported runs garita import.
func imported(t *testing.T, in string, args ...string) (code int, out, report string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = execute(append([]string{"import"}, args...), terminal{in: strings.NewReader(in), out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

// importFile writes a file to import.
func importFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestImportMainLoads: what is made of a main.cf of the guides' kind is a
// configuration that the gateway takes, whatever is wrong with the original.
func TestImportMainLoads(t *testing.T) {
	dir := t.TempDir()
	importFile(t, dir, "transport", "third.example smtp:mail.third.example\nbad..example smtp:[x]\nfourth.example relay:[192.0.2.9]:2525\nfifth.example local:\n")
	importFile(t, dir, "access", "malo.example REJECT\n192.0.2.7 REJECT\n192.0.2.9/24 REJECT\n*.example REJECT\nunknown REJECT\nana@malo.example OK\n600 x\n")
	importFile(t, dir, "virtual", "second.example x\ninfo@our.example ana, luis@our.example\ninfo@elsewhere.example x@our.example\nring@our.example ring@our.example\n")
	importFile(t, dir, "checks", "/^Subject: x/ REJECT\n")
	main := importFile(t, dir, "main.cf", `myhostname = mx.our.example
mydestination = $myhostname our.example localhost hash:virtual -bad- our.example
mynetworks = 127.0.0.0/8 192.0.2.0/24 0.0.0.0/0
relayhost = [192.0.2.30]
transport_maps = hash:transport
virtual_alias_maps = hash:virtual
relay_recipient_maps = hash:virtual
smtpd_client_restrictions = permit_mynetworks hash:access
smtpd_sender_restrictions = hash:access
smtpd_helo_restrictions = hash:access
smtpd_recipient_restrictions = check_recipient_access hash:access check_sender_access hash:access check_relay_domains
smtpd_client_message_rate_limit = 10
anvil_rate_time_unit = 60
smtpd_tls_cert_file = /etc/ssl/none.pem
smtpd_use_tls = yes
smtp_tls_security_level = dane
header_checks = pcre:`+filepath.Join(dir, "checks")+`
body_checks = pcre:`+filepath.Join(dir, "not-there")+`
message_size_limit = 1
smtpd_recipient_limit = 999999999
hopcount_limit = 50
smtpd_timeout = 300s
smtpd_client_event_limit_exceptions = 192.0.2.0/24
recipient_delimiter = +-
`)
	code, out, report := imported(t, "", "postfix-main.cf", main)
	if code != exitOK {
		t.Fatal(code, report)
	}
	config := importFile(t, dir, "config.toml", out)
	s, _, problems := load(config, nil)
	if len(problems) > 0 {
		t.Fatalf("%s\n%s\n%s", problems, out, report)
	}
	if s.Hostname != "mx.our.example" || strings.Join(s.Listener["inbound"].RelayDomains, " ") != "mx.our.example our.example second.example" ||
		s.NextHop["smarthost"].URL != "smtp://192.0.2.30:25" || len(s.Listener["outbound"].TrustedNetworks) != 2 || s.Conduct.Messages != 10 {
		t.Errorf("%s", out)
	}
	if a := s.Check.Access; strings.Join(a.Clients, "|") != "192.0.2.7 reject" || strings.Join(a.Names, "|") != "malo.example reject" ||
		strings.Join(a.Senders, "|") != "malo.example reject" {
		t.Errorf("%+v", a)
	}
	for _, said := range []string{"one file for client and helo and recipient and sender", "is everybody: an open relay", "open relay for whoever",
		"bad..example smtp:[x] is left out", "obsolete", "imported,"} {
		if !strings.Contains(report, said) {
			t.Errorf("nothing is said of %q in\n%s", said, report)
		}
	}
}

// TestImportEmptyMainLoads: a main.cf that says nothing still gives a
// configuration that loads, with names to fill in.
func TestImportEmptyMainLoads(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "myhostname = ((\nmynetworks = x\nrelayhost = y z\nmydestination =\n"} {
		code, out, report := imported(t, text, "postfix-main.cf", "-")
		if code != exitOK {
			t.Fatal(code, report)
		}
		if _, _, problems := load(importFile(t, t.TempDir(), "config.toml", out), nil); len(problems) > 0 {
			t.Errorf("%q: %s\n%s", text, problems, out)
		}
	}
}

// TestImportCommands: each kind, its exit code, and what goes where.
func TestImportCommands(t *testing.T) {
	dir := t.TempDir()
	body := importFile(t, dir, "body_checks", "/(filename|name)=\"Alegre\\.exe\"/ REJECT\n/^begin \\d+ x/ REJECT\n/(/ REJECT\n")
	for _, file := range []string{body, "pcre:" + body} {
		code, out, report := imported(t, "", "postfix-body-checks", file)
		if code != exitOK || !strings.Contains(out, `attachment name is "Alegre.exe"`) || !strings.Contains(report, "1 imported, 0 changed, 1 skipped, 1 dead") {
			t.Errorf("%d\n%s\n%s", code, out, report)
		}
		if guessed := strings.Contains(report, "taken for a pcre: table"); guessed == strings.HasPrefix(file, "pcre:") {
			t.Errorf("%s: %s", file, report)
		}
		if _, problems := rules.Parse(rules.Source{Name: "x", Text: []byte(out)}, rules.ParseOptions{}); len(problems) > 0 {
			t.Errorf("%+v\n%s", problems, out)
		}
	}
	code, out, _ := imported(t, "/^Subject: x/ REJECT\n", "postfix-header-checks", "--mode", "enforce", "--kind", "regexp", "-o", "json", "-")
	var got struct {
		TOML, Summary string
		Lines         []struct {
			Line             int
			Fate, What, Rule string
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK {
		t.Fatal(err, code, out)
	}
	if last := got.Lines[len(got.Lines)-1]; last.Fate != "imported" || last.Line != 1 || last.Rule != "rule-1" || !strings.Contains(got.TOML, `mode = "enforce"`) {
		t.Errorf("%+v", got)
	}
	code, out, report := imported(t, "a.example OK\nb.example REJECT\n*.x.example REJECT\n", "postfix-access", "--check", "sender", "-")
	if code != exitOK || !strings.Contains(out, `senders = ["b.example reject"]`) || !strings.Contains(report, "there are no wildcards") {
		t.Errorf("%d\n%s\n%s", code, out, report)
	}
	code, out, report = imported(t, "deny\t\\.exe$\tx\ty\n", "mailscanner-filename-rules", "-")
	if code != exitOK || !strings.Contains(out, `attachment extension is "exe"`) {
		t.Errorf("%d\n%s\n%s", code, out, report)
	}
	for want, args := range map[int][]string{
		exitFailed: {"postfix-header-checks", filepath.Join(dir, "none")},
		exitUsage:  {"postfix-header-checks", "--kind", "regexp", "pcre:" + body},
	} {
		if code, out, report := imported(t, "", args...); code != want || out != "" || report == "" {
			t.Errorf("%v: %d %q %q", args, code, out, report)
		}
	}
	if code, _, _ := imported(t, "", "postfix-main.cf", dir); code != exitFailed {
		t.Error("a folder is read")
	}
	if code, _, _ := imported(t, "", "postfix-access", "pcre:"+body); code != exitUsage {
		t.Error("patterns are taken for a list")
	}
}

// TestReportSaysOnce: what holds of many lines is said of the first.
func TestReportSaysOnce(t *testing.T) {
	text := "/name=\"(a|b)\\.exe\"/ REJECT\n/name=\"(c|d)\\.exe\"/ REJECT\n/name=\"(e|f)\\.exe\"/ REJECT\n"
	_, _, report := imported(t, text, "postfix-body-checks", "--kind", "regexp", "-")
	if n := strings.Count(report, "go to mime_header_checks"); n != 1 || strings.Count(report, "as line 1 (sample") != 2 {
		t.Errorf("said %d times:\n%s", n, report)
	}
	if !strings.Contains(report, "3 dead (3 of them now rules for what they meant), 1 noted") {
		t.Errorf("no sum of the dead:\n%s", report)
	}
}

// TestReportOfAccents: a line of the body with accents is one charset alone.
func TestReportOfAccents(t *testing.T) {
	_, _, report := imported(t, "/la información/ REJECT\n/la informacion/ REJECT\n", "postfix-body-checks", "--kind", "pcre", "-")
	if strings.Count(report, "accents are those of one charset") != 1 || !strings.Contains(report, "/la información/ REJECT => ") {
		t.Errorf("%s", report)
	}
}

// TestImportedAccessLoads: lists of a file with all that can stand in one are
// taken by the gateway.
func TestImportedAccessLoads(t *testing.T) {
	text := "a@b.example REJECT\nb.example 550 5.7.1 Más\n.c.example DEFER\nuser@ REJECT\n<> REJECT\n192.0.2.0/24 REJECT\n192.0 OK\n2001:db8::/32 450 x\n" +
		"[192.0.2.1] REJECT\nñ.example REJECT\n\"a b\"@c.example REJECT\na@b@c REJECT\nx.example DUNNO\n- REJECT\nhost 421 x\nz.example 599 x\n"
	for _, kind := range []string{"client", "sender", "recipient", "helo"} {
		_, out, report := imported(t, text, "postfix-access", "--check", kind, "-")
		config := minimalConfig + out
		if _, _, problems := load(importFile(t, t.TempDir(), "config.toml", config), nil); len(problems) > 0 {
			t.Errorf("%s: %s\n%s\n%s", kind, problems, out, report)
		}
		if !strings.Contains(out, "reject") {
			t.Errorf("%s: nothing was taken\n%s", kind, report)
		}
	}
}

const minimalConfig = `hostname = "mx.our.example"
[listener.inbound]
role = "inbound"
listen = ["127.0.0.1:2525"]
next_hop = "m"
relay_domains = ["our.example"]
[next_hop.m]
url = "smtp://127.0.0.1:2526"
`
