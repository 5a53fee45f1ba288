package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SignatureHeader carries "t=SECONDS,v1=HEX": HMAC-SHA256 with the key of the
// channel over the seconds in decimal, a dot, and the body.
const SignatureHeader = "X-Garita-Signature"

// Sign makes the value of that field.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(t + "."))
	h.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(h.Sum(nil))
}

// payload is the JSON of webhooks and programs.
type payload struct {
	Version int `json:"version"`
	Notice
}

// encodeNotice gives the JSON of a notice; its texts are printable already.
func encodeNotice(n Notice) []byte { return marshal(payload{1, n}) }

const maxAnswer = 4 << 10 // octets that are read of an answer

type webhook struct {
	url, secret string
	client      *http.Client
}

// newWebhook makes the channel. The address is the configuration's alone;
// nothing of a message or an alert ever becomes part of it, and a redirect is
// not followed, so nobody outside chooses what we connect to (SSRF).
func newWebhook(c WebhookConfig) *webhook {
	d := &net.Dialer{}
	if u, err := url.Parse(c.URL); err == nil && u.Scheme == "http" {
		// What localhost means is for the hosts file to say: look at what
		// is really connected to.
		d.Control = func(_, address string, _ syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); err != nil || !a.Addr().Unmap().IsLoopback() {
				return errNotHere
			}
			return nil
		}
	}
	return &webhook{c.URL, c.Secret, &http.Client{
		Transport:     &http.Transport{DialContext: d.DialContext, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

var errNotHere = errors.New("http is for this machine only, and the address is another's")

func (w *webhook) send(ctx context.Context, n Notice) error {
	body := encodeNotice(n)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: the address cannot be used", errPermanent)
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "garita")
	r.Header.Set("X-Garita-Event", n.Event)
	r.Header.Set("X-Garita-Delivery", n.ID)
	// The time of the attempt, not of the alert: a receiver refuses what is old.
	r.Header.Set(SignatureHeader, Sign(w.secret, time.Now(), body))
	a, err := w.client.Do(r)
	if err != nil {
		return withoutURL(err)
	}
	defer a.Body.Close()
	_, _ = io.CopyN(io.Discard, a.Body, maxAnswer) // what it says is not for the log
	switch {
	case a.StatusCode/100 == 2:
		return nil
	case a.StatusCode/100 == 3:
		return fmt.Errorf("%w: it redirects (%d); write the last address", errPermanent, a.StatusCode)
	case a.StatusCode/100 == 4 && a.StatusCode != http.StatusTooManyRequests && a.StatusCode != http.StatusRequestTimeout:
		return fmt.Errorf("%w: HTTP status %d", errPermanent, a.StatusCode)
	}
	return fmt.Errorf("HTTP status %d", a.StatusCode)
}

// withoutURL takes from an error of net/http the address, which is a secret.
func withoutURL(err error) error {
	var u *url.Error
	for errors.As(err, &u) {
		if u.Timeout() {
			return errors.New("no answer in time")
		}
		err = u.Err
	}
	if text := err.Error(); strings.Contains(text, "://") {
		return errors.New("the request failed")
	}
	return err
}
