// Package kill ends the gateway, and what stands behind it, at random
// instants under load, and does the sums: what was sent is delivered or was
// refused, whole, and twice only where an answer was lost. It also fills every
// disk that is written to, takes the descriptors away, damages the store, lets
// certificates end and helpers die, reloads under load, drains, and plays
// sessions that end in every bad way.
//
// CI runs it short. GARITA_KILL_ROUNDS sets the number of rounds, 25 without
// it; GARITA_SESSIONS that of aborted sessions, 8,000 without it; GARITA_SOAK
// makes a thousand large messages of a hundred, and a hundred reloads of
// 100,000 entries of a dozen.
package kill

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"garita/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	harness.CleanUp()
	os.Exit(code)
}

// rounds is how often something is killed.
func rounds(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("GARITA_KILL_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// letter is one message with a known id. Every try of it has the same octets.
type letter struct {
	id            int
	sum           [32]byte
	oks           int  // answers of 250
	lost          int  // tries whose final answer was lost, or was "perhaps"
	done          bool // told 250, or refused for good
	held, refused bool
	cut           int // releases of it that a kill cut short
}

// body makes the octets of a letter: mostly small, some above the bound where
// a spool file begins, with dots at line starts.
func body(id int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(id), 7))
	size := 500 + rnd.IntN(20000)
	if id%20 == 0 {
		size = 300_000
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: a@x.example\r\nTo: b@our.example\r\nX-Letter: %d\r\nSubject: letter\r\n\r\n", id)
	for b.Len() < size {
		fmt.Fprintf(&b, "%s line %d of letter %d\r\n", strings.Repeat(".", rnd.IntN(3)), b.Len(), id)
	}
	b.WriteString("end\r\n")
	return b.Bytes()
}

// load sends letters until it is told to stop, and each until it is taken, as
// a mail server would: a letter whose answer was lost is sent again.
type load struct {
	t       *testing.T
	addr    string
	behind  string // when set, every second try comes by this listener with a PROXY header
	next    atomic.Int64
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	letters map[int]*letter
	tries   int
	slowest atomic.Int64   // try that ended with 250
	told    map[string]int // answers by what they were
	// choose, when set, gives each letter its way and its octets.
	choose func(id int) way
}

// way is how a letter goes in: by which listener, from whom.
type way struct {
	addr, first, from string
	data              []byte
}

func startLoad(t *testing.T, addr, behind string, workers int) *load {
	l := &load{t: t, addr: addr, behind: behind}
	return l.start(workers)
}

func (l *load) start(workers int) *load {
	l.stop, l.letters, l.told = make(chan struct{}), map[int]*letter{}, map[string]int{}
	for range workers {
		l.wg.Add(1)
		go l.work()
	}
	return l
}

// end lets every letter that was begun come to its end.
func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

func (l *load) work() {
	defer l.wg.Done()
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		id := int(l.next.Add(1))
		data := l.wayOf(id).data
		now := &letter{id: id, sum: sha256.Sum256(data)}
		l.mu.Lock()
		l.letters[id] = now
		l.mu.Unlock()
		stuffed := harness.Stuff(string(data))
		until := time.Now().Add(6 * time.Minute) // of rounds that each may be slow
		for !now.done {
			if time.Now().After(until) {
				l.t.Errorf("letter %d was not taken in six minutes", id)
				return
			}
			l.try(now, stuffed)
		}
	}
}

// wayOf is the way of a letter: the same octets at every try.
func (l *load) wayOf(id int) way {
	if l.choose != nil {
		return l.choose(id)
	}
	w := way{addr: l.addr, from: "a@x.example", data: body(id)}
	if l.behind != "" && rand.IntN(2) == 0 {
		w.addr, w.first = l.behind, behind(strangerOf(rand.Int64N(1000)))
	}
	return w
}

