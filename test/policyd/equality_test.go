package policyd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// requests is how many questions both are asked.
const requests = 10_000

// fakeClock gives the environment in which a program has the time of a file.
func fakeClock(t *testing.T) (env []string, set func(time.Time)) {
	t.Helper()
	libs, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(libs) == 0 {
		t.Fatal("libfaketime.so.1 is missing: the Debian package faketime")
	}
	file := filepath.Join(t.TempDir(), "time")
	set = func(at time.Time) {
		// Renamed into place: it is never read half written.
		next := file + ".new"
		if err := os.WriteFile(next, []byte(at.UTC().Format(time.DateTime)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"LD_PRELOAD=" + libs[0], "FAKETIME_TIMESTAMP_FILE=" + file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "TZ=UTC"}, set
}

// mails makes questions of few clients, senders and recipients, so that they
// meet again.
type mails struct {
	*rand.Rand
	n       int
	replays []string // messages that will come back
	long    int      // steps of two days since the table was emptied
}

func (m *mails) one(list []string) string { return list[m.IntN(len(list))] }

func (m *mails) client() (addr, name string) {
	switch m.IntN(10) {
	case 0:
		return fmt.Sprintf("2001:db8:%x:%x::%x", m.IntN(3), m.IntN(3), m.IntN(5)), "unknown"
	case 1:
		return m.one([]string{"203.0.113.9", "198.51.100.130", "198.51.100.7", "100.64.7.3", "2001:db8:feed:1::2", "192.0.2.250"}), "unknown"
	case 2:
		return "192.0.2.251", m.one([]string{"good.example", "a.GOOD.example", "notgood.example", "mx12.pool.example", "mx12.pool.example.org", "good.example.org"})
	}
	a := m.IntN(6)
	b := m.IntN(4)
	return fmt.Sprintf("192.0.%d.%d", a, b), fmt.Sprintf("h%d-%d.net.example", a, b)
}

func (m *mails) sender() string {
	d := m.one([]string{"a.example", "B.example", "c.example"})
	switch m.IntN(12) {
	case 0:
		return ""
	case 1:
		return "prvs=" + m.one([]string{"0123456789=user", "user=0123456789", "tag=user", "=x", "abcdefghij=klmnopqrst", "a=b=c", "x=", "1=2"}) + "@" + d
	case 2:
		return fmt.Sprintf("list+%d=x@%s", m.IntN(1000), d)
	case 3:
		return fmt.Sprintf("bounce-%d-%d_%d@%s", m.IntN(1000), m.IntN(10), m.IntN(2), d)
	case 4:
		return m.one([]string{"nodomain", "two@at@" + d, "12@", "@" + d, "a/b@" + d, "sp ace@" + d, "ü9@" + d, "9ü@" + d, "7@" + d, "+x@" + d, "prvs=0123456789=z+y@" + d})
	}
	return fmt.Sprintf("%s@%s", m.one([]string{"ana", "Ana", "bob", "eve", "x1", "x2"}), d)
}

func (m *mails) recipient() string {
	if m.IntN(10) == 0 {
		return m.one([]string{
			"postmaster@our.example", "POSTMASTER+x@any.example", "abuse@list.example", "abuse+a+b@list.example", "abuse@our.example",
			"u@open.example", "u@sub.open.example", "u@notopen.example", "info-1@our.example", "info@our.example", "postmaster", "u@open.example@x.example", "abuse+@list.example",
		})
	}
	return fmt.Sprintf("%s@%s", m.one([]string{"u1", "U1", "u2", "u3"}), m.one([]string{"our.example", "Other.example"}))
}

// message gives the requests of one message: one for each recipient.
func (m *mails) message() []string {
	m.n++
	addr, name := m.client()
	from := m.sender()
	instance := ""
	if m.IntN(20) > 0 {
		instance = fmt.Sprintf("instance=%x.%x.0\n", m.n, m.IntN(1<<30))
	}
	var out []string
	for range 1 + m.IntN(3)*m.IntN(2) {
		attrs := []string{
			"protocol_state=RCPT\n", "protocol_name=ESMTP\n", "helo_name=h\n", "queue_id=\n", "sender=" + from + "\n",
			"recipient=" + m.recipient() + "\n", "client_address=" + addr + "\n", "client_name=" + name + "\n", "reverse_client_name=r\n",
			instance, "sasl_username=\n", "size=1000\n", "etrn_domain=\n", "stress=\n", "ccert_subject=\n", "never_heard_of=1\n",
		}
		// Order is free.
		m.Shuffle(len(attrs), func(i, j int) { attrs[i], attrs[j] = attrs[j], attrs[i] })
		out = append(out, "request=smtpd_access_policy\n"+strings.Join(attrs, "")+"\n")
		if m.IntN(30) == 0 {
			out = append(out, out[len(out)-1])
		}
	}
	return out
}

// next is a new message or one that came before, whose instance is another.
func (m *mails) next() []string {
	if len(m.replays) > 0 && m.IntN(2) == 0 {
		return []string{strings.Replace(m.replays[m.IntN(len(m.replays))], "instance=", fmt.Sprintf("instance=%x", m.IntN(1<<30)), 1)}
	}
	list := m.message()
	if len(m.replays) < 400 {
		m.replays = append(m.replays, list...)
	} else {
		m.replays[m.IntN(len(m.replays))] = list[0]
	}
	return list
}

// step is how long it takes until the next message.
func (m *mails) step() time.Duration {
	switch n := m.IntN(1000); {
	case n < 600:
		return time.Duration(m.IntN(3)) * time.Second
	case n < 900:
		return time.Duration(m.IntN(200)) * time.Second
	case n < 970:
		return 299*time.Second + time.Duration(m.IntN(3))*time.Second
	case n < 990 || m.long == 12: // fewer days than make a row too old
		return 3599*time.Second + time.Duration(m.IntN(3))*time.Second
	}
	m.long++
	return 48*time.Hour - time.Second + time.Duration(m.IntN(3))*time.Second - time.Duration(m.IntN(2))*time.Hour
}

// TestEquality: ten thousand requests to postgrey 1.37 and to ours, the same
// answers to each.
func TestEquality(t *testing.T) {
	env, setTheirs := fakeClock(t)
	at := &clock{}
	set := func(to time.Time) { setTheirs(to); at.set(to) }
	set(time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC))
	theirs := dial(t, postgrey(t, env))
	own := dial(t, ours(t, at.now, nil))
	m := &mails{Rand: rand.New(rand.NewPCG(6, 3))}
	kinds := map[string]int{}
	for n, month := 0, 1; n < requests; {
		if n >= month*requests/5 {
			// Everything has grown too old. Postgrey forgets in the night alone,
			// when somebody asks.
			month++
			m.long = 0
			to := at.now().Add(37 * 24 * time.Hour)
			set(time.Date(to.Year(), to.Month(), to.Day(), 3, 0, 0, 0, time.UTC))
			night := "request=smtpd_access_policy\nclient_address=10.9.9.9\nclient_name=n\nsender=n@n\nrecipient=n@n\n\n"
			for _, a := range []*asker{theirs, own} {
				if _, err := a.ask(night); err != nil {
					t.Fatal(err)
				}
			}
		}
		set(at.now().Add(m.step()))
		for _, q := range m.next() {
			n++
			want, err := theirs.ask(q)
			if err != nil {
				t.Fatalf("postgrey, request %d: %v\n%s", n, err, q)
			}
			got, err := own.ask(q)
			if err != nil {
				t.Fatalf("ours, request %d: %v\n%s", n, err, q)
			}
			want, got = dateless(want), dateless(got)
			kind, _, _ := strings.Cut(want, " ")
			kinds[kind]++
			if got != want {
				t.Fatalf("request %d at %s:\n%spostgrey: %s\n    ours: %s", n, at.now(), q, want, got)
			}
		}
	}
	t.Logf("answers: %v", kinds)
	for _, k := range []string{"DUNNO", "DEFER_IF_PERMIT", "PREPEND"} {
		if kinds[k] < requests/50 {
			t.Errorf("only %d answers %s: the requests do not try enough", kinds[k], k)
		}
	}
}

// dateless cuts the date of a header off.
func dateless(action string) string {
	if strings.HasPrefix(action, "PREPEND ") {
		action, _, _ = strings.Cut(action, ";")
	}
	return action
}
