package rules

import (
	"context"
	"time"

	"garita/mail"
	"garita/message"
	"garita/rules/pattern"
)

// truth of a condition: a pattern that was given up leaves it unknown.
type truth uint8

const (
	no truth = iota
	unknown
	yes
)

func (t truth) turned(not bool) truth {
	if not {
		return yes - t
	}
	return t
}

// Match says which rules hold of a message. Between rules it heeds ctx: those
// that are left then are given up.
//
// First comes what costs little: the envelope, header fields, attachments. Text
// and body are looked at only for the rules that are still open, and their
// patterns run only for those. A pass (in mode enforce) or a stop (also in mode
// score) that hits ends the list; in mode observe neither does.
func (s *Set) Match(ctx context.Context, in Input, b *pattern.Budget, o MatchOptions) Result {
	r := s.runs.Get().(*run)
	r.begin(ctx, in, b, o)
	defer func() {
		r.end()
		s.runs.Put(r)
	}()
	r.guard(s.envelope, r.readEnvelope)
	r.guard(s.headers, r.readHeaders)
	r.guard(s.files, r.readFiles)
	if r.want() {
		r.guard(s.content, r.readContent)
	}
	return r.judge()
}

// run is the matching of one message.
type run struct {
	s   *Set
	ctx context.Context
	in  Input
	b   *pattern.Budget
	o   MatchOptions

	state  []truth
	wanted []bool // conditions about text and body that a rule waits for
	placed []uint8
	took   []time.Duration // of patterns, when told
	found  []found
	files  []bits // of conditions about attachments
	mask   []uint64
	mark   []uint32
	epoch  uint32
	// lastLine is the line that a pattern was tried on last.
	lastLine []int
	// Of patterns that are tried on pieces of a text: how far, and how much.
	nearEpoch         []uint32
	nearTo, nearSpent []int

	fields  []rawField
	bodyAt  int
	readRaw bool
	late    bool // text and body were read, or need not be
	norm    []byte
	page    []byte
	work    int    // what searches may still compare
	octets  int    // what may still be read of text and pages
	zone    []byte // the folded words of a text, and where they are
	zoneAt  []pageRun
	win     []byte
	decoded []byte
	textRun textRun
	runsAt  []pageRun
	words   bool // tags in the part that is being read are words
	spans   []bodyRun
	table   lineTable
}

// bits are the attachments (parts) of which a condition holds, or of which
// nobody knows.
type bits struct{ yes, unknown []uint64 }

// keep is the largest buffer that is kept between messages: with the places it
// is 16 MB at most for each goroutine that matches.
const keep = 2 << 20

func newRun(s *Set) *run {
	n := len(s.atoms)
	return &run{
		s: s, state: make([]truth, n), wanted: make([]bool, n), placed: make([]uint8, n), took: make([]time.Duration, n),
		files: make([]bits, n), mark: make([]uint32, n), lastLine: make([]int, n), nearEpoch: make([]uint32, n), nearTo: make([]int, n), nearSpent: make([]int, n),
	}
}

func (r *run) begin(ctx context.Context, in Input, b *pattern.Budget, o MatchOptions) {
	r.ctx, r.in, r.b, r.o = ctx, in, b, o
	clear(r.state)
	clear(r.wanted)
	clear(r.placed)
	clear(r.took)
	clear(r.mark)
	clear(r.nearEpoch)
	r.epoch = 0
	r.readRaw, r.late = false, false
	r.work = searchWork + searchWorkOctet*len(in.Raw)
	r.octets = readOctets + readTimes*len(in.Raw)
	words := 0
	if in.Index != nil {
		words = (len(in.Index.Parts) + 63) / 64
	}
	for _, v := range r.s.files {
		for _, i := range v.atoms {
			r.files[i].yes, r.files[i].unknown = zeroed(r.files[i].yes, words), zeroed(r.files[i].unknown, words)
		}
	}
	r.mask = zeroed(r.mask, words)
}

