package hijack

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// The bounds of what is remembered of the last letters.
const (
	maxLetters  = 48
	maxDomains  = 64
	maxNetworks = 16
	letterSize  = 4 + digestSize
	maxRecent   = 4 + maxLetters*letterSize + (maxDomains+maxNetworks)*8
	// alikeFor is how long a letter is compared with those that follow.
	alikeFor = 3 * 24 * time.Hour
)

// mark is something and when it was seen last.
type mark struct{ hash, at uint32 }

// recent are the last letters of a user, the oldest first.
type recent struct {
	letters []sent
	domains []mark // of strangers
	nets    []mark // unusual ones
}

type sent struct {
	at   uint32
	text Digest
}

const recentVersion = 1

func (r *recent) bytes() []byte {
	b := make([]byte, 0, 4+len(r.letters)*letterSize+(len(r.domains)+len(r.nets))*8)
	b = append(b, recentVersion, byte(len(r.letters)), byte(len(r.domains)), byte(len(r.nets)))
	for i := range r.letters {
		b = binary.LittleEndian.AppendUint32(b, r.letters[i].at)
		b = append(b, r.letters[i].text[:]...)
	}
	for _, list := range [2][]mark{r.domains, r.nets} {
		for _, m := range list {
			b = binary.LittleEndian.AppendUint32(b, m.hash)
			b = binary.LittleEndian.AppendUint32(b, m.at)
		}
	}
	return b
}

// read takes what bytes gave; anything else is nothing.
func (r *recent) read(b []byte) {
	if len(b) < 4 || b[0] != recentVersion {
		return
	}
	n, d, w := int(b[1]), int(b[2]), int(b[3])
	if n > maxLetters || d > maxDomains || w > maxNetworks || len(b) != 4+n*letterSize+(d+w)*8 {
		return
	}
	b = b[4:]
	r.letters = make([]sent, n, n+1)
	for i := range r.letters {
		r.letters[i].at = binary.LittleEndian.Uint32(b)
		copy(r.letters[i].text[:], b[4:])
		b = b[letterSize:]
	}
	marks := func(n int) []mark {
		out := make([]mark, n, n+1)
		for i := range out {
			out[i] = mark{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
			b = b[8:]
		}
		return out
	}
	r.domains, r.nets = marks(d), marks(w)
}

// within tells that a time lies at most so far back. One in the future is of a
// clock that has jumped, and does not count.
func within(at uint32, now time.Time, span time.Duration) bool {
	past := now.Unix() - int64(at)
	return past >= 0 && past <= int64(span/time.Second)
}

// add notes a letter, and tells how it looks beside those before it.
func (r *recent) add(now time.Time, text Digest, toNew bool, domains []uint32) (f facts) {
	at := uint32(now.Unix())
	for i := range r.letters {
		if s := &r.letters[i]; within(s.at, now, alikeFor) && s.text.Alike(text) {
			f.alike++
		}
	}
	if f.alike > 0 {
		f.alike++ // and this one
	}
	if toNew || f.alike > 0 || len(r.letters) < maxLetters/2 {
		// Ordinary letters do not push out those to strangers.
		if r.letters = append(r.letters, sent{at, text}); len(r.letters) > maxLetters {
			r.letters = r.letters[1:]
		}
	}
	for _, d := range domains {
		r.domains = noteMark(r.domains, mark{d, at}, maxDomains)
	}
	for i := range r.domains {
		if within(r.domains[i].at, now, time.Hour) {
			f.domainsHour++
		}
		if within(r.domains[i].at, now, 24*time.Hour) {
			f.domainsDay++
		}
	}
	return f
}

// noteMark puts a mark at the end, and drops the oldest when there are too many.
func noteMark(list []mark, m mark, most int) []mark {
	for i := range list {
		if list[i].hash == m.hash {
			copy(list[i:], list[i+1:])
			list[len(list)-1] = m
			return list
		}
	}
	if list = append(list, m); len(list) > most {
		list = list[1:]
	}
	return list
}

func (r *recent) from(now time.Time, network uint32) {
	r.nets = noteMark(r.nets, mark{network, uint32(now.Unix())}, maxNetworks)
}

// networks are the unusual ones of the last hour.
func (r *recent) networks(now time.Time) (n int) {
	for i := range r.nets {
		if within(r.nets[i].at, now, time.Hour) {
			n++
		}
	}
	return n
}

// networkOf is about the provider of an address: a phone changes its /24 while
// it travels, and seldom its /16. Addresses of inside tell nothing.
func networkOf(a netip.Addr) (uint32, bool) {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() {
		return 0, false
	}
	bits := 16
	if a.Is6() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return 0, false
	}
	raw := p.Addr().As16()
	return fingerprint("", string(raw[:])), true
}
