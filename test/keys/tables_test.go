package keys

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"garita/accounts"
	"garita/conduct"
	"garita/mail"
	"garita/smtpproxy"
	"garita/smtpproxy/routing"
	"garita/store"
)

// Hashes whose costs lie just over a default; none is ever computed.
const (
	saltAndSum  = "$MTIzNDU2Nzg5MDEyMzQ1Ng$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	muchMemory  = "$argon2id$v=19$m=65537,t=1,p=1" + saltAndSum
	manyPasses  = "$argon2id$v=19$m=64,t=11,p=1" + saltAndSum
	manyThreads = "$argon2id$v=19$m=4096,t=1,p=9" + saltAndSum
	highCost    = "$2b$15$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcde"
)

func userRows() []effect {
	users := func(line string) string { return `users.file = "{file:` + line + `}"` }
	return []effect{
		{key: "users.file", value: `"{file:ana ` + strings.Replace(highCost, "$15$", "$10$", 1) + `}"`, scene: "load", want: "+1 users"},
		{key: "users.max_hash_memory", value: `"128MB"`, base: users("ana " + muchMemory), scene: "load", want: "+1 users"},
		{key: "users.max_hash_passes", value: "11", base: users("ana " + manyPasses), scene: "load", want: "+1 users"},
		{key: "users.max_hash_threads", value: "9", base: users("ana " + manyThreads), scene: "load", want: "+1 users"},
		{key: "users.max_bcrypt_cost", value: "15", base: users("ana " + highCost), scene: "load", want: "+1 users"},
		{key: "users.max_delay", value: `"1s"`, scene: "guess", want: "+put off"},
	}
}

// TestUsers: who is loaded from the file, and how long a guesser waits.
func TestUsers(t *testing.T) {
	run(t, userRows(), func(t *testing.T, toml string, e effect) string {
		toml = withFile(t, toml)
		if e.scene == "guess" {
			return guess(t, toml)
		}
		c := read(t, toml).Users
		if c.File == "" {
			return "nobody"
		}
		u, problems := accounts.Load(c)
		if len(problems) > 0 {
			return errors.Join(problems...).Error()
		}
		return strconv.Itoa(u.Len()) + " users"
	})
}

// guess is somebody who guesses wrongly: the fifth try has to wait two seconds
// of a clock that moves by waiting alone.
func guess(t *testing.T, toml string) (out string) {
	c := read(t, toml).Users
	c.File = file(t, "users", "ana "+strings.Replace(highCost, "$15$", "$10$", 1)+"\n")
	synctest.Test(t, func(t *testing.T) {
		a, err := accounts.New(c)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			_, err = a.Verify(t.Context(), netip.MustParseAddr("192.0.2.1"), "ana", "wrong")
		}
		out = "judged"
		if errors.Is(err, accounts.ErrTooManyFailures) {
			out = "put off"
		}
	})
	return out
}

func conductRows() []effect {
	const c = "conduct."
	rows := []effect{
		{key: c + "mode", value: `"off"`, scene: "junk 20", want: "-banned for", still: "refused 0"},
		{key: c + "exempt", value: `["192.0.2.0/24"]`, scene: "junk 20", want: "-banned for", still: "refused 0"},
		{key: c + "ban_after", value: "4", scene: "junk 3", want: "+banned for 10m0s"},
		{key: c + "ban_window", value: `"1h"`, scene: "junk 10 pass 20m junk 10", want: "+banned for"},
		{key: c + "ban_for", value: `"1h"`, scene: "junk 20", want: "+banned for 1h0m0s"},
		{key: c + "ban_max", value: `"12m"`, scene: "junk 20 pass 11m junk 20", want: "+banned for 12m0s"},
		{key: c + "on_error", value: `"defer"`, scene: "broken messages 5", want: "+refused 5"},
	}
	for key := range acts() {
		rows = append(rows, effect{key: c + key, value: "3", scene: key + " 5", want: "+refused 2"})
	}
	return rows
}

func acts() map[string]smtpproxy.Act {
	return map[string]smtpproxy.Act{
		"connections": smtpproxy.ActConnection, "handshakes": smtpproxy.ActHandshake, "messages": smtpproxy.ActMessage,
		"recipients": smtpproxy.ActRecipient, "auth_failures": smtpproxy.ActAuthFailure,
		"unknown_recipients": smtpproxy.ActUnknownRecipient, "junk": smtpproxy.ActJunk,
	}
}

