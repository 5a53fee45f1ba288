package demo

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Words is a text in each language that the demo speaks.
type Words struct {
	EN string `json:"en"`
	ES string `json:"es"`
}

// Door says by which listener a case comes in.
type Door int

// The listeners.
const (
	Inbound Door = iota
	Outbound
	Filter
)

// Case is one thing that is sent, and what must come of it.
type Case struct {
	Name string
	What Words
	Door Door
	From netip.Addr // of the client; the zero one is 127.0.0.1
	Send func(*Dialogue)
	Want Want
	// Release has the message released after it was held; what Want says of
	// its arrival holds for then.
	Release bool
}

func (c Case) door(g *Gateway) string {
	return [...]string{g.Inbound, g.Outbound, g.Filter}[c.Door]
}

// Want is how a case must go.
type Want struct {
	Reply string // beginning of the reply that decides; empty: there is none
	Text  string // stands in that reply
	Host  string // where the message lies; empty: nowhere
	From  string // its envelope there
	To    []string
	// Body is the message below our own fields (Received, X-Garita-), to the
	// octet.
	Body []byte
	// Received stands in our Received field.
	Received string
	// Log stands in a line of the gateway's log.
	Log string
}

// People of the demo.
const (
	clientName = "client.sender.example"
	sender     = "ana@sender.example"
	recipient  = "luis@casa.example"
	second     = "marta@casa.example"
	outside    = "eva@elsewhere.example"
)

// Cases are all of them, in the order in which they are sent.
func Cases() []Case {
	return slices.Concat(ordinary(), transports(), refusals(), lineEnds(), trusted(), contents(), rules())
}

// delivered is a case whose message has to arrive as it was sent.
func delivered(name, en, es string, msg []byte, send func(*Dialogue)) Case {
	return Case{
		Name: name, What: Words{en, es}, Send: send,
		Want: Want{Reply: "250 2.0.0", Host: mailHost, From: sender, To: []string{recipient}, Body: msg, Received: "with ESMTP id"},
	}
}

// refused is a case of which nothing may arrive anywhere.
func refused(name, en, es, reply string, send func(*Dialogue)) Case {
	return Case{Name: name, What: Words{en, es}, Send: send, Want: Want{Reply: reply}}
}

// ordinary is mail as everybody sends it.
func ordinary() []Case {
	clean := letter("Lunch", "Shall we meet at two?\r\n\r\nAna\r\n")
	parts := multipart()
	null := letter("Undelivered mail", "Your message could not be delivered.\r\n")
	post := letter("To the postmaster", "Something is odd.\r\n")
	three := letter("To three", "Two of you get this.\r\n")
	cases := []Case{
		delivered("clean", "plain message", "mensaje corriente", clean, func(d *Dialogue) {
			d.Envelope(sender, "SIZE="+strconv.Itoa(len(clean)), recipient)
			d.Data(clean)
		}),
		delivered("multipart", "multipart with an attachment", "multiparte con un adjunto", parts, func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Data(parts)
		}),
		international(),
		delivered("null-sender", "bounce with the null sender <>", "rebote con remitente nulo <>", null, func(d *Dialogue) {
			d.Envelope("", "", recipient)
			d.Data(null)
		}),
		delivered("postmaster", "to <postmaster>, without a domain", "a <postmaster>, sin dominio", post, func(d *Dialogue) {
			d.Envelope(sender, "", "postmaster")
			d.Data(post)
		}),
		delivered("three", "three recipients, one of them unknown", "tres destinatarios, uno desconocido", three, func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Try("RCPT TO:<"+nobody+">", "550 5.1.1")
			d.Say("RCPT TO:<" + second + ">")
			d.Data(three)
		}),
	}
	cases[3].Want.From = ""
	cases[4].Want.To = []string{"postmaster@" + Domain}
	cases[5].Want.To = []string{recipient, second}
	// The first one is also looked up in the log.
	cases[0].Want.Log = "to=<" + recipient + ">, relay=" + mailHost + "[127.0.0.1]"
	return cases
}

