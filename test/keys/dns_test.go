package keys

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"garita/resolver"
	"garita/test/harness"
)

// nameServer answers over UDP on loopback. Names tell what is done with the
// question: zero and long have those TTLs, none does not exist, fail is
// SERVFAIL, and there is no answer to silent, nor to anything while it is deaf.
type nameServer struct {
	addr string
	deaf atomic.Bool
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{addr: pc.LocalAddr().String()}
	up := make(chan struct{})
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(n.answer), NotifyStartedFunc: func() { close(up) }}
	go s.ActivateAndServe()
	<-up
	t.Cleanup(func() { s.Shutdown() })
	return n
}

func (n *nameServer) answer(w dns.ResponseWriter, q *dns.Msg) {
	name := q.Question[0].Name
	m := new(dns.Msg)
	m.SetReply(q)
	ttl := 600
	switch {
	case n.deaf.Load() || strings.HasPrefix(name, "silent"):
		return
	case strings.HasPrefix(name, "none"):
		m.Rcode = dns.RcodeNameError
		m.Ns = append(m.Ns, record("example. 600 IN SOA ns.example. h.example. 1 2 3 4 600"))
		w.WriteMsg(m)
		return
	case strings.HasPrefix(name, "fail"):
		m.Rcode = dns.RcodeServerFailure
		w.WriteMsg(m)
		return
	case strings.HasPrefix(name, "zero"):
		ttl = 0
	case strings.HasPrefix(name, "long"):
		ttl = 7 * 86400
	}
	if q.Question[0].Qtype == dns.TypeA {
		m.Answer = append(m.Answer, record(fmt.Sprintf("%s %d IN A 192.0.2.1", name, ttl)))
	}
	w.WriteMsg(m)
}

func record(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

func dnsRows() []effect {
	const d = "dns."
	once := d + "attempts = 1\n" + d + "timeout = \"1s\"\n"
	return []effect{
		{key: d + "timeout", value: `"100ms"`, base: d + "attempts = 5", scene: "deaf-first", want: "+answered by the second"},
		{key: d + "attempts", value: "3", base: d + `timeout = "200ms"`, scene: "ask silent", want: "+asked 3"},
		{key: d + "budget", value: `"300ms"`, base: d + "timeout = \"200ms\"\n" + d + "attempts = 5", scene: "ask silent", want: "-asked 5", still: "cached 1"},
		{key: d + "cache_entries", value: "1000", scene: "many 4000", want: "-cached 4000", still: "asked 4000"},
		{key: d + "min_ttl", value: `"5m"`, scene: "ask zero pass 2m ask zero", want: "+asked 1"},
		{key: d + "max_ttl", value: `"2m"`, scene: "ask long pass 3m ask long", want: "+asked 2"},
		{key: d + "negative_ttl", value: `"1m"`, scene: "ask none pass 2m ask none", want: "+asked 2"},
		{key: d + "failure_ttl", value: `"30s"`, base: once, scene: "ask fail pass 15s ask fail", want: "+asked 1"},
		{key: d + "break_after", value: "2", base: once, scene: "deaf ask a ask b ask c settle", want: "-closed"},
		{key: d + "break_for", value: `"1m"`, base: once + d + "break_after = 2", scene: "deaf ask a ask b ask c settle hears pass 15s heal", want: "-healed", still: "left alone"},
	}
}

// TestDNS: what is asked of a name server, by its scene: questions, and times
// that pass on the resolver's clock.
func TestDNS(t *testing.T) {
	run(t, dnsRows(), func(t *testing.T, toml string, e effect) string {
		n := startNameServer(t)
		c := read(t, toml).DNS
		c.Servers = []string{n.addr}
		if e.scene == "deaf-first" {
			return second(t, c, n)
		}
		var now atomic.Int64
		d, err := resolver.New(resolver.Options{Config: c, Clock: func() time.Duration { return time.Duration(now.Load()) }})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		out, words := "", strings.Fields(e.scene)
		for i := 0; i < len(words); i++ {
			switch words[i] {
			case "ask":
				i++
				d.A(t.Context(), words[i]+".example")
			case "many":
				for j := range 4000 {
					d.A(t.Context(), fmt.Sprintf("n%d.example", j))
				}
				i++
			case "pass":
				i++
				p, err := time.ParseDuration(words[i])
				if err != nil {
					t.Fatal(err)
				}
				now.Add(int64(p))
			case "deaf":
				n.deaf.Store(true)
			case "hears":
				n.deaf.Store(false)
			case "settle":
				harness.Eventually(t, "the trial of a silent server does not end", func() bool { return d.Stats().Servers[0].State != resolver.Probing })
			case "heal":
				out += heal(t, d)
			}
		}
		s := d.Stats()
		return out + fmt.Sprintf("asked %d\ncached %d\n%s\n", s.UDP, s.CacheEntries, s.Servers[0].State)
	})
}

// heal gives a server that was left alone a while to be found well again: the
// look-up that finds it out of time makes the trial.
func heal(t *testing.T, d *resolver.DNS) string {
	for i := range 250 {
		if _, err := d.A(t.Context(), fmt.Sprintf("h%d.example", i)); err == nil {
			return "healed\n"
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "left alone\n"
}

// second asks two servers of which the first is deaf, and has less patience
// than one time-out of the default.
func second(t *testing.T, c resolver.Config, good *nameServer) string {
	bad := startNameServer(t)
	bad.deaf.Store(true)
	c.Servers = []string{bad.addr, good.addr}
	d, err := resolver.New(resolver.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 1400*time.Millisecond)
	defer cancel()
	if a, err := d.A(ctx, "a.example"); err != nil || len(a) != 1 {
		return fmt.Sprint(err)
	}
	return "answered by the second"
}
