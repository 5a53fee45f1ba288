package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// bench is an Accounts on a clock of its own; hashings are counted, not done.
type bench struct {
	*Accounts
	mu     sync.Mutex
	clock  time.Time
	slept  []time.Duration
	hashed []string // the salts of the hashes that were tried
}

func (b *bench) lastSleep() time.Duration {
	if len(b.slept) == 0 {
		return 0
	}
	return b.slept[len(b.slept)-1]
}

// newBench has the users ana and eva with the password "right".
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b.Accounts = &Accounts{
		now: func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.clock },
		sleep: func(_ context.Context, d time.Duration) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.slept = append(b.slept, d)
			b.clock = b.clock.Add(d)
			return nil
		},
		matches: func(h hash, p string) bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.hashed = append(b.hashed, h.bcrypt+string(h.salt))
			return p == "right"
		},
	}
	c := Default()
	c.File = usersFile(t, "ana "+someArgon("salt-of-ana"), "Eva "+someArgon("salt-of-eva"))
	if err := b.init(c); err != nil {
		t.Fatal(err)
	}
	return b
}

func someArgon(salt string) string {
	return hash{memory: makeMemory, passes: 2, threads: 1, salt: []byte(salt), sum: make([]byte, 32)}.String()
}

func usersFile(t testing.TB, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func ip(n int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}) }

func (b *bench) try(t *testing.T, client netip.Addr, user, password string) (bool, error) {
	t.Helper()
	return b.Verify(t.Context(), client, user, password)
}

// S-157: an unknown user, a wrong password, a name that cannot be and a
// password that cannot be cost one hashing each, with the parameters of a user
// of the file, and have the same answer.
func TestUnknownUserCostsTheSame(t *testing.T) {
	b := newBench(t)
	for i, x := range []struct{ user, password string }{
		{"ana", "wrong"}, {"nobody", "right"}, {"no body\x00", "right"}, {"ana", "ri\x00ght"},
		{"ana", ""}, {"", "right"}, {strings.Repeat("x", 1<<20), "right"}, {"ana", strings.Repeat("x", 1<<20)},
		{"a:b", "right"}, {"cert/0123", "right"}, {"\xff\xfe", "right"}, {"ana", "\xff\xfe"},
	} {
		before := len(b.hashed)
		ok, err := b.try(t, ip(i), x.user, x.password)
		if ok || err != nil {
			t.Errorf("%.20q: %v %v", x.user, ok, err)
		}
		if n := len(b.hashed) - before; n != 1 {
			t.Errorf("%.20q %.20q: %d hashings, want 1", x.user, x.password, n)
		}
		if s := b.hashed[len(b.hashed)-1]; s != "salt-of-ana" && s != "salt-of-eva" {
			t.Errorf("%.20q: hashed with %q", x.user, s)
		}
	}
	// Always the same for the same name; of different users for different names.
	seen := map[string]bool{}
	for i := range 64 {
		user := fmt.Sprintf("nobody%d", i)
		b.try(t, ip(100+2*i), user, "x")
		first := b.hashed[len(b.hashed)-1]
		b.try(t, ip(101+2*i), user, "y")
		if b.hashed[len(b.hashed)-1] != first {
			t.Fatal("an unknown name changes its hash: it can be told from a known one")
		}
		seen[first] = true
	}
	if len(seen) != 2 {
		t.Errorf("unknown names are all tried with %v", seen)
	}
}

func TestNoUsersHashAllTheSame(t *testing.T) {
	a, err := New(Default())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	real := a.matches
	a.matches = func(h hash, p string) bool { n++; return real(h, p) }
	if ok, err := a.Verify(t.Context(), ip(1), "ana", "x"); ok || err != nil || n != 1 {
		t.Errorf("%v %v, %d hashings", ok, err, n)
	}
}

