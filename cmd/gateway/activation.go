package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// inherited are the listening sockets that systemd opened for us
// (sd_listen_fds(3)), by address. With them a restart refuses no client: the
// kernel's queue goes on while no process is there.
//
// Each is given out once. What the configuration does not name is closed by
// rest, so that no port stays open that nobody serves.
type inherited struct {
	open map[netip.AddrPort]net.Listener
}

// inheritSockets takes the sockets of LISTEN_FDS. It clears the variables, so
// that it gives them once and no child takes them for its own. Without systemd
// there are none. Sockets that are not of TCP are closed and named in the
// error; the others are there all the same.
func inheritSockets() (*inherited, error) {
	in := &inherited{open: map[netip.AddrPort]net.Listener{}}
	var errs []error
	for _, f := range activation.Files(true) {
		l, err := inheritOne(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		a := plain(l.Addr().(*net.TCPAddr).AddrPort())
		if old := in.open[a]; old != nil {
			old.Close() // the same address twice, with SO_REUSEPORT
		}
		in.open[a] = l
	}
	return in, errors.Join(errs...)
}

// inheritOne makes a listener of one descriptor, and closes the descriptor.
func inheritOne(f *os.File) (net.Listener, error) {
	defer f.Close() // FileListener has one of its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("a socket of systemd (%s) is not one that listens: %w", oneLine(f.Name()), reasonOf(err))
	}
	if _, ok := l.(*net.TCPListener); !ok {
		l.Close()
		return nil, fmt.Errorf("a socket of systemd (%s) is not of TCP; use ListenStream with an address and a port", oneLine(f.Name()))
	}
	return l, nil
}

// reasonOf is the system's error without Go's words around it.
func reasonOf(err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

// take gives the socket of an address, once; nil when systemd opened none.
func (in *inherited) take(a netip.AddrPort) net.Listener {
	if in == nil {
		return nil
	}
	l := in.open[plain(a)]
	delete(in.open, plain(a))
	return l
}

// rest closes what nobody took and gives the addresses, for a warning.
func (in *inherited) rest() []netip.AddrPort {
	if in == nil {
		return nil
	}
	var out []netip.AddrPort
	for a, l := range in.open {
		l.Close()
		delete(in.open, a)
		out = append(out, a)
	}
	return out
}
