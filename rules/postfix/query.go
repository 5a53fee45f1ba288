package postfix

import (
	"bufio"
	"errors"
	"io"

	"garita/rules/pattern"
)

// Query reads keys, one a line, and writes key, tab and result of those that
// the table knows, as `postmap -q -` does. budget gives each key its own. It
// tells whether a key was found. A key that is given up is passed over, and
// the error says so at the end. each, if any, is given every result.
func Query(t *Table, in io.Reader, out io.Writer, budget func() *pattern.Budget, each func(result string)) (bool, error) {
	r, w := bufio.NewReader(in), bufio.NewWriter(out)
	found := false
	var failed error
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			if line[len(line)-1] == '\n' {
				line = line[:len(line)-1]
			}
			result, _, ok, lookupErr := t.Lookup(line, budget())
			if lookupErr != nil {
				failed = lookupErr
			} else if ok {
				found = true
				w.Write(cString(line))
				w.WriteByte('\t')
				w.WriteString(result)
				w.WriteByte('\n')
				if each != nil {
					each(result)
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return found, errors.Join(err, w.Flush())
		}
	}
	return found, errors.Join(failed, w.Flush())
}
