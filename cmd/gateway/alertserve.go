package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"garita/admin"
	"garita/alert"
	"garita/hold"
	"garita/metrics"
)

// This file joins alerts to what the gateway knows of itself: what is wrong is
// raised every half minute, and resolved when it is gone.

// alertEvery is how often the gateway looks at itself.
const alertEvery = 30 * time.Second

// alerting is the manager and what was seen at earlier looks.
type alerting struct {
	manager *alert.Manager // nil in commands that only look

	mu      sync.Mutex
	since   map[string]time.Time // when a key was seen first
	looking bool
	ended   bool
	wg      sync.WaitGroup
}

// openAlerts makes the manager.
func (p *parts) openAlerts(s *Settings) error {
	m, err := alert.Open(alert.Options{Config: s.Alert, Host: s.Hostname, Store: p.store, Log: p.log})
	if err != nil {
		return err
	}
	p.alerts.manager = m
	return nil
}

// close waits for the look that runs, and ends the channels.
func (a *alerting) close() {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.wg.Wait()
	a.manager.Close()
}

// alert tells people of something; it never waits. For whatever part of the
// gateway finds that something is wrong, or has happened.
func (d *daemon) alert(a alert.Alert) { d.parts.alerts.manager.Raise(a) }

// alertOver says that it is over.
func (d *daemon) alertOver(key string) { d.parts.alerts.manager.Resolve(key) }

// look finds what is wrong, apart from the main loop: a disk may hang.
func (a *alerting) look(d *daemon, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := d.now.Load()
	if a.manager == nil || a.looking || a.ended || g == nil || d.state.Load() != running {
		return
	}
	a.looking = true
	a.wg.Go(func() {
		found := d.findings(g, now)
		a.judge(found, now, g.settings.Alert.After)
		a.mu.Lock()
		a.looking = false
		a.mu.Unlock()
	})
}

// watched are the kinds that are found here: what is open of them and not found
// any more is over.
func watched() []alert.Kind {
	return []alert.Kind{alert.Clamd, alert.Scanner, alert.StoreFault, alert.Resolver, alert.Hold, alert.HoldAge, alert.Certificate, alert.Disk,
		alert.NextHop, alert.Listener, alert.ConfigFault, alert.Bypass, alert.SickList, alert.OwnListing}
}

// judge raises what has been wrong for long enough, and resolves what is gone.
func (a *alerting) judge(found []alert.Alert, now time.Time, after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := make(map[string]bool, len(found))
	since := make(map[string]time.Time, len(found))
	for _, one := range found {
		keys[one.Key] = true
		first, ok := a.since[one.Key]
		if !ok || first.After(now) {
			first = now
		}
		since[one.Key] = first
		// What was open before a restart stays so without a new wait.
		if now.Sub(first) >= after || a.manager.IsOpen(one.Key) {
			a.manager.Raise(one)
		}
	}
	a.since = since
	a.manager.ResolveOthers(watched(), func(key string) bool { return keys[key] })
}

// findings is everything that is wrong now.
func (d *daemon) findings(g *generation, now time.Time) []alert.Alert {
	return slices.Concat(d.hopAlerts(g), scannerAlerts(g, now), d.stateAlerts(g), holdAlerts(d.parts.hold.keeper, g.settings.Alert.HoldAge, now),
		certificateAlerts(g, now), diskAlerts(d.diskFigures(), g.settings.Alert.DiskFree), d.ownAlerts(g), dnsListAlerts(d.rbl()))
}

func fact(name string, value any) alert.Fact { return alert.Fact{Name: name, Value: fmt.Sprint(value)} }

