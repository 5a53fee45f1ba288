package demo

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// The sections of the second part.
const (
	atTheDoor = "door"
	tooMuch   = "limits"
)

// sections are the headings of the second part.
func sections() []Section {
	return []Section{
		{atTheDoor, Words{"WHO IS AT THE DOOR", "QUIÉN LLAMA A LA PUERTA"}, Words{
			"The DNS lists are played by this program; nobody else is asked. A newcomer waits 1 second here; by default 2 minutes.",
			"Las listas DNS las representa este programa; no se pregunta a nadie más. El nuevo espera 1 segundo aquí; de fábrica, 2 minutos."}},
		{tooMuch, Words{"WHO SENDS TOO MUCH", "QUIÉN ENVÍA DEMASIADO"}, Words{
			"Each user may send 3 messages a minute here; by default 60 an hour. Nobody waits for the minute: the clock of the counters is put forward.",
			"Cada usuario puede enviar 3 mensajes por minuto aquí; de fábrica, 60 por hora. Nadie espera el minuto: se adelanta el reloj de los contadores."}},
	}
}

// People of the second part; the first two send over one connection.
const (
	ana   = "ana@" + Domain
	marta = second
)

// Scenes are the names of the cases of the second part.
func Scenes() (names []string) {
	for _, s := range scenes() {
		names = append(names, s.name)
	}
	return names
}

// scenes are all of them, in their order.
func scenes() []scene {
	return []scene{
		{"list-dead", atTheDoor, Words{"a DNS list that lists everybody", "una lista DNS que lista a todos"}, (*stage).deadList, true},
		{"list-hung", atTheDoor, Words{"a DNS list that does not answer", "una lista DNS que no responde"}, (*stage).hungList, true},
		{"list-alerts", atTheDoor, Words{"garita alert list", "garita alert list"}, (*stage).listAlerts, true},
		{"list-harmless", atTheDoor, Words{"a good client: neither list harms him", "un buen cliente: ninguna lo perjudica"}, (*stage).harmless, false},
		{"list-refuses", atTheDoor, Words{"a client on a list that is well", "un cliente en una lista que anda bien"}, (*stage).listed, false},
		{"greylist-new", atTheDoor, Words{"a client nobody knows, without a name", "un cliente desconocido y sin nombre"}, (*stage).newcomer, false},
		{"greylist-back", atTheDoor, Words{"the same one, when he comes back", "el mismo, cuando vuelve"}, (*stage).comesBack, false},
		{"policy-greylist", atTheDoor, Words{"policy server: a newcomer at Postfix", "servidor de políticas: un nuevo"}, (*stage).policyNewcomer, true},
		{"policy-user", atTheDoor, Words{"policy server: a user who logged in", "servidor de políticas: un usuario"}, (*stage).policyUser, true},
		{"rbl", atTheDoor, Words{"garita rbl: our own address on lists", "garita rbl: nuestra propia dirección"}, (*stage).ownStanding, true},

		{"limit-within", tooMuch, Words{"relay: 3 messages of ana", "relay: 3 mensajes de ana"}, (*stage).within, false},
		{"limit-over", tooMuch, Words{"same connection: 4 more of ana", "misma conexión: 4 más de ana"}, (*stage).over, false},
		{"limit-colleague", tooMuch, Words{"same connection: her colleague marta", "misma conexión: su colega marta"}, (*stage).colleague, false},
		{"limit-absence", tooMuch, Words{"same connection: ana's out-of-office", "misma conexión: aviso de ausencia"}, (*stage).absence, false},
		{"limit-drip", tooMuch, Words{"a minute later: 3 of the 4 drip out", "un minuto después: gotean 3 de los 4"}, (*stage).drip, false},
		{"limit-rest", tooMuch, Words{"another minute: the last one", "otro minuto: el último"}, (*stage).dripRest, false},
		{"suspend-session", tooMuch, Words{"ana logged in; garita user suspend", "ana con sesión; garita user suspend"}, (*stage).suspended, false},
		{"suspend-milter", tooMuch, Words{"milter: Postfix tells ana at once", "milter: Postfix se lo dice a ana"}, (*stage).milter, true},
		{"suspend-relay", tooMuch, Words{"relay: her next message waits", "relay: su siguiente mensaje espera"}, (*stage).suspendedRelay, false},
		{"suspend-others", tooMuch, Words{"same connection: marta again", "misma conexión: marta otra vez"}, (*stage).colleague, false},
		{"suspend-alert", tooMuch, Words{"garita alert list", "garita alert list"}, (*stage).suspensionAlert, true},
		{"release", tooMuch, Words{"resumed; garita hold release --user ana", "reanudada; garita hold release --user"}, (*stage).release, false},
	}
}

