package redos

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"garita/rules/pattern"
)

// BenchmarkLatency is R-03: how long an innocent message's matches take while
// others send attacks, with and without the gate. p50 and p99 are of the
// innocent ones, in microseconds: linear ones, which pass no gate, and
// backtracking ones, which wait for their turn.
func BenchmarkLatency(b *testing.B) {
	text := slices.Repeat([]byte("Estimado cliente, le enviamos la factura de su pedido.\r\n"), 70)
	hostile := Shape{Pump: "a", Spoil: "!"}.Attack(60)
	for _, kind := range []struct{ name, source string }{{"linear", `(?i)pago\s+(?:urgente|inmediato)`}, {"backtracking", `(\d)\1\1(?=€)`}} {
		for _, n := range []int{0, 4, 16} {
			for _, gated := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/hostile=%d/gate=%v", kind.name, n, gated), func(b *testing.B) {
					gate := pattern.NewGate(0)
					budget := func() *pattern.Budget {
						x := pattern.NewBudget(time.Minute, time.Now)
						if gated {
							x.Through(gate)
						}
						return x
					}
					attack, innocent := compile(b, `^(?:(a+)\1*)+b`, 10*time.Millisecond), compile(b, kind.source, 0)
					stop := make(chan struct{})
					var all sync.WaitGroup
					for range n {
						all.Go(func() {
							for {
								select {
								case <-stop:
									return
								default:
									_, _ = attack.Match(hostile, budget())
								}
							}
						})
					}
					var took []time.Duration
					given := 0
					for b.Loop() {
						// The next message comes in a millisecond: from then on it waits.
						began := time.Now().Add(time.Millisecond)
						time.Sleep(time.Millisecond)
						if _, err := innocent.Match(text, budget()); err != nil {
							given++
						}
						took = append(took, time.Since(began))
					}
					close(stop)
					all.Wait()
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
					b.ReportMetric(float64(given), "given-up")
				})
			}
		}
	}
}
