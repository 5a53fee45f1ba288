package hold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"os"
	"path"
	"strings"
	"time"
)

// care is what Tick remembers.
type care struct {
	news    int       // messages held since the administrator was told
	last    time.Time // when he was
	swept   time.Time
	due     map[string]time.Time // what is old enough to go, and since when we know
	warned  time.Time
	pending *Notice // that could not be sent
	tries   int
}

const (
	// noticeFile keeps the time of the last notice over a restart, as its
	// modification time.
	noticeFile = "last-notice"
	sweepEvery = time.Hour
	// grace is how long a message must be known to be due before it is
	// deleted, by a clock that no one sets: a machine that starts in 1970, or
	// jumps a year ahead, deletes nothing by it.
	grace = day
	// mostTries bounds the attempts to send one notice: about an hour.
	mostTries = 720
)

func (c *care) recall(d *disk) {
	c.due = map[string]time.Time{}
	if info, err := d.root.Lstat(noticeFile); err == nil {
		c.last = info.ModTime()
	}
}

// Notice is mail to the administrator. It has no sender, so that nobody
// answers it by machine, and goes to a next hop without a check.
type Notice struct {
	To      []string
	Message []byte
}

// Tick is called every few seconds, by one goroutine: it mends the index,
// deletes what may go, and tells the administrator. notify sends a notice;
// when it cannot, the notice is tried again.
func (k *Keeper) Tick(ctx context.Context, hostname string, notify func(context.Context, Notice) error) {
	select {
	case <-k.ready:
	default:
		return
	}
	k.ixMu.RLock()
	stale := k.stale || k.ix == nil
	k.ixMu.RUnlock()
	if stale {
		if err := k.reconcile(false); err == nil {
			k.log.Info("hold", "the index of held messages is whole again")
		}
	}
	now := time.Now() // with the monotonic clock, for grace
	k.mu.Lock()
	sweep := k.care.swept.IsZero() || now.Sub(k.care.swept) >= sweepEvery
	k.mu.Unlock()
	if sweep {
		k.sweep(now)
	}
	k.announce(ctx, hostname, notify)
}

// sweep deletes what was released keep_for ago, copies of that age, and with
// expire what nobody decided about for so long. At a first look it only notes
// what is due.
func (k *Keeper) sweep(now time.Time) {
	k.mu.Lock()
	k.care.swept = now
	c, due := k.config, k.care.due
	k.mu.Unlock()
	old := k.now().Add(-c.KeepFor)
	seen := map[string]bool{}
	copies, err := k.index().copies(old)
	if err != nil {
		copies = nil // the next sweep finds them
	}
	var gone []string
	err = k.walk(func(dayName, id string, stateful bool) error {
		// The folder's name is enough for nearly all.
		if t, err := time.Parse(time.DateOnly, dayName); err != nil || t.After(old) || !stateful && !c.Expire && !copies[id] {
			return nil
		}
		f, err := k.disk.open(dayName, id)
		if err != nil {
			return nil
		}
		f.Close()
		s := k.stateOf(dayName, id)
		since := f.Time
		if s.State == Released {
			since = s.At
		}
		if since.After(old) || s.State != Released && (!c.Expire && !f.Copy || s.Unsure) {
			return nil
		}
		seen[id] = true
		if first, ok := due[id]; !ok {
			due[id] = now
		} else if now.Sub(first) >= grace {
			gone = append(gone, id)
		}
		return nil
	})
	if err != nil {
		return
	}
	for id := range due {
		if !seen[id] {
			delete(due, id)
		}
	}
	for _, id := range gone {
		if err := k.Delete(id, "keep_for"); err != nil && !errors.Is(err, ErrNotFound) {
			k.warn("an old message cannot be deleted", err)
		}
		delete(due, id)
	}
	if x := k.index(); x != nil {
		k.indexed(x.forget(old))
	}
	k.emptyFolders(old)
}

// emptyFolders removes folders of days that have nothing left.
func (k *Keeper) emptyFolders(old time.Time) {
	days, err := k.disk.days()
	if err != nil {
		return
	}
	for _, name := range days {
		t, err := time.Parse(time.DateOnly, name)
		if err != nil || t.After(old) {
			continue
		}
		names, err := k.disk.names(name)
		if err != nil {
			continue
		}
		messages := false
		for _, n := range names {
			_, end, _ := splitName(n)
			messages = messages || end != endState
		}
		if messages {
			continue
		}
		for _, n := range names { // states whose message went first
			k.disk.root.Remove(path.Join(name, n))
		}
		k.disk.root.Remove(name) // only if it is empty
	}
}

