package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"garita/bench/load"
	"garita/bench/proc"
)

// What stands at the door and what counts who sends too much: the policy server
// beside postgrey, look-ups in DNS lists beside the plain client of the DNS
// library, a limit, a million triplets, and the gateway with and without all
// of it. "garita" is ours in each cell.
const (
	postgreyName = "postgrey"
	exchangeName = "Client.Exchange"
	withDoors    = "doors"
	withoutDoors = "no doors"
	doorsCell    = "doors: "
	policyCell   = doorsCell + "policy requests, connections: "
	lookupCell   = doorsCell + "DNSBL look-ups, 50 at once, "
	cachedCell   = doorsCell + "DNSBL look-up from the cache"
	limitCell    = doorsCell + "limit check of six windows, in memory"
	gatewayCell  = doorsCell + "gateway, 4 KB, connections reused, "
	outboundName = " out" // ends the name of a system's outbound listener
)

// doors measures all of it.
func (b *bench) doors(ctx context.Context) error {
	for _, part := range []func(context.Context) error{b.policies, b.lookups, b.limitCheck, b.doorGateways, b.triplets} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// interleave fills a cell A B A B, as measure does for mail.
func (b *bench) interleave(c *cell, once func(system string) (sample, error)) error {
	if !strings.Contains(c.Name, b.cells) {
		return nil
	}
	began := time.Now()
	for round := 0; round < c.Rounds; {
		var all []sample
		most := 0.0
		for _, name := range c.Systems {
			start, ours, busy := time.Now(), b.ours(), proc.Busy()
			one, err := once(name)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.Name, name, err)
			}
			others := proc.Busy() - busy - (b.ours() - ours)
			one.System, one.Round = name, round
			one.Others = max(0, others.Seconds()/time.Since(start).Seconds()/float64(b.CPUs))
			most = max(most, one.Others)
			all = append(all, one)
		}
		if most > disturbed && b.patience > 0 {
			b.patience -= time.Duration(len(all)) * b.each
			c.Repeated++
			continue
		}
		c.Samples = append(c.Samples, all...)
		round++
	}
	fmt.Fprintf(os.Stderr, "%-50s %5.1f s, %d rounds repeated\n", c.Name, time.Since(began).Seconds(), c.Repeated)
	b.Cells = append(b.Cells, c)
	return nil
}

// policies asks our policy server and postgrey about triplets that both know.
func (b *bench) policies(ctx context.Context) error {
	addr, err := b.freeAddr()
	if err != nil {
		return err
	}
	ours, err := b.gateway(ctx, "policyd", b.binary, append(b.settings(),
		setting{"policyd", "enabled", "true"}, setting{"policyd", "listen", fmt.Sprintf("[%q]", addr)},
		setting{"check.greylist", "policy_delay", `"1s"`}, setting{"check.greylist", "auto_pass", "0"}))
	if err != nil {
		return err
	}
	servers := map[string]policyServer{"garita": {addr, ours.root}}
	theirs, err := b.postgrey()
	if err != nil {
		fmt.Fprintln(os.Stderr, "postgrey is not measured:", err)
	} else {
		servers[postgreyName] = policyServer{theirs.addr, theirs.root}
		b.systems[postgreyName] = theirs
	}
	for _, conns := range []int{1, 20} {
		for _, s := range servers { // known from here on
			if _, err := askPolicy(s, conns, 40, 0); err != nil {
				return err
			}
		}
		time.Sleep(1100 * time.Millisecond)
		c := &cell{Name: fmt.Sprint(policyCell, conns), Rounds: b.rounds, unit: "requests"}
		for _, name := range []string{postgreyName, "garita"} {
			if _, ok := servers[name]; ok {
				c.Systems = append(c.Systems, name)
			}
		}
		if err := b.interleave(c, func(name string) (sample, error) { return askPolicy(servers[name], conns, 0, b.each) }); err != nil {
			return err
		}
	}
	ours.stop()
	if theirs != nil {
		theirs.stop()
	}
	return nil
}

// postgrey starts the real one. Its database lies in memory where there is such
// a place: it waits for the disk with every answer, which is no measure of it.
func (b *bench) postgrey() (*server, error) {
	program, err := exec.LookPath("postgrey")
	if err != nil {
		return nil, err
	}
	addr, err := b.freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/dev/shm", "garita-bench-")
	if err != nil {
		dir = filepath.Join(b.dir, "postgrey")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	} else {
		b.folders = append(b.folders, dir)
	}
	empty := filepath.Join(dir, "none")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		return nil, err
	}
	word := "--white" + "list-" // one word of theirs that is none of ours
	return b.start(postgreyName, addr, program, "--inet="+addr, "--dbdir="+dir, "--user=root", "--group=root", "--hostname=mx.our.example", "--quiet",
		"--delay=1", "--auto-white"+"list-clients=0", word+"clients="+empty, word+"recipients="+empty)
}

