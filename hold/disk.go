package hold

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// disk is the folder. Every step that changes it goes by step, so that tests
// can fail or end the process there. os.Root keeps all of it inside the folder
// whatever a link in it says (attacks ).
type disk struct {
	dir  string
	root *os.Root
	lock *os.File
	hook func(step string) error // nil but in tests

	mu      sync.Mutex
	durable string // the day whose folder is known to be on stable storage
}

func openDisk(dir string, hook func(string) error) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &disk{dir: dir, root: root, hook: hook}
	if err := syncParent(dir); err != nil {
		root.Close()
		return nil, err
	}
	if d.lock, err = root.OpenFile("lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600); err != nil {
		root.Close()
		return nil, err
	}
	// Two processes would both release the same message.
	if err := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		d.close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, err
	}
	return d, nil
}

// syncParent makes the holding place itself outlive a power cut.
func syncParent(dir string) error {
	f, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d *disk) close() {
	d.lock.Close()
	d.root.Close()
}

func (d *disk) step(name string) error {
	if d.hook == nil {
		return nil
	}
	return d.hook(name)
}

// sync brings a folder to the disk; "." is the holding place itself.
func (d *disk) sync(name string) error {
	if err := d.step("sync-folder"); err != nil {
		return err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// dayFolder makes the folder of a day, durably. One that is there may have
// been made by somebody who has not brought it to the disk yet, or could not:
// nobody goes on before it is.
func (d *disk) dayFolder(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("mkdir"); err != nil {
		return err
	}
	err := d.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) && d.durable == name {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.sync("."); err != nil {
		return err
	}
	d.durable = name
	return nil
}

// put writes a file under a name that is not there until all of it is on
// stable storage.
func (d *disk) put(day, id, end string, write func(io.Writer) error) (err error) {
	temp, final := path.Join(day, id+endTemp), path.Join(day, id+end)
	if err := d.step("create"); err != nil {
		return err
	}
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrExist) && end == endState {
		// Of an attempt that was cut short; nobody else writes this name.
		if err = d.root.Remove(temp); err == nil {
			f, err = d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
		}
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			d.root.Remove(temp)
		}
	}()
	w := bufio.NewWriterSize(stepWriter{f, d}, copyBuffer)
	if err = write(w); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = d.step("sync"); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = d.step("rename"); err != nil {
		return err
	}
	if err = d.root.Rename(temp, final); err != nil {
		return err
	}
	if err = d.sync(day); err != nil && end == endMessage {
		// Nobody was told 250 for it: what is there would be a second copy of
		// what the sender keeps.
		d.root.Remove(final)
	}
	return err
}

// stepWriter writes in pieces, each a step.
type stepWriter struct {
	f *os.File
	d *disk
}

func (w stepWriter) Write(p []byte) (int, error) {
	if err := w.d.step("write"); err != nil {
		return 0, err
	}
	return w.f.Write(p)
}

// days are the folders of days, oldest first.
func (d *disk) days() ([]string, error) {
	list, err := fs.ReadDir(d.root.FS(), ".")
	var out []string
	for _, e := range list {
		if e.IsDir() && dayForm.MatchString(e.Name()) {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, err
}

// names are the names in a day's folder.
func (d *disk) names(day string) ([]string, error) {
	f, err := d.root.Open(day)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// find gives the day of a message.
func (d *disk) find(id string) (string, error) {
	if !ValidID(id) {
		return "", ErrNotFound
	}
	days, err := d.days()
	if err != nil {
		return "", err
	}
	for _, day := range slices.Backward(days) {
		if _, err := d.root.Lstat(path.Join(day, id+endMessage)); err == nil {
			return day, nil
		}
	}
	return "", ErrNotFound
}

// open opens a message.
func (d *disk) open(day, id string) (*File, error) {
	f, err := d.root.OpenFile(path.Join(day, id+endMessage), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is no file", ErrDamaged)
	}
	var out *File
	if err == nil {
		out, err = ReadFile(f, info.Size())
	}
	if err == nil && out.ID != id {
		err = fmt.Errorf("%w: it has another's id", ErrDamaged)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	out.c = f
	return out, nil
}

// The states of a message.
const (
	Held      = "held"
	releasing = "releasing" // on disk alone: at rest it is Held and unsure
	Released  = "released"
	Deleted   = "deleted"
	Missing   = "missing" // the file went away without us
	Damaged   = "damaged"
)

// State is what happened to a message since it was held.
type State struct {
	State string    `json:"state"`
	At    time.Time `json:"at"`
	By    string    `json:"by,omitempty"`
	// Done are the recipients that a next hop took, by their keys.
	Done []octets `json:"done,omitempty"`
	// Unsure: the next hop may have it.
	Unsure bool   `json:"unsure,omitempty"`
	Note   octets `json:"note,omitempty"`
}

const maxState = 8 << 20

// state reads it. One that cannot be read is unsure: a release by mistake
// would be a second copy.
func (d *disk) state(day, id string) State {
	f, err := d.root.OpenFile(path.Join(day, id+endState), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return State{State: Held}
	}
	bad := State{State: Held, Unsure: true, Note: "its state file cannot be read"}
	if err != nil {
		return bad
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxState))
	var s State
	if err != nil || json.Unmarshal(raw, &s) != nil {
		return bad
	}
	switch s.State {
	case releasing:
		s.State, s.Unsure = Held, true
		if s.Note == "" {
			s.Note = "a release was cut short"
		}
	case Held, Released:
	default:
		return bad
	}
	return s
}

// mark writes the state, durably.
func (d *disk) mark(day, id string, s State) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return d.put(day, id, endState, func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
}

// remove deletes a message, then what is known of it.
func (d *disk) remove(day, id string) error {
	if err := d.step("remove"); err != nil {
		return err
	}
	if err := d.root.Remove(path.Join(day, id+endMessage)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.root.Remove(path.Join(day, id+endState)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.sync(day)
}
