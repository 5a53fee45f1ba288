package main

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notifier tells systemd how we are (sd_notify(3)); without systemd it does
// nothing.
type notifier struct{ on bool }

// sayTimeout bounds a datagram: a manager that does not read its socket must
// not stop us from hearing signals, so SdNotify, which waits for ever, is not
// used.
const sayTimeout = time.Second

func (n notifier) say(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if !n.on || path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(sayTimeout))
	_, _ = c.Write([]byte(state))
}

func (n notifier) ready()    { n.say(systemd.SdNotifyReady) }
func (n notifier) stopping() { n.say(systemd.SdNotifyStopping) }
func (n notifier) alive()    { n.say(systemd.SdNotifyWatchdog) }

// reloading has to carry the clock, so that systemd can tell this reload's
// READY from one that was still on its way.
func (n notifier) reloading() {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return
	}
	n.say(systemd.SdNotifyReloading + "\nMONOTONIC_USEC=" + strconv.FormatInt(ts.Nano()/1000, 10))
}

// watchdog is how often systemd wants to hear of us; 0 for never.
func (n notifier) watchdog() time.Duration {
	if !n.on {
		return 0
	}
	d, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return d
}

func isHangup(s os.Signal) bool { return s == syscall.SIGHUP }
func isReopen(s os.Signal) bool { return s == syscall.SIGUSR1 }
