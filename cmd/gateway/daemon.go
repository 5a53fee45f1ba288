package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"garita/admin"
	"garita/alert"
	"garita/conduct"
	"garita/config"
	"garita/tls"
)

// daemon is the running gateway.
type daemon struct {
	file    string // of the configuration
	look    lookup
	drain   time.Duration
	notify  notifier
	started time.Time
	// reminder knows which ends of certificates were told; the loop has it.
	reminder tls.Reminder
	start    *Settings // with which the process began

	parts   *parts
	sockets *sockets
	admin   *admin.Server
	now     atomic.Pointer[generation]

	port metricsPort
	// How often a reload succeeded and failed.
	reloads, reloadsBad atomic.Uint64

	// reloading is held by one reload at a time.
	reloading sync.Mutex
	state     atomic.Int32
	loaded    atomic.Pointer[time.Time] // of the configuration in use
	badReload atomic.Pointer[string]    // why the last reload failed

	stop chan string // asks the main loop to drain; says who wants it
	die  chan error  // a part that must not end has ended
}

// The states of a daemon.
const (
	starting int32 = iota
	running
	draining
)

func stateName(n int32) string {
	return [...]string{"starting", "running", "draining"}[n]
}

// newDaemon opens everything that the settings name and serves nothing yet.
func newDaemon(file string, s *Settings, look lookup, n notifier) (*daemon, error) {
	d := &daemon{file: file, look: look, notify: n, start: s, started: time.Now(),
		stop: make(chan string, 1), die: make(chan error, 8)}
	var err error
	// The socket comes first: a second instance must not touch what the first
	// one has.
	d.admin, err = admin.Listen(admin.Config{Path: s.Admin.Socket, Verbs: d.verbs(), Audit: d.audit})
	if err != nil {
		return nil, err
	}
	if d.parts, err = newParts(s, d.listening); err != nil {
		d.admin.Close()
		return nil, err
	}
	d.parts.metrics = d.newMetrics()
	d.sockets = newSockets(d.parts.server.Serve, func(name string, err error) {
		d.die <- fmt.Errorf("listener %q: %w", name, err)
	})
	if n.on { // a process of its own: what systemd gave is ours
		var err error
		if d.sockets.given, err = inheritSockets(); err != nil {
			d.parts.log.Warn("master", "a socket that systemd gave cannot be used", slog.String("error", err.Error()))
		}
	}
	return d, nil
}

// listening gives our own addresses; before there are sockets, those that will
// be.
func (d *daemon) listening() []netip.AddrPort {
	if d.now.Load() == nil {
		return listenAddresses(d.start)
	}
	return d.sockets.all()
}

func (d *daemon) audit(a admin.Act) {
	detail := "done"
	if a.Err != nil {
		detail = "refused: " + inShort(a.Err.Error())
	}
	d.parts.log.Admin(a.User, a.Verb, detail)
}

// serve begins to take mail.
func (d *daemon) serve(ctx context.Context) error {
	// Commands are answered from here on: health says "starting".
	go func() {
		if err := d.admin.Serve(); err != nil {
			d.die <- err
		}
	}()
	g, err := d.parts.build(d.start, nil)
	if err != nil {
		return err
	}
	d.prepareProcess()
	if err := d.port.open(d, d.start.Metrics); err != nil {
		return err
	}
	d.parts.recallBypass(ctx) // before the first client comes
	if err := d.parts.swap(ctx, g, d.sockets); err != nil {
		return err
	}
	d.use(g)
	d.state.Store(running)
	for _, a := range d.sockets.given.rest() {
		d.parts.log.Warn("master", "systemd gave a socket that no listener has; it was closed", slog.String("address", a.String()))
	}
	for name, addrs := range d.sockets.addresses() {
		for _, a := range addrs {
			d.parts.log.Info("master", "listening", slog.String("listener", name), slog.String("address", a.String()))
		}
	}
	d.parts.log.Info("master", "started", slog.String("version", build().Version), slog.String("mode", d.start.Mode), slog.Int("pid", os.Getpid()))
	d.tellCertificates(g, nil)
	d.minutely(time.Now()) // who starts it reads the log now
	return nil
}

