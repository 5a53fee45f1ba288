// Package attachment is the check of what a message carries: every candidate
// name, declared type and content of every part in every reading (attacks I7),
// what is in archives and inside those, documents and the files inside them.
// Each thing that it finds belongs to a class (docs/attachments.md), and the
// configuration says for each class and direction what is done.
//
// It looks for means, not for malice: a virus in a class that is let pass is
// the antivirus's to find. It changes nothing and opens nothing. Of a message
// with several recipients the strongest verdict holds for all: an exception
// counts only when all of them are in it.
//
// It fails towards the sender trying again: an error or a timeout is 451. A
// message that makes it crash is 451 the first time and held the second, so
// that no retry brings the same crash back for days (attacks Z-21).
//
// # Limits
//
// [check.attachment.archives] bounds the work on one message, at_once the
// messages in work: memory is at_once times a few times archives.member. 16
// readings of a part's body, 5 findings of a class, documents 3 deep.
package attachment

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"garita/archive"
	"garita/document"
	"garita/filetype"
	"garita/filters"
	"garita/mail"
	"garita/message"
	"garita/resolver"
)

// Name of the check.
const Name = "attachment"

// Prefix begins its symbols; a class follows.
const Prefix = Name + "."

// Check is the check, apart from the list of checks.
type Check struct {
	cfg        Config
	in, out    map[string]string
	extensions map[string]bool
	allow      map[string]bool
	recipients people
	senders    people
	small      chan struct{}
	large      chan struct{}
	docs       document.Limits
	now        func() time.Time
	// walk and inspect are those of the packages; tests make them fail.
	walk    func(context.Context, []byte, *archive.Budget, func(*archive.Entry) error) ([]archive.Defect, error)
	inspect func(context.Context, filetype.Type, []byte, document.Limits) []document.Trait

	mu     sync.Mutex
	poison []digest
}

type digest [sha256.Size]byte

const (
	// smallMessage goes by a line of its own: it never waits behind those
	// with archives of 25 MB (attacks I10).
	smallMessage = 256 << 10
	// inlineMessage is inspected in the session's own goroutine.
	inlineMessage = 64 << 10
	// memory of messages that made the check crash.
	crashes = 256
)

var (
	errCrash = errors.New("attachment: the check crashed")
	errWait  = errors.New("attachment: too many inspections at once")
)

// New makes the check.
func New(c Config) (filters.Check, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return filters.Check{}, fmt.Errorf("attachment: %w", errs[0])
	}
	n := c.atOnce()
	k := &Check{
		cfg: c, in: c.actions(mail.In), out: c.actions(mail.Out),
		extensions: set(c.Extensions), allow: set(c.Allow),
		recipients: read(c.ExceptRecipients), senders: read(c.ExceptSenders),
		large: make(chan struct{}, n), small: make(chan struct{}, max(1, n/4)),
		docs: document.DefaultLimits(), now: time.Now, walk: archive.Walk, inspect: document.Inspect,
	}
	k.docs.Bytes = c.Archives.Document
	mode, _ := mail.ParseMode(c.Mode)
	return filters.Check{
		Name: Name, Impl: k, Mode: mode, Class: filters.Policy, OnError: filters.DeferOnError,
		IO: true, Cached: true, Timeout: c.Timeout,
	}, nil
}

func set(list []string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, s := range list {
		m[s] = true
	}
	return m
}

// CheckMessage judges the attachments. In the session's own goroutine it only
// does messages without any, which are most, and small ones.
func (k *Check) CheckMessage(ctx context.Context, tx *mail.Transaction) (res filters.Result, err error) {
	if tx.Message == nil {
		return filters.Result{}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			res, err = k.crashed(tx, p, debug.Stack())
		}
	}()
	x, err := tx.Message.Index(ctx)
	if err != nil {
		return filters.Result{}, fmt.Errorf("attachment: %w", err)
	}
	if ordinary(x) && !k.pages(x, tx.Direction) {
		return filters.Result{}, nil
	}
	if resolver.CacheOnly(ctx) {
		// A small message is done in less time than another goroutine takes.
		leave, ok := k.enterNow(tx.Message.Size())
		if !ok {
			return filters.Result{}, filters.ErrWouldWait
		}
		defer leave()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, k.cfg.Timeout)
		defer cancel()
	} else {
		leave, err := k.enter(ctx, tx.Message.Size())
		if err != nil {
			return filters.Result{}, err
		}
		defer leave()
	}
	w := k.work(ctx, tx.Direction)
	w.index(x, "")
	if err := ctx.Err(); err != nil {
		return filters.Result{}, fmt.Errorf("attachment: %w", err)
	}
	return k.result(w, tx, x), nil
}

