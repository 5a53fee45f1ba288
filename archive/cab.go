package archive

import (
	"errors"
	"io"
)

// cabFolder is a run of data blocks that files lie in.
type cabFolder struct {
	at     int64
	blocks int
	method uint16
}

// cab reads a cabinet: [MS-CAB] 2. Names always; contents when they are stored
// or MSZIP, not of LZX and Quantum.
func (w *walker) cab(data []byte) (used int64, err error) {
	n := int64(len(data))
	if n < 36 {
		w.flag("corrupt", "")
		return n, nil
	}
	size, files := int64(le32(data[8:])), int64(le32(data[16:]))
	nFolders, nFiles, flags := int(le16(data[26:])), int(le16(data[28:])), le16(data[30:])
	if size > n || size < 36 {
		w.flag("corrupt", "")
		size = n
	}
	at, perFolder, perBlock := int64(36), int64(0), int64(0)
	if flags&4 != 0 && n >= 40 {
		at += 4 + int64(le16(data[36:]))
		perFolder, perBlock = int64(data[38]), int64(data[39])
	}
	if flags&3 != 0 {
		w.flag("volume", "")
		// two names each for the cabinet before and the one after
		for i := 0; i < int(flags&1)*2+int(flags>>1&1)*2; i++ {
			for at < n && data[at] != 0 {
				at++
			}
			at++
		}
	}
	var folders []cabFolder
	for range nFolders {
		if at+8 > n {
			w.flag("corrupt", "")
			break
		}
		b := data[at:]
		folders = append(folders, cabFolder{int64(le32(b)), int(le16(b[4:])), le16(b[6:])})
		at += 8 + perFolder
	}
	return size, w.cabFiles(data, files, nFiles, folders, perBlock)
}

// cabFile is one CFFILE.
type cabFile struct {
	name   string
	size   int64
	offset int64
	folder int
}

// cabFiles lists the files and reads them folder by folder.
func (w *walker) cabFiles(data []byte, at int64, count int, folders []cabFolder, perBlock int64) error {
	n := int64(len(data))
	cur, open := -1, (*cabReader)(nil)
	for range count {
		if at < 0 || at+17 > n {
			w.flag("corrupt", "")
			return nil
		}
		b := data[at:]
		name := cString(b[16:min(len(b), 16+257)])
		f := cabFile{name, int64(le32(b)), int64(le32(b[4:])), int(le16(b[8:]))}
		at += 16 + int64(len(name)) + 1
		if f.folder >= 0xfffd {
			w.flag("volume", f.name)
		}
		e := &Entry{Container: "cab", Names: []string{f.name}, Size: f.size}
		if f.folder >= len(folders) {
			if f.folder < 0xfffd {
				w.flag("corrupt", f.name)
			}
			if err := w.member(e); err != nil {
				return err
			}
			continue
		}
		if f.folder != cur || open == nil || f.offset < open.pos {
			cur, open = f.folder, newCabReader(w, data, folders[f.folder], perBlock)
		}
		if err := w.cabMember(e, f, open); err != nil {
			return err
		}
	}
	return nil
}

// cabMember reads one file from its folder.
func (w *walker) cabMember(e *Entry, f cabFile, r *cabReader) error {
	if r.folder.method&15 > 1 {
		w.flag("unsupported", f.name)
		return w.member(e)
	}
	if r.broken == nil {
		skip := f.offset - r.pos
		if err := w.charge(min(skip, int64(r.left)<<15)); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, r, skip); err != nil {
			r.broken = err
		}
	}
	if errors.Is(r.broken, errTick) {
		return w.tick()
	}
	if r.broken != nil {
		w.flag("corrupt", f.name)
		return w.member(e)
	}
	src := &io.LimitedReader{R: r, N: f.size}
	c, err := w.read(src, f.size, max(1, min(f.size, int64(len(r.data)))))
	if err != nil {
		return err
	}
	w.body(e, c)
	if src.N > 0 && c.end == whole {
		w.flag("corrupt", f.name)
		e.Truncated = true
	}
	if c.end == corrupt {
		r.broken = c.err
	}
	return w.hold(int64(len(c.data)), func() error { return w.member(e) })
}

// cabReader reads the blocks of a folder as one stream.
type cabReader struct {
	w        *walker
	data     []byte
	folder   cabFolder
	perBlock int64
	at       int64
	left     int
	pos      int64
	out      []byte // of the current block, unread
	history  []byte
	broken   error
	buf      []byte
}

func newCabReader(w *walker, data []byte, f cabFolder, perBlock int64) *cabReader {
	return &cabReader{w: w, data: data, folder: f, perBlock: perBlock, at: f.at, left: f.blocks}
}

func (r *cabReader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if err := r.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	r.pos += int64(n)
	return n, nil
}

var errCab = errors.New("archive: damaged cabinet")

// block unpacks the next CFDATA: MSZIP is deflate with a sign in front, and
// the 32 KB of the block before as history ([MS-MCI] 2).
func (r *cabReader) block() error {
	if r.w.tick() != nil {
		return errTick
	}
	if r.at < 0 || r.at+8 > int64(len(r.data)) {
		return io.ErrUnexpectedEOF
	}
	b := r.data[r.at:]
	packed, size := int64(le16(b[4:])), int(le16(b[6:]))
	from := r.at + 8 + r.perBlock
	if from+packed > int64(len(r.data)) {
		return io.ErrUnexpectedEOF
	}
	raw := r.data[from : from+packed]
	r.at = from + packed
	r.left--
	if r.folder.method&15 == 0 {
		r.out = raw
		return nil
	}
	if len(raw) < 2 || raw[0] != 'C' || raw[1] != 'K' {
		return errCab
	}
	if r.buf == nil {
		r.buf = make([]byte, 64<<10)
	}
	n, err := io.ReadFull(rawDeflate(r.w.paced(raw[2:]), r.history), r.buf[:size])
	if errors.Is(err, errTick) {
		return err
	}
	if err != nil || n != size {
		return errCab
	}
	r.out = r.buf[:n]
	r.history = append(r.history, r.out...)
	if k := len(r.history) - 32<<10; k > 0 {
		r.history = append(r.history[:0], r.history[k:]...)
	}
	return nil
}
