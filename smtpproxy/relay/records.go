package relay

import (
	"encoding/binary"
	"net"
)

// records gives TLS one record after the other. crypto/tls takes from its
// socket whatever is there and keeps what is behind the record that it was
// asked for where nobody can see it: a 250 that came together with the 354
// would be taken for the answer to the message. It looks at lengths alone; what
// a record is worth is for TLS to say.
type records struct {
	net.Conn
	left int // octets of the record under way that TLS has not got
	r, w int
	buf  [1 << 10]byte
}

// recordHeader is RFC 8446 section 5.1: type, version, length.
const recordHeader = 5

// ahead counts the octets of records that nobody has asked for.
func (s *records) ahead() int {
	if s == nil {
		return 0
	}
	return max(s.w-s.r-s.left, 0)
}

// Read gives octets of one record.
func (s *records) Read(p []byte) (int, error) {
	for s.left == 0 {
		if b := s.buf[s.r:s.w]; len(b) >= recordHeader {
			s.left = recordHeader + int(binary.BigEndian.Uint16(b[3:]))
			break
		}
		s.r, s.w = 0, copy(s.buf[:], s.buf[s.r:s.w])
		n, err := s.Conn.Read(s.buf[s.w:])
		if s.w += n; n == 0 {
			return 0, err
		}
	}
	p = p[:min(len(p), s.left)]
	n, err := copy(p, s.buf[s.r:s.w]), error(nil)
	if s.r += n; n == 0 {
		n, err = s.Conn.Read(p)
	}
	s.left -= n
	return n, err
}
