package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// Call asks the gateway on the socket for a verb and reads its answer into
// out, which may be nil. Nobody there gives ErrUnreachable; a refusal gives an
// *Error whose Data is a json.RawMessage. ctx bounds the whole call.
func Call(ctx context.Context, path, verb string, args, out any) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w on %s: permission denied; the socket belongs to the user and group that garita runs as", ErrUnreachable, path)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%w on %s", ErrUnreachable, path)
		}
		return fmt.Errorf("%w on %s: %w", ErrUnreachable, path, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	q := request{Verb: verb}
	if args != nil {
		if q.Args, err = json.Marshal(args); err != nil {
			return fmt.Errorf("admin: %w", err)
		}
	}
	line, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	// A server that is full answers without reading: its answer is there even
	// when writing fails.
	_, werr := c.Write(append(line, '\n'))
	answer, err := readLine(bufio.NewReader(c), maxAnswer)
	if err != nil {
		if werr != nil {
			err = werr
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w on %s in time", ErrUnreachable, path)
		}
		return fmt.Errorf("%w on %s: the answer was cut: %w", ErrUnreachable, path, err)
	}
	return decodeAnswer(answer, out)
}

func decodeAnswer(line []byte, out any) error {
	var r response
	if err := json.Unmarshal(line, &r); err != nil {
		return errors.New("admin: the answer is not JSON")
	}
	if !r.OK {
		return &Error{Code: r.Code, Text: r.Error, Data: r.Data}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(r.Data, out); err != nil {
		return errors.New("admin: the answer has another form than expected; are the command and the running garita of the same version?")
	}
	return nil
}
