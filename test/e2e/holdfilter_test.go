package e2e

import (
	"strings"
	"testing"

	"garita/test/harness"
)

// TestPostfixHoldAndRelease is the content filter behind a real Postfix: what
// is refused there becomes a hold, Postfix keeps nothing and bounces nothing,
// and a release goes back to it once. A recipient whose mail is held has a
// transaction of its own; the others do not wait for it.
func TestPostfixHoldAndRelease(t *testing.T) {
	t.Parallel()
	reinject, filter := harness.Addr(t), harness.Addr(t)
	g := harness.NewGateway(t, harness.Options{FilterTo: reinject, FilterAddr: filter})
	harness.Configure(t, g.Config, harness.Setting{Table: "check.access", Key: "recipients", Value: `["held@our.example reject"]`})
	g.Start()
	p := harness.StartPostfix(t, harness.PostfixOptions{
		Name: "holding", Domains: []string{"our.example"},
		Main: map[string]string{"content_filter": "scan:[127.0.0.1]:" + port(filter), "minimal_backoff_time": "1s", "maximal_backoff_time": "1s", "queue_run_delay": "1s"},
		Services: []string{
			"scan unix - - n - 2 smtp\n -o smtp_send_xforward_command=yes\n -o disable_mime_output_conversion=yes\n -o smtp_tls_security_level=none",
			reinject + " inet n - n - - smtpd\n -o content_filter=\n -o mynetworks=127.0.0.0/8\n -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n -o syslog_name=postfix-reinject",
		},
	})
	c := harness.Greeted(t, p.Addr)
	c.Say("EHLO far.client.example").Want(250)
	program := "Subject: a program\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n" +
		"Content-Disposition: attachment; filename=\"invoice.pdf.exe\"\r\n\r\n.x\r\n--b--\r\n"
	if r := c.Send("forged@x.example", []string{"b@our.example"}, program); r.Code != 250 {
		t.Fatal(r)
	}
	if r := c.Send("a@x.example", []string{"b@our.example", "held@our.example", "c@our.example"}, "Subject: for three\r\n\r\nx\r\n"); r.Code != 250 {
		t.Fatal(r)
	}
	harness.Eventually(t, "both are held", func() bool { return holds(t, g).Total == 2 })
	p.WaitEmpty(t)
	if log := p.Log(); strings.Contains(log, "status=bounced") || strings.Contains(log, "sender non-delivery") {
		t.Errorf("Postfix bounced:\n%s", log)
	}
	before := p.Delivered(t)
	for _, m := range before {
		if strings.Contains(m, "a program") {
			t.Error("what is held was delivered")
		}
	}
	if len(before) != 1 { // for b and c in one
		t.Errorf("%d were delivered", len(before))
	}
	if out, code := g.Run("hold", "release", "--since", "1h", "--yes", "--config", g.Config); code != 0 {
		t.Error(out)
	}
	g.Run("hold", "release", "--since", "1h", "--yes", "--config", g.Config) // and nothing twice
	after := p.WaitDelivered(t, 3)
	p.WaitEmpty(t)
	programs, all := 0, p.Delivered(t)
	for _, m := range all {
		if strings.Contains(m, "invoice.pdf.exe") {
			programs++
		}
	}
	if programs != 1 || len(after) != 3 || len(all) != 3 {
		t.Errorf("%d programs, %d and then %d letters", programs, len(after), len(all))
	}
}
