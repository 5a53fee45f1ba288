package limits

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"garita/identity"
	"garita/mail"
	"garita/store"
)

// Wait tells for how long a held message has no room yet, and which limit it
// waits for; 0 when there is room now. Nothing is counted.
func (l *Limits) Wait(ctx context.Context, id mail.Identity, null bool, rcpts []mail.Recipient, size int64) (time.Duration, string, error) {
	w, ok := l.whoOf(id, null)
	if !ok || l.o.Store == nil {
		return 0, "", nil
	}
	a, _, err := l.prepare(ctx, w, "", rcpts, size)
	if err != nil || len(a.windows) == 0 {
		return 0, "", err
	}
	used, err := l.o.Store.Peek(ctx, a.windows)
	var wait time.Duration
	limit := ""
	for i := range used {
		if used[i].Over && (limit == "" || used[i].Free > wait) {
			wait, limit = used[i].Free, a.of[i].limit.String()
		}
	}
	return wait, limit, err
}

// Full is a user who has used up much of a limit of his.
type Full struct {
	User  string
	Limit Limit
	Used  int64
	Over  bool // there is no room for one more
}

// mostCounters bounds the windows that Near looks at, the fullest of all.
const mostCounters = 20_000

// Near gives the users at or over warn_at of a limit, or over it, each with the
// fullest one. It asks the store for its counters: for operators.
func (l *Limits) Near(ctx context.Context) ([]Full, error) {
	if l.o.Store == nil {
		return nil, nil
	}
	worst := map[string]Full{}
	// Mail that only the envelope sender gives to a user has counters of its
	// own; where no host of ours says who has logged in, it is all there is.
	for prefix, source := range map[string]string{"limits/u/": identity.SourceAuth, "limits/s/": identity.SourceSender} {
		list, err := l.o.Store.Counters(ctx, prefix, mostCounters)
		if err != nil {
			return nil, err
		}
		l.nearOf(list, prefix, source, worst)
	}
	out := make([]Full, 0, len(worst))
	for _, f := range worst {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Full) int { return cmp.Compare(a.User, b.User) })
	return out, nil
}

// nearOf keeps the fullest limit of each user whose counters these are.
func (l *Limits) nearOf(list []store.Counter, prefix, source string, worst map[string]Full) {
	for _, c := range list {
		name, kind, ok := cutKind(strings.TrimPrefix(c.Key, prefix))
		if !ok {
			continue
		}
		user := l.userOf(name, prefix, source)
		for _, lim := range l.limitsOf(user) {
			if user == "" || lim.Kind != kind || lim.Span != c.Span || lim.Max <= 0 || c.Buckets != buckets {
				continue
			}
			f := Full{user, lim, c.Used, c.Used >= lim.Max}
			share := func(f Full) float64 { return float64(f.Used) / float64(f.Limit.Max) }
			if old, have := worst[user]; (f.Over || l.cfg.WarnAt > 0 && share(f) >= l.cfg.WarnAt) && (!have || share(f) > share(old)) {
				worst[user] = f
			}
		}
	}
}

// cutKind takes a window's key apart.
func cutKind(key string) (name string, kind Kind, ok bool) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "", 0, false
	}
	for k := range kinds {
		if k.String() == key[i+1:] {
			return key[:i], k, true
		}
	}
	return "", 0, false
}

// userOf gives the user whose windows are called so now: after a reset the old
// ones are nobody's.
func (l *Limits) userOf(name, prefix, source string) string {
	for _, user := range []string{name[:max(strings.LastIndexByte(name, '/'), 0)], name} {
		if user == "" {
			continue
		}
		if w, ok := l.whoOf(mail.Identity{User: user, Source: source}, false); ok && w.key == prefix+name {
			return user
		}
	}
	return ""
}
