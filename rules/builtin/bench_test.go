package builtin

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/message"
	"garita/rules"
	"garita/rules/pattern"
)

// BenchmarkShipped is what our sets cost on a clean letter.
func BenchmarkShipped(b *testing.B) {
	set := shipped(b)
	line := "Le recordamos que la reunión del jueves empieza a las diez; el acta y los documentos van aparte.\r\n"
	head := "From: ana@sender.example\r\nTo: b@our.example\r\nSubject: hola\r\nMIME-Version: 1.0\r\nContent-Type: "
	for _, c := range []struct{ name, raw string }{
		{"text 4 KB", head + "text/plain; charset=utf-8\r\n\r\n" + strings.Repeat(line, 40)},
		{"text 1 MB", head + "text/plain; charset=utf-8\r\n\r\n" + strings.Repeat(line, 10_000)},
		{"page 1 MB", head + "text/html; charset=utf-8\r\n\r\n<html><body>" + strings.Repeat("<p class=\"a\">"+line+"</p>", 9_000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			raw := []byte(c.raw)
			in := rules.Input{Raw: raw, Index: message.ReadIndex(raw, message.DefaultIndexLimits()), Tx: &mail.Transaction{
				Session: &mail.Session{Client: netip.MustParseAddrPort("192.0.2.1:25")}, Direction: mail.In,
			}}
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if r := set.Match(b.Context(), in, pattern.NewBudget(time.Minute, time.Now), rules.MatchOptions{}); len(r.Hits) > 0 {
					b.Fatalf("hit by %s", r.Hits[0].Rule.ID)
				}
			}
		})
	}
}