func (d *daemon) hopAlerts(g *generation) (out []alert.Alert) {
	for _, name := range slices.Sorted(maps.Keys(g.hops)) {
		s := g.hops[name].status()
		if s.State == "down" {
			out = append(out, alert.Alert{Key: "next-hop/" + name, Kind: alert.NextHop, Severity: alert.Critical,
				Subject: alert.Texts("next hop %s does not answer", "el siguiente servidor %s no responde", name),
				Text: alert.Text{
					EN: "Mail for it is answered 451: clients keep it and try again. Nothing is lost, as long as it answers within their patience, which is days.",
					ES: "El correo para él recibe 451: los clientes lo guardan y reintentan. No se pierde nada mientras responda antes de que se cansen, y eso son días.",
				},
				Command: []string{"garita", "status"}, Facts: []alert.Fact{fact("url", s.URL), fact("error", s.LastError)}})
			continue
		}
		for i, one := range s.Hosts {
			if one.LastError == "" || i > 0 && g.hops[name].config.Balance != "round-robin" {
				continue
			}
			out = append(out, alert.Alert{Key: "next-hop/" + name + "/" + one.URL, Kind: alert.NextHop, Severity: alert.Warning,
				Subject: alert.Texts("next hop %s: server %s does not answer", "siguiente servidor %s: %s no responde", name, one.URL),
				Text:    alert.Text{EN: "Mail goes to the other servers of this next hop.", ES: "El correo va a los otros servidores del mismo destino."},
				Command: []string{"garita", "status"}, Facts: []alert.Fact{fact("error", one.LastError)}})
		}
	}
	return out
}

// oldSignatures is when signatures of the antivirus are too old.
const oldSignatures = 48 * time.Hour

func scannerAlerts(g *generation, now time.Time) (out []alert.Alert) {
	a := g.helpers.Antivirus()
	if a.On && a.Unscanned > 0 {
		out = append(out, alert.Alert{Key: "clamd/unscanned", Kind: alert.Clamd, Severity: alert.Critical,
			Subject: alert.Text{EN: "no message is scanned for viruses", ES: "ningún mensaje se analiza en busca de virus"},
			Text: alert.Text{
				EN: "No server of check.clamav answers. What on_error says happens to mail: it is deferred, unless you chose otherwise.",
				ES: "Ningún servidor de check.clamav responde. Al correo le pasa lo que dice on_error: queda diferido, si no eligió otra cosa.",
			},
			Command: []string{"systemctl", "status", "clamav-daemon"}, Facts: []alert.Fact{fact("for", a.Unscanned.Round(time.Second))}})
	}
	if a.On && !a.OldestSignatures.IsZero() && now.Sub(a.OldestSignatures) > oldSignatures {
		out = append(out, alert.Alert{Key: "clamd/signatures", Kind: alert.Clamd, Severity: alert.Warning,
			Subject: alert.Text{EN: "the signatures of the antivirus are old", ES: "las firmas del antivirus son viejas"},
			Text:    alert.Text{EN: "New viruses are not found. freshclam fetches signatures; its log says why it does not.", ES: "No se encuentran virus nuevos. freshclam baja las firmas; su registro dice por qué no lo hace."},
			Command: []string{"systemctl", "status", "clamav-freshclam"}, Facts: []alert.Fact{fact("date", a.OldestSignatures.UTC().Format(time.DateOnly))}})
	}
	for _, one := range g.helpers.Status() {
		if one.Up || one.Since.IsZero() {
			continue
		}
		kind := alert.Scanner
		if one.Check == "clamav" {
			kind = alert.Clamd
		}
		out = append(out, alert.Alert{Key: one.Check + "/" + one.Address, Kind: kind, Severity: alert.Warning,
			Subject: alert.Texts("%s: %s does not work", "%s: %s no funciona", one.Check, one.Address),
			Text:    alert.Text{EN: "This program does not answer the gateway as it should.", ES: "Este programa no responde a la pasarela como debe."},
			Command: []string{"garita", "status"}, Facts: []alert.Fact{fact("error", one.Fault), fact("since", one.Since.UTC().Format(time.DateTime))}})
	}
	return out
}

// stateAlerts are those of the store and the DNS.
func (d *daemon) stateAlerts(g *generation) (out []alert.Alert) {
	if why := d.parts.memory.Stats().Fault; why != "" {
		out = append(out, alert.Alert{Key: "store/state", Kind: alert.StoreFault, Severity: alert.Critical,
			Subject: alert.Text{EN: "the state cannot be written to disk", ES: "el estado no se puede escribir al disco"},
			Text: alert.Text{
				EN: "The gateway goes on from memory. What is counted and banned now is lost if it ends before the disk takes it.",
				ES: "La pasarela sigue desde la memoria. Lo contado y bloqueado ahora se pierde si termina antes de que el disco lo acepte.",
			},
			Command: []string{"df", "-h", d.start.StateDir}, Facts: []alert.Fact{fact("error", why)}})
	}
	s := g.dnsStatus()
	if s.Servers > 0 && s.Asked < s.Servers {
		a := alert.Alert{Key: "resolver/some", Kind: alert.Resolver, Severity: alert.Warning,
			Subject: alert.Texts("%d of %d name servers are silent", "%d de %d servidores DNS no responden", s.Servers-s.Asked, s.Servers),
			Text:    alert.Text{EN: "The others are asked.", ES: "Se consulta a los demás."},
			Command: []string{"garita", "status"}}
		if s.Asked == 0 {
			a.Key, a.Severity = "resolver/all", alert.Critical
			a.Subject = alert.Text{EN: "no name server answers", ES: "ningún servidor DNS responde"}
			a.Text = alert.Text{EN: "Checks that ask the DNS say nothing; nobody is refused for it.", ES: "Los controles que consultan el DNS no dicen nada; no se rechaza a nadie por ello."}
		}
		out = append(out, a)
	}
	return out
}