// enterNow takes a place for a message that is inspected at once, if there is
// one: the work on it heeds its bounds and the timeout by itself.
func (k *Check) enterNow(size int64) (leave func(), ok bool) {
	if size > inlineMessage {
		return nil, false
	}
	select {
	case k.small <- struct{}{}:
		return k.leaveSmall, true
	default:
	}
	select {
	case k.large <- struct{}{}:
		return k.leaveLarge, true
	default:
		return nil, false
	}
}

func (k *Check) leaveSmall() { <-k.small }
func (k *Check) leaveLarge() { <-k.large }

// enter waits for one's turn.
func (k *Check) enter(ctx context.Context, size int64) (leave func(), err error) {
	line := k.large
	if size <= smallMessage {
		select {
		case k.small <- struct{}{}:
			return func() { <-k.small }, nil
		default:
		}
		select {
		case k.small <- struct{}{}:
			return func() { <-k.small }, nil
		case k.large <- struct{}{}:
			return func() { <-k.large }, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errWait, ctx.Err())
		}
	}
	select {
	case line <- struct{}{}:
		return func() { <-line }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errWait, ctx.Err())
	}
}

// crashed makes a fault of a panic, and a held message of the second one.
func (k *Check) crashed(tx *mail.Transaction, p any, stack []byte) (filters.Result, error) {
	err := fmt.Errorf("%w: %v\n%s", errCrash, p, stack)
	h := sha256.New()
	if _, e := io.Copy(h, tx.Message.Raw()); e != nil {
		return filters.Result{}, err
	}
	d := digest(h.Sum(nil))
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, known := range k.poison {
		if known == d {
			return filters.Found(mail.Finding{Symbol: Prefix + crash, Verdict: mail.Quarantine,
				Detail: "the message made this check fail twice (poison): it was not inspected"}), nil
		}
	}
	if len(k.poison) >= crashes {
		k.poison = k.poison[1:]
	}
	k.poison = append(k.poison, d)
	return filters.Result{}, err
}

// people are addresses and domains by their keys, each with the classes that
// it is excepted from.
type people map[string]*exception

// exception is from some classes; nil: from all.
type exception struct{ classes map[string]bool }

// from tells whether it is one from that class; "" asks for all classes.
func (e *exception) from(class string) bool {
	return e != nil && (e.classes == nil || e.classes[class])
}

// read reads entries: an address or a domain, and maybe classes behind it.
func read(list []string) people {
	p := people{}
	for _, e := range list {
		words := strings.Fields(e)
		key := mail.DomainKey(words[0])
		if at := strings.LastIndexByte(words[0], '@'); at >= 0 {
			key = strings.ToLower(words[0][:at]) + "@" + mail.DomainKey(words[0][at+1:])
		}
		one := &exception{}
		if len(words) > 1 {
			one.classes = set(words[1:])
		}
		if old := p[key]; old != nil { // two lines about one: both count
			if old.classes == nil || one.classes == nil {
				one.classes = nil
			} else {
				maps.Copy(one.classes, old.classes)
			}
		}
		p[key] = one
	}
	return p
}

// has looks an address up, as itself and by its domain. The local part is
// compared without case: nobody tells two mailboxes apart by it, and a typist's
// capital must not matter.
func (p people) has(a mail.Path, class string) bool {
	if len(p) == 0 || a.Domain == "" {
		return false
	}
	key := a.DomainKey()
	return p[key].from(class) || p[strings.ToLower(a.Local)+"@"+key].from(class)
}

// excepted tells why the findings of a class are only observed; "" when they
// count. Of several recipients all must be excepted (docs/attachments.md).
func (k *Check) excepted(tx *mail.Transaction, class string) string {
	if k.senders.has(tx.ReversePath, class) {
		return "the sender is in except_senders"
	}
	for i := range tx.ForwardPaths {
		r := &tx.ForwardPaths[i]
		if !k.recipients.has(r.Asked(), class) && !k.recipients.has(r.Path, class) {
			return ""
		}
	}
	if len(tx.ForwardPaths) == 0 {
		return ""
	}
	return "all recipients are in except_recipients"
}

// ordinary tells a message of one text: nothing that has a name, is declared
// to be anything else, or begins like anything else.
func ordinary(x *message.Index) bool {
	if len(x.Parts) > plainParts || x.Has(message.Ambiguous) {
		return false
	}
	for _, p := range x.Parts {
		if p.Children && composite(p) && !p.Attachment && !named(p) {
			continue
		}
		if !body(p) || !harmless(p) || scripted(p) {
			return false
		}
	}
	return true
}

// named tells a part that has a name which makes it a file.
func named(p *message.Part) bool {
	for i := range p.Names {
		if !p.Names[i].Weak() {
			return true
		}
	}
	return false
}
