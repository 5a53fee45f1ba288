package milterd

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"garita/mail"
	"garita/maillog"
	"garita/message"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// packet is one command of an MTA.
func packet(cmd byte, payload string) string {
	return number(uint32(len(payload)+1)) + string(cmd) + payload
}

var hello = packet('O', number(6)+number(0x1ff)+number(0x1fffff)) + packet('C', "x.test\x004\x00\x19192.0.2.7\x00")

// TestBrokenMTAs: what breaks the protocol ends the connection, and nothing
// that was announced takes memory.
func TestBrokenMTAs(t *testing.T) {
	for name, said := range map[string]string{
		"no options":          packet('H', "x\x00"),
		"short options":       packet('O', "abc"),
		"old version":         packet('O', number(1)+number(0)+number(0)),
		"options twice":       hello + hello,
		"empty packet":        number(0) + "M",
		"huge packet":         hello + number(1<<31) + "M",
		"packet too long":     hello + number(maxPacket+1) + "M",
		"body too long":       hello + packet('M', "<a@b>\x00") + number(maxBodyPacket+1) + "B",
		"body without MAIL":   hello + packet('B', "x"),
		"RCPT without MAIL":   hello + packet('R', "<a@b>\x00"),
		"MAIL before connect": packet('O', number(6)+number(0)+number(0)) + packet('M', "<a@b>\x00"),
		"connect cut":         packet('O', number(6)+number(0)+number(0)) + packet('C', "x\x00"),
		"connect address":     packet('O', number(6)+number(0)+number(0)) + packet('C', "x\x004\x00\x19nonsense\x00"),
		"connect family":      packet('O', number(6)+number(0)+number(0)) + packet('C', "x\x00Z"),
		"MAIL without end":    hello + packet('M', "<a@b>"),
		"macros without end":  hello + packet('D', "Mi\x00"),
		"unknown command":     hello + packet('M', "<a@b>\x00") + packet('z', ""),
		"header late":         hello + packet('M', "<a@b>\x00") + packet('N', "") + packet('L', "A\x00b\x00"),
		"header without name": hello + packet('M', "<a@b>\x00") + packet('L', "\x00b\x00"),
		"RCPT late":           hello + packet('M', "<a@b>\x00") + packet('N', "") + packet('R', "<a@b>\x00"),
		"end of header twice": hello + packet('M', "<a@b>\x00") + packet('N', "") + packet('N', ""),
	} {
		d := open(t, nil)
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(60 * time.Second))
		io.WriteString(c, said)
		if _, err := io.Copy(io.Discard, c); err != nil && isTimeout(err) {
			t.Errorf("%s: the connection stays open", name)
		}
		c.Close()
		if !strings.Contains(d.logged(), "breaks the milter protocol") {
			t.Errorf("%s: the log says nothing", name)
		}
	}
}