func international() Case {
	const josé = "josé@sender.example"
	msg := []byte("From: José <" + josé + ">\r\nTo: <" + recipient + ">\r\nSubject: Mañana a las 8 ☕\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		"¿Nos vemos en el café?\r\n")
	c := delivered("utf8", "UTF-8 in subject and sender (SMTPUTF8)", "UTF-8 en asunto y remitente (SMTPUTF8)", msg, func(d *Dialogue) {
		d.Envelope(josé, "BODY=8BITMIME SMTPUTF8", recipient)
		d.Data(msg)
	})
	c.Want.From, c.Want.Received = josé, "with UTF8SMTP id"
	return c
}

// transports are the other ways in which a message can come.
func transports() []Case {
	secret := letter("Under TLS", "Nobody on the way can read this.\r\n")
	chunk := letter("In chunks", "one\r\n.\r\nthis dot ends nothing\r\n..\r\n")
	dots := letter("Dots", ".\r\n..\r\n...\r\n.hidden\r\nno. dot\r\n.\r\n")
	big := letter("Big", bulk(3<<20))
	tlsCase := delivered("starttls", "STARTTLS", "STARTTLS", secret, func(d *Dialogue) {
		d.StartTLS()
		d.Envelope(sender, "", recipient)
		d.Data(secret)
	})
	tlsCase.Want.Received = "with ESMTPS id"
	bdat := delivered("bdat", "BDAT: three chunks, CRLF.CRLF inside", "BDAT: tres trozos, con CRLF.CRLF dentro", chunk, func(d *Dialogue) {
		// The cut goes through the middle of a CR LF . CR LF.
		cut := bytes.Index(chunk, []byte("\r\n.\r\n")) + 3
		d.Envelope(sender, "", recipient)
		d.Chunks(chunk[:20], chunk[20:cut], chunk[cut:])
	})
	return []Case{tlsCase, bdat,
		delivered("dots", "lines that begin with dots", "líneas que empiezan por puntos", dots, func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Data(dots)
		}),
		delivered("big", "3 MB: more than is kept in memory", "3 MB: más de lo que cabe en memoria", big, func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Data(big)
		}),
	}
}

// refusals are what must not come in, and what the next hop does not want.
func refusals() []Case {
	any := letter("Any", "This must not arrive.\r\n")
	send := func(to string) func(*Dialogue) {
		return func(d *Dialogue) {
			d.Envelope(sender, "", to)
			d.Data(any)
		}
	}
	unknown := refused("unknown", "unknown recipient: the next hop's 550", "destinatario desconocido: 550 ajeno",
		"550 5.1.1", send(nobody))
	unknown.Want.Text = "No mailbox of that name here"
	tempfail := refused("busy", "the next hop answers 451", "el destino responde 451", "451 4.2.1", send(busy))
	tempfail.Want.Text = "Mailbox is being moved"
	loop := letter("Loop", "Round and round.\r\n")
	loop = append([]byte(strings.Repeat("Received: from a.example by b.example; Mon, 2 Nov 2026 10:00:00 +0000\r\n", 60)), loop...)
	large := letter("Too big", bulk(maxSize))
	lost := refused("vanishes", "client vanishes in mid-message", "el cliente desaparece a mitad", "", func(d *Dialogue) {
		d.Envelope(sender, "", recipient)
		d.Vanish(any[:len(any)-4])
	})
	lost.Want.Log = "lost connection after DATA"
	return []Case{
		refused("relay", "relay attempt to another domain", "intento de relay a otro dominio", "554 5.7.1", send(outside)),
		refused("percent", "relay attempt: eva%elsewhere@casa", "intento de relay: eva%elsewhere@casa", "553 5.1.3",
			send("eva%elsewhere.example@"+Domain)),
		unknown,
		tempfail,
		refused("loop", "loop: 60 Received fields", "bucle: 60 campos Received", "554 5.4.6", func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Data(loop)
		}),
		refused("size-declared", "too big, as SIZE= says", "demasiado grande, según SIZE=", "552 5.3.4", func(d *Dialogue) {
			d.Envelope(sender, "SIZE="+strconv.Itoa(maxSize+1), recipient)
			d.Data(any)
		}),
		refused("size-real", "too big, and SIZE= says nothing", "demasiado grande, sin SIZE=", "552 5.3.4", func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Data(large)
		}),
		lost,
	}
}

