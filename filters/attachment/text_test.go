package attachment

import (
	"reflect"
	"strings"
	"testing"

	"garita/filters"
	"garita/filters/filtertest"
)

func TestText(t *testing.T) {
	filtertest.Run(t, "testdata/*.txt", func(t *testing.T, config []string) filters.Check {
		c := Default()
		for _, line := range config {
			key, value, _ := strings.Cut(line, " ")
			v := reflect.ValueOf(&c).Elem()
			if rest, ok := strings.CutPrefix(key, "out."); ok {
				key, v = rest, reflect.ValueOf(&c.Out).Elem()
			}
			assign(t, v, key, value)
		}
		check, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		return check
	})
}

// assign sets a key of a table.
func assign(t *testing.T, v reflect.Value, key, value string) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			if p := v.Field(i).Addr().Interface().(*Actions); hasClass(key) {
				*p.field(key) = value
				return
			}
			continue
		}
		if f.Tag.Get("toml") != key {
			continue
		}
		if v.Field(i).Kind() == reflect.Slice {
			v.Field(i).Set(reflect.ValueOf(strings.Fields(value)))
		} else {
			v.Field(i).SetString(value)
		}
		return
	}
	t.Fatalf("no key %q", key)
}

func hasClass(key string) bool {
	for _, c := range classes() {
		if c.key == key {
			return true
		}
	}
	return false
}
