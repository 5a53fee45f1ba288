package maillog

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// batchDelay is how long the first record of a batch waits for company:
	// under load one write carries hundreds of records.
	batchDelay = 5 * time.Millisecond
	// hurryAt is the size from which a batch is written without that wait.
	hurryAt = 128 << 10
	// closeWait bounds how long Close waits for a destination that hangs.
	closeWait = 2 * time.Second
	// movedEvery is how often, at most, the file's name is looked at.
	movedEvery = time.Second
	// keepBuffer is the largest buffer kept while nothing happens.
	keepBuffer = 256 << 10
)

// Logger writes mail events. Its methods may be used by many goroutines, never
// block on the destination, and do nothing on a nil Logger.
type Logger struct {
	cfg    Config
	level  level
	json   bool
	now    func() time.Time
	host   string // " host garita", or " garita" for syslog
	pid    string // "[812]: "
	pidNum int
	out    sink
	stamp  atomic.Pointer[stamp]
	pool   sync.Pool
	flood  flood

	wake  chan struct{} // something is queued
	hurry chan struct{} // write now
	stop  chan struct{} // closed by Close
	done  chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	flushed *sync.Cond // on mu: written has changed
	pending []byte     // whole records, at most cfg.Queue octets
	ends    []int      // where each record in pending ends
	queued  uint64     // records ever put into pending
	written uint64     // records ever taken out again, written or lost
	closed  bool

	reopen    atomic.Bool
	records   atomic.Uint64
	dropped   atomic.Uint64
	errors    atomic.Uint64
	reopens   atomic.Uint64
	lastError atomic.Pointer[string]
}

// Stats are counters since the start.
type Stats struct {
	Records     uint64 // written
	Dropped     uint64 // lost: queue full, or failed to write
	WriteErrors uint64
	Reopens     uint64
	LastError   string // of the last write or reopening that failed, for the operator
}

// New opens the destination and starts the writer. Close ends it.
func New(c Config, e Env) (*Logger, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("maillog: %w", err)
	}
	out, err := openSink(c, e)
	if err != nil {
		return nil, err
	}
	if e.Hostname == "" {
		e.Hostname = "localhost"
	}
	if e.PID == 0 {
		e.PID = os.Getpid()
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	l := &Logger{
		cfg:    c,
		json:   c.Format == "json",
		now:    e.Now,
		host:   " " + c.SyslogName,
		pid:    "[" + strconv.Itoa(e.PID) + "]: ",
		pidNum: e.PID,
		out:    out,
		wake:   make(chan struct{}, 1),
		hurry:  make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	l.level, _ = parseLevel(c.Level)
	l.flood.limit = c.LinesPerClient
	l.flushed = sync.NewCond(&l.mu)
	l.pool.New = func() any { b := make([]byte, 0, 4096); return &b }
	host := string(appendField(nil, e.Hostname, hostClass()))
	if _, ok := out.(*syslogSink); !ok {
		l.host = " " + host + l.host
	}
	if l.json {
		l.host = host
	}
	go l.run()
	return l, nil
}

// stamp is the text of one second's time, made once for all its records.
type stamp struct {
	sec  int64
	text string
}

// stampOf gives the time as the records show it, without fractions.
func (l *Logger) stampOf(t time.Time) string {
	sec := t.Unix()
	if s := l.stamp.Load(); s != nil && s.sec == sec {
		return s.text
	}
	s := &stamp{sec: sec}
	switch {
	case l.json:
		s.text = t.UTC().Format("2006-01-02T15:04:05")
	case l.cfg.Timestamps == "rfc3339":
		s.text = t.Format("2006-01-02T15:04:05-07:00")
	default:
		s.text = t.Format(time.Stamp)
	}
	l.stamp.Store(s)
	return s.text
}

// take gives an empty buffer; put queues it as one record and gives it back.
func (l *Logger) take() *[]byte {
	b := l.pool.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

func (l *Logger) put(b *[]byte) {
	l.enqueue(*b)
	if cap(*b) <= 64<<10 { // a record with a thousand recipients is rare
		l.pool.Put(b)
	}
}

// enqueue copies a record into the queue, or counts it as dropped.
func (l *Logger) enqueue(rec []byte) {
	if len(rec) == 0 {
		return
	}
	l.mu.Lock()
	if l.closed || int64(len(l.pending)+len(rec)) > l.cfg.Queue {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	first := len(l.pending) == 0
	l.pending = append(l.pending, rec...)
	l.ends = append(l.ends, len(l.pending))
	l.queued++
	size := len(l.pending)
	l.mu.Unlock()
	if first {
		poke(l.wake)
	}
	if size >= hurryAt {
		poke(l.hurry)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Reopen makes the writer open the file anew before its next write; when that
// fails it goes on with the old one. SIGUSR1 calls it.
func (l *Logger) Reopen() {
	if l == nil {
		return
	}
	l.reopen.Store(true)
	poke(l.wake)
	poke(l.hurry)
}

// Flush waits until the records queued before it are written or lost; it may
// wait forever for a destination that hangs. For tests and for the commands.
func (l *Logger) Flush() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for target := l.queued; l.written < target; {
		poke(l.wake)
		poke(l.hurry)
		l.flushed.Wait()
	}
}

// Close writes what is queued and ends the writer. It waits two seconds at
// most; the error tells that records were left behind.
func (l *Logger) Close() error {
	if l == nil {
		return nil
	}
	l.endFlood()
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
	}
	l.mu.Unlock()
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-l.done:
		return nil
	case <-t.C:
		l.mu.Lock()
		left := l.queued - l.written
		l.mu.Unlock()
		return fmt.Errorf("maillog: %s does not take the last %d records", l.cfg.Output, left)
	}
}

// Stats gives the counters.
func (l *Logger) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	s := Stats{
		Records:     l.records.Load(),
		Dropped:     l.dropped.Load(),
		WriteErrors: l.errors.Load(),
		Reopens:     l.reopens.Load(),
	}
	if p := l.lastError.Load(); p != nil {
		s.LastError = *p
	}
	return s
}
