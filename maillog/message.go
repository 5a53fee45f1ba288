package maillog

import (
	"strings"

	"garita/mail"
)

// maxMessageIDField is the longest Message-ID field that is read for the log,
// in octets; a longer one shows as empty.
const maxMessageIDField = 2048

// messageFacts gives size and Message-ID of the message as it came, or -1
// without one. It takes the first Message-ID field: a message with two is a
// matter for checks, not for the log.
func messageFacts(tx *mail.Transaction) (size int64, id string) {
	if tx.Message == nil {
		return -1, ""
	}
	size = tx.Message.Size()
	h := tx.Message.Header()
	if h == nil {
		return size, ""
	}
	f, ok := h.Get("Message-ID")
	if !ok || f.End-f.Start > maxMessageIDField {
		return size, ""
	}
	return size, messageID(f.Value())
}

// messageID gives what stands in the first angle brackets, else the whole
// value without the blanks around it.
func messageID(v string) string {
	v = strings.Trim(v, " \t\r\n")
	i := strings.IndexByte(v, '<')
	if i < 0 {
		return v
	}
	v = v[i+1:]
	if j := strings.IndexByte(v, '>'); j >= 0 {
		v = v[:j]
	}
	return v
}
