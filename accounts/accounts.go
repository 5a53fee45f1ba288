package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Why nothing could be told. The client is to try again later.
var (
	// ErrBusy: too many passwords are being hashed.
	ErrBusy = errors.New("too many logins at the same time")
	// ErrTooManyFailures: this client has failed too often for now.
	ErrTooManyFailures = errors.New("too many failed logins before")
)

// Accounts verifies passwords. It is safe for concurrent use.
type Accounts struct {
	now     func() time.Time
	sleep   func(context.Context, time.Duration) error
	matches func(hash, string) bool

	throttle *throttle
	secret   []byte // chooses whose hash an unknown name is tried with
	nobody   hash   // tried when the file has no users

	apply   sync.Mutex // one Apply at a time
	current atomic.Pointer[state]
}

// state is what one Apply has set.
type state struct {
	cfg   Config
	users *Users
	slots chan struct{}
	known chan struct{} // the place that strangers cannot take
}

// New reads the users. The error has everything that is wrong with the file.
func New(c Config) (*Accounts, error) {
	a := &Accounts{now: time.Now, sleep: sleep, matches: hash.matches}
	return a, a.init(c)
}

func (a *Accounts) init(c Config) error {
	a.throttle = newThrottle(a.now)
	a.secret = make([]byte, 32)
	rand.Read(a.secret)
	a.nobody = newArgon(rand.Text())
	return a.Apply(c)
}

// Apply reads the users with this configuration. On an error everything stays
// as it was; what is remembered of failures stays either way.
func (a *Accounts) Apply(c Config) error {
	a.apply.Lock()
	defer a.apply.Unlock()
	u, problems := Load(c)
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	a.current.Store(&state{cfg: c, users: u, slots: make(chan struct{}, c.AtOnce), known: make(chan struct{}, 1)})
	return nil
}

// Reload reads the file again.
func (a *Accounts) Reload() error { return a.Apply(a.current.Load().cfg) }

// Len is the number of users.
func (a *Accounts) Len() int { return a.current.Load().users.Len() }

// Warnings tells of hashes that are weak.
func (a *Accounts) Warnings() []string { return a.current.Load().users.weak }

// Verify tells whether the password is the user's. It waits first when there
// were failures before. One hashing is done for each answer, whether the user
// exists or not; an error means that nothing was looked at.
func (a *Accounts) Verify(ctx context.Context, client netip.Addr, user, password string) (bool, error) {
	st := a.current.Load()
	key, err := nameKey(user)
	if err != nil {
		key = "/" + strings.ToValidUTF8(user[:min(len(user), maxName)], "?") // in no file
	}
	y, ok := a.throttle.begin(client, key, st.cfg.MaxDelay)
	if !ok {
		return false, ErrTooManyFailures
	}
	if y.wait > 0 {
		if err := a.sleep(ctx, y.wait); err != nil {
			return false, err // it stays a failure: to hang up is no way out
		}
	}
	release, err := st.slot(ctx, y.known)
	if err != nil {
		a.throttle.undone(y)
		return false, err
	}
	ok = a.judge(st.users, key, password, release)
	if ok {
		a.throttle.right(y)
	}
	return ok, nil
}

// Canonical is the one spelling of a name that Verify has found right.
func (a *Accounts) Canonical(user string) string {
	if key, err := nameKey(user); err == nil {
		return key
	}
	return user
}

// judge hashes once and tells whether the password is right.
func (a *Accounts) judge(u *Users, key, password string, release func()) bool {
	defer release()
	p, err := prepare(password)
	if err != nil {
		p = strings.Repeat("x", min(len(password), maxPassword)) // hashed all the same
	}
	h, known := a.pick(u, key)
	return a.matches(h, p) && known && err == nil
}

// pick gives the hash of a user; for an unknown one that of some user, always
// the same: so nobody can tell by the time (attacks S-157).
func (a *Accounts) pick(u *Users, key string) (hash, bool) {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write([]byte(key))
	n := binary.BigEndian.Uint64(mac.Sum(nil))
	i, known := u.byName[key]
	switch {
	case len(u.hashes) == 0:
		return a.nobody, false
	case !known:
		i = int(n % uint64(len(u.hashes)))
	}
	return u.hashes[i], known
}

// slot takes a place at the hashing.
func (s *state) slot(ctx context.Context, known bool) (func(), error) {
	kept := s.known
	if !known {
		kept = nil
	}
	select { // no timer when there is room
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	default:
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Wait, ErrBusy)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case kept <- struct{}{}:
		return func() { <-kept }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
