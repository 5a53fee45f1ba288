package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"garita/place"
	"garita/printable"
)

// scalar sets a value that is neither list nor table.
func (d *Document) scalar(path string, n *node, v reflect.Value, f *field) bool {
	var err error
	switch f.class() {
	case classString:
		return d.setString(path, n, v, f)
	case classBool:
		if n.kind != kindBool {
			d.wrong(path, n, "true or false", tryBool(n))
			return false
		}
		v.SetBool(n.text == "true")
		return true
	case classInt:
		return d.setInt(path, n, v, f)
	case classFloat:
		return d.setFloat(path, n, v, f)
	case classSize:
		var size int64
		if n.kind == kindInt {
			i, _ := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 10, 64)
			switch {
			case i < 0:
				err = &hint{text: "is a negative size"}
			case strings.Trim(n.text, "+-0_") == "":
			default:
				err = &hint{"has no unit", "try " + strconv.Quote(formatSize(i))}
				if i > 0 && i < 1<<10 { // nobody means 25 octets
					err = &hint{"has no unit", "try " + strconv.Quote(strconv.FormatInt(i, 10)+"MB")}
				} else if i == 0 {
					err = &hint{"has no unit", `write a size as "25MB"`}
				}
			}
		} else if n.kind != kindString {
			d.wrong(path, n, "a size", `write a size as "25MB"`)
			return false
		} else {
			size, err = parseSize(n.text)
		}
		if err == nil {
			return d.setNumber(path, v, f, size)
		}
	case classDuration:
		var dur time.Duration
		if n.kind == kindInt {
			if strings.Trim(n.text, "+-0_") != "" {
				err = parseBareDuration(n.text)
			}
		} else if n.kind != kindString {
			d.wrong(path, n, "a duration", `write a duration as "30s"`)
			return false
		} else {
			dur, err = parseDuration(n.text)
		}
		if err == nil {
			return d.setNumber(path, v, f, int64(dur))
		}
	case classText:
		return d.setText(path, n, v, f)
	}
	d.bad(path, n, f, err)
	return false
}

// bad reports a value that was refused; a secret is not repeated.
func (d *Document) bad(path string, n *node, f *field, err error) {
	value := place.Quote(n.text)
	if n.kind != kindString {
		value = printable.Line(cutText(n.text))
	}
	if f.secret {
		value = "the value"
	}
	var h *hint
	if errors.As(err, &h) {
		d.Add(path, value+" "+h.text, h.try)
		return
	}
	text := err.Error()
	if f.secret {
		text = ""
	}
	d.Add(path, strings.TrimSuffix(value+" is not valid: "+text, ": "), "")
}

func parseBareDuration(s string) error {
	if strings.HasPrefix(s, "-") {
		return &hint{text: "is a negative duration"}
	}
	return &hint{"has no unit", `try "` + cutText(strings.TrimPrefix(s, "+")) + `s"`}
}

func tryBool(n *node) string {
	switch strings.ToLower(n.text) {
	case "yes", "on", "true", "1":
		return "try true"
	case "no", "off", "false", "0":
		return "try false"
	}
	return ""
}

// badText names a character that a text may not hold. A line feed or an escape
// sequence in a value would reach SMTP replies, logs and terminals.
func badText(s string, multiline bool) string {
	for _, r := range s {
		switch {
		case multiline && (r == '\n' || r == '\t'):
		case r == '\n' || r == '\r':
			return "a line break"
		case r == 0:
			return "a NUL character"
		case unicode.IsControl(r) && r != '\t':
			return "a control character"
		}
	}
	return ""
}

func (d *Document) setString(path string, n *node, v reflect.Value, f *field) bool {
	if n.kind != kindString {
		try := ""
		if n.kind == kindInt || n.kind == kindFloat || n.kind == kindBool || n.kind == kindDate {
			try = "try " + place.String(cutText(n.text))
		}
		d.wrong(path, n, "text", try)
		return false
	}
	if bad := badText(n.text, f.multiline); bad != "" {
		d.Add(path, "holds "+bad, "")
		return false
	}
	if len(f.enum) > 0 && !oneOf(n.text, f.enum) {
		try := ""
		if meant := place.Nearest(n.text, f.enum); meant != "" {
			try = "did you mean " + place.Quote(meant) + "?"
		}
		d.bad(path, n, f, &hint{"is not " + orList(f.enum), try})
		return false
	}
	v.SetString(n.text)
	return true
}

