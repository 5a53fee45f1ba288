package clamav

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"garita/filters"
	"garita/mail"
	"garita/message"
)

// maxParts bounds the readings of parts of one message that are scanned.
const maxParts = 500

// maxFindings bounds the names that one message is told to have.
const maxFindings = 20

// CheckMessage scans the message. An error is a fault of ours (the spool file,
// no memory for the index): the engine defers.
func (s *Scanner) CheckMessage(ctx context.Context, tx *mail.Transaction) (filters.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	// The raw octets are read after the session may have given up on us.
	tx.Message.Retain()
	defer tx.Message.Release()
	j := &judgement{s: s, ctx: ctx, tx: tx}
	err := j.run()
	return j.result, err
}

// judgement is the scan of one message.
type judgement struct {
	s      *Scanner
	ctx    context.Context
	tx     *mail.Transaction
	result filters.Result
	// final: nothing that the rest could say would change the verdict.
	final bool
	// weak: a signature that only scores may have hidden another.
	weak bool
	// tooLarge: clamd did not look at all of it.
	tooLarge bool
}

func (j *judgement) run() error {
	var x *message.Index
	var noIndex error
	if j.s.cfg.Parts != "never" {
		if x, noIndex = j.tx.Message.Index(j.ctx); noIndex != nil {
			x, noIndex = nil, fmt.Errorf("clamav: %w", noIndex)
		}
	}
	whole, d, err := j.whole(x)
	if err != nil {
		return err
	}
	v, err := j.s.pool.judge(j.ctx, whole, d, true)
	if err != nil {
		return err
	}
	if err := j.add(v, ""); err != nil || j.final || j.s.cfg.Parts == "never" {
		return err
	}
	// Without the index nobody knows whether the parts are to be scanned, so
	// a clean raw message is not the last word.
	if noIndex != nil {
		return noIndex
	}
	if j.s.cfg.Parts == "always" || j.weak || j.tooLarge || doubtful(x) {
		return j.parts(x)
	}
	return nil
}

// whole gives the raw message and its digest: in one piece where the index has
// it so, which spares calls of the system, else as it is stored.
func (j *judgement) whole(x *message.Index) (content, digest, error) {
	if x != nil {
		if raw := x.Parts[0].Source.Data; int64(len(raw)) == j.tx.Message.Size() {
			return octets(raw), sha256.Sum256(raw), nil
		}
	}
	r, err := j.tx.Message.Render(nil)
	if err != nil {
		return nil, digest{}, fmt.Errorf("clamav: %w", err)
	}
	h := sha256.New()
	if n, err := r.WriteTo(h); err != nil || n != r.Size() {
		return nil, digest{}, fmt.Errorf("clamav: %w: %d octets: %w", errSource, n, err)
	}
	return r, digest(h.Sum(nil)), nil
}

// doubtful tells that clamd may see other parts than a mail client: the
// structure is ambiguous, something was found where clamd may not look, or it
// lacks the encoding. Those that it has are in libclamav's message.c.
func doubtful(x *message.Index) bool {
	if x.Has(message.Ambiguous) {
		return true
	}
	for _, p := range x.Parts {
		if p.Origin == message.Embedded || p.Origin == message.Rescued {
			return true
		}
		for _, e := range p.Encodings {
			switch e {
			case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
			default:
				return true
			}
		}
	}
	return false
}

// parts scans every reading of every part, each different one once.
func (j *judgement) parts(x *message.Index) error {
	seen := map[digest]bool{}
	for i, p := range x.Parts {
		for _, b := range p.Bodies() {
			// The message itself was scanned; what a container's body is
			// undecoded lies in it, too.
			if len(b.Data) == 0 || i == 0 && len(b.Data) == int(j.tx.Message.Size()) || p.Children && len(b.Data) == p.End-p.Body {
				continue
			}
			d := digest(sha256.Sum256(b.Data))
			if seen[d] {
				continue
			}
			if len(seen) >= maxParts {
				return j.add(verdict{reply: reply{kind: oversize, text: fmt.Sprintf("more than %d readings of parts", maxParts)}}, p.Number)
			}
			seen[d] = true
			v, err := j.s.pool.judge(j.ctx, octets(b.Data), d, len(b.Data) >= cacheFrom)
			if err != nil {
				return err
			}
			if err := j.add(v, "part "+p.Number+" ("+b.How+")"); err != nil || j.final {
				return err
			}
		}
	}
	return nil
}

// add notes a verdict.
func (j *judgement) add(v verdict, where string) error {
	switch v.kind {
	case clean:
		return nil
	case found:
		j.found(v, where)
		return nil
	}
	return j.unscanned(v, where)
}

