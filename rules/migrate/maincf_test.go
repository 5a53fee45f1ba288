package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	toml "github.com/pelletier/go-toml/v2"

	"garita/rules/postfix"
)

func files(m map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if text, ok := m[path]; ok {
			return []byte(text), nil
		}
		return nil, errors.New("there is no such file")
	}
}

func TestExpand(t *testing.T) {
	list, bad := readMain("a = 1\n b = 2\n# x\n\n  c\nd=$a, ${a} $(a) $$ ${none} ${a?yes} ${none?yes} ${a:no} ${none:no} ${a?{x}:{y}} ${none?{x}:{y $a}}\n" +
		"odd line\nring = $gnir\ngnir = $ring\nmyhostname = mx.our.example\nempty =\nopen = ${a\n")
	v := newValues(list)
	for name, want := range map[string]string{"a": "1 b = 2 c", "empty": "", "mydomain": "our.example", "mydestination": "mx.our.example, localhost.our.example, localhost",
		"ring": "", "open": "${a"} {
		if got := v.get(name); got != want {
			t.Errorf("%s = %q", name, got)
		}
	}
	one := "1 b = 2 c"
	if got, want := v.get("d"), one+", "+one+" "+one+" $  yes   no x y "+one; got != want {
		t.Errorf("%q\n%q", got, want)
	}
	if !v.tooDeep || len(bad) != 1 || bad[0].value != "odd line" {
		t.Error(v.tooDeep, bad)
	}
}

// TestExpandIsBounded: parameters that double each other end soon.
func TestExpandIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "a%d = $a%d $a%d $a%d\n", i, i+1, i+1, i+1)
	}
	list, _ := readMain(b.String() + "a60 = xxxxxxxx\n")
	done := make(chan int, 1)
	go func() { done <- len(newValues(list).get("a0")) }()
	select {
	case n := <-done:
		if n > 4*maxExpanded {
			t.Error(n)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("it does not end")
	}
}

// TestMainCF: a main.cf of the guides' kind, line by line.
func TestMainCF(t *testing.T) {
	text := `myhostname = mx.our.example
mydestination = $myhostname our.example localhost hash:/etc/postfix/virtual
mynetworks = 127.0.0.0/8, 192.0.2.0/24, 0.0.0.0/0, hash:/var/lib/pop/hosts
relayhost = [smart.example]:submission
transport_maps = hash:/etc/postfix/transport
maps_rbl_domains =
   relays.ordb.org,
   list.dsbl.org
smtpd_client_restrictions = permit_mynetworks reject_maps_rbl hash:/etc/postfix/access reject_rbl_client zen.spamhaus.org=127.0.0.2 sleep 2
smtpd_sender_restrictions = hash:/etc/postfix/access, reject_unknown_sender_domain
smtpd_recipient_restrictions = permit_mynetworks, check_sender_access hash:/etc/postfix/friends, check_relay_domains, check_policy_service inet:127.0.0.1:60000, myclass
smtpd_client_message_rate_limit = 10
anvil_rate_time_unit = 30
smtpd_use_tls = yes
smtp_use_tls = yes
header_checks = pcre:/etc/postfix/h, hash:/x
body_checks = regexp:/etc/postfix/b
content_filter = smtp-amavis:[127.0.0.1]:10024
smtpd_milters = inet:localhost:8891
message_size_limit = 20480000
message_size_limit = 10240000
smtpd_soft_error_limit = ${stress?1}${stress:10}
virtual_alias_maps = hash:/etc/postfix/valias
foo = bar
smtpd_banner = hola
`
	read := files(map[string]string{
		"/etc/postfix/virtual":   "second.example anything\nana@second.example ana\n",
		"/etc/postfix/transport": "third.example smtp:mail.third.example\nfourth.example relay:[192.0.2.9]:2525\nfifth.example local:\n* smtp:x\n",
		"/etc/postfix/access":    "malo.example REJECT\n192.0.2.7 REJECT\n",
		"/etc/postfix/friends":   "ana@friend.example OK\n",
		"/etc/postfix/valias":    "our.example x\ninfo@our.example ana, luis@our.example\nboss@our.example |/bin/sh\n",
	})
	r := MainCF([]byte(text), Options{File: "/etc/postfix/main.cf", ReadFile: read}, nil, nil)
	var got struct {
		Hostname string
		Listener map[string]struct {
			Relay_domains, Trusted_networks []string
			Max_message_size                string
		}
		Next_hop map[string]struct{ URL, TLS string }
		Route    struct{ Recipients, Aliases []string }
		Conduct  struct{ Messages int }
		Check    struct {
			Postfix struct {
				Mode                       string
				Header_checks, Body_checks []string
			}
			Access struct{ Clients, Names, Senders []string }
		}
	}
	if err := toml.Unmarshal([]byte(r.TOML), &got); err != nil {
		t.Fatalf("%v\n%s", err, r.TOML)
	}
	want := `{mx.our.example map[inbound:{[mx.our.example our.example second.example] [] 10240000B} outbound:{[] [127.0.0.0/8 192.0.2.0/24] }] ` +
		`map[mailserver:{smtp://127.0.0.1:10025 } smarthost:{smtp://smart.example:587 may}] ` +
		`{[third.example smtp:[mail.third.example] fourth.example relay:[192.0.2.9]:2525] [info@our.example ana@mx.our.example, luis@our.example]} {20} ` +
		`{{observe [pcre:/etc/postfix/h] [regexp:/etc/postfix/b]} {[192.0.2.7 reject] [malo.example reject] [malo.example reject]}}}`
	if s := fmt.Sprint(got); s != want {
		t.Errorf("%s\n%s", s, want)
	}
	all := ""
	for _, l := range r.Lines {
		all += l.String() + "\n"
	}
	for _, said := range []string{
		"is everybody: an open relay", "/var/lib/pop/hosts is no network",
		"dead: DNS list relays.ordb.org: 2006-12: closed; since 2008-03 it lists the whole world", "dead: DNS list list.dsbl.org",
		"skipped: DNS list zen.spamhaus.org", "check_relay_domains => listener.inbound.relay_domains: gone since Postfix 2.2",
		"reject_maps_rbl: gone since Postfix 2.1", "one file for client and sender", "open relay for whoever claims that sender",
		"friends:1: skipped: ana@friend.example OK", "not for each user", "it is 30 seconds", "obsolete since Postfix 2.3",
		"hash:/x: only pcre: and regexp: tables are read", "check.sender.unknown_domain", "policy services are not asked", "milters are not asked",
		"[check.clamav]", "the parameter stands again in line 21", "main.cf:24: skipped: foo = bar", "files and programs are Postfix's own",
		"smtpd_recipient_restrictions: myclass: it has no equal", "smtpd_soft_error_limit = ${stress?1}${stress:10} => limits.soft_errors",
		"greet_delay",
	} {
		if !strings.Contains(all, said) {
			t.Errorf("nothing is said of %q in\n%s", said, all)
		}
	}
	for n := range strings.Count(text, "\n") {
		if n+1 == 7 || n+1 == 8 {
			continue // these go on from the line before
		}
		lineOf(t, r, n+1)
	}
}

