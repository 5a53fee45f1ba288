package tls

import (
	"bytes"
	stdtls "crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// openssl runs s_client against an address with a dialogue and gives what it
// printed. It is one of the packages that test/install-deps.sh names.
func openssl(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", append([]string{"s_client"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF=/dev/null") // the system's own minimum would hide ours
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("openssl is needed (package openssl): %v", err)
	}
	stop := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	defer stop.Stop()
	cmd.Wait() // a refused handshake is an exit code of 1
	return out.String()
}

// Old protocols, weak ciphers and renegotiation as openssl tries them (S-40).
func TestOpenSSLOldAndWeak(t *testing.T) {
	s := mustLoad(t, Default(), t.TempDir(), time.Now())
	addr := echo(t, s.ServerConfig("mx"))
	for name, args := range map[string][]string{
		"TLS 1.0":       {"-tls1", "-cipher", "ALL:@SECLEVEL=0"},
		"TLS 1.1":       {"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"},
		"no secrecy":    {"-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0"},
		"anonymous":     {"-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"},
		"no encryption": {"-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"},
	} {
		out := openssl(t, "", append(args, "-connect", addr)...)
		if !strings.Contains(out, "Cipher is (NONE)") {
			t.Errorf("%s: %s", name, out)
		}
	}
	for name, args := range map[string][]string{"TLS 1.2": {"-tls1_2"}, "TLS 1.3": {"-tls1_3"}, "no SNI": {"-noservername"}} {
		if out := openssl(t, "", append(args, "-connect", addr)...); strings.Contains(out, "Cipher is (NONE)") || !strings.Contains(out, "New, TLSv1.") {
			t.Errorf("%s: %s", name, out)
		}
	}
	// R asks for a renegotiation; the server must refuse it and live.
	// openssl says so in several ways: it sees our alert, or what the server
	// sent before the alert ("unexpected record"), whichever it reads first.
	out := openssl(t, "R\nmore\n", "-tls1_2", "-connect", addr)
	_, after, asked := strings.Cut(out, "RENEGOTIATING")
	if !asked || !strings.Contains(after, ":error:") && !strings.Contains(after, "no renegotiation") || strings.Contains(after, "verify return") || strings.Contains(after, "more") {
		t.Errorf("renegotiation: %s", out)
	}
	shown(t, addr, "mx.example.com")
}

// openssl resumes on one listener and is refused on the other (S-41).
func TestOpenSSLResumption(t *testing.T) {
	s := mustLoad(t, Default(), t.TempDir(), time.Now())
	mx, submission := echo(t, s.ServerConfig("mx")), echo(t, s.ServerConfig("submission"))
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		ticket := filepath.Join(t.TempDir(), "ticket")
		// The octets keep s_client until the tickets of TLS 1.3 have come.
		if out := openssl(t, "x\n", version, "-connect", mx, "-sess_out", ticket, "-servername", "mx.example.com"); !strings.Contains(out, "New, TLSv1.") {
			t.Fatalf("%s: %s", version, out)
		}
		if _, err := os.Stat(ticket); err != nil {
			t.Fatalf("%s: no ticket: %v", version, err)
		}
		if out := openssl(t, "x\n", version, "-connect", submission, "-sess_in", ticket, "-servername", "mx.example.com"); !strings.Contains(out, "New, TLSv1.") || strings.Contains(out, "Reused, ") {
			t.Errorf("%s: resumed across listeners: %s", version, out)
		}
		if out := openssl(t, "x\n", version, "-connect", mx, "-sess_in", ticket, "-servername", "mx.example.com"); !strings.Contains(out, "Reused, TLSv1.") {
			t.Errorf("%s: not resumed: %s", version, out)
		}
	}
	if out := openssl(t, "", "-tls1_2", "-connect", mx, "-reconnect", "-servername", "mx.example.com"); strings.Count(out, "Reused, TLSv1.2") != 5 {
		t.Errorf("-reconnect: %d of 5 resumed: %s", strings.Count(out, "Reused, "), out)
	}
}

// splitter writes the first flight, the ClientHello, as records of one octet.
type splitter struct {
	net.Conn
	done bool
}

func (s *splitter) Write(b []byte) (int, error) {
	if s.done {
		return s.Conn.Write(b)
	}
	s.done = true
	var out []byte
	for rest := b; len(rest) >= 5; {
		n := int(binary.BigEndian.Uint16(rest[3:5]))
		for _, c := range rest[5 : 5+n] {
			out = append(out, rest[0], rest[1], rest[2], 0, 1, c)
		}
		rest = rest[5+n:]
	}
	_, err := s.Conn.Write(out)
	return len(b), err
}

// A large ClientHello in records of one octet ends in a handshake or an alert,
// and in no panic; memory stays bounded (S-40).
func TestClientHelloInSmallRecords(t *testing.T) {
	s := mustLoad(t, Default(), t.TempDir(), time.Now())
	addr := echo(t, s.ServerConfig("mx"))
	var protos []string
	for range 60 {
		protos = append(protos, strings.Repeat("p", 255)) // 15 KB of ALPN
	}
	for name, cfg := range map[string]*stdtls.Config{"plain": {}, "16 KB": {NextProtos: protos}} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		cfg.InsecureSkipVerify, cfg.ServerName = true, "mx.example.com"
		c := stdtls.Client(&splitter{Conn: conn}, cfg)
		c.SetDeadline(time.Now().Add(60 * time.Second))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
	shown(t, addr, "mx.example.com")
}

// Raw octets in the place of a ClientHello: each ends the handshake with an
// error, takes no memory, and the listener lives (S-40).
func TestRawClientHellos(t *testing.T) {
	s := mustLoad(t, Default(), t.TempDir(), time.Now())
	cfg := s.ServerConfig("mx")
	record := func(body []byte) []byte {
		return append([]byte{22, 3, 1, byte(len(body) >> 8), byte(len(body))}, body...)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, in := range map[string][]byte{
		"nothing":         nil,
		"SMTP":            []byte("EHLO x\r\n"),
		"SSLv2 hello":     {0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10},
		"16 MB announced": record([]byte{1, 0xff, 0xff, 0xff}),
		"empty records":   bytes.Repeat([]byte{22, 3, 1, 0, 0}, 1000),
		"record too long": append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 65535)...),
		"zeros":           make([]byte, 1<<20),
		"cut in SNI":      record([]byte{1, 0, 0, 60, 3, 3, 1, 2, 3}),
	} {
		client, server := net.Pipe()
		go func() {
			client.SetDeadline(time.Now().Add(60 * time.Second))
			go io.Copy(io.Discard, client)
			client.Write(in)
			client.Close()
		}()
		server.SetDeadline(time.Now().Add(60 * time.Second))
		err := stdtls.Server(server, cfg).Handshake()
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("%d octets were allocated", took)
	}
}
