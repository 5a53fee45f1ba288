package routing

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestDestinations(t *testing.T) {
	tests := []struct{ value, name, url, bad string }{
		{"mailbox", "mailbox", "", ""}, {"mail_box-2", "mailbox", "", ""}, {":", "", "", ""},
		{"smtp:[mx.example]:2525", "smtp:[mx.example]:2525", "smtp://mx.example:2525", ""},
		{"[MX.Example]:2525", "smtp:[mx.example]:2525", "smtp://mx.example:2525", ""},
		{"relay:[mx.example]", "smtp:[mx.example]:25", "smtp://mx.example:25", ""},
		{":[mx.example]:submission", "smtp:[mx.example]:587", "smtp://mx.example:587", ""},
		{"smtps:[mx.example]", "smtps:[mx.example]:465", "smtps://mx.example:465", ""},
		{"SMTP:[192.0.2.1]:25", "smtp:[192.0.2.1]:25", "smtp://192.0.2.1:25", ""},
		{"smtp:[2001:DB8::0:1]:25", "smtp:[2001:db8::1]:25", "smtp://[2001:db8::1]:25", ""},
		{"smtp:[IPv6:2001:db8::1]", "smtp:[2001:db8::1]:25", "smtp://[2001:db8::1]:25", ""},
		{"smtp:[::ffff:192.0.2.1]", "smtp:[192.0.2.1]:25", "smtp://192.0.2.1:25", ""},
		{"lmtp:[127.0.0.1]", "lmtp:[127.0.0.1]:24", "lmtp://127.0.0.1:24", ""},
		{"lmtp:inet:[h.example]:7025", "lmtp:[h.example]:7025", "lmtp://h.example:7025", ""},
		{"lmtp:unix:/run/dovecot/lmtp", "lmtp:unix:/run/dovecot/lmtp", "lmtp+unix:///run/dovecot/lmtp", ""},
		{"", "", "", "says nothing"}, {"mx.example", "", "", "no MX look-up"}, {"smtp:mx.example", "", "", "no MX look-up"},
		{"smtp:mx.example:25", "", "", "no MX look-up"}, {"mx.example:25", "", "", "no MX look-up"}, {"smtp:", "", "", "no host"},
		{"smtp:[mx.example", "", "", "not closed"}, {"smtp:[mx.example]25", "", "", "no port"}, {"smtp:[mx.example]:0", "", "", "no port"},
		{"smtp:[mx.example]:65536", "", "", "no port"}, {"smtp:[mx.example]:+25", "", "", "no port"}, {"smtp:[mx.example]:http", "", "", "no port"},
		{"smtp:[]", "", "", "no host name"}, {"smtp:[a b]", "", "", "more than one"}, {"smtp:[0.0.0.0]", "", "", "no host name"},
		{"smtp:[ff02::1]", "", "", "no host name"}, {"smtp:[fe80::1%eth0]", "", "", "no host name"}, {"smtp:[[::1]]", "", "", "no "},
		{"smtp:[user@mx.example]", "", "", "no host name"}, {"smtp:[mx.example/x]", "", "", "no host name"},
		{"lmtp:unix:private/lmtp", "", "", "path of the socket"}, {"lmtp:unix:/a/../b", "", "", "path of the socket"}, {"lmtp:unix:/a?b", "", "", "path of the socket"},
		{"smtp:unix:/x", "smtp:unix:/x", "smtp+unix:///x", ""}, {"smtps:unix:/x", "", "", "not spoken"}, {"lmtp:unix:/", "", "", "path of the socket"}, {"lmtp:unix:/a//b", "", "", "path of the socket"}, {"error:5.1.1 moved", "", "", "\"error:\" is not taken here"}, {"error:moved", "", "", "not taken"}, {"Retry: a, b", "", "", "not taken"},
		{"discard:", "", "", "not taken"}, {"errors:x", "", "", "no transport"}, {"local:", "", "", "no transport"}, {"a, b", "", "", "more than one"},
		{"smtp:[a.example]:25,smtp:[b.example]:25", "", "", "more than one"}, {strings.Repeat("n", 33), "", "", "no MX look-up"},
	}
	for _, tt := range tests {
		name, d, bad := parseValue(tt.value)
		switch {
		case tt.bad != "":
			if bad == nil || !strings.Contains(bad.text, tt.bad) {
				t.Errorf("%q: %q %v %v, want %q", tt.value, name, d, bad, tt.bad)
			}
		case bad != nil:
			t.Errorf("%q: %v", tt.value, bad)
		case tt.url == "":
			if d != nil || name != tt.value && tt.value != ":" {
				t.Errorf("%q: %q %v", tt.value, name, d)
			}
		case d == nil || d.Name != tt.name || d.URL() != tt.url:
			t.Errorf("%q: %+v", tt.value, d)
		}
	}
}

func TestNeeded(t *testing.T) {
	c := Config{
		Recipients:     []string{"a.example smtp:[h.example]:25", "b.example [H.example]", "c.example named"},
		SenderFiles:    []string{file(t, "x.example relay:[h.example]\ny.example lmtp:unix:/run/l\n")},
		RecipientFiles: []string{file(t, "d.example smtp:[other.example]\n")},
	}
	got, problems := Needed(c)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var names []string
	for _, d := range got {
		names = append(names, d.Name)
	}
	if want := []string{"smtp:[h.example]:25", "smtp:[other.example]:25", "lmtp:unix:/run/l"}; !reflect.DeepEqual(names, want) {
		t.Errorf("%q", names)
	}
	if got[0].File != "route.recipients" || got[0].Line != 1 {
		t.Errorf("%+v", got[0])
	}
	tab := compile(t, c)
	if p := tab.Unknown(func(string) bool { return false }); len(p) != 1 || p[0].Line != 3 || !strings.Contains(p[0].Text, "[next_hop.named]") {
		t.Errorf("%v", p)
	}
	if tab.Entries() != 6 {
		t.Errorf("%d entries", tab.Entries())
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		c    Config
		want string
	}{
		{Config{Recipients: []string{"* a"}}, "route.recipients:1: \"*\" is no recipient (the listener's next_hop"},
		{Config{Recipients: []string{"ok.example a", "@x.example a"}}, "route.recipients:2"},
		{Config{Recipients: []string{"user@ a"}}, "is no recipient"},
		{Config{Recipients: []string{"a..b@x.example a"}}, "is no recipient"},
		{Config{Recipients: []string{"<> a"}}, "is no recipient"},
		{Config{Recipients: []string{"x.example"}}, "says nothing"},
		{Config{Recipients: []string{"x.example a", "X.example b"}}, "route.recipients:2: \"X.example\" has another value at route.recipients:1"},
		{Config{Recipients: []string{"x.example a", "x.example a"}}, ""},
		{Config{Recipients: []string{"x.example smtp:[h.example]", "x.example relay:[H.example]:25"}}, ""},
		{Config{Recipients: []string{"x.example a\ny.example b"}}, "must be one line"},
		{Config{Recipients: []string{"# x"}}, "must be one line"},
		{Config{Recipients: []string{"x.example a\x01b"}}, "control character"},
		{Config{Senders: []string{"ana a"}}, ""}, // a domain of one label
		{Config{Senders: []string{"a b@x a"}}, "more than one"},
		{Config{Senders: []string{"-x a"}}, "is no sender"},
		{Config{Aliases: []string{"info ana@x.example"}}, "write info@domain"},
		{Config{Aliases: []string{"x.example anything"}}, "relay_domains says which"},
		{Config{Aliases: []string{"webmaster juan"}}, "\"webmaster\" is no address (write webmaster@domain"},
		{Config{Aliases: []string{"webmaster@x.example juan"}}, "\"juan\" is no address (write juan@domain)"},
		{Config{Recipients: []string{"x.example error:5.1.1 User unknown"}}, "not taken here: routes refuse nobody (write it into [check.access]: recipients"},
		{Config{Aliases: []string{"info@x.example"}}, "has no target"},
		{Config{Aliases: []string{"info@x.example , ,"}}, "has no target"},
		{Config{Aliases: []string{"info@x.example ana"}}, "\"ana\" is no address"},
		{Config{Aliases: []string{`info@x.example "ana`}}, "not closed"},
		{Config{Aliases: []string{`info@x.example |/bin/sh`}}, "is no address"},
		{Config{Aliases: []string{`info@x.example |x@y.example`}}, "twice"},
		{Config{Aliases: []string{`info@x.example "x@victim.example"@y.example`}}, "twice"},
		{Config{Aliases: []string{`info@x.example x%victim.example@y.example`}}, "twice"},
		{Config{Aliases: []string{`info@x.example josé@y.example`}}, "not ASCII"},
		{Config{Aliases: []string{`info@x.example jose@münchen.example`}}, ""},
		{Config{Aliases: []string{`@x.example @[192.0.2.1]`}}, "is no domain"},
		{Config{Aliases: []string{`@x.example @` + strings.Repeat("abcdefghi.", 19) + "example"}}, "189"},
		{Config{Aliases: []string{"a@x.example b@x.example", "A@x.example c@x.example"}}, "another value"},
		{Config{Aliases: []string{"a@x.example b@x.example", "A@x.example b@X.example"}}, ""},
		{Config{KnownRecipients: []string{"x.example"}}, "is no recipient"},
		{Config{KnownRecipients: []string{"ana@x.example", "ana@x.example OK"}}, ""},
		{Config{RecipientFiles: []string{"/nonexistent/table"}}, "/nonexistent/table: "},
		{Config{RecipientListFiles: []string{file(t, "# all gone\n")}}, "has no entries (if that is meant, take it out of route.recipient_list_files)"},
		{Config{AliasFiles: []string{file(t, "")}}, "has no entries"},
	}
	for _, tt := range tests {
		_, problems := Compile(tt.c)
		if got := texts(problems); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.c, got, tt.want)
		}
	}
}

