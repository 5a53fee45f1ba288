package archive

import "bytes"

// program tells what a file does that carries an archive by custom: programs
// and scripts unpack themselves.
func program(data []byte) bool {
	return bytes.HasPrefix(data, []byte("MZ")) || bytes.HasPrefix(data, []byte("\x7fELF")) ||
		bytes.HasPrefix(data, []byte("#!")) || bytes.HasPrefix(data, []byte("\xcf\xfa\xed\xfe")) ||
		bytes.HasPrefix(data, []byte("\xca\xfe\xba\xbe"))
}

// carrier tells kinds of files that hold other files as they are: OLE
// documents, extensions of Chrome.
func carrier(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")) || bytes.HasPrefix(data, []byte("Cr24"))
}

// appended looks for archives in what a container of kind k, which ended at
// used, does not explain; a file that is no container (used 0) is searched
// whole (Z-17).
func (w *walker) appended(k kind, data []byte, used int64) error {
	if used < 0 || used >= int64(len(data)) {
		return nil
	}
	rest := data[used:]
	if zipInside(rest) {
		switch {
		case k != none:
			w.flag("polyglot", k.String()+" and zip")
		case program(data):
			w.flag("self-extracting", "zip")
		case carrier(data) || !zipAtEnd(data):
			w.flag("embedded", "zip")
		default:
			w.flag("polyglot", "zip")
		}
		if err := w.zipQuiet(rest); err != nil {
			return err
		}
	}
	other, at := findOther(rest)
	if other == none {
		return nil
	}
	switch {
	case other == k:
		w.flag("trailing-archive", k.String())
	case k != none:
		w.flag("polyglot", k.String()+" and "+other.String())
	case program(data):
		w.flag("self-extracting", other.String())
	default:
		w.flag("embedded", other.String())
	}
	if len(w.in)+1 > w.b.Limits.Depth {
		w.flag("depth", "")
		return nil
	}
	return w.chained(other, rest[at:])
}

// maxChain bounds archives that follow each other.
const maxChain = 64

// chained opens one archive behind another.
func (w *walker) chained(k kind, data []byte) error {
	if w.chain >= maxChain {
		w.flag("entries", "")
		return nil
	}
	w.chain++
	defer func() { w.chain-- }()
	if err := w.tick(); err != nil {
		return err
	}
	return w.open(k, data)
}
