package archive

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"garita/filetype"
)

const (
	// maxDefects bounds what is told of one archive and those inside it.
	maxDefects = 100
	// maxName bounds a name that is handed on; what is cut is flagged.
	maxName = 4096
	// maxText bounds the text of a defect.
	maxText = 200
)

// walker is one call of Walk.
type walker struct {
	ctx     context.Context
	b       *Budget
	visit   func(*Entry) error
	begun   time.Time
	in      []string
	defects []Defect
	seen    map[string]bool
	over    bool
	growth  int64 // what may still be unpacked of these octets
	chain   int   // archives behind each other
}

// Walk visits every member of the archive in data, and of the archives inside
// it, whatever name and type it was given; data that is no archive has none.
// The visit's error ends it and is returned; ctx ends it with a defect.
func Walk(ctx context.Context, data []byte, b *Budget, visit func(*Entry) error) ([]Defect, error) {
	w := &walker{ctx: ctx, b: b, visit: visit, begun: b.clock(), seen: map[string]bool{}}
	w.growth = freeGrowth + b.Limits.Ratio*int64(len(data))
	defer w.done()
	err := w.into(data)
	if errors.Is(err, errOver) {
		err = nil
	}
	return w.defects, err
}

// into looks into octets that may be an archive.
func (w *walker) into(data []byte) error {
	k := identify(data)
	if k == none && !zipInside(data) && !otherInside(data) {
		return nil
	}
	if err := w.tick(); err != nil {
		return err
	}
	if len(w.in) >= w.b.Limits.Depth {
		w.flag("depth", "")
		return nil
	}
	return w.open(k, data)
}

// open reads a container of a known kind, and then what else lies in it.
func (w *walker) open(k kind, data []byte) error {
	if k == zipKind {
		return w.zip(data)
	}
	var err error
	used := int64(len(data)) // the archive's own end, where the format tells it
	switch k {
	case none:
		used = 0
	case tarKind:
		used, err = w.tarBytes(data)
	case rarKind:
		used, err = w.rar(data)
	case sevenKind:
		used, err = w.seven(data)
	case cabKind:
		used, err = w.cab(data)
	case isoKind:
		used, err = w.iso(data)
	case cpioKind:
		used, err = w.cpio(data)
	case arKind:
		used, err = w.ar(data)
	case rpmKind:
		err = w.rpm(data)
	case lhaKind:
		used, err = w.lha(data)
	case arjKind:
		used, err = w.arj(data)
	case aceKind:
		err = w.ace(data)
	case zooKind:
		err = w.zoo(data)
	case gzKind, bz2Kind, xzKind, lzmaKind, zstKind, lz4Kind, lzKind, zKind:
		used, err = w.stream(k, data)
	default:
		w.flag("unsupported", k.String())
		if zipAtEnd(data) {
			used = 0
		}
	}
	if err != nil {
		return err
	}
	return w.appended(k, data, used)
}

// member hands one entry to the visitor and looks into it.
func (w *walker) member(e *Entry) error {
	if err := w.tick(); err != nil {
		return err
	}
	if w.b.left.Entries <= 0 {
		w.flag("entries", "")
		w.over = true
		return errOver
	}
	w.b.left.Entries--
	e.Names = w.clean(e.Container, e.Names)
	e.Depth = len(w.in) + 1
	e.In = slices.Clip(slices.Clone(w.in))
	e.LinkTo = clip(e.LinkTo, maxName)
	if e.Encrypted {
		w.flag("encrypted", e.Names[0])
	}
	if e.Data != nil {
		e.Type = filetype.Detect(e.Data)
	}
	at := w.b.clock()
	err := w.visit(e)
	w.begun = w.begun.Add(w.b.clock().Sub(at)) // what the visitor does is not our time
	if err != nil {
		return err
	}
	if len(e.Data) == 0 {
		return nil
	}
	return w.within(e.Names[0], func() error { return w.into(e.Data) })
}

// within runs f one archive deeper.
func (w *walker) within(name string, f func() error) error {
	w.in = append(w.in, name)
	defer func() { w.in = w.in[:len(w.in)-1] }()
	return f()
}

// clean bounds names and removes duplicates; there is always one.
func (w *walker) clean(container string, names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		if len(n) > maxName {
			w.flag("name-long", n)
			// both ends, since the extension decides
			n = strings.Clone(n[:maxName/2] + n[len(n)-maxName/2:])
		}
		if slices.Contains(out, n) {
			continue
		}
		out = append(out, n)
		w.judgeName(n)
		if i := strings.IndexByte(n, 0); i >= 0 {
			w.flag("name-nul", n)
			if short := n[:i]; !slices.Contains(out, short) {
				out = append(out, short)
			}
		}
	}
	if len(out) == 0 {
		out = append(out, "")
	}
	if out[0] == "" && !unnamed(container) {
		w.flag("name-empty", "")
	}
	return out
}

// unnamed tells formats whose one member need not have a name.
func unnamed(container string) bool {
	switch container {
	case "gz", "bz2", "xz", "lzma", "zst", "lz4", "lz", "z", "rpm":
		return true
	}
	return false
}

// flag tells a defect of the archive that is being read, each one once.
func (w *walker) flag(id, text string) {
	key := id + "\x00" + strings.Join(w.in, "\x00")
	if w.seen[key] {
		return
	}
	grade, _, ok := lookUp(id)
	if !ok {
		panic("archive: no row for defect " + id) // a test walks through all of them
	}
	// What decides the verdict is told however much was told before it.
	if len(w.defects) >= maxDefects && w.seen["\x00"+id] {
		return
	}
	w.seen[key], w.seen["\x00"+id] = true, true
	w.defects = append(w.defects, Defect{
		ID: id, Grade: grade, In: slices.Clip(slices.Clone(w.in)), Text: strings.Clone(clip(text, maxText)),
	})
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// body reads a member with its decoder and says what came of it: the defect
// that is missing when Data is not all of it.
func (w *walker) body(e *Entry, c content) {
	e.Data = c.data
	if e.Data == nil {
		e.Data = []byte{}
	}
	e.Truncated = c.end != whole
	switch {
	case c.end == cut && c.rest != nil:
		w.flag("member-size", first(e.Names))
	case c.end == corrupt && !errors.Is(c.err, errPanic):
		w.flag("corrupt", first(e.Names))
	}
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// plain is a member that lies in the archive as it is.
func (w *walker) plain(e *Entry, data []byte) error {
	if err := w.charge(int64(len(data))); err != nil {
		return err
	}
	if int64(len(data)) > w.b.Limits.Member {
		w.flag("member-size", first(e.Names))
		data, e.Truncated = data[:w.b.Limits.Member], true
	}
	e.Data = data[:len(data):len(data)]
	if e.Data == nil {
		e.Data = []byte{}
	}
	return nil
}
