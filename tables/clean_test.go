package tables

import (
	"reflect"
	"testing"
)

// TestCleanIsOnlyFaster: the look at the whole file finds nothing that the
// look at each line would not, and takes nothing for clean that is not.
func TestCleanIsOnlyFaster(t *testing.T) {
	for _, text := range []string{
		"a b\n", "a b\r\nc d\r\n", "a b\r", "a\rb c\n", "a b\r\r\n", "a\x00 b\n", "a\x7f b\n", "a b\n  more\n# no\n", "\tb\n",
		"\xff b\n", "\u00e4 b\n", "\u0085 b\n", "a\ufeffb c\n", "a b\n\v\n", "",
	} {
		fast := parser{file: "f", o: Options{}.withDefaults(), clean: isClean([]byte(text))}
		slow := parser{file: "f", o: Options{}.withDefaults()}
		fast.all(text)
		slow.all(text)
		if !reflect.DeepEqual(fast.entries, slow.entries) || !reflect.DeepEqual(fast.problems, slow.problems) {
			t.Errorf("%q: %v %v, line by line %v %v", text, fast.entries, fast.problems, slow.entries, slow.problems)
		}
	}
	for text, want := range map[string]bool{"a b\n": true, "a\tb\r\n": true, "a\r": false, "a\r\r\n": false, "\x1b": false, "\x7f": false, "\u00e4": false} {
		if isClean([]byte(text)) != want {
			t.Errorf("%q: clean is %v", text, !want)
		}
	}
}
