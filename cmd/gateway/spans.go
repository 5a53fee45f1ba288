package main

import (
	"fmt"
	"reflect"
	"time"

	"github.com/alecthomas/kong"

	"garita/filters/all"
)

// spans reads the spans of all commands: what people write (7d) as well as what
// Go writes. Without a unit it is refused with what to write, because 7 may be
// hours or days to whoever typed it.
func spans() kong.Option {
	return kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(func(c *kong.DecodeContext, target reflect.Value) error {
		t, err := c.Scan.PopValue("duration")
		if err != nil {
			return err
		}
		text := fmt.Sprint(t.Value)
		d, err := all.ParseSpan(text)
		if err != nil {
			return badSpan(text)
		}
		target.SetInt(int64(d))
		return nil
	}))
}

func badSpan(text string) error {
	return fmt.Errorf("%.40q is no span: write a number and its unit, as 30m, 12h or 7d", text)
}
