package redis

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	milter "github.com/emersion/go-milter"
	"github.com/redis/go-redis/v9/logging"

	"garita/accounts"
	"garita/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	logging.Disable() // the client's own lines about connections that tests end
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}

// node is one gateway of several with one Redis.
type node struct {
	*harness.Gateway
	t                          *testing.T
	submission, milter, policy string
}

// gateways starts two with everything by which users send, and what takes
// their mail.
func gateways(t *testing.T, s *server, limit string) (a, b *node, out *harness.Sandbox) {
	t.Helper()
	out = harness.StartSandbox(t, harness.SandboxOptions{})
	line, err := accounts.Line("ana@our.example", "secret", true)
	if err != nil {
		t.Fatal(err)
	}
	one := func() *node {
		n := &node{t: t, submission: harness.Addr(t), milter: harness.Addr(t), policy: harness.Addr(t)}
		users := filepath.Join(t.TempDir(), "users")
		if err := os.WriteFile(users, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		n.Gateway = harness.NewGateway(t, harness.Options{SmartHost: out.Addr, Settings: []harness.Setting{
			{Table: "store", Key: "kind", Value: `"redis"`}, {Table: "store.redis", Key: "server", Value: fmt.Sprintf(`"redis://%s"`, s.addr())},
			{Table: "store.redis", Key: "timeout", Value: `"2s"`},
			{Table: "milter", Key: "enabled", Value: "true"}, {Table: "milter", Key: "listen", Value: fmt.Sprintf("[%q]", n.milter)},
			{Table: "policyd", Key: "enabled", Value: "true"}, {Table: "policyd", Key: "listen", Value: fmt.Sprintf("[%q]", n.policy)},
			{Table: "identity", Key: "hosts", Value: `["127.0.0.1/32"]`}, {Table: "identity", Key: "default_domain", Value: `"our.example"`},
			{Table: "users", Key: "file", Value: fmt.Sprintf("%q", users)},
			{Table: "check.limits", Key: "mode", Value: `"enforce"`}, {Table: "check.limits", Key: "user", Value: fmt.Sprintf("[%q]", limit)},
			{Table: "check.limits", Key: "suspend_at", Value: "0"}, {Table: "check.limits", Key: "drip_rate", Value: "600"},
		}})
		harness.Append(t, n.Config, fmt.Sprintf("\n[listener.submission]\nrole = \"outbound\"\nlisten = [%q]\nnext_hop = \"smarthost\"\nauth = true\n", n.submission))
		return n
	}
	a, b = one(), one()
	a.Launch()
	b.Launch()
	a.Ready()
	b.Ready()
	return a, b, out
}

// must runs a command of the operator.
func (n *node) must(args ...string) string {
	n.t.Helper()
	out, code := n.Run(append(args, "--config", n.Config)...)
	if code != 0 {
		n.t.Fatalf("%v: %d\n%s\n%s", args, code, out, n.Log())
	}
	return out
}

// relay is a session of a trusted relay.
func (n *node) relay() *harness.Client {
	n.t.Helper()
	c := harness.Greeted(n.t, n.Outbound)
	c.Say("EHLO mta.our.example").Want(250)
	return c
}

// post sends a message of a user by a relay's session; true: it was held.
func post(t testing.TB, c *harness.Client, user, subject string) bool {
	t.Helper()
	c.Envelope(user+"@our.example", "x@elsewhere.example")
	c.Say("DATA").Want(354)
	r := c.Raw("Received: from x (x [198.51.100.9])\r\n\t(Authenticated sender: " + user + ")\r\n\tby mta.our.example (Postfix) with ESMTPSA id A1; x\r\nSubject: " + subject + "\r\n\r\ntext\r\n.\r\n").Want(250)
	return strings.Contains(r.Text(), "held")
}

// ask puts a question to the policy server about a session of ana's.
func ask(t *testing.T, c net.Conn, r *bufio.Reader, n int) string {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(harness.Patience))
	fmt.Fprintf(c, "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=198.51.100.9\nclient_name=x\nreverse_client_name=x\n"+
		"helo_name=x\nsender=ana@our.example\nrecipient=x%d@elsewhere.example\ninstance=1.2.%d\nsasl_method=PLAIN\nsasl_username=ana@our.example\n\n", n, n)
	line, err := r.ReadString('\n')
	if err == nil {
		_, err = r.ReadString('\n')
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimSpace(line), "action=")
}

