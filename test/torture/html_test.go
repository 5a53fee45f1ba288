package torture

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
)

// smuggle is a page whose script makes a file.
func smuggle() string {
	return "<html><head><title>x</title></head><body><script>var b=new Blob([atob('" + strings.Repeat("QUJD", 400) + "')]);var a=document.createElement('a');a.href=URL.createObjectURL(b);a.download='" + evil + "';a.click()</script></body></html>"
}

type page struct{ set }

func (s *page) put(id, name, typ string, body string, want ...string) {
	if len(want) == 0 {
		want = []string{"attachment.html_smuggling"}
	}
	raw := top + mixed + "boundary=OO\n\n--OO\n\nhello\n--OO\nContent-Type: " + typ + "\nContent-Disposition: attachment; filename=page.html\nContent-Transfer-Encoding: base64\n\n" + b64([]byte(body)) + "--OO--\n"
	s.all = append(s.all, one{id: id, name: name, raw: raw, want: want})
}

func wide(s string, big, bom bool) string {
	u := utf16.Encode([]rune(s))
	if bom {
		u = append([]uint16{0xfeff}, u...)
	}
	var b strings.Builder
	for _, c := range u {
		if big {
			b.Write([]byte{byte(c >> 8), byte(c)})
		} else {
			b.Write([]byte{byte(c), byte(c >> 8)})
		}
	}
	return b.String()
}

// pages are 2.H: pages as attachments.
func pages() []one {
	s := &page{}
	p := smuggle()
	for _, tag := range []string{"<SCRIPT>", "<script/x>", "<script\x0c>", "<script\n>", "<script\t>", "<<script>", "<script x='>'>", "<script type=text/javascript>", "<script type=module>", "<script language=javascript>", "<ScRiPt>", "<script\r\n defer>", "<script ///>", "<script\x00>"} {
		q := strings.Replace(p, "<script>", tag, 1)
		if tag == "<script\x00>" {
			continue // a browser sees no script there
		}
		s.put("H-01", fmt.Sprintf("%q", tag), "text/html", q)
	}
	body := p[strings.Index(p, "<script>"):strings.Index(p, "</body>")]
	js := strings.TrimSuffix(strings.TrimPrefix(body, "<script>"), "</script>")
	for name, q := range map[string]string{
		"unclosed": "<html><body><script>" + js, "no html": body, "behind text": strings.Repeat("hello ", 500) + body, "behind a comment": "<!-- x -->" + body, "empty comment": "<!-->" + body, "short comment": "<!--->" + body, "comment with bang": "<!-- x --!>" + body, "conditional": "<!--[if gte mso 9]>" + body + "<![endif]-->", "downlevel": "<![if !mso]>" + body + "<![endif]>",
		"CDATA": "<![CDATA[ x ]]>" + body, "in svg": "<svg>" + body + "</svg>", "in math": "<math><mtext>" + body + "</mtext></math>", "in template": "<template>" + body + "</template>", "in noscript": "<noscript>" + body + "</noscript>", "behind textarea": "<textarea></textarea>" + body, "textarea closed inside": "<textarea>x</textarea>" + body, "title": "<title>x</title>" + body, "onload": "<body onload=\"" + strings.ReplaceAll(js, "\"", "&quot;") + "\">", "onerror": "<img src=x onerror=\"" + js + "\">",
		"svg onload": "<svg onload=\"" + js + "\">", "srcdoc": "<iframe srcdoc=\"" + strings.ReplaceAll(body, "\"", "&quot;") + "\"></iframe>", "srcdoc with entities": "<iframe srcdoc=\"" + strings.ReplaceAll(strings.ReplaceAll(body, "<", "&lt;"), "\"", "&quot;") + "\"></iframe>", "javascript link": "<a href=\"javascript:" + js + "\">x</a>", "javascript link with tab": "<a href=\"java\tscript:" + js + "\">x</a>", "javascript link with entity": "<a href=\"&#106;avascript:" + js + "\">x</a>", "xml": "<?xml version=\"1.0\"?><html xmlns=\"http://www.w3.org/1999/xhtml\"><body>" + body + "</body></html>",
		"data link": "<a download=\"" + evil + "\" href=\"data:application/octet-stream;base64," + strings.Repeat("QUJD", 600) + "\">x</a>", "data in an object": "<object data=\"data:text/html;base64," + base64.StdEncoding.EncodeToString([]byte(p)) + "\"></object>", "data in a frame": "<iframe src=\"data:text/html;base64," + base64.StdEncoding.EncodeToString([]byte(p)) + "\"></iframe>", "plaintext before in a comment": "<!--<plaintext>-->" + body, "document.write": "<script>document.write(unescape('" + strings.ReplaceAll(percent(body, true, "%%%02X"), "'", "") + "'))</script>",
	} {
		s.put("H-02", name, "text/html", q)
	}
	for _, typ := range []string{"text/plain", "application/octet-stream", "image/png", "text/xml", "application/xhtml+xml", "application/pdf", "text/x-nobody", "audio/mpeg", "", "application/x-javascript"} {
		s.put("H-05", "as "+typ, typ, p)
		s.put("H-05", "UTF-16 as "+typ, typ, wide(p, false, true))
	}
	for name, q := range map[string]string{
		"100,000 open tags": strings.Repeat("<div>", 100000) + body, "a tag of 1 MB": "<p " + strings.Repeat("a=b ", 250000) + ">" + body, "1 MB of text": strings.Repeat("words ", 170000) + body, "open quotes": strings.Repeat("<p a=\"", 1001) + "\">" + body, "open comments": strings.Repeat("<!-- ", 50000) + "-->" + body, "a large table": strings.Repeat("<table><tr><td>", 30000) + body, "5 MB of spaces": strings.Repeat(" ", 5<<20) + body,
	} {
		s.put("H-06", name, "text/html", q)
		s.all[len(s.all)-1].alone = true
	}
	for name, q := range map[string]string{"words in the script split": strings.ReplaceAll(p, "Blob", "Bl\\u006fb"), "window[...]": strings.ReplaceAll(strings.ReplaceAll(p, "new Blob", "new window['Bl'+'ob']"), "URL.createObjectURL", "URL['create'+'ObjectURL']"), "comments in the script": strings.ReplaceAll(p, "new Blob", "new/**/Blob"), "eval of atob": "<html><script>eval(atob('" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(p, 3))) + "'))</script></html>", "reversed": "<html><script>eval('" + strings.Repeat("x", 3000) + "'.split('').reverse().join(''))</script></html>", "zero width": strings.ReplaceAll(p, "<script>", "\u200b<script>"), "fromCharCode": "<html><script>var s='';" + "[" + strings.Repeat("60,115,", 800) + "].forEach(function(c){s+=String.fromCharCode(c)});document.write(s)</script></html>"} {
		s.put("H-07", name, "text/html", q, "attachment.html_smuggling", "attachment.html_attachment")
	}
	return append(s.all, charsetPages()...)
}

