package field

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// maxLabel bounds the name of a charset; the longest registered one has 45
// octets (RFC 2978 2.3 allows 40 in MIME).
const maxLabel = 64

// Label normalises the name of a charset: lower case, without quotes, white
// space, language tag (RFC 2231 section 5) and what is no part of a name, and
// with the usual name for the usual misspellings.
func Label(charset string) string {
	const around = " \t\r\n\"'"
	s := strings.TrimLeft(charset[:min(len(charset), 4*maxLabel)], around)
	if i := strings.IndexAny(s, "*;,\x00"); i >= 0 {
		s = s[:i]
	}
	if len(s) > maxLabel {
		s = s[:maxLabel]
	}
	s = strings.ToLower(strings.ReplaceAll(strings.Trim(s, around), "_", "-"))
	if alias, ok := aliasOf(s); ok {
		return alias
	}
	for _, family := range []string{"iso8859-", "iso-8859", "iso8859", "8859-", "8859"} {
		if n, ok := strings.CutPrefix(s, family); ok && n != "" && !strings.HasPrefix(n, "-") {
			return "iso-8859-" + n
		}
	}
	for _, family := range []string{"windows-cp", "windows", "cp-", "cp", "x-cp", "win-", "ms-", "win", "ibm-"} {
		if n, ok := strings.CutPrefix(s, family); ok && len(n) >= 3 && digitsOnly(n) {
			return codePage(n)
		}
	}
	return s
}

func digitsOnly(s string) bool { return strings.Trim(s, "0123456789") == "" }

// codePage names a code page of Microsoft or IBM as the libraries do.
func codePage(n string) string {
	switch n {
	case "932":
		return "shift-jis"
	case "936":
		return "gbk"
	case "949":
		return "euc-kr"
	case "950":
		return "big5"
	case "874":
		return "windows-874"
	case "65001":
		return "utf-8"
	case "65000":
		return "utf-7"
	case "1200":
		return "utf-16le"
	case "1201":
		return "utf-16be"
	case "10000":
		return "macintosh"
	case "20127":
		return "us-ascii"
	case "20866":
		return "koi8-r"
	case "21866":
		return "koi8-u"
	case "28591":
		return "iso-8859-1"
	case "50220", "50221", "50222":
		return "iso-2022-jp"
	case "51932":
		return "euc-jp"
	case "51949":
		return "euc-kr"
	case "52936":
		return "hz-gb-2312"
	case "54936":
		return "gb18030"
	}
	if strings.HasPrefix(n, "125") && len(n) == 4 {
		return "windows-" + n
	}
	return "ibm" + n
}

// aliasOf gives the usual name for names that no index knows.
func aliasOf(s string) (string, bool) {
	switch s {
	case "ascii", "us", "usascii", "ansi-x3.4-1968", "ansi-x3.4-1986", "iso646-us", "iso-646", "646", "ansi", "default",
		"7bit", "8bit", "us-ascii-1", "cp367", "ibm367", "ansi-x3.110-1983", "iso-ir-6":
		return "us-ascii", true
	case "utf8", "unicode-1-1-utf-8", "utf-8-mac", "utf8mb4", "x-utf-8", "x-utf8", "unicode-2-0-utf-8", "utf-8n", "cesu-8":
		return "utf-8", true
	case "utf7", "unicode-1-1-utf-7", "unicode-2-0-utf-7", "x-unicode-2-0-utf-7", "csunicode11utf7", "x-utf-7":
		return "utf-7", true
	case "utf16", "unicode", "ucs-2", "ucs2", "iso-10646-ucs-2", "csunicode", "utf-16-be-or-le":
		return "utf-16", true
	case "utf16le", "ucs-2le", "unicodelittle", "x-utf-16le":
		return "utf-16le", true
	case "utf16be", "ucs-2be", "unicodebig", "unicodefffe", "x-utf-16be":
		return "utf-16be", true
	case "utf32", "ucs-4", "ucs4", "iso-10646-ucs-4":
		return "utf-32", true
	case "utf32le", "ucs-4le":
		return "utf-32le", true
	case "utf32be", "ucs-4be":
		return "utf-32be", true
	case "latin1", "latin-1", "l1", "iso-latin-1", "iso8859", "8859":
		return "iso-8859-1", true
	case "sjis", "x-sjis", "shiftjis", "ms-kanji", "csshiftjis", "windows-31j", "ms932", "shift-jis", "x-ms-cp932", "shift-jisx0213":
		return "shift-jis", true
	case "gb2312", "gb-2312-80", "gb-2312", "euc-cn", "euccn", "x-gbk", "chinese", "cngb", "cn-gb", "x-euc-cn", "gb2312-80", "936":
		return "gbk", true
	case "ks-c-5601-1987", "ks-c-5601", "ksc5601", "ksc-5601", "korean", "euckr", "uhc", "ks-c-5601-1989", "x-windows-949", "cp949":
		return "euc-kr", true
	case "big5-hkscs", "big5hkscs", "cn-big5", "x-x-big5", "big-5", "big5-eten", "csbig5":
		return "big5", true
	case "eucjp", "x-euc-jp", "x-euc", "ujis":
		return "euc-jp", true
	case "iso2022jp", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-3", "iso-2022-jp-ms", "csiso2022jp", "jis", "x-iso-2022-jp", "iso-2022-jp-2004":
		return "iso-2022-jp", true
	case "iso2022kr", "csiso2022kr":
		return "iso-2022-kr", true
	case "iso2022cn", "iso-2022-cn-ext":
		return "iso-2022-cn", true
	case "hz", "hz-gb", "hzgb2312", "hz-gb2312":
		return "hz-gb-2312", true
	case "koi8r", "koi8", "koi-8-r", "koi", "cskoi8r", "koi8-r-1":
		return "koi8-r", true
	case "koi8u", "koi8-ru":
		return "koi8-u", true
	case "mac", "x-mac-roman", "macroman", "x-macroman", "apple-roman", "macintosh-roman":
		return "macintosh", true
	case "x-mac-cyrillic", "maccyrillic", "x-mac-ukrainian":
		return "x-mac-cyrillic", true
	case "tis-620", "tis620", "x-tis-620", "iso-8859-11":
		return "windows-874", true
	case "ibm037", "ibm-037", "cp037", "ebcdic-cp-us", "ebcdic":
		return "ibm037", true
	case "ibm500", "ibm-500", "cp500", "ebcdic-cp-be", "ebcdic-cp-ch":
		return "ibm500", true
	}
	return "", false
}