func zeroed(s []uint64, n int) []uint64 {
	if cap(s) < n {
		return make([]uint64, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// end lets go of the message and of what is too large to keep.
func (r *run) end() {
	clear(r.found)
	r.found = r.found[:0]
	clear(r.fields)
	r.fields = r.fields[:0]
	r.ctx, r.in, r.b, r.o = nil, Input{}, nil, MatchOptions{}
	for _, p := range []*[]byte{&r.norm, &r.page, &r.zone, &r.win, &r.decoded} {
		if cap(*p) > keep {
			*p = nil
		}
	}
	for _, p := range []*[]pageRun{&r.runsAt, &r.zoneAt} {
		if cap(*p) > keep/16 {
			*p = nil
		}
	}
	if cap(r.found) > keep/256 {
		r.found = nil
	}
	clear(r.spans)
	r.spans = r.spans[:0]
	r.table.data = nil
}

// guard runs the reading of some views. A panic there makes their conditions
// unknown that did not hold yet (attack R-12), and so does the end of ctx.
func (r *run) guard(views []*view, read func()) {
	if len(views) == 0 {
		return
	}
	whole := false
	defer func() {
		if v := recover(); v == nil && whole {
			return
		}
		for _, v := range views {
			r.doubt(v)
		}
	}()
	read()
	whole = r.ctx.Err() == nil
}

// doubt makes a view's conditions unknown that do not hold for sure.
func (r *run) doubt(v *view) {
	for k := range r.mask {
		if perFile(v.subject) {
			r.mask[k] = ^uint64(0) >> max(0, 64*(k+1)-len(r.parts()))
		}
	}
	for _, i := range v.atoms {
		if perFile(v.subject) {
			for k := range r.files[i].unknown {
				r.files[i].unknown[k] = ^uint64(0)
			}
		} else {
			r.doubtful(i)
		}
	}
}

func (r *run) doubtful(i int32) {
	if r.state[i] == no {
		r.state[i] = unknown
	}
}

// applies tells that a rule is looked at at all.
func (r *run) applies(p *program) bool {
	if p.rule.Direction != 0 && p.rule.Direction != r.in.Tx.Direction {
		return false
	}
	return r.o.Now.IsZero() || p.rule.Expires.IsZero() || r.o.Now.Before(p.rule.Expires)
}

// want notes the conditions about text and body that rules wait for, and tells
// whether there are any.
func (r *run) want() bool {
	if len(r.s.content) == 0 {
		return false
	}
	any := false
	for i := range r.s.programs {
		p := &r.s.programs[i]
		if !p.late || !r.applies(p) || r.rule(p) == no {
			continue
		}
		for _, list := range [...][]term{p.match, p.any, p.not} {
			for _, t := range list {
				if t.late {
					r.wanted[t.atom], any = true, true
				}
			}
		}
	}
	r.late = true
	return any
}

func late(s Subject) bool { return s == BodyLine || s == Text || s == Tag || s == Attribute }

// term is the truth of one condition. Before text and body are read, those
// about them are unknown.
func (r *run) term(t term) truth {
	switch {
	case t.late && !r.late:
		return unknown
	case t.file:
		return r.single(t.atom).turned(t.not)
	}
	return r.state[t.atom].turned(t.not)
}

// single is a condition about attachments on its own: does any fit?
func (r *run) single(i int32) truth {
	out := no
	for k, w := range r.files[i].yes {
		limit := r.limit(i, k)
		if w&limit != 0 {
			return yes
		}
		if r.files[i].unknown[k]&limit != 0 {
			out = unknown
		}
	}
	return out
}

// limit is the parts that a condition is about: attachments, or for their
// declared types all parts.
func (r *run) limit(i int32, k int) uint64 {
	if r.s.atoms[i].cond.Subject != AttachmentDeclared {
		return r.mask[k]
	}
	if n := len(r.in.Index.Parts) - 64*k; n < 64 {
		return 1<<n - 1
	}
	return ^uint64(0)
}

// rule is the truth of a whole rule.
func (r *run) rule(p *program) truth {
	out := yes
	for _, t := range p.match {
		if out = min(out, r.term(t)); out == no {
			return no
		}
	}
	for _, t := range p.not {
		if out = min(out, r.term(t).turned(true)); out == no {
			return no
		}
	}
	if len(p.files) > 0 {
		if out = min(out, r.together(p, nil)); out == no {
			return no
		}
	}
	if len(p.any) == 0 {
		if len(p.match)+len(p.files)+len(p.not) == 0 {
			return no
		}
		return out
	}
	some := no
	for _, t := range p.any {
		if some = max(some, r.term(t)); some == yes {
			break
		}
	}
	return min(out, some)
}

// together is the truth of a rule's conditions about attachments: all hold of
// one attachment. "not attachment name ends ..." is then about that attachment,
// too; where there is nothing but such ones, no attachment may fit any of them.
// hit, if it is not nil, is called with each attachment.
func (r *run) together(p *program, hit func(part int)) truth {
	positive := false
	for _, t := range p.files {
		positive = positive || !t.not
	}
	out := no
	if !positive {
		out = yes
		for _, t := range p.files {
			out = min(out, r.single(t.atom).turned(true))
		}
		return out
	}
	for k := range r.mask {
		sure, maybe := ^uint64(0), ^uint64(0)
		for _, t := range p.files {
			y, u := r.files[t.atom].yes[k], r.files[t.atom].unknown[k]
			if t.not {
				sure, maybe = sure&^(y|u), maybe&^y
			} else {
				sure, maybe = sure&y, maybe&(y|u)
			}
			limit := r.limit(t.atom, k)
			sure, maybe = sure&limit, maybe&limit
		}
		if sure != 0 {
			out = yes
			for n := 0; hit != nil && n < 64; n++ {
				if sure>>n&1 != 0 {
					hit(64*k + n)
				}
			}
		} else if maybe != 0 {
			out = max(out, unknown)
		}
	}
	return out
}

// judge says which rules hold, in their order.
func (r *run) judge() Result {
	var out Result
	for i := range r.s.programs {
		p := &r.s.programs[i]
		if !r.applies(p) {
			continue
		}
		t := unknown
		var start time.Time
		if r.o.Tell != nil {
			start = time.Now()
		}
		if r.ctx.Err() == nil {
			t = r.rule(p)
		}
		switch t {
		case yes:
			h, ok := r.hit(p)
			if !ok {
				out.GivenUp = append(out.GivenUp, p.rule)
				break
			}
			out.Hits = append(out.Hits, h)
		case unknown:
			out.GivenUp = append(out.GivenUp, p.rule)
		}
		if r.o.Tell != nil {
			r.o.Tell(p.rule, time.Since(start)+r.spent(p))
		}
		if t == yes && !r.o.All && ends(p.rule) {
			break
		}
	}
	return out
}

// ends tells a rule after which, when it hits, no other is looked at.
func ends(r *Rule) bool {
	if r.Stop && (r.Mode == mail.Enforce || r.Mode == mail.Score) {
		return true
	}
	if r.Mode != mail.Enforce {
		return false
	}
	for i := range r.Actions {
		if r.Actions[i].Kind == Pass {
			return true
		}
	}
	return false
}

// spent is what the patterns of a rule took.
func (r *run) spent(p *program) (d time.Duration) {
	for _, list := range [][]term{p.match, p.files, p.any, p.not} {
		for _, t := range list {
			d += r.took[t.atom]
		}
	}
	return d
}

// hit tells where a rule holds and what it changes. A panic there is no hit
// without an edit: the rule is given up.
func (r *run) hit(p *program) (h Hit, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	h = Hit{Rule: p.rule, Where: r.where(p)}
	if len(p.rule.Actions) > 0 {
		h.Edits = r.edits(p)
	}
	return h, true
}

// parts are those of the message.
func (r *run) parts() []*message.Part {
	if r.in.Index == nil {
		return nil
	}
	return r.in.Index.Parts
}
