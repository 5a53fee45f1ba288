package hold

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"garita/mail"
	"garita/maillog"
	"garita/message"
)

// Options are what a Keeper is made of.
type Options struct {
	Dir    string
	Config Config
	Log    *maillog.Logger  // may be nil
	Now    func() time.Time // nil: time.Now
	// hook is called before each step that changes the disk.
	hook func(step string) error
}

// Keeper is the holding place. Its methods may be called from many goroutines.
type Keeper struct {
	disk *disk
	log  *maillog.Logger
	now  func() time.Time

	mu      sync.Mutex
	config  Config
	totals  Totals
	working map[string]bool  // ids that somebody releases or deletes
	marks   map[string]State // states that the disk did not take
	told    time.Time        // of the last alarm about room

	ixMu     sync.RWMutex
	ix       *index
	stale    bool // the index misses something
	scanning bool
	// enlisting is held by one new message at a time.
	enlisting sync.Mutex
	ready     chan struct{} // closed when the first look at the files is over
	wg        sync.WaitGroup
	closed    chan struct{}

	preview sync.Mutex // one at a time: a preview reads the whole message
	care    care
}

// Totals are what the holding place has.
type Totals struct {
	Messages int   `json:"messages"`
	Octets   int64 `json:"octets"`
}

// Open opens or makes the holding place. The index is looked after behind it;
// messages can be held at once.
func Open(o Options) (*Keeper, error) {
	d, err := openDisk(o.Dir, o.hook)
	if err != nil {
		return nil, fmt.Errorf("hold: %w", err)
	}
	k := &Keeper{disk: d, log: o.Log, now: o.Now, config: o.Config, working: map[string]bool{}, marks: map[string]State{},
		ready: make(chan struct{}), closed: make(chan struct{})}
	if k.now == nil {
		k.now = time.Now
	}
	k.care.recall(d)
	if err := k.count(); err != nil {
		d.close()
		return nil, fmt.Errorf("hold: %w", err)
	}
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		defer close(k.ready)
		if err := k.reconcile(false); err != nil {
			k.warn("the index of held messages cannot be made; messages are held all the same", err)
		}
	}()
	return k, nil
}

// Close ends it.
func (k *Keeper) Close() error {
	close(k.closed)
	k.wg.Wait()
	k.ixMu.Lock()
	defer k.ixMu.Unlock()
	k.ix.close()
	k.ix = nil
	k.disk.close()
	return nil
}

// Update takes a new configuration.
func (k *Keeper) Update(c Config) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.config = c
}

// Stats gives the present figures.
func (k *Keeper) Stats() Totals {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.totals
}

// Concern is what an operator should look at; empty when there is nothing.
func (k *Keeper) Concern() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, c := k.totals, k.config
	if int64(t.Messages)*10 > int64(c.MaxMessages)*8 || t.Octets/8 > c.MaxSize/10 {
		return fmt.Sprintf("the holding place is over 80 %% full: %d messages, %d MB", t.Messages, t.Octets>>20)
	}
	return ""
}

func (k *Keeper) warn(text string, err error) {
	k.log.Warn("hold", text, slog.String("error", err.Error()))
}

// count adds up what is there and removes what a kill left half-written: it
// has no 250 behind it.
func (k *Keeper) count() error {
	days, err := k.disk.days()
	if err != nil {
		return err
	}
	for _, day := range days {
		names, err := k.disk.names(day)
		if err != nil {
			return err
		}
		for _, name := range names {
			_, end, ok := splitName(name)
			switch {
			case !ok:
			case end == endTemp:
				if err := k.disk.root.Remove(path.Join(day, name)); err != nil {
					return err
				}
			case end == endMessage: // copies, too: only their letter tells them
				info, err := k.disk.root.Lstat(path.Join(day, name))
				if err != nil {
					return err
				}
				k.totals.Messages++
				k.totals.Octets += info.Size()
				if info.ModTime().After(k.care.last) {
					k.care.news++ // nobody was told before we ended
				}
			}
		}
	}
	return nil
}

// reserve takes room for a message, or says why there is none.
func (k *Keeper) reserve(size int64) error {
	free, ferr := message.FreeDisk(k.disk.dir)
	k.mu.Lock()
	defer k.mu.Unlock()
	c, t := k.config, &k.totals
	var why string
	switch {
	case ferr != nil:
		return ferr
	case t.Messages >= c.MaxMessages:
		why = fmt.Sprintf("%d messages are held, as many as max_messages", t.Messages)
	case t.Octets+size > c.MaxSize:
		why = fmt.Sprintf("%d MB are held and max_size is %d MB", t.Octets>>20, c.MaxSize>>20)
	case free-size < c.MinFree:
		why = fmt.Sprintf("%d MB are free and min_free is %d MB", free>>20, c.MinFree>>20)
	default:
		t.Messages++
		t.Octets += size
		return nil
	}
	if now := k.now(); now.Sub(k.told) > time.Minute || now.Before(k.told) {
		k.told = now
		k.log.Warn("hold", "the holding place is full: mail that would be held is answered 451", slog.String("why", why))
	}
	return fmt.Errorf("%w: %s", ErrFull, why)
}

