package resolver

import (
	"slices"
	"strings"
	"sync"
)

// zones lets nobody's domain have all questions to itself: who makes us ask
// for names whose servers take their time would else end the checks of
// everybody. A zone has a quarter of the questions on their way, and half of
// those that wait.
type zones struct {
	turns, users int // bounds for each

	mu  sync.Mutex
	set map[string]*share // those with a question; bounded by the questions
}

// share is one domain with questions on their way or waiting.
type share struct {
	name  string
	turns chan struct{}
	users int
}

func newZones(inFlight int) *zones {
	turns := max(inFlight/4, 1)
	return &zones{turns: turns, users: turns + waitFactor*inFlight/2, set: map[string]*share{}}
}

// enter gives the zone of a question, nil when it has too many.
func (z *zones) enter(name string) *share {
	name = zoneOf(name)
	z.mu.Lock()
	defer z.mu.Unlock()
	e := z.set[name]
	if e == nil {
		e = &share{name: name, turns: make(chan struct{}, z.turns)}
		z.set[name] = e
	}
	if e.users >= z.users {
		return nil
	}
	e.users++
	return e
}

func (z *zones) leave(e *share) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if e.users--; e.users == 0 {
		delete(z.set, e.name)
	}
}

// zoneOf gives what one owner has, roughly: the last two labels of a name,
// three below "com.mx" and its like, for reverse names the /16 and the /32.
func zoneOf(name string) string {
	labels := 2
	switch {
	case strings.HasSuffix(name, ".in-addr.arpa"):
		labels = 4
	case strings.HasSuffix(name, ".ip6.arpa"):
		labels = 10
	default:
		if i := len(name) - 3; i > 0 && name[i] == '.' {
			second := name[strings.LastIndexByte(name[:i], '.')+1 : i]
			if slices.Contains([]string{"com", "co", "net", "ne", "org", "or", "gov", "gob", "go", "gouv", "edu", "ac", "mil"}, second) {
				labels = 3
			}
		}
	}
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			if labels--; labels == 0 {
				return name[i+1:]
			}
		}
	}
	return name
}
