package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"garita/bench/load"
	"garita/bench/proc"
	"garita/dnsbl"
	"garita/resolver"
	"garita/store"
)

// policyServer is where to ask, and whose CPU to look at.
type policyServer struct {
	addr string
	root int
}

// policyRequest is one as Postfix sends it; triplets repeat after 20.
func policyRequest(conn, i int, run string) string {
	return "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nhelo_name=mail.x.example\nqueue_id=\nsender=user" + string(rune('a'+i%20)) + "@x.example\nrecipient=b@our.example\n" +
		"recipient_count=0\nclient_address=192.0.2." + strconv.Itoa(conn) + "\nclient_name=mail.x.example\nreverse_client_name=mail.x.example\ninstance=" + strconv.Itoa(conn) + "." + strconv.Itoa(i) + "." + run +
		"\nsasl_method=\nsasl_username=\nsasl_sender=\nsize=12345\nccert_subject=\nccert_issuer=\nccert_fingerprint=\nencryption_protocol=\nencryption_cipher=\nencryption_keysize=0\netrn_domain=\nstress=\n\n"
}

// askPolicy asks on each connection n times, or for that long; each waits for
// its answer before it asks again, as Postfix does.
func askPolicy(s policyServer, conns, n int, length time.Duration) (sample, error) {
	var wg sync.WaitGroup
	errs, took := make([]error, conns), make([]load.Histogram, conns)
	cpu, begin := proc.CPU(s.root), time.Now()
	run := strconv.FormatInt(begin.UnixNano(), 36)
	for c := range conns {
		wg.Go(func() {
			errs[c] = func() error {
				nc, err := net.Dial("tcp", s.addr)
				if err != nil {
					return err
				}
				defer nc.Close()
				r := bufio.NewReader(nc)
				for i := 0; n > 0 && i < n || n == 0 && time.Since(begin) < length; i++ {
					at := time.Now()
					nc.SetDeadline(at.Add(20 * time.Second))
					if _, err := nc.Write([]byte(policyRequest(c, i, run))); err != nil {
						return err
					}
					line, err := r.ReadString('\n')
					if err == nil {
						_, err = r.ReadString('\n')
					}
					if err != nil {
						return err
					}
					if !strings.HasPrefix(line, "action=") || n == 0 && !strings.HasPrefix(line, "action=DUNNO") && !strings.HasPrefix(line, "action=PREPEND") {
						return fmt.Errorf("answered %q", line)
					}
					took[c].Add(time.Since(at))
				}
				return nil
			}()
		})
	}
	wg.Wait()
	wall, spent := time.Since(begin), proc.CPU(s.root)-cpu
	var all load.Histogram
	for i := range took {
		all.Merge(&took[i])
	}
	return sampleOf(&all, wall, spent), errors.Join(errs...)
}

func sampleOf(h *load.Histogram, wall, spent time.Duration) sample {
	n := float64(max(h.N(), 1))
	return sample{Rate: n / wall.Seconds(), CPU: float64(spent.Nanoseconds()) / 1000 / n, Sent: h.N(), P50: ms(h.Quantile(.5)), P99: ms(h.Quantile(.99)), Max: ms(h.Max())}
}

// selfCPU is the CPU time of this process.
func selfCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// atOnce does one thing again and again in so many goroutines.
func atOnce(workers int, length time.Duration, do func(i int64) error) (sample, error) {
	var wg sync.WaitGroup
	var next atomic.Int64
	errs, took := make([]error, workers), make([]load.Histogram, workers)
	cpu, begin := selfCPU(), time.Now()
	for w := range workers {
		wg.Go(func() {
			for at := time.Now(); at.Sub(begin) < length; {
				if errs[w] = do(next.Add(1)); errs[w] != nil {
					return
				}
				now := time.Now()
				took[w].Add(now.Sub(at))
				at = now
			}
		})
	}
	wg.Wait()
	wall, spent := time.Since(begin), selfCPU()-cpu
	var all load.Histogram
	for i := range took {
		all.Merge(&took[i])
	}
	return sampleOf(&all, wall, spent), errors.Join(errs...)
}

