package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"garita/accounts"
	"garita/demo"
)

// startDemoSecond starts the gateway of the demo's second part: lists, greylist
// and limits in force, an MTA's doors open. change, for tests, makes it another.
func startDemoSecond(ctx context.Context, dir string, site demo.Site, change map[string]any) (*demo.Second, error) {
	dir = filepath.Join(dir, "2")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	out := &demo.Second{Policy: filepath.Join(dir, "policy"), Milter: filepath.Join(dir, "milter"), Login: "ana@" + demo.Domain, Password: "only for the demo"}
	accounts, err := accounts.Line(out.Login, out.Password, false)
	if err != nil {
		return nil, err
	}
	passwords := filepath.Join(dir, "users")
	if err := writeNew(passwords, accounts+"\n"); err != nil {
		return nil, err
	}
	trust, anywhere := []string{demo.Trusted().String()}, []string{"127.0.0.1:0"}
	set := map[string]any{
		"hostname": demo.Hostname, "state_dir": filepath.Join(dir, "state"),
		"log.output": filepath.Join(dir, "log"), "admin.socket": filepath.Join(dir, "admin"),
		"dns.servers": []string{site.NameServer}, "limits.free_disk": "16MB", "users.file": passwords,

		"listener.inbound.role": "inbound", "listener.inbound.listen": anywhere, "listener.inbound.proxy_from": trust,
		"listener.inbound.next_hop": "mail", "listener.inbound.relay_domains": []string{demo.Domain},
		"listener.outbound.role": "outbound", "listener.outbound.listen": anywhere, "listener.outbound.auth": true,
		"listener.outbound.next_hop": "smarthost", "listener.outbound.trusted_networks": trust,
		"policyd.enabled": true, "policyd.listen": []string{out.Policy},
		"milter.enabled": true, "milter.listen": []string{"unix:" + out.Milter},

		"next_hop.mail.url": "smtp://" + site.NextHop, "next_hop.smarthost.url": "smtp://" + site.SmartHost,
	}
	maps.Copy(set, demo.SecondSettings())
	maps.Copy(set, change)
	// The clock of the counters stands still until a case puts it forward: so
	// none of them hangs on how fast the machine is.
	var clock atomic.Int64
	d, s, err := daemonOf(ctx, dir, site, set, func() time.Duration { return time.Duration(clock.Load()) })
	if err != nil {
		return nil, err
	}
	at := d.sockets.addresses()
	out.Inbound, out.Outbound = at["inbound"][0].String(), at["outbound"][0].String()
	out.Log, out.Spool = s.Log.Output, spoolDir(s)
	out.Command = func(_ context.Context, args ...string) ([]byte, error) {
		var answer, said bytes.Buffer
		code := execute(append(args, "-o", "json", "--socket", s.Admin.Socket), terminal{in: strings.NewReader(""), out: &answer, err: &said})
		if code != exitOK {
			return nil, fmt.Errorf("exit code %d: %s", code, oneLine(said.String()))
		}
		return answer.Bytes(), nil
	}
	out.Probe = func(ctx context.Context) { d.now.Load().helpers.ProbeLists(ctx) }
	out.Look = func() {
		d.parts.alerts.look(d, time.Now())
		d.parts.alerts.wg.Wait()
	}
	out.Advance = func(by time.Duration) { clock.Add(int64(by)) }
	out.Drip = func(ctx context.Context) error { return d.parts.drip.whole(ctx, d) }
	out.Stop = func() error { return d.shutdown(nil, "the demo's end") }
	return out, nil
}

// whole is one round, from its beginning to its end.
func (p *dripping) whole(ctx context.Context, d *daemon) error {
	p.tick(d, time.Now())
	for {
		p.mu.Lock()
		busy := p.busy
		p.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the round has no end")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// daemonOf starts a gateway with a configuration of defaults but for set,
// written to a folder. Nothing in it is made for the demo except where names
// are looked up, and the clock of counters; nil: that of the system.
func daemonOf(ctx context.Context, dir string, site demo.Site, set map[string]any, steady func() time.Duration) (*daemon, *Settings, error) {
	text, err := template(templateHeader, set)
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, "config.toml")
	if err := writeNew(file, text); err != nil {
		return nil, nil, err
	}
	look := func(host string) ([]netip.Addr, error) { return site.Lookup(ctx, host) }
	s, _, problems := load(file, look)
	if len(problems) > 0 {
		return nil, nil, problems
	}
	s.steady = steady
	d, err := newDaemon(file, s, look, notifier{})
	if err != nil {
		return nil, nil, err
	}
	d.drain = 10 * time.Second
	d.parts.lookup = site.Lookup
	if err := d.serve(ctx); err != nil {
		d.admin.Close()
		d.parts.close(nil)
		return nil, nil, err
	}
	return d, s, nil
}