// list gives the health of a list and the reason for it.
func (s *stage) list(name string) (health, reason string, ok bool) {
	var got struct {
		Asked []struct{ Name, Health, Reason string }
	}
	ok = s.command(&got, "rbl", "lists")
	for _, l := range got.Asked {
		if l.Name == name {
			return l.Health, l.Reason, ok
		}
	}
	return "", "", ok
}

// settled waits until a list is as it must be. On a slow machine the first
// probe may have met silence where there was none: then it is probed again.
func (s *stage) settled(name, health, reason string) {
	var h, why string
	before := len(s.now.Dialogue)
	s.until(func() bool {
		var ok bool
		s.now.Dialogue = s.now.Dialogue[:before] // the last question is enough
		h, why, ok = s.list(name)
		if !ok || h == health && why == reason {
			return true
		}
		if why != "not probed yet" {
			s.d.Probe(s.ctx)
		}
		return false
	})
	s.say("%s: %s", name, why)
	if h != health || why != reason {
		s.no("the list %s must be %s (%s), and is %q (%s)", name, health, reason, h, why)
	}
}

func (s *stage) deadList() {
	s.settled("everything", "suspended", "lists everything")
	if s.w.dns.asked(reversed(testEntry)+"."+deadZone) == 0 {
		s.no("its test entry was never asked for")
	}
}

func (s *stage) hungList() {
	s.settled("silent", "suspended", "does not answer in time")
	if s.w.dns.asked(reversed(testEntry)+"."+hungZone) == 0 {
		s.no("its test entry was never asked for")
	}
}

// alerts gives the subjects of the open alerts by their keys.
func (s *stage) alerts() map[string]Words {
	var got struct {
		Alerts []struct {
			Key     string
			Subject Words
		}
	}
	out := map[string]Words{}
	s.command(&got, "alert", "list")
	for _, a := range got.Alerts {
		out[a.Key] = a.Subject
	}
	return out
}

func (s *stage) listAlerts() {
	s.settled("spamcop", "healthy", "")
	s.d.Look()
	got := s.alerts()
	for _, want := range []struct{ key, text string }{{"sick-list/everything", "lists everything"}, {"sick-list/silent", "does not answer in time"}} {
		if !strings.Contains(got[want.key].EN, want.text) {
			s.no("there must be an alert %s that says %q, and %q is there", want.key, want.text, got[want.key].EN)
		}
		s.tell(got[want.key])
	}
	if got["sick-list/spamcop"].EN != "" {
		s.no("there is an alert about a list that is well")
	}
	s.say("2 alerts: sick-list")
}

// harmless is mail that both sick lists would have lost.
func (s *stage) harmless() {
	msg := letter("From a good house", "Nothing to see here.\r\n")
	d := s.dialFor(namedClient)
	defer d.close()
	d.Envelope(sender, "", recipient)
	d.Data(msg)
	s.took(d)
	s.wantReply(d.decided, "250 2.0.0")
	s.wantParcels(parcel{mailHost, sender, recipient, msg})
}

// listed is refused by a list that is well.
func (s *stage) listed() {
	d := s.dialFor(listedClient)
	defer d.close()
	d.Envelope(sender, "", recipient)
	d.Data(letter("From a list", "This must not arrive.\r\n"))
	s.took(d)
	s.wantReply(d.decided, "554 5.7.1", "["+listedClient+"] blocked using "+goodZone, listReason)
	s.tellReply()
	if strings.Contains(s.now.Reply, listKey) {
		s.no("the key of the list stands in the reply")
	}
	s.wantNothing()
}

// knock is one try of the newcomer.
func (s *stage) knock() *Dialogue {
	d := s.dialFor(newClient)
	d.Envelope(sender, "", recipient)
	d.Data(s.note)
	d.close()
	return d
}

func (s *stage) newcomer() {
	s.note = letter("From a stranger", "We have not met.\r\n")
	d := s.knock()
	s.took(d)
	s.wantReply(d.decided, "450 4.2.0 Greylisted, try again in ", " seconds")
	s.wantNothing()
}

// comesBack tries again as every mail server does, until the wait is over.
func (s *stage) comesBack() {
	var d *Dialogue
	s.until(func() bool {
		d = s.knock()
		return d.decided.Code != 450
	})
	s.took(d)
	s.wantReply(d.decided, "250 2.0.0")
	s.wantParcels(parcel{mailHost, sender, recipient, s.note})
	if len(s.here) == 1 && !strings.Contains(string(s.here[0].Data), "\r\nX-Greylist: delayed ") {
		s.no("it has no X-Greylist")
	}
}

