package smtpproxy

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"time"

	"garita/mail"
)

// errKicked ends a session whose user may not send any more.
var errKicked = errors.New("ended by command")

// replyKicked is the answer in the user's own session; nobody else is in it.
var replyKicked = mail.Temporary(421, "7.0", "Session ended by the administrator")

// LoggedIn is a session whose user has logged in.
type LoggedIn struct {
	ID       string    `json:"id"`
	Login    string    `json:"login"`
	Method   string    `json:"method"`
	Listener string    `json:"listener"`
	Client   string    `json:"client"`
	Since    time.Time `json:"since"` // of the login
}

// loggedIn notes who has logged in, for those who look from outside.
func (s *session) loggedIn() {
	s.who.Store(&LoggedIn{ID: s.s.ID, Login: s.s.Login, Method: s.s.LoginMethod, Listener: s.s.Listener,
		Client: s.s.Client.Addr().String(), Since: time.Now()})
}

// LoggedIn gives the sessions of users, the oldest first.
func (s *Server) LoggedIn() []LoggedIn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []LoggedIn{}
	for ss := range s.sessions {
		if w := ss.who.Load(); w != nil {
			out = append(out, *w)
		}
	}
	slices.SortFunc(out, func(a, b LoggedIn) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Kick ends the sessions of a user, those that wait for a command at once and
// the others at their next one, and tells how many. A message whose end has
// come is judged first: a suspension stops it there. Sessions of trusted relays
// have no login and are never among them.
func (s *Server) Kick(is func(login string) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for ss := range s.sessions {
		w := ss.who.Load()
		if w == nil || !is(w.Login) {
			continue
		}
		n++
		// The mark first and the deadline after, as in Shutdown: mayWait looks
		// the other way round, so one of us always sees the other.
		ss.kicked.Store(true)
		if ss.state.Load() == waiting {
			ss.raw.SetReadDeadline(time.Unix(1, 0))
		}
	}
	return n
}

// ownUser tells that the session serves one user alone: who has logged in, or
// a client that is no trusted relay. There a 421 ends it (design section 4.10).
func (s *session) ownUser() bool { return !s.s.Trusted || s.s.Login != "" }

// endWith answers a 421 of the checks and ends the session.
func (s *session) endWith(r mail.Reply) {
	s.out.reply(r)
	s.srv.log.ClientWarn(&s.s, "session ended by the checks", slog.String("reply", r.String()))
	s.close()
}
