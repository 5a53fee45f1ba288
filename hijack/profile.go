package hijack

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"garita/store"
)

// Days is how many days on which he sent are remembered of a user: about three
// months of an office.
const Days = 64

// maxProfile bounds the encoding: a head, the days, the networks.
const maxProfile = 64 + (Days+1)*2*figures + 24 + usualNets*netSize

// The figures of a day. Those of strangers are in quarters (a colleague is
// one, a stranger four).
const (
	dayLetters = iota
	hourLetters
	dayNew
	hourNew
	mostAlike
	dayRefused
	figures
)

type day [figures]uint16

const (
	usualNets = 12
	netSize   = 7
	// familiar is on how many days a network was seen that is a usual one.
	familiar = 3
)

type net struct {
	hash uint32
	day  uint16 // the last one, modulo 2^16
	days uint8
}

// profile is the past of a user.
type profile struct {
	count, next int // days in the ring, and where the next one goes
	ring        [Days]day
	today       day
	date, hour  int32 // of today and of the running hour, since 1970 local time
	inHour      [2]uint16
	tainted     bool // a case was open today
	believed    bool // a person vouched for today
	hours       [24]uint8
	nets        []net
}

const profileVersion = 1

func (p *profile) bytes() []byte {
	b := make([]byte, 0, maxProfile)
	flags := byte(0)
	if p.tainted {
		flags = 1
	}
	if p.believed {
		flags |= 2
	}
	b = append(b, profileVersion, flags, byte(p.count), byte(p.next), byte(len(p.nets)))
	b = binary.LittleEndian.AppendUint32(b, uint32(p.date))
	b = binary.LittleEndian.AppendUint32(b, uint32(p.hour))
	b = binary.LittleEndian.AppendUint16(b, p.inHour[0])
	b = binary.LittleEndian.AppendUint16(b, p.inHour[1])
	b = append(b, p.hours[:]...)
	for _, n := range p.nets {
		b = binary.LittleEndian.AppendUint32(b, n.hash)
		b = append(binary.LittleEndian.AppendUint16(b, n.day), n.days)
	}
	put := func(d *day) {
		for _, v := range d {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	put(&p.today)
	for i := range p.count {
		put(&p.ring[i])
	}
	return b
}

// read takes what bytes gave; anything else is an empty past.
func (p *profile) read(b []byte) {
	const head = 5 + 4 + 4 + 2 + 2 + 24
	if len(b) < head || b[0] != profileVersion {
		return
	}
	count, next, nets := int(b[2]), int(b[3]), int(b[4])
	if count > Days || next >= Days || nets > usualNets || len(b) != head+nets*netSize+(count+1)*2*figures {
		return
	}
	p.tainted, p.believed, p.count, p.next = b[1]&1 != 0, b[1]&2 != 0, count, next
	p.date, p.hour = int32(binary.LittleEndian.Uint32(b[5:])), int32(binary.LittleEndian.Uint32(b[9:]))
	p.inHour[0], p.inHour[1] = binary.LittleEndian.Uint16(b[13:]), binary.LittleEndian.Uint16(b[15:])
	copy(p.hours[:], b[17:])
	b = b[head:]
	p.nets = make([]net, nets, usualNets)
	for i := range p.nets {
		p.nets[i] = net{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), b[6]}
		b = b[netSize:]
	}
	get := func(d *day) {
		for i := range d {
			d[i] = binary.LittleEndian.Uint16(b)
			b = b[2:]
		}
	}
	get(&p.today)
	for i := range count {
		get(&p.ring[i])
	}
}

// most is the largest of a figure on the days that are over.
func (p *profile) most(figure int) (m int) {
	for i := range p.count {
		m = max(m, int(p.ring[i][figure]))
	}
	return m
}

// high is the second largest of a figure: one odd day makes no habit.
func (p *profile) high(figure int) float64 {
	first, second := 0, 0
	for i := range p.count {
		switch v := int(p.ring[i][figure]); {
		case v > first:
			first, second = v, first
		case v > second:
			second = v
		}
	}
	return float64(second)
}

// week is the largest sum of a figure over six days in a row on which he sent.
func (p *profile) week(figure int) float64 {
	sum, most := 0, 0
	start := 0
	if p.count == Days {
		start = p.next
	}
	at := func(i int) int { return int(p.ring[(start+i)%Days][figure]) }
	for i := range p.count {
		sum += at(i)
		if i >= 6 {
			sum -= at(i - 6)
		}
		most = max(most, sum)
	}
	return float64(most)
}

// age is from 0, a newcomer, to 1.
func (p *profile) age() float64 { return min(float64(p.count)/10, 1) }

// dateOf is the number of the local day and hour.
func dateOf(t time.Time) (date, hour int32) {
	_, off := t.Zone()
	s := t.Unix() + int64(off)
	return int32(s / 86400), int32(s / 3600)
}

// learn notes a letter that has passed.
func (p *profile) learn(now time.Time, j *Judgement, refused int) {
	date, hour := dateOf(now)
	if date != p.date {
		p.close()
		p.date = date
	}
	if hour != p.hour {
		p.hour, p.inHour = hour, [2]uint16{}
	}
	p.believed = p.believed || j.Trusted
	weight := effective(j.weight, 1)
	p.inHour[0], p.inHour[1] = plus(p.inHour[0], 1), plus(p.inHour[1], weight)
	d := &p.today
	d[dayLetters], d[dayNew] = plus(d[dayLetters], 1), plus(d[dayNew], weight)
	d[hourLetters], d[hourNew] = max(d[hourLetters], p.inHour[0]), max(d[hourNew], p.inHour[1])
	d[mostAlike] = max(d[mostAlike], uint16(j.alike))
	d[dayRefused] = plus(d[dayRefused], refused)
	if j.Suspect {
		p.tainted = true
		return
	}
	h := now.Hour()
	if p.hours[h] == 255 {
		for i := range p.hours {
			p.hours[i] -= p.hours[i] / 2
		}
	}
	p.hours[h]++
	if j.from {
		p.seen(j.net, uint16(date))
	}
}

func plus(a uint16, n int) uint16 { return uint16(min(int(a)+max(n, 0), 65535)) }

// believe makes what the windows and a case have counted part of today.
func (p *profile) believe(used []store.Usage, reasons []Reason) {
	d := &p.today
	up := func(figure, n int) { d[figure] = max(d[figure], plus(0, n)) }
	up(dayLetters, int(used[wLettersDay].Used))
	up(hourLetters, int(used[wLettersHour].Used))
	up(dayNew, effective(int(used[wNewDay].Used), int(used[wToNewDay].Used)))
	up(hourNew, effective(int(used[wNewHour].Used), int(used[wToNewHour].Used)))
	up(dayRefused, int(used[wRefusedDay].Used))
	for _, r := range reasons {
		switch r.Kind {
		case Alike:
			up(mostAlike, r.N)
		case Volume:
			up(hourLetters, r.N)
		}
	}
	p.tainted, p.believed = false, true
}

// close puts a day into the ring, cut to what may be learned of it.
func (p *profile) close() {
	d, believed := p.today, p.believed
	p.today, p.believed = day{}, false
	if d[dayLetters] == 0 {
		p.tainted = false
		return
	}
	if !believed {
		for i := range d {
			least := [figures]float64{30, 12, 4 * 12, 4 * 6, 3, 3}[i]
			top := max(1.5*p.high(i), least)
			if p.tainted {
				top = max(p.high(i), least/2)
			}
			d[i] = uint16(min(float64(d[i]), top))
		}
	}
	p.tainted = false
	p.ring[p.next] = d
	p.next = (p.next + 1) % Days
	p.count = min(p.count+1, Days)
}

// usual tells a network from which the user has written on several days.
func (p *profile) usual(n uint32) bool {
	return slices.ContainsFunc(p.nets, func(one net) bool { return one.hash == n && one.days >= familiar })
}

// seen notes a network, in the place of the one that was seen least where there
// is no room.
func (p *profile) seen(n uint32, date uint16) {
	for i := range p.nets {
		if o := &p.nets[i]; o.hash == n {
			if o.day != date {
				o.day = date
				o.days = uint8(min(int(o.days)+1, 255))
			}
			return
		}
	}
	one := net{n, date, 1}
	if len(p.nets) < usualNets {
		p.nets = append(p.nets, one)
		return
	}
	least := 0
	for i := range p.nets {
		if c := cmp.Compare(p.nets[i].days, p.nets[least].days); c < 0 || c == 0 && date-p.nets[i].day > date-p.nets[least].day {
			least = i
		}
	}
	p.nets[least] = one
}