// TestReplyText: hostile text in a reply stays a reply.
func TestReplyText(t *testing.T) {
	for _, c := range []struct {
		r    mail.Reply
		want string
	}{
		{mail.Permanent(554, "7.1", "100%s\nsecond"), "554-5.7.1 100%%s\r\n554 5.7.1 second\x00"},
		{mail.Temporary(450, "", "a\r\x00b\xffc"), "450 a??b?c\x00"},
	} {
		if got := text(c.r); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
	if got := text(mail.Permanent(554, "7.1", strings.Repeat("x", 10000))); len(got) > 512 {
		t.Errorf("a line of %d octets", len(got))
	}
}

// TestAddresses: what the grammar refuses and the MTA takes is still judged.
func TestAddresses(t *testing.T) {
	for raw, want := range map[string]mail.Path{
		"<a@b.example>":             {Local: "a", Domain: "b.example"},
		"a@b.example":               {Local: "a", Domain: "b.example"},
		"<>":                        {},
		"<two..dots@b.example>":     {Local: "two..dots", Domain: "b.example"},
		`<"quoted here"@b.example>`: {Local: "quoted here", Domain: "b.example"},
		"<local>":                   {Local: "local"},
		"<@a,@b:user@c.example>":    {Local: "@a,@b:user", Domain: "c.example"},
	} {
		if got := address(raw, mail.ParseReverse); got != want {
			t.Errorf("%s: %+v, not %+v", raw, got, want)
		}
	}
}

// TestValidate: each mistake names its key.
func TestValidate(t *testing.T) {
	if errs := Default().Validate(); len(errs) > 0 {
		t.Error(errs)
	}
	c := Config{Enabled: true, Listen: []string{"nonsense", "unix:rel", "127.0.0.1:1", "127.0.0.1:1"}, SocketMode: "9", TrustedNetworks: prefixes("0.0.0.0/0"),
		Quarantine: "x", BodyEdits: "x"}
	var all []string
	for _, err := range c.Validate() {
		all = append(all, err.Error())
	}
	text := strings.Join(all, "\n")
	for _, key := range []string{`listen = "nonsense"`, `listen = "unix:rel"`, "twice", "clients: ", "socket_mode = ", "trusted_networks = ", "quarantine = ", "body_edits = ",
		"max_connections = ", "max_message_size = ", "command_timeout = ", "reply_timeout = ", "idle_timeout = "} {
		if !strings.Contains(text, key) {
			t.Errorf("%q is missing in\n%s", key, text)
		}
	}
	c = Default()
	c.Enabled, c.Listen = true, nil
	if len(c.Validate()) != 1 {
		t.Error(c.Validate())
	}
}

// quiet is a Policy for the fuzzers.
type quiet struct{ open, ended int }

func (q *quiet) Connect(context.Context, *mail.Session) mail.Decision { return mail.Decision{} }
func (q *quiet) Helo(context.Context, *mail.Session) mail.Decision    { return mail.Decision{} }
func (q *quiet) Mail(context.Context, *mail.Transaction) mail.Decision {
	q.open++
	return mail.Decision{}
}
func (q *quiet) Rcpt(context.Context, *mail.Transaction, mail.Recipient) mail.Decision {
	return mail.Decision{}
}
func (q *quiet) Data(context.Context, *mail.Transaction) mail.Decision { return mail.Decision{} }
func (q *quiet) Message(_ context.Context, tx *mail.Transaction) mail.Decision {
	return mail.Decision{Edits: []message.Edit{tx.Message.Header().Prepend([]byte("X-A: b\r\n"))}}
}
func (q *quiet) Again(context.Context, *mail.Transaction, *message.Message) mail.Decision {
	return mail.Decision{}
}
func (q *quiet) Finish(context.Context, *mail.Transaction, mail.Outcome) { q.ended++ }
func (q *quiet) Closed(*mail.Session)                                    {}

// pipe is a connection whose other end has said all that it will.
type pipe struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (p *pipe) Read(b []byte) (int, error)       { return p.in.Read(b) }
func (p *pipe) Write(b []byte) (int, error)      { return p.out.Write(b) }
func (p *pipe) Close() error                     { return nil }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }
func (p *pipe) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// FuzzSession: whatever an MTA says, nothing panics, each transaction ends
// once, all room is given back, and what we answer are whole packets.
func FuzzSession(f *testing.F) {
	whole := hello + packet('D', "Mi\x00Q1\x00{auth_authen}\x00u\x00") + packet('H', "h\x00") + packet('M', "<a@b>\x00SIZE=9\x00") +
		packet('R', "<c@d>\x00") + packet('T', "") + packet('L', "From\x00 x\n y\x00") + packet('N', "") + packet('B', "text\r\n") + packet('E', "")
	f.Add([]byte(whole))
	f.Add([]byte(whole + packet('A', "") + packet('K', "") + hello[29:] + packet('Q', "")))
	f.Add([]byte(strings.Replace(whole, number(0x1fffff), number(0), 1)))
	f.Add([]byte(hello + packet('M', "<a@b>\x00") + packet('M', "<>\x00") + packet('E', "body")))
	log, err := maillog.New(maillog.Config{Output: "stderr", Format: "syslog", Level: "error"}, maillog.Env{Stderr: io.Discard})
	if err != nil {
		c := maillog.Default()
		c.Output = f.TempDir() + "/log"
		if log, err = maillog.New(c, maillog.Env{Hostname: "x"}); err != nil {
			f.Fatal(err)
		}
	}
	f.Cleanup(func() { log.Close() })
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, said []byte) {
		q := &quiet{}
		s := NewServer(ServerConfig{Log: log, SpoolDir: dir, Budget: message.NewBudget(message.BudgetConfig{Total: 8 << 20, Memory: 1 << 20, Headroom: 1 << 20})})
		set := &Settings{Config: Default(), Hostname: "gw.example", Policy: q, Memory: 64 << 10, MaxRecipients: 10, MaxHops: 50}
		set.MaxMessageSize = 1 << 20
		p := &pipe{in: bytes.NewReader(said)}
		x := &session{srv: s, set: set, w: newWire(p)}
		x.run(t.Context())
		if n := s.stats.panics.Load(); n != 0 {
			t.Fatal("a panic")
		}
		var ends int64
		for i := range s.stats.outcomes {
			ends += s.stats.outcomes[i].Load()
		}
		if int64(q.ended) != ends || q.ended < q.open {
			t.Fatalf("%d transactions, %d ends", q.open, q.ended)
		}
		if u := s.budget.Usage(); u.Used != 0 {
			t.Fatalf("%d octets are not given back", u.Used)
		}
		w := newWire(&pipe{in: bytes.NewReader(p.out.Bytes())})
		for {
			_, n, err := w.head()
			if err == io.EOF {
				break
			}
			if err == nil {
				_, err = w.payload(n)
			}
			if err != nil {
				t.Fatalf("our answers are no packets: %v", err)
			}
		}
	})
}

