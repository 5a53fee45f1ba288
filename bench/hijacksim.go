package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"garita/hijack"
)

// This file plays users and bots for the detector of hijacked accounts: what
// they write, to whom, when and from where. Everything comes from the seed.

// played is one message of somebody.
type played struct {
	at      time.Time
	to      []hijack.Recipient
	from    netip.Addr
	text    hijack.Digest
	refused int
	bot     bool
}

// kind is a way to send mail. Its numbers are ranges, of which each user draws
// his own.
type kind struct {
	Name        string
	perDay      [2]float64 // letters of a workday
	strangers   [2]float64 // share of first-time recipients
	colleagues  float64
	contacts    [2]int
	weekend     float64 // share of a workday
	newsletter  [2]int  // subscribers, once a week; 0: none
	billing     [2]int  // invoices, once a month
	billingNew  float64 // share of them to new customers
	bursts      float64 // a day on which he answers a pile
	invites     float64 // a day on which he invites strangers, one by one
	announce    float64 // a day with one letter to many
	nets        int     // that he uses
	travels     float64 // a day with networks that are not his
	templates   float64 // share of letters from a template
	nightWorker bool
}

// normals are the users who must not be stopped.
func normals() []kind {
	office := kind{Name: "office", perDay: [2]float64{3, 30}, strangers: [2]float64{0.02, 0.10}, colleagues: 0.4, contacts: [2]int{30, 200}, weekend: 0.08,
		bursts: 0.03, invites: 0.004, announce: 0.02, nets: 3, travels: 0.03, templates: 0.03}
	with := func(name string, change func(*kind)) kind {
		k := office
		k.Name = name
		change(&k)
		return k
	}
	return []kind{office,
		with("answers strangers all day", func(k *kind) {
			k.perDay, k.strangers, k.templates, k.colleagues = [2]float64{15, 60}, [2]float64{0.3, 0.7}, 0.3, 0.1
		}),
		with("travels", func(k *kind) { k.travels, k.weekend, k.nets = 0.5, 0.3, 5 }),
		with("writes seldom", func(k *kind) { k.perDay, k.contacts, k.bursts = [2]float64{0.1, 1.5}, [2]int{5, 30}, 0.01 }),
		with("newsletter", func(k *kind) { k.newsletter = [2]int{200, 1500} }),
		with("billing day", func(k *kind) { k.billing, k.billingNew = [2]int{60, 250}, 0.08 }),
	}
}

// unseen are others, with which nothing was tuned.
func unseen() []kind {
	all := normals()
	busy, loose, night := all[0], all[5], all[0]
	busy.Name, busy.perDay, busy.strangers, busy.bursts, busy.announce = "secretary", [2]float64{40, 90}, [2]float64{0.08, 0.2}, 0.15, 0.1
	loose.Name, loose.billing, loose.billingNew = "billing day, 20 % new", [2]int{40, 120}, 0.2
	night.Name, night.nightWorker, night.invites, night.weekend = "night worker, invites thrice as often", true, 0.012, 0.5
	return []kind{busy, loose, night}
}

// botKind is a way to abuse an account.
type botKind struct {
	Name      string
	every     time.Duration // between two letters, about
	rcpts     int
	refused   float64
	networks  int
	unlike    bool // every text is another one
	contacts  bool // writes to those whom the owner knows
	office    bool // only while the owner works
	newcomer  bool // the account has no past
	untouched bool // nothing was tuned with it
}

func bots() []botKind {
	return []botKind{
		{Name: "fast bot", every: 4 * time.Second, rcpts: 1, refused: 0.15, networks: 12},
		{Name: "fast, one network, no refusals, no text twice", every: 6 * time.Second, rcpts: 1, networks: 1, unlike: true},
		{Name: "fast, 50 recipients a message", every: 10 * time.Second, rcpts: 50, refused: 0.1, networks: 3},
		{Name: "fast, account without a past", every: 5 * time.Second, rcpts: 1, refused: 0.15, networks: 8, newcomer: true},
		{Name: "slow bot, 8 an hour", every: 7*time.Minute + 30*time.Second, rcpts: 1, refused: 0.1, networks: 4},
		{Name: "slow bot, 2 an hour (under cert-strict)", every: 30 * time.Minute, rcpts: 1, refused: 0.1, networks: 4},
		{Name: "slow, 30 an office day, one network", every: 16 * time.Minute, rcpts: 1, refused: 0.05, networks: 1, office: true, untouched: true},
		{Name: "slow, 2 an hour, one network, no text twice", every: 30 * time.Minute, rcpts: 1, networks: 1, unlike: true, untouched: true},
		{Name: "to the owner's contacts, 12 networks", every: 5 * time.Second, rcpts: 1, networks: 12, contacts: true, untouched: true},
	}
}