// S-72: names are compared in one form, passwords exactly.
func TestNamesAndPasswords(t *testing.T) {
	line := func(user, password string) string {
		l, err := Line(user, password, false)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	// The cheapest costs: a slow machine hashes this many times.
	cheap, err := bcrypt.GenerateFromPassword([]byte("contraseña"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.File = usersFile(t, line("ana@example.org", "correct horse"), "José "+string(cheap))
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range []struct {
		user, password string
		want           bool
	}{
		{"ana@example.org", "correct horse", true},
		{"ANA@Example.ORG", "correct horse", true},
		{"ana@example.org", "Correct horse", false},
		{"ana@example.org", "correct horse ", false},
		{"ana", "correct horse", false},
		{"jose\u0301", "contrasen\u0303a", true}, // the same in another Unicode form
		{"jose", "contraseña", false},
		{"José", "contraseña\x00", false},
		{"José", "contraseña" + strings.Repeat("x", 80), false},
	} {
		if ok, err := a.Verify(t.Context(), ip(i), x.user, x.password); ok != x.want || err != nil {
			t.Errorf("%q %q: %v %v", x.user, x.password, ok, err)
		}
	}
	if got := a.Canonical("JOSE\u0301"); got != "josé" {
		t.Errorf("canonical %q", got)
	}
}

// S-156: one client that guesses at one user waits longer and longer, then is
// put off, without a hashing.
func TestGuessingAtOneUser(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.try(t, ip(1), "ana", "wrong")
	}
	if len(b.slept) != 0 {
		t.Fatalf("waited %v for the first tries", b.slept)
	}
	for _, want := range []time.Duration{1, 2, 4, 8} {
		if _, err := b.try(t, ip(1), "ana", "wrong"); err != nil || b.lastSleep() != want*time.Second {
			t.Fatalf("waited %v, want %ds: %v", b.slept, want, err)
		}
	}
	before := len(b.hashed)
	for range 1000 {
		if _, err := b.try(t, ip(1), "ana", "wrong"); !errors.Is(err, ErrTooManyFailures) {
			t.Fatalf("not put off: %v", err)
		}
	}
	if len(b.hashed) != before {
		t.Error("what was put off was hashed")
	}
	// Being put off does not push the next try away, and time heals.
	b.clock = b.clock.Add(time.Minute)
	if ok, err := b.try(t, ip(1), "ana", "right"); !ok || err != nil {
		t.Errorf("after a minute: %v %v", ok, err)
	}
	// The right password has cleared the pair.
	n := len(b.slept)
	b.try(t, ip(1), "ana", "wrong")
	if ok, _ := b.try(t, ip(1), "ana", "right"); !ok || len(b.slept) != n {
		t.Errorf("waited after a right password: %v", b.slept[n:])
	}
}

// S-156: ten thousand clients that guess at one user lock nobody out.
func TestOthersFailuresLockNobodyOut(t *testing.T) {
	b := newBench(t)
	if ok, _ := b.try(t, ip(60000), "eva", "right"); !ok {
		t.Fatal("eva cannot log in")
	}
	for i := range 10000 {
		if _, err := b.try(t, ip(i), "eva", "wrong"); err != nil {
			t.Fatal(err)
		}
	}
	b.slept = nil
	if ok, err := b.try(t, ip(60001), "eva", "right"); !ok || err != nil || b.lastSleep() > 3*time.Second {
		t.Errorf("eva from a new client: %v %v, waited %v", ok, err, b.slept)
	}
	b.slept = nil
	if ok, err := b.try(t, ip(60000), "eva", "right"); !ok || err != nil || len(b.slept) != 0 {
		t.Errorf("eva from her own client: %v %v, waited %v", ok, err, b.slept)
	}
}

// S-156: one client that tries many users is slowed down and put off; the
// users who have logged in from there are not concerned.
// Who has a /48 has 65,536 clients, and guesses no more often for it; a login
// that is known is not delayed by him.
func TestGuessingFromOneSite(t *testing.T) {
	now := time.Unix(1e9, 0)
	th := newThrottle(func() time.Time { return now })
	client := func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i)) }
	y, ok := th.begin(client(9999), "ana", 15*time.Second)
	if !ok || y.wait != 0 {
		t.Fatal(y.wait, ok)
	}
	th.right(y)
	tries := 0
	for range 10 {
		for i := range 1000 {
			if _, ok := th.begin(client(i), "ana", 15*time.Second); ok {
				tries++
			}
		}
		now = now.Add(time.Minute)
	}
	if tries < 20 || tries > 60 {
		t.Errorf("%d tries in ten minutes", tries)
	}
	if y, ok := th.begin(client(9999), "ana", 15*time.Second); !ok || y.wait != 0 {
		t.Errorf("a login that is known: %v %v", y.wait, ok)
	}
	if y, ok := th.begin(netip.MustParseAddr("2001:db8:2::1"), "ana", 15*time.Second); !ok || y.wait > userBudget.most {
		t.Errorf("from another site: %v %v", y.wait, ok)
	}
	if y, ok := th.begin(client(1), "eva", 15*time.Second); !ok || y.wait > 0 {
		t.Errorf("another user of that site: %v %v", y.wait, ok)
	}
}

