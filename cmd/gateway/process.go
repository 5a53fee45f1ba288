package main

import (
	"errors"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// raiseDescriptors lifts the soft limit on descriptors to the hard one, and
// the hard one where we may, and gives what we have. A session has one
// descriptor, its delivery one, and a large message one more.
func raiseDescriptors(want uint64) (have uint64, err error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	if l.Cur >= want {
		return l.Cur, nil
	}
	if l.Max < want {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: want}) == nil {
			return want, nil
		}
	}
	to := min(want, l.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: to, Max: l.Max}); err != nil {
		return l.Cur, err
	}
	return to, nil
}

// descriptorsFor is what sessions, their deliveries and spool files can need,
// and a few for everything else.
func descriptorsFor(connections int) uint64 {
	return uint64(max(connections, 0))*3 + 256
}

// memoryLimit is what the collector aims to stay under: nine tenths of the
// control group's limit where there is one, else what messages and sessions
// may take and a quarter of a gigabyte. It is no hard bound: the budget of
// messages is.
func memoryLimit(messages int64, connections int, cgroup int64) int64 {
	const session = 64 << 10 // with TLS, generously
	if cgroup > 0 {
		return cgroup / 10 * 9
	}
	return messages + int64(connections)*session + 256<<20
}

// limitMemory sets it, unless the operator did by GOMEMLIMIT.
func limitMemory(messages int64, connections int) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(memoryLimit(messages, connections, cgroupLimit("/sys/fs/cgroup", "/proc/self/cgroup")))
}

// cgroupLimit reads the smallest memory.max (cgroup v2) or
// memory.limit_in_bytes (v1) that holds for us; 0 for none.
func cgroupLimit(root, self string) int64 {
	dirs := []string{root, root + "/memory"}
	if raw, err := os.ReadFile(self); err == nil {
		for line := range strings.Lines(string(raw)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				for path != "/" && path != "" && !strings.Contains(path, "..") {
					dirs = append(dirs, root+path)
					path = path[:strings.LastIndexByte(path, '/')]
				}
			}
		}
	}
	var least int64
	for _, dir := range dirs {
		for _, name := range []string{"/memory.max", "/memory.limit_in_bytes"} {
			raw, err := os.ReadFile(dir + name)
			if err != nil {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
			// version 1 says "none" by a number near the largest
			if err == nil && n > 0 && n < math.MaxInt64/2 && (least == 0 || n < least) {
				least = n
			}
		}
	}
	return least
}

// usable tells whether we may make files in a folder. One that belongs to
// another user than root is taken to be that user's who runs the gateway:
// config check is often run by somebody else.
func usable(dir string, info os.FileInfo) bool {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return true
	}
	return unix.Access(dir, unix.W_OK|unix.X_OK) == nil
}

func isNotFolder(err error) bool { return errors.Is(err, unix.ENOTDIR) }

// reason gives the system's words alone, without the path that is said
// already.
func reason(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}
