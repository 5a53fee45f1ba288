package smtpproxy

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"garita/mail"
	"garita/message"
)

// transaction is one message on its way through this session: MAIL to the end
// of data. It is one value and is dropped whole.
type transaction struct {
	mail.Transaction
	hop      NextHop
	delivery Delivery
	limit    int64 // size limit that held at MAIL
	tried    int   // RCPT commands
	exempt   bool  // all recipients are role addresses
	// toHold is a reject before the message that becomes a hold; all
	// recipients share it. holdAll is one that was about the sender.
	toHold, holdAll *mail.Decision
	started         time.Time
	body            *incoming
	// parked: the next hop's connection was given back meanwhile; parks counts
	// how often. waited is how long the client has let it wait since.
	parked bool
	parks  int
	waited time.Duration
}

// incoming is the message while it arrives.
type incoming struct {
	bodyScanner
	builder *message.Builder
	grant   *message.Grant
	// giveBack ends the client's promise; nil for a trusted one.
	giveBack func()
	pace     pace
}

// A client that says nothing, or whose message is on its way, holds a
// connection of the next hop; those are few, and a handful of idle clients
// would stop the mail of all others. So it is given back when the client has
// let it wait for parkAfter in all, whatever it says in between, and for
// parkSoon already when somebody else waits for one.
const (
	parkAfter = 10 * time.Second
	parkSoon  = 2 * time.Second
	// maxParks bounds how often the envelope is played again for one
	// transaction; after it the client is told to try again.
	maxParks = 8
)

// holds tells that a connection of the next hop waits for this client.
func (t *transaction) holds() bool { return t != nil && t.delivery != nil && !t.parked }

// wake is when a wait that begins now and lasts until end is to be looked at
// again.
func (t *transaction) wake(now, end time.Time) time.Time {
	if !t.holds() {
		return end
	}
	left := parkAfter - t.waited
	if t.waited < parkSoon {
		left = parkSoon - t.waited
	} else if left > parkSoon {
		left = parkSoon
	}
	if at := now.Add(max(left, 0)); at.Before(end) {
		return at
	}
	return end
}

// waitedFor adds to the time that the client took, and parks when it is due.
func (t *transaction) waitedFor(d time.Duration) {
	if !t.holds() {
		return
	}
	t.waited += d
	if t.waited >= parkAfter || t.waited >= parkSoon && t.delivery.Wanted() {
		t.park()
	}
}

// park gives the next hop's connection back until it is needed again.
func (t *transaction) park() {
	if t.holds() {
		t.parked, t.waited = true, 0
		t.parks++
		t.delivery.Park()
	}
}

// estimate is what a message is taken for whose size was not declared; its
// grant grows as the octets come.
const estimate = 64 << 10

// data is DATA (RFC 5321 section 4.1.1.4).
func (s *session) data(ctx context.Context, arg string) {
	t := s.tx
	switch {
	case arg != "":
		s.fail(mail.Permanent(501, "5.4", "Syntax: DATA"))
		return
	case t == nil:
		s.fail(mail.Permanent(503, "5.1", "Error: need MAIL command"))
		return
	case t.body != nil:
		s.fail(mail.Permanent(503, "5.1", "Error: BDAT has begun"))
		return
	}
	// Whatever the answer is, the message must not be here yet: if we refuse,
	// it would be read as commands (attacks S-51, S-52).
	if !s.inStep() {
		return
	}
	if len(t.ForwardPaths) == 0 {
		s.fail(noRecipients(t))
		return
	}
	if d := s.set.Policy.Data(ctx, &t.Transaction); s.refuses(d) && !s.holdsInstead(d) {
		s.conclude(ctx, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{s.refusal(d)}})
		return
	}
	if !s.admit(ctx, true) {
		return
	}
	s.out.reply(mail.Reply{Code: 354, Text: "End data with <CR><LF>.<CR><LF>"})
	if s.flush() != nil {
		s.broken(ctx, s.out.err, "DATA")
		return
	}
	if err := s.receive(); err != nil {
		s.broken(ctx, err, "DATA")
		return
	}
	s.complete(ctx)
}

func noRecipients(t *transaction) mail.Reply {
	if t.tried > 0 {
		return mail.Permanent(554, "5.1", "Error: no valid recipients")
	}
	return mail.Permanent(503, "5.1", "Error: need RCPT command")
}

