package markup

import (
	"fmt"
	"strings"
	"testing"
)

// show writes what Read tells, one piece after the other.
func show(page string) string {
	var out strings.Builder
	Read([]byte(page), Visitor{
		Tag: func(name []byte, attributes []Attribute, at int) {
			fmt.Fprintf(&out, "<%s", name)
			for _, a := range attributes {
				fmt.Fprintf(&out, " %s=%q", a.Name, a.Value)
			}
			out.WriteString(">")
		},
		Text: func(text []byte, at int, broke bool) {
			if broke {
				out.WriteString("|")
			}
			fmt.Fprintf(&out, "%q", text)
		},
	})
	return out.String()
}

func TestRead(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""}, {"plain", `"plain"`}, {"a < b <3 <", `"a < b <3 <"`},
		{`<A HREF="x" Class=y id='z' disabled>`, `<a href="x" class="y" id="z" disabled="">`},
		{`<a href = x/y/>`, `<a href="x/y/">`}, {`<br/>a<br / x>b`, `<br>|"a"<br x="">|"b"`},
		{`<a b=1 B=2 c="` + "\x00" + `">`, `<a b="1" c="�">`}, {"<a\x00b>", "<a\uFFFDb>"},
		{`<a =b c==d e"f="g">`, `<a =b="" c="=d" e"f="g">`}, {`<a b=>c`, `<a b="">"c"`},
		{`<a b="x"c=y>`, `<a b="x" c="y">`}, {`<a "b'>`, `<a "b'="">`},
		{`x<a b`, `"x"`}, {`x<a b="c>d`, `"x"`}, {`x<a`, `"x"`}, {"x<a b=", `"x"`}, {"x</a", `"x"`}, {"x</", `"x</"`},
		{`a</>b</ c>d</1>e<?xml x>f<!x>g<!DOCTYPE html "x>y">h`, `"a""b""d""e""f""g""y\">h"`},
		{`a<!--b-->c<!-->d<!--->e<!--f--!>g<!--h-- >i--->j<!----!-->k<!--l`, `"a""c""d""e""g""j""k"`},
		{`a<![CDATA[b]]>c`, `"a""c"`}, {`<svg><![CDATA[b<i>&amp;]]>c</svg>`, `<svg>"b<i>&amp;""c"`},
		{`<p>x</p>y<b>z</b>`, `<p>|"x"|"y"<b>"z"`}, {`fac<b></b>tura`, `"fac"<b>"tura"`},
		{`<style>p<img></style>x`, `<style>"x"`}, {`<script>a<img></SCRIPT >x`, `<script>"x"`},
		{`<script><!--<script></script>x</script>y`, `<script>"y"`}, {`<script><!--<script>--></script>y`, `<script>"y"`},
		{`<script><!--></script>y`, `<script>"y"`}, {`<script><!--</script>y`, `<script>"y"`},
		{`<script></scripty></script`, `<script>`},
		{`<title>A &amp; <b></title>x`, `<title>|"A & <b>"|"x"`}, {`<textarea>a<p></textarea>`, `<textarea>|"a<p>"`},
		{`<xmp>&amp;<a></xmp>`, `<xmp>|"&amp;<a>"`}, {`<plaintext><a></plaintext>`, `<plaintext>|"<a></plaintext>"`},
		{`<iframe src=x><b>y</iframe>z`, `<iframe src="x">"z"`}, {`<noscript><b>y</noscript>`, `<noscript><b>"y"`},
		{`<svg><style><img></style></svg><style><img></style>`, `<svg><style><img><style>`},
		{`<svg><style><img><style><img>`, `<svg><style><img><style>`}, {`<svg/><style><img>`, `<svg><style>`},
		{`a&lt;b&amp;c&eacute;&Ntilde;&euro;&#65;&#x42;&#x1F600;`, `"a<b&céÑ€AB😀"`},
		{`&lt &ltx &notit; &notin; &ampamp; &foo; &; & &# &#x &#; &#xg &semi; &copy=`, `"< <x ¬it; ∉ &amp; &foo; &; & &# &#x &#; &#xg ; ©="`},
		{`&#0;&#128;&#x9f;&#xD800;&#x110000;&#99999999999999999999;&#65a`, `"` + "�€Ÿ���Aa" + `"`},
		{`&CounterClockwiseContourIntegral;&nbspx&NotEqualTilde;`, `"∳\u00a0x≂̸"`},
		{`<a href="?a=1&lt=2&copy=3&copyx&lt;&copy&amp;b&#x41c&notin;&notit;">`, `<a href="?a=1&lt=2&copy=3&copyx<©&bМ∉&notit;">`},
		{`a<!--[if mso]><i x=1>b<![endif]-->c`, `"a""c"<i x="1">|"b"`},
		{`<!--[if !mso]><!--><b>x</b><!--<![endif]-->`, `<b>"x"`},
		{`<![if !mso]><b>x</b><![endif]>`, `<b>"x"`},
		{`<!--[if mso]><!--[if gte mso 9]><i><p><!-- x <b>`, `<i><p>`}, {`<!--[if mso ><i>-->`, ``},
		{`<!--[if a]>x<style>--><!--[if a]>y<svg>--><!--[if a]><style><b>-->`, `|"x"<style>|"y"<svg><style>`},
		{"a\r\nb&\n", `"a\r\nb&\n"`},
	} {
		if got := show(c[0]); got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}
