package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Verb is one thing that a client may ask for.
type Verb struct {
	// Run answers. Its error's text goes to the client: an *Error as it is.
	Run func(ctx context.Context, args json.RawMessage) (any, error)
	// Act marks a verb that changes something: it is audited.
	Act bool
}

// Act is one audited request.
type Act struct {
	User string // the Unix user's name, or its number
	UID  uint32
	PID  int32
	Verb string
	Err  error // nil when it was done
}

// Config is what a server needs. Audit may be nil.
type Config struct {
	Path  string
	Verbs map[string]Verb
	Audit func(Act)
}

// Server answers on the socket.
type Server struct {
	config Config
	l      *net.UnixListener
	lock   *os.File
	slots  chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	done  bool
	wg    sync.WaitGroup
}

// ErrInUse says that another gateway answers on the socket.
var ErrInUse = errors.New("another garita is running on this admin socket")

// Listen takes the socket. A socket file that a dead process left behind is
// replaced; one that somebody holds gives ErrInUse. The folder is made with
// 0750 when it is missing.
func Listen(c Config) (*Server, error) {
	if err := CheckPath(c.Path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o750); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	lock, err := takeLock(c.Path)
	if err != nil {
		return nil, err
	}
	l, err := bind(c.Path)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &Server{config: c, l: l, lock: lock, slots: make(chan struct{}, maxClients), conns: map[net.Conn]struct{}{}}, nil
}

// takeLock makes "nobody answers" and "the file is ours now" one step: two
// starts at the same moment would both find a stale socket and both replace
// it. The lock is the process's own and goes with it, however it ends.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrInUse, path)
		}
		return nil, fmt.Errorf("admin socket: lock: %w", err)
	}
	return f, nil
}

func bind(path string) (*net.UnixListener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("admin socket: %w", err)
	case info.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("admin socket: %s exists and is not a socket: it is left alone", path)
	default:
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("%w: %s", ErrInUse, path)
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("admin socket: cannot tell whether %s is in use: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin socket: %w", err)
		}
	}
	// Linux gives the file the mode that the socket had before bind, so
	// there is no moment in which others could connect.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var inner error
		if err := c.Control(func(fd uintptr) { inner = syscall.Fchmod(int(fd), 0o660) }); err != nil {
			return err
		}
		return inner
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return l.(*net.UnixListener), nil
}

// Serve answers until Close; it returns nil then.
func (s *Server) Serve() error {
	for {
		c, err := s.l.AcceptUnix()
		if err != nil {
			s.mu.Lock()
			done := s.done
			s.mu.Unlock()
			if done {
				return nil
			}
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				// Out of descriptors passes: the socket must outlive it.
				time.Sleep(100 * time.Millisecond)
				continue
			}
			return fmt.Errorf("admin socket: %w", err)
		}
		select {
		case s.slots <- struct{}{}:
		default:
			write(c, response{Code: CodeTemporary, Error: "too many commands at once; try again"})
			c.Close()
			continue
		}
		if !s.keep(c) {
			<-s.slots
			continue
		}
		go func() {
			defer func() {
				s.drop(c)
				<-s.slots
			}()
			s.serve(c)
		}()
	}
}

func (s *Server) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *Server) drop(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

// Close removes the socket, lets verbs that run finish, and ends idle clients.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return nil
	}
	s.done = true
	for c := range s.conns {
		// Only reading ends: a verb that runs can still be answered.
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	s.mu.Unlock()
	err := s.l.Close() // removes the file too
	s.wg.Wait()
	// The lock's file stays: were it removed, one start could lock the file
	// that is gone and another the new one.
	s.lock.Close()
	return err
}

func (s *Server) serve(c *net.UnixConn) {
	who := peer(c)
	r := bufio.NewReaderSize(c, 4096)
	for {
		s.mu.Lock()
		done := s.done
		if !done {
			_ = c.SetReadDeadline(time.Now().Add(ioTimeout))
		}
		s.mu.Unlock()
		if done {
			return
		}
		line, err := readLine(r, maxRequest)
		if err != nil {
			if errors.Is(err, errTooLong) {
				write(c, response{Code: CodeUsage, Error: "the request is longer than 64 KB"})
			}
			return
		}
		if !write(c, s.answer(who, line)) {
			return
		}
	}
}

func (s *Server) answer(who Act, line []byte) response {
	q, err := decodeRequest(line)
	if err != nil {
		return response{Code: CodeUsage, Error: err.Error()}
	}
	v, ok := s.config.Verbs[q.Verb]
	if !ok {
		return response{Code: CodeUsage, Error: fmt.Sprintf("unknown verb %.40q", q.Verb)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), verbTimeout)
	defer cancel()
	data, err := run(ctx, v, q.Args)
	if v.Act && s.config.Audit != nil {
		who.Verb, who.Err = q.Verb, err
		s.config.Audit(who)
	}
	out := response{OK: err == nil}
	if err != nil {
		out.Code, out.Error = CodeFailed, err.Error()
		var e *Error
		if errors.As(err, &e) {
			out.Code, data = e.Code, e.Data
		}
	}
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil || len(raw) > maxAnswer/2 {
			return response{Code: CodeFailed, Error: "the answer is too large to be sent"}
		}
		out.Data = raw
	}
	return out
}

// run keeps a panic of one verb to that verb: a command must not end the
// delivery of mail.
func run(ctx context.Context, v Verb, args json.RawMessage) (data any, err error) {
	defer func() {
		if p := recover(); p != nil {
			data, err = nil, fmt.Errorf("internal fault: %v", p)
		}
	}()
	return v.Run(ctx, args)
}

func write(c net.Conn, r response) bool {
	raw, err := json.Marshal(r)
	if err != nil {
		return false
	}
	_ = c.SetWriteDeadline(time.Now().Add(ioTimeout))
	_, err = c.Write(append(raw, '\n'))
	return err == nil
}

// peer asks the kernel who holds the other end; the answer is that of the
// moment of connect(2) and cannot be forged.
func peer(c *net.UnixConn) Act {
	who := Act{User: "unknown", UID: ^uint32(0)}
	raw, err := c.SyscallConn()
	if err != nil {
		return who
	}
	_ = raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err != nil {
			return
		}
		who.UID, who.PID = cred.Uid, cred.Pid
	})
	if who.UID == ^uint32(0) {
		return who
	}
	who.User = strconv.FormatUint(uint64(who.UID), 10)
	if u, err := user.LookupId(who.User); err == nil {
		who.User = u.Username
	}
	return who
}
