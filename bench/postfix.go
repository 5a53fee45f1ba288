package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
)

// The services of Debian's master.cf that a proxy needs, without chroot.
const masterServices = `pickup unix n - n 60 1 pickup
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

const postfixMaster = "/usr/lib/postfix/sbin/master"

var errPostfix = errors.New("needs root and Debian's postfix (apt-get install postfix), or -no-postfix")

// postfix starts a private Postfix as a before-queue proxy: smtpd hands each
// message to the sink while its client waits (smtpd_proxy_filter), nothing is
// queued. All is stock but what makes it private; no look-ups are made.
func (b *bench) postfix() (*server, error) {
	return b.postfixWith("postfix", filepath.Join(b.dir, "postfix"), "", "  -o smtpd_proxy_filter="+b.sink.addr+"\n")
}

// postfixWith starts a private Postfix in folder d, with more lines for main.cf
// and options for its smtpd.
func (b *bench) postfixWith(name, d, more, options string) (*server, error) {
	if _, err := os.Stat(postfixMaster); err != nil || os.Geteuid() != 0 {
		return nil, errPostfix
	}
	addr, err := b.freeAddr()
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"inst", "queue", "data"} {
		if err := os.MkdirAll(filepath.Join(d, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if err := own(filepath.Join(d, "data"), "postfix"); err != nil {
		return nil, err
	}
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = %[1]s/mail.log
maillog_file_prefixes = /var, /dev, /tmp, %[1]s
myhostname = gw.our.example
mydestination =
relay_domains = our.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
default_process_limit = 250
message_size_limit = 52428800
mailbox_size_limit = 0
alias_maps =
alias_database =
local_recipient_maps =
smtpd_tls_security_level = may
smtpd_tls_cert_file =
smtpd_tls_key_file =
smtpd_tls_eccert_file = %[2]s
smtpd_tls_eckey_file = %[3]s
`, d, b.certFile, b.keyFile) + more
	master := fmt.Sprintf("%s inet n - n - - smtpd\n%s%s", addr, options, masterServices)
	for name, text := range map[string]string{"main.cf": main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(d, "inst", name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	// It makes the folders of the queue. What it says of the version of the
	// system's own configuration is no matter.
	if text, err := exec.Command("postfix", "-c", filepath.Join(d, "inst"), "check").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("postfix check: %w: %s", err, text)
	}
	return b.start(name, addr, postfixMaster, "-c", filepath.Join(d, "inst"), "-s")
}

func own(path, name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, -1)
}