// TestMainCFRefused: what our reader refuses is left out, one line at a time
// where it can be.
func TestMainCFRefused(t *testing.T) {
	read := files(map[string]string{"/t": "a.example smtp:[x]\nbad.example smtp:[x]\n"})
	try := func(text string) error {
		for _, bad := range []string{"bad.example", "max_hops = 7"} {
			if strings.Contains(text, bad) {
				return errors.New("refused")
			}
		}
		return nil
	}
	r := MainCF([]byte("transport_maps = hash:/t\nhopcount_limit = 7\nsmtpd_recipient_limit = 9\n"), Options{File: "main.cf", ReadFile: read}, nil, try)
	if try(r.TOML) != nil || !strings.Contains(r.TOML, "a.example smtp") || !strings.Contains(r.TOML, "max_recipients = 9") {
		t.Error(r.TOML)
	}
	if l := lineOf(t, r, 2); l.Fate != Skipped || !strings.Contains(l.Why, "refused") {
		t.Error(l)
	}
}

func TestHopURL(t *testing.T) {
	for in, want := range map[string]string{"[a.example]": "smtp://a.example:25", "a.example": "smtp://a.example:25", "a.example:2525": "smtp://a.example:2525",
		"[192.0.2.1]:submission": "smtp://192.0.2.1:587", "[2001:db8::1]:25": "smtp://[2001:db8::1]:25", "[ipv6:2001:db8::1]": "smtp://[2001:db8::1]:25",
		"[a.example]:465": "smtps://a.example:465", "a b": "", "[a.example]:x": "", "": "", "[": "", "lmtp:unix:/x": "", "[a]:123456": ""} {
		if got, _, bad := hopURL(in); got != want || want == "" && bad == "" {
			t.Errorf("%s: %q %s", in, got, bad)
		}
	}
}

// FuzzMigrate: whatever a file holds, what is printed can be read, and shown.
func FuzzMigrate(f *testing.F) {
	f.Add(uint8(0), []byte("/^Subject: a/i REJECT x\nif /b/\n!/c/ WARN $1\nendif\n"))
	f.Add(uint8(1), []byte("/(filename|name)=\".*\\.(exe|pif)\"/ REJECT\n"))
	f.Add(uint8(2), []byte("a@b.example REJECT \"x\n1.2.3.4 OK\n"))
	f.Add(uint8(3), []byte("mydestination = ${x?{a}:{b}}, hash:/x\nsmtpd_sender_restrictions = check_sender_access hash:/x\nvirtual_alias_maps=hash:/x\ntransport_maps=hash:/x"))
	f.Add(uint8(4), []byte("allow\ta.*\t-\t-\ndeny\t\\.exe$\tx\ty'\"\n"))
	f.Fuzz(func(t *testing.T, what uint8, text []byte) {
		if len(text) > 2000 {
			return
		}
		read := func(string) ([]byte, error) { return text, nil }
		o := Options{File: "f", ReadFile: read, Check: []string{"client", "sender", "recipient", "helo"}[what>>3&3]}
		o.Kind, o.View, o.Everywhere = postfix.Kind(what>>5&1), postfix.View(what>>3&3), what&64 > 0
		var r Result
		switch what % 5 {
		case 0, 1:
			r = Checks(text, o)
		case 2:
			r = Access(text, o, nil)
		case 3:
			r = MainCF(text, o, nil, nil)
		case 4:
			r = MailScanner(text, o)
		}
		clean(t, r)
		if p := check(r.TOML); what%5 != 2 && what%5 != 3 && len(p) > 0 {
			t.Fatalf("%+v\n%s", p, r.TOML)
		}
		var any map[string]any
		if err := toml.Unmarshal([]byte(r.TOML), &any); err != nil {
			t.Fatalf("%v\n%s", err, r.TOML)
		}
	})
}
