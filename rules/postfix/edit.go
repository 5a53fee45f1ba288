package postfix

import (
	"bytes"
)

// Edit gives the message as its hits change it: PREPEND, REPLACE, IGNORE and
// STRIP, in their order, and the blank line that the body lacks. Nothing is
// looked up again. Without a change it gives raw itself.
func Edit(raw []byte, r Result) []byte {
	var out []byte
	done := 0
	blank := r.NoBlank
	upTo := func(at int) {
		if blank >= 0 && blank <= at {
			out = append(append(out, raw[done:blank]...), "\r\n"...)
			done, blank = blank, -1
		}
		out = append(out, raw[done:at]...)
		done = at
	}
	for _, h := range r.Hits {
		switch h.Action {
		case Prepend:
			upTo(h.Start)
			out = append(append(out, h.Text...), "\r\n"...)
		case Replace:
			upTo(h.Start)
			out = append(out, h.Text...)
			if !h.GoesOn {
				out = append(out, ending(raw[h.Start:h.End])...)
			}
			done = h.End
		case Ignore, Strip:
			upTo(h.Start)
			done = h.End
		}
	}
	if done == 0 && out == nil && blank < 0 {
		return raw
	}
	upTo(len(raw))
	return out
}

// ending is how a line ends: CRLF, LF, or nothing at the end of a message.
func ending(line []byte) string {
	switch {
	case bytes.HasSuffix(line, []byte("\r\n")):
		return "\r\n"
	case bytes.HasSuffix(line, []byte("\n")):
		return "\n"
	}
	return ""
}
