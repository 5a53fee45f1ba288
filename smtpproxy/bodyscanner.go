package smtpproxy

import (
	"bytes"

	"garita/message"
)

// bodyPolicy says what a bare line feed, a bare carriage return and a NUL in
// a message lead to: false normalises, true refuses the message.
type bodyPolicy struct {
	rejectLF, rejectCR, rejectNUL bool
}

// bodyScanner turns the octets of DATA or BDAT into a message with CR LF line
// ends only, and finds the end of DATA: CR LF . CR LF and nothing else (RFC
// 5321 section 4.1.1.4; attacks S-01 to S-14). It counts what it had to mend.
// It works on runs of lines, never octet by octet while the message is clean.
type bodyScanner struct {
	to *message.Builder
	// stuffed: DATA, with dot-stuffing and an end mark; else BDAT.
	stuffed bool
	// bol: the next octet follows CR LF or is the first.
	bol bool
	// afterCR: that CR LF had another CR before it; tail is the last octet
	// that was consumed.
	afterCR bool
	tail    byte
	// doubtful: the end came behind CR CR LF. Servers that strip or keep such
	// a CR disagree on whether it is the end (attacks S-11).
	doubtful bool
	// pendingCR: BDAT only, a chunk ended in CR.
	pendingCR bool
	// lf, cr and nul count what is not allowed in a message.
	lf, cr, nul int
	// err is the first fault of the builder; what follows is read and dropped.
	err error
	// n counts the octets of the message as sent, also those dropped.
	n       int64
	scratch []byte
}

// feed takes what has arrived and tells how much of it is consumed and
// whether the end of data was met; what follows the end is not touched. At
// most two octets are left over, when they may be the beginning of the end.
func (s *bodyScanner) feed(data []byte) (consumed int, eod bool) {
	consumed, eod = s.take(data)
	if consumed > 0 {
		s.tail = data[consumed-1]
	}
	return consumed, eod
}

func (s *bodyScanner) take(data []byte) (consumed int, eod bool) {
	seg, p := 0, 0
	if s.pendingCR && len(data) > 0 {
		p = s.settleCR(data)
		seg = p
	}
	for p < len(data) {
		if s.bol && s.stuffed && data[p] == '.' {
			switch rest := data[p+1:]; {
			case len(rest) == 0, len(rest) == 1 && rest[0] == '\r':
				s.store(data[seg:p])
				return p, false
			case rest[0] == '\r' && rest[1] == '\n':
				s.store(data[seg:p])
				s.doubtful = s.afterCR
				return p + 3, true
			case rest[0] == '\r', rest[0] == '\n':
				// Not an end and not a stuffed dot either: it stays, so that
				// no octet is lost (attacks S-03, S-08, S-12).
			default:
				s.store(data[seg:p])
				seg = p + 1
			}
			s.bol = false
		}
		i := bytes.IndexByte(data[p:], '\n')
		if i < 0 {
			return s.partial(data, seg, p), false
		}
		i += p
		if i > p && data[i-1] == '\r' {
			s.bol, s.afterCR = true, s.tail == '\r'
			if i > 1 {
				s.afterCR = data[i-2] == '\r'
			}
		} else {
			s.lf++
			s.store(data[seg:i])
			s.write(crlf)
			seg = i + 1
			s.bol = false // a dot after a bare LF was not stuffed by anybody
		}
		p = i + 1
	}
	s.store(data[seg:])
	return len(data), false
}

var crlf = []byte("\r\n")

// partial stores the beginning of a line whose end has not come. A CR at the
// very end waits for the octet that tells what it is.
func (s *bodyScanner) partial(data []byte, seg, p int) (consumed int) {
	end := len(data)
	if data[end-1] == '\r' {
		end--
	}
	if end > p {
		s.bol = false
	}
	if end > seg {
		s.store(data[seg:end])
	}
	if end < len(data) && !s.stuffed {
		s.pendingCR = true
		return len(data)
	}
	return end
}

// settleCR decides a CR that ended the last chunk.
func (s *bodyScanner) settleCR(data []byte) (consumed int) {
	s.pendingCR = false
	if data[0] == '\n' {
		s.write(crlf)
		s.bol = true
		return 1
	}
	s.cr++
	s.bol = false
	s.write([]byte{' '})
	return 0
}

// finish ends a BDAT message: a CR that is still waiting is a bare one, and
// the last line gets its end (it would get one before the dot anyway, and
// what is scanned must be what is sent).
func (s *bodyScanner) finish() {
	if s.pendingCR {
		s.pendingCR = false
		s.cr++
		s.bol = false
		s.write([]byte{' '})
	}
	if !s.bol && s.n > 0 {
		s.write(crlf)
		s.bol = true
	}
}

// store keeps a run of the message. Every LF in it ends a CR LF, so a CR more
// than there are LFs is a bare one.
func (s *bodyScanner) store(run []byte) {
	if len(run) == 0 {
		return
	}
	if bytes.Count(run, crlf[:1]) != bytes.Count(run, crlf[1:]) || bytes.IndexByte(run, 0) >= 0 {
		run = s.clean(run)
	}
	s.write(run)
}

// clean replaces bare CR and NUL by spaces, which changes no offsets and
// joins no words; neither is ever just removed (attacks S-09).
func (s *bodyScanner) clean(run []byte) []byte {
	s.scratch = append(s.scratch[:0], run...)
	for i, c := range s.scratch {
		switch {
		case c == 0:
			s.nul++
			s.scratch[i] = ' '
		case c == '\r' && (i+1 == len(run) || run[i+1] != '\n'):
			s.cr++
			s.scratch[i] = ' '
		}
	}
	return s.scratch
}

// write appends to the message; after a fault it only counts.
func (s *bodyScanner) write(p []byte) {
	s.n += int64(len(p))
	if s.err != nil {
		return
	}
	_, s.err = s.to.Write(p)
}

// offence names the first thing in the message that the policy refuses.
func (s *bodyScanner) offence(p bodyPolicy) string {
	switch {
	case s.nul > 0 && p.rejectNUL:
		return "NUL octet"
	case s.cr > 0 && p.rejectCR:
		return "bare carriage return"
	case s.lf > 0 && p.rejectLF:
		return "bare line feed"
	}
	return ""
}
