package hold

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"garita/mail"
	"garita/message"
)

func encoded(t testing.TB, subject string) []byte {
	t.Helper()
	m := spool(t, sample(subject))
	defer m.Release()
	l := newLetter(transaction(m, "a@s.example", "b@our.example", "\"q q\"@our.example"), decision("virus.found"))
	l.ID, l.MessageSize = "4ABCDEF01-AAAAAAAA", m.Size()
	r := render(t, m)
	edits, _ := editsOf(r)
	for _, e := range edits {
		l.Edits = append(l.Edits, edit{e.At, e.Delete, int64(len(e.Insert))})
	}
	var b bytes.Buffer
	if err := encode(&b, l, rawMessage{m}, edits); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestTorn: whatever is cut off the end, or changed, is seen.
func TestTorn(t *testing.T) {
	raw := encoded(t, "one")
	read := func(b []byte) error {
		f, err := ReadFile(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			err = f.Verify()
		}
		return err
	}
	if err := read(raw); err != nil {
		t.Fatal(err)
	}
	for n := range raw {
		if err := read(raw[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		b := bytes.Clone(raw)
		b[n] ^= 0x20
		if err := read(b); err == nil {
			t.Fatalf("octet %d changed: nothing seen", n)
		}
	}
	if err := read(append(bytes.Clone(raw), 'x')); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if err := read([]byte(strings.Replace(string(raw), "garita-hold 1", "garita-hold 2", 1))); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a newer form: %v", err)
	}
}

// TestByHand: the message can be had without this program, as docs/hold.md
// says: two lines, then "size" octets.
func TestByHand(t *testing.T) {
	raw := encoded(t, "one")
	parts := bytes.SplitN(raw, []byte("\n"), 3)
	if got := string(parts[2][:len(sample("one"))]); got != sample("one") {
		t.Errorf("%q", got)
	}
}

// FuzzReadFile: no file makes the reader fail badly, and what it takes is
// within the file and can be written again to the same.
func FuzzReadFile(f *testing.F) {
	good := encoded(f, "one")
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(magic + "{}\n"))
	f.Add([]byte(magic + `{"id":"A-AAAAAAAA","size":0,"edits":[{"at":0,"insert":1}]}` + "\nx\nsha256 " + strings.Repeat("0", 64) + "\n"))
	f.Add([]byte(magic + `{"id":"A-AAAAAAAA","size":-1,"edits":[{"at":9223372036854775807,"delete":9223372036854775807}]}` + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := ReadFile(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		file.Verify()
		original, err := io.ReadAll(file.Original())
		if err != nil || int64(len(original)) != file.MessageSize {
			t.Fatalf("%d octets of %d: %v", len(original), file.MessageSize, err)
		}
		var out bytes.Buffer
		body := file.Relayed()
		if n, err := body.WriteTo(&out); err != nil || n != body.Size() || n != file.relayedSize() {
			t.Fatalf("%d of %d: %v", n, body.Size(), err)
		}
		file.Transaction()
		entryOf(&file.Letter, State{State: Held})
		new(Preview).fill(original)
		// Again: the same message, letter and rendering.
		var edits []message.Edit
		at := file.at + file.MessageSize
		for _, e := range file.Edits {
			edits = append(edits, message.Edit{At: e.At, Delete: e.Delete, Insert: raw[at : at+e.Insert]})
			at += e.Insert
		}
		var b bytes.Buffer
		if err := encode(&b, &file.Letter, bytes.NewReader(original), edits); err != nil {
			t.Fatal(err)
		}
		again, err := ReadFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Verify(); err != nil {
			t.Fatal(err)
		}
		var out2 bytes.Buffer
		if again.Relayed().WriteTo(&out2); !bytes.Equal(out.Bytes(), out2.Bytes()) || again.From != file.From || len(again.To) != len(file.To) {
			t.Fatal("written again it is another")
		}
	})
}

// TestReasonsInOrder: what held the message stands first, since lists show one.
func TestReasonsInOrder(t *testing.T) {
	var l Letter
	l.reasons([]mail.Finding{
		{Symbol: "mime.odd", Mode: mail.Observe, Verdict: mail.Quarantine},
		{Symbol: "sender.fqdn", Mode: mail.Score, Score: 9},
		{Symbol: "mime.ambiguous_risky", Verdict: mail.Quarantine},
		{Symbol: "clamav.virus", Verdict: mail.Reject},
	}, []mail.Finding{{Symbol: "attachment.macro", Mode: mail.Score}})
	var got []string
	for _, r := range l.Reasons {
		got = append(got, r.Symbol)
	}
	if want := "mime.ambiguous_risky clamav.virus mime.odd sender.fqdn attachment.macro"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}
