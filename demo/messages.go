package demo

import (
	"bytes"
	"strings"
)

// letter is a small message.
func letter(subject, body string) []byte {
	return []byte("From: Ana <" + sender + ">\r\nTo: Luis <" + recipient + ">\r\nSubject: " + subject + "\r\n" +
		"Date: Mon, 2 Nov 2026 10:00:00 +0100\r\nMessage-ID: <" +
		strings.ToLower(strings.ReplaceAll(subject, " ", "-")) + "@sender.example>\r\n\r\n" + body)
}

// multipart is a message with a text and 40 KB of octets of all kinds.
func multipart() []byte {
	octets := make([]byte, 40<<10)
	for i := range octets {
		octets[i] = byte(i*i>>3 ^ i*7)
	}
	var b strings.Builder
	b.WriteString("From: Ana <" + sender + ">\r\nTo: Luis <" + recipient + ">\r\nSubject: The plan\r\n" +
		"Message-ID: <plan@sender.example>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_edge\"\r\n\r\nThis is MIME.\r\n--=_edge\r\n" +
		"Content-Type: text/plain\r\n\r\nHere it is.\r\n--=_edge\r\n" +
		"Content-Type: application/octet-stream; name=\"plan.bin\"\r\n" +
		"Content-Disposition: attachment; filename=\"plan.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	b.WriteString(lines(octets))
	b.WriteString("--=_edge--\r\n")
	return []byte(b.String())
}

// bulk is a text of at least n octets, no line like the one before.
func bulk(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	var b strings.Builder
	b.Grow(n + 100)
	for i := 0; b.Len() < n; i++ {
		at := i % len(letters)
		b.WriteString(letters[at:])
		b.WriteString(letters[:at])
		b.WriteString(letters[i*7%len(letters):])
		b.WriteString("\r\n")
	}
	return b.String()
}

// mended is a message with every bare LF made CR LF.
func mended(msg []byte) []byte {
	msg = bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(msg, []byte("\n"), []byte("\r\n"))
}
