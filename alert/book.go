package alert

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Bounds of what is remembered.
const (
	maxOpen     = 1000
	maxOfKind   = maxOpen / 2 // senders can make alerts of some kinds, and must not keep out the others
	maxResolved = 200
	maxSilences = 500
	maxGathered = 500 // alerts that one digest counts
	maxNamed    = 50  // that it names
	keepClosed  = 7 * 24 * time.Hour
	keepOpen    = 30 * 24 * time.Hour // an alert that nobody raises any more
	stormWindow = time.Hour           // of Config.Rate
)

// record is what is known of one key. It is kept in the store as JSON.
type record struct {
	Alert     Alert     `json:"alert"`
	Raised    time.Time `json:"raised"`
	Last      time.Time `json:"last"`
	Resolved  time.Time `json:"resolved,omitzero"`
	Count     int       `json:"count"`
	Acked     time.Time `json:"acked,omitzero"`
	AckedBy   string    `json:"acked_by,omitempty"`
	Escalated bool      `json:"escalated,omitempty"`
	// Told is when anything was told of the key last, and how severe that
	// was; Open that the present occurrence was told; Delivered that a channel
	// has taken it.
	Told         time.Time `json:"told,omitzero"`
	ToldSeverity Severity  `json:"told_severity"`
	Open         bool      `json:"open,omitempty"`
	Delivered    bool      `json:"delivered,omitempty"`
}

func (r *record) isOpen() bool { return r.Resolved.IsZero() }

// severity is that of the alert, or what it has become.
func (r *record) severity() Severity {
	if r.Escalated {
		return Critical
	}
	return r.Alert.Severity
}

// book is what is open and what was told, without channels, clock or store:
// everything is decided here, and nothing waits.
type book struct {
	config   Config
	host     string
	records  map[string]*record
	open     int
	silences map[string]time.Time // key, or its beginning before a "*"
	dirty    map[string]bool      // records that the store does not know yet
	times    []time.Time          // of the notices of the last hour
	// gathered is what went beyond the rate, by key in order, since when.
	gathered map[string]Notice
	order    []string
	more     int
	since    time.Time
	refused  uint64 // alerts for which there was no room
}

func newBook(c Config, host string) *book {
	return &book{config: c, host: host, records: map[string]*record{}, silences: map[string]time.Time{}, dirty: map[string]bool{}, gathered: map[string]Notice{}}
}

// raise takes an alert that is clean, and gives what is to be told.
func (b *book) raise(now time.Time, a Alert) []Notice {
	r := b.records[a.Key]
	switch {
	case r == nil || !r.isOpen():
		if (b.open >= maxOpen || b.open >= maxOfKind && b.ofKind(a.Kind) >= maxOfKind) && !b.makeRoom(a) {
			b.refused++
			return nil
		}
		if r == nil {
			r = &record{}
			b.records[a.Key] = r
		}
		b.open++
		*r = record{Alert: a, Raised: now, Last: now, Count: 1, Told: r.Told, ToldSeverity: r.ToldSeverity}
	default:
		if a.Severity > r.Alert.Severity && a.Severity > r.ToldSeverity {
			r.Acked, r.AckedBy = time.Time{}, "" // what was acknowledged was less
		}
		r.Alert, r.Last = a, now
		r.Count++
	}
	b.dirty[a.Key] = true
	return b.due(now, r, nil)
}

// ofKind counts what is open of a kind.
func (b *book) ofKind(k Kind) (n int) {
	for _, r := range b.records {
		if r.isOpen() && r.Alert.Kind == k {
			n++
		}
	}
	return n
}

