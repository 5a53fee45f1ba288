package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// maxAnswer bounds one line that a person types.
const maxAnswer = 4096

// spanish tells in which language to ask. What is wrong with an answer stays in
// English, behind an example in the reader's language.
func (c *initCommand) spanish() bool {
	return (&demoCommand{Lang: c.Lang}).spanish()
}

// phrases are the words of the questions.
type phrases struct {
	name, domains, nextHop, trust, smartHost, mode phrase
	wrong                                          string // format of what is wrong with an answer, and of the example
	ended                                          string
}

// A phrase is a question, and an answer that would do.
type phrase struct{ ask, example string }

func wordsOf(spanish bool) phrases {
	if spanish {
		return phrases{
			name:      phrase{"Nombre completo de esta pasarela", "mx.example.org"},
			domains:   phrase{"Dominios para los que entra correo (separados por comas)", "example.org, example.net"},
			nextHop:   phrase{"El servidor de correo detrás de la pasarela (SERVIDOR:PUERTO)", "mail.example.org:25"},
			trust:     phrase{"Redes cuyos servidores envían correo hacia afuera por aquí (CIDR, separadas por comas; none = sin correo saliente)", "192.0.2.20, 192.0.2.64/28"},
			smartHost: phrase{"Un servidor que entrega a Internet: el de su proveedor, no el de arriba (SERVIDOR:PUERTO)", "smtp.example.net:25"},
			mode:      phrase{"Empezar con observe (los controles solo dicen lo que harían) o enforce (deciden)", "observe"},
			wrong:     "  esa respuesta no sirve: %s; un ejemplo: %s\n",
			ended:     "se acabaron las respuestas; no se escribió nada",
		}
	}
	return phrases{
		name:      phrase{"Full name of this gateway", "mx.example.org"},
		domains:   phrase{"Domains that mail comes in for (comma between them)", "example.org, example.net"},
		nextHop:   phrase{"The mail server behind the gateway (HOST:PORT)", "mail.example.org:25"},
		trust:     phrase{"Networks whose servers send mail out through here (CIDR, comma between them; none = no outbound mail)", "192.0.2.20, 192.0.2.64/28"},
		smartHost: phrase{"A server that delivers to the Internet: your provider's, not the one above (HOST:PORT)", "smtp.example.net:25"},
		mode:      phrase{"Begin with observe (checks only say what they would do) or enforce", "observe"},
		wrong:     "  the answer %s; for example: %s\n",
		ended:     "the answers ended; nothing was written",
	}
}

// ask asks at most six questions; an empty line takes what stands in brackets,
// and a question whose answer cannot be is asked again.
func (c *initCommand) ask(t *terminal) error {
	if c.Hostname == "" {
		c.Hostname = ownName()
	}
	say := wordsOf(c.spanish())
	q := &questions{in: bufio.NewReaderSize(t.in, maxAnswer), out: t.err, say: say}
	q.text(say.name, &c.Hostname, func(s string) error { return checkHostname(strings.TrimSuffix(s, ".")) })
	q.list(say.domains, &c.Domain, func(list []string) error {
		_, err := domainList(list, c.spanish())
		return err
	})
	server := func(s string) error {
		_, err := serverAddress(s)
		return err
	}
	q.text(say.nextHop, &c.NextHop, server)
	q.list(say.trust, &c.Trust, func(list []string) error {
		if len(list) == 0 {
			return nil
		}
		_, err := trustList(list)
		return err
	})
	if len(c.Trust) > 0 {
		if c.Outbound == "" {
			c.Outbound = "0.0.0.0:26"
		}
		// Nothing is proposed: the mail server itself, which is at hand, would
		// get its own mail back for ever.
		q.text(say.smartHost, &c.SmartHost, server)
	}
	q.text(say.mode, &c.Mode, checkMode)
	return q.err
}

// questions asks one thing after the other and stops at the first fault.
type questions struct {
	in  *bufio.Reader
	out io.Writer
	say phrases
	err error
}

// text asks until valid is content.
func (q *questions) text(what phrase, answer *string, valid func(string) error) {
	given := *answer
	for q.err == nil {
		*answer = given
		fmt.Fprintf(q.out, "%s [%s]: ", what.ask, printable(given))
		line, err := q.in.ReadSlice('\n')
		if err != nil {
			q.err = fail(exitFailed, "%s", q.say.ended)
			return
		}
		if s := strings.TrimSpace(string(line)); s != "" {
			*answer = s
		}
		wrong := valid(*answer)
		if wrong == nil {
			return
		}
		fmt.Fprintf(q.out, q.say.wrong, printable(wrong.Error()), what.example)
	}
}

func (q *questions) list(what phrase, answer *[]string, valid func([]string) error) {
	s := strings.Join(*answer, ",")
	q.text(what, &s, func(s string) error { return valid(commas(s)) })
	*answer = commas(s)
}

// commas takes a list with commas apart; "none" is the empty one.
func commas(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" && s != "none" {
			out = append(out, part)
		}
	}
	return out
}
