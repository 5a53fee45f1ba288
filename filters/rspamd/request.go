package rspamd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"time"

	"garita/mail"
	"garita/message"
)

const (
	dialTimeout = 3 * time.Second
	idleTimeout = time.Minute
	// maxIdle and maxConns bound the connections to one server.
	maxIdle  = 8
	maxConns = 64
	// maxRcpts and maxRcptOctets bound the recipients that are named: rspamd
	// refuses requests with an endless header.
	maxRcpts      = 100
	maxRcptOctets = 16 << 10
	maxHeader     = 256 // octets of any other value
)

// newClient makes the client of one server. It goes where the configuration
// says and nowhere else: no proxy of the environment, no redirect.
func newClient(a address) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdle,
		MaxConnsPerHost:        maxConns,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if a.path != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", a.path)
		}
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// body is the raw message on its way out. The transport may read and close it
// after the request has failed, when nobody else holds the message any more.
type body struct {
	mu sync.Mutex
	m  *message.Message // nil after Close
	r  io.Reader
}

func newBody(m *message.Message) *body {
	m.Retain()
	return &body{m: m, r: m.Raw()}
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		return 0, errors.New("read after close")
	}
	return b.r.Read(p)
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m != nil {
		b.m.Release()
		b.m = nil
	}
	return nil
}

// ask sends the message to one server and reads its answer. A connection that
// the server closed while it was idle costs no message: there is a second try
// on a new one.
func ask(ctx context.Context, client *http.Client, base string, h http.Header, m *message.Message) (*answer, error) {
	a, stale, err := askOnce(ctx, client, base, h, m)
	if stale {
		client.CloseIdleConnections()
		a, _, err = askOnce(ctx, client, base, h, m)
	}
	return a, err
}

// askOnce says with stale that a connection that had been idle broke before
// anything came back.
func askOnce(ctx context.Context, client *http.Client, base string, h http.Header, m *message.Message) (a *answer, stale bool, err error) {
	var mu sync.Mutex // the transport traces from goroutines of its own
	reused, began := false, false
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(i httptrace.GotConnInfo) { mu.Lock(); reused = i.Reused; mu.Unlock() },
		GotFirstResponseByte: func() { mu.Lock(); began = true; mu.Unlock() },
	})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, base+"/checkv2", nil)
	if err != nil {
		return nil, false, err
	}
	req.Header = h.Clone()
	req.Body, req.ContentLength = newBody(m), m.Size()
	req.GetBody = func() (io.ReadCloser, error) { return newBody(m), nil }
	if m.Size() == 0 {
		_ = req.Body.Close()
		req.Body, req.GetBody = http.NoBody, nil
	}
	resp, err := client.Do(req)
	if err != nil {
		mu.Lock()
		defer mu.Unlock()
		return nil, reused && !began && ctx.Err() == nil, cause(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, false, fmt.Errorf("status %d", resp.StatusCode)
	}
	a, err = readAnswer(resp.Body)
	return a, false, cause(ctx, err)
}

// cause says that time was up rather than what broke because of it.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	return err
}

// facts are the header fields that tell rspamd about the session and the
// envelope. net/http refuses a request with a forbidden octet in a value, and
// a refused request would be a message that was not looked at: what a stranger
// said is made harmless, never passed on as it is.
func facts(tx *mail.Transaction, hostname string) http.Header {
	h := http.Header{}
	put := func(name, value string) {
		if value != "" {
			h[name] = append(h[name], clean(value, maxHeader))
		}
	}
	name, addr := tx.ClientForLog()
	helo := tx.Helo
	if tx.Forwarded != nil && tx.Forwarded.Helo != "" {
		helo = tx.Forwarded.Helo
	}
	if addr.IsValid() {
		put("IP", addr.Unmap().WithZone("").String())
	}
	put("Helo", helo)
	if name != "unknown" {
		put("Hostname", name)
	}
	// The null reverse-path is <>: an empty field would be no field.
	put("From", "<"+tx.ReversePath.String()+">")
	octets := 0
	for i, r := range tx.ForwardPaths {
		s := r.Path.String()
		if octets += len(s); i == maxRcpts || octets > maxRcptOctets {
			break
		}
		put("Rcpt", s)
	}
	put("User", tx.Login)
	put("Queue-Id", tx.ID)
	put("MTA-Name", hostname)
	if c := tx.TLS; c != nil {
		put("TLS-Cipher", tls.CipherSuiteName(c.CipherSuite))
		put("TLS-Version", tls.VersionName(c.Version))
	}
	h["User-Agent"] = []string{"garita"}
	h["Content-Type"] = []string{"application/octet-stream"}
	return h
}

// clean cuts a value and replaces what may not stand in a field.
func clean(s string, limit int) string {
	b := []byte(s[:min(len(s), limit)])
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// size is for findings.
func size(n int64) string { return strconv.FormatInt(n, 10) + " octets" }
