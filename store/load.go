package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"
)

// load reads everything. The memory is not shared yet.
func (m *Memory) load(d *disk) error {
	if err := m.setClock(d); err != nil {
		return err
	}
	if err := m.loadItems(d); err != nil {
		return err
	}
	if err := m.loadWindows(d); err != nil {
		return err
	}
	if m.evicted.Load() > 0 {
		// The rows of what had no room would come back at each start.
		m.wipe.Store(true)
	}
	return nil
}

// setClock goes on with the time of the store; see "Time" in the package
// comment.
func (m *Memory) setClock(d *disk) error {
	var last, wall int64
	err := d.conn.QueryRowContext(context.Background(), "SELECT store, wall FROM clock").Scan(&last, &wall)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	away := m.config.Now().Sub(time.Unix(0, wall))
	if away < 0 || away > maxAway {
		if m.config.Log != nil {
			m.config.Log("the clock is doubted; what expires goes on from where it stood",
				fmt.Errorf("the clock says %s, the state was written last at %s", m.config.Now().UTC().Format(time.RFC3339), time.Unix(0, wall).UTC().Format(time.RFC3339)))
		}
		away = 0
	}
	m.base += last + int64(away) - m.now()
	return nil
}

// loadItems reads the rows by the driver itself: what database/sql does for
// each value is a good part of a start with a million of them.
func (m *Memory) loadItems(d *disk) error {
	return d.conn.Raw(func(c any) error {
		q, ok := c.(driver.QueryerContext)
		if !ok {
			return errDriver
		}
		rows, err := q.QueryContext(context.Background(), "SELECT set_name, key, value, expires, keep FROM item", nil)
		if err != nil {
			return err
		}
		defer rows.Close()
		now := m.now()
		row := make([]driver.Value, 5)
		for {
			if err := rows.Next(row); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			set, _ := row[0].([]byte)
			key, ok := row[1].([]byte)
			value, _ := row[2].([]byte)
			expires, ok2 := row[3].(int64)
			keep, ok3 := row[4].(int64)
			if !ok || !ok2 || !ok3 || len(set)+len(key) > maxKey || len(value) > maxValue {
				return fmt.Errorf("%w: a value's row cannot be read", ErrCorrupt)
			}
			m.loadItem(set, key, value, expires, keep != 0, now)
		}
	})
}

var errDriver = errors.New("the driver of the database answers no questions")

// loadItem takes one row.
func (m *Memory) loadItem(set, key, value []byte, expires int64, keep bool, now int64) {
	if expires != 0 && expires <= now {
		return // the first purge drops the row
	}
	id := itemKey{string(set), string(key)}
	s, hash := m.home(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if keep {
		s.kept[id] = &item{id: id, value: append([]byte{}, value...), expires: expires, stored: true}
		m.keptCount.Add(1)
		return
	}
	// The bounds may be smaller than those that the rows were written under.
	m.roomForItem(s, recordSize(id, len(value)), now)
	s.items.insert(hash, id, value, expires, isStored)
}

func (m *Memory) loadWindows(d *disk) error {
	rows, err := d.conn.QueryContext(context.Background(), "SELECT key, span, parts, newest, counts FROM window")
	if err != nil {
		return err
	}
	defer rows.Close()
	now := m.now()
	for rows.Next() {
		var key, counts []byte
		var span, parts, newest int64
		if err := rows.Scan(&key, &span, &parts, &newest, &counts); err != nil {
			return err
		}
		w, err := decodeWindow(winKey{string(key), time.Duration(span), parts}, newest, counts)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if w.expires() <= now || w.newest > now/w.id.width() {
			continue // over, or of a time that has not come: nobody counted that
		}
		w.stored = true
		s := &m.shards[m.shardOf(w.id.key)]
		m.roomForWindow(s, now)
		s.windows[w.id] = w
	}
	return rows.Err()
}
