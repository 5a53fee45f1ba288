package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func start() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func hopDown(s Severity) Alert {
	return Alert{Key: "next-hop/mail", Kind: NextHop, Severity: s, Subject: Text{EN: "next hop mail does not answer", ES: "mail no responde"}}.clean()
}

// told writes notices as "event severity key", one after the other.
func told(list []Notice) string {
	var out []string
	for _, n := range list {
		out = append(out, n.Event+" "+n.Alert.Severity.String()+" "+n.Alert.Key)
	}
	return strings.Join(out, ", ")
}

// TestBook plays what happens to one key; each step is some time later.
func TestBook(t *testing.T) {
	const raise, worse, over, tick, ack = "raise", "worse", "over", "tick", "ack"
	type step struct {
		after time.Duration
		do    string
		want  string
	}
	const key = " next-hop/mail"
	for name, steps := range map[string][]step{
		"told once": {{0, raise, "raised warning" + key}, {time.Minute, raise, ""}, {time.Minute, tick, ""}, {time.Minute, over, "resolved warning" + key}, {0, over, ""}},
		"flapping is told at the end of the hold-off": {{0, raise, "raised warning" + key}, {time.Minute, over, "resolved warning" + key},
			{time.Minute, raise, ""}, {time.Minute, over, ""}, {time.Minute, raise, ""}, {50 * time.Minute, tick, ""}, {10 * time.Minute, tick, "raised warning" + key}},
		"worse breaks the hold-off":  {{0, raise, "raised warning" + key}, {time.Minute, worse, "escalated critical" + key}, {time.Minute, worse, ""}, {time.Minute, raise, ""}},
		"worse after it was over":    {{0, raise, "raised warning" + key}, {time.Second, over, "resolved warning" + key}, {time.Second, worse, "raised critical" + key}},
		"nobody looks":               {{0, raise, "raised warning" + key}, {4 * time.Hour, tick, "escalated critical" + key}, {23 * time.Hour, tick, ""}, {time.Hour, tick, "reminder critical" + key}, {time.Hour, over, "resolved critical" + key}},
		"somebody looks":             {{0, raise, "raised warning" + key}, {time.Minute, ack, ""}, {5 * time.Hour, tick, ""}, {30 * time.Hour, raise, ""}, {0, over, "resolved warning" + key}},
		"worse than what was seen":   {{0, raise, "raised warning" + key}, {time.Minute, ack, ""}, {time.Minute, worse, "escalated critical" + key}},
		"nobody raises it any more":  {{0, raise, "raised warning" + key}, {time.Minute, ack, ""}, {31 * 24 * time.Hour, tick, ""}, {0, raise, "raised warning" + key}},
		"the clock was set back":     {{0, raise, "raised warning" + key}, {-1000 * time.Hour, over, "resolved warning" + key}, {-1000 * time.Hour, raise, "raised warning" + key}},
		"forgotten when long closed": {{0, raise, "raised warning" + key}, {0, over, "resolved warning" + key}, {8 * 24 * time.Hour, tick, ""}, {0, raise, "raised warning" + key}},
	} {
		b, now := newBook(Default(), "mx.example"), start()
		for i, s := range steps {
			now = now.Add(s.after)
			var got []Notice
			switch s.do {
			case raise:
				got = b.raise(now, hopDown(Warning))
			case worse:
				got = b.raise(now, hopDown(Critical))
			case over:
				got = b.resolve(now, "next-hop/mail")
			case tick:
				got = b.tick(now)
			case ack:
				b.records["next-hop/mail"].Acked = now
			}
			if told(got) != s.want {
				t.Errorf("%s, step %d (%s): %q, not %q", name, i, s.do, told(got), s.want)
			}
		}
	}
}

func TestSilence(t *testing.T) {
	b, now := newBook(Default(), "mx.example"), start()
	b.silences["next-hop/*"] = now.Add(time.Hour)
	if got := told(b.raise(now, hopDown(Critical))); got != "" {
		t.Errorf("told: %s", got)
	}
	if got := told(b.raise(now, Alert{Key: "other", Severity: Warning}.clean())); got != "raised warning other" {
		t.Errorf("another key: %q", got)
	}
	// What is over before the silence is, is never told.
	if got := told(b.tick(now.Add(59 * time.Minute))); got != "" {
		t.Errorf("told: %s", got)
	}
	if got := told(b.tick(now.Add(time.Hour))); got != "raised critical next-hop/mail" {
		t.Errorf("after the silence: %q", got)
	}
	if len(b.silences) != 0 {
		t.Error("it is not forgotten")
	}
}

