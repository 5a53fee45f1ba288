package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"
)

// What Open can say of a database; errors.Is finds them.
var (
	ErrInUse   = errors.New("another process has the database open")
	ErrCorrupt = errors.New("the database is damaged")
	ErrNewer   = errors.New("the database was written by a newer garita")
	ErrForeign = errors.New("the file is a database of another program")
)

const (
	// applicationID marks the file as ours (PRAGMA application_id): "GARI".
	applicationID = 0x47415249
	// busyTimeout is how long a write waits for somebody's sqlite3 shell.
	busyTimeout = 2 * time.Second
	// maxAway is the longest time away that the wall clock is believed.
	maxAway = 7 * 24 * time.Hour
	// SQLite's result codes (sqlite3.h).
	codeCorrupt = 11
	codeNotADB  = 26
)

// migrations give the numbered steps from an empty file to today's form. A step
// that has been released is never changed; a new one is added.
func migrations() []string {
	return []string{
		// 1: expiries are nanoseconds of the store's own time, 0 is never.
		`CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), store INTEGER NOT NULL, wall INTEGER NOT NULL);
		 CREATE TABLE item (set_name BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, expires INTEGER NOT NULL, keep INTEGER NOT NULL,
		   PRIMARY KEY (set_name, key)) WITHOUT ROWID;
		 CREATE TABLE window (key BLOB NOT NULL, span INTEGER NOT NULL, newest INTEGER NOT NULL, counts BLOB NOT NULL, expires INTEGER NOT NULL,
		   PRIMARY KEY (key, span)) WITHOUT ROWID;`,
		// 2: a window has a number of parts; all had eight.
		`ALTER TABLE window RENAME TO window1;
		 CREATE TABLE window (key BLOB NOT NULL, span INTEGER NOT NULL, parts INTEGER NOT NULL, newest INTEGER NOT NULL, counts BLOB NOT NULL,
		   expires INTEGER NOT NULL, PRIMARY KEY (key, span, parts)) WITHOUT ROWID;
		 INSERT INTO window SELECT key, span, 8, newest, counts, expires FROM window1;
		 DROP TABLE window1;`,
	}
}

// disk is the SQLite database. After load it belongs to the writer alone.
type disk struct {
	path  string
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// Open opens or makes the database and loads it. The errors say what is wrong
// with the file; nothing is changed in one that is newer, foreign or damaged.
func Open(c Config) (*Memory, error) {
	m, err := open(c, migrations(), flushEvery)
	if err != nil && errors.Is(err, ErrCorrupt) && c.RenameCorrupt {
		now := time.Now
		if c.Now != nil {
			now = c.Now
		}
		aside := c.Path + ".corrupt-" + now().UTC().Format("20060102T150405")
		if rerr := putAside(c.Path, aside); rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		if c.Log != nil {
			c.Log("the state was lost: a new database begins, the damaged one is kept as "+aside, err)
		}
		m, err = open(c, migrations(), flushEvery)
	}
	return m, err
}

// putAside renames a database with its journal, which would otherwise be read
// into the new one.
func putAside(path, aside string) error {
	for _, end := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+end, aside+end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

func open(c Config, steps []string, every time.Duration) (*Memory, error) {
	if c.Path == "" {
		return nil, errors.New("store: the path of the database is empty")
	}
	m := newMemory(c)
	lock, err := lockFile(c.Path)
	if err != nil {
		return nil, err
	}
	d, err := openDisk(c.Path, steps)
	if err == nil {
		if err = m.load(d); err == nil {
			// That it can be written is known now, and the clocks are those of
			// this start.
			err = d.transaction(func() error { return d.rows(&batch{purge: true}, m.now(), m.config.Now()) })
		}
		if err != nil {
			err = errors.Join(fault(c.Path, err), d.close())
		}
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	m.disk, m.lockFile = d, lock
	go m.write(every)
	return m, nil
}

// lockFile keeps a second gateway out, whose memory would not know of ours.
// The lock is on a file of its own: closing any descriptor of the database
// would drop SQLite's locks (POSIX advisory locks).
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("store: %s: %w", path, ErrInUse)
		}
		return nil, fmt.Errorf("store: %s.lock: %w", path, err)
	}
	return f, nil
}

