package milterd

import (
	"cmp"
	"slices"
	"time"

	"garita/mail"
)

// LoggedIn is a user's session with the MTA, as the MTA's last MAIL told it.
// A session without MAIL is not known: the protocol names the user there.
type LoggedIn struct {
	ID       string    `json:"id"`
	Login    string    `json:"login"`
	Method   string    `json:"method"`
	Listener string    `json:"listener"`
	Client   string    `json:"client"`
	Since    time.Time `json:"since"` // of the MTA's first word about its client
}

// replyKicked is what a session hears that an operator ends.
var replyKicked = mail.Temporary(codeEnd, "3.2", "Session ended by the administrator")

// known notes who is at the other end of the MTA's session, for those who look
// from outside.
func (x *session) known() {
	was := x.who.Load()
	if x.s.Login == "" {
		x.unknown()
		return
	}
	if was != nil && was.ID == x.s.ID && was.Login == x.s.Login {
		return
	}
	x.kicked.Store(false) // it was about another
	x.who.Store(&LoggedIn{ID: x.s.ID, Login: x.s.Login, Method: x.s.LoginMethod, Listener: x.s.Listener,
		Client: x.s.Client.Addr().String(), Since: x.s.Start})
}

func (x *session) unknown() {
	x.who.Store(nil)
	x.kicked.Store(false)
}

// LoggedIn lists the sessions of users who have logged in at the MTA, oldest
// first.
func (s *Server) LoggedIn() []LoggedIn {
	out := []LoggedIn{}
	s.mu.Lock()
	for x := range s.open {
		if w := x.who.Load(); w != nil {
			out = append(out, *w)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b LoggedIn) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Kick ends the sessions of users for whom is tells it, at their next command:
// a milter cannot speak first. It gives how many there are.
func (s *Server) Kick(is func(login string) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x := range s.open {
		if w := x.who.Load(); w != nil && is(w.Login) {
			x.kicked.Store(true)
			n++
		}
	}
	return n
}
