package message

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
)

// hostile decodes to several times its size: damaged base64 has many readings.
func hostile(parts, size int) []byte {
	var b bytes.Buffer
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("0123456789ab"), size/12))
	for i := range parts {
		fmt.Fprintf(&b, "--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==-%d*%s\r\n", i, text)
	}
	b.WriteString("--x--\r\n")
	return b.Bytes()
}

// TestDecodedIsBoundByTheMessage: no message decodes to more than three times
// its size and a megabyte, whatever the limits say.
func TestDecodedIsBoundByTheMessage(t *testing.T) {
	raw := hostile(20, 100<<10)
	index := func(raw []byte) (*Index, int64) {
		m := spoolBytes(t, raw, Limits{Index: IndexOptions{Limits: DefaultIndexLimits()}})
		x, err := m.Index(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return x, x.decoded()
	}
	x, decoded := index(raw)
	most := decodedTimes*int64(len(raw)) + decodedMore
	if decoded > most+64 || decoded < most/2 {
		t.Errorf("%d octets of %d decode to %d, at most %d", len(raw), len(raw), decoded, most)
	}
	if !x.Has(Unfinished) {
		t.Error("what was not decoded is not told")
	}
	if _, decoded := index(hostile(1, 4<<10)); decoded > decodedMore {
		t.Errorf("a small one: %d", decoded)
	}
}

// TestRoomCountsWhatIsUsed: what a message takes beyond twice its size keeps
// others out, and comes back.
func TestRoomCountsWhatIsUsed(t *testing.T) {
	r := NewRoom(4 << 20)
	one, err := r.enter(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	one.settle(8 << 20)
	soon, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.enter(soon, 1<<20); !errors.Is(err, ErrNoMemory) {
		t.Errorf("somebody entered: %v", err)
	}
	small, err := r.enter(t.Context(), 1<<10) // has a lane of its own
	if err != nil {
		t.Error(err)
	}
	small.leave()
	one.leave()
	one.leave()
	all, err := r.enter(t.Context(), 64<<20)
	if err != nil || all.n != r.large.size || r.large.free != 0 {
		t.Errorf("%v, %+v of %+v", err, all, &r.large)
	}
	all.settle(1 << 20)
	if r.large.free != r.large.size-1<<20 {
		t.Errorf("free %d of %d", r.large.free, r.large.size)
	}
	all.leave()
	if r.large.free != r.large.size || r.small.free != r.small.size {
		t.Error("room is lost")
	}
}