func TestSprayingFromOneClient(t *testing.T) {
	b := newBench(t)
	b.try(t, ip(7), "ana", "right")
	put := 0
	for i := range 10000 {
		if _, err := b.try(t, ip(7), fmt.Sprintf("user%d", i), "wrong"); err != nil {
			put++
		}
	}
	if put < 9900 {
		t.Errorf("only %d of 10000 were put off", put)
	}
	b.slept = nil
	if ok, err := b.try(t, ip(7), "ana", "right"); !ok || err != nil || len(b.slept) != 0 {
		t.Errorf("ana behind the same address: %v %v, waited %v", ok, err, b.slept)
	}
	if _, err := b.try(t, ip(8), "ana", "right"); err != nil {
		t.Error("another client was put off")
	}
	// An IPv6 client is its /64; a mapped address is the IPv4 one (S-194).
	if clientKey(netip.MustParseAddr("2001:db8::1")) != clientKey(netip.MustParseAddr("2001:db8::ffff:1")) {
		t.Error("two addresses of one /64 are two clients")
	}
	if clientKey(netip.MustParseAddr("::ffff:203.0.0.7")) != clientKey(ip(7)) {
		t.Error("a mapped address is another client")
	}
}

// Tries at the same moment count as failures until they are judged.
func TestTriesAtOnceAreNotFree(t *testing.T) {
	th := newThrottle(func() time.Time { return time.Unix(1e9, 0) })
	let := 0
	for range 1000 {
		if _, ok := th.begin(ip(1), "ana", 15*time.Second); ok {
			let++
		}
	}
	if let > 10 {
		t.Errorf("%d tries of one pair at the same moment", let)
	}
	// Forty people of one office, all with the right password, one after
	// another as the hashing goes.
	for i := range 40 {
		y, ok := th.begin(ip(2), fmt.Sprint("user", i), 15*time.Second)
		if !ok || y.wait > 0 {
			t.Fatalf("person %d: %v, waits %v", i, ok, y.wait)
		}
		th.right(y)
	}
}

// The memory is bounded whatever is tried, and those who are known survive.
func TestThrottleMemoryIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	th := newThrottle(func() time.Time { return now })
	y, _ := th.begin(ip(1), "ana", time.Minute)
	th.right(y)
	for i := range 5 * maxEntries {
		th.begin(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), fmt.Sprint(i), time.Minute)
	}
	for name, a := range map[string]*aged[*meter]{"pairs": &th.pairs, "clients": &th.clients, "users": &th.users} {
		if n := len(a.young) + len(a.old); n > 2*maxEntries || len(a.young) > maxEntries {
			t.Errorf("%s has %d entries", name, n)
		}
	}
	if y, ok := th.begin(ip(1), "ana", time.Minute); !ok || !y.known {
		t.Error("a known pair was forgotten")
	}
}