// doorSettings are what all of it takes: lists that the DNS of this program
// plays, everybody greylisted, limits that are counted and that nobody reaches,
// users found and looked for among the suspended.
func doorSettings(on bool) []setting {
	if !on {
		return []setting{{"check.dnsbl", "mode", `"off"`}, {"check.greylist", "mode", `"off"`}, {"check.limits", "mode", `"off"`}}
	}
	const user = `["1000000000 messages / 1h", "1000000000 recipients / 1h", "1000000000 messages / 24h", "1000000000 recipients / 24h", "1000000000 new-recipients / 24h"]`
	const domain = `["1000000000 messages / 1h"]`
	lists := ""
	for i, kinds := range []string{`"ipv4"`, `"ipv4"`, `"ipv4"`, `"host", "helo", "sender"`, `"sender", "url"`} {
		lists += fmt.Sprintf("\n[check.dnsbl.list.bench%d]\nzone = \"l%d.bl.example\"\nkinds = [%s]\ncodes = [\"127.0.0.2 3 listed\"]\n", i, i, kinds)
	}
	return []setting{
		{"check.dnsbl", "mode", `"enforce"`},
		{"check.dnsbl", "lists", `["bench0", "bench1", "bench2", "bench3", "bench4"]`},
		{"check.greylist", "mode", `"enforce"`}, {"check.greylist", "who", `"everybody"`}, {"check.greylist", "delay", `"1s"`},
		{"check.limits", "mode", `"enforce"`}, {"check.limits", "user", user}, {"check.limits", "domain", domain},
		{"check.limits", "address", domain}, {"check.limits", "everybody", domain}, {"check.limits", "unknown", domain},
		{"", "", lists},
	}
}

// doorGateways are the gateway with and without all of it, both ways.
func (b *bench) doorGateways(ctx context.Context) error {
	in := &cell{Name: gatewayCell + "inbound", Systems: []string{withoutDoors, withDoors}, Rounds: b.rounds, config: b.load(b.small, 0)}
	out := &cell{Name: gatewayCell + "outbound", Systems: []string{withoutDoors + outboundName, withDoors + outboundName}, Rounds: b.rounds, config: b.load(b.small, 0)}
	for _, name := range in.Systems {
		s, err := b.everythingWith(ctx, name, doorSettings(name == withDoors))
		if err != nil {
			return err
		}
		b.systems[name] = s
		smart := *s
		smart.name, smart.addr, smart.proxied = name+outboundName, s.outbound, false
		b.systems[smart.name] = &smart
		// Answers are cached, lists probed, and triplets have waited.
		for range 2 {
			c := in.config
			c.Addr, c.Proxy, c.Messages, c.Reuse = s.addr, true, 200, 1
			if _, err := load.Run(ctx, c); err != nil && name == withoutDoors {
				return err
			}
			time.Sleep(2 * time.Second)
		}
	}
	for _, c := range []*cell{in, out} {
		if err := b.measure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// doorRows are the targets.
func (b *bench) doorRows() []row {
	var out []row
	costs := func(c *cell, what string, target float64) {
		v := c.median("garita", cpu)
		out = append(out, row{c.Name + what, fmt.Sprintf("≤ %g µs", target), fmt.Sprintf("%.1f µs", v), c.others(), v <= target})
	}
	for _, c := range b.Cells {
		switch {
		case strings.HasPrefix(c.Name, policyCell):
			target := 2.5
			if strings.HasSuffix(c.Name, "20") {
				target = 5
			}
			if b.systems[postgreyName] != nil {
				q := c.perRound("garita", postgreyName, rate, quotient)
				out = append(out, row{c.Name + ": against postgrey", fmt.Sprintf("≥ %g ×", target), fmt.Sprintf("%.2f ×", q),
					fmt.Sprintf("%.0f to %.0f a second", c.median("garita", rate), c.median(postgreyName, rate)), q >= target})
			}
			costs(c, ": CPU of one", 10)
		case strings.HasPrefix(c.Name, lookupCell):
			q := c.perRound("garita", exchangeName, cpu, quotient)
			out = append(out, row{c.Name + ": CPU against " + exchangeName, "≤ 0.6 ×", fmt.Sprintf("%.2f ×", q), c.others(), q <= 0.6})
			costs(c, ": CPU of one", 9)
		case c.Name == cachedCell, c.Name == limitCell:
			costs(c, ": CPU of one", 5)
		case strings.HasPrefix(c.Name, gatewayCell):
			q := c.perRound(c.Systems[1], c.Systems[0], rate, quotient)
			out = append(out, row{c.Name + ": messages a second with all of it against without", "≥ 0.85 ×", fmt.Sprintf("%.2f ×", q),
				fmt.Sprintf("%.0f to %.0f; CPU a message %.2f × (%.0f to %.0f µs)", c.median(c.Systems[1], rate), c.median(c.Systems[0], rate),
					c.perRound(c.Systems[1], c.Systems[0], cpu, quotient), c.median(c.Systems[1], cpu), c.median(c.Systems[0], cpu)), q >= 0.85})
		}
	}
	for _, t := range b.Triplets {
		out = append(out,
			row{doorsCell + fmt.Sprintf("a restart with %d triplets", t.Count), "≤ 3 s", fmt.Sprintf("%.2f s", t.Took), fmt.Sprintf("CPU %.2f s", t.CPU), t.Took <= 3},
			row{doorsCell + fmt.Sprintf("memory of %d triplets", t.Count), "< 300 MB", fmt.Sprintf("%.0f MB resident", t.ResidentMB), fmt.Sprintf("live heap %.0f MB", t.HeapMB), t.ResidentMB < 300})
	}
	return out
}

// others tells what the others of a cell cost.
func (c *cell) others() string {
	var all []string
	for _, s := range c.Systems {
		if s != "garita" {
			all = append(all, fmt.Sprintf("%s %.1f µs", s, c.median(s, cpu)))
		}
	}
	return strings.Join(all, ", ")
}
