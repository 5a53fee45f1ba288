package kill

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"garita/test/harness"

	"golang.org/x/crypto/bcrypt"
)

// world is a gateway with everything on: users, bans and rates, routes, lists,
// metrics, and a listener for each way in.
type world struct {
	*harness.Gateway
	proxy      string // begins with a PROXY header
	greet      string // the same, and lets strangers wait
	submission string // TLS from the first octet, AUTH, client certificates
	xclient    string // takes XCLIENT
	metrics    string
	users      string // the file
	certs      *harness.Certs
	tls        *tls.Config // of a client of submission
}

const (
	userName, userPassword = "ana", "correct horse battery"
	// A client that the operator has banned, and one that exceeds its rate.
	bannedClient, eagerClient = "203.0.113.66", "203.0.113.77"
	greetDelay                = "1s"

	reloadsDone = `garita_config_reloads_total{result="good"}`
)

// everything writes the configuration and starts nothing. The harness's own
// listeners are there as well.
func everything(t *testing.T, o harness.Options, more ...harness.Setting) *world {
	t.Helper()
	w := &world{proxy: harness.Addr(t), greet: harness.Addr(t), submission: harness.Addr(t), xclient: harness.Addr(t),
		metrics: harness.Addr(t), certs: harness.NewCerts(t, "gw.example", "127.0.0.1")}
	if o.Trust == "" {
		o.Trust = "192.0.2.0/24" // nobody here is trusted by address
	}
	o.Settings = append([]harness.Setting{
		{Table: "tls", Key: "certificate_file", Value: strconv.Quote(w.certs.CertFile)},
		{Table: "tls", Key: "key_file", Value: strconv.Quote(w.certs.KeyFile)},
		{Table: "metrics", Key: "listen", Value: strconv.Quote(w.metrics)},
		// Bans are the operator's here: that abuses earn one is tested in conduct.
		{Table: "conduct", Key: "ban_after", Value: "0"},
	}, append(o.Settings, more...)...)
	w.Gateway = harness.NewGateway(t, o)
	w.tls = &tls.Config{RootCAs: w.certs.Pool, ServerName: "gw.example", Certificates: w.certs.Server.Certificates}
	w.users = filepath.Join(w.Dir, "users")
	w.writeUsers(t, userName)
	harness.Configure(t, w.Config, harness.Setting{Table: "users", Key: "file", Value: strconv.Quote(w.users)})
	inbound := func(name, addr, more string) string {
		return fmt.Sprintf("\n[listener.%s]\nrole = \"inbound\"\nlisten = [%q]\nnext_hop = %q\nrelay_domains = [\"our.example\"]\n%s",
			name, addr, w.hop("inbound"), more)
	}
	proxied := "proxy_from = [\"127.0.0.1/32\"]\n"
	w.append(t, inbound("proxy", w.proxy, proxied)+
		inbound("greet", w.greet, proxied+"greet_delay = \""+greetDelay+"\"\n")+
		inbound("xclient", w.xclient, "xclient_from = [\"127.0.0.1/32\"]\n")+
		fmt.Sprintf("\n[listener.submission]\nrole = \"outbound\"\nlisten = [%q]\nnext_hop = %q\nimplicit_tls = true\nauth = true\nclient_ca_file = %q\nclient_certificates = [\"%X\"]\n",
			w.submission, w.hop("outbound"), w.certs.CAFile, sha256.Sum256(w.certs.Server.Certificates[0].Certificate[0])))
	return w
}

// hop names the next hop of a listener of the harness.
func (w *world) hop(listener string) string {
	table := "listener." + listener
	for line := range strings.Lines(w.config()) {
		if strings.TrimSpace(line) == "["+table+"]" {
			table = ""
		}
		if k, v, ok := strings.Cut(line, "="); ok && table == "" && strings.TrimSpace(k) == "next_hop" {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}

func (w *world) config() string {
	data, err := os.ReadFile(w.Config)
	if err != nil {
		return ""
	}
	return string(data)
}

func (w *world) append(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(w.Config, []byte(w.config()+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeUsers writes the users file; all have the same password. Its hash is
// the cheapest there is: hashing is not what is tested.
func (w *world) writeUsers(t *testing.T, names ...string) {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(userPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%s:%s\n", n, h)
	}
	replace(t, w.users, b.String())
}

// replace puts a file in the place of another in one step.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// command runs a garita command that must succeed.
func (w *world) command(t *testing.T, args ...string) string {
	t.Helper()
	out, code := w.Run(append(args, "--config", w.Config)...)
	if code != 0 {
		t.Fatalf("garita %s: exit status %d\n%s\n%s", strings.Join(args, " "), code, out, w.Log())
	}
	return out
}

// figure reads one figure without labels from /metrics.
func (w *world) figure(t *testing.T, name string) float64 {
	t.Helper()
	c := http.Client{Timeout: harness.Patience}
	r, err := c.Get("http://" + w.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	c.CloseIdleConnections()
	in := bufio.NewScanner(io.LimitReader(r.Body, 8<<20))
	for in.Scan() {
		if v, ok := strings.CutPrefix(in.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("/metrics has no %s", name)
	return 0
}

// behind is a balancer's header for a client.
func behind(client string) string { return "PROXY TCP4 " + client + " 127.0.0.1 40000 25\r\n" }

// greeting connects as a client behind the balancer and gives the first reply.
func (w *world) greeting(t *testing.T, client string) harness.Reply {
	t.Helper()
	c, err := harness.Connect(t, w.proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Raw(behind(client)).Reply()
}

// plainAuth is AUTH PLAIN with its initial response (RFC 4616).
func plainAuth(user, password string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
}

// submit opens a session at submission up to its EHLO, without a certificate
// of its own.
func (w *world) submit(t *testing.T) (*harness.Client, error) {
	conf := w.tls.Clone()
	conf.Certificates = nil
	return w.submitAs(t, conf)
}

func (w *world) submitAs(t *testing.T, conf *tls.Config) (*harness.Client, error) {
	raw, err := tls.Dial("tcp", w.submission, conf)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(harness.Patience))
	c := harness.NewClient(t, raw)
	if r := c.Reply(); r.Code != 220 {
		raw.Close()
		return nil, fmt.Errorf("greeted with %s", r)
	}
	if r := c.Say("EHLO client.example").Reply(); r.Code != 250 {
		raw.Close()
		return nil, fmt.Errorf("EHLO: %s", r)
	}
	return c, nil
}

// login says AUTH PLAIN.
func login(c *harness.Client, user, password string) harness.Reply {
	return c.Say(plainAuth(user, password)).Reply()
}

// letterTo sends one small message through a listener of strangers.
func letterTo(t *testing.T, addr string) harness.Reply {
	t.Helper()
	c, err := harness.Connect(t, addr)
	if err != nil {
		return harness.Reply{Lines: []string{err.Error()}}
	}
	defer c.Close()
	if r := c.Reply(); r.Code != 220 {
		return r
	}
	if r := c.Say("EHLO client.example").Reply(); r.Code != 250 {
		return r
	}
	return c.Send("a@x.example", []string{"b@our.example"}, "Subject: s\r\n\r\nx\r\n")
}

// anyCertificate is TLS that believes everything.
func anyCertificate() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
