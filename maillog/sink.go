package maillog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const syslogPrefix = "syslog:"

// sink is where batches of whole lines go. Only the writer goroutine uses it.
type sink interface {
	// write writes whole lines and tells how many octets of them went out.
	write(p []byte) (int, error)
	// reopen opens the destination anew; on an error the old one stays.
	reopen() error
	// moved tells that the destination is no longer where its name points.
	moved() bool
	close()
}

// openSink makes the sink that the configuration names.
func openSink(c Config, e Env) (sink, error) {
	switch {
	case c.Output == "stderr":
		return openStream(e.Stderr, 2)
	case c.Output == "stdout":
		return openStream(e.Stdout, 1)
	case len(c.Output) > len(syslogPrefix) && c.Output[:len(syslogPrefix)] == syslogPrefix:
		s := &syslogSink{path: c.Output[len(syslogPrefix):], name: c.SyslogName}
		return s, s.reopen()
	}
	s := &fileSink{path: c.Output}
	return s, s.reopen()
}

type streamSink struct{ w io.Writer }

// openStream takes w, or a duplicate of the process's descriptor: a write to a
// broken pipe on descriptor 1 or 2 ends a Go process by SIGPIPE, on any other
// it is an error, and a log reader that went away must not stop mail.
func openStream(w io.Writer, fd int) (sink, error) {
	if w != nil {
		return &streamSink{w}, nil
	}
	dup, err := syscall.Dup(fd)
	if err != nil {
		return nil, fmt.Errorf("maillog: descriptor %d: %w", fd, err)
	}
	syscall.CloseOnExec(dup)
	return &streamSink{os.NewFile(uintptr(dup), "log")}, nil
}

func (s *streamSink) write(p []byte) (int, error) { return s.w.Write(p) }
func (s *streamSink) reopen() error               { return nil }
func (s *streamSink) moved() bool                 { return false }
func (s *streamSink) close() {
	if c, ok := s.w.(*os.File); ok && c.Name() == "log" {
		c.Close()
	}
}

type fileSink struct {
	path string
	f    *os.File
	info os.FileInfo
}

// reopen opens the file for appending, which also bears logrotate's
// copytruncate. A FIFO is refused: opening one waits for a reader.
func (s *fileSink) reopen() error {
	if fi, err := os.Stat(s.path); err == nil && fi.Mode()&(os.ModeNamedPipe|os.ModeSocket|os.ModeDir) != 0 {
		return fmt.Errorf("maillog: %s is not a regular file", s.path)
	}
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("maillog: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("maillog: %w", err)
	}
	s.close()
	s.f, s.info = f, info
	return nil
}

func (s *fileSink) write(p []byte) (int, error) { return s.f.Write(p) }

func (s *fileSink) moved() bool {
	fi, err := os.Stat(s.path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	return !os.SameFile(fi, s.info)
}

func (s *fileSink) close() {
	if s.f != nil {
		s.f.Close()
		s.f = nil
	}
}

// syslogSink hands each line to the local syslog socket as one datagram, in
// the form of RFC 3164 without a host name, as syslog(3) does.
type syslogSink struct {
	path, name string
	conn       net.Conn
	buf        []byte
}

// syslogTimeout bounds the wait for a syslog that does not take datagrams.
const syslogTimeout = time.Second

func (s *syslogSink) reopen() error {
	conn, err := net.DialTimeout("unixgram", s.path, syslogTimeout)
	if err != nil {
		return fmt.Errorf("maillog: %w", err)
	}
	s.close()
	s.conn = conn
	return nil
}

func (s *syslogSink) write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		line := p[done:]
		n := bytes.IndexByte(line, '\n') + 1
		if n == 0 {
			n = len(line)
		}
		line = bytes.TrimSuffix(line[:n], []byte{'\n'})
		if len(line) == 0 { // the writer parts a broken line from the next
			done += n
			continue
		}
		if err := s.send(line); err != nil {
			// syslogd was restarted: its socket is a new one
			if rerr := s.reopen(); rerr != nil {
				return done, rerr
			}
			if err = s.send(line); err != nil {
				return done, fmt.Errorf("maillog: %w", err)
			}
		}
		done += n
	}
	return done, nil
}

// send writes one line with its priority: facility mail (2), severity
// warning (4) or informational (6).
func (s *syslogSink) send(line []byte) error {
	pri := "<22>"
	if bytes.Contains(line, []byte("]: warning: ")) {
		pri = "<20>"
	}
	s.buf = append(s.buf[:0], pri...)
	if line[0] == '{' {
		s.buf = append(append(s.buf, s.name...), ": "...)
	}
	s.buf = append(s.buf, line...)
	if s.conn == nil {
		return net.ErrClosed
	}
	s.conn.SetWriteDeadline(time.Now().Add(syslogTimeout))
	_, err := s.conn.Write(s.buf)
	return err
}

func (s *syslogSink) moved() bool { return false }

func (s *syslogSink) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
