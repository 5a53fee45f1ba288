package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is one system under test, or the sink.
type server struct {
	name string
	addr string
	// outbound is the listener of a gateway for mail that leaves.
	outbound string
	root     int    // process whose tree is measured
	file     string // configuration of a gateway
	// proxied: it takes connections with a PROXY header alone.
	proxied bool
	// queues: a message that it takes arrives later.
	queues bool
	cmd    *exec.Cmd
	told   *bytes.Buffer
}

// patience bounds the start of a server.
const patience = 20 * time.Second

// freeAddr finds a free port of 127.0.0.1 below those that the kernel gives
// to outgoing connections, so that none of ours takes it first.
func (b *bench) freeAddr() (string, error) {
	for range 200 {
		b.port++
		addr := fmt.Sprintf("127.0.0.1:%d", b.port)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr, nil
		}
	}
	return "", errors.New("no free port")
}

// start runs a program in a session of its own, which ends with us, and waits
// until it listens.
func (b *bench) start(name, addr string, args ...string) (*server, error) {
	s := &server{name: name, addr: addr, told: new(bytes.Buffer)}
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = s.told, s.told
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	s.cmd.WaitDelay = time.Second
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.root = s.cmd.Process.Pid
	b.running = append(b.running, s)
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			c.Close()
			return s, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s ended (%w) before it listened: %s", name, err, s.told)
		default:
		}
	}
	return nil, fmt.Errorf("%s does not listen on %s: %s", name, addr, s.told)
}

// stop ends a server and all that it started.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond)
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
}

// yardstick starts one of our own servers: this very program again.
func (b *bench) yardstick(kind string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := b.freeAddr()
	if err != nil {
		return nil, err
	}
	args := []string{self, "serve", kind, addr}
	if kind != "sink" && kind != "dns" {
		args = append(args, b.sink.addr, b.certFile, b.keyFile)
	}
	return b.start(kind, addr, args...)
}

// setting is one key of config.toml that a measurement wants different; without
// a table, text for the end of the file.
type setting struct{ table, key, value string }

// settings are what differs from the file that garita init writes: all limits
// stay on, at values that one machine with one address does not run into. The
// log goes to a file, as init sets it.
func (b *bench) settings() []setting {
	sessions := fmt.Sprint(max(b.idleSessions, b.crowd) * 2) // far from the pressure that ends idle sessions
	return []setting{
		{"limits", "max_connections", sessions},
		{"limits", "max_connections_per_client", sessions},
		{"log", "lines_per_client", "0"},
		{"tls", "certificate_file", fmt.Sprintf("%q", b.certFile)},
		{"tls", "key_file", fmt.Sprintf("%q", b.keyFile)},
		// One fifth is kept for outbound mail: 20 sessions need 25.
		{"next_hop.inbound", "max_connections", "30"},
	}
}

// garita starts the gateway with a fresh folder.
func (b *bench) garita(ctx context.Context) (*server, error) {
	return b.gateway(ctx, "garita", b.binary, b.settings())
}

// gateway starts a program of ours with a fresh folder.
func (b *bench) gateway(ctx context.Context, name, binary string, settings []setting) (*server, error) {
	in, err := b.freeAddr()
	if err != nil {
		return nil, err
	}
	out, err := b.freeAddr()
	if err != nil {
		return nil, err
	}
	b.made++
	dir := filepath.Join(b.dir, fmt.Sprintf("garita%d", b.made))
	init := exec.CommandContext(ctx, binary, "init", "--dir", dir, "--hostname", "gw.our.example", "--domain", "our.example",
		"--next-hop", b.sink.addr, "--inbound", in, "--outbound", out, "--smart-host", b.sink.addr,
		"--trust", "127.0.0.0/8", "--mode", "enforce", "--yes")
	if text, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s init: %w: %s", name, err, text)
	}
	file := filepath.Join(dir, "config.toml")
	if err := configure(file, settings); err != nil {
		return nil, err
	}
	s, err := b.start(name, in, binary, "run", "--config", file)
	if err != nil {
		return nil, err
	}
	s.file, s.outbound = file, out
	ready := exec.CommandContext(ctx, binary, "health", "--wait", "10s", "--config", file)
	if text, err := ready.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s health: %w: %s", name, err, text)
	}
	return s, nil
}

// configure changes keys of a configuration file, where they stand active or
// behind a #. A key that is not there is an error: the file has every key.
func configure(file string, settings []setting) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for _, s := range settings {
		if s.table == "" {
			lines = append(lines, s.value)
			continue
		}
		if !set(lines, s) {
			return fmt.Errorf("%s: no key %s.%s", file, s.table, s.key)
		}
	}
	return os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600)
}

func set(lines []string, s setting) bool {
	table := ""
	for i, line := range lines {
		if strings.HasPrefix(line, "[") {
			table = strings.Trim(line, "[]")
			continue
		}
		key, _, ok := strings.Cut(strings.TrimPrefix(line, "#"), " = ")
		if ok && table == s.table && key == s.key {
			lines[i] = s.key + " = " + s.value
			return true
		}
	}
	return false
}