// admit finds room for the message before the client sends it: over the
// bounds it is told 452 now, never cut later (attacks S-160).
func (s *session) admit(ctx context.Context, stuffed bool) bool {
	t := s.tx
	need := t.Params.Size
	if need < estimate {
		need = estimate
	}
	ok := s.s.Trusted
	var giveBack func()
	if !ok {
		key := slotKey(s.s.Client.Addr())
		if ok = s.srv.slots.reserve(key, need, s.set.Limits.MessagesTotal); ok {
			giveBack = func() { s.srv.slots.unreserve(key, need) }
		}
	}
	var grant *message.Grant
	if ok {
		grant, ok = s.srv.budget.Admit(need, s.s.Trusted)
	}
	if !ok {
		if giveBack != nil {
			giveBack()
		}
		s.srv.stats.noRoom.Add(1)
		s.srv.alarm("messages_total is used up; mail is deferred", slog.String("id", t.ID))
		s.conclude(ctx, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{
			mail.Temporary(452, "3.1", "Insufficient system resources, try again later")}})
		return false
	}
	now := time.Now()
	in := &incoming{grant: grant, giveBack: giveBack,
		pace: pace{start: now, quiet: s.set.Limits.DataTimeout, rate: max(s.set.Limits.MinDataRate, need/maxUpload)}}
	in.builder = message.NewBuilder(ctx, message.Limits{
		Max: t.limit, Memory: s.set.Limits.MessageMemory, Dir: s.srv.spoolDir,
		FreeDisk: s.set.Limits.FreeDisk, Grant: grant, Wait: s.set.Limits.DataTimeout, Index: s.set.Index})
	in.bodyScanner = bodyScanner{to: in.builder, stuffed: stuffed, bol: true}
	t.body = in
	return true
}

// drop gives back what the message holds.
func (in *incoming) drop() {
	if in == nil {
		return
	}
	if in.builder != nil {
		in.builder.Discard()
		in.builder = nil
	}
	in.grant.Release()
	if in.giveBack != nil {
		in.giveBack()
	}
}

// maxUpload is how many seconds a message may take to hold room that its SIZE
// has reserved: 25 MB have to come with 14 KB a second.
const maxUpload = 30 * 60

// receive reads the message to its true end. An error means that the end was
// not reached: nothing of it may be delivered.
func (s *session) receive() error {
	t := s.tx
	s.in.enlarge()
	for {
		if s.in.buffered() > 0 {
			n, eod := t.body.feed(s.in.buf[s.in.r:s.in.w])
			s.in.r += n
			if eod {
				s.in.restore(s.set.Limits.CommandLength)
				return nil
			}
			if err := s.drained(); err != nil {
				return err
			}
		}
		if err := s.fillData(); err != nil {
			return err
		}
	}
}

// errDrained: a client that goes on sending long after its message was over
// the limit.
var errDrained = errors.New("message far over the limit")

// drained bounds what is read of a message that is refused already.
func (s *session) drained() error {
	if b := s.tx.body; b.err != nil && b.n > 2*s.tx.limit+(16<<20) {
		return errDrained
	}
	return nil
}

// fillData reads once within the pace of the message. A slow upload gives the
// next hop's connection back meanwhile.
func (s *session) fillData() error {
	// Answers to what was pipelined before a chunk go out before we wait for
	// the rest of it: the client may wait for them (RFC 2920 section 3.2).
	if err := s.flush(); err != nil {
		return err
	}
	t := s.tx
	t.body.pace.quiet = s.within(s.set.Limits.DataTimeout, stressData)
	// The end stands before the loop: a look at the clock on the way is no
	// sign of life from the client.
	now := time.Now()
	end := t.body.pace.deadline(now, t.body.n)
	for {
		s.conn.SetReadDeadline(t.wake(now, end))
		err := s.in.fill()
		began := now
		now = time.Now()
		if t.holds() {
			t.waitedFor(now.Sub(began))
		}
		if err == nil || !isTimeout(err) || !now.Before(end) {
			return err
		}
	}
}

// broken ends a session whose message did not arrive whole: the next hop's
// socket is closed without the dot, and nothing more is read (attacks S-24 to
// S-26, I2, I6).
func (s *session) broken(ctx context.Context, err error, after string) {
	t := s.tx
	n := t.body.n
	switch {
	case isTimeout(err):
		s.out.reply(mail.Temporary(421, "4.2", "Error: timeout exceeded"))
		s.srv.log.Timeout(&s.s, after, n)
	case errors.Is(err, errDrained):
		s.out.reply(mail.Permanent(552, "3.4", "Error: message too big"))
		s.srv.log.ClientWarn(&s.s, "message far over the limit; connection closed", slog.String("id", t.ID))
	default:
		s.srv.log.Lost(&s.s, after, n)
	}
	s.endTransaction(ctx, mail.Outcome{Kind: mail.Aborted,
		Detail: "lost connection after " + after + " (" + strconv.FormatInt(n, 10) + " bytes)"})
	s.close()
}