// inShort is the first line of a text that may have the file's lines and marks
// below.
func inShort(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (d *daemon) use(g *generation) {
	now := time.Now()
	d.now.Store(g)
	g.helpers.Start()
	g.own.Start()
	d.loaded.Store(&now)
}

// prepareProcess sets what the process as a whole may use.
func (d *daemon) prepareProcess() {
	l := d.start.Limits
	want := descriptorsFor(l.MaxConnections)
	if have, err := raiseDescriptors(want); err != nil || have < want {
		d.parts.log.Warn("master", "fewer descriptors than limits.max_connections may need; see LimitNOFILE or ulimit -n",
			slog.Uint64("have", have), slog.Uint64("want", want))
	}
	limitMemory(l.MessagesMemory+d.start.MIME.Memory+d.start.Check.Attachment.Memory(), l.MaxConnections)
}

// loop runs until somebody asks for the end. Signals come in by sig.
func (d *daemon) loop(ctx context.Context, signals <-chan os.Signal) error {
	probe := time.NewTicker(5 * time.Second)
	defer probe.Stop()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	alerts := time.NewTicker(alertEvery)
	defer alerts.Stop()
	var watchdog <-chan time.Time
	if every := d.notify.watchdog(); every > 0 {
		t := time.NewTicker(every / 2)
		defer t.Stop()
		watchdog = t.C
	}
	for {
		select {
		case s := <-signals:
			switch {
			case isHangup(s):
				go d.reloadBySignal(ctx)
			case isReopen(s):
				d.parts.log.Reopen()
			default:
				return d.shutdown(signals, "signal "+s.String())
			}
		case who := <-d.stop:
			return d.shutdown(signals, who)
		case err := <-d.die:
			d.parts.log.Warn("master", "a part that must not end has ended", slog.String("error", err.Error()))
			d.shutdown(signals, "fault")
			return err
		case <-probe.C:
			probeAll(ctx, d.now.Load().hops)
			d.parts.bypass.remind(d.parts.log)
			d.parts.hold.tick(d)
			d.parts.drip.tick(d, time.Now())
		case now := <-alerts.C:
			d.parts.alerts.look(d, now)
		case now := <-minute.C:
			d.minutely(now)
		case <-watchdog:
			d.notify.alive()
		}
	}
}

// shutdown stops accepting and lets messages on their way come to their end. A
// second signal ends it at once; nothing is lost then either, since a client
// without our answer keeps its message.
func (d *daemon) shutdown(signals <-chan os.Signal, why string) error {
	d.state.Store(draining)
	d.notify.stopping()
	d.parts.log.Info("master", "stopping", slog.String("by", why), slog.Int("sessions", d.parts.server.Stats().Sessions))
	ctx, cancel := context.WithTimeout(context.Background(), d.drain)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		ended := make(chan error, 1)
		go func() { ended <- d.parts.milter.shutdown(ctx) }()
		err := errors.Join(d.parts.server.Shutdown(ctx), d.parts.door.shutdown(ctx), <-ended)
		d.parts.hold.drain(ctx) // both have the same time
		done <- err
	}()
	var watchdog <-chan time.Time
	if every := d.notify.watchdog(); every > 0 {
		t := time.NewTicker(every / 2)
		defer t.Stop()
		watchdog = t.C
	}
	for {
		select {
		case err := <-done:
			if err != nil {
				d.parts.log.Warn("master", "drain ended before its sessions", slog.String("error", err.Error()))
			}
			// A reload that was under way must not open sockets behind us.
			// One that waits for the lock will find us draining.
			d.reloading.Lock()
			d.sockets.close()
			d.reloading.Unlock()
			d.port.end()
			d.admin.Close()
			return d.parts.close(d.now.Load())
		case s := <-signals:
			if !isHangup(s) && !isReopen(s) {
				cancel()
			}
		case <-watchdog:
			d.notify.alive()
		}
	}
}

// reloadReport is what a reload did.
type reloadReport struct {
	Changed []string        `json:"changed"`
	Restart []string        `json:"restart,omitempty"`
	Warn    config.Problems `json:"warnings,omitempty"`
}

// maxLogged bounds the changes of one reload that are told in the log.
const maxLogged = 50

func (d *daemon) reloadBySignal(ctx context.Context) {
	r, err := d.reload(ctx)
	if err != nil {
		d.parts.log.Warn("master", "reload failed; the running configuration is unchanged", slog.String("error", inShort(err.Error())))
		return
	}
	d.parts.log.Info("master", "reloaded by signal", slog.Int("changes", len(r.Changed)))
}

// reload reads the configuration again and swaps all of it or nothing.
func (d *daemon) reload(ctx context.Context) (*reloadReport, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.state.Load() != running {
		return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is " + stateName(d.state.Load())}
	}
	d.notify.reloading()
	defer d.notify.ready()
	r, err := d.tryReload(ctx)
	if err != nil {
		text := inShort(err.Error())
		d.badReload.Store(&text)
		d.reloadsBad.Add(1)
		return nil, err
	}
	d.badReload.Store(nil)
	d.reloads.Add(1)
	return r, nil
}

