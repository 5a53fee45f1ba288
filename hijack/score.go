package hijack

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The kinds of reasons.
const (
	NewHour  = "new-hour"  // first-time recipients in an hour
	NewDay   = "new-day"   // in a day
	NewWeek  = "new-week"  // in a week
	Share    = "share"     // nearly all of them are
	Alike    = "alike"     // texts
	Domains  = "domains"   // of strangers
	Volume   = "volume"    // letters in an hour
	DayMail  = "day"       // letters in a day
	Refusals = "refusals"  // by the next hop
	Networks = "networks"  // unusual ones in an hour
	OddHour  = "odd-hour"  // he does not write at this time
	mostText = 12          // reasons in a line
	quarter  = 4           // parts of a stranger
	dampen   = 6 * quarter // what one letter counts at most
)

// Reason is one part of a score.
type Reason struct {
	Kind   string  `json:"kind"`
	N      int     `json:"n"`
	Of     int     `json:"of,omitempty"`
	Usual  int     `json:"usual,omitempty"` // his own most
	Points float64 `json:"points"`
}

// Text says it in English.
func (r Reason) Text() string {
	switch r.Kind {
	case NewHour:
		return fmt.Sprintf("%d of %d recipients new in an hour, where his busiest hour had %d", r.N, r.Of, r.Usual)
	case NewDay:
		return fmt.Sprintf("%d of %d recipients new in a day, where his busiest day had %d", r.N, r.Of, r.Usual)
	case NewWeek:
		return fmt.Sprintf("%d new recipients in a week, where his busiest had %d", r.N, r.Usual)
	case Share:
		return fmt.Sprintf("%d %% of the recipients are new", r.N)
	case Alike:
		return fmt.Sprintf("%d texts alike, where he had at most %d in a day", r.N, r.Usual)
	case Domains:
		return fmt.Sprintf("new recipients in %d domains", r.N)
	case Volume:
		return fmt.Sprintf("%d messages in an hour, where his busiest had %d", r.N, r.Usual)
	case DayMail:
		return fmt.Sprintf("%d messages in a day, where his busiest had %d", r.N, r.Usual)
	case Refusals:
		return fmt.Sprintf("%d recipients refused in a day", r.N)
	case Networks:
		return fmt.Sprintf("from %d networks in an hour that are not usual for him", r.N)
	case OddHour:
		return fmt.Sprintf("at an hour (%02d) when he does not write", r.N)
	}
	return ""
}

// Texto says it in Spanish.
func (r Reason) Texto() string {
	switch r.Kind {
	case NewHour:
		return fmt.Sprintf("%d de %d destinatarios nuevos en una hora; en su hora de más hubo %d", r.N, r.Of, r.Usual)
	case NewDay:
		return fmt.Sprintf("%d de %d destinatarios nuevos en un día; en su día de más hubo %d", r.N, r.Of, r.Usual)
	case NewWeek:
		return fmt.Sprintf("%d destinatarios nuevos en una semana; en la de más hubo %d", r.N, r.Usual)
	case Share:
		return fmt.Sprintf("el %d %% de los destinatarios son nuevos", r.N)
	case Alike:
		return fmt.Sprintf("%d textos parecidos; tuvo como mucho %d en un día", r.N, r.Usual)
	case Domains:
		return fmt.Sprintf("destinatarios nuevos en %d dominios", r.N)
	case Volume:
		return fmt.Sprintf("%d mensajes en una hora; en la de más hubo %d", r.N, r.Usual)
	case DayMail:
		return fmt.Sprintf("%d mensajes en un día; en el de más hubo %d", r.N, r.Usual)
	case Refusals:
		return fmt.Sprintf("%d destinatarios rechazados en un día", r.N)
	case Networks:
		return fmt.Sprintf("desde %d redes en una hora que no son las suyas", r.N)
	case OddHour:
		return fmt.Sprintf("a una hora (%02d) en la que no escribe", r.N)
	}
	return ""
}

// Text says why, in English, the weightiest first.
func Text(list []Reason) string { return join(list, Reason.Text) }

// Texto says why, in Spanish.
func Texto(list []Reason) string { return join(list, Reason.Texto) }

func join(list []Reason, text func(Reason) string) string {
	var b strings.Builder
	for _, r := range list[:min(len(list), mostText)] {
		t := text(r)
		if t == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(t)
	}
	return b.String()
}

// facts are what is known of the last letters.
type facts struct {
	used                    [windowCount]int64
	alike                   int // letters like this one, with it; 0: none
	domainsHour, domainsDay int
	networks                int
	hour                    int
	strangers               bool // this letter has one
	trusted                 bool
}

// effective is what strangers count, in quarters: one letter to a hundred is
// not a hundred letters.
func effective(weight, letters int) int { return min(weight, dampen*letters) }

// between goes from a newcomer's value to that of one who is known.
func between(young, old, age float64) float64 { return young + (old-young)*age }

