package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"garita/store"
)

// Keys in the store.
const (
	recordPrefix  = "alert/open/"
	silencePrefix = "alert/silence/"
	// saveWait bounds one write; a store in memory never needs it.
	saveWait  = 5 * time.Second
	listPage  = 200
	maxRecord = 14 << 10 // a value of the store has 16 KB
)

// recall reads what an earlier process left. What was told and not delivered
// counts as not told.
func (m *Manager) recall() error {
	if m.o.Store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveWait)
	defer cancel()
	err := each(ctx, m.o.Store, recordPrefix, func(_ string, value []byte) {
		var r record
		if json.Unmarshal(value, &r) != nil || r.Alert.Key == "" || len(m.book.records) >= maxOpen+maxResolved || m.book.records[r.Alert.Key] != nil {
			return
		}
		r.Alert = r.Alert.clean() // the file is ours, and still a file
		if r.isOpen() && m.book.open >= maxOpen {
			return
		}
		if r.isOpen() {
			m.book.open++
			if r.Open && !r.Delivered {
				r.Open, r.Told = false, time.Time{}
			}
		}
		m.book.records[r.Alert.Key] = &r
	})
	return errors.Join(err, each(ctx, m.o.Store, silencePrefix, func(key string, value []byte) {
		var until time.Time
		if until.UnmarshalText(value) == nil && len(m.book.silences) < maxSilences {
			m.book.silences[cleanKey(strings.TrimPrefix(key, silencePrefix))] = until
		}
	}))
}

func each(ctx context.Context, s store.Store, prefix string, do func(key string, value []byte)) error {
	for after := ""; ; {
		page, err := s.List(ctx, prefix, after, listPage)
		if err != nil {
			return err
		}
		for _, it := range page {
			do(it.Key, it.Value)
			after = it.Key
		}
		if len(page) < listPage {
			return nil
		}
	}
}

// change is one record to write; nil value: to delete.
type change struct {
	key   string
	value []byte
}

// changes takes what the store does not know yet.
func (m *Manager) changes() (out []change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.book.dirty {
		var value []byte
		if r := m.book.records[key]; r != nil {
			value = r.encode()
		}
		out = append(out, change{recordPrefix + key, value})
	}
	clear(m.book.dirty)
	return out
}

// encode gives a record as JSON that fits into the store.
func (r *record) encode() []byte {
	v := marshal(r)
	if len(v) > maxRecord {
		short := *r // what is not needed to know it again
		short.Alert.Facts, short.Alert.Text = nil, Text{}
		v = marshal(short)
	}
	return v
}

// marshal is encoding/json without the escapes for HTML, which would make a
// text of angle brackets six times as long.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return nil // no type of ours cannot be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// save writes what is new, behind the callers.
func (m *Manager) save() {
	if err := m.keep(context.Background(), false); err != nil {
		m.log.Warn("alert", "open alerts may not survive a restart", slog.String("error", err.Error()))
	}
}

// saveNow is save for what an operator commanded: it is on the disk, or he is
// told.
func (m *Manager) saveNow(ctx context.Context) error {
	if err := m.keep(ctx, true); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return nil
}

func (m *Manager) keep(ctx context.Context, now bool) error {
	m.saving.Lock()
	defer m.saving.Unlock()
	list := m.changes()
	if m.o.Store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveWait)
	defer cancel()
	put := m.o.Store.Keep
	if now {
		put = m.o.Store.PutNow
	}
	var first error
	for _, c := range list {
		var err error
		if c.value == nil {
			err = m.o.Store.Delete(ctx, c.key)
		} else {
			err = put(ctx, c.key, c.value, keepOpen+keepClosed)
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (m *Manager) keepSilence(ctx context.Context, key string, until time.Time, d time.Duration) error {
	if m.o.Store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveWait)
	defer cancel()
	var err error
	if d == 0 {
		err = m.o.Store.DeleteNow(ctx, silencePrefix+key)
	} else {
		text, _ := until.MarshalText()
		err = m.o.Store.PutNow(ctx, silencePrefix+key, text, d)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return nil
}
