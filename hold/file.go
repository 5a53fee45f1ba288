package hold

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"garita/message"
)

// The form of a file (docs/hold.md):
//
//	garita-hold 1 LF
//	the letter as JSON LF
//	the message, "size" octets, as it came
//	what the edits bring in, one behind the other
//	LF "sha256 " 64 hex digits of everything before this line's LF LF
const (
	magic = "garita-hold 1\n"
	// maxLetter bounds the line of JSON: a thousand recipients take 300 KB.
	maxLetter   = 8 << 20
	trailerSize = 1 + 7 + 2*sha256.Size + 1
	copyBuffer  = 64 << 10
)

var idForm = regexp.MustCompile(`^[0-9A-Z]{1,24}-[0-9A-Z]{8}$`)

// ValidID tells an id as we make them: nothing else is ever part of a path
// (attacks Q-22).
func ValidID(id string) bool { return idForm.MatchString(id) }

// encode writes a file.
func encode(w io.Writer, l *Letter, original io.WriterTo, inserts []message.Edit) error {
	line, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if len(line) > maxLetter {
		return fmt.Errorf("envelope and findings have %d octets, more than fit", len(line))
	}
	h := sha256.New()
	out := &counter{w: io.MultiWriter(w, h)}
	io.WriteString(out, magic)
	out.Write(line)
	io.WriteString(out, "\n")
	at := out.n
	if _, err := original.WriteTo(out); err != nil {
		return err
	}
	if out.n-at != l.MessageSize {
		return fmt.Errorf("the message has %d octets and %d were announced", out.n-at, l.MessageSize)
	}
	for _, e := range inserts {
		out.Write(e.Insert)
	}
	if out.err != nil {
		return out.err
	}
	_, err = fmt.Fprintf(w, "\nsha256 %x\n", h.Sum(nil))
	return err
}

// counter counts octets and keeps the first error.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}

// A File is a held message that is open for reading. Its octets were not
// looked at until Verify.
type File struct {
	Letter
	r    io.ReaderAt
	size int64 // of the whole file
	at   int64 // where the message begins
	c    io.Closer
}

// ReadFile reads the head of a file and sees whether all of it is there, by its
// length; what a torn write left is an ErrDamaged.
func ReadFile(r io.ReaderAt, size int64) (*File, error) {
	br := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 8<<10)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(br, head); err != nil || string(head) != magic {
		if err == nil && bytes.HasPrefix(head, []byte("garita-hold ")) {
			return nil, errors.New("the file was written by a newer garita")
		}
		return nil, damagedBy(err, "it does not begin as one")
	}
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		if len(line)+len(part) > maxLetter+1 {
			return nil, damagedBy(nil, "its letter is too long")
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, damagedBy(err, "it ends in its letter")
		}
	}
	f := &File{r: r, size: size, at: int64(len(magic) + len(line))}
	if err := json.Unmarshal(line, &f.Letter); err != nil {
		return nil, damagedBy(nil, "its letter cannot be read")
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if want := f.at + f.MessageSize + f.insertSize() + trailerSize; want != size {
		return nil, damagedBy(nil, fmt.Sprintf("it has %d octets and should have %d", size, want))
	}
	end := make([]byte, 8)
	if _, err := r.ReadAt(end, size-trailerSize); err != nil || string(end) != "\nsha256 " {
		return nil, damagedBy(err, "its end is missing")
	}
	return f, nil
}

func damagedBy(err error, what string) error {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
	}
	return fmt.Errorf("%w: %s", ErrDamaged, what)
}

// Verify reads everything and compares the checksum.
func (f *File) Verify() error {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(f.r, 0, f.size-trailerSize), make([]byte, copyBuffer)); err != nil {
		return damagedBy(err, "it cannot be read")
	}
	end := make([]byte, trailerSize)
	if _, err := f.r.ReadAt(end, f.size-trailerSize); err != nil {
		return damagedBy(err, "it cannot be read")
	}
	if want := "\nsha256 " + hex.EncodeToString(h.Sum(nil)) + "\n"; string(end) != want {
		return damagedBy(nil, "its checksum is another")
	}
	return nil
}

// Close closes it.
func (f *File) Close() error {
	if f.c == nil {
		return nil
	}
	return f.c.Close()
}

// Original gives the message as it came.
func (f *File) Original() *io.SectionReader { return io.NewSectionReader(f.r, f.at, f.MessageSize) }

// Relayed gives the message as it would have been relayed: the original with
// its edits, among them our Received field of that time.
func (f *File) Relayed() Body {
	out := &ranges{r: f.r}
	pos, insert := int64(0), f.at+f.MessageSize
	for _, e := range f.Edits {
		out.add(f.at+pos, e.At-pos)
		out.add(insert, e.Insert)
		insert += e.Insert
		pos = e.At + e.Delete
	}
	out.add(f.at+pos, f.MessageSize-pos)
	return out
}

// ranges is a body made of pieces of a file. It can be written several times.
type ranges struct {
	r    io.ReaderAt
	list []span
	size int64
}

type span struct{ at, n int64 }

func (b *ranges) add(at, n int64) {
	if n > 0 {
		b.list = append(b.list, span{at, n})
		b.size += n
	}
}

// Size is the number of octets that WriteTo writes.
func (b *ranges) Size() int64 { return b.size }

// WriteTo writes all of it.
func (b *ranges) WriteTo(w io.Writer) (total int64, err error) {
	buf := make([]byte, copyBuffer)
	for _, s := range b.list {
		n, err := io.CopyBuffer(onlyWriter{w}, onlyReader{io.NewSectionReader(b.r, s.at, s.n)}, buf)
		total += n
		if err == nil && n != s.n {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// onlyWriter and onlyReader keep io.CopyBuffer at its buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// The names in a day's folder.
const (
	endMessage = ".msg"
	endState   = ".state"
	endTemp    = ".tmp"
)

// splitName takes a file's name apart; ok is false for what is not ours.
func splitName(name string) (id, end string, ok bool) {
	for _, end := range []string{endMessage, endState, endTemp} {
		if id, is := strings.CutSuffix(name, end); is && ValidID(id) {
			return id, end, true
		}
	}
	return "", "", false
}

var dayForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

var _ io.ReaderAt = (*os.File)(nil)
