package load

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Idle opens n sessions that say EHLO and nothing more, from many client
// addresses, calls measure while they are open, and closes them. Of c it heeds
// Addr, StartTLS and Proxy. It tells how many still answered after measure.
func Idle(c Config, n int, measure func()) (alive int, err error) {
	if err := checkAddr(c.Addr); err != nil {
		return 0, err
	}
	all := make([]*session, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 50)
	for i := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			all[i], errs[i] = open(c.Addr, 1+i, c)
		})
	}
	wg.Wait()
	defer func() {
		for _, s := range all {
			if s != nil {
				s.conn.Close()
			}
		}
	}()
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("idle sessions: %w", err)
	}
	measure()
	for _, s := range all {
		if s.command("NOOP", []byte("NOOP\r\n")) == nil {
			alive++
		}
	}
	return alive, nil
}

// Greetings opens n sessions one after the other and tells how long each
// waited for its greeting, from the first octet of the connection.
func Greetings(c Config, n int) (*Histogram, error) {
	if err := checkAddr(c.Addr); err != nil {
		return nil, err
	}
	var h Histogram
	for i := range n {
		began := time.Now()
		conn, err := net.DialTimeout("tcp", c.Addr, limit)
		if err != nil {
			return nil, err
		}
		s := newSession(conn, 1+i, c)
		err = s.begin()
		took := time.Since(began)
		s.quit()
		if err != nil {
			return nil, err
		}
		h.Add(took)
	}
	return &h, nil
}
