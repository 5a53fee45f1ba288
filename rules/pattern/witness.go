package pattern

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Attack is a text that a pattern takes far too long for. It was found by
// running it: the steps of a backtracking engine were counted for more and more
// copies of Pump.
type Attack struct {
	// The text is Prefix, many times Pump, Suffix.
	Prefix, Pump, Suffix string
	// Degree is how the steps grow with the number of pumps: 2 is with the
	// square; 0 is exponentially.
	Degree int
	// Times is a number of pumps, and Steps what they take; more than
	// maxAttackSteps are not counted.
	Times, Steps int
}

// Text is the attack with n pumps.
func (a Attack) Text(n int) string { return a.Prefix + strings.Repeat(a.Pump, n) + a.Suffix }

// The bounds of a search for an attack. Steps are counted, not time, so that
// what is found does not depend on the machine.
const (
	maxAttackProgram = 3000
	maxAttackSteps   = 300_000    // of one text
	maxAttackWork    = 40_000_000 // of all texts
	maxPumps         = 90
	maxAsked         = 2 // times for each end and growth
	maxAskedKinds    = 30
	confirmSteps     = 3e9
	confirmTries     = 4       // all of them: a machine that is busy may stop one
	longestAttack    = 200_000 // octets: what needs a longer text is no attack
	maxPrefixes      = 12
	maxPumpLength    = 64 // characters
)

// FindAttack looks for a text on which a pattern that needs backtracking takes
// exponential time, or time that grows with the square of the text's length or
// worse. It finds nothing for a pattern that runs in linear time. It is a
// search: what it does not find may still be there.
func FindAttack(p *Pattern) (Attack, bool) {
	if p.Linear() {
		return Attack{}, false
	}
	prog, err := assemble(p.tree, p.groups, maxAttackProgram)
	if err != nil {
		return Attack{}, false
	}
	h := &hunt{asked: map[string]int{}, need: p.need, bytes: p.bytes, work: maxAttackWork, pattern: p, machine: newMachine(prog, maxAttackSteps)}
	h.ingredients(p.tree, prog)
	return h.search()
}

// StepsAt estimates what a text of so many octets takes; of an exponential
// attack it is more than can be said.
func (a Attack) StepsAt(octets int) float64 {
	if a.Degree == 0 {
		return math.Inf(1)
	}
	return float64(a.Steps) * math.Pow(float64(octets)/float64(a.Times*len(a.Pump)), float64(a.Degree))
}

// Backtracks tells whether every text is matched by the backtracking engine, and
// not just those that end with a newline.
func (p *Pattern) Backtracks() bool { return p.linear == nil }

// hunt is one search.
type hunt struct {
	machine  *machine
	need     Need
	bytes    bool
	work     int
	pumps    []string
	prefixes []string
	suffixes []string
	best     Attack
	found    bool
	pattern  *Pattern
	asked    map[string]int // how often the engine itself was asked
}

// ingredients are what attacks are made of: characters that some part of the
// pattern tells apart, samples of what stands under repeats, of what stands
// before them, and ends that spoil a match.
func (h *hunt) ingredients(n *node, p *program) {
	classes := h.classes(p)
	add := func(to *[]string, most int, s string) {
		if len(*to) < most && !slices.Contains(*to, s) {
			*to = append(*to, s)
		}
	}
	add(&h.prefixes, maxPrefixes, "")
	var visit func(n *node, before string)
	visit = func(n *node, before string) {
		switch n.op {
		case opCat:
			for _, s := range n.sub {
				visit(s, before)
				if before += sample(s, 0, h.bytes); len(before) > maxPumpLength {
					before = before[:0]
				}
			}
			return
		case opRepeat:
			if n.max == infinite || n.max > 8 {
				for turn := range 4 {
					if s := sample(n.sub[0], turn, h.bytes); s != "" && len(s) <= maxPumpLength {
						add(&h.pumps, maxPumps, s)
					}
				}
				add(&h.prefixes, maxPrefixes, before)
			}
		}
		for _, s := range n.sub {
			visit(s, before)
		}
	}
	visit(n, "")
	for _, c := range classes {
		add(&h.pumps, maxPumps, c)
	}
	add(&h.pumps, maxPumps, strings.Join(classes[:min(len(classes), 6)], ""))
	short := classes[:min(len(classes), 6)]
	for _, c := range short {
		for _, d := range short {
			add(&h.pumps, maxPumps, c+d)
		}
	}
	slices.SortStableFunc(h.pumps, func(a, b string) int { return min(len(a), 2) - min(len(b), 2) })
	h.suffixes = []string{"", "!", "\x01", "\n!", "\n"}
	for _, c := range classes[:min(len(classes), 4)] {
		add(&h.suffixes, 9, c)
	}
	// What must be in the text stands behind it.
	need := ""
	for _, clause := range h.need {
		need += clause[0]
	}
	if need != "" {
		for _, s := range h.suffixes[:4] {
			h.suffixes = append(h.suffixes, s+need)
		}
		add(&h.prefixes, maxPrefixes+1, need)
	}
}

