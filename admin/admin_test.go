package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// start gives a server on a socket of its own. The folder is not t.TempDir,
// whose long names do not fit a socket path.
func start(t *testing.T, verbs map[string]Verb) (path string, s *Server, acts func() []Act) {
	t.Helper()
	dir, err := os.MkdirTemp("", "adm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "run", "admin.sock")
	var mu sync.Mutex
	var list []Act
	s, err = Listen(Config{Path: path, Verbs: verbs, Audit: func(a Act) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, a)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return path, s, func() []Act {
		mu.Lock()
		defer mu.Unlock()
		return append([]Act(nil), list...)
	}
}

func TestVerbsAnswerAndActsAreAudited(t *testing.T) {
	verbs := map[string]Verb{
		"status": {Run: func(context.Context, json.RawMessage) (any, error) { return map[string]int{"n": 7}, nil }},
		"echo":   {Act: true, Run: func(_ context.Context, a json.RawMessage) (any, error) { return a, nil }},
		"bad": {Act: true, Run: func(context.Context, json.RawMessage) (any, error) {
			return nil, &Error{Code: CodeConfig, Text: "two problems", Data: []string{"a", "b"}}
		}},
		"panic": {Act: true, Run: func(context.Context, json.RawMessage) (any, error) { panic("boom") }},
	}
	path, _, acts := start(t, verbs)
	ctx := context.Background()

	var got struct{ N int }
	if err := Call(ctx, path, "status", nil, &got); err != nil || got.N != 7 {
		t.Fatalf("status: %v %+v", err, got)
	}
	var back string
	if err := Call(ctx, path, "echo", "a\nb", &back); err != nil || back != "a\nb" {
		t.Fatalf("echo: %v %q", err, back)
	}
	var e *Error
	err := Call(ctx, path, "bad", nil, nil)
	if !errors.As(err, &e) || e.Code != CodeConfig || e.Text != "two problems" || string(e.Data.(json.RawMessage)) != `["a","b"]` {
		t.Fatalf("bad: %#v", err)
	}
	if err := Call(ctx, path, "panic", nil, nil); !errors.As(err, &e) || !strings.Contains(e.Text, "boom") {
		t.Fatalf("panic: %v", err)
	}
	if err := Call(ctx, path, "nonesuch", nil, nil); !errors.As(err, &e) || e.Code != CodeUsage {
		t.Fatalf("nonesuch: %v", err)
	}

	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, a := range acts() {
		if a.User != me.Username || int(a.PID) != os.Getpid() || int(a.UID) != os.Getuid() {
			t.Errorf("act of %q uid %d pid %d", a.User, a.UID, a.PID)
		}
		line := a.Verb
		if a.Err != nil {
			line += ": " + a.Err.Error()
		}
		said = append(said, line)
	}
	if want := "echo|bad: two problems|panic: internal fault: boom"; strings.Join(said, "|") != want {
		t.Errorf("audited %q, want %q", said, want)
	}
}

func TestSocketModesAndFolder(t *testing.T) {
	path, _, _ := start(t, nil)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("socket mode %v", info.Mode())
	}
	if info, err = os.Lstat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("folder: %v %v", info.Mode(), err)
	}
}