// announce tells of what is new, at once for a first message and then daily;
// and daily of what waits for too long.
func (k *Keeper) announce(ctx context.Context, hostname string, notify func(context.Context, Notice) error) {
	now := k.now()
	k.mu.Lock()
	c, news, last, pending := k.config, k.care.news, k.care.last, k.care.pending
	k.mu.Unlock()
	if pending != nil {
		k.send(ctx, pending, notify)
		return
	}
	if since := now.Sub(last); since >= 0 && since < day { // a time to come is a clock that was set back
		return
	}
	// What waits for long is asked for once in an hour at most.
	if news == 0 && now.Sub(k.care.warned) < time.Hour && !now.Before(k.care.warned) {
		return
	}
	k.care.warned = now
	waiting, _, n, err := k.List(ctx, Filter{Limit: 10, Copies: "none"})
	if err != nil {
		return
	}
	_, _, late, err := k.List(ctx, Filter{Before: now.Add(-c.WarnAfter), Limit: 1, Copies: "none"})
	if err == nil && n == 0 {
		// What is new are copies that a start has counted, or it is gone.
		k.mu.Lock()
		k.care.news -= news
		k.mu.Unlock()
	}
	if err != nil || n == 0 || news == 0 && late == 0 {
		return
	}
	k.mu.Lock()
	k.care.news, k.care.last = 0, now
	k.mu.Unlock()
	k.remember(now)
	k.log.Warn("hold", "messages are held and wait for a decision; see garita hold list",
		slog.Int("held", n), slog.Int("new", news), slog.Int("older_than_warn_after", late))
	if len(c.Notify) > 0 {
		k.send(ctx, &Notice{To: c.Notify, Message: noticeText(hostname, c.Notify, now, waiting, n, news, late, c.WarnAfter)}, notify)
	}
}

func (k *Keeper) remember(now time.Time) {
	f, err := k.disk.root.OpenFile(noticeFile, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		f.Close()
		err = k.disk.root.Chtimes(noticeFile, now, now)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.warn("the time of the last notice cannot be kept; a restart may send one more", err)
	}
}

// send tries a notice; one that the next hop does not take is tried again for
// an hour.
func (k *Keeper) send(ctx context.Context, n *Notice, notify func(context.Context, Notice) error) {
	err := notify(ctx, *n)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.care.pending, k.care.tries = nil, 0
		return
	}
	k.care.pending = n
	if k.care.tries++; k.care.tries == 1 || k.care.tries >= mostTries {
		k.warn("the administrator cannot be told by mail of held messages", err)
	}
	if k.care.tries >= mostTries {
		k.care.pending, k.care.tries = nil, 0
	}
}

// noticeText is the mail. What strangers wrote stands in it as escaped ASCII.
func noticeText(hostname string, to []string, now time.Time, list []Entry, held, news, late int, after time.Duration) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Garita <postmaster@%s>", hostname)
	for i, a := range to { // a line each: RFC 5322 bounds a line
		if i == 0 {
			b.WriteString("To: " + a)
		} else {
			b.WriteString(",\r\n " + a)
		}
	}
	b.WriteString("\r\n")
	line("Subject: %s", mime.QEncoding.Encode("utf-8", fmt.Sprintf("%d held messages wait for a decision on %s", held, hostname)))
	line("Date: %s", now.Format(time.RFC1123Z))
	line("Message-ID: <%s@%s>", newID("HOLD"), hostname)
	line("Auto-Submitted: auto-generated") // RFC 3834 section 5
	line("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n")
	line("%d messages are held, %d of them since the last notice.", held, news)
	if late > 0 {
		line("%d have waited for more than %s.", late, days(after))
	}
	line("")
	for _, e := range list {
		line("%s  %s  %d KB", e.ID, e.Time.UTC().Format("2006-01-02 15:04 MST"), (e.Size+1023)/1024)
		line("  from     %s", plain(e.From, 120))
		if len(e.To) > 0 {
			line("  to       %s (%d in all)", plain(e.To[0], 120), e.Recipients)
		}
		line("  subject  %s", plain(e.Subject, 120))
		line("  reason   %s", plain(e.Reason, 200))
	}
	if held > len(list) {
		line("and %d more", held-len(list))
	}
	line("\r\nLook at one:  garita hold show ID")
	line("Let it go:    garita hold release ID")
	line("Delete it:    garita hold delete ID")
	return []byte(b.String())
}

func days(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

// plain makes hostile text fit for a line of an ASCII mail.
func plain(s string, n int) string {
	if s == "" {
		return "-"
	}
	q := fmt.Sprintf("%+q", cutText(s, n))
	return q[1 : len(q)-1]
}
