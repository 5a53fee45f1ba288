package dnsbl

import (
	"encoding/json"
	"time"
)

// Health is whether a list may count.
type Health string

const (
	// Healthy lists count.
	Healthy Health = "healthy"
	// Suspended lists are not asked.
	Suspended Health = "suspended"
	// Probation: it is asked and does not count yet.
	Probation Health = "probation"
)

// Reason is why a list does not count.
type Reason string

const (
	// Unproved: it has not been probed yet.
	Unproved Reason = "not probed yet"
	// Everything: it lists what nobody can have listed.
	Everything Reason = "lists everything"
	// Empty: it does not list its own test entry any more.
	Empty Reason = "is empty"
	// Refuses: it answers with an error.
	Refuses Reason = "refuses to answer"
	// Parked: what answers is not the list.
	Parked Reason = "answers outside of 127.0.0.0/8"
	// Silent: questions are not answered in time.
	Silent Reason = "does not answer in time"
	// Jump: it lists far more than it used to, and no other list agrees.
	Jump Reason = "lists far more than before"
	// GoodPeers: it lists peers known for good mail.
	GoodPeers Reason = "lists peers known for good mail"
)

// The times of probes and of healing. Who only was silent comes back with the
// first good probe; who said the untrue has to be well for longer, and for
// twice as long each time within a day (hysteresis).
const (
	probeHealthy   = 30 * time.Minute
	probeSuspended = 5 * time.Minute
	probeSilent    = time.Minute
	provenFor      = time.Hour // after a restart
	maxRounds      = 12
	flapWithin     = 24 * time.Hour
	// maxFailures in a row suspend; slow is an answer that took so long.
	maxFailures = 3
	slow        = time.Second
	maxSlow     = 5
)

// Event is a change of the health of a list, told once.
type Event struct {
	List   string    `json:"list"`
	Zone   string    `json:"zone"` // without a key
	Health Health    `json:"health"`
	Reason Reason    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"` // printable
	Since  time.Time `json:"since"`
}

// condition is the health of one list; it is what the store keeps.
type condition struct {
	Health Health    `json:"health"`
	Reason Reason    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since"`
	// Good are good probes since it is suspended; Need as many heal it.
	Good int `json:"good,omitempty"`
	Need int `json:"need,omitempty"`
	// Healed is when it was last taken back.
	Healed time.Time `json:"healed,omitzero"`
	Probed time.Time `json:"probed,omitzero"` // the last probe
	Proven time.Time `json:"proven,omitzero"` // the last good one
}

func fresh(now time.Time) condition {
	return condition{Health: Probation, Reason: Unproved, Since: now}
}

// recall reads what was kept. A list that was well counts at once when that is
// not long ago: a restart is no reason to let spam in.
func recall(raw []byte, now time.Time) condition {
	var c condition
	if json.Unmarshal(raw, &c) != nil || c.Health != Healthy && c.Health != Suspended && c.Health != Probation || c.Since.After(now) || c.Proven.After(now) {
		return fresh(now)
	}
	if c.Health == Healthy && now.Sub(c.Proven) > provenFor {
		return fresh(now)
	}
	c.Probed = time.Time{} // ask now
	return c
}

// fail suspends, and tells whether that is news.
func (c *condition) fail(why Reason, detail string, now time.Time) bool {
	c.Good = 0
	if c.Health == Suspended {
		// The first reason stays, unless it now is a graver one.
		if gentle(c.Reason) && !gentle(why) {
			c.Reason, c.Detail, c.Need = why, detail, max(c.Need, rounds(why))
		}
		return false
	}
	need := rounds(why)
	if c.Need > 0 && !gentle(why) && !c.Healed.IsZero() && now.Sub(c.Healed) < flapWithin {
		need = min(max(c.Need*2, need), maxRounds)
	}
	c.Health, c.Reason, c.Detail, c.Since, c.Need = Suspended, why, detail, now, need
	return true
}

// gentle are reasons that do not make what the list says untrue.
func gentle(r Reason) bool { return r == Silent || r == Refuses || r == Unproved }

func rounds(r Reason) int {
	if gentle(r) {
		return 1
	}
	return 2
}

// pass notes a good probe, and tells whether the list is taken back by it.
func (c *condition) pass(now time.Time) bool {
	c.Proven = now
	c.Good++
	switch c.Health {
	case Healthy:
		return false
	case Suspended:
		if c.Good < c.Need {
			return false
		}
		if !gentle(c.Reason) {
			// It is asked again, and nothing of it counts before the next probe.
			c.Health, c.Since = Probation, now
			return false
		}
	}
	news := c.Reason != Unproved
	if news {
		c.Healed = now
	}
	c.Health, c.Reason, c.Detail, c.Since, c.Good = Healthy, "", "", now, 0
	return news
}

// due is when the next probe is, without jitter.
func (c *condition) due() time.Time {
	switch {
	case c.Probed.IsZero():
		return time.Time{}
	case c.Health == Healthy:
		return c.Probed.Add(probeHealthy)
	case gentle(c.Reason):
		return c.Probed.Add(probeSilent)
	}
	return c.Probed.Add(probeSuspended)
}