// TestStorm: a thousand alerts are twenty notices and one digest, and what the
// digest cannot name it counts.
func TestStorm(t *testing.T) {
	c := Default()
	b, now := newBook(c, "mx.example"), start()
	sent, kinds := 0, []Kind{Limit, Suspension, Hold}
	for i := range maxOpen + 100 {
		sent += len(b.raise(now.Add(time.Duration(i)*time.Millisecond), Alert{Key: fmt.Sprintf("limit/user%d", i), Kind: kinds[i%3], Severity: Severity(1 + i%2)}.clean()))
	}
	if sent != c.Rate || b.open != maxOpen || b.refused != 100 {
		t.Errorf("%d notices, %d open, %d without room", sent, b.open, b.refused)
	}
	if got := b.tick(now.Add(c.Gather / 2)); len(got) != 0 {
		t.Errorf("too early: %d", len(got))
	}
	got := b.tick(now.Add(c.Gather + time.Second))
	if len(got) != 1 || got[0].Event != EventDigest || got[0].Alert.Severity != Critical || len(got[0].Digest) != maxNamed ||
		got[0].Count != maxOpen-c.Rate || got[0].More != maxOpen-c.Rate-maxNamed {
		t.Fatalf("%d notices, %+v", len(got), got[0].Count)
	}
	if got[0].Alert.Subject.EN != "980 alerts within a short time" {
		t.Errorf("%q", got[0].Alert.Subject.EN)
	}
	// The end of the storm is a digest, too, and then there is quiet.
	for i := range maxOpen {
		sent += len(b.resolve(now.Add(11*time.Minute), fmt.Sprintf("limit/user%d", i)))
	}
	if got := b.tick(now.Add(22 * time.Minute)); sent != c.Rate || len(got) != 1 || got[0].Event != EventDigest {
		t.Errorf("%d notices more, digest %d", sent-c.Rate, len(got))
	}
	if got := b.tick(now.Add(23 * time.Minute)); len(got) != 0 {
		t.Errorf("still %d", len(got))
	}
	// An hour later alerts are told as they come.
	if got := b.raise(now.Add(2*time.Hour), hopDown(Warning)); told(got) != "raised warning next-hop/mail" {
		t.Errorf("%q", told(got))
	}
	// Of what is over, only so much is remembered.
	b.tick(now.Add(2 * time.Hour))
	if len(b.records) > maxResolved+1 {
		t.Errorf("%d are remembered", len(b.records))
	}
}

// TestStormHidesNothing: who can make alerts of one kind, by any number of
// users or domains, keeps no other alert from being told and named.
func TestStormHidesNothing(t *testing.T) {
	t.Parallel()
	c := Default()
	b, now := newBook(c, "mx.example"), start()
	for i := range 2 * maxOpen {
		b.raise(now, Alert{Key: fmt.Sprintf("limit/user%d", i), Kind: Limit, Severity: Warning}.clean())
	}
	if b.open != maxOfKind || b.refused != 2*maxOpen-maxOfKind {
		t.Fatalf("%d open, %d without room", b.open, b.refused)
	}
	for i := range maxOfKind - 10 { // and of another
		b.raise(now, Alert{Key: fmt.Sprintf("user/%d", i), Kind: Suspension, Severity: Warning}.clean())
	}
	b.raise(now, hopDown(Critical))
	got := b.tick(now.Add(c.Gather + time.Second))
	if len(got) != 1 || len(got[0].Digest) != maxNamed || got[0].Digest[0].Alert.Key != "next-hop/mail" || got[0].Alert.Severity != Critical ||
		got[0].Count != 2*maxOfKind-10+1-c.Rate {
		t.Fatalf("%d: %s", got[0].Count, told(got[0].Digest[:1]))
	}

	// Events that nobody acknowledges make room for new ones, which are told.
	b, now = newBook(c, "mx.example"), start()
	for i := range 2 * maxOpen {
		now = now.Add(time.Hour)
		if got := b.raise(now, Alert{Key: fmt.Sprintf("limit/user/u%d", i), Kind: Limit, Severity: Warning, Event: true}.clean()); len(got) != 1 {
			t.Fatalf("%d: %d notices", i, len(got))
		}
	}
	if b.open != maxOfKind || b.refused != 0 || len(b.records) != maxOfKind || b.records["limit/user/u0"] != nil {
		t.Errorf("%d open, %d without room", b.open, b.refused)
	}
	b.raise(now, hopDown(Critical))
	b.raise(now, Alert{Key: "limit/user1", Kind: Limit, Severity: Warning, Event: true}.clean())

	w := &worker{m: &Manager{o: Options{Now: start}, counts: map[[2]string]uint64{}}, awake: make(chan struct{}, 1)}
	w.put(b.notice(now, b.records["next-hop/mail"], EventRaised))
	for range 2 * maxWaiting {
		w.put(b.notice(now, b.records["limit/user1"], EventRaised))
	}
	if len(w.queue) != maxWaiting || w.queue[0].n.Alert.Key != "next-hop/mail" {
		t.Errorf("%d wait, first %s", len(w.queue), w.queue[0].n.Alert.Key)
	}
}