// listZone is the list that the servers play: 127.0.0.2 is listed, and nothing
// that is asked for.
const listZone = "bl.example"

// listServers start rbldnsd and unbound, those that there are.
func (b *bench) listServers() map[string]string {
	out := map[string]string{}
	for _, kind := range []string{"rbldnsd", "unbound"} {
		addr, err := b.freeAddr()
		if err == nil {
			err = b.listServer(kind, addr)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, kind, "is not measured:", err)
			continue
		}
		out[kind] = addr
	}
	return out
}

func (b *bench) listServer(kind, addr string) error {
	program, err := exec.LookPath(kind)
	if err != nil {
		return err
	}
	host, port, _ := strings.Cut(addr, ":")
	dir := filepath.Join(b.dir, kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, text := "zone", "$SOA 300 ns.bl.example hostmaster.bl.example 0 600 300 86400 300\n$NS 300 ns.bl.example\n:127.0.0.2:listed\n127.0.0.2\n"
	args := []string{program, "-n", "-b", host + "/" + port, "-r", dir, "-c", "0", listZone + ":ip4set:zone"}
	if kind == "unbound" {
		file = "unbound.conf"
		text = "server:\n interface: " + host + "@" + port + "\n do-daemonize: no\n use-syslog: no\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n do-not-query-localhost: no\n module-config: \"iterator\"\n" +
			" local-zone: \"" + listZone + ".\" static\n local-data: \"" + listZone + ". 300 IN SOA ns." + listZone + ". h." + listZone + ". 0 600 300 86400 300\"\n local-data: \"2.0.0.127." + listZone + ". 300 IN A 127.0.0.2\"\nremote-control:\n control-enable: no\n"
		args = []string{program, "-d", "-c", filepath.Join(dir, file)}
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
		return err
	}
	// They answer by UDP alone, or by TCP later: asked is whether they answer.
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.running = append(b.running, &server{name: kind, addr: addr, root: cmd.Process.Pid, cmd: cmd})
	go cmd.Wait()
	m := new(dns.Msg).SetQuestion("2.0.0.127."+listZone+".", dns.TypeA)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if r, _, err := (&dns.Client{Timeout: time.Second}).Exchange(m, addr); err == nil && len(r.Answer) == 1 {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer on %s", kind, addr)
}

// lookups asks a list for addresses that it has not, by ours with all that it
// does (cache, one question for all who ask it, watch over the list), and by
// the plain client; then for one that the cache has.
func (b *bench) lookups(ctx context.Context) error {
	for kind, addr := range b.listServers() {
		conf := resolver.Default()
		conf.Servers = []string{addr}
		d, err := resolver.New(resolver.Options{Config: conf})
		if err != nil {
			return err
		}
		defer d.Close()
		m, err := dnsbl.New(dnsbl.Options{Resolver: d, Lists: []dnsbl.List{{Name: "bench", Zone: listZone, Kinds: dnsbl.Address4, Weight: 3}}})
		if err != nil {
			return err
		}
		// No two questions are the same, in any round.
		var asked atomic.Int64
		name := func() string {
			n := asked.Add(1)
			return dnsbl.AddressName(netip.AddrFrom4([4]byte{byte(11 + n>>24), byte(n >> 16), byte(n >> 8), byte(n)}), listZone)
		}
		ask := func(name string) error {
			a, err := m.Ask(ctx, []dnsbl.Question{{List: m.Lists()[0], Name: name}}, nil)
			if err == nil && a[0].State != dnsbl.Clean {
				err = fmt.Errorf("%s is %s: %s", name, a[0].State, a[0].Fault)
			}
			return err
		}
		client := &dns.Client{Timeout: 2 * time.Second}
		c := &cell{Name: lookupCell + kind, Systems: []string{exchangeName, "garita"}, Rounds: b.rounds, unit: "look-ups"}
		err = b.interleave(c, func(system string) (sample, error) {
			return atOnce(50, b.each, func(int64) error {
				if system == "garita" {
					return ask(name())
				}
				r, _, err := client.Exchange(new(dns.Msg).SetQuestion(name()+".", dns.TypeA), addr)
				if err == nil && len(r.Answer) > 0 {
					err = errors.New("listed")
				}
				return err
			})
		})
		if err != nil {
			return err
		}
		if kind != "rbldnsd" {
			continue
		}
		one := name()
		c = &cell{Name: cachedCell, Systems: []string{"garita"}, Rounds: b.rounds, unit: "look-ups"}
		if err := b.interleave(c, func(string) (sample, error) { return atOnce(1, b.each/4, func(int64) error { return ask(one) }) }); err != nil {
			return err
		}
	}
	return nil
}

// limitCheck counts a message against the windows that a user's message has by
// default, and takes every second one back, in the engine memory alone.
func (b *bench) limitCheck(ctx context.Context) error {
	m := store.NewMemory()
	defer m.Close()
	c := &cell{Name: limitCell, Systems: []string{"garita"}, Rounds: b.rounds, unit: "checks"}
	return b.interleave(c, func(string) (sample, error) {
		return atOnce(1, b.each/4, func(i int64) error {
			user := "user" + strconv.FormatInt(i%10_000, 10) + "@our.example"
			var w [6]store.Window
			for k, span := range []time.Duration{time.Hour, 24 * time.Hour} {
				w[k] = store.Window{Key: "limit/user/messages/" + user, Span: span, Max: 1 << 40, Cost: 1, Buckets: 60}
				w[2+k] = store.Window{Key: "limit/user/recipients/" + user, Span: span, Max: 1 << 40, Cost: 1, Buckets: 60}
			}
			w[4] = store.Window{Key: "limit/user/new/" + user, Span: 24 * time.Hour, Max: 1 << 40, Cost: 1, Buckets: 60}
			w[5] = store.Window{Key: "limit/domain/messages/our.example", Span: time.Hour, Max: 1 << 40, Cost: 1, Buckets: 60}
			r, _, err := m.Reserve(ctx, w[:])
			switch {
			case err != nil:
				return err
			case i%2 == 0:
				r.Refund()
			default:
				r.Commit()
			}
			return nil
		})
	})
}

// tripletRun is a start with many triplets, in a process of its own.
type tripletRun struct {
	Count              int
	Took, CPU          float64 // seconds
	ResidentMB, HeapMB float64
}

const millionTriplets = 1_000_000

// triplets fills a database and starts on it, a process for each.
func (b *bench) triplets(ctx context.Context) error {
	if !strings.Contains(doorsCell+"triplets", b.cells) {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "triplets.db")
	for _, how := range []string{"fill", "start"} {
		text, err := exec.CommandContext(ctx, self, "triplets", how, file).Output()
		if err != nil {
			return fmt.Errorf("triplets: %w", err)
		}
		if how == "start" {
			var t tripletRun
			if err := json.Unmarshal(text, &t); err != nil {
				return err
			}
			b.Triplets = append(b.Triplets, t)
			fmt.Fprintf(os.Stderr, "%d triplets: start %.2f s, %.0f MB\n", t.Count, t.Took, t.ResidentMB)
		}
	}
	return nil
}

// tripletProcess is this program as the process that has them.
func tripletProcess(how, file string) error {
	begin := time.Now()
	m, err := store.Open(store.Config{Path: file, Entries: store.DefaultEntries, Values: millionTriplets + millionTriplets/10, Bytes: 1 << 30})
	if err != nil {
		return err
	}
	t := tripletRun{Took: time.Since(begin).Seconds(), CPU: selfCPU().Seconds(), Count: m.Stats().Values}
	if how == "fill" {
		for i := range millionTriplets {
			key := fmt.Sprintf("greylist/t/%d.%d.%d.0/sender%06d@example.com/recipient%04d@example.org", 11+i>>16&127, i>>8&255, i&255, i, i%5000)
			if err := m.Put(context.Background(), key, []byte("\x80\xa0\xb0\xd0\x0d\x80\xa0\xb0\xd0\x0d"), 35*24*time.Hour); err != nil {
				return err
			}
		}
		return m.Close()
	}
	t.ResidentMB = float64(proc.PSS(os.Getpid())) / 1e6
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	t.HeapMB = float64(s.HeapAlloc) / 1e6
	return errors.Join(json.NewEncoder(os.Stdout).Encode(t), m.Close())
}
