package relay

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"garita/mail"
)

// sink is the leanest next hop: it answers and forgets.
func sink(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				rd := bufio.NewReaderSize(nc, 64<<10)
				nc.Write([]byte("220 sink ESMTP\r\n"))
				body := false
				var out []byte
				for {
					line, err := rd.ReadSlice('\n')
					if err != nil && err != bufio.ErrBufferFull {
						return
					}
					switch {
					case body:
						if string(line) == ".\r\n" {
							body = false
							out = append(out, "250 2.0.0 Ok: queued as SINK\r\n"...)
						}
					case line[0] == 'E':
						out = append(out, "250-sink\r\n250-PIPELINING\r\n250-SIZE\r\n250 8BITMIME\r\n"...)
					case line[0] == 'D':
						body = true
						out = append(out, "354 go\r\n"...)
					default:
						out = append(out, "250 2.1.0 Ok\r\n"...)
					}
					if rd.Buffered() == 0 {
						nc.Write(out)
						out = out[:0]
					}
				}
			}()
		}
	}()
	return "smtp://" + ln.Addr().String()
}

// BenchmarkDelivery is one transaction over a pooled connection; the sink's
// share is in the figure.
func BenchmarkDelivery(b *testing.B) {
	for name, size := range map[string]int{"4KB": 4 << 10, "1MB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			h, _ := hop(b, testConfig(sink(b)))
			line := strings.Repeat("x", 62) + "\r\n"
			body := fixed(strings.Repeat(line, size/len(line)))
			tx := transaction()
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			ctx := b.Context()
			for b.Loop() {
				d := h.Begin(tx)
				if r, err := d.Rcpt(ctx, rcpt("a")); r.Code != 250 {
					b.Fatal(r, err)
				}
				if o := d.Data(ctx, body); o.Kind != mail.Relayed {
					b.Fatalf("%+v", o)
				}
			}
		})
	}
}