// policyNewcomer is the question of a Postfix; the wait is that of postgrey,
// less what a slow machine took for the answer.
func (s *stage) policyNewcomer() {
	a := s.ask("client_address=203.0.113.81", "client_name=unknown", "sasl_username=")
	if !regexp.MustCompile(`^action=(DEFER_IF_PERMIT|450) 4\.2\.0 Greylisted, try again in (300|2\d\d) seconds$`).MatchString(a) {
		s.no("Postfix must be told to greylist for 300 s, and %q is what it was told", a)
	}
}

func (s *stage) policyUser() {
	if a := s.ask("client_address=203.0.113.82", "client_name=unknown", "sasl_username="+marta); a != "action=DUNNO" {
		s.no("Postfix must be told DUNNO, and %q is what it was told", a)
	}
}

// ownStanding looks our own address up.
func (s *stage) ownStanding() {
	var got struct {
		Standings []struct{ Subject, List, Result string }
	}
	s.command(&got, "rbl", "--ip", ownAddress)
	count := map[string]int{}
	result := map[string]string{}
	for _, st := range got.Standings {
		if st.Subject != ownAddress {
			s.no("the answer is about %q", st.Subject)
		}
		count[st.Result]++
		result[st.List] = st.Result
	}
	for list, want := range map[string]string{"psbl": "listed", "mailspike": "clean", "spamcop": "dead"} {
		if result[list] != want {
			s.no("it must be %s on %s, and is %q", want, list, result[list])
		}
	}
	s.say("%d listed, %d clean, %d dead", count["listed"], count["clean"], count["dead"])
	text := fmt.Sprintf("psbl %s, mailspike %s, spamcop %s", result["psbl"], result["mailspike"], result["spamcop"])
	s.tell(Words{text + " (as on 2021-01-31); the others are those that the CERT's guide names and that are gone",
		text + " (como el 2021-01-31); las otras son las que nombra la guía del CERT y ya no existen"})
}

// through is a message of a user as a host of ours hands it on: Postfix has
// written who had logged in.
func through(user, subject string) []byte {
	return []byte("Received: from [10.0.0.5] (unknown [10.0.0.5])\r\n\t(Authenticated sender: " + user + ")\r\n" +
		"\tby zimbra." + Domain + " (Postfix) with ESMTPSA id 4C8F2; Mon, 2 Nov 2026 10:00:00 +0100\r\n" +
		"From: <" + user + ">\r\nTo: <" + outside + ">\r\nSubject: " + subject + "\r\nDate: Mon, 2 Nov 2026 10:00:00 +0100\r\n" +
		"Message-ID: <" + strings.ReplaceAll(strings.ToLower(subject), " ", "-") + "@" + Domain + ">\r\n\r\n" + subject + ".\r\n")
}

// relayed sends a message over the one connection of the trusted relay.
func (s *stage) relayed(from string, msg []byte) Reply {
	if s.relay == nil {
		s.relay = dial(s.ctx, s.d.Outbound, loopback())
		s.relay.Say("EHLO zimbra." + Domain)
	}
	r := s.relay.Message(from, outside, msg)
	s.took(s.relay)
	return r
}

// send sends messages of ana, all of which must be answered so.
func (s *stage) send(from, to int, want string) (all [][]byte) {
	for i := from; i <= to; i++ {
		msg := through(ana, fmt.Sprintf("Number %d", i))
		all = append(all, msg)
		s.wantReply(s.relayed(ana, msg), want)
	}
	return all
}

func (s *stage) out(from string, msgs ...[]byte) (out []parcel) {
	for _, m := range msgs {
		out = append(out, parcel{smartHost, from, outside, m})
	}
	return out
}

func (s *stage) within() {
	s.wantParcels(s.out(ana, s.send(1, 3, "250 2.0.0 Ok: queued as ")...)...)
}

func (s *stage) over() {
	s.held = s.send(4, 7, "250 2.0.0 Ok: held as ")
	s.wantNothing()
	s.wantHeld(4)
}

func (s *stage) colleague() {
	msg := through(marta, "From marta")
	s.wantReply(s.relayed(marta, msg), "250 2.0.0 Ok: queued as ")
	s.wantParcels(s.out(marta, msg)...)
}

// absence is what a mailbox answers by itself: it has the null sender, and
// nobody has logged in for it.
func (s *stage) absence() {
	before := s.used()
	msg := []byte("From: <" + ana + ">\r\nTo: <" + outside + ">\r\nSubject: I am away\r\nAuto-Submitted: auto-replied\r\n" +
		"Date: Mon, 2 Nov 2026 10:00:00 +0100\r\nMessage-ID: <away@" + Domain + ">\r\n\r\nUntil Monday.\r\n")
	s.wantReply(s.relayed("", msg), "250 2.0.0 Ok: queued as ")
	s.wantParcels(s.out("", msg)...)
	if after := s.used(); before != 3 || after != 3 {
		s.no("3 messages must count for ana before and after, and %d and %d do", before, after)
	}
}