// classes is a character of each class that some set of the program tells
// apart, letters first.
func (h *hunt) classes(p *program) []string {
	s := &search{progs: []*program{p}, bytes: h.bytes, work: math.MaxInt}
	s.alphabet()
	var out []string
	seen := map[string]bool{}
	for class := range s.first {
		var key strings.Builder
		any := false
		for i := range p.insts {
			if set := s.has[0][i]; set != nil {
				bit := set[class>>6] >> (class & 63) & 1
				any = any || bit != 0
				key.WriteByte('0' + byte(bit))
			}
		}
		if any && !seen[key.String()] {
			seen[key.String()] = true
			out = append(out, encode([]rune{s.pick(int32(class))}, h.bytes))
		}
		if len(out) >= 30 {
			break
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return strings.Compare(readable(b), readable(a)) })
	return out
}

func readable(s string) string {
	if s != "" && s[0] > ' ' && s[0] < 0x7F {
		return "1"
	}
	return "0"
}

func encode(text []rune, bytes bool) string {
	if !bytes {
		return string(text)
	}
	out := make([]byte, len(text))
	for i, c := range text {
		out[i] = byte(c)
	}
	return string(out)
}

// sample is a text that n matches, as far as that can be seen from it; turn
// chooses among several.
func sample(n *node, turn int, bytes bool) string {
	var b strings.Builder
	var add func(n *node)
	add = func(n *node) {
		if b.Len() > maxPumpLength {
			return
		}
		switch n.op {
		case opSet:
			if len(n.set) > 0 {
				b.WriteString(encode([]rune{member(n.set, turn)}, bytes))
			}
		case opCat:
			for _, s := range n.sub {
				add(s)
			}
		case opAlt:
			add(n.sub[turn%len(n.sub)])
		case opCapture, opAtomic:
			add(n.sub[0])
		case opRepeat:
			for range min(max(n.min, min(1, n.max+1)), 16) {
				add(n.sub[0])
			}
		}
	}
	add(n)
	return b.String()
}

// member is a character of a set, one that can be read if there is one.
func member(r ranges, turn int) rune {
	for _, c := range "ax0 ."[turn%5:] {
		if r.has(c) {
			return c
		}
	}
	for i := 0; i < len(r); i += 2 {
		if r[i+1] > ' ' && r[i] < 0x7F {
			return max(r[i], '!')
		}
	}
	return r[0]
}

// search tries every attack with a few pumps, and those that grow with more.
func (h *hunt) search() (Attack, bool) {
	for _, pump := range h.pumps {
		for _, prefix := range h.prefixes {
			for _, suffix := range h.suffixes {
				if h.work <= 0 || h.found && h.best.Degree == 0 {
					return h.best, h.found
				}
				a := Attack{Prefix: prefix, Pump: pump, Suffix: suffix}
				if text := []byte(a.Text(4)); h.pattern.fast(text) || !h.need.In(text) {
					continue
				}
				h.try(a)
			}
		}
	}
	return h.best, h.found
}