// try sends a letter once and notes what the sender learns.
func (l *load) try(now *letter, stuffed string) {
	begin := time.Now()
	note := func(what string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tries++
		l.told[what]++
		switch what {
		case "250":
			now.oks++
			now.done = true
		case "held":
			now.oks++
			now.done, now.held = true, true
		case "refused":
			now.done, now.refused = true, true
		case "answer lost", "451 after the dot":
			now.lost++
		}
	}
	again := func(what string) {
		note(what)
		time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
	}
	way := l.wayOf(now.id)
	first := way.first
	c, err := harness.Connect(l.t, way.addr)
	if err != nil {
		again("no connection")
		return
	}
	defer c.Close()
	if first != "" {
		c.Raw(first)
	}
	if r := c.Reply(); r.Code != 220 {
		again("no greeting")
		return
	}
	for _, line := range []string{"EHLO client.example", "MAIL FROM:<" + way.from + ">", "RCPT TO:<b@our.example>", "DATA"} {
		r := c.Say(line).Reply()
		if r.Class() != 2 && r.Code != 354 {
			if r.Code == 554 {
				note("refused")
			} else if r.Code == 0 {
				again("lost before the message")
			} else {
				again(fmt.Sprintf("%s before the message", r))
			}
			return
		}
	}
	if rand.IntN(2) == 0 {
		c.Raw(stuffed)
	} else {
		// In two parts, so that a kill finds messages that are half there.
		n := rand.IntN(len(stuffed))
		c.Raw(stuffed[:n])
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		c.Raw(stuffed[n:])
	}
	switch r := c.Reply(); {
	case r.Code == 554:
		note("refused")
	case r.Code == 250 && strings.Contains(r.Text(), "held as "):
		note("held")
	case r.Code == 250:
		note("250")
		if d := int64(time.Since(begin)); d > l.slowest.Load() {
			l.slowest.Store(d)
		}
		c.Say("QUIT").Reply()
	case r.Code == 0:
		// The dot went out, or part of it did: nobody can know.
		again("answer lost")
	default:
		// 451 may stand for a next hop whose answer was lost.
		again(fmt.Sprintf("%d after the dot", r.Code))
	}
}

// sums are the figures of a run.
type sums struct{ letters, tries, copies, twice, held, refused int }

// reconcile compares what was sent with what arrived, given as id to the
// digests of its copies.
func (l *load) reconcile(t *testing.T, arrived map[int][][32]byte) sums {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := sums{letters: len(l.letters), tries: l.tries}
	for id, now := range l.letters {
		copies := arrived[id]
		s.copies += len(copies)
		if now.held {
			s.held++
		}
		if now.refused {
			s.refused++
		}
		for _, sum := range copies {
			if sum != now.sum {
				t.Errorf("letter %d arrived with other octets: cut or changed", id)
			}
		}
		if now.refused && len(copies) > 0 {
			t.Errorf("letter %d was refused and is there", id)
		}
		if now.done && !now.refused && len(copies) == 0 {
			t.Errorf("letter %d was answered 250 and is not there", id)
		}
		if len(copies) > 1 {
			s.twice++
		}
		if len(copies) > now.oks+now.lost+now.cut {
			t.Errorf("letter %d is there %d times, with %d answers of 250 and %d lost", id, len(copies), now.oks, now.lost)
		}
	}
	for id := range arrived {
		if l.letters[id] == nil {
			t.Errorf("letter %d arrived and was never sent", id)
		}
	}
	if s.letters == 0 {
		t.Error("no letters were sent")
	}
	return s
}

// identify gives a delivered message's id and the digest of its own octets,
// without the trace on top of it.
func identify(data string) (int, [32]byte, bool) {
	rest, _ := harness.WithoutTrace(data)
	_, after, ok := strings.Cut(rest, "X-Letter: ")
	if !ok {
		return 0, [32]byte{}, false
	}
	number, _, _ := strings.Cut(after, "\n")
	id, err := strconv.Atoi(strings.TrimSpace(number))
	return id, sha256.Sum256([]byte(rest)), err == nil
}
