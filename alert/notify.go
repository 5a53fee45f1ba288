package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// notifyChannel sends by one service of shoutrrr. This file is all that knows
// the library.
type notifyChannel struct {
	url, language string
	// busy has room for one call: the library takes no context, so one that
	// hangs is left behind, and the next waits for it rather than adding to it.
	// A reload hands it on to the channel of the same name.
	busy chan struct{}
	// strays has room for the calls of all channels; nil is no bound.
	strays chan struct{}
	// deliver is the library; a test has its own.
	deliver func(url, title, text string) error
}

// maxStrays bounds the calls of the library that run at once, over all channels
// and reloads: each that hangs costs a goroutine and a connection for good.
const maxStrays = 16

// errHung says that a call did not end in time, or that an earlier one has not.
var errHung = errors.New("no answer in time")

func newNotify(c NotifyConfig, language string) *notifyChannel {
	return &notifyChannel{url: c.URL, language: language, busy: make(chan struct{}, 1), deliver: shout}
}

// services are the schemes that the library knows. Its mail is not among them
// (ours is better known), nor its logger, which would deliver to nobody.
func services() []string {
	var none router.ServiceRouter
	out := slices.DeleteFunc(none.ListServices(), func(s string) bool { return s == "logger" || s == "smtp" })
	slices.Sort(out)
	return out
}

// serviceOf gives the service of a URL, and whether there is one. It connects
// to nothing: some services log in when they are only made.
func serviceOf(raw string) (string, bool) {
	scheme, rest, ok := strings.Cut(raw, "://")
	name, _, _ := strings.Cut(scheme, "+")
	if !ok || rest == "" {
		return "", false
	}
	if _, err := url.Parse(raw); err != nil {
		return name, false
	}
	return name, slices.Contains(services(), name)
}

func shout(raw, title, text string) error {
	r, err := router.New(log.New(io.Discard, "", 0), raw)
	if err != nil {
		return err
	}
	params := types.Params{}
	params.SetTitle(title)
	return errors.Join(r.Send(text, &params)...)
}

func (c *notifyChannel) send(ctx context.Context, n Notice) error {
	if !enter(ctx, c.busy) {
		return fmt.Errorf("%w: an earlier call has not come back", errHung)
	}
	if c.strays != nil && !enter(ctx, c.strays) {
		<-c.busy
		return fmt.Errorf("%w: %d earlier calls have not come back", errHung, cap(c.strays))
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if c.strays != nil {
				<-c.strays
			}
			<-c.busy
		}()
		defer func() {
			if recover() != nil {
				done <- errPanicked
			}
		}()
		done <- c.deliver(c.url, subject(n, c.language), body(n, c.language))
	}()
	select {
	case err := <-done:
		return c.reason(err)
	case <-ctx.Done():
		return errHung
	}
}

// enter takes a place, if one comes free in time.
func enter(ctx context.Context, room chan struct{}) bool {
	select {
	case room <- struct{}{}:
		return true
	default:
	}
	select {
	case room <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow takes the place of a channel that a reload ends: a call of the old
// one that hangs is waited for as if it were ours.
func (c *notifyChannel) follow(was channel, strays chan struct{}) {
	c.strays = strays
	if old, ok := was.(*notifyChannel); ok {
		c.busy = old.busy
	}
}

var errPanicked = errors.New("the library panicked")

// reason gives what can be said of an error of the library. Its own texts hold
// the URL, and with it passwords: only what the network said, and the status,
// are told.
func (c *notifyChannel) reason(err error) error {
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errPanicked):
		return err
	case errors.As(err, &op):
		if op.Addr != nil {
			return fmt.Errorf("%s: %s: %w", op.Op, op.Addr, op.Err)
		}
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	name, _ := serviceOf(c.url)
	if m := regexp.MustCompile(`\b[345][0-9][0-9]\b`).FindString(err.Error()); m != "" {
		return fmt.Errorf("%s did not take it (status %s?)", name, m)
	}
	return fmt.Errorf("%s did not take it; look at its URL", name)
}