// FuzzFieldEdits: what an MTA makes of our changes is the header of the
// rendered message, or there are none.
func FuzzFieldEdits(f *testing.F) {
	head := "Received: x\r\nFrom: a\r\nX-B: 1\r\n\tfolded\r\nX-B: 2\r\nSubject: s\r\n\r\nbody\r\n"
	f.Add(head, uint16(0), uint16(0), "X-N: v\r\n", uint16(22), uint16(30), "")
	f.Add(head, uint16(22), uint16(17), "", uint16(39), uint16(8), "X-C: y\r\nX-D: z\r\n")
	f.Add(head, uint16(48), uint16(9), "Subject: [x] s\r\n", uint16(57), uint16(0), "Tail: t\r\n")
	f.Fuzz(func(t *testing.T, head string, at1, n1 uint16, put1 string, at2, n2 uint16, put2 string) {
		m, err := message.Spool(t.Context(), strings.NewReader(head), message.Limits{})
		if err != nil {
			return
		}
		defer m.Release()
		edits := inOrder([]message.Edit{{At: int64(at1), Delete: int64(n1), Insert: []byte(put1)}, {At: int64(at2), Delete: int64(n2), Insert: []byte(put2)}})
		h := m.Header()
		if h.Err() != nil || !h.HasBlank() || h.Start() != 0 {
			return
		}
		for _, fd := range h.Fields() { // as an MTA would have sent it
			raw := make([]byte, fd.End-fd.Start)
			m.ReadAt(raw, fd.Start)
			if _, ok := parse(raw); !ok || strings.Contains(strings.ReplaceAll(string(raw), "\r\n", ""), "\r") || !strings.HasSuffix(string(raw), "\r\n") || strings.Contains(string(raw[:len(raw)-2]), "\n") && !strings.Contains(string(raw), "\r\n") {
				return
			}
		}
		ops, err := fieldEdits(m, edits)
		if err != nil {
			return
		}
		r, err := m.Render(edits)
		if err != nil {
			t.Fatal("edits that do not render were taken")
		}
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		header := out[:int64(len(out))-(m.Size()-m.HeaderEnd())]
		want, ok := parse(header)
		if !ok {
			t.Fatalf("fields that cannot be: %q", header)
		}
		if got := played(m, ops); !slices.Equal(got, want) {
			t.Fatalf("the MTA has\n%q\nnot\n%q\nby %+v", got, want, ops)
		}
	})
}

// played does to a header what Postfix does.
func played(m *message.Message, ops []op) []parsed {
	raw := make([]byte, m.HeaderEnd())
	m.ReadAt(raw, 0)
	list, _ := parse(raw)
	list = append([]parsed{{"Received", " of Postfix"}}, list...)
	for _, o := range ops {
		switch o.act {
		case actAddHeader:
			list = append(list, parsed{o.name, o.value})
		case actInsertHeader:
			i := min(int(o.index), len(list))
			list = slices.Insert(list, i, parsed{o.name, o.value})
		default:
			n := uint32(0)
			for i := 1 + slices.IndexFunc(list, func(p parsed) bool { return p.value == " of Postfix" }); i < len(list); i++ {
				if !strings.EqualFold(list[i].name, o.name) {
					continue
				}
				if n++; n < o.index {
					continue
				}
				if o.gone {
					list = slices.Delete(list, i, i+1)
				} else {
					list[i].value = o.value
				}
				break
			}
		}
	}
	return slices.DeleteFunc(list, func(p parsed) bool { return p.value == " of Postfix" })
}