// life plays one user.
type life struct {
	k        kind
	r        *rand.Rand
	name     string
	perDay   float64
	strange  float64
	contacts []hijack.Recipient
	list     []hijack.Recipient // subscribers or customers
	nets     []netip.Addr
	invoices int
	issue    time.Weekday
	made     int
	texts    map[uint64][]hijack.Digest
}

func newLife(k kind, seed uint64, n int) *life {
	l := &life{k: k, r: rand.New(rand.NewPCG(seed, uint64(n)*7919+uint64(len(k.Name)))), name: fmt.Sprintf("user%d@our.example", n), texts: map[uint64][]hijack.Digest{}}
	l.perDay = l.logBetween(k.perDay[0], k.perDay[1])
	l.strange = l.between(k.strangers[0], k.strangers[1])
	for range k.contacts[0] + l.r.IntN(k.contacts[1]-k.contacts[0]+1) {
		l.contacts = append(l.contacts, l.stranger())
	}
	for range max(k.nets, 1) {
		l.nets = append(l.nets, l.address())
	}
	l.issue = time.Weekday(1 + l.r.IntN(5))
	if k.newsletter[1] > 0 {
		for range k.newsletter[0] + l.r.IntN(k.newsletter[1]-k.newsletter[0]) {
			l.list = append(l.list, l.stranger())
		}
	}
	if k.billing[1] > 0 {
		l.invoices = k.billing[0] + l.r.IntN(k.billing[1]-k.billing[0])
		for range l.invoices {
			l.list = append(l.list, l.stranger())
		}
	}
	return l
}

func (l *life) between(a, b float64) float64 { return a + (b-a)*l.r.Float64() }
func (l *life) logBetween(a, b float64) float64 {
	return math.Exp(l.between(math.Log(a), math.Log(b)))
}

// poisson of a mean.
func (l *life) poisson(mean float64) (n int) {
	if mean > 40 {
		return max(0, int(mean+math.Sqrt(mean)*l.r.NormFloat64()+0.5))
	}
	for p, limit := l.r.Float64(), math.Exp(-mean); p > limit; n++ {
		p *= l.r.Float64()
	}
	return n
}

func (l *life) address() netip.Addr {
	return netip.AddrFrom4([4]byte{byte(20 + l.r.IntN(90)), byte(l.r.IntN(256)), byte(l.r.IntN(256)), byte(1 + l.r.IntN(250))})
}

// stranger is somebody new: a third at one of three large providers.
func (l *life) stranger() hijack.Recipient {
	l.made++
	domain := fmt.Sprintf("d%d.example", l.r.IntN(100_000))
	ours := l.r.Float64() < l.k.colleagues
	switch {
	case ours:
		domain = "our.example"
	case l.r.Float64() < 0.33:
		domain = fmt.Sprintf("large%d.example", l.r.IntN(3))
	}
	return hijack.Recipient{Address: fmt.Sprintf("p%d-%d@%s", l.made, l.r.IntN(1e6), domain), Domain: domain, Ours: ours}
}

// contact is somebody he knows; some he writes to often.
func (l *life) contact() hijack.Recipient {
	x := l.r.Float64()
	return l.contacts[int(x*x*float64(len(l.contacts)))]
}

// text is one that nobody else wrote: as digests go, any.
func (l *life) text() (d hijack.Digest) {
	for i := range d {
		d[i] = byte(1 + l.r.IntN(255))
	}
	return d
}

// campaign is one of a campaign: a few in a hundred words are each letter's own.
func (l *life) campaign(base uint64, words int) hijack.Digest {
	const kept = 12 // letters of each campaign
	if l.texts[base] == nil {
		var made []hijack.Digest
		for range kept {
			made = append(made, l.campaignText(base, words))
		}
		l.texts[base] = made
	}
	return l.texts[base][l.r.IntN(kept)]
}

func (l *life) campaignText(base uint64, words int) hijack.Digest {
	r := rand.New(rand.NewPCG(base, 1))
	var text []string
	for i := range words {
		w := wordOf(r.IntN(4000))
		if i%25 == 3 {
			w = wordOf(l.r.IntN(4000)) // a name, a sum
		}
		text = append(text, w)
	}
	return hijack.TextDigest("", []byte(strings.Join(text, " ")), false)
}

func wordOf(n int) string {
	var b [4]byte
	for i := range b {
		b[i] = 'a' + byte(n%9)
		n /= 9
	}
	return string(b[:])
}

