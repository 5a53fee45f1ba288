package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"garita/maillog"
	"garita/store"
)

// Options are what a Manager needs.
type Options struct {
	Config Config
	Host   string           // our name
	Store  store.Store      // nil: nothing is kept over restarts
	Log    *maillog.Logger  // may be nil
	Now    func() time.Time // nil: the clock

	// after is time.After; still: no ticks of its own, both for tests.
	after func(time.Duration) <-chan time.Time
	still bool
}

// What commands can be told.
var (
	ErrUnknown = errors.New("alert: there is no open alert with that key")
	ErrMany    = errors.New("alert: there are too many silences")
	ErrChannel = errors.New("alert: there is no such channel")
	// ErrNotDurable says that the change holds, and is not on the disk yet.
	ErrNotDurable = errors.New("alert: done, but not on the disk yet")
)

// Manager keeps alerts and tells of them. A nil one does nothing. It is safe
// for concurrent use.
type Manager struct {
	o   Options
	log *maillog.Logger

	mu      sync.Mutex
	book    *book
	workers map[string]*worker
	counts  map[[2]string]uint64 // channel, result
	strays  chan struct{}        // calls of notify's library that run
	full    bool                 // told that there is no room
	closed  bool

	saving sync.Mutex // one write at a time, so that an older one is not the last
	poke   chan struct{}
	stop   chan struct{}
	wg     sync.WaitGroup
}

// tickEvery is how often time is looked at, and what is new written.
const tickEvery = 5 * time.Second

// Open makes a Manager and reads what an earlier one left.
func Open(o Options) (*Manager, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.after == nil {
		o.after = time.After
	}
	m := &Manager{o: o, log: o.Log, book: newBook(o.Config, oneLine(o.Host)), workers: map[string]*worker{}, counts: map[[2]string]uint64{{logName, resultSent}: 0},
		strays: make(chan struct{}, maxStrays), poke: make(chan struct{}, 1), stop: make(chan struct{})}
	if err := m.recall(); err != nil {
		// What was open will be raised again; a start does not wait for it.
		m.log.Warn("alert", "what was open before the start is not known", slog.String("error", err.Error()))
	}
	if err := m.Update(o.Config); err != nil {
		return nil, err
	}
	if !o.still {
		m.wg.Go(m.run)
	}
	return m, nil
}

func (m *Manager) run() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-t.C:
			m.tick()
		case <-m.poke:
		}
		m.save()
	}
}

func (m *Manager) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.book.config.Enabled {
		m.send(m.book.tick(m.o.Now()))
	}
}

// Raise says that something is wrong, or still is. It returns at once.
func (m *Manager) Raise(a Alert) {
	if m == nil {
		return
	}
	m.raise(a.clean())
}

func (m *Manager) raise(a Alert) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || !m.book.config.Enabled || a.Key == "" {
		return
	}
	before := m.book.refused
	m.send(m.book.raise(m.o.Now(), a))
	if full := m.book.refused > before; full && !m.full {
		m.log.Warn("alert", "too many alerts are open; new ones are not taken", slog.Int("open", m.book.open))
		m.full = true
	} else if m.book.open < maxOpen/2 {
		m.full = false
	}
	m.wake()
}

// Resolve says that it is over. A key that is not open is nothing.
func (m *Manager) Resolve(key string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.send(m.book.resolve(m.o.Now(), cleanKey(key)))
	m.wake()
}

// ResolveOthers resolves what is open of the kinds and not in still: for a
// source that looks at all of its things at once.
func (m *Manager) ResolveOthers(kinds []Kind, still func(key string) bool) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	for _, key := range m.book.keys() {
		r := m.book.records[key]
		if r.isOpen() && !r.Alert.Event && slices.Contains(kinds, r.Alert.Kind) && !still(key) {
			m.send(m.book.resolve(m.o.Now(), key))
		}
	}
	m.wake()
}

// IsOpen tells whether a key is open.
func (m *Manager) IsOpen(key string) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.book.records[cleanKey(key)]
	return r != nil && r.isOpen()
}

// send gives notices to the log and to the channels; the lock is held.
func (m *Manager) send(list []Notice) {
	for _, n := range list {
		m.write(n)
		except := ""
		if n.Alert.Kind == Channel {
			except = strings.TrimPrefix(n.Alert.Key, channelKey)
		}
		for name, w := range m.workers {
			if name != except && n.Alert.Severity >= w.least {
				w.put(n)
			}
		}
	}
}

