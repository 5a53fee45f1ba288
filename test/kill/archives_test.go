package kill

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"garita/test/harness"
)

// withArchive is a message of about size octets, as it goes over the wire, with
// an archive that holds a picture, and in an archive inside it texts that are
// ten times as large when they are unpacked.
func withArchive(t *testing.T, size int) string {
	t.Helper()
	r := rand.NewChaCha8([32]byte{1})
	packed := func(put func(z *zip.Writer) error) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		if err := put(z); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	file := func(z *zip.Writer, name string, data []byte) error {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	room := size * 71 / 100 // of base64 with its line ends
	inner := packed(func(z *zip.Writer) error {
		for i := range 5 {
			var text []byte
			for len(text) < room/5 {
				text = fmt.Appendf(text, "una línea de un informe muy largo, con muchas otras como ella, y con sus cifras: %d\n", r.Uint64()%10000)
			}
			if err := file(z, fmt.Sprintf("informe%d.txt", i), text); err != nil {
				return err
			}
		}
		return nil
	})
	picture := make([]byte, room-len(inner))
	if _, err := r.Read(picture); err != nil {
		t.Fatal(err)
	}
	copy(picture, "\xff\xd8\xff\xe0\x00\x10JFIF\x00")
	outer := packed(func(z *zip.Writer) error {
		if err := file(z, "foto.jpg", picture); err != nil {
			return err
		}
		return file(z, "informes.zip", inner)
	})
	var b strings.Builder
	b.WriteString("From: a@x.example\r\nTo: b@our.example\r\nSubject: large\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@x.example>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\nContent-Type: text/plain\r\n\r\nthe reports\r\n" +
		"--=_x\r\nContent-Type: application/zip; name=\"todo.zip\"\r\nContent-Disposition: attachment; filename=\"todo.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for text := base64.StdEncoding.EncodeToString(outer); len(text) > 0; {
		n := min(76, len(text))
		b.WriteString(text[:n])
		b.WriteString("\r\n")
		text = text[n:]
	}
	b.WriteString("--=_x--\r\n.\r\n")
	return b.String()
}

// TestSoakArchives: 500 sessions at once, each with a message of 25 MB with
// archives in archives. All are inspected and delivered, and the process stays
// below what the configuration says: messages_memory, mime.memory, the archives
// in work, and what it takes without mail.
func TestSoakArchives(t *testing.T) {
	sessions, size, mb := 500, 25_000_000, int64(1<<20)
	memory, index, member, rest := 128*mb, 256*mb, 64*mb, 160*mb
	if os.Getenv("GARITA_SOAK") == "" {
		sessions, size = 40, 2_500_000
		memory, index, member, rest = 8*mb, 32*mb, 16*mb, 96*mb
	}
	const atOnce = 2
	total := 20 * int64(size)
	hop := harness.StartSandbox(t, harness.SandboxOptions{Discard: true, Forget: true})
	octets := func(n int64) string { return fmt.Sprintf(`"%dB"`, n) }
	g := harness.StartGateway(t, harness.Options{NextHop: hop.Addr, Trust: "192.0.2.0/24", Plain: true, Settings: []harness.Setting{
		{Table: "limits", Key: "max_connections", Value: "3000"},
		{Table: "limits", Key: "max_connections_per_client", Value: "3000"},
		{Table: "limits", Key: "messages_total", Value: octets(total)},
		{Table: "limits", Key: "messages_memory", Value: octets(memory)},
		{Table: "mime", Key: "memory", Value: octets(index)},
		{Table: "check.attachment", Key: "at_once", Value: fmt.Sprint(atOnce)},
		{Table: "check.attachment.archives", Key: "member", Value: octets(member)},
		// How long it takes is not the question.
		{Table: "check.attachment", Key: "timeout", Value: `"10m"`},
		{Table: "check.attachment.archives", Key: "time", Value: `"2m"`},
		{Table: "next_hop.inbound", Key: "max_connections", Value: "500"},
		{Table: "listener.inbound", Key: "max_message_size", Value: octets(int64(size) * 11 / 10)},
		{Table: "listener.outbound", Key: "max_message_size", Value: octets(int64(size) * 11 / 10)},
	}})
	// Two archives in work, each with the members on its way down.
	soakWith(t, g, hop, sessions, withArchive(t, size), total, memory+index+atOnce*2*member+rest)
}
