package hold

import (
	"context"
	"errors"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNotices: at the first held message, then daily; what cannot be sent is
// tried again; hostile text is escaped; never more than one a day.
func TestNotices(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	setup := func(o *Options) {
		o.Now = fixed(&at)
		o.Config.Notify = []string{"admin@our.example", "two@our.example"}
	}
	k := newKit(t, t.TempDir(), setup)
	var got []Notice
	var fault error
	tick := func() {
		k.Tick(ctx, "gw.example", func(_ context.Context, n Notice) error {
			if fault == nil {
				got = append(got, n)
			}
			return fault
		})
	}
	tick()
	if len(got) != 0 {
		t.Fatal("told of nothing")
	}
	k.must("Evil\x1b[2J\u202e =?utf-8?B?w6k=?=", "a@s.example", "b@our.example")
	fault = errors.New("down")
	tick()
	fault = nil
	tick()
	for range 10 {
		k.must("more", "a@s.example", "b@our.example")
		at = at.Add(time.Minute)
		tick()
	}
	if len(got) != 1 {
		t.Fatalf("%d notices on the first day", len(got))
	}
	text := string(got[0].Message)
	for i := range len(text) {
		if c := text[i]; c >= 0x7f || c < ' ' && c != '\r' && c != '\n' {
			t.Fatalf("octet %#x in %q", c, text)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil || m.Header.Get("Auto-Submitted") != "auto-generated" || !strings.Contains(m.Header.Get("To"), "two@our.example") {
		t.Errorf("%v %v", m.Header, err)
	}
	// Letters are readable, what turns or clears is not there.
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || !strings.Contains(string(body), `subject  Evil\x1b[2J\u202e é`) || !strings.HasPrefix(string(body), "1 message is held, 1 of them") {
		t.Errorf("%v %q", err, body)
	}
	for line := range strings.Lines(text) {
		if len(line) > 998 || !strings.HasSuffix(line, "\r\n") {
			t.Errorf("line %q", line)
		}
	}
	k = k.again(setup)
	tick()
	if len(got) != 1 {
		t.Error("told again after a restart")
	}
	at = at.Add(day)
	k.must("next day", "a@s.example", "b@our.example")
	tick()
	if len(got) != 2 {
		t.Errorf("%d notices", len(got))
	}
	// Nothing new: quiet, until the first have waited for too long.
	at = at.Add(2 * day)
	tick()
	if len(got) != 2 {
		t.Error("told of nothing new")
	}
	at = at.Add(5 * day)
	tick()
	if len(got) != 3 || !strings.Contains(string(got[2].Message), "waited for more than 7 days") {
		t.Errorf("%d notices", len(got))
	}
	at = at.Add(-400 * day) // a clock that goes back
	k.must("x", "a@s.example", "b@our.example")
	tick()
	tick()
	if len(got) != 4 {
		t.Errorf("%d notices after the clock went back", len(got))
	}
}

// TestExpiry: nothing nobody decided about goes before it is asked for; a clock
// that jumps deletes nothing for a day.
func TestExpiry(t *testing.T) {
	for _, expire := range []bool{false, true} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			offset := time.Duration(0)
			k := newKit(t, dir, func(o *Options) {
				o.Config.Expire = expire
				o.Now = func() time.Time { return time.Now().Add(offset) }
			})
			held := k.must("held", "a@s.example", "b@our.example")
			let := k.must("let go", "a@s.example", "b@our.example")
			if _, err := k.Release(ctx, let, Order{}, (&hop{}).send); err != nil {
				t.Fatal(err)
			}
			tick := func() { k.Tick(ctx, "gw.example", func(context.Context, Notice) error { return nil }) }
			gone := func(id string) bool { _, err := k.disk.find(id); return errors.Is(err, ErrNotFound) }
			time.Sleep(29 * day)
			tick()
			time.Sleep(30 * time.Hour)
			tick() // notes what is due
			if gone(let) || gone(held) {
				t.Fatal("deleted at the first look")
			}
			time.Sleep(25 * time.Hour)
			tick()
			if !gone(let) || gone(held) != expire {
				t.Errorf("expire %v: released gone %v, held gone %v", expire, gone(let), gone(held))
			}
			fresh := k.must("fresh", "a@s.example", "b@our.example")
			offset = 10 * 365 * day
			for range 20 {
				time.Sleep(time.Hour)
				tick()
			}
			if gone(fresh) {
				t.Error("a clock that jumped deleted mail")
			}
			k.end()
		})
	}
}

// TestPreview: hostile text comes as text, within bounds.
func TestPreview(t *testing.T) {
	k := newKit(t, t.TempDir(), nil)
	id := k.must("=?iso-8859-1?Q?caf=E9?=", "a@s.example", "b@our.example")
	p, err := k.Show(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if p.Subject != "café" || !strings.Contains(p.Text, "Hello") || strings.Contains(p.Text, "\r") || p.Header[0].Value != "café" || p.Damaged != "" {
		t.Errorf("%+v", p)
	}
	if p.Reasons[0].Symbol != "virus.found" || string(p.Reasons[0].Detail) != "name \xff\x1b]0;x\a" {
		t.Errorf("%+v", p.Reasons)
	}
	var big strings.Builder
	for range 300 {
		big.WriteString("X-Long: " + strings.Repeat("y", 3000) + "\r\n")
	}
	big.WriteString("\r\n" + strings.Repeat("text\r\n", 10000))
	var q Preview
	q.fill([]byte(big.String()))
	if len(q.Header) != maxPreviewList || len(q.Header[0].Value) > maxPreviewField+3 || len(q.Text) > maxPreviewText || !q.Cut {
		t.Errorf("%d fields, %d of text", len(q.Header), len(q.Text))
	}
	for _, odd := range []string{"", "\r\n", "no colon", "A:\r\n b\r\n", "\r\n\r\n", " x\r\nA: b"} {
		new(Preview).fill([]byte(odd))
	}
}
