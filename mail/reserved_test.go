package mail

import (
	"context"
	"strings"
	"testing"

	"garita/message"
)

// TestReserved (S-183): a field that speaks in our name is found however it is
// spelt, and nobody else's is.
func TestReserved(t *testing.T) {
	for field, want := range map[string]bool{
		"X-Garita-Score: 0":  true,
		"x-gARITA-x: y":      true,
		"X-Garita: y":        false,
		"X-Garitas-Score: 0": false,
		"Authentication-Results: mx.our.example; spf=pass":              true,
		"Authentication-Results: MX.our.example.;none":                  true,
		"Authentication-Results: mx.our.example/1; x":                   true,
		"authentication-results:\r\n (a (b) c) \"mx.our\\.example\" 1;": true,
		"Authentication-Results: mx.other.example; x":                   false,
		"Authentication-Results: mx.our.example.evil; x":                false,
		"Authentication-Results: (mx.our.example) other; x":             false,
		"Authentication-Results-Old: mx.our.example; x":                 false,
		"Subject: mx.our.example":                                       false,
	} {
		m, err := message.Spool(context.Background(), strings.NewReader(field+"\r\n\r\n"), message.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := Reserved(m.Header().Fields()[0], "mx.our.example"); got != want {
			t.Errorf("%q: %v", field, got)
		}
		m.Release()
	}
}