// bdat is BDAT (RFC 3030 section 2). The octets of a chunk are consumed
// whatever the answer, because they are not commands.
func (s *session) bdat(ctx context.Context, arg string) {
	size, last, ok := parseBDAT(arg)
	if !ok || !s.offer.chunks {
		// Without a size that we trust we cannot tell where the chunk ends.
		code := mail.Permanent(501, "5.4", "Syntax: BDAT size [LAST]")
		if !s.offer.chunks {
			code = mail.Permanent(502, "5.1", "Error: BDAT is not offered")
		}
		s.out.reply(code)
		s.close()
		return
	}
	t := s.tx
	bad := s.bdatRefused(ctx)
	if bad == nil && t.body == nil && !s.admit(ctx, false) {
		bad = &mail.Reply{} // answered
	}
	if bad != nil {
		s.tx.park() // nothing of the next hop's waits for what is dropped
		if err := s.skip(size); err != nil {
			s.readFailed(ctx, err)
			s.closing = true
			return
		}
		if !bad.IsZero() {
			s.fail(*bad)
		}
		return
	}
	if err := s.receiveChunk(size); err != nil {
		s.broken(ctx, err, "BDAT")
		return
	}
	if last {
		t.body.finish()
		s.in.restore(s.set.Limits.CommandLength)
		s.complete(ctx)
		return
	}
	if size < 1024 {
		// Very small chunks cost us more than their sender (attacks S-67).
		s.chatter(mail.OK(250, "0.0", strconv.FormatInt(size, 10)+" bytes received"))
		return
	}
	s.out.reply(mail.OK(250, "0.0", strconv.FormatInt(size, 10)+" bytes received"))
}

// bdatRefused tells why a chunk cannot be taken, if so.
func (s *session) bdatRefused(ctx context.Context) *mail.Reply {
	t := s.tx
	var r mail.Reply
	switch {
	case t == nil:
		r = mail.Permanent(503, "5.1", "Error: need MAIL command")
	case len(t.ForwardPaths) == 0:
		r = noRecipients(t)
	case t.body == nil:
		d := s.set.Policy.Data(ctx, &t.Transaction)
		if !s.refuses(d) || s.holdsInstead(d) {
			return nil
		}
		s.conclude(ctx, mail.Outcome{Kind: mail.Refused, Replies: []mail.Reply{s.refusal(d)}})
	default:
		return nil
	}
	return &r
}

// maxChunk bounds a chunk: 2 GB, as large as any message may be configured.
const maxChunk = 1 << 31

func parseBDAT(arg string) (size int64, last, ok bool) {
	num, tail, _ := strings.Cut(arg, " ")
	if len(num) == 0 || len(num) > 10 {
		return 0, false, false
	}
	for _, c := range num {
		if c < '0' || c > '9' {
			return 0, false, false
		}
	}
	size, err := strconv.ParseInt(num, 10, 64)
	if err != nil || size > maxChunk || (tail != "" && !strings.EqualFold(tail, "LAST")) {
		return 0, false, false
	}
	return size, tail != "", true
}

// receiveChunk reads exactly size octets of the message (attacks M-01, S-66).
func (s *session) receiveChunk(size int64) error {
	s.in.enlarge()
	for size > 0 {
		if s.in.buffered() == 0 {
			if err := s.fillData(); err != nil {
				return err
			}
		}
		part := s.in.buf[s.in.r:s.in.w]
		if int64(len(part)) > size {
			part = part[:size]
		}
		n, _ := s.tx.body.feed(part)
		s.in.r += n
		size -= int64(n)
		if err := s.drained(); err != nil {
			return err
		}
	}
	return nil
}

// maxSkip is how many seconds a chunk that is not wanted may take, behind the
// first minute.
const maxSkip = 120

// skip consumes a chunk that is not wanted.
func (s *session) skip(size int64) error {
	// Where it is not wanted, it must come fast: it is bounded in time too.
	p := pace{start: time.Now(), quiet: s.set.Limits.DataTimeout, rate: max(s.set.Limits.MinDataRate, size/maxSkip)}
	var got int64
	for got < size {
		if got > s.ln.MaxMessageSize+(16<<20) {
			return errDrained
		}
		if s.in.buffered() == 0 {
			if err := s.flush(); err != nil {
				return err
			}
			s.conn.SetReadDeadline(p.deadline(time.Now(), got))
			if err := s.in.fill(); err != nil {
				return err
			}
		}
		n := min(int64(s.in.buffered()), size-got)
		s.in.r += int(n)
		got += n
	}
	return nil
}
