package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// roomy makes maps of the size that they will have: to grow them is a third of
// what a start with a million values costs.
func (m *Memory) roomy(d *disk) error {
	n, err := d.number("SELECT count(*) FROM item WHERE keep=0")
	if err != nil {
		return err
	}
	each := min(int(n)/len(m.shards), m.itemsPerShard)
	for i := range m.shards {
		m.shards[i].items = make(map[itemKey]*item, each+each/16)
	}
	return nil
}

func (m *Memory) loadItems(d *disk) error {
	if err := m.roomy(d); err != nil {
		return err
	}
	rows, err := d.conn.QueryContext(context.Background(), "SELECT set_name, key, value, expires, keep FROM item")
	if err != nil {
		return err
	}
	defer rows.Close()
	now := m.now()
	for rows.Next() {
		var set, key []byte
		i := &item{stored: true}
		if err := rows.Scan(&set, &key, &i.value, &i.expires, &i.keep); err != nil {
			return err
		}
		if i.gone(now) {
			continue // the first purge drops the row
		}
		i.id = itemKey{string(set), string(key)}
		s := &m.shards[m.shardOf(i.id.key)]
		if i.keep {
			s.kept[i.id] = i
			m.keptCount.Add(1)
			continue
		}
		// The bounds may be smaller than those that the rows were written
		// under.
		m.roomForItem(s, i.size(), now)
		s.items[i.id] = i
		s.bytes += i.size()
	}
	return rows.Err()
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