// brokenStore cannot be asked when it is switched so.
type brokenStore struct {
	store.Store
	broken atomic.Bool
}

var errBroken = errors.New("broken")

func (s *brokenStore) Reserve(ctx context.Context, w []store.Window) (store.Reservation, []store.Usage, error) {
	if s.broken.Load() {
		return nil, nil, errBroken
	}
	return s.Store.Reserve(ctx, w)
}

// TestConduct: what a client may do, and what becomes of one that does more.
// A scene is a list of acts and how often, and of times that pass.
func TestConduct(t *testing.T) {
	run(t, conductRows(), func(t *testing.T, toml string, e effect) string {
		now := time.Unix(1_800_000_000, 0).UTC()
		clock := func() time.Time { return now }
		st := &brokenStore{Store: store.NewMemoryWith(store.Config{Now: clock})}
		c, err := conduct.New(conduct.Options{Config: read(t, toml).Conduct, Store: st, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		client, refused := netip.MustParseAddr("192.0.2.1"), 0
		words := strings.Fields(e.scene)
		if words[0] == "broken" {
			st.broken.Store(true)
			words = words[1:]
		}
		for i := 0; i < len(words); i += 2 {
			if words[i] == "pass" {
				d, err := time.ParseDuration(words[i+1])
				if err != nil {
					t.Fatal(err)
				}
				now = now.Add(d)
				continue
			}
			n, err := strconv.Atoi(words[i+1])
			if err != nil || acts()[words[i]] == 0 {
				t.Fatal(e.scene)
			}
			for range n {
				if c.Note(client, acts()[words[i]]).Refuse {
					refused++
				}
			}
		}
		out := fmt.Sprintf("refused %d\n", refused)
		for _, b := range c.List() {
			out += fmt.Sprintf("banned for %s\n", b.Until.Sub(now))
		}
		return out
	})
}

func routeRows() []effect {
	const r = "route."
	rows := []effect{{
		key: r + "recipient_delimiter", value: `"-"`, base: r + `recipients = ["ana@our.example a"]`, scene: "ana-x@our.example", want: "+-> a:",
	}}
	for _, x := range []struct{ key, files, text, to, want string }{
		{"recipients", "recipient_files", "far.example a", "b@far.example", "+-> a:"},
		{"senders", "sender_files", "our.example a", "b@far.example", "+-> a:"},
		{"aliases", "alias_files", "info@our.example ana@our.example", "info@our.example", "+ana@our.example -> mailbox"},
		{"known_recipients", "recipient_list_files", "ana@our.example ok", "info@our.example", "+refused: 550 5.1.1"},
	} {
		if x.key == "known_recipients" {
			rows = append(rows, effect{key: r + x.key, value: `["ana@our.example"]`, scene: x.to, want: x.want})
		} else {
			rows = append(rows, effect{key: r + x.key, value: `["` + x.text + `"]`, scene: x.to, want: x.want})
		}
		rows = append(rows, effect{key: r + x.files, value: `["{file:` + x.text + `}"]`, scene: x.to, want: x.want})
	}
	return rows
}

// hopName is a next hop that is only a name.
type hopName string

func (h hopName) Name() string                                { return string(h) }
func (hopName) Capabilities() smtpproxy.Capabilities          { return smtpproxy.Capabilities{} }
func (hopName) LeadsTo(netip.Addr) (port uint16, yes bool)    { return 0, false }
func (hopName) Begin(tx *mail.Transaction) smtpproxy.Delivery { return nil }

// TestRoutes: where mail of a trusted client for the scene's recipient goes.
func TestRoutes(t *testing.T) {
	run(t, routeRows(), func(t *testing.T, toml string, e effect) string {
		tables, problems := routing.Compile(read(t, withFile(t, toml)).Route)
		for _, p := range problems {
			t.Error(p)
		}
		r, err := routing.New(routing.Options{
			Listener: smtpproxy.ListenerConfig{Role: "outbound"}, Tables: tables, Default: hopName("smart"),
			Hops:        map[string]smtpproxy.NextHop{"a": hopName("a")},
			InboundHops: map[string]smtpproxy.NextHop{"our.example": hopName("mailbox")},
		})
		if err != nil {
			t.Fatal(err)
		}
		user, domain, _ := strings.Cut(e.scene, "@")
		return strings.Join(r.Explain(mail.Path{Local: user, Domain: domain}, mail.Path{Local: "x", Domain: "our.example"}).Lines(), "\n")
	})
}