// holdWait bounds the look at the index of held messages.
const holdWait = 5 * time.Second

func holdAlerts(k *hold.Keeper, age time.Duration, now time.Time) (out []alert.Alert) {
	if k == nil {
		return nil
	}
	if r := k.Room(); r.Full() {
		out = append(out, alert.Alert{Key: "hold/full", Kind: alert.Hold, Severity: alert.Warning,
			Subject: alert.Text{EN: "the holding place is over 80 % full", ES: "la retención está a más del 80 %"},
			Text:    alert.Text{EN: "When it is full, mail that should be held is answered 451.", ES: "Cuando se llene, el correo que se deba retener recibirá 451."},
			Command: []string{"garita", "hold", "list"},
			Facts:   []alert.Fact{fact("messages", fmt.Sprintf("%d/%d", r.Messages, r.MaxMessages)), fact("octets", fmt.Sprintf("%d/%d", r.Octets, r.MaxSize))}})
	}
	_, n, err := heldNow(context.Background(), k, age, now)
	if err == nil && n > 0 {
		out = append(out, alert.Alert{Key: "hold/age", Kind: alert.HoldAge, Severity: alert.Warning,
			Subject: alert.Texts("%d held messages wait for longer than %s", "%d mensajes retenidos esperan desde hace más de %s", n, age),
			Text:    alert.Text{EN: "Somebody should release or delete them; keep_for deletes nothing that is held and not decided.", ES: "Alguien debería liberarlos o borrarlos."},
			Command: []string{"garita", "hold", "list", "--before", age.String()}})
	}
	return out
}

func certificateAlerts(g *generation, now time.Time) (out []alert.Alert) {
	for _, c := range g.tls.Expiring(now) {
		if c.Within > 14*24*time.Hour {
			continue
		}
		severity, left := alert.Warning, c.NotAfter.Sub(now)
		if left <= 24*time.Hour {
			severity = alert.Critical
		}
		a := alert.Alert{Key: "certificate/" + c.Name, Kind: alert.Certificate, Severity: severity,
			Subject: alert.Texts("the certificate %s expires on %s", "el certificado %s vence el %s", c.Name, c.NotAfter.UTC().Format(time.DateOnly)),
			Text: alert.Text{
				EN: "Renew it in its file; the gateway takes a new one within a minute. After it, servers that verify do not deliver.",
				ES: "Renuévelo en su archivo; la pasarela toma el nuevo en un minuto. Después, los servidores que verifican no entregan.",
			},
			Command: []string{"garita", "config", "check"}}
		if left <= 0 {
			a.Subject = alert.Texts("the certificate %s has expired on %s", "el certificado %s venció el %s", c.Name, c.NotAfter.UTC().Format(time.DateOnly))
		}
		if c.File != "" {
			a.Facts = []alert.Fact{fact("file", c.File)}
			a.Command = []string{"openssl", "x509", "-noout", "-dates", "-in", c.File}
		}
		out = append(out, a)
	}
	if err := g.tls.Fault(); err != nil {
		out = append(out, alert.Alert{Key: "certificate/fault", Kind: alert.Certificate, Severity: alert.Warning,
			Subject: alert.Text{EN: "a certificate file cannot be used", ES: "un archivo de certificado no se puede usar"},
			Text:    alert.Text{EN: "The one before stays in use, or the default one.", ES: "Sigue en uso el anterior, o el predeterminado."},
			Command: []string{"garita", "config", "check"}, Facts: []alert.Fact{fact("error", inShort(err.Error()))}})
	}
	return out
}