// day is what the user sends on a day that begins at midnight.
func (l *life) day(midnight time.Time) []played {
	mean, weekend := l.perDay, midnight.Weekday() == time.Saturday || midnight.Weekday() == time.Sunday
	if weekend {
		mean *= l.k.weekend
	}
	nets := l.nets
	if l.r.Float64() < l.k.travels {
		nets = []netip.Addr{l.address(), l.address(), l.nets[0]}
	}
	var out []played
	add := func(at time.Time, text hijack.Digest, to ...hijack.Recipient) {
		refused := 0
		for range to {
			if l.r.Float64() < 0.004 {
				refused++
			}
		}
		out = append(out, played{at: at, to: to, text: text, from: nets[l.r.IntN(len(nets))], refused: refused})
	}
	for range l.poisson(mean * l.between(0.5, 1.6)) {
		text := hijack.Digest{}
		if x := l.r.Float64(); x < l.k.templates {
			text = l.campaign(uint64(len(l.name))*31+uint64(l.r.IntN(3)), 60)
		} else if x < 0.6 { // the rest is short
			text = l.text()
		}
		to := []hijack.Recipient{l.someone(l.strange)}
		for l.r.Float64() < 0.25 && len(to) < 12 {
			to = append(to, l.someone(l.strange))
		}
		add(l.clock(midnight), text, to...)
	}
	if weekend {
		return sorted(out)
	}
	l.special(midnight, add)
	return sorted(out)
}

// special days: piles, invitations, announcements, issues and invoices.
func (l *life) special(midnight time.Time, add func(time.Time, hijack.Digest, ...hijack.Recipient)) {
	spread := func(from time.Time, over time.Duration) time.Time {
		return from.Add(time.Duration(l.r.Int64N(int64(over))))
	}
	if l.r.Float64() < l.k.bursts {
		at := l.clock(midnight)
		for range 8 + l.r.IntN(25) {
			add(spread(at, 90*time.Minute), l.text(), l.someone(max(0.15, l.strange)))
		}
	}
	if l.r.Float64() < l.k.invites {
		at, base := l.clock(midnight), l.r.Uint64()
		for range 6 + l.r.IntN(13) {
			add(spread(at, 2*time.Hour), l.campaign(base, 80), l.someone(0.6))
		}
	}
	if l.r.Float64() < l.k.announce {
		var to []hijack.Recipient
		for range 10 + l.r.IntN(50) {
			to = append(to, l.someone(0.4))
		}
		add(l.clock(midnight), l.text(), to...)
	}
	if l.k.newsletter[1] > 0 && midnight.Weekday() == l.issue {
		for range 2 + len(l.list)/100 {
			l.list = append(l.list, l.stranger())
		}
		at, base := midnight.Add(10*time.Hour), l.r.Uint64()
		for _, to := range l.list {
			add(spread(at, 30*time.Minute), l.campaign(base, 150), to)
		}
	}
	if l.k.billing[1] > 0 && midnight.Day() <= 3 && l.billingDay(midnight) {
		at := midnight.Add(9 * time.Hour)
		for i := range l.invoices {
			if l.r.Float64() < l.k.billingNew {
				l.list[i] = l.stranger()
			}
			add(spread(at, 5*time.Hour), l.campaign(77, 60), l.list[i])
		}
	}
}

// billingDay is the first workday of the month.
func (l *life) billingDay(day time.Time) bool {
	for d := 1; d < day.Day(); d++ {
		if w := day.AddDate(0, 0, d-day.Day()).Weekday(); w != time.Saturday && w != time.Sunday {
			return false
		}
	}
	return true
}

func sorted(list []played) []played {
	slices.SortStableFunc(list, func(a, b played) int { return a.at.Compare(b.at) })
	return list
}

func (l *life) someone(strange float64) hijack.Recipient {
	if l.r.Float64() >= strange {
		return l.contact()
	}
	s := l.stranger()
	if l.r.Float64() < 0.4 {
		l.contacts[l.r.IntN(len(l.contacts))] = s
	}
	return s
}

// clock is a moment of his working day.
func (l *life) clock(midnight time.Time) time.Time {
	h := 8 + 10*l.r.Float64()
	if l.r.Float64() < 0.06 {
		h = 7 + 16*l.r.Float64()
	}
	if l.k.nightWorker {
		h = math.Mod(h+12, 24)
	}
	return midnight.Add(time.Duration(h * float64(time.Hour)))
}

// attack is what a bot sends from a moment on.
func (l *life) attack(b *botKind, from time.Time, most int) []played {
	var out []played
	var nets []netip.Addr
	for range b.networks {
		nets = append(nets, l.address())
	}
	base, at := l.r.Uint64(), from
	for len(out) < most && at.Sub(from) < 21*24*time.Hour {
		at = at.Add(time.Duration(float64(b.every) * l.between(0.3, 1.7)))
		if h := at.Hour(); b.office && (h < 9 || h >= 17 || at.Weekday() == time.Saturday || at.Weekday() == time.Sunday) {
			continue
		}
		p := played{at: at, from: nets[l.r.IntN(len(nets))], bot: true}
		if p.text = l.campaign(base, 70); b.unlike {
			p.text = l.text()
		}
		for range b.rcpts {
			to := l.contact()
			for !b.contacts {
				if to = l.stranger(); !to.Ours {
					break
				}
			}
			p.to = append(p.to, to)
			if l.r.Float64() < b.refused {
				p.refused++
			}
		}
		out = append(out, p)
	}
	return out
}
