package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// scanPatience is how long a program of this machine may take to say that it is
// there.
const scanPatience = 2 * time.Second

// scanners is where init looks for programs that look at mail.
type scanners struct {
	clamd  []clamdPlace
	rspamd []string
}

// clamdPlace is an address as check.clamav.servers has it, and the clamd.conf
// that belongs to it.
type clamdPlace struct{ address, file string }

// usualScanners are where Debian, other systems and Zimbra have them.
func usualScanners() scanners {
	const debian, zimbra = "/etc/clamav/clamd.conf", "/opt/zimbra/conf/clamd.conf"
	return scanners{
		clamd: []clamdPlace{
			{"unix:/run/clamav/clamd.ctl", debian}, {"unix:/var/run/clamav/clamd.ctl", debian},
			{"unix:/run/clamd.scan/clamd.sock", "/etc/clamd.d/scan.conf"},
			{"unix:/opt/zimbra/data/clamav/clamav.sock", zimbra}, {"tcp:127.0.0.1:3310", ""},
		},
		rspamd: []string{"http://127.0.0.1:11333"},
	}
}

// foundScanners are those that answer.
type foundScanners struct {
	clamd  clamdPlace
	rspamd string
	// closed is a socket of clamd that others than its group may not open.
	closed bool
	// none tells that nobody looked.
	none bool
}

// look asks each place once and takes the first that answers.
func (s scanners) look() (f foundScanners) {
	for _, p := range s.clamd {
		if !pings(p.address) {
			continue
		}
		f.clamd = p.known()
		if path, ok := strings.CutPrefix(p.address, "unix:"); ok {
			info, err := os.Stat(path)
			f.closed = err == nil && info.Mode().Perm()&0o006 != 0o006
		} else if _, err := os.Stat("/opt/zimbra/conf/clamd.conf"); err == nil {
			f.clamd.file = "/opt/zimbra/conf/clamd.conf" // Zimbra's listens there, too
		}
		break
	}
	for _, url := range s.rspamd {
		if pongs(url) {
			f.rspamd = url
			break
		}
	}
	return f
}

// pings tells a clamd that says PONG.
func pings(address string) bool {
	network, at, _ := strings.Cut(address, ":")
	c, err := net.DialTimeout(network, at, scanPatience)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(scanPatience))
	if _, err := io.WriteString(c, "zPING\x00"); err != nil {
		return false
	}
	b := make([]byte, 5)
	n, err := io.ReadFull(c, b)
	return (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) && strings.HasPrefix(string(b[:n]), "PONG")
}

// pongs tells a normal worker of rspamd, which answers /ping.
func pongs(url string) bool {
	c := http.Client{Timeout: scanPatience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(url + "/ping")
	if err != nil {
		return false
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 16))
	return err == nil && r.StatusCode == http.StatusOK && strings.HasPrefix(string(b), "pong")
}

// set adds what was found to the keys of a new file.
func (f foundScanners) set(keys map[string]any) {
	if f.clamd.address != "" {
		keys["check.clamav.mode"] = "enforce"
		keys["check.clamav.servers"] = []string{f.clamd.address}
		if f.clamd.file != "" {
			keys["check.clamav.config_file"] = f.clamd.file
		}
	}
	if f.rspamd != "" {
		keys["check.rspamd.mode"] = "enforce"
		keys["check.rspamd.servers"] = []string{f.rspamd}
	}
}

// words are what is said of it, a line each.
func (f foundScanners) words(spanish bool) (out []string) {
	say := func(english, castellano string, args ...any) {
		if spanish {
			english = castellano
		}
		out = append(out, fmt.Sprintf(english, args...))
	}
	if f.none {
		say("Nobody looked for an antivirus: mail is not scanned for viruses until check.clamav is on.",
			"No se buscó antivirus: el correo no se analiza en busca de virus hasta que check.clamav esté activo.")
		return out
	}
	if f.clamd.address == "" {
		say("No antivirus was found: mail is not scanned for viruses. Install clamav-daemon and set check.clamav.mode.",
			"No se encontró antivirus: el correo no se analiza en busca de virus. Instale clamav-daemon y ponga check.clamav.mode.")
	} else {
		say("The antivirus clamd answers at %s: check.clamav is on.", "El antivirus clamd responde en %s: check.clamav está activo.", f.clamd.address)
	}
	if f.closed {
		say("Its socket is for its own group alone: adduser %s clamav", "Su socket es solo para su grupo: adduser %s clamav", serviceGroup)
	}
	if f.rspamd != "" {
		say("The spam filter rspamd answers at %s: check.rspamd is on.", "El filtro rspamd responde en %s: check.rspamd está activo.", f.rspamd)
	}
	return out
}

// known takes a clamd.conf out that is not there.
func (p clamdPlace) known() clamdPlace {
	if _, err := os.Stat(p.file); errors.Is(err, fs.ErrNotExist) {
		p.file = ""
	}
	return p
}
