package smtpproxy

import (
	"strings"
	"testing"
)

// FuzzParseXClient: never a panic, and nothing that could become a command, an
// address or a name that cannot be.
func FuzzParseXClient(f *testing.F) {
	for _, s := range []string{"NAME=host.example ADDR=192.0.2.7 PORT=25 PROTO=ESMTP HELO=x LOGIN=ana", "ADDR=IPV6:2001:db8::1 REVERSE_NAME=a.example",
		"ADDR=[UNAVAILABLE] NAME=[TEMPUNAVAIL]", "DESTADDR=192.0.2.1 DESTPORT=25", "HELO=+0D+0A", "ADDR=", "X"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		id, ok := parseXClient(arg)
		if !ok {
			return
		}
		for _, v := range []*string{id.helo, id.proto, id.log} {
			if v != nil && (len(*v) > maxAttribute || strings.IndexFunc(*v, func(r rune) bool { return r < ' ' || r > '~' }) >= 0) {
				t.Fatalf("%q", *v)
			}
		}
		if id.addr != nil && id.addr.IsValid() && (id.addr.Is4In6() || id.addr.Zone() != "" || id.addr.IsUnspecified()) {
			t.Fatalf("client %v", id.addr)
		}
		if id.host != nil && (id.host.Confirmed && id.host.Name == "" || strings.ContainsAny(id.host.Name, " \r\n\x00")) {
			t.Fatalf("name %+v", *id.host)
		}
	})
}
