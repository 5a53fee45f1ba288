package policyd

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/test/harness"
)

// BenchmarkBeside asks postgrey and ours by turns, in one run: known triplets,
// on one connection and on twenty. ours/theirs is the ratio of the rates,
// us_cpu what one of our answers costs the processor.
func BenchmarkBeside(b *testing.B) {
	addr := harness.Addr(b)
	g := harness.StartGateway(b, harness.Options{Plain: true, Settings: []harness.Setting{
		{Table: "policyd", Key: "enabled", Value: "true"}, {Table: "policyd", Key: "listen", Value: fmt.Sprintf("[%q]", addr)},
		{Table: "check.greylist", Key: "policy_delay", Value: `"1s"`}, {Table: "check.greylist", Key: "auto_pass", Value: "0"},
	}})
	theirs := postgrey(b, nil, "--delay=1", "--auto-white"+"list-clients=0")
	for _, conns := range []int{1, 20} {
		b.Run(strconv.Itoa(conns), func(b *testing.B) {
			var own, other []float64
			for _, a := range []string{addr, theirs} { // known from here on
				load(b, a, conns, 20, 0)
			}
			time.Sleep(1100 * time.Millisecond)
			cpu, asked := g.CPU(), 0
			var spent int64
			for b.Loop() {
				other = append(other, load(b, theirs, conns, 0, time.Second))
				cpu = g.CPU()
				rate := load(b, addr, conns, 0, time.Second)
				spent += g.CPU() - cpu
				asked += int(rate)
				own = append(own, rate)
			}
			b.ReportMetric(mean(own), "ours/s")
			b.ReportMetric(mean(other), "theirs/s")
			b.ReportMetric(mean(own)/mean(other), "ours/theirs")
			b.ReportMetric(float64(spent)*10_000/float64(asked), "us_cpu") // of ticks of 10 ms
		})
	}
}

func mean(list []float64) (m float64) {
	for _, x := range list {
		m += x / float64(len(list))
	}
	return m
}

// load asks on each connection, n times or for that long, and gives the rate.
func load(b *testing.B, addr string, conns, n int, length time.Duration) float64 {
	b.Helper()
	var wg sync.WaitGroup
	counts := make([]int, conns)
	start := time.Now()
	for c := range conns {
		a := dial(b, addr)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer a.nc.Close()
			for i := 0; n > 0 && i < n || n == 0 && time.Since(start) < length; i++ {
				q := "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nhelo_name=mail.x.example\nqueue_id=\nsender=user" + string(rune('a'+i%20)) + "@x.example\nrecipient=b@our.example\n" +
					"recipient_count=0\nclient_address=192.0.2." + strconv.Itoa(c) + "\nclient_name=mail.x.example\nreverse_client_name=mail.x.example\ninstance=" + strconv.Itoa(c) + "." + strconv.Itoa(i) + "." + strconv.FormatInt(start.UnixNano(), 36) +
					"\nsasl_method=\nsasl_username=\nsasl_sender=\nsize=12345\nccert_subject=\nccert_issuer=\nccert_fingerprint=\nencryption_protocol=\nencryption_cipher=\nencryption_keysize=0\netrn_domain=\nstress=\n\n"
				if got, err := a.ask(q); err != nil || strings.HasPrefix(got, "5") {
					b.Error(got, err)
					return
				}
				counts[c]++
			}
		}()
	}
	wg.Wait()
	total := 0
	for _, k := range counts {
		total += k
	}
	return float64(total) / time.Since(start).Seconds()
}
