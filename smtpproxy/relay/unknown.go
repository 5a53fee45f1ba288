package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"garita/mail"
)

// The cache of unknown recipients: 550 5.1.1 to RCPT and nothing else, so that
// a dictionary attack costs the next hop one look-up for each address.
const (
	maxUnknown = 10_000
	unknownFor = 10 * time.Minute
)

type unknownRecipients struct {
	any  atomic.Bool // spares the look-up while nothing was ever refused
	mu   sync.Mutex
	set  map[string]unknownEntry
	ring []string // keys by age, for eviction
	next int
	now  func() time.Time
}

type unknownEntry struct {
	reply mail.Reply
	until time.Time
}

func (u *unknownRecipients) init() {
	u.set = make(map[string]unknownEntry)
	u.now = time.Now
}

// forget drops all of them.
func (u *unknownRecipients) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.any.Store(false)
	clear(u.set)
	u.ring, u.next = nil, 0
}

func (u *unknownRecipients) get(p mail.Path) (mail.Reply, bool) {
	if !u.any.Load() {
		return mail.Reply{}, false
	}
	key := p.Key()
	u.mu.Lock()
	defer u.mu.Unlock()
	e, ok := u.set[key]
	if !ok || !u.now().Before(e.until) {
		return mail.Reply{}, false
	}
	r := e.reply
	r.Text = clean([]byte(r.Text), false) // its client may not have asked for UTF-8
	return r, true
}

func (u *unknownRecipients) add(p mail.Path, r mail.Reply) {
	if r.Code != 550 || r.Enhanced != "5.1.1" {
		return
	}
	key := p.Key()
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.set[key]; !known {
		if len(u.ring) < maxUnknown {
			u.ring = append(u.ring, key)
		} else {
			delete(u.set, u.ring[u.next])
			u.ring[u.next] = key
			u.next = (u.next + 1) % maxUnknown
		}
	}
	u.any.Store(true)
	u.set[key] = unknownEntry{reply: r, until: u.now().Add(unknownFor)}
}
