package alert

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// syslogChannel writes one line for each notice: over a socket as Unix's own
// programs do (RFC 3164), over the network as RFC 5424 has it, over TCP with
// octets counted (RFC 6587 section 3.4.1).
type syslogChannel struct {
	c        SyslogConfig
	language string
	host     string
}

// target gives network and address.
func (c SyslogConfig) target() (network, address string, err error) {
	for _, network := range []string{"udp", "tcp"} {
		if rest, ok := strings.CutPrefix(c.Address, network+"://"); ok {
			host, port, err := net.SplitHostPort(rest)
			if err != nil || host == "" || port == "" {
				return "", "", fmt.Errorf("write %s://host:port", network)
			}
			return network, rest, nil
		}
	}
	if !filepath.IsAbs(c.Address) {
		return "", "", errors.New("must be the path of a socket, or udp://host:port or tcp://host:port")
	}
	return "unixgram", c.Address, nil
}

// maxDatagram is what every receiver takes (RFC 5424 section 6.1).
const maxDatagram = 2048

func (s syslogChannel) send(ctx context.Context, n Notice) error {
	network, address, err := s.c.target()
	if err != nil {
		return fmt.Errorf("%w: %w", errPermanent, err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil && network == "unixgram" {
		conn, err = d.DialContext(ctx, "unix", address) // some are streams
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until)
	}
	record := s.record(network, n)
	switch {
	case network == "tcp":
		record = fmt.Sprintf("%d %s", len(record), record)
	case conn.RemoteAddr().Network() == "unix":
		record += "\n"
	}
	_, err = conn.Write([]byte(record))
	return err
}

// record is the whole of one message.
func (s syslogChannel) record(network string, n Notice) string {
	// facility mail (2); severities err, warning and notice
	pri := 2*8 + [...]int{5, 4, 3}[n.Alert.Severity]
	if n.Event == EventResolved {
		pri = 2*8 + 5
	}
	text := logSubject(n, s.language) + " event=" + n.Event + " key=" + n.Alert.Key
	if n.Command != "" {
		text += " run: " + n.Command
	}
	var head string
	if network == "unixgram" {
		head = fmt.Sprintf("<%d>%s garita/alert[%d]: ", pri, n.Time.Local().Format(time.Stamp), os.Getpid())
	} else {
		host := s.host
		if !asciiWord(host) {
			host = "-"
		}
		// The mark of UTF-8 belongs before the text (section 6.4).
		head = fmt.Sprintf("<%d>1 %s %s garita/alert %d %s - \ufeff", pri, n.Time.UTC().Format("2006-01-02T15:04:05.000Z"), host, os.Getpid(), n.Event)
	}
	return cut(head+text, maxDatagram)
}
