package demo

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// stranger is an address of this machine that nobody trusts.
func stranger() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 2}) }

// ask puts the question of a Postfix at RCPT to the policy server
// (SMTPD_POLICY_README) and gives the answer's first line.
func (s *stage) ask(attributes ...string) string {
	c, err := s.dialSocket(s.d.Policy)
	if err != nil {
		s.no("the policy server: %s", err)
		return ""
	}
	defer c.Close()
	lines := append([]string{"request=smtpd_access_policy", "protocol_state=RCPT", "protocol_name=ESMTP", "helo_name=" + clientName,
		"sender=" + sender, "recipient=" + recipient, "queue_id=", "instance=demo." + attributes[0]}, attributes...)
	for _, l := range lines {
		s.now.Dialogue = append(s.now.Dialogue, "C: "+l)
	}
	fmt.Fprint(c, strings.Join(lines, "\n")+"\n\n")
	in := bufio.NewReader(c)
	answer, err := in.ReadString('\n')
	end, err2 := in.ReadString('\n')
	if err != nil || err2 != nil || end != "\n" {
		s.no("the policy server: no whole answer, %q", answer+end)
	}
	answer = strings.TrimSuffix(answer, "\n")
	s.now.Dialogue = append(s.now.Dialogue, "S: "+answer)
	s.say("%s", answer)
	return answer
}

// The milter protocol (libmilter's mfdef.h), as far as it is needed here: each
// packet is a length, a letter and its data.
const (
	milterOptions  = 'O'
	milterConnect  = 'C'
	milterHelo     = 'H'
	milterMacro    = 'D'
	milterMail     = 'M'
	milterQuit     = 'Q'
	milterContinue = 'c'
	milterReply    = 'y'
	milterVersion  = 6
	milterActions  = 0x1ff
	milterSteps    = 0x1fffff
)

// milterMail is a session of an MTA with a user who has logged in there, up to
// MAIL, and gives the reply that the user is to get; empty: he may go on.
func (s *stage) milterMail(user string) (string, error) {
	c, err := s.dialSocket(s.d.Milter)
	if err != nil {
		return "", err
	}
	defer c.Close()
	send := func(cmd byte, data string) {
		p := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
		_, _ = c.Write(append(append(p, cmd), data...)) // the read tells
	}
	read := func() (byte, string, error) {
		var head [5]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return 0, "", err
		}
		n := binary.BigEndian.Uint32(head[:4])
		if n == 0 || n > 1<<16 {
			return 0, "", fmt.Errorf("a packet of %d octets", n)
		}
		data := make([]byte, n-1)
		_, err := io.ReadFull(c, data)
		return head[4], string(data), err
	}
	word := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	send(milterOptions, word(milterVersion)+word(milterActions)+word(milterSteps))
	if cmd, _, err := read(); err != nil || cmd != milterOptions {
		return "", fmt.Errorf("no agreement (%q): %w", rune(cmd), err)
	}
	for _, step := range []struct {
		cmd  byte
		data string
	}{
		{milterConnect, clientName + "\x004\x9c\x40192.0.2.25\x00"},
		{milterHelo, clientName + "\x00"},
		{milterMail, "<" + user + ">\x00"},
	} {
		if step.cmd == milterMail {
			send(milterMacro, "M{auth_type}\x00PLAIN\x00{auth_authen}\x00"+user+"\x00")
		}
		send(step.cmd, step.data)
		cmd, data, err := read()
		if err != nil {
			return "", err
		}
		s.now.Dialogue = append(s.now.Dialogue, fmt.Sprintf("C: %c %s", step.cmd, strings.Trim(strings.ReplaceAll(step.data, "\x00", " "), " ")),
			fmt.Sprintf("S: %c %s", cmd, strings.TrimRight(data, "\x00")))
		switch cmd {
		case milterContinue:
		case milterReply:
			send(milterQuit, "")
			return strings.TrimRight(data, "\x00"), nil
		default:
			return "", fmt.Errorf("an answer %q", rune(cmd))
		}
	}
	send(milterQuit, "")
	return "", nil
}