// TestSuspendOnOtherNode: a suspension on one gateway takes effect on another
// at the next command, in sessions that are open: of the user's own, of an MTA
// that asks as a milter or the policy server; on a trusted relay his messages
// are held, and 200 of other people on that connection pass. What was held
// waits for a person, however much else drips out.
func TestSuspendOnOtherNode(t *testing.T) {
	t.Parallel()
	a, b, out := gateways(t, start(t), "3 messages / 1h")
	own := harness.Greeted(t, b.submission)
	own.Say("EHLO client.example").Want(250)
	own.StartTLS(&tls.Config{InsecureSkipVerify: true})
	own.Say("EHLO client.example").Want(250)
	own.Say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ana@our.example\x00secret"))).Want(235)
	own.Say("MAIL FROM:<ana@our.example>").Want(250)
	mta, err := milter.NewClientWithOptions("tcp", b.milter, milter.ClientOptions{}).Session()
	if err != nil {
		t.Fatal(err)
	}
	defer mta.Close()
	command := func() *milter.Action {
		t.Helper()
		if err := mta.Macros(milter.CodeMail, "{auth_authen}", "ana@our.example", "{auth_type}", "PLAIN"); err != nil {
			t.Fatal(err)
		}
		act, err := mta.Mail("ana@our.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		return act
	}
	if _, err := mta.Conn("x", milter.FamilyInet, 2525, "198.51.100.9"); err != nil {
		t.Fatal(err)
	}
	if _, err := mta.Helo("x"); err != nil {
		t.Fatal(err)
	}
	if act := command(); act.Code != milter.ActContinue {
		t.Fatalf("milter: %+v", act)
	}
	policy, err := net.Dial("tcp", b.policy)
	if err != nil {
		t.Fatal(err)
	}
	defer policy.Close()
	answers := bufio.NewReader(policy)
	if got := ask(t, policy, answers, 0); got != "DUNNO" {
		t.Fatalf("policy: %s", got)
	}
	relay := b.relay()
	if post(t, relay, "ana", "before") {
		t.Fatal("held before")
	}
	if got := b.must("user", "sessions", "ana"); strings.Count(got, "ana@our.example") != 2 || !strings.Contains(got, "milter") {
		t.Errorf("sessions:\n%s", got)
	}

	begun := time.Now()
	if got := a.must("user", "suspend", "ana", "--reason", "hijacked"); !strings.Contains(got, "su - zimbra -c ") || !strings.Contains(got, "zmprov ma ana@our.example zimbraAccountStatus locked") {
		t.Errorf("%s", got)
	}
	returned := time.Now()
	n := 0
	harness.Eventually(t, "the other node does not know", func() bool { n++; return strings.HasPrefix(ask(t, policy, answers, n), "421 ") })
	t.Logf("from the command on one node to 421 on the other: %s; it took itself %s", time.Since(returned), returned.Sub(begun))
	own.Want(421)
	own.WantClosed()
	if act := command(); act.Code != milter.ActReplyCode || act.SMTPCode != 421 {
		t.Errorf("milter: %+v", act)
	}
	hers := 0
	for i := range 200 {
		if post(t, relay, fmt.Sprint("user", i), "other") {
			t.Fatalf("message %d of another is held", i)
		}
		if i%20 == 10 {
			if hers++; !post(t, relay, "Ana", "hers") {
				t.Errorf("hers passed behind message %d", i)
			}
		}
	}
	if got := b.must("user", "list"); !strings.Contains(got, "hijacked") {
		t.Errorf("%s", got)
	}

	// What only a limit holds drips out; hers does not, now that she may send
	// again either.
	excess := 0
	for range 5 {
		if post(t, relay, "eva", "excess") {
			excess++
		}
	}
	if excess != 2 {
		t.Errorf("%d of eva are held", excess)
	}
	a.must("user", "resume", "ana")
	harness.Eventually(t, "she stays suspended on the other node", func() bool { n++; return ask(t, policy, answers, n) == "DUNNO" })
	b.must("user", "limit", "eva", "--messages-per-hour", "50")
	count := func(subject string) (n int) {
		for _, m := range out.Stored() {
			if strings.Contains(string(m.Data), "\nSubject: "+subject+"\r\n") {
				n++
			}
		}
		return n
	}
	harness.Eventually(t, "the excess does not drip out", func() bool { return count("excess") == 5 })
	if n := count("hers"); n != 0 {
		t.Errorf("%d of hers went out by themselves", n)
	}
	var page struct{ Total int }
	if err := json.Unmarshal([]byte(b.must("hold", "list", "--reason", "suspension", "-o", "json")), &page); err != nil || page.Total != hers {
		t.Errorf("%d wait for a person, want %d: %v", page.Total, hers, err)
	}
	if n := count("other"); n != 200 {
		t.Errorf("%d of 200 of other people have arrived", n)
	}
}

// TestOneLimitOfTwoGateways: both nodes send at once, and not one message
// passes over the limit that they share.
func TestOneLimitOfTwoGateways(t *testing.T) {
	t.Parallel()
	a, b, out := gateways(t, start(t), "20 messages / 1h")
	var passed, held atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		c := []*node{a, b}[i%2].relay()
		wg.Go(func() {
			for range 8 {
				if post(t, c, "bob", "mail") {
					held.Add(1)
				} else {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 20 || held.Load() != 44 {
		t.Errorf("%d passed and %d are held of 64; the limit is 20", passed.Load(), held.Load())
	}
	n := 0
	for _, m := range out.Stored() {
		if strings.Contains(string(m.Data), "\nSubject: mail\r\n") {
			n++
		}
	}
	if n != 20 {
		t.Errorf("%d have left", n)
	}
}

// TestGatewaysWithoutRedis: Redis dies under two gateways and comes back. Mail
// goes on and is counted here; a suspension holds here and says that it is not
// kept elsewhere; both are in Redis when it is back.
func TestGatewaysWithoutRedis(t *testing.T) {
	t.Parallel()
	s := start(t, "--appendonly", "yes", "--appendfsync", "always")
	a, b, out := gateways(t, s, "5 messages / 1h")
	atA, atB := a.relay(), b.relay()
	for range 2 {
		if post(t, atA, "bob", "mail") || post(t, atB, "bob", "mail") {
			t.Fatal("held below the limit")
		}
	}
	s.kill()
	// One is counted alone by each, and nothing is refused, deferred or lost.
	if post(t, atA, "bob", "mail") || post(t, atB, "carl", "mail") {
		t.Error("held while Redis is away")
	}
	text, code := a.Run("user", "suspend", "carl", "--config", a.Config)
	if code == 0 || !strings.Contains(text, "holds") {
		t.Errorf("suspend while Redis is away: %d %s", code, text)
	}
	if !post(t, atA, "carl", "mail") {
		t.Error("it does not hold here")
	}
	harness.Eventually(t, "nobody says that Redis is away", func() bool {
		text, _ := a.Run("status", "-o", "json", "--config", a.Config)
		return strings.Contains(text, `"outages": 1`)
	})
	a.WaitLog("garita/store")
	s.again()
	harness.Eventually(t, "the suspension does not reach the other node", func() bool {
		text, _ := b.Run("user", "list", "--config", b.Config)
		return strings.Contains(text, "carl@our.example")
	})
	if !post(t, atB, "carl", "mail") {
		t.Error("carl's mail passes on the other node")
	}
	// Five of bob are counted over both, so the sixth is one too many anywhere.
	harness.Eventually(t, "what was counted alone is not known", func() bool {
		text, _ := b.Run("limits", "list", "bob", "-o", "json", "--config", b.Config)
		return strings.Contains(text, `"used": 5`)
	})
	if !post(t, atB, "bob", "mail") {
		t.Error("a sixth message passes")
	}
	if n := out.Count(); n < 6 {
		t.Errorf("%d messages have left", n)
	}
}
