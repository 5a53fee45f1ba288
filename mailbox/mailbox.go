// Package mailbox reads messages out of what administrators have: a file with
// one message, an mbox, a folder of files (a Maildir, an export), in any depth.
// It gives them one at a time, with the line ends of SMTP.
//
// It changes nothing and follows no symbolic links below what it was given. A
// file that cannot be read, or is too large, is given with its error, and the
// walk goes on.
//
// # Limits
//
// One message of at most the walker's Max is in memory. An mbox is split at
// lines that begin with "From ", hold a time of day and stand behind an empty
// line; what its writer escaped as ">From " stays so. Compressed files are not opened.
package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Letter is one message.
type Letter struct {
	// Name is the file; Number counts the messages of an mbox from 1, else 0.
	Name   string
	Number int
	Raw    []byte // with CR LF; valid until the next
	Err    error
	// Read is how much of all files was read so far, in octets.
	Read int64
}

// String names the letter: "file" or "file:3".
func (l *Letter) String() string {
	if l.Number == 0 {
		return l.Name
	}
	return fmt.Sprintf("%s:%d", l.Name, l.Number)
}

// ErrTooLarge says that a message is larger than Max.
var ErrTooLarge = errors.New("larger than the largest message")

// ErrEmpty says that there is no message in a file.
var ErrEmpty = errors.New("empty")

// Walker reads messages.
type Walker struct {
	// Max is the largest message, in octets as they stand in the file.
	Max int64
	// In is what the name "-" stands for.
	In io.Reader

	files []string
	total int64
	read  int64
}

// Add takes a file or a folder. The error is one of the name itself.
func (w *Walker) Add(name string) error {
	if name == "-" && w.In != nil {
		w.files = append(w.files, name)
		return nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		w.files, w.total = append(w.files, name), w.total+info.Size()
		return nil
	}
	// The folder itself may be a link; those in it are not followed.
	return filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			w.files, w.total = append(w.files, path), w.total+info.Size()
		}
		return nil
	})
}

// Total is the size of all files together, for showing how far it is.
func (w *Walker) Total() int64 { return w.total }

// Walk gives every message to visit, whose error ends the walk.
func (w *Walker) Walk(ctx context.Context, visit func(*Letter) error) error {
	for _, name := range w.files {
		if err := w.file(ctx, name, visit); err != nil {
			return err
		}
	}
	return nil
}

func (w *Walker) file(ctx context.Context, name string, visit func(*Letter) error) error {
	in := w.In
	if name != "-" || in == nil {
		f, err := os.Open(name)
		if err != nil {
			return visit(&Letter{Name: name, Err: err, Read: w.read})
		}
		defer f.Close()
		in = f
	}
	r := &reader{in: bufio.NewReaderSize(in, 64<<10), max: w.Max}
	head, err := r.in.Peek(5)
	switch {
	case err != nil && err != io.EOF:
		return visit(&Letter{Name: name, Err: err, Read: w.read})
	case len(head) == 0:
		return visit(&Letter{Name: name, Err: ErrEmpty, Read: w.read})
	}
	mbox := bytes.Equal(head, []byte("From "))
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		raw, more, err := r.next(mbox)
		w.read += r.took
		l := &Letter{Name: name, Raw: raw, Err: err, Read: w.read}
		if mbox {
			l.Number = n
		}
		if verr := visit(l); verr != nil || !more {
			return verr
		}
	}
}

// maxSeparator is what is looked at of a separator line.
const maxSeparator = 200

// separates tells whether a line begins a message in an mbox: "From " and a
// time of day. Prose that begins with From and was not escaped has none.
func separates(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	rest, ok := bytes.CutPrefix(line, []byte("From "))
	for i := 2; ok && i+2 < len(rest); i++ {
		if rest[i] == ':' && digits(rest[i-2:i]) && digits(rest[i+1:i+3]) {
			return true
		}
	}
	return false
}

func digits(b []byte) bool {
	return b[0] >= '0' && b[0] <= '9' && b[1] >= '0' && b[1] <= '9'
}

// reader takes messages out of one file.
type reader struct {
	in   *bufio.Reader
	max  int64
	took int64
	buf  []byte
}

// next reads a message; more says that another one follows. What is too large
// is read to its end and not kept.
func (r *reader) next(mbox bool) (raw []byte, more bool, err error) {
	r.buf, r.took = r.buf[:0], 0
	first, blank, crlf, lines := true, false, false, 0
	started := true // at the beginning of a line
	for {
		if mbox && started && blank {
			if head, _ := r.in.Peek(maxSeparator); separates(head) {
				more = true
				break
			}
		}
		line, rerr := r.in.ReadSlice('\n')
		r.took += int64(len(line))
		whole := bytes.HasSuffix(line, []byte("\n"))
		switch {
		case mbox && first:
			// The separator is no part of the message.
		case err != nil:
		case int64(len(r.buf)+len(line)) > r.max:
			err = ErrTooLarge
		default:
			r.buf = append(r.buf, line...)
			if whole && lines < 100 {
				lines++
				crlf = crlf || bytes.HasSuffix(line, []byte("\r\n"))
			}
		}
		if started {
			blank = len(bytes.TrimRight(line, "\r\n")) == 0
		}
		started, first = whole, first && !whole
		if rerr != nil && !errors.Is(rerr, bufio.ErrBufferFull) {
			if rerr != io.EOF && err == nil {
				err = rerr
			}
			break
		}
	}
	if err != nil {
		return nil, more, err
	}
	if mbox {
		// The empty line before the next separator belongs to the mbox.
		if cut, ok := bytes.CutSuffix(r.buf, []byte("\r\n\r\n")); ok {
			r.buf = r.buf[:len(cut)+2]
		} else if cut, ok := bytes.CutSuffix(r.buf, []byte("\n\n")); ok {
			r.buf = r.buf[:len(cut)+1]
		}
	}
	if crlf {
		return r.buf, more, nil
	}
	return bytes.ReplaceAll(r.buf, []byte("\n"), []byte("\r\n")), more, nil
}
