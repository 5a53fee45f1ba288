package relay

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"garita/mail"
	"garita/test/harness"
)

// dovecot is a private instance: LMTP on a unix socket and a port, and the
// socket that Postfix asks about passwords.
type dovecot struct {
	lmtp, addr, auth, dir string
}

func startDovecot(t *testing.T, users, mechanisms string) *dovecot {
	t.Helper()
	harness.NeedRoot(t)
	program := harness.Need(t, "dovecot", "dovecot-core")
	dir := harness.Dir(t)
	d := &dovecot{dir: dir, lmtp: filepath.Join(dir, "lmtp"), auth: filepath.Join(dir, "auth-client"), addr: harness.Addr(t)}
	host, port, _ := strings.Cut(d.addr, ":")
	conf := fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = %[4]s
mail_location = maildir:%[1]s/mail/%%u
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %[1]s/users
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
  default_fields = uid=mail gid=mail home=%[1]s/mail/%%u
}
service lmtp {
  unix_listener %[1]s/lmtp {
    mode = 0666
  }
  inet_listener lmtp {
    address = %[2]s
    port = %[3]s
  }
}
service auth {
  unix_listener %[1]s/auth-client {
    mode = 0666
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
protocol lmtp {
  postmaster_address = postmaster@our.test
}
`, dir, host, port, mechanisms)
	for name, text := range map[string]string{"dovecot.conf": conf, "users": users} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "mail"), 0o777); err != nil {
		t.Fatal(err)
	}
	p := harness.Start(t, program, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	p.WaitPort(t, d.addr)
	return d
}

// stored are the messages in a user's mailbox.
func (d *dovecot) stored(t *testing.T, user string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(d.dir, "mail", user, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

func (d *dovecot) log() string {
	b, _ := os.ReadFile(filepath.Join(d.dir, "log"))
	return string(b)
}

// TestDovecotLMTP: over the unix socket and over TCP, one recipient for each
// transaction, each with its own answer; unknown ones are Dovecot's 550.
func TestDovecotLMTP(t *testing.T) {
	d := startDovecot(t, "a@our.test:{PLAIN}x::::::\nb@our.test:{PLAIN}x::::::\n", "plain")
	want := 0
	for _, url := range []string{"lmtp+unix://" + d.lmtp, "lmtp://" + d.addr} {
		h, n := next(t, url, nil)
		if err := h.Probe(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, d.log())
		}
		for _, user := range []string{"a", "b"} {
			answers, o := deliver(t, h, client("S1", "192.0.2.7:1", "x.test"), to("nobody", "our.test"), to(user, "our.test"), to("a", "our.test"))
			if answers[0].Code != 550 || answers[1].Code != 250 || answers[2].Code != 452 || o.Kind != mail.Relayed {
				t.Fatalf("%s: %v %+v\n%s\n%s", url, answers, o, n, d.log())
			}
		}
		want++
		for _, user := range []string{"a", "b"} {
			got := d.stored(t, user+"@our.test")
			if len(got) != want {
				t.Fatalf("%s has %d messages, not %d\n%s", user, len(got), want, d.log())
			}
			for _, m := range got {
				if !strings.HasSuffix(m, strings.ReplaceAll(message[strings.Index(message, "\r\n\r\n"):], "\r\n", "\n")) {
					t.Errorf("the message came as\n%s", m)
				}
			}
		}
	}
}
