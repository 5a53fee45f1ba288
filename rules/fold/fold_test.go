package fold

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestText(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""}, {" ", " "}, {"Oferta ÚNICA", "oferta unica"}, {"año", "ano"}, {"an\u0303o", "ano"},
		{"PINGÜINO Straße STRASSE \u1E9E", "pinguino strasse strasse ss"},
		{"fac\u00ADtu\u200Bra\u200C\u200D\uFEFF\u2060\u202E\u2066\x00\x7F\u0085", "factura "},
		{"a \t\r\n\u00A0\u2003\u3000\u200B b", "a b"}, {"  x  ", " x "},
		{"ﬁn ２０２６ Ⅷ ½ ㎏", "fin 2026 viii 1⁄2 kg"}, {"\u2126\u212A\u212B", "ωka"},
		{"ΟΔΟΣ οδος ὀδός", "οδοσ οδοσ οδοσ"}, {"İstanbul ISTANBUL ıstanbul", "istanbul istanbul istanbul"},
		{"Œuvre Ærø Łódź ĐỨC", "oeuvre aero lodz duc"}, {"don’t don´t “x” a–b", `don't don't "x" a-b`},
		{"Йогурт ЁЛКА", "иогурт елка"}, {"한국 \u1112\u1161\u11AB\u1100\u116E\u11A8", "한국 한국"},
		{"हिन्दी", "हिनदी"}, {"كِتَاب", "كتاب"}, {"\xff\xc3(", "\uFFFD\uFFFD("},
		{"x\uFE0F❤\uFE0F👩\u200D💻", "x❤👩💻"}, {"ſ", "s"}, {"µ", "μ"}, {"Ⓕ𝐚𝓬𝕥𝚞𝗿𝖺", "factura"},
		{"\uFDFA", "صلى الله عليه وسلم"},
	} {
		if got := string(Text(nil, []byte(c[0]))); got != c[1] {
			t.Errorf("Text(%+q) = %+q, want %+q", c[0], got, c[1])
		}
	}
	if got := Key(" ¡Oferta\u00A0Única! "); got != "¡oferta unica!" {
		t.Errorf("Key: %q", got)
	}
	if got := string(Text([]byte("x "), []byte(" Y"))); got != "x y" {
		t.Errorf("a run of white space over two pieces: %q", got)
	}
}

// slow is Text by the definition: character by character, without table or
// words.
func slow(text []byte) []byte {
	dst := []byte{}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		dst, text = long(dst, r, 0), text[size:]
	}
	return dst
}

// TestEveryCharacter holds each character of Unicode to what folding promises.
func TestEveryCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r >= 0xD800 && r < 0xE000 {
			continue
		}
		in := "x" + string(r) + "x"
		once := Text(nil, []byte(in))
		if twice := Text(nil, once); !bytes.Equal(once, twice) {
			t.Errorf("%U: folded %+q, and again %+q", r, once, twice)
		}
		if want := slow([]byte(in)); !bytes.Equal(once, want) {
			t.Errorf("%U: %+q, by the definition %+q", r, once, want)
		}
		if len(once)-2 > 11*utf8.RuneLen(r) {
			t.Errorf("%U becomes %d octets", r, len(once)-2)
		}
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			// U+0345 is a mark and a small iota; as a mark it goes.
			if other := Text(nil, []byte("x"+string(o)+"x")); o != 0x345 && r != 0x345 && !bytes.Equal(once, other) {
				t.Errorf("%U is %+q, its other case %U is %+q", r, once, o, other)
			}
		}
		for _, f := range []norm.Form{norm.NFC, norm.NFD} {
			if other := Text(nil, f.Bytes([]byte(in))); !bytes.Equal(once, other) {
				t.Errorf("%U is %+q, normalised %+q", r, once, other)
			}
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "  ", "Ábc  d", "\u1112\u1161\u11AB", "\u1112\u3155", "\uFFBE\uFFC3", "a\u0301\u0323\u00A8 x", "\xe2\x80", "ABCDEFGH  IJKLMNOP \x00qrstuvwx"} {
		f.Add([]byte(s), uint16(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		once := Text(nil, text)
		if want := slow(text); !bytes.Equal(once, want) {
			t.Fatalf("%+q, by the definition %+q", once, want)
		}
		if twice := Text(nil, once); !bytes.Equal(once, twice) {
			t.Fatalf("folded %+q, and again %+q", once, twice)
		}
		if bytes.Contains(once, []byte("  ")) || bytes.ContainsAny(once, "\t\r\nABCXYZ\x00") {
			t.Fatalf("%+q", once)
		}
		if upper := Text(nil, []byte(strings.ToUpper(string(bytes.ToValidUTF8(text, nil))))); utf8.Valid(text) && ascii(text) && !bytes.Equal(upper, once) {
			t.Fatalf("upper case %+q, else %+q", upper, once)
		}
		if utf8.Valid(text) {
			if other := Text(nil, norm.NFD.Bytes(text)); !bytes.Equal(once, other) {
				t.Fatalf("%+q, decomposed %+q", once, other)
			}
		}
		// Pieces: cut where a character begins, and where no syllable is open.
		at := min(int(cut), len(text))
		for at < len(text) && !utf8.RuneStart(text[at]) {
			at++
		}
		if utf8.Valid(text) && !bytes.ContainsFunc(text[at:], func(r rune) bool { return jamo(r) || hangul(r) || r > 0x3000 }) {
			if joined := Text(Text(nil, text[:at]), text[at:]); !bytes.Equal(joined, once) {
				t.Fatalf("in pieces %+q, whole %+q", joined, once)
			}
		}
	})
}

func ascii(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}

func BenchmarkText(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"ascii", "Estimado cliente, le adjuntamos la factura de su pedido\r\nnumber 4711. Please Confirm the ADDRESS below. "},
		{"spanish", "Señor González: aquí está la dirección de envío, según pidió usted el próximo miércoles. "},
		{"greek", "Αγαπητέ πελάτη, σας στέλνουμε το τιμολόγιο της παραγγελίας. "},
		{"cyrillic", "Уважаемый клиент, высылаем вам счёт за заказ. "},
		{"han", "尊敬的客户，随信附上您的发票。"}, {"kana", "お客様の請求書をお送りします。"}, {"hangul", "고객님의 청구서를 보내드립니다 "},
	} {
		text := []byte(strings.Repeat(c.text, 100_000/len(c.text)))
		dst := make([]byte, 0, 2*len(text))
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				dst = Text(dst[:0], text)
			}
		})
	}
}

// BenchmarkTable is what the first text beyond ASCII pays, once.
func BenchmarkTable(b *testing.B) {
	for b.Loop() {
		makeTable()
	}
}

func TestNoAllocation(t *testing.T) {
	text := []byte(strings.Repeat("Señor González, ABC  def 請求書 ½ ", 200))
	dst := make([]byte, 0, 2*len(text))
	if n := testing.AllocsPerRun(20, func() { dst = Text(dst[:0], text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWord: a word is folded as text is, whatever is in it.
func TestWord(t *testing.T) {
	for r := rune(1); r < 0x3000; r++ {
		for _, word := range []string{string(r), "Ab" + string(r) + "ción", "é" + string(r) + "\u0301", "\xC3" + string(r), string(r) + "\xC3"} {
			if strings.ContainsFunc(word, unicode.IsSpace) {
				continue
			}
			if got, want := Word([]byte("x "), []byte(word)), Text([]byte("x "), []byte(word)); string(got) != string(want) {
				t.Fatalf("%q: %q, want %q", word, got, want)
			}
		}
	}
}
