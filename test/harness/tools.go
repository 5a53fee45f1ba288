package harness

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// SMTPSink starts Postfix's smtp-sink with the given flags and gives its
// address.
func SMTPSink(t testing.TB, flags ...string) (string, *Process) {
	t.Helper()
	addr := Addr(t)
	return addr, SMTPSinkAt(t, addr, flags...)
}

// SMTPSinkAt is SMTPSink at a known address.
func SMTPSinkAt(t testing.TB, addr string, flags ...string) *Process {
	t.Helper()
	args := append([]string{}, flags...)
	if os.Geteuid() == 0 {
		// It refuses to run as root.
		args = append(args, "-u", "nobody")
	}
	p := Start(t, Need(t, "smtp-sink", "postfix"), append(args, addr, "100")...)
	p.WaitPort(t, addr)
	return p
}

// SinkDir makes a folder that smtp-sink can write its dumps to.
func SinkDir(t testing.TB) string {
	t.Helper()
	d := Dir(t)
	if u, err := user.Lookup("nobody"); err == nil && os.Geteuid() == 0 {
		uid, _ := strconv.Atoi(u.Uid)
		if err := os.Chown(d, uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// SinkDumps reads what smtp-sink -d DIR/x wrote.
func SinkDumps(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(data))
	}
	return all
}

// SMTPSource runs Postfix's smtp-source and gives its output and status.
func SMTPSource(t testing.TB, addr string, flags ...string) (string, int) {
	t.Helper()
	return Command(t, Need(t, "smtp-source", "postfix"), append(append([]string{}, flags...), addr)...)
}

// Swaks runs swaks against addr and gives its transcript and exit status.
func Swaks(t testing.TB, addr string, flags ...string) (string, int) {
	t.Helper()
	args := append([]string{"--server", addr, "--ehlo", "client.example", "--timeout", "60s"}, flags...)
	return Command(t, Need(t, "swaks", "swaks"), args...)
}

// OpenSSL runs openssl s_client -starttls smtp with commands on its standard
// input. The dialogue's lines are on the output.
func OpenSSL(t testing.TB, addr, input string, flags ...string) (string, int) {
	t.Helper()
	args := append([]string{"s_client", "-starttls", "smtp", "-name", "client.example", "-connect", addr, "-quiet", "-ign_eof", "-crlf"}, flags...)
	return CommandInput(t, []byte(input), Need(t, "openssl", "openssl"), args...)
}

// QueueID finds Postfix's queue id in a reply: "250 2.0.0 Ok: queued as X".
func QueueID(reply string) string {
	_, id, ok := strings.Cut(reply, "queued as ")
	if !ok {
		return ""
	}
	end := strings.IndexFunc(id, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
	})
	if end >= 0 {
		id = id[:end]
	}
	return id
}
