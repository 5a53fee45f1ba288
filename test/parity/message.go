package parity

import (
	"fmt"
	"strings"
)

// message is a mail of LF lines: MIME as it should be, as it should not be,
// and no MIME. word gives text for headers and lines.
func (g *generator) message(word func() string) string {
	var b strings.Builder
	b.WriteString("From: a@src.test\nTo: r@dest.test\nMessage-Id: <x@y>\nDate: Sat, 21 Nov 2026 00:00:00 +0000\n")
	g.headers(&b, 0, word)
	g.content(&b, 0, word)
	return b.String()
}

// headers writes some headers, the last of which may say what follows.
func (g *generator) headers(b *strings.Builder, depth int, word func() string) {
	for range g.r.IntN(4) {
		name := g.pick("Subject", "X-One", "X-Two", "Content-ID", "MIME-Version", "content-description", "Content-Location", "X_y.z!", "CONTENT-DISPOSITION", "Comments")
		fmt.Fprintf(b, "%s%s %s\n", name, g.pick(":", ":", ":", " :", "\t :", ": \t"), word())
		for g.chance(20) {
			fmt.Fprintf(b, "%s%s\n", g.pick(" ", "\t", "  "), word())
		}
	}
	if depth > 0 && g.chance(6) {
		fmt.Fprintf(b, "%s\n", g.pick("no header here", ": none", "Bad Name: x", "caf\xe9: x", "From x y", " folded after nothing"))
	}
}

// content writes a Content-Type, the blank line and what it promises.
func (g *generator) content(b *strings.Builder, depth int, word func() string) {
	kind := g.r.IntN(9)
	if depth > 3 {
		kind = 8
	}
	switch kind {
	case 0, 1, 2, 3:
		g.multipart(b, depth, word)
		return
	case 4, 5:
		fmt.Fprintf(b, "Content-Type: %s\n\n", g.pick("message/rfc822", "Message/RFC822; x=y", "message/global", "message / rfc822", "(c) message/rfc822", "message/partial; id=1", "message/external-body", "message/other", `"message"/rfc822`, "message/rfc822\nContent-Transfer-Encoding: base64"))
		g.headers(b, depth+1, word)
		g.content(b, depth+1, word)
		return
	case 6:
		fmt.Fprintf(b, "Content-Type: %s\n", g.pick("text/plain", "text/html; charset=x", "application/octet-stream", "", "text", "garbage garbage"))
	}
	b.WriteString(g.pick("\n", "\n", "\n", "not a header at all\n"))
	g.lines(b, word)
}

func (g *generator) lines(b *strings.Builder, word func() string) {
	for range g.r.IntN(4) {
		switch g.r.IntN(12) {
		case 0:
			b.WriteString("\n")
		case 1:
			fmt.Fprintf(b, "--%s\n", g.pick("", "-", "x", "bb", "b1--", " b1"))
		case 2:
			fmt.Fprintf(b, "X-Two: in body %s\n", word())
		case 3:
			fmt.Fprintf(b, " %s\n", word())
		default:
			fmt.Fprintf(b, "%s\n", word())
		}
	}
}

func (g *generator) multipart(b *strings.Builder, depth int, word func() string) {
	bound := fmt.Sprintf("b%d", depth+g.r.IntN(2))
	param := g.pick(bound, `"`+bound+`"`, `"`+bound+`" (comment)`, bound+"; x=y", " "+bound, "("+bound+")"+bound, `"b\`+bound[1:]+`"`, `"`+bound, bound+"; boundary=other", "other; boundary="+bound, "\n "+bound, `""`, bound+"?x")
	fmt.Fprintf(b, "Content-Type: multipart/%s;%s%s=%s\n\n", g.pick("mixed", "digest", "alternative", "DIGEST"), g.pick("", " ", "\n "), g.pick("boundary", "Boundary", "boundary "), param)
	g.lines(b, word)
	for range 1 + g.r.IntN(3) {
		fmt.Fprintf(b, "--%s%s\n", bound, g.pick("", "", "", " ", "junk", " --", "-"))
		if g.chance(8) {
			b.WriteString("\n")
		}
		g.headers(b, depth+1, word)
		g.content(b, depth+1, word)
	}
	if g.chance(80) {
		fmt.Fprintf(b, "--%s--%s\n", bound, g.pick("", "", " x", "junk"))
	}
	g.lines(b, word)
}
