package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// plain and raced build the program once for each test process; raced looks
// for data races while it runs.
var (
	plain = sync.OnceValues(func() (string, error) { return build("plain") })
	raced = sync.OnceValues(func() (string, error) { return build("race", "-race") })
)

// binaries is the folder of this test process's builds.
func binaries() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("garita-bin-%d", os.Getpid()))
}

func build(name string, flags ...string) (string, error) {
	out := filepath.Join(binaries(), name, "garita")
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), "./cmd/gateway")...)
	cmd.Dir = Root()
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/gateway: %v\n%s", err, text)
	}
	return out, nil
}

// Binary is the path of the built program: the one that GARITA_BIN names, or
// one built now, with the race detector when GARITA_RACE is set.
func Binary(t testing.TB) string {
	t.Helper()
	return choose(t, os.Getenv("GARITA_RACE") == "")
}

func choose(t testing.TB, isPlain bool) string {
	t.Helper()
	if bin := os.Getenv("GARITA_BIN"); bin != "" {
		return bin
	}
	build := raced
	if isPlain {
		build = plain
	}
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// CleanUp removes what Binary built; TestMain calls it last.
func CleanUp() { os.RemoveAll(binaries()) }

// Options say what a gateway is for. Empty addresses become free ports; an
// empty next hop or smart host becomes a port where nothing listens.
type Options struct {
	Dir       string // empty: a folder that ends with the test
	Hostname  string // empty: gw.example
	Domains   []string
	NextHop   string
	SmartHost string
	Trust     string // empty: 127.0.0.0/8
	Mode      string // empty: enforce
	// FilterTo, when set, adds a content-filter listener that gives its mail
	// back to that address; FilterAddr is where it listens.
	FilterTo, FilterAddr string
	Settings             []Setting
	// Files bounds the descriptors of the process; 0 leaves them.
	Files int
	// Env are additional variables, NAME=value.
	Env []string
	// Plain is for figures of memory and time: the race detector, which
	// changes both, stays out even under GARITA_RACE.
	Plain bool
}

// Gateway is a running garita.
type Gateway struct {
	Dir, Config               string
	Inbound, Outbound, Filter string
	options                   Options
	process                   *Process
	logs                      []string // what earlier processes printed
	t                         testing.TB
}

// StartGateway writes a configuration with `garita init`, changes what the
// test wants changed, runs it and waits until it is ready.
func StartGateway(t testing.TB, o Options) *Gateway {
	t.Helper()
	g := NewGateway(t, o)
	g.Start()
	return g
}

// NewGateway writes the configuration and starts nothing.
func NewGateway(t testing.TB, o Options) *Gateway {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(Dir(t), "garita")
	}
	def := func(s *string, v func() string) {
		if *s == "" {
			*s = v()
		}
	}
	def(&o.Hostname, func() string { return "gw.example" })
	def(&o.NextHop, func() string { return Addr(t) })
	def(&o.SmartHost, func() string { return Addr(t) })
	def(&o.Trust, func() string { return "127.0.0.0/8" })
	def(&o.Mode, func() string { return "enforce" })
	if len(o.Domains) == 0 {
		o.Domains = []string{"our.example"}
	}
	g := &Gateway{Dir: o.Dir, Config: filepath.Join(o.Dir, "config.toml"), Inbound: Addr(t), Outbound: Addr(t), options: o, t: t}
	out, code := g.Run("init", "--dir", o.Dir, "--hostname", o.Hostname,
		"--domain", strings.Join(o.Domains, ","), "--next-hop", o.NextHop, "--inbound", g.Inbound,
		"--outbound", g.Outbound, "--smart-host", o.SmartHost, "--trust", o.Trust, "--mode", o.Mode, "--yes")
	if code != 0 {
		t.Fatalf("garita init: exit status %d\n%s", code, out)
	}
	if o.FilterTo != "" {
		g.Filter = o.FilterAddr
		if g.Filter == "" {
			g.Filter = Addr(t)
		}
		g.addFilter(o.FilterTo, o.Trust)
	}
	// Loopback clients share one address: the bound for each would stop the
	// tests and is tested on its own.
	Configure(t, g.Config, Setting{"limits", "max_connections_per_client", "1000"})
	// No question leaves this machine.
	Configure(t, g.Config, Setting{"dns", "servers", `["off"]`})
	Configure(t, g.Config, o.Settings...)
	return g
}

func (g *Gateway) addFilter(to, trust string) {
	g.t.Helper()
	nets := strings.Split(trust, ",")
	for i, n := range nets {
		nets[i] = strconv.Quote(n)
	}
	f, err := os.OpenFile(g.Config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "\n[listener.filter]\nrole = \"content-filter\"\nlisten = [%q]\nnext_hop = \"reinject\"\ntrusted_networks = [%s]\n\n[next_hop.reinject]\nurl = \"smtp://%s\"\ntls = \"none\"\n",
		g.Filter, strings.Join(nets, ", "), to)
}

