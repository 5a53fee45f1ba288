package markup

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// newsletter is a page as mail has it: tables, styles in attributes, a style
// sheet, a conditional comment, some references.
func newsletter(n int) []byte {
	var b bytes.Buffer
	b.WriteString("<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\r\n" +
		"<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />" +
		"<title>Ofertas de la semana</title><style type=\"text/css\">\r\n@media only screen and (max-width:480px){ .c { width:100% !important; } }\r\n" +
		"body{margin:0;padding:0;font-family:Arial,Helvetica,sans-serif}</style></head><body bgcolor=\"#ffffff\">\r\n")
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "<!--[if mso]><table width=\"600\"><tr><td><![endif]-->\r\n"+
			"<table border=\"0\" cellpadding=\"0\" cellspacing=\"0\" width=\"100%%\" style=\"max-width:600px;border-collapse:collapse;mso-table-lspace:0pt\">\r\n"+
			"  <tr>\r\n    <td align=\"center\" valign=\"top\" style=\"padding:20px 10px 0 10px;font-size:14px;line-height:20px;color:#333333\">\r\n"+
			"      <a href=\"https://tienda.example/oferta?id=%d&amp;utm_source=mail&amp;utm_campaign=semana\" target=\"_blank\" style=\"color:#0066cc;text-decoration:none\">"+
			"<img src=\"https://img.example/p/%d.jpg\" width=\"280\" height=\"180\" alt=\"Zapatillas\" border=\"0\" style=\"display:block\" /></a>\r\n"+
			"      <p style=\"margin:0 0 10px 0\">Hola&nbsp;Mar&iacute;a, esta semana tenemos <b>un 30%% de descuento</b> en todas las zapatillas de la nueva temporada. "+
			"Puede recogerlas en cualquiera de nuestras tiendas o recibirlas en su casa sin gastos de env&iacute;o.</p>\r\n    </td>\r\n  </tr>\r\n</table>\r\n", i, i)
	}
	return b.Bytes()
}

func BenchmarkRead(b *testing.B) {
	page := newsletter(100_000)
	plain := []byte(strings.Repeat("<div dir=\"ltr\">Buenos d&iacute;as, le env&iacute;o el informe que me pidi&oacute; ayer.<br>Un saludo,<br>Marta</div>\r\n", 1000))
	for _, c := range []struct {
		name string
		page []byte
	}{{"newsletter", page}, {"letter", plain}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.page)))
			b.ReportAllocs()
			tags := 0
			v := Visitor{Tag: func([]byte, []Attribute, int) { tags++ }, Text: func([]byte, int, bool) {}}
			for b.Loop() {
				Read(c.page, v)
			}
		})
		b.Run(c.name+"/x-net", func(b *testing.B) {
			b.SetBytes(int64(len(c.page)))
			b.ReportAllocs()
			for b.Loop() {
				z := html.NewTokenizer(bytes.NewReader(c.page))
				for {
					kind := z.Next()
					if kind == html.ErrorToken {
						break
					}
					if kind == html.TextToken {
						z.Text()
					}
					if kind == html.StartTagToken || kind == html.SelfClosingTagToken {
						_, more := z.TagName()
						for more {
							_, _, more = z.TagAttr()
						}
					}
				}
			}
		})
	}
	for _, s := range []string{"<", "<a ", "<!--", "&", "</", "<a b", "<script>", "<svg>", "&a", "<!--[if a]>", "<a b=&x", "<script><!--", "<a/>", "a=", "<a x=1 "} {
		b.Run("hostile/"+s, func(b *testing.B) {
			hostile := []byte(strings.Repeat(s, (1<<20)/len(s)))
			b.SetBytes(int64(len(hostile)))
			for b.Loop() {
				Read(hostile, Visitor{Tag: func([]byte, []Attribute, int) {}, Text: func([]byte, int, bool) {}})
			}
		})
	}
}

// BenchmarkManyAttributes is the dearest tag: as many attributes as are kept,
// with names as alike as can be.
func BenchmarkManyAttributes(b *testing.B) {
	tag := "<a"
	for i := range MaxAttributes {
		tag += fmt.Sprintf(" %c%c", 'a'+i/26, 'a'+i%26)
	}
	page := []byte(strings.Repeat(tag+">", 1000))
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		Read(page, Visitor{Tag: func([]byte, []Attribute, int) {}})
	}
}

func TestNoAllocation(t *testing.T) {
	page := newsletter(20_000)
	v := Visitor{Tag: func([]byte, []Attribute, int) {}, Text: func([]byte, int, bool) {}}
	Read(page, v)
	// The pool may lose its reader in between: far less than one a tag.
	if n := testing.AllocsPerRun(20, func() { Read(page, v) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

// TestLimits holds what is beyond them to be passed over, and no more.
func TestLimits(t *testing.T) {
	var page bytes.Buffer
	page.WriteString("<a")
	for i := range MaxAttributes + 10 {
		fmt.Fprintf(&page, " a%d", i)
	}
	fmt.Fprintf(&page, "><b c='%s'>end", strings.Repeat("x", MaxValue+1))
	var tags []string
	Read(page.Bytes(), Visitor{Tag: func(name []byte, attributes []Attribute, _ int) {
		tags = append(tags, fmt.Sprint(string(name), len(attributes), len(attributes[0].Value)))
	}})
	if got, want := fmt.Sprint(tags), fmt.Sprint([]string{fmt.Sprint("a", MaxAttributes, 0), fmt.Sprint("b", 1, MaxValue)}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestManyDuplicates is that the first of two counts, however many there are.
func TestManyDuplicates(t *testing.T) {
	for _, n := range []int{1, few - 1, few, few + 1, 100} {
		var page bytes.Buffer
		page.WriteString("<a")
		for turn := range 3 {
			for i := range n {
				fmt.Fprintf(&page, " a%d=%d", i, turn)
			}
		}
		page.WriteString(" last>")
		Read(page.Bytes(), Visitor{Tag: func(_ []byte, attributes []Attribute, _ int) {
			if len(attributes) != n+1 || string(attributes[n].Name) != "last" {
				t.Errorf("%d: %d attributes", n, len(attributes))
			}
			for i, a := range attributes[:n] {
				if string(a.Name) != fmt.Sprintf("a%d", i) || string(a.Value) != "0" {
					t.Errorf("%d: %s=%s", n, a.Name, a.Value)
				}
			}
		}})
	}
}

// TestUnclosed has the quadratic cases: what is unclosed is read once, not
// once for each place at which it begins.
func TestUnclosed(t *testing.T) {
	for s, most := range map[string]int{"<": 1, "<!--": 0, "<a ": 0, "&": 1, "<a b='": 0, "<title>": 2, "<!--[if a]>": 0, "<?": 0} {
		calls := 0
		Read([]byte(strings.Repeat(s, 10_000)), Visitor{Tag: func([]byte, []Attribute, int) { calls++ }, Text: func([]byte, int, bool) { calls++ }})
		if calls > most {
			t.Errorf("%q many times: %d calls", s, calls)
		}
	}
}
