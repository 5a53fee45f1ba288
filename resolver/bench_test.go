package resolver

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkBeside asks a server, which denies everything, by turns with the
// plain client of the library and by ours, 50 questions at once. us_cpu is the
// CPU of a question with that of the server, which is the same for both; the
// comparison without it is bench's.
func BenchmarkBeside(b *testing.B) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.(*net.UDPConn).ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			// NXDOMAIN, and no more than the question.
			buf[2], buf[3] = 0x81, 0x83
			binary.BigEndian.PutUint16(buf[10:], 0)
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			pc.(*net.UDPConn).WriteToUDPAddrPort(buf[:end+5], from)
		}
	}()
	c := Default()
	c.Servers = []string{pc.LocalAddr().String()}
	d, err := New(Options{Config: c})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	var n atomic.Int64
	name := func() string {
		i := n.Add(1)
		return fmt.Sprintf("%d.%d.%d.127.bl%d.example", i&255, i>>8&255, i>>16&255, i&3)
	}
	for _, how := range []struct {
		name string
		ask  func() error
	}{
		{"Client.Exchange", func() error {
			m := new(dns.Msg)
			m.SetQuestion(name()+".", dns.TypeA)
			_, _, err := (&dns.Client{Timeout: 2 * time.Second}).ExchangeContext(b.Context(), m, c.Servers[0])
			return err
		}},
		{"DNS", func() error {
			_, err := d.A(b.Context(), name())
			if err == ErrNoName {
				return nil
			}
			return fmt.Errorf("denied, but: %w", err)
		}},
	} {
		b.Run(how.name, func(b *testing.B) {
			b.SetParallelism(25)
			b.ReportAllocs()
			before := cpuTime()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := how.ask(); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/1000/float64(b.N), "us_cpu")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
