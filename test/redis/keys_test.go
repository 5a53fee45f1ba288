package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"garita/store"
	"garita/store/redis"
)

// Every key of store.redis, and what it does: mode, nodes and master have
// TestConformance, TestClusterNodeLost and TestSentinelFailover too.
func TestKeys(t *testing.T) {
	s := start(t, "--requirepass", "geheim")
	with := func(change func(*redis.Config)) *redis.Store {
		c := config(s)
		c.URL = "redis://:geheim@" + s.addr()
		change(&c)
		return open(t, c)
	}
	good := with(func(*redis.Config) {})
	if err := good.Fault(); err != nil {
		t.Fatal(err)
	}
	// url: a wrong password is a fault that does not show it.
	if err := with(func(c *redis.Config) { c.URL = "redis://:falsch@" + s.addr() }).Fault(); err == nil || strings.Contains(err.Error(), "falsch") {
		t.Errorf("a wrong password: %v", err)
	}
	// prefix: gateways with another do not share.
	w := limit("user/a", 10)
	if _, _, err := good.Reserve(t.Context(), []store.Window{w}); err != nil {
		t.Fatal(err)
	}
	if got := usedOf(t, with(func(*redis.Config) {}), w); got != 1 {
		t.Errorf("the same prefix: %d", got)
	}
	if got := usedOf(t, with(func(c *redis.Config) { c.Prefix = "other:" }), w); got != 0 {
		t.Errorf("another prefix: %d", got)
	}
	// mode: this server is no cluster and no Sentinel; master: so named by nobody.
	if with(func(c *redis.Config) { c.Mode = "cluster" }).Fault() == nil {
		t.Error("mode = cluster works on a single server")
	}
	if with(func(c *redis.Config) { c.Mode, c.Master = "sentinel", "mail" }).Fault() == nil {
		t.Error("mode = sentinel works without one")
	}
	// timeout: how long the first call waits that finds the server stopped.
	slow := with(func(c *redis.Config) { c.Timeout = 50 * time.Millisecond })
	patient := with(func(c *redis.Config) { c.Timeout = 2 * time.Second })
	began := time.Now()
	s.signal(syscall.SIGSTOP)
	if _, _, err := slow.Reserve(t.Context(), []store.Window{w}); err != nil || slow.Fault() == nil {
		t.Errorf("50 ms: %v", err)
	}
	if patient.Fault() != nil && time.Since(began) < 2*time.Second {
		t.Error("2 s were over before their time")
	}
	s.signal(syscall.SIGCONT)
}

// nodes: a cluster is found though the node of url is away; sentinel_password:
// Sentinels that ask for one.
func TestKeysOfMany(t *testing.T) {
	nodes := cluster(t)
	c := clusterConfig(nodes)
	c.URL = fmt.Sprint("redis://127.0.0.1:", freePort(t))
	if err := up(t, c).Fault(); err != nil {
		t.Error(err)
	}
	c.Nodes = nil
	if open(t, c).Fault() == nil {
		t.Error("a cluster was found by a node that is away")
	}

	master := start(t)
	guard := sentinel(t, master)
	guard.do("ACL", "SETUSER", "default", "resetpass", ">geheim")
	c = config(guard)
	c.Mode, c.Master, c.SentinelPassword = "sentinel", "mail", "geheim"
	if err := up(t, c).Fault(); err != nil {
		t.Error(err)
	}
	c.SentinelPassword = ""
	if open(t, c).Fault() == nil {
		t.Error("a Sentinel answered without its password")
	}
	c.SentinelPassword, c.Master = "geheim", "nobody"
	if open(t, c).Fault() == nil {
		t.Error("a master that no Sentinel knows")
	}
}

// rediss:// speaks TLS, and trusts only ca_file.
func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	s := start(t)
	s.do("CONFIG", "SET", "tls-ca-cert-file", cert)
	s.do("CONFIG", "SET", "tls-auth-clients", "no")
	s.do("CONFIG", "SET", "tls-key-file", key, "tls-cert-file", cert)
	port := freePort(t)
	s.do("CONFIG", "SET", "tls-port", port)
	c := config(s)
	c.URL, c.CAFile = fmt.Sprint("rediss://127.0.0.1:", port), cert
	if err := up(t, c).Fault(); err != nil {
		t.Error(err)
	}
	c.CAFile = ""
	if open(t, c).Fault() == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
	c.CAFile = key
	if g, err := redis.Open(redis.Options{Config: c, Local: store.NewMemory()}); err == nil {
		g.Close()
		t.Error("a file without a certificate was taken")
	}
}

func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
