package message

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
)

// spoolFile is what a message needs of its temporary file.
type spoolFile interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// createSpool makes a file that has no name: whatever ends the process, even
// kill -9, its space is free again, and nobody can open or change it by name
// between judging and delivering. (In the instant between the two calls a kill
// can leave an empty file, never one with content.)
func createSpool(dir string) (spoolFile, error) {
	f, err := os.CreateTemp(dir, "garita-*.spool") // O_EXCL, 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// FreeDisk gives the octets that an ordinary user can still write into the file
// system of dir ("" = the system's temporary folder).
func FreeDisk(dir string) (int64, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	var st syscall.Statfs_t
	for {
		err := syscall.Statfs(dir, &st)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("statfs %s: %w", dir, err)
		}
		break
	}
	size := uint64(st.Bsize)
	if size > 0 && st.Bavail > math.MaxInt64/size {
		return math.MaxInt64, nil
	}
	return int64(st.Bavail * size), nil
}

// spoolError adds ErrNoSpace to the errors that mean "not now, for lack of
// room"; all others are faults that an operator must look at.
func spoolError(what string, err error) error {
	for _, no := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %s: %w", ErrNoSpace, what, err)
		}
	}
	return fmt.Errorf("message: %s: %w", what, err)
}