// logName is the mail log among the channels that are counted.
const logName = "log"

// write tells the mail log, which is there without any configuration.
func (m *Manager) write(n Notice) {
	m.counts[[2]string{logName, resultSent}]++
	attrs := []slog.Attr{slog.String("event", n.Event), slog.String("key", n.Alert.Key), slog.String("severity", n.Alert.Severity.String())}
	for _, f := range n.Alert.Facts {
		attrs = append(attrs, slog.String(f.Name, f.Value))
	}
	text := logSubject(n, m.book.config.Language)
	if n.Event == EventResolved {
		m.log.Info("alert", text, attrs...)
		return
	}
	m.log.Warn("alert", text, attrs...)
}

// Ack says that somebody has seen an alert: no reminders, no escalation, until
// it becomes worse. An event is closed by it.
func (m *Manager) Ack(ctx context.Context, key, by string) (Entry, error) {
	if m == nil {
		return Entry{}, ErrUnknown
	}
	m.mu.Lock()
	key = cleanKey(key)
	r := m.book.records[key]
	if r == nil || !r.isOpen() {
		m.mu.Unlock()
		return Entry{}, ErrUnknown
	}
	now := m.o.Now()
	r.Acked, r.AckedBy = now, cut(oneLine(by), maxName)
	if r.Alert.Event {
		m.book.close(now, r)
	}
	m.book.dirty[key] = true
	e := m.book.entry(r)
	m.mu.Unlock()
	return e, m.saveNow(ctx)
}

// Silence keeps a key, or all that begin as one that ends in "*", quiet for a
// while; 0 ends the silence.
func (m *Manager) Silence(ctx context.Context, key string, d time.Duration) (time.Time, error) {
	if m == nil {
		return time.Time{}, ErrUnknown
	}
	if d < 0 || d > longest {
		return time.Time{}, fmt.Errorf("alert: a silence lasts at most %v", longest)
	}
	key = cleanKey(key)
	m.mu.Lock()
	if _, ok := m.book.silences[key]; !ok && len(m.book.silences) >= maxSilences {
		m.mu.Unlock()
		return time.Time{}, ErrMany
	}
	until := m.o.Now().Add(d)
	m.book.silences[key] = until
	if d == 0 {
		delete(m.book.silences, key)
	}
	m.mu.Unlock()
	return until, m.keepSilence(ctx, key, until, d)
}

// List gives what is open by age, and with all also what was resolved lately.
func (m *Manager) List(all bool) []Entry {
	out := []Entry{}
	if m == nil {
		return out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range m.book.keys() {
		if r := m.book.records[key]; all || r.isOpen() {
			out = append(out, m.book.entry(r))
		}
	}
	return out
}

// SilencedKey is one silence.
type SilencedKey struct {
	Key   string    `json:"key"`
	Until time.Time `json:"until"`
}

// Silences gives those that hold, by key.
func (m *Manager) Silences() []SilencedKey {
	out := []SilencedKey{}
	if m == nil {
		return out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.o.Now()
	for key, until := range m.book.silences {
		if now.Before(until) {
			out = append(out, SilencedKey{key, until})
		}
	}
	slices.SortFunc(out, func(a, b SilencedKey) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// Sent is how often a channel came to a result: sent, retried, failed, dropped.
type Sent struct {
	Channel, Result string
	N               uint64
}

// Sent gives the counters, by channel.
func (m *Manager) Sent() []Sent {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Sent
	for k, n := range m.counts {
		out = append(out, Sent{k[0], k[1], n})
	}
	slices.SortFunc(out, func(a, b Sent) int { return strings.Compare(a.Channel+" "+a.Result, b.Channel+" "+b.Result) })
	return out
}

// OpenCount gives how many alerts are open, by severity.
func (m *Manager) OpenCount() (n [3]int) {
	if m == nil {
		return n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.book.records {
		if r.isOpen() {
			n[r.severity()]++
		}
	}
	return n
}

func (m *Manager) wake() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// lastTry is how long the end of the program waits for deliveries that run.
const lastTry = 3 * time.Second

// Close writes what is open and ends the channels. What they have not delivered
// is told after the next start.
func (m *Manager) Close() {
	if m == nil {
		return
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed = true
	workers := m.workers
	m.workers = map[string]*worker{}
	m.mu.Unlock()
	close(m.stop)
	m.wg.Wait()
	end := m.o.after(lastTry)
	for _, w := range workers {
		w.end()
	}
	for _, w := range workers {
		w.wait(end)
	}
	m.save()
}
