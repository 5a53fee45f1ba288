package metrics

import "sync"

// other stands for every value that a set has no room for, or that is no name.
const other = "other"

// bounded gives each name a value of its own, up to a number. It forgets
// nothing: names come and go with the configuration, not with traffic, and a
// set that is full by some fault stays of that size.
type bounded[T any] struct {
	most  int
	make  func(name string) T
	mu    sync.RWMutex
	byKey map[string]T
}

func newBounded[T any](most int, make func(string) T) *bounded[T] {
	return &bounded[T]{most: most, make: make, byKey: map[string]T{}}
}

func (b *bounded[T]) get(name string) T {
	b.mu.RLock()
	v, ok := b.byKey[name]
	b.mu.RUnlock()
	if ok {
		return v
	}
	if !isName(name) {
		name = other
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if v, ok := b.byKey[name]; ok {
		return v
	}
	if len(b.byKey) >= b.most {
		name = other
		if v, ok := b.byKey[name]; ok {
			return v
		}
	}
	v = b.make(name)
	b.byKey[name] = v
	return v
}

// label gives the names of a list, in which the first most are themselves.
type label struct {
	most int
	seen map[string]bool
}

// take gives the label of a name, and false when it has had its line already:
// two lines of one name would spoil the whole scrape.
func (l *label) take(name string) (string, bool) {
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	if !isName(name) || len(l.seen) >= l.most {
		return "", false
	}
	if l.seen[name] {
		return "", false
	}
	l.seen[name] = true
	return name, true
}

// maxName is the longest name that becomes a label.
const maxName = 128

// isName tells that a text is what the configuration calls things: printable
// ASCII without quotes, spaces and braces. Paths and symbols are names.
func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '-', c == '_', c == '/', c == ':':
		default:
			return false
		}
	}
	return true
}
