package kill

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"garita/test/harness"
)

// TestNoDescriptorsForAnybody takes the descriptors away by idle connections
// to every listener, with everything on: sockets of the resolver, the store,
// the metrics, AUTH and commands. The gateway neither ends nor spins, loses no
// ban, answers nobody with 5xx for a fault of its own, and all of it works
// again when the connections are gone.
func TestNoDescriptorsForAnybody(t *testing.T) {
	hop := harness.StartSandbox(t, harness.SandboxOptions{})
	names := startNames(t)
	w := everything(t, harness.Options{NextHop: hop.Addr, SmartHost: hop.Addr, Files: 96},
		harness.Setting{Table: "dns", Key: "servers", Value: names.setting()},
		harness.Setting{Table: "dns", Key: "sockets", Value: "32"},
		harness.Setting{Table: "dns", Key: "negative_ttl", Value: `"1s"`},
		harness.Setting{Table: "dns", Key: "min_ttl", Value: `"1s"`})
	w.Start()
	w.command(t, "ban", "add", bannedClient, "--for", "2h")
	if w.greeting(t, "198.18.1.1").Code != 220 || names.asked.Load() == 0 {
		t.Fatal("nobody has asked the DNS")
	}
	// Sessions from before the drought.
	user, err := w.submit(t)
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	sender := harness.Greeted(t, w.Inbound)
	xclient := harness.Dial(t, w.xclient)
	xclient.Want(220)
	xclient.Say("EHLO client.example").Want(250)

	var idle []net.Conn
	metrics := strings.TrimPrefix(w.metrics, "http://")
	for i := range 160 {
		addr := []string{w.Inbound, w.proxy, w.submission, metrics}[i%4]
		c, err := net.DialTimeout("tcp", addr, harness.Patience)
		if err != nil {
			break
		}
		idle = append(idle, c)
	}
	harness.Eventually(t, "the descriptors do not come to an end", func() bool { return strings.Contains(w.Log(), "too many open files") })
	// Who is there goes on as far as it can: 2xx, or 4xx where a new
	// connection is needed.
	notFault := func(what string, r harness.Reply) {
		t.Helper()
		if r.Class() == 5 {
			t.Errorf("%s: %s", what, r)
		}
	}
	if r := login(user, userName, userPassword); r.Code != 235 {
		t.Errorf("AUTH, which needs no descriptor: %s", r)
	}
	notFault("a message after AUTH", user.Send("ana@our.example", []string{"b@elsewhere.example"}, "Subject: s\r\n\r\nx\r\n"))
	notFault("a message", sender.Send("a@x.example", []string{"b@our.example"}, "Subject: s\r\n\r\nx\r\n"))
	notFault("XCLIENT, with a look-up", xclient.Say("XCLIENT ADDR=198.18.1.2").Reply())
	calm(t, w.Gateway)
	if w.Ended() {
		t.Fatalf("the gateway ended:\n%s", w.Log())
	}
	for _, c := range idle {
		c.Close()
	}
	harness.Eventually(t, "mail is not taken again", func() bool { return letterTo(t, w.Inbound).Code == 250 })
	harness.Eventually(t, "the commands do not answer again", func() bool {
		_, code := w.Run("ban", "add", "203.0.113.9", "--for", "2h", "--config", w.Config)
		return code == 0
	})
	harness.Eventually(t, "the metrics do not answer again", func() bool {
		c := http.Client{Timeout: harness.Patience}
		r, err := c.Get("http://" + metrics + "/metrics")
		if err != nil {
			return false
		}
		r.Body.Close()
		c.CloseIdleConnections()
		return r.StatusCode == 200
	})
	asked := names.asked.Load()
	harness.Eventually(t, "the DNS is not asked again", func() bool {
		w.greeting(t, "198.18.1."+time.Now().Format("05"))
		return names.asked.Load() > asked
	})
	if c, err := w.submit(t); err != nil {
		t.Errorf("submission: %v", err)
	} else {
		defer c.Close()
		if r := login(c, userName, userPassword); r.Code != 235 {
			t.Errorf("login: %s", r)
		}
	}
	w.command(t, "reload")
	w.Kill()
	w.Start()
	if have := w.bans(t); !have[bannedClient+"/32"] || !have["203.0.113.9/32"] {
		t.Errorf("bans after the drought and kill -9: %v", have)
	}
	if n := strings.Count(w.Log(), "too many open files"); n > 60 {
		t.Errorf("the log says it %d times", n)
	}
}