// TestOneGathered: one notice beyond the rate is no digest.
func TestOneGathered(t *testing.T) {
	c := Default()
	c.Rate = 1
	b := newBook(c, "mx.example")
	b.raise(start(), Alert{Key: "a", Severity: Warning})
	b.raise(start(), Alert{Key: "b", Severity: Warning})
	if got := told(b.tick(start().Add(c.Gather))); got != "raised warning b" {
		t.Errorf("%q", got)
	}
}

// TestHostileText: nothing that a stranger writes reaches any channel as it is.
func TestHostileText(t *testing.T) {
	evil := "x\r\nBcc: a@b\x00\x1b[2J\u202egnp.exe\u2028<script>|'$(id)`\xff" + strings.Repeat("é", 3000)
	a := Alert{Key: evil, Kind: Kind(evil), Severity: 99, Subject: Text{EN: evil}, Text: Text{EN: evil}, Command: []string{"garita", evil},
		Facts: []Fact{{evil, evil}}}
	for range 50 {
		a.Facts, a.Command = append(a.Facts, a.Facts[0]), append(a.Command, evil)
	}
	a = a.clean()
	for _, s := range []string{a.Key, string(a.Kind), a.Subject.EN, a.Subject.ES, a.Text.EN, a.Facts[0].Name, a.Facts[0].Value, a.Command[1]} {
		if strings.ContainsAny(strings.ReplaceAll(s, "\n", " "), "\r\x00\x1b\u202e\u2028") || !strings.Contains(s, `x\r\n`) && !strings.Contains(s, "x\\r\n") {
			t.Errorf("%q", s)
		}
	}
	if strings.Contains(a.Key+a.Subject.EN+a.Facts[0].Value+a.Command[1], "\n") || strings.Contains(Texts("%s", "%s", evil).EN, "\n") {
		t.Error("a line end is left")
	}
	if a.Severity != Critical || len(a.Facts) != maxFacts || len(a.Command) != maxArgs || len(a.Key) > maxKey || len(a.Text.EN) > maxText ||
		len(a.Subject.EN) > maxSubject || strings.Contains(a.Key, " ") {
		t.Errorf("%+v", a)
	}
	if n := len((&record{Alert: a}).encode()); n > maxRecord {
		t.Errorf("a record has %d octets", n)
	}
}

func TestShell(t *testing.T) {
	for want, args := range map[string][]string{
		"garita user resume juan@example.org": {"garita", "user", "resume", "juan@example.org"},
		`garita 'a; rm -rf /' '$(id)' ''`:     {"garita", "a; rm -rf /", "$(id)", ""},
		`garita 'it'\''s' '*' '~root'`:        {"garita", "it's", "*", "~root"},
		`garita 'a\nb'`:                       {"garita", "a\nb"},
		`'=cmd'`:                              {"=cmd"},
	} {
		if got := Shell(args); got != want {
			t.Errorf("%q: %s, not %s", args, got, want)
		}
	}
}
