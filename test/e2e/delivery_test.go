package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"garita/test/harness"
)

// unix is a message as Postfix stores it.
func unix(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// wantMessage compares what arrived, without the Received fields at its top,
// octet for octet, and wants one of them to be ours.
func wantMessage(t *testing.T, got, want string) {
	t.Helper()
	rest, received := harness.WithoutTrace(got)
	if rest != want {
		t.Errorf("the message changed on its way:\ngot  %q\nwant %q", rest, want)
	}
	ours := 0
	for _, r := range received {
		if strings.Contains(r, "by gw.example") {
			ours++
		}
	}
	if ours != 1 {
		t.Errorf("%d Received fields are ours, want 1:\n%s", ours, strings.Join(received, ""))
	}
}

func TestSwaksThroughGatewayToPostfix(t *testing.T) {
	t.Parallel()
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}})
	g := harness.StartGateway(t, harness.Options{NextHop: p.Addr, Trust: strangers})
	eml := filepath.Join(harness.Dir(t), "m.eml")
	if err := os.WriteFile(eml, []byte(unix(message)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := harness.Swaks(t, g.Inbound, "--from", "a@x.example", "--to", "b@our.example,c@our.example", "--data", eml)
	if code != 0 {
		t.Fatalf("swaks: exit status %d\n%s", code, out)
	}
	id := harness.QueueID(out)
	if id == "" {
		t.Fatalf("the final reply does not carry Postfix's queue id:\n%s", out)
	}
	got := p.WaitDelivered(t, 1)[id]
	// swaks ends the message with empty lines of its own.
	rest, received := harness.WithoutTrace(got)
	if strings.TrimRight(rest, "\n") != strings.TrimRight(unix(message), "\n") {
		t.Errorf("got %q", rest)
	}
	if len(received) != 2 || !strings.Contains(received[1], "by gw.example") {
		t.Errorf("Received fields: %q", received)
	}
	g.WaitLog("status=sent")
	g.WaitLog(id)
}

func TestExactBytesToPostfix(t *testing.T) {
	t.Parallel()
	p := harness.StartPostfix(t, harness.PostfixOptions{Domains: []string{"our.example"}})
	g := harness.StartGateway(t, harness.Options{NextHop: p.Addr, Trust: strangers})
	messages := []string{message, "\r\nonly a body\r\n", "Subject: no body\r\n", "Subject: eight\r\n\r\ncaf\xc3\xa9 \xff\xfe\r\n", "Subject: blank lines at the end\r\n\r\nx\r\n\r\n\r\n"}
	c := harness.Greeted(t, g.Inbound)
	ids := map[string]string{}
	for _, m := range messages {
		r := c.Send("a@x.example", []string{"b@our.example"}, m)
		if r.Code != 250 {
			t.Fatal(r)
		}
		ids[harness.QueueID(r.Text())] = m
	}
	got := p.WaitDelivered(t, len(messages))
	for id, m := range ids {
		// Postfix puts an empty line in front of a body without header.
		wantMessage(t, got[id], unix(m))
	}
}

func TestSMTPSourceManyMessages(t *testing.T) {
	t.Parallel()
	dir := harness.SinkDir(t)
	sink, _ := harness.SMTPSink(t, "-d", dir+"/m.")
	g := harness.StartGateway(t, harness.Options{NextHop: sink, Trust: strangers})
	const n = 200
	out, code := harness.SMTPSource(t, g.Inbound, "-m", "200", "-s", "10", "-l", "5000", "-d", "-f", "a@x.example", "-t", "b@our.example")
	if code != 0 {
		t.Fatalf("smtp-source: exit status %d\n%s", code, out)
	}
	dumps := harness.SinkDumps(t, dir)
	if len(dumps) != n {
		t.Errorf("%d messages arrived, want %d", len(dumps), n)
	}
	for _, d := range dumps {
		if !strings.Contains(d, "by gw.example") {
			t.Fatalf("a message came without our trace:\n%s", d)
		}
	}
}

// Postfix gives its mail to the gateway by content_filter, as to amavis, and
// gets it back on a reinjection port.
func TestPostfixContentFilter(t *testing.T) {
	t.Parallel()
	reinject, filter := harness.Addr(t), harness.Addr(t)
	harness.StartGateway(t, harness.Options{FilterTo: reinject, FilterAddr: filter})
	testContentFilter(t, filter, reinject, nil)
}

func testContentFilter(t *testing.T, filter, reinject string, main map[string]string) {
	t.Helper()
	o := harness.PostfixOptions{
		Name:    "filtered",
		Domains: []string{"our.example"},
		Main:    map[string]string{"content_filter": "scan:[127.0.0.1]:" + port(filter)},
		Services: []string{
			"scan unix - - n - 2 smtp\n -o smtp_send_xforward_command=yes\n -o disable_mime_output_conversion=yes\n -o smtp_tls_security_level=none",
			reinject + " inet n - n - - smtpd\n -o content_filter=\n -o mynetworks=127.0.0.0/8\n -o smtpd_authorized_xforward_hosts=127.0.0.0/8" +
				"\n -o syslog_name=postfix-reinject\n -o receive_override_options=no_unknown_recipient_checks,no_header_body_checks",
		},
	}
	for k, v := range main {
		o.Main[k] = v
	}
	// The client as the outer smtpd sees it: only XCLIENT can make it differ
	// from our own on one machine.
	o.Main["smtpd_authorized_xclient_hosts"] = "127.0.0.0/8"
	p := harness.StartPostfix(t, o)
	c := harness.Greeted(t, p.Addr)
	c.Say("XCLIENT NAME=far.client.example ADDR=203.0.113.9").Want(220)
	c.Say("EHLO far.client.example").Want(250)
	if r := c.Send("a@x.example", []string{"b@our.example"}, message); r.Code != 250 {
		t.Fatal(r)
	}
	for _, got := range p.WaitDelivered(t, 1) {
		wantMessage(t, got, unix(message))
	}
	log := p.Log()
	if !strings.Contains(reinjected(log), "client=far.client.example[203.0.113.9]") {
		t.Errorf("XFORWARD did not come back to Postfix:\n%s", log)
	}
}

// reinjected is what the reinjection smtpd logged.
func reinjected(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "postfix-reinject/smtpd") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestContentFilterLogsTheForwardedClient(t *testing.T) {
	t.Parallel()
	reinject, filter := harness.Addr(t), harness.Addr(t)
	g := harness.StartGateway(t, harness.Options{FilterTo: reinject, FilterAddr: filter})
	testContentFilter(t, filter, reinject, nil)
	g.WaitLog("far.client.example[203.0.113.9]")
}

// Postfix hands all outgoing mail to the gateway as its relayhost.
func TestPostfixRelayhostOutbound(t *testing.T) {
	t.Parallel()
	b := harness.StartSandbox(t, harness.SandboxOptions{})
	g := harness.StartGateway(t, harness.Options{SmartHost: b.Addr})
	p := harness.StartPostfix(t, harness.PostfixOptions{Name: "office", RelayHost: g.Outbound})
	c := harness.Greeted(t, p.Addr)
	if r := c.Send("user@our.example", []string{"v@victim.example", "w@elsewhere.example"}, message); r.Code != 250 {
		t.Fatal(r)
	}
	harness.Eventually(t, "the sandbox got nothing", func() bool { return b.Count() == 1 })
	got := b.Stored()[0]
	slices.Sort(got.To) // Postfix keeps no order
	if got.From != "user@our.example" || strings.Join(got.To, " ") != "v@victim.example w@elsewhere.example" {
		t.Errorf("envelope %s -> %v", got.From, got.To)
	}
	wantMessage(t, string(got.Data), message)
	p.WaitLog(t, "status=sent")
	if strings.Contains(p.Log(), "status=deferred") {
		t.Errorf("Postfix had to try twice:\n%s", p.Log())
	}
}

// Postfix asks the gateway before it accepts a message (smtpd_proxy_filter)
// and gets it back on another port, which then queues it.
func TestPostfixProxyFilter(t *testing.T) {
	t.Parallel()
	for _, speed := range []string{"", "speed_adjust"} {
		t.Run("options="+speed, func(t *testing.T) {
			reinject, filter := harness.Addr(t), harness.Addr(t)
			g := harness.StartGateway(t, harness.Options{FilterTo: reinject, FilterAddr: filter})
			p := harness.StartPostfix(t, harness.PostfixOptions{
				Name:    "proxied",
				Domains: []string{"our.example"},
				Smtpd:   []string{"smtpd_proxy_filter=" + g.Filter, "smtpd_proxy_options=" + speed, "smtpd_client_connection_count_limit=10"},
				Services: []string{reinject + " inet n - n - - smtpd\n -o smtpd_authorized_xforward_hosts=127.0.0.0/8" +
					"\n -o syslog_name=postfix-reinject\n -o receive_override_options=no_unknown_recipient_checks"},
			})
			c := harness.Greeted(t, p.Addr)
			r := c.Send("a@x.example", []string{"b@our.example"}, message)
			if r.Code != 250 {
				t.Fatalf("%s\n%s", r, p.Log())
			}
			if harness.QueueID(r.Text()) == "" {
				t.Errorf("the reply lacks the queue id of the reinjection: %s", r)
			}
			for _, got := range p.WaitDelivered(t, 1) {
				wantMessage(t, got, unix(message))
			}
		})
	}
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
