package hold

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"modernc.org/sqlite"
)

// Entry is one message as lists show it.
type Entry struct {
	ID         string    `json:"id"`
	Tx         string    `json:"transaction"`
	Time       time.Time `json:"time"`
	State      string    `json:"state"`
	Copy       bool      `json:"copy,omitempty"`
	Unsure     bool      `json:"unsure,omitempty"`
	From       string    `json:"from"`
	To         []string  `json:"to"` // at most three
	Recipients int       `json:"recipients"`
	Subject    string    `json:"subject"`
	HeaderFrom string    `json:"header_from,omitempty"`
	Size       int64     `json:"size"`
	Symbols    []string  `json:"symbols"`
	Reason     string    `json:"reason"` // of the finding that decided
	Client     string    `json:"client"`
	User       string    `json:"user,omitempty"`
	Listener   string    `json:"listener"`
	Direction  string    `json:"direction"`
	NextHop    string    `json:"next_hop"`
	At         time.Time `json:"changed,omitzero"`
	By         string    `json:"by,omitempty"`
	Note       string    `json:"note,omitempty"`
}

const (
	shownRecipients = 3
	shownSymbols    = 12
)

func entryOf(l *Letter, s State) Entry {
	e := Entry{ID: l.ID, Tx: l.Tx, Time: l.Time, State: s.State, Copy: l.Copy, Unsure: s.Unsure, From: l.From.String(), To: []string{}, Recipients: len(l.To),
		Subject: l.Subject, HeaderFrom: l.HeaderFrom, Size: l.MessageSize, Symbols: []string{}, Listener: l.Listener, Direction: l.Direction,
		NextHop: l.NextHop, Client: l.Client, User: strings.ToValidUTF8(cutText(string(l.User), longestTitle), "?"), At: s.At, By: cutText(s.By, longestTitle), Note: cutText(string(s.Note), longestTitle)}
	for _, to := range l.To[:min(len(l.To), shownRecipients)] {
		e.To = append(e.To, to.String())
	}
	for _, r := range l.Reasons {
		if len(e.Symbols) < shownSymbols {
			e.Symbols = append(e.Symbols, cutText(r.Symbol, 80))
		}
	}
	if len(l.Reasons) > 0 {
		e.Reason = cutText(l.Reasons[0].Symbol+" "+string(l.Reasons[0].Detail), longestTitle)
	}
	return e
}

// indexForm is the number of the form of the tables. An index of another form
// is made again: nothing is in it alone.
const indexForm = 1

const tables = `
CREATE TABLE letter (id TEXT PRIMARY KEY, time INTEGER NOT NULL, state TEXT NOT NULL, sender TEXT NOT NULL, sender_domain TEXT NOT NULL, entry TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX letter_time ON letter (time, id);
CREATE INDEX letter_sender ON letter (sender);
CREATE TABLE recipient (address TEXT NOT NULL, domain TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (address, id)) WITHOUT ROWID;
CREATE INDEX recipient_id ON recipient (id);
CREATE INDEX recipient_domain ON recipient (domain);
CREATE TABLE symbol (symbol TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (symbol, id)) WITHOUT ROWID;
CREATE INDEX symbol_id ON symbol (id);
PRAGMA user_version = 1;`

// index is the database. A nil one answers ErrIndexing.
type index struct {
	path string
	mu   sync.Mutex
	db   *sql.DB
}

var errForm = errors.New("the index has another form")

func openIndex(path string) (*index, error) {
	// Made by us for its mode, and never behind a link.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	f.Close()
	u := url.URL{Scheme: "file", Path: path, OmitHost: true}
	// What a power cut takes from the index is read from the files again, so
	// a commit need not wait for the disk; with WAL, NORMAL keeps it whole.
	db, err := sql.Open("sqlite", u.String()+"?_pragma=busy_timeout(500)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=journal_size_limit(16777216)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	x := &index{path: path, db: db}
	if err := x.prepare(); err != nil {
		db.Close()
		return nil, err
	}
	return x, nil
}

func (x *index) prepare() error {
	var form, n int
	var ok string
	if err := x.db.QueryRow("PRAGMA user_version").Scan(&form); err != nil {
		return err
	}
	if err := x.db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		_, err := x.db.Exec("BEGIN;" + tables + "COMMIT;")
		return err
	}
	if form != indexForm {
		return errForm
	}
	if err := x.db.QueryRow("PRAGMA quick_check(1)").Scan(&ok); err != nil {
		return err
	}
	if ok != "ok" {
		return fmt.Errorf("the index is damaged: %.100q", ok)
	}
	return nil
}

// unusable tells an index that must be put aside; others may only be busy.
func unusable(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff
		return code == 11 || code == 26 || code == 1 // CORRUPT, NOTADB, ERROR: no such table
	}
	return err != nil && (errors.Is(err, errForm) || strings.Contains(err.Error(), "damaged"))
}

