package harness

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Postfix is a private instance with its own configuration, queue, data and
// log, which takes mail on Addr and stores what it delivers.
type Postfix struct {
	Addr    string
	Dir     string
	Name    string
	log     string
	store   string
	master  string
	process *Process
}

// PostfixOptions say what the instance is for. Main holds main.cf lines
// beyond the base; Services holds further master.cf lines, each with its -o
// options in one line.
type PostfixOptions struct {
	Name    string // becomes NAME.test, its own name; empty: mx
	Addr    string // empty: a free port
	Domains []string
	// Smtpd are -o options of the listening smtpd.
	Smtpd    []string
	Main     map[string]string
	Services []string
	// RelayHost, when set, gets all mail; else it is stored.
	RelayHost string
}

const postfixServices = `pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// StartPostfix starts an instance and waits until it listens.
func StartPostfix(t testing.TB, o PostfixOptions) *Postfix {
	t.Helper()
	NeedRoot(t)
	master := Need(t, "master", "postfix")
	if o.Name == "" {
		o.Name = "mx"
	}
	if o.Addr == "" {
		o.Addr = Addr(t)
	}
	d := Dir(t)
	p := &Postfix{Addr: o.Addr, Dir: d, Name: o.Name, log: filepath.Join(d, "mail.log"), store: filepath.Join(d, "store")}
	inst := filepath.Join(d, "inst")
	for _, dir := range []string{"inst", "queue", "data", "store"} {
		if err := os.Mkdir(filepath.Join(d, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chown(t, filepath.Join(d, "data"), "postfix")
	chown(t, p.store, "nobody")
	write(t, filepath.Join(inst, "main.cf"), p.mainCF(o))
	write(t, filepath.Join(inst, "master.cf"), p.masterCF(o))
	p.makeQueue(t)
	p.master = master
	p.Restart(t)
	return p
}

// Restart starts the instance again after Kill, with queue and all.
func (p *Postfix) Restart(t testing.TB) {
	t.Helper()
	p.process = Start(t, p.master, "-c", filepath.Join(p.Dir, "inst"), "-s")
	p.process.WaitPort(t, p.Addr)
}

// Kill is kill -9 of the master and all its daemons.
func (p *Postfix) Kill() { p.process.Kill() }

// WaitEmpty waits until nothing is left in the queue.
func (p *Postfix) WaitEmpty(t testing.TB) {
	t.Helper()
	Eventually(t, p.Name+"'s queue does not become empty", func() bool {
		n := 0
		for _, q := range []string{"maildrop", "incoming", "active", "deferred"} {
			filepath.WalkDir(filepath.Join(p.Dir, "queue", q), func(_ string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return nil
				}
				// A file that its writer did not finish has no execute bit:
				// nobody was told 250 for it, and a later start sweeps it.
				if info, err := d.Info(); err == nil && info.Mode()&0o100 != 0 {
					n++
				}
				return nil
			})
		}
		return n == 0
	})
}

// makeQueue makes the folders that `postfix check` would make, in a tenth of
// its time.
func (p *Postfix) makeQueue(t testing.TB) {
	t.Helper()
	for name, mode := range map[string]os.FileMode{
		"active": 0o700, "bounce": 0o700, "corrupt": 0o700, "defer": 0o700, "deferred": 0o700, "flush": 0o700,
		"hold": 0o700, "incoming": 0o700, "private": 0o700, "saved": 0o700, "trace": 0o700,
		"public": 0o710, "maildrop": 0o730, "pid": 0o755,
	} {
		d := filepath.Join(p.Dir, "queue", name)
		if err := os.Mkdir(d, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
		if name != "pid" {
			chown(t, d, "postfix")
		}
		if name == "public" || name == "maildrop" {
			// The group of postdrop(1), which is set-gid: a look-up by name
			// asks systemd too and waits for it where it does not run.
			info, err := os.Stat(Need(t, "postdrop", "postfix"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(d, -1, int(info.Sys().(*syscall.Stat_t).Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (p *Postfix) mainCF(o PostfixOptions) string {
	m := map[string]string{
		"compatibility_level":          "3.6",
		"queue_directory":              filepath.Join(p.Dir, "queue"),
		"data_directory":               filepath.Join(p.Dir, "data"),
		"command_directory":            "/usr/sbin",
		"daemon_directory":             "/usr/lib/postfix/sbin",
		"meta_directory":               "/etc/postfix",
		"mail_owner":                   "postfix",
		"setgid_group":                 "postdrop",
		"maillog_file":                 p.log,
		"maillog_file_prefixes":        "/tmp, /var, /dev, " + os.TempDir(),
		"myhostname":                   o.Name + ".test",
		"syslog_name":                  "postfix-" + o.Name,
		"mydestination":                "",
		"local_recipient_maps":         "",
		"inet_interfaces":              "127.0.0.1",
		"inet_protocols":               "ipv4",
		"mynetworks":                   "127.0.0.0/8",
		"relay_domains":                strings.Join(o.Domains, ", "),
		"relay_transport":              "store",
		"default_transport":            "store",
		"smtpd_relay_restrictions":     "permit_mynetworks, reject_unauth_destination",
		"smtpd_recipient_restrictions": "",
		"smtpd_peername_lookup":        "no",
		"smtp_dns_support_level":       "disabled",
		"local_header_rewrite_clients": "",
		"message_size_limit":           "52428800",
		"mailbox_size_limit":           "0",
		"alias_maps":                   "",
		"alias_database":               "",
		"smtp_tls_security_level":      "",
		"smtpd_tls_security_level":     "",
		"minimal_backoff_time":         "1s",
		"maximal_backoff_time":         "5s",
		"queue_run_delay":              "1s",
	}
	if o.RelayHost != "" {
		host, port, _ := strings.Cut(o.RelayHost, ":")
		m["relayhost"] = "[" + host + "]:" + port
		m["relay_transport"], m["default_transport"] = "smtp", "smtp"
	}
	for k, v := range o.Main {
		m[k] = v
	}
	lines := make([]string, 0, len(m))
	for k, v := range m {
		lines = append(lines, k+" = "+v)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n") + "\n"
}

func (p *Postfix) masterCF(o PostfixOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s inet n - n - - smtpd\n", o.Addr)
	for _, s := range o.Smtpd {
		b.WriteString(" -o " + s + "\n")
	}
	b.WriteString(postfixServices)
	// dd writes what it is given and nothing else: no shell, no line added.
	fmt.Fprintf(&b, "store unix - n n - 10 pipe flags= user=nobody argv=/usr/bin/dd of=%s/${queue_id} status=none\n", p.store)
	for _, s := range o.Services {
		b.WriteString(s + "\n")
	}
	return b.String()
}

// Delivered gives the stored messages by queue id, line ends as LF.
func (p *Postfix) Delivered(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(p.store)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(p.store, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

// WaitDelivered waits until n messages are delivered completely: the log has
// status=sent for each, which comes after the file is closed.
func (p *Postfix) WaitDelivered(t testing.TB, n int) map[string]string {
	t.Helper()
	Eventually(t, fmt.Sprintf("%s delivered fewer than %d messages", p.Name, n), func() bool {
		return strings.Count(p.Log(), "relay=store,") >= n
	})
	return p.Delivered(t)
}

// Log is the instance's log so far.
func (p *Postfix) Log() string {
	data, _ := os.ReadFile(p.log)
	return string(data)
}

// WaitLog waits until the log holds a text.
func (p *Postfix) WaitLog(t testing.TB, text string) {
	t.Helper()
	Eventually(t, p.Name+"'s log lacks "+text, func() bool { return strings.Contains(p.Log(), text) })
}

// WithoutTrace drops the Received fields at the top of a message, which the
// servers on its way added, and gives the rest and the fields.
func WithoutTrace(message string) (rest string, received []string) {
	for {
		if !strings.HasPrefix(message, "Received:") {
			return message, received
		}
		end := 0
		for {
			i := strings.IndexByte(message[end:], '\n')
			if i < 0 {
				return message, received
			}
			end += i + 1
			if end >= len(message) || message[end] != ' ' && message[end] != '\t' {
				break
			}
		}
		received = append(received, message[:end])
		message = message[end:]
	}
}

func chown(t testing.TB, path, name string) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