// Start runs the gateway and waits until it is ready.
func (g *Gateway) Start() {
	g.t.Helper()
	g.Launch()
	g.Ready()
}

// Launch runs the gateway and does not wait.
func (g *Gateway) Launch() {
	g.t.Helper()
	bin := g.binary()
	args := []string{"run", "--config", g.Config}
	if g.options.Files > 0 {
		args = append([]string{"--nofile=" + strconv.Itoa(g.options.Files), bin}, args...)
		bin = Need(g.t, "prlimit", "util-linux")
	}
	if len(g.options.Env) > 0 {
		args = append(append(append([]string{}, g.options.Env...), bin), args...)
		bin = Need(g.t, "env", "coreutils")
	}
	g.process = Start(g.t, bin, args...)
	if len(g.logs) == 0 {
		g.t.Cleanup(g.sound)
	}
}

// sound fails the test for what no gateway may ever say, whatever was tested.
func (g *Gateway) sound() {
	for line := range strings.Lines(g.Log()) {
		if strings.Contains(line, "DATA RACE") || strings.Contains(line, "panic") || strings.Contains(line, "fatal error:") {
			g.t.Errorf("the gateway says: %s\n%s", line, g.Log())
			return
		}
	}
}

// Ready waits until `garita health` says so.
func (g *Gateway) Ready() {
	g.t.Helper()
	out, code := g.Run("health", "--wait", Patience.String(), "--config", g.Config)
	if code != 0 {
		g.t.Fatalf("garita health: exit status %d\n%s\nthe gateway printed:\n%s", code, out, g.Log())
	}
}

// Run runs a garita command and gives its output and exit status.
func (g *Gateway) Run(args ...string) (string, int) {
	g.t.Helper()
	return Command(g.t, g.binary(), args...)
}

func (g *Gateway) binary() string {
	return choose(g.t, g.options.Plain || os.Getenv("GARITA_RACE") == "")
}

// PID is the gateway's process id.
func (g *Gateway) PID() int { return g.process.PID() }

// Ended tells whether the process has ended.
func (g *Gateway) Ended() bool { return g.process == nil || g.process.Ended() }

// Kill is kill -9.
func (g *Gateway) Kill() {
	g.process.Kill()
	g.keepOutput()
}

// Signal sends a signal.
func (g *Gateway) Signal(s syscall.Signal) { g.process.Signal(s) }

// Stop sends SIGTERM and gives the exit status.
func (g *Gateway) Stop() int {
	g.t.Helper()
	g.process.Signal(syscall.SIGTERM)
	code := g.process.Wait(g.t, 60*time.Second)
	g.keepOutput()
	return code
}

// keepOutput puts what an ended process printed to the logs of earlier ones.
func (g *Gateway) keepOutput() {
	g.logs = append(g.logs, g.process.Output())
	g.process = nil
}

// Log is everything the gateway wrote: standard output and error of all its
// runs, and the log files under its folder.
func (g *Gateway) Log() string {
	var b strings.Builder
	for _, l := range g.logs {
		b.WriteString(l)
	}
	if g.process != nil {
		b.WriteString(g.process.Output())
	}
	filepath.WalkDir(g.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".log") {
			if data, err := os.ReadFile(path); err == nil {
				b.Write(data)
			}
		}
		return nil
	})
	return b.String()
}

// WaitLog waits until the log holds a text.
func (g *Gateway) WaitLog(text string) {
	g.t.Helper()
	end := time.Now().Add(Patience)
	for !strings.Contains(g.Log(), text) {
		if time.Now().After(end) {
			g.t.Fatalf("the gateway's log lacks %q:\n%s", text, g.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// RSS is the resident memory of the process in bytes, and its peak.
func (g *Gateway) RSS() (now, peak int64) {
	g.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var kb int64
		switch {
		case strings.HasPrefix(line, "VmRSS:"):
			fmt.Sscanf(line, "VmRSS: %d kB", &kb)
			now = kb << 10
		case strings.HasPrefix(line, "VmHWM:"):
			fmt.Sscanf(line, "VmHWM: %d kB", &kb)
			peak = kb << 10
		}
	}
	return now, peak
}

// CPU is the processor time that the process has used, in clock ticks of a
// hundredth of a second.
func (g *Gateway) CPU() int64 {
	g.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.PID()))
	if err != nil {
		g.t.Fatal(err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	sys, _ := strconv.ParseInt(fields[12], 10, 64)
	return user + sys
}