// found makes the finding of a signature.
func (j *judgement) found(v verdict, where string) {
	cl := j.s.classOf(v.name)
	action, score := j.s.cfg.action(cl)
	f := mail.Finding{Symbol: Name + "." + cl.String(), Score: score, Detail: v.name, Where: where}
	switch action {
	case "off":
		j.weak = true
		return
	case "observe":
		f.Mode = mail.Observe
		j.weak = true
	case "score":
		f.Mode = mail.Score
		j.weak = true
	case "hold":
		f.Verdict = mail.Quarantine
		// A virus in another part would be refused: look on.
		j.weak = true
	case "reject":
		f.Verdict = mail.Reject
		text := "Message refused: it has a virus or is a fraud"
		if n := replyName(v.name); n != "" {
			text = "Message refused: " + n + " found"
		}
		r := mail.Permanent(554, "7.1", text)
		f.Reply = &r
		j.final = true
	}
	if cl == limits {
		j.tooLarge = true
	}
	j.put(f)
}

// put adds a finding. A class counts once however many names of it there are,
// and what was not scanned is told once.
func (j *judgement) put(f mail.Finding) {
	for _, g := range j.result.Findings {
		if g.Symbol == f.Symbol {
			if g.Detail == f.Detail || f.Symbol == SymbolOversize {
				return
			}
			f.Score = 0
		}
	}
	if n := len(j.result.Findings); n < maxFindings || f.Verdict >= mail.Defer {
		j.result.Findings = append(j.result.Findings, f)
	}
}

// classOf is the class of a name, the operator's word first.
func (s *Scanner) classOf(name string) class {
	if i := slices.IndexFunc(s.names, func(p pattern) bool { return p.re.MatchString(name) }); i >= 0 {
		return s.names[i].class
	}
	return classify(name)
}

// unscanned makes the finding of a scan that did not happen.
func (j *judgement) unscanned(v verdict, where string) error {
	c := j.s.cfg
	f := mail.Finding{Symbol: SymbolUnscanned, Where: where, Detail: strings.TrimSuffix(v.kind.String()+": "+v.text, ": ")}
	if v.by != "" {
		f.Detail += " (" + v.by + ")"
	}
	action := c.faultAction(v.kind)
	switch v.kind {
	case oversize:
		f.Symbol, j.tooLarge = SymbolOversize, true
	case poison:
		f.Symbol, j.final = SymbolPoison, true
	case busy:
		j.final = true
	default:
		j.final = true // the parts would find the same clamd
		if now := j.s.pool.now(); c.WithoutFor > 0 && j.s.pool.outage.lasts(now) >= c.WithoutFor {
			f.Symbol, action = SymbolDown, c.WithoutActive
			plain, err := j.plain()
			if err != nil {
				return err
			}
			if plain {
				action = c.WithoutText
			}
		}
	}
	switch action {
	case "hold":
		f.Verdict = mail.Quarantine
	case "defer":
		f.Verdict = mail.Defer
		r := mail.Temporary(451, "7.1", "Message cannot be scanned for viruses now, try again later")
		f.Reply = &r
	case "reject":
		f.Verdict = mail.Reject
		r := mail.Permanent(554, "7.1", "Message cannot be scanned for viruses")
		f.Reply = &r
	case "pass":
		if len(j.result.Edits) == 0 {
			j.result.Edits = append(j.result.Edits, j.tx.Message.Header().Prepend(
				fmt.Appendf(nil, "X-Garita-Virus-Scan: not done; reason=%s\r\n", strings.ReplaceAll(v.kind.String(), " ", "-"))))
		}
	}
	j.put(f)
	return nil
}

// plain tells that the message is text that starts nothing: no attachment, no
// HTML, nothing that may be read in two ways. In doubt it is not.
func (j *judgement) plain() (bool, error) {
	x, err := j.tx.Message.Index(j.ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("clamav: %w", err)
	}
	if x.Has(message.Ambiguous) {
		return false, nil
	}
	for _, f := range j.tx.Message.Header().All("Content-Type") {
		value := strings.ToLower(strings.TrimSpace(f.Value()))
		if !strings.HasPrefix(value, "text/plain") && (!strings.HasPrefix(value, "multipart/") || len(x.Parts) < 2) {
			return false, nil
		}
	}
	for _, p := range x.Parts {
		if p.Attachment || len(p.Names) > 0 || p.Origin == message.Embedded || p.Origin == message.Rescued {
			return false, nil
		}
		for _, t := range p.Types {
			if t != "text/plain" && !(p.Children && strings.HasPrefix(t, "multipart/")) {
				return false, nil
			}
		}
		for _, b := range p.Bodies() {
			if !p.Children && startsMarkup(b.Data) {
				return false, nil
			}
		}
	}
	return true, nil
}

// startsMarkup tells that some client may show it as HTML whatever its type:
// those that guess look at the beginning.
func startsMarkup(p []byte) bool {
	p = p[:min(len(p), 1024)]
	low := strings.ToLower(string(p))
	for _, tag := range []string{"<html", "<!doctype", "<script", "<body", "<head", "<svg", "<iframe", "<meta", "<?xml"} {
		if strings.Contains(low, tag) {
			return true
		}
	}
	return false
}
