package main

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"garita/demo"
)

// demoClamd is a clamd of the demo's own, in its folder, with one signature:
// that of the EICAR test file. A machine's clamd may have no signatures yet,
// and must not be troubled.
type demoClamd struct {
	socket string
	stop   func()
}

// errNoClamd says that there is none on this machine.
var errNoClamd = errors.New("clamd is not installed")

// clamdStarts bounds the wait for its socket.
const clamdStarts = 20 * time.Second

func startDemoClamd(ctx context.Context, dir string) (*demoClamd, error) {
	program := findClamd()
	if program == "" {
		return nil, errNoClamd
	}
	home := filepath.Join(dir, "clamd")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	c := &demoClamd{socket: filepath.Join(home, "s")}
	// The signature is a hash (.hdb: MD5, size, name).
	virus := demo.TestVirus()
	signature := fmt.Sprintf("%x:%d:Eicar-Test-File\n", md5.Sum(virus), len(virus))
	config := "Foreground yes\nLocalSocket " + c.socket + "\nDatabaseDirectory " + home + "\nTemporaryDirectory " + home + "\n"
	for name, text := range map[string]string{"test.hdb": signature, "clamd.conf": config} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	run := exec.CommandContext(ctx, program, "--config-file="+filepath.Join(home, "clamd.conf"))
	if err := run.Start(); err != nil {
		return nil, err
	}
	gone := make(chan error, 1)
	go func() { gone <- run.Wait() }()
	c.stop = func() {
		_ = run.Process.Kill()
		<-gone
	}
	for deadline := time.Now().Add(clamdStarts); ; {
		if conn, err := net.Dial("unix", c.socket); err == nil {
			conn.Close()
			return c, nil
		}
		select {
		case err := <-gone:
			return nil, fmt.Errorf("clamd ended at once: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			c.stop()
			return nil, errors.New("clamd does not answer")
		}
	}
}

// findClamd looks where users have no path to, too.
func findClamd() string {
	if path, err := exec.LookPath("clamd"); err == nil {
		return path
	}
	for _, path := range []string{"/usr/sbin/clamd", "/usr/local/sbin/clamd", "/opt/zimbra/common/sbin/clamd"} {
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
	}
	return ""
}
