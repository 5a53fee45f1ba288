package filtertest

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Set sets one key of a configuration: "key value", as a case's config lines
// say it. A list gets the value added, a nested table is "table.key value".
func Set[C any](t testing.TB, c *C, line string) {
	t.Helper()
	key, value, _ := strings.Cut(line, " ")
	v := reflect.ValueOf(c).Elem()
	for table, rest, nested := strings.Cut(key, "."); nested; table, rest, nested = strings.Cut(rest, ".") {
		f, ok := field(v, table)
		if !ok || f.Kind() != reflect.Struct {
			t.Fatalf("no table %q", table)
		}
		v, key = f, rest
	}
	f, ok := field(v, key)
	if !ok {
		t.Fatalf("no key %q", key)
	}
	if err := assign(f, value); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

func field(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("toml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func assign(f reflect.Value, value string) error {
	if f.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(value)
		f.SetInt(int64(d))
		return err
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(value)
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		f.SetBool(b)
		return err
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(value, 10, 64)
		f.SetInt(n)
		return err
	case reflect.Float64:
		x, err := strconv.ParseFloat(value, 64)
		f.SetFloat(x)
		return err
	default:
		f.Set(reflect.Append(f, reflect.ValueOf(value)))
	}
	return nil
}

// With is a configuration with such lines.
func With[C any](t testing.TB, c C, lines []string) C {
	t.Helper()
	for _, line := range lines {
		Set(t, &c, line)
	}
	return c
}

// Refused tells a mistake for every line that a configuration should refuse,
// alone and by name, and that build, the constructor, should not take. The
// defaults must have no mistake.
func Refused[C interface{ Validate() []error }](t *testing.T, def func() C, build func(C) error, lines ...string) {
	t.Helper()
	if errs := def().Validate(); len(errs) > 0 {
		t.Errorf("default: %v", errs)
	}
	for _, line := range lines {
		c := def()
		Set(t, &c, line)
		key, _, _ := strings.Cut(line, " ")
		if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), key) {
			t.Errorf("%s: %v", line, errs)
		}
		if build(c) == nil {
			t.Errorf("%s: New took it", line)
		}
	}
}

// Explained tells what README.md does not explain of the keys of C and of
// these symbols.
func Explained[C any](t *testing.T, symbols ...string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range append(symbols, keys(reflect.TypeFor[C](), "")...) {
		if !strings.Contains(string(text), "`"+w+"`") {
			t.Errorf("README.md does not explain %s", w)
		}
	}
}

func keys(typ reflect.Type, prefix string) []string {
	var out []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		if key := prefix + f.Tag.Get("toml"); f.Type.Kind() == reflect.Struct {
			out = append(out, keys(f.Type, key+".")...)
		} else {
			out = append(out, key)
		}
	}
	return out
}
