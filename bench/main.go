// Command bench measures Garita against its peers on this machine, as the
// targets of the project are worded: throughput, CPU and system calls of a
// message, latency, memory of an idle session.
//
//	go run ./bench                 # about ten minutes; `make bench` builds the gateway first
//	go run ./bench -quick          # a look, not a measurement: one short round
//
// The peers are a private Postfix as a before-queue proxy
// (smtpd_proxy_filter), a pass-through straight on the sockets, and one on
// emersion/go-smtp. All deliver to the same light sink, which is part of this
// program; load, server and sink share the machine. Every cell is run A B C,
// A B C; a ratio is the median of the ratios of each round, because the
// machine's speed changes from minute to minute and the ratio does not.
//
// What access lists, DNS checks, conduct and the rest cost is measured against
// an earlier revision of this program, which had the wire alone (-previous):
// with all of that on, lists of 100,000 entries, clients that are strangers,
// and the DNS cached.
//
// What stands at the door (-only doors) is measured beside postgrey and beside
// the plain client of the DNS library, and the gateway with and without it.
//
// A message counts when it was answered 250, and the sink must have it. The
// figures say nothing about real networks, disks or other machines. Postfix
// needs root. Everything stays on loopback and under a temporary folder; the
// results go to bench/out.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"garita/bench/load"
)

// bench is one whole run. What is exported goes to the JSON file.
type bench struct {
	Begun    time.Time
	CPUs     int
	Load     string // load average at the beginning
	Cells    []*cell
	Idle     []idle
	Calls    []systemCalls
	Crowds   []crowd
	Reloads  []reload
	Triplets []tripletRun

	binary, dir, out            string
	certFile, keyFile           string
	revision                    string // of the program to compare with
	rounds, idleSessions, crowd int
	each, warm, hold            time.Duration
	patience                    time.Duration // left for rounds that others have spoilt
	only, cells, wanted         string
	noPostfix                   bool
	sink, dns                   *server
	systems                     map[string]*server
	running                     []*server
	small, middle, large        []byte
	port, made                  int
	folders                     []string // to be removed, beside dir
}

func main() {
	if len(os.Args) > 3 && os.Args[1] == "serve" {
		if err := serve(os.Args[2], os.Args[3], os.Args[4:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "triplets" {
		if err := tripletProcess(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	b := &bench{Begun: time.Now(), CPUs: runtime.NumCPU(), systems: map[string]*server{}, port: 20000 + os.Getpid()%8000, warm: 300 * time.Millisecond}
	quick := flag.Bool("quick", false, "one short round of everything")
	flag.StringVar(&b.binary, "garita", "./garita", "the gateway's program")
	flag.StringVar(&b.out, "out", "bench/out", "folder for the results")
	flag.StringVar(&b.only, "only", "", "comma list of: throughput, everything, contents, rules, doors, alone, latency, calls, idle, crowd, reload")
	flag.StringVar(&b.revision, "previous", "9b7cc31", "revision of git to compare with: the wire alone, without access lists, DNS and conduct; empty: none")
	flag.StringVar(&b.cells, "cells", "", "of throughput and everything only the cells whose name has this text")
	flag.StringVar(&b.wanted, "systems", "", "comma list of the systems to measure; empty: all")
	flag.BoolVar(&b.noPostfix, "no-postfix", false, "measure without Postfix")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds of a cell")
	flag.DurationVar(&b.each, "each", 2*time.Second, "time of one sample")
	flag.DurationVar(&b.patience, "patience", 90*time.Second, "time to spend on rounds again that other programs have disturbed")
	flag.IntVar(&b.idleSessions, "idle", 5000, "idle sessions")
	flag.IntVar(&b.crowd, "crowd", 10000, "idle sessions beside which a new client is greeted")
	flag.Parse()
	b.hold = 8 * time.Second // the Go runtime takes some seconds to give memory back
	if *quick {
		b.rounds, b.each, b.hold, b.patience = 1, 500*time.Millisecond, time.Second, 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The kernel ends our children when the thread ends that started them.
	runtime.LockOSThread()
	err := b.run(ctx)
	b.cleanUp()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// wants tells whether a part was asked for, measures whether a system was.
func (b *bench) wants(part string) bool      { return named(b.only, part) }
func (b *bench) measures(system string) bool { return named(b.wanted, system) }

// named tells that a comma list has a name; an empty list has all.
func named(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

func (b *bench) run(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"throughput", b.throughput}, {"everything", b.allOn}, {"contents", b.contents}, {"rules", b.ruleCells}, {"doors", b.doors}, {"alone", b.alone}, {"latency", b.latency}, {"calls", b.calls}, {"reload", b.reloads}, {"crowd", b.crowded}, {"idle", b.idleSession}} {
		if !b.wants(part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return err
		}
	}
	return b.report()
}

func (b *bench) prepare(ctx context.Context) error {
	avg, _ := os.ReadFile("/proc/loadavg")
	b.Load = strings.Join(strings.Fields(string(avg))[:3], " ")
	b.small = load.Wire(load.Message(1, 4<<10))
	b.middle = load.Wire(load.Message(2, 100<<10))
	b.large = load.Wire(load.Message(3, 1<<20))
	var err error
	if b.dir, err = os.MkdirTemp("", "garita-bench-"); err != nil {
		return err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // Postfix's daemons are not root
		return err
	}
	if err := b.certificate(); err != nil {
		return err
	}
	if b.wants("calls") {
		installStrace()
	}
	if b.sink, err = b.yardstick("sink"); err != nil {
		return err
	}
	b.systems["sink"] = b.sink
	for _, kind := range []string{"raw", "go-smtp"} {
		if !b.measures(kind) {
			continue
		}
		if b.systems[kind], err = b.yardstick(kind); err != nil {
			return err
		}
	}
	if !b.noPostfix && b.only != "contents" && b.only != "doors" && b.measures("postfix") {
		if b.systems["postfix"], err = b.postfix(); err != nil {
			return fmt.Errorf("postfix: %w", err)
		}
	}
	for _, name := range []string{"previous", "garita", "everything"} {
		if !b.measures(name) || b.only == "rules" || b.only == "doors" || b.only == "contents" && name != "garita" {
			continue
		}
		s, err := b.fresh(ctx, name)
		if err != nil {
			return err
		}
		if s != nil {
			b.systems[name] = s
		}
	}
	return nil
}

// installStrace gets the one tool that is not on every machine. Without it
// system calls are not counted, and the report says so.
func installStrace() {
	if _, err := exec.LookPath("strace"); err == nil || os.Geteuid() != 0 {
		return
	}
	cmd := exec.Command("apt-get", "install", "-qq", "-y", "--no-install-recommends", "strace")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if text, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "strace cannot be installed: %v: %s\n", err, text)
	}
}

// taken asks the sink how many messages it has.
func (b *bench) taken() (int64, error) {
	c, err := net.DialTimeout("tcp", b.sink.addr, 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("HELP\r\n")); err != nil {
		return 0, err
	}
	var n int64
	_, err = fmt.Fscanf(c, "220 sink ESMTP\r\n214 %d\r\n", &n)
	return n, err
}

func (b *bench) cleanUp() {
	for _, s := range b.running {
		s.stop()
	}
	for _, dir := range append(b.folders, b.dir) {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
}
