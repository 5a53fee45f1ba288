package tls

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	stdtls "crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// rotateEvery is how long new tickets are sealed with one secret.
	rotateEvery = 8 * time.Hour
	// acceptFor is how long its tickets are opened. Who steals the secrets
	// reads at most so much of TLS 1.2; a sender that comes back later pays a
	// full handshake.
	acceptFor = 24 * time.Hour
	// maxSecrets bounds them: three live ones and some after clock jumps.
	maxSecrets = 8
)

// SessionKeys keeps the secrets of tickets over a restart. What Save is given
// opens recorded TLS 1.2 sessions of the last day: keep it as a private key is
// kept. Load gives nil when there is nothing.
type SessionKeys interface {
	Load() ([]byte, error)
	Save(secret []byte) error
}

// Tickets makes the keys of session tickets (RFC 5077, RFC 8446 section
// 4.6.1). One value serves the whole life of the process, so that a reload of
// the configuration does not end resumption. It is safe for concurrent use.
type Tickets struct {
	now  func() time.Time
	keep SessionKeys // nil: the secrets die with the process

	version atomic.Uint64 // of secrets
	next    atomic.Int64  // unix nanoseconds of the next rotation
	mu      sync.Mutex
	secrets []secret // newest first
	unsaved bool
	fault   error
}

type secret struct {
	made time.Time
	key  [32]byte
}

// NewTickets takes the secrets that were kept, and makes a new one when the
// last is too old. Secrets that cannot be read or kept are a Fault and no
// error: full handshakes take their place. keep may be nil.
func NewTickets(keep SessionKeys, now func() time.Time) (*Tickets, error) {
	t := &Tickets{now: now, keep: keep}
	var lost error
	if keep != nil {
		raw, err := keep.Load()
		if err == nil && len(raw) > 0 {
			t.secrets, err = parseSecrets(raw)
		}
		if err != nil {
			lost = fmt.Errorf("tls: the kept session keys: %w; new ones are made", err)
		}
	}
	if err := t.rotate(); err != nil {
		return nil, err
	}
	if err := t.save(); err == nil {
		t.fault = lost // told until the next change of keys
	}
	return t, nil
}

// Fault tells that the secrets could not be read or kept.
func (t *Tickets) Fault() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fault
}

// rotate makes a new secret when it is time and forgets old ones. Secrets of a
// time to come, after a jump of the clock, are judged by their distance too.
func (t *Tickets) rotate() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	live := slices.DeleteFunc(t.secrets, func(s secret) bool {
		age := now.Sub(s.made)
		return age >= acceptFor || age <= -acceptFor
	})
	slices.SortStableFunc(live, func(a, b secret) int { return b.made.Compare(a.made) })
	if len(live) == 0 || now.Sub(live[0].made) >= rotateEvery || live[0].made.Sub(now) > time.Minute {
		fresh := secret{made: now}
		if _, err := rand.Read(fresh.key[:]); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		live = append([]secret{fresh}, live...)
		t.unsaved = t.keep != nil
	}
	t.secrets = live[:min(len(live), maxSecrets)]
	t.next.Store(min(t.secrets[0].made.Add(rotateEvery).UnixNano(), now.Add(rotateEvery).UnixNano()))
	t.version.Add(1)
	return nil
}

// save keeps what has changed.
func (t *Tickets) save() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.unsaved {
		return nil
	}
	if err := t.keep.Save(appendSecrets(nil, t.secrets)); err != nil {
		t.fault = fmt.Errorf("tls: session keys could not be kept over a restart: %w", err)
		return t.fault
	}
	t.unsaved, t.fault = false, nil
	return nil
}

// bind gives a configuration its ticket keys. Each binding (listener and
// policy) has keys of its own, and the ticket says the server name too: a
// session is not resumed under another one (RFC 6066 section 3).
func (t *Tickets) bind(c *stdtls.Config, binding string) {
	var mu sync.Mutex
	var have uint64
	fresh := func() {
		if t.now().UnixNano() >= t.next.Load() {
			// Without randomness crypto/rand ends the program, so rotate
			// cannot fail here.
			_ = t.rotate()
		}
		mu.Lock()
		defer mu.Unlock()
		if v := t.version.Load(); v != have {
			have = v
			c.SetSessionTicketKeys(t.keys(binding))
		}
	}
	fresh()
	c.WrapSession = func(cs stdtls.ConnectionState, ss *stdtls.SessionState) ([]byte, error) {
		fresh()
		ss.Extra = [][]byte{nameMark(cs.ServerName)}
		return c.EncryptTicket(cs, ss)
	}
	c.UnwrapSession = func(identity []byte, cs stdtls.ConnectionState) (*stdtls.SessionState, error) {
		fresh()
		ss, err := c.DecryptTicket(identity, cs)
		if err != nil || ss == nil {
			return nil, err
		}
		if len(ss.Extra) != 1 || string(ss.Extra[0]) != string(nameMark(cs.ServerName)) {
			return nil, nil // a full handshake
		}
		return ss, nil
	}
}

// nameMark stands for a server name in a ticket, in a size that a hostile name
// cannot change.
func nameMark(server string) []byte {
	sum := sha256.Sum256([]byte("garita server name\x00" + server))
	return sum[:16]
}

// keys derives those of a binding, the newest first.
func (t *Tickets) keys(binding string) [][32]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([][32]byte, 0, len(t.secrets))
	for _, s := range t.secrets {
		k, err := hkdf.Key(sha256.New, s.key[:], nil, "garita session tickets "+binding, 32)
		if err != nil {
			continue // only for lengths that hkdf cannot make
		}
		out = append(out, [32]byte(k))
	}
	return out
}

// The kept form: one octet of version, then for each secret its time in Unix
// seconds (8 octets) and the secret (32).
const (
	keptVersion = 1
	keptLength  = 8 + 32
)

func appendSecrets(b []byte, list []secret) []byte {
	b = append(b, keptVersion)
	for _, s := range list {
		b = binary.BigEndian.AppendUint64(b, uint64(s.made.Unix()))
		b = append(b, s.key[:]...)
	}
	return b
}

var errKept = errors.New("not in a form that this version knows")

func parseSecrets(b []byte) ([]secret, error) {
	if len(b) < 1 || b[0] != keptVersion || (len(b)-1)%keptLength != 0 || (len(b)-1)/keptLength > maxSecrets {
		return nil, errKept
	}
	var out []secret
	for b = b[1:]; len(b) > 0; b = b[keptLength:] {
		s := secret{made: time.Unix(int64(binary.BigEndian.Uint64(b)), 0)}
		copy(s.key[:], b[8:keptLength])
		if s.key == ([32]byte{}) {
			return nil, errKept // a page of zeros after a crash is no secret
		}
		out = append(out, s)
	}
	return out, nil
}
