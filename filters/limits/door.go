package limits

import (
	"context"
	"time"

	"garita/identity"
	"garita/mail"
)

// doorFor is how long the wire may take to see what a door has counted.
const doorFor = 10 * time.Minute

// atDoor tells a message about which an MTA asks us: the wire will see it, or
// somebody else relays it. Not those alone who have logged in there: the mail
// of a webmail, whose user its header names, comes by the same milter.
func atDoor(tx *mail.Transaction) bool {
	return tx.Session != nil && tx.ByMTA || tx.Identity.Source == identity.SourceMilter || tx.Identity.Source == identity.SourcePolicy
}

// queueID is the MTA's name of a message: what it tells a door, or what the
// wire hears by XFORWARD.
func queueID(tx *mail.Transaction) string {
	if tx.QueueID == "" && tx.Forwarded != nil {
		return tx.Forwarded.Ident
	}
	return tx.QueueID
}

// doorKeys name a message that both see: by its Message-ID, and by its queue
// id. The policy server sees no message and knows the queue id alone.
func doorKeys(tx *mail.Transaction) (keys []string) {
	if tx.Message != nil {
		if f, ok := tx.Message.Header().Get("Message-ID"); ok {
			keys = append(keys, "limits/door/"+digest(tx.Identity.User+"\x00m"+f.Value()))
		}
	}
	if id := queueID(tx); id != "" {
		keys = append(keys, "limits/door/"+digest(tx.Identity.User+"\x00q"+id))
	}
	return keys
}

// twinKey names what one door has counted for the other one: Postfix may ask
// the policy server and the milter about the same message.
func twinKey(tx *mail.Transaction) string {
	if id := queueID(tx); id != "" {
		return "limits/twin/" + digest(tx.Identity.User+"\x00"+id)
	}
	return ""
}

// kindOf tells the doors apart.
func kindOf(tx *mail.Transaction) string {
	if tx.Identity.Source == identity.SourcePolicy {
		return "p"
	}
	return "m"
}

// mark notes that a door has counted a message. At once: the policy server
// hears of the end of a message only with the next one, and then the wire has
// seen it already.
func (l *Limits) mark(ctx context.Context, tx *mail.Transaction, p *pending) {
	if !atDoor(tx) || l.cfg.CountAt != "door" {
		return
	}
	p.door = doorKeys(tx)
	for _, key := range p.door {
		if err := l.o.Store.Put(ctx, key, quad(len(tx.ForwardPaths)), doorFor); err != nil {
			l.o.Log("a message that was counted cannot be marked; the wire will count it too", err)
		}
	}
	if key := twinKey(tx); key != "" {
		p.door = append(p.door, key)
		if err := l.o.Store.Put(ctx, key, []byte(kindOf(tx)), doorFor); err != nil {
			l.o.Log("a message that was counted cannot be marked; another door will count it too", err)
		}
	}
}

// countedAtDoor tells a message that a door has counted, or the other door.
func (l *Limits) countedAtDoor(ctx context.Context, tx *mail.Transaction, p *pending) bool {
	if l.cfg.CountAt != "door" {
		return false
	}
	if !atDoor(tx) {
		return l.seenAtDoor(ctx, tx)
	}
	key := twinKey(tx)
	if key == "" {
		return false
	}
	l.doorMu.Lock()
	defer l.doorMu.Unlock()
	raw, ok, err := l.o.Store.Get(ctx, key)
	if !ok || err != nil || string(raw) == kindOf(tx) {
		return false
	}
	l.o.Store.Delete(ctx, key)
	// The policy server could not leave the Message-ID.
	for _, key := range doorKeys(tx) {
		l.o.Store.Put(ctx, key, quad(len(tx.ForwardPaths)), doorFor)
		p.door = append(p.door, key)
	}
	return true
}

// seenAtDoor takes a mark that a door has left: one message counted there is
// one that the wire leaves out, so the same Message-ID again is counted. Who
// has logged in here has passed no door, whatever Message-ID he writes: else
// one message by the MTA would pay for many here.
func (l *Limits) seenAtDoor(ctx context.Context, tx *mail.Transaction) bool {
	if identity.OwnSession(tx.Identity.Source) {
		return false
	}
	l.doorMu.Lock() // two transactions of one message must not both take all of it
	defer l.doorMu.Unlock()
	seen, rcpts := false, len(tx.ForwardPaths)
	for _, key := range doorKeys(tx) { // a milter has left both
		raw, ok, err := l.o.Store.Get(ctx, key)
		if !ok || err != nil || len(raw) != 4 {
			continue
		}
		seen = true
		left := int(raw[0])<<24 | int(raw[1])<<16 | int(raw[2])<<8 | int(raw[3])
		if left -= rcpts; left <= 0 {
			l.o.Store.Delete(ctx, key)
		} else {
			l.o.Store.Put(ctx, key, quad(left), doorFor)
		}
	}
	return seen
}

func quad(n int) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }
