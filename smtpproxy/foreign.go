package smtpproxy

import "bytes"

// tlsHandshake is the first octet of a TLS record that begins a handshake.
const tlsHandshake = 0x16

// foreign tells a line of another protocol, and which: a browser or a server
// that was led here, or one that is configured wrongly (attacks S-62, S-190).
// "" is SMTP, as far as the first word tells.
func foreign(line []byte) string {
	if len(line) == 0 {
		return ""
	}
	if c := line[0] | 0x20; c < 'a' || c > 'z' {
		if line[0] == tlsHandshake {
			return "TLS handshake in clear text"
		}
		return "not a command"
	}
	word, _, _ := bytes.Cut(line, []byte{' '})
	switch upper(word) {
	case "PROXY":
		// Twice, or on a listener without proxy_from, or from a client itself.
		return "PROXY header"
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PRI":
		return "HTTP request"
	case "REGISTER", "INVITE", "DESCRIBE":
		return "SIP or RTSP request"
	}
	switch {
	case bytes.HasPrefix(line, []byte("SSH-")):
		return "SSH"
	case len(word) > 1 && word[len(word)-1] == ':':
		return "header field"
	}
	return ""
}

// alien tells, by its first octet, a line that need not be waited for: a TLS
// record has no line end, and its sender waits for an answer.
func alien(first byte) bool { return first == tlsHandshake || first >= 0x80 }
