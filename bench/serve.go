package main

import (
	"crypto/tls"
	"fmt"
	"net"

	"garita/bench/yardstick"
)

// serve is this program as one of the yardsticks; rest is next hop,
// certificate and key.
func serve(kind, addr string, rest []string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	switch kind {
	case "sink":
		return new(yardstick.Sink).Serve(l)
	case "dns":
		return yardstick.DNS{}.Serve(l)
	}
	if len(rest) != 3 {
		return fmt.Errorf("serve %s needs next hop, certificate and key", kind)
	}
	pair, err := tls.LoadX509KeyPair(rest[1], rest[2])
	if err != nil {
		return err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}}
	switch kind {
	case "raw":
		return (&yardstick.Raw{NextHop: rest[0], TLS: conf}).Serve(l)
	case "go-smtp":
		return (&yardstick.GoSMTP{NextHop: rest[0], TLS: conf}).Serve(l)
	}
	return fmt.Errorf("no yardstick %q", kind)
}
