package dnsbl

import (
	"fmt"
	"strings"
	"testing"
)

// askFrom asks all lists about an address, as a client of that network.
func (k *kit) askFrom(source, about string, good bool) {
	k.t.Helper()
	var qs []Question
	for _, w := range k.m.Lists() {
		qs = append(qs, Question{List: w, Name: w.AddressNameOf(addr(about)), Subject: about, Source: addr(source), Good: good})
	}
	if _, err := k.m.Ask(k.t.Context(), qs, nil); err != nil {
		k.t.Fatal(err)
	}
}

// TestSpammerSuspendsNoList: who has a network of listed addresses, or
// names listed domains one after the other, gets no list suspended that is
// right about him; many networks that one list alone has do.
func TestSpammerSuspendsNoList(t *testing.T) {
	t.Parallel()
	one := func(i int) string { return fmt.Sprintf("203.0.113.%d", i) }
	learn := func() *kit {
		k := well(t, Options{}, v4("b2"))
		for i := range 4 * windowMin {
			a := fmt.Sprintf("198.18.%d.%d", i, i)
			k.askFrom(a, a, false)
		}
		k.w.set("bl.example", always("127.0.0.2"))
		k.m.lists[0].Test.NoStranger = true // the wires alone are looked at
		return k
	}
	k := learn()
	for i := range 4 * windowMin {
		k.askFrom(one(i), one(i), false)                           // a network of his own
		k.askFrom("192.0.2.1", fmt.Sprintf("11.0.%d.1", i), false) // as many names from one address
	}
	k.want(0, Healthy, "")
	for i := range 4 * windowMin {
		a := fmt.Sprintf("12.0.%d.1", i)
		k.askFrom(a, a, false)
	}
	k.want(0, Suspended, Jump)

	k = learn()
	k.askFrom("203.0.113.1", "203.0.113.1", true)
	k.askFrom("203.0.113.2", "203.0.113.2", true)
	k.want(0, Healthy, "") // one good peer with two addresses
	k.askFrom("12.0.0.1", "12.0.0.1", true)
	k.want(0, Suspended, GoodPeers)

	var w wires
	for i := range 100_000 {
		w.saw(addr(one(i%250)), true, false, k.now)
	}
	if len(w.sources) > 4*windowMin || w.answers > 4*windowMin {
		t.Error(len(w.sources), w.answers)
	}
}

// TestHostileReason is I12: a list's text has no key left in it, whatever
// letters it is mixed with, and however long it is.
func TestHostileReason(t *testing.T) {
	t.Parallel()
	l := v4("bl")
	l.Key = "s3cretkey"
	for in, want := range map[string]string{
		"a S3CRETKEY b s3cretkey":                     "a *** b ***",
		strings.Repeat("\u023a", 200) + "s3cretkey":   strings.Repeat("\u023a", 200) + "***", // grows in lower case
		strings.Repeat("\u0130", 9) + "s3cretkey.bl":  strings.Repeat("\u0130", 9) + "***.bl",
		"\xff\xfes3cretkey":                           "\xff\xfe***",
		"s3cretke" + "y":                              "***",
		"s3crets3cretkeykey":                          "s3cret***key",
		"nothing of it":                               "nothing of it",
		"\u212as3cret\u212aey, with the sign of Lord": "\u212as3cret\u212aey, with the sign of Lord",
	} {
		if got := l.redact(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	l.Key = "a" // as bad as it can be: linear all the same
	if got := l.say([]string{strings.Repeat("a", 1<<20)}); strings.Contains(got, "a") {
		t.Error(got)
	}
}
