package e2e

import (
	"strings"
	"syscall"
	"testing"

	"garita/smtpproxy/relay/fakehop"
	"garita/test/harness"
)

// releasing starts a release and waits until the next hop has all of the
// message; done gives what the command said.
func releasing(t *testing.T, g *harness.Gateway, hop *fakehop.Server, id string) (done chan string) {
	t.Helper()
	done = make(chan string, 1)
	before := hop.Count(".")
	go func() {
		out, _ := g.Run("hold", "release", id, "--config", g.Config)
		done <- out
	}()
	harness.Eventually(t, "the next hop has the message", func() bool { return hop.Count(".") > before })
	return done
}

// TestEndDuringRelease (attacks B-40): the gateway is told to end, and to
// reload, while a release waits for the next hop. The release comes to its
// end; nobody else touches the message meanwhile. A second signal cuts it
// short: then it is unsure, and goes out again only when somebody says so.
func TestEndDuringRelease(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	hop := startHop(t, fakehop.Config{Script: map[string][]fakehop.Action{".": {{Hold: answer}, {Silent: true, Hang: true}}}})
	other := startHop(t, fakehop.Config{})
	g := holdGateway(t, hop.Addr(), "")
	g.Start()
	c := harness.Greeted(t, g.Inbound)
	for range 2 {
		if r := c.Send("a@spam.example", []string{"b@our.example"}, letter); r.Code != 250 {
			t.Fatal(r)
		}
	}
	c.Say("QUIT").Want(221)
	list := holds(t, g).Messages
	first, second := list[0].ID, list[1].ID

	done := releasing(t, g, hop, first)
	// Another next hop by that name from now on.
	harness.Configure(t, g.Config, harness.Setting{Table: "next_hop.inbound", Key: "url", Value: `"smtp://` + other.Addr() + `"`})
	if out, code := g.Run("reload", "--config", g.Config); code != 0 {
		t.Fatal(out)
	}
	for _, verb := range []string{"release", "delete"} {
		if out, code := g.Run("hold", verb, first, "--config", g.Config); code == 0 || !strings.Contains(out, "somebody is at work") {
			t.Errorf("%s meanwhile: %d %s", verb, code, out)
		}
	}
	g.Signal(syscall.SIGTERM)
	g.WaitLog("stopping")
	close(answer)
	if out := <-done; !strings.Contains(out, "delivered to b@our.example") {
		t.Errorf("the command was told %s", out)
	}
	if code := g.Stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	harness.Configure(t, g.Config, harness.Setting{Table: "next_hop.inbound", Key: "url", Value: `"smtp://` + hop.Addr() + `"`})
	g.Start()
	if got := holds(t, g, "--state", "released"); got.Total != 1 || got.Messages[0].ID != first || got.Messages[0].Unsure {
		t.Errorf("%+v", got)
	}

	stopped := strings.Count(g.Log(), "stopping")
	done = releasing(t, g, hop, second)
	g.Signal(syscall.SIGTERM)
	harness.Eventually(t, "it drains", func() bool { return strings.Count(g.Log(), "stopping") >= stopped+1 })
	if code := g.Stop(); code != 0 { // the second signal
		t.Errorf("exit status %d\n%s", code, g.Log())
	}
	if out := <-done; strings.Contains(out, "delivered to") {
		t.Errorf("the command was told %s", out)
	}
	harness.Configure(t, g.Config, harness.Setting{Table: "next_hop.inbound", Key: "url", Value: `"smtp://` + other.Addr() + `"`})
	g.Start()
	if got := holds(t, g); got.Total != 1 || got.Messages[0].ID != second || !got.Messages[0].Unsure {
		t.Errorf("%+v", got)
	}
	if out, code := g.Run("hold", "release", "--since", "1h", "--yes", "--config", g.Config); code == 0 || len(other.Accepted()) != 0 {
		t.Errorf("released by itself: %s", out)
	}
	if out, code := g.Run("hold", "release", second, "--again", "--config", g.Config); code != 0 || len(other.Accepted()) != 1 {
		t.Errorf("again: %s", out)
	}
	if n := len(hop.Accepted()); n != 1 {
		t.Errorf("%d arrived", n)
	}
}
