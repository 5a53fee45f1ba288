package message

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestMax(t *testing.T) {
	for _, top := range []int64{1, 10, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
		for _, mem := range []int64{1, 1 << 20} {
			p := randomBytes(9, int(top)+1)
			if m := spoolBytes(t, p[:top], Limits{Max: top, Memory: mem}); m.Size() != top {
				t.Errorf("max %d: size %d", top, m.Size())
			}
			m, err := Spool(context.Background(), bytes.NewReader(p), Limits{Max: top, Memory: mem, Dir: t.TempDir()})
			if !errors.Is(err, ErrTooBig) || m != nil {
				t.Errorf("max %d, one more: %v", top, err)
			}
		}
	}
}

// TestTooBigDrains: after the error the octets are counted but take no room.
func TestTooBigDrains(t *testing.T) {
	budget := NewBudget(BudgetConfig{Total: 64 << 20, Memory: 8 << 20, Headroom: 1 << 20})
	g, _ := budget.Admit(0, false)
	dir := t.TempDir()
	b := NewBuilder(context.Background(), Limits{Max: 100000, Memory: 50000, Dir: dir, Grant: g})
	total := int64(0)
	for i := range 100 {
		p := make([]byte, 7000)
		var err error
		if i%2 == 0 {
			_, err = b.Write(p)
			total += int64(len(p))
		} else {
			n := min(len(b.Buffer()), 7000)
			err = b.Advance(n)
			total += int64(n)
		}
		if over := total > 100000; over != errors.Is(err, ErrTooBig) {
			t.Fatalf("at %d octets: %v", total, err)
		}
	}
	if b.Size() != total {
		t.Errorf("Size %d, want %d", b.Size(), total)
	}
	if u := budget.Usage(); u.Used != 0 || u.UsedMemory != 0 {
		t.Errorf("a message that is only drained holds %+v", u)
	}
	if open, _ := openSpools(t, dir); open != 0 {
		t.Errorf("a message that is only drained holds %d files", open)
	}
	if m, err := b.Finish(); m != nil || !errors.Is(err, ErrTooBig) {
		t.Errorf("Finish: %v, %v", m, err)
	}
	g.Release()
	if u := budget.Usage(); u.Messages != 0 {
		t.Errorf("not released: %+v", u)
	}
}

func TestAfterTheEnd(t *testing.T) {
	end := map[string]func(*Builder){
		"Finish":  func(b *Builder) { m, _ := b.Finish(); m.Release() },
		"Discard": func(b *Builder) { b.Discard() },
	}
	for name, f := range end {
		b := NewBuilder(context.Background(), Limits{})
		b.Write([]byte("x"))
		f(b)
		if _, err := b.Write([]byte("y")); err == nil {
			t.Errorf("%s: Write works afterwards", name)
		}
		if m, err := b.Finish(); m != nil || err == nil {
			t.Errorf("%s: Finish works afterwards", name)
		}
		b.Discard()
		b.Discard()
	}
	b := NewBuilder(context.Background(), Limits{})
	defer b.Discard()
	mustPanic(t, "Advance beyond Buffer", func() { b.Advance(len(b.Buffer()) + 1) })
}

// TestDiscardAfterFinish must leave the message alone.
func TestDiscardAfterFinish(t *testing.T) {
	b := NewBuilder(context.Background(), Limits{})
	b.Write([]byte("kept"))
	m, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	b.Discard()
	if got := rawBytes(t, m); string(got) != "kept" {
		t.Errorf("got %q", got)
	}
}

