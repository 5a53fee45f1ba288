package archive

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

const (
	sector = 2048
	// maxISODepth and maxISODirs bound what a directory that leads back to
	// itself can cost.
	maxISODepth = 64
	maxISODirs  = 1 << 14
)

// isoFile is one file under all the names that the views give it.
type isoFile struct {
	names     []string
	at, size  int64
	directory bool
	link      string
	isLink    bool
	views     int
}

// isoImage is a disk image while it is read: ISO 9660 with the views of Joliet
// and Rock Ridge (RRIP 1.12). UDF is not read, and said to be there.
type isoImage struct {
	w     *walker
	data  []byte
	files []isoFile
	index map[[2]int64]int
	dirs  map[[2]int64]bool
	view  int
	skip  int // octets before the fields of SUSP
}

func (w *walker) iso(data []byte) (used int64, err error) {
	z := &isoImage{w: w, data: data, index: map[[2]int64]int{}}
	used = int64(len(data))
	for at := int64(16 * sector); at+sector <= int64(len(data)) && at < 64*sector; at += sector {
		b := data[at : at+sector]
		switch string(b[1:6]) {
		case "NSR02", "NSR03":
			w.flag("iso-udf", "")
		case "CD001":
			if b[0] == 1 {
				used = min(used, max(int64(le32(b[80:]))*sector, at+sector))
			}
			if b[0] == 1 || b[0] == 2 {
				if err := z.volume(b); err != nil {
					return used, err
				}
			}
		case "BEA01", "TEA01", "BOOT2":
		default:
			at = int64(len(data))
		}
	}
	return used, z.emit()
}

// volume walks the tree of one descriptor.
func (z *isoImage) volume(b []byte) error {
	z.view++
	z.dirs = map[[2]int64]bool{}
	z.skip = 0
	joliet := b[0] == 2 && b[88] == '%' && b[89] == '/'
	root := b[156:190]
	return z.directory("", int64(le32(root[2:])), int64(le32(root[10:])), joliet, 0)
}

// directory reads the records of one directory.
func (z *isoImage) directory(path string, lba, size int64, joliet bool, depth int) error {
	key := [2]int64{lba, size}
	if depth > maxISODepth || len(z.dirs) > maxISODirs || z.dirs[key] {
		z.w.flag("corrupt", path)
		return nil
	}
	z.dirs[key] = true
	from := lba * sector
	if from < 0 || from >= int64(len(z.data)) {
		z.w.flag("corrupt", path)
		return nil
	}
	b := z.data[from:min(from+size, int64(len(z.data)))]
	for at := 0; at+33 < len(b); {
		if err := z.w.tick(); err != nil {
			return err
		}
		n := int(b[at])
		if n == 0 { // records do not cross sectors
			at = (at/sector + 1) * sector
			continue
		}
		if n < 34 || at+n > len(b) || 33+int(b[at+32]) > n {
			z.w.flag("corrupt", path)
			return nil
		}
		if err := z.record(path, b[at:at+n], joliet, depth); err != nil {
			return err
		}
		at += n
		if len(z.files) > z.w.b.left.Entries {
			z.w.flag("entries", "")
			return nil
		}
	}
	return nil
}

// record reads one record.
func (z *isoImage) record(path string, r []byte, joliet bool, depth int) error {
	id := r[33 : 33+int(r[32])]
	su := r[33+len(id):]
	if len(id)&1 == 0 && len(su) > 0 {
		su = su[1:]
	}
	if len(id) == 1 && id[0] <= 1 {
		if id[0] == 0 && depth == 0 && len(su) >= 7 && string(su[:2]) == "SP" {
			z.skip = int(su[6])
		}
		return nil
	}
	f := isoFile{at: int64(le32(r[2:])) * sector, size: int64(le32(r[10:])), directory: r[25]&2 != 0}
	name := string(id)
	if joliet {
		name = utf16BE(id)
	}
	if i := strings.LastIndexByte(name, ';'); i > 0 {
		name = name[:i]
	}
	name = strings.TrimSuffix(name, ".")
	f.names = []string{path + name}
	real := name
	if !joliet && len(su) > z.skip {
		if rr := z.rockRidge(su[z.skip:], &f); rr != "" {
			f.names = []string{path + rr, path + name}
			real = rr
		}
	}
	z.add(f)
	if f.directory {
		return z.directory(path+real+"/", f.at/sector, f.size, joliet, depth+1)
	}
	return nil
}

// rockRidge reads the long name, the link and further fields elsewhere.
func (z *isoImage) rockRidge(su []byte, f *isoFile) (name string) {
	for range 16 {
		var more []byte
		for len(su) >= 4 {
			n := int(su[2])
			if n < 4 || n > len(su) {
				break
			}
			b := su[:n]
			su = su[n:]
			switch {
			case string(b[:2]) == "NM" && n > 5:
				name += string(b[5:])
			case string(b[:2]) == "SL" && n > 5:
				f.isLink = true
				f.link = clip(f.link+slComponents(b[5:]), maxName)
			case string(b[:2]) == "PX" && n >= 8 && uint64(le32(b[4:]))&modeKind == modeLink:
				f.isLink = true
			case string(b[:2]) == "CE" && n >= 28:
				from := int64(le32(b[4:]))*sector + int64(le32(b[12:]))
				if from < int64(len(z.data)) {
					more = z.data[from:min(from+int64(le32(b[20:])), int64(len(z.data)))]
				}
			}
		}
		if su = more; su == nil || len(name) > maxName {
			break
		}
	}
	return name
}

// slComponents joins the parts of a link.
func slComponents(b []byte) string {
	var s strings.Builder
	for len(b) >= 2 {
		n := min(2+int(b[1]), len(b))
		switch {
		case b[0]&2 != 0:
			s.WriteString(".")
		case b[0]&4 != 0:
			s.WriteString("..")
		case b[0]&8 != 0:
		default:
			s.Write(b[2:n])
		}
		if b[0]&1 == 0 && n < len(b) || b[0]&8 != 0 {
			s.WriteByte('/')
		}
		b = b[n:]
	}
	return s.String()
}

// add joins the views: files of the same octets are one.
func (z *isoImage) add(f isoFile) {
	key := [2]int64{f.at, f.size}
	f.views = 1 << min(z.view, 30)
	if i, ok := z.index[key]; ok && f.size > 0 && len(z.files[i].names) < 8 && z.files[i].directory == f.directory {
		z.files[i].names = append(z.files[i].names, f.names...)
		z.files[i].views |= f.views
		return
	}
	z.index[key] = len(z.files)
	z.files = append(z.files, f)
}

func (z *isoImage) emit() error {
	w := z.w
	all := 0
	for _, f := range z.files {
		all |= f.views
	}
	for _, f := range z.files {
		e := &Entry{
			Container: "iso", Names: f.names, Size: f.size, Directory: f.directory, Link: f.isLink, LinkTo: f.link,
		}
		if f.views != all && f.size > 0 && !f.directory {
			w.flag("iso-names", first(f.names))
		}
		if !f.directory && !f.isLink {
			n := int64(len(z.data))
			from := min(max(f.at, 0), n)
			content := z.data[from:min(from+f.size, n)]
			if int64(len(content)) < f.size {
				w.flag("corrupt", first(f.names))
				e.Truncated = true
			}
			if err := w.plain(e, content); err != nil {
				return err
			}
		}
		if err := w.member(e); err != nil {
			return err
		}
	}
	return nil
}

func utf16BE(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}