// makeRoom forgets the oldest event of the same kind that is no worse: events do
// not end by themselves, and those that nobody acknowledges must not keep out
// what happens now.
func (b *book) makeRoom(a Alert) bool {
	var oldest *record
	for _, r := range b.records {
		if r.isOpen() && r.Alert.Event && r.Alert.Kind == a.Kind && r.Alert.Severity <= a.Severity && (oldest == nil || r.Last.Before(oldest.Last)) {
			oldest = r
		}
	}
	if oldest == nil {
		return false
	}
	delete(b.records, oldest.Alert.Key)
	b.open--
	b.dirty[oldest.Alert.Key] = true
	return true
}

// due appends what is to be told of an open record now.
func (b *book) due(now time.Time, r *record, out []Notice) []Notice {
	if !r.isOpen() || b.silenced(now, r.Alert.Key) {
		return out
	}
	c := &b.config
	if !r.Escalated && r.Acked.IsZero() && !r.Alert.Event && r.Alert.Severity == Warning && c.EscalateAfter > 0 && now.Sub(r.Raised) >= c.EscalateAfter {
		r.Escalated = true
		b.dirty[r.Alert.Key] = true
	}
	// A wall clock that was set back must not keep an alert quiet for years.
	since := now.Sub(r.Told)
	if since < 0 {
		since = c.HoldOff
	}
	switch worse := r.severity() > r.ToldSeverity; {
	case !r.Acked.IsZero() && r.Open:
	case !r.Open && (r.Told.IsZero() || worse || since >= c.HoldOff):
		return b.tell(now, r, EventRaised, out)
	case r.Open && worse:
		return b.tell(now, r, EventEscalated, out)
	case r.Open && c.Remind > 0 && since >= c.Remind:
		return b.tell(now, r, EventReminder, out)
	}
	return out
}

// resolve ends an alert; who was told of it is told of its end.
func (b *book) resolve(now time.Time, key string) []Notice {
	r := b.records[key]
	if r == nil || !r.isOpen() {
		return nil
	}
	told := r.Open
	b.close(now, r)
	if !told || b.silenced(now, key) {
		return nil
	}
	return b.tell(now, r, EventResolved, nil)
}

func (b *book) close(now time.Time, r *record) {
	r.Resolved, r.Open = now, false
	b.open--
	b.dirty[r.Alert.Key] = true
}

// tell makes a notice, or puts it to those that are gathered.
func (b *book) tell(now time.Time, r *record, event string, out []Notice) []Notice {
	r.Told, r.ToldSeverity, r.Open = now, r.severity(), event != EventResolved
	if event != EventResolved {
		r.Delivered = false
	}
	b.dirty[r.Alert.Key] = true
	return b.admit(now, b.notice(now, r, event), out)
}

func (b *book) notice(now time.Time, r *record, event string) Notice {
	n := Notice{ID: newID(), Event: event, Host: b.host, Time: now, Alert: r.Alert, Command: Shell(r.Alert.Command),
		Raised: r.Raised, Resolved: r.Resolved, Count: r.Count}
	n.Alert.Severity = r.severity()
	return n
}

// admit keeps to the rate: a storm ends in one digest.
func (b *book) admit(now time.Time, n Notice, out []Notice) []Notice {
	b.times = slices.DeleteFunc(b.times, func(t time.Time) bool { return now.Sub(t) >= stormWindow || t.After(now) })
	if b.since.IsZero() && len(b.times) < b.config.Rate {
		b.times = append(b.times, now)
		return append(out, n)
	}
	if b.since.IsZero() {
		b.since = now
	}
	key := n.Alert.Key
	if _, ok := b.gathered[key]; !ok {
		if len(b.gathered) >= maxGathered {
			b.more++
			// What is worse takes the place of what is not.
			i := slices.IndexFunc(b.order, func(k string) bool { return b.gathered[k].Alert.Severity < n.Alert.Severity })
			if i < 0 {
				return out
			}
			delete(b.gathered, b.order[i])
			b.order = slices.Delete(b.order, i, i+1)
		}
		b.order = append(b.order, key)
	}
	b.gathered[key] = n
	return out
}

