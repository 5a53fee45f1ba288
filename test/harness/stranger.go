package harness

import (
	"fmt"
	"net"
	"testing"
)

// Strangers are the settings that make an inbound listener one behind a load
// balancer, so that tests can come from any address: this machine's own is
// never a stranger.
func Strangers(table string) []Setting {
	return []Setting{{Table: table, Key: "proxy_from", Value: `["127.0.0.1/32"]`}}
}

// From connects as the balancer would for a client of that address, and reads
// no greeting.
func From(t testing.TB, client, addr string) *Client {
	t.Helper()
	c := Dial(t, addr)
	return c.Introduce(client)
}

// Introduce says the PROXY header of a client.
func (c *Client) Introduce(client string) *Client {
	family, to := "TCP4", "192.0.2.25"
	if ip := net.ParseIP(client); ip != nil && ip.To4() == nil {
		family, to = "TCP6", "2001:db8:25::1"
	}
	return c.Raw(fmt.Sprintf("PROXY %s %s %s 40000 25\r\n", family, client, to))
}

// GreetedFrom is From with greeting and EHLO.
func GreetedFrom(t testing.TB, client, addr string) *Client {
	t.Helper()
	c := From(t, client, addr)
	c.Want(220)
	c.Say("EHLO client.example").Want(250)
	return c
}