// Known tells whether Decode has a decoder for a charset.
func Known(charset string) bool {
	_, known := decoderOf(Label(charset))
	return known
}

// decoder turns octets into UTF-8 with U+FFFD for what does not fit.
type decoder func([]byte) string

// decoderOf gives the decoder for a normalised name.
func decoderOf(label string) (decoder, bool) {
	switch label {
	case "", "us-ascii", "utf-8":
		return validUTF8, true
	case "utf-7":
		return decodeUTF7, true
	case "utf-16":
		return decodeUTF16, true
	case "utf-16le":
		return through(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)), true
	case "utf-16be":
		return through(unicode.UTF16(unicode.BigEndian, unicode.UseBOM)), true
	case "utf-32", "utf-32be":
		return through(utf32.UTF32(utf32.BigEndian, utf32.UseBOM)), true
	case "utf-32le":
		return through(utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)), true
	case "iso-8859-1":
		// Every mail client shows Windows-1252, as WHATWG has it.
		return through(charmap.Windows1252), true
	case "iso-2022-kr":
		return decodeISO2022KR, true
	case "iso-2022-cn":
		return decodeISO2022CN, true
	case "iso-2022-jp":
		return through(japanese.ISO2022JP), true
	case "hz-gb-2312":
		return through(simplifiedchinese.HZGB2312), true
	case "gb18030":
		return through(simplifiedchinese.GB18030), true
	case "gbk":
		return through(simplifiedchinese.GB18030), true
	case "big5":
		return through(traditionalchinese.Big5), true
	case "shift-jis":
		return through(japanese.ShiftJIS), true
	case "ibm037":
		return through(charmap.CodePage037), true
	case "ibm500":
		return decodeIBM500, true
	case "unknown-8bit", "x-unknown", "unknown", "x-user-defined":
		return nil, false
	}
	return indexed(label)
}

// indexed looks a name up in the lists of WHATWG and IANA.
func indexed(label string) (decoder, bool) {
	if e, err := htmlindex.Get(label); err == nil && e != nil && e != encoding.Replacement {
		return through(e), true
	}
	for _, name := range []string{label, strings.ReplaceAll(label, "-", "_")} {
		if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
			return through(e), true
		}
		if e, err := ianaindex.IANA.Encoding(name); err == nil && e != nil {
			return through(e), true
		}
	}
	return nil, false
}

// through decodes with a library's encoding.
func through(e encoding.Encoding) decoder {
	return func(data []byte) string {
		out, err := e.NewDecoder().Bytes(data)
		if err != nil {
			// The decoders replace and do not fail; if one does, what it gave
			// stands, and the rest is what UTF-8 makes of it.
			return string(out) + "\uFFFD" + validUTF8(data[min(len(data), len(out)):])
		}
		return string(out)
	}
}

// validUTF8 gives the octets with U+FFFD for each that is not UTF-8.
func validUTF8(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	var b strings.Builder
	b.Grow(len(data) + len(data)/8)
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		b.WriteRune(r)
		data = data[n:]
	}
	return b.String()
}

// Decode turns text of a declared charset into UTF-8. known is false when
// there is no such charset or no decoder for it: the text is then the octets
// with U+FFFD for what is not UTF-8. bad counts octets that did not fit.
func Decode(charset string, data []byte) (text string, bad int, known bool) {
	label := Label(charset)
	d, known := decoderOf(label)
	if !known {
		d = validUTF8
	}
	text = d(data)
	if utf8.Valid(data) && (label == "utf-8" || !known) {
		return text, 0, known
	}
	if label == "us-ascii" || label == "" {
		return asciiOr(data, text), highOctets(data), true
	}
	return text, strings.Count(text, "\uFFFD"), known
}

// asciiOr gives text of no declared charset, or of one that does not hold it:
// UTF-8 if it is, else Windows-1252, as most clients guess.
func asciiOr(data []byte, text string) string {
	if utf8.Valid(data) {
		return text
	}
	return through(charmap.Windows1252)(data)
}

func highOctets(data []byte) int {
	n := 0
	for _, c := range data {
		if c >= utf8.RuneSelf {
			n++
		}
	}
	return n
}
