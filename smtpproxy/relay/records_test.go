package relay

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"garita/mail"
	"garita/smtpproxy/relay/fakehop"
)

// inOne holds what is written back, to send it in one segment.
type inOne struct {
	net.Conn
	hold bool
	held []byte
}

func (c *inOne) Write(p []byte) (int, error) {
	if c.hold {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// TestEarlyAnswerInTLS: a 250 that comes in one segment with the 354, in a
// record of its own, is no answer to the message (B-11), in a small message as
// in a large one.
func TestEarlyAnswerInTLS(t *testing.T) {
	cfg, _ := certificate(t, time.Now().Add(-time.Minute), "127.0.0.1")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	serve := func(nc net.Conn) {
		defer nc.Close()
		one := &inOne{Conn: nc}
		tc := tls.Server(one, cfg)
		in := bufio.NewReader(tc)
		io.WriteString(tc, "220 hi\r\n")
		for {
			line, err := in.ReadString('\n')
			switch {
			case err != nil:
				return
			case strings.HasPrefix(line, "EHLO"):
				io.WriteString(tc, "250-x\r\n250 SIZE\r\n")
			case line == "DATA\r\n":
				one.hold = true
				io.WriteString(tc, "354 go\r\n")
				io.WriteString(tc, "250 2.0.0 queued as LIE\r\n")
				one.hold = false
				nc.Write(one.held)
				one.held = nil
			case line == ".\r\n":
				io.WriteString(tc, "552 5.3.4 no\r\n")
			default:
				io.WriteString(tc, "250 ok\r\n")
			}
		}
	}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(nc)
		}
	}()
	c := impatient("smtps://" + ln.Addr().String())
	c.TLS = "encrypt"
	h, _ := hop(t, c)
	for _, size := range []int{10, 200_000} {
		d := h.Begin(transaction())
		if r, _ := d.Rcpt(t.Context(), rcpt("a")); r.Code != 250 {
			t.Fatal(r)
		}
		body := strings.Repeat("line\r\n", size/6+1)
		if o := d.Data(t.Context(), text(body)); o.Kind != mail.Refused || o.Replies[0].Code != 451 {
			t.Errorf("%d octets: %+v", len(body), o)
		}
	}
}

// TestRecords: every octet comes through, whatever the reads are cut into, and
// what stands behind the record under way is counted.
func TestRecords(t *testing.T) {
	record := func(n int) []byte {
		return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{byte(n)}, n)...)
	}
	var all []byte
	for _, n := range []int{0, 1, 5, 1019, 1020, 1024, 3000, 16640, 2, 65535, 0, 7} {
		all = append(all, record(n)...)
	}
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(all), "octets": iotest.OneByteReader(bytes.NewReader(all)), "halves": iotest.HalfReader(bytes.NewReader(all))} {
		for _, n := range []int{1, 3, 512, 70_000} {
			s := &records{Conn: reading{src: r}}
			got, buf := []byte(nil), make([]byte, n)
			for {
				k, err := s.Read(buf)
				got = append(got, buf[:k]...)
				if err != nil {
					break
				}
			}
			if !bytes.Equal(got, all) {
				t.Errorf("%s by %d: %d octets of %d", name, n, len(got), len(all))
			}
			if b, ok := r.(*bytes.Reader); ok {
				b.Reset(all)
				continue
			}
			break // the others are read once
		}
	}
	s := &records{Conn: reading{src: bytes.NewReader(append(record(10), record(20)...))}}
	if n, err := s.Read(make([]byte, 512)); n != 15 || err != nil || s.ahead() != 25 {
		t.Errorf("read %d, %v; ahead %d", n, err, s.ahead())
	}
}

// reading is a connection that is only read.
type reading struct {
	net.Conn
	src io.Reader
}

func (c reading) Read(p []byte) (int, error) { return c.src.Read(p) }

// TestEchoedLogin: a server that sends back what it was told brings the
// password into no error and no log.
func TestEchoedLogin(t *testing.T) {
	plain := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00u\x00secret"))
	for verb, echo := range map[string]string{"AUTH": plain, "AUTH3": base64.StdEncoding.EncodeToString([]byte("secret"))} {
		offer := "AUTH PLAIN"
		if verb == "AUTH3" {
			offer = "AUTH LOGIN"
		}
		s := start(t, fakehop.Config{Extensions: []string{offer}, Login: "u", Password: "secret", Always: map[string]fakehop.Action{verb: {Reply: echo + "\r\n"}}})
		c := authConfig(s.URL())
		c.Login, c.Password = "u", "secret"
		h, l := hop(t, c)
		if answers, _ := send(t, h, transaction(), "a"); answers[0].Code != 451 {
			t.Error(answers)
		}
		told := h.Fault().Error() + strings.Join(l.lines, " ")
		if _, secret, _ := strings.Cut(echo, "PLAIN "); strings.Contains(told, echo) || secret != "" && strings.Contains(told, secret) {
			t.Errorf("the password is told: %s", told)
		}
	}
}