// A file full of mistakes is told in bounded space, and to its end.
func TestProblemsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "bad..%d@x.example y\n", i)
	}
	_, problems := Compile(Config{RecipientFiles: []string{file(t, b.String())}})
	if n := len(problems); n != maxProblems+1 || problems[n-1].Text != "900 problems more" {
		t.Errorf("%d problems, the last: %v", n, problems[n-1])
	}
}

func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Error(errs)
	}
	many := make([]string, maxFiles+1)
	for i := range many {
		many[i] = fmt.Sprintf("/t%d", i)
	}
	tests := []struct {
		c    Config
		want string
	}{
		{Config{RecipientDelimiter: "+-"}, `recipient_delimiter = "+-"`}, {Config{RecipientDelimiter: "a"}, "recipient_delimiter"},
		{Config{RecipientDelimiter: "@"}, "recipient_delimiter"}, {Config{RecipientFiles: []string{"transport"}}, "whole path"},
		{Config{RecipientFiles: []string{"hash:/etc/postfix/transport"}}, `write "/etc/postfix/transport", without "hash:"`},
		{Config{AliasFiles: []string{"texthash:/v"}}, `write "/v", without "texthash:"`}, {Config{AliasFiles: []string{"hash:v"}}, "whole path"},
		{Config{SenderFiles: []string{"pcre:/x"}}, "regular expressions are not understood"}, {Config{SenderFiles: []string{"regexp:/x"}}, "regular expressions"},
		{Config{AliasFiles: []string{"/etc/postfix/virtual.db"}}, "what postmap makes"}, {Config{SenderFiles: []string{"/a", "/a"}}, "named twice"},
		{Config{RecipientListFiles: many}, "recipient_list_files: has 65 files"},
	}
	for _, tt := range tests {
		if errs := tt.c.Validate(); len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want) {
			t.Errorf("%v, want %q", errs, tt.want)
		}
	}
}

// The Kelvin sign is no k and the long s no s: an address of a list is met by
// its own letters alone.
func TestFold(t *testing.T) {
	for in, want := range map[string]string{"AnA": "ana", "\u212Aarl": "\u212Aarl", "ſam": "ſam", "JOSÉ": "josé", "a\xffB": "a\xffb"} {
		if got := string(fold(nil, in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