// lineEnds are messages whose line ends are not CR LF, by mistake or by
// intent. Only CR LF . CR LF ends DATA (RFC 5321 section 4.1.1.4); a server
// that takes anything else for it can be made to read the rest as a second
// message that nobody checked.
func lineEnds() []Case {
	bare := bytes.ReplaceAll(letter("Bare LF", "one\r\ntwo\r\n"), []byte("one\r\n"), []byte("one\n"))
	return []Case{
		delivered("bare-lf", "bare LF: made CR LF", "LF suelto: pasa a CR LF", mended(bare), func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Raw(append(slices.Clone(bare), ".\r\n"...))
		}),
		refused("bare-cr", "bare CR", "CR suelto", "550 5.5.2", func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Data(letter("Bare CR", "one\rtwo\r\n"))
		}),
		smuggling("smuggle-lf", "smuggling attempt: LF . LF", "contrabando SMTP: LF . LF", "\n.\n"),
		smuggling("smuggle-lf-crlf", "smuggling attempt: LF . CR LF", "contrabando SMTP: LF . CR LF", "\n.\r\n"),
		smuggling("smuggle-crlf-lf", "smuggling attempt: CR LF . LF", "contrabando SMTP: CR LF . LF", "\r\n.\n"),
		refused("smuggle-cr", "smuggling attempt: CR . CR", "contrabando SMTP: CR . CR", "550 5.5.2", func(d *Dialogue) {
			d.Envelope(sender, "", recipient)
			d.Raw(smuggled("\r.\r"))
		}),
	}
}

// smuggling is an attempt that has to end as one message with everything that
// should have become a second one as its text; the dot of the false end must
// not vanish from it.
func smuggling(name, en, es, end string) Case {
	octets := smuggled(end)
	text := bytes.TrimSuffix(octets, []byte(".\r\n"))
	return delivered(name, en, es, mended(text), func(d *Dialogue) {
		d.Envelope(sender, "", recipient)
		d.Raw(octets)
	})
}

// smuggled is a message with a false end and a second message behind it.
func smuggled(end string) []byte {
	first := letter("Smuggling", "The end of this is false.")
	first = bytes.TrimSuffix(first, []byte("\r\n"))
	return []byte(string(first) + end +
		"MAIL FROM:<admin@casa.example>\r\nRCPT TO:<" + second + ">\r\nDATA\r\n" +
		"From: admin@casa.example\r\nSubject: smuggled\r\n\r\nPay at once.\r\n.\r\n")
}

// trusted are the listeners that are not for everybody.
func trusted() []Case {
	out := letter("Going out", "To the world.\r\n")
	cf := letter("Through the filter", "Back to where it came from.\r\n")
	const origin = "192.0.2.77"
	ours := delivered("outbound", "outbound, from a trusted address", "salida, desde una red de confianza", out, func(d *Dialogue) {
		d.Envelope(second, "", outside)
		d.Data(out)
	})
	ours.Door = Outbound
	ours.Want.Host, ours.Want.From, ours.Want.To = smartHost, second, []string{outside}
	stranger := refused("stranger", "outbound, from a stranger", "salida, desde un desconocido", "554 5.7.1", func(d *Dialogue) {
		d.Envelope(second, "", outside)
		d.Data(out)
	})
	stranger.Door, stranger.From = Outbound, netip.AddrFrom4([4]byte{127, 0, 0, 2})
	filter := delivered("filter", "content filter, client by XFORWARD", "filtro de contenido, con XFORWARD", cf, func(d *Dialogue) {
		d.Say("EHLO " + mtaHost)
		d.Say("XFORWARD NAME=far.example ADDR=" + origin + " HELO=far.example PROTO=ESMTP")
		d.Mail(sender, "", recipient, outside)
		d.Data(cf)
	})
	filter.Door = Filter
	filter.Want.Host, filter.Want.To = mtaHost, []string{recipient, outside}
	filter.Want.Log = "client=far.example[" + origin + "]"
	return []Case{ours, stranger, filter}
}
