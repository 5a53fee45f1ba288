package policyd

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"garita/test/harness"
)

// three is a gateway that a real Postfix asks as a milter, asks as a policy
// server, and gives its outbound mail to; policy is a second port of Postfix
// that only asks the policy server.
type three struct {
	g      *harness.Gateway
	p      *harness.Postfix
	out    *harness.Sandbox
	policy string
}

func doors(t *testing.T, countAt, checks string) *three {
	t.Helper()
	milter, policy := harness.Addr(t), harness.Addr(t)
	d := &three{out: harness.StartSandbox(t, harness.SandboxOptions{}), policy: harness.Addr(t)}
	d.g = harness.StartGateway(t, harness.Options{SmartHost: d.out.Addr, Settings: []harness.Setting{
		{Table: "milter", Key: "enabled", Value: "true"}, {Table: "milter", Key: "listen", Value: fmt.Sprintf("[%q]", milter)},
		{Table: "policyd", Key: "enabled", Value: "true"}, {Table: "policyd", Key: "listen", Value: fmt.Sprintf("[%q]", policy)},
		{Table: "policyd", Key: "checks", Value: checks},
		{Table: "identity", Key: "hosts", Value: `["127.0.0.1/32"]`}, {Table: "identity", Key: "default_domain", Value: `"our.example"`},
		{Table: "check.limits", Key: "mode", Value: `"enforce"`}, {Table: "check.limits", Key: "user", Value: `["50 messages / 1h", "100 recipients / 1h"]`},
		{Table: "check.limits", Key: "count_at", Value: fmt.Sprintf("%q", countAt)},
	}})
	d.p = harness.StartPostfix(t, harness.PostfixOptions{RelayHost: d.g.Outbound, Main: map[string]string{
		"mynetworks": "192.0.2.0/24", "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": dovecot(t),
		"smtpd_sasl_authenticated_header": "yes", "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
		"smtpd_recipient_restrictions": "check_policy_service inet:" + policy + ", permit_sasl_authenticated, reject",
		"smtpd_milters":                "inet:" + milter, "milter_default_action": "tempfail", "smtpd_error_sleep_time": "0",
	}, Services: []string{d.policy + " inet n - n - - smtpd -o smtpd_milters="}})
	harness.WaitPort(t, d.policy)
	return d
}

// ana logs in at Postfix.
func (d *three) ana(t *testing.T, addr string) *harness.Client {
	t.Helper()
	c := harness.Greeted(t, addr)
	c.Say("EHLO client.example").Want(250)
	c.Say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ana@our.example\x00secret"))).Want(235)
	return c
}

// run is a command of the operator that must succeed.
func (d *three) run(t *testing.T, args ...string) string {
	t.Helper()
	out, code := d.g.Run(append(args, "--config", d.g.Config)...)
	if code != 0 {
		t.Fatalf("%v: %d\n%s", args, code, out)
	}
	return out
}

// used is what a user has used of his limits of messages and recipients.
func (d *three) used(t *testing.T, user string) (messages, rcpts int64) {
	t.Helper()
	var v struct {
		Users []struct {
			Limits []struct {
				Limit json.RawMessage `json:"limit"`
				Used  int64           `json:"used"`
			} `json:"limits"`
		} `json:"users"`
	}
	text := d.run(t, "limits", "list", user, "-o", "json")
	if err := json.Unmarshal([]byte(text), &v); err != nil || len(v.Users) > 1 {
		t.Fatalf("%v: %s", err, text)
	}
	if len(v.Users) == 0 || len(v.Users[0].Limits) < 2 {
		return 0, 0
	}
	return v.Users[0].Limits[0].Used, v.Users[0].Limits[1].Used
}

