package rules_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"garita/mail"
	"garita/rules"
)

// A list of a hundred thousand entries costs a look-up, and an entry fits what
// lies below it.
func TestLargeLists(t *testing.T) {
	entries := []string{"example.org", "user@", ".corp.example", "Spammer@Gmail.example", "@only.example"}
	var nets []netip.Prefix
	for i := range 100_000 {
		entries = append(entries, fmt.Sprintf("host%d.list.example", i))
		nets = append(nets, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	nets = append(nets, netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::ffff:192.0.2.0/120"))
	s := byHand(t,
		&rules.Condition{Subject: rules.Sender, Op: rules.InList, Values: entries, List: "l"},
		&rules.Condition{Subject: rules.SenderDomain, Op: rules.InList, Values: entries, List: "l"},
		&rules.Condition{Subject: rules.Client, Op: rules.InList, Nets: nets, List: "n"})
	for _, c := range []struct {
		local, domain, client string
		want                  []string
	}{
		{"a", "example.org", "203.0.113.1", []string{"r0", "r1"}},
		{"a", "mail.EXAMPLE.org", "203.0.113.1", []string{"r0", "r1"}},
		{"a", "notexample.org", "203.0.113.1", []string{}},
		{"a", "example.org.evil.example", "203.0.113.1", []string{}},
		{"user", "elsewhere.example", "10.0.1.5", []string{"r0", "r2"}},
		{"superuser", "elsewhere.example", "10.2.1.5", []string{}},
		{"x", "corp.example", "203.0.113.1", []string{}},
		{"x", "a.corp.example", "2001:db8:1::1", []string{"r0", "r1", "r2"}},
		{"spammer", "gmail.example", "2001:db9::1", []string{"r0"}},
		{"other", "gmail.example", "::ffff:192.0.2.77", []string{"r2"}},
		{"x", "only.example", "203.0.113.1", []string{"r0"}},
		{"x", "host99999.list.example", "10.1.134.159", []string{"r0", "r1", "r2"}},
		{"", "", "203.0.113.1", []string{}},
	} {
		in := textInput("x")
		in.Tx.ReversePath = mail.Path{Local: c.local, Domain: c.domain}
		in.Tx.Client = netip.AddrPortFrom(netip.MustParseAddr(c.client), 1)
		if got := hits(match(t, s, in)); !slices.Equal(got, c.want) {
			t.Errorf("%s@%s %s: %v, want %v", c.local, c.domain, c.client, got, c.want)
		}
	}
}

// Many conditions on one view are searched for together, and each is found.
func TestManyConditions(t *testing.T) {
	var conditions []*rules.Condition
	for i := range 60 {
		op := textOps()[i%4]
		conditions = append(conditions,
			&rules.Condition{Subject: rules.SubjectText, Op: op, Values: []string{fmt.Sprintf("wörd%d x", i)}},
			&rules.Condition{Subject: rules.AttachmentName, Op: op, Values: []string{fmt.Sprintf("wörd%d x", i)}},
			&rules.Condition{Subject: rules.AnyHeader, Op: op, Values: []string{fmt.Sprintf("wörd%d x", i)}},
			&rules.Condition{Subject: rules.BodyLine, Op: op, Values: []string{fmt.Sprintf("WORD%d x", i)}})
	}
	s := byHand(t, conditions...)
	for i := range 60 {
		w := fmt.Sprintf("Word%d  X", i)
		before, after := "a ", " b"
		switch op := textOps()[i%4]; op {
		case rules.Is:
			before, after = "", ""
		case rules.Starts:
			before = ""
		case rules.Ends:
			after = ""
		}
		in := input("Subject: " + before + w + after + "\nContent-Type: application/x; name=\"" + before + w + after + "\"\n\n" +
			"one\n" + before + fmt.Sprintf("word%d x", i) + after + "\nthree\n")
		got := hits(match(t, s, in))
		// A whole header field never is the word, nor begins with it.
		want := []string{fmt.Sprintf("r%d", 4*i), fmt.Sprintf("r%d", 4*i+1), fmt.Sprintf("r%d", 4*i+2), fmt.Sprintf("r%d", 4*i+3)}
		if i%4 == 0 || i%4 == 2 {
			want = slices.Delete(want, 2, 3)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", w, got, want)
		}
	}
}

// Lines cost no memory: a thousand times the text takes what one takes.
func TestNoAllocationPerLine(t *testing.T) {
	s := compile(t, guide(60))
	cost := func(size int) float64 {
		in := input(plainMail(prose(9, size, true)))
		return testing.AllocsPerRun(20, func() { s.Match(context.Background(), in, nil, rules.MatchOptions{}) })
	}
	small, large := cost(1<<10), cost(1<<20)
	// Buffers that the pool gave up in between are made anew; 1 MB has 13,000
	// lines.
	if large > small+200 {
		t.Errorf("%v allocations for 1 KB, %v for 1 MB", small, large)
	}
}

// One set serves many sessions.
func TestManyAtOnce(t *testing.T) {
	s := compile(t, guide(60)+"[[rule]]\nid = \"hit\"\nmatch = ['text contains \"tu punto de vista\"', 'attachment name ends \".exe\"']\naction = 'tag subject \"[X]\"'\n")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			hit, miss := input(mixed), input(plainMail(prose(4, 8<<10, true)))
			for range 20 {
				if got := hits(match(t, s, hit)); !slices.Equal(got, []string{"g9", "hit"}) {
					t.Errorf("%v", got)
				}
				if got := hits(match(t, s, miss)); len(got) > 0 {
					t.Errorf("%v", got)
				}
			}
		})
	}
	wait.Wait()
}
