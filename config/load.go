package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"syscall"

	"garita/place"
	"garita/printable"
)

// Load reads a configuration file, and conf.d/*.toml beside it in lexical
// order, into a struct that holds the defaults. A later file wins key by key;
// lists are replaced, not joined. The struct may be used only when there are
// no problems, neither here nor after the caller's own checks.
func Load(path string, into any, opts Options) (*Document, Problems) {
	d := newDocument(opts, filepath.Dir(path))
	d.hidden = secretNames(rootStruct(into).Type())
	d.file(path)
	if !opts.NoDropIns {
		d.dropIns(filepath.Join(filepath.Dir(path), "conf.d"))
	}
	d.assign(into)
	return d, d.Problems()
}

func (d *Document) file(path string) {
	text, mode, err := readFile(path, maxFile)
	if err != nil {
		d.put(Problem{File: printable.Line(path), order: len(d.sources), Text: err.Error()})
		// The rest is still looked at, and nothing more is said of what this
		// file may have set: see assign.
		src := newSource(path, len(d.sources), nil)
		d.sources = append(d.sources, src)
		d.Files = append(d.Files, path)
		d.unread = true
		return
	}
	d.add(path, text, mode)
}

func (d *Document) dropIns(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.put(Problem{File: printable.Line(folder), order: len(d.sources), Text: fileError(err).Error()})
		}
		return
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, ".toml") && !strings.HasPrefix(n, ".") {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	if len(names) > maxDropIns {
		d.put(Problem{File: printable.Line(folder), order: len(d.sources), Text: fmt.Sprintf("holds more than %d files", maxDropIns)})
		return
	}
	for _, n := range names {
		d.file(filepath.Join(folder, n))
	}
}

// readFile reads a regular file of at most limit bytes. Its errors name no
// path.
func readFile(path string, limit int64) ([]byte, uint32, error) {
	// O_NONBLOCK: opening a pipe without a writer would wait for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fileError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fileError(err)
	}
	switch {
	case info.IsDir():
		return nil, 0, errors.New("is a folder, not a file")
	case !info.Mode().IsRegular():
		return nil, 0, errors.New("is not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, 0, fileError(err)
	}
	if int64(len(text)) > limit {
		return nil, 0, fmt.Errorf("is larger than %s", strings.Replace(formatSize(limit), "MB", " MB", 1))
	}
	return text, uint32(info.Mode().Perm()), nil
}

func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("may not be read by this user")
	case errors.Is(err, syscall.ENOTDIR):
		return errors.New("does not exist: a part of its path is a file")
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return errors.New("cannot be read: " + pe.Err.Error())
	}
	return errors.New("cannot be read: " + printable.Line(err.Error()))
}

// secret sets a text that is given either as it is or by the name of a file.
// When one file has one form and a later file the other, the later one wins.
func (d *Document) secret(path string, n *node, f *field, v reflect.Value) {
	d.secrets[path] = true
	plain, file := n.sub[f.name], n.sub[f.name+"_file"]
	if plain != nil && file != nil {
		switch {
		case plain.key.src == file.key.src:
			d.report(file.key, path+"_file", "is given together with "+f.name, "remove one")
			return
		case plain.key.src.order > file.key.src.order:
			file = nil
		default:
			plain = nil
		}
	}
	switch {
	case plain != nil:
		d.nodes[path] = plain
		if d.set(path, plain, v, f) && f.required && v.IsZero() {
			d.Add(path, "must not be empty", "")
		}
		if plain.key.src.mode&0o004 != 0 {
			d.Warn(path, "this file holds a secret and every user of the machine may read it", "chmod o-r, or use "+f.name+"_file")
		}
	case file != nil:
		key := path + "_file"
		d.nodes[path], d.nodes[key] = file, file
		if file.kind != kindString {
			d.wrong(key, file, "the name of a file", "")
			return
		}
		if bad := badText(file.text, false); bad != "" || file.text == "" {
			d.Add(key, "is not the name of a file", "")
			return
		}
		if d.sealed {
			return
		}
		d.secretFile(key, file.text, f, v)
	}
}

func (d *Document) secretFile(key, name string, f *field, v reflect.Value) {
	full := name
	if !filepath.IsAbs(name) {
		full = filepath.Join(d.folder, name)
		if d.opts.Credentials != "" {
			if c := filepath.Join(d.opts.Credentials, name); exists(c) {
				full = c
			}
		}
	}
	text, mode, err := readFile(full, maxSecret)
	if err != nil {
		d.Add(key, place.Quote(full)+" "+err.Error(), "")
		return
	}
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case badText(value, f.multiline) != "":
		d.Add(key, place.Quote(full)+" holds "+badText(value, f.multiline), "it is the secret on one line")
		return
	case value == "":
		d.Add(key, place.Quote(full)+" is empty", "")
		return
	}
	if mode&0o004 != 0 {
		d.Warn(key, place.Quote(full)+" holds a secret and every user of the machine may read it", "chmod o-r")
	}
	v.SetString(value)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
