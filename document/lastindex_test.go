package document

import (
	"bytes"
	"math/rand"
	"testing"
)

func TestLastIndexIsTheLibrarys(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	word := "abab"
	for range 200 {
		b := bytes.Repeat([]byte("x"), r.Intn(3*lastBlock))
		for range r.Intn(4) {
			if len(b) > 8 {
				copy(b[r.Intn(len(b)-4):], "ababab")
			}
		}
		if got, want := lastIndex(b, word), bytes.LastIndex(b, []byte(word)); got != want {
			t.Fatalf("%d of %d, want %d", got, len(b), want)
		}
	}
	for _, border := range []int{lastBlock - 3, lastBlock, lastBlock + 1} {
		b := make([]byte, 2*lastBlock)
		copy(b[border:], word)
		if got := lastIndex(b, word); got != border {
			t.Errorf("%d, want %d", got, border)
		}
	}
	for _, b := range []string{"", "a", "abab", "xabab", "ababx"} {
		if got, want := lastIndex([]byte(b), word), bytes.LastIndex([]byte(b), []byte(word)); got != want {
			t.Errorf("%q: %d, want %d", b, got, want)
		}
	}
}
