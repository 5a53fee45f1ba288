package redis

import (
	"context"
	"testing"
	"time"

	"garita/store"
)

// A limit check as a message makes it, in memory and on a server beside us.
func BenchmarkLimitCheck(b *testing.B) {
	act := []store.Window{
		{Key: "user/someone@example.org", Span: time.Hour, Max: 1 << 40, Cost: 1, Buckets: 60},
		{Key: "user/someone@example.org", Span: 24 * time.Hour, Max: 1 << 40, Cost: 1, Buckets: 60},
		{Key: "domain/example.org", Span: time.Hour, Max: 1 << 40, Cost: 1, Buckets: 60},
	}
	for name, s := range map[string]store.Store{"memory": store.NewMemory(), "redis": up(b, config(start(b)))} {
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, _, err := s.Reserve(context.Background(), act)
					if err != nil || r == nil {
						b.Fatal(err)
					}
					r.Commit()
				}
			})
		})
	}
}