// fault says which file, and damage in one word that can be asked for.
func fault(path string, err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && (e.Code()&0xff == codeCorrupt || e.Code()&0xff == codeNotADB) {
		return fmt.Errorf("store: %s: %w: %w", path, ErrCorrupt, err)
	}
	return fmt.Errorf("store: %s: %w", path, err)
}

func openDisk(path string, steps []string) (*disk, error) {
	// The file is made by us and not by SQLite: for its mode, and since SQLite
	// would quietly open one that may only be read.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f.Close()
	d := &disk{path: path}
	if err := d.connect(); err != nil {
		return nil, fault(path, err)
	}
	if err := d.prepare(steps); err != nil {
		d.close()
		return nil, fault(path, err)
	}
	return d, syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// connect opens the one connection. synchronous=FULL makes each commit wait for
// the disk (sqlite.org/pragma.html#pragma_synchronous): four a second cost
// little, and a power cut then loses no more than a kill does.
func (d *disk) connect() error {
	u := url.URL{Scheme: "file", Path: d.path, OmitHost: true}
	q := fmt.Sprintf("?_pragma=busy_timeout(%d)&_pragma=synchronous(FULL)&_pragma=journal_size_limit(16777216)", busyTimeout.Milliseconds())
	db, err := sql.Open("sqlite", u.String()+q)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(context.Background())
	if err != nil {
		db.Close()
		return err
	}
	d.db, d.conn, d.stmts = db, conn, map[string]*sql.Stmt{}
	return nil
}

func (d *disk) close() error {
	for _, s := range d.stmts {
		s.Close()
	}
	return errors.Join(d.conn.Close(), d.db.Close())
}

func (d *disk) exec(query string, args ...any) error {
	_, err := d.conn.ExecContext(context.Background(), query, args...)
	return err
}

func (d *disk) number(query string) (n int64, err error) {
	err = d.conn.QueryRowContext(context.Background(), query).Scan(&n)
	return n, err
}

func (d *disk) text(query string) (s string, err error) {
	err = d.conn.QueryRowContext(context.Background(), query).Scan(&s)
	return s, err
}

// prepare finds out whose the file is before it changes a byte of it.
func (d *disk) prepare(steps []string) error {
	tables, err := d.number("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	id, err := d.number("PRAGMA application_id")
	if err != nil {
		return err
	}
	version, err := d.number("PRAGMA user_version")
	switch {
	case err != nil:
		return err
	case tables > 0 && id != applicationID:
		return fmt.Errorf("%w; name another file", ErrForeign)
	case version > int64(len(steps)):
		return fmt.Errorf("%w (form %d; this one knows up to %d); run that version, or name another file", ErrNewer, version, len(steps))
	}
	if tables > 0 {
		// One row for each fault, or "ok". Large tables cost some 100 ms.
		switch s, err := d.text("PRAGMA quick_check(1)"); {
		case err != nil:
			return err
		case s != "ok":
			return fmt.Errorf("%w: %q", ErrCorrupt, s)
		}
	} else if err := d.exec("PRAGMA auto_vacuum=INCREMENTAL"); err != nil {
		return err
	}
	switch mode, err := d.text("PRAGMA journal_mode=WAL"); {
	case err != nil:
		return err
	case mode != "wal":
		return fmt.Errorf("the file system does not allow SQLite's WAL (got %q); put the database on a local disk", mode)
	}
	return d.migrate(int(version), steps)
}

// migrate takes each step in a transaction of its own with the number of the
// form: a step is done or not done. A database with data is copied first.
func (d *disk) migrate(version int, steps []string) error {
	if version > 0 && version < len(steps) {
		backup := fmt.Sprintf("%s.form-%d", d.path, version)
		if err := os.Remove(backup); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := d.exec("VACUUM INTO ?", backup); err != nil {
			return fmt.Errorf("copy before the change of form: %w", err)
		}
		if err := os.Chmod(backup, 0o600); err != nil {
			return err
		}
	}
	for ; version < len(steps); version++ {
		err := d.transaction(func() error {
			return errors.Join(d.exec(steps[version]), d.exec(fmt.Sprintf("PRAGMA application_id=%d", applicationID)),
				d.exec(fmt.Sprintf("PRAGMA user_version=%d", version+1)))
		})
		if err != nil {
			return fmt.Errorf("change of form %d to %d: %w", version, version+1, err)
		}
	}
	return nil
}

// transaction takes the write lock at once, so that it fails at its beginning.
func (d *disk) transaction(do func() error) error {
	if err := d.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = d.exec("COMMIT")
	}
	if err != nil {
		// Some faults have rolled back already; that there is nothing to roll
		// back is no news then.
		_ = d.exec("ROLLBACK")
	}
	return err
}

func (d *disk) stmt(query string) (*sql.Stmt, error) {
	if s := d.stmts[query]; s != nil {
		return s, nil
	}
	s, err := d.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	d.stmts[query] = s
	return s, nil
}

func (d *disk) run(query string, args ...any) error {
	s, err := d.stmt(query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background(), args...)
	return err
}

// write commits a batch, all of it or nothing, with the clocks.
func (d *disk) write(b *batch, now int64, wall time.Time) error {
	err := d.transaction(func() error { return d.rows(b, now, wall) })
	if err == nil && b.purge {
		// Gives room back in steps; that it fails costs only room.
		_ = d.exec("PRAGMA incremental_vacuum(2000)")
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		_ = d.close()
		err = errors.Join(err, d.connect())
	}
	if err != nil {
		return fault(d.path, err)
	}
	return nil
}

func (d *disk) rows(b *batch, now int64, wall time.Time) error {
	if b.wipe {
		if err := errors.Join(d.exec("DELETE FROM item"), d.exec("DELETE FROM window")); err != nil {
			return err
		}
	}
	if b.purge {
		if err := errors.Join(d.run("DELETE FROM item WHERE expires<>0 AND expires<=?", now), d.run("DELETE FROM window WHERE expires<=?", now)); err != nil {
			return err
		}
	}
	for _, id := range b.goneItems {
		if err := d.run("DELETE FROM item WHERE set_name=? AND key=?", []byte(id.set), []byte(id.key)); err != nil {
			return err
		}
	}
	for _, id := range b.goneWindows {
		if err := d.run("DELETE FROM window WHERE key=? AND span=? AND parts=?", []byte(id.key), int64(id.span), id.parts); err != nil {
			return err
		}
	}
	err := d.insert("item", 5, len(b.items), func(i int, args []any) []any {
		r := &b.items[i]
		return append(args, r.set, r.key, r.value, r.expires, r.keep)
	})
	if err != nil {
		return err
	}
	err = d.insert("window", 6, len(b.windows), func(i int, args []any) []any {
		r := &b.windows[i]
		return append(args, []byte(r.id.key), int64(r.id.span), r.id.parts, r.newest, r.counts, r.expires)
	})
	if err != nil {
		return err
	}
	return d.run("INSERT OR REPLACE INTO clock VALUES (1,?,?)", now, wall.UnixNano())
}

// together is the number of rows that one statement writes: what a statement
// costs beside its rows is as much as some rows do.
const together = 32

// insert writes n rows; row appends the values of one.
func (d *disk) insert(table string, columns, n int, row func(i int, args []any) []any) error {
	values := "(?" + strings.Repeat(",?", columns-1) + ")"
	one := "INSERT OR REPLACE INTO " + table + " VALUES " + values
	many := one + strings.Repeat(","+values, together-1)
	var args []any
	for i := 0; i < n; {
		query, rows := one, 1
		if n-i >= together {
			query, rows = many, together
		}
		args = args[:0]
		for range rows {
			args = row(i, args)
			i++
		}
		if err := d.run(query, args...); err != nil {
			return err
		}
	}
	return nil
}