func (k *Keeper) give(size int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.totals.Messages--
	k.totals.Octets -= size
}

// newID makes an id that begins with that of the log and cannot be guessed.
func newID(tx string) string {
	id := tx + "-" + rand.Text()[:8]
	if !ValidID(id) {
		id = "0-" + rand.Text()[:8]
	}
	return id
}

// Hold stores a message as it would be relayed, m being a rendering of
// tx.Message. It returns the id once file and folder are on stable storage.
func (k *Keeper) Hold(ctx context.Context, tx *mail.Transaction, d mail.Decision, m Body) (string, error) {
	return k.hold(ctx, newLetter(tx, d), tx.Message, m)
}

// Keep stores the original of a message that goes on changed (disarmed). It is
// listed as a copy, waits for no decision, and is never released by a filter,
// only by its id. It goes after keep_for, as what was released does.
func (k *Keeper) Keep(ctx context.Context, tx *mail.Transaction, d mail.Decision, m Body) (string, error) {
	l := newLetter(tx, d)
	l.Copy = true
	return k.hold(ctx, l, tx.Message, m)
}

// Drop removes what Keep stored: the message did not go on after all. Anything
// else is left alone.
func (k *Keeper) Drop(id string) error {
	f, _, err := k.Open(id)
	if err != nil {
		return err
	}
	f.Close()
	if !f.Copy {
		return fmt.Errorf("hold: %s is no copy", id)
	}
	return k.Delete(id, "not relayed")
}

// rawMessage is the original as a body.
type rawMessage struct{ m *message.Message }

func (r rawMessage) WriteTo(w io.Writer) (int64, error) {
	all, err := r.m.Render(nil)
	if err != nil {
		return 0, err
	}
	return all.WriteTo(w)
}

func (k *Keeper) hold(ctx context.Context, l *Letter, original *message.Message, m Body) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	l.ID, l.Time = newID(l.Tx), k.now().UTC().Truncate(time.Microsecond)
	var body io.WriterTo = m
	l.MessageSize = m.Size()
	edits, ok := editsOf(m)
	if ok && original != nil {
		body, l.MessageSize = rawMessage{original}, original.Size()
		for _, e := range edits {
			l.Edits = append(l.Edits, edit{e.At, e.Delete, int64(len(e.Insert))})
		}
		l.describe(original)
	} else {
		edits = nil
	}
	if err := l.check(); err != nil {
		return "", err
	}
	// The room of the letter is not known before it is written; it is small.
	size := l.MessageSize + l.insertSize() + 16<<10
	if err := k.reserve(size); err != nil {
		return "", err
	}
	written := counter{}
	dayName := l.Time.Format(time.DateOnly)
	if strings.HasPrefix(dayName, "-") || len(dayName) != 10 {
		dayName = "1970-01-01" // a clock that cannot be; the name is only a shelf
	}
	err := k.disk.dayFolder(dayName)
	if err == nil {
		err = k.disk.put(dayName, l.ID, endMessage, func(w io.Writer) error {
			written.w = w
			return encode(&written, l, body, edits)
		})
	}
	if err != nil {
		k.give(size)
		return "", fmt.Errorf("hold: %w", err)
	}
	k.mu.Lock()
	k.totals.Octets += written.n - size
	first := false
	if !l.Copy {
		k.care.news++
		first = k.care.news == 1
	}
	k.mu.Unlock()
	if first {
		k.log.Warn("hold", "a message is held; see garita hold list", slog.String("id", l.ID))
	}
	// The file is the truth: what the index misses is read again later.
	k.enlist(l)
	return l.ID, nil
}

// enlist gives a new message its row. While the index has a fault there is
// none: whoever waits here has a client that waits, and where another program
// locks the index each would wait for the one before.
func (k *Keeper) enlist(l *Letter) {
	k.enlisting.Lock()
	defer k.enlisting.Unlock()
	k.ixMu.RLock()
	stale := k.stale
	k.ixMu.RUnlock()
	if stale {
		return
	}
	err := k.disk.step("index")
	if err == nil {
		err = k.index().put(l, State{State: Held})
	}
	k.indexed(err)
}

// describe takes from the header what a list shows.
func (l *Letter) describe(m *message.Message) {
	if f, ok := m.Header().Get("Subject"); ok {
		l.Subject = cutText(decodeWords(f.Value()), longestTitle)
	}
	if f, ok := m.Header().Get("From"); ok {
		l.HeaderFrom = cutText(decodeWords(f.Value()), longestTitle)
	}
}