func (d *daemon) tryReload(ctx context.Context) (*reloadReport, error) {
	s, doc, problems := load(d.file, d.look)
	if len(problems) > 0 {
		return nil, &admin.Error{Code: admin.CodeConfig, Text: problems.Error(), Data: json.RawMessage(problems.JSON())}
	}
	old := d.now.Load()
	g, err := d.parts.build(s, old)
	if err != nil {
		return nil, &admin.Error{Code: admin.CodeConfig, Text: err.Error()}
	}
	if err := d.parts.swap(ctx, g, d.sockets); err != nil {
		g.drop(old)
		return nil, &admin.Error{Code: admin.CodeConfig, Text: err.Error()}
	}
	d.use(g)
	g.replaces(d.parts, old)
	if err := d.port.open(d, s.Metrics); err != nil {
		d.parts.log.Warn("metrics", "the metrics are not served", slog.String("error", err.Error()))
	}
	d.parts.log.Reopen()
	d.tellCertificates(g, doc)
	r := &reloadReport{Changed: append(changed(old.settings, s), changedFiles(old.marks, g.marks)...), Restart: needRestart(d.start, s)}
	shrunk := shrunkFiles(old.marks, g.marks)
	r.Warn = append(doc.Warnings(), shrunk...)
	for _, p := range shrunk {
		d.parts.log.Warn("master", "a list has lost most of its entries", slog.String("list", p.String()))
	}
	for _, line := range r.Changed[:min(len(r.Changed), maxLogged)] {
		d.parts.log.Info("master", "configuration changed", slog.String("change", line))
	}
	if len(r.Restart) > 0 {
		d.parts.log.Warn("master", "some changes need a restart", slog.String("keys", strings.Join(r.Restart, ", ")))
	}
	return r, nil
}

// tellCertificates tells of pairs that could not be taken: in the log, and in
// the warnings of a document that has none for that pair. doc may be nil.
func (d *daemon) tellCertificates(g *generation, doc *config.Document) {
	for _, f := range g.tls.Faults() {
		text := inShort(f.Err.Error())
		d.parts.log.Warn("tls", "a certificate cannot be used as it is", slog.String("error", text))
		table := "tls"
		if f.Name != "" {
			table = config.Path("tls", "certificate", f.Name)
		}
		if doc != nil && !slices.ContainsFunc(doc.Warnings(), func(p config.Problem) bool {
			return p.Key == table+".certificate_file" || p.Key == table+".key_file"
		}) {
			doc.Warn(table+".certificate_file", strings.TrimPrefix(text, "tls: "), "")
		}
	}
}

// errStopping is the answer to a drain that has begun already.
var errStopping = errors.New("the gateway is already stopping")

func (d *daemon) verbs() map[string]admin.Verb {
	verbs := banVerbs(func() *conduct.Conduct {
		if d.now.Load() == nil {
			return nil
		}
		return d.parts.conduct
	})
	maps.Copy(verbs, d.holdVerbs())
	maps.Copy(verbs, rblVerbs(d.rbl))
	maps.Copy(verbs, d.checkVerbs())
	maps.Copy(verbs, alertVerbs(func() (*alert.Manager, bool) {
		g := d.now.Load()
		if g == nil {
			return nil, false
		}
		return d.parts.alerts.manager, g.settings.Alert.Enabled
	}))
	maps.Copy(verbs, greylistVerbs(d.greylist))
	maps.Copy(verbs, d.userVerbs())
	maps.Copy(verbs, d.limitVerbs())
	maps.Copy(verbs, map[string]admin.Verb{
		"status":     {Run: func(context.Context, json.RawMessage) (any, error) { return d.status(), nil }},
		"diff":       {Run: d.diff},
		"rules hits": {Run: d.ruleHits},
		"bypass":     {Act: true, Run: d.setBypass},
		"health":     {Run: func(context.Context, json.RawMessage) (any, error) { return d.health(), nil }},
		"reload":     {Act: true, Run: func(ctx context.Context, _ json.RawMessage) (any, error) { return d.reload(ctx) }},
		"drain": {Act: true, Run: func(context.Context, json.RawMessage) (any, error) {
			if d.state.Load() == draining {
				return nil, errStopping
			}
			select {
			case d.stop <- "drain over the admin socket":
			default:
			}
			return "stopping", nil
		}},
	})
	return verbs
}