func diskAlerts(disks []metrics.Disk, percent int) (out []alert.Alert) {
	least := uint64(max(percent, 0))
	for _, one := range disks {
		if least > 0 && one.Total > 0 && one.Free < one.Total/100*least {
			severity := alert.Warning
			if one.Free < one.Total/200*least {
				severity = alert.Critical
			}
			out = append(out, alert.Alert{Key: "disk/state", Kind: alert.Disk, Severity: severity,
				Subject: alert.Texts("the disk of %s has %s free", "el disco de %s tiene %s libres", one.Path, size(int64(one.Free))),
				Text:    alert.Text{EN: "Below limits.free_disk, mail is answered 452.", ES: "Por debajo de limits.free_disk, el correo recibe 452."},
				Command: []string{"df", "-h", one.Path}, Facts: []alert.Fact{fact("free", one.Free), fact("size", one.Total)}})
		}
	}
	return out
}

// ownAlerts are about listeners, the configuration and the bypass.
func (d *daemon) ownAlerts(g *generation) (out []alert.Alert) {
	open := d.sockets.addresses()
	for _, name := range slices.Sorted(maps.Keys(g.settings.Listener)) {
		if have, want := len(open[name]), len(g.settings.Listener[name].Listen); have < want {
			out = append(out, alert.Alert{Key: "listener/" + name, Kind: alert.Listener, Severity: alert.Critical,
				Subject: alert.Texts("listener %s has %d of %d addresses open", "la entrada %s tiene abiertas %d de %d direcciones", name, have, want),
				Text:    alert.Text{EN: "Mail does not come in there.", ES: "Por ahí no entra correo."}, Command: []string{"garita", "status"}})
		}
	}
	if why := d.badReload.Load(); why != nil {
		out = append(out, alert.Alert{Key: "config/reload", Kind: alert.ConfigFault, Severity: alert.Warning,
			Subject: alert.Text{EN: "the last reload of the configuration failed", ES: "la última recarga de la configuración falló"},
			Text:    alert.Text{EN: "The configuration before it is in use. A restart would fail with the same mistake.", ES: "Sigue en uso la configuración anterior. Un reinicio fallaría por el mismo error."},
			Command: []string{"garita", "config", "check"}, Facts: []alert.Fact{fact("error", *why)}})
	}
	if b := d.parts.bypass.state(); b.Active {
		out = append(out, alert.Alert{Key: "bypass/on", Kind: alert.Bypass, Severity: alert.Warning,
			Subject: alert.Text{EN: "a bypass is on: checks refuse nothing", ES: "hay un bypass: los controles no rechazan nada"},
			Text:    alert.Text{EN: "It ends by itself, or now with the command.", ES: "Termina solo, o ahora con la orden."},
			Command: []string{"garita", "bypass", "--off"}, Facts: []alert.Fact{fact("until", b.Until.UTC().Format(time.DateTime)), fact("reason", b.Reason)}})
	}
	return out
}

// alertFigures are what the metrics tell.
func (d *daemon) alertFigures() metrics.Alerts {
	m := d.parts.alerts.manager
	n := m.OpenCount()
	out := metrics.Alerts{Open: map[string]int{}}
	for _, s := range []alert.Severity{alert.Info, alert.Warning, alert.Critical} {
		out.Open[s.String()] = n[s]
	}
	for _, s := range m.Sent() {
		out.Sent = append(out.Sent, metrics.AlertsSent{Channel: s.Channel, Result: s.Result, N: s.N})
	}
	return out
}

// alertRequest holds the arguments of the verbs of alerts.
type alertRequest struct {
	Channel string  `json:"channel,omitempty"`
	Key     string  `json:"key,omitempty"`
	For     float64 `json:"for_seconds,omitempty"`
	All     bool    `json:"all,omitempty"`
	After   int     `json:"after,omitempty"`
	By      string  `json:"by,omitempty"`
}

type alertList struct {
	Enabled  bool                `json:"enabled"`
	Alerts   []alert.Entry       `json:"alerts"`
	Silences []alert.SilencedKey `json:"silences,omitempty"`
	More     bool                `json:"more,omitempty"`
}

type alertSilence struct {
	Key   string    `json:"key"`
	Until time.Time `json:"until,omitzero"`
}

// alertPage is how many alerts fit an answer of the socket with certainty.
const alertPage = 40