// charsetPages are H-20 to H-24.
func charsetPages() []one {
	s := &page{}
	p := smuggle()
	utf7 := strings.NewReplacer("<", "+ADw-", ">", "+AD4-", "=", "+AD0-", "'", "+ACc-").Replace(p)
	utf32 := func(big bool) string {
		var b strings.Builder
		for _, c := range []byte("\xff" + p) {
			r := []byte{c, 0, 0, 0}
			if c == 0xff {
				r = []byte{0xff, 0xfe, 0, 0}
			}
			if big {
				r[0], r[1], r[2], r[3] = r[3], r[2], r[1], r[0]
			}
			b.Write(r)
		}
		return b.String()
	}
	ebcdic, _ := charmap.CodePage037.NewEncoder().String(p)
	jis, _ := japanese.ISO2022JP.NewEncoder().String("日本" + p)
	for _, cs := range []string{"", "; charset=utf-8", "; charset=us-ascii", "; charset=\"utf-16\"", "; charset=utf-7", "; charset=x-user-defined", "; charset=", "; charset=utf8", "; charset='utf-8'", "; charset=utf-8; charset=utf-16", "; charset=iso-2022-jp", "; charset=shift_jis", "; charset=hz-gb-2312"} {
		typ := "text/html" + cs
		s.put("H-20", "plain"+cs, typ, p)
		s.put("H-20", "UTF-8 BOM"+cs, typ, "\xef\xbb\xbf"+p)
		s.put("H-20", "UTF-16LE BOM"+cs, typ, wide(p, false, true))
		s.put("H-20", "UTF-16BE BOM"+cs, typ, wide(p, true, true))
		s.put("H-21", "meta utf-16"+cs, typ, strings.Replace(p, "<head>", "<head><meta charset=utf-16>", 1))
		s.put("H-21", "meta iso-8859-1"+cs, typ, strings.Replace(p, "<head>", "<head><meta http-equiv=content-type content='text/html; charset=iso-8859-1'>", 1))
	}
	s.put("H-20", "UTF-16LE without BOM", "text/html; charset=utf-16le", wide(p, false, false))
	s.put("H-20", "UTF-16BE without BOM", "text/html; charset=utf-16be", wide(p, true, false))
	s.put("H-20", "UTF-16LE without BOM or charset", "text/html", wide(p, false, false))
	s.put("H-20", "UTF-32LE", "text/html; charset=utf-32", utf32(false))
	s.put("H-20", "UTF-32BE", "text/html; charset=utf-32", utf32(true))
	s.put("H-20", "UTF-7", "text/html; charset=utf-7", utf7)
	s.put("H-20", "UTF-7 in a meta tag", "text/html", "<meta charset=utf-7>"+utf7)
	s.put("H-20", "UTF-7 without charset", "text/html", utf7, "attachment.html_smuggling", "attachment.html_attachment")
	s.put("H-20", "EBCDIC", "text/html; charset=cp037", ebcdic, "attachment.html_smuggling", "attachment.html_attachment")
	s.put("H-20", "ISO-2022-JP", "text/html; charset=iso-2022-jp", jis)
	s.put("H-20", "ISO-2022-JP escapes", "text/html; charset=iso-2022-jp", strings.ReplaceAll(p, "script", "scr\x1b(Bipt"), "attachment.html_smuggling", "attachment.html_attachment")
	s.put("H-20", "HZ", "text/html; charset=hz-gb-2312", "~{<:~}"+p)
	for name, q := range map[string]string{"broken UTF-8": "\xff\xfe\xfd" + p, "overlong": "\xc0\xbc" + p, "surrogates": "\xed\xa0\x80" + p, "NUL in front": "\x00" + p, "NULs": strings.ReplaceAll(p, "><", ">\x00\x00<"), "bare CR": strings.ReplaceAll(p, "><", ">\r<"), "controls": strings.ReplaceAll(p, "><", ">\x01\x02\x1b<"), "U+2028": strings.ReplaceAll(p, "><", ">\u2028<"), "vertical tab": strings.ReplaceAll(p, "><", ">\x0b<"), "C1": strings.ReplaceAll(p, "><", ">\x85<"), "NULs in the script": strings.ReplaceAll(p, "atob", "at\x00ob")} {
		s.put("H-22", name, "text/html", q, "attachment.html_smuggling", "attachment.html_attachment")
	}
	s.put("H-24", "script in base64 text", "text/plain", b64([]byte(p)), "attachment.html_smuggling")
	s.all = s.all[:len(s.all)-1] // nobody opens base64 text as a page
	svg := "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>"
	for _, f := range []string{"a.svg", "a.png", "a.dat"} {
		raw := zipless("image/svg+xml; name="+f, []byte(svg))
		s.all = append(s.all, one{id: "H-24", name: "svg as " + f, raw: raw, want: []string{"attachment.svg_script", "attachment.html_smuggling"}})
	}
	zip := top + mixed + "boundary=OO\n\n--OO\n\nhello\n--OO\nContent-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: base64\n\n" + b64(zipOf(file{name: "page.html", data: []byte(p), deflate: true})) + "--OO--\n"
	s.all = append(s.all, one{id: "H-24", name: "page in a zip", raw: zip, want: []string{"attachment.html_smuggling"}})
	s.all = append(s.all, one{id: "H-24", name: "page in an mht", raw: zipless("application/octet-stream; name=a.mht", []byte(crlf("MIME-Version: 1.0\nContent-Type: multipart/related; boundary=x\n\n--x\nContent-Type: text/html\n\n"+p+"\n--x--\n"))), want: []string{"attachment.html_smuggling"}})
	return s.all
}