func (k *Keeper) index() *index {
	k.ixMu.RLock()
	defer k.ixMu.RUnlock()
	return k.ix
}

// indexed notes a fault of the index, which is mended at the next Tick.
func (k *Keeper) indexed(err error) {
	if err == nil {
		return
	}
	k.ixMu.Lock()
	defer k.ixMu.Unlock()
	if errors.Is(err, ErrIndexing) && k.scanning {
		// The scan may have passed by already.
		k.stale = true
		return
	}
	if !k.stale {
		k.warn("the index of held messages has a fault and will be made again", err)
	}
	k.stale = true
	if unusable(err) && k.ix != nil {
		k.ix.close()
		k.ix = nil
		putAside(indexPath(k.disk.dir))
	}
}

// Rebuild makes the index again from the files, and gives how many it found.
func (k *Keeper) Rebuild() (int, error) {
	<-k.ready
	if err := k.reconcile(true); err != nil {
		return 0, err
	}
	return k.Stats().Messages, nil
}

// reconcile makes the index agree with the files: at a start for what a kill
// left between the two, and as a whole when it is lost.
func (k *Keeper) reconcile(anew bool) (err error) {
	k.ixMu.Lock()
	if k.scanning {
		k.ixMu.Unlock()
		return ErrIndexing
	}
	k.scanning, k.stale = true, false
	if anew && k.ix != nil {
		k.ix.close()
		k.ix = nil
	}
	if k.ix == nil {
		k.ix, err = k.openIndex(anew)
	}
	x := k.ix
	k.ixMu.Unlock()
	defer func() {
		k.ixMu.Lock()
		k.scanning = false
		k.stale = k.stale || err != nil
		k.ixMu.Unlock()
	}()
	if err != nil {
		return err
	}
	known, err := x.all() // before the files are listed: what comes meanwhile has its row
	if err != nil {
		return err
	}
	if err := k.walk(func(day, id string, stateful bool) error {
		was, have := known[id]
		delete(known, id)
		if have && was == Held && !stateful {
			return nil
		}
		return k.enter(x, day, id)
	}); err != nil {
		return err
	}
	for id, state := range known {
		if state == Deleted || state == Missing {
			continue
		}
		if _, err := k.disk.find(id); !errors.Is(err, ErrNotFound) {
			continue
		}
		k.log.Warn("hold", "the file of a held message is gone, and nobody deleted it here", slog.String("id", id))
		if err := x.change(id, State{State: Missing, At: k.now()}); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) openIndex(anew bool) (*index, error) {
	name := indexPath(k.disk.dir)
	if anew {
		for _, end := range []string{"-wal", "-shm", ""} {
			if err := os.Remove(name + end); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
	}
	x, err := openIndex(name)
	if err != nil && unusable(err) {
		k.warn("the index of held messages cannot be used; a new one is made from the files", err)
		putAside(name)
		x, err = openIndex(name)
	}
	return x, err
}

// walk goes over all messages; stateful tells that something happened to one.
func (k *Keeper) walk(visit func(day, id string, stateful bool) error) error {
	days, err := k.disk.days()
	if err != nil {
		return err
	}
	for _, day := range days {
		names, err := k.disk.names(day)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		states := map[string]bool{}
		var ids []string
		for _, name := range names {
			switch id, end, _ := splitName(name); end {
			case endState:
				states[id] = true
			case endMessage:
				ids = append(ids, id)
			}
		}
		for _, id := range ids {
			select {
			case <-k.closed:
				return context.Canceled
			default:
			}
			if err := visit(day, id, states[id]); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter reads a file into the index. One that is damaged is listed as such:
// somebody must look at it.
func (k *Keeper) enter(x *index, day, id string) error {
	f, err := k.disk.open(day, id)
	if errors.Is(err, os.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		k.log.Warn("hold", "a held message cannot be read", slog.String("id", id), slog.String("error", err.Error()))
		l := &Letter{ID: id, Tx: strings.SplitN(id, "-", 2)[0], Time: k.now()}
		if t, terr := time.Parse(time.DateOnly, day); terr == nil {
			l.Time = t
		}
		return x.put(l, State{State: Damaged, At: k.now(), Note: octets(err.Error())})
	}
	defer f.Close()
	return x.put(&f.Letter, k.stateOf(day, id))
}

// stateOf is what is known of a message now.
func (k *Keeper) stateOf(day, id string) State {
	k.mu.Lock()
	s, ok := k.marks[id]
	k.mu.Unlock()
	if ok {
		return s
	}
	return k.disk.state(day, id)
}