func TestSecondInstanceIsRefused(t *testing.T) {
	path, _, _ := start(t, nil)
	if _, err := Listen(Config{Path: path}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second: %v", err)
	}
	// Also one that does not know our lock, by answering alone.
	dir := filepath.Dir(path)
	other := filepath.Join(dir, "other.sock")
	l, err := net.Listen("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(Config{Path: other}); !errors.Is(err, ErrInUse) {
		t.Fatalf("foreign server: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir, err := os.MkdirTemp("", "adm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as after kill -9
	l.Close()
	s, err := Listen(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket is still there: %v", err)
	}
}

func TestForeignFileIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{Path: path}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Fatalf("Listen: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("file is now %q", b)
	}
}

func TestPathIsChecked(t *testing.T) {
	for path, part := range map[string]string{
		"":                                 "empty",
		"admin.sock":                       "must begin",
		"@abstract":                        "must begin",
		"/" + strings.Repeat("x", maxPath): "107",
	} {
		if err := CheckPath(path); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v", path, err)
		}
		if _, err := Listen(Config{Path: path}); err == nil {
			t.Errorf("Listen took %q", path)
		}
	}
	if err := CheckPath("/" + strings.Repeat("x", maxPath-1)); err != nil {
		t.Errorf("longest path: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	err := Call(context.Background(), "/nonexistent/garita.sock", "status", nil, nil)
	if !errors.Is(err, ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
}

func TestLongRequestIsRefused(t *testing.T) {
	path, _, acts := start(t, map[string]Verb{"x": {Act: true, Run: func(context.Context, json.RawMessage) (any, error) { return nil, nil }}})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go c.Write([]byte(`{"verb":"x","args":"` + strings.Repeat("a", maxRequest) + `"}` + "\n"))
	line, err := readLine(bufio.NewReader(c), maxAnswer)
	if err != nil || !strings.Contains(string(line), "64 KB") {
		t.Fatalf("%q %v", line, err)
	}
	if len(acts()) != 0 {
		t.Error("the verb ran")
	}
}

func TestCutLineDoesNotRun(t *testing.T) {
	path, _, acts := start(t, map[string]Verb{"x": {Act: true, Run: func(context.Context, json.RawMessage) (any, error) { return nil, nil }}})
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte(`{"verb":"x"}`))
	c.CloseWrite()
	if line, err := readLine(bufio.NewReader(c), maxAnswer); err == nil {
		t.Fatalf("answered %q", line)
	}
	if len(acts()) != 0 {
		t.Error("the verb ran")
	}
}

func TestSeventeenthClientIsTold(t *testing.T) {
	block := make(chan struct{})
	entered := make(chan struct{}, maxClients)
	path, _, _ := start(t, map[string]Verb{"wait": {Run: func(context.Context, json.RawMessage) (any, error) {
		entered <- struct{}{}
		<-block
		return nil, nil
	}}})
	var wg sync.WaitGroup
	for range maxClients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := Call(context.Background(), path, "wait", nil, nil); err != nil {
				t.Errorf("a client in its right: %v", err)
			}
		}()
	}
	for range maxClients {
		<-entered
	}
	var e *Error
	if err := Call(context.Background(), path, "wait", nil, nil); !errors.As(err, &e) || e.Code != CodeTemporary {
		t.Errorf("one too many: %v", err)
	}
	close(block)
	wg.Wait()
}

func TestCallHasAnEnd(t *testing.T) {
	block := make(chan struct{})
	path, _, _ := start(t, map[string]Verb{"wait": {Run: func(context.Context, json.RawMessage) (any, error) {
		<-block
		return nil, nil
	}}})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := Call(ctx, path, "wait", nil, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	close(block)
}

func TestCloseLetsAVerbFinish(t *testing.T) {
	entered, block := make(chan struct{}), make(chan struct{})
	path, s, _ := start(t, map[string]Verb{"wait": {Run: func(context.Context, json.RawMessage) (any, error) {
		close(entered)
		<-block
		return "done", nil
	}}})
	got := make(chan error, 1)
	var out string
	go func() { got <- Call(context.Background(), path, "wait", nil, &out) }()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	close(block)
	if err := <-got; err != nil || out != "done" {
		t.Errorf("the verb that ran: %v %q", err, out)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"verb":"reload"}`))
	f.Add([]byte(`{"verb":"x","args":{"a":[1,2]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		q, err := decodeRequest(line)
		if err == nil && q.Verb == "" {
			t.Error("a request without a verb passed")
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add([]byte(`{"ok":true,"data":{"a":1}}`))
	f.Add([]byte(`{"ok":false,"code":"config","error":"x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var out any
		_ = decodeAnswer(line, &out)
	})
}
