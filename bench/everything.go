package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"garita/bench/load"
)

// entries is the length of each access list and table of the system
// "everything".
const entries = 100_000

// everything starts the gateway with all that it has: its clients are
// strangers of the Internet (by PROXY headers, because loopback is exempt from
// much), so that each is counted, banned if need be, looked up in the DNS and
// in access lists, and each recipient in the tables of routes, aliases and
// known recipients; figures are served. What is looked up is in the lists'
// middle; nothing that is found refuses the message.
func (b *bench) everything(ctx context.Context) (*server, error) {
	return b.everythingWith(ctx, "everything", nil)
}

// everythingWith has other settings too.
func (b *bench) everythingWith(ctx context.Context, name string, more []setting) (*server, error) {
	if b.dns == nil {
		var err error
		if b.dns, err = b.yardstick("dns"); err != nil {
			return nil, err
		}
	}
	metrics, err := b.freeAddr()
	if err != nil {
		return nil, err
	}
	lists, err := b.lists()
	if err != nil {
		return nil, err
	}
	const most = "100000000"
	s, err := b.gateway(ctx, name, b.binary, append(append(b.settings(), more...),
		setting{"listener.inbound", "proxy_from", `["127.0.0.0/8"]`},
		setting{"dns", "servers", fmt.Sprintf("[%q]", b.dns.addr)},
		setting{"metrics", "listen", fmt.Sprintf("%q", metrics)},
		setting{"check.access", "client_files", lists["clients"]},
		setting{"check.access", "name_files", lists["names"]},
		setting{"check.access", "helo_files", lists["helo"]},
		setting{"check.access", "sender_files", lists["senders"]},
		setting{"check.access", "recipient_files", lists["recipients"]},
		setting{"route", "recipient_files", lists["routes"]},
		setting{"route", "alias_files", lists["aliases"]},
		setting{"route", "recipient_list_files", lists["known"]},
		// Counted all the same: there is a limit, and nobody reaches it.
		setting{"conduct", "connections", most},
		setting{"conduct", "handshakes", most},
		setting{"conduct", "messages", most},
		setting{"conduct", "recipients", most},
	))
	if err != nil {
		return nil, err
	}
	s.proxied = true
	// The DNS is cached: each client has been here before.
	_, err = load.Greetings(load.Config{Addr: s.addr, Proxy: true}, load.Clients)
	return s, err
}

// lists writes the access lists and tables, and gives the values of the keys
// that name them.
func (b *bench) lists() (map[string]string, error) {
	user := func(i int) string { return fmt.Sprintf("user%06d@our.example", i) }
	out := map[string]string{}
	for name, line := range map[string]func(i int) string{
		"clients":    func(i int) string { return fmt.Sprintf("%d.%d.%d.%d reject", 20+i%97, i>>16, i>>8&255, i&255) },
		"names":      func(i int) string { return fmt.Sprintf("pool%06d.dial.example reject", i) },
		"helo":       func(i int) string { return fmt.Sprintf("host%06d.example reject", i) },
		"senders":    func(i int) string { return fmt.Sprintf("spam%06d@bulk.example reject", i) },
		"recipients": func(i int) string { return fmt.Sprintf("gone%06d@our.example reject", i) },
		"routes":     func(i int) string { return fmt.Sprintf("box%06d@our.example inbound", i) },
		"aliases":    func(i int) string { return fmt.Sprintf("alias%06d@our.example bob@our.example", i) },
		"known":      user,
	} {
		file := filepath.Join(b.dir, "list-"+name)
		out[name] = fmt.Sprintf("[%q]", file)
		if _, err := os.Stat(file); err == nil {
			continue
		}
		f, err := os.Create(file)
		if err != nil {
			return nil, err
		}
		w := bufio.NewWriter(f)
		for i := range entries {
			fmt.Fprintln(w, line(i))
		}
		if name == "known" {
			fmt.Fprintln(w, "bob@our.example")
		}
		if err := w.Flush(); err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// previous starts the program of the revision that -previous names, with all
// that it had: no access lists, DNS or conduct. Without git or the revision it
// is not measured.
func (b *bench) previous(ctx context.Context) (*server, error) {
	if b.revision == "" {
		return nil, nil
	}
	binary := filepath.Join(b.dir, "previous")
	if _, err := os.Stat(binary); err != nil {
		tree := filepath.Join(b.dir, "tree")
		if err := os.Mkdir(tree, 0o755); err != nil {
			return nil, err
		}
		tar := filepath.Join(b.dir, "tree.tar")
		for _, c := range []*exec.Cmd{
			exec.CommandContext(ctx, "git", "archive", "--output", tar, b.revision),
			exec.CommandContext(ctx, "tar", "-xf", tar, "-C", tree),
			exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/gateway"),
		} {
			if c.Args[0] == "go" {
				c.Dir, c.Env = tree, append(os.Environ(), "CGO_ENABLED=0")
			}
			if text, err := c.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "revision %s is not measured: %s: %v: %s\n", b.revision, c.Args[0], err, text)
				b.revision = ""
				return nil, nil
			}
		}
	}
	return b.gateway(ctx, "previous", binary, b.settings())
}

// fresh starts a system of its name; nil: it is not measured.
func (b *bench) fresh(ctx context.Context, name string) (*server, error) {
	switch name {
	case "garita":
		return b.garita(ctx)
	case "everything":
		return b.everything(ctx)
	case "previous":
		return b.previous(ctx)
	case "without":
		return b.without(ctx)
	}
	return b.yardstick(name)
}

// reload is one reload with long lists, under load.
type reload struct {
	Took float64 // ms, with the start of the command
	// Longest is the longest that a message took beside the reload, Before
	// beside none, for the same length of time; ms.
	Longest, Before float64
}

// reloads changes one entry of a list and reloads, while sessions send mail:
// 300 messages a second, so that what is measured is no struggle for the CPU.
func (b *bench) reloads(ctx context.Context) error {
	s := b.systems["everything"]
	if s == nil {
		return nil
	}
	for i := range b.rounds {
		f, err := os.OpenFile(filepath.Join(b.dir, "list-clients"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		fmt.Fprintf(f, "19.0.0.%d reject\n", i+1)
		if err := f.Close(); err != nil {
			return err
		}
		c := b.load(b.small, 0)
		c.Addr, c.Proxy, c.For, c.Rate = s.addr, true, b.each, 300
		calm, err := load.Run(ctx, c)
		if err != nil {
			return err
		}
		one := reload{Before: ms(calm.Latency.Max())}
		told := make(chan error, 1)
		go func() {
			time.Sleep(b.each / 10)
			began := time.Now()
			text, err := exec.CommandContext(ctx, b.binary, "reload", "--config", s.file).CombinedOutput()
			one.Took = ms(time.Since(began))
			if err != nil {
				err = fmt.Errorf("garita reload: %w: %s", err, text)
			}
			told <- err
		}()
		busy, err := load.Run(ctx, c)
		if err != nil {
			return err
		}
		if err := <-told; err != nil {
			return err
		}
		if bad := strings.TrimSpace(calm.Failed() + busy.Failed()); bad != "" {
			return fmt.Errorf("mail beside a reload: %s", bad)
		}
		one.Longest = ms(busy.Latency.Max())
		b.Reloads = append(b.Reloads, one)
		fmt.Fprintf(os.Stderr, "reload %d: %.0f ms, longest message %.1f ms (%.1f beside none)\n", i, one.Took, one.Longest, one.Before)
	}
	return nil
}
