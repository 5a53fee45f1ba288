package relay

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for s, want := range map[string]target{
		"smtp://127.0.0.1:10025":         {host: "127.0.0.1", port: 10025},
		"smtps://mail.example.org:465":   {host: "mail.example.org", port: 465, implicit: true},
		"lmtp://[::1]:24":                {host: "::1", port: 24, lmtp: true},
		"lmtp+unix:///run/dovecot/lmtp":  {host: "localhost", path: "/run/dovecot/lmtp", lmtp: true},
		"smtp+unix:///run/postfix/x.s-1": {host: "localhost", path: "/run/postfix/x.s-1"},
	} {
		got, err := parseURL("url", s)
		got.literal = want.literal
		if err != nil || got != want {
			t.Errorf("%q: %+v %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "host:25", "LMTP://host:24", "smtp://host", "smtp://host:0", "smtp://host:65536", "smtp://host:25/", "smtp://host:25?x", "smtp://host:25#", "smtp://host:25#x",
		"smtp://host:+25", "http://host:25", "smtp:host:25", "smtp://0.0.0.0:25", "smtp://[::]:25", "smtp://224.0.0.1:25", "smtp://-x:25", "smtp://a b:25", "smtp://ho%0ast:25",
		"lmtps://host:24", "lmtp+unix://run/dovecot/lmtp", "lmtp+unix://host/run/lmtp", "lmtp+unix:///", "lmtp+unix://", "lmtp+unix:/run/lmtp/", "lmtp+unix:///run/../lmtp",
		"lmtp+unix:///run//lmtp", "lmtp+unix:///run/a%00b", "lmtp+unix:///run/a%0d%0ab", "lmtp+unix:///run/a b", "lmtp+unix:///" + strings.Repeat("x", 107), "smtps+unix:///run/x",
	} {
		if got, err := parseURL("url", s); err == nil {
			t.Errorf("%q was taken: %+v", s, got)
		} else if !strings.HasPrefix(err.Error(), "url") {
			t.Errorf("%q: %v", s, err)
		}
	}
	// A password that somebody wrote into the URL is not shown.
	for _, s := range []string{"smtp://user:s3cret@host:25", "smtp://user:s3cret@ho st:25", "smtp://us\x01er:s3cret@host:25", "smtp://user:s3cret%zz@host:25"} {
		if _, err := parseURL("url", s); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A password is in no error, wherever it was written.
func TestURLWithPassword(t *testing.T) {
	for _, s := range []string{"smtp://u:hunter2@h:25", "u:hunter2@h", "smtp:u:hunter2@h", "smtp://u:hunter2@h:x", "//u:hunter2@h:25", "smtp:///u:hunter2@h"} {
		if _, err := parseURL("url", s); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// FuzzURL: whatever is taken is written in one spelling that reads the same,
// and has nothing in it that could not be shown or dialled.
func FuzzURL(f *testing.F) {
	for _, s := range []string{"smtp://127.0.0.1:25", "smtps://[fe80::1%25eth0]:465", "lmtp://mail.example:24", "lmtp+unix:///run/x", "smtp+unix:///a/b", "smtp://x:00025"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseURL("url", s)
		if err != nil {
			if len(s) < 100 && !printable(err.Error()) && strings.ContainsAny(err.Error(), "\r\n\x1b") {
				t.Fatalf("the error of %q: %q", s, err)
			}
			return
		}
		b, err := parseURL("url", a.String())
		if err != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%q is written %q and read %v %v", s, a, b, err)
		}
		if (a.path == "") == (a.port == 0) || len(a.path) > maxSocketPath || strings.ContainsAny(a.path+a.host, " \r\n\x00[]") {
			t.Fatalf("%q: %+v", s, a)
		}
	})
}
