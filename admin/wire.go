package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// Bounds of the protocol; the package comment states them.
const (
	maxRequest  = 64 << 10
	maxAnswer   = 1 << 20
	maxClients  = 16
	ioTimeout   = 10 * time.Second
	verbTimeout = time.Minute
	// maxPath is what fits sun_path with its NUL (unix(7)).
	maxPath = 107
)

// Codes that an Error carries; the command line maps them to exit codes.
const (
	CodeFailed    = "failed"
	CodeConfig    = "config"
	CodeTemporary = "temporary"
	CodeUsage     = "usage"
)

// Error is a refusal that the other side gave on purpose. Text is for the
// operator at the terminal; Data is what else the verb had to say.
type Error struct {
	Code string
	Text string
	Data any
}

func (e *Error) Error() string { return e.Text }

type request struct {
	Verb string          `json:"verb"`
	Args json.RawMessage `json:"args,omitempty"`
}

type response struct {
	OK    bool            `json:"ok"`
	Code  string          `json:"code,omitempty"`
	Error string          `json:"error,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`
}

var (
	errTooLong = errors.New("admin: line is longer than allowed")
	// ErrUnreachable says that nobody answers on the socket.
	ErrUnreachable = errors.New("no running garita answers")
)

// CheckPath tells why path cannot be the admin socket, or nil.
func CheckPath(path string) error {
	switch {
	case path == "":
		return errors.New("the path of the admin socket is empty")
	case !filepath.IsAbs(path):
		return fmt.Errorf("the path of the admin socket must begin with \"/\": %q", path)
	case len(path) > maxPath:
		return fmt.Errorf("the path of the admin socket has %d bytes and the system allows %d: choose a shorter one, for example in /run: %q", len(path), maxPath, path)
	}
	return nil
}

// readLine reads one line of at most limit bytes, without its end.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, errTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			// A line that was cut is no request: half a verb must not run.
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// decodeRequest reads one request; it is apart from the connection so that it
// can be fuzzed.
func decodeRequest(line []byte) (request, error) {
	var q request
	if err := json.Unmarshal(line, &q); err != nil {
		return request{}, errors.New("the request is not a line of JSON")
	}
	if q.Verb == "" {
		return request{}, errors.New("the request has no verb")
	}
	return q, nil
}
