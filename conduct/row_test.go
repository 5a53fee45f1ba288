package conduct

import (
	"testing"
	"time"

	"garita/store"
)

// A row that nobody of us wrote makes no ban of another network than its key
// names, and breaks nothing.
func FuzzBanRow(f *testing.F) {
	f.Add("ban/192.0.2.1/32", []byte(`{"prefix":"192.0.2.1/32","reason":"x","by":"conduct"}`))
	f.Add("ban/2001:db8::/64", []byte(`{"prefix":"2001:db8::/64"}`))
	f.Add("ban/::ffff:192.0.2.1/120", []byte(`{"prefix":"::ffff:192.0.2.1/120","by":"x"}`))
	f.Fuzz(func(t *testing.T, key string, raw []byte) {
		b, ok := decodeBan(store.Item{Key: key, Value: raw})
		if !ok {
			return
		}
		if b.Prefix != b.Prefix.Masked() {
			t.Fatalf("%s has host bits", b.Prefix)
		}
		var tb table
		tb.add(b)
		if b.Prefix.Contains(b.Prefix.Addr()) {
			if found := tb.of(b.Prefix.Addr()); len(found) != 1 || found[0] != b {
				t.Fatalf("%s is not found by its own address", b.Prefix)
			}
		}
		tb.active(time.Now())
		tb.soonest()
		tb.remove(b)
		if !tb.empty() || tb.count(b.By) != 0 {
			t.Fatal("something is left")
		}
	})
}
