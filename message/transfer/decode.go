package transfer

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
)

// method is what a name of a transfer encoding stands for.
type method uint8

const (
	asIs method = iota + 1
	base64Method
	qpMethod
	uuMethod
	yencMethod
	binhexMethod
	gzipMethod
)

// methodOf gives the method for the letters and digits of a name.
func methodOf(letters string) method {
	switch letters {
	case "", "7bit", "8bit", "binary":
		return asIs
	case "base64", "b64", "xbase64", "base64encoded", "base64mime":
		return base64Method
	case "quotedprintable", "qp", "xquotedprintable", "quotedprint", "quoteprintable":
		return qpMethod
	case "uuencode", "xuuencode", "uue", "xuue", "uuencoded", "xuuencoded", "uu", "xuu":
		return uuMethod
	case "yenc", "xyenc", "yencode", "xyencode", "yencoded", "xyencoded":
		return yencMethod
	case "binhex", "xbinhex", "binhex40", "xbinhex40", "binhex4", "macbinhex40", "xmacbinhex40", "macbinhex", "hqx", "xhqx":
		return binhexMethod
	case "gzip64", "xgzip64":
		return gzipMethod
	}
	return 0
}

// proper tells that a name is written as its inventor did.
func proper(name string) bool {
	switch name {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable",
		"uuencode", "x-uuencode", "uue", "x-uue", "x-uu", "yenc", "x-yenc", "x-yencode",
		"mac-binhex40", "mac-binhex", "binhex40", "binhex", "x-binhex", "x-binhex40", "gzip64", "x-gzip64":
		return true
	}
	return false
}

// Decode gives the readings for the name of a transfer encoding (any case,
// known misspellings and the x- encodings too). known is false for a name that
// no client decodes: the one reading is then the text itself.
//
// A name that some readers take and others do not ("base-64", "base64;") gives
// the decoded readings and the text itself, and the fault "encoding-name". Text
// given as it is is not copied and not cut to max.
func Decode(encoding string, text []byte, max int) (readings []Reading, faults []Fault, known bool) {
	name := strings.ToLower(strings.TrimSpace(encoding))
	m := methodOf(letters(name))
	switch m {
	case 0:
		return []Reading{{How: "as it is", Data: text}}, nil, false
	case asIs:
		how := name
		if !proper(name) || name == "" {
			how = "7bit"
		}
		return []Reading{{How: how, Data: text}}, nil, true
	case base64Method:
		readings, faults = Base64(text, max)
	case qpMethod:
		readings, faults = QuotedPrintable(text, max)
	case gzipMethod:
		readings, faults = gzip64(text, max)
	default:
		readings, faults = container(m, text, max)
	}
	if !proper(name) {
		faults = append(faults, Fault{ID: "encoding-name", Ambiguous: true})
		readings = append(readings, Reading{How: "7bit", Data: text})
	}
	if len(readings) == 0 {
		readings = []Reading{{How: "7bit", Data: text}}
	}
	return readings, faults, true
}

// letters gives letters and digits of a name without comments, up to what ends
// a value: `"base-64" (really); x` is base64.
func letters(name string) string {
	var b strings.Builder
	depth := 0
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth = max(depth-1, 0)
		case depth > 0:
		case c == ';' || c == ',':
			if b.Len() > 0 {
				return b.String()
			}
		case c-'a' < 26 || c-'0' < 10:
			b.WriteByte(c)
		case strings.IndexByte(" \t\r\n-_\"'.=:\\\x00", c) < 0:
			b.WriteByte('?')
		}
	}
	return b.String()
}

// gzip64 is base64 over gzip, once tried by some Unix mailers.
func gzip64(text []byte, max int) ([]Reading, []Fault) {
	packed, faults := Base64(text, max)
	b := bound{left: max}
	for _, p := range packed {
		if b.over {
			break
		}
		z, err := gzip.NewReader(bytes.NewReader(p.Data))
		if err != nil {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(z, int64(b.left)+1))
		if err != nil {
			faults = append(faults, Fault{ID: "gzip-damaged", At: len(text)})
		}
		if len(data) > 0 || err == nil {
			b.add("gzip64", data)
		}
	}
	if len(b.readings) == 0 {
		faults = append(faults, Fault{ID: "gzip-damaged", Ambiguous: true})
		for _, p := range packed {
			b.add(p.How, p.Data)
		}
	}
	return b.readings, append(faults, b.faultsAt(true, len(text))...)
}

// container decodes text whose encoding has a frame of its own; what is no
// frame is given as it is, with a fault.
func container(m method, text []byte, max int) ([]Reading, []Fault) {
	kind := map[method]string{uuMethod: "uuencode", yencMethod: "yenc", binhexMethod: "binhex"}[m]
	b := bound{left: max}
	var faults []Fault
	for _, f := range Embedded(text, max) {
		if f.Kind != kind && !(m == uuMethod && f.Kind == "base64") {
			continue
		}
		for _, r := range f.Readings {
			b.add(r.How, r.Data)
		}
		faults = append(faults, f.Faults...)
	}
	if len(b.readings) > 0 {
		return b.readings, append(faults, b.faultsAt(true, len(text))...)
	}
	if r, f := frameless(m, text, max); r != nil {
		return r, f
	}
	return nil, []Fault{{ID: kind + "-missing", Ambiguous: true}}
}

// frameless decodes text whose frame is missing, as readers do who do not look
// for one.
func frameless(m method, text []byte, max int) ([]Reading, []Fault) {
	var f File
	ok := false
	switch m {
	case uuMethod:
		f, ok = readUU(f, text, 0, max)
	case binhexMethod:
		if i := bytes.IndexByte(text, ':'); i >= 0 {
			f, ok = binhexFrom(f, text, i+1, max)
		}
	case yencMethod:
		b := bound{left: max}
		b.add("yenc", yencData(text, max))
		f.Readings, ok = b.readings, len(text) > 0
		f.Faults = b.faultsAt(true, len(text))
	}
	if !ok {
		return nil, nil
	}
	f.Readings = append(f.Readings, Reading{How: "7bit", Data: text})
	return f.Readings, append(f.Faults, Fault{ID: "frame-missing", Ambiguous: true})
}
