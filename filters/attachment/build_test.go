package attachment

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"garita/filters"
	"garita/mail"
	"garita/message"
)

// file is an attachment to be.
type file struct {
	fields string // Content-Type and Content-Disposition; "" makes them of name
	name   string
	data   string
}

// letter builds a message of a text and attachments.
func letter(files ...file) string {
	var b strings.Builder
	b.WriteString("From: a@sender.example\r\nTo: b@our.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n")
	b.WriteString("--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHola, va adjunto.\r\n")
	for _, f := range files {
		if f.fields == "" {
			f.fields = fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"%s\"", f.name)
		}
		b.WriteString("--=_b\r\n" + f.fields + "\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		e := base64.StdEncoding.EncodeToString([]byte(f.data))
		for len(e) > 76 {
			b.WriteString(e[:76] + "\r\n")
			e = e[76:]
		}
		b.WriteString(e + "\r\n")
	}
	b.WriteString("--=_b--\r\n")
	return b.String()
}

// zipped packs files; names and contents alternate.
func zipped(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pe is enough of a program to be one.
func pe() string {
	b := make([]byte, 256)
	copy(b, "MZ")
	b[60] = 0x80
	copy(b[128:], "PE\x00\x00")
	return string(b)
}

func jpeg() string { return "\xff\xd8\xff\xe0\x00\x10JFIF\x00" + strings.Repeat("\x01\x7f", 200) }

func pdf() string {
	return "%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
}

// checked runs the check alone over a message.
func checked(t testing.TB, c Config, raw string, d mail.Direction, rcpts ...string) []mail.Finding {
	t.Helper()
	_, fs := decided(t, c, raw, d, rcpts...)
	return fs
}

// decided runs it in an engine.
func decided(t testing.TB, c Config, raw string, d mail.Direction, rcpts ...string) (mail.Decision, []mail.Finding) {
	t.Helper()
	check, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := filters.New(filters.Config{Checks: []filters.Check{check}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	m := spool(t, raw)
	defer m.Release()
	tx := transaction(t, m, d, rcpts...)
	e.Mail(ctx, tx)
	dec := e.Message(ctx, tx)
	e.Finish(ctx, tx, mail.Outcome{})
	return dec, dec.Because
}

func spool(t testing.TB, raw string) *message.Message {
	t.Helper()
	m, err := message.Spool(context.Background(), strings.NewReader(raw), message.Limits{Max: 64 << 20, Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func transaction(t testing.TB, m *message.Message, d mail.Direction, rcpts ...string) *mail.Transaction {
	t.Helper()
	tx := &mail.Transaction{Session: &mail.Session{ID: "T"}, ID: "T", Direction: d, Message: m}
	tx.ReversePath = mail.Path{Local: "a", Domain: "sender.example"}
	if len(rcpts) == 0 {
		rcpts = []string{"b@our.example"}
	}
	for _, r := range rcpts {
		p, _, err := mail.ParseForward("<"+r+">", true)
		if err != nil {
			t.Fatal(err)
		}
		tx.ForwardPaths = append(tx.ForwardPaths, mail.Recipient{Path: p})
	}
	return tx
}

// symbols are the classes found, sorted, once each.
func symbols(fs []mail.Finding) []string {
	var out []string
	for _, f := range fs {
		out = append(out, strings.TrimPrefix(f.Symbol, Prefix))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
