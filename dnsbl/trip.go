package dnsbl

import (
	"net/netip"
	"time"
)

// The trip-wires. Numbers are of answers that were fetched, not of those from
// the cache: a busy peer counts once.
const (
	windowFor = 10 * time.Minute
	// windowMin answers at least make a window.
	windowMin = 50
	// lowestTrip and highestTrip bound the share of listings that trips; between
	// them it is three times the usual share. Most clients of a mail server may
	// be bots, so a share alone proves nothing below highestTrip.
	lowestTrip  = 0.5
	highestTrip = 0.97
	// perSource answers for one network of clients count in a window at most. Else
	// one spammer who has a network of listed addresses, or names listed domains
	// one after the other, would have a list suspended that is right.
	perSource = 3
	// alone is the share of listings that no other list confirms.
	alone = 0.6
	// peersFor and peersTrip: so many different good peers within that time.
	peersFor  = time.Hour
	peersTrip = 2
	maxPeers  = 64
)

// wires are the trip-wires of one list.
type wires struct {
	start         time.Time
	answers, hits int
	lonely        int // hits that no other list confirmed
	usual         float64
	learnt        int // answers that usual was learnt from
	peers         map[string]time.Time
	sources       map[netip.Prefix]int8 // answers of the window, by network
}

// network is what one party has of addresses at least.
func network(a netip.Addr) netip.Prefix {
	bits := 48
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // of no address: the zero prefix
	return p
}

// peerName is who a good peer is: addresses of one network are one, or two of
// them would be two witnesses.
func peerName(q *Question) string {
	if q.Source.IsValid() {
		return network(q.Source).String()
	}
	return q.Subject
}

// saw notes an answer, and tells whether the share of listings has jumped.
func (w *wires) saw(source netip.Addr, listed, confirmed bool, now time.Time) bool {
	if w.start.IsZero() || now.Sub(w.start) > windowFor || now.Before(w.start) {
		w.close(now)
	}
	if source.IsValid() {
		p := network(source)
		if w.sources[p] >= perSource {
			return false
		}
		if w.sources == nil {
			w.sources = map[netip.Prefix]int8{} // at most as many as a window has answers
		}
		w.sources[p]++
	}
	w.answers++
	if listed {
		w.hits++
		if !confirmed {
			w.lonely++
		}
	}
	if w.answers < windowMin {
		return false
	}
	if w.answers >= 4*windowMin { // a busy site: windows by number, not by time
		defer w.close(now)
	}
	share := float64(w.hits) / float64(w.answers)
	return share >= w.limit() && float64(w.lonely) >= alone*float64(w.hits)
}

// limit is the share that trips.
func (w *wires) limit() float64 {
	if w.learnt < 4*windowMin {
		return highestTrip
	}
	return min(max(3*w.usual, lowestTrip), highestTrip)
}

// close begins a new window; the old one is learnt from.
func (w *wires) close(now time.Time) {
	if w.answers > 0 {
		share := float64(w.hits) / float64(w.answers)
		weight := min(float64(w.answers)/float64(w.answers+w.learnt), 0.5)
		w.usual += (share - w.usual) * weight
		w.learnt = min(w.learnt+w.answers, 5000)
	}
	w.start, w.answers, w.hits, w.lonely, w.sources = now, 0, 0, 0, nil
}

// peer notes that a good peer is listed, and tells whether those are too many.
func (w *wires) peer(who string, now time.Time) bool {
	if w.peers == nil {
		w.peers = map[string]time.Time{}
	}
	for p, at := range w.peers {
		if age := now.Sub(at); age > peersFor || age < 0 {
			delete(w.peers, p)
		}
	}
	if len(w.peers) < maxPeers {
		w.peers[who] = now
	}
	return len(w.peers) >= peersTrip
}

// forget is for a list that was suspended: what tripped does not trip again.
func (w *wires) forget(now time.Time) {
	w.start, w.answers, w.hits, w.lonely, w.peers, w.sources = now, 0, 0, 0, nil, nil
}

// names is a bounded memory of names.
type names struct {
	until map[string]time.Time
}

// maxNames bounds it; the names have at most 253 octets, mostly 30.
const maxNames = 8192

func (n *names) has(name string, now time.Time) bool {
	t, ok := n.until[name]
	return ok && now.Before(t)
}

func (n *names) add(name string, until, now time.Time) {
	if n.until == nil {
		n.until = map[string]time.Time{}
	}
	if _, ok := n.until[name]; !ok && len(n.until) >= maxNames {
		tried := 0
		for k, t := range n.until { // in random order: of a few, what has expired, else any
			if tried++; !now.Before(t) || tried >= 16 {
				delete(n.until, k)
				break
			}
		}
	}
	n.until[name] = until
}
