package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"garita/mail"
)

// fault is a failure that is ours or the next hop's and never the sender's:
// reply is what the client is told (always 4xx), err what the operator reads.
type fault struct {
	reply mail.Reply
	err   error
	// retry: the connection died, so a pooled one may be replaced once.
	retry bool
	// told: the operator was alerted already.
	told bool
	// crowded: a 4xx in the place of a greeting, or none, which is what a
	// server has for one connection too many.
	crowded bool
	// credentials: our login was refused for good.
	credentials bool
}

// The texts tell a stranger nothing about hosts or causes behind us.
const (
	textUnreachable  = "The next mail server cannot be reached, please try again later"
	textLost         = "The connection to the next mail server failed, please try again later"
	textNonsense     = "The next mail server is not in order, please try again later"
	textBusy         = "Too busy, please try again later"
	textTLS          = "No secure connection to the next mail server, please try again later"
	textConfig       = "Mail routing is not in order, please try again later"
	textOneRecipient = "One recipient for each message here, please send it to this one again"
	textInternal     = "Local error, please try again later"
)

func unreachable(err error) *fault {
	return &fault{reply: mail.Temporary(451, "4.1", textUnreachable), err: err}
}

func lost(err error) *fault {
	return &fault{reply: mail.Temporary(451, "4.2", textLost), err: err, retry: true}
}

func nonsense(err error) *fault {
	return &fault{reply: mail.Temporary(451, "4.0", textNonsense), err: err}
}

func busy(err error) *fault {
	return &fault{reply: mail.Temporary(451, "3.2", textBusy), err: err}
}

func noTLS(err error) *fault {
	return &fault{reply: mail.Temporary(451, "7.0", textTLS), err: err}
}

func misconfigured(err error) *fault {
	return &fault{reply: mail.Temporary(451, "3.5", textConfig), err: err}
}

func internal(err error) *fault {
	return &fault{reply: mail.Temporary(451, "3.0", textInternal), err: err}
}

// broken turns a read or write error of the stage into a fault.
func broken(name, stage string, err error) *fault {
	if errors.Is(err, errProtocol) {
		return nonsense(fmt.Errorf("%s: reply to %s: %w", name, stage, err))
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%s: %s: timed out", name, stage)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		err = fmt.Errorf("%s: lost connection at %s", name, stage)
	default:
		err = fmt.Errorf("%s: lost connection at %s: %w", name, stage, err)
	}
	return lost(err)
}

// unexpected is the fault of a complete reply that the stage has no use for:
// 421 at any time (RFC 5321 section 3.8), 3xx where none belongs, a refusal
// that speaks about us and not about the message.
func unexpected(name, stage string, r reply) *fault {
	err := fmt.Errorf("%s: answered %s with %q", name, stage, r.line())
	if r.code == 421 {
		return lost(err)
	}
	return nonsense(err)
}