// putAside renames an index that cannot be used; the last one is kept.
func putAside(path string) {
	for _, end := range []string{"-wal", "-shm"} {
		os.Remove(path + end)
	}
	os.Rename(path, path+".corrupt")
}

func (x *index) close() {
	if x != nil {
		x.db.Close()
	}
}

func lower(s string) string { return strings.ToLower(s) }

// domainOf is what stands behind the last @.
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// put writes a message's row anew.
func (x *index) put(l *Letter, s State) error {
	if x == nil {
		return ErrIndexing
	}
	e := entryOf(l, s)
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	t, err := x.db.Begin()
	if err != nil {
		return err
	}
	defer t.Rollback()
	from := lower(e.From)
	if _, err := t.Exec("INSERT OR REPLACE INTO letter VALUES (?, ?, ?, ?, ?, ?)", e.ID, e.Time.UnixMicro(), e.State, from, domainOf(from), string(raw)); err != nil {
		return err
	}
	for _, to := range l.To {
		a := lower(to.String())
		if _, err := t.Exec("INSERT OR IGNORE INTO recipient VALUES (?, ?, ?)", a, domainOf(a), e.ID); err != nil {
			return err
		}
	}
	for _, r := range l.Reasons {
		if _, err := t.Exec("INSERT OR IGNORE INTO symbol VALUES (?, ?)", r.Symbol, e.ID); err != nil {
			return err
		}
	}
	return t.Commit()
}

