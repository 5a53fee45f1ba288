package tls

import (
	"bytes"
	stdtls "crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"
)

// kept is a SessionKeys in memory.
type kept struct {
	raw          []byte
	load, save   error
	loads, saves int
}

func (k *kept) Load() ([]byte, error) { k.loads++; return k.raw, k.load }
func (k *kept) Save(b []byte) error {
	k.saves++
	if k.save == nil {
		k.raw = bytes.Clone(b)
	}
	return k.save
}

func newTickets(t *testing.T, k SessionKeys, now func() time.Time) *Tickets {
	t.Helper()
	out, err := NewTickets(k, now)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func storeWith(t *testing.T, cfg Config, tk *Tickets, now func() time.Time) *Store {
	t.Helper()
	s, err := New(Options{Config: cfg, Hostname: "mx.example.com", Tickets: tk, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// resumes makes a session with the client's cache and tells whether it was
// resumed.
func resumes(t *testing.T, addr string, client *stdtls.Config) bool {
	t.Helper()
	c, err := dial(addr, client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().DidResume
}

func versions() []uint16 { return []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} }

func caching(version uint16) *stdtls.Config {
	return &stdtls.Config{ClientSessionCache: stdtls.NewLRUClientSessionCache(8), MaxVersion: version}
}

// A session is resumed on its own listener and on no other, and not under
// another policy of the same listener (S-41).
func TestResumptionStaysOnItsListener(t *testing.T) {
	cfg := writePair(t, t.TempDir(), "mx.example.com", time.Now())
	tk := newTickets(t, nil, time.Now)
	s := storeWith(t, cfg, tk, time.Now)
	if s.ServerConfig("mx") != s.ServerConfig("mx") {
		t.Error("one listener, two configurations")
	}
	mx, submission := echo(t, s.ServerConfig("mx")), echo(t, s.ServerConfig("submission"))
	asks := echo(t, s.ServerConfigFor("clients", Policy{RequestClientCertificate: true, Binding: "ca one"}))
	// The same listener after a reload: same policy, other authority, other
	// minimum.
	reloaded := storeWith(t, cfg, tk, time.Now)
	same := echo(t, reloaded.ServerConfigFor("clients", Policy{RequestClientCertificate: true, Binding: "ca one"}))
	otherCA := echo(t, storeWith(t, cfg, tk, time.Now).ServerConfigFor("clients", Policy{RequestClientCertificate: true, Binding: "ca two"}))
	mxAgain := echo(t, reloaded.ServerConfig("mx"))
	strict := cfg
	strict.MinVersion = "1.3"
	mxStrict := echo(t, storeWith(t, strict, tk, time.Now).ServerConfig("mx"))
	for _, version := range versions() {
		client := caching(version)
		for i, want := range []struct {
			addr    string
			resumed bool
		}{{mx, false}, {mx, true}, {submission, false}, {submission, true}, {mx, false}, {asks, false}, {asks, true}, {same, true}, {otherCA, false},
			{mx, false}, {mxAgain, true}, {mxStrict, false}} {
			if want.addr == mxStrict && version == stdtls.VersionTLS12 {
				continue
			}
			if got := resumes(t, want.addr, client); got != want.resumed {
				t.Errorf("%x, session %d: resumed %v", version, i, got)
			}
		}
	}
}

// oneEntry is a client that offers its last ticket to any server name.
type oneEntry struct{ s *stdtls.ClientSessionState }

func (o *oneEntry) Get(string) (*stdtls.ClientSessionState, bool) { return o.s, o.s != nil }
func (o *oneEntry) Put(_ string, s *stdtls.ClientSessionState) {
	if s != nil {
		o.s = s
	}
}

// A session is not resumed under another server name (RFC 6066 section 3).
func TestResumptionKeepsTheServerName(t *testing.T) {
	s := namedStore(t)
	addr := echo(t, s.ServerConfig("mx"))
	for _, version := range versions() {
		client := &stdtls.Config{ClientSessionCache: &oneEntry{}, MaxVersion: version}
		for i, c := range []struct {
			name    string
			resumed bool
		}{{"mx.example.com", false}, {"mx.example.com", true}, {"mail.other.example", false}, {"mail.other.example", true}, {"mx.example.com", false}} {
			client.ServerName = c.name
			if got := resumes(t, addr, client); got != c.resumed {
				t.Errorf("%x, session %d as %s: resumed %v", version, i, c.name, got)
			}
		}
	}
}

// Secrets change every eight hours without a call from outside, and tickets
// are good for a day and no longer.
func TestSecretsRotate(t *testing.T) {
	for _, version := range versions() {
		c := newClock(time.Now())
		cfg := writePair(t, t.TempDir(), "mx.example.com", c.now())
		tk := newTickets(t, nil, c.now)
		addr := echo(t, storeWith(t, cfg, tk, c.now).ServerConfig("mx"))
		old := &oneEntry{}
		client := &stdtls.Config{ClientSessionCache: old, MaxVersion: version}
		resumes(t, addr, client)
		first := old.s
		c.add(rotateEvery + time.Minute)
		if !resumes(t, addr, client) || len(tk.secrets) != 2 {
			t.Errorf("%x: after one rotation: %d secrets", version, len(tk.secrets))
		}
		old.s = first
		c.add(acceptFor - rotateEvery)
		if resumes(t, addr, client) {
			t.Errorf("%x: a ticket was taken after a day", version)
		}
		for range 20 {
			c.add(rotateEvery)
			resumes(t, addr, client)
		}
		if n := len(tk.secrets); n > 4 {
			t.Errorf("%d secrets are kept", n)
		}
	}
}

// With a place to keep them sessions are resumed after a restart; what cannot
// be kept or read is told and stops nothing.
func TestSecretsSurviveARestart(t *testing.T) {
	c := newClock(time.Now())
	cfg := writePair(t, t.TempDir(), "mx.example.com", c.now())
	k := &kept{}
	client := caching(stdtls.VersionTLS13)
	client.ServerName = "mx.example.com"
	cache := &oneEntry{}
	client.ClientSessionCache = cache
	first := storeWith(t, cfg, newTickets(t, k, c.now), c.now)
	resumes(t, echo(t, first.ServerConfig("mx")), client)
	second := storeWith(t, cfg, newTickets(t, k, c.now), c.now)
	addr := echo(t, second.ServerConfig("mx"))
	if !resumes(t, addr, client) {
		t.Error("not resumed after a restart")
	}
	if k.saves != 1 {
		t.Errorf("%d saves; nothing had changed", k.saves)
	}
	c.add(rotateEvery)
	resumes(t, addr, client)
	k.save = errors.New("disk full")
	if _, err := second.Poll(); err == nil || !strings.Contains(err.Error(), "disk full") || second.Fault() == nil {
		t.Errorf("Poll: %v", err)
	}
	if _, err := second.Poll(); err != nil || second.Fault() == nil {
		t.Errorf("told twice: %v", err)
	}
	k.save = nil
	if _, err := second.Poll(); err != nil || second.Fault() != nil {
		t.Errorf("mended: %v, %v", err, second.Fault())
	}
	third := storeWith(t, cfg, newTickets(t, k, c.now), c.now)
	if !resumes(t, echo(t, third.ServerConfig("mx")), client) {
		t.Error("not resumed after rotation and restart")
	}
	for name, bad := range map[string]*kept{
		"garbage":  {raw: []byte("not keys")},
		"zeros":    {raw: append([]byte{keptVersion}, make([]byte, keptLength)...)},
		"cut":      {raw: k.raw[:len(k.raw)-1]},
		"too many": {raw: append([]byte{keptVersion}, bytes.Repeat(k.raw[1:1+keptLength], maxSecrets+1)...)},
		"no read":  {load: errors.New("i/o error")},
	} {
		s := storeWith(t, cfg, newTickets(t, bad, c.now), c.now)
		if s.Fault() == nil {
			t.Errorf("%s: no fault", name)
		}
		if resumes(t, echo(t, s.ServerConfig("mx")), client) {
			t.Errorf("%s: resumed", name)
		}
		if len(parsed(t, bad.raw)) == 0 {
			t.Errorf("%s: nothing was kept instead", name)
		}
	}
}

func parsed(t *testing.T, raw []byte) []secret {
	t.Helper()
	out, err := parseSecrets(raw)
	if err != nil {
		t.Error(err)
	}
	return out
}

// Jumps of the clock, both ways, leave a working set (L-30).
func TestClockJumps(t *testing.T) {
	c := newClock(time.Now())
	k := &kept{}
	tk := newTickets(t, k, c.now)
	for _, jump := range []time.Duration{10 * 365 * day, -20 * 365 * day, 10 * 365 * day, -2 * time.Hour, 3 * time.Hour, -time.Second} {
		c.add(jump)
		if err := tk.rotate(); err != nil {
			t.Fatal(err)
		}
		if n := len(tk.secrets); n == 0 || n > maxSecrets {
			t.Errorf("after %v: %d secrets", jump, n)
		}
		for _, s := range tk.secrets {
			if d := s.made.Sub(c.now()).Abs(); d >= acceptFor {
				t.Errorf("after %v: a secret %v away", jump, d)
			}
		}
		if next := time.Unix(0, tk.next.Load()); next.Sub(c.now()) > rotateEvery {
			t.Errorf("after %v: the next rotation is in %v", jump, next.Sub(c.now()))
		}
	}
}

// FuzzSessionKeys: whatever was kept, there is a working set, and what is
// understood comes out as it went in.
func FuzzSessionKeys(f *testing.F) {
	good := appendSecrets(nil, []secret{{time.Unix(1700000000, 0), [32]byte{1}}, {time.Unix(1700030000, 0), [32]byte{2}}})
	f.Add(good)
	f.Add(good[:50])
	f.Add([]byte{})
	f.Add([]byte{keptVersion})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if list, err := parseSecrets(raw); err == nil {
			if got := appendSecrets(nil, list); !bytes.Equal(got, raw) {
				t.Errorf("%x became %x", raw, got)
			}
		}
		k := &kept{raw: raw}
		tk, err := NewTickets(k, func() time.Time { return time.Unix(1700031000, 0) })
		if err != nil || len(tk.secrets) == 0 || len(tk.secrets) > maxSecrets || len(tk.keys("x")) != len(tk.secrets) {
			t.Errorf("%v, %d secrets", err, len(tk.secrets))
		}
	})
}

// A listener that asks for client certificates clones its configuration: keys
// and binding are those of the original, over rotations too (S-41).
func TestCloneKeepsTheBinding(t *testing.T) {
	for _, version := range versions() {
		c := newClock(time.Now())
		cfg := writePair(t, t.TempDir(), "mx.example.com", c.now())
		s := storeWith(t, cfg, newTickets(t, nil, c.now), c.now)
		clone := s.ServerConfigFor("clients", Policy{RequestClientCertificate: true, Binding: "ca one"}).Clone()
		clone.ClientAuth = stdtls.RequestClientCert
		asks, mx := echo(t, clone), echo(t, s.ServerConfig("mx"))
		client := &stdtls.Config{ClientSessionCache: &oneEntry{}, MaxVersion: version}
		for i, step := range []struct {
			addr    string
			later   time.Duration
			resumed bool
		}{{asks, 0, false}, {asks, 0, true}, {mx, 0, false}, {asks, 0, false}, {asks, rotateEvery, true}, {asks, acceptFor, false}} {
			c.add(step.later)
			if got := resumes(t, step.addr, client); got != step.resumed {
				t.Errorf("%x, step %d: resumed %v", version, i, got)
			}
		}
	}
}