// digest gives what was gathered when it is time.
func (b *book) digest(now time.Time) (out []Notice) {
	if b.since.IsZero() || now.Sub(b.since) < b.config.Gather && !now.Before(b.since) {
		return nil
	}
	d := Notice{ID: newID(), Event: EventDigest, Host: b.host, Time: now, More: b.more, Alert: Alert{Key: "digest", Kind: "digest"}}
	// The worst first: a storm must not hide it among those that are only counted.
	slices.SortStableFunc(b.order, func(x, y string) int {
		return cmp.Compare(b.gathered[y].Alert.Severity, b.gathered[x].Alert.Severity)
	})
	for _, key := range b.order {
		n := b.gathered[key]
		d.Alert.Severity = max(d.Alert.Severity, n.Alert.Severity)
		if len(d.Digest) < maxNamed {
			d.Digest = append(d.Digest, n)
		} else {
			d.More++
		}
	}
	b.gathered, b.order, b.more, b.since = map[string]Notice{}, nil, 0, time.Time{}
	total := len(d.Digest) + d.More
	if total == 1 {
		return d.Digest
	}
	d.Count = total
	d.Alert.Subject = Texts("%d alerts within a short time", "%d alertas en poco tiempo", total)
	d.Alert.Text = Text{EN: "More alerts came than alert.rate allows; they are gathered here.", ES: "Hubo más alertas de las que permite alert.rate; aquí están reunidas."}
	d.Command = "garita alert list"
	d.Alert.Command = []string{"garita", "alert", "list"}
	return []Notice{d}
}

// tick is what time brings: reminders, escalation, the end of a hold-off, the
// digest, and forgetting.
func (b *book) tick(now time.Time) (out []Notice) {
	for key, until := range b.silences {
		if !now.Before(until) {
			delete(b.silences, key)
		}
	}
	closed := 0
	for _, key := range b.keys() {
		r := b.records[key]
		switch {
		case r.isOpen() && now.Sub(r.Last) >= keepOpen:
			b.close(now, r)
		case r.isOpen():
			out = b.due(now, r, out)
		default:
			if closed++; now.Sub(r.Resolved) >= keepClosed || closed > maxResolved {
				delete(b.records, key)
				b.dirty[key] = true
			}
		}
	}
	return append(out, b.digest(now)...)
}

// keys are all keys: what is open by its age, then what is closed, the newest
// first.
func (b *book) keys() []string {
	list := make([]*record, 0, len(b.records))
	for _, r := range b.records {
		list = append(list, r)
	}
	slices.SortFunc(list, func(x, y *record) int {
		if x.isOpen() != y.isOpen() {
			if x.isOpen() {
				return -1
			}
			return 1
		}
		n := x.Raised.Compare(y.Raised)
		if !x.isOpen() {
			n = y.Resolved.Compare(x.Resolved)
		}
		if n == 0 {
			n = strings.Compare(x.Alert.Key, y.Alert.Key)
		}
		return n
	})
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.Alert.Key
	}
	return out
}

// silenced tells whether an operator does not want to hear of a key now.
func (b *book) silenced(now time.Time, key string) bool { return now.Before(b.silencedUntil(key)) }

func (b *book) silencedUntil(key string) (until time.Time) {
	if len(b.silences) == 0 {
		return until
	}
	for s, t := range b.silences {
		head, many := strings.CutSuffix(s, "*")
		if (s == key || many && strings.HasPrefix(key, head)) && t.After(until) {
			until = t
		}
	}
	return until
}

func (b *book) entry(r *record) Entry {
	e := Entry{Alert: r.Alert, Shell: Shell(r.Alert.Command), Raised: r.Raised, Last: r.Last, Resolved: r.Resolved, Told: r.Told, Count: r.Count,
		Acked: r.Acked, AckedBy: r.AckedBy, Silenced: b.silencedUntil(r.Alert.Key)}
	e.Severity = r.severity()
	return e
}

// newID names a notice over all its attempts.
func newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}