// steps are how often x has doubled beyond base, from 0 to most.
func steps(x, base, most float64) float64 {
	if x <= base || base <= 0 {
		return 0
	}
	return min(math.Log2(x/base), most)
}

// score adds up what is unusual. The numbers were found with the simulator of
// bench/, with other seeds and kinds of users than its tests have.
func score(f *facts, p *profile) (sum float64, reasons []Reason) {
	add := func(r Reason) {
		if r.Points > 0 {
			r.Points = math.Round(r.Points*10) / 10
			sum += r.Points
			reasons = append(reasons, r)
		}
	}
	u, age := &f.used, p.age()
	fresh := newPeople(f, p, age)
	add(fresh)
	if fresh.Points > 0 {
		rcpt, fresh := u[wRcptHour], u[wNewHour]
		if rcpt < 10 {
			rcpt, fresh = u[wRcptDay], u[wNewDay]
		}
		// In quarters: only strangers of other domains make a share of 90 %.
		if share := int(100 * fresh / max(quarter*rcpt, 1)); share >= 70 {
			add(Reason{Kind: Share, N: min(share, 100), Points: float64(share-60) / 30})
		}
		add(Reason{Kind: Domains, N: max(f.domainsHour, f.domainsDay), Points: max(steps(float64(f.domainsHour), 3, 2), steps(float64(f.domainsDay), 8, 2))})
	}
	alike := steps(float64(f.alike), max(3, 1.5*p.high(mostAlike)), 3)
	if !f.strangers {
		alike /= 2
	}
	add(Reason{Kind: Alike, N: f.alike, Usual: p.most(mostAlike), Points: alike})
	add(volume(f, p, age))
	add(Reason{Kind: Refusals, N: int(u[wRefusedDay]), Points: steps(float64(u[wRefusedDay]), max(2, 1.5*p.high(dayRefused)), 3)})
	if len(p.nets) > 0 || p.count == 0 {
		add(Reason{Kind: Networks, N: f.networks, Points: min(max(float64(f.networks)-1, 0)*1.2+0.3*min(float64(f.networks), 1), 4)})
	}
	if fresh.Points > 0 && p.odd(f.hour) {
		add(Reason{Kind: OddHour, N: f.hour, Points: 1})
	}
	slices.SortStableFunc(reasons, func(a, b Reason) int { return cmp.Compare(b.Points, a.Points) })
	return math.Round(sum*10) / 10, reasons
}

// newPeople compares the strangers of an hour, a day and a week with his own
// past, and gives the worst.
func newPeople(f *facts, p *profile, age float64) Reason {
	u := &f.used
	of := func(n, letters int) (quarters, people float64) {
		e := effective(int(u[n]), int(u[letters]))
		return float64(e), float64((u[n] + quarter - 1) / quarter)
	}
	var worst Reason
	for _, w := range []struct {
		kind          string
		n, letters    int
		rcpt          int64
		young, old    float64 // strangers, as least base
		usual         float64 // quarters, from his past
		most, highest float64
	}{
		{NewHour, wNewHour, wToNewHour, u[wRcptHour], 20, 8, p.high(hourNew), float64(p.most(hourNew)), 10},
		{NewDay, wNewDay, wToNewDay, u[wRcptDay], 45, 14, p.high(dayNew), float64(p.most(dayNew)), 10},
		{NewWeek, wNewWeek, wToNewWeek, 0, 120, 30, p.week(dayNew) / 1.3, p.week(dayNew), 10},
	} {
		quarters, people := of(w.n, w.letters)
		base := max(quarter*between(w.young, w.old, age), 1.5*w.usual)
		if points := 4 * steps(quarters, base, w.highest/4); points > worst.Points {
			worst = Reason{Kind: w.kind, N: int(people), Of: int(w.rcpt), Usual: int(math.Ceil(w.most / quarter)), Points: points}
		}
	}
	return worst
}

// volume compares letters of an hour and of a day.
func volume(f *facts, p *profile, age float64) Reason {
	u := &f.used
	h := steps(float64(u[wLettersHour]), max(between(40, 20, age), 1.5*p.high(hourLetters)), 3)
	d := steps(float64(u[wLettersDay]), max(between(120, 60, age), 1.5*p.high(dayLetters)), 3)
	if d > h {
		return Reason{Kind: DayMail, N: int(u[wLettersDay]), Usual: p.most(dayLetters), Points: d}
	}
	return Reason{Kind: Volume, N: int(u[wLettersHour]), Usual: p.most(hourLetters), Points: h}
}

// odd tells an hour about which he has never written, of somebody who is known.
func (p *profile) odd(hour int) bool {
	if p.count < 10 {
		return false
	}
	all, near := 0, 0
	for h, n := range p.hours {
		all += int(n)
		if d := (h - hour + 24) % 24; d <= 1 || d == 23 {
			near += int(n)
		}
	}
	return all >= 50 && near*100 < all
}