// TestThreeDoors: milter, policy server and wire all know who sends a message,
// whatever its header claims; it is counted once, where count_at says;
// nothing but the names of logins is taken out of it; and in sessions that are
// open the user is stopped by either door.
func TestThreeDoors(t *testing.T) {
	for countAt, checks := range map[string]string{"wire": `["suspension", "limits"]`, "door": `["suspension", "limits"]`} {
		t.Run(countAt, func(t *testing.T) {
			t.Parallel()
			d := doors(t, countAt, checks)
			both, policy := d.ana(t, d.p.Addr), d.ana(t, d.policy)
			const mails = 4
			forged := "Received: from x (x [127.0.0.1])\r\n\t(Authenticated sender: victim@our.example)\r\n\tby mx.test (Postfix) with ESMTPSA id A1; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
			rest := "From: ana@our.example\r\nX-Odd:   spaces  \r\n\tand folds\r\n" + "Message-ID: <%d@our.example>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nSubject: mail %d\r\n\r\n..dots\r\n\r\nlast\r\n"
			for i := range mails {
				both.Envelope("ana@our.example", "x@elsewhere.example", "y@elsewhere.example")
				both.Say("DATA").Want(354)
				both.Raw(harness.Stuff(forged + "X-Authenticated-User: victim@our.example\r\n" + fmt.Sprintf(rest, i, i))).Want(250)
			}
			harness.Eventually(t, "the mails do not arrive", func() bool { return len(d.out.Stored()) == mails })
			for _, m := range d.out.Stored() {
				text := string(m.Data)
				var i int
				fmt.Sscanf(text[strings.Index(text, "Subject: mail "):], "Subject: mail %d", &i)
				// The forged line is no trace of ours, so it stays as it is.
				if want := forged + fmt.Sprintf(rest, i, i); !strings.HasSuffix(text, want) {
					t.Errorf("it left as\n%q\nnot with\n%q", text, want)
				}
				if strings.Contains(text, "sender: ana") || strings.Contains(text, "X-Authenticated-User") {
					t.Errorf("the name of a login has left:\n%s", text)
				}
			}
			if m, r := d.used(t, "ana"); m != mails || r != 2*mails {
				t.Errorf("%d messages and %d recipients are counted of %d and %d", m, r, mails, 2*mails)
			}
			if m, _ := d.used(t, "victim"); m != 0 {
				t.Errorf("the victim has used %d", m)
			}
			var c struct {
				Shares []struct {
					Source   string
					Messages int64
				}
			}
			if err := json.Unmarshal([]byte(d.run(t, "user", "coverage", "-o", "json")), &c); err != nil {
				t.Fatal(err)
			}
			for _, s := range c.Shares {
				want := map[string]int64{"milter": mails, "received": mails}[s.Source]
				if s.Messages != want {
					t.Errorf("%d messages are known by %s, want %d", s.Messages, s.Source, want)
				}
			}
			if out := d.run(t, "user", "sessions", "ana"); !strings.Contains(out, "PLAIN") || !strings.Contains(out, "milter") || strings.Count(out, "ana@our.example") != 1 {
				t.Errorf("sessions:\n%s", out)
			}
			policy.Envelope("ana@our.example", "x@elsewhere.example")
			if out := d.run(t, "user", "suspend", "ana"); !strings.Contains(out, "1 open sessions") {
				t.Errorf("%s", out)
			}
			begun := time.Now()
			if r := policy.Say("RCPT TO:<y@elsewhere.example>").Want(421); !strings.Contains(r.Text(), "4.7.0") {
				t.Errorf("policy: %s", r)
			}
			policy.WantClosed()
			if r := both.Say("MAIL FROM:<ana@our.example>").Want(421); !strings.Contains(r.Text(), "4.7.0") {
				t.Errorf("milter: %s", r)
			}
			both.WantClosed()
			t.Logf("from the end of the command to both 421: %s", time.Since(begun))
			d.run(t, "user", "resume", "ana")
			// Kick ends a session, not the user.
			both = d.ana(t, d.p.Addr)
			both.Say("MAIL FROM:<ana@our.example>").Want(250)
			if out := d.run(t, "user", "kick", "ana"); !strings.HasPrefix(out, "1 sessions") {
				t.Errorf("%s", out)
			}
			both.Say("RCPT TO:<y@elsewhere.example>").Want(421)
			both.WantClosed()
			both = d.ana(t, d.p.Addr)
			both.Say("MAIL FROM:<ana@our.example>").Want(250)
			both.Say("RCPT TO:<y@elsewhere.example>").Want(250)
			if t.Failed() {
				t.Log(d.g.Log())
				t.Log(d.p.Log())
			}
		})
	}
}
