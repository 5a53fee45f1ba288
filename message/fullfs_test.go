//go:build linux

package message

import (
	"bytes"
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
)

// mountSmall gives a file system of one megabyte; flags are those of mount(2).
func mountSmall(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root; TestSpoolFileFaults injects the same errors")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("this system does not let root mount a tmpfs (%v); TestSpoolFileFaults injects the same errors", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("something is left open on the small file system: %v", err)
		}
	})
	return dir
}

// TestFullDisk fills a real file system: the message is refused, and its space
// is there again for the next one.
func TestFullDisk(t *testing.T) {
	dir := mountSmall(t)
	big, small := make([]byte, 3<<20), randomBytes(1, 900<<10)
	for range 3 {
		if _, err := Spool(context.Background(), bytes.NewReader(big), Limits{Memory: 1, Dir: dir}); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("3 MB on 1 MB: %v", err)
		}
		m, err := Spool(context.Background(), bytes.NewReader(small), Limits{Memory: 1, Dir: dir})
		if err != nil {
			t.Fatalf("900 KB after a failed message: %v", err)
		}
		if !bytes.Equal(rawBytes(t, m), small) {
			t.Error("bytes differ")
		}
		m.Release()
	}
	free, err := FreeDisk(dir)
	if err != nil || free > 1<<20 || free < 900<<10 {
		t.Errorf("FreeDisk of an empty 1 MB file system: %d, %v", free, err)
	}
	if _, err := Spool(context.Background(), bytes.NewReader(small[:10]), Limits{Memory: 1, Dir: dir, FreeDisk: 2 << 20}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("reserve larger than the disk: %v", err)
	}
}

// TestReadOnlyFolder uses a read-only mount, since root may write anywhere.
func TestReadOnlyFolder(t *testing.T) {
	dir := mountSmall(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	_, err := Spool(context.Background(), bytes.NewReader([]byte("abc")), Limits{Memory: 1, Dir: dir})
	if !errors.Is(err, syscall.EROFS) || errors.Is(err, ErrNoSpace) {
		t.Errorf("read-only: %v", err)
	}
}