func TestSpoolErrors(t *testing.T) {
	boom := errors.New("boom")
	cases := []struct {
		name string
		r    io.Reader
		want error
	}{
		{"truncated", io.MultiReader(strings.NewReader("A: b\r\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), ErrTruncated},
		{"reader fails", io.MultiReader(strings.NewReader("A: b\r\n"), iotest.ErrReader(boom)), boom},
		{"reader is stuck", stuckReader{}, io.ErrNoProgress},
		{"too big", bytes.NewReader(make([]byte, 200)), ErrTooBig},
	}
	for _, c := range cases {
		budget := NewBudget(BudgetConfig{Total: 1 << 20, Headroom: 1 << 10})
		g, _ := budget.Admit(10, false)
		dir := t.TempDir()
		m, err := Spool(context.Background(), c.r, Limits{Max: 100, Memory: 1, Dir: dir, Grant: g})
		g.Release()
		if m != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if open, _ := openSpools(t, dir); open != 0 || budget.Usage().Used != 0 || budget.Usage().UsedMemory != 0 {
			t.Errorf("%s: left behind: %d files, %+v", c.name, open, budget.Usage())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Spool(ctx, strings.NewReader("x"), Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type stuckReader struct{}

func (stuckReader) Read([]byte) (int, error) { return 0, nil }

// badFile fails its n-th write with err, or writes short.
type badFile struct {
	*os.File
	left  int
	err   error
	short bool
}

func (f *badFile) Write(p []byte) (int, error) {
	if f.left--; f.left >= 0 {
		return f.File.Write(p)
	}
	if f.short {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, f.err
	}
	return 0, f.err
}

func TestSpoolFileFaults(t *testing.T) {
	type fault struct {
		name    string
		open    error
		write   error
		after   int
		short   bool
		noSpace bool
	}
	cases := []fault{
		{name: "disk full at once", write: syscall.ENOSPC, noSpace: true},
		{name: "disk full later", write: syscall.ENOSPC, after: 3, noSpace: true},
		{name: "half a write", write: syscall.ENOSPC, after: 1, short: true, noSpace: true},
		{name: "short write without an error", after: 1, short: true},
		{name: "quota", write: syscall.EDQUOT, noSpace: true},
		{name: "file size limit", write: syscall.EFBIG, after: 2, noSpace: true},
		{name: "no descriptors", open: syscall.EMFILE, noSpace: true},
		{name: "no descriptors on the machine", open: syscall.ENFILE, noSpace: true},
		{name: "broken disk", write: syscall.EIO, after: 1},
		{name: "no permission", open: syscall.EACCES},
	}
	p := randomBytes(11, 6*chunkSize+11)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			budget := NewBudget(BudgetConfig{Total: 1 << 20})
			g, _ := budget.Admit(10, false)
			b := NewBuilder(context.Background(), Limits{Memory: chunkSize, Dir: dir, Grant: g})
			b.open = func(dir string) (spoolFile, error) {
				if c.open != nil {
					return nil, &os.PathError{Op: "open", Path: dir, Err: c.open}
				}
				f, err := createSpool(dir)
				if err != nil {
					return nil, err
				}
				return &badFile{File: f.(*os.File), left: c.after, err: c.write, short: c.short}, nil
			}
			_, werr := b.Write(p)
			m, err := b.Finish()
			g.Release()
			if m != nil || werr == nil || err == nil || errors.Is(err, ErrNoSpace) != c.noSpace {
				t.Errorf("Write: %v, Finish: %v", werr, err)
			}
			if b.Size() != int64(len(p)) {
				t.Errorf("drained octets are not counted: %d", b.Size())
			}
			if open, _ := openSpools(t, dir); open != 0 {
				t.Errorf("%d files left open", open)
			}
			if u := budget.Usage(); u.Used != 0 || u.UsedMemory != 0 || u.Messages != 0 {
				t.Errorf("budget: %+v", u)
			}
		})
	}
}

// TestFaultAtFinish: the last octets do not fit. It must be Finish that says so.
func TestFaultAtFinish(t *testing.T) {
	b := NewBuilder(context.Background(), Limits{Memory: 1, Dir: t.TempDir()})
	b.open = func(dir string) (spoolFile, error) {
		f, err := createSpool(dir)
		return &badFile{File: f.(*os.File), err: syscall.ENOSPC}, err
	}
	if _, err := b.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Finish(); m != nil || !errors.Is(err, ErrNoSpace) {
		t.Errorf("Finish: %v, %v", m, err)
	}
}

func TestFreeDiskReserve(t *testing.T) {
	p := make([]byte, 20<<20)
	for _, c := range []struct {
		name  string
		after int // looks that still find enough
		ok    bool
	}{{"none at creation", 0, false}, {"used up after 8 MB", 1, false}, {"used up after 16 MB", 2, false}, {"enough", 3, true}} {
		looks := 0
		b := NewBuilder(context.Background(), Limits{Memory: 1, Dir: t.TempDir(), FreeDisk: 1000})
		b.free = func(string) (int64, error) {
			if looks++; looks > c.after {
				return 999, nil
			}
			return 1000, nil
		}
		_, err := b.Write(p)
		if errors.Is(err, ErrNoSpace) == c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if want := min(c.after+1, 3); looks != want {
			t.Errorf("%s: looked %d times, want %d", c.name, looks, want)
		}
		b.Discard()
	}
	b := NewBuilder(context.Background(), Limits{Memory: 1, Dir: t.TempDir(), FreeDisk: 1})
	defer b.Discard()
	b.free = func(string) (int64, error) { return 0, syscall.EIO }
	if _, err := b.Write([]byte("ab")); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrNoSpace) {
		t.Errorf("statfs fails: %v", err)
	}
}

func TestFreeDisk(t *testing.T) {
	if n, err := FreeDisk(t.TempDir()); err != nil || n <= 0 {
		t.Errorf("FreeDisk: %d, %v", n, err)
	}
	if _, err := FreeDisk(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
}

func TestMissingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	_, err := Spool(context.Background(), strings.NewReader("abc"), Limits{Memory: 1, Dir: dir})
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNoSpace) {
		t.Errorf("missing folder: %v", err)
	}
	// A message that stays in memory needs no folder.
	if m, err := Spool(context.Background(), strings.NewReader("abc"), Limits{Memory: 3, Dir: dir}); err != nil {
		t.Errorf("small message: %v", err)
	} else {
		m.Release()
	}
}
