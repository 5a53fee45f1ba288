package store

import (
	"context"
	"strings"
)

// watchRoom is how many events a watcher may be behind.
const watchRoom = 256

type watcher struct {
	prefix string
	ch     chan Event
}

// Watch tells of changes of values; members of sets and counters are none.
func (m *Memory) Watch(ctx context.Context, prefix string) <-chan Event {
	w := &watcher{prefix, make(chan Event, watchRoom)}
	m.watchMu.Lock()
	defer m.watchMu.Unlock()
	if m.closed.Load() || ctx.Err() != nil {
		close(w.ch)
		return w.ch
	}
	m.watchers[w] = struct{}{}
	m.watching.Add(1)
	context.AfterFunc(ctx, func() {
		m.watchMu.Lock()
		defer m.watchMu.Unlock()
		m.endWatch(w)
	})
	return w.ch
}

// endWatch is called under watchMu.
func (m *Memory) endWatch(w *watcher) {
	if _, ok := m.watchers[w]; ok {
		delete(m.watchers, w)
		m.watching.Add(-1)
		close(w.ch)
	}
}

func (m *Memory) endWatches() {
	m.watchMu.Lock()
	defer m.watchMu.Unlock()
	for w := range m.watchers {
		m.endWatch(w)
	}
}

// tell is called under the lock of the key's shard, so that the events of a key
// come in order. It never waits.
func (m *Memory) tell(e Event, set string) {
	if m.watching.Load() == 0 || set != "" {
		return
	}
	m.watchMu.RLock()
	defer m.watchMu.RUnlock()
	for w := range m.watchers {
		if !strings.HasPrefix(e.Key, w.prefix) {
			continue
		}
		e.Value = append([]byte(nil), e.Value...)
		if !e.Deleted && e.Value == nil {
			e.Value = []byte{}
		}
		select {
		case w.ch <- e:
		default:
			m.lost.Add(1)
		}
	}
}
