package rules

import (
	"bytes"
	"encoding/base64"
	"mime"
	"mime/quotedprintable"
	"net/netip"
	"strconv"
	"strings"

	"garita/mail"
)

// What a test does not say. The addresses are those of documentation (RFC 2606,
// RFC 5737).
const (
	testFrom   = "sender@sender.example"
	testTo     = "recipient@example.org"
	testClient = "192.0.2.25"
	testHost   = "mail.sender.example"
	testDate   = "Mon, 04 Jan 2027 10:00:00 +0000"
)

// Build makes the transaction and the message that a test describes. What is not
// said has an ordinary value; a host of "unknown" is one without a name. Without
// a test for it there is no Subject.
func (t *Test) Build() (*mail.Transaction, []byte) {
	tx := t.transaction()
	if t.Message != "" {
		return tx, crlf(t.Message)
	}
	var b bytes.Buffer
	has := map[string]bool{}
	if t.Header != "" {
		b.Write(crlf(t.Header))
		for _, line := range strings.Split(t.Header, "\n") {
			name, _, _ := strings.Cut(line, ":")
			has[strings.ToLower(strings.TrimSpace(name))] = true
		}
	}
	field := func(name, text string) {
		if !has[strings.ToLower(name)] {
			b.WriteString(name + ": " + text + "\r\n")
		}
	}
	from := tx.ReversePath.String()
	if from == "" {
		from = "mailer-daemon@sender.example"
	}
	field("From", "<"+from+">")
	field("To", "<"+tx.ForwardPaths[0].String()+">")
	field("Date", testDate)
	field("Message-ID", "<test@sender.example>")
	contents := t.contents()
	field("MIME-Version", "1.0")
	switch len(contents) {
	case 0:
		b.WriteString("\r\n")
	case 1:
		for _, f := range contents[0].fields {
			field(f[0], f[1])
		}
		b.WriteString("\r\n")
		b.Write(contents[0].body)
	default:
		edge := boundary(contents)
		field("Content-Type", `multipart/mixed; boundary="`+edge+`"`)
		b.WriteString("\r\n")
		for _, c := range contents {
			b.WriteString("--" + edge + "\r\n")
			for _, f := range c.fields {
				b.WriteString(f[0] + ": " + f[1] + "\r\n")
			}
			b.WriteString("\r\n")
			b.Write(c.body) // its last line end belongs to the boundary
			b.WriteString("\r\n")
		}
		b.WriteString("--" + edge + "--\r\n")
	}
	return tx, b.Bytes()
}

func (t *Test) transaction() *mail.Transaction {
	or := func(s, ordinary string) string {
		if s == "" {
			return ordinary
		}
		return s
	}
	s := &mail.Session{ID: "TEST", Listener: "inbound", Role: mail.Inbound, Proto: "ESMTP", Helo: or(t.Helo, testHost)}
	addr, err := netip.ParseAddr(or(t.Client, testClient))
	if err != nil {
		addr = netip.MustParseAddr(testClient)
	}
	s.Client = netip.AddrPortFrom(addr.Unmap(), 25025)
	s.Peer = s.Client
	if host := or(t.Host, testHost); host != "unknown" {
		s.Host = mail.HostName{Name: host, Confirmed: true}
	}
	tx := &mail.Transaction{Session: s, ID: "TEST", Direction: mail.In}
	if t.Direction == mail.Out {
		tx.Direction, s.Listener, s.Role = mail.Out, "outbound", mail.Outbound
	}
	if t.User != "" {
		tx.Identity = mail.Identity{User: t.User, Source: "test"}
	}
	if from := or(t.From, testFrom); from != "<>" {
		tx.ReversePath, _, _ = mail.ParseReverse("<"+from+">", true)
	}
	to := t.To
	if len(to) == 0 {
		to = []string{testTo}
	}
	for _, a := range to {
		if p, _, err := mail.ParseForward("<"+a+">", true); err == nil {
			tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: p})
		}
	}
	if len(tx.ForwardPaths) == 0 {
		tx.ForwardPaths = []mail.Recipient{{Path: mail.Path{Local: "recipient", Domain: "example.org"}}}
	}
	return tx
}

// content is one part: its fields and its body.
type content struct {
	fields [][2]string
	body   []byte
}

func (t *Test) contents() []content {
	var out []content
	if t.Text != "" {
		out = append(out, textContent("text/plain", t.Text))
	}
	if t.HTML != "" {
		out = append(out, textContent("text/html", t.HTML))
	}
	if t.Attachment != "" {
		out = append(out, content{[][2]string{
			{"Content-Type", "application/octet-stream"},
			{"Content-Disposition", disposition(t.Attachment)},
			{"Content-Transfer-Encoding", "base64"},
		}, []byte(base64.StdEncoding.EncodeToString(attachmentOctets()) + "\r\n")})
	}
	return out
}

// attachmentOctets fit the type of no program, so that a test of a name is one
// of the name alone.
func attachmentOctets() []byte {
	b := make([]byte, 48)
	for i := range b {
		b[i] = 0xb1 ^ byte(i*37)
	}
	return b
}

// textContent leaves text as it is where lines are short enough.
func textContent(kind, text string) content {
	body := crlf(text)
	long, ascii := false, isASCII(text)
	for _, line := range bytes.Split(body, []byte("\r\n")) {
		long = long || len(line) > maxField
	}
	encoding := "8bit"
	switch {
	case long || bytes.IndexByte(body, 0) >= 0:
		encoding = "quoted-printable"
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		_, _ = w.Write(body) // to memory
		_ = w.Close()
		body = b.Bytes()
	case ascii:
		encoding = "7bit"
	}
	return content{[][2]string{{"Content-Type", kind + "; charset=utf-8"}, {"Content-Transfer-Encoding", encoding}}, body}
}

// disposition writes a file name as mail programs do: RFC 2183, in the form of
// RFC 2231 where it is not ASCII.
func disposition(name string) string {
	if s := mime.FormatMediaType("attachment", map[string]string{"filename": name}); s != "" {
		return s
	}
	return "attachment"
}

// crlf makes every line end CR LF, the last one too.
func crlf(s string) []byte {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
	if !strings.HasSuffix(s, "\r\n") {
		s += "\r\n"
	}
	return []byte(s)
}

// boundary is one that stands in no part.
func boundary(contents []content) string {
	for n := 1; ; n++ {
		edge := "=_test_" + strconv.Itoa(n)
		free := true
		for _, c := range contents {
			free = free && !bytes.Contains(c.body, []byte("--"+edge))
		}
		if free {
			return edge
		}
	}
}
