package main

import (
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

func (n notifier) say(state string) {
	if n.on {
		_, _ = systemd.SdNotify(false, state)
	}
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