// A clock that jumps back makes nobody wait for it.
func TestClockGoesBack(t *testing.T) {
	b := newBench(t)
	for range 12 {
		b.try(t, ip(1), "ana", "wrong")
	}
	b.clock = b.clock.Add(-1000 * time.Hour)
	b.try(t, ip(1), "ana", "right") // sees the clock
	b.clock = b.clock.Add(time.Minute)
	if ok, err := b.try(t, ip(1), "ana", "right"); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

// Hashings at once are bounded; strangers who take all places do not keep out
// who is known; a wait has an end and counts as no failure.
func TestHashingsAtOnce(t *testing.T) {
	b := newBench(t)
	b.try(t, ip(1), "ana", "right") // known from now on
	running, most, gate := 0, 0, make(chan struct{})
	var mu sync.Mutex
	b.matches = func(_ hash, p string) bool {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		if p == "stranger" {
			<-gate
		}
		mu.Lock()
		running--
		mu.Unlock()
		return p == "right"
	}
	c := b.current.Load().cfg
	c.Wait, c.AtOnce = time.Second, 3 // the defaults are longer and fewer
	if err := b.Apply(c); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range c.AtOnce {
		wg.Go(func() { b.Verify(context.Background(), ip(100+i), "eva", "stranger") })
	}
	for len(b.current.Load().slots) < c.AtOnce {
		time.Sleep(time.Millisecond)
	}
	if ok, err := b.try(t, ip(1), "ana", "right"); !ok || err != nil {
		t.Errorf("a known client has no place: %v %v", ok, err)
	}
	patience, end := context.WithTimeout(t.Context(), Default().Wait-time.Second)
	defer end()
	if _, err := b.Verify(patience, ip(200), "ana", "right"); !errors.Is(err, ErrBusy) {
		t.Errorf("a stranger without a place: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Verify(ctx, ip(201), "ana", "right"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(gate)
	wg.Wait()
	if most > c.AtOnce+1 {
		t.Errorf("%d hashings at once", most)
	}
	if y, ok := b.throttle.begin(ip(200), "ana", time.Minute); !ok || y.pair.level != 1 {
		t.Error("a put-off counted as a failure")
	}
}

// S-157, L-23: a broken file leaves the users in place and names every fault,
// and no hash.
func TestBrokenFileKeepsTheOldUsers(t *testing.T) {
	b := newBench(t)
	cfg := b.current.Load().cfg
	os.WriteFile(cfg.File, []byte("ana\n\n# c\nbob $argon2id$broken\nEVA "+someArgon("12345678")+"\neva "+someArgon("12345678")+"\n  x\n"), 0o600)
	err := b.Reload()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"users:1: ", "users:4: ", "users:6: user \"eva\" is in line 5 already", "users:7: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "broken") {
		t.Errorf("shows a hash: %v", err)
	}
	if ok, _ := b.try(t, ip(1), "ana", "right"); !ok || b.Len() != 2 {
		t.Error("the users are gone")
	}
	os.WriteFile(cfg.File, []byte("new "+someArgon("12345678")+"\n"), 0o600)
	if err := b.Reload(); err != nil || b.Len() != 1 {
		t.Error(err)
	}
	os.Chmod(cfg.File, 0o644)
	if err := b.Reload(); err == nil || !strings.Contains(err.Error(), "chmod 0640") {
		t.Errorf("everybody's file: %v", err)
	}
	cfg.File = t.TempDir()
	if _, problems := Load(cfg); len(problems) != 1 {
		t.Error("a folder is no file")
	}
	cfg.File += "/none"
	if _, problems := Load(cfg); len(problems) != 1 || !errors.Is(problems[0], os.ErrNotExist) || !strings.HasPrefix(problems[0].Error(), "file: ") {
		t.Error(problems)
	}
	cfg.File = filepath.Join(t.TempDir(), "none\x1b")
	if _, problems := Load(cfg); len(problems) != 1 || !errors.Is(problems[0], os.ErrNotExist) ||
		problems[0].Error() != fmt.Sprintf("file: %q does not exist", cfg.File) {
		t.Error(problems)
	}
}
