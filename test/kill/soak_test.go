package kill

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"garita/test/harness"
)

// soak lets all sessions greet first, then send. A session that is told 452
// before its message comes back until it is taken.
func soak(t *testing.T, g *harness.Gateway, hop *harness.Sandbox, sessions, size int, total int64) {
	t.Helper()
	line := strings.Repeat("x", 998) + "\r\n"
	m := "Subject: large\r\n\r\n" + strings.Repeat(line, size/len(line)) + ".\r\n"
	soakWith(t, g, hop, sessions, m, total, total)
}

// soakWith does it with a message as it goes over the wire; bound is what the
// process may take.
func soakWith(t *testing.T, g *harness.Gateway, hop *harness.Sandbox, sessions int, m string, total, bound int64) {
	t.Helper()
	size := len(m)
	var mu sync.Mutex
	told := map[string]int{}
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		told[what]++
	}
	conns := make([]*harness.Client, sessions)
	for i := range conns {
		c, err := harness.Connect(t, g.Inbound)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
		c.Want(220)
		c.Say("EHLO client.example").Want(250)
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				what, again := large(c, m, size)
				note(what)
				c.Close()
				if !again {
					return
				}
				// Back later and on a new connection, as mail servers do.
				time.Sleep(time.Duration(300+rand.IntN(400)) * time.Millisecond)
				var err error
				if c, err = harness.Connect(t, g.Inbound); err != nil {
					note(err.Error())
					return
				}
				if r := c.Reply(); r.Code != 220 {
					note("greeted with " + r.String())
					return
				}
				c.Say("EHLO client.example").Reply()
			}
		}()
	}
	wg.Wait()
	took := time.Since(begin)
	now, peak := g.RSS()
	t.Logf("%d sessions x %d MB under messages_total %d MB: %v in %s, resident %d MB, at most %d MB",
		sessions, size/1_000_000, total>>20, told, took.Round(time.Second), now>>20, peak>>20)
	for what := range told {
		if what != "250" && !strings.HasPrefix(what, "452 before") && !strings.HasPrefix(what, "451 before") {
			t.Errorf("%d messages ended with %q", told[what], what)
		}
	}
	if told["250"] != sessions || hop.Count() != sessions {
		t.Errorf("%d answers of 250 and %d messages at the next hop for %d sessions", told["250"], hop.Count(), sessions)
	}
	put := 0
	for what, n := range told {
		if what != "250" {
			put += n
		}
	}
	if put == 0 {
		t.Error("no message was put off: the bound was never reached, so nothing was tested")
	}
	if peak > bound {
		t.Errorf("the process took %d MB, more than its bound of %d MB", peak>>20, bound>>20)
	}
	if left := spoolFiles(t, g.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// large sends one message; again tells that it was put off before it was
// sent.
func large(c *harness.Client, m string, size int) (what string, again bool) {
	for _, command := range []string{fmt.Sprintf("MAIL FROM:<a@x.example> SIZE=%d", size), "RCPT TO:<b@our.example>", "DATA"} {
		r := c.Say(command).Reply()
		switch {
		case r.Code == 0:
			return "closed before the message: " + r.Text(), false
		case r.Class() == 4:
			c.Say("QUIT").Reply()
			return fmt.Sprintf("%d before the message (%s)", r.Code, strings.Fields(command)[0]), true
		case r.Class() == 5:
			return r.String(), false
		}
	}
	c.SetDeadline(time.Now().Add(20 * time.Minute))
	if _, err := io.WriteString(c.Conn, m); err != nil {
		return "cut inside the message", false
	}
	c.Conn.SetReadDeadline(time.Now().Add(20 * time.Minute))
	r := c.ReplyWithin(20 * time.Minute)
	if r.Code == 250 {
		return "250", false
	}
	return "after the message: " + r.String(), false
}
