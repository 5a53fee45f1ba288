package resolver

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzAnswer feeds any packet as the answer to a question (D-12): it is read
// in bounded form or refused, and never stands for "there is none" unless it
// says so.
func FuzzAnswer(f *testing.F) {
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypePTR}
	for _, typ := range types {
		q := question(nil, key{"a.example", typ}, 7, true)
		var m, r dns.Msg
		_ = m.Unpack(q)
		r.SetReply(&m)
		for _, s := range []string{"a.example. 3 IN A 192.0.2.1", "a.example. 3 IN AAAA 2001:db8::1", "a.example. 3 IN MX 1 .", `a.example. 3 IN TXT "\000\"x"`,
			"a.example. 3 IN PTR b.example.", "a.example. 3 IN CNAME b.example.", "b.example. 3 IN CNAME a.example."} {
			if rr, _ := dns.NewRR(s); rr.Header().Rrtype == typ || rr.Header().Rrtype == dns.TypeCNAME && typ == dns.TypeA {
				r.Answer = append(r.Answer, rr)
			}
		}
		soa, _ := dns.NewRR("example. 3 IN SOA a. b. 1 2 3 4 5")
		r.Ns = append(r.Ns, soa)
		p, err := r.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
		f.Add(p[:len(p)-3])
	}
	lim := Default()
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, typ := range types {
			k := key{"a.example", typ}
			fits := belongs(p, 7, k)
			if answers(p, question(nil, k, 7, true), k) != fits {
				t.Fatalf("belongs: %v", fits)
			}
			a, again, err := read(p, k, lim)
			slow, slowAgain, slowErr := readAny(p, k, lim)
			if fast := readA(p, k, lim); typ == dns.TypeA && fast != nil && (slowErr != nil || slowAgain != "" || !reflect.DeepEqual(fast, slow)) {
				t.Fatalf("%+v, by the library %+v, %q, %v", fast, slow, slowAgain, slowErr)
			}
			if err != nil || again != "" {
				if a != nil || err == nil && (again[len(again)-1] != '.' || fits && len(again) < 1) {
					t.Fatalf("%v, %q, %v", a, again, err)
				}
				if errors.Is(err, ErrNotFound) {
					t.Fatal("a fault says that there is none")
				}
				continue
			}
			n := len(a.addrs) + len(a.texts) + len(a.mx)
			if (n == 0) != (a.err != nil) || n > maxRecords {
				t.Fatalf("%d records, %v", n, a.err)
			}
			low, high := lim.MinTTL, lim.MaxTTL
			if a.ttl < low || a.ttl > high {
				t.Fatalf("ttl %v", a.ttl)
			}
			if a.cost() > 5*maxTXT+entryOverhead+64*maxRecords {
				t.Fatalf("costs %d", a.cost())
			}
			for _, m := range a.mx {
				if m.Host != "" && m.Host != "." && !ValidHost(m.Host) {
					t.Fatalf("host %q", m.Host)
				}
			}
			if typ == dns.TypePTR {
				for _, s := range a.texts {
					if !ValidHost(s) {
						t.Fatalf("name %q", s)
					}
				}
			}
		}
	})
}

// FuzzName: what may be asked for is the same name again, packs, and comes
// back as it went.
func FuzzName(f *testing.F) {
	for _, s := range []string{"a.example", "A.", "..", "a b", `a\.b`, "_dmarc.example", strings.Repeat("a.", 127) + "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := canonical(s)
		if !ok {
			if ValidHost(s) {
				t.Fatalf("%q is a host and no name", s)
			}
			return
		}
		if again, ok := canonical(c); !ok || again != c || !strings.EqualFold(strings.TrimSuffix(s, "."), c) {
			t.Fatalf("%q, %q, %q", s, c, again)
		}
		q := question(nil, key{c, dns.TypeA}, 1, true)
		var want dns.Msg
		want.SetQuestion(c+".", dns.TypeA)
		want.Id = 1
		want.SetEdns0(udpSize, false)
		if lib, err := want.Pack(); err != nil || !bytes.Equal(q, lib) {
			t.Fatalf("%q: %x, by the library %x, %v", c, q, lib, err)
		}
		q[2] |= 0x80
		if k := (key{c, dns.TypeA}); !belongs(q, 1, k) || !answers(q, q, k) {
			t.Fatalf("%q does not come back", c)
		}
	})
}
