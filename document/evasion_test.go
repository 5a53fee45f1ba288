package document

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"garita/filetype"
)

// Pages that keep the words and the data of smuggling apart.
func TestSmugglingInPieces(t *testing.T) {
	raw := make([]byte, 6000)
	for i, x := 0, uint32(1); i < len(raw); i++ {
		x = x*1664525 + 1013904223
		raw[i] = byte(x >> 24)
	}
	b64 := base64.StdEncoding.EncodeToString(raw)
	var pieces []string
	for i := 0; i+40 < len(b64); i += 40 {
		pieces = append(pieces, b64[i:i+40])
	}
	script := func(s string) string { return "<html><body><script>" + s + "</script></body></html>" }
	for name, page := range map[string]string{
		"numbers with blanks": script(`var a=[` + strings.Repeat("114, 7, 201, ", 400) + `];for(var i of a)s+=String.fromCharCode(i^7);window[q](s)`),
		"numbers with bars":   script(`for(i of "` + strings.Repeat("114|7|201|", 500) + `".split("|"))document["wri"+"te"](String["fromCh"+"arCode"](i))`),
		"short pieces":        script(`var a=["` + strings.Join(pieces, `","`) + `"].join("");eval(atob(a))`),
		"WebAssembly":         script(`WebAssembly.instantiate(Uint8Array.from(a))`),
		"address":             script(`location="data:text/html;base64,` + b64 + `"`),
		"names made up":       script(`var k=["a"];var d="` + b64 + `";self[k[0]](d.split("").reverse())`),
		"in a comment":        "<html><!--" + b64 + "--><script>self[q](document.childNodes[0].data)</script></html>",
		"in a picture":        `<html><img id=a src="data:image/png;base64,` + b64 + `"><script>eval(atob(a.src))</script></html>`,
		"CDATA with a prefix": `<x:html xmlns:x="http://www.w3.org/1999/xhtml"><x:script><![CDATA[var b=new Blob([atob("x")]);URL.createObjectURL(b)]]></x:script></x:html>`,
	} {
		if got := Inspect(context.Background(), htmlKind, []byte(page), DefaultLimits()); !has(got, HTMLSmuggling) {
			t.Errorf("%s: %v", name, ids(got))
		}
	}
	for name, page := range map[string]string{
		"chart":   script(strings.Repeat("function draw(a){return a.map(function(p){return p*2;});}\n", 800) + `draw([` + strings.Repeat("114.2, 7.1, 201.5, ", 400) + `]);unescape(x)`),
		"font":    `<html><style>@font-face{src:url(data:font/woff2;base64,` + b64 + `)}</style><script>print()</script></html>`,
		"picture": `<html><img src="data:image/png;base64,` + b64 + `"><script>print()</script></html>`,
		"words":   script(`var a=["` + strings.Repeat(`casa","perro","gato","`, 300) + `"];show(a)`),
	} {
		if got := Inspect(context.Background(), htmlKind, []byte(page), DefaultLimits()); has(got, HTMLSmuggling) {
			t.Errorf("%s: %+v", name, trait(t, got, HTMLSmuggling))
		}
	}
}

// XML is a page by its namespaces alone, however they are spelt.
func TestPageInXML(t *testing.T) {
	const run = `<h:script>var b=new Blob([atob("x")]);URL.createObjectURL(b)</h:script></r>`
	kind := filetype.Type{Name: "xml", Class: filetype.Text}
	for head, want := range map[string]bool{
		`<?xml version="1.0"?><r xmlns:h="http://www.w3.org/1999/xhtml">`:                                 true,
		`<?xml version="1.0"?><r xmlns:h="http://www.w3.org/1999/xht&#109;l">`:                            true,
		`<?xml version="1.0"?><!DOCTYPE r [<!ENTITY n "http://www.w3.org/1999/x">]><r xmlns:h="&n;html">`: true,
		`<?xml version="1.0"?><r xmlns:h="urn:facturae">`:                                                 false,
	} {
		if got := Inspect(context.Background(), kind, []byte(head+run), DefaultLimits()); has(got, HTMLSmuggling) != want {
			t.Errorf("%s: %v", head, ids(got))
		}
	}
}

func TestTable(t *testing.T) {
	for _, c := range []struct{ kind, data, want string }{
		{"csv", "=cmd|'/C calc'!A0", DDE},
		{"csv", "a,\"=2+5+cmd|'/C calc'!A0\"", DDE},
		{"csv", "+cmd|'/C calc'!A0", DDE},
		{"csv", "@SUM(1+1)*cmd|'/C calc'!A0", DDE},
		{"csv", "-3+3+cmd|'/C calc'!D2", DDE},
		{"csv", "=AAAA+BBBB&\"Hello\"/12345&cmd|'/c calc.exe'!A", DDE},
		{"csv", "=rundll32|'URL.dll,OpenURL x'!A", DDE},
		{"csv", "  =msexcel|'\\..\\..\\cmd.exe /c x'!''", DDE},
		{"tsv", "a\t=cmd|' /C x'!_xlbgnm.A1", DDE},
		{"csv", "a|b|c!", ""},
		{"csv", "-5|Hola!|x", ""},
		{"csv", "it's|'quoted'!", ""},
		{"slk", "ID;P\nO;E\n", XLM},
		{"slk", "ID;P\nNN;NAuto_Open;ER1C1\n", XLM},
		{"slk", "ID;P\nC;X1;Y1;Ecmd|'/C x'!A0\n", DDE},
		{"slk", "ID;P\nC;X1;Y1;K\"exec(\"\n", ""},
		{"iqy", "WEB\n1\nhttp://h.example/", DDE},
		{"txt", "=cmd|'/C calc'!A0", ""},
	} {
		got := Inspect(context.Background(), filetype.Type{Name: c.kind, Class: filetype.Text}, []byte(c.data), DefaultLimits())
		if list := strings.Join(ids(got), " "); list != c.want {
			t.Errorf("%s %q: %q, want %q", c.kind, c.data, list, c.want)
		}
	}
}

// Whatever the cells are, the traits are bounded.
func FuzzTable(f *testing.F) {
	for _, s := range []string{"=cmd|'/C x'!A0", "ID;P\nO;E\nC;EEXEC(", "=a|a|a|a!", "\"=\"\"|'!'!"} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sylk bool) {
		kind := "csv"
		if sylk {
			kind = "slk"
		}
		got := Inspect(context.Background(), filetype.Type{Name: kind, Class: filetype.Text}, b, DefaultLimits())
		if len(got) > maxTraits+len(IDs()) {
			t.Error(len(got))
		}
	})
}