// used is how many messages count for ana.
func (s *stage) used() int64 {
	var got struct {
		Users []struct {
			Limits []struct {
				Limit string
				Used  int64
			}
		}
	}
	if s.command(&got, "limits", "list", ana) && len(got.Users) == 1 {
		for _, l := range got.Users[0].Limits {
			if l.Limit == UserLimit {
				return l.Used
			}
		}
	}
	return -1
}

// wantHeld looks how many messages of ana are held.
func (s *stage) wantHeld(want int) {
	var got struct{ Total int }
	if s.command(&got, "hold", "list", "--user", ana) && got.Total != want {
		s.no("%d messages of ana must be held, and %d are", want, got.Total)
	}
}

// later is a minute, and the part of it by which counters may be late.
const later = 70 * time.Second

// drop puts the clock forward and lets drip what has room.
func (s *stage) drop(n int) {
	s.d.Advance(later)
	if err := s.d.Drip(s.ctx); err != nil {
		s.no("nothing drips: %s", err)
	}
	n = min(n, len(s.held))
	s.wantParcels(s.out(ana, s.held[:n]...)...)
	s.held = s.held[n:]
	s.wantHeld(len(s.held))
	s.say("delivered %d, held %d", len(s.here), len(s.held))
}

func (s *stage) drip()     { s.drop(3) }
func (s *stage) dripRest() { s.drop(1) }

// suspended ends a session that ana has open herself.
func (s *stage) suspended() {
	s.d.Advance(later)
	d := connect(s.ctx, s.d.Outbound, stranger())
	defer d.close()
	d.read()
	d.StartTLS()
	d.Say("EHLO " + clientName)
	d.Secret("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+s.d.Login+"\x00"+s.d.Password)), "AUTH PLAIN ***")
	d.Mail(ana, "", outside)
	if d.done() {
		s.no("the session must have begun, and %q was the reply", d.decided)
	}
	d.lines = append(d.lines, "$ garita user suspend "+ana)
	var done struct{ Sessions int }
	if s.command(&done, "user", "suspend", ana, "--reason", "the demo") && done.Sessions != 1 {
		s.no("one session must end, and %d did", done.Sessions)
	}
	d.read()
	s.took(d)
	s.wantReply(d.decided, "421 4.7.0")
	s.tellReply()
	s.wantNothing()
}

// milter is ana's next try at an MTA that has us as its milter.
func (s *stage) milter() {
	r, err := s.milterMail(ana)
	if err != nil {
		s.no("the milter: %s", err)
	}
	s.say("%s", r)
	s.tellReply()
	if !strings.HasPrefix(r, "421 4.7.0 ") {
		s.no("Postfix must be told 421 4.7.0, and %q is what it was told", r)
	}
}

func (s *stage) suspendedRelay() {
	s.held = s.send(8, 8, "250 2.0.0 Ok: held as ")
	s.wantNothing()
	if err := s.d.Drip(s.ctx); err != nil {
		s.no("the drip: %s", err)
	}
	s.wantNothing() // a person decides, and no window
	s.wantHeld(1)
}

func (s *stage) suspensionAlert() {
	got := s.alerts()["suspension/"+ana]
	s.say("1 alert: suspension")
	s.tell(got)
	if !strings.Contains(got.EN, ana+" is suspended") {
		s.no("there must be an alert that %s is suspended, and %q is there", ana, got.EN)
	}
}

// release lets ana send again, and out what had waited for that.
func (s *stage) release() {
	var resumed struct {
		Was bool `json:"was_suspended"`
	}
	if s.command(&resumed, "user", "resume", ana) && !resumed.Was {
		s.no("ana was not suspended")
	}
	var done struct {
		Done   []struct{ Delivered []string }
		Failed int
	}
	s.command(&done, "hold", "release", "--user", ana, "--yes")
	if len(done.Done) != 1 || done.Failed != 0 {
		s.no("one message must be released, and %d were, %d in vain", len(done.Done), done.Failed)
	}
	s.wantParcels(s.out(ana, s.held...)...)
	s.wantHeld(0)
	s.wantReply(s.relayed(ana, through(ana, "Number 9")), "250 2.0.0 Ok: queued as ")
	s.wantParcels(s.out(ana, through(ana, "Number 9"))...)
}
