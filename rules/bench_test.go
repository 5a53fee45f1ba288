package rules_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"

	"garita/rules"
)

// prose makes clean mail text: sentences of Spanish and English words in lines
// of about 80 columns, every letter of the ordinary frequency.
func prose(seed uint64, octets int, accents bool) string {
	words := strings.Fields(`the of and to in is that for it as was with be by on not he this are or his from at which but have an had they you
were their one all we can her has there been if more when will would who so no out up into than them only its time some could these two may then do
first any my now such like our over man me even most made after also did many before must through back years where much your way well down should because
each just those people too little good very still being own see men work long get here between both life under never day same another know while last might
great old year off come since against go came right used take three states himself few house use during without again place around however home small found
thought went say part once general high upon school every does got united left number course war until always away something fact though water less public put
think almost hand enough far took head yet government system better set told nothing night end why called find going look asked later knew point next program
meeting report please attached regards budget invoice order delivery customer schedule project review draft contract office team question answer
de la que el en y a los se del las un por con no una su para es al lo como pero sus le ya o este porque esta entre cuando sin sobre ser tiene hasta hay donde
quien desde todo nos durante todos uno les ni contra otros ese eso ante ellos e esto antes algunos unos yo otro otras otra tanto esa estos mucho quienes nada
muchos cual poco ella estar estas algo nosotros tu ti mi mis pedido entrega cliente factura oferta reunion informe semana proyecto revision borrador contrato
oficina equipo pregunta respuesta gracias saludos cordiales adjunto presupuesto mes trabajo lunes martes jueves viernes manana tarde noche empresa persona`)
	if accents {
		words = append(words, strings.Fields(`también más según así información atención reunión está aquí después mañana año años día días sólo además
teléfono número página último próxima versión solución García señor niño compañía español recibió envié gestión operación`)...)
	}
	r := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	b.Grow(octets + 100)
	column := 0
	for b.Len() < octets {
		w := words[r.IntN(len(words))]
		if column+len(w)+1 > 80 {
			b.WriteString("\r\n")
			column = 0
		} else if column > 0 {
			b.WriteByte(' ')
			column++
		}
		if r.IntN(12) == 0 && w[0] < 0x80 {
			w = strings.ToUpper(w[:1]) + w[1:]
		}
		b.WriteString(w)
		column += len(w)
		if r.IntN(14) == 0 {
			b.WriteString([]string{".", ",", ";", ":", "?"}[r.IntN(5)])
			column++
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

// guide makes rules of the kind that the guides have: sentences, expressions
// over lines and text, names, tags.
func guide(n int) string {
	r := rand.New(rand.NewPCG(11, 13))
	a := strings.Fields("viagra casino lottery mortgage refinance wealth miracle discount replica herbal unsecured bankrupt jackpot inheritance prince premio sorteo millones herencia prestamo credito gratis urgente ganador bitcoin wallet password suspended verify premium")
	b := strings.Fields("pills online winner rates offer secret cheap watches remedy loans today ticket fund nigeria ganado loteria dolares abogado banco rapido ahora cuenta transfer account overdue expires click unlock limited exclusive")
	verb := strings.Fields("send confirm reply receive collect claim enviar confirmar responder recibir cobrar reclamar")
	pick := func(l []string) string { return l[r.IntN(len(l))] }
	var s strings.Builder
	for i := range n {
		x, y, z := pick(a), pick(b), pick(verb)
		if n > 100 {
			x, y = fmt.Sprintf("%s%s", x, pick(a)[:3]), fmt.Sprintf("%s%s", pick(b)[:4], y)
		}
		cond := ""
		switch i % 10 {
		case 0, 1, 2:
			cond = fmt.Sprintf(`text contains "%s this %s %s in order to"`, z, x, y)
		case 3:
			cond = fmt.Sprintf(`text contains "le %s el %s para que me %s"`, z, x, y)
		case 4:
			cond = fmt.Sprintf(`body line matches /^\s*%s.{0,20}%s/i`, x, y)
		case 5:
			cond = fmt.Sprintf(`body line matches /\b(%s|%s)\s+(%s|%s)\b/i`, x, pick(a)+"s", y, pick(b)+"o")
		case 6:
			cond = fmt.Sprintf(`text matches /%s\s+(your|su|tu)\s+%s/i`, z, y)
		case 7:
			cond = fmt.Sprintf(`attachment name ends ".%s%d.exe"`, x, i)
		case 8:
			cond = fmt.Sprintf(`subject contains "%s %s"`, x, y)
		case 9:
			cond = fmt.Sprintf(`html tag is "%s"`, []string{"iframe", "object", "embed", "script", "form", "applet"}[i/10%6])
		}
		fmt.Fprintf(&s, "[[rule]]\nid = \"g%d\"\nmatch = ['''%s''']\n", i, cond)
	}
	return s.String()
}

func plainMail(body string) string {
	return "From: Ana <ana@sender.example>\r\nTo: luis@our.example\r\nSubject: Informe de la semana\r\nMessage-ID: <1@sender.example>\r\n" +
		"Date: Mon, 16 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body
}

func benchmarkSet(b *testing.B, s *rules.Set, raw string, size int) {
	in := input(raw)
	if r := s.Match(context.Background(), in, nil, rules.MatchOptions{}); len(r.Hits)+len(r.GivenUp) > 0 {
		b.Fatalf("not clean: %v %v", hits(r), r.GivenUp)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	start := cpu()
	for range b.N {
		s.Match(context.Background(), in, nil, rules.MatchOptions{})
	}
	b.ReportMetric(float64(size)*float64(b.N)/1e6/(cpu()-start).Seconds(), "MB/cpu-s")
}

// cpu is the processor's time that we took: on a machine that others use it
// says more than the clock.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmarkText(b *testing.B, n int) {
	s := compile(b, guide(n))
	for _, c := range []struct {
		name    string
		accents bool
	}{{"ascii", false}, {"accents", true}} {
		b.Run(c.name, func(b *testing.B) {
			body := prose(1, 1<<20, c.accents)
			benchmarkSet(b, s, plainMail(body), len(body))
		})
	}
	b.Run("latin1", func(b *testing.B) {
		body, _ := charmap.ISO8859_1.NewEncoder().String(prose(1, 1<<20, true))
		benchmarkSet(b, s, strings.Replace(plainMail(body), "utf-8", "iso-8859-1", 1), len(body))
	})
}

func BenchmarkText60(b *testing.B) {
	benchmarkText(b, 60)
	b.Run("one-by-one", func(b *testing.B) {
		body := []byte(prose(1, 256<<10, false))
		var all []*regexp.Regexp
		for _, f := range strings.Split(guide(60), "'''") {
			rest, ok := strings.CutPrefix(f, "text contains ")
			source := regexp.QuoteMeta(strings.Trim(rest, `"`))
			if i := strings.Index(f, "matches /"); i > 0 {
				source, ok = strings.TrimSuffix(f[i+9:], "/i"), true
			}
			if ok {
				all = append(all, regexp.MustCompile("(?i)"+source))
			}
		}
		b.SetBytes(int64(len(body)))
		for range b.N {
			for _, re := range all {
				re.Match(body)
			}
		}
	})
}

func BenchmarkText1000(b *testing.B) { benchmarkText(b, 1000) }

func BenchmarkHTML(b *testing.B) {
	var page strings.Builder
	page.WriteString("<html><head><style>p { margin: 0 }</style></head><body>\r\n")
	for i, line := range strings.Split(prose(3, 256<<10, false), "\r\n") {
		fmt.Fprintf(&page, "<p class=\"c%d\">%s <a href=\"https://www.sender.example/%d\">m&aacute;s</a></p>\r\n", i%5, line, i)
	}
	page.WriteString("</body></html>\r\n")
	s := compile(b, guide(60))
	raw := strings.Replace(plainMail(page.String()), "text/plain", "text/html", 1)
	benchmarkSet(b, s, raw, page.Len())
}

func BenchmarkMessage4K(b *testing.B) {
	for _, n := range []int{60, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			body := prose(5, 4<<10, true)
			benchmarkSet(b, compile(b, guide(n)), plainMail(body), len(body))
		})
	}
}