// cost counts; -1 is too many, or none because nothing is left for them.
func (h *hunt) cost(a Attack, n int) int {
	text := a.Text(n)
	runes := runesOf(text, h.bytes)
	steps, whole := h.machine.cost(runes)
	h.work -= steps + len(text)
	if !whole {
		return -1
	}
	return steps
}

// try measures how the steps grow while the pumps double.
func (h *hunt) try(a Attack) {
	f4, f8 := h.cost(a, 4), h.cost(a, 8)
	if f4 < 0 || f8 < 0 {
		h.climb(a)
		return
	}
	// One that grows in proportion is dropped here.
	f16 := h.cost(a, 16)
	if f16 < 0 {
		h.climb(a)
		return
	}
	if f16-f8 <= (f8-f4)*5/2 {
		return
	}
	h.climb(a)
}

// climb doubles the pumps until the steps run out, and judges the growth: of a
// power the ratio stays, of an exponential it is squared.
func (h *hunt) climb(a Attack) {
	last, n := 0, 0
	for k := 1; k <= 2048 && h.work > 0; k *= 2 {
		f := h.cost(a, k)
		if f < 0 {
			break
		}
		last, n = f, k
	}
	if n < 8 {
		n = h.edge(a, 1, 64)
	} else if n < 256 {
		n = h.edge(a, n, 2*n)
	}
	if n < 8 {
		return
	}
	last = h.cost(a, n)
	half, quarter, eighth := h.cost(a, n/2), h.cost(a, n/4), h.cost(a, n/8)
	if last < 0 || half <= 0 || quarter <= 0 || eighth <= 0 {
		return
	}
	d1, d2, d3 := degree(last, half), degree(half, quarter), degree(quarter, eighth)
	a.Times, a.Steps = n, last
	switch {
	case n <= 128 && d1 >= 5 && d1 >= 1.3*d2 && d2 >= 1.2*d3:
		a.Degree = 0
	case n >= 16 && d1 >= 1.75:
		a.Degree = int(math.Round(d1))
	default:
		return
	}
	if (!h.found || a.Degree == 0 || h.best.Degree != 0 && a.Degree > h.best.Degree) && h.confirmed(a) {
		h.best, h.found = a, true
	}
}

// confirmed asks the engine itself, with so many pumps that a true attack would
// take it hours and a false one no time: it has ways to save steps that the
// count does not know. Its clock only tells the two apart.
func (h *hunt) confirmed(a Attack) bool {
	key := strconv.Itoa(a.Degree) + a.Suffix
	if h.asked[key]++; h.asked[key] > maxAsked || len(h.asked) > maxAskedKinds {
		return false
	}
	n, tries := 400, 1 // a false exponential one is over before the clock is looked at
	if a.Degree > 0 {
		tries = confirmTries
		times := math.Pow(confirmSteps/float64(a.Steps), 1/float64(a.Degree))
		n = int(float64(a.Times) * times)
	}
	if n*len(a.Pump) > longestAttack {
		return false
	}
	text := []byte(a.Text(n))
	for range tries {
		if _, err := h.pattern.Match(text, nil); err == nil {
			return false
		}
	}
	return true
}

// edge is the most pumps between lo, which the steps are enough for, and hi.
func (h *hunt) edge(a Attack, lo, hi int) int {
	for hi-lo > 1 && h.work > 0 {
		mid := (lo + hi) / 2
		if h.cost(a, mid) >= 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

func degree(f, half int) float64 { return math.Log2(float64(f) / float64(half)) }

// Printable writes a text so that it can be shown: what is not printable ASCII
// is escaped.
func Printable(text string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case c == '\\' || c == '"':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c >= ' ' && c < 0x7F:
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		default:
			for _, x := range []byte(text[i : i+size]) {
				b.WriteString(`\x`)
				b.WriteByte(hex[x>>4])
				b.WriteByte(hex[x&15])
			}
		}
		i += size
	}
	return b.String()
}
