package access

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"garita/mail"
)

const benchEntries = 100_000

// benchConfig has 100,000 entries in one file of each kind that it is asked
// for: addresses and networks of every usual length; domains of three labels
// and addresses in them.
func benchConfig(b testing.TB, k ...kind) Config {
	c := Default()
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, k := range k {
		var text strings.Builder
		for i := range benchEntries {
			switch {
			case k == byClient && i%2 == 0:
				a := netip.AddrFrom4([4]byte{byte(1 + rnd.IntN(220)), byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
				p, _ := a.Prefix([]int{16, 20, 22, 24, 27, 28, 29, 32}[rnd.IntN(8)])
				fmt.Fprintf(&text, "%s REJECT\n", p)
			case k == byClient:
				fmt.Fprintf(&text, "%d.%d.%d.%d REJECT Not from here\n", 1+i%220, i>>16, i>>8&255, i&255)
			case i%2 == 0:
				fmt.Fprintf(&text, "host%d.dept%d.example REJECT Not wanted\n", i, i%1000)
			default:
				fmt.Fprintf(&text, "user%d@host%d.example 550 5.7.1 Not wanted\n", i, i%5000)
			}
		}
		path := writeFile(b, text.String())
		if k == byClient {
			c.ClientFiles = append(c.ClientFiles, path)
		} else {
			c.SenderFiles = append(c.SenderFiles, path)
		}
	}
	return c
}

func benchLists(b testing.TB, k kind) *lists {
	ls, errs, _ := build(benchConfig(b, k), testTime)
	if len(errs) > 0 {
		b.Fatal(errs[0])
	}
	return ls
}

// cpu gives a function that reports the time of the processor since: a machine
// that has other things to do shows nothing by its clock.
func cpu(b *testing.B) (report func()) {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkLookup100k(b *testing.B) {
	rnd := rand.New(rand.NewPCG(3, 4))
	q := &query{s: &mail.Session{}}
	b.Run("client", func(b *testing.B) {
		ls := benchLists(b, byClient)
		asked := make([]netip.Addr, 4096)
		for i := range asked {
			asked[i] = netip.AddrFrom4([4]byte{byte(1 + rnd.IntN(220)), byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		}
		b.ReportAllocs()
		defer cpu(b)()
		i := 0
		for b.Loop() {
			ls.client(q, asked[i&4095])
			i++
		}
	})
	paths := func(of func(i int) mail.Path) func(b *testing.B) {
		return func(b *testing.B) {
			ls := benchLists(b, bySender)
			asked := make([]mail.Path, 4096)
			for i := range asked {
				asked[i] = of(rnd.IntN(benchEntries))
			}
			b.ReportAllocs()
			defer cpu(b)()
			i := 0
			for b.Loop() {
				ls.path(q, bySender, asked[i&4095])
				i++
			}
		}
	}
	b.Run("sender found", paths(func(i int) mail.Path {
		i |= 1
		return mail.Path{Local: fmt.Sprintf("user%d", i), Domain: fmt.Sprintf("host%d.example", i%5000)}
	}))
	b.Run("sender unknown", paths(func(i int) mail.Path {
		return mail.Path{Local: fmt.Sprintf("someone%d", i), Domain: fmt.Sprintf("mail.host%d.elsewhere.example", i)}
	}))
	b.Run("sender of 127 labels", paths(func(i int) mail.Path {
		return mail.Path{Local: "x", Domain: strings.Repeat("a.", 120) + fmt.Sprintf("h%d.example", i)}
	}))
}

// BenchmarkBuild100k is the reading of a file and the making of its list.
func BenchmarkBuild100k(b *testing.B) {
	for _, k := range []kind{byClient, bySender} {
		b.Run(kinds()[k].list, func(b *testing.B) {
			c := benchConfig(b, k)
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				if errs := c.Validate(); len(errs) > 0 {
					b.Fatal(errs[0])
				}
			}
		})
	}
}

// TestLookupAllocates: a look-up that finds nothing must cost no garbage, since every
// session makes some.
func TestLookupAllocates(t *testing.T) {
	c := Default()
	c.Clients = []string{"192.0.2.0/24 reject", "2001:db8::/32 reject"}
	c.Senders = []string{"a@a.example reject", ".b.example reject", "u@ reject"}
	ls, errs, _ := build(c, testTime)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	q := &query{s: &mail.Session{}}
	a, p := netip.MustParseAddr("198.51.100.1"), mail.Path{Local: "x", Domain: "mail.elsewhere.example"}
	if n := testing.AllocsPerRun(100, func() {
		ls.client(q, a)
		ls.path(q, bySender, p)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