func oneOf(s string, words []string) bool {
	for _, w := range words {
		if s == w {
			return true
		}
	}
	return false
}

func (d *Document) setInt(path string, n *node, v reflect.Value, f *field) bool {
	if n.kind != kindInt {
		try := ""
		if _, err := strconv.ParseInt(n.text, 10, 64); err == nil && n.kind == kindString {
			try = "try " + n.text
		}
		d.wrong(path, n, "a whole number", try)
		return false
	}
	value, err := n.literal()
	i, ok := value.(int64)
	if err != nil || !ok {
		d.bad(path, n, f, &hint{text: "is too large a number"})
		return false
	}
	return d.setNumber(path, v, f, i)
}

// setNumber checks the bounds of a number, size or duration and sets it.
func (d *Document) setNumber(path string, v reflect.Value, f *field, i int64) bool {
	if !d.inBounds(path, f, float64(i)) {
		return false
	}
	switch {
	case v.CanInt() && !v.OverflowInt(i):
		v.SetInt(i)
	case v.CanUint() && i >= 0 && !v.OverflowUint(uint64(i)):
		v.SetUint(uint64(i))
	case i < 0:
		d.Add(path, "is negative", "")
		return false
	default:
		d.Add(path, "is too large", "")
		return false
	}
	return true
}

func (d *Document) inBounds(path string, f *field, n float64) bool {
	if f.min != "" && n < f.bound(f.min) {
		d.Add(path, "is too small", "at least "+f.min)
		return false
	}
	if f.max != "" && n > f.bound(f.max) {
		d.Add(path, "is too large", "at most "+f.max)
		return false
	}
	return true
}

func (d *Document) setFloat(path string, n *node, v reflect.Value, f *field) bool {
	if n.kind != kindFloat && n.kind != kindInt {
		d.wrong(path, n, "a number", "")
		return false
	}
	var x float64
	value, err := n.literal()
	switch value := value.(type) {
	case float64:
		x = value
	case int64:
		x = float64(value)
	default:
		err = errors.New("out of range")
	}
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || v.OverflowFloat(x) {
		d.bad(path, n, f, &hint{text: "is not a number that can be used"})
		return false
	}
	if !d.inBounds(path, f, x) {
		return false
	}
	v.SetFloat(x)
	return true
}

// knownText names the standard library's types, whose own error texts speak of
// Go.
func knownText(t reflect.Type) (string, bool) {
	switch t {
	case reflect.TypeFor[netip.Prefix]():
		return `network, as "192.0.2.0/24", or address`, true
	case reflect.TypeFor[netip.Addr]():
		return `IP address, as "192.0.2.1"`, true
	case reflect.TypeFor[netip.AddrPort]():
		return `IP address and port, as "192.0.2.1:25" or "[2001:db8::1]:25"`, true
	case reflect.TypeFor[time.Time]():
		return `date and time, as "2026-03-02T10:00:00Z"`, true
	}
	return "", false
}

// setText hands a text to a type that reads it.
func (d *Document) setText(path string, n *node, v reflect.Value, f *field) bool {
	text := n.text
	if n.kind == kindDate {
		text = dateText(n)
	} else if n.kind != kindString {
		d.wrong(path, n, "text", "")
		return false
	}
	if bad := badText(text, false); bad != "" {
		d.Add(path, "holds "+bad, "")
		return false
	}
	if text == "" && textOf(reflect.Zero(v.Type())) == "" {
		v.SetZero()
		return true
	}
	if p, ok := v.Addr().Interface().(*netip.Prefix); ok {
		prefix, err := parsePrefix(text)
		if err != nil {
			d.bad(path, n, f, err)
			return false
		}
		*p = prefix
		return true
	}
	fresh := reflect.New(v.Type()) // a failed read leaves the default whole
	err := unmarshal(fresh.Interface().(encoding.TextUnmarshaler), text)
	if err != nil {
		if form, ok := knownText(v.Type()); ok {
			err = &hint{"is not valid", "it is a " + form}
		}
		d.bad(path, n, f, err)
		return false
	}
	v.Set(fresh.Elem())
	return true
}

// unmarshal keeps a panic of a type's own reader from ending the program at a
// reload.
func unmarshal(u encoding.TextUnmarshaler, text string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it cannot be read")
		}
	}()
	return u.UnmarshalText([]byte(text))
}
