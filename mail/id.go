package mail

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// IDs makes identifiers that are unique in one process and, as long as the
// clock does not go back over a restart, across restarts: microseconds since
// 1970, forced to rise, in base 36. They match Postfix's \w+ queue ids.
type IDs struct{ last atomic.Int64 }

// Next returns a new identifier; it is safe for concurrent use.
func (g *IDs) Next() string {
	for {
		last := g.last.Load()
		now := max(time.Now().UnixMicro(), last+1)
		if g.last.CompareAndSwap(last, now) {
			return strings.ToUpper(strconv.FormatInt(now, 36))
		}
	}
}
