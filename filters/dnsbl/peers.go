package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	lists "garita/dnsbl"
	"garita/filters"
	"garita/mail"
	"garita/store"
)

// storer is what is needed of the store; nil: no peer is remembered.
type storer = store.Store

const (
	peerKey = "dnsbl/peer/"
	// keepPeer is how long a peer that sends nothing is remembered.
	keepPeer = 45 * 24 * time.Hour
	// badScore is from how many points on a message is no good one.
	badScore = 5
)

// peerOf is the key of a client: the address, of IPv6 its /64.
func peerOf(a netip.Addr) string {
	if a.Is6() {
		p, _ := a.Prefix(64)
		return peerKey + p.String()
	}
	return peerKey + a.String()
}

// knownGood tells a client that sent good mail on enough days, or that the
// operator knows.
func (k *lookups) knownGood(ctx context.Context, a netip.Addr) bool {
	for _, p := range k.c.KnownGood {
		if p.Contains(a) {
			return true
		}
	}
	if k.store == nil || k.c.PeerDays == 0 {
		return false
	}
	raw, ok, err := k.store.Get(ctx, peerOf(a))
	if err != nil || !ok {
		return false
	}
	days, _ := peerDays(raw)
	return days >= k.c.PeerDays
}

// peerDays reads "5 20270": five days with good mail, the last of them that
// number since 1970.
func peerDays(raw []byte) (days int, last int64) {
	a, b, _ := strings.Cut(string(raw), " ")
	days, err := strconv.Atoi(a)
	last, err2 := strconv.ParseInt(b, 10, 64)
	if err != nil || err2 != nil || days < 0 {
		return 0, 0
	}
	return days, last
}

// Finish learns from how the mail of a client ended. A day with good mail
// counts once; mail that was refused, held or dropped for what it is, or that a
// list knows, begins all anew. A day on which one list has it takes one away:
// who was good for five days to be believed against a list afterwards, is for
// one, and who was for a year is for another.
func (k *lookups) Finish(ctx context.Context, tx *mail.Transaction, o mail.Outcome) error {
	a, ok := k.applies(tx.Session)
	if !ok || k.store == nil || k.c.PeerDays == 0 {
		return nil
	}
	score, listed, judged, doubted := 0.0, false, false, false
	for i := range tx.Findings {
		f := &tx.Findings[i]
		listed = listed || f.Filter == Name && f.Symbol != SymbolTemporary && f.Symbol != SymbolDoubted && f.Score > 0
		doubted = doubted || f.Symbol == SymbolDoubted && strings.HasSuffix(f.Detail, lists.KnownGood)
		if f.Counted {
			score += f.Score
			judged = judged || f.Verdict == mail.Reject || f.Verdict == mail.Quarantine || f.Verdict == mail.Discard
		}
	}
	bad := listed || judged || score >= badScore
	if !bad && o.Kind != mail.Relayed {
		return nil
	}
	key := peerOf(a)
	raw, known, err := k.store.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("dnsbl: %w", err)
	}
	if bad {
		if known {
			return k.store.Delete(ctx, key)
		}
		return nil
	}
	days, last := peerDays(raw)
	today := k.now().Unix() / int64(24*time.Hour/time.Second)
	if known && last == today {
		return nil
	}
	if doubted {
		days = max(days-2, -1)
	}
	return k.store.Put(ctx, key, []byte(strconv.Itoa(min(days+1, 1000))+" "+strconv.FormatInt(today, 10)), keepPeer)
}

var (
	_ filters.ConnectChecker = (*lookups)(nil)
	_ filters.HeloChecker    = (*lookups)(nil)
	_ filters.MailChecker    = (*lookups)(nil)
	_ filters.MessageChecker = (*lookups)(nil)
	_ filters.Finisher       = (*lookups)(nil)
)
