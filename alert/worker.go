package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// channel sends one notice, once. Its error is for the operator and holds no
// secret; errPermanent says that another try would be in vain.
type channel interface {
	send(ctx context.Context, n Notice) error
}

var errPermanent = errors.New("it was refused for good")

const (
	maxWaiting = 64        // notices of one channel
	giveUp     = time.Hour // after which a notice is old news
	firstPause = 10 * time.Second
	maxPause   = 10 * time.Minute
	channelKey = "channel/"
)

// The results that are counted.
const (
	resultSent    = "sent"
	resultRetried = "retried"
	resultFailed  = "failed"
	resultDropped = "dropped"
	resultHung    = "hung"
)

// job is a notice that waits for its delivery.
type job struct {
	n    Notice
	from time.Time
}

// worker delivers for one channel, one after the other.
type worker struct {
	m       *Manager
	name    string // "mail.ops"
	least   Severity
	config  any // what it was made of
	channel channel
	timeout time.Duration

	mu    sync.Mutex
	queue []job
	awake chan struct{}

	ctx    context.Context
	cancel context.CancelFunc
	stop   chan struct{} // no new attempt
	done   chan struct{}
	// failures in a row; only the worker has it.
	failures int
}

func (m *Manager) newWorker(d wanted, timeout time.Duration) *worker {
	w := &worker{m: m, name: d.name, least: d.least, config: d.config, channel: d.channel, timeout: timeout,
		awake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// put takes a notice; the manager's lock is held. When there is no room the
// oldest of the least severe goes.
func (w *worker) put(n Notice) {
	w.mu.Lock()
	w.queue = append(w.queue, job{n, w.m.o.Now()})
	if len(w.queue) > maxWaiting {
		least := 0
		for i := range w.queue {
			if w.queue[i].n.Alert.Severity < w.queue[least].n.Alert.Severity {
				least = i
			}
		}
		w.queue = slices.Delete(w.queue, least, least+1)
		w.m.counts[[2]string{w.name, resultDropped}]++
	}
	w.mu.Unlock()
	select {
	case w.awake <- struct{}{}:
	default:
	}
}

// head gives the oldest notice and leaves it there.
func (w *worker) head() (job, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return job{}, false
	}
	return w.queue[0], true
}

// drop removes a notice, if it is still the oldest.
func (w *worker) drop(j job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) > 0 && w.queue[0].n.ID == j.n.ID {
		w.queue = slices.Delete(w.queue, 0, 1)
	}
}

func (w *worker) run() {
	defer close(w.done)
	for {
		j, ok := w.head()
		if !ok {
			select {
			case <-w.awake:
				continue
			case <-w.stop:
				return
			}
		}
		select {
		case <-w.stop:
			return
		default:
		}
		pause := w.try(j)
		if pause == 0 {
			continue
		}
		select {
		case <-w.m.o.after(pause):
		case <-w.stop:
			return
		}
	}
}

// try makes one attempt, and says how long to wait before the next one.
func (w *worker) try(j job) time.Duration {
	err := w.once(w.ctx, j.n)
	if err == nil {
		w.drop(j)
		w.failures = 0
		w.m.delivered(w.name, j.n)
		return 0
	}
	if w.ctx.Err() != nil {
		return firstPause // the end of the program, no fault of the channel
	}
	w.failures++
	if final := errors.Is(err, errPermanent) || w.m.o.Now().Sub(j.from) >= giveUp; final {
		w.drop(j)
		w.m.failed(w.name, j.n, err, w.failures, true)
		return 0
	}
	w.m.failed(w.name, j.n, err, w.failures, false)
	return min(firstPause<<min(w.failures-1, 10), maxPause)
}

// once sends within the timeout; a panic of a library is an error.
func (w *worker) once(ctx context.Context, n Notice) (err error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the channel panicked", errPermanent)
		}
	}()
	if err = w.channel.send(ctx, n); err != nil {
		if errors.Is(err, errHung) {
			w.m.mu.Lock()
			w.m.counts[[2]string{w.name, resultHung}]++
			w.m.mu.Unlock()
		}
		return wrapped{cut(oneLine(err.Error()), maxValue), err}
	}
	return nil
}

// wrapped is an error whose text can be shown.
type wrapped struct {
	text string
	err  error
}

func (e wrapped) Error() string { return e.text }
func (e wrapped) Unwrap() error { return e.err }

func (w *worker) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
}

// wait waits for the attempt that runs, and cuts it short.
func (w *worker) wait(until <-chan time.Time) {
	select {
	case <-w.done:
	case <-until:
	}
	w.cancel()
	<-w.done
}

// delivered notes a success: what was told is known somewhere.
func (m *Manager) delivered(name string, n Notice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[[2]string{name, resultSent}]++
	for _, one := range slices.Concat(n.Digest, []Notice{n}) {
		if r := m.book.records[one.Alert.Key]; r != nil && !r.Delivered {
			r.Delivered = true
			m.book.dirty[one.Alert.Key] = true
		}
	}
	if r := m.book.records[channelKey+name]; r != nil && r.isOpen() {
		m.send(m.book.resolve(m.o.Now(), channelKey+name))
	}
	m.wake()
}

// failed tells the log, and the other channels when it is not the first time:
// a server that restarts is no news.
func (m *Manager) failed(name string, n Notice, err error, times int, final bool) {
	result := resultRetried
	if final {
		result = resultFailed
	}
	m.mu.Lock()
	m.counts[[2]string{name, result}]++
	m.mu.Unlock()
	if times == 1 || final {
		m.log.Warn("alert", "a channel does not deliver", slog.String("channel", name), slog.String("key", n.Alert.Key),
			slog.Bool("given_up", final), slog.String("error", err.Error()))
	}
	if final || times > 1 {
		m.Raise(Alert{Key: channelKey + name, Kind: Channel, Severity: Warning,
			Subject: Texts("alerts do not get through by %s", "las alertas no salen por %s", name),
			Text: Text{
				EN: "This channel of [alert] does not deliver; what it should have told stands in the mail log and in garita alert list.",
				ES: "Este canal de [alert] no entrega; lo que debía avisar está en el registro de correo y en garita alert list.",
			},
			Command: []string{"garita", "alert", "test", "--channel", name},
			Facts:   []Fact{{"error", err.Error()}}})
	}
}

// wanted is a channel of the configuration.
type wanted struct {
	name    string
	least   Severity
	config  any
	channel channel
}

// channels makes what the configuration names, in order.
func (c Config) channels(host string) (out []wanted, err error) {
	add := func(kind, name string, s SeverityConfig, config any, ch channel, e error) {
		if e != nil && err == nil {
			err = fmt.Errorf("alert.%s.%s: %w", kind, name, e)
		}
		out = append(out, wanted{kind + "." + name, s.least(), config, ch})
	}
	for _, n := range slices.Sorted(maps.Keys(c.Mail)) {
		ch, e := newMail(c.Mail[n], c.Language, host)
		add("mail", n, c.Mail[n].SeverityConfig, c.Mail[n], ch, e)
	}
	for _, n := range slices.Sorted(maps.Keys(c.Webhook)) {
		add("webhook", n, c.Webhook[n].SeverityConfig, c.Webhook[n], newWebhook(c.Webhook[n]), nil)
	}
	for _, n := range slices.Sorted(maps.Keys(c.Exec)) {
		add("exec", n, c.Exec[n].SeverityConfig, c.Exec[n], execChannel{c.Exec[n].Command, c.Language}, nil)
	}
	for _, n := range slices.Sorted(maps.Keys(c.Syslog)) {
		add("syslog", n, c.Syslog[n].SeverityConfig, c.Syslog[n], syslogChannel{c.Syslog[n], c.Language, host}, nil)
	}
	for _, n := range slices.Sorted(maps.Keys(c.Notify)) {
		add("notify", n, c.Notify[n].SeverityConfig, c.Notify[n], newNotify(c.Notify[n], c.Language), nil)
	}
	return out, err
}

// Update takes a new configuration. A channel that stays keeps what waits; one
// that is gone loses it.
func (m *Manager) Update(c Config) error {
	if m == nil {
		return nil
	}
	list, err := c.channels(m.book.host)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	same := m.book.config.Language == c.Language && m.book.config.Timeout == c.Timeout
	m.book.config = c
	old := m.workers
	m.workers = map[string]*worker{}
	for _, d := range list {
		was := old[d.name]
		if was != nil && same && reflect.DeepEqual(was.config, d.config) {
			m.workers[d.name] = was
			delete(old, d.name)
			continue
		}
		w := m.newWorker(d, c.Timeout)
		if n, ok := d.channel.(*notifyChannel); ok {
			var before channel
			if was != nil {
				before = was.channel
			}
			n.follow(before, m.strays)
		}
		if was != nil {
			was.mu.Lock()
			w.queue = slices.Clone(was.queue)
			was.mu.Unlock()
		}
		m.workers[d.name] = w
		go w.run()
	}
	for name, w := range old {
		w.end()
		w.cancel()
		if m.workers[name] == nil {
			m.send(m.book.resolve(m.o.Now(), channelKey+name))
		}
	}
	return nil
}

// Tested is what a test of one channel came to.
type Tested struct {
	Channel string `json:"channel"`
	Error   string `json:"error,omitempty"`
}

// Test sends a test notice by one channel, or by all, once and now.
func (m *Manager) Test(ctx context.Context, name, by string) ([]Tested, error) {
	if m == nil {
		return nil, ErrChannel
	}
	m.mu.Lock()
	n := Notice{ID: newID(), Event: EventTest, Host: m.book.host, Time: m.o.Now(), Alert: testAlert(by).clean()}
	n.Command = Shell(n.Alert.Command)
	var list []*worker
	for _, k := range slices.Sorted(maps.Keys(m.workers)) {
		if name == "" || k == name {
			list = append(list, m.workers[k])
		}
	}
	unknown := name != "" && len(list) == 0
	if !unknown {
		m.write(n)
	}
	m.mu.Unlock()
	if unknown {
		return nil, ErrChannel
	}
	out := make([]Tested, len(list))
	var wg sync.WaitGroup
	for i, w := range list {
		wg.Go(func() {
			out[i].Channel = w.name
			if err := w.once(ctx, n); err != nil {
				out[i].Error = strings.TrimSpace(err.Error())
			}
		})
	}
	wg.Wait()
	return out, nil
}

func testAlert(by string) Alert {
	return Alert{Key: "test", Kind: "test", Severity: Warning,
		Subject: Text{EN: "this is a test", ES: "esto es una prueba"},
		Text:    Text{EN: "Nothing is wrong. Somebody ran garita alert test.", ES: "No pasa nada. Alguien ejecutó garita alert test."},
		Command: []string{"garita", "alert", "list"}, Facts: []Fact{{"by", by}}}
}