// change gives a row another state without its letter.
func (x *index) change(id string, s State) error {
	if x == nil {
		return ErrIndexing
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var raw string
	err := x.db.QueryRow("SELECT entry FROM letter WHERE id = ?", id).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	var e Entry
	if err := json.Unmarshal([]byte(raw), &e); err != nil {
		return err
	}
	e.State, e.At, e.By, e.Unsure, e.Note = s.State, s.At, cutText(s.By, longestTitle), s.Unsure, cutText(string(s.Note), longestTitle)
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = x.db.Exec("UPDATE letter SET state = ?, entry = ? WHERE id = ?", s.State, string(b), id)
	return err
}

// forget drops rows of messages that are gone since before a time.
func (x *index) forget(before time.Time) error {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, q := range []string{
		"DELETE FROM recipient WHERE id IN (SELECT id FROM letter WHERE state IN ('deleted', 'missing') AND time < ?)",
		"DELETE FROM symbol WHERE id IN (SELECT id FROM letter WHERE state IN ('deleted', 'missing') AND time < ?)",
		"DELETE FROM letter WHERE state IN ('deleted', 'missing') AND time < ?",
	} {
		if _, err := x.db.Exec(q, before.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// all gives the state of every row.
func (x *index) all() (map[string]string, error) {
	if x == nil {
		return nil, ErrIndexing
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	rows, err := x.db.Query("SELECT id, state FROM letter")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			return nil, err
		}
		out[id] = state
	}
	return out, rows.Err()
}

// copies gives the ids of held copies from before a time.
func (x *index) copies(before time.Time) (map[string]bool, error) {
	if x == nil {
		return nil, ErrIndexing
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	rows, err := x.db.Query("SELECT id FROM letter WHERE time < ? AND state = ? AND json_extract(entry, '$.copy')", before.UnixMicro(), Held)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out[id] = true
	}
	return out, rows.Err()
}

// Filter picks messages. Empty fields pick all.
type Filter struct {
	IDs       []string  `json:"ids,omitempty"`       // ids or their beginnings
	Sender    string    `json:"sender,omitempty"`    // an address, "@domain", or "<>"
	Recipient string    `json:"recipient,omitempty"` // an address or "@domain"
	User      string    `json:"user,omitempty"`      // who sent it, in its one spelling
	Oldest    bool      `json:"oldest,omitempty"`    // the oldest first
	Reason    string    `json:"reason,omitempty"`    // a symbol, or what stands before its dot; several with commas
	Since     time.Time `json:"since,omitzero"`
	Before    time.Time `json:"before,omitzero"`
	State     string    `json:"state,omitempty"`  // "" is held, "all" is all
	Copies    string    `json:"copies,omitempty"` // "" with copies, "none" without, "only" them alone
	Limit     int       `json:"limit,omitempty"`
	After     string    `json:"after,omitempty"` // the id of the last row of the page before
}

// maxRows bounds one answer.
const maxRows = 200

// where writes the filter as SQL; values are never part of its text.
func (f Filter) where() (string, []any) {
	var b strings.Builder
	var args []any
	add := func(s string, a ...any) { b.WriteString(" AND " + s); args = append(args, a...) }
	switch f.State {
	case "all":
	case "":
		add("state = ?", Held)
	default:
		add("state = ?", f.State)
	}
	switch f.Copies {
	case "none":
		add("json_extract(entry, '$.copy') IS NULL")
	case "only":
		add("json_extract(entry, '$.copy')")
	}
	if len(f.IDs) > 0 {
		var or []string
		for _, id := range f.IDs {
			id = strings.ToUpper(id)
			or = append(or, "(id >= ? AND id < ?)")
			args = append(args, id, id+"\x7f")
		}
		b.WriteString(" AND (" + strings.Join(or, " OR ") + ")")
	}
	switch s := lower(f.Sender); {
	case s == "":
	case s == "<>":
		add("sender = ''")
	case s[0] == '@':
		add("sender_domain = ?", s[1:])
	default:
		add("sender = ?", s)
	}
	switch r := lower(f.Recipient); {
	case r == "":
	case r[0] == '@':
		add("id IN (SELECT id FROM recipient WHERE domain = ?)", r[1:])
	default:
		add("id IN (SELECT id FROM recipient WHERE address = ?)", r)
	}
	if f.User != "" {
		add("json_extract(entry, '$.user') = ?", f.User)
	}
	if f.Reason != "" {
		var or []string
		for _, r := range strings.SplitN(f.Reason, ",", mostAlternatives) { // no symbol has a comma
			or = append(or, "symbol = ? OR (symbol > ? AND symbol < ?)")
			args = append(args, r, r+".", r+"/")
		}
		b.WriteString(" AND id IN (SELECT id FROM symbol WHERE " + strings.Join(or, " OR ") + ")")
	}
	if !f.Since.IsZero() {
		add("time >= ?", f.Since.UnixMicro())
	}
	if !f.Before.IsZero() {
		add("time < ?", f.Before.UnixMicro())
	}
	if f.After != "" {
		than := "<"
		if f.Oldest {
			than = ">"
		}
		add("(time, id) "+than+" (SELECT time, id FROM letter WHERE id = ?)", f.After)
	}
	return b.String(), args
}

// maxIDs bounds the ids of one filter, mostAlternatives its reasons, mostSenders
// the users of one answer.
const (
	maxIDs           = 500
	mostAlternatives = 20
	mostSenders      = 10_000
)

// list gives a page, newest first.
func (x *index) list(ctx context.Context, f Filter) (page []Entry, more bool, err error) {
	if x == nil {
		return nil, false, ErrIndexing
	}
	n := f.Limit
	if n <= 0 || n > maxRows {
		n = maxRows
	}
	where, args := f.where()
	order := " ORDER BY time DESC, id DESC LIMIT ?"
	if f.Oldest {
		order = " ORDER BY time, id LIMIT ?"
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	rows, err := x.db.QueryContext(ctx, "SELECT entry FROM letter WHERE 1=1"+where+order, append(args, n+1)...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	page = []Entry{}
	for rows.Next() {
		var raw string
		if err := rows.Scan(&raw); err != nil {
			return nil, false, err
		}
		var e Entry
		if err := json.Unmarshal([]byte(raw), &e); err != nil {
			return nil, false, err
		}
		page = append(page, e)
	}
	if len(page) > n {
		page, more = page[:n], true
	}
	return page, more, rows.Err()
}

// total counts what a filter picks.
func (x *index) total(ctx context.Context, f Filter) (n int, err error) {
	if x == nil {
		return 0, ErrIndexing
	}
	f.After = ""
	where, args := f.where()
	x.mu.Lock()
	defer x.mu.Unlock()
	err = x.db.QueryRowContext(ctx, "SELECT count(*) FROM letter WHERE 1=1"+where, args...).Scan(&n)
	return n, err
}

// UserTotal is a user of ours and how much of him is held.
type UserTotal struct {
	User   string    `json:"user"`
	Held   int       `json:"held"`
	Oldest time.Time `json:"oldest"`
}

// byUser gives the users whose mail a filter picks, who waits longest first.
func (x *index) byUser(ctx context.Context, f Filter) (out []UserTotal, err error) {
	if x == nil {
		return nil, ErrIndexing
	}
	f.After = ""
	where, args := f.where()
	x.mu.Lock()
	defer x.mu.Unlock()
	rows, err := x.db.QueryContext(ctx, "SELECT json_extract(entry, '$.user') AS user, count(*), min(time) FROM letter WHERE 1=1"+where+
		" AND user <> '' GROUP BY user ORDER BY min(time), user LIMIT ?", append(args, mostSenders)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s UserTotal
		var first int64
		if err := rows.Scan(&s.User, &s.Held, &first); err != nil {
			return nil, err
		}
		s.Oldest = time.UnixMicro(first)
		out = append(out, s)
	}
	return out, rows.Err()
}

func indexPath(dir string) string { return filepath.Join(dir, "hold.db") }
