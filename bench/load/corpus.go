package load

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand"
	"strings"
)

const words = "the of invoice meeting please find attached report for monday customer order number delivery status " +
	"project update regards team question about contract price offer server mail gateway account support ticket " +
	"reunión informe adjunto gracias saludos cliente pedido factura mañana oficina equipo proyecto datos sistema"

// Message makes a message of exactly size octets, LF line ends: a header with
// three Received fields, a text part in 8bit and a base64 attachment. The same
// seed makes the same message.
func Message(seed int64, size int) string {
	r := rand.New(rand.NewSource(seed))
	list := strings.Fields(words)
	var b strings.Builder
	for i := range 3 {
		fmt.Fprintf(&b, "Received: from mail%d.example.org (mail%d.example.org [192.0.2.%d])\n\tby mx%d.example.com with ESMTPS id %X\n\tfor <bob@our.example>; Mon, %d Jun 2026 10:12:12 +0200 (CEST)\n",
			i, i, 10+i, i, r.Uint32(), 1+i)
	}
	fmt.Fprintf(&b, "Message-ID: <%016x@example.org>\nDate: Mon, 1 Jun 2026 10:00:00 +0200\nFrom: Alice <alice@example.org>\nTo: Bob <bob@our.example>\n", r.Uint64())
	fmt.Fprintf(&b, "Subject: %s %s %s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_b\"\n\n", list[r.Intn(len(list))], list[r.Intn(len(list))], list[r.Intn(len(list))])
	b.WriteString("--=_b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n")
	for column, stop := 0, b.Len()+size/8+200; b.Len() < stop; {
		w := list[r.Intn(len(list))]
		b.WriteString(w)
		if column += len(w) + 1; column > 68 {
			b.WriteByte('\n')
			column = 0
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteString("\n--=_b\nContent-Type: application/pdf; name=\"report.pdf\"\nContent-Transfer-Encoding: base64\n\n")
	const tail = "--=_b--\n"
	line := make([]byte, 57)
	for b.Len()+77+len(tail) <= size {
		r.Read(line)
		b.WriteString(base64.StdEncoding.EncodeToString(line) + "\n")
	}
	b.WriteString(tail)
	if n := size - b.Len(); n > 0 {
		b.WriteString(strings.Repeat("-", n-1) + "\n")
	}
	return b.String()
}

// Wire is a message as it goes over the wire behind DATA: CR LF line ends,
// dots stuffed, the end mark behind it.
func Wire(message string) []byte {
	var o bytes.Buffer
	for l := range strings.Lines(message) {
		if l[0] == '.' {
			o.WriteByte('.')
		}
		o.WriteString(strings.TrimRight(l, "\r\n"))
		o.WriteString("\r\n")
	}
	o.WriteString(".\r\n")
	return o.Bytes()
}