// alertVerbs are the verbs of the running gateway; until it runs, get gives nil.
func alertVerbs(get func() (*alert.Manager, bool)) map[string]admin.Verb {
	verb := func(act bool, do func(context.Context, *alert.Manager, bool, alertRequest) (any, error)) admin.Verb {
		return admin.Verb{Act: act, Run: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var q alertRequest
			if len(raw) > 0 && json.Unmarshal(raw, &q) != nil {
				return nil, &admin.Error{Code: admin.CodeUsage, Text: "the arguments are not those of an alert"}
			}
			m, on := get()
			if m == nil {
				return nil, &admin.Error{Code: admin.CodeTemporary, Text: "the gateway is starting"}
			}
			return do(ctx, m, on, q)
		}}
	}
	return map[string]admin.Verb{
		"alert list":    verb(false, listAlerts),
		"alert test":    verb(true, testAlerts),
		"alert ack":     verb(true, ackAlert),
		"alert silence": verb(true, silenceAlert),
	}
}

func listAlerts(_ context.Context, m *alert.Manager, on bool, q alertRequest) (any, error) {
	all := m.List(q.All)
	from := min(max(q.After, 0), len(all))
	to := min(from+alertPage, len(all))
	out := alertList{Enabled: on, Alerts: all[from:to], More: to < len(all)}
	if from == 0 {
		out.Silences = m.Silences()
	}
	return out, nil
}

func testAlerts(ctx context.Context, m *alert.Manager, _ bool, q alertRequest) (any, error) {
	list, err := m.Test(ctx, q.Channel, q.By)
	if errors.Is(err, alert.ErrChannel) {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: "there is no channel " + strconv.Quote(q.Channel) + " in [alert]"}
	}
	return list, err
}

func ackAlert(ctx context.Context, m *alert.Manager, _ bool, q alertRequest) (any, error) {
	e, err := m.Ack(ctx, q.Key, q.By)
	return alertDone(e, err)
}

func silenceAlert(ctx context.Context, m *alert.Manager, _ bool, q alertRequest) (any, error) {
	if strings.TrimSpace(q.Key) == "" || !(q.For >= 0 && q.For <= 366*24*3600) {
		return nil, &admin.Error{Code: admin.CodeUsage, Text: "a silence needs a key and lasts at most 366 days"}
	}
	until, err := m.Silence(ctx, q.Key, time.Duration(q.For*float64(time.Second)))
	out := alertSilence{Key: q.Key, Until: until}
	if q.For == 0 {
		out.Until = time.Time{}
	}
	return alertDone(out, err)
}

// alertDone is the answer to a change; one that the disk has not taken can be
// tried again.
func alertDone(v any, err error) (any, error) {
	switch {
	case errors.Is(err, alert.ErrUnknown):
		return nil, errors.New("there is no open alert with that key")
	case errors.Is(err, alert.ErrNotDurable), errors.Is(err, alert.ErrMany):
		return nil, &admin.Error{Code: admin.CodeTemporary, Text: err.Error()}
	case err != nil:
		return nil, err
	}
	return v, nil
}

// alertDefaults are the defaults of a channel's table; nil: the path is of
// something else.
func alertDefaults(path string) any {
	kind, _, ok := strings.Cut(strings.TrimPrefix(path, "alert."), ".")
	if !ok || !strings.HasPrefix(path, "alert.") {
		return nil
	}
	switch kind {
	case "mail":
		return alert.DefaultMail()
	case "webhook":
		return alert.DefaultWebhook()
	case "exec":
		return alert.DefaultExec()
	case "syslog":
		return alert.DefaultSyslog()
	case "notify":
		return alert.DefaultNotify()
	}
	return nil
}

// updateAlerts gives the manager a new configuration.
func (p *parts) updateAlerts(s *Settings) {
	if err := p.alerts.manager.Update(s.Alert); err != nil {
		p.log.Warn("alert", "the old channels stay", slog.String("error", inShort(err.Error())))
	}
}

// heldNow counts what is held, and what of it waits for longer than hold_age.
func heldNow(ctx context.Context, k *hold.Keeper, age time.Duration, now time.Time) (n, late int, err error) {
	ctx, cancel := context.WithTimeout(ctx, holdWait)
	defer cancel()
	if _, _, n, err = k.List(ctx, hold.Filter{Limit: 1, Copies: "none"}); err != nil || age == 0 || n == 0 {
		return n, 0, err
	}
	_, _, late, err = k.List(ctx, hold.Filter{Before: now.Add(-age), Limit: 1, Copies: "none"})
	return n, late, err
}
